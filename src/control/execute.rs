//! `Desk`: what the rollback machine wants, done; what came of it, told to the machine.
//!
//! The only place that publishes a table. A swap is done before anything else and waits for
//! nothing: not for the disk, not for requests in flight, not for a worker.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::epochs::Epochs;
use super::handle::OrderError;
use super::history::History;
use super::scribe::{Note, Release};
use super::seats::Label;
use super::start::Hooks;
use crate::clock;
use crate::measure::Roster;
use crate::rollout::{
    Command, Event, Intent, Protects, Quarantine, Rollback, State, step,
};
use crate::route::{Live, RouteTable, Standing};
use crate::tasks;
use crate::telemetry::{Exporter, emit};
use crate::vocab::ids::{Digest, Generation, Name, Slot};
use crate::vocab::record::{QuarantineEntry, RollbackRecord, Status};
use crate::vocab::time::Timestamp;

/// Something that happened outside the loop.
#[derive(Debug)]
pub(super) enum Happened {
    /// An answer to a command of a rollback.
    Rollback {
        /// Which rollback.
        id: String,
        /// What happened.
        event: Event,
    },
    /// The scribe has struck a version out, or could not.
    Released {
        /// Which one, and who asked.
        release: Release,
        /// Why not.
        done: Result<(), String>,
    },
}

/// Everything that acts.
pub(super) struct Desk {
    pub(super) live: Arc<Live>,
    pub(super) roster: Arc<Roster>,
    pub(super) exporter: Exporter,
    pub(super) hooks: Hooks,
    pub(super) quarantine: Quarantine,
    pub(super) protects: Protects,
    /// Versions of which stable has a part back for now.
    pub(super) probing: BTreeSet<Label>,
    pub(super) epochs: Epochs,
    /// When the table in force was put there.
    pub(super) published: Timestamp,
    pub(super) history: History,
    pub(super) scribe: mpsc::Sender<Note>,
    pub(super) events: mpsc::Sender<Happened>,
    running: Vec<Running>,
}

/// A rollback that has not ended, or has requests left that may have to be cut.
struct Running {
    rollback: Rollback,
    slot: Slot,
    digest: Digest,
    wake: Option<Timestamp>,
    cut: Option<Timestamp>,
    drain: Option<Watch>,
    /// Phases whose end was told.
    told: usize,
}

