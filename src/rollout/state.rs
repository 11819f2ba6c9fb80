//! `Rollout`: where the rollout of one version stands, with every state named.
//!
//! Apart from the machine that moves it, because it is also what a restart begins with: all
//! of it is written down, times as wall time, so that what passed in between counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::border::{Gate, Judged};
use super::plan::{Act, Plan, PlanStep, Span};
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Name};
use crate::vocab::time::Timestamp;

/// What is to be rolled out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// `ro-` and a sortable unique suffix.
    pub id: String,
    /// The route.
    pub route: Name,
    /// The version that gains traffic.
    pub version: Name,
    /// The very build of it.
    pub digest: Digest,
}

/// One rollout under way, or at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub(super) subject: Subject,
    pub(super) plan: Plan,
    /// 1, and one more with each retry.
    pub(super) attempt: u32,
    pub(super) begun: Timestamp,
    pub(super) state: State,
    /// Since when it is in the phase of now.
    pub(super) since: Timestamp,
    /// What the version is known to have.
    pub(super) weight: Percent,
    /// What was asked for it since, and is not known to be done.
    pub(super) asked: Option<Percent>,
    pub(super) paused: Option<Stop>,
    pub(super) frozen: Option<Stop>,
    pub(super) suspected: Option<Timestamp>,
    /// When the gate that may roll back is asked next.
    pub(super) rollback_asked: Option<Timestamp>,
    /// The alarm that was asked for last.
    #[serde(skip)]
    pub(super) alarm: Option<Timestamp>,
    /// What the analysis said last; a restart asks it anew.
    #[serde(skip)]
    pub(super) judged: Option<Judged>,
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    /// At an act of its plan.
    UnderWay {
        /// Which act.
        at: usize,
        /// How that act stands.
        wait: Wait,
    },
    /// Its traffic is being taken away.
    Aborting {
        /// So much less at a time.
        by: Percent,
        /// When the next part is taken away, or asked for again.
        next: Timestamp,
        /// Why.
        why: String,
    },
    /// The version is being rolled back.
    RollingBack,
    /// Over: the version has all traffic.
    Succeeded,
    /// Over: the version has none.
    Failed {
        /// Why.
        why: String,
    },
}

/// How an act stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Wait {
    /// It has not begun.
    Ready,
    /// It ends by itself at that time.
    Until(Timestamp),
    /// It stands still, with so much left.
    Left(Duration),
    /// Its time is over, and it waits for the first request.
    Traffic,
    /// An answer is awaited, and asked for again at `again`.
    Answer {
        /// When it is asked for again.
        again: Timestamp,
        /// The last answer, where it was no.
        no: Option<String>,
    },
    /// Somebody has to say that it goes on.
    Open,
}

/// Who stopped a rollout, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Who: an operator, or `analysis`.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// Where a rollout stands, as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has begun and done nothing yet.
    Initialized,
    /// A gate holds it before the first request.
    Waiting,
    /// The version gains traffic in steps.
    Progressing,
    /// Everything but the last step is done.
    WaitingPromotion,
    /// The last step is being made.
    Promoting,
    /// The version has all traffic and is watched, stable is kept warm.
    Finalising,
    /// Over: the version has all traffic.
    Succeeded,
    /// Over: the version has none.
    Failed,
    /// Somebody, or a rule, has stopped it.
    Paused,
    /// The version is being rolled back.
    RollingBack,
    /// Its traffic is being taken away by order.
    Aborting,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Initialized,
        Self::Waiting,
        Self::Progressing,
        Self::WaitingPromotion,
        Self::Promoting,
        Self::Finalising,
        Self::Succeeded,
        Self::Failed,
        Self::Paused,
        Self::RollingBack,
        Self::Aborting,
    ];

    /// The word for it, after Flagger where Flagger has one.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialized => "initialized",
            Self::Waiting => "waiting",
            Self::Progressing => "progressing",
            Self::WaitingPromotion => "waitingPromotion",
            Self::Promoting => "promoting",
            Self::Finalising => "finalising",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::RollingBack => "rollingBack",
            Self::Aborting => "aborting",
        }
    }
}

impl Rollout {
    /// What is rolled out.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The plan it goes by.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The share that the version is known to have of it.
    #[must_use]
    pub fn weight(&self) -> Percent {
        self.weight
    }

