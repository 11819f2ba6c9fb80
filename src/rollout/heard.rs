//! What a rollout hears while it goes on: the analysis, gates, room, and whether the shares
//! it asked for are there.
//!
//! Apart from the steps, because each of these may come at any time and only changes what
//! the next step may do.

use super::advance::Turn;
use super::border::{Answer, ChangeKind, Gate, Judged, RolloutCommand};
use super::headroom::Headroom;
use super::plan::Act;
use super::state::{State, Stop, Subject, Wait};
use crate::vocab::amount::Percent;

impl Turn {
    pub(super) fn judged(&mut self, judged: Judged) {
        self.it.judged = Some(judged);
        match judged {
            Judged::Breached => {
                self.it.suspected = None;
                if !matches!(self.it.state, State::RollingBack | State::Failed { .. }) {
                    self.begin_rolling_back();
                }
            }
            Judged::Suspicious => {
                if let State::Aborting { by, next, .. } = &mut self.it.state
                    && *by < Percent::FULL
                {
                    (*by, *next) = (Percent::FULL, self.now);
                } else if !self.it.is_over() && self.it.suspected.is_none() {
                    self.it.suspected = Some(self.now);
                    self.tell_waiting();
                }
            }
            Judged::Good | Judged::Inconclusive | Judged::NoTraffic => {
                let was = self.it.suspected.take();
                if was.is_some() && !self.it.is_over() {
                    self.tell(
                        ChangeKind::Resumed,
                        "the version is cleared: its rollout goes on".to_owned(),
                    );
                }
            }
        }
    }

    pub(super) fn begin_rolling_back(&mut self) {
        let text = format!("{} is being rolled back", self.it.subject.version);
        self.it.state = State::RollingBack;
        self.tell(ChangeKind::RollingBack, text);
        self.set_weight(Percent::ZERO);
    }

    pub(super) fn concern(&mut self, finding: &str) {
        if matches!(self.it.state, State::UnderWay { .. }) {
            self.stop(ANALYSIS, finding);
        }
    }

    /// Pauses, unless it is paused already.
    pub(super) fn stop(&mut self, by: &str, reason: &str) {
        if self.it.paused.is_none() {
            let since = self.now;
            let (by, reason) = (by.to_owned(), reason.to_owned());
            self.tell(ChangeKind::Paused, format!("paused by {by}: {reason}"));
            self.it.paused = Some(Stop { by, reason, since });
        }
    }

    pub(super) fn overruled(&mut self, weight: Percent, by: &str, reason: &str) {
        (self.it.weight, self.it.asked) = (weight, None);
        match &self.it.state {
            State::UnderWay { .. } => {
                self.stop(by, &format!("its weight was set to {weight}: {reason}"));
            }
            State::Aborting { why, .. } if weight == Percent::ZERO => {
                self.fail(why.clone());
            }
            State::Aborting { .. }
            | State::RollingBack
            | State::Succeeded
            | State::Failed { .. } => {}
        }
    }

    pub(super) fn gate(&mut self, gate: Gate, answer: &Answer) {
        let State::UnderWay { at, wait } = &mut self.it.state else { return };
        if gate == Gate::Rollback {
            if *answer == Answer::Go && self.it.rollback_asked.is_some() {
                let why = "a webhook of type rollback asked for it".to_owned();
                self.commands.push(RolloutCommand::RollBack { why });
                self.begin_rolling_back();
            }
            return;
        }
        let (at, Wait::Answer { no, .. }) = (*at, wait) else { return };
        if self.it.plan.acts().get(at) != Some(&Act::Ask(gate)) {
            return;
        }
        match answer {
            Answer::Go => {
                self.pass(at);
            }
            Answer::Halt { why } => {
                let is_new = no.is_none();
                *no = Some(why.clone());
                if is_new {
                    self.tell_waiting();
                }
            }
        }
    }

    pub(super) fn headroom(&mut self, headroom: &Headroom) {
        let State::UnderWay { at, wait: Wait::Answer { no, .. } } = &mut self.it.state
        else {
            return;
        };
        let at = *at;
        let Some(Act::Room(weight)) = self.it.plan.acts().get(at).copied() else {
            return;
        };
        match headroom {
            Headroom::Enough | Headroom::Unknown => {
                self.pass(at);
            }
            Headroom::Short { needed, have, why } => {
                let text = format!("{needed} requests in flight, {have} fit: {why}");
                let is_new = no.replace(text.clone()).is_none();
                if is_new {
                    let text = format!("no room for {weight} of the traffic: {text}");
                    self.tell(ChangeKind::Short, text);
                }
            }
        }
    }

    pub(super) fn shifted(&mut self, weight: Percent) {
        (self.it.weight, self.it.asked) = (weight, None);
        match self.it.state.clone() {
            State::UnderWay { at, wait: Wait::Answer { .. } } => {
                if self.it.plan.acts().get(at) != Some(&Act::Shift(weight)) {
                    return;
                }
                let (made, all) = self.it.steps();
                self.pass(at);
                let Subject { version, .. } = self.it.subject.clone();
                let (kind, text) = if weight == Percent::FULL {
                    (ChangeKind::Promoted, format!("{version} takes all traffic"))
                } else {
                    let text = format!("step {made} of {all}: {version} takes {weight}");
                    (ChangeKind::Stepped, text)
                };
                self.tell(kind, text);
            }
            State::Aborting { why, .. } if weight == Percent::ZERO => self.fail(why),
            State::UnderWay { .. }
            | State::Aborting { .. }
            | State::RollingBack
            | State::Succeeded
            | State::Failed { .. } => {}
        }
    }

    /// It is tried again in a while: what stands in the way may go by itself.
    pub(super) fn not_shifted(&mut self, why: &str) {
        let State::UnderWay { at, wait: Wait::Answer { no, .. } } = &mut self.it.state
        else {
            return;
        };
        if matches!(self.it.plan.acts().get(*at), Some(Act::Shift(_)))
            && no.replace(why.to_owned()).is_none()
        {
            self.tell_waiting();
        }
    }

    pub(super) fn rolled_back(&mut self, why: &str) {
        let why = format!("rolled back: {why}");
        let has_none = self.it.weight == Percent::ZERO && self.it.asked.is_none();
        match self.it.state {
            State::Failed { .. } => {}
            State::RollingBack if has_none => self.fail(why),
            State::UnderWay { .. }
            | State::Aborting { .. }
            | State::RollingBack
            | State::Succeeded => {
                self.it.state =
                    State::Aborting { by: Percent::FULL, next: self.now, why };
            }
        }
    }
}

/// Who pauses a rollout when a rule that asks for it is broken.
const ANALYSIS: &str = "analysis";
