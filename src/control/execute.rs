//! `Desk`: what the rollback machine wants, done; what came of it, told to the machine.
//!
//! A swap is done before anything else and waits for nothing. What takes time runs in tasks
//! of its own and comes back as [`Happened`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::cases::Cases;
use super::epochs::Epochs;
use super::feed::Feed;
use super::handle::{Answer as Reply, Order, OrderError};
use super::history::History;
use super::journal::Clerk;
use super::ramps::Ramping;
use super::rollouts::Rollouts;
use super::running::{Running, Watch, drained};
use super::scribe::{Note, Release};
use super::seats::Label;
use super::start::Hooks;
use crate::clock;
use crate::incident::Moment;
use crate::measure::{Roster, Tally};
use crate::rollout::{
    Answer, Check, Command, Emergency, Event, Gate, Intent, Left, Protects, Quarantine,
    Rollback, step,
};
use crate::route::{Live, RouteTable};
use crate::tasks;
use crate::telemetry::{Exporter, emit};
use crate::upstream::{Examined, Registry, Upstream};
use crate::vocab::ids::{Digest, Generation, Name, Slot};
use crate::vocab::record::{ActingEntry, QuarantineEntry, RollbackRecord, Status};
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
    /// An order is in the audit log, or cannot be written there.
    Recorded {
        /// The order.
        order: Box<Order>,
        /// Why not.
        done: Result<(), String>,
    },
    /// The gates of a rollout have answered.
    Gate {
        /// The route.
        route: Name,
        /// Which gates.
        gate: Gate,
        /// Which question it is an answer to.
        number: u64,
        /// What they say together.
        answer: Answer,
    },
    /// The begin of a rollback is in the audit log, as far as that can be: its quarantine may
    /// be written, and whoever ordered it may hear of it.
    Started {
        /// Which rollback.
        id: String,
        /// Who waits, if anybody does.
        answer: Option<Reply<RollbackRecord>>,
    },
    /// The end of a rollback is in the audit log, as far as that can be.
    Ended(Box<RollbackRecord>),
    /// The servers of a route's stable version were asked, since the route serves kept
    /// answers only.
    Examined {
        /// The route.
        route: Name,
        /// Whether they are well.
        passed: bool,
    },
}

/// Asks the servers of a version how they are.
pub(super) type Examine =
    Arc<dyn Fn(Arc<Upstream>) -> BoxFuture<'static, Examined> + Send + Sync>;

/// Everything that acts.
pub(super) struct Desk {
    pub(super) live: Arc<Live>,
    pub(super) roster: Arc<Roster>,
    pub(super) registry: Arc<Registry>,
    pub(super) exporter: Exporter,
    pub(super) hooks: Hooks,
    pub(super) examine: Examine,
    pub(super) quarantine: Quarantine,
    pub(super) protects: Protects,
    /// Versions of which stable has a part back for now.
    pub(super) probing: BTreeSet<Label>,
    /// Versions that act as stable, by route.
    pub(super) acting: BTreeMap<Name, ActingEntry>,
    /// Routes whose traffic goes over in steps.
    pub(super) ramps: BTreeMap<Name, Ramping>,
    /// Routes that serve kept answers only.
    pub(super) emergencies: BTreeMap<Name, Emergency>,
    /// Routes that have left that mode.
    pub(super) left: BTreeMap<Name, Left>,
    pub(super) epochs: Epochs,
    /// When the table in force was put there.
    pub(super) published: Timestamp,
    pub(super) history: History,
    /// Whoever watches hears of changes here.
    pub(super) feed: Feed,
    pub(super) scribe: mpsc::Sender<Note>,
    pub(super) clerk: Clerk,
    pub(super) events: mpsc::Sender<Happened>,
    pub(super) running: Vec<Running>,
    /// Quarantines in force that are not given to the scribe yet; at most one a rollback.
    pub(super) aside: Vec<QuarantineEntry>,
    /// Who ordered the rollback that is about to begin, and waits for an answer.
    pub(super) awaiting: Option<Reply<RollbackRecord>>,
    /// Stable versions of routes in read-only mode that are being asked.
    pub(super) watches: BTreeMap<Name, Watch>,
    /// Where the rollouts stand.
    pub(super) rollouts: Rollouts,
    /// Failure analyses of rollbacks under way.
    pub(super) cases: Cases,
    /// Why the audit log cannot be written, if that was told.
    pub(super) trouble: Option<String>,
    /// A digest of the configuration in force.
    pub(super) config_hash: String,
}

