//! The `Auditor`: the handle of everybody who has something to record, and the task behind
//! it.
//!
//! Apart from the keeper, which blocks: here nobody waits for a disk who does not want to.
//! While one batch is being synced the next one gathers, so that many entries share a sync.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, oneshot, watch};

use super::chain::{Hash, Head};
use super::disk::{Disk, Folder, RealDisk};
use super::error::{AuditError, WriteError};
use super::inbox::{Inbox, Job, Urgency};
use super::keeper::{BALLAST_BYTES, Keeper, State, lock};
use super::log::Tee;
use super::opening::{Found, Torn, find};
use super::read::recent;
use super::record::Draft;
use crate::clock;
use crate::tasks;
use crate::telemetry::Audited;
use crate::vocab::notice::Entry;
use crate::vocab::time::Timestamp;

/// Where the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its directory, `stateDir/audit`; made where it is missing.
    pub dir: PathBuf,
    /// Bytes of a file at which the next begins.
    pub max_file: u64,
}

/// A log that was opened and that nobody writes yet.
#[derive(Debug)]
pub struct Unstarted {
    keeper: Keeper<RealDisk>,
}

/// What was found when the log was opened.
#[derive(Debug)]
pub struct Opened {
    /// The last record.
    pub head: Head,
    /// What was cut off and kept aside, because it was never acknowledged. The log says so.
    pub torn: Vec<Torn>,
    /// What is not as it was written, one sentence each: `verify` says more. The log says
    /// so, and goes on in a new file.
    pub damage: Vec<String>,
    folder: Folder,
    /// The last file and where it ended.
    place: (u64, u64),
}

/// The way to the log. Clones are cheap and lead to the same one; it ends when the last is
/// gone.
#[derive(Clone, Debug)]
pub struct Auditor {
    door: Arc<Door>,
}

/// An entry that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The number of the record.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// What becomes of an entry. It is written whether this is awaited or dropped.
#[derive(Debug)]
#[must_use = "an ordinary entry may be refused"]
pub struct Written(Became);

#[derive(Debug)]
enum Became {
    Refused(WriteError),
    Waits(oneshot::Receiver<Result<Head, WriteError>>),
}

/// Why the log cannot be written as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: Timestamp,
    /// Why, in one sentence.
    pub why: String,
}

/// Ends the task when the last handle is gone.
#[derive(Debug)]
struct Door(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inbox: Mutex<Inbox>,
    bell: Notify,
    state: Arc<Mutex<State>>,
    ended: watch::Receiver<bool>,
}

impl Settings {
    /// The log below a state directory, in files of 64 MiB.
    #[must_use]
    pub fn below(state_dir: &Path) -> Self {
        Self { dir: state_dir.join("audit"), max_file: 64 << 20 }
    }
}

/// Opens a log, makes an end of what a power loss left of it, and checks its last file.
/// Blocks on the disk; needs no runtime.
///
/// # Errors
/// [`AuditError`] when the directory cannot be made, another process writes to it, or it
/// cannot be read or written. A damaged log is no error, see [`Opened::damage`].
pub fn open(settings: &Settings) -> Result<(Unstarted, Opened), AuditError> {
    let path = settings.dir.clone();
    let disk = RealDisk::open(&path)?;
    let found = find(disk, settings.max_file, clock::wall());
    let (log, found) = found.map_err(|source| unopened(&path, source))?;
    let keeper = Keeper::new(log, path.clone(), BALLAST_BYTES, &found);
    let head = lock(&keeper.state()).head;
    let Found { torn, damage } = found;
    let place = keeper.place();
    let opened = Opened { head, torn, damage, folder: Folder(path), place };
    Ok((Unstarted { keeper }, opened))
}

impl Unstarted {
    /// Starts the task that writes. Needs a runtime. Every record is also given to `ship`
    /// as its line, once it is on the disk; `ship` must not block.
    #[must_use]
    pub fn start(mut self, ship: impl Fn(&str) + Send + Sync + 'static) -> Auditor {
        self.keeper.tee(Tee(Box::new(ship)));
        start(self.keeper)
    }
}

