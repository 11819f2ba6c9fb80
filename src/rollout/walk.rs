//! `Walk`: a rollout in a world that answers, for the tests of the machine. Apart from the
//! tests because it has no claim of its own.

use std::time::Duration;

use super::advance::advance;
use crate::rollout::border::{
    Answer, Gate, Judged, RolloutCommand, RolloutEvent, RolloutStep, Verb,
};
use crate::rollout::headroom::Headroom;
use crate::rollout::plan::tests::{canary, percent};
use crate::rollout::plan::{Finish, Plan, PlanStep, Retreat, Strategy};
use crate::rollout::state::{Phase, Rollout, Stop, Subject};
use crate::vocab::ids::{Digest, Name};
use crate::vocab::time::Timestamp;

/// A rollout with a world that answers: weights are set when they are asked for, there is
/// room, and every command is kept as a word.
pub(super) struct Walk {
    pub(super) it: Rollout,
    pub(super) now: u64,
    pub(super) told: Vec<String>,
    pub(super) room: Headroom,
    pub(super) obeys: bool,
}

impl Walk {
    pub(super) fn of(plan: Plan) -> Self {
        Self::frozen(plan, None)
    }

    pub(super) fn frozen(plan: Plan, frozen: Option<Stop>) -> Self {
        let subject = Subject {
            id: "ro-1".to_owned(),
            route: Name::parse("iris").unwrap(),
            version: Name::parse("v2").unwrap(),
            digest: Digest::new("sha256:a"),
        };
        let step = Rollout::begin(subject, plan, frozen, Timestamp(0));
        let (told, room) = (Vec::new(), Headroom::Unknown);
        let it = step.next.clone();
        let mut walk = Self { it, now: 0, told, room, obeys: true };
        walk.take(step);
        walk
    }

    pub(super) fn take(&mut self, step: RolloutStep) {
        self.it = step.next;
        for command in step.commands {
            let word = match &command {
                RolloutCommand::SetWeight { weight, .. } => format!("weight {weight}"),
                RolloutCommand::AskGate { gate } => format!("ask {}", gate.as_str()),
                RolloutCommand::CheckHeadroom { weight } => format!("room {weight}"),
                RolloutCommand::RollBack { .. } => "roll back".to_owned(),
                RolloutCommand::Wake { at } => format!("wake {}", at.0 / 1_000),
                RolloutCommand::Tell(change) => format!("tell {}", change.kind.as_str()),
                RolloutCommand::Refuse(why) => format!("refuse {why}"),
                RolloutCommand::Finish { succeeded } => format!("finish {succeeded}"),
            };
            self.told.push(word);
            match command {
                RolloutCommand::SetWeight { weight, .. } if self.obeys => {
                    self.happens(&RolloutEvent::Shifted { weight });
                }
                RolloutCommand::CheckHeadroom { .. } => {
                    self.happens(&RolloutEvent::Headroom(self.room.clone()));
                }
                RolloutCommand::SetWeight { .. }
                | RolloutCommand::AskGate { .. }
                | RolloutCommand::RollBack { .. }
                | RolloutCommand::Wake { .. }
                | RolloutCommand::Tell(_)
                | RolloutCommand::Refuse(_)
                | RolloutCommand::Finish { .. } => {}
            }
        }
    }

    pub(super) fn happens(&mut self, event: &RolloutEvent) {
        let step = advance(&self.it, event, Timestamp(self.now));
        self.take(step);
    }

    pub(super) fn judged(&mut self, judged: Judged) {
        self.happens(&RolloutEvent::Judged(judged));
    }

    /// Lets so many seconds pass, with the analysis and the alarm each second.
    pub(super) fn pass(&mut self, seconds: u64, judged: Judged) {
        for _ in 0..seconds {
            self.now += 1_000;
            self.judged(judged);
            self.happens(&RolloutEvent::Woken);
        }
    }

    pub(super) fn order(&mut self, verb: Verb) {
        let (by, reason) = ("alice".to_owned(), "because".to_owned());
        self.happens(&RolloutEvent::Ordered { verb, by, reason });
    }

    pub(super) fn gate(&mut self, gate: Gate, answer: Answer) {
        self.happens(&RolloutEvent::Gate { gate, answer });
    }

    /// What was told since the last look, alarms aside.
    pub(super) fn words(&mut self) -> Vec<String> {
        let told = std::mem::take(&mut self.told);
        told.into_iter().filter(|word| !word.starts_with("wake")).collect()
    }

    pub(super) fn stands(&self) -> (Phase, f64, (usize, usize)) {
        (self.it.phase(), self.it.weight().percent(), self.it.steps())
    }

    pub(super) fn refusal(&mut self) -> String {
        let last = self.words().pop().unwrap_or_default();
        last.strip_prefix("refuse ").unwrap_or_else(|| panic!("{last}")).to_owned()
    }
}

pub(super) fn quick(steps: &[PlanStep]) -> Plan {
    let bake = Duration::from_secs(20);
    Plan { steps: steps.to_vec(), bake, ..canary() }
}

pub(super) fn two_steps() -> Plan {
    let pause = PlanStep::Pause(Duration::from_secs(10));
    quick(&[
        PlanStep::SetWeight(percent(10.0)),
        pause,
        PlanStep::SetWeight(percent(50.0)),
        pause,
    ])
}

pub(super) fn blue_green() -> Plan {
    Plan { strategy: Strategy::BlueGreen, finish: Finish::ByOrder, ..quick(&[]) }
}

pub(super) fn rolling() -> Plan {
    let every = Duration::from_secs(30);
    Plan {
        strategy: Strategy::Rolling,
        retreat: Retreat::InSteps { by: percent(40.0), every },
        ..quick(&Plan::even(percent(40.0), every))
    }
}

pub(super) fn gated(gates: &[Gate]) -> Plan {
    let every = Duration::from_secs(2);
    Plan { gates: gates.iter().map(|gate| (*gate, every)).collect(), ..two_steps() }
}

pub(super) const GO: Answer = Answer::Go;

pub(super) fn halt() -> Answer {
    Answer::Halt { why: "503".to_owned() }
}
