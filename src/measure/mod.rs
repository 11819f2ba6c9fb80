//! What each version did, recorded in the data path.

mod recorder;

pub use recorder::{LONGEST_US, Tally};
