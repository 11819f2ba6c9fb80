//! What the trials ask for, done: users moved to stable and back, and the way to a rollback.
//!
//! Apart from the loop, which only says when, and from the desk, which alone publishes.
//! Whatever is done is done in the order users need it: first the table, then the record, the
//! log and the disk.

use std::time::Duration;

use super::copies::{target, with_copies};
use super::driver::{Driver, MACHINE, procedure, protect_id, rollback_id};
use super::explain::TrialView;
use super::handle::{Deed, OrderError};
use super::observe::{Asked, Suspect};
use super::scribe::Note;
use super::seats::Label;
use super::source::Source;
use crate::judge::Finding;
use crate::judge::trial::{Call, Phase};
use crate::rollout::Intent;
use crate::route::{Route, Standing, TableError};
use crate::telemetry::emit;
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Generation, Slot};
use crate::vocab::record::{
    Outcome, ProtectEntry, ProtectRecord, ProtectRef, RollbackRecord, Status,
};
use crate::vocab::time::Timestamp;

/// The most that a version takes while stable has a part back to compare with
/// (decision/SPEC.md 5).
pub(super) const PROBED: Percent = Percent::from_ppm(850_000);

impl<S: Source> Driver<S> {
    /// Does what a trial asks for.
    pub(super) fn answer(&mut self, asked: Asked, now: Timestamp) {
        let Asked { suspect, call, evidence } = asked;
        match call {
            Call::Protect(finding) => self.protect(suspect, &finding, evidence, now),
            Call::Rollback(finding) => {
                let Some(settings) = self.settings.route(&suspect.label.route) else {
                    return;
                };
                let ask_first = self.is_dead(suspect.stable_slot);
                let stable = suspect.stable_slot;
                let intent = Intent {
                    id: rollback_id(now),
                    route: suspect.label.route,
                    from: suspect.label.version,
                    to: suspect.stable.clone(),
                    trigger: finding.trigger,
                    reason: finding.to_string(),
                    automatic: true,
                    by: MACHINE.to_owned(),
                    protect: None,
                    config_hash: self.settings.config_hash.clone(),
                    ask_first,
                    ramp_until: None,
                    procedure: procedure(settings, &suspect.stable),
                };
                let of = (suspect.slot, suspect.digest);
                let record = self.begin(intent, of, stable, now);
                self.open_case(&record, (suspect.slot, stable), Some(&evidence), now);
                self.desk.history.put_evidence(&record.rollback_id, evidence);
            }
            Call::Resume => {
                let why = "the evidence did not come again on fresh requests";
                self.resume(&suspect, why, now);
            }
            Call::Hold(why) => self.hold(&suspect, &why, now),
            Call::Trickle => self.trickle(&suspect),
            Call::Probe => self.probe(&suspect),
            Call::ProbeOver(why) => self.probe_over(&suspect, &why),
        }
    }

    /// Begins a rollback, out of a protect where there is one.
    pub(super) fn begin(
        &mut self,
        mut intent: Intent,
        (slot, digest): (Slot, Digest),
        to: Slot,
        now: Timestamp,
    ) -> RollbackRecord {
        let label = Label { route: intent.route.clone(), version: intent.from.clone() };
        let entry = self.desk.protects.holding(&label.route, &label.version, &digest);
        intent.protect = entry.map(|ProtectEntry { record, .. }| ProtectRef {
            protect_id: record.protect_id.clone(),
            timestamp: record.timestamp,
            finding: record.finding.clone(),
        });
        let (why, by) = (intent.reason.clone(), intent.by.clone());
        let room = self.room_of(&label.route, to, Percent::FULL, now);
        let was_on = self.desk.ramps.contains_key(&label.route);
        intent.ramp_until = self.begin_ramp(&label, to, &room, now);
        let record = self.desk.begin(intent, (slot, digest), to, now);
        let RollbackRecord { rollback_id: id, to_version, .. } = &record;
        self.tell_short((id, &label, to_version), &room, now);
        if !was_on {
            self.tell_ramp(&label.route, id, &room, now);
        }
        // Whatever comes next for the version begins with fresh evidence.
        self.trials.forget(&label.route, slot);
        if record.status == Status::Failed {
            return record;
        }
        self.desk.probing.remove(&label);
        let came = (Outcome::Confirmed, Some(record.rollback_id.clone()));
        self.end_protect(&label, came, (&why, &by), now);
        self.pass_copies_on(&label);
        record
    }

