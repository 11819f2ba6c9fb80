//! `Rollback`: one rollback, what it is to do and where it stands. The steps it takes are in
//! `procedure`.

use std::time::Duration;

use super::command::{Check, Command, OnTimeout, Step};
use super::ledger::Ledger;
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;
use crate::vocab::record::{Phase, PostMetrics, ProtectRef, RollbackRecord, Status};
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
    /// A digest of the configuration in force.
    pub config_hash: String,
    /// The version that is to take the traffic is known to be dead: it is asked again
    /// before anybody is sent to it. Else users are moved first and it is asked meanwhile.
    pub ask_first: bool,
    /// When the ramp by which the traffic goes over ends at the latest; `None` where all of
    /// it goes over at once.
    pub ramp_until: Option<Timestamp>,
    /// How it goes.
    pub procedure: Procedure,
}

/// How a rollback goes about its phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Procedure {
    /// How long requests in flight may take before the drain is reported as over.
    pub drain_timeout: Duration,
    /// What happens to those that are left then.
    pub on_timeout: OnTimeout,
    /// After so long even a request that may finish is cut.
    pub cap: Duration,
    /// How long the servers may take to answer a check.
    pub check_timeout: Duration,
    /// How long the other version settles under its load before it is looked at again.
    pub settle: Duration,
    /// The largest share of failed requests that counts as well.
    pub max_error_rate: Percent,
}

/// One rollback under way, or at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollback {
    pub(super) intent: Intent,
    pub(super) begun: Timestamp,
    pub(super) state: State,
    pub(super) ledger: Ledger,
    pub(super) measured: Option<PostMetrics>,
    pub(super) notes: Vec<String>,
    /// When it is overdue that somebody says how the ramp ended.
    pub(super) ramp: Option<Timestamp>,
}

/// Where a rollback stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The version that is to take the traffic is asked before it gets any.
    Checking {
        /// When an answer is overdue.
        overdue: Timestamp,
    },
    /// The new table is being published.
    Routing {
        /// When an answer is overdue.
        overdue: Timestamp,
    },
    /// New requests are on the other version; the last ones of the bad version end.
    Draining {
        /// When an answer about the drain is overdue.
        overdue: Timestamp,
    },
    /// The drain's time is over, and what is left is being cut.
    Cutting {
        /// When an answer about the cut is overdue.
        overdue: Timestamp,
    },
    /// The other version settles under its load.
    Settling {
        /// From when on its requests are counted; `None` once they are.
        count_from: Option<Timestamp>,
        /// When that is over.
        until: Timestamp,
    },
    /// Its servers are asked again.
    Rechecking {
        /// When an answer is overdue.
        overdue: Timestamp,
    },
    /// What became of its requests is being counted.
    Measuring {
        /// When an answer is overdue.
        overdue: Timestamp,
    },
    /// It is done.
    Completed {
        /// When it ended.
        at: Timestamp,
    },
    /// It could not be done, or the other version is not well.
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
            Self::Checking { .. } => "checking",
            Self::Routing { .. } => "routing",
            Self::Draining { .. } => "draining",
            Self::Cutting { .. } => "cutting",
            Self::Settling { .. } => "settling",
            Self::Rechecking { .. } => "checking again",
            Self::Measuring { .. } => "measuring",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
        }
    }
}

impl Rollback {
    /// Begins a rollback: swap the table, write the quarantine down, ask the other version
    /// meanwhile; or ask it first, when it is known to be dead.
    pub fn begin(intent: Intent, now: Timestamp) -> Step {
        let overdue = now.after(SWAP_LIMIT);
        let (state, ledger) = (State::Routing { overdue }, Ledger::default());
        let (measured, notes) = (None, Vec::new());
        let ramp = intent.ramp_until.map(|until| until.after(GRACE));
        let mut next = Self { intent, begun: now, state, ledger, measured, notes, ramp };
        next.ledger.begin(Phase::PreRollbackHealthCheck, now);
        let mut commands = if next.intent.ask_first {
            next.state = State::Checking { overdue: next.check_overdue(now) };
            vec![next.check(Check::Before)]
        } else {
            let mut commands = next.route(now);
            commands.push(next.check(Check::Before));
            commands
        };
        commands.extend(next.alarm());
        Step { next, commands }
    }

    /// Goes on with a rollback that the process before this one did not outlive, begun at
    /// `begun`: its version is out of the table, and its requests in flight ended with that
    /// process. What is left is to look at the other version.
    pub fn resume(intent: Intent, begun: Timestamp, now: Timestamp) -> Step {
        let span = intent.procedure.settle;
        let count_from = (span > Duration::ZERO).then(|| now.after(span / 2));
        let state = State::Settling { count_from, until: now.after(span) };
        let (ledger, notes) = (Ledger::default(), Vec::new());
        let (measured, ramp) = (None, None);
        let mut next = Self { intent, begun, state, ledger, measured, notes, ramp };
        for phase in [Phase::RouteTraffic, Phase::DrainTraffic] {
            let detail = Some("ended with the process before this one".to_owned());
            next.ledger.begin(phase, begun);
            next.ledger.end(phase, Status::Completed, detail, now);
        }
        next.ledger.begin(Phase::PreRollbackHealthCheck, now);
        next.ledger.begin(Phase::Stabilise, now);
        next.note("the process ended meanwhile; this one went on with it".to_owned());
        let mut commands = vec![Command::Observe, next.check(Check::Before)];
        commands.extend(next.alarm());
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

    /// Whether the last requests of the bad version are ending.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.ledger.open_since(Phase::DrainTraffic).is_some()
    }

