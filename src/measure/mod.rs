//! What each version did, recorded in the data path.
//!
//! A request to a version is one [`Flight`]. It is written into the worker's own [`Books`],
//! in which each version has a [`Tally`] of plain integers and HDR histograms: no lock, no
//! atomic, no label. Control collects the books through a [`Ledger`]. The only numbers that
//! several threads see are the in-flight counts of the [`Roster`], each written by one.

mod books;
mod flight;
mod recorder;
mod roster;

pub use books::{Books, Ledger, Till};
pub use flight::Flight;
pub use recorder::{LONGEST_US, Tally};
pub use roster::Roster;
