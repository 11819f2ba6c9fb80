//! From books to verdicts: what every version on trial did, held against its rules.
//!
//! Apart from the loop, because it acts on nothing: it gives back what should be rolled back
//! and why.

use super::seats::{Label, Seats};
use super::settings::RouteSettings;
use crate::judge::{Finding, Observation, OnBreach, Verdict, judge};
use crate::route::{Role, Route, Standing, Version};
use crate::telemetry::emit;
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Name, Slot};
use crate::vocab::time::Timestamp;
use crate::vocab::trigger::Trigger;

/// A version that has to lose its traffic.
#[derive(Debug)]
pub(super) struct Condemned {
    pub(super) label: Label,
    pub(super) to: Name,
    pub(super) slot: Slot,
    pub(super) digest: Digest,
    pub(super) trigger: Trigger,
    pub(super) reason: String,
}

/// Judges every version on trial on a route; keeps each verdict in its seat.
pub(super) fn observe(
    settings: &RouteSettings,
    route: &Route,
    seats: &mut Seats,
    now: Timestamp,
) -> Vec<Condemned> {
    let mut on_trial = route.versions().iter().filter(|version| is_on_trial(version));
    let Some(first) = on_trial.next() else { return Vec::new() };
    let Some(stable) = seats.get_mut(route.stable().slot) else { return Vec::new() };
    let (stable, stable_health) = (stable.reading(now), stable.health());
    let mut condemned = Vec::new();
    for version in std::iter::once(first).chain(on_trial) {
        let Some(seat) = seats.get_mut(version.slot) else { continue };
        let canary = seat.reading(now);
        let canary_health = seat.health();
        let (ours, theirs) = (&canary, &stable);
        let seen =
            Observation { canary: ours, stable: theirs, canary_health, stable_health };
        let verdict = judge(&settings.rules, &seen);
        alert(seat, &verdict);
        // A version that gets nothing harms nobody: its servers may not even be up yet.
        let matters = route.share(version) > Percent::ZERO || canary.samples > 0;
        if let Some(finding) = verdict.acts().filter(|_| matters) {
            condemned.push(Condemned {
                label: seat.label.clone(),
                to: route.stable().name.clone(),
                slot: version.slot,
                digest: version.digest.clone(),
                trigger: finding.trigger,
                reason: finding.to_string(),
            });
        }
        seat.verdict = Some(verdict);
    }
    condemned
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

fn is_on_trial(version: &Version) -> bool {
    version.role != Role::Stable && version.standing == Standing::Serving
}

/// Says once when a rule that only asks to be told is broken, and again after it was kept.
fn alert(seat: &mut super::seats::Seat, verdict: &Verdict) {
    let told = |finding: &&Finding| {
        finding.ground.is_breach()
            && finding.on_breach == OnBreach::Alert
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
