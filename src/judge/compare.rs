//! `judge`: the canary against stable and against absolute limits, rule by rule.
//!
//! Apart from the arithmetic (`confidence`) and the words (`verdict`): here is what counts
//! as broken. Every comparison is strict, no comparison is made on fewer than the rule's
//! minimum samples, and no excess counts that chance explains too well.

use std::time::Duration;

use super::confidence::{SURE, ln_at_least};
use super::reading::{Health, Observation, Reading, float, whole};
use super::rules::{Metric, Rule, Rules, TOKEN_FLOOR};
use super::sums::Timing;
use super::verdict::{Amount, Finding, Ground, Verdict};
use crate::vocab::trigger::Trigger;

/// Holds what was seen against the rules, each by the trailing window alone. Pure: the same
/// arguments give the same verdict.
#[must_use]
pub fn judge(rules: &Rules, seen: &Observation<'_>) -> Verdict {
    let all = rules.metrics.iter().flat_map(|metric| in_window(rules, metric, seen));
    verdict_of(all.collect())
}

/// The verdict that findings make.
pub(super) fn verdict_of(findings: Vec<Finding>) -> Verdict {
    let (broken, open): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.ground.is_breach());
    match (broken.is_empty(), open.is_empty()) {
        (false, _) => Verdict::Breach(broken),
        (true, false) => Verdict::Inconclusive(open),
        (true, true) => Verdict::Pass,
    }
}

/// Everything that the trailing window has to say about one rule; nothing when it is kept.
pub(super) fn in_window(
    rules: &Rules,
    metric: &Metric,
    seen: &Observation<'_>,
) -> Vec<Finding> {
    // Looked at once a window, a limit means just what it says: only peeking needs a guard.
    let sure = if rules.interval >= rules.window { 1.0 } else { SURE };
    let case = Case { metric, window: rules.window, sure, seen };
    let (scale, limits) = match metric.rule {
        Rule::HealthCheck => return health(&case).into_iter().collect(),
        Rule::ErrorRate { max_ratio, floor, max, min_samples } => {
            let max = max.map(|max| Amount::Share(max.fraction()));
            let floor = Amount::Share(floor.fraction());
            (Scale::Errors, Limits { max_ratio, floor, max, min_samples })
        }
        Rule::LatencyP99 { max_ratio, floor, max, min_samples } => {
            let max = max.map(micros);
            return latencies(
                &case,
                Limits { max_ratio, floor: micros(floor), max, min_samples },
                micros(floor / TOKEN_FLOOR),
            );
        }
    };
    levels(&case, scale, &limits)
}

/// The times of a version: whole answers as ever, and of streams the first token and those
/// after it, each by itself. What cannot be judged is said only where nothing can be.
fn latencies(case: &Case<'_>, limits: Limits, token_floor: Amount) -> Vec<Finding> {
    let (canary, stable) = (case.seen.canary, case.seen.stable);
    if !canary.has_streams() && !stable.has_streams() {
        return levels(case, Scale::P99(Timing::Whole), &limits);
    }
    let of_tokens = Limits { floor: token_floor, max: None, ..limits };
    let mut all: Vec<Vec<Finding>> = vec![
        levels(case, Scale::P99(Timing::FirstToken), &limits),
        levels(case, Scale::P99(Timing::EachToken), &of_tokens),
    ];
    if canary.good > 0 || stable.good > 0 {
        all.push(levels(case, Scale::P99(Timing::Whole), &limits));
    }
    let is_blind = |findings: &Vec<Finding>| findings.iter().any(Finding::is_blind);
    if all.iter().all(is_blind) {
        // The one with the most to go by says what is missing.
        all.reverse();
        all.sort_by_key(|findings| findings.first().map(|one| one.canary_samples));
        let most = all.pop().unwrap_or_default();
        let broken = all.into_iter().flatten().filter(|one| one.ground.is_breach());
        return broken.chain(most).collect();
    }
    all.into_iter().flatten().filter(|one| !one.is_blind()).collect()
}

/// One rule and what it is held against.
struct Case<'a> {
    metric: &'a Metric,
    window: Duration,
    /// Chance up to which an excess counts, 0 to 1.
    sure: f64,
    seen: &'a Observation<'a>,
}

/// Which number of a reading a rule looks at.
#[derive(Clone, Copy)]
enum Scale {
    Errors,
    P99(Timing),
}

#[derive(Clone, Copy)]
struct Limits {
    max_ratio: Option<f64>,
    floor: Amount,
    max: Option<Amount>,
    min_samples: u64,
}

fn levels(case: &Case<'_>, scale: Scale, limits: &Limits) -> Vec<Finding> {
    if limits.max_ratio.is_none() && limits.max.is_none() {
        return Vec::new();
    }
    let canary = case.seen.canary;
    let samples = scale.samples(canary);
    let level = scale.level(canary).filter(|_| samples >= limits.min_samples);
    let Some(level) = level else {
        let missing = limits.min_samples.max(1).saturating_sub(samples);
        let ground = match canary.samples {
            0 => Ground::NoTraffic,
            _ => Ground::FewSamples { missing },
        };
        return vec![case.finding(scale, ground, None)];
    };
    let ratio = limits
        .max_ratio
        .and_then(|ratio| above_stable(case, scale, limits, level, ratio));
    let max = limits.max.and_then(|max| above_max(case, scale, limits, level, max));
    ratio.into_iter().chain(max).collect()
}

