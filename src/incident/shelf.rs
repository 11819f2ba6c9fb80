//! `incidents/<rollback_id>/` below the state directory: written whole, read back, and kept
//! to a number.
//!
//! Apart from what is in the files. Every call blocks on the disk, so that callers on a
//! runtime put it aside. Writers wait for one another, and what is older than what stands
//! there already changes nothing: whoever writes the beginning and the end of a rollback
//! need not see to their order. Readers may come at any time and see each file whole, in its
//! old or its new state.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use super::facts::Facts;
use super::render::{BYTES_MAX, render};
use crate::vocab::time::Timestamp;

/// One of the files of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// All facts.
    Json,
    /// For people.
    Markdown,
    /// The plot that the report shows.
    Svg,
}

/// Why an incident cannot be written or read.
#[derive(Debug, Error)]
pub enum IncidentError {
    /// What should be an id is none.
    #[error(
        "{0:?} is not the id of a rollback: it is written like rb-01a2108ed530-29b6704b"
    )]
    Id(String),
    /// There is no such incident, or it has been removed to make room.
    #[error("there is no failure analysis of {0}")]
    Unknown(String),
    /// The disk does not do what it is asked.
    #[error("cannot {doing} {path}")]
    Disk {
        /// What was to be done.
        doing: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl File {
    /// All of them, in the order in which they are written: where the last one is, all are.
    pub const ALL: [Self; 3] = [Self::Svg, Self::Markdown, Self::Json];

    /// Its name in the incident's directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "report.json",
            Self::Markdown => "report.md",
            Self::Svg => "latency.svg",
        }
    }

    /// The file of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.name() == name)
    }

    /// What it is, as `content-type` says it.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::Svg => "image/svg+xml",
        }
    }
}

/// Writes the analysis of a rollback below the state directory, in place of the one that
/// the rollback had before unless that is of later, and returns the incident's directory.
/// Afterwards the oldest
/// incidents beyond 200 are removed, none younger than a day unless there are more
/// than 1,000.
///
/// # Errors
/// [`IncidentError::Id`] when the record's id is none, [`IncidentError::Disk`] when the disk
/// refuses; what stood there before still stands then.
pub fn write(state_dir: &Path, facts: &Facts) -> Result<PathBuf, IncidentError> {
    let id = &facts.record.rollback_id;
    let shelf = state_dir.join(SHELF);
    let dir = shelf.join(checked(id)?);
    // It guards no value that a panic could have left half done.
    let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    make(&shelf, state_dir)?;
    make(&dir, &shelf)?;
    if standing(state_dir, id).is_some_and(|at| at > facts.at) {
        return Ok(dir);
    }
    let rendered = render(facts);
    for file in File::ALL {
        let text = match file {
            File::Json => &rendered.json,
            File::Markdown => &rendered.markdown,
            File::Svg => &rendered.svg,
        };
        replace(&dir, file.name(), text.as_bytes())?;
    }
    sync(&dir)?;
    make_room(&shelf, id, facts.at)?;
    Ok(dir)
}

/// When the analysis was made that stands there, if a whole one does.
fn standing(state_dir: &Path, id: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Reported {
        reported: Timestamp,
    }
    let bytes = read(state_dir, id, File::Json).ok()?;
    serde_json::from_slice(&bytes).ok().map(|report: Reported| report.reported)
}

/// Reads one file of an incident.
///
/// # Errors
/// [`IncidentError::Id`] when `id` is none, [`IncidentError::Unknown`] when there is no such
/// incident, [`IncidentError::Disk`] when it cannot be read.
pub fn read(state_dir: &Path, id: &str, file: File) -> Result<Vec<u8>, IncidentError> {
    let path = state_dir.join(SHELF).join(checked(id)?).join(file.name());
    let opened = match fs::File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(IncidentError::Unknown(id.to_owned()));
        }
        opened => opened.map_err(|error| disk("open", &path, error))?,
    };
    let mut bytes = Vec::new();
    let most = BYTES_MAX as u64;
    let whole = opened.take(most).read_to_end(&mut bytes);
    whole.map_err(|error| disk("read", &path, error))?;
    Ok(bytes)
}

