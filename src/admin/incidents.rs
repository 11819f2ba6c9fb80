//! The failure analyses in the state directory, for reading.
//!
//! Apart from the other looks because these are files: the disk is waited for beside the
//! runtime, and a browser is told to run nothing of what it is shown.

use std::fs;
use std::io;
use std::path::Path;

use tokio::task::spawn_blocking;

use super::reply::{AdminError, Reply, document};
use super::wire::{Incident, Incidents, Listed};
use crate::incident::{File, IncidentError, read};

/// All that are kept, the latest first.
pub(super) async fn list(state_dir: &Path) -> Result<Incidents, AdminError> {
    let shelf = state_dir.join(SHELF);
    aside(move || {
        let mut ids: Vec<String> = match fs::read_dir(&shelf) {
            Ok(entries) => entries
                .take(MOST_ENTRIES)
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .filter(|id| id.starts_with("rb-"))
                .collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(AdminError::Unreadable(error)),
        };
        // An id begins with its time.
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.truncate(MOST_LISTED);
        let listed = ids.into_iter().map(|id| Listed { files: files(&shelf, &id), id });
        Ok(Incidents { incidents: listed.filter(|one| !one.files.is_empty()).collect() })
    })
    .await
}

/// One of them.
pub(super) async fn one(state_dir: &Path, id: &str) -> Result<Incident, AdminError> {
    let (state_dir, id) = (state_dir.to_owned(), id.to_owned());
    aside(move || {
        // Where the facts are, all is: they are written last.
        let bytes = read(&state_dir, &id, File::Json)?;
        let report = serde_json::from_slice(&bytes).map_err(|error| {
            AdminError::Unreadable(io::Error::new(io::ErrorKind::InvalidData, error))
        })?;
        let files = files(&state_dir.join(SHELF), &id);
        Ok(Incident { id, files, report: Some(report) })
    })
    .await
}

/// One file of one of them.
pub(super) async fn file(
    state_dir: &Path,
    id: &str,
    file: File,
) -> Result<Reply, AdminError> {
    let (state_dir, id) = (state_dir.to_owned(), id.to_owned());
    let bytes = aside(move || Ok(read(&state_dir, &id, file)?)).await?;
    Ok(document(file.content_type(), bytes))
}

async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AdminError> + Send + 'static,
) -> Result<T, AdminError> {
    let done = spawn_blocking(work).await;
    done.map_err(|error| AdminError::Unreadable(io::Error::other(error)))?
}

/// The names of the files that are there.
fn files(shelf: &Path, id: &str) -> Vec<String> {
    let there = |file: &File| shelf.join(id).join(file.name()).is_file();
    File::ALL.into_iter().filter(there).map(|file| file.name().to_owned()).collect()
}

impl From<IncidentError> for AdminError {
    fn from(error: IncidentError) -> Self {
        match error {
            IncidentError::Id(_) | IncidentError::Unknown(_) => {
                Self::NoIncident(error.to_string())
            }
            // The path of the state directory is nobody's business.
            IncidentError::Disk { source, .. } => Self::Unreadable(source),
        }
    }
}

/// Where the analyses are, below the state directory.
const SHELF: &str = "incidents";
/// Entries of the directory that are looked at.
const MOST_ENTRIES: usize = 10_000;
const MOST_LISTED: usize = 256;
