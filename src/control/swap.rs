//! The deeds that change the table in the course of a rollback: the swap itself, and the
//! read-only mode when nothing behind a route can be trusted.

use std::time::Duration;

use super::execute::{Desk, Happened};
use super::running::Watch;
use super::scribe::Note;
use super::status::ModeView;
use super::tell::{NORMAL, READ_ONLY};
use crate::clock;
use crate::rollout::{Emergency, Event};
use crate::route::{Mode, Role, Route, RouteTable, Standing, TableError};
use crate::tasks;
use crate::telemetry::emit;
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Generation, Name};
use crate::vocab::record::ActingEntry;
use crate::vocab::time::Timestamp;

impl Desk {
    /// The swap. Even the log comes after it: a reader of the log that is slow must not
    /// keep users on a bad version.
    pub(super) fn replace(
        &mut self,
        id: &str,
        (route, version, to): (&Name, &Name, &Name),
        now: Timestamp,
    ) -> Event {
        let began = clock::now();
        let done = self.take_out(route, version, to);
        let took = clock::now().saturating_duration_since(began);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let Some(running) = self.find(id) else {
            return Event::SwapFailed { why: "the rollback is not known".to_owned() };
        };
        let (slot, record) = (running.slot, running.rollback.record(now));
        let digest = running.digest.clone();
        let is_new = !running.rollback.intent().ask_first;
        if done.is_ok() {
            self.note_acting(route, to, id);
            (self.hooks.on_quarantine)(slot);
            self.over(route, now);
        }
        if is_new {
            emit::rollback_begun(&self.exporter, &record);
        }
        let event = match done {
            Ok(generation) => {
                emit::rollback_swapped(&record, generation);
                Event::Swapped { took_us }
            }
            Err(why) => Event::SwapFailed { why },
        };
        if is_new {
            self.tell_start(&record, &digest, now);
        }
        event
    }

    /// Writes down who acts as stable after a swap, where that is not the one with the role.
    fn note_acting(&mut self, route: &Name, to: &Name, id: &str) {
        let table = self.live.load();
        let Some(known) = table.route(route) else { return };
        let mut versions = known.versions().iter();
        let Some(in_role) = versions.find(|one| one.role == Role::Stable) else { return };
        if in_role.name == *to {
            if self.acting.contains_key(route) {
                self.relieve(route);
            }
            return;
        }
        let entry = ActingEntry {
            route: route.clone(),
            version: to.clone(),
            digest: known.stable().digest.clone(),
            instead_of: in_role.name.clone(),
            instead_digest: in_role.digest.clone(),
            rollback_id: id.to_owned(),
        };
        self.acting.insert(route.clone(), entry.clone());
        self.jot(Note::Act(entry), route);
    }

    /// Nobody acts as stable any more but the version with the role.
    pub(super) fn relieve(&mut self, route: &Name) {
        self.acting.remove(route);
        self.jot(Note::Unact(route.clone()), route);
    }

    fn jot(&self, note: Note, route: &Name) {
        if self.scribe.try_send(note).is_err() {
            let what = format!("who acts as stable on {route}");
            emit::persist_failed(
                &what,
                1,
                Duration::ZERO,
                "too much waits to be written",
            );
        }
    }

    fn take_out(
        &mut self,
        route: &Name,
        version: &Name,
        to: &Name,
    ) -> Result<Generation, String> {
        let table = self.live.load();
        let old =
            table.route(route).ok_or_else(|| format!("there is no route {route}"))?;
        let held = self.to_hold(route, version);
        let next = without(old, version, to)
            .and_then(|next| next.with_mode(Mode::Normal)?.with_held(version, held))
            .and_then(|next| table.with_route(next))
            .map_err(|error| error.to_string())?;
        self.put_in_force(next).map_err(|error| error.to_string())
    }

    /// The route serves kept answers only from now on. The version, if one is named, does
    /// not come back with the rest.
    pub(super) fn emergency(
        &mut self,
        route: &Name,
        version: Option<&Name>,
        (why, by): (String, Option<String>),
        now: Timestamp,
    ) {
        let last = self.left.get(route).copied();
        let entered = self.emergencies.contains_key(route);
        let emergency = Emergency::enter(why.clone(), by.clone(), last, now);
        let since = if entered {
            self.emergencies.get(route).map_or(now, |one| one.since)
        } else {
            self.emergencies.insert(route.clone(), emergency);
            now
        };
        match self.read_only(route, version, since) {
            Ok(generation) if !entered => {
                emit::read_only_begun(route, &why, generation);
                self.tell_mode(route, (READ_ONLY, &why, by.as_deref()), now);
            }
            Ok(_) => {}
            Err(error) => {
                self.emergencies.remove(route);
                emit::read_only_failed(route, &why, &error);
            }
        }
    }

