//! `StoreError`: why the store cannot be opened, read or written.
//!
//! Apart from the engine, because each says what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use redb::{DatabaseError, StorageError};
use thiserror::Error;

use super::engine::MOST_ENTRIES;

/// Why the store cannot be opened, read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The state directory is not there and cannot be made.
    #[error("cannot create the state directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file cannot be opened for reading and writing.
    #[error("cannot open {path} for reading and writing")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{path} is in use by another process: give each its own stateDir")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The content is not what was written.
    #[error(
        "{path} is damaged ({what}): restore it, or move it away and lose its quarantines \
         and protects"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There are as many entries of a kind as may be.
    #[error("{path} holds {MOST_ENTRIES} {what}, which is the limit: release some")]
    Full {
        /// The file.
        path: PathBuf,
        /// The kind.
        what: &'static str,
    },
    /// The disk or the store's engine failed.
    #[error("cannot {doing} in {path}")]
    Engine {
        /// The file.
        path: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// What the engine says.
        source: Box<redb::Error>,
    },
}

/// Why a file could not be opened.
pub(super) fn refused(path: &Path, error: DatabaseError) -> StoreError {
    let path = path.to_owned();
    if let DatabaseError::DatabaseAlreadyOpen = error {
        return StoreError::Locked { path };
    }
    if let DatabaseError::Storage(StorageError::Corrupted(what)) = error {
        return StoreError::Damaged { path, what };
    }
    if let DatabaseError::Storage(StorageError::Io(source)) = error {
        // Not the engine's format, or shorter than its own header says.
        let foreign = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
        if foreign.contains(&source.kind()) {
            return StoreError::Damaged { path, what: source.to_string() };
        }
        return StoreError::Open { path, source };
    }
    StoreError::Engine { path, doing: "open the store", source: Box::new(error.into()) }
}
