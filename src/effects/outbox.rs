//! `Outbox`: the door through which notices and lines of the audit log leave. Apart from
//! the desk behind it because whoever offers something never waits for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::FuturesUnordered;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::desk::{Desk, Waiter, Writer};
use super::disk::{Disk, DiskError, Opened};
use super::journal::{Journal, Kind, RowKey};
use super::queue::{Outlet, Queue, Way};
use super::settings::{Filter, Settings};
use super::sinks::outlets;
use super::text::bounded;
use super::view::{OutboxView, SinkView};
use crate::clock;
use crate::tasks;
use crate::telemetry::{SinkFacts, emit};
use crate::tls::TlsError;
use crate::vocab::notice::{Delivery, Notice};
use crate::vocab::time::Timestamp;

/// Takes notices and lines of the audit log, and has them delivered. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbox {
    messages: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

/// What becomes of what was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfDead {
    /// It is tried again, in its old order.
    Retry,
    /// It is forgotten.
    Drop,
}

/// Why there is no outbox.
#[derive(Debug, Error)]
pub enum OutboxError {
    /// The store cannot be opened. A damaged one is no reason: it is moved aside.
    #[error("cannot open the outbox")]
    Disk(#[from] DiskError),
    /// A sink's certificates cannot be used.
    #[error("the sink {sink} cannot use TLS")]
    Tls {
        /// Its name.
        sink: String,
        /// Why.
        source: Box<TlsError>,
    },
}

/// A notice was taken in but is not on disk: a restart would forget it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the notice is in memory and not on disk: {0}")]
pub struct NotDurable(pub(super) String);

#[derive(Debug)]
pub(super) enum Message {
    Offer(Box<Notice>, Option<Waiter>),
    Ship(String),
    Dead(Option<String>, OfDead, oneshot::Sender<usize>),
    Close(oneshot::Sender<()>),
}

/// What the door and the desk both look at.
#[derive(Debug)]
pub(super) struct Shared {
    view: Mutex<OutboxView>,
    /// Of each sink, which notices it wants (`None`: it takes lines), and how often
    /// something for it was turned away at the door.
    doors: Mutex<Vec<(Option<Filter>, u64)>>,
    /// Bytes of lines between door and desk.
    bytes: AtomicUsize,
}

impl Outbox {
    /// Opens the store in `dir`, which blocks, and starts to deliver what an earlier run
    /// left. Needs a runtime. What was delivered comes out of the receiver; somebody has to
    /// read it.
    ///
    /// # Errors
    /// [`OutboxError`] when the store cannot be opened or written, or a sink's certificates
    /// are of no use.
    pub fn start(
        settings: &Settings,
        dir: &Path,
    ) -> Result<(Self, mpsc::Receiver<Delivery>), OutboxError> {
        Self::begin(outlets(settings)?, dir)
    }

    pub(super) fn begin(
        outlets: Vec<Outlet>,
        dir: &Path,
    ) -> Result<(Self, mpsc::Receiver<Delivery>), OutboxError> {
        let Opened { disk, rows, damage } = Disk::open(dir)?;
        if let Some(damage) = &damage {
            emit::outbox_moved_aside(dir, damage);
        }
        let filter = |outlet: &Outlet| match &outlet.way {
            Way::Notices(filter, _) => Some(filter.clone()),
            Way::Lines(_) => None,
        };
        let doors = outlets.iter().map(|outlet| (filter(outlet), 0)).collect();
        let mut queues: Vec<Queue> = outlets.into_iter().map(Queue::new).collect();
        let (mut seen, mut journal) = (BTreeMap::new(), Journal::default());
        restore(rows, &mut queues, &mut seen, &mut journal);
        let sinks = queues.iter().map(Queue::view).collect();
        let shared = Arc::new(Shared {
            view: Mutex::new(OutboxView { sinks, ..OutboxView::default() }),
            doors: Mutex::new(doors),
            bytes: AtomicUsize::new(0),
        });
        let (messages, inbox) = mpsc::channel(DOOR);
        let (deliveries, told) = mpsc::channel(TOLD);
        let desk = Desk {
            dir: dir.to_owned(),
            next_seq: queues.iter().map(Queue::last_seq).max().unwrap_or(0),
            queues,
            seen,
            journal,
            writer: Writer::Idle(disk),
            deliveries,
            shared: Arc::clone(&shared),
            waiting: Vec::new(),
            under_way: FuturesUnordered::new(),
            pushed_out: 0,
        };
        drop(tasks::shared("outbox", desk.run(inbox)));
        Ok((Self { messages, shared }, told))
    }

    /// Has a notice delivered to every sink that wants it. Never waits; one whose key came
    /// before is not delivered again. When too many come at once it is lost, and counted.
    pub fn offer(&self, notice: Notice) {
        let message = Message::Offer(Box::new(bounded(notice)), None);
        if let Err(unsent) = self.messages.try_send(message)
            && let Message::Offer(notice, _) = unsent.into_inner()
        {
            self.shared.lost(Some(&notice));
        }
    }

