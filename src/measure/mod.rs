//! What each version did, recorded in the data path.
//!
//! A request to a version is one [`Flight`]. It is written into the worker's own [`Books`],
//! in which each version has a [`Tally`] of plain integers and histograms: no lock, no
//! atomic, no label. Control collects the books through a [`Ledger`]. The only numbers that
//! several threads see are the in-flight counts of the [`Roster`], each written by one.
//!
//! A flight that the split's coin has placed is judged: it also writes into the
//! [`crate::judge::Sums`] of its epoch, and counts as slow at its deadline even while it
//! hangs. What every [`Stamp`] says about a request is settled when it is placed.
//!
//! An answer that is a stream of tokens is timed by its first token and by the time for each
//! after it ([`Streams`]); its deadlines run to the first token.

mod books;
mod flight;
mod recorder;
mod roster;
mod samples;
mod sheet;
mod speech;
mod tape;
mod watch;

#[cfg(test)]
mod judged_tests;
#[cfg(test)]
mod stream_tests;

pub use books::{Books, Ledger, Till};
pub use flight::{About, Flight, Stamp};
pub use recorder::{EPOCHS, Tally};
pub use roster::Roster;
pub use samples::Samples;
pub use sheet::{Ending, Took, ended, is_urgent, spoke};
pub use speech::Streams;
pub use tape::Tape;
