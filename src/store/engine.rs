//! `Store`: the file, and rows of every kind put into it, taken out and read.
//!
//! Apart from the kinds, because a row is a row: what its parts mean is theirs to say.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use redb::{TableDefinition, TableError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{StoreError, refused};
use crate::vocab::ids::{Digest, Name};

/// The store of one process. Safe to share between threads; writes wait for one another.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// Closed after the disk failed: the engine trusts nothing of a file it could not write,
    /// so that the next call opens and checks it anew.
    pub(super) database: Mutex<Option<Database>>,
}

impl Store {
    /// Opens the store in `dir`, and makes both where they are missing. A file that was not
    /// closed properly is repaired, and the whole of it is checked.
    ///
    /// # Errors
    /// [`StoreError`] when the directory cannot be made, the file cannot be opened, another
    /// process has it open, or it is damaged.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(dir)
            .map_err(|source| StoreError::Directory { path: dir.to_owned(), source })?;
        let path = dir.join(FILE);
        let fresh = !path.exists();
        let opened = Database::builder().set_check_integrity_on_open(true).create(&path);
        let database = opened.map_err(|error| refused(&path, error))?;
        let store = Self { path, database: Mutex::new(Some(database)) };
        if fresh {
            // The name of a new file is part of its directory and needs a sync of its own.
            fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| {
                StoreError::Directory { path: dir.to_owned(), source }
            })?;
        }
        // Every row is read once, so that a start says what a later read would stumble over.
        store.all()?;
        store.protects()?;
        store.acting()?;
        store.rollouts::<Value>()?;
        store.acting()?;
        Ok(store)
    }

    /// Keeps a row; `alone`: in place of those of every other build of the version.
    pub(super) fn keep<T: Serialize>(
        &self,
        kind: &Kind,
        key: (&str, &str, &str),
        about: &T,
        alone: bool,
    ) -> Result<(), StoreError> {
        let value =
            serde_json::to_vec(about).map_err(|error| self.damaged(error.to_string()))?;
        let kept = self.change(kind, |table| {
            if alone {
                table.retain(|(route, version, _), _| {
                    (route, version) != (key.0, key.1)
                })?;
            }
            if table.len()? >= MOST_ENTRIES && table.get(key)?.is_none() {
                return Ok(false);
            }
            table.insert(key, value.as_slice())?;
            Ok(true)
        });
        match kept.map_err(|error| self.engine(kind.keep, error))? {
            true => Ok(()),
            false => Err(StoreError::Full { path: self.path.clone(), what: kind.many }),
        }
    }

    pub(super) fn forget(
        &self,
        kind: &Kind,
        route: &Name,
        version: &Name,
    ) -> Result<bool, StoreError> {
        let forgotten = self.change(kind, |table| {
            let before = table.len()?;
            table.retain(|(of, which, _), _| {
                of != route.as_str() || which != version.as_str()
            })?;
            Ok(table.len()? < before)
        });
        forgotten.map_err(|error| self.engine(kind.forget, error))
    }

    pub(super) fn read<S: DeserializeOwned, T>(
        &self,
        kind: &Kind,
        entry: impl Fn((Name, Name, Digest), S) -> T,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.rows(kind).map_err(|error| self.engine(kind.read, error))?;
        let parse = |([route, version, digest], value): &Row| {
            let about = serde_json::from_slice(value).map_err(|error| {
                let one = kind.one;
                self.damaged(format!("the {one} of {version} on {route}: {error}"))
            })?;
            let (route, version) =
                (self.name(kind.one, route)?, self.name(kind.one, version)?);
            Ok(entry((route, version, Digest::new(digest)), about))
        };
        rows.iter().map(parse).collect()
    }

    pub(super) fn name(&self, one: &str, text: &str) -> Result<Name, StoreError> {
        Name::parse(text).map_err(|error| self.damaged(format!("a {one} of {error}")))
    }

    pub(super) fn change<T>(
        &self,
        kind: &Kind,
        deed: impl FnOnce(&mut redb::Table<'_, Key, &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        self.with(|database| {
            let write = database.begin_write()?;
            let done = deed(&mut write.open_table(kind.table)?)?;
            write.commit()?;
            Ok(done)
        })
    }

    /// Gives the open store to the deed, and closes it when the disk fails under it.
    fn with<T>(
        &self,
        deed: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let mut held = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match held.take() {
            Some(database) => database,
            None => {
                Database::builder().set_check_integrity_on_open(true).open(&self.path)?
            }
        };
        let done = deed(&database);
        if !matches!(&done, Err(redb::Error::Io(_) | redb::Error::PreviousIo)) {
            *held = Some(database);
        }
        done
    }

    fn rows(&self, kind: &Kind) -> Result<Vec<Row>, redb::Error> {
        self.with(|database| Self::rows_of(database, kind))
    }

    fn rows_of(database: &Database, kind: &Kind) -> Result<Vec<Row>, redb::Error> {
        let read = database.begin_read()?;
        let table = match read.open_table(kind.table) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table?,
        };
        let mut rows = Vec::new();
        for row in table.iter()? {
            let (key, value) = row?;
            let (route, version, digest) = key.value();
            let key = [route, version, digest].map(str::to_owned);
            rows.push((key, value.value().to_owned()));
        }
        Ok(rows)
    }

    fn damaged(&self, what: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what }
    }

    pub(super) fn engine(&self, doing: &'static str, error: redb::Error) -> StoreError {
        if let redb::Error::Corrupted(what) = error {
            return self.damaged(what);
        }
        StoreError::Engine { path: self.path.clone(), doing, source: Box::new(error) }
    }
}

/// One kind of entries: its table, and how errors speak of it.
pub(super) struct Kind {
    pub(super) table: TableDefinition<'static, Key, &'static [u8]>,
    pub(super) one: &'static str,
    pub(super) many: &'static str,
    pub(super) keep: &'static str,
    pub(super) forget: &'static str,
    pub(super) read: &'static str,
}

/// Route, version, digest.
type Key = (&'static str, &'static str, &'static str);
type Row = ([String; 3], Vec<u8>);

/// The file in the state directory.
pub(super) const FILE: &str = "switchback.redb";
/// One version of one route leaves one entry a rollback; ten thousand is years of them.
pub(super) const MOST_ENTRIES: u64 = 10_000;