    /// Users go to stable, and the version is tested without them.
    fn protect(
        &mut self,
        suspect: Suspect,
        finding: &Finding,
        evidence: TrialView,
        now: Timestamp,
    ) {
        let Suspect { label, stable, stable_slot, slot, digest, .. } = suspect;
        let room = self.room_of(&label.route, stable_slot, Percent::FULL, now);
        let ramps = self.begin_ramp(&label, stable_slot, &room, now).is_some();
        let (standing, how) = match self.phase(&label, slot) {
            Some(Phase::Trickling) => (Standing::Trickling, "on a trickle of users"),
            Some(_) | None => (Standing::Protected, "on copies of requests"),
        };
        let moved = self.stand(&label, slot, standing);
        let record = ProtectRecord {
            protect_id: protect_id(now),
            timestamp: now,
            route: label.route.clone(),
            version: label.version.clone(),
            to_version: stable,
            trigger: finding.trigger,
            finding: finding.to_string(),
            outcome: Outcome::Open,
            resolved: None,
            why: None,
            rollback_id: None,
        };
        let Some(generation) = self.is_done(moved, &label, slot, "protect") else {
            return;
        };
        emit::protect_begun(&record, how, generation);
        let id = record.protect_id.clone();
        let entry = ProtectEntry { digest, record: record.clone() };
        self.desk.protects.add(entry.clone());
        self.note(Note::Protect(entry), &label);
        self.desk.tell_protect(&record, true, now);
        if ramps {
            self.tell_short((&id, &label, &record.to_version), &room, now);
            self.tell_ramp(&label.route, &id, &room, now);
        }
        self.desk.history.put_protect(record);
        self.desk.history.put_evidence(&id, evidence);
    }

    /// It was noise: users are back.
    fn resume(&mut self, suspect: &Suspect, why: &str, now: Timestamp) {
        let (label, slot) = (&suspect.label, suspect.slot);
        let moved = self.stand(label, slot, Standing::Serving);
        if self.is_done(moved, label, slot, "resume").is_some() {
            self.end_protect(label, (Outcome::Resumed, None), (why, MACHINE), now);
            self.pass_copies_on(label);
        }
    }

    /// An operator gives a version that was under protect its users back.
    pub(super) fn resumed_by(&mut self, label: &Label, slot: Slot, by: &Deed) {
        let now = crate::clock::wall();
        let why = format!("{} decided so: {}", by.operator, by.reason);
        self.trials.forget(&label.route, slot);
        self.end_protect(label, (Outcome::Resumed, None), (&why, &by.operator.id), now);
        self.pass_copies_on(label);
    }

    /// Nothing came of it: users stay off until an operator decides.
    fn hold(&mut self, suspect: &Suspect, why: &str, now: Timestamp) {
        let Label { route, version } = &suspect.label;
        let held = self.desk.protects.hold(route, version, why, now).cloned();
        let moved = self.stand(&suspect.label, suspect.slot, Standing::Protected);
        let done = self.is_done(moved, &suspect.label, suspect.slot, "hold");
        if let (Some(record), Some(_)) = (held, done) {
            let totals = self.seats.totals_mut(&suspect.label);
            emit::protect_resolved(totals, &record, MACHINE);
            self.desk.tell_protect(&record, false, now);
            self.desk.history.put_protect(record);
        }
    }

