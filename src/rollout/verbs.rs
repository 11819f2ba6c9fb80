//! What an operator's order does to a rollout, or why it makes no sense now.
//!
//! Apart from the rest of the machine, because each order is refused with a reason of its
//! own, and those reasons are most of it.

use super::advance::Turn;
use super::border::{ChangeKind, Judged, RolloutCommand, Verb};
use super::plan::Act;
use super::state::{State, Stop, Wait};
use crate::vocab::amount::Percent;

impl Turn {
    pub(super) fn ordered(&mut self, verb: Verb, by: &str, reason: &str) {
        let done = match verb {
            Verb::Promote { full } => self.promote(full, by, reason),
            Verb::Pause => self.pause(by, reason),
            Verb::Resume => self.resume(by, reason),
            Verb::Abort => self.abort_by(by, reason),
            Verb::Retry => self.retry(),
            Verb::Freeze => self.freeze(by, reason),
        };
        if let Err(why) = done {
            self.commands.push(RolloutCommand::Refuse(why));
        }
    }

    fn promote(&mut self, full: bool, by: &str, reason: &str) -> Result<(), String> {
        let at = self.place("promote")?;
        if let Some(Stop { by, reason, .. }) =
            self.it.frozen.as_ref().or(self.it.paused.as_ref())
        {
            return Err(format!("it is stopped by {by} ({reason}): resume it first"));
        }
        let version = &self.it.subject.version;
        if self.it.suspected.is_some() {
            return Err(format!(
                "{version} is under protect and takes no more traffic: wait until it is \
                 cleared, or give its users back with set-weight"
            ));
        }
        let acts = self.it.plan.acts();
        let last = acts.iter().position(|act| *act == Act::Shift(Percent::FULL));
        let is_full = last.is_some_and(|last| at > last);
        if full && is_full {
            return Err(format!("{version} has all traffic already"));
        }
        let text = if is_full {
            format!("the watch at 100% is ended by {by}: {reason}")
        } else if full {
            format!("promoted to 100% by {by}: {reason}")
        } else {
            format!("promoted by {by}: {reason}")
        };
        match last.filter(|_| full) {
            Some(last) => {
                self.it.state = State::UnderWay { at: last, wait: Wait::Ready };
            }
            None if matches!(acts.get(at), Some(Act::Shift(_))) => {
                self.it.state = State::UnderWay { at, wait: Wait::Ready };
            }
            None => {
                self.pass(at);
            }
        }
        self.tell(ChangeKind::Resumed, text);
        Ok(())
    }

    fn pause(&mut self, by: &str, reason: &str) -> Result<(), String> {
        self.place("pause")?;
        if let Some(Stop { by, reason, .. }) = &self.it.paused {
            return Err(format!("it is paused already, by {by}: {reason}"));
        }
        self.stop(by, reason);
        Ok(())
    }

    fn resume(&mut self, by: &str, reason: &str) -> Result<(), String> {
        if self.it.paused.is_none() && self.it.frozen.is_none() {
            return Err("it is neither paused nor frozen".to_owned());
        }
        (self.it.paused, self.it.frozen) = (None, None);
        self.tell(ChangeKind::Resumed, format!("resumed by {by}: {reason}"));
        Ok(())
    }

    fn abort_by(&mut self, by: &str, reason: &str) -> Result<(), String> {
        if let State::Aborting { by: part, next, .. } = &mut self.it.state {
            (*part, *next) = (Percent::FULL, self.now);
            return Ok(());
        }
        self.place("abort")?;
        self.abort(format!("aborted by {by}: {reason}"));
        Ok(())
    }

    fn retry(&mut self) -> Result<(), String> {
        let version = &self.it.subject.version;
        match &self.it.state {
            State::Failed { .. } => {}
            State::Succeeded => {
                return Err(format!(
                    "{version} is rolled out: there is nothing to retry"
                ));
            }
            State::UnderWay { .. } | State::Aborting { .. } | State::RollingBack => {
                return Err(format!(
                    "the rollout of {version} has not ended: abort it first"
                ));
            }
        }
        match self.it.judged {
            Some(Judged::Breached) => {
                return Err(format!("{version} is in quarantine: release it first"));
            }
            Some(Judged::Suspicious) => {
                return Err(format!(
                    "{version} is under protect: give its users back with set-weight, or \
                     roll it back"
                ));
            }
            Some(Judged::Good | Judged::Inconclusive | Judged::NoTraffic) | None => {}
        }
        self.it.attempt = self.it.attempt.saturating_add(1);
        self.it.begun = self.now;
        self.it.since = self.now;
        self.it.state = State::UnderWay { at: 0, wait: Wait::Ready };
        self.tell_begun();
        Ok(())
    }

    fn freeze(&mut self, by: &str, reason: &str) -> Result<(), String> {
        if let Some(Stop { by, reason, .. }) = &self.it.frozen {
            return Err(format!("it is frozen already, by {by}: {reason}"));
        }
        let (by, reason, since) = (by.to_owned(), reason.to_owned(), self.now);
        self.tell(ChangeKind::Paused, format!("frozen by {by}: {reason}"));
        self.it.frozen = Some(Stop { by, reason, since });
        Ok(())
    }

    /// Where it stands, or why nothing can be ordered of it.
    fn place(&self, verb: &str) -> Result<usize, String> {
        let version = &self.it.subject.version;
        match &self.it.state {
            State::UnderWay { at, .. } => Ok(*at),
            State::RollingBack => {
                Err(format!("{version} is being rolled back: there is nothing to {verb}"))
            }
            State::Aborting { .. } => Err(format!(
                "the rollout of {version} is being aborted: there is nothing to {verb}"
            )),
            State::Succeeded => {
                Err(format!("{version} is rolled out: there is nothing to {verb}"))
            }
            State::Failed { why } => Err(format!(
                "the rollout of {version} has failed ({why}): retry it first"
            )),
        }
    }
}
