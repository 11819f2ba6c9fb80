//! `Notice`: a fact that leaves the process for people and their tools; `Entry`: a fact for
//! the audit log. Apart from the records they carry because both are envelopes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::vocab::ids::{Name, Operator};
use crate::vocab::time::Timestamp;

/// One fact for people and their tools. It is delivered at least once to every sink that
/// wants its topic; `key` tells repetitions apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The same for every delivery of this fact, and different for every other fact.
    pub key: String,
    /// What it belongs to, such as the id of a rollback: what was raised under it is
    /// resolved under it, and there is one ticket for it.
    pub incident: String,
    /// What it is about.
    pub topic: Topic,
    /// How urgent it is.
    pub severity: Severity,
    /// Whether something begins, ends, or merely happened.
    pub state: State,
    /// When it happened.
    pub at: Timestamp,
    /// The route it is about, if it is about one.
    pub route: Option<Name>,
    /// The version it is about, if it is about one.
    pub version: Option<Name>,
    /// The version that takes, or is to take, the traffic.
    pub to_version: Option<Name>,
    /// One line.
    pub summary: String,
    /// Some more lines, plain text.
    pub details: String,
    /// The record it rests on, for machines.
    pub record: Value,
    /// The hash of the last audit record before it, so that a cut log shows.
    pub audit_head: String,
}

/// What a notice is about.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Topic {
    /// A rollback has begun.
    #[serde(rename = "rollback.started")]
    RollbackStarted,
    /// A rollback is done.
    #[serde(rename = "rollback.completed")]
    RollbackCompleted,
    /// A rollback could not be done.
    #[serde(rename = "rollback.failed")]
    RollbackFailed,
    /// The users of a version were moved to stable while it is tested.
    #[serde(rename = "protect.started")]
    ProtectStarted,
    /// That was settled.
    #[serde(rename = "protect.ended")]
    ProtectEnded,
    /// A rollout went a step, waits, ended or was stopped.
    #[serde(rename = "rollout.changed")]
    RolloutChanged,
    /// A route serves kept answers only, or serves again.
    #[serde(rename = "mode.changed")]
    ModeChanged,
    /// The version that is to take the traffic may be too small for it.
    #[serde(rename = "headroom.short")]
    HeadroomShort,
    /// The audit log cannot be written, or can again.
    #[serde(rename = "audit.failed")]
    AuditFailed,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::RollbackStarted,
        Self::RollbackCompleted,
        Self::RollbackFailed,
        Self::ProtectStarted,
        Self::ProtectEnded,
        Self::RolloutChanged,
        Self::ModeChanged,
        Self::HeadroomShort,
        Self::AuditFailed,
    ];

    /// The word used in the configuration, in metrics, logs and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RollbackStarted => "rollback.started",
            Self::RollbackCompleted => "rollback.completed",
            Self::RollbackFailed => "rollback.failed",
            Self::ProtectStarted => "protect.started",
            Self::ProtectEnded => "protect.ended",
            Self::RolloutChanged => "rollout.changed",
            Self::ModeChanged => "mode.changed",
            Self::HeadroomShort => "headroom.short",
            Self::AuditFailed => "audit.failed",
        }
    }
}

/// How urgent a notice is, in the requirement's words.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody may look at it today.
    Low,
    /// Somebody should look at it now.
    High,
    /// Somebody has to be woken.
    Critical,
}

impl Severity {
    /// The word used in the configuration, in logs and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Whether something begins, ends, or merely happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has begun and lasts until it is resolved.
    Firing,
    /// What was raised under the same incident is over.
    Resolved,
    /// It happened, and that is all.
    Event,
}

/// What a sink took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The notice's key.
    pub key: String,
    /// The notice's incident.
    pub incident: String,
    /// The sink, as the configuration names it.
    pub sink: String,
    /// Whom it reached, as the configuration names them.
    pub recipients: Vec<String>,
    /// How urgent it was.
    pub severity: Severity,
    /// When it was taken.
    pub at: Timestamp,
    /// Where a person finds it: a ticket's address.
    pub reference: Option<String>,
}

/// One fact for the audit log; the log adds its number, the hash of the record before and
/// its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What happened, such as `rollback.started` or `order.set_weight`.
    pub kind: &'static str,
    /// When it happened.
    pub at: Timestamp,
    /// Who ordered it; `None` when the machine did.
    pub operator: Option<Operator>,
    /// Why, in one sentence.
    pub reason: Option<String>,
    /// A digest of the configuration in force.
    pub config_hash: String,
    /// What else there is to say, such as a whole record. Its members stand beside those
    /// above; one of the same name as one above is left out.
    pub body: Map<String, Value>,
}
