//! `Verdict` on a canary, and the `Finding`s it rests on: each prints as one audit sentence.
//!
//! Apart from the comparison that makes them, because everybody reads them: the rollback
//! machine, the record, the status page. A finding does not know the versions' names; who
//! prints it says them.

use std::fmt;
use std::time::Duration;

use super::rules::OnBreach;
use super::sums::Timing;
use crate::vocab::trigger::Trigger;

/// What the rules say about a canary at one moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every rule was judged and kept.
    Pass,
    /// No rule is broken, but at least one could not be judged; the findings say why.
    Inconclusive(Vec<Finding>),
    /// These limits are broken, in the order of the rules. Whether that leads to anything,
    /// [`Verdict::acts`] says.
    Breach(Vec<Finding>),
}

impl Verdict {
    /// The first finding that takes the canary's traffic away: broken, `onBreach: rollback`
    /// and no dry run.
    #[must_use]
    pub fn acts(&self) -> Option<&Finding> {
        self.findings().iter().find(|finding| finding.acts())
    }

    /// All findings; none when everything passed.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Pass => &[],
            Self::Inconclusive(findings) | Self::Breach(findings) => findings,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass: within every limit")?,
            Self::Inconclusive(_) => f.write_str("inconclusive: ")?,
            Self::Breach(_) if self.acts().is_some() => f.write_str("breach: ")?,
            Self::Breach(_) => f.write_str("breach without consequence: ")?,
        }
        for (at, finding) in self.findings().iter().enumerate() {
            write!(f, "{}{finding}", if at > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

/// What one rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule's name in the configuration.
    pub rule: &'static str,
    /// What a rollback for it is called.
    pub trigger: Trigger,
    /// What follows when it is broken.
    pub on_breach: OnBreach,
    /// Judged and shown, but never acted on.
    pub dry_run: bool,
    /// Whether a limit is broken, or why that cannot be said.
    pub ground: Ground,
    /// What is timed, where times are judged.
    pub timing: Timing,
    /// The canary's number, where it has one.
    pub seen: Option<Amount>,
    /// The limit it was held against, where there is one.
    pub limit: Option<Amount>,
    /// The span that was looked at.
    pub window: Duration,
    /// The canary's samples: requests, or good answers where times are judged.
    pub canary_samples: u64,
    /// Stable's samples.
    pub stable_samples: u64,
}

/// Whether a limit is broken, or why that cannot be said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ground {
    /// Broken: too far above stable.
    AboveStable {
        /// Stable's number.
        stable: Amount,
        /// At most so many times stable's number.
        ratio: f64,
        /// The chance of such an excess between equals, 0 to 1.
        chance: f64,
    },
    /// Broken: above the absolute limit.
    AboveMax {
        /// The chance of such an excess in a version that just keeps the limit, 0 to 1.
        chance: f64,
    },
    /// Broken: every endpoint fails its checks.
    Unhealthy,
    /// Broken: the evidence gathered against the version suffices.
    Evidence {
        /// Stable's number, where there is one.
        stable: Option<Amount>,
        /// The natural logarithm of the odds that it is worse.
        log_odds: f64,
        /// The logarithm of the odds that suffice.
        log_bound: f64,
    },
    /// Broken: so many requests in a row found no connection.
    Refused {
        /// In a row.
        count: u32,
    },
    /// Broken: so many requests in a row took longer than the deadline.
    Stalled {
        /// In a row.
        count: u32,
    },
    /// Broken: the users were taken off it before, in an earlier run or again and again.
    Flapping {
        /// How often.
        protects: u32,
    },
    /// Open: the canary has had no traffic.
    NoTraffic,
    /// Open: the canary has too few samples.
    FewSamples {
        /// So many more are needed.
        missing: u64,
    },
    /// Open: stable has too few samples to compare with.
    FewStableSamples {
        /// So many more are needed.
        missing: u64,
    },
    /// Open: evidence is being gathered and suffices for neither verdict.
    Gathering {
        /// Stable's number, where there is one.
        stable: Option<Amount>,
        /// The natural logarithm of the odds that it is worse.
        log_odds: f64,
        /// The logarithm of the odds that suffice.
        log_bound: f64,
        /// About so many more requests of the canary at this rate; `None` when it will
        /// never suffice at this rate.
        missing: Option<u64>,
    },
    /// Open: the version is new and its first answers do not count.
    WarmUp,
    /// Open: over the limit, but chance explains it too well.
    Unsure {
        /// The chance of such an excess without a cause, 0 to 1.
        chance: f64,
    },
    /// Open: stable breaks the same limit, so that the canary is not the cause.
    Shared {
        /// Stable's number, where it has one.
        stable: Option<Amount>,
    },
}

