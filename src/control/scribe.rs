//! The scribe: writes quarantines down and strikes them out, one deed after the other.
//!
//! A task of its own, because a disk may take as long as it likes and the control loop may
//! not wait for it; one task, so that a release can never be overtaken by the quarantine it
//! ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::execute::Happened;
use super::handle::{Answer, Deed};
use crate::clock;
use crate::rollout::Event;
use crate::store::{Store, StoreError};
use crate::telemetry::{emit, logs};
use crate::vocab::ids::Name;
use crate::vocab::record::QuarantineEntry;

/// Where quarantines are kept. Calls block.
pub(super) trait Shelf: Send + Sync + 'static {
    /// Keeps one.
    fn keep(&self, entry: &QuarantineEntry) -> Result<(), StoreError>;
    /// Forgets those of a version.
    fn forget(&self, route: &Name, version: &Name) -> Result<(), StoreError>;
}

impl Shelf for Store {
    fn keep(&self, entry: &QuarantineEntry) -> Result<(), StoreError> {
        self.quarantine(entry)
    }

    fn forget(&self, route: &Name, version: &Name) -> Result<(), StoreError> {
        // Whether there was one is for the quarantine in memory to say.
        self.release(route, version).map(drop)
    }
}

/// Something to be written.
#[derive(Debug)]
pub(super) enum Note {
    /// Keep this quarantine; answered only when that fails.
    Keep(QuarantineEntry),
    /// Strike the version out, and say so with [`Happened::Released`].
    Forget(Release),
}

/// An operator lets a version go.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) route: Name,
    pub(super) version: Name,
    pub(super) by: Deed,
    pub(super) answer: Answer<()>,
}

/// Notes that wait for the scribe. As many as there can be versions; more are refused.
pub(super) const NOTES: usize = 1_024;

/// Writes until nobody gives notes any more and all are written or given up.
pub(super) async fn write(
    shelf: Arc<dyn Shelf>,
    mut notes: mpsc::Receiver<Note>,
    events: mpsc::Sender<Happened>,
) {
    let mut scribe = Scribe { shelf, events, unkept: Vec::new() };
    loop {
        let next = scribe.unkept.iter().map(|unkept| unkept.due).min();
        let due = async {
            match next {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            note = notes.recv() => match note {
                Some(Note::Keep(entry)) => scribe.keep(Unkept::new(entry)).await,
                Some(Note::Forget(release)) => scribe.forget(release).await,
                None => return,
            },
            () = due => scribe.again().await,
        }
    }
}

struct Scribe {
    shelf: Arc<dyn Shelf>,
    events: mpsc::Sender<Happened>,
    /// At most one for each version and build that ever was in quarantine.
    unkept: Vec<Unkept>,
}

/// A quarantine that is not on disk yet.
struct Unkept {
    entry: QuarantineEntry,
    tries: u32,
    due: Instant,
}

impl Unkept {
    fn new(entry: QuarantineEntry) -> Self {
        Self { entry, tries: 0, due: clock::now() }
    }

    fn pause(&self) -> Duration {
        LONGEST.min(SHORTEST.saturating_mul(1_u32 << self.tries.min(16)))
    }
}

impl Scribe {
    async fn keep(&mut self, mut unkept: Unkept) {
        let entry = unkept.entry.clone();
        let done = self.blocking(move |shelf| shelf.keep(&entry)).await;
        let entry = &unkept.entry;
        let what = format!("the quarantine of {} on {}", entry.version, entry.route);
        let Err(why) = done else {
            if unkept.tries > 0 {
                emit::persist_recovered(&what, unkept.tries);
            }
            return;
        };
        let pause = unkept.pause();
        unkept.tries += 1;
        emit::persist_failed(&what, unkept.tries, pause, &why);
        if unkept.tries == 1 {
            let id = entry.rollback_id.clone();
            self.tell(Happened::Rollback { id, event: Event::QuarantineFailed { why } })
                .await;
        }
        if unkept.tries < MOST_TRIES {
            unkept.due = clock::now() + pause;
            self.unkept.push(unkept);
        }
    }

    async fn again(&mut self) {
        let now = clock::now();
        if let Some(at) = self.unkept.iter().position(|unkept| unkept.due <= now) {
            let unkept = self.unkept.swap_remove(at);
            self.keep(unkept).await;
        }
    }

    async fn forget(&mut self, release: Release) {
        let (route, version) = (release.route.clone(), release.version.clone());
        let done = self.blocking(move |shelf| shelf.forget(&route, &version)).await;
        if done.is_ok() {
            self.unkept.retain(|unkept| {
                let entry = &unkept.entry;
                entry.route != release.route || entry.version != release.version
            });
        }
        self.tell(Happened::Released { release, done }).await;
    }

    async fn blocking(
        &self,
        deed: impl FnOnce(&dyn Shelf) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), String> {
        let shelf = Arc::clone(&self.shelf);
        match tokio::task::spawn_blocking(move || deed(&*shelf)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(logs::chain(&error)),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn tell(&self, happened: Happened) {
        if self.events.send(happened).await.is_err() {
            tracing::debug!(
                "nobody hears what the scribe did: the control loop has ended"
            );
        }
    }
}

/// The first pause after a failure; each is twice as long as the one before.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// About a week at the longest pause; a disk that is ill for so long will not keep it.
const MOST_TRIES: u32 = 10_000;
