//! What a trial has to say for itself: findings for the verdict, [`Evidence`] for whoever
//! asks why it has not acted, or why it has.

use super::baseline::Baseline;
use super::call::Phase;
use super::gauges::Limit;
use super::machine::Trial;
use super::promotion;
use super::stage::{Gauge, Part, Stage};
use crate::judge::reading::{Observation, float, whole};
use crate::judge::rules::OnBreach;
use crate::judge::sums::Timing;
use crate::judge::verdict::{Amount, Finding, Ground, Odds};
use crate::vocab::time::Timestamp;

/// One test of a trial at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The rule's name in the configuration.
    pub rule: &'static str,
    /// Which of the rule's tests: `split`, `bank`, `firstTokenBank`,
    /// `eachTokenBank`, `deadline`, `max`, `history` or `promotion`; `all` is what the acting ones give together.
    pub test: &'static str,
    /// Whether it takes traffic away.
    pub acts: bool,
    /// The canary's number, where it has one.
    pub seen: Option<Amount>,
    /// Stable's number, where it has one.
    pub stable: Option<Amount>,
    /// The canary's requests, or copies, that count.
    pub canary_samples: u64,
    /// Stable's requests that count.
    pub stable_samples: u64,
    /// The natural logarithm of the odds.
    pub log_odds: f64,
    /// The logarithm of the odds that suffice.
    pub log_bound: f64,
    /// The share of the bound that is reached, 0 to 1, in the logarithm.
    pub reached: f64,
    /// About so many more requests of the canary at this rate, where that can be said.
    pub missing: Option<u64>,
    /// Why it has not acted, or what it asks for, in one sentence.
    pub why: String,
}

impl Trial {
    /// Each test as it stands: value, samples, odds, bound, what is missing and why it has
    /// not acted.
    #[must_use]
    pub fn evidence(
        &self,
        now: Timestamp,
        seen: &Observation<'_>,
        baseline: &Baseline,
    ) -> Vec<Evidence> {
        let bound = self.bound();
        let stage = self.stage();
        let mut all: Vec<Evidence> = Vec::new();
        for part in stage.parts() {
            let Some(finding) =
                self.charge(part.gauge, (part.log_odds, bound), now, seen)
            else {
                continue;
            };
            let alone = part.weighted();
            let missing = self.missing(&part, bound - alone.max(part.log_odds.min(0.0)));
            let why = self.why(&part, missing, now, baseline);
            let test = match part.gauge {
                Gauge::Errors => "split",
                Gauge::Latency(Timing::Whole) => "bank",
                Gauge::Latency(Timing::FirstToken) => "firstTokenBank",
                Gauge::Latency(Timing::EachToken) => "eachTokenBank",
                Gauge::Slow => "deadline",
            };
            all.push(evidence(test, &finding, (part.log_odds, bound), missing, why));
        }
        all.extend(self.limits_evidence(now, seen, baseline));
        all.extend(self.full_evidence(now, seen));
        all.extend(self.promotion_evidence(now, seen));
        if let Some(part) = stage.parts().find(|part| part.acts)
            && let Some(finding) = self.charge(part.gauge, (0.0, bound), now, seen)
        {
            let odds = stage.log_odds();
            let why = format!(
                "{}: all tests together have odds of {} to 1, {} suffice",
                self.phase(),
                Odds(odds),
                Odds(bound)
            );
            let together = Finding { rule: "all", ..finding };
            let mut one = evidence("all", &together, (odds, bound), None, why);
            (one.seen, one.stable) = (None, None);
            all.push(one);
        }
        all
    }

    /// The logarithm of the odds that suffice in this phase.
    #[must_use]
    pub fn bound(&self) -> f64 {
        match self.phase() {
            Phase::Protected | Phase::Trickling | Phase::Held => self.plan.confirm_bound,
            Phase::Running | Phase::Probing | Phase::RolledBack => self.plan.first_bound,
        }
    }

    /// About so many more requests of the canary close this gap of log odds.
    pub(super) fn missing(&self, part: &Part, gap: f64) -> Option<u64> {
        let stage = self.stage();
        let seen = &stage.seen;
        let share = self.share_in_numbers();
        let rate = |count: u64, of: u64| float(count) / float(of.max(1));
        let rates = |events: (u64, u64)| {
            (rate(events.0, seen.known.0), rate(events.1, seen.known.1))
        };
        let growth = match part.gauge {
            Gauge::Errors => stage.errors.as_ref()?.growth(rates(seen.bad), share),
            Gauge::Slow => stage.slow.as_ref()?.growth(rates(seen.slow), share),
            Gauge::Latency(_) => part.best / float(seen.known.0.max(1)),
        };
        if seen.known.0 == 0 || !(0.0..f64::MAX).contains(&gap) || growth <= 1e-9 {
            return None;
        }
        Some(whole((gap / growth).ceil()))
    }