impl Ground {
    /// Whether a limit is broken.
    #[must_use]
    pub fn is_breach(self) -> bool {
        match self {
            Self::AboveStable { .. }
            | Self::AboveMax { .. }
            | Self::Unhealthy
            | Self::Evidence { .. }
            | Self::Refused { .. }
            | Self::Stalled { .. }
            | Self::Flapping { .. } => true,
            Self::NoTraffic
            | Self::Gathering { .. }
            | Self::WarmUp
            | Self::FewSamples { .. }
            | Self::FewStableSamples { .. }
            | Self::Unsure { .. }
            | Self::Shared { .. } => false,
        }
    }
}

/// A number with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// A share of requests, 0 to 1.
    Share(f64),
    /// A time in microseconds.
    Micros(u64),
    /// Failed checks in a row.
    Checks(u32),
}

impl Finding {
    /// Whether it takes the canary's traffic away.
    #[must_use]
    pub fn acts(&self) -> bool {
        self.ground.is_breach() && self.on_breach == OnBreach::Rollback && !self.dry_run
    }

    /// Whether there was too little to judge by.
    pub(super) fn is_blind(&self) -> bool {
        match self.ground {
            Ground::NoTraffic
            | Ground::FewSamples { .. }
            | Ground::FewStableSamples { .. } => true,
            Ground::AboveStable { .. }
            | Ground::AboveMax { .. }
            | Ground::Unhealthy
            | Ground::Evidence { .. }
            | Ground::Refused { .. }
            | Ground::Stalled { .. }
            | Ground::Flapping { .. }
            | Ground::Gathering { .. }
            | Ground::WarmUp
            | Ground::Unsure { .. }
            | Ground::Shared { .. } => false,
        }
    }