/// A waiting task that ends with the rollback it waits for.
struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Desk {
    pub(super) fn new(
        (live, roster): (Arc<Live>, Arc<Roster>),
        (exporter, hooks): (Exporter, Hooks),
        (quarantine, protects): (Quarantine, Protects),
        scribe: mpsc::Sender<Note>,
        events: mpsc::Sender<Happened>,
    ) -> Self {
        let mut epochs = Epochs::default();
        epochs.remember(&live.load());
        let mut history = History::default();
        for entry in protects.entries() {
            history.put_protect(entry.record.clone());
        }
        Self {
            live,
            roster,
            exporter,
            hooks,
            quarantine,
            protects,
            probing: BTreeSet::new(),
            epochs,
            published: clock::wall(),
            history,
            scribe,
            events,
            running: Vec::new(),
        }
    }

    /// Puts a table in force.
    pub(super) fn put_in_force(
        &mut self,
        table: RouteTable,
    ) -> Result<Generation, OrderError> {
        let generation = table.generation();
        (self.hooks.on_table)(&table);
        self.epochs.remember(&table);
        if self.live.publish(table) {
            self.published = clock::wall();
            return Ok(generation);
        }
        let current = self.live.generation();
        Err(OrderError::Refused(format!(
            "table {generation} is not newer than table {current}, which is in force"
        )))
    }

    /// Begins a rollback. When this returns, new requests are on the other version, or the
    /// record says why not.
    pub(super) fn begin(
        &mut self,
        intent: Intent,
        (slot, digest): (Slot, Digest),
        now: Timestamp,
    ) -> RollbackRecord {
        let id = intent.id.clone();
        let begun = Rollback::begin(intent, now);
        let record = begun.next.record(now);
        let (wake, cut, drain, told) = (None, None, None, 0);
        let rollback = begun.next;
        self.running.push(Running { rollback, slot, digest, wake, cut, drain, told });
        self.obey(&id, begun.commands, now);
        self.settle(&id, now).unwrap_or(record)
    }

    /// Something came of a command.
    pub(super) fn happened(&mut self, id: &str, event: &Event, now: Timestamp) {
        let commands = self.step(id, event, now);
        self.obey(id, commands, now);
        let _record = self.settle(id, now);
    }

    /// Does what was put off until now.
    pub(super) fn tick(&mut self, now: Timestamp) {
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        let mut alarms = Vec::new();
        for running in &mut self.running {
            let id = running.rollback.intent().id.clone();
            if due(running.wake) {
                running.wake = None;
                alarms.push((id.clone(), Event::Woken));
            }
            let idle = running.cut.is_some() && self.roster.in_flight(running.slot) == 0;
            if idle || due(running.cut) {
                running.cut = None;
                let cut = cut(&self.roster, running);
                alarms.push((id, Event::Cut { cut }));
            }
        }
        for (id, event) in alarms {
            self.happened(&id, &event, now);
        }
    }

    /// Whether a rollback of this version has not ended.
    pub(super) fn is_rolling(&self, slot: Slot) -> bool {
        self.running.iter().any(|one| one.slot == slot && !one.rollback.is_over())
    }

    /// Whether any rollback still looks at this slot.
    pub(super) fn is_using(&self, slot: Slot) -> bool {
        self.running.iter().any(|one| one.slot == slot)
    }

    /// Whether any rollback on this route has not ended.
    pub(super) fn is_rolling_on(&self, route: &Name) -> bool {
        self.running
            .iter()
            .any(|one| one.rollback.intent().route == *route && !one.rollback.is_over())
    }

    /// What was put off for this version is not wanted any more: it may serve again.
    pub(super) fn pardon(&mut self, slot: Slot) {
        self.running.retain(|one| one.slot != slot || !one.rollback.is_over());
        self.roster.mend(slot);
    }

    fn find(&mut self, id: &str) -> Option<&mut Running> {
        self.running.iter_mut().find(|one| one.rollback.intent().id == id)
    }

    fn step(&mut self, id: &str, event: &Event, now: Timestamp) -> Vec<Command> {
        let Some(running) = self.find(id) else {
            tracing::debug!(rollback = id, event = event.as_str(), "too late to matter");
            return Vec::new();
        };
        let next = step(&running.rollback, event, now);
        running.rollback = next.next;
        self.tell_phases(id, now);
        next.commands
    }

    /// Tells of phases that have ended since it was last asked.
    fn tell_phases(&mut self, id: &str, now: Timestamp) {
        let mine = |one: &&mut Running| one.rollback.intent().id == id;
        let Some(running) = self.running.iter_mut().find(mine) else { return };
        let record = running.rollback.record(now);
        let ended = |status| matches!(status, Status::Completed | Status::Failed);
        let over: Vec<_> = record.phases.iter().filter(|one| ended(one.status)).collect();
        for phase in over.iter().skip(running.told) {
            emit::rollback_phase(&self.exporter, &record, phase);
        }
        running.told = over.len();
    }

    /// Carries commands out in order, and those that follow from them after.
    fn obey(&mut self, id: &str, commands: Vec<Command>, now: Timestamp) {
        let mut queue = std::collections::VecDeque::from(commands);
        while let Some(command) = queue.pop_front() {
            if let Some(event) = self.execute(id, command, now) {
                queue.extend(self.step(id, &event, now));
            }
        }
    }

    /// Carries one command out. What can be answered at once is.
    fn execute(&mut self, id: &str, command: Command, now: Timestamp) -> Option<Event> {
        match command {
            Command::Replace { route, version } => {
                Some(self.replace(id, &route, &version, now))
            }
            Command::Quarantine { route, version, reason } => {
                self.quarantine(id, (route, version), reason, now)
            }
            Command::Drain { until, .. } => {
                let (roster, events) = (Arc::clone(&self.roster), self.events.clone());
                let running = self.find(id)?;
                let (id, slot) = (id.to_owned(), running.slot);
                let before = roster.in_flight(slot);
                let wait = async move {
                    let left = drained(&roster, slot, until).await;
                    let drained = before.saturating_sub(left);
                    let event = Event::Drained { drained, left };
                    // When nobody takes it, the control loop has ended, and with it this.
                    let _told = events.send(Happened::Rollback { id, event }).await;
                };
                running.drain = Some(Watch(tasks::shared("drain", wait)));
                None
            }
            Command::CutAfter { at, .. } if at <= now => {
                let roster = Arc::clone(&self.roster);
                let cut = cut(&roster, self.find(id)?);
                Some(Event::Cut { cut })
            }
            Command::CutAfter { at, .. } => {
                self.find(id)?.cut = Some(at);
                None
            }
            Command::Wake { at } => {
                self.find(id)?.wake = Some(at);
                None
            }
            Command::Notify(record) => {
                if record.status == Status::Completed {
                    emit::rollback_completed(&self.exporter, &record);
                } else {
                    let why = record.notes.last().map_or("", String::as_str);
                    emit::rollback_failed(&self.exporter, &record, why);
                }
                None
            }
        }
    }

    /// The swap. Even the log comes after it: a reader of the log that is slow must not
    /// keep users on a bad version.
    fn replace(
        &mut self,
        id: &str,
        route: &Name,
        version: &Name,
        now: Timestamp,
    ) -> Event {
        let done = self.take_out(route, version);
        let Some(running) = self.find(id) else {
            return Event::SwapFailed { why: "the rollback is not known".to_owned() };
        };
        let (slot, record) = (running.slot, running.rollback.record(now));
        if done.is_ok() {
            (self.hooks.on_quarantine)(slot);
        }
        emit::rollback_begun(&self.exporter, &record);
        match done {
            Ok(generation) => {
                emit::rollback_swapped(&record, generation);
                Event::Swapped
            }
            Err(why) => Event::SwapFailed { why },
        }
    }

    fn take_out(&mut self, route: &Name, version: &Name) -> Result<Generation, String> {
        let table = self.live.load();
        let old =
            table.route(route).ok_or_else(|| format!("there is no route {route}"))?;
        let next = old
            .with_standing(version, Standing::Quarantined)
            .and_then(|next| table.with_route(next))
            .map_err(|error| error.to_string())?;
        self.put_in_force(next).map_err(|error| error.to_string())
    }

    fn quarantine(
        &mut self,
        id: &str,
        (route, version): (Name, Name),
        reason: String,
        now: Timestamp,
    ) -> Option<Event> {
        let running = self.find(id)?;
        if let State::Failed { .. } = running.rollback.state() {
            // The version still has its traffic; a restart must not tell another story.
            return None;
        }
        let (digest, rollback_id) = (running.digest.clone(), id.to_owned());
        let since = now;
        let entry =
            QuarantineEntry { route, version, digest, since, reason, rollback_id };
        self.quarantine.add(entry.clone());
        self.scribe.try_send(Note::Keep(entry)).err().map(|_| Event::QuarantineFailed {
            why: "too much waits to be written".to_owned(),
        })
    }

    /// Keeps the record, and forgets what is over.
    fn settle(&mut self, id: &str, now: Timestamp) -> Option<RollbackRecord> {
        let record = self.find(id)?.rollback.record(now);
        self.history.put(record.clone());
        self.running.retain(|one| !one.rollback.is_over() || one.cut.is_some());
        Some(record)
    }
}

/// Cuts what a version still has in flight; says how many.
fn cut(roster: &Roster, running: &Running) -> u64 {
    let left = roster.in_flight(running.slot);
    if left > 0 {
        roster.cut(running.slot);
        let intent = running.rollback.intent();
        emit::drain_cut(&intent.id, &intent.from, left);
    }
    left
}

/// Waits until nothing is in flight on the slot, or the time is over; says what is left.
async fn drained(roster: &Roster, slot: Slot, until: Timestamp) -> u64 {
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
