//! Whether a version's servers can take what is to be theirs: asked before a rollout goes a
//! step, and said when a rollback moves more to stable than it can take.

use serde_json::json;

use super::driver::Driver;
use super::seats::Label;
use super::source::Source;
use crate::rollout::{Headroom, Load, Target, headroom};
use crate::telemetry::emit;
use crate::upstream::Upstream;
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Name, Slot};
use crate::vocab::notice::{Notice, Severity, State, Topic};
use crate::vocab::time::Timestamp;

impl<S: Source> Driver<S> {
    /// Whether the version that is rolled out can take that share.
    pub(super) fn room(&self, route: &Name, share: Percent, now: Timestamp) -> Headroom {
        let Some(rollout) = self.rollout(route) else { return Headroom::Unknown };
        let version = &rollout.subject().version;
        let table = self.desk.live.load();
        let seated = table.route(route).and_then(|current| current.version(version));
        match seated {
            Some(version) => self.room_of(route, version.slot, share, now),
            None => Headroom::Unknown,
        }
    }

    /// Whether the servers of that slot can take a share of what is in flight on the route.
    pub(super) fn room_of(
        &self,
        route: &Name,
        slot: Slot,
        share: Percent,
        now: Timestamp,
    ) -> Headroom {
        let table = self.desk.live.load();
        let (Some(current), Some(seat)) = (table.route(route), self.seats.get(slot))
        else {
            return Headroom::Unknown;
        };
        let in_flight = current.versions().iter().map(|version| {
            let label = Label { route: route.clone(), version: version.name.clone() };
            self.seats.in_flight(&label)
        });
        let load = Load { in_flight: in_flight.sum() };
        headroom(&load, &target(&seat.upstream, share, now))
    }

    /// Says that a rollback or protect moved more to a version than it can take: what is
    /// above its bound is refused with 503 and `Retry-After`, or held back by a ramp, rather
    /// than crush it.
    pub(super) fn tell_short(
        &mut self,
        (id, label, to_version): (&str, &Label, &Name),
        room: &Headroom,
        now: Timestamp,
    ) {
        let Headroom::Short { needed, have, why } = room else { return };
        let Label { route, version: from_version } = label;
        let held = self.desk.to_hold(route, from_version);
        let details = match held {
            Percent::ZERO => {
                "Requests above its bound are refused with 503 and Retry-After."
                    .to_owned()
            }
            held => format!(
                "{held} of the requests are held back and let through in steps as there \
                 is room; until then they get kept answers, or 503 and Retry-After."
            ),
        };
        let summary = format!(
            "{route}: {to_version} may be too small for what {from_version} had: {needed} \
             requests in flight, room for {have} ({why})"
        );
        emit::headroom_short(route, to_version, &summary);
        let record = json!({
            "incident": id, "needed": needed, "have": have, "why": why,
            "held_back": held.percent(),
        });
        self.desk.feed.tell(
            "headroom.short",
            Some(route),
            Some(to_version),
            record.clone(),
        );
        self.desk.clerk.journal().tell(Notice {
            key: format!("{id}:headroom.short"),
            incident: id.to_owned(),
            topic: Topic::HeadroomShort,
            severity: Severity::High,
            state: State::Event,
            at: now,
            route: Some(route.clone()),
            version: Some(from_version.clone()),
            to_version: Some(to_version.clone()),
            summary,
            details,
            record,
            audit_head: self.desk.clerk.journal().head(),
        });
    }
}

/// A version's servers as those that are to take traffic.
pub(super) fn target(upstream: &Upstream, share: Percent, now: Timestamp) -> Target {
    let settings = &upstream.settings;
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let most = settings.max_in_flight;
    let each = number(settings.pool.max_connections);
    Target {
        share,
        most: (most > 0).then_some(most),
        each: settings.is_one_by_one().then_some(each),
        healthy: number(upstream.healthy_count(now)),
        endpoints: number(upstream.endpoints.len()),
    }
}
