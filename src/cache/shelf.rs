//! The answers of one route: a map bounded in bytes from which the answer that was stored
//! longest ago goes first. Apart, so that the arithmetic of bytes is in one small place;
//! what the sum says is never above the bound, not even for a moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::entry::Entry;
use super::policy::Why;
use crate::vocab::ids::Slot;
use crate::vocab::policy::CachePolicy;

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
    shards: Box<[Mutex<Shard>]>,
}

impl Shelf {
    pub(super) fn new(size: Size) -> Self {
        // A shard must hold several of the largest entries, or one would push out all.
        let shards = (size.all / size.each.max(1) / 8).clamp(1, SHARDS);
        Self { size, shards: (0..shards).map(|_| Mutex::default()).collect() }
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

#[derive(Default)]
struct Shard {
    entries: HashMap<Spot, Held>,
    /// Every spot under the turn at which it was last put, the longest ago first.
    order: BTreeMap<u64, Spot>,
    turns: u64,
    bytes: usize,
}

struct Held {
    entry: Arc<Entry>,
    weight: usize,
    turn: u64,
}

impl Shard {
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

/// How many expired entries one store clears away, so that none pays for all.
const EXPIRED_AT_ONCE: usize = 16;

#[cfg(test)]
#[path = "tests/shelf.rs"]
mod tests;
