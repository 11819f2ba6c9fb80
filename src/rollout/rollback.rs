//! The rollback machine: `step(&Rollback, &Event, now) -> Step`. Decides, never acts.
//!
//! Invariants: a rollback ends exactly once, in completed or failed; no duration is
//! negative, even when the clock goes back; whoever forgets to answer is outwaited.

use std::time::Duration;

use super::command::{Command, Event, OnTimeout, Step};
use crate::vocab::ids::Name;
use crate::vocab::record::{PhaseRecord, ProtectRef, RollbackRecord, Status};
use crate::vocab::time::Timestamp;
use crate::vocab::trigger::Trigger;

/// What is to be rolled back, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// `rb-` and a sortable unique suffix.
    pub id: String,
    /// The route.
    pub route: Name,
    /// The version that loses its traffic.
    pub from: Name,
    /// The version that takes it.
    pub to: Name,
    /// What set it off.
    pub trigger: Trigger,
    /// The finding, or the operator's reason.
    pub reason: String,
    /// Whether the machine decided.
    pub automatic: bool,
    /// `switchback`, or the operator's name.
    pub by: String,
    /// The protect that it grew from.
    pub protect: Option<ProtectRef>,
    /// How the drain goes.
    pub drain: DrainPolicy,
}

/// How requests in flight are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainPolicy {
    /// How long they may take before the drain is reported as over.
    pub timeout: Duration,
    /// What happens to those that are left then.
    pub on_timeout: OnTimeout,
    /// After so long even a request that may finish is cut.
    pub cap: Duration,
}

/// One rollback under way, or at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollback {
    intent: Intent,
    begun: Timestamp,
    state: State,
    done: Vec<PhaseRecord>,
    notes: Vec<String>,
}

/// Where a rollback stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The new table is being published.
    Routing {
        /// When this phase began.
        since: Timestamp,
    },
    /// New requests are on the other version; the last ones of the bad version end.
    Draining {
        /// When this phase began.
        since: Timestamp,
        /// When an answer about the drain is overdue.
        overdue: Timestamp,
    },
    /// The drain's time is over, and what is left is being cut.
    Cutting {
        /// When the drain began.
        since: Timestamp,
        /// When an answer about the cut is overdue.
        overdue: Timestamp,
        /// Requests that ended in the drain.
        drained: u64,
        /// Requests that were left.
        left: u64,
    },
    /// It is done.
    Completed {
        /// When it ended.
        at: Timestamp,
    },
    /// It could not be done, or nobody said that it was.
    Failed {
        /// When it ended.
        at: Timestamp,
    },
}

impl State {
    /// The word for it in notes and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Routing { .. } => "routing",
            Self::Draining { .. } => "draining",
            Self::Cutting { .. } => "cutting",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
        }
    }
}

impl Rollback {
    /// Begins a rollback: swap the table, then write the quarantine down.
    pub fn begin(intent: Intent, now: Timestamp) -> Step {
        let (route, version) = (intent.route.clone(), intent.from.clone());
        let reason = intent.reason.clone();
        let state = State::Routing { since: now };
        let next =
            Self { intent, begun: now, state, done: Vec::new(), notes: Vec::new() };
        let commands = vec![
            Command::Replace { route: route.clone(), version: version.clone() },
            Command::Quarantine { route, version, reason },
            Command::Wake { at: now.after(SWAP_LIMIT) },
        ];
        Step { next, commands }
    }

    /// What is rolled back, and why.
    #[must_use]
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// When it began.
    #[must_use]
    pub fn begun(&self) -> Timestamp {
        self.begun
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.end().is_some()
    }

