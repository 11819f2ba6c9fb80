//! `Desk`: the task that takes notices in, writes down what changed, and has everything
//! delivered. Apart from the handle because it alone changes the queues.
//!
//! A round of it takes whatever has come, gives it to the queues, and has the changes of
//! all of it written together. Only then is somebody told that his notice is on disk, and
//! only then does it leave, unless the disk takes longer than a notice can wait.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::disk::Disk;
use super::journal::{Journal, Kind};
use super::outbox::{Message, NotDurable, Shared};
use super::queue::{Outcome, Queue, Work};
use super::sink::{BoxFuture, SinkError};
use crate::clock;
use crate::tasks;
use crate::telemetry::emit;
use crate::vocab::notice::{Delivery, Notice};
use crate::vocab::time::Timestamp;

/// The whole outbox but for the door.
pub(super) struct Desk {
    pub(super) dir: PathBuf,
    pub(super) queues: Vec<Queue>,
    pub(super) seen: BTreeMap<String, Timestamp>,
    pub(super) next_seq: u64,
    pub(super) journal: Journal,
    pub(super) writer: Writer,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    pub(super) shared: Arc<Shared>,
    /// Those who wait for what is in the journal.
    pub(super) waiting: Vec<Waiter>,
    /// What came of deliveries that are under way.
    pub(super) under_way: FuturesUnordered<BoxFuture<'static, (usize, Work, Outcome)>>,
    pub(super) pushed_out: u64,
}

/// Somebody who waits until something is on disk.
pub(super) type Waiter = oneshot::Sender<Result<(), NotDurable>>;

/// The way to the disk.
#[derive(Debug)]
pub(super) enum Writer {
    /// Nothing is being written.
    Idle(Disk),
    /// Something is, since then, for those.
    Busy { written: oneshot::Receiver<Written>, since: Instant, waiting: Vec<Waiter> },
    /// The last write failed; all of it is written anew at that moment.
    Broken { why: String, again: Instant },
}

/// What came of a write.
pub(super) type Written = Result<Disk, String>;

/// What a round begins with.
enum Event {
    Messages,
    Ended(usize, Work, Outcome),
    Written(Written),
    Due,
}

