//! A recorded trace through the very code that decides in production, in the trace's own
//! time: what would this policy have done?
//!
//! A [`Replay`] is one route under one policy. It is fed the lines of a trace, counts what
//! each request did by the rules of the data path ([`crate::measure::ended`]), and at every
//! interval of trace time brings the sums to the same [`Baseline`](crate::judge::trial) and
//! trials that the control loop has. Nothing of it knows a clock, so that an hour of traffic
//! is over in the time it takes to read it, and the same trace always gives the same
//! [`Report`].
//!
//! What is wrong with a trace never changes a verdict in silence: it is in the report's
//! problems, with its line and what became of it.

mod arm;
mod canary;
mod policy;
mod problems;
mod report;
mod scene;
mod time;

#[cfg(test)]
mod tests;

pub use policy::{Policy, ReplayError};
pub use problems::Problems;
pub use report::{CanaryReport, Report, Samples, Step, Verdict};
pub use scene::{Replay, feed};
