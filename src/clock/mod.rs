//! The time of the process: monotonic moments for spans, and wall time anchored to them.
//!
//! Everything asks here and not the operating system, so that a paused runtime pauses all
//! of it and a clock that jumps changes no window, drain or expiry.

mod deadline;

use std::sync::OnceLock;

pub use deadline::{Group, Limit, Waits, Wheel};
use tokio::time::Instant;

use crate::vocab::time::Timestamp;

/// The current moment of the monotonic clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub fn now() -> Instant {
    Instant::now()
}

/// Wall time in milliseconds, read from the operating system once and carried on by the
/// monotonic clock.
#[must_use]
pub fn wall() -> Timestamp {
    static ANCHOR: OnceLock<(Instant, Timestamp)> = OnceLock::new();
    let (then, stamp) = *ANCHOR.get_or_init(|| (now(), system()));
    stamp.after(now().saturating_duration_since(then))
}

#[expect(clippy::disallowed_types, reason = "this is the place that may")]
fn system() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
}
