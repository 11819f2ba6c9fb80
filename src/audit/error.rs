//! Why a log cannot be opened or read, and why an entry was not written.
//!
//! Two types, because the first ends a start and the second is an answer to one caller, of
//! whom many may get the same.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::record::MOST_LINE;

/// Why the log cannot be opened or read.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The directory is not there and cannot be made.
    #[error("cannot create the directory of the audit log {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process writes to it.
    #[error(
        "the audit log {path} is in use by another process: give each its own stateDir"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// There is no log.
    #[error(
        "there is no audit log in {path}: give the directory that holds the files audit-*.jsonl"
    )]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read the audit log {path}")]
    Read {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write to the audit log {path}")]
    Write {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// Why an entry was not written. It is not in the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The disk is full; what is left is for the records of rollbacks.
    #[error("the disk under the audit log is full ({why}): make room on it")]
    Full {
        /// What the operating system says.
        why: String,
    },
    /// The disk failed.
    #[error("the audit log cannot be written: {why}")]
    Disk {
        /// What the operating system says.
        why: String,
    },
    /// Too many entries wait.
    #[error("too many entries wait for the audit log: try again")]
    Busy,
    /// The entry is longer than a record may be.
    #[error("the entry is longer than the {MOST_LINE} bytes of a record")]
    TooLong,
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
}