    fn why(
        &self,
        part: &Part,
        missing: Option<u64>,
        now: Timestamp,
        baseline: &Baseline,
    ) -> String {
        if self.phase() == Phase::RolledBack {
            return "rolled back".to_owned();
        }
        if self.stage().seen.known.0 == 0 {
            return "no traffic: the version has had no request that counts".to_owned();
        }
        if part.gauge != Gauge::Errors && !baseline.has_tables() {
            let need = Baseline::answers_needed();
            return format!(
                "stable has {} of the {need} good answers that latencies are compared with",
                baseline.answers()
            );
        }
        if part.gauge != Gauge::Errors && !self.is_warm(now) {
            return "its first answers do not count: the version warms up".to_owned();
        }
        if !part.acts {
            return "it is only shown: the rule is a dry run or an alert".to_owned();
        }
        match missing {
            Some(missing) => {
                format!("needs about {missing} more canary requests at this rate")
            }
            None => "at this rate the evidence does not grow: the version is not worse"
                .to_owned(),
        }
    }

    fn limits_evidence(
        &self,
        now: Timestamp,
        seen: &Observation<'_>,
        baseline: &Baseline,
    ) -> Vec<Evidence> {
        let Stage { max_errors, max_latency, .. } = &self.running;
        let both = [(Gauge::Errors, max_errors), (Gauge::Slow, max_latency)];
        let one = |(gauge, limit): (Gauge, &Option<Limit>)| {
            let odds = limit.as_ref()?.shell.log_evidence();
            let finding = self.charge(gauge, (odds, self.end()), now, seen)?;
            let why = if odds < self.end() {
                "the absolute limit is not shown to be broken"
            } else if baseline.has_traffic(now) {
                "the absolute limit is broken; it acts while the comparison with stable \
                 has odds of 100 to 1, else the cause is shared"
            } else {
                "the absolute limit is broken"
            };
            let odds = (odds, self.end());
            Some(evidence("max", &finding, odds, None, why.to_owned()))
        };
        both.into_iter().filter_map(one).collect()
    }

    fn full_evidence(&self, now: Timestamp, seen: &Observation<'_>) -> Vec<Evidence> {
        let Some(full) = &self.full else { return Vec::new() };
        let (errors, latency, bound) = full.log_odds();
        let both = [(Gauge::Errors, errors), (Gauge::Slow, latency)];
        let one = |(gauge, odds)| {
            let finding = self.charge(gauge, (odds, bound), now, seen)?;
            let why = "it takes everything, and is held against what stable did before";
            Some(evidence("history", &finding, (odds, bound), None, why.to_owned()))
        };
        both.into_iter().filter_map(one).collect()
    }

    fn promotion_evidence(
        &self,
        now: Timestamp,
        seen: &Observation<'_>,
    ) -> Vec<Evidence> {
        let (errors, latency) = self.promotion.log_odds();
        let bound = promotion::bound();
        let both = [(Gauge::Errors, errors), (Gauge::Slow, latency)];
        let one = |(gauge, odds): (Gauge, Option<f64>)| {
            let odds = odds?;
            let mut finding = self.charge(gauge, (odds, bound), now, seen)?;
            finding.on_breach = OnBreach::Alert;
            let why = if odds >= bound {
                "within the margin: nothing here speaks against a promotion"
            } else {
                "not yet shown to be within the margin"
            };
            Some(evidence("promotion", &finding, (odds, bound), None, why.to_owned()))
        };
        both.into_iter().filter_map(one).collect()
    }
}

fn evidence(
    test: &'static str,
    finding: &Finding,
    (log_odds, log_bound): (f64, f64),
    missing: Option<u64>,
    why: String,
) -> Evidence {
    let stable =
        if let Ground::Evidence { stable, .. } = finding.ground { stable } else { None };
    Evidence {
        rule: finding.rule,
        test,
        acts: finding.on_breach == OnBreach::Rollback && !finding.dry_run,
        seen: finding.seen,
        stable,
        canary_samples: finding.canary_samples,
        stable_samples: finding.stable_samples,
        log_odds,
        log_bound,
        reached: (log_odds / log_bound).clamp(0.0, 1.0),
        missing,
        why,
    }
}
