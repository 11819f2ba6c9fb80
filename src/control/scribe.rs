//! The scribe: writes quarantines, protects and rollouts down and strikes them out, one deed after the
//! other.
//!
//! A task of its own, because a disk may take as long as it likes and the control loop may
//! not wait for it; one task, so that a release can never be overtaken by the quarantine it
//! ends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::execute::Happened;
use super::handle::{Answer, Deed, OrderError};
use super::status::RolloutView;
use crate::clock;
use crate::rollout::Event;
use crate::store::{Store, StoreError};
use crate::telemetry::{emit, logs};
use crate::vocab::ids::Name;
use crate::vocab::record::{ActingEntry, ProtectEntry, QuarantineEntry};

/// Where quarantines and protects are kept. Calls block.
pub(super) trait Shelf: Send + Sync + 'static {
    /// Keeps a quarantine.
    fn keep(&self, entry: &QuarantineEntry) -> Result<(), StoreError>;
    /// Forgets the quarantines of a version.
    fn forget(&self, route: &Name, version: &Name) -> Result<(), StoreError>;
    /// Keeps a protect.
    fn protect(&self, entry: &ProtectEntry) -> Result<(), StoreError>;
    /// Keeps who acts as stable on a route.
    fn act(&self, entry: &ActingEntry) -> Result<(), StoreError>;
    /// Forgets who acts as stable on a route.
    fn unact(&self, route: &Name) -> Result<(), StoreError>;
    /// Forgets the protect of a version.
    fn unprotect(&self, route: &Name, version: &Name) -> Result<(), StoreError>;
    /// Keeps where the rollouts of a route stand.
    fn roll(&self, route: &Name, row: &Value) -> Result<(), StoreError>;
    /// Forgets the rollouts of a route.
    fn unroll(&self, route: &Name) -> Result<(), StoreError>;
}

impl Shelf for Store {
    fn keep(&self, entry: &QuarantineEntry) -> Result<(), StoreError> {
        self.quarantine(entry)
    }

    fn forget(&self, route: &Name, version: &Name) -> Result<(), StoreError> {
        // Whether there was one is for the quarantine in memory to say.
        self.release(route, version).map(drop)
    }

    fn protect(&self, entry: &ProtectEntry) -> Result<(), StoreError> {
        Self::protect(self, entry)
    }

    fn act(&self, entry: &ActingEntry) -> Result<(), StoreError> {
        Self::act(self, entry)
    }

    fn unact(&self, route: &Name) -> Result<(), StoreError> {
        Self::unact(self, route)
    }

    fn unprotect(&self, route: &Name, version: &Name) -> Result<(), StoreError> {
        Self::unprotect(self, route, version).map(drop)
    }

    fn roll(&self, route: &Name, row: &Value) -> Result<(), StoreError> {
        self.rollout(route, row)
    }

    fn unroll(&self, route: &Name) -> Result<(), StoreError> {
        self.forget_rollout(route).map(drop)
    }
}

/// Something to be written.
#[derive(Debug)]
pub(super) enum Note {
    /// Keep this quarantine; answered only when that fails.
    Keep(QuarantineEntry),
    /// Strike the version out, and say so with [`Happened::Released`].
    Forget(Release),
    /// Keep this protect.
    Protect(ProtectEntry),
    /// Keep who acts as stable.
    Act(ActingEntry),
    /// The version with the role is stable again on this route.
    Unact(Name),
    /// Keep where the rollouts of a route stand.
    Roll {
        /// The route.
        route: Name,
        /// Where they stand.
        row: Value,
        /// Who waits for it to be on disk.
        told: Option<Kept>,
    },
    /// The route has no rollouts any more.
    Unroll(Name),
    /// The protect of this version has ended.
    Unprotect {
        /// The route.
        route: Name,
        /// The version.
        version: Name,
    },
}

/// An operator who is answered when it is on disk.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) answer: Answer<RolloutView>,
    pub(super) view: Box<RolloutView>,
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
                Some(note) => scribe.take(note).await,
                None => return,
            },
            () = due => scribe.again().await,
        }
    }
}

struct Scribe {
    shelf: Arc<dyn Shelf>,
    events: mpsc::Sender<Happened>,
    /// At most one of each kind for each version and build that ever was in quarantine or
    /// under protect.
    unkept: Vec<Unkept>,
}

/// What is to be on disk, or off it.
#[derive(Clone)]
enum Entry {
    Quarantine(QuarantineEntry),
    Protect(ProtectEntry),
    Unprotect { route: Name, version: Name },
    Act(ActingEntry),
    Unact(Name),
    Roll(Name, Value),
    Unroll(Name),
}

impl Entry {
    fn write(&self, shelf: &dyn Shelf) -> Result<(), StoreError> {
        match self {
            Self::Quarantine(entry) => shelf.keep(entry),
            Self::Protect(entry) => shelf.protect(entry),
            Self::Unprotect { route, version } => shelf.unprotect(route, version),
            Self::Act(entry) => shelf.act(entry),
            Self::Unact(route) => shelf.unact(route),
            Self::Roll(route, row) => shelf.roll(route, row),
            Self::Unroll(route) => shelf.unroll(route),
        }
    }

    fn is_of(&self, of: &Name, which: &Name) -> bool {
        let (route, version) = match self {
            Self::Quarantine(entry) => (&entry.route, &entry.version),
            Self::Protect(entry) => (&entry.record.route, &entry.record.version),
            Self::Unprotect { route, version } => (route, version),
            Self::Act(_) | Self::Unact(_) | Self::Roll(..) | Self::Unroll(_) => {
                return false;
            }
        };
        route == of && version == which
    }