    /// The same; the future ends when the notice is on disk. It waits when too many come at
    /// once, and loses nothing.
    ///
    /// # Errors
    /// [`NotDurable`] when the disk fails or the outbox has closed.
    pub fn offered_durably(
        &self,
        notice: Notice,
    ) -> impl Future<Output = Result<(), NotDurable>> + Send + use<> {
        let messages = self.messages.clone();
        async move {
            let (done, written) = oneshot::channel();
            let message = Message::Offer(Box::new(bounded(notice)), Some(done));
            let closed = || NotDurable("the outbox has closed".to_owned());
            messages.send(message).await.map_err(|_| closed())?;
            written.await.map_err(|_| closed())?
        }
    }

    /// Has a record of the audit log, one line without its end, sent to every store for
    /// logs. Never waits; when too many come at once, or when the line is longer than
    /// 256 KiB, it is not sent, and counted.
    pub fn ship(&self, line: &str) {
        if self.shared.doors().iter().all(|(filter, _)| filter.is_some()) {
            return;
        }
        let bytes = line.len();
        if bytes > LINE || !self.shared.has_room(bytes) {
            return self.shared.lost(None);
        }
        if self.messages.try_send(Message::Ship(line.to_owned())).is_err() {
            self.shared.has_left(bytes);
            self.shared.lost(None);
        }
    }

    /// Gives what was given up another try, or forgets it, of one sink or of all; says how
    /// much that was.
    pub async fn settle_dead(&self, sink: Option<&str>, how: OfDead) -> usize {
        let (answer, count) = oneshot::channel();
        let message = Message::Dead(sink.map(str::to_owned), how, answer);
        if self.messages.send(message).await.is_err() {
            return 0;
        }
        count.await.unwrap_or(0)
    }

    /// How everything stands.
    #[must_use]
    pub fn view(&self) -> OutboxView {
        let mut view = self.shared.view().clone();
        for (sink, (_, lost)) in view.sinks.iter_mut().zip(self.shared.doors().iter()) {
            sink.lost = *lost;
        }
        view
    }

    /// The numbers for the metrics page.
    #[must_use]
    pub fn facts(&self) -> Vec<SinkFacts> {
        let of = |sink: SinkView| SinkFacts {
            name: sink.name,
            delivered: sink.delivered,
            failed: sink.failed,
            given_up: sink.given_up,
            lost: sink.lost,
            waiting: sink.waiting as u64,
            dead: sink.dead as u64,
        };
        self.view().sinks.into_iter().map(of).collect()
    }

    /// Takes nothing more, tries for three seconds to deliver what is due, and returns when
    /// the rest is on disk for the next run.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.messages.send(Message::Close(done)).await.is_ok() {
            // An error says that it has closed already.
            let _closed = closed.await;
        }
    }
}

/// Puts back the rows of an earlier run. What is of a sink that is gone, or cannot be read,
/// is removed and said.
fn restore(
    rows: Vec<(RowKey, Vec<u8>)>,
    queues: &mut [Queue],
    seen: &mut BTreeMap<String, Timestamp>,
    journal: &mut Journal,
) {
    let now = clock::wall();
    let mut removed: BTreeMap<String, usize> = BTreeMap::new();
    for ((kind, sink, id), value) in rows {
        let queue = queues.iter_mut().find(|queue| queue.name == sink);
        let restored = match (kind, queue) {
            // A clock that was ahead must not make a key live for ever.
            (Kind::Seen, _) => serde_json::from_slice(&value).ok().map(|at| {
                seen.insert(id.clone(), now.min(at));
            }),
            (_, Some(queue)) => queue.restore(kind, &id, &value),
            (_, None) => None,
        };
        if restored.is_none() {
            journal.remove(kind, &sink, id);
            *removed.entry(sink).or_default() += 1;
        }
    }
    for (sink, count) in removed {
        emit::outbox_rows_removed(&sink, count);
    }
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, OutboxView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doors(&self) -> MutexGuard<'_, Vec<(Option<Filter>, u64)>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a notice, or a line, that was turned away.
    fn lost(&self, notice: Option<&Notice>) {
        let mut doors = self.doors();
        let before: u64 = doors.iter().map(|(_, lost)| lost).sum();
        for (filter, lost) in doors.iter_mut() {
            *lost += u64::from(match (notice, filter) {
                (Some(notice), Some(filter)) => filter.accepts(notice),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            });
        }
        drop(doors);
        // Said for the first and then rarely: there may be thousands.
        if before.is_power_of_two() || before == 0 {
            emit::outbox_door_full(before + 1);
        }
    }

    /// Makes room for the bytes of a line, if there is any.
    fn has_room(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= LINES;
        if !fits {
            self.has_left(bytes);
        }
        fits
    }

    pub(super) fn has_left(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Shows how the sinks stand.
    pub(super) fn show(&self, sinks: Vec<SinkView>, is_writing: bool) {
        let mut view = self.view();
        (view.sinks, view.is_writing) = (sinks, is_writing);
    }

    /// Notes why nothing can be written, if so; says whether that was so before.
    pub(super) fn on_disk(&self, why: Option<&str>) -> bool {
        let mut view = self.view();
        let now = why.map(str::to_owned);
        std::mem::replace(&mut view.not_on_disk, now).is_some()
    }
}

/// Messages between door and desk.
const DOOR: usize = 1_024;
/// Deliveries that nobody has read yet.
const TOLD: usize = 1_024;
/// Bytes of one line.
const LINE: usize = 256 << 10;
/// Bytes of lines between door and desk.
const LINES: usize = 16 << 20;
