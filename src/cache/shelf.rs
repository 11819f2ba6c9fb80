//! The answers of one route: a map bounded in bytes from which the answer that was stored
//! longest ago goes first. Apart, so that the arithmetic of bytes is in one small place;
//! what the sum says is never above the bound, not even for a moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::entry::Entry;
use super::policy::Why;
use crate::vocab::ids::Slot;
use crate::vocab::policy::CachePolicy;
use crate::vocab::time::Timestamp;

/// Where an answer lies: what was asked, and which version's books it is on. Versions do
/// not displace each other's answers, so that what stable said outlives a canary's purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    pub(super) digest: [u8; 32],
    pub(super) slot: Slot,
}

/// How much a route may keep, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) all: usize,
    pub(super) each: usize,
}

impl From<&CachePolicy> for Size {
    fn from(policy: &CachePolicy) -> Self {
        Self { all: policy.max_size, each: policy.max_entry }
    }
}

/// The answers of one route.
pub(super) struct Shelf {
    size: Size,
    /// How long at most its answers are served, where they have a copy on disk.
    persist: Option<Duration>,
    shards: Box<[Mutex<Shard>]>,
    /// When a target was changed last, in milliseconds, by its digest. Targets that share a
    /// place are forgotten together.
    touched: Box<[AtomicU64]>,
}

impl Shelf {
    pub(super) fn new(size: Size) -> Self {
        // A shard must hold several of the largest entries, or one would push out all.
        let shards = (size.all / size.each.max(1) / 8).clamp(1, SHARDS);
        Self {
            size,
            persist: None,
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            touched: (0..TARGETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Has its answers copied to disk, or not, for the time that they may be served.
    pub(super) fn persist(&mut self, ttl: Option<Duration>) {
        self.persist = ttl;
    }

    /// For how long answers are served, if they have a copy on disk.
    pub(super) fn persisted(&self) -> Option<Duration> {
        self.persist
    }

    /// Answers about this target that were stored until now are not served any more.
    pub(super) fn touch(&self, target: u64, now: Timestamp) {
        self.place(target).fetch_max(now.0, Ordering::AcqRel);
    }

    /// Whether the target was changed after an answer about it was stored.
    pub(super) fn is_touched(&self, target: u64, stored: Timestamp) -> bool {
        self.place(target).load(Ordering::Acquire) > stored.0
    }

    fn place(&self, target: u64) -> &AtomicU64 {
        &self.touched[usize::try_from(target % TARGETS as u64).unwrap_or_default()]
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    pub(super) fn get(&self, spot: &Spot) -> Option<Arc<Entry>> {
        self.shard(spot).entries.get(spot).map(|held| Arc::clone(&held.entry))
    }

    /// Puts `entry` in the place of what lay at `spot`, if it `may` still be: that is asked
    /// under the lock that [`Shelf::retain`] takes as well, so that whoever changes the
    /// answer to it before calling that finds nothing afterwards.
    pub(super) fn put(
        &self,
        spot: Spot,
        entry: Arc<Entry>,
        may: impl FnOnce() -> bool,
    ) -> Result<(), Why> {
        let bound = self.size.all / self.shards.len();
        let weight = entry.weight();
        let limit = bound.min(self.size.each);
        if weight > limit {
            return Err(Why::TooLarge { limit });
        }
        let mut shard = self.shard(&spot);
        if !may() {
            return Err(Why::Purged);
        }
        let gone = shard.put(spot, entry, weight, bound);
        drop(shard);
        // Outside the lock: large buffers go back to the system here.
        drop(gone);
        Ok(())
    }

    /// Puts an entry of an earlier run back, if it `may` be, where there is room that no
    /// later one has; those are to be put back first that were stored last.
    pub(super) fn restore(
        &self,
        spot: Spot,
        entry: Arc<Entry>,
        may: impl FnOnce() -> bool,
    ) -> Result<(), Why> {
        let bound = self.size.all / self.shards.len();
        let weight = entry.weight();
        let limit = bound.min(self.size.each);
        let mut shard = self.shard(&spot);
        if weight > limit || shard.bytes + weight > bound {
            return Err(Why::TooLarge { limit });
        }
        if !may() {
            return Err(Why::Purged);
        }
        shard.restore(spot, entry, weight);
        Ok(())
    }

    /// Takes out every entry that is not to be kept and says how many.
    pub(super) fn retain(&self, keep: impl Fn(&Entry) -> bool) -> usize {
        let shards = self.shards.iter();
        shards
            .map(|shard| {
                let gone = lock(shard).retain(&keep);
                gone.len()
            })
            .sum()
    }

    /// A shelf of another size with as much of this one's entries as it has room for, the
    /// newest first.
    pub(super) fn resized(&self, size: Size) -> Self {
        let other = Self::new(size);
        for (new, old) in other.touched.iter().zip(&self.touched) {
            new.store(old.load(Ordering::Acquire), Ordering::Release);
        }
        let mut all: Vec<(Spot, Arc<Entry>)> = Vec::with_capacity(self.len());
        for shard in &self.shards {
            let shard = lock(shard);
            all.extend(
                shard.entries.iter().map(|(spot, held)| (*spot, Arc::clone(&held.entry))),
            );
        }
        all.sort_by_key(|(_, entry)| entry.stored);
        for (spot, entry) in all {
            // One that is too large for the new size is left behind.
            drop(other.put(spot, entry, || true));
        }
        other
    }

    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).bytes).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).entries.len()).sum()
    }

    fn shard(&self, spot: &Spot) -> MutexGuard<'_, Shard> {
        let [.., a, b] = spot.digest;
        let number = usize::from(u16::from_le_bytes([a, b]));
        lock(&self.shards[number % self.shards.len()])
    }
}