    fn write_ground(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.trigger, self.timing) {
            (Trigger::LatencyP99, Timing::Whole) => "good answers",
            (Trigger::LatencyP99, Timing::FirstToken | Timing::EachToken) => "streams",
            (Trigger::ErrorRate | Trigger::HealthCheck | Trigger::Manual, _) => {
                "requests"
            }
        };
        let have = self.canary_samples;
        match self.ground {
            Ground::AboveStable { stable, ratio, .. } => {
                write!(f, "{} is above the limit of {}", Or(self.seen), Or(self.limit))?;
                write!(f, " (stable has {stable}, the rule allows {ratio} times that)")
            }
            Ground::AboveMax { .. } => {
                write!(f, "{} is above the limit of {}", Or(self.seen), Or(self.limit))
            }
            Ground::Unhealthy => {
                write!(f, "every endpoint fails, {}", Or(self.seen))
            }
            Ground::NoTraffic => f.write_str("no traffic"),
            Ground::FewSamples { missing } => {
                let need = have.saturating_add(missing);
                write!(f, "{have} of the {need} {what} needed, {missing} are missing")
            }
            Ground::FewStableSamples { missing } => {
                let have = self.stable_samples;
                let need = have.saturating_add(missing);
                write!(
                    f,
                    "stable has {have} of the {need} {what} needed, {missing} are missing"
                )
            }
            Ground::Unsure { .. } => {
                write!(f, "{} is above the limit of {}", Or(self.seen), Or(self.limit))?;
                f.write_str(", but that may be chance")
            }
            Ground::Shared { stable: Some(stable) } => {
                write!(f, "shared degradation, {} is above the limit of", Or(self.seen))?;
                write!(f, " {} and so is stable with {stable}", Or(self.limit))
            }
            Ground::Shared { stable: None } => {
                f.write_str("shared degradation, stable fails its checks too")
            }
            Ground::Evidence { .. }
            | Ground::Gathering { .. }
            | Ground::WarmUp
            | Ground::Refused { .. }
            | Ground::Stalled { .. }
            | Ground::Flapping { .. } => self.write_evidence(f),
        }
    }

    fn write_evidence(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ground {
            Ground::Evidence { stable, log_odds, log_bound } => {
                write!(f, "{}{}: odds ", Or(self.seen), Against(stable))?;
                write!(f, "{} to 1 that it is worse, ", Odds(log_odds))?;
                write!(f, "{} suffice,", Odds(log_bound))
            }
            Ground::Gathering { stable, log_odds, log_bound, missing } => {
                write!(f, "{}{}: odds ", Or(self.seen), Against(stable))?;
                write!(f, "{} to 1 of the {} ", Odds(log_odds), Odds(log_bound))?;
                match missing {
                    Some(missing) => {
                        write!(f, "needed, needs about {missing} more canary requests")?;
                        f.write_str(" at this rate,")
                    }
                    None => f.write_str("needed, never at this rate,"),
                }
            }
            Ground::WarmUp => f.write_str("not judged while the version warms up,"),
            Ground::Refused { count } => {
                write!(f, "{count} requests in a row found no connection,")
            }
            Ground::Stalled { count } => {
                write!(f, "{count} requests in a row are over the deadline of ")?;
                write!(f, "{},", Or(self.limit))
            }
            Ground::Flapping { protects: 0 | 1 } => {
                f.write_str("its users were taken off it before,")
            }
            Ground::Flapping { protects } => {
                write!(f, "its users had to be taken off it {protects} times,")
            }
            Ground::AboveStable { .. }
            | Ground::AboveMax { .. }
            | Ground::Unhealthy
            | Ground::NoTraffic
            | Ground::FewSamples { .. }
            | Ground::FewStableSamples { .. }
            | Ground::Unsure { .. }
            | Ground::Shared { .. } => Ok(()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.rule)?;
        if let Some(words) = self.timing.words() {
            write!(f, "{words}: ")?;
        }
        self.write_ground(f)?;
        if self.trigger != Trigger::HealthCheck {
            write!(f, " in {}", Spell(self.window))?;
            write!(
                f,
                " (samples {}, stable {}",
                self.canary_samples, self.stable_samples
            )?;
            match self.ground {
                Ground::AboveStable { chance, .. }
                | Ground::AboveMax { chance }
                | Ground::Unsure { chance } => write!(f, ", chance {})", Chance(chance))?,
                Ground::Unhealthy
                | Ground::Evidence { .. }
                | Ground::Gathering { .. }
                | Ground::Refused { .. }
                | Ground::Stalled { .. }
                | Ground::Flapping { .. }
                | Ground::WarmUp
                | Ground::NoTraffic
                | Ground::FewSamples { .. }
                | Ground::FewStableSamples { .. }
                | Ground::Shared { .. } => f.write_str(")")?,
            }
        }
        match (self.dry_run, self.on_breach) {
            (true, _) => f.write_str(" [dry run]"),
            (false, OnBreach::Alert) => f.write_str(" [alert only]"),
            (false, OnBreach::Pause) => f.write_str(" [pauses the rollout]"),
            (false, OnBreach::Rollback) => Ok(()),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Share(share) => write!(f, "{:.2}%", share * 100.0),
            Self::Micros(us) => write!(f, "{}.{:03} ms", us / 1_000, us % 1_000),
            Self::Checks(1) => f.write_str("1 check in a row"),
            Self::Checks(count) => write!(f, "{count} checks in a row"),
        }
    }
}

/// An amount, or a word for none.
struct Or(Option<Amount>);

impl fmt::Display for Or {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(amount) => amount.fmt(f),
            None => f.write_str("nothing"),
        }
    }
}

/// What stable has, beside what was seen.
struct Against(Option<Amount>);

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(stable) => write!(f, " against stable's {stable}"),
            None => Ok(()),
        }
    }
}

/// Odds, from their logarithm.
pub(super) struct Odds(pub(super) f64);

impl fmt::Display for Odds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.exp() {
            small if small < 9.95 => write!(f, "{small:.1}"),
            odds if odds < 100_000.0 => write!(f, "{odds:.0}"),
            large if large < 1e300 => write!(f, "{large:.0e}"),
            _ => f.write_str("above 1e300"),
        }
    }
}

