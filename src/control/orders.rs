//! What operators order, checked and done: a weight, a rollback, a release.
//!
//! Apart from the loop, because each is refused with a reason when it makes no sense, and
//! those reasons are most of it.

use tokio::sync::mpsc;

use super::driver::{Driver, policy, rollback_id};
use super::handle::{Deed, OrderError};
use super::observe::Suspect;
use super::scribe::{Note, Release};
use super::seats::Label;
use super::source::Source;
use crate::clock;
use crate::rollout::Intent;
use crate::route::{Role, Route, Standing, TableError, Version};
use crate::telemetry::emit;
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;
use crate::vocab::record::RollbackRecord;
use crate::vocab::trigger::Trigger;

impl<S: Source> Driver<S> {
    pub(super) fn set_weight(
        &mut self,
        label: Label,
        weight: Percent,
        by: &Deed,
    ) -> Result<(), OrderError> {
        let table = self.desk.live.load();
        let Label { route, version } = &label;
        let old = table.route(route).ok_or_else(|| no_route(route))?;
        let found = old.version(version).ok_or_else(|| no_version(route, version))?;
        if found.standing == Standing::Quarantined {
            return refused(format!("{version} is in quarantine: release it first"));
        }
        if found.role == Role::Candidate {
            return refused(format!(
                "{version} is a candidate, which takes no share: make it the canary"
            ));
        }
        let slot = found.slot;
        let spared = matches!(found.standing, Standing::Protected | Standing::Trickling);
        self.change(&label, |old| {
            let next = old.with_weight(version, weight)?;
            if spared { next.with_standing(version, Standing::Serving) } else { Ok(next) }
        })?;
        self.desk.probing.remove(&label);
        if spared {
            self.resumed_by(&label, slot, by);
        }
        let Label { route, version } = &label;
        emit::weight_set(route, version, weight.percent(), &by.operator, &by.reason);
        let configured = self.settings.version(route, version).map(|it| it.weight);
        self.weights.give(label, configured.unwrap_or_default(), weight);
        Ok(())
    }

    pub(super) fn roll_back(
        &mut self,
        route: &Name,
        from: Option<&Name>,
        by: Deed,
    ) -> Result<RollbackRecord, OrderError> {
        let table = self.desk.live.load();
        let current = table.route(route).ok_or_else(|| no_route(route))?;
        let settings = self.settings.route(route).ok_or_else(|| no_route(route))?;
        let version = choose(current, from)?;
        let now = clock::wall();
        let intent = Intent {
            id: rollback_id(now),
            route: route.clone(),
            from: version.name.clone(),
            to: current.stable().name.clone(),
            trigger: Trigger::Manual,
            reason: by.reason,
            automatic: false,
            by: by.operator,
            protect: None,
            drain: policy(settings),
        };
        let suspect = Suspect::of(current, version);
        let evidence = self.view(now, |view| view.trial_of(&suspect.label));
        let record = self.begin(intent, (suspect.slot, suspect.digest), now);
        if let Some(evidence) = evidence {
            self.desk.history.put_evidence(&record.rollback_id, evidence);
        }
        Ok(record)
    }

    pub(super) fn release(&mut self, release: Release) {
        let entries = self.desk.quarantine.entries().iter();
        let mut held = entries
            .filter(|one| one.route == release.route && one.version == release.version);
        let label =
            Label { route: release.route.clone(), version: release.version.clone() };
        let seated = self.seats.current(&label);
        let refusal = if held.next().is_none() {
            let Label { route, version } = label;
            Some(format!("{version} is not in quarantine on route {route}"))
        } else if seated.is_some_and(|(slot, _)| self.desk.is_rolling(slot)) {
            Some(format!("the rollback of {} has not ended: wait for it", label.version))
        } else {
            None
        };
        if let Some(why) = refusal {
            let _gone = release.answer.send(refused(why));
            return;
        }
        let noted = self.desk.scribe.try_send(Note::Forget(release));
        if let Err(
            mpsc::error::TrySendError::Full(Note::Forget(back))
            | mpsc::error::TrySendError::Closed(Note::Forget(back)),
        ) = noted
        {
            let _gone = back.answer.send(Err(OrderError::Busy));
        }
    }

    /// A version is off the disk's list, and may have users again.
    pub(super) fn let_go(&mut self, label: &Label, by: &Deed) -> Result<(), OrderError> {
        let Label { route, version } = label;
        self.desk.quarantine.release(route, version);
        emit::released(route, version, &by.operator, &by.reason);
        let Some((slot, _)) = self.seats.current(label) else { return Ok(()) };
        // Before the table, so that the first new request finds no cut and no old verdict.
        self.desk.pardon(slot);
        if let Some(seat) = self.seats.get_mut(slot) {
            seat.pardon();
        }
        self.trials.forget(route, slot);
        let serving = |old: &Route| old.with_standing(version, Standing::Serving);
        self.change(label, serving).map(drop)
    }
}

/// The version that an operator means.
fn choose<'r>(route: &'r Route, named: Option<&Name>) -> Result<&'r Version, OrderError> {
    let name = &route.name;
    let version = match named {
        Some(named) => route.version(named).ok_or_else(|| no_version(name, named))?,
        None => {
            let canary = |one: &&Version| {
                one.role == Role::Canary && one.standing != Standing::Quarantined
            };
            let mut canaries = route.versions().iter().filter(canary);
            match (canaries.next(), canaries.next()) {
                (Some(only), None) => only,
                (None, _) => {
                    return refused(format!("route {name} has no canary to roll back"));
                }
                (Some(_), Some(_)) => {
                    return refused(format!(
                        "route {name} has more than one canary: name the one to roll back"
                    ));
                }
            }
        }
    };
    if version.role == Role::Stable {
        let stable = &version.name;
        return refused(format!(
            "{stable} is the stable version of route {name}: there is nothing to go back to"
        ));
    }
    if version.standing == Standing::Quarantined {
        return refused(format!("{} is in quarantine already", version.name));
    }
    Ok(version)
}

fn refused<T>(why: String) -> Result<T, OrderError> {
    Err(OrderError::Refused(why))
}

fn no_route(route: &Name) -> OrderError {
    OrderError::Refused(TableError::NoRoute(route.clone()).to_string())
}

fn no_version(route: &Name, version: &Name) -> OrderError {
    OrderError::Refused(TableError::NoVersion(route.clone(), version.clone()).to_string())
}
