//! From trials to words and numbers: the answer to `explain`, and the evidence on the metrics
//! page.
//!
//! Apart from the trials, which only gather, and from the view of the status, which does not
//! ask why.

use super::explain::{EvidenceView, Explanation, RuleView, TransitionView, TrialView};
use super::handle::OrderError;
use super::history::Kept;
use super::seats::Label;
use super::trials::is_on_trial;
use super::view::View;
use crate::judge::trial::{Baseline, Evidence, Trial};
use crate::judge::{Amount, Finding, Health, Observation, Reading, Rule, Rules, Test};
use crate::route::{Route, Version};
use crate::telemetry::RuleFacts;
use crate::vocab::ids::Name;
use crate::vocab::time::Timestamp;

/// A trial beside everything that it is seen against.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) trial: &'a Trial,
    pub(super) baseline: &'a Baseline,
    pub(super) rules: &'a Rules,
    pub(super) seen: &'a Observation<'a>,
    pub(super) now: Timestamp,
}

impl Sight<'_> {
    fn evidence(&self) -> Vec<Evidence> {
        self.trial.evidence(self.now, self.seen, self.baseline)
    }

    /// How the trial stands, without what the route says about the version.
    pub(super) fn view(&self) -> TrialView {
        let trial = self.trial;
        let transitions = trial.transitions().iter().map(|step| TransitionView {
            at: step.at.0,
            to: step.to.to_string(),
            why: step.why.clone(),
        });
        TrialView {
            phase: Some(trial.phase().to_string()),
            since: Some(trial.phase_since().0),
            verdict: trial.verdict().to_string(),
            cause: trial.cause().map(ToString::to_string),
            promotable: trial.is_promotable(self.now),
            rules: self.rules.metrics.iter().map(|metric| self.rule(metric)).collect(),
            evidence: self.evidence().iter().map(evidence).collect(),
            transitions: transitions.collect(),
            ..TrialView::default()
        }
    }

    fn rule(&self, metric: &crate::judge::Metric) -> RuleView {
        let rule = metric.rule.name();
        let mut findings = self.trial.verdict().findings().iter();
        let found = findings.find(|finding| finding.rule == rule);
        let verdict = match found.map(|finding| finding.ground.is_breach()) {
            None => "pass",
            Some(false) => "inconclusive",
            Some(true) => "breach",
        };
        let Numbers { ours, theirs, unit, samples, of_stable } =
            self.numbers(&metric.rule);
        RuleView {
            rule: rule.to_owned(),
            test: match metric.test {
                Test::Sequential => "sequential",
                Test::Window => "window",
                Test::Both => "both",
            }
            .to_owned(),
            acts: metric.on_breach == crate::judge::OnBreach::Rollback && !metric.dry_run,
            verdict: verdict.to_owned(),
            value: ours,
            stable_value: theirs,
            unit: unit.to_owned(),
            samples,
            stable_samples: of_stable,
            why: found.map_or_else(
                || "nothing speaks against the version".to_owned(),
                Finding::to_string,
            ),
        }
    }

    fn numbers(&self, rule: &Rule) -> Numbers {
        let Observation { canary, stable, canary_health, stable_health } = self.seen;
        let (ours, theirs, unit) = match rule {
            Rule::ErrorRate { .. } => (canary.error_rate(), stable.error_rate(), SHARE),
            Rule::LatencyP99 { .. } => (p99(canary), p99(stable), SECONDS),
            Rule::HealthCheck => (failed(*canary_health), failed(*stable_health), CHECKS),
        };
        let (samples, of_stable) = match rule {
            Rule::LatencyP99 { .. } => {
                let of = |reading: &Reading| reading.good.max(reading.first_token.count);
                (of(canary), of(stable))
            }
            Rule::ErrorRate { .. } | Rule::HealthCheck => {
                (canary.samples, stable.samples)
            }
        };
        Numbers { ours, theirs, unit, samples, of_stable }
    }

    /// For Prometheus: each rule, and all together.
    pub(super) fn facts(&self) -> Vec<RuleFacts> {
        let all = self.evidence();
        let strongest = |rule: &str| {
            let of_rule =
                all.iter().filter(|one| one.rule == rule && one.test != PROMOTION);
            let most = of_rule.max_by(|a, b| a.reached.total_cmp(&b.reached));
            most.map(|one| (odds(one.log_odds), one.reached))
        };
        let mut facts: Vec<RuleFacts> = Vec::new();
        for metric in &self.rules.metrics {
            let rule = metric.rule.name();
            if facts.iter().all(|known| known.rule != rule) {
                let value = self.numbers(&metric.rule).ours;
                facts.push(RuleFacts { rule, value, evidence: strongest(rule) });
            }
        }
        if let Some(evidence) = strongest(ALL) {
            facts.push(RuleFacts { rule: ALL, value: None, evidence: Some(evidence) });
        }
        facts
    }
}

