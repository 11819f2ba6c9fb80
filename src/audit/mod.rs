//! The audit log: what was done, by whom and why, so that nothing can be taken out of it,
//! put into it or changed in it without being seen, and nothing that was acknowledged is
//! lost.
//!
//! [`open`] opens the log of a directory and [`Unstarted::start`] gives the [`Auditor`], the
//! handle for everybody who has something to record. [`verify()`] checks a log and [`show`]
//! reads it; both only read, so that they work beside a running proxy and without one.
//!
//! # The files
//! `stateDir/audit/audit-0000000001.jsonl` and so on, numbered without a gap; none is ever
//! removed or written again. When one is full the next begins with a record of the kind
//! `audit.file`, whose member `continues` repeats the file, number and hash of the record
//! before. Beside them: `lock` (one process at a time), `ballast` (room for the records of
//! rollbacks on a full disk) and `torn-…` (what a power loss left of a write that was never
//! acknowledged).
//!
//! # The records
//! One JSON object a line, ended by a line feed. Its members, in this order: `seq` (from 1,
//! without a gap), `batch` (the number of the first record that was synced together with
//! this one; absent in that one), `kind`, `timestamp` (`recorded_at` where the facts below
//! have a `timestamp` of their own), `operator`, `reason`, `config_hash`, the facts, and at
//! last `prev_hash` and `hash`. Control characters, and those that turn the direction of a
//! text, are written as `\uXXXX`, so that a record is a line whatever is in it.
//!
//! `prev_hash` is the `hash` of the record before, in the first one 64 zeros. `hash` is the
//! SHA-256, in lower-case hex, of the line without its end and without the member `hash` and
//! the comma before it. So anybody can compute it:
//!
//! ```sh
//! sed -n 7p audit-0000000001.jsonl | sed 's/,"hash":"[0-9a-f]*"}$/}/' | tr -d '\n' | sha256sum
//! ```
//!
//! A chain shows every change but one: records cut off at its end. Therefore the hash of the
//! last record is also a metric and stands in every notice.
//!
//! # Durability
//! `disk` is all that is asked of a disk, `log` writes to it and mends after a failure,
//! `opening` makes an end of what a power loss left, and `keeper` decides what happens to
//! the entries when nothing can be written. A record is acknowledged after the sync of
//! everything that was written with it, and a sync that failed is never trusted: the file
//! is cut back to its last good end and the log goes on in a new one.

mod auditor;
mod chain;
mod disk;
mod error;
mod inbox;
mod keeper;
mod lines;
mod log;
mod opening;
mod read;
mod record;
mod verify;

#[cfg(test)]
mod power_tests;
#[cfg(test)]
mod simulated;

pub use auditor::{
    Auditor, Opened, Receipt, Settings, Trouble, Unstarted, Written, open,
};
pub use chain::{Hash, Head};
pub use error::{AuditError, WriteError};
pub use inbox::Urgency;
pub use opening::Torn;
pub use read::{Filter, Shown, Since, show};
pub use verify::{Fault, Problem, Report, Unfinished, verify};
