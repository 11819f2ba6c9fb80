//! The machine of a rollout: `advance(&Rollout, &RolloutEvent, now) -> RolloutStep`. Decides,
//! never acts.
//!
//! Invariants: nothing raises the share of a version that is under protect, in quarantine or
//! whose rollout failed; an abort ends at 0 %; what stops a rollout loses none of its steps
//! and none of the time of a pause; an event that does not fit changes nothing.

use std::time::Duration;

use super::border::{
    Change, ChangeKind, Gate, Judged, RolloutCommand, RolloutEvent, RolloutStep,
};
use super::plan::{Act, NoTraffic, Plan, Retreat};
use super::state::{Rollout, State, Stop, Subject, Wait};
use crate::vocab::amount::Percent;
use crate::vocab::time::Timestamp;

impl Rollout {
    /// Begins a rollout; `frozen` when the route's rollouts are.
    pub fn begin(
        subject: Subject,
        plan: Plan,
        frozen: Option<Stop>,
        now: Timestamp,
    ) -> RolloutStep {
        let it = Self {
            subject,
            plan,
            attempt: 1,
            begun: now,
            state: State::UnderWay { at: 0, wait: Wait::Ready },
            since: now,
            weight: Percent::ZERO,
            asked: None,
            paused: None,
            frozen,
            suspected: None,
            rollback_asked: None,
            alarm: None,
            judged: None,
        };
        let mut turn = Turn { it, commands: Vec::new(), now };
        turn.tell_begun();
        turn.over()
    }

    /// Goes on after a restart: what was waited for is asked for anew, and time that passed
    /// has passed.
    pub fn restored(mut self, now: Timestamp) -> RolloutStep {
        if let State::UnderWay { wait: Wait::Answer { again, .. }, .. }
        | State::Aborting { next: again, .. } = &mut self.state
        {
            *again = now;
        }
        self.rollback_asked = None;
        (self.alarm, self.judged) = (None, None);
        Turn { it: self, commands: Vec::new(), now }.over()
    }

    /// Takes another plan for the next attempt; one that is under way keeps its own.
    pub fn replan(&mut self, plan: Plan) {
        if self.is_over() {
            self.plan = plan;
        }
    }
}

/// What follows from an event.
pub fn advance(rollout: &Rollout, event: &RolloutEvent, now: Timestamp) -> RolloutStep {
    let mut turn = Turn { it: rollout.clone(), commands: Vec::new(), now };
    match event {
        RolloutEvent::Woken => turn.it.alarm = None,
        RolloutEvent::Judged(judged) => turn.judged(*judged),
        RolloutEvent::Concern(finding) => turn.concern(finding),
        RolloutEvent::Ordered { verb, by, reason } => turn.ordered(*verb, by, reason),
        RolloutEvent::Overruled { weight, by, reason } => {
            turn.overruled(*weight, by, reason);
        }
        RolloutEvent::Gate { gate, answer } => turn.gate(*gate, answer),
        RolloutEvent::Headroom(headroom) => turn.headroom(headroom),
        RolloutEvent::Shifted { weight } => turn.shifted(*weight),
        RolloutEvent::NotShifted { why } => turn.not_shifted(why),
        RolloutEvent::RolledBack { why } => turn.rolled_back(why),
    }
    turn.over()
}

/// One event on its way through the machine.
pub(super) struct Turn {
    pub(super) it: Rollout,
    pub(super) commands: Vec<RolloutCommand>,
    pub(super) now: Timestamp,
}

impl Turn {
    /// Does all that can be done now, and sets the alarm for what cannot.
    fn over(mut self) -> RolloutStep {
        let before = self.it.phase();
        self.go();
        if self.it.phase() != before || self.it.since > self.now {
            self.it.since = self.now;
        }
        let alarm = self.next_alarm();
        if alarm != self.it.alarm {
            self.it.alarm = alarm;
            self.commands.extend(alarm.map(|at| RolloutCommand::Wake { at }));
        }
        RolloutStep { next: self.it, commands: self.commands }
    }

    fn go(&mut self) {
        self.ask_for_rollback();
        self.retreat();
        while let State::UnderWay { at, wait } = self.it.state.clone() {
            let Some(act) = self.it.plan.acts().get(at).copied() else {
                return self.succeed();
            };
            if self.it.is_stopped() {
                if let Wait::Until(end) = wait {
                    let left = Wait::Left(end.since(self.now));
                    self.it.state = State::UnderWay { at, wait: left };
                }
                return;
            }
            if !self.passes(at, act, wait) {
                return;
            }
        }
    }

