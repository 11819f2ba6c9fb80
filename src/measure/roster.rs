//! `Roster`: which slots are taken, and how many requests each worker has in flight on each.
//!
//! A worker writes only its own cells, on cache lines of its own; whoever drains a version
//! adds the workers up. The cells are sequentially consistent because a request raises its
//! count and then looks at the table's number again (see `route::Live`).

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::judge::{DEADLINES, Deadlines};
use crate::vocab::ids::Slot;

/// In-flight counts of every worker and version.
#[derive(Debug)]
pub struct Roster {
    workers: Box<[Cells]>,
    taken: Mutex<Vec<bool>>,
    cut: Box<[AtomicBool]>,
    cuts: AtomicU64,
    deadlines: Box<[Limits]>,
    urgent: Notify,
}

/// One worker's counts, alone on their cache lines.
#[derive(Debug)]
struct Cells(Box<[Line]>);

#[repr(align(64))]
#[derive(Debug, Default)]
struct Line([AtomicU32; PER_LINE]);

const PER_LINE: usize = 16;

/// The deadlines of one version in microseconds; 0 is none.
#[derive(Debug, Default)]
struct Limits {
    whole: AtomicU64,
    first_token: AtomicU64,
    most: AtomicU64,
}

impl Roster {
    /// A roster for so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        let cells =
            || Cells((0..Slot::LIMIT / PER_LINE).map(|_| Line::default()).collect());
        Arc::new(Self {
            workers: (0..workers).map(|_| cells()).collect(),
            taken: Mutex::new(vec![false; Slot::LIMIT]),
            cut: (0..Slot::LIMIT).map(|_| AtomicBool::new(false)).collect(),
            cuts: AtomicU64::new(0),
            deadlines: (0..Slot::LIMIT).map(|_| Default::default()).collect(),
            urgent: Notify::new(),
        })
    }

    /// A slot that nobody has; `None` when all are taken.
    #[must_use]
    pub fn claim(&self) -> Option<Slot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let number = taken.iter().position(|taken| !taken)?;
        let slot = Slot::new(number)?;
        taken[number] = true;
        self.cut[number].store(false, Ordering::SeqCst);
        self.set_deadlines(slot, Deadlines::default());
        Some(slot)
    }

    /// Gives a slot back. Its version must be out of every table and idle.
    pub fn release(&self, slot: Slot) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken[slot.index()] = false;
    }

    /// Requests in flight on that version, over all workers.
    #[must_use]
    pub fn in_flight(&self, slot: Slot) -> u64 {
        self.workers
            .iter()
            .map(|cells| u64::from(cells.of(slot).load(Ordering::SeqCst)))
            .sum()
    }

    /// Ends every request that still runs on that version, now and until [`Roster::mend`]:
    /// each is cut at its worker's next tick.
    pub fn cut(&self, slot: Slot) {
        self.cut[slot.index()].store(true, Ordering::SeqCst);
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Ends every request that still runs, on whatever version.
    pub fn cut_all(&self) {
        self.cut.iter().for_each(|cut| cut.store(true, Ordering::SeqCst));
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes a cut back, for a version that may serve again.
    pub fn mend(&self, slot: Slot) {
        self.cut[slot.index()].store(false, Ordering::SeqCst);
    }

    /// Whether requests on that version are to end.
    #[must_use]
    pub fn is_cut(&self, slot: Slot) -> bool {
        self.cut[slot.index()].load(Ordering::Relaxed)
    }

    /// How many cuts there were; a worker that sees it change wakes its requests.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// The times in microseconds after which a request to that version counts as slow,
    /// whether or not it has ended; `None` where there is none, and 0 is as 1. It holds for
    /// requests that are opened from now on.
    pub fn set_deadlines(&self, slot: Slot, micros: Deadlines) {
        let Limits { whole, first_token, most } = &self.deadlines[slot.index()];
        for (own, micros) in [
            (whole, micros.whole),
            (first_token, micros.first_token),
            (most, micros.most),
        ] {
            own.store(micros.map_or(0, |micros| micros.max(1)), Ordering::Relaxed);
        }
    }

    /// The same for whole answers alone, for those who know nothing of the judge.
    #[cfg(test)]
    pub(crate) fn set_deadline(&self, slot: Slot, micros: u64) {
        self.set_deadlines(
            slot,
            Deadlines { whole: Some(micros), ..Deadlines::default() },
        );
    }

    /// Ready when a worker has seen what should not wait for control's next tick: requests
    /// in a row that found no connection, or that are all late. One call that waits is
    /// woken by one worker, at most once for each version and tick; a wake that nobody
    /// waited for is kept for the next call.
    pub async fn urgent(&self) {
        self.urgent.notified().await;
    }

    /// The deadlines of a version in microseconds, for a request of which nobody knows yet
    /// what its answer will be: the longer one of either kind; 0 is none.
    pub(super) fn deadlines(&self, slot: Slot) -> [u64; DEADLINES] {
        let Limits { whole, first_token, most } = &self.deadlines[slot.index()];
        let either =
            whole.load(Ordering::Relaxed).max(first_token.load(Ordering::Relaxed));
        [either, most.load(Ordering::Relaxed)]
    }

    /// The same for a request whose answer is known to be a stream of tokens, or to be none;
    /// `None` where that makes no difference to [`Roster::deadlines`].
    pub(super) fn deadlines_of(
        &self,
        slot: Slot,
        streams: bool,
    ) -> Option<[u64; DEADLINES]> {
        let Limits { whole, first_token, most } = &self.deadlines[slot.index()];
        let (ours, other) =
            if streams { (first_token, whole) } else { (whole, first_token) };
        let ours = ours.load(Ordering::Relaxed);
        (ours < other.load(Ordering::Relaxed))
            .then(|| [ours, most.load(Ordering::Relaxed)])
    }

    /// Wakes control.
    pub(super) fn wake(&self) {
        self.urgent.notify_one();
    }

    /// One more in flight. Only the worker itself may call this.
    pub(super) fn enter(&self, worker: usize, slot: Slot) {
        let cell = self.workers[worker].of(slot);
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(1), Ordering::SeqCst);
    }

    /// One less in flight. Only the worker itself may call this.
    pub(super) fn leave(&self, worker: usize, slot: Slot) {
        let cell = self.workers[worker].of(slot);
        cell.store(cell.load(Ordering::Relaxed).wrapping_sub(1), Ordering::SeqCst);
    }
}