    /// The route, where it is about who acts as stable.
    fn acts_on(&self) -> Option<&Name> {
        match self {
            Self::Act(entry) => Some(&entry.route),
            Self::Unact(route) => Some(route),
            Self::Quarantine(_)
            | Self::Protect(_)
            | Self::Unprotect { .. }
            | Self::Roll(..)
            | Self::Unroll(_) => None,
        }
    }

    /// The route, where it is about its rollouts.
    fn rolls_on(&self) -> Option<&Name> {
        match self {
            Self::Roll(route, _) | Self::Unroll(route) => Some(route),
            Self::Quarantine(_)
            | Self::Protect(_)
            | Self::Unprotect { .. }
            | Self::Act(_)
            | Self::Unact(_) => None,
        }
    }

    /// Whether it is about the quarantine of a version, or about its protect.
    fn is_quarantine(&self) -> bool {
        matches!(self, Self::Quarantine(_))
    }

    /// Whether this one makes an older one pointless.
    fn overtakes(&self, older: &Self) -> bool {
        match self {
            Self::Quarantine(_) => false,
            Self::Act(_) | Self::Unact(_) => older.acts_on() == self.acts_on(),
            Self::Roll(..) | Self::Unroll(_) => older.rolls_on() == self.rolls_on(),
            Self::Protect(ProtectEntry { record, .. }) => {
                !older.is_quarantine() && older.is_of(&record.route, &record.version)
            }
            Self::Unprotect { route, version } => {
                !older.is_quarantine() && older.is_of(route, version)
            }
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quarantine(QuarantineEntry { route, version, .. }) => {
                write!(f, "the quarantine of {version} on {route}")
            }
            Self::Protect(ProtectEntry { record, .. }) => {
                write!(f, "the protect of {} on {}", record.version, record.route)
            }
            Self::Act(ActingEntry { route, version, .. }) => {
                write!(f, "that {version} acts as stable on {route}")
            }
            Self::Unact(route) => write!(f, "who acts as stable on {route}"),
            Self::Roll(route, _) | Self::Unroll(route) => {
                write!(f, "the rollout of {route}")
            }
            Self::Unprotect { route, version } => {
                write!(f, "the end of the protect of {version} on {route}")
            }
        }
    }
}

/// Something that is not on disk yet.
struct Unkept {
    entry: Entry,
    tries: u32,
    due: Instant,
}

impl Unkept {
    fn pause(&self) -> Duration {
        LONGEST.min(SHORTEST.saturating_mul(1_u32 << self.tries.min(16)))
    }
}

impl Scribe {
    async fn take(&mut self, note: Note) {
        let entry = match note {
            Note::Keep(entry) => Entry::Quarantine(entry),
            Note::Forget(release) => return self.forget(release).await,
            Note::Protect(entry) => Entry::Protect(entry),
            Note::Act(entry) => Entry::Act(entry),
            Note::Unact(route) => Entry::Unact(route),
            Note::Unprotect { route, version } => Entry::Unprotect { route, version },
            Note::Roll { route, row, told } => {
                let done = self.put(Entry::Roll(route, row)).await;
                if let Some(Kept { answer, view }) = told {
                    // Whoever no longer waits for the answer gets none.
                    let _gone = answer.send(match done {
                        Ok(()) => Ok(*view),
                        Err(why) => Err(OrderError::Refused(format!(
                            "it is done, but not on disk yet, so that a restart may \
                             forget it: {why}"
                        ))),
                    });
                }
                return;
            }
            Note::Unroll(route) => Entry::Unroll(route),
        };
        // What could not be written was said, and is tried again.
        let _unkept = self.put(entry).await;
    }

    async fn put(&mut self, entry: Entry) -> Result<(), String> {
        self.unkept.retain(|unkept| !entry.overtakes(&unkept.entry));
        self.keep(Unkept { entry, tries: 0, due: clock::now() }).await
    }

    /// Writes it now, or says why not and tries again later.
    async fn keep(&mut self, mut unkept: Unkept) -> Result<(), String> {
        let entry = unkept.entry.clone();
        let done = self.blocking(move |shelf| entry.write(shelf)).await;
        let what = unkept.entry.to_string();
        let Err(why) = done else {
            if unkept.tries > 0 {
                emit::persist_recovered(&what, unkept.tries);
            }
            return Ok(());
        };
        let pause = unkept.pause();
        unkept.tries += 1;
        emit::persist_failed(&what, unkept.tries, pause, &why);
        if let (Entry::Quarantine(entry), 1) = (&unkept.entry, unkept.tries) {
            let (id, why) = (entry.rollback_id.clone(), why.clone());
            self.tell(Happened::Rollback { id, event: Event::QuarantineFailed { why } })
                .await;
        }
        if unkept.tries < MOST_TRIES {
            unkept.due = clock::now() + pause;
            self.unkept.push(unkept);
        }
        Err(why)
    }

    async fn again(&mut self) {
        let now = clock::now();
        if let Some(at) = self.unkept.iter().position(|unkept| unkept.due <= now) {
            let unkept = self.unkept.swap_remove(at);
            let _unkept = self.keep(unkept).await;
        }
    }

    async fn forget(&mut self, release: Release) {
        let (route, version) = (release.route.clone(), release.version.clone());
        let done = self.blocking(move |shelf| shelf.forget(&route, &version)).await;
        if done.is_ok() {
            self.unkept.retain(|unkept| {
                let entry = &unkept.entry;
                !entry.is_quarantine() || !entry.is_of(&release.route, &release.version)
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
