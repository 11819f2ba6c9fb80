//! Pure: how a version gains traffic and how it loses it. No clock, no IO, no randomness;
//! `now` is an argument, and what to do comes back as data.
//!
//! # Gaining: a rollout
//! [`Rollout::begin`] and [`advance()`] are the whole machine. A [`Plan`] is a row of acts (ask a
//! gate, look for room, give a share, sit a pause out), and a rollout stands at one of them;
//! whatever stops it leaves it there. What the row ends in:
//!
//! ```text
//! under way ── last act done ──────────────> Succeeded ──┐
//!    │  └───── aborted ────> Aborting ── 0 % ──> Failed <── rollback ended
//!    └──────── rollback of the version begins ──> RollingBack ──┘
//! ```
//!
//! # Losing: a rollback
//!
//! [`Rollback::begin`] and [`step`] are the whole machine:
//!
//! ```text
//! (Checking) ── Routing ── Draining ── Settling ── Rechecking ── Measuring ── Completed
//!      └───────────┴───────────────────────┴─────────────┴────────────┴────── Failed
//! ```
//!
//! Whoever carries out a command answers with an [`Event`]. An event that does not fit the
//! state changes nothing but the notes of the record; an alarm that is no longer needed is
//! passed over. Every way ends in one [`Command::Notify`], and every failure before it in
//! one [`Command::Emergency`].
//!
//! The version that is to take the traffic is asked for its health while users are moved to
//! it already: a check must not keep them on a version that harms them. Only where that
//! version is known to be dead is it asked first.
//!
//! # Why swap first and drain then
//! The requirement's sample drains before it routes, because a deployment tool must. In the
//! path new requests are on stable at once, and the bad version stops hurting while its last
//! requests end. The record keeps the requirement's names of the phases.
//!
//! Where the version that takes the traffic has no room for all of it, the configuration may
//! ask for a [`Ramp`]: the swap is as quick as ever, and nobody is left on the bad version,
//! but a part of its users is held back and let through in steps. The rollback settles when
//! the ramp is over.
//!
//! # Why the quarantine is not waited for
//! Users are safe once the table is swapped; a slow disk must not hold that up. A quarantine
//! that could not be written down is said in the record, as it will not survive a restart.

mod advance;
mod border;
mod command;
mod emergency;
mod headroom;
mod heard;
mod ledger;
mod plan;
mod procedure;
mod protects;
mod quarantine;
mod ramp;
mod rollback;
mod state;
mod verbs;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

pub use advance::advance;
pub use border::{
    Answer, Change, ChangeKind, Gate, Judged, RolloutCommand, RolloutEvent, RolloutStep,
    Verb,
};
pub use command::{Check, Command, Event, OnTimeout, Step};
pub use emergency::{Emergency, Left};
pub use headroom::{Headroom, Load, Target, headroom};
pub use plan::{Finish, NoTraffic, Plan, PlanStep, Retreat, Strategy};
pub use procedure::step;
pub use protects::Protects;
pub use quarantine::Quarantine;
pub use ramp::{Ramp, RampPlan, Ramped};
pub use rollback::{Intent, Procedure, Rollback, State};
pub use state::{Phase, Rollout, Stop, Subject};