/// The id, if it is one: it becomes the name of a directory.
fn checked(id: &str) -> Result<&str, IncidentError> {
    let plain = |rest: &str| {
        (1..=60).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if id.strip_prefix(PREFIX).is_some_and(plain) {
        Ok(id)
    } else {
        Err(IncidentError::Id(id.chars().take(80).collect()))
    }
}

/// Makes a directory in another, for its owner only, unless it is there.
fn make(dir: &Path, parent: &Path) -> Result<(), IncidentError> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => sync(parent),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(dir);
            let found = found.map_err(|error| disk("look at", dir, error))?;
            let other = || io::Error::from(io::ErrorKind::NotADirectory);
            if found.is_dir() { Ok(()) } else { Err(disk("write below", dir, other())) }
        }
        Err(error) => Err(disk("make", dir, error)),
    }
}

/// Puts a file in the place of the one of that name, whole or not at all.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), IncidentError> {
    let (path, next) = (dir.join(name), dir.join(format!(".{name}.next")));
    let written = fresh(&next).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&next, &path)
    });
    written.map_err(|error| {
        // What is half there only takes room; the error is about the file itself.
        fs::remove_file(&next).unwrap_or_default();
        disk("write", &path, error)
    })
}

/// A new file for its owner only. One that a crash left behind is removed, not followed.
fn fresh(path: &Path) -> io::Result<fs::File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn sync(dir: &Path) -> Result<(), IncidentError> {
    let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| disk("sync", dir, error))
}

/// Removes the oldest incidents, as far as there are too many. `own` stays, and so does
/// whatever is not named as the rollbacks of this program are.
fn make_room(shelf: &Path, own: &str, now: Timestamp) -> Result<(), IncidentError> {
    let listed = fs::read_dir(shelf).map_err(|error| disk("list", shelf, error))?;
    let mut begun: Vec<(u64, String)> = Vec::new();
    for entry in listed {
        let entry = entry.map_err(|error| disk("list", shelf, error))?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if let Some(at) = begin_of(&name) {
            begun.push((at, name));
        }
    }
    begun.sort_unstable();
    let mut left = begun.len();
    for (at, name) in begun {
        let is_young = now.since(Timestamp(at)) < YOUNG;
        if left <= KEPT || (is_young && left <= MOST) {
            break;
        }
        if name != own {
            let dir = shelf.join(name);
            fs::remove_dir_all(&dir).map_err(|error| disk("remove", &dir, error))?;
            left -= 1;
        }
    }
    Ok(())
}

/// When the rollback of that id began, in milliseconds since 1970: its first number.
fn begin_of(id: &str) -> Option<u64> {
    let (at, unique) = id.strip_prefix(PREFIX)?.split_once('-')?;
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    let ours = at.len() == 12 && unique.len() == 8 && hex(at) && hex(unique);
    if ours { u64::from_str_radix(at, 16).ok() } else { None }
}

fn disk(doing: &'static str, path: &Path, source: io::Error) -> IncidentError {
    IncidentError::Disk { doing, path: path.to_owned(), source }
}

/// One write at a time, in the whole process.
static WRITING: Mutex<()> = Mutex::new(());
const SHELF: &str = "incidents";
const PREFIX: &str = "rb-";
/// Incidents that are kept: a year of one every other day.
pub(super) const KEPT: usize = 200;
/// Incidents so young are kept beyond that number, so that a bad night stays whole.
pub(super) const YOUNG: Duration = Duration::from_secs(24 * 3600);
/// Never more than so many: a gigabyte at the very worst.
pub(super) const MOST: usize = 1000;

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;
