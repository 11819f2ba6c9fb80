//! The rollback machine: `step(&Rollback, &Event, now) -> Step`. Decides, never acts.
//!
//! Invariants: a rollback ends exactly once, in completed or failed; no duration is
//! negative, even when the clock goes back; whoever forgets to answer is outwaited.

use std::time::Duration;

use super::command::{Check, Command, Event, OnTimeout, Step};
use super::rollback::{GRACE, Rollback, State};
use crate::judge::stats::bounds::divergence;
use crate::vocab::amount::Percent;
use crate::vocab::record::{Phase, PostMetrics, Status};
use crate::vocab::time::Timestamp;

/// What follows when `event` happens at `now`. Pure and total.
pub fn step(rollback: &Rollback, event: &Event, now: Timestamp) -> Step {
    let mut next = rollback.clone();
    let mut commands = next.take(event, now);
    if *event == Event::Woken || next.due() != rollback.due() {
        commands.extend(next.alarm());
    }
    debug_assert!(next.is_well_formed(), "{next:?}");
    Step { next, commands }
}

impl Rollback {
    fn take(&mut self, event: &Event, now: Timestamp) -> Vec<Command> {
        match (self.state, event) {
            (_, Event::QuarantineFailed { why }) => {
                self.note(format!(
                    "the quarantine is not on disk and ends with this process: {why}"
                ));
                Vec::new()
            }
            (_, Event::RampOver { how }) => self.ramp_over(how.clone(), now),
            (State::Completed { .. } | State::Failed { .. }, event) => {
                self.after_the_end(event)
            }
            (State::Routing { .. }, Event::Swapped { took_us }) => {
                self.drain(*took_us, now)
            }
            (State::Routing { .. }, Event::SwapFailed { why }) => {
                self.end_phase(Phase::RouteTraffic, Status::Failed, now);
                self.fail(why.clone(), now)
            }
            (State::Draining { .. }, Event::Drained { drained, left }) => {
                self.drained(*drained, *left, now)
            }
            (State::Cutting { .. }, Event::Cut { cut }) => {
                self.note(format!(
                    "{cut} requests were cut when the drain's time was over"
                ));
                self.settle(now)
            }
            (state, Event::Checked { check, passed, detail }) => {
                self.checked(state, *check, (*passed, detail), now)
            }
            (State::Measuring { .. }, Event::Measured { requests, failed, p99_us }) => {
                self.measured(*requests, *failed, *p99_us, now)
            }
            (_, Event::Woken) => self.woken(now),
            (
                state,
                Event::Swapped { .. }
                | Event::SwapFailed { .. }
                | Event::Drained { .. }
                | Event::Cut { .. }
                | Event::Measured { .. },
            ) => self.out_of_turn(state, event),
        }
    }

    fn after_the_end(&mut self, event: &Event) -> Vec<Command> {
        match event {
            Event::Cut { cut: 0 }
            | Event::Woken
            | Event::Checked { .. }
            | Event::RampOver { .. } => {}
            Event::Cut { cut } => {
                self.note(format!("{cut} requests were cut at the cap"));
            }
            Event::Swapped { .. }
            | Event::SwapFailed { .. }
            | Event::QuarantineFailed { .. }
            | Event::Drained { .. }
            | Event::Measured { .. } => return self.out_of_turn(self.state, event),
        }
        Vec::new()
    }

    fn out_of_turn(&mut self, state: State, event: &Event) -> Vec<Command> {
        let (event, state) = (event.as_str(), state.as_str());
        self.note(format!("out of turn: {event} came while {state}"));
        Vec::new()
    }

    /// New requests are on the other version.
    fn drain(&mut self, took_us: u64, now: Timestamp) -> Vec<Command> {
        let to = &self.intent.to;
        let detail = format!("the table with {to} was in force after {took_us} us");
        self.ledger.end(Phase::RouteTraffic, Status::Completed, Some(detail), now);
        self.ledger.begin(Phase::DrainTraffic, now);
        let until = now.after(self.intent.procedure.drain_timeout);
        self.state = State::Draining { overdue: until.after(GRACE) };
        let (route, version) = (self.intent.route.clone(), self.intent.from.clone());
        vec![Command::Observe, Command::Drain { route, version, until }]
    }

    fn drained(&mut self, drained: u64, left: u64, now: Timestamp) -> Vec<Command> {
        self.ledger.note_drain(drained, left);
        let (route, version) = (self.intent.route.clone(), self.intent.from.clone());
        match (left, self.intent.procedure.on_timeout) {
            (0, _) => self.settle(now),
            (_, OnTimeout::Finish) => {
                let since = self.ledger.open_since(Phase::DrainTraffic).unwrap_or(now);
                let at = since.after(self.intent.procedure.cap);
                let mut commands = vec![Command::CutAfter { route, version, at }];
                commands.extend(self.settle(now));
                commands
            }
            (_, OnTimeout::Cut) => {
                self.state = State::Cutting { overdue: now.after(GRACE) };
                vec![Command::CutAfter { route, version, at: now }]
            }
        }
    }

