//! The command tree.
//!
//! [`main`] parses the command line (`tree.rs`, the only file with clap's types beside the
//! arguments that each verb owns) and hands it to one verb. Verbs that work on this machine
//! are `run.rs`, `check.rs`, `replay.rs`, `demo.rs` and `audit.rs`; those that ask a running
//! Switchback over its admin API (`remote.rs`) are `status.rs` (which follows `news.rs`),
//! `history.rs` and `rollback.rs` (which both print a `ledger.rs`), `incident.rs`,
//! `explain.rs` and `orders.rs`. All of them write through `output.rs`, which is where
//! nothing that came over a wire can drive a terminal.
//!
//! Exit codes are the same for every verb: 0 good, 1 error (usage included), 2 rolled back,
//! 3 inconclusive, 4 timeout.

mod audit;
mod check;
mod demo;
mod entry;
mod explain;
mod history;
mod incident;
mod ledger;
mod news;
mod notices;
mod orders;
mod output;
mod remote;
mod replay;
mod rollback;
mod run;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod tree;
mod wait;

pub use entry::main;