fn above_stable(
    case: &Case<'_>,
    scale: Scale,
    limits: &Limits,
    level: Amount,
    ratio: f64,
) -> Option<Finding> {
    let Some(stable) = scale.enough(case.seen.stable, limits.min_samples) else {
        let missing =
            limits.min_samples.max(1).saturating_sub(scale.samples(case.seen.stable));
        return Some(case.finding(scale, Ground::FewStableSamples { missing }, None));
    };
    let limit = stable.times(ratio).or_at_least(limits.floor);
    if !level.is_above(limit) {
        return None;
    }
    let chance = scale.ln_chance_between_equals(case.seen, limit).exp();
    let ground = if chance <= case.sure {
        Ground::AboveStable { stable, ratio, chance }
    } else {
        Ground::Unsure { chance }
    };
    Some(case.finding(scale, ground, Some(limit)))
}

fn above_max(
    case: &Case<'_>,
    scale: Scale,
    limits: &Limits,
    level: Amount,
    max: Amount,
) -> Option<Finding> {
    if !level.is_above(max) {
        return None;
    }
    let stable = scale.enough(case.seen.stable, limits.min_samples);
    if let Some(stable) = stable.filter(|stable| stable.is_above(max)) {
        let ground = Ground::Shared { stable: Some(stable) };
        return Some(case.finding(scale, ground, Some(max)));
    }
    let chance = scale.ln_chance_at_limit(case.seen.canary, max).exp();
    let ground = if chance <= case.sure {
        Ground::AboveMax { chance }
    } else {
        Ground::Unsure { chance }
    };
    Some(case.finding(scale, ground, Some(max)))
}

fn health(case: &Case<'_>) -> Option<Finding> {
    let Health::Unhealthy { failed_checks } = case.seen.canary_health else {
        return None;
    };
    let ground = match case.seen.stable_health {
        Health::Unhealthy { .. } => Ground::Shared { stable: None },
        Health::Unchecked | Health::Healthy => Ground::Unhealthy,
    };
    Some(Finding {
        rule: case.metric.rule.name(),
        trigger: Trigger::HealthCheck,
        on_breach: case.metric.on_breach,
        dry_run: case.metric.dry_run,
        ground,
        timing: Timing::Whole,
        seen: Some(Amount::Checks(failed_checks)),
        limit: None,
        window: case.window,
        canary_samples: case.seen.canary.samples,
        stable_samples: case.seen.stable.samples,
    })
}

impl Case<'_> {
    fn finding(&self, scale: Scale, ground: Ground, limit: Option<Amount>) -> Finding {
        Finding {
            rule: self.metric.rule.name(),
            trigger: match scale {
                Scale::Errors => Trigger::ErrorRate,
                Scale::P99(_) => Trigger::LatencyP99,
            },
            on_breach: self.metric.on_breach,
            dry_run: self.metric.dry_run,
            ground,
            timing: match scale {
                Scale::Errors => Timing::Whole,
                Scale::P99(timing) => timing,
            },
            seen: scale.level(self.seen.canary),
            limit,
            window: self.window,
            canary_samples: scale.samples(self.seen.canary),
            stable_samples: scale.samples(self.seen.stable),
        }
    }
}

impl Scale {
    fn samples(self, reading: &Reading) -> u64 {
        match self {
            Self::Errors => reading.samples,
            Self::P99(timing) => reading.spread(timing).count,
        }
    }

    fn level(self, reading: &Reading) -> Option<Amount> {
        match self {
            Self::Errors => reading.error_rate().map(Amount::Share),
            Self::P99(timing) => reading.spread(timing).p99_us.map(Amount::Micros),
        }
    }

    fn enough(self, reading: &Reading, min_samples: u64) -> Option<Amount> {
        self.level(reading).filter(|_| self.samples(reading) >= min_samples)
    }

    /// ln of the chance that versions of equal quality differ so much.
    ///
    /// Each bad event falls on the canary with the canary's share of the samples. For times
    /// an event is an answer above the limit; as stable's 99th percentile is itself only an
    /// estimate, the canary's events must also be too many for one in a hundred.
    fn ln_chance_between_equals(self, seen: &Observation<'_>, limit: Amount) -> f64 {
        let (ours, theirs) =
            (self.events(seen.canary, limit), self.events(seen.stable, limit));
        let (samples, others) = (self.samples(seen.canary), self.samples(seen.stable));
        let share = float(samples) / float(samples + others);
        let split = ln_at_least(ours, ours + theirs, share);
        match self {
            Self::Errors => split,
            Self::P99(_) => split.max(ln_at_least(ours, samples, TAIL)),
        }
    }

    /// ln of the chance that a version which just keeps the limit shows so much.
    fn ln_chance_at_limit(self, canary: &Reading, max: Amount) -> f64 {
        let allowed = match (self, max) {
            (Self::Errors, Amount::Share(share)) => share,
            _ => TAIL,
        };
        ln_at_least(self.events(canary, max), self.samples(canary), allowed)
    }

    fn events(self, reading: &Reading, limit: Amount) -> u64 {
        match (self, limit) {
            (Self::P99(timing), Amount::Micros(us)) => {
                reading.spread(timing).slower_than(us)
            }
            _ => reading.failures,
        }
    }
}

/// Both arguments of every comparison here have the same unit.
impl Amount {
    fn times(self, ratio: f64) -> Self {
        match self {
            Self::Share(share) => Self::Share(share * ratio),
            Self::Micros(us) => Self::Micros(whole(float(us) * ratio)),
            Self::Checks(count) => Self::Checks(count),
        }
    }

    fn number(self) -> f64 {
        match self {
            Self::Share(share) => share,
            Self::Micros(us) => float(us),
            Self::Checks(count) => f64::from(count),
        }
    }

    fn is_above(self, limit: Self) -> bool {
        self.number() > limit.number()
    }

    fn or_at_least(self, floor: Self) -> Self {
        if floor.is_above(self) { floor } else { self }
    }
}

fn micros(span: Duration) -> Amount {
    Amount::Micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

/// What may be above a 99th percentile.
const TAIL: f64 = 0.01;