    /// The record of it as of `now`.
    #[must_use]
    pub fn record(&self, now: Timestamp) -> RollbackRecord {
        let mut phases = self.done.clone();
        match self.state {
            State::Routing { since } => {
                phases.push(phase(ROUTE, Status::InProgress, seconds(since, now)));
            }
            State::Draining { since, .. } => {
                phases.push(phase(DRAIN, Status::InProgress, seconds(since, now)));
            }
            State::Cutting { since, drained, left, .. } => {
                let so_far = seconds(since, now);
                phases.push(drain_phase(Status::InProgress, so_far, drained, left));
            }
            State::Completed { .. } | State::Failed { .. } => {}
        }
        RollbackRecord {
            rollback_id: self.intent.id.clone(),
            timestamp: self.begun,
            route: self.intent.route.clone(),
            trigger: self.intent.trigger,
            from_version: self.intent.from.clone(),
            to_version: self.intent.to.clone(),
            reason: self.intent.reason.clone(),
            automatic: self.intent.automatic,
            initiated_by: self.intent.by.clone(),
            status: match self.state {
                State::Completed { .. } => Status::Completed,
                State::Failed { .. } => Status::Failed,
                State::Routing { .. }
                | State::Draining { .. }
                | State::Cutting { .. } => Status::InProgress,
            },
            phases,
            total_duration_seconds: self.end().map(|at| seconds(self.begun, at)),
            trigger_latency_seconds: self.trigger_latency(),
            protect: self.intent.protect.clone(),
            notes: self.notes.clone(),
        }
    }

    /// From the first verdict until the version was out for good.
    fn trigger_latency(&self) -> Option<f64> {
        let route = self.done.iter().find(|one| one.phase == ROUTE)?;
        let protect = self.intent.protect.as_ref();
        let first = protect.map_or(self.begun, |protect| protect.timestamp);
        let took = seconds(first, self.begun) + route.duration_seconds;
        (route.status == Status::Completed).then_some(took)
    }

    fn end(&self) -> Option<Timestamp> {
        match self.state {
            State::Completed { at } | State::Failed { at } => Some(at),
            State::Routing { .. } | State::Draining { .. } | State::Cutting { .. } => {
                None
            }
        }
    }
}

/// What follows when `event` happens at `now`. Pure and total.
pub fn step(rollback: &Rollback, event: &Event, now: Timestamp) -> Step {
    let mut next = rollback.clone();
    let commands = match (rollback.state, event) {
        (State::Routing { since }, Event::Swapped) => next.drain(since, now),
        (State::Routing { since }, Event::SwapFailed { why }) => {
            next.fail(phase(ROUTE, Status::Failed, seconds(since, now)), why, now)
        }
        (State::Routing { since }, Event::Woken) => {
            match still_early(since.after(SWAP_LIMIT), now) {
                Some(wait) => wait,
                None => {
                    let late = phase(ROUTE, Status::Failed, seconds(since, now));
                    next.fail(late, "nobody said that the table was swapped", now)
                }
            }
        }
        (State::Draining { since, .. }, Event::Drained { drained, left }) => {
            next.drained(since, *drained, *left, now)
        }
        (State::Draining { since, overdue }, Event::Woken) => {
            match still_early(overdue, now) {
                Some(wait) => wait,
                None => {
                    let late = phase(DRAIN, Status::Failed, seconds(since, now));
                    next.fail(late, "nobody said how the drain ended", now)
                }
            }
        }
        (State::Cutting { since, drained, left, .. }, Event::Cut { cut }) => {
            next.note(format!("{cut} requests were cut when the drain's time was over"));
            next.complete(since, drained, left, now)
        }
        (State::Cutting { since, overdue, drained, left }, Event::Woken) => {
            match still_early(overdue, now) {
                Some(wait) => wait,
                None => {
                    let late =
                        drain_phase(Status::Failed, seconds(since, now), drained, left);
                    next.fail(late, "nobody said that the requests left were cut", now)
                }
            }
        }
        (_, Event::QuarantineFailed { why }) => {
            next.note(format!(
                "the quarantine is not on disk and ends with this process: {why}"
            ));
            Vec::new()
        }
        (State::Completed { .. }, Event::Cut { cut: 0 })
        | (State::Completed { .. } | State::Failed { .. }, Event::Woken) => Vec::new(),
        (State::Completed { .. }, Event::Cut { cut }) => {
            next.note(format!("{cut} requests were cut at the cap"));
            Vec::new()
        }
        (
            state,
            Event::Swapped
            | Event::SwapFailed { .. }
            | Event::Drained { .. }
            | Event::Cut { .. },
        ) => {
            next.note(format!(
                "out of turn: {} came while {}",
                event.as_str(),
                state.as_str()
            ));
            Vec::new()
        }
    };
    debug_assert!(next.is_well_formed(), "{next:?}");
    Step { next, commands }
}

