//! Where a name leads: the only place that asks name servers, and it does so in a task of
//! its own, so that no request ever waits for one.
//!
//! [`Names`] follows the names of the configuration: each is looked up at the start and
//! again when its answer is no longer good. [`Known`] is what came of it. A stub resolver of
//! our own is enough for that: questions and answers are in `message`, the way to the
//! servers in `ask`, the machine's files in `system`, and what a name may mean in `look_up`.
//! The two that read what others wrote are public, so that they can be fuzzed alone.
//!
//! # Why not the C library's `getaddrinfo`
//! It gives no times, so that nobody knows when to ask again, and it cannot say "nobody
//! answered" apart from "there is none" for one kind of address.
//!
//! # Why not a resolver crate
//! Those there are bring some fifty crates for parts that are not needed here (names in all
//! scripts, DNSSEC, caches), and walk the search domains for each kind of address alone.

mod ask;
mod known;
mod look_up;
pub mod message;
mod names;
mod settings;
pub mod system;

pub use known::Known;
pub use names::Names;
pub use settings::Settings;
