//! The facts that leave the decision core, serialisable.

use serde::Serialize;

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
    /// What went otherwise than planned, in order; bounded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
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