impl Rollback {
    fn drain(&mut self, since: Timestamp, now: Timestamp) -> Vec<Command> {
        self.done.push(phase(ROUTE, Status::Completed, seconds(since, now)));
        let until = now.after(self.intent.drain.timeout);
        let overdue = until.after(GRACE);
        self.state = State::Draining { since: now, overdue };
        let (route, version) = (self.intent.route.clone(), self.intent.from.clone());
        vec![Command::Drain { route, version, until }, Command::Wake { at: overdue }]
    }

    fn drained(
        &mut self,
        since: Timestamp,
        drained: u64,
        left: u64,
        now: Timestamp,
    ) -> Vec<Command> {
        let (route, version) = (self.intent.route.clone(), self.intent.from.clone());
        match (left, self.intent.drain.on_timeout) {
            (0, _) => self.complete(since, drained, left, now),
            (_, OnTimeout::Finish) => {
                let at = since.after(self.intent.drain.cap);
                let mut commands = vec![Command::CutAfter { route, version, at }];
                commands.extend(self.complete(since, drained, left, now));
                commands
            }
            (_, OnTimeout::Cut) => {
                let overdue = now.after(GRACE);
                self.state = State::Cutting { since, overdue, drained, left };
                vec![
                    Command::CutAfter { route, version, at: now },
                    Command::Wake { at: overdue },
                ]
            }
        }
    }

    fn complete(
        &mut self,
        since: Timestamp,
        drained: u64,
        left: u64,
        now: Timestamp,
    ) -> Vec<Command> {
        let duration = seconds(since, now);
        self.done.push(drain_phase(Status::Completed, duration, drained, left));
        self.state = State::Completed { at: now };
        vec![Command::Notify(Box::new(self.record(now)))]
    }

    fn fail(&mut self, last: PhaseRecord, why: &str, now: Timestamp) -> Vec<Command> {
        self.done.push(last);
        self.note(why.to_owned());
        self.state = State::Failed { at: now };
        vec![Command::Notify(Box::new(self.record(now)))]
    }

    fn note(&mut self, text: String) {
        if self.notes.len() < MOST_NOTES {
            self.notes.push(text);
        }
    }

    fn is_well_formed(&self) -> bool {
        let finished = self.done.len();
        let fits = match self.state {
            State::Routing { .. } => finished == 0,
            State::Draining { .. } | State::Cutting { .. } => finished == 1,
            State::Completed { .. } => finished == 2,
            State::Failed { .. } => (1..=2).contains(&finished),
        };
        fits && self.done.iter().all(|phase| phase.duration_seconds >= 0.0)
    }
}

/// An alarm that comes before its time is set again.
fn still_early(due: Timestamp, now: Timestamp) -> Option<Vec<Command>> {
    (now < due).then(|| vec![Command::Wake { at: due }])
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).as_secs_f64()
}

fn phase(phase: &'static str, status: Status, duration_seconds: f64) -> PhaseRecord {
    PhaseRecord {
        phase,
        status,
        duration_seconds,
        drained_requests: None,
        left_requests: None,
    }
}

fn drain_phase(
    status: Status,
    duration_seconds: f64,
    drained: u64,
    left: u64,
) -> PhaseRecord {
    PhaseRecord {
        drained_requests: Some(drained),
        left_requests: Some(left),
        ..phase(DRAIN, status, duration_seconds)
    }
}

/// The requirement's names of the phases.
const ROUTE: &str = "route";
const DRAIN: &str = "drain";
/// A swap takes microseconds; after this it is not slow but lost. The requirement allows ten
/// seconds from an operator's order to the start.
const SWAP_LIMIT: Duration = Duration::from_secs(10);
/// How long the answer to a finished drain or cut may take before it counts as lost.
const GRACE: Duration = Duration::from_secs(5);
/// Bounds the notes of one record; what floods them is the same oddity over and over.
const MOST_NOTES: usize = 16;
