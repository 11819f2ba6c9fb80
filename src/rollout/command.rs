//! `Command` (what to do) and `Event` (what happened): the whole border of the room.

use super::rollback::Rollback;
use crate::vocab::ids::Name;
use crate::vocab::record::RollbackRecord;
use crate::vocab::time::Timestamp;

/// What follows from one event: the next state, and what to do now, in this order.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Step {
    /// The machine after the event.
    pub next: Rollback,
    /// What to do; often nothing.
    pub commands: Vec<Command>,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Publish a table in which the version takes no request, and answer with
    /// [`Event::Swapped`] or [`Event::SwapFailed`].
    Replace {
        /// The route.
        route: Name,
        /// The version that loses its traffic.
        version: Name,
    },
    /// Write the quarantine down, so that it survives a restart. Answered only when that
    /// fails, with [`Event::QuarantineFailed`].
    Quarantine {
        /// The route.
        route: Name,
        /// The version.
        version: Name,
        /// Why, in one sentence.
        reason: String,
    },
    /// Wait until the version has no request in flight, but not beyond `until`, and answer
    /// with [`Event::Drained`].
    Drain {
        /// The route.
        route: Name,
        /// The version.
        version: Name,
        /// When the waiting ends.
        until: Timestamp,
    },
    /// Cut what the version still has in flight at `at`, which may be now, and answer with
    /// [`Event::Cut`] then.
    CutAfter {
        /// The route.
        route: Name,
        /// The version.
        version: Name,
        /// When to cut.
        at: Timestamp,
    },
    /// Answer with [`Event::Woken`] at `at`.
    Wake {
        /// When.
        at: Timestamp,
    },
    /// Tell everybody that the rollback has ended. Given exactly once.
    Notify(Box<RollbackRecord>),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The new table is in force: no new request reaches the version.
    Swapped,
    /// The new table could not be made or published.
    SwapFailed {
        /// Why.
        why: String,
    },
    /// The quarantine is not on disk.
    QuarantineFailed {
        /// Why.
        why: String,
    },
    /// The waiting for requests in flight is over.
    Drained {
        /// Requests that ended in the meantime.
        drained: u64,
        /// Requests that still run.
        left: u64,
    },
    /// What was still running has been cut.
    Cut {
        /// How many requests.
        cut: u64,
    },
    /// The time that a [`Command::Wake`] asked for has come.
    Woken,
}

impl Event {
    /// The word for it in notes and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Swapped => "swapped",
            Self::SwapFailed { .. } => "swap failed",
            Self::QuarantineFailed { .. } => "quarantine failed",
            Self::Drained { .. } => "drained",
            Self::Cut { .. } => "cut",
            Self::Woken => "woken",
        }
    }
}

/// What happens to requests that are still running when a drain's time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTimeout {
    /// They may finish, up to the cap.
    Finish,
    /// They are cut.
    Cut,
}