impl Cells {
    fn of(&self, slot: Slot) -> &AtomicU32 {
        &self.0[slot.index() / PER_LINE].0[slot.index() % PER_LINE]
    }
}

#[cfg(test)]
mod tests {
    use super::Roster;
    use crate::judge::Deadlines;

    #[test]
    fn counts_are_added_over_workers() {
        let roster = Roster::new(3);
        let (one, two) = (roster.claim().unwrap(), roster.claim().unwrap());
        roster.enter(0, one);
        roster.enter(2, one);
        roster.enter(1, two);
        roster.leave(2, one);
        assert_eq!((roster.in_flight(one), roster.in_flight(two)), (1, 1));
    }

    #[test]
    fn slots_are_used_again_and_bounded() {
        let roster = Roster::new(1);
        let all: Vec<_> = std::iter::from_fn(|| roster.claim()).collect();
        assert_eq!(all.len(), crate::vocab::Slot::LIMIT);
        roster.cut(all[7]);
        let limits = |whole, first_token| Deadlines { whole, first_token, most: Some(0) };
        roster.set_deadlines(all[7], limits(Some(75_000), None));
        assert_eq!(roster.deadlines(all[7]), [75_000, 1]);
        assert_eq!(roster.deadlines_of(all[7], false), None);
        assert_eq!(roster.deadlines_of(all[7], true), Some([0, 1]));
        roster.set_deadlines(all[7], limits(Some(75_000), Some(90_000)));
        assert_eq!(roster.deadlines(all[7]), [90_000, 1]);
        assert_eq!(roster.deadlines_of(all[7], false), Some([75_000, 1]));
        assert_eq!(roster.deadlines_of(all[7], true), None);
        assert!(roster.is_cut(all[7]) && roster.cuts() == 1);
        roster.release(all[7]);
        assert_eq!(roster.claim(), Some(all[7]));
        assert!(!roster.is_cut(all[7]));
        assert_eq!(roster.deadlines(all[7]), [0, 0]);
    }
}
