//! `Running`: a rollback under way, with what hangs on it: alarms, the waiting for the drain,
//! the counts of the version that took the traffic. Apart from the deeds because it only
//! holds.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::clock;
use crate::judge::Window;
use crate::measure::{Roster, Tally};
use crate::rollout::{Event, Rollback};
use crate::telemetry::emit;
use crate::vocab::ids::{Digest, Slot};
use crate::vocab::record::Phase;
use crate::vocab::time::Timestamp;

/// A rollback that has not ended, or has requests left that may have to be cut.
pub(super) struct Running {
    pub(super) rollback: Rollback,
    pub(super) slot: Slot,
    pub(super) digest: Digest,
    /// The version that takes the traffic.
    pub(super) to: Slot,
    pub(super) wake: Option<Timestamp>,
    pub(super) cut: Option<Timestamp>,
    pub(super) tasks: Vec<Watch>,
    /// What becomes of the requests to it, while that is counted.
    pub(super) counts: Option<Window>,
    /// Phases whose end was told.
    pub(super) told: Vec<Phase>,
    /// Its beginning is in the audit log, or the log has had its time.
    pub(super) recorded: bool,
}

/// A waiting task that ends with the rollback it waits for.
pub(super) struct Watch(pub(super) JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Running {
    pub(super) fn new(
        rollback: Rollback,
        (slot, digest): (Slot, Digest),
        to: Slot,
    ) -> Self {
        Self {
            rollback,
            slot,
            digest,
            to,
            wake: None,
            cut: None,
            tasks: Vec::new(),
            counts: None,
            told: Vec::new(),
            recorded: false,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.rollback.intent().id
    }

    /// Begins to count what becomes of the requests to the version that took the traffic.
    pub(super) fn observe(&mut self) {
        self.counts = Some(Window::new(COUNTED));
    }

    /// What the version that took the traffic did.
    pub(super) fn count(&mut self, slot: Slot, tally: &Tally, now: Timestamp) {
        if let Some(counts) = self.counts.as_mut().filter(|_| self.to == slot) {
            counts.add(now, &tally.outcomes, &tally.total);
            if let Some(streams) = &tally.streams {
                counts.add_streams(now, &streams.first_token, &streams.per_token);
            }
        }
    }

    /// What came of the counting.
    pub(super) fn measured(&mut self, now: Timestamp) -> Event {
        let seen = self.counts.take().map(|mut counts| counts.reading(now));
        let seen = seen.unwrap_or_default();
        let (requests, failed) = (seen.samples, seen.failures);
        Event::Measured { requests, failed, p99_us: seen.judged_p99_us() }
    }

    /// What was put off until now.
    pub(super) fn due(&mut self, roster: &Roster, now: Timestamp) -> Vec<Event> {
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        let mut events = Vec::new();
        if is_due(self.wake) {
            self.wake = None;
            events.push(Event::Woken);
        }
        let idle = self.cut.is_some() && roster.in_flight(self.slot) == 0;
        if idle || is_due(self.cut) {
            self.cut = None;
            events.push(Event::Cut { cut: self.cut_now(roster) });
        }
        events
    }

    /// Cuts what the version still has in flight; says how many.
    pub(super) fn cut_now(&self, roster: &Roster) -> u64 {
        let left = roster.in_flight(self.slot);
        if left > 0 {
            roster.cut(self.slot);
            emit::drain_cut(self.id(), &self.rollback.intent().from, left);
        }
        left
    }
}

/// Waits until nothing is in flight on the slot, or the time is over; says what is left.
pub(super) async fn drained(roster: &Roster, slot: Slot, until: Timestamp) -> u64 {
    loop {
        let left = roster.in_flight(slot);
        if left == 0 || clock::wall() >= until {
            return left;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Between two looks at the requests in flight: short beside the shortest drain, and a
/// handful of loads each.
const LOOK: Duration = Duration::from_millis(5);
/// Longer than any rollback settles.
const COUNTED: Duration = Duration::from_secs(3_600);
