//! What a trial has to say to the verdict: the evidence of each rule as a finding, broken or
//! open.

use std::time::Duration;

use super::baseline::Baseline;
use super::call::Phase;
use super::gauges::Limit;
use super::machine::{GATE, Trial};
use super::plan::Aim;
use super::stage::{Gauge, Stage};
use crate::judge::reading::{Observation, float};
use crate::judge::rules::{Metric, Rule};
use crate::judge::sums::Timing;
use crate::judge::verdict::{Amount, Finding, Ground};
use crate::vocab::time::Timestamp;
use crate::vocab::trigger::Trigger;

impl Trial {
    /// What the evidence says about one rule; nothing when the version has shown that it
    /// keeps it.
    pub(super) fn weighed(
        &self,
        metric: &Metric,
        now: Timestamp,
        seen: &Observation<'_>,
        baseline: &Baseline,
    ) -> Option<Finding> {
        let aim = self.aim(metric)?;
        let (limit, gauge) = match metric.rule {
            Rule::ErrorRate { .. } => (self.running.max_errors.as_ref(), Gauge::Errors),
            Rule::LatencyP99 { .. } => (self.running.max_latency.as_ref(), Gauge::Slow),
            Rule::HealthCheck => return None,
        };
        if let Some(finding) = self.shared(limit, gauge, now, seen, baseline) {
            return Some(finding);
        }
        let parts = self.stage().parts().filter(|part| is_of(part.gauge, &metric.rule));
        let part = parts.max_by(|a, b| a.log_odds.total_cmp(&b.log_odds));
        let Some(part) = part else {
            let odds = limit?.shell.log_evidence();
            return self
                .charge(gauge, (odds, self.end()), now, seen)
                .map(gathering(None));
        };
        let own = (part.log_odds, self.end());
        if !aim.acts && part.log_odds >= self.end() {
            return self.charge(part.gauge, own, now, seen);
        }
        if self.has_passed(gauge) && part.log_odds < self.plan.first_bound / 2.0 {
            return None;
        }
        let bound = self.bound();
        let alone = part.weighted();
        let missing = self.missing(&part, bound - alone);
        let mut finding = self.charge(part.gauge, (alone, bound), now, seen)?;
        finding.ground = self.open_ground(&finding, gauge, missing, now, baseline);
        Some(finding)
    }

    fn open_ground(
        &self,
        finding: &Finding,
        gauge: Gauge,
        missing: Option<u64>,
        now: Timestamp,
        baseline: &Baseline,
    ) -> Ground {
        if self.stage().seen.known.0 == 0 {
            return Ground::NoTraffic;
        }
        if gauge != Gauge::Errors {
            if !baseline.has_tables() {
                let missing =
                    Baseline::answers_needed().saturating_sub(baseline.answers());
                return Ground::FewStableSamples { missing };
            }
            if !self.is_warm(now) {
                return Ground::WarmUp;
            }
        }
        let Finding { ground, .. } = gathering(missing)(finding.clone());
        ground
    }

    /// An absolute limit that stable breaks as well, or that nothing says is the canary's
    /// doing.
    fn shared(
        &self,
        limit: Option<&Limit>,
        gauge: Gauge,
        now: Timestamp,
        seen: &Observation<'_>,
        baseline: &Baseline,
    ) -> Option<Finding> {
        let odds = limit?.shell.log_evidence();
        let is_gated = baseline.has_traffic(now) && self.running.log_odds() < GATE.ln();
        if odds < self.end() || !is_gated {
            return None;
        }
        let mut finding = self.charge(gauge, (odds, self.end()), now, seen)?;
        let Ground::Evidence { stable, .. } = finding.ground else { return None };
        finding.ground = Ground::Shared { stable };
        finding.limit = self.limit_of(gauge);
        Some(finding)
    }

    /// An absolute limit that is broken by the canary's own doing.
    pub(super) fn over_limit(
        &self,
        now: Timestamp,
        seen: &Observation<'_>,
        baseline: &Baseline,
    ) -> Option<(Gauge, Finding)> {
        if baseline.has_traffic(now) && self.running.log_odds() < GATE.ln() {
            return None;
        }
        let Stage { max_errors, max_latency, .. } = &self.running;
        let both = [(Gauge::Errors, max_errors), (Gauge::Slow, max_latency)];
        both.into_iter().find_map(|(gauge, limit)| {
            let odds = limit.as_ref()?.shell.log_evidence();
            if odds < self.end() {
                return None;
            }
            let mut finding = self.charge(gauge, (odds, self.end()), now, seen)?;
            finding.limit = self.limit_of(gauge);
            finding.acts().then_some((gauge, finding))
        })
    }

