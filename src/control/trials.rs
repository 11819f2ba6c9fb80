//! `Trials`: the baseline of every route and the trial of every version on it, fed with what
//! the workers counted.
//!
//! Apart from the loop, because it acts on nothing: it only keeps what was learned, for as
//! long as the rules and the slots are the same, so that a reload which changes nothing
//! resets nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::epochs::{Epochs, is_since};
use super::settings::Settings;
use crate::judge::trial::{Baseline, Beat, Trial};
use crate::judge::{Deadlines, Finding, Ground, OnBreach, Rule, Rules, Sums, Timing};
use crate::measure::{Roster, Tally};
use crate::rollout::Protects;
use crate::route::{Role, Route, RouteTable, Standing, Version};
use crate::vocab::ids::{Epoch, Name, Slot};
use crate::vocab::outcome::Class;
use crate::vocab::time::Timestamp;
use crate::vocab::trigger::Trigger;

/// All trials; one for each version that is on trial.
#[derive(Debug, Default)]
pub(super) struct Trials {
    courts: BTreeMap<Name, Court>,
}

/// The trials of one route.
#[derive(Debug)]
pub(super) struct Court {
    pub(super) rules: Arc<Rules>,
    pub(super) baseline: Baseline,
    stable: Slot,
    cases: BTreeMap<Slot, Case>,
}

/// One version on trial.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) trial: Trial,
    /// What was placed in an epoch before this one belongs to an earlier phase.
    from: Epoch,
    deadlines: Deadlines,
}

impl Trials {
    /// Opens and closes courts and cases, so that there is one for each version on trial in
    /// this table.
    pub(super) fn sync(
        &mut self,
        settings: &Settings,
        table: &RouteTable,
        protects: &Protects,
        now: Timestamp,
    ) {
        self.courts.retain(|name, _| table.route(name).is_some());
        for route in &settings.routes {
            let Some(current) = table.route(&route.name) else { continue };
            let (rules, stable) = (route.trial_rules(), current.stable().slot);
            let fits = |court: &Court| *court.rules == *rules && court.stable == stable;
            if !self.courts.get(&route.name).is_some_and(fits) {
                let baseline = Baseline::new(&rules);
                let court = Court { rules, baseline, stable, cases: BTreeMap::new() };
                self.courts.insert(route.name.clone(), court);
            }
            if let Some(court) = self.courts.get_mut(&route.name) {
                court.sync(current, protects, now);
            }
        }
    }

    /// Takes in what was counted since the last time, and sets the deadlines of the requests
    /// to come.
    pub(super) fn observe(
        &mut self,
        books: &[(Slot, Tally)],
        epochs: &Epochs,
        roster: &Roster,
        now: Timestamp,
    ) {
        for (name, court) in &mut self.courts {
            court.observe(name, books, epochs, now);
            court.set_deadlines(roster);
        }
    }

    /// The court of a route.
    pub(super) fn court(&self, route: &Name) -> Option<&Court> {
        self.courts.get(route)
    }

    /// The case of a version, and the baseline that it is held against.
    pub(super) fn case_mut(
        &mut self,
        route: &Name,
        slot: Slot,
    ) -> Option<(&mut Case, &Baseline, &Rules)> {
        let Court { rules, baseline, cases, .. } = self.courts.get_mut(route)?;
        Some((cases.get_mut(&slot)?, baseline, rules))
    }

    /// A new phase began with this epoch: what was placed before does not count in it.
    pub(super) fn begin_phase(&mut self, route: &Name, slot: Slot, epoch: Epoch) {
        if let Some((case, ..)) = self.case_mut(route, slot) {
            case.from = epoch;
        }
    }

    /// Forgets what was gathered about a version: its next trial begins anew.
    pub(super) fn forget(&mut self, route: &Name, slot: Slot) {
        if let Some(court) = self.courts.get_mut(route) {
            court.cases.remove(&slot);
        }
    }
}

impl Court {
    /// The trial of a version.
    pub(super) fn trial(&self, slot: Slot) -> Option<&Trial> {
        self.cases.get(&slot).map(|case| &case.trial)
    }