    /// Since when it is in its phase.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Succeeded | State::Failed { .. })
    }

    /// Whether the version has all traffic for good.
    #[must_use]
    pub fn is_succeeded(&self) -> bool {
        self.state == State::Succeeded
    }

    /// Whether the version is being rolled back.
    #[must_use]
    pub fn is_rolling_back(&self) -> bool {
        self.state == State::RollingBack
    }

    /// Who paused it.
    #[must_use]
    pub fn paused(&self) -> Option<&Stop> {
        self.paused.as_ref()
    }

    /// Who froze it.
    #[must_use]
    pub fn frozen(&self) -> Option<&Stop> {
        self.frozen.as_ref()
    }

    /// Whether it changes nothing, whoever or whatever stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        self.paused.is_some() || self.frozen.is_some() || self.suspected.is_some()
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let State::UnderWay { at, wait } = &self.state else {
            return match &self.state {
                State::Aborting { .. } => Phase::Aborting,
                State::RollingBack => Phase::RollingBack,
                State::Failed { .. } => Phase::Failed,
                State::Succeeded | State::UnderWay { .. } => Phase::Succeeded,
            };
        };
        if self.paused.is_some() || self.frozen.is_some() {
            return Phase::Paused;
        }
        let acts = self.plan.acts();
        let left = acts.get(*at..).unwrap_or_default();
        let is_last = left
            .iter()
            .all(|act| !matches!(act, Act::Shift(weight) if *weight < Percent::FULL));
        match left.first() {
            Some(_) if *at == 0 && *wait == Wait::Ready => Phase::Initialized,
            Some(Act::Ask(Gate::ConfirmRollout | Gate::PreRollout)) => Phase::Waiting,
            Some(Act::Bake(_)) | None => Phase::Finalising,
            Some(Act::Shift(_)) if is_last => Phase::Promoting,
            Some(Act::Pause(_)) => Phase::Progressing,
            Some(_) if is_last => Phase::WaitingPromotion,
            Some(_) => Phase::Progressing,
        }
    }

    /// The step under way, from 1, and how many there are.
    #[must_use]
    pub fn steps(&self) -> (usize, usize) {
        let all = self.plan.weights();
        let made = match &self.state {
            State::UnderWay { at, .. } => {
                let acts = self.plan.acts();
                let shift = |act: &&Act| matches!(act, Act::Shift(_));
                acts[..(*at + 1).min(acts.len())].iter().filter(shift).count()
            }
            State::Succeeded => all,
            State::Aborting { .. } | State::RollingBack | State::Failed { .. } => {
                let set = |step: &&PlanStep| matches!(step, PlanStep::SetWeight(weight) if *weight <= self.weight);
                self.plan.steps.iter().filter(set).count()
            }
        };
        (made, all)
    }

    /// When its wait ends by itself, where it does.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match &self.state {
            State::UnderWay { wait: Wait::Until(at), .. }
            | State::Aborting { next: at, .. } => Some(*at),
            State::UnderWay { .. }
            | State::RollingBack
            | State::Succeeded
            | State::Failed { .. } => None,
        }
    }

    /// What it waits for, in words; `None` when it is over.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        let (at, wait) = match &self.state {
            State::UnderWay { at, wait } => (*at, wait),
            State::Aborting { .. } => {
                return Some("its traffic to be taken away".to_owned());
            }
            State::RollingBack => return Some("the rollback to end".to_owned()),
            State::Succeeded | State::Failed { .. } => return None,
        };
        if let Some(stop) = self.frozen.as_ref().or(self.paused.as_ref()) {
            return Some(format!("{} or another operator to resume it", stop.by));
        }
        if self.suspected.is_some() {
            return Some("the version to be cleared, its users are on stable".to_owned());
        }
        let no = match wait {
            Wait::Answer { no: Some(no), .. } => format!(": {no}"),
            Wait::Answer { no: None, .. }
            | Wait::Ready
            | Wait::Until(_)
            | Wait::Left(_)
            | Wait::Traffic
            | Wait::Open => String::new(),
        };
        Some(match self.plan.acts().get(at)? {
            Act::Ask(gate) => format!("the gate {}{no}", gate.as_str()),
            Act::Room(weight) => format!("room for {weight} of the traffic{no}"),
            Act::Shift(weight) => format!("{weight} of the traffic{no}"),
            Act::Pause(_) if *wait == Wait::Traffic => {
                "the first request to the version".to_owned()
            }
            Act::Pause(span) => format!("the pause of {} to end", Span(*span)),
            Act::Order => "an operator to promote it".to_owned(),
            Act::Good => {
                "the analysis to be good, or an operator to promote it".to_owned()
            }
            Act::Bake(span) => format!("{} at 100% to pass", Span(*span)),
        })
    }

    /// Why it is paused, frozen, going back or failed.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match &self.state {
            State::Aborting { why, .. } | State::Failed { why } => Some(why),
            State::UnderWay { .. } | State::RollingBack | State::Succeeded => {
                let stop = self.frozen.as_ref().or(self.paused.as_ref());
                stop.map(|stop| stop.reason.as_str())
            }
        }
    }
}
