//! Copies an answer while it streams to its caller, and gives up when it grows too large.
//! Apart, because it runs between a version and a caller: it never waits, never fails the
//! answer, and what all copies take together is bounded.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::entry::Entry;
use super::policy::Why;
use super::shelf::Spot;
use super::store::Cache;
use crate::vocab::ids::Name;

/// The copy of one answer under way. Dropped before [`Tee::finish`], nothing is kept.
pub struct Tee {
    cache: Arc<Cache>,
    route: Name,
    spot: Spot,
    mark: u64,
    entry: Entry,
    copy: Result<Copying, Why>,
}

impl Tee {
    /// A copy of the answer that `entry` is the head of, still without a body.
    pub(super) fn new(
        cache: Arc<Cache>,
        (route, spot, mark): (Name, Spot, u64),
        entry: Entry,
        (length, limit): (Option<usize>, usize),
    ) -> Result<Self, Why> {
        let head = entry.weight();
        if head + length.unwrap_or(0) > limit {
            return Err(Why::TooLarge { limit });
        }
        let allowance = Arc::clone(cache.allowance());
        let copy =
            Copying { buffer: Vec::new(), allowance, held: 0, length, head, limit };
        Ok(Self { cache, route, spot, mark, entry, copy: Ok(copy) })
    }

    /// Takes in the next chunk of the body. Where the copy cannot go on it is given up, and
    /// its memory with it.
    pub fn push(&mut self, chunk: &[u8]) {
        if let Ok(copy) = &mut self.copy
            && let Err(why) = copy.push(chunk)
        {
            self.copy = Err(why);
        }
    }

    /// Whether the copy has not been given up.
    #[must_use]
    pub fn is_copying(&self) -> bool {
        self.copy.is_ok()
    }

    /// Puts the answer away. To be called when the body has ended as its framing says it
    /// should, without trailers, and the attempt counts as a success; in every other case
    /// drop the copy.
    ///
    /// # Errors
    /// [`Why`] it was not kept.
    pub fn finish(self) -> Result<(), Why> {
        let Self { cache, route, spot, mark, mut entry, copy } = self;
        entry.body = copy?.finish()?;
        cache.put(&route, spot, mark, entry)
    }
}

impl fmt::Debug for Tee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tee")
            .field("route", &self.route)
            .field("copying", &self.is_copying())
            .finish_non_exhaustive()
    }
}

/// The body so far. Copied and not shared: a chunk of a few bytes may hold a read buffer
/// of many, and an entry is kept for an hour.
struct Copying {
    buffer: Vec<u8>,
    allowance: Arc<Allowance>,
    /// Bytes taken from the allowance, given back on drop.
    held: usize,
    length: Option<usize>,
    /// Bytes that the entry takes beside its body.
    head: usize,
    /// Bytes that it may take in all.
    limit: usize,
}

impl Copying {
    fn push(&mut self, chunk: &[u8]) -> Result<(), Why> {
        let most = self.limit - self.head;
        let wanted = self.buffer.len().saturating_add(chunk.len());
        if wanted > most {
            return Err(Why::TooLarge { limit: self.limit });
        }
        if let Some(declared) = self.length.filter(|&declared| wanted > declared) {
            return Err(Why::Truncated { got: wanted, declared });
        }
        if wanted > self.held {
            // Doubling keeps the copying linear; a declared length is believed as an upper
            // bound only, for a version may declare much and send little.
            let room =
                wanted.next_power_of_two().max(SMALLEST).min(self.length.unwrap_or(most));
            self.allowance.take(room - self.held)?;
            self.held = room;
            self.buffer.reserve_exact(room - self.buffer.len());
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(mut self) -> Result<Bytes, Why> {
        let got = self.buffer.len();
        match self.length {
            Some(declared) if declared != got => Err(Why::Truncated { got, declared }),
            _ => Ok(Bytes::from(std::mem::take(&mut self.buffer).into_boxed_slice())),
        }
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.allowance.give(self.held);
    }
}

/// Bytes that all copies under way may take together.
#[derive(Debug)]
pub(super) struct Allowance {
    used: AtomicUsize,
    limit: AtomicUsize,
}

impl Allowance {
    pub(super) fn new() -> Self {
        Self { used: AtomicUsize::new(0), limit: AtomicUsize::new(ALL_COPIES) }
    }

    /// Room for a few of the largest entries, whatever the routes call large.
    pub(super) fn fit(&self, largest: usize) {
        let limit = ALL_COPIES.max(largest.saturating_mul(4));
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> Result<(), Why> {
        let limit = self.limit.load(Ordering::Relaxed);
        let more = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= limit);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(drop).map_err(|_| Why::Busy { limit })
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The first piece of a copy of unknown length.
const SMALLEST: usize = 1024;

/// What copies may take beside what is kept: 64 callers that read the largest usual answer
/// slowly, or thousands that read a small one.
const ALL_COPIES: usize = 64 * 1024 * 1024;

#[cfg(test)]
#[path = "tests/tee.rs"]
mod tests;