    fn read_only(
        &mut self,
        route: &Name,
        version: Option<&Name>,
        since: Timestamp,
    ) -> Result<Generation, String> {
        let table = self.live.load();
        let old =
            table.route(route).ok_or_else(|| format!("there is no route {route}"))?;
        let next = match version {
            Some(version) if old.stable().name != *version => {
                old.with_standing(version, Standing::Quarantined)
            }
            Some(_) | None => Ok((**old).clone()),
        };
        let read_only = |next: Route| {
            let emergency = next.emergency_place();
            next.with_mode(Mode::ReadOnly { since, emergency })
        };
        let next = next
            .and_then(|next| table.with_route(read_only(next)?))
            .map_err(|error| error.to_string())?;
        self.put_in_force(next).map_err(|error| error.to_string())
    }

    /// The route serves again. The caller has put, or will put, such a table in force.
    pub(super) fn over(&mut self, route: &Name, now: Timestamp) {
        if let Some(emergency) = self.emergencies.remove(route) {
            self.left.insert(route.clone(), emergency.leave(now));
            emit::read_only_over(route, now.since(emergency.since));
            let why = match emergency.ordered_by {
                Some(_) => "by order, or by a rollback",
                None => "a version is well",
            };
            self.tell_mode(route, (NORMAL, why, None), now);
        }
    }

    /// Stable's servers were asked; the route serves again when they have been well for
    /// long enough.
    pub(super) fn examined(&mut self, route: &Name, passed: bool, now: Timestamp) {
        let Some(emergency) = self.emergencies.get_mut(route) else { return };
        if emergency.look(passed, now) {
            self.serve_again(route, now);
        }
    }

    /// Puts a table in force in which the route serves.
    pub(super) fn serve_again(&mut self, route: &Name, now: Timestamp) {
        let table = self.live.load();
        let Some(old) = table.route(route) else { return };
        let next = old.with_mode(Mode::Normal).and_then(|next| table.with_route(next));
        let done = next
            .map_err(|error| error.to_string())
            .and_then(|next| self.put_in_force(next).map_err(|error| error.to_string()));
        match done {
            Ok(_) => self.over(route, now),
            Err(error) => emit::read_only_failed(route, "leaving it", &error),
        }
    }

    /// How a route is served.
    pub(super) fn mode_view(&self, route: &Name) -> ModeView {
        let Some(emergency) = self.emergencies.get(route) else {
            return ModeView { mode: "normal".to_owned(), ..ModeView::default() };
        };
        let table = self.live.load();
        let place = table.route(route).and_then(|known| match known.mode() {
            Mode::ReadOnly { emergency, .. } => {
                Some(known.versions()[emergency?].name.to_string())
            }
            Mode::Normal => None,
        });
        ModeView {
            mode: "readOnly".to_owned(),
            since: Some(emergency.since.to_string()),
            ordered_by: emergency.ordered_by.clone(),
            reason: Some(emergency.why.clone()),
            emergency_version: place,
        }
    }

    /// Has the stable versions of routes in read-only mode asked how they are.
    pub(super) fn examine_stable(&mut self, table: &RouteTable) {
        self.watches.retain(|_, watch| !watch.0.is_finished());
        for route in self.emergencies.keys() {
            if self.watches.contains_key(route) {
                continue;
            }
            let Some(known) = table.route(route) else { continue };
            let Some(upstream) = self.registry.get(known.stable().slot) else { continue };
            let (route, events) = (route.clone(), self.events.clone());
            let (name, seen) = (route.clone(), (self.examine)(upstream));
            let ask = async move {
                let passed = seen.await.passed;
                // When nobody takes it, the control loop has ended, and with it this.
                let _told = events.send(Happened::Examined { route, passed }).await;
                tokio::time::sleep(BETWEEN).await;
            };
            self.watches.insert(name, Watch(tasks::shared("read-only check", ask)));
        }
    }
}

/// The route without the version, and with `to` taking what nobody else takes.
fn without(route: &Route, version: &Name, to: &Name) -> Result<Route, TableError> {
    let route =
        if route.stable().name == *to { route.clone() } else { route.with_stable(to)? };
    let mut next = route.with_standing(version, Standing::Quarantined)?;
    if !route.version(to).is_some_and(|version| version.role == Role::Stable) {
        // Another version than the stable one was asked for: it takes everything.
        let others: Vec<Name> = next
            .versions()
            .iter()
            .filter(|one| one.role == Role::Canary && one.name != *to)
            .map(|one| one.name.clone())
            .collect();
        for other in others {
            next = next.with_weight(&other, Percent::ZERO)?;
        }
    }
    Ok(next)
}

/// Between two looks at a version that is down.
const BETWEEN: Duration = Duration::from_millis(500);
