//! `Plan`: the way of a version from no traffic to all of it, as a list of acts.
//!
//! Apart from the machine that goes it, because it is only said once, by the configuration,
//! and a rollout keeps the one it began with.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::border::Gate;
use crate::vocab::amount::Percent;

/// How a version is rolled out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The kind of plan.
    pub strategy: Strategy,
    /// What comes before the last step, which is always to 100 %; the weights rise.
    pub steps: Vec<PlanStep>,
    /// What the last step waits for.
    pub finish: Finish,
    /// How long the version is watched at 100 % before stable is let go; zero = not at all.
    pub bake: Duration,
    /// What a pause without a request of the version leads to.
    pub no_traffic: NoTraffic,
    /// How an abort takes the traffic away.
    pub retreat: Retreat,
    /// The gates that are asked, each with the time between two questions.
    pub gates: Vec<(Gate, Duration)>,
}

/// The kind of plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// A share of requests in steps.
    Canary,
    /// All requests in one step, and back in one.
    BlueGreen,
    /// Even steps, forwards and backwards.
    Rolling,
}

impl Strategy {
    /// The word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::BlueGreen => "blueGreen",
            Self::Rolling => "rolling",
        }
    }
}

/// One step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PlanStep {
    /// The version takes this share of requests.
    SetWeight(Percent),
    /// Nothing changes for so long.
    Pause(Duration),
    /// Nothing changes until an operator promotes it.
    UntilPromoted,
}

/// What the last step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Finish {
    /// The analysis is good, or an operator promotes it.
    WhenGood,
    /// An operator promotes it.
    ByOrder,
    /// Nothing more than the steps before it.
    AtOnce,
}

/// What a pause without a request of the version leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NoTraffic {
    /// The rollout waits for the first request and goes on with it.
    #[default]
    Hold,
    /// It waits one more pause of the same length, as often as it takes.
    Extend,
    /// It is aborted.
    Revert,
}

/// How an abort takes the traffic away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Retreat {
    /// In one step.
    AtOnce,
    /// By so much at a time.
    InSteps {
        /// Less traffic by this much a step.
        by: Percent,
        /// Between two steps.
        every: Duration,
    },
}

/// One thing that a rollout does or waits for. A plan is a row of them, and a rollout stands
/// at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A gate lets it pass.
    Ask(Gate),
    /// There is room for so much at the version's servers.
    Room(Percent),
    /// The version takes this share.
    Shift(Percent),
    /// Time passes, with traffic.
    Pause(Duration),
    /// An operator promotes it.
    Order,
    /// The analysis is good.
    Good,
    /// Time passes at 100 %.
    Bake(Duration),
}

impl Plan {
    /// Even steps of `by`, one every `every`.
    #[must_use]
    pub fn even(by: Percent, every: Duration) -> Vec<PlanStep> {
        let mut steps = Vec::new();
        let by = by.max(SMALLEST);
        let mut weight = by;
        while weight < Percent::FULL {
            steps.extend([PlanStep::SetWeight(weight), PlanStep::Pause(every)]);
            weight = weight.plus(by).unwrap_or(Percent::FULL);
        }
        steps
    }

    /// All acts, in order. A gate that the plan does not name is in none of them.
    pub(super) fn acts(&self) -> Vec<Act> {
        let mut acts = Vec::with_capacity(self.steps.len() * 4 + 8);
        self.ask(&mut acts, Gate::ConfirmRollout);
        self.ask(&mut acts, Gate::PreRollout);
        for step in &self.steps {
            match *step {
                PlanStep::SetWeight(weight) => {
                    self.ask(&mut acts, Gate::Rollout);
                    self.ask(&mut acts, Gate::ConfirmTrafficIncrease);
                    acts.extend([Act::Room(weight), Act::Shift(weight)]);
                }
                PlanStep::Pause(span) => acts.push(Act::Pause(span)),
                PlanStep::UntilPromoted => acts.push(Act::Order),
            }
        }
        match self.finish {
            Finish::WhenGood => acts.push(Act::Good),
            Finish::ByOrder => acts.push(Act::Order),
            Finish::AtOnce => {}
        }
        self.ask(&mut acts, Gate::Rollout);
        self.ask(&mut acts, Gate::ConfirmPromotion);
        acts.extend([Act::Room(Percent::FULL), Act::Shift(Percent::FULL)]);
        if self.bake > Duration::ZERO {
            acts.push(Act::Bake(self.bake));
        }
        acts
    }

    fn ask(&self, acts: &mut Vec<Act>, gate: Gate) {
        if self.every(gate).is_some() {
            acts.push(Act::Ask(gate));
        }
    }

    /// The time between two questions to a gate, if the plan has it.
    #[must_use]
    pub fn every(&self, gate: Gate) -> Option<Duration> {
        self.gates.iter().find(|(own, _)| *own == gate).map(|(_, every)| *every)
    }

    /// How many steps of weight it has, the last one included.
    #[must_use]
    pub fn weights(&self) -> usize {
        let set = |step: &&PlanStep| matches!(step, PlanStep::SetWeight(_));
        self.steps.iter().filter(set).count() + 1
    }
}

