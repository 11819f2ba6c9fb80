//! The room as a whole: what comes out of right files (`values`) and what is said about
//! wrong ones (`mistakes`). Every message and every default is asserted here, word for
//! word, so that a change of one is a change of a test.

mod certificates;
mod discovery;
mod mistakes;
mod notify;
mod rollouts;
mod support;
mod values;
