//! From books to calls: what every version on trial did, held against its rules.
//!
//! Apart from the loop, because it acts on nothing: it gives back what each trial asks for
//! and why.

use super::explain::TrialView;
use super::seats::{Label, Seat, Seats};
use super::settings::RouteSettings;
use super::trials::{Case, Trials, is_on_trial};
use super::why::Sight;
use crate::judge::trial::{Baseline, Call};
use crate::judge::{Finding, Observation, OnBreach, Rules, Verdict, judge};
use crate::route::{Route, Standing, Version};
use crate::telemetry::emit;
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Name, Slot};
use crate::vocab::time::Timestamp;

/// Which version something is to be done with.
#[derive(Clone, Debug)]
pub(super) struct Suspect {
    pub(super) label: Label,
    pub(super) stable: Name,
    pub(super) stable_slot: Slot,
    pub(super) slot: Slot,
    pub(super) digest: Digest,
}

/// What a trial asks for, and how it stood when it did.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) suspect: Suspect,
    pub(super) call: Call,
    pub(super) evidence: TrialView,
}

impl Suspect {
    pub(super) fn of(route: &Route, version: &Version) -> Self {
        let label = Label { route: route.name.clone(), version: version.name.clone() };
        let Version { name: stable, slot: stable_slot, .. } = route.stable().clone();
        let (slot, digest) = (version.slot, version.digest.clone());
        Self { label, stable, stable_slot, slot, digest }
    }
}

/// Judges every version on trial on a route; keeps each verdict in its seat.
pub(super) fn observe(
    route: &Route,
    seats: &mut Seats,
    trials: &mut Trials,
    now: Timestamp,
) -> Vec<Asked> {
    let mut on_trial =
        route.versions().iter().filter(|version| is_on_trial(route, version));
    let Some(first) = on_trial.next() else { return Vec::new() };
    let Some(stable) = seats.get_mut(route.stable().slot) else { return Vec::new() };
    let (stable, stable_health) = (stable.reading(now), stable.health());
    let mut asked = Vec::new();
    for version in std::iter::once(first).chain(on_trial) {
        let Some(seat) = seats.get_mut(version.slot) else { continue };
        let Some((case, baseline, rules)) = trials.case_mut(&route.name, version.slot)
        else {
            continue;
        };
        let canary = seat.reading(now);
        let canary_health = seat.health();
        let seen = Observation {
            canary: &canary,
            stable: &stable,
            canary_health,
            stable_health,
        };
        // A version that gets nothing harms nobody: its servers may not even be up yet.
        let matters = route.share(version) > Percent::ZERO
            || canary.samples > 0
            || version.standing != Standing::Serving;
        let verdict = if matters {
            let called = decide(case, baseline, rules, &seen, now);
            asked.extend(called.map(|(call, evidence)| {
                let share = route.share(version).percent();
                Asked {
                    suspect: Suspect::of(route, version),
                    call,
                    evidence: TrialView {
                        version: version.name.to_string(),
                        role: version.role.as_str().to_owned(),
                        state: state(version.standing).to_owned(),
                        share,
                        ..evidence
                    },
                }
            }));
            case.trial.verdict().clone()
        } else {
            judge(rules, &seen)
        };
        alert(seat, &verdict);
        seat.verdict = Some(verdict);
    }
    asked
}

/// What the trial asks for, and the evidence for it: the trial itself has moved on by then.
fn decide(
    case: &mut Case,
    baseline: &Baseline,
    rules: &Rules,
    seen: &Observation<'_>,
    now: Timestamp,
) -> Option<(Call, TrialView)> {
    let mut before = case.trial.clone();
    let call = case.trial.decide(now, seen, baseline)?;
    before.look(now, baseline);
    let mut view = Sight { trial: &before, baseline, rules, seen, now }.view();
    view.verdict = case.trial.verdict().to_string();
    view.cause = case.trial.cause().map(Finding::to_string);
    Some((call, view))
}

/// A standing as the word of the status.
pub(super) fn state(standing: Standing) -> &'static str {
    match standing {
        Standing::Serving => "serving",
        Standing::Protected => "protected",
        Standing::Trickling => "trickle",
        Standing::Quarantined => "quarantined",
    }
}

/// Each rule's last verdict on the versions of a route, the worst where there are several:
/// 0 pass, 1 inconclusive, 2 breach.
pub(super) fn verdicts(
    settings: &RouteSettings,
    route: &Route,
    seats: &Seats,
) -> Vec<(&'static str, u8)> {
    let mut rules: Vec<(&'static str, u8)> = Vec::new();
    for metric in &settings.rules.metrics {
        let rule = metric.rule.name();
        let seen = route.versions().iter().filter_map(|version| {
            let verdict = seats.get(version.slot)?.verdict.as_ref()?;
            let of_rule = verdict.findings().iter().filter(|found| found.rule == rule);
            of_rule.map(|found| if found.ground.is_breach() { 2 } else { 1 }).max()
        });
        let worst = seen.max().unwrap_or(0);
        match rules.iter_mut().find(|(name, _)| *name == rule) {
            Some((_, verdict)) => *verdict = worst.max(*verdict),
            None => rules.push((rule, worst)),
        }
    }
    rules
}

/// Says once when a rule that only asks to be told is broken, and again after it was kept.
fn alert(seat: &mut Seat, verdict: &Verdict) {
    let told = |finding: &&Finding| {
        finding.ground.is_breach()
            && matches!(finding.on_breach, OnBreach::Alert | OnBreach::Pause)
            && !finding.dry_run
    };
    let broken: Vec<&Finding> = verdict.findings().iter().filter(told).collect();
    for finding in &broken {
        if !seat.alerted.contains(finding.rule) {
            let Label { route, version } = &seat.label;
            emit::breach_alert(route, version, &finding.to_string());
        }
    }
    seat.alerted = broken.iter().map(|finding| finding.rule).collect();
}