/// A chance, with its order of magnitude where it is small.
struct Chance(f64);

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            tiny if tiny < 1e-300 => f.write_str("below 1e-300"),
            small if small < 0.001 => write!(f, "{small:.0e}"),
            chance => write!(f, "{chance:.3}"),
        }
    }
}

/// A span as the configuration writes it.
struct Spell(Duration);

impl fmt::Display for Spell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            ms if ms == 0 || ms % 1_000 != 0 => write!(f, "{ms}ms"),
            ms if ms % 3_600_000 == 0 => write!(f, "{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => write!(f, "{}m", ms / 60_000),
            ms => write!(f, "{}s", ms / 1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Amount, Finding, Ground, Verdict};
    use crate::judge::rules::OnBreach;
    use crate::judge::sums::Timing;
    use crate::vocab::trigger::Trigger;

    fn finding(ground: Ground) -> Finding {
        Finding {
            rule: "errorRate",
            trigger: Trigger::ErrorRate,
            on_breach: OnBreach::Rollback,
            dry_run: false,
            ground,
            timing: Timing::Whole,
            seen: Some(Amount::Share(0.08)),
            limit: Some(Amount::Share(0.04)),
            window: Duration::from_secs(300),
            canary_samples: 400,
            stable_samples: 3_600,
        }
    }

    #[test]
    fn a_finding_is_one_sentence() {
        let above = Ground::AboveStable {
            stable: Amount::Share(0.02),
            ratio: 2.0,
            chance: 1.23e-9,
        };
        for (finding, text) in [
            (
                finding(above),
                "errorRate: 8.00% is above the limit of 4.00% (stable has 2.00%, the rule \
                 allows 2 times that) in 5m (samples 400, stable 3600, chance 1e-9)",
            ),
            (
                finding(Ground::AboveMax { chance: 0.0 }),
                "errorRate: 8.00% is above the limit of 4.00% in 5m \
                 (samples 400, stable 3600, chance below 1e-300)",
            ),
            (
                Finding {
                    canary_samples: 38,
                    ..finding(Ground::FewSamples { missing: 12 })
                },
                "errorRate: 38 of the 50 requests needed, 12 are missing in 5m \
                 (samples 38, stable 3600)",
            ),
            (
                Finding { canary_samples: 0, ..finding(Ground::NoTraffic) },
                "errorRate: no traffic in 5m (samples 0, stable 3600)",
            ),
            (
                Finding { dry_run: true, ..finding(Ground::Unsure { chance: 0.04 }) },
                "errorRate: 8.00% is above the limit of 4.00%, but that may be chance in 5m \
                 (samples 400, stable 3600, chance 0.040) [dry run]",
            ),
            (
                finding(Ground::Shared { stable: Some(Amount::Share(0.07)) }),
                "errorRate: shared degradation, 8.00% is above the limit of 4.00% and so is \
                 stable with 7.00% in 5m (samples 400, stable 3600)",
            ),
            (
                Finding {
                    rule: "healthCheck",
                    trigger: Trigger::HealthCheck,
                    on_breach: OnBreach::Alert,
                    seen: Some(Amount::Checks(3)),
                    ..finding(Ground::Unhealthy)
                },
                "healthCheck: every endpoint fails, 3 checks in a row [alert only]",
            ),
        ] {
            assert_eq!(finding.to_string(), text);
        }
    }

    #[test]
    fn only_a_live_rollback_rule_acts() {
        let broken = finding(Ground::AboveMax { chance: 0.0 });
        let dry = Finding { dry_run: true, ..broken };
        let alert = Finding { on_breach: OnBreach::Alert, ..broken };
        let open = finding(Ground::Unsure { chance: 0.5 });
        assert!(Verdict::Pass.acts().is_none());
        assert!(Verdict::Inconclusive(vec![open]).acts().is_none());
        let shown = Verdict::Breach(vec![dry.clone(), alert.clone()]);
        assert!(shown.acts().is_none());
        assert!(
            shown.to_string().starts_with("breach without consequence: errorRate: 8.00%")
        );
        let acting = Verdict::Breach(vec![dry, alert, broken.clone()]);
        assert_eq!(acting.acts(), Some(&broken));
    }
}