impl Desk {
    /// Works until it is told to close or everybody who could offer something is gone.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut batch = Vec::new();
        let mut closing: Option<(oneshot::Sender<()>, Instant)> = None;
        loop {
            self.write();
            self.start();
            self.tell();
            if let Some((_, until)) = &closing
                && (self.is_done() || clock::now() >= *until)
            {
                break;
            }
            let until = closing.as_ref().map(|(_, until)| *until);
            match self.event(&mut inbox, &mut batch, until).await {
                Event::Messages if batch.is_empty() => break,
                Event::Messages => {
                    let done = self.take_all(batch.drain(..));
                    closing = done.map(|done| (done, clock::now() + LEAVING));
                    if closing.is_some() {
                        inbox.close();
                        let rest = std::iter::from_fn(|| inbox.try_recv().ok());
                        // Whoever closes it a second time is not waited for.
                        drop(self.take_all(rest));
                    }
                }
                Event::Ended(at, work, outcome) => self.ended(at, &work, outcome),
                Event::Written(written) => self.written(written),
                Event::Due => {}
            }
        }
        self.finish().await;
        if let Some((done, _)) = closing {
            let _gone = done.send(());
        }
    }

    async fn event(
        &mut self,
        inbox: &mut mpsc::Receiver<Message>,
        batch: &mut Vec<Message>,
        closing: Option<Instant>,
    ) -> Event {
        let due = self.due().into_iter().chain(closing).min();
        let sleeping = OptionFuture::from(due.map(sleep_until));
        let writing = match &mut self.writer {
            Writer::Busy { written, .. } => Some(written),
            Writer::Idle(_) | Writer::Broken { .. } => None,
        };
        tokio::select! {
            Some(written) = OptionFuture::from(writing) => {
                let panicked = |_| Err("the write was given up".to_owned());
                Event::Written(written.unwrap_or_else(panicked))
            }
            Some((at, work, outcome)) = self.under_way.next() => {
                Event::Ended(at, work, outcome)
            }
            _ = inbox.recv_many(batch, ROUND), if closing.is_none() => Event::Messages,
            Some(()) = sleeping => Event::Due,
            else => Event::Messages,
        }
    }

    /// When something is to be done without anything happening.
    fn due(&self) -> Option<Instant> {
        let now = clock::now();
        let held = self.held_until();
        let queues = self.queues.iter().filter_map(Queue::due).min();
        let queues = queues.map(|due| {
            let due = now + due.since(clock::wall());
            held.map_or(due, |held| due.max(held))
        });
        let disk = match &self.writer {
            Writer::Broken { again, .. } => Some(*again),
            Writer::Idle(_) | Writer::Busy { .. } => None,
        };
        queues.into_iter().chain(disk).min()
    }

    /// Until when deliveries wait for the disk.
    fn held_until(&self) -> Option<Instant> {
        match &self.writer {
            Writer::Busy { since, .. } => Some(*since + GRACE),
            Writer::Idle(_) | Writer::Broken { .. } => None,
        }
    }

    /// Takes messages in; says whether one of them was to close.
    fn take_all(
        &mut self,
        messages: impl Iterator<Item = Message>,
    ) -> Option<oneshot::Sender<()>> {
        messages.filter_map(|message| self.take(message)).last()
    }

    fn take(&mut self, message: Message) -> Option<oneshot::Sender<()>> {
        let now = clock::wall();
        match message {
            Message::Offer(notice, waiter) => {
                self.offer(&notice, now);
                self.waiting.extend(waiter);
            }
            Message::Ship(line) => {
                self.shared.has_left(line.len());
                let seq = self.seq();
                for queue in &mut self.queues {
                    queue.ship(seq, &line, now, &mut self.journal);
                }
            }
            Message::Dead(sink, how, answer) => {
                let wanted =
                    |queue: &&mut Queue| sink.as_ref().is_none_or(|s| *s == queue.name);
                let queues = self.queues.iter_mut().filter(wanted);
                let count =
                    queues.map(|it| it.settle_dead(how, now, &mut self.journal)).sum();
                let _gone = answer.send(count);
            }
            Message::Close(done) => return Some(done),
        }
        None
    }

    /// Takes a notice in, unless one with its key came before.
    fn offer(&mut self, notice: &Notice, now: Timestamp) {
        if self.seen.contains_key(&notice.key) {
            return;
        }
        let seq = self.seq();
        let mut is_wanted = false;
        for queue in &mut self.queues {
            is_wanted |= queue.offer(seq, notice, now, &mut self.journal);
        }
        if !is_wanted {
            return;
        }
        self.journal.put(Kind::Seen, "", &notice.key[..], &now);
        self.seen.insert(notice.key.clone(), now);
        while self.seen.len() > SEEN {
            let oldest = self.seen.iter().min_by_key(|(_, at)| **at);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            self.seen.remove(&key);
            self.journal.remove(Kind::Seen, "", key);
        }
    }

    fn seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq
    }

    /// Begins to write what changed, if nothing is being written.
    fn write(&mut self) {
        let now = clock::now();
        let (all, disk) = match &mut self.writer {
            Writer::Busy { .. } => return,
            Writer::Idle(_) if self.journal.is_empty() => {
                for waiter in self.waiting.drain(..) {
                    let _gone = waiter.send(Ok(()));
                }
                return;
            }
            Writer::Broken { why, again } if *again > now => {
                // What changed is in memory, and is written with all the rest later.
                self.journal = Journal::default();
                for waiter in self.waiting.drain(..) {
                    let _gone = waiter.send(Err(NotDurable(why.clone())));
                }
                return;
            }
            Writer::Broken { .. } => (true, None),
            Writer::Idle(_) => (false, Some(())),
        };
        let mut journal = std::mem::take(&mut self.journal);
        if all {
            journal = self.everything();
        }
        let (done, written) = oneshot::channel();
        let waiting = std::mem::take(&mut self.waiting);
        let busy = Writer::Busy { written, since: now, waiting };
        let before = std::mem::replace(&mut self.writer, busy);
        let dir = self.dir.clone();
        let doing = move || {
            let written = match (before, disk) {
                (Writer::Idle(disk), Some(())) => {
                    disk.write(&dir, &journal).map(|()| disk)
                }
                // Whatever the engine is in after a failure, it is opened anew.
                (_, _) => Disk::replace(&dir, &journal),
            };
            let _gone = done.send(written.map_err(|error| chain(&error)));
        };
        drop(tokio::task::spawn_blocking(doing));
    }

    /// Everything that is to be on disk.
    fn everything(&self) -> Journal {
        let mut journal = Journal::default();
        for queue in &self.queues {
            queue.write(&mut journal);
        }
        for (key, at) in &self.seen {
            journal.put(Kind::Seen, "", &key[..], at);
        }
        journal
    }

    fn written(&mut self, written: Written) {
        let broken = Writer::Broken { why: String::new(), again: clock::now() };
        let Writer::Busy { waiting, .. } = std::mem::replace(&mut self.writer, broken)
        else {
            return;
        };
        let why = match written {
            Ok(disk) => {
                if self.shared.on_disk(None) {
                    emit::outbox_recovered();
                }
                self.writer = Writer::Idle(disk);
                for waiter in waiting {
                    let _gone = waiter.send(Ok(()));
                }
                return;
            }
            Err(why) => why,
        };
        if !self.shared.on_disk(Some(&why)) {
            emit::outbox_failing(&why);
        }
        for waiter in waiting {
            let _gone = waiter.send(Err(NotDurable(why.clone())));
        }
        self.writer = Writer::Broken { why, again: clock::now() + REPAIR };
    }

    /// Starts what is due.
    fn start(&mut self) {
        if self.held_until().is_some_and(|held| held > clock::now()) {
            return;
        }
        let now = clock::wall();
        for (at, queue) in self.queues.iter_mut().enumerate() {
            let Some((work, doing)) = queue.work(now) else { continue };
            let (done, outcome) = oneshot::channel();
            // Whoever waits for it is this task, which sees that it is gone.
            drop(tasks::shared("sink", async move {
                let _gone = done.send(doing.await);
            }));
            self.under_way.push(Box::pin(async move {
                let panicked = |_| Outcome::Failed(SinkError::again("the sink panicked"));
                (at, work, outcome.await.unwrap_or_else(panicked))
            }));
        }
    }

    fn ended(&mut self, at: usize, work: &Work, outcome: Outcome) {
        let now = clock::wall();
        let Some(queue) = self.queues.get_mut(at) else { return };
        let told = queue.ended(work, outcome, now, &mut self.journal);
        if let Some(why) = &told.fails {
            emit::sink_failing(&queue.name, why);
        }
        if told.recovers {
            emit::sink_recovered(&queue.name);
        }
        let Some(delivery) = told.delivery else { return };
        emit::notice_delivered(&delivery);
        if self.deliveries.try_send(delivery).is_err() {
            emit::delivery_untold(&queue.name);
        }
    }

    /// Shows how things stand.
    fn tell(&mut self) {
        let pushed_out = self.queues.iter().map(Queue::pushed_out).sum();
        if pushed_out > self.pushed_out {
            emit::outbox_full(pushed_out - self.pushed_out);
            self.pushed_out = pushed_out;
        }
        let sinks = self.queues.iter().map(Queue::view).collect();
        self.shared.show(sinks, self.is_writing());
    }

    /// Whether nothing is left that could be done at once.
    fn is_done(&self) -> bool {
        let now = clock::wall();
        let due = self.queues.iter().filter_map(Queue::due).any(|due| due <= now);
        !due && !self.is_writing() && self.under_way.is_empty()
    }

    /// Whether something is not on disk yet.
    fn is_writing(&self) -> bool {
        matches!(self.writer, Writer::Busy { .. }) || !self.journal.is_empty()
    }

    /// Waits for the last write.
    async fn finish(mut self) {
        for _ in 0..2 {
            self.write();
            if let Writer::Busy { written, .. } = &mut self.writer {
                let written = written.await;
                let panicked = |_| Err("the write was given up".to_owned());
                self.written(written.unwrap_or_else(panicked));
            }
        }
        self.write();
    }
}

/// An error with everything that led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

/// Messages of one round.
const ROUND: usize = 256;
/// A disk that takes longer does not hold deliveries up.
const GRACE: Duration = Duration::from_secs(1);
/// Between two tries to write all of it to a disk that failed.
const REPAIR: Duration = Duration::from_secs(5);
/// How long what is due may take when the outbox closes.
const LEAVING: Duration = Duration::from_secs(3);
/// Keys that are remembered.
const SEEN: usize = 10_000;