    /// Does what an act asks for now; says whether there may be more to do.
    fn passes(&mut self, at: usize, act: Act, wait: Wait) -> bool {
        match act {
            Act::Ask(gate) => {
                let every = self.it.plan.every(gate).unwrap_or(ROOM_AGAIN);
                self.ask(at, wait, every, RolloutCommand::AskGate { gate })
            }
            Act::Room(weight) => {
                let check = RolloutCommand::CheckHeadroom { weight };
                self.ask(at, wait, ROOM_AGAIN, check)
            }
            Act::Shift(weight) => {
                let version = self.it.subject.version.clone();
                let set = RolloutCommand::SetWeight { version, weight };
                self.ask(at, wait, SHIFT_AGAIN, set)
            }
            Act::Pause(span) | Act::Bake(span) => self.sits_out(at, act, span, &wait),
            Act::Good if self.it.judged == Some(Judged::Good) => self.pass(at),
            Act::Good | Act::Order => {
                if wait == Wait::Open {
                    return false;
                }
                self.it.state = State::UnderWay { at, wait: Wait::Open };
                self.tell_waiting();
                false
            }
        }
    }

    fn ask(
        &mut self,
        at: usize,
        wait: Wait,
        every: Duration,
        command: RolloutCommand,
    ) -> bool {
        let no = match wait {
            Wait::Answer { again, .. } if self.now < again => return false,
            Wait::Answer { no, .. } => no,
            Wait::Ready | Wait::Until(_) | Wait::Left(_) | Wait::Traffic | Wait::Open => {
                None
            }
        };
        let again = self.now.after(every.max(LEAST_AGAIN));
        self.it.state = State::UnderWay { at, wait: Wait::Answer { again, no } };
        if let RolloutCommand::SetWeight { weight, .. } = &command {
            self.it.asked = Some(*weight);
        }
        self.commands.push(command);
        false
    }

    fn sits_out(&mut self, at: usize, act: Act, span: Duration, wait: &Wait) -> bool {
        let end = match *wait {
            Wait::Until(end) if self.now < end => return false,
            Wait::Until(_) | Wait::Traffic => return self.is_sat_out(at, act, span),
            Wait::Left(left) => self.now.after(left),
            Wait::Ready | Wait::Answer { .. } | Wait::Open => self.now.after(span),
        };
        self.it.state = State::UnderWay { at, wait: Wait::Until(end) };
        true
    }

    fn is_sat_out(&mut self, at: usize, act: Act, span: Duration) -> bool {
        let has_share = self.it.weight > Percent::ZERO;
        match self.it.judged {
            _ if matches!(act, Act::Bake(_)) => self.pass(at),
            // The first word of the analysis is never more than a moment away.
            None | Some(Judged::Suspicious | Judged::Breached) => false,
            Some(Judged::NoTraffic) if has_share => {
                match self.it.plan.no_traffic {
                    NoTraffic::Hold => {
                        let waits = Wait::Traffic;
                        let is_new = self.it.state != State::UnderWay { at, wait: waits };
                        self.it.state = State::UnderWay { at, wait: Wait::Traffic };
                        if is_new {
                            self.tell_waiting();
                        }
                    }
                    NoTraffic::Extend => {
                        let end = self.now.after(span);
                        self.it.state = State::UnderWay { at, wait: Wait::Until(end) };
                    }
                    NoTraffic::Revert => {
                        let why = "no request came to the version in a whole pause";
                        self.abort(why.to_owned());
                    }
                }
                false
            }
            Some(Judged::Good | Judged::Inconclusive | Judged::NoTraffic) => {
                self.pass(at)
            }
        }
    }

    pub(super) fn pass(&mut self, at: usize) -> bool {
        self.it.state = State::UnderWay { at: at + 1, wait: Wait::Ready };
        true
    }

    fn ask_for_rollback(&mut self) {
        let gate = Gate::Rollback;
        let (State::UnderWay { .. }, Some(every)) =
            (&self.it.state, self.it.plan.every(gate))
        else {
            self.it.rollback_asked = None;
            return;
        };
        if self.it.rollback_asked.is_none_or(|next| self.now >= next) {
            self.it.rollback_asked = Some(self.now.after(every.max(LEAST_AGAIN)));
            self.commands.push(RolloutCommand::AskGate { gate });
        }
    }