impl fmt::Display for Plan {
    /// Such as `1% for 5m, 10% for 5m, then 100% when the analysis is good, watched for 30m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut begun = false;
        for step in &self.steps {
            match step {
                PlanStep::SetWeight(weight) => {
                    write!(f, "{}{weight}", if begun { ", " } else { "" })?;
                }
                PlanStep::Pause(span) if begun => write!(f, " for {}", Span(*span))?,
                PlanStep::Pause(span) => write!(f, "a wait of {}", Span(*span))?,
                PlanStep::UntilPromoted if begun => f.write_str(" until promoted")?,
                PlanStep::UntilPromoted => f.write_str("a wait until promoted")?,
            }
            begun = true;
        }
        f.write_str(if begun { ", then 100%" } else { "100%" })?;
        f.write_str(match (self.finish, self.strategy) {
            (Finish::WhenGood, _) => " when the analysis is good",
            (Finish::ByOrder, _) => " at once when promoted",
            (Finish::AtOnce, Strategy::BlueGreen) => " at once",
            (Finish::AtOnce, _) => "",
        })?;
        if self.bake > Duration::ZERO {
            write!(f, ", watched for {}", Span(self.bake))?;
        }
        Ok(())
    }
}

/// A duration as the configuration writes it: the largest unit that fits without a rest.
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        match units.iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit)) {
            Some((unit, sign)) => write!(f, "{}{sign}", ms / unit),
            None if ms == 0 => f.write_str("0s"),
            None => write!(f, "{ms}ms"),
        }
    }
}

/// Even steps are no smaller than this, so that a plan is no longer than a thousand steps.
const SMALLEST: Percent = Percent::from_ppm(1_000);

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::{Act, Finish, NoTraffic, Plan, PlanStep, Retreat, Strategy};
    use crate::rollout::border::Gate;
    use crate::vocab::amount::Percent;

    pub(in crate::rollout) fn percent(number: f64) -> Percent {
        Percent::of(number).unwrap()
    }

    fn minutes(number: u64) -> Duration {
        Duration::from_secs(number * 60)
    }

    pub(in crate::rollout) fn canary() -> Plan {
        Plan {
            strategy: Strategy::Canary,
            steps: vec![
                PlanStep::SetWeight(percent(1.0)),
                PlanStep::Pause(minutes(5)),
                PlanStep::SetWeight(percent(50.0)),
                PlanStep::Pause(minutes(10)),
            ],
            finish: Finish::WhenGood,
            bake: minutes(30),
            no_traffic: NoTraffic::Hold,
            retreat: Retreat::AtOnce,
            gates: Vec::new(),
        }
    }

    #[test]
    fn a_plan_reads_like_a_sentence() {
        let plain = canary();
        let blue = Plan {
            strategy: Strategy::BlueGreen,
            steps: Vec::new(),
            finish: Finish::ByOrder,
            ..plain.clone()
        };
        let timed = Plan {
            steps: vec![PlanStep::Pause(Duration::from_millis(1_500))],
            finish: Finish::AtOnce,
            bake: Duration::ZERO,
            ..blue.clone()
        };
        let asked = Plan {
            steps: vec![PlanStep::SetWeight(percent(0.5)), PlanStep::UntilPromoted],
            ..plain.clone()
        };
        for (plan, text) in [
            (
                &plain,
                "1% for 5m, 50% for 10m, then 100% when the analysis is good, watched for 30m",
            ),
            (&blue, "100% at once when promoted, watched for 30m"),
            (&timed, "a wait of 1500ms, then 100% at once"),
            (
                &asked,
                "0.5% until promoted, then 100% when the analysis is good, watched for 30m",
            ),
        ] {
            assert_eq!(plan.to_string(), text);
        }
    }

    #[test]
    fn even_steps_end_below_all_of_it() {
        let weights = |by| {
            let steps = Plan::even(percent(by), Duration::from_secs(1));
            steps.into_iter().filter_map(|step| match step {
                PlanStep::SetWeight(weight) => Some(weight.percent()),
                PlanStep::Pause(_) | PlanStep::UntilPromoted => None,
            })
        };
        assert_eq!(weights(30.0).collect::<Vec<_>>(), [30.0, 60.0, 90.0]);
        assert_eq!(weights(50.0).collect::<Vec<_>>(), [50.0]);
        assert_eq!(weights(100.0).count(), 0);
        assert_eq!(weights(0.0).count(), 999);
    }

    #[test]
    fn gates_stand_where_they_belong_and_only_those_that_are_there() {
        let every = Duration::from_secs(5);
        let all = [
            Gate::ConfirmRollout,
            Gate::PreRollout,
            Gate::Rollout,
            Gate::ConfirmTrafficIncrease,
            Gate::ConfirmPromotion,
            Gate::PostRollout,
            Gate::Rollback,
        ];
        let gates = all.map(|gate| (gate, every)).to_vec();
        let plan = Plan { steps: canary().steps[..2].to_vec(), gates, ..canary() };
        let (one, full) = (percent(1.0), Percent::FULL);
        assert_eq!(
            plan.acts(),
            [
                Act::Ask(Gate::ConfirmRollout),
                Act::Ask(Gate::PreRollout),
                Act::Ask(Gate::Rollout),
                Act::Ask(Gate::ConfirmTrafficIncrease),
                Act::Room(one),
                Act::Shift(one),
                Act::Pause(minutes(5)),
                Act::Good,
                Act::Ask(Gate::Rollout),
                Act::Ask(Gate::ConfirmPromotion),
                Act::Room(full),
                Act::Shift(full),
                Act::Bake(minutes(30)),
            ]
        );
        assert!(canary().acts().iter().all(|act| !matches!(act, Act::Ask(_))));
    }
}