/// Where things are written down.
pub(super) struct Pens {
    pub(super) scribe: mpsc::Sender<Note>,
    pub(super) clerk: Clerk,
    pub(super) events: mpsc::Sender<Happened>,
}

impl Desk {
    pub(super) fn new(
        live: Arc<Live>,
        (roster, registry): (Arc<Roster>, Arc<Registry>),
        (exporter, hooks, examine): (Exporter, Hooks, Examine),
        (quarantine, protects): (Quarantine, Protects),
        pens: Pens,
    ) -> Self {
        let mut epochs = Epochs::default();
        epochs.remember(&live.load());
        let mut history = History::default();
        for entry in protects.entries() {
            history.put_protect(entry.record.clone());
        }
        let Pens { scribe, clerk, events } = pens;
        let feed = Feed::new();
        history.tell(feed.clone());
        Self {
            live,
            roster,
            registry,
            exporter,
            hooks,
            examine,
            quarantine,
            protects,
            probing: BTreeSet::new(),
            acting: BTreeMap::new(),
            ramps: BTreeMap::new(),
            emergencies: BTreeMap::new(),
            left: BTreeMap::new(),
            epochs,
            published: clock::wall(),
            history,
            feed,
            scribe,
            clerk,
            events,
            running: Vec::new(),
            aside: Vec::new(),
            awaiting: None,
            watches: BTreeMap::new(),
            rollouts: Rollouts::default(),
            cases: Cases::default(),
            trouble: None,
            config_hash: String::new(),
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
        to: Slot,
        now: Timestamp,
    ) -> RollbackRecord {
        let id = intent.id.clone();
        let begun = Rollback::begin(intent, now);
        let record = begun.next.record(now);
        let asks_first = begun.next.intent().ask_first;
        self.running.push(Running::new(begun.next, (slot, digest.clone()), to));
        if asks_first {
            // Where users are moved at once, the swap comes before everything else.
            emit::rollback_begun(&self.exporter, &record);
            self.tell_start(&record, &digest, now);
        }
        self.obey(&id, begun.commands, now);
        self.settle(&id, now).unwrap_or(record)
    }

    /// Goes on with a rollback of the run before.
    pub(super) fn resume(
        &mut self,
        intent: Intent,
        begun: Timestamp,
        of: (Slot, Digest),
        to: Slot,
        now: Timestamp,
    ) {
        let id = intent.id.clone();
        let resumed = Rollback::resume(intent, begun, now);
        let running = Running::new(resumed.next, of, to);
        self.running.push(Running { recorded: true, ..running });
        self.obey(&id, resumed.commands, now);
        let _record = self.settle(&id, now);
    }

    /// Something came of a command.
    pub(super) fn happened(&mut self, id: &str, event: &Event, now: Timestamp) {
        let commands = self.step(id, event, now);
        self.obey(id, commands, now);
        let _record = self.settle(id, now);
    }

    /// What a version did since the last time.
    pub(super) fn count(&mut self, slot: Slot, tally: &Tally, now: Timestamp) {
        self.running.iter_mut().for_each(|running| running.count(slot, tally, now));
    }

    /// Does what was put off until now.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.put_rest_aside(Some(now));
        let mut alarms = Vec::new();
        for running in &mut self.running {
            let id = running.id().to_owned();
            let due = running.due(&self.roster, now);
            alarms.extend(due.into_iter().map(|event| (id.clone(), event)));
        }
        for (id, event) in alarms {
            self.happened(&id, &event, now);
        }
    }

    /// Whether a rollback of this version has not ended.
    pub(super) fn is_rolling(&self, slot: Slot) -> bool {
        self.running.iter().any(|one| one.slot == slot && !one.rollback.is_over())
    }

    /// Whether the last requests of this version are ending.
    pub(super) fn is_draining(&self, slot: Slot) -> bool {
        self.running.iter().any(|one| one.slot == slot && one.rollback.is_draining())
    }

    /// Whether any rollback still looks at this slot.
    pub(super) fn is_using(&self, slot: Slot) -> bool {
        self.running.iter().any(|one| one.slot == slot)
    }

    /// The rollback on this route that has not ended, the latest where there are several.
    pub(super) fn rolling_on(&self, route: &Name) -> Option<&Rollback> {
        let mut running = self.running.iter().rev().map(|one| &one.rollback);
        running.find(|one| one.intent().route == *route && !one.is_over())
    }

    /// What was put off for this version is not wanted any more: it may serve again.
    pub(super) fn pardon(&mut self, slot: Slot) {
        self.running.retain(|one| one.slot != slot || !one.rollback.is_over());
        self.roster.mend(slot);
    }