/// What a rule looks at.
struct Numbers {
    ours: Option<f64>,
    theirs: Option<f64>,
    unit: &'static str,
    samples: u64,
    of_stable: u64,
}

fn p99(reading: &Reading) -> Option<f64> {
    reading.judged_p99_us().map(seconds)
}

fn failed(health: Health) -> Option<f64> {
    match health {
        Health::Unchecked => None,
        Health::Healthy => Some(0.0),
        Health::Unhealthy { failed_checks } => Some(f64::from(failed_checks)),
    }
}

fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

fn number(amount: Amount) -> (f64, &'static str) {
    match amount {
        Amount::Share(share) => (share, SHARE),
        Amount::Micros(micros) => (seconds(micros), SECONDS),
        Amount::Checks(count) => (f64::from(count), CHECKS),
    }
}

fn evidence(one: &Evidence) -> EvidenceView {
    let either = one.seen.or(one.stable);
    EvidenceView {
        rule: one.rule.to_owned(),
        test: one.test.to_owned(),
        acts: one.acts,
        value: one.seen.map(|amount| number(amount).0),
        stable_value: one.stable.map(|amount| number(amount).0),
        unit: either.map(|amount| number(amount).1.to_owned()),
        samples: one.canary_samples,
        stable_samples: one.stable_samples,
        odds: odds(one.log_odds),
        bound: odds(one.log_bound),
        reached: one.reached,
        missing: one.missing,
        why: one.why.clone(),
    }
}

/// Odds from their logarithm; JSON has no infinity.
fn odds(log_odds: f64) -> f64 {
    log_odds.exp().min(MOST_ODDS)
}