/// No code that may panic runs between the two halves of a change, so what a poisoned lock
/// guards is whole.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Shard {
    entries: HashMap<Spot, Held>,
    /// Every spot under the turn at which it was last put, the longest ago first.
    order: BTreeMap<u64, Spot>,
    /// The last turn.
    turns: u64,
    /// The first turn of those that were put back, which are older the lower it is.
    before: u64,
    bytes: usize,
}

struct Held {
    entry: Arc<Entry>,
    weight: usize,
    turn: u64,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            turns: FIRST_TURN,
            before: FIRST_TURN,
            bytes: 0,
        }
    }
}

impl Shard {
    /// Puts an entry before all others, unless the spot is taken.
    fn restore(&mut self, spot: Spot, entry: Arc<Entry>, weight: usize) {
        if self.entries.contains_key(&spot) {
            return;
        }
        let turn = self.before;
        self.before = turn.saturating_sub(1);
        self.bytes += weight;
        self.order.insert(turn, spot);
        self.entries.insert(spot, Held { entry, weight, turn });
    }

    /// Makes room first and puts then; returns what had to go.
    fn put(
        &mut self,
        spot: Spot,
        entry: Arc<Entry>,
        weight: usize,
        bound: usize,
    ) -> Vec<Arc<Entry>> {
        let mut gone: Vec<Arc<Entry>> = self.take(&spot).into_iter().collect();
        let now = entry.stored;
        while let Some(oldest) = self.oldest() {
            let over = gone.len() < EXPIRED_AT_ONCE
                && self
                    .entries
                    .get(&oldest)
                    .is_some_and(|h| h.entry.is_over(now, Duration::MAX));
            if !over && self.bytes + weight <= bound {
                break;
            }
            gone.extend(self.take(&oldest));
        }
        self.turns += 1;
        self.bytes += weight;
        self.order.insert(self.turns, spot);
        self.entries.insert(spot, Held { entry, weight, turn: self.turns });
        gone
    }

    fn oldest(&self) -> Option<Spot> {
        self.order.first_key_value().map(|(_, spot)| *spot)
    }

    fn take(&mut self, spot: &Spot) -> Option<Arc<Entry>> {
        let held = self.entries.remove(spot)?;
        self.order.remove(&held.turn);
        self.bytes -= held.weight;
        Some(held.entry)
    }

    fn retain(&mut self, keep: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        let going: Vec<Spot> = self
            .entries
            .iter()
            .filter(|(_, held)| !keep(&held.entry))
            .map(|(spot, _)| *spot)
            .collect();
        let gone = going.iter().filter_map(|spot| self.take(spot)).collect();
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to_fit();
        }
        gone
    }
}

/// More than the workers of most machines, so that two seldom meet at one lock.
const SHARDS: usize = 16;

/// Targets whose changes are told apart.
const TARGETS: usize = 1_024;

/// Far from both ends of the numbers.
const FIRST_TURN: u64 = 1 << 62;

/// How many expired entries one store clears away, so that none pays for all.
const EXPIRED_AT_ONCE: usize = 16;

#[cfg(test)]
#[path = "tests/shelf.rs"]
mod tests;
