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
    /// Ask the servers of a version whether they live, are ready and are the ones they
    /// should be, and answer with [`Event::Checked`].
    Check {
        /// The route.
        route: Name,
        /// The version that is asked.
        version: Name,
        /// Which of the two checks it is.
        check: Check,
    },
    /// Publish a table in which `version` takes no request and `to` takes what nobody else
    /// takes, and answer with [`Event::Swapped`] or [`Event::SwapFailed`].
    Replace {
        /// The route.
        route: Name,
        /// The version that loses its traffic.
        version: Name,
        /// The version that takes it.
        to: Name,
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
    /// Count, from now on, what becomes of the requests to the version that took the
    /// traffic; what was counted before is forgotten.
    Observe,
    /// Answer with [`Event::Measured`].
    Measure,
    /// Answer with [`Event::Woken`] at `at`; takes the place of the one before.
    Wake {
        /// When.
        at: Timestamp,
    },
    /// The route is to serve kept answers only: nothing behind it can be trusted. The
    /// version takes no request either when the route serves again.
    Emergency {
        /// The route.
        route: Name,
        /// The version that was to lose its traffic.
        version: Name,
        /// Why, in one sentence.
        why: String,
    },
    /// Tell everybody that the rollback has ended. Given exactly once.
    Notify(Box<RollbackRecord>),
}

/// Which of the two checks of a rollback it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Of the version that is to take the traffic.
    Before,
    /// Of the version that has taken it.
    After,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The servers were asked.
    Checked {
        /// Which of the two checks it was.
        check: Check,
        /// Whether enough of them answered as they should.
        passed: bool,
        /// What was seen, in one sentence.
        detail: String,
    },
    /// The new table is in force: no new request reaches the version.
    Swapped {
        /// How long making and publishing it took, in microseconds.
        took_us: u64,
    },
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
    /// The ramp by which the traffic went over has ended.
    RampOver {
        /// How it went, in one sentence.
        how: String,
    },
    /// What became of the requests since [`Command::Observe`].
    Measured {
        /// Those that say something about the version.
        requests: u64,
        /// Those of them that failed.
        failed: u64,
        /// 99th percentile of the good ones' time, in microseconds.
        p99_us: Option<u64>,
    },
    /// The time that a [`Command::Wake`] asked for has come.
    Woken,
}

impl Event {
    /// The word for it in notes and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Checked { .. } => "checked",
            Self::Swapped { .. } => "swapped",
            Self::SwapFailed { .. } => "swap failed",
            Self::QuarantineFailed { .. } => "quarantine failed",
            Self::Drained { .. } => "drained",
            Self::Cut { .. } => "cut",
            Self::RampOver { .. } => "ramp over",
            Self::Measured { .. } => "measured",
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
