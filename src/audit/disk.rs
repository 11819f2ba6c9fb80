//! All that is asked of a disk, and the real one.
//!
//! Behind a trait, so that the tests can put a disk in its place that loses power at every
//! step. Names are plain file names in the one directory of the log. Every call blocks.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::AuditError;

/// What a reader needs.
pub(super) trait Source {
    /// The names and lengths of all files.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// Reads from a place in a file; 0 at its end.
    fn read(&self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize>;
}

/// What the writer needs beside that.
pub(super) trait Disk: Source + Send + Sync + 'static {
    /// Appends to a file, which is made where there is none.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Returns when everything in the file has reached the disk.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Cuts a file off.
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()>;
    /// Gives a file another name, in place of what had that name.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Returns when the names of all files have reached the disk.
    fn sync_dir(&mut self) -> io::Result<()>;
    /// Forgets what is known of the open file, so that its next use opens it anew.
    fn close(&mut self, name: &str);
}

/// A directory, to be read.
#[derive(Clone, Debug)]
pub(super) struct Folder(pub(super) PathBuf);

/// A directory, to be written by this process alone.
#[derive(Debug)]
pub(super) struct RealDisk {
    folder: Folder,
    open: BTreeMap<String, File>,
    /// Held as long as it lives.
    _lock: File,
}

impl Source for Folder {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if let (Ok(name), true) = (entry.file_name().into_string(), about.is_file()) {
                files.push((name, about.len()));
            }
        }
        Ok(files)
    }

    fn read(&self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        File::open(self.0.join(name))?.read_at(into, at)
    }
}

impl RealDisk {
    /// Takes a directory, which is made where it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Directory { path: path.to_owned(), source };
        make(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let lock = options.open(path.join(LOCK)).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => AuditError::Locked { path: path.to_owned() },
            TryLockError::Error(source) => failed(source),
        })?;
        Ok(Self { folder: Folder(path.to_owned()), open: BTreeMap::new(), _lock: lock })
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        if !self.open.contains_key(name) {
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(FILE_MODE);
            let file = options.open(self.folder.0.join(name))?;
            self.open.insert(name.to_owned(), file);
        }
        self.open.get_mut(name).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Source for RealDisk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.folder.list()
    }

    fn read(&self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.folder.read(name, at, into)
    }
}

impl Disk for RealDisk {
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all(bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.file(name)?.set_len(length)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.0.join(from), self.folder.0.join(to))?;
        self.open.remove(to);
        if let Some(file) = self.open.remove(from) {
            self.open.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.open.remove(name);
        fs::remove_file(self.folder.0.join(name))
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        File::open(&self.folder.0)?.sync_all()
    }

    fn close(&mut self, name: &str) {
        self.open.remove(name);
    }
}

/// Makes a directory and those above it, each durable in the one above.
fn make(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
        .collect();
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(path)?;
    for made in missing {
        // The name of a new directory is part of the one above it.
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

const LOCK: &str = "lock";
/// Auditors read by their group.
const FILE_MODE: u32 = 0o640;
const DIR_MODE: u32 = 0o750;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::{Disk, RealDisk, Source};
    use crate::audit::error::AuditError;
    use crate::audit::simulated::Scratch;

    #[test]
    fn a_directory_is_made_with_those_above_and_belongs_to_one_alone() {
        let scratch = Scratch::new();
        let path = scratch.path().join("state/audit");
        let disk = RealDisk::open(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o027, 0, "{mode:o}");
        let again = RealDisk::open(&path).unwrap_err();
        assert!(matches!(again, AuditError::Locked { .. }), "{again}");
        drop(disk);
        RealDisk::open(&path).unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = RealDisk::open(&file.join("audit")).unwrap_err();
        assert!(matches!(refused, AuditError::Directory { .. }), "{refused}");
    }

    #[test]
    fn a_file_keeps_its_end_through_names_and_cuts() {
        let scratch = Scratch::new();
        let mut disk = RealDisk::open(scratch.path()).unwrap();
        disk.append("a", b"one").unwrap();
        disk.rename("a", "b").unwrap();
        disk.append("b", b"two").unwrap();
        disk.truncate("b", 4).unwrap();
        disk.append("b", b"x").unwrap();
        disk.sync("b").unwrap();
        disk.sync_dir().unwrap();
        disk.close("b");
        disk.append("b", b"y").unwrap();
        let mut bytes = [0; 9];
        assert_eq!(disk.read("b", 1, &mut bytes).unwrap(), 5);
        assert_eq!(&bytes[..5], b"netxy");
        let mut files = disk.list().unwrap();
        files.sort();
        assert_eq!(files, [("b".to_owned(), 6), ("lock".to_owned(), 0)]);
        disk.remove("b").unwrap();
        assert!(disk.read("b", 0, &mut bytes).is_err());
    }
}
