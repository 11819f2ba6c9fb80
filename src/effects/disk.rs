//! `Disk`: the rows of the outbox in an embedded store. Apart because everything here
//! blocks, and because what is in the rows is not known here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition, TableError,
};
use thiserror::Error;

use super::journal::{Journal, Kind, RowKey};

/// The open store. A write that has returned is on disk.
#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
}

/// What was found when the store was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) disk: Disk,
    pub(super) rows: Vec<(RowKey, Vec<u8>)>,
    /// Why what was there before was moved aside, if it was.
    pub(super) damage: Option<String>,
}

/// Why the store cannot be opened, read or written.
#[derive(Debug, Error)]
pub enum DiskError {
    /// The directory or the file cannot be had.
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
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The disk or the store's engine failed.
    #[error("cannot write {path}")]
    Engine {
        /// The file.
        path: PathBuf,
        /// What the engine says.
        source: Box<redb::Error>,
    },
}

impl Disk {
    /// Opens the store in `dir`. One that is damaged is moved aside, in place of one that
    /// was moved aside before, and a new one is begun.
    pub(super) fn open(dir: &Path) -> Result<Opened, DiskError> {
        let path = dir.join(FILE);
        let damage = match Self::open_as_it_is(dir, &path) {
            Ok((disk, rows)) => return Ok(Opened { disk, rows, damage: None }),
            Err(DiskError::Damaged { what, .. }) => what,
            Err(error) => return Err(error),
        };
        fs::rename(&path, dir.join(ASIDE))
            .map_err(|source| DiskError::Open { path: path.clone(), source })?;
        let (disk, rows) = Self::open_as_it_is(dir, &path)?;
        Ok(Opened { disk, rows, damage: Some(damage) })
    }

    /// Opens the store in `dir` and makes these its only rows.
    pub(super) fn replace(dir: &Path, rows: &Journal) -> Result<Self, DiskError> {
        let Opened { disk, .. } = Self::open(dir)?;
        disk.change(dir, rows, true)?;
        Ok(disk)
    }

    /// Writes what changed.
    pub(super) fn write(&self, dir: &Path, changes: &Journal) -> Result<(), DiskError> {
        self.change(dir, changes, false)
    }

    fn open_as_it_is(dir: &Path, path: &Path) -> Result<(Self, Rows), DiskError> {
        let cannot = |source| DiskError::Open { path: path.to_owned(), source };
        fs::create_dir_all(dir).map_err(cannot)?;
        let fresh = !path.exists();
        let opened = Database::builder()
            .set_cache_size(CACHE)
            .set_check_integrity_on_open(true)
            .create(path);
        let database = opened.map_err(|error| refused(path, error))?;
        if fresh {
            // The name of a new file is part of its directory and needs its own sync.
            fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(cannot)?;
        }
        let disk = Self { database };
        let rows = disk.rows().map_err(|error| DiskError::Damaged {
            path: path.to_owned(),
            what: error.to_string(),
        })?;
        Ok((disk, rows))
    }

    fn rows(&self) -> Result<Rows, redb::Error> {
        let read = self.database.begin_read()?;
        let table = match read.open_table(TABLE) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table?,
        };
        let mut rows = Vec::new();
        for row in table.iter()? {
            let (key, value) = row?;
            let (kind, sink, id) = key.value();
            // What a later release wrote is left alone.
            let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
            let Some(kind) = kind else { continue };
            let key = (kind, sink.to_owned(), id.to_owned());
            rows.push((key, value.value().to_owned()));
        }
        Ok(rows)
    }

    fn change(&self, dir: &Path, journal: &Journal, all: bool) -> Result<(), DiskError> {
        let change = || -> Result<(), redb::Error> {
            let write = self.database.begin_write()?;
            let mut table = write.open_table(TABLE)?;
            if all {
                table.retain(|_, _| false)?;
            }
            for ((kind, sink, id), value) in journal.rows() {
                let key = (kind.as_str(), sink.as_str(), id.as_str());
                match value {
                    Some(value) => drop(table.insert(key, value)?),
                    None => drop(table.remove(key)?),
                }
            }
            drop(table);
            write.commit()?;
            Ok(())
        };
        #[cfg(test)]
        if dir.join("the-disk-fails").exists() {
            let source = io::Error::other("a test says so");
            return Err(DiskError::Open { path: dir.join(FILE), source });
        }
        change().map_err(|error| DiskError::Engine {
            path: dir.join(FILE),
            source: Box::new(error),
        })
    }
}

fn refused(path: &Path, error: DatabaseError) -> DiskError {
    let path = path.to_owned();
    if let DatabaseError::DatabaseAlreadyOpen = error {
        return DiskError::Locked { path };
    }
    if let DatabaseError::Storage(StorageError::Io(source)) = error {
        // Not the engine's format, or shorter than its own header says.
        let foreign = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
        if foreign.contains(&source.kind()) {
            return DiskError::Damaged { path, what: source.to_string() };
        }
        return DiskError::Open { path, source };
    }
    DiskError::Damaged { path, what: error.to_string() }
}

type Rows = Vec<(RowKey, Vec<u8>)>;

/// Kind, sink, and what tells rows apart, to the row in JSON.
const TABLE: TableDefinition<'_, (&str, &str, &str), &[u8]> =
    TableDefinition::new("outbox");
const FILE: &str = "outbox.redb";
const ASIDE: &str = "outbox.redb.damaged";
/// Bytes of pages in memory: rows are read once, at the start.
const CACHE: usize = 4 << 20;