    fn sync(&mut self, route: &Route, protects: &Protects, now: Timestamp) {
        let on_trial = |slot: Slot| {
            route.versions().iter().any(|v| v.slot == slot && is_on_trial(route, v))
        };
        self.cases.retain(|slot, _| on_trial(*slot));
        for version in
            route.versions().iter().filter(|version| is_on_trial(route, version))
        {
            let rules = &self.rules;
            self.cases.entry(version.slot).or_insert_with(|| {
                let held = protects.holding(&route.name, &version.name, &version.digest);
                let rules = Arc::clone(rules);
                let trial = match held {
                    Some(entry) => {
                        let finding = earlier(&rules, entry.record.trigger);
                        Trial::protected(rules, finding, now)
                    }
                    None => Trial::new(rules, now),
                };
                Case { trial, from: route.epoch(), deadlines: Deadlines::default() }
            });
        }
    }

    fn observe(
        &mut self,
        name: &Name,
        books: &[(Slot, Tally)],
        epochs: &Epochs,
        now: Timestamp,
    ) {
        let of = |slot: Slot| books.iter().find(|(own, _)| *own == slot).map(|it| &it.1);
        let sums_of =
            |slot: Slot| of(slot).map_or(&[][..], |tally| tally.sums.as_slice());
        let stable = sums_of(self.stable);
        if stable.is_empty() {
            self.baseline.observe(now, &Sums::default());
        }
        for (_, sums) in stable {
            self.baseline.observe(now, sums);
        }
        if of(self.stable).is_some_and(is_well) {
            self.baseline.alive(now);
        }
        let nothing = Sums::default();
        for (slot, case) in &mut self.cases {
            let canary = sums_of(*slot);
            let alone =
                stable.iter().filter(|(epoch, _)| in_epoch(canary, *epoch).is_none());
            let all = canary.iter().chain(alone).map(|(epoch, _)| *epoch);
            for epoch in all.filter(|epoch| is_since(*epoch, case.from)) {
                let Some(share) = epochs.share(name, epoch, *slot) else { continue };
                let canary = in_epoch(canary, epoch).unwrap_or(&nothing);
                let stable = in_epoch(stable, epoch).unwrap_or(&nothing);
                let beat = Beat { canary, stable, share };
                case.trial.observe(now, &beat, &self.baseline);
            }
        }
    }

    fn set_deadlines(&mut self, roster: &Roster) {
        let deadlines = self.baseline.deadlines();
        for (slot, case) in &mut self.cases {
            if case.deadlines != deadlines {
                case.deadlines = deadlines;
                roster.set_deadlines(*slot, deadlines);
                roster.set_deadlines(self.stable, deadlines);
            }
        }
    }
}

/// Whether a version is held against stable now: not one that acts as stable itself.
pub(super) fn is_on_trial(route: &Route, version: &Version) -> bool {
    version.role != Role::Stable
        && !route.is_stable(version)
        && version.standing != Standing::Quarantined
}

fn in_epoch(sums: &[(Epoch, Sums)], epoch: Epoch) -> Option<&Sums> {
    sums.iter().find(|(own, _)| *own == epoch).map(|(_, sums)| sums)
}

/// Whether any answer was a good one, be it to a request that another version failed.
fn is_well(tally: &Tally) -> bool {
    let good = |class: &Class| class.is_evidence() && !class.is_failure();
    Class::all().filter(good).any(|class| tally.outcomes[class.index()] > 0)
}

/// What an earlier run took the users off for; its words are in the record.
fn earlier(rules: &Rules, trigger: Trigger) -> Finding {
    let wanted = match trigger {
        Trigger::LatencyP99 => "latencyP99",
        Trigger::HealthCheck => "healthCheck",
        Trigger::ErrorRate | Trigger::Manual => "errorRate",
    };
    let mut names = rules.metrics.iter().map(|metric| metric.rule.name());
    Finding {
        rule: names.find(|name| *name == wanted).unwrap_or(Rule::HealthCheck.name()),
        trigger,
        on_breach: OnBreach::Rollback,
        dry_run: false,
        ground: Ground::Flapping { protects: 1 },
        timing: Timing::Whole,
        seen: None,
        limit: None,
        window: Duration::ZERO,
        canary_samples: 0,
        stable_samples: 0,
    }
}
