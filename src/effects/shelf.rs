//! `Shelf`: what waits for one sink and what was given up, both bounded. Apart from the
//! queues because notices and lines are kept alike.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::journal::{Journal, Kind, id_of};
use crate::vocab::notice::{Notice, Severity};
use crate::vocab::time::Timestamp;

/// What is delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Payload {
    Notice(Box<Notice>),
    Line(String),
}

/// Something that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) payload: Payload,
    pub(super) queued: Timestamp,
    /// Failed tries of this run.
    #[serde(skip)]
    pub(super) tries: u32,
    /// Not tried before.
    #[serde(skip)]
    pub(super) due: Timestamp,
    /// Bytes on disk, about.
    #[serde(skip)]
    size: usize,
}

/// Something that was given up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Dead {
    pub(super) payload: Payload,
    pub(super) queued: Timestamp,
    pub(super) died: Timestamp,
    pub(super) why: String,
    #[serde(skip)]
    size: usize,
}

/// How much may wait for one sink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) count: usize,
    pub(super) bytes: usize,
    pub(super) dead_count: usize,
    pub(super) dead_bytes: usize,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) delivered: u64,
    pub(super) failed: u64,
    pub(super) given_up: u64,
    pub(super) pushed_out: u64,
}

/// What one sink is owed.
#[derive(Debug)]
pub(super) struct Shelf {
    sink: String,
    bounds: Bounds,
    waiting: BTreeMap<u64, Item>,
    bytes: usize,
    dead: BTreeMap<u64, Dead>,
    dead_bytes: usize,
    /// Numbers that are being delivered; these are not pushed out.
    pub(super) busy: BTreeSet<u64>,
    pub(super) counts: Counts,
}

impl Shelf {
    pub(super) fn new(sink: &str, bounds: Bounds) -> Self {
        Self {
            sink: sink.to_owned(),
            bounds,
            waiting: BTreeMap::new(),
            bytes: 0,
            dead: BTreeMap::new(),
            dead_bytes: 0,
            busy: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn sink(&self) -> &str {
        &self.sink
    }

    pub(super) fn waiting(&self) -> &BTreeMap<u64, Item> {
        &self.waiting
    }

    pub(super) fn dead(&self) -> &BTreeMap<u64, Dead> {
        &self.dead
    }

    /// Puts something at the end. When that is too much, the oldest of the lowest severity
    /// is given up.
    pub(super) fn put(
        &mut self,
        seq: u64,
        payload: Payload,
        now: Timestamp,
        journal: &mut Journal,
    ) {
        let size = payload.size();
        let item = Item { payload, queued: now, tries: 0, due: now, size };
        journal.put(Kind::Waiting, &self.sink, id_of(seq), &item);
        self.insert(seq, item);
        while self.waiting.len() > self.bounds.count || self.bytes > self.bounds.bytes {
            let idle = self.waiting.iter().filter(|(seq, _)| !self.busy.contains(seq));
            let lowest = idle.min_by_key(|(seq, item)| (item.payload.severity(), **seq));
            let Some((&seq, _)) = lowest else { return };
            self.counts.pushed_out += 1;
            self.bury(seq, "the queue was full", now, journal);
        }
    }

    /// Puts back what was there before a restart.
    pub(super) fn restore(&mut self, seq: u64, mut item: Item) {
        item.size = item.payload.size();
        self.insert(seq, item);
    }

    /// Puts back what was given up before a restart.
    pub(super) fn restore_dead(&mut self, seq: u64, mut dead: Dead) {
        dead.size = dead.payload.size();
        self.dead_bytes += dead.size;
        self.dead.insert(seq, dead);
    }

    fn insert(&mut self, seq: u64, item: Item) {
        self.bytes += item.size;
        if let Some(old) = self.waiting.insert(seq, item) {
            self.bytes -= old.size;
        }
    }

    /// Sets when something is tried again.
    pub(super) fn delay(&mut self, seq: u64, due: Timestamp) {
        if let Some(item) = self.waiting.get_mut(&seq) {
            item.due = due;
            item.tries = item.tries.saturating_add(1);
        }
    }

    /// Takes something away, because it was delivered.
    pub(super) fn remove(&mut self, seq: u64, journal: &mut Journal) -> Option<Item> {
        let item = self.waiting.remove(&seq)?;
        self.bytes -= item.size;
        journal.remove(Kind::Waiting, &self.sink, id_of(seq));
        Some(item)
    }

    /// Gives something up.
    pub(super) fn bury(
        &mut self,
        seq: u64,
        why: &str,
        now: Timestamp,
        journal: &mut Journal,
    ) {
        let Some(item) = self.remove(seq, journal) else { return };
        self.counts.given_up += 1;
        let Item { payload, queued, size, .. } = item;
        let dead = Dead { payload, queued, died: now, why: why.to_owned(), size };
        journal.put(Kind::Dead, &self.sink, id_of(seq), &dead);
        self.restore_dead(seq, dead);
        let Bounds { dead_count, dead_bytes, .. } = self.bounds;
        while self.dead.len() > dead_count || self.dead_bytes > dead_bytes {
            let Some((seq, oldest)) = self.dead.pop_first() else { return };
            self.dead_bytes -= oldest.size;
            journal.remove(Kind::Dead, &self.sink, id_of(seq));
        }
    }

    /// Gives everything that was given up another try, in its old order; says how much.
    pub(super) fn revive(&mut self, now: Timestamp, journal: &mut Journal) -> usize {
        let dead = std::mem::take(&mut self.dead);
        self.dead_bytes = 0;
        let count = dead.len();
        for (seq, dead) in dead {
            journal.remove(Kind::Dead, &self.sink, id_of(seq));
            self.put(seq, dead.payload, now, journal);
        }
        count
    }

    /// Forgets everything that was given up; says how much.
    pub(super) fn forget_dead(&mut self, journal: &mut Journal) -> usize {
        let dead = std::mem::take(&mut self.dead);
        self.dead_bytes = 0;
        for seq in dead.keys() {
            journal.remove(Kind::Dead, &self.sink, id_of(*seq));
        }
        dead.len()
    }

    /// Writes all of it.
    pub(super) fn write(&self, journal: &mut Journal) {
        for (seq, item) in &self.waiting {
            journal.put(Kind::Waiting, &self.sink, id_of(*seq), item);
        }
        for (seq, dead) in &self.dead {
            journal.put(Kind::Dead, &self.sink, id_of(*seq), dead);
        }
    }
}

impl Payload {
    fn severity(&self) -> Severity {
        match self {
            Self::Notice(notice) => notice.severity,
            Self::Line(_) => Severity::Info,
        }
    }

    fn size(&self) -> usize {
        let more = match self {
            Self::Notice(_) => serde_json::to_vec(self).map_or(0, |bytes| bytes.len()),
            Self::Line(line) => line.len(),
        };
        more + OVERHEAD
    }
}

/// Bytes of a row beside its content, about.
const OVERHEAD: usize = 128;
