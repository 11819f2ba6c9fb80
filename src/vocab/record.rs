//! The facts that leave the decision core, serialisable.

use serde::{Deserialize, Serialize};

use crate::vocab::ids::{Digest, Name};
use crate::vocab::notice::Severity;
use crate::vocab::time::Timestamp;
use crate::vocab::trigger::Trigger;

/// One rollback, from its finding to its end. The members of the requirement's JSON keep
/// its names; the rest is added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollbackRecord {
    /// The shape of this record; grows when a member changes its meaning.
    pub schema_version: u32,
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
    /// The operator's name; `None` when the machine decided.
    pub initiated_by: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// What was done, in order.
    pub phases: Vec<PhaseRecord>,
    /// From begin to end, once it has ended.
    pub total_duration_seconds: Option<f64>,
    /// How the version that took the traffic did afterwards; absent before that is known.
    pub post_rollback_metrics: Option<PostMetrics>,
    /// What was delivered to whom, in order of time.
    pub alerts_sent: Vec<AlertSent>,
    /// From the first verdict (the protect's, where there was one) until the version was out
    /// for good; absent before it is.
    pub trigger_latency_seconds: Option<f64>,
    /// What became of the requests of the version, as far as known.
    pub impact: Option<Impact>,
    /// A digest of the configuration in force.
    pub config_hash: String,
    /// The protect that it grew from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protect: Option<ProtectRef>,
    /// What went otherwise than planned, in order; bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How the version that took the traffic did after a rollback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PostMetrics {
    /// Never known from the wire, and never invented.
    pub accuracy: Option<f64>,
    /// Failed requests as a share of all, 0 to 1; `None` without requests.
    pub error_rate: Option<f64>,
    /// In milliseconds; `None` without good answers.
    pub latency_p99: Option<f64>,
    /// How many requests that rests on.
    #[serde(default)]
    pub requests: u64,
}

/// A notice that reached somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertSent {
    /// How urgent it was.
    pub severity: Severity,
    /// Whom it reached, as the configuration names them.
    pub recipients: Vec<String>,
    /// When it was taken.
    pub timestamp: Timestamp,
    /// Where a person finds it: a ticket's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// What became of the requests of a version that was rolled back, since it took the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    /// Requests that it was given.
    pub requests: u64,
    /// Those of them that failed and were answered by another version.
    pub rescued: u64,
    /// Those of them that failed.
    pub failed: u64,
}

/// The protect that a rollback grew from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectRef {
    /// Its id.
    pub protect_id: String,
    /// When the users were moved.
    pub timestamp: Timestamp,
    /// Why, in one sentence.
    pub finding: String,
}

/// One protect: the users of a version were moved to stable, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The rollback that it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// A version that takes what nobody else takes though another has that role in the
/// configuration, as it is kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActingEntry {
    /// The route.
    pub route: Name,
    /// The version that acts.
    pub version: Name,
    /// What it is; another digest is another version.
    pub digest: Digest,
    /// The version that has the role.
    pub instead_of: Name,
    /// What that one is.
    pub instead_digest: Digest,
    /// The rollback that made it so.
    pub rollback_id: String,
}

/// A version that may take no traffic until an operator releases it or its digest changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// Which one.
    pub phase: Phase,
    /// How it stands.
    pub status: Status,
    /// How long it took so far.
    pub duration_seconds: f64,
    /// Requests that ended in a drain, where the phase is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained_requests: Option<u64>,
    /// Requests still running when the drain's time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_requests: Option<u64>,
    /// What was seen, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The phases of a rollback, with the requirement's names, in the order of the record.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Is the version that is to take the traffic alive, ready and the one it should be?
    PreRollbackHealthCheck,
    /// New requests go to it.
    RouteTraffic,
    /// The bad version's last requests end.
    DrainTraffic,
    /// A span in which the other version settles under its load.
    Stabilise,
    /// The same questions as before, of the version that now has the traffic.
    PostRollbackHealthCheck,
    /// Is its share of failed requests within the bound?
    VerifyMetrics,
}

impl Phase {
    /// All of them, in the order of the record.
    pub const ALL: [Self; 6] = [
        Self::PreRollbackHealthCheck,
        Self::RouteTraffic,
        Self::DrainTraffic,
        Self::Stabilise,
        Self::PostRollbackHealthCheck,
        Self::VerifyMetrics,
    ];

    /// The word used in metrics, logs and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreRollbackHealthCheck => "pre_rollback_health_check",
            Self::RouteTraffic => "route_traffic",
            Self::DrainTraffic => "drain_traffic",
            Self::Stabilise => "stabilise",
            Self::PostRollbackHealthCheck => "post_rollback_health_check",
            Self::VerifyMetrics => "verify_metrics",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The requirement's five statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

#[cfg(test)]
impl RollbackRecord {
    /// A manual rollback of v2 on iris that has just begun, to be varied by tests.
    pub(crate) fn example(id: &str) -> Self {
        let name = |text: &str| Name::parse(text).expect("a good name");
        Self {
            schema_version: 1,
            rollback_id: id.to_owned(),
            timestamp: Timestamp(0),
            route: name("iris"),
            trigger: Trigger::Manual,
            from_version: name("v2"),
            to_version: name("v1"),
            reason: String::new(),
            automatic: false,
            initiated_by: Some("alice".to_owned()),
            status: Status::InProgress,
            phases: Vec::new(),
            total_duration_seconds: None,
            post_rollback_metrics: None,
            alerts_sent: Vec::new(),
            trigger_latency_seconds: None,
            impact: None,
            config_hash: String::new(),
            protect: None,
            notes: Vec::new(),
        }
    }
}

#[cfg(test)]
impl PhaseRecord {
    /// A phase that counts no requests.
    pub(crate) fn example(phase: Phase, status: Status, duration_seconds: f64) -> Self {
        Self {
            phase,
            status,
            duration_seconds,
            drained_requests: None,
            left_requests: None,
            detail: None,
        }
    }
}