    fn next_alarm(&self) -> Option<Timestamp> {
        let wait = match &self.it.state {
            State::Aborting { next, .. } => Some(*next),
            State::UnderWay { wait, .. } if !self.it.is_stopped() => match wait {
                Wait::Until(at) | Wait::Answer { again: at, .. } => Some(*at),
                Wait::Ready | Wait::Left(_) | Wait::Traffic | Wait::Open => None,
            },
            State::UnderWay { .. }
            | State::RollingBack
            | State::Succeeded
            | State::Failed { .. } => None,
        };
        // What is over in time but not in fact goes on with the next word of the analysis.
        let wait = wait.filter(|at| *at > self.now);
        wait.into_iter().chain(self.it.rollback_asked).min()
    }

    /// Begins to take the traffic away.
    pub(super) fn abort(&mut self, why: String) {
        let by = match self.it.plan.retreat {
            Retreat::InSteps { by, .. } if self.it.suspected.is_none() => by,
            Retreat::InSteps { .. } | Retreat::AtOnce => Percent::FULL,
        };
        let Subject { version, .. } = &self.it.subject;
        let text = format!("the traffic of {version} is taken away: {why}");
        self.it.state = State::Aborting { by, next: self.now, why };
        self.tell(ChangeKind::Aborting, text);
    }

    /// Takes the next part of the traffic away, if it is time.
    fn retreat(&mut self) {
        let State::Aborting { by, next, .. } = &mut self.it.state else { return };
        if self.now < *next {
            return;
        }
        let every = match self.it.plan.retreat {
            Retreat::InSteps { every, .. } => every.max(LEAST_AGAIN),
            Retreat::AtOnce => SHIFT_AGAIN,
        };
        *next = self.now.after(every);
        let to = self.it.weight.ppm().saturating_sub(by.ppm());
        self.set_weight(Percent::from_ppm(to));
    }

    pub(super) fn set_weight(&mut self, weight: Percent) {
        self.it.asked = Some(weight);
        let version = self.it.subject.version.clone();
        self.commands.push(RolloutCommand::SetWeight { version, weight });
    }

    pub(super) fn fail(&mut self, why: String) {
        let Subject { version, .. } = &self.it.subject;
        let text = format!("the rollout of {version} has failed: {why}");
        self.it.state = State::Failed { why };
        (self.it.paused, self.it.suspected) = (None, None);
        self.end(ChangeKind::Failed, text);
    }

    fn succeed(&mut self) {
        let text = format!("{} is rolled out", self.it.subject.version);
        self.it.state = State::Succeeded;
        (self.it.paused, self.it.suspected) = (None, None);
        self.end(ChangeKind::Succeeded, text);
    }

    fn end(&mut self, kind: ChangeKind, text: String) {
        self.it.rollback_asked = None;
        self.tell(kind, text);
        let gate = Gate::PostRollout;
        if self.it.plan.every(gate).is_some() {
            self.commands.push(RolloutCommand::AskGate { gate });
        }
        let succeeded = kind == ChangeKind::Succeeded;
        self.commands.push(RolloutCommand::Finish { succeeded });
    }

    pub(super) fn tell_begun(&mut self) {
        let Subject { version, .. } = &self.it.subject;
        let attempt = match self.it.attempt {
            1 => String::new(),
            number => format!(", attempt {number}"),
        };
        let text = format!("{version} is rolled out{attempt}: {}", self.it.plan);
        self.tell(ChangeKind::Begun, text);
    }

    pub(super) fn tell_waiting(&mut self) {
        let what = self.it.waits_for().unwrap_or_default();
        self.tell(ChangeKind::Waiting, format!("waits for {what}"));
    }

    pub(super) fn tell(&mut self, kind: ChangeKind, text: String) {
        self.commands.push(RolloutCommand::Tell(Change { kind, text }));
    }
}

/// Between two looks at the room that a version's servers have.
const ROOM_AGAIN: Duration = Duration::from_secs(5);
/// A weight is set in microseconds; one that is not confirmed by then was lost.
const SHIFT_AGAIN: Duration = Duration::from_secs(10);
/// Nothing is asked for more often than this.
const LEAST_AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
#[path = "advance_tests.rs"]
mod tests;
