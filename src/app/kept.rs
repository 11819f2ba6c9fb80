//! The thread that copies kept answers to disk. Apart from the runtimes, because it waits
//! for a disk and for nothing else.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use crate::cache::{Cache, Disk, Source};
use crate::route::{RouteTable, Standing};
use crate::telemetry::KeptCounts;
use crate::vocab::ids::Name;

/// A running copy.
#[derive(Debug)]
pub(super) struct KeptThread {
    cache: Arc<Cache>,
    ended: mpsc::Receiver<()>,
}

impl KeptThread {
    /// Reads answers of an earlier run back, by the versions that the first table does not
    /// hold in quarantine, and copies new ones from then on. Waits for the reading, but not
    /// for long: what is not back by then follows while requests are taken.
    pub(super) fn start(
        cache: &Arc<Cache>,
        state_dir: &Path,
        table: &RouteTable,
        counts: &Arc<KeptCounts>,
    ) -> anyhow::Result<Self> {
        let mut disk = Disk::attach(cache, &state_dir.join(DIRECTORY), counts)
            .context("cannot copy kept answers to disk")?;
        let sources = sources(table);
        let (read, reading) = mpsc::sync_channel(1);
        let (end, ended) = mpsc::sync_channel(1);
        let _thread = thread::Builder::new()
            .name("kept answers".to_owned())
            .spawn(move || {
                let back = disk.restore(&sources);
                if back > 0 {
                    tracing::info!(back, "answers kept by an earlier run are back");
                }
                let _nobody_waits = read.send(());
                disk.run();
                let _nobody_waits = end.send(());
            })
            .context("cannot start the thread for kept answers")?;
        let _late = reading.recv_timeout(READING);
        Ok(Self { cache: Arc::clone(cache), ended })
    }

    /// Has what waits written, within bounds: a disk that hangs does not hold up the end.
    pub(super) fn stop(self) {
        self.cache.close();
        if self.ended.recv_timeout(WRITING) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("kept answers were not all written: the disk is too slow");
        }
    }
}

fn sources(table: &RouteTable) -> Vec<(Name, Source)> {
    let mut sources = Vec::new();
    for route in table.routes() {
        for version in route.versions() {
            if version.standing != Standing::Quarantined {
                let source = Source {
                    name: version.name.clone(),
                    digest: version.digest.clone(),
                    slot: version.slot,
                };
                sources.push((route.name.clone(), source));
            }
        }
    }
    sources
}

/// In the state directory.
const DIRECTORY: &str = "cache";
/// How long a start waits for answers of an earlier run.
const READING: Duration = Duration::from_secs(2);
/// How long the end waits for what is not written yet.
const WRITING: Duration = Duration::from_secs(2);