    /// The other version has all the load. It settles in the first half of the span and is
    /// counted in the second, so that a burst right after the swap is not held against it.
    fn settle(&mut self, now: Timestamp) -> Vec<Command> {
        self.end_phase(Phase::DrainTraffic, Status::Completed, now);
        self.ledger.begin(Phase::Stabilise, now);
        let span = self.intent.procedure.settle;
        let count_from = (span > Duration::ZERO).then(|| now.after(span / 2));
        self.state = State::Settling { count_from, until: now.after(span) };
        self.settled(now)
    }

    /// The last of the traffic has come over: only now does the other version have the load
    /// that it is to be seen under.
    fn ramp_over(&mut self, how: String, now: Timestamp) -> Vec<Command> {
        if self.ramp.take().is_none() || self.is_over() {
            return Vec::new();
        }
        self.note(how);
        if !matches!(self.state, State::Settling { .. }) {
            return Vec::new();
        }
        let span = self.intent.procedure.settle;
        let count_from = (span > Duration::ZERO).then(|| now.after(span / 2));
        self.state = State::Settling { count_from, until: now.after(span) };
        self.settled(now)
    }

    /// Goes on when the span is over, all traffic has come over and the first check has been
    /// answered.
    fn settled(&mut self, now: Timestamp) -> Vec<Command> {
        let State::Settling { count_from, until } = self.state else { return Vec::new() };
        if self.ramp.is_some() {
            return Vec::new();
        }
        if let Some(from) = count_from {
            if now < from {
                return Vec::new();
            }
            self.state = State::Settling { count_from: None, until };
            return vec![Command::Observe];
        }
        let waits = self.ledger.open_since(Phase::PreRollbackHealthCheck).is_some();
        if now < until || waits {
            return Vec::new();
        }
        self.end_phase(Phase::Stabilise, Status::Completed, now);
        self.ledger.begin(Phase::PostRollbackHealthCheck, now);
        self.state = State::Rechecking { overdue: self.check_overdue(now) };
        vec![self.check(Check::After)]
    }

    fn checked(
        &mut self,
        state: State,
        check: Check,
        (passed, detail): (bool, &str),
        now: Timestamp,
    ) -> Vec<Command> {
        let phase = match check {
            Check::Before => Phase::PreRollbackHealthCheck,
            Check::After => Phase::PostRollbackHealthCheck,
        };
        if self.ledger.open_since(phase).is_none() {
            let (passed, detail) = (passed, detail.to_owned());
            return self.out_of_turn(state, &Event::Checked { check, passed, detail });
        }
        let status = if passed { Status::Completed } else { Status::Failed };
        self.ledger.end(phase, status, Some(detail.to_owned()), now);
        if !passed {
            let to = &self.intent.to;
            return self.fail(format!("the health check of {to} failed: {detail}"), now);
        }
        match (state, check) {
            (State::Checking { .. }, Check::Before) => self.route(now),
            (State::Rechecking { .. }, Check::After) => {
                self.ledger.begin(Phase::VerifyMetrics, now);
                self.state = State::Measuring { overdue: now.after(GRACE) };
                vec![Command::Measure]
            }
            (_, _) => self.settled(now),
        }
    }

    fn measured(
        &mut self,
        requests: u64,
        failed: u64,
        p99_us: Option<u64>,
        now: Timestamp,
    ) -> Vec<Command> {
        let error_rate = share(failed, requests);
        let latency_p99 = p99_us.map(|us| Duration::from_micros(us).as_secs_f64() * 1e3);
        let accuracy = None;
        self.measured = Some(PostMetrics { accuracy, error_rate, latency_p99, requests });
        let max = self.intent.procedure.max_error_rate;
        let detail = match error_rate {
            None => "no requests came, so that there is nothing to verify".to_owned(),
            Some(rate) => format!(
                "{failed} of {requests} requests failed ({:.2}%), at most {max} may",
                rate * 100.0
            ),
        };
        let is_bad = is_worse(requests, failed, max);
        let status = if is_bad { Status::Failed } else { Status::Completed };
        self.ledger.end(Phase::VerifyMetrics, status, Some(detail.clone()), now);
        if is_bad {
            return self.fail(format!("{} is not well: {detail}", self.intent.to), now);
        }
        self.state = State::Completed { at: now };
        vec![Command::Notify(Box::new(self.record(now)))]
    }

