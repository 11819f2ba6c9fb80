//! `LineQueue`: lines of the audit log on their way to one store for logs, in batches.
//! Apart from the queue of notices because lines go in order and many at once.

use super::journal::Journal;
use super::retry::{Next, next, pause};
use super::shelf::{Payload, Shelf};
use super::sink::{Shipped, SinkError};
use crate::vocab::time::Timestamp;

/// One store's queue. At most one batch is under way.
#[derive(Debug)]
pub(super) struct LineQueue {
    pub(super) shelf: Shelf,
    /// Nothing is sent before.
    hold: Timestamp,
    /// Batches that failed in a row.
    tries: u32,
    /// So many lines are sent one by one, because one of them was refused among others.
    singly: usize,
}

/// What is to be sent now.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) seqs: Vec<u64>,
    pub(super) lines: Vec<String>,
}

impl LineQueue {
    pub(super) fn new(shelf: Shelf) -> Self {
        Self { shelf, hold: Timestamp::default(), tries: 0, singly: 0 }
    }

    pub(super) fn put(
        &mut self,
        seq: u64,
        line: &str,
        now: Timestamp,
        journal: &mut Journal,
    ) {
        self.shelf.put(seq, Payload::Line(line.to_owned()), now, journal);
    }

    /// The first lines, as many as fit into one batch.
    pub(super) fn batch(&mut self, now: Timestamp) -> Option<Batch> {
        if self.hold > now || self.shelf.waiting().is_empty() {
            return None;
        }
        let most = if self.singly > 0 { 1 } else { LINES };
        let (mut seqs, mut lines, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (seq, item) in self.shelf.waiting().iter().take(most) {
            let Payload::Line(line) = &item.payload else { continue };
            bytes += line.len();
            if bytes > BYTES && !lines.is_empty() {
                break;
            }
            seqs.push(*seq);
            lines.push(line.clone());
        }
        self.shelf.busy.extend(&seqs);
        Some(Batch { seqs, lines })
    }

    /// When the next batch is due.
    pub(super) fn due(&self) -> Option<Timestamp> {
        (!self.shelf.waiting().is_empty()).then_some(self.hold)
    }

    /// The server has looked at the batch. Says how many lines it took.
    pub(super) fn shipped(
        &mut self,
        batch: &Batch,
        shipped: &Shipped,
        now: Timestamp,
        journal: &mut Journal,
    ) -> usize {
        self.end(batch);
        for (place, why) in &shipped.refused {
            if let Some(seq) = batch.seqs.get(*place) {
                self.shelf.bury(*seq, why, now, journal);
            }
        }
        let again = &shipped.again;
        let mut taken = 0;
        for (place, seq) in batch.seqs.iter().enumerate() {
            if !again.contains(&place) && self.shelf.remove(*seq, journal).is_some() {
                taken += 1;
            }
        }
        self.shelf.counts.delivered += taken as u64;
        if again.is_empty() {
            self.tries = 0;
        } else {
            let why = shipped.why.clone().unwrap_or_default();
            self.wait(batch, &SinkError::again(why), now, journal);
        }
        taken
    }

    /// The batch was not taken.
    pub(super) fn failed(
        &mut self,
        batch: &Batch,
        error: &SinkError,
        now: Timestamp,
        journal: &mut Journal,
    ) {
        self.end(batch);
        self.shelf.counts.failed += 1;
        let is_refused = matches!(error, SinkError::Never { .. });
        if is_refused && batch.seqs.len() > 1 {
            // Which of them it was shows when they are sent one by one.
            self.singly = batch.seqs.len();
            return;
        }
        self.wait(batch, error, now, journal);
    }

    fn end(&mut self, batch: &Batch) {
        for seq in &batch.seqs {
            self.shelf.busy.remove(seq);
        }
        self.singly = self.singly.saturating_sub(1);
    }

    /// Gives up what is too old or refused, and holds the rest back for a while.
    fn wait(
        &mut self,
        batch: &Batch,
        error: &SinkError,
        now: Timestamp,
        journal: &mut Journal,
    ) {
        self.tries = self.tries.saturating_add(1);
        let mut hold = None;
        for seq in &batch.seqs {
            let Some(item) = self.shelf.waiting().get(seq) else { continue };
            match next(error, self.tries, item.queued, now) {
                Next::After(pause) => hold = hold.or(Some(pause)),
                Next::Never => self.shelf.bury(*seq, &error.to_string(), now, journal),
            }
        }
        let refused = matches!(error, SinkError::Never { .. });
        let rest = if refused { None } else { Some(pause(self.tries)) };
        if let Some(pause) = hold.or(rest) {
            self.hold = now.after(pause);
        }
    }
}

/// Lines of one batch.
const LINES: usize = 500;
/// Bytes of one batch, unless one line alone is longer.
const BYTES: usize = 1 << 20;
