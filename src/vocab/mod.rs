//! The words every room shares: plain data, no behaviour beyond parsing and printing.
//!
//! Nothing here knows a clock, a socket or another room. A value that exists is valid:
//! names are bounded, percentages are between 0 and 100, outcomes know whose doing they
//! were.

pub mod amount;
pub mod ids;
pub mod notice;
pub mod outcome;
pub mod policy;
pub mod record;
pub mod sample;
pub mod time;
pub mod times;
pub mod trigger;

pub use amount::Percent;
pub use ids::{Digest, Epoch, Generation, Name, Slot};
pub use outcome::{Blame, Class};
pub use sample::Sample;
pub use time::Timestamp;
pub use times::Times;
pub use trigger::Trigger;