impl Opened {
    /// The last records whose kind is wanted, the newest last; lines that cannot be read
    /// are left out. Looks through the last 256 MiB of the log at most, for at most `most`
    /// records. Blocks on the disk.
    ///
    /// # Errors
    /// [`AuditError::Read`] when the disk fails.
    pub fn recent(
        &self,
        most: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Value>, AuditError> {
        recent(&self.folder, self.place, most, wanted)
            .map_err(|source| AuditError::Read { path: self.folder.0.clone(), source })
    }
}

impl Auditor {
    /// Records an entry. Never blocks: the answer says when it is on the disk.
    pub fn write(&self, entry: &Entry, urgency: Urgency) -> Written {
        let draft = match Draft::new(entry) {
            Ok(draft) => draft,
            Err(error) => return Written(Became::Refused(error)),
        };
        let (answer, waits) = oneshot::channel();
        let shared = &self.door.0;
        let pushed = shared.inbox().push(Job { draft, urgency, answer: Some(answer) });
        if let Err(error) = pushed {
            return Written(Became::Refused(error));
        }
        shared.bell.notify_one();
        Written(Became::Waits(waits))
    }

    /// The last record that is on the disk.
    #[must_use]
    pub fn head(&self) -> Head {
        self.door.0.state().head
    }

    /// Why the log cannot be written as it should, while it cannot.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        let trouble = self.door.0.state().trouble.clone();
        trouble.map(|(since, why)| Trouble { since, why })
    }

    /// The figures for a metrics page.
    #[must_use]
    pub fn figures(&self) -> Audited {
        let waiting = self.door.0.inbox().len();
        let state = self.door.0.state();
        Audited {
            written: state.written,
            unwritten: (waiting + state.kept) as u64,
            failures: state.failures,
            head_seq: state.head.seq,
            head_hash: state.head.hash.to_string(),
        }
    }

    /// Takes no more entries and waits until all are written, at most that long. Returns
    /// how many are not.
    pub async fn close(&self, within: Duration) -> u64 {
        let shared = &self.door.0;
        shared.close();
        let mut ended = shared.ended.clone();
        let end = ended.wait_for(|ended| *ended);
        // An error is that the task is gone, which is an end too.
        let _over = tokio::time::timeout(within, end).await;
        self.figures().unwritten
    }
}

impl Future for Written {
    type Output = Result<Receipt, WriteError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waits = match &mut self.0 {
            Became::Refused(error) => return Poll::Ready(Err(error.clone())),
            Became::Waits(waits) => waits,
        };
        let answer = ready!(Pin::new(waits).poll(context));
        let head = answer.unwrap_or(Err(WriteError::Closed))?;
        Poll::Ready(Ok(Receipt { seq: head.seq, hash: head.hash }))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the audit log cannot be written since {}: {}", self.since, self.why)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn close(&self) {
        self.inbox().close();
        self.bell.notify_one();
    }
}

pub(super) fn start<D: Disk>(keeper: Keeper<D>) -> Auditor {
    let (end, ended) = watch::channel(false);
    let shared = Arc::new(Shared {
        inbox: Mutex::default(),
        bell: Notify::new(),
        state: keeper.state(),
        ended,
    });
    let task = Arc::clone(&shared);
    tasks::shared("audit", async move {
        write(&task, keeper).await;
        // Nobody will be told of what is left, should the task have failed.
        task.inbox().close();
        while !task.inbox().take().is_empty() {}
        end.send_replace(true);
    });
    Auditor { door: Arc::new(Door(shared)) }
}

/// Writes until the log is closed and everything is written.
async fn write<D: Disk>(shared: &Shared, mut keeper: Keeper<D>) {
    loop {
        let waits = shared.inbox().len() > 0;
        if !waits {
            if shared.inbox().is_over() && !keeper.keeps() {
                return;
            }
            let again = async {
                match keeper.is_troubled() {
                    true => tokio::time::sleep(AGAIN).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shared.bell.notified() => {}
                () = again => {}
            }
        }
        let jobs = shared.inbox().take();
        let due = keeper.is_troubled() || !jobs.is_empty();
        if !due {
            continue;
        }
        let done = tokio::task::spawn_blocking(move || {
            keeper.act(jobs);
            keeper
        });
        match done.await {
            Ok(back) => keeper = back,
            Err(error) => {
                tracing::error!(%error, "the audit log has ended");
                lock(&shared.state).trouble = Some((clock::wall(), error.to_string()));
                return;
            }
        }
    }
}

fn unopened(path: &Path, source: io::Error) -> AuditError {
    AuditError::Write { path: path.to_owned(), source }
}

/// How long until a disk that failed is asked again.
const AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "auditor_tests.rs"]
mod tests;
