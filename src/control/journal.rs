//! The audit log and the notices as the loop sees them: `Clerk` takes what is to be written
//! and told, and keeps the order in which that must happen. An order is carried out when it
//! is in the log, and not at all when it cannot be written there; a rollback is told to
//! people when it is in the log, or when the log has had its time.
//!
//! Apart from the loop because it waits for the disk, which the loop never does.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use serde_json::Value;
use tokio::sync::mpsc;

use super::execute::Happened;
use super::handle::Order;
use crate::effects::OfDead;
use crate::telemetry::{Exporter, emit};
use crate::vocab::notice::{Entry, Notice};

/// Where facts go for good.
pub(super) trait Journal: Send + Sync + 'static {
    /// Writes one down; ready when it is on disk.
    fn write(&self, entry: Entry, weight: Weight) -> BoxFuture<'static, Done>;

    /// The hash of the last record.
    fn head(&self) -> String;

    /// Why nothing can be written at the moment, if nothing can.
    fn trouble(&self) -> Option<String>;

    /// A notice for people and their tools; returns at once.
    fn tell(&self, notice: Notice);

    /// What waits to be delivered, and to whom.
    fn notices(&self) -> Value;

    /// Has what was given up tried again or forgotten, of one sink or of all; how much.
    fn settle_dead(&self, sink: Option<String>, how: OfDead)
    -> BoxFuture<'static, usize>;

    /// Gives the figures for the metrics page.
    fn figures(&self, exporter: &Exporter);

    /// Takes nothing more; what is to be written and told gets a moment.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Why something is not on disk.
pub(super) type Done = Result<(), String>;

/// How much hangs on an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// An order that is not carried out when it cannot be written.
    Order,
    /// A rollback that an operator orders: written even when the disk is all but full.
    Rollback,
    /// Something that has happened already: kept in memory until it can be written.
    Fact,
}

/// Takes what is to be written and told. Cheap to clone.
#[derive(Clone)]
pub(super) struct Clerk {
    journal: Arc<dyn Journal>,
    memos: mpsc::Sender<Memo>,
}

/// Something that is being written, and what follows.
enum Memo {
    Order { writing: BoxFuture<'static, Done>, order: Box<Order> },
    Fact { writing: BoxFuture<'static, Done>, what: &'static str, then: Then },
}

/// What follows when a fact is on disk.
#[derive(Default)]
pub(super) struct Then {
    /// Who is told.
    pub(super) notices: Vec<Notice>,
    /// What the loop is told.
    pub(super) happened: Option<Happened>,
}

impl Clerk {
    /// A clerk, and the work that has to be run beside the loop.
    pub(super) fn new(
        journal: Arc<dyn Journal>,
        events: mpsc::Sender<Happened>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (memos, inbox) = mpsc::channel(MEMOS);
        let work = work(Arc::clone(&journal), inbox, events);
        (Self { journal, memos }, work)
    }

    /// The journal itself.
    pub(super) fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// Writes an order down; it comes back as [`Happened::Recorded`]. Orders come back in
    /// the order in which they were given. Gives it back at once when too many wait.
    pub(super) fn order(
        &self,
        entry: Entry,
        weight: Weight,
        order: Order,
    ) -> Result<(), Order> {
        let Ok(place) = self.memos.try_reserve() else { return Err(order) };
        let writing = self.journal.write(entry, weight);
        place.send(Memo::Order { writing, order: Box::new(order) });
        Ok(())
    }

    /// Writes down what has happened, then does what follows.
    pub(super) fn fact(&self, entry: Entry, then: Then) {
        let what = entry.kind;
        let writing = self.journal.write(entry, Weight::Fact);
        let memo = Memo::Fact { writing, what, then };
        if self.memos.try_send(memo).is_err() {
            emit::persist_failed(what, 1, Duration::ZERO, "too much waits to be told");
        }
    }
}

async fn work(
    journal: Arc<dyn Journal>,
    mut inbox: mpsc::Receiver<Memo>,
    events: mpsc::Sender<Happened>,
) {
    let mut orders = FuturesOrdered::new();
    let mut facts: FuturesUnordered<Pin<Box<dyn Future<Output = Then> + Send>>> =
        FuturesUnordered::new();
    let mut open = true;
    while open || !orders.is_empty() || !facts.is_empty() {
        let room = orders.len() + facts.len() < MEMOS;
        tokio::select! {
            memo = inbox.recv(), if open && room => match memo {
                Some(Memo::Order { writing, order }) => {
                    orders.push_back(async move { (order, writing.await) });
                }
                Some(Memo::Fact { writing, what, then }) => {
                    facts.push(Box::pin(settle(writing, what, then)));
                }
                None => open = false,
            },
            Some((order, done)) = orders.next() => {
                // When nobody takes it, the control loop has ended: the order is not
                // carried out, and whoever gave it hears that.
                let _gone = events.send(Happened::Recorded { order, done }).await;
            }
            Some(then) = facts.next() => {
                for mut notice in then.notices {
                    notice.audit_head = journal.head();
                    journal.tell(notice);
                }
                if let Some(happened) = then.happened {
                    let _gone = events.send(happened).await;
                }
            }
        }
    }
}

/// Waits until the fact is on disk, but not for ever: people must hear of a rollback though
/// the disk is full. It stays in the log's memory meanwhile.
async fn settle(
    writing: BoxFuture<'static, Done>,
    what: &'static str,
    then: Then,
) -> Then {
    match tokio::time::timeout(PATIENCE, writing).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => emit::persist_failed(what, 1, Duration::ZERO, &why),
        Err(_) => {
            let why = format!("not on disk after {PATIENCE:?}; told before it is");
            emit::persist_failed(what, 1, Duration::ZERO, &why);
        }
    }
    then
}

/// What may wait for the disk at a time; the loop takes no more than 256 orders.
const MEMOS: usize = 1_024;
/// A sync takes milliseconds, a hundred where the disk is busy.
const PATIENCE: Duration = Duration::from_secs(2);
