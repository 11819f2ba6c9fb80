//! What an operator is told who asks why: the evidence on every version on trial, and what
//! a protect or a rollback rested on.
//!
//! Apart from `status`, because it is asked for one thing at a time and kept with the records
//! as it was at the decision.

use serde::{Deserialize, Serialize};

/// The answer to why something is as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was asked for.
    pub id: String,
    /// `route`, `version`, `protect` or `rollback`.
    pub kind: String,
    /// The route it is about.
    pub route: String,
    /// The moment the evidence is of, in milliseconds since 1970.
    pub at: u64,
    /// The record, where it is a protect or a rollback.
    pub record: Option<serde_json::Value>,
    /// The versions it is about that are on trial, or were at the decision.
    pub trials: Vec<TrialView>,
}

/// How one version's trial stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrialView {
    /// Its name.
    pub version: String,
    /// `canary` or `candidate`.
    pub role: String,
    /// Its state in words, as in the status.
    pub state: String,
    /// The phase of its trial: `running`, `protected`, `trickling`, `held`, `probing` or
    /// `rolled_back`; absent without one.
    pub phase: Option<String>,
    /// Since when it is in that phase, in milliseconds since 1970.
    pub since: Option<u64>,
    /// Percent of new requests that it takes.
    pub share: f64,
    /// The verdict on it in one sentence.
    pub verdict: String,
    /// What the users were taken off for, or it was rolled back for.
    pub cause: Option<String>,
    /// The protect or the rollback that keeps its users off it.
    pub record_id: Option<String>,
    /// Whether it has shown to be no worse than stable by more than the margin.
    pub promotable: bool,
    /// Each rule.
    pub rules: Vec<RuleView>,
    /// Each test that gathers evidence.
    pub evidence: Vec<EvidenceView>,
    /// The phases it went through, the first first.
    pub transitions: Vec<TransitionView>,
}

/// How one rule stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleView {
    /// Its name in the configuration.
    pub rule: String,
    /// How it is weighed: `sequential`, `window` or `both`.
    pub test: String,
    /// Whether a breach takes traffic away; a dry run or an alert does not.
    pub acts: bool,
    /// `pass`, `inconclusive` or `breach`.
    pub verdict: String,
    /// What the window holds of the version.
    pub value: Option<f64>,
    /// What it holds of stable.
    pub stable_value: Option<f64>,
    /// The unit of both: `share` (0 to 1), `seconds` or `checks` (failed in a row).
    pub unit: String,
    /// The version's samples in the window.
    pub samples: u64,
    /// Stable's samples in the window.
    pub stable_samples: u64,
    /// Why it has not acted, or what it found, in one sentence.
    pub why: String,
}

/// How one test stands that gathers evidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvidenceView {
    /// The rule it belongs to; `all` for what those that act give together.
    pub rule: String,
    /// Which test.
    pub test: String,
    /// Whether it can take traffic away.
    pub acts: bool,
    /// The version's number.
    pub value: Option<f64>,
    /// Stable's number.
    pub stable_value: Option<f64>,
    /// The unit of both: `share` (0 to 1), `seconds` or `checks`.
    pub unit: Option<String>,
    /// The version's requests that count.
    pub samples: u64,
    /// Stable's requests that count.
    pub stable_samples: u64,
    /// The odds to one that it speaks for; at most 1e300.
    pub odds: f64,
    /// The odds that suffice; the bound in force.
    pub bound: f64,
    /// The share of the bound that is reached, in the logarithm, 0 to 1.
    pub reached: f64,
    /// About so many more requests of the version are needed at this rate.
    pub missing: Option<u64>,
    /// What is missing, or why it has not acted, in one sentence.
    pub why: String,
}

/// One step from phase to phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TransitionView {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Where it went.
    pub to: String,
    /// Why, in one sentence.
    pub why: String,
}

/// What happened since the start, as far as it is kept; the latest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryView {
    /// The rollbacks, in the requirement's shape.
    pub rollbacks: Vec<serde_json::Value>,
    /// The protects.
    #[serde(default)]
    pub protects: Vec<serde_json::Value>,
}