    /// No copies come: the test goes on with a few users.
    fn trickle(&mut self, suspect: &Suspect) {
        let (label, slot) = (&suspect.label, suspect.slot);
        let moved = self.stand(label, slot, Standing::Trickling);
        if self.is_done(moved, label, slot, "trickle").is_some() {
            let entry = self.desk.protects.of(&label.route, &label.version);
            let id = entry.map_or("", |entry| &entry.record.protect_id);
            emit::protect_trickles(id, &label.route, &label.version);
            self.pass_copies_on(label);
        }
    }

    /// Stable gets a part of everything back, to compare the version with.
    fn probe(&mut self, suspect: &Suspect) {
        let Label { route, version } = &suspect.label;
        let moved = self.change(&suspect.label, |old| old.with_weight(version, PROBED));
        if self.is_done(moved, &suspect.label, suspect.slot, "probe").is_some() {
            self.desk.probing.insert(suspect.label.clone());
            emit::probe_begun(route, version, PROBED.rest().percent());
        }
    }

    /// The version takes what it is to take again.
    fn probe_over(&mut self, suspect: &Suspect, why: &str) {
        let Label { route, version } = &suspect.label;
        if !self.desk.probing.remove(&suspect.label) {
            return;
        }
        let Some(settings) = self.settings.version(route, version) else { return };
        let weight = self.weights.of(&suspect.label, settings);
        let moved = self.change(&suspect.label, |old| old.with_weight(version, weight));
        if self.is_done(moved, &suspect.label, suspect.slot, "probe").is_some() {
            emit::probe_over(route, version, why);
        }
    }

    /// After a reload, or at the start: standings are those of the trials, and what another
    /// build took the place of is withdrawn.
    pub(super) fn align(&mut self, now: Timestamp) {
        let table = self.desk.live.load();
        let (settings, protects) = (&self.settings, &self.desk.protects);
        self.trials.sync(settings, &table, protects, now);
        let of = |entry: &ProtectEntry| Label {
            route: entry.record.route.clone(),
            version: entry.record.version.clone(),
        };
        let (mut gone, mut here) = (Vec::new(), Vec::new());
        for entry in protects.entries() {
            let label = of(entry);
            let Some(known) = settings.version(&label.route, &label.version) else {
                continue;
            };
            if known.digest == entry.digest { here.push(label) } else { gone.push(label) }
        }
        for label in gone {
            let why = "another build took its place";
            self.end_protect(&label, (Outcome::Withdrawn, None), (why, MACHINE), now);
        }
        for label in here {
            let Some((slot, _)) = self.seats.current(&label) else { continue };
            let standing = match self.phase(&label, slot) {
                Some(Phase::Trickling) => Standing::Trickling,
                Some(Phase::Protected | Phase::Held) => Standing::Protected,
                Some(Phase::Running | Phase::Probing | Phase::RolledBack) | None => {
                    continue;
                }
            };
            if self.phase(&label, slot) != Some(Phase::Held) {
                let Label { route, version } = &label;
                if let Some(record) = self.desk.protects.reopen(route, version) {
                    self.desk.history.put_protect(record.clone());
                }
            }
            let moved =
                self.adjust(&label, |old| old.with_standing(&label.version, standing));
            let _done = self.is_done(moved, &label, slot, "protect");
        }
        let probing = &mut self.desk.probing;
        probing.retain(|label| settings_say_more(&self.settings, &self.weights, label));
    }

    /// What came of the protect of a version, if it is under one.
    fn end_protect(
        &mut self,
        label: &Label,
        (outcome, rollback_id): (Outcome, Option<String>),
        (why, by): (&str, &str),
        now: Timestamp,
    ) {
        let Label { route, version } = label;
        let entry = self.desk.protects.of(route, version);
        let was_held = entry.is_some_and(|it| it.record.outcome == Outcome::Held);
        let ended = self.desk.protects.end(route, version, (outcome, why), now);
        let Some(mut record) = ended else { return };
        record.rollback_id = rollback_id;
        if was_held {
            emit::protect_settled(&record, by);
        } else {
            emit::protect_resolved(self.seats.totals_mut(label), &record, by);
        }
        let (route, version) = (route.clone(), version.clone());
        self.note(Note::Unprotect { route, version }, label);
        self.desk.tell_protect(&record, false, now);
        self.desk.history.put_protect(record);
    }

