//! What survives a restart: quarantines and open protects, in an embedded store in the state
//! directory.
//!
//! A file of its own, because durability is its whole promise: what a call has returned from
//! is on disk. Every call blocks on the disk, so that callers on a runtime put it aside.
//! What a quarantine or a protect means is not known here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata,
};
use redb::{StorageError, TableDefinition, TableError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::vocab::ids::{Digest, Name};
use crate::vocab::record::{Outcome, ProtectEntry, ProtectRecord, QuarantineEntry};
use crate::vocab::time::Timestamp;
use crate::vocab::trigger::Trigger;

/// The store of one process. Safe to share between threads; writes wait for one another.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    database: Database,
}

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
        let store = Self { path, database };
        if fresh {
            // The name of a new file is part of its directory and needs a sync of its own.
            fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| {
                StoreError::Directory { path: dir.to_owned(), source }
            })?;
        }
        // Every row is read once, so that a start says what a later read would stumble over.
        store.all()?;
        store.protects()?;
        Ok(store)
    }

    /// Keeps a quarantine; one for the same build of the version is replaced.
    ///
    /// # Errors
    /// [`StoreError::Full`] at the limit, [`StoreError::Engine`] when the disk fails.
    pub fn quarantine(&self, entry: &QuarantineEntry) -> Result<(), StoreError> {
        let key = (entry.route.as_str(), entry.version.as_str(), entry.digest.as_str());
        let about = Stored {
            since: entry.since,
            reason: entry.reason.clone(),
            rollback_id: entry.rollback_id.clone(),
        };
        self.keep(&QUARANTINES, key, &about, false)
    }

    /// Forgets the quarantines of every build of a version; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when the disk fails.
    pub fn release(&self, route: &Name, version: &Name) -> Result<bool, StoreError> {
        self.forget(&QUARANTINES, route, version)
    }

    /// All quarantines, in the order of route, version and digest.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a row is not what was written, [`StoreError::Engine`]
    /// when the disk fails.
    pub fn all(&self) -> Result<Vec<QuarantineEntry>, StoreError> {
        self.read(&QUARANTINES, |(route, version, digest), about: Stored| {
            QuarantineEntry {
                route,
                version,
                digest,
                since: about.since,
                reason: about.reason,
                rollback_id: about.rollback_id,
            }
        })
    }

    /// Keeps a protect, in place of any other of the same version.
    ///
    /// # Errors
    /// [`StoreError::Full`] at the limit, [`StoreError::Engine`] when the disk fails.
    pub fn protect(&self, entry: &ProtectEntry) -> Result<(), StoreError> {
        let ProtectEntry { digest, record } = entry;
        let key = (record.route.as_str(), record.version.as_str(), digest.as_str());
        let about = StoredProtect {
            protect_id: record.protect_id.clone(),
            since: record.timestamp,
            to_version: record.to_version.to_string(),
            trigger: record.trigger,
            finding: record.finding.clone(),
        };
        self.keep(&PROTECTS, key, &about, true)
    }

    /// Forgets the protect of a version; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when the disk fails.
    pub fn unprotect(&self, route: &Name, version: &Name) -> Result<bool, StoreError> {
        self.forget(&PROTECTS, route, version)
    }

    /// All protects that have not ended, in the order of route and version. Whether one was
    /// held is not kept: a new run tests the version anew.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a row is not what was written, [`StoreError::Engine`]
    /// when the disk fails.
    pub fn protects(&self) -> Result<Vec<ProtectEntry>, StoreError> {
        let rows =
            self.read(&PROTECTS, |(route, version, digest), it: StoredProtect| {
                let to_version = self.name(PROTECTS.one, &it.to_version)?;
                let record = ProtectRecord {
                    protect_id: it.protect_id,
                    timestamp: it.since,
                    route,
                    version,
                    to_version,
                    trigger: it.trigger,
                    finding: it.finding,
                    outcome: Outcome::Open,
                    resolved: None,
                    why: None,
                    rollback_id: None,
                };
                Ok(ProtectEntry { digest, record })
            })?;
        rows.into_iter().collect()
    }

    /// Keeps a row; `alone`: in place of those of every other build of the version.
    fn keep<T: Serialize>(
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

    fn forget(
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

    fn read<S: DeserializeOwned, T>(
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

    fn name(&self, one: &str, text: &str) -> Result<Name, StoreError> {
        Name::parse(text).map_err(|error| self.damaged(format!("a {one} of {error}")))
    }

    fn change<T>(
        &self,
        kind: &Kind,
        deed: impl FnOnce(&mut redb::Table<'_, Key, &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let write = self.database.begin_write()?;
        let done = deed(&mut write.open_table(kind.table)?)?;
        write.commit()?;
        Ok(done)
    }

    fn rows(&self, kind: &Kind) -> Result<Vec<Row>, redb::Error> {
        let read = self.database.begin_read()?;
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

    fn engine(&self, doing: &'static str, error: redb::Error) -> StoreError {
        if let redb::Error::Corrupted(what) = error {
            return self.damaged(what);
        }
        StoreError::Engine { path: self.path.clone(), doing, source: Box::new(error) }
    }
}

fn refused(path: &Path, error: DatabaseError) -> StoreError {
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

/// What is written beside the key.
#[derive(Serialize, Deserialize)]
struct Stored {
    since: Timestamp,
    reason: String,
    rollback_id: String,
}

/// What is written of a protect beside the key.
#[derive(Serialize, Deserialize)]
struct StoredProtect {
    protect_id: String,
    since: Timestamp,
    to_version: String,
    trigger: Trigger,
    finding: String,
}

/// One kind of entries: its table, and how errors speak of it.
struct Kind {
    table: TableDefinition<'static, Key, &'static [u8]>,
    one: &'static str,
    many: &'static str,
    keep: &'static str,
    forget: &'static str,
    read: &'static str,
}

/// Route, version, digest.
type Key = (&'static str, &'static str, &'static str);
type Row = ([String; 3], Vec<u8>);

const FILE: &str = "switchback.redb";
const QUARANTINES: Kind = Kind {
    table: TableDefinition::new("quarantine"),
    one: "quarantine",
    many: "quarantines",
    keep: "keep a quarantine",
    forget: "release a quarantine",
    read: "read the quarantines",
};
const PROTECTS: Kind = Kind {
    table: TableDefinition::new("protect"),
    one: "protect",
    many: "protects",
    keep: "keep a protect",
    forget: "end a protect",
    read: "read the protects",
};
/// One version of one route leaves one entry a rollback; ten thousand is years of them.
const MOST_ENTRIES: u64 = 10_000;

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{FILE, MOST_ENTRIES, PROTECTS, QUARANTINES, Store, StoreError};
    use crate::vocab::ids::{Digest, Name};
    use crate::vocab::record::{Outcome, ProtectEntry, ProtectRecord, QuarantineEntry};
    use crate::vocab::time::Timestamp;
    use crate::vocab::trigger::Trigger;

    /// A directory that goes when the test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("switchback-store-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join(FILE)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn entry(route: &str, version: &str, digest: &str) -> QuarantineEntry {
        QuarantineEntry {
            route: name(route),
            version: name(version),
            digest: Digest::new(digest),
            since: Timestamp(1_795_554_358_123),
            reason: "errorRate: 8% is above 4% \"really\"".to_owned(),
            rollback_id: "rb-01".to_owned(),
        }
    }

    fn protect(route: &str, version: &str, digest: &str, id: &str) -> ProtectEntry {
        let record = ProtectRecord {
            protect_id: id.to_owned(),
            timestamp: Timestamp(1_795_554_358_123),
            route: name(route),
            version: name(version),
            to_version: name("v2.4"),
            trigger: Trigger::LatencyP99,
            finding: "latencyP99: odds 24 to 1 that it is \"worse\"".to_owned(),
            outcome: Outcome::Open,
            resolved: None,
            why: None,
            rollback_id: None,
        };
        ProtectEntry { digest: Digest::new(digest), record }
    }

    fn fails(dir: &Path) -> String {
        let error = Store::open(dir).expect_err("a refusal");
        let cause =
            error.source().map(|source| format!(": {source}")).unwrap_or_default();
        format!("{error}{cause}")
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart() {
        let scratch = Scratch::new();
        let dir = scratch.0.join("made/on/the/way");
        let (one, two) =
            (entry("iris", "v2.5", "sha256:a"), entry("rose", "v2.5", "sha256:a"));
        let store = Store::open(&dir).unwrap();
        assert_eq!(store.all().unwrap(), []);
        store.quarantine(&two).unwrap();
        store.quarantine(&one).unwrap();
        drop(store);
        assert_eq!(Store::open(&dir).unwrap().all().unwrap(), [one, two]);
    }

    #[test]
    fn what_was_kept_is_there_after_a_crash() {
        let scratch = Scratch::new();
        let store = Store::open(&scratch.0).unwrap();
        let kept = entry("iris", "v2.5", "sha256:a");
        store.quarantine(&kept).unwrap();
        // The file as a killed process leaves it, taken while the store is open.
        let crashed = Scratch::new();
        fs::copy(scratch.file(), crashed.file()).unwrap();
        assert_eq!(Store::open(&crashed.0).unwrap().all().unwrap(), [kept]);
    }

    #[test]
    fn a_version_has_one_protect_until_it_ends() {
        let scratch = Scratch::new();
        let store = Store::open(&scratch.0).unwrap();
        let other = protect("iris", "v2.50", "a", "pr-03");
        let mut held = protect("iris", "v2.5", "b", "pr-02");
        held.record.outcome = Outcome::Held;
        for entry in [&protect("iris", "v2.5", "a", "pr-01"), &other, &held] {
            store.protect(entry).unwrap();
        }
        assert_eq!(store.all().unwrap(), []);
        drop(store);
        let store = Store::open(&scratch.0).unwrap();
        held.record.outcome = Outcome::Open;
        assert_eq!(store.protects().unwrap(), [held, other.clone()]);
        assert!(store.unprotect(&name("iris"), &name("v2.5")).unwrap());
        assert!(!store.unprotect(&name("iris"), &name("v2.5")).unwrap());
        assert_eq!(store.protects().unwrap(), [other]);
    }

    #[test]
    fn a_release_forgets_every_build_and_nothing_else() {
        let scratch = Scratch::new();
        let store = Store::open(&scratch.0).unwrap();
        let other = entry("iris", "v2.50", "a");
        for entry in [&entry("iris", "v2.5", "a"), &entry("iris", "v2.5", "b"), &other] {
            store.quarantine(entry).unwrap();
        }
        assert!(store.release(&name("iris"), &name("v2.5")).unwrap());
        assert!(!store.release(&name("iris"), &name("v2.5")).unwrap());
        drop(store);
        assert_eq!(Store::open(&scratch.0).unwrap().all().unwrap(), [other]);
    }

    #[test]
    fn the_later_entry_for_one_build_stands() {
        let scratch = Scratch::new();
        let store = Store::open(&scratch.0).unwrap();
        let first = entry("iris", "v2.5", "a");
        let later = QuarantineEntry { rollback_id: "rb-02".to_owned(), ..first.clone() };
        store.quarantine(&first).unwrap();
        store.quarantine(&later).unwrap();
        assert_eq!(store.all().unwrap(), [later]);
    }

    #[test]
    fn a_full_store_refuses_what_is_new() {
        let scratch = Scratch::new();
        let store = Store::open(&scratch.0).unwrap();
        let write = store.database.begin_write().unwrap();
        let mut table = write.open_table(QUARANTINES.table).unwrap();
        for number in 0..MOST_ENTRIES {
            let digest = number.to_string();
            table.insert(("iris", "v2.5", digest.as_str()), b"{}".as_slice()).unwrap();
        }
        drop(table);
        write.commit().unwrap();
        let refused = store.quarantine(&entry("iris", "v2.6", "a"));
        assert!(matches!(refused, Err(StoreError::Full { .. })));
        store
            .quarantine(&entry("iris", "v2.5", "7"))
            .expect("it takes the place of the old");
        assert!(store.release(&name("iris"), &name("v2.5")).unwrap());
        store.quarantine(&entry("iris", "v2.6", "a")).expect("there is room again");
    }

    #[test]
    fn a_second_open_says_that_the_first_has_it() {
        let scratch = Scratch::new();
        let first = Store::open(&scratch.0).unwrap();
        let text = fails(&scratch.0);
        assert!(text.contains("is in use by another process"), "{text}");
        assert!(text.contains(FILE), "{text}");
        drop(first);
        assert!(Store::open(&scratch.0).is_ok());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let scratch = Scratch::new();
        let in_the_way = scratch.0.join("file");
        fs::write(&in_the_way, "").unwrap();
        let text = fails(&in_the_way.join("state"));
        let expected =
            format!("cannot create the state directory {}", in_the_way.display());
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.contains("Not a directory"), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.file()).unwrap();
        let text = fails(&scratch.0);
        let expected = format!("cannot open {} for", scratch.file().display());
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.contains("Is a directory"), "{text}");
    }

    #[test]
    fn a_file_of_something_else_is_damaged() {
        let scratch = Scratch::new();
        fs::write(scratch.file(), "not a store at all".repeat(500)).unwrap();
        let text = fails(&scratch.0);
        assert!(text.contains("is damaged ("), "{text}");
        assert!(text.contains(FILE), "{text}");
    }

    #[test]
    fn a_file_cut_short_is_damaged() {
        let scratch = Scratch::new();
        drop(Store::open(&scratch.0).unwrap());
        let bytes = fs::read(scratch.file()).unwrap();
        for keep in [5, 200, bytes.len() / 2] {
            fs::write(scratch.file(), &bytes[..keep]).unwrap();
            let text = fails(&scratch.0);
            assert!(text.contains("is damaged ("), "{keep} bytes: {text}");
        }
    }

    #[test]
    fn a_changed_page_is_damaged() {
        let scratch = Scratch::new();
        let store = Store::open(&scratch.0).unwrap();
        store.quarantine(&entry("iris", "v2.5", "a")).unwrap();
        drop(store);
        let mut bytes = fs::read(scratch.file()).unwrap();
        let at = bytes.windows(5).position(|part| part == b"rb-01").expect("the row");
        for byte in &mut bytes[at..] {
            *byte ^= 0x5a;
        }
        fs::write(scratch.file(), bytes).unwrap();
        assert!(fails(&scratch.0).contains("is damaged ("));
    }

    #[test]
    fn a_row_that_is_no_entry_is_damaged() {
        for (kind, says) in [(&QUARANTINES, "quarantine"), (&PROTECTS, "protect")] {
            let scratch = Scratch::new();
            let store = Store::open(&scratch.0).unwrap();
            let write = store.database.begin_write().unwrap();
            let mut table = write.open_table(kind.table).unwrap();
            table.insert(("iris", "v2.5", "a"), b"{}".as_slice()).unwrap();
            drop(table);
            write.commit().unwrap();
            drop(store);
            assert!(fails(&scratch.0).contains(&format!("the {says} of v2.5 on iris")));
        }
    }
}