    /// What is overdue counts as lost.
    fn woken(&mut self, now: Timestamp) -> Vec<Command> {
        let asked = self.ledger.open_since(Phase::PreRollbackHealthCheck);
        if asked.is_some_and(|since| now >= self.check_overdue(since)) {
            let detail = "nobody said how it ended";
            return self.checked(self.state, Check::Before, (false, detail), now);
        }
        if self.ramp.is_some_and(|overdue| now >= overdue) {
            return self.ramp_over("nobody said how the ramp ended".to_owned(), now);
        }
        match self.state {
            State::Routing { overdue } if now >= overdue => {
                self.end_phase(Phase::RouteTraffic, Status::Failed, now);
                self.fail("nobody said that the table was swapped".to_owned(), now)
            }
            State::Draining { overdue } if now >= overdue => {
                self.note("nobody said how the drain ended".to_owned());
                self.end_phase(Phase::DrainTraffic, Status::Failed, now);
                self.settle(now)
            }
            State::Cutting { overdue } if now >= overdue => {
                self.note("nobody said that the requests left were cut".to_owned());
                self.end_phase(Phase::DrainTraffic, Status::Failed, now);
                self.settle(now)
            }
            State::Rechecking { overdue } if now >= overdue => {
                let detail = "nobody said how it ended";
                self.checked(self.state, Check::After, (false, detail), now)
            }
            State::Measuring { overdue } if now >= overdue => {
                self.note("nobody counted the requests".to_owned());
                self.measured(0, 0, None, now)
            }
            State::Settling { .. } => self.settled(now),
            State::Checking { .. }
            | State::Routing { .. }
            | State::Draining { .. }
            | State::Cutting { .. }
            | State::Rechecking { .. }
            | State::Measuring { .. }
            | State::Completed { .. }
            | State::Failed { .. } => Vec::new(),
        }
    }

    /// Nothing behind the route can be trusted: neither the version that was to go nor the
    /// one that was to come.
    fn fail(&mut self, why: String, now: Timestamp) -> Vec<Command> {
        let mut commands = Vec::new();
        let (route, version) = (self.intent.route.clone(), self.intent.from.clone());
        if !self.ledger.is_completed(Phase::RouteTraffic) {
            // The bad version is not to come back when the route serves again.
            let reason = self.intent.reason.clone();
            let (route, version) = (route.clone(), version.clone());
            commands.push(Command::Quarantine { route, version, reason });
        }
        self.note(why.clone());
        self.ledger.close(Status::Failed, now);
        self.state = State::Failed { at: now };
        commands.insert(0, Command::Emergency { route, version, why });
        commands.push(Command::Notify(Box::new(self.record(now))));
        commands
    }

    fn end_phase(&mut self, phase: Phase, status: Status, now: Timestamp) {
        self.ledger.end(phase, status, None, now);
    }

    fn is_well_formed(&self) -> bool {
        let done = |phase| self.ledger.is_completed(phase);
        match self.state {
            State::Checking { .. } => !done(Phase::RouteTraffic),
            State::Routing { .. } => {
                self.ledger.open_since(Phase::RouteTraffic).is_some()
            }
            State::Draining { .. } | State::Cutting { .. } => {
                self.ledger.open_since(Phase::DrainTraffic).is_some()
            }
            State::Settling { .. } => self.ledger.open_since(Phase::Stabilise).is_some(),
            State::Rechecking { .. } => {
                self.ledger.open_since(Phase::PostRollbackHealthCheck).is_some()
            }
            State::Measuring { .. } => {
                self.ledger.open_since(Phase::VerifyMetrics).is_some()
            }
            State::Completed { .. } => {
                done(Phase::RouteTraffic)
                    && done(Phase::PreRollbackHealthCheck)
                    && done(Phase::PostRollbackHealthCheck)
                    && done(Phase::VerifyMetrics)
            }
            State::Failed { .. } => !done(Phase::VerifyMetrics),
        }
    }
}

fn share(failed: u64, requests: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a share, not a count")]
    (requests > 0).then(|| failed as f64 / requests as f64)
}

/// Whether so many failures are more than chance would make of a version that fails at most
/// `max` of its requests: enough requests, above the bound, and by Chernoff's inequality
/// less likely than one in a thousand.
fn is_worse(requests: u64, failed: u64, max: Percent) -> bool {
    let (Some(rate), limit) = (share(failed, requests), max.fraction()) else {
        return false;
    };
    if requests < FEWEST || rate <= limit {
        return false;
    }
    #[expect(clippy::cast_precision_loss, reason = "a weight, not a count")]
    let nats = requests as f64 * divergence(rate, limit);
    nats > SURE
}

/// Fewer requests verify nothing.
const FEWEST: u64 = 20;
/// ln 1,000.
const SURE: f64 = 6.907_755_278_982_137;