    /// Another version of the route may wait for the copies that this one had.
    fn pass_copies_on(&mut self, label: &Label) {
        if let Err(error) = self.adjust(label, |old| Ok(old.clone())) {
            let Label { route, version } = label;
            emit::protect_failed(route, version, "copies", &error.to_string());
        }
    }

    /// Another standing, and with it another phase: nothing placed before counts in it.
    fn stand(
        &mut self,
        label: &Label,
        slot: Slot,
        standing: Standing,
    ) -> Result<Generation, OrderError> {
        let (version, held) =
            (&label.version, self.desk.to_hold(&label.route, &label.version));
        let done = self.change(label, |old| {
            let next = old.with_standing(version, standing)?;
            if standing == Standing::Serving {
                return Ok(next);
            }
            next.with_held(version, held)
        })?;
        if let Some(route) = self.desk.live.load().route(&label.route) {
            self.trials.begin_phase(&label.route, slot, route.epoch());
        }
        Ok(done)
    }

    /// Puts a changed route in force, with copies for whoever is to have them.
    pub(super) fn change(
        &mut self,
        label: &Label,
        change: impl FnOnce(&Route) -> Result<Route, TableError>,
    ) -> Result<Generation, OrderError> {
        self.put(label, change, true)
    }

    /// The same, but where nothing changes the table stays.
    fn adjust(
        &mut self,
        label: &Label,
        change: impl FnOnce(&Route) -> Result<Route, TableError>,
    ) -> Result<Generation, OrderError> {
        self.put(label, change, false)
    }

    fn put(
        &mut self,
        label: &Label,
        change: impl FnOnce(&Route) -> Result<Route, TableError>,
        always: bool,
    ) -> Result<Generation, OrderError> {
        let table = self.desk.live.load();
        let refused = |error: TableError| OrderError::Refused(error.to_string());
        let no_route = || refused(TableError::NoRoute(label.route.clone()));
        let old = table.route(&label.route).ok_or_else(no_route)?;
        let next = change(old)
            .and_then(|next| with_copies(next, target(old), &self.desk.protects))
            .map_err(refused)?;
        let same = next.epoch() == old.epoch() && next.versions() == old.versions();
        if same && !always {
            return Ok(table.generation());
        }
        let next = table.with_route(next).map_err(refused)?;
        self.desk.put_in_force(next)
    }

    /// Says so when a deed failed, and lets the trial begin anew: it took it for done.
    fn is_done(
        &mut self,
        moved: Result<Generation, OrderError>,
        label: &Label,
        slot: Slot,
        what: &str,
    ) -> Option<Generation> {
        match moved {
            Ok(generation) => Some(generation),
            Err(error) => {
                let Label { route, version } = label;
                emit::protect_failed(route, version, what, &error.to_string());
                self.trials.forget(route, slot);
                None
            }
        }
    }

    fn phase(&self, label: &Label, slot: Slot) -> Option<Phase> {
        let court = self.trials.court(&label.route)?;
        court.trial(slot).map(crate::judge::trial::Trial::phase)
    }

    fn note(&self, note: Note, label: &Label) {
        if self.desk.scribe.try_send(note).is_err() {
            let what = format!("the protect of {} on {}", label.version, label.route);
            let why = "too much waits to be written";
            emit::persist_failed(&what, 1, Duration::ZERO, why);
        }
    }
}

fn settings_say_more(
    settings: &super::settings::Settings,
    weights: &super::plan::Weights,
    label: &Label,
) -> bool {
    let version = settings.version(&label.route, &label.version);
    version.is_some_and(|version| weights.of(label, version) > PROBED)
}
