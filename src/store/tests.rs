//! What is kept is there after a restart, a crash and a release; what is damaged is named.

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::engine::{FILE, MOST_ENTRIES};
use super::entries::{PROTECTS, QUARANTINES};
use super::{Store, StoreError};
use crate::vocab::ids::{Digest, Name};
use crate::vocab::record::{
    ActingEntry, Outcome, ProtectEntry, ProtectRecord, QuarantineEntry,
};
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

#[test]
fn one_version_acts_as_stable_on_a_route() {
    let scratch = Scratch::new();
    let acts = |route: &str, version: &str| ActingEntry {
        route: name(route),
        version: name(version),
        digest: Digest::new("d"),
        instead_of: name("v1"),
        instead_digest: Digest::new("e"),
        rollback_id: "rb-1".to_owned(),
    };
    let store = Store::open(&scratch.0).unwrap();
    for (route, version) in [("iris", "v3"), ("rose", "v3"), ("iris", "v4")] {
        store.act(&acts(route, version)).unwrap();
    }
    drop(store);
    let store = Store::open(&scratch.0).unwrap();
    assert_eq!(store.acting().unwrap(), [acts("iris", "v4"), acts("rose", "v3")]);
    store.unact(&name("iris")).unwrap();
    assert_eq!(store.acting().unwrap(), [acts("rose", "v3")]);
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
    let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
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
    let write = store.database.lock().unwrap().as_ref().unwrap().begin_write().unwrap();
    let mut table = write.open_table(QUARANTINES.table).unwrap();
    for number in 0..MOST_ENTRIES {
        let digest = number.to_string();
        table.insert(("iris", "v2.5", digest.as_str()), b"{}".as_slice()).unwrap();
    }
    drop(table);
    write.commit().unwrap();
    let refused = store.quarantine(&entry("iris", "v2.6", "a"));
    assert!(matches!(refused, Err(StoreError::Full { .. })));
    store.quarantine(&entry("iris", "v2.5", "7")).expect("it takes the place of the old");
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
    let expected = format!("cannot create the state directory {}", in_the_way.display());
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
        let write =
            store.database.lock().unwrap().as_ref().unwrap().begin_write().unwrap();
        let mut table = write.open_table(kind.table).unwrap();
        table.insert(("iris", "v2.5", "a"), b"{}".as_slice()).unwrap();
        drop(table);
        write.commit().unwrap();
        drop(store);
        assert!(fails(&scratch.0).contains(&format!("the {says} of v2.5 on iris")));
    }
}

#[test]
fn a_route_has_one_rollout_whatever_it_says() {
    let scratch = Scratch::new();
    let store = Store::open(&scratch.0).unwrap();
    for (route, row) in [("rose", 1), ("iris", 2), ("iris", 3)] {
        store.rollout(&name(route), &vec![row]).unwrap();
    }
    drop(store);
    let store = Store::open(&scratch.0).unwrap();
    let rows = store.rollouts::<Vec<u32>>().unwrap();
    assert_eq!(rows, [(name("iris"), vec![3]), (name("rose"), vec![1])]);
    assert!(store.rollouts::<String>().is_err());
    assert!(store.forget_rollout(&name("iris")).unwrap());
    assert!(!store.forget_rollout(&name("iris")).unwrap());
    assert_eq!(store.rollouts::<Vec<u32>>().unwrap().len(), 1);
}

#[test]
fn after_a_disk_that_failed_it_is_opened_anew() {
    let scratch = Scratch::new();
    let store = Store::open(&scratch.0).unwrap();
    store.quarantine(&entry("iris", "v2", "a")).unwrap();
    // What a failed write leaves behind.
    drop(store.database.lock().unwrap().take());
    store.quarantine(&entry("iris", "v3", "b")).unwrap();
    assert_eq!(store.all().unwrap().len(), 2);
}