    /// Whether new requests have left the bad version.
    #[must_use]
    pub fn has_swapped(&self) -> bool {
        self.ledger.is_completed(Phase::RouteTraffic)
    }

    /// The record of it as of `now`.
    #[must_use]
    pub fn record(&self, now: Timestamp) -> RollbackRecord {
        let intent = &self.intent;
        RollbackRecord {
            schema_version: SCHEMA,
            rollback_id: intent.id.clone(),
            timestamp: self.begun,
            route: intent.route.clone(),
            trigger: intent.trigger,
            from_version: intent.from.clone(),
            to_version: intent.to.clone(),
            reason: intent.reason.clone(),
            automatic: intent.automatic,
            initiated_by: (!intent.automatic).then(|| intent.by.clone()),
            status: match self.state {
                State::Completed { .. } => Status::Completed,
                State::Failed { .. } => Status::Failed,
                State::Checking { .. }
                | State::Routing { .. }
                | State::Draining { .. }
                | State::Cutting { .. }
                | State::Settling { .. }
                | State::Rechecking { .. }
                | State::Measuring { .. } => Status::InProgress,
            },
            phases: self.ledger.records(now),
            total_duration_seconds: self
                .end()
                .map(|at| at.since(self.begun).as_secs_f64()),
            post_rollback_metrics: self.measured,
            alerts_sent: Vec::new(),
            trigger_latency_seconds: self.trigger_latency(),
            impact: None,
            config_hash: intent.config_hash.clone(),
            protect: intent.protect.clone(),
            notes: self.notes.clone(),
        }
    }

    /// From the first verdict until the version was out for good.
    fn trigger_latency(&self) -> Option<f64> {
        let protect = self.intent.protect.as_ref();
        let first = protect.map_or(self.begun, |protect| protect.timestamp);
        let took = self.ledger.took(Phase::RouteTraffic)?;
        Some(self.begun.since(first).as_secs_f64() + took)
    }

    fn end(&self) -> Option<Timestamp> {
        match self.state {
            State::Completed { at } | State::Failed { at } => Some(at),
            State::Checking { .. }
            | State::Routing { .. }
            | State::Draining { .. }
            | State::Cutting { .. }
            | State::Settling { .. }
            | State::Rechecking { .. }
            | State::Measuring { .. } => None,
        }
    }

    /// When the machine wants to be woken, if nothing happens before.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let own = match self.state {
            State::Checking { overdue }
            | State::Routing { overdue }
            | State::Draining { overdue }
            | State::Cutting { overdue }
            | State::Rechecking { overdue }
            | State::Measuring { overdue } => overdue,
            State::Settling { count_from, until } => {
                self.ramp.unwrap_or_else(|| count_from.unwrap_or(until))
            }
            State::Completed { .. } | State::Failed { .. } => return None,
        };
        let open = self.ledger.open_since(Phase::PreRollbackHealthCheck);
        let check = open.map(|since| self.check_overdue(since));
        // Once it has settled it waits for that check alone.
        let settled = self.ramp.is_none()
            && matches!(self.state, State::Settling { count_from: None, .. });
        match check {
            Some(check) if settled => Some(own.max(check)),
            Some(check) => Some(own.min(check)),
            None => Some(own),
        }
    }

    pub(super) fn alarm(&self) -> Option<Command> {
        self.due().map(|at| Command::Wake { at })
    }

    pub(super) fn check_overdue(&self, since: Timestamp) -> Timestamp {
        since.after(self.intent.procedure.check_timeout).after(GRACE)
    }

    pub(super) fn check(&self, check: Check) -> Command {
        let (route, version) = (self.intent.route.clone(), self.intent.to.clone());
        Command::Check { route, version, check }
    }

    /// The swap begins.
    pub(super) fn route(&mut self, now: Timestamp) -> Vec<Command> {
        self.state = State::Routing { overdue: now.after(SWAP_LIMIT) };
        self.ledger.begin(Phase::RouteTraffic, now);
        let Intent { route, from, to, reason, .. } = self.intent.clone();
        let replace =
            Command::Replace { route: route.clone(), version: from.clone(), to };
        vec![replace, Command::Quarantine { route, version: from, reason }]
    }

    pub(super) fn note(&mut self, text: String) {
        if self.notes.len() < MOST_NOTES {
            self.notes.push(text);
        }
    }
}

/// The shape of a record.
const SCHEMA: u32 = 1;
/// A swap takes microseconds; after this it is not slow but lost. The requirement allows ten
/// seconds from an operator's order to the start.
const SWAP_LIMIT: Duration = Duration::from_secs(10);
/// How long an answer that is due may take before it counts as lost.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// Bounds the notes of one record; what floods them is the same oddity over and over.
const MOST_NOTES: usize = 16;
