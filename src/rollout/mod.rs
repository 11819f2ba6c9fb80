//! Pure: how a version loses its traffic. No clock, no IO, no randomness; `now` is an
//! argument, and what to do comes back as [`Command`]s.
//!
//! [`Rollback::begin`] and [`step`] are the whole machine:
//!
//! ```text
//! Routing ── swapped ──> Draining ── drained ──> Completed
//!    │                      │
//!    └── refused, late ─────┴── never reported ──> Failed
//! ```
//!
//! Whoever carries out a command answers with an [`Event`]. An event that does not fit the
//! state changes nothing but the notes of the record; an alarm that is no longer needed is
//! passed over. Every way ends in one [`Command::Notify`].
//!
//! # Why swap first and drain then
//! The requirement's sample drains before it routes, because a deployment tool must. In the
//! path new requests are on stable at once, and the bad version stops hurting while its last
//! requests end. The record keeps the requirement's names of the phases.
//!
//! # Why the quarantine is not waited for
//! Users are safe once the table is swapped; a slow disk must not hold that up. A quarantine
//! that could not be written down is said in the record, as it will not survive a restart.

mod command;
mod protects;
mod quarantine;
mod rollback;

#[cfg(test)]
mod tests;

pub use command::{Command, Event, OnTimeout, Step};
pub use protects::Protects;
pub use quarantine::Quarantine;
pub use rollback::{DrainPolicy, Intent, Rollback, State, step};
