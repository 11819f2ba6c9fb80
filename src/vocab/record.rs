//! The facts that leave the decision core, serialisable.

use serde::{Deserialize, Serialize};

use crate::vocab::ids::{Digest, Name};
use crate::vocab::time::Timestamp;
use crate::vocab::trigger::Trigger;

/// One rollback, from its finding to its end. Field names and statuses are the
/// requirement's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RollbackRecord {
    /// `rb-` and a sortable unique suffix.
    pub rollback_id: String,
    /// When it began.
    pub timestamp: Timestamp,
    /// The route it happened on.
    pub route: Name,
    /// What set it off.
    pub trigger: Trigger,
    /// The version that lost its traffic.
    pub from_version: Name,
    /// The version that took it.
    pub to_version: Name,
    /// The finding, or the operator's reason.
    pub reason: String,
    /// Whether the machine decided.
    pub automatic: bool,
    /// `switchback`, or the operator's name.
    pub initiated_by: String,
    /// Where it stands.
    pub status: Status,
    /// What was done, in order.
    pub phases: Vec<PhaseRecord>,
    /// From begin to end, once it has ended.
    pub total_duration_seconds: Option<f64>,
    /// From the first verdict (the protect's, where there was one) until the version was out
    /// for good; absent before it is.
    pub trigger_latency_seconds: Option<f64>,
    /// The protect that it grew from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protect: Option<ProtectRef>,
    /// What went otherwise than planned, in order; bounded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The protect that a rollback grew from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProtectRef {
    /// Its id.
    pub protect_id: String,
    /// When the users were moved.
    pub timestamp: Timestamp,
    /// Why, in one sentence.
    pub finding: String,
}

/// One protect: the users of a version were moved to stable, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProtectRecord {
    /// `pr-` and a sortable unique suffix.
    pub protect_id: String,
    /// When the users were moved.
    pub timestamp: Timestamp,
    /// The route it happened on.
    pub route: Name,
    /// The version whose users were moved.
    pub version: Name,
    /// The version that took them.
    pub to_version: Name,
    /// What set it off.
    pub trigger: Trigger,
    /// The first verdict, in one sentence.
    pub finding: String,
    /// Where it stands.
    pub outcome: Outcome,
    /// When that was settled; absent while it is open.
    pub resolved: Option<Timestamp>,
    /// Why it came to that, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The rollback that it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_id: Option<String>,
}

/// What came of a protect.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing yet: the version is being tested without its users.
    Open,
    /// It was right: the version was rolled back.
    Confirmed,
    /// It was noise, or an operator decided so: the users are back.
    Resumed,
    /// Nothing came of the confirmation: an operator has to decide.
    Held,
    /// Another build took the version's place before anything came of it.
    Withdrawn,
}

/// A version whose users are on stable while it is tested, as it is kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectEntry {
    /// What version was protected; another digest is another version.
    pub digest: Digest,
    /// The record; its outcome is open or held.
    pub record: ProtectRecord,
}

/// A version that may take no traffic until an operator releases it or its digest changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QuarantineEntry {
    /// The route.
    pub route: Name,
    /// The version.
    pub version: Name,
    /// What the version was when it was rolled back; another digest is another version.
    pub digest: Digest,
    /// Since when.
    pub since: Timestamp,
    /// Why, in one sentence.
    pub reason: String,
    /// The rollback that put it there.
    pub rollback_id: String,
}

/// One phase of a rollback.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseRecord {
    /// `route`, `drain` …
    pub phase: &'static str,
    /// How it stands.
    pub status: Status,
    /// How long it took so far.
    pub duration_seconds: f64,
    /// Requests that ended in a drain, where the phase is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drained_requests: Option<u64>,
    /// Requests still running when the drain's time was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_requests: Option<u64>,
}

/// The requirement's five statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not begun.
    Pending,
    /// Under way.
    InProgress,
    /// Done.
    Completed,
    /// Could not be done.
    Failed,
    /// Undone.
    RolledBack,
}

impl Outcome {
    /// The word used in metrics, logs and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Confirmed => "confirmed",
            Self::Resumed => "resumed",
            Self::Held => "held",
            Self::Withdrawn => "withdrawn",
        }
    }
}
