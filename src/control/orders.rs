//! What operators order, checked and done: a weight, a rollback, a release.
//!
//! Apart from the loop, because each is refused with a reason when it makes no sense, and
//! those reasons are most of it.

use tokio::sync::mpsc;

use super::driver::{Driver, procedure, rollback_id};
use super::handle::{Deed, OrderError};
use super::meant::{Meant, meant};
use super::observe::Suspect;
use super::scribe::{Note, Release};
use super::seats::{Label, Seat};
use super::source::Source;
use super::status::ModeView;
use crate::clock;
use crate::rollout::Intent;
use crate::route::{Role, Route, Standing, TableError, Version};
use crate::telemetry::emit;
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Name, Slot};
use crate::vocab::record::RollbackRecord;
use crate::vocab::trigger::Trigger;

impl<S: Source> Driver<S> {
    pub(super) fn set_weight(
        &mut self,
        label: &Label,
        weight: Percent,
        by: &Deed,
    ) -> Result<(), OrderError> {
        let table = self.desk.live.load();
        let Label { route, version } = label;
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
        self.change(label, |old| {
            let next = old.with_weight(version, weight)?;
            if spared { next.with_standing(version, Standing::Serving) } else { Ok(next) }
        })?;
        self.desk.probing.remove(label);
        if spared {
            self.resumed_by(label, slot, by);
        }
        let Label { route, version } = label;
        emit::weight_set(route, version, weight.percent(), &by.operator.id, &by.reason);
        let said = serde_json::json!({
            "weight": weight.percent(), "operator": by.operator, "reason": by.reason,
        });
        self.desk.feed.tell("weight.set", Some(route), Some(version), said);
        let configured = self.settings.version(route, version).map(|it| it.weight);
        self.weights.give(label.clone(), configured.unwrap_or_default(), weight);
        self.overruled(label, weight, by);
        Ok(())
    }

    pub(super) fn roll_back(
        &mut self,
        route: &Name,
        (from, to): (Option<&Name>, Option<&Name>),
        by: Deed,
    ) -> Result<RollbackRecord, OrderError> {
        let table = self.desk.live.load();
        let current = table.route(route).ok_or_else(|| no_route(route))?;
        let settings = self.settings.route(route).ok_or_else(|| no_route(route))?;
        let (version, to) = match meant(current, from, to)? {
            Meant::Begin { from, to } => (from, to),
            Meant::Done(version) => return self.done_already(route, version),
        };
        let now = clock::wall();
        let intent = Intent {
            id: rollback_id(now),
            route: route.clone(),
            from: version.name.clone(),
            to: to.name.clone(),
            trigger: Trigger::Manual,
            reason: by.reason,
            automatic: false,
            by: by.operator.id,
            protect: None,
            config_hash: self.settings.config_hash.clone(),
            ask_first: self.is_dead(to.slot),
            ramp_until: None,
            procedure: procedure(settings, &to.name),
        };
        let suspect = Suspect::of(current, version);
        let evidence = self.view(now, |view| view.trial_of(&suspect.label));
        let slots = (suspect.slot, to.slot);
        let record = self.begin(intent, (suspect.slot, suspect.digest), to.slot, now);
        self.open_case(&record, slots, evidence.as_ref(), now);
        if let Some(evidence) = evidence {
            self.desk.history.put_evidence(&record.rollback_id, evidence);
        }
        Ok(record)
    }

    /// The version was rolled back before: the same order again is the same rollback.
    fn done_already(
        &self,
        route: &Name,
        version: &Version,
    ) -> Result<RollbackRecord, OrderError> {
        let (name, digest) = (&version.name, &version.digest);
        let entry = self.desk.quarantine.holding(route, name, digest);
        let known = entry.and_then(|it| self.desk.history.rollback(&it.rollback_id));
        match known {
            Some(kept) => Ok(kept.record.clone()),
            None => refused(format!("{name} is in quarantine already")),
        }
    }

    /// Whether a version is known to be down: it is asked before anybody is sent to it.
    pub(super) fn is_dead(&self, slot: Slot) -> bool {
        self.seats.get(slot).is_some_and(Seat::is_down)
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
        // A quarantine that is written late must not come after its own end.
        self.desk.put_rest_aside(None);
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
        emit::released(route, version, &by.operator.id, &by.reason);
        let said = serde_json::json!({ "operator": by.operator, "reason": by.reason });
        self.desk.feed.tell("quarantine.released", Some(route), Some(version), said);
        self.desk.tell_released(label, by, clock::wall());
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

    /// Makes a route read-only, or lets its versions be asked again.
    pub(super) fn set_mode(
        &mut self,
        route: &Name,
        read_only: bool,
        by: &Deed,
    ) -> Result<ModeView, OrderError> {
        self.settings.route(route).ok_or_else(|| no_route(route))?;
        let now = clock::wall();
        if read_only {
            let why = (by.reason.clone(), Some(by.operator.id.clone()));
            self.desk.emergency(route, None, why, now);
        } else {
            self.desk.serve_again(route, now);
        }
        Ok(self.desk.mode_view(route))
    }

    /// The record of one rollback as it stands.
    pub(super) fn record_of(&self, id: &str) -> Result<RollbackRecord, OrderError> {
        let kept = self.desk.history.rollback(id);
        kept.map(|kept| kept.record.clone()).ok_or_else(|| {
            let id: String = id.chars().take(80).collect();
            OrderError::Unknown(format!("there is no rollback {id}: see the history"))
        })
    }
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