    pub(super) fn find(&mut self, id: &str) -> Option<&mut Running> {
        self.running.iter_mut().find(|one| one.id() == id)
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
        let Some(running) = self.running.iter_mut().find(|one| one.id() == id) else {
            return;
        };
        let record = running.rollback.record(now);
        let ended = |status| matches!(status, Status::Completed | Status::Failed);
        let mut over: Vec<_> =
            record.phases.iter().filter(|one| ended(one.status)).collect();
        over.retain(|phase| !running.told.contains(&phase.phase));
        for phase in over {
            running.told.push(phase.phase);
            emit::rollback_phase(&self.exporter, &record, phase);
            let detail = phase.detail.clone().unwrap_or_else(|| {
                if phase.status == Status::Completed { "completed" } else { "failed" }
                    .to_owned()
            });
            let event = format!("phase {}", phase.phase);
            self.cases.note(id, Moment { at: now, event, detail });
        }
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
            Command::Check { check, .. } => self.check(id, check),
            Command::Replace { route, version, to } => {
                Some(self.replace(id, (&route, &version, &to), now))
            }
            Command::Quarantine { route, version, reason } => {
                self.set_aside(id, (route, version), reason, now)
            }
            Command::Drain { until, .. } => {
                self.drain(id, until);
                None
            }
            Command::CutAfter { at, .. } if at <= now => {
                let roster = Arc::clone(&self.roster);
                let cut = self.find(id)?.cut_now(&roster);
                Some(Event::Cut { cut })
            }
            Command::CutAfter { at, .. } => {
                self.find(id)?.cut = Some(at);
                None
            }
            Command::Observe => {
                self.find(id)?.observe();
                None
            }
            Command::Measure => Some(self.find(id)?.measured(now)),
            Command::Wake { at } => {
                self.find(id)?.wake = Some(at);
                None
            }
            Command::Emergency { route, version, why } => {
                self.emergency(&route, Some(&version), (why, None), now);
                None
            }
            Command::Notify(record) => {
                self.tell_end(*record, now);
                None
            }
        }
    }

    fn check(&mut self, id: &str, check: Check) -> Option<Event> {
        let (registry, events) = (Arc::clone(&self.registry), self.events.clone());
        let examine = Arc::clone(&self.examine);
        let running = self.find(id)?;
        let Some(upstream) = registry.get(running.to) else {
            let detail = "it is in no table any more".to_owned();
            return Some(Event::Checked { check, passed: false, detail });
        };
        let (id, seen) = (id.to_owned(), examine(upstream));
        let ask = async move {
            let Examined { passed, detail } = seen.await;
            let event = Event::Checked { check, passed, detail };
            // When nobody takes it, the control loop has ended, and with it this.
            let _told = events.send(Happened::Rollback { id, event }).await;
        };
        running.tasks.push(Watch(tasks::shared("rollback check", ask)));
        None
    }

    fn drain(&mut self, id: &str, until: Timestamp) {
        let (roster, events) = (Arc::clone(&self.roster), self.events.clone());
        let Some(running) = self.find(id) else { return };
        let (id, slot) = (id.to_owned(), running.slot);
        let before = roster.in_flight(slot);
        let wait = async move {
            let left = drained(&roster, slot, until).await;
            let drained = before.saturating_sub(left);
            let event = Event::Drained { drained, left };
            // As above.
            let _told = events.send(Happened::Rollback { id, event }).await;
        };
        running.tasks.push(Watch(tasks::shared("drain", wait)));
    }

    /// Keeps the record, and forgets what is over.
    fn settle(&mut self, id: &str, now: Timestamp) -> Option<RollbackRecord> {
        let running = self.find(id)?;
        let record = running.rollback.record(now);
        // The end is shown when it is on disk; what is noted after it is added.
        if !running.rollback.is_over() {
            // Who was told and what it cost are known here, and not to the machine.
            let shown = self.history.rollback(id).map(|kept| &kept.record);
            let alerts_sent = shown.map(|it| it.alerts_sent.clone()).unwrap_or_default();
            let impact = shown.and_then(|it| it.impact);
            self.history.put(RollbackRecord { alerts_sent, impact, ..record.clone() });
        } else if let Some(shown) = self.history.rollback(id)
            && shown.record.status == record.status
        {
            let notes = record.notes.clone();
            self.history.put(RollbackRecord { notes, ..shown.record.clone() });
        }
        self.running.retain(|one| !one.rollback.is_over() || one.cut.is_some());
        Some(record)
    }
}
