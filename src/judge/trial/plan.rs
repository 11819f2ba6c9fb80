//! `Plan`: the rules as the numbers that a trial works with.

use std::time::Duration;

use crate::judge::rules::{Confirm, Metric, OnBreach, Rule, Rules, TOKEN_FLOOR, Test};
use crate::judge::sums::Timing;

/// The numbers that a trial works with.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Bound on the chance of a false rollback.
    pub(super) alpha: f64,
    /// How a first verdict is confirmed.
    pub(super) confirm: Confirm,
    /// Odds (log) at which users are taken off; the end itself when nothing is confirmed.
    pub(super) first_bound: f64,
    /// Odds (log) at which a protected version is rolled back.
    pub(super) confirm_bound: f64,
    /// The error rule, where it is weighed sequentially.
    pub(super) errors: Option<Aim>,
    /// The latency rule, where it is weighed sequentially.
    pub(super) latency: Option<Aim>,
    /// The highest error rate at all, 0 to 1.
    pub(super) max_errors: Option<f64>,
    /// Whether an absolute latency limit is weighed.
    pub(super) has_max_latency: bool,
}

/// One rule weighed sequentially.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Aim {
    /// Its place in the rules.
    pub(super) metric: usize,
    /// So many times stable's number is too much; `None`: only the absolute limit counts.
    pub(super) ratio: Option<f64>,
    /// Whether it takes traffic away.
    pub(super) acts: bool,
}

/// What of a rule the baseline needs: the ratio of the latency rule, its floor and its
/// absolute limit, both in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct LatencyAim {
    pub(super) ratio: f64,
    pub(super) floor_us: u64,
    pub(super) max_us: Option<u64>,
}

impl Plan {
    pub(super) fn of(rules: &Rules) -> Self {
        let alpha = rules.false_alarm.clamp(LEAST_ALPHA, MOST_ALPHA);
        let end = -alpha.ln();
        // Four protects without a confirmation are a rollback: their chance may use up a
        // sixth of the bound (SPEC 3.6 has 6e-6 of 1e-3).
        let protect = FIRST_ODDS.max((alpha / 6.25).powf(-0.25));
        let first_bound = if rules.confirm == Confirm::Off { end } else { protect.ln() };
        let confirm_odds = (0.06 / alpha * (FIRST_ODDS - 1.0) / (protect - 1.0)).max(4.0);
        let aim = |wanted: fn(&Rule) -> bool| {
            let place = rules.metrics.iter().position(|one| wanted(&one.rule));
            place.and_then(|place| Aim::of(place, &rules.metrics[place]))
        };
        let errors = aim(|rule| matches!(rule, Rule::ErrorRate { .. }));
        let latency = aim(|rule| matches!(rule, Rule::LatencyP99 { .. }));
        let max_errors = errors.and_then(|aim| match rules.metrics[aim.metric].rule {
            Rule::ErrorRate { max, .. } => max.map(|max| max.fraction()),
            Rule::LatencyP99 { .. } | Rule::HealthCheck => None,
        });
        let has_max_latency = latency.is_some() && LatencyAim::of(rules).max_us.is_some();
        Self {
            alpha,
            confirm: rules.confirm,
            first_bound,
            confirm_bound: confirm_odds.ln(),
            errors,
            latency,
            max_errors,
            has_max_latency,
        }
    }

    /// Whether a first verdict is final.
    pub(super) fn is_one_stage(&self) -> bool {
        self.confirm == Confirm::Off
    }
}

impl Aim {
    fn of(place: usize, metric: &Metric) -> Option<Self> {
        let ratio = match metric.rule {
            Rule::ErrorRate { max_ratio, .. } | Rule::LatencyP99 { max_ratio, .. } => {
                max_ratio.filter(|ratio| *ratio > 1.0)
            }
            Rule::HealthCheck => None,
        };
        let acts = metric.on_breach == OnBreach::Rollback && !metric.dry_run;
        (metric.test != Test::Window).then_some(Self { metric: place, ratio, acts })
    }
}

impl LatencyAim {
    pub(super) fn of(rules: &Rules) -> Self {
        let rule = rules.metrics.iter().find_map(|metric| match metric.rule {
            Rule::LatencyP99 { max_ratio, floor, max, .. } => {
                Some((max_ratio, floor, max))
            }
            Rule::ErrorRate { .. } | Rule::HealthCheck => None,
        });
        let (ratio, floor, max) = rule.unwrap_or_default();
        let floor_us = micros(floor);
        Self {
            ratio: ratio.filter(|ratio| *ratio > 1.0).unwrap_or(USUAL_RATIO),
            floor_us,
            max_us: max.map(micros),
        }
    }

    /// Times up to this do not differ, in microseconds.
    pub(super) fn floor_of(&self, timing: Timing) -> u64 {
        match timing {
            Timing::Whole | Timing::FirstToken => self.floor_us,
            Timing::EachToken => self.floor_us / u64::from(TOKEN_FLOOR),
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Odds at which users are taken off (SPEC 3.6, A1).
const FIRST_ODDS: f64 = 20.0;
/// The slow-down of p99 that a hang is told by, where no latency rule says another.
const USUAL_RATIO: f64 = 1.5;
const LEAST_ALPHA: f64 = 1e-12;
const MOST_ALPHA: f64 = 0.5;
