//! Ramps: where stable has no room for all that a bad version had and the configuration says
//! `onShort: ramp`, the part that does not fit is held back and let through in steps.
//!
//! Apart from the swap, which is as quick with a ramp as without: it only reads here how
//! much is held back. What follows is done turn by turn.

use serde_json::{Map, Value, json};

use super::driver::Driver;
use super::execute::Desk;
use super::journal::Then;
use super::room::target;
use super::seats::Label;
use super::source::Source;
use crate::rollout::{Event, Headroom, Load, Ramp, Ramped, headroom};
use crate::route::Role;
use crate::telemetry::emit;
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Name, Slot};
use crate::vocab::time::Timestamp;

/// A ramp under way on a route.
pub(super) struct Ramping {
    pub(super) ramp: Ramp,
    /// The version that loses its traffic.
    pub(super) version: Name,
    /// The version that takes it.
    to: (Name, Slot),
}

impl<S: Source> Driver<S> {
    /// Begins a ramp on the route, if one is wanted and there is no `room`, or goes on with
    /// the one that the protect of the same version began. Comes before the table is
    /// changed; what is to be held back is on the desk then.
    pub(super) fn begin_ramp(
        &mut self,
        label: &Label,
        to: Slot,
        room: &Headroom,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let Label { route, version } = label;
        let plan = self.settings.route(route)?.rollback.ramp?;
        let table = self.desk.live.load();
        let current = table.route(route)?;
        let holding = current.held().map(|(of, _)| &of.name);
        match (self.desk.ramps.get(route), holding) {
            (Some(on), Some(of)) if on.version == *version && of == version => {
                return Some(on.ramp.end());
            }
            // One at a time: what another version had is let through first.
            (Some(_), Some(_)) => return None,
            (_, _) => {}
        }
        let found = current.version(version).filter(|one| one.role == Role::Canary)?;
        let name = current.versions().iter().find(|one| one.slot == to)?.name.clone();
        let ramp = Ramp::begin(plan, current.share(found), room, now)?;
        let end = ramp.end();
        let ramping = Ramping { ramp, version: version.clone(), to: (name, to) };
        self.desk.ramps.insert(route.clone(), ramping);
        Some(end)
    }

    /// Says that a ramp has begun; `id` is that of the protect or rollback.
    pub(super) fn tell_ramp(
        &mut self,
        route: &Name,
        id: &str,
        room: &Headroom,
        now: Timestamp,
    ) {
        let Some(on) = self.desk.ramps.get(route) else { return };
        let held = on.ramp.held();
        let Headroom::Short { needed, have, why } = room else { return };
        emit::ramp_begun(route, &on.version, &on.to.0, held.percent());
        let mut body = on.body(route);
        body.insert("incident".to_owned(), id.into());
        body.insert("held_back".to_owned(), json!(held.percent()));
        body.insert("needed".to_owned(), json!(needed));
        body.insert("have".to_owned(), json!(have));
        self.desk.tell_ramp("ramp.started", why, body, now);
    }

    /// Lets more through where there is room for it by now.
    pub(super) fn look_after_ramps(&mut self, now: Timestamp) {
        let due = self.desk.ramps.iter().filter(|(_, on)| on.ramp.due() <= now);
        let due: Vec<Name> = due.map(|(route, _)| route.clone()).collect();
        for route in due {
            self.step_ramp(&route, now);
        }
    }

    fn step_ramp(&mut self, route: &Name, now: Timestamp) {
        let table = self.desk.live.load();
        let current = table.route(route);
        let holding = current.and_then(|it| it.held()).map(|(of, _)| of.name.clone());
        let Some(version) = self.desk.ramps.get(route).map(|on| on.version.clone())
        else {
            return;
        };
        if holding.as_ref() != Some(&version) {
            let rolling = self.desk.rolling_on(route);
            // Its swap waits for stable to be asked first.
            if rolling.is_none_or(|it| it.has_swapped() || it.intent().from != version) {
                let how = "the ramp was withdrawn: nothing is held back any more";
                self.end_ramp(route, how.to_owned(), now);
            }
            return;
        }
        let room = self.room_for_all(route, now);
        let Some(on) = self.desk.ramps.get_mut(route) else { return };
        let (held, over) = match on.ramp.look(&room, now) {
            Ramped::Waits => return,
            Ramped::Holds(held) => (held, None),
            Ramped::Over(how) => (Percent::ZERO, Some(how)),
        };
        let label = Label { route: route.clone(), version };
        let done = self.change(&label, |old| old.with_held(&label.version, held));
        if let Err(error) = done {
            emit::ramp_failed(route, &label.version, &error.to_string());
        }
        if let Some(how) = over {
            self.end_ramp(route, how, now);
        }
    }

    /// Whether there would be room if nothing were held back.
    fn room_for_all(&self, route: &Name, now: Timestamp) -> Headroom {
        let table = self.desk.live.load();
        let (Some(on), Some(current)) = (self.desk.ramps.get(route), table.route(route))
        else {
            return Headroom::Unknown;
        };
        let Some(seat) = self.seats.get(on.to.1) else { return Headroom::Unknown };
        // What the bad version still has in flight is no load for the other.
        let others = current.versions().iter().filter(|one| one.name != on.version);
        let in_flight = others.map(|one| {
            let label = Label { route: route.clone(), version: one.name.clone() };
            self.seats.in_flight(&label)
        });
        let load = Load { in_flight: on.ramp.whole(in_flight.sum()) };
        headroom(&load, &target(&seat.upstream, Percent::FULL, now))
    }

    fn end_ramp(&mut self, route: &Name, how: String, now: Timestamp) {
        let Some(on) = self.desk.ramps.remove(route) else { return };
        emit::ramp_over(route, &on.version, &on.to.0, &how);
        self.desk.tell_ramp("ramp.ended", &how, on.body(route), now);
        let mut running = self.desk.running.iter().map(|it| &it.rollback);
        let rolling = running.find(|it| {
            let intent = it.intent();
            !it.is_over() && intent.route == *route && intent.from == on.version
        });
        if let Some(id) = rolling.map(|it| it.intent().id.clone()) {
            self.desk.happened(&id, &Event::RampOver { how }, now);
        }
    }
}

impl Ramping {
    fn body(&self, route: &Name) -> Map<String, Value> {
        let members = [
            ("route", route.as_str()),
            ("version", self.version.as_str()),
            ("to_version", self.to.0.as_str()),
        ];
        members.map(|(name, value)| (name.to_owned(), value.into())).into_iter().collect()
    }
}

impl Desk {
    /// What is to be held back of what the version had on its route.
    pub(super) fn to_hold(&self, route: &Name, version: &Name) -> Percent {
        let on = self.ramps.get(route).filter(|on| on.version == *version);
        on.map_or(Percent::ZERO, |on| on.ramp.held())
    }

    fn tell_ramp(
        &self,
        kind: &'static str,
        why: &str,
        body: Map<String, Value>,
        now: Timestamp,
    ) {
        let text = |name: &str| Name::parse(body.get(name)?.as_str()?).ok();
        let (route, version) = (text("route"), text("version"));
        let said = Value::Object(body.clone());
        self.feed.tell(kind, route.as_ref(), version.as_ref(), said);
        self.clerk.fact(self.entry(kind, why, body, now), Then::default());
    }
}
