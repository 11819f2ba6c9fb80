//! The directory that kept answers lie in: names, permissions, and writing so that a file is
//! there whole or not at all. Apart from what decides which answers those are.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::record::FileId;
use crate::vocab::time::Timestamp;

/// A directory of kept answers. Only names of ours are looked at or touched.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    /// It is there, and only for us.
    is_ready: bool,
}

impl Files {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), is_ready: false }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// All files, the one first whose answer came last. What was not finished is removed.
    pub(super) fn newest_first(&self) -> Vec<(FileId, PathBuf)> {
        let Ok(listed) = fs::read_dir(&self.directory) else { return Vec::new() };
        let mut found = Vec::new();
        for one in listed.flatten() {
            let path = one.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name else { continue };
            if name.strip_suffix(UNFINISHED).is_some_and(|name| parse(name).is_some()) {
                self.remove(&path);
                continue;
            }
            let Some(id) = parse(name) else { continue };
            let written = one.metadata().and_then(|about| about.modified()).ok();
            found.push((written, id, path));
        }
        found.sort_by(|one, other| other.cmp(one));
        found.into_iter().map(|(_, id, path)| (id, path)).collect()
    }

    /// The bytes of a file; `None` when it cannot be read or is no plain file of a size that
    /// was ever written.
    pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
        let about = fs::symlink_metadata(path).ok()?;
        (about.is_file() && about.len() <= LARGEST).then_some(())?;
        fs::read(path).ok()
    }

    /// Writes a file in the place of the one of that name. Its time is that of the answer.
    pub(super) fn write(
        &mut self,
        id: &FileId,
        bytes: &[u8],
        stored: Timestamp,
    ) -> io::Result<()> {
        self.make_ready()?;
        let name = name(id);
        let unfinished = self.directory.join(format!("{name}{UNFINISHED}"));
        let written = self
            .write_whole(&unfinished, bytes, stored)
            .and_then(|()| fs::rename(&unfinished, self.directory.join(&name)));
        if written.is_err() {
            self.remove(&unfinished);
            // Perhaps the directory was taken away.
            self.is_ready = false;
        }
        written
    }

    pub(super) fn remove_id(&self, id: &FileId) {
        self.remove(&self.directory.join(name(id)));
    }

    pub(super) fn remove(&self, path: &Path) {
        match fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let directory = self.directory.display();
                tracing::warn!(%directory, %error, "a kept answer cannot be removed");
            }
        }
    }

    fn write_whole(
        &self,
        path: &Path,
        bytes: &[u8],
        stored: Timestamp,
    ) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let opened = match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.remove(path);
                options.open(path)
            }
            opened => opened,
        };
        let mut file = opened?;
        file.write_all(bytes)?;
        file.set_modified(UNIX_EPOCH + Duration::from_millis(stored.0))
    }

    fn make_ready(&mut self) -> io::Result<()> {
        if self.is_ready {
            return Ok(());
        }
        let made = DirBuilder::new().mode(0o700).create(&self.directory);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error);
            }
            Ok(()) | Err(_) => {}
        }
        let about = fs::symlink_metadata(&self.directory)?;
        if !about.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
        }
        if about.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(&self.directory, Permissions::from_mode(0o700))?;
        }
        self.is_ready = true;
        Ok(())
    }
}

fn name(id: &FileId) -> String {
    let mut name = String::with_capacity(2 * id.len() + SUFFIX.len());
    for byte in id {
        name.push(char::from(HEX[usize::from(byte >> 4)]));
        name.push(char::from(HEX[usize::from(byte & 15)]));
    }
    name.push_str(SUFFIX);
    name
}

fn parse(name: &str) -> Option<FileId> {
    let digits = name.strip_suffix(SUFFIX)?.as_bytes();
    let mut id = FileId::default();
    if digits.len() != 2 * id.len() {
        return None;
    }
    let value = |digit| HEX.iter().position(|it| *it == digit);
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok()?;
    }
    Some(id)
}

const HEX: &[u8; 16] = b"0123456789abcdef";
const SUFFIX: &str = ".kept";
const UNFINISHED: &str = ".new";
/// The largest answer that may be kept, and its head.
const LARGEST: u64 = (1 << 30) + (1 << 20);
