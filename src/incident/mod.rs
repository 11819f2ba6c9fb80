//! The failure analysis of one rollback: from plain [`Facts`] to three files that people and
//! tools read, and their place on disk.
//!
//! - `facts`: what there is to say, as values that the caller fills in. Nothing here asks a
//!   clock or another room, so that the same facts always give the same bytes.
//! - `bound`: the same facts with every text cleaned and every list cut, with a note of what
//!   was left out. All that is written goes through it, so that one incident stays below
//!   [`BYTES_MAX`] whatever callers, servers and operators have put into it.
//! - `json`, `markdown` with its `review`, and `plot`: the three files. `text` and `figures`
//!   are how they escape what comes from outside and print numbers.
//! - `shelf`: writes and reads `incidents/<rollback_id>/` below the state directory.
//!
//! # Why the review is empty
//! The last part of `report.md` is the form of a post-incident review. What the proxy has
//! measured is filled in; a cause, a lesson or a remedy is for people to write, and the form
//! says so rather than guess.

mod bound;
mod facts;
mod figures;
mod json;
mod markdown;
mod plot;
mod render;
mod review;
mod shelf;
mod text;

pub use facts::{Bar, Breach, ClassCount, Facts, Latency, Moment, Slice, Unit, Version};
pub use render::{BYTES_MAX, Rendered, render};
pub use shelf::{File, IncidentError, read, write};

#[cfg(test)]
mod tests;
