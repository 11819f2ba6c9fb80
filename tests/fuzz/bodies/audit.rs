//! Any bytes as a log of two files: it is checked, read and opened; an opening makes an end
//! of what is torn, so that the next one finds nothing more to do.

use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use switchback::audit::{Filter, Settings, open, show, verify};

/// A directory in memory where there is one, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let memory = PathBuf::from("/dev/shm");
        let root = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("switchback-fuzz-{}-{number}", process::id()));
        let made = fs::create_dir_all(&path);
        assert!(made.is_ok(), "{made:?}");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let gone = fs::remove_dir_all(&self.0);
        assert!(gone.is_ok(), "{gone:?}");
    }
}

pub(super) fn body(data: &[u8]) {
    let folder = Folder::new();
    for (place, part) in data.splitn(2, |byte| *byte == 0).enumerate() {
        let path = folder.0.join(format!("audit-{:010}.jsonl", place + 1));
        let written = fs::write(path, part);
        assert!(written.is_ok(), "{written:?}");
    }
    let before = verify(&folder.0, None);
    assert!(before.is_ok(), "{before:?}");
    let shown = show(&folder.0, &Filter::default(), 1_000);
    assert!(shown.is_ok(), "{shown:?}");

    let settings = Settings { dir: folder.0.clone(), max_file: 4096 };
    let first = match open(&settings) {
        Ok((_, opened)) => (opened.head, opened.torn.len(), opened.damage.len()),
        Err(error) => panicked(&error.to_string()),
    };
    let again = match open(&settings) {
        Ok((_, opened)) => (opened.head, opened.torn.len(), opened.damage.len()),
        Err(error) => panicked(&error.to_string()),
    };
    assert_eq!(again.1, 0, "torn twice");
    if first.2 == 0 {
        assert_eq!(first.0, again.0, "another head");
        assert_eq!(again.2, 0, "damage that an opening did");
    }
    let after = verify(&folder.0, None);
    assert!(after.is_ok_and(|report| report.unfinished.is_none()), "still unfinished");
}

fn panicked<T>(what: &str) -> T {
    assert!(what.is_empty(), "{what}");
    process::abort()
}