impl View<'_> {
    /// Why something is as it is.
    pub(super) fn explain(&self, id: &str) -> Result<Explanation, OrderError> {
        if let Some(kept) = self.desk.history.rollback(id) {
            let about = (&kept.record.route, kept.record.timestamp);
            return Ok(recorded(id, "rollback", about, kept));
        }
        if let Some(kept) = self.desk.history.protect(id) {
            let about = (&kept.record.route, kept.record.timestamp);
            return Ok(recorded(id, "protect", about, kept));
        }
        let (name, version) = match id.split_once('/') {
            Some((route, version)) => (route, Some(version)),
            None => (id, None),
        };
        let found = self.table.routes().iter().find(|route| route.name.as_str() == name);
        let route = found.ok_or_else(|| self.unknown(id))?;
        let wanted =
            |one: &&Version| version.is_none_or(|name| one.name.as_str() == name);
        let versions: Vec<&Version> = route.versions().iter().filter(wanted).collect();
        if versions.is_empty() {
            return Err(self.unknown(id));
        }
        let trials = versions.into_iter().filter_map(|one| self.trial(route, one));
        Ok(Explanation {
            id: id.to_owned(),
            kind: if version.is_some() { "version" } else { "route" }.to_owned(),
            route: name.to_owned(),
            at: self.now.0,
            record: None,
            trials: trials.collect(),
        })
    }

    /// How the trial of a version stands, by its names.
    pub(super) fn trial_of(&self, label: &Label) -> Option<TrialView> {
        let route = self.table.route(&label.route)?;
        self.trial(route, route.version(&label.version)?)
    }

    /// How the trial of a version stands; of one in quarantine, what put it there. Nothing
    /// about stable, which the others are held against.
    fn trial(&self, route: &Route, version: &Version) -> Option<TrialView> {
        let state = self.version(route, version);
        let named = |view: TrialView| TrialView {
            version: version.name.to_string(),
            role: version.role.as_str().to_owned(),
            state: state.state.clone(),
            share: state.share,
            ..view
        };
        let (name, digest) = (&version.name, &version.digest);
        if let Some(entry) = self.desk.quarantine.holding(&route.name, name, digest) {
            return Some(named(TrialView {
                verdict: state.verdict.clone(),
                cause: Some(entry.reason.clone()),
                record_id: Some(entry.rollback_id.clone()),
                since: Some(entry.since.0),
                ..TrialView::default()
            }));
        }
        let held = self.desk.protects.holding(&route.name, name, digest);
        let view = self.sight(route, version, |sight| sight.view())?;
        Some(named(TrialView {
            cause: held.map(|entry| entry.record.finding.clone()).or(view.cause),
            record_id: held.map(|entry| entry.record.protect_id.clone()),
            ..view
        }))
    }

    /// Looks at the trial of a version, if it is on one.
    pub(super) fn sight<T>(
        &self,
        route: &Route,
        version: &Version,
        look: impl FnOnce(Sight<'_>) -> T,
    ) -> Option<T> {
        if !is_on_trial(route, version) {
            return None;
        }
        let court = self.trials.court(&route.name)?;
        let stable = route.stable().slot;
        let seen = Observation {
            canary: self.readings.get(&version.slot)?,
            stable: self.readings.get(&stable)?,
            canary_health: self.seats.get(version.slot)?.health(),
            stable_health: self.seats.get(stable)?.health(),
        };
        Some(look(Sight {
            trial: court.trial(version.slot)?,
            baseline: &court.baseline,
            rules: &court.rules,
            seen: &seen,
            now: self.now,
        }))
    }

    /// Says what there is in the place of what there is not.
    fn unknown(&self, id: &str) -> OrderError {
        let name = |route: &Name, version: &Name| format!("{route}/{version}");
        let routes = self.table.routes().iter();
        let names = routes.flat_map(|route| {
            let versions =
                route.versions().iter().map(|one| name(&route.name, &one.name));
            std::iter::once(route.name.to_string()).chain(versions)
        });
        let all = names.chain(self.desk.history.ids().map(str::to_owned));
        let mut known: Vec<String> = all.take(MOST_NAMES + 1).collect();
        if known.len() > MOST_NAMES {
            known[MOST_NAMES] = "…".to_owned();
        }
        let id: String = id.chars().take(MOST_CHARS).collect();
        let known =
            if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
        OrderError::Unknown(format!("there is nothing called {id}: there is {known}"))
    }
}

fn recorded<T: serde::Serialize>(
    id: &str,
    kind: &str,
    (route, at): (&Name, Timestamp),
    kept: &Kept<T>,
) -> Explanation {
    Explanation {
        id: id.to_owned(),
        kind: kind.to_owned(),
        route: route.to_string(),
        at: at.0,
        record: serde_json::to_value(&kept.record).ok(),
        trials: kept.evidence.clone().into_iter().collect(),
    }
}

const SHARE: &str = "share";
const SECONDS: &str = "seconds";
const CHECKS: &str = "checks";
/// The rule name of what all acting tests give together.
const ALL: &str = "all";
/// The test that speaks for a version.
const PROMOTION: &str = "promotion";
const MOST_ODDS: f64 = 1e300;
/// So many names of what there is are told to whoever asks for something else.
const MOST_NAMES: usize = 24;
/// So much of an unknown id is repeated.
const MOST_CHARS: usize = 160;
