//! What operators see of the outbox. Apart because `admin` prints it as it is.

use serde::Serialize;

use super::shelf::{Dead, Payload};
use crate::vocab::time::Timestamp;

/// How the outbox stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutboxView {
    /// Every sink, in the order of the configuration.
    pub sinks: Vec<SinkView>,
    /// Whether something changed that is on its way to the disk: for some milliseconds after
    /// each change.
    pub is_writing: bool,
    /// Why what waits is in memory alone and would be lost by a restart, if it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_on_disk: Option<String>,
}

/// How one sink stands. Counts are since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SinkView {
    /// Its name.
    pub name: String,
    /// Its type, as the configuration calls it.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// Notices or lines that wait.
    pub waiting: usize,
    /// Those that were given up and are kept.
    pub dead: usize,
    /// Whether the last try failed.
    pub is_failing: bool,
    /// What the last failure was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error_at: Option<Timestamp>,
    /// When something was taken last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_delivery: Option<Timestamp>,
    /// Notices or lines that were taken.
    pub delivered: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Notices or lines that were given up.
    pub given_up: u64,
    /// Those of them that a full queue had no room for.
    pub pushed_out: u64,
    /// Notices or lines that never came into the queue, because too many came at once.
    pub lost: u64,
    /// The last of those that were given up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dead_letters: Vec<DeadLetter>,
}

/// Something that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The notice's key; `None` for a line of the audit log.
    pub key: Option<String>,
    /// The notice's one line.
    pub summary: Option<String>,
    /// When it came into the queue.
    pub queued: Timestamp,
    /// When it was given up.
    pub given_up: Timestamp,
    /// Why.
    pub why: String,
}

impl DeadLetter {
    pub(super) fn of(dead: &Dead) -> Self {
        let notice = match &dead.payload {
            Payload::Notice(notice) => Some(notice),
            Payload::Line(_) => None,
        };
        Self {
            key: notice.map(|notice| notice.key.clone()),
            summary: notice.map(|notice| notice.summary.clone()),
            queued: dead.queued,
            given_up: dead.died,
            why: dead.why.clone(),
        }
    }
}
