//! Pure: is this version bad? No clock, no IO, no randomness; `now` is an argument.
//!
//! [`Window`] keeps what one version did over the trailing span, [`Reading`] is what it
//! says at one moment, and [`judge`] holds the canary's reading against stable's by the
//! route's [`Rules`]. The same rules and readings always give the same [`Verdict`], so that
//! a decision can be recorded and made again.
//!
//! Missing data is never a failure: no traffic, too few samples, or a number over its limit
//! that chance alone would explain make a verdict [`Verdict::Inconclusive`] and say why.
//! An absolute limit that stable breaks too is a shared cause, and rolling back would help
//! nobody.
//!
//! # Why not the limits alone
//! A window is read four times a second. An equal canary with fifty requests is over twice
//! stable's rate now and then, and asked often enough it would be rolled back for nothing.
//! So a limit counts as broken only when chance explains the excess less than once in
//! 100,000 readings (`confidence`). Real breaches pass that within a few failures more.
//!
//! # Why not a decaying average
//! The window is exact: every request counts fully while it is in, and not at all after.
//! An audit can count the same requests and come to the same numbers.

mod compare;
mod confidence;
mod reading;
mod rules;
mod sparse;
pub mod stats;
mod sums;
pub mod trial;
mod verdict;
mod window;

#[cfg(test)]
mod tests;

pub use compare::judge;
pub use reading::{Health, Observation, Reading, Spread};
pub use rules::{Confirm, Metric, OnBreach, Rule, Rules, Test};
pub use sums::{
    BINS, Cell, DEADLINES, Deadlines, ENDPOINTS, REFUSED, STALLED, Streak, StreamCell,
    Sums, Timing, bin_of,
};
pub use verdict::{Amount, Finding, Ground, Verdict};
pub use window::{Slice, Window};
