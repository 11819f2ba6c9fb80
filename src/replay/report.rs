//! `Report`: what a policy would have done with a trace, as INTERFACE.md writes it.

use serde::Serialize;

use super::canary::Canary;
use super::problems::Problems;
use crate::judge::trial::Transition;
use crate::trace::Problem;
use crate::vocab::ids::Name;
use crate::vocab::time::Timestamp;

/// What came of a trace under one policy. Times are the trace's own, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The route.
    pub route: Name,
    /// The canary that the rest speaks of: the first that was rolled back, else the first.
    #[serde(flatten)]
    pub canary: CanaryReport,
    /// Requests of the route in the trace.
    pub events: u64,
    /// Those of them that were of no version on trial and not of stable.
    pub ignored: u64,
    /// All canaries, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<CanaryReport>,
    /// What is wrong with the trace: the first of each kind.
    pub problems: Vec<Problem>,
    /// How many problems there were.
    pub problem_count: u64,
}

/// What came of one canary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CanaryReport {
    /// Its name.
    pub version: Name,
    /// What is to be done with it.
    pub verdict: Verdict,
    /// When the users were taken off it: before the rollback, where there was one, else the
    /// first time.
    pub protect_ms: Option<u64>,
    /// When it was rolled back.
    pub rollback_ms: Option<u64>,
    /// When it had first shown that it may be promoted.
    pub promote_ms: Option<u64>,
    /// The rule that it was protected or rolled back for.
    pub rule: Option<&'static str>,
    /// The finding, or why there is no verdict, in one sentence.
    pub finding: Option<String>,
    /// What the verdict rests on.
    pub samples: Samples,
    /// The steps of its trial; the first sixty-four.
    pub transitions: Vec<Step>,
}

/// Requests of the whole trace whose outcome says something, and failures among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Samples {
    /// The canary's.
    pub canary: u64,
    /// Stable's.
    pub stable: u64,
    /// The canary's failures.
    pub canary_failures: u64,
    /// Stable's failures.
    pub stable_failures: u64,
}

/// One step of a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// When.
    pub t_ms: u64,
    /// Where it went.
    pub to: &'static str,
    /// Why.
    pub why: String,
}

/// What is to be done with a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was rolled back.
    Rollback,
    /// It has shown that it is no worse.
    Promote,
    /// Neither.
    Hold,
}

impl Verdict {
    /// The word of the answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Promote => "promote",
            Self::Hold => "hold",
        }
    }
}

impl Report {
    pub(super) fn of(
        route: Name,
        canaries: &[Canary],
        (known, failures): (u64, u64),
        (events, ignored): (u64, u64),
        problems: &Problems,
    ) -> Option<Self> {
        let mut versions: Vec<CanaryReport> = canaries
            .iter()
            .map(|canary| CanaryReport::of(canary, (known, failures)))
            .collect();
        let worst = versions.iter().find(|one| one.verdict == Verdict::Rollback);
        let canary = worst.or(versions.first())?.clone();
        if versions.len() == 1 {
            versions.clear();
        }
        let (first, problem_count) = (problems.first().to_vec(), problems.count());
        let problems = first;
        Some(Self { route, canary, events, ignored, versions, problems, problem_count })
    }
}

impl CanaryReport {
    fn of(canary: &Canary, stable: (u64, u64)) -> Self {
        let verdict = match (canary.rollback, canary.promote) {
            (Some(_), _) => Verdict::Rollback,
            (None, Some(_)) => Verdict::Promote,
            (None, None) => Verdict::Hold,
        };
        let ms = |at: Option<Timestamp>| at.map(|at| at.0);
        let finding = canary.finding.as_ref();
        let open = || canary.trial.verdict().to_string();
        Self {
            version: canary.arm.name.clone(),
            verdict,
            protect_ms: ms(canary.protect()),
            rollback_ms: ms(canary.rollback),
            promote_ms: ms(canary.promote),
            rule: finding.map(|finding| finding.rule),
            finding: match (finding, verdict) {
                (Some(finding), _) => Some(finding.to_string()),
                (None, Verdict::Hold) => Some(open()),
                (None, Verdict::Promote | Verdict::Rollback) => None,
            },
            samples: Samples {
                canary: canary.arm.known,
                stable: stable.0,
                canary_failures: canary.arm.failures,
                stable_failures: stable.1,
            },
            transitions: canary.trial.transitions().iter().map(Step::of).collect(),
        }
    }
}

impl Step {
    fn of(step: &Transition) -> Self {
        Self { t_ms: step.at.0, to: step.to.as_str(), why: step.why.clone() }
    }
}
