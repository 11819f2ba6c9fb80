//! Certificates and keys in files: how they are read, and how a change of them is noticed.
//! Apart because both sides of a connection live on the same kinds of files, and somebody
//! else replaces them.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::error::TlsError;

/// The certificates of a file, at least one.
pub(super) fn certificates(
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unread = |why: String| TlsError::File { path: path.to_owned(), why };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unread(error.to_string()))?;
    if found.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned(), what: "certificate" });
    }
    Ok(found)
}

/// The key of a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| TlsError::File { path: path.to_owned(), why: error.to_string() })
}

/// What tells one state of files from another: device, inode, length and time of each.
/// Links are followed, so a link that leads elsewhere is a change, as Kubernetes makes it.
pub(super) type Stamps = Vec<Option<(u64, u64, u64, i64, i64)>>;

/// The state of those files that there are.
pub(super) fn stamps(files: &[Option<&PathBuf>]) -> Stamps {
    let stamp = |file: &PathBuf| {
        let meta = fs::metadata(file).ok()?;
        Some((meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
    };
    files.iter().flatten().map(|file| stamp(file)).collect()
}

/// Something that was made of files.
pub(super) trait OfFiles: Send + Sync + 'static {
    /// What logs call it by.
    fn called(&self) -> String;

    /// Reads the files again if they have changed: whether what they hold is in force now.
    fn refresh(&self) -> Result<bool, TlsError>;
}

/// Looks at the files every few seconds for as long as this is polled.
pub(super) async fn keep_fresh(made: Arc<impl OfFiles>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let own = Arc::clone(&made);
        let looked = spawn_blocking(move || own.refresh()).await;
        let files = made.called();
        match looked {
            Ok(Ok(true)) => tracing::info!(files, "renewed certificates are in use"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                let error: &dyn Error = &error;
                tracing::error!(
                    files,
                    error,
                    "certificate files changed and are of no use: what was in force stays"
                );
            }
            Err(error) => tracing::error!(%error, "cannot look at certificates"),
        }
    }
}

/// Between two looks at the files: a renewed certificate has days to spare.
const LOOK: Duration = Duration::from_secs(5);
