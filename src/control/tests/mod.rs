//! The control plane without a data plane.
//!
//! `support` is the bench; `rollback` has what takes a version out for good, and reloads;
//! `protect` has what takes its users off it first, `ramps` what happens where stable has no
//! room for them.

mod procedure;
mod protect;
mod ramps;
mod rollback;
mod rollouts;
pub(super) mod support;