    /// The logarithm of the odds that a verdict without a confirmation needs.
    pub(super) fn end(&self) -> f64 {
        -self.plan.alpha.ln()
    }

    fn limit_of(&self, gauge: Gauge) -> Option<Amount> {
        match gauge {
            Gauge::Errors => self.plan.max_errors.map(Amount::Share),
            Gauge::Latency(_) | Gauge::Slow => {
                super::plan::LatencyAim::of(&self.rules).max_us.map(Amount::Micros)
            }
        }
    }

    fn aim(&self, metric: &Metric) -> Option<Aim> {
        let is_this = |aim: &Aim| self.rules.metrics[aim.metric].rule == metric.rule;
        self.plan.errors.filter(is_this).or(self.plan.latency.filter(is_this))
    }

    fn has_passed(&self, gauge: Gauge) -> bool {
        self.phase() == Phase::Running && self.promotion.shows(gauge)
    }

    /// The evidence of one test as a finding that suffices.
    pub(super) fn charge(
        &self,
        gauge: Gauge,
        (log_odds, log_bound): (f64, f64),
        now: Timestamp,
        seen: &Observation<'_>,
    ) -> Option<Finding> {
        let aim = match gauge {
            Gauge::Errors => self.plan.errors?,
            Gauge::Latency(_) | Gauge::Slow => self.plan.latency?,
        };
        let counts = &self.stage().seen;
        let share = |count: u64, of: u64| {
            (of > 0).then(|| Amount::Share(float(count) / float(of)))
        };
        let of = |events: (u64, u64)| {
            (share(events.0, counts.known.0), share(events.1, counts.known.1))
        };
        let (ours, theirs) = match gauge {
            Gauge::Errors => of(counts.bad),
            Gauge::Slow => of(counts.slow),
            Gauge::Latency(timing) => (
                seen.canary.spread(timing).p99_us.map(Amount::Micros),
                seen.stable.spread(timing).p99_us.map(Amount::Micros),
            ),
        };
        let metric = &self.rules.metrics[aim.metric];
        let ground = Ground::Evidence { stable: theirs, log_odds, log_bound };
        let since = self.stage().since;
        Some(Finding {
            timing: self.timing_of(gauge),
            seen: ours,
            window: Duration::from_millis(now.0.saturating_sub(since.0) / 1_000 * 1_000),
            canary_samples: counts.known.0,
            stable_samples: counts.known.1,
            ..self.instant(metric, ground, seen)
        })
    }

    /// What times a test is about.
    fn timing_of(&self, gauge: Gauge) -> Timing {
        match gauge {
            Gauge::Errors => Timing::Whole,
            Gauge::Latency(timing) => timing,
            Gauge::Slow => self.slow_is_of,
        }
    }

    /// A finding of the instant class.
    pub(super) fn instant(
        &self,
        metric: &Metric,
        ground: Ground,
        seen: &Observation<'_>,
    ) -> Finding {
        Finding {
            rule: metric.rule.name(),
            trigger: match metric.rule {
                Rule::ErrorRate { .. } => Trigger::ErrorRate,
                Rule::LatencyP99 { .. } => Trigger::LatencyP99,
                Rule::HealthCheck => Trigger::HealthCheck,
            },
            on_breach: metric.on_breach,
            dry_run: metric.dry_run,
            ground,
            timing: Timing::Whole,
            seen: None,
            limit: None,
            window: self.rules.window,
            canary_samples: seen.canary.samples,
            stable_samples: seen.stable.samples,
        }
    }
}

fn is_of(gauge: Gauge, rule: &Rule) -> bool {
    match rule {
        Rule::ErrorRate { .. } => gauge == Gauge::Errors,
        Rule::LatencyP99 { .. } => gauge != Gauge::Errors,
        Rule::HealthCheck => false,
    }
}

fn gathering(missing: Option<u64>) -> impl FnOnce(Finding) -> Finding {
    move |mut finding| {
        if let Ground::Evidence { stable, log_odds, log_bound } = finding.ground {
            finding.ground = Ground::Gathering { stable, log_odds, log_bound, missing };
        }
        finding
    }
}
