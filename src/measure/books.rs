//! `Books`: one worker's tallies, and the exchange in which control gets them.
//!
//! The worker writes plain numbers; nobody else reads them. On each tick control asks, the
//! worker puts emptied tallies in the place of the used ones and hands the used ones over.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::recorder::Tally;
use super::roster::Roster;
use super::sheet;
use super::tape::Tape;
use super::watch::{Watch, micros};
use crate::clock;
use crate::judge::Sums;
use crate::trace::Entry;
use crate::vocab::ids::Slot;
use crate::vocab::outcome::Class;

/// One worker's tallies by slot.
#[derive(Debug)]
pub struct Books {
    pub(super) worker: usize,
    pub(super) roster: Arc<Roster>,
    pub(super) watch: RefCell<Watch>,
    tallies: RefCell<Vec<Option<Box<Tally>>>>,
    unrouted: RefCell<[u64; Class::COUNT]>,
    /// Only while a trace is recorded.
    tape: RefCell<Option<Tape>>,
}

/// What a worker hands over.
#[derive(Debug)]
struct Closed {
    tallies: Vec<(Slot, Tally)>,
    /// Emptied ones that were not needed.
    spare: Vec<Tally>,
    unrouted: [u64; Class::COUNT],
    tape: Option<Tape>,
}

/// The worker's end of the exchange.
#[derive(Debug)]
pub struct Till {
    asked: mpsc::Receiver<Ask>,
}

/// Control's end: all workers.
#[derive(Debug)]
pub struct Ledger {
    tills: Vec<mpsc::Sender<Ask>>,
    emptied: Vec<Tally>,
    unrouted: [u64; Class::COUNT],
    /// What all workers noted; only while a trace is recorded.
    tape: Option<Tape>,
}

#[derive(Debug)]
struct Ask {
    emptied: Vec<Tally>,
    answer: oneshot::Sender<Closed>,
    /// Whether requests are to be noted from now on.
    record: bool,
}

/// How long control waits for a worker that does not answer. A worker's tick is a fraction
/// of a millisecond of work; one that is silent this long is stuck, and its numbers come
/// with the next exchange.
const PATIENCE: Duration = Duration::from_secs(2);

/// Emptied tallies kept for the next exchange.
const SPARES: usize = 256;

impl Books {
    /// The books of that worker.
    #[must_use]
    pub fn new(worker: usize, roster: Arc<Roster>) -> Rc<Self> {
        Rc::new(Self {
            worker,
            roster,
            watch: RefCell::new(Watch::new(clock::now())),
            tallies: RefCell::new(Vec::new()),
            unrouted: RefCell::new([0; Class::COUNT]),
            tape: RefCell::new(None),
        })
    }

    /// Makes room for a version, so that recording it allocates nothing.
    pub fn prepare(&self, slot: Slot) {
        let mut tallies = self.tallies.borrow_mut();
        if tallies.len() <= slot.index() {
            tallies.resize_with(slot.index() + 1, || None);
        }
        tallies[slot.index()].get_or_insert_with(Box::default);
    }

    /// Gives back the room of a version that is gone and has nothing left to hand over.
    pub fn forget(&self, slot: Slot) {
        if let Some(place) = self.tallies.borrow_mut().get_mut(slot.index())
            && place.as_ref().is_some_and(|tally| tally.is_empty())
        {
            *place = None;
        }
    }

    /// Counts a request that belonged to no route.
    pub fn unrouted(&self, class: Class) {
        self.unrouted.borrow_mut()[class.index()] += 1;
    }

    /// Records the time that was spent here before the version was asked.
    pub fn overhead(&self, slot: Slot, span: Duration) {
        self.write(slot, |tally| tally.overhead.record(micros(span)));
    }

    /// The roster that the books count in-flight requests in.
    #[must_use]
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Writes into a version's tally.
    pub fn write(&self, slot: Slot, entry: impl FnOnce(&mut Tally)) {
        let mut tallies = self.tallies.borrow_mut();
        match tallies.get_mut(slot.index()) {
            Some(Some(tally)) => entry(tally),
            Some(None) | None => {
                drop(tallies);
                self.prepare(slot);
                if let Some(Some(tally)) = self.tallies.borrow_mut().get_mut(slot.index())
                {
                    entry(tally);
                }
            }
        }
    }

    /// Counts the judged requests that have passed a deadline and are still in flight. To be
    /// called every 50 ms or so; costs in proportion to those requests that have one.
    pub fn sweep(&self, now: Instant) {
        self.watch.borrow_mut().sweep(now, |account, passed| {
            self.write_urgent(account.slot, |tally| {
                let enter = |sums: &mut Sums| {
                    sheet::passed(sums, account.endpoint, passed);
                    sheet::is_urgent(sums)
                };
                tally.judge(account.epoch, enter).unwrap_or_default()
            });
        });
    }

    /// Writes into a version's tally, and wakes control once if `entry` says that it is not
    /// to wait for its tick.
    pub(super) fn write_urgent(
        &self,
        slot: Slot,
        entry: impl FnOnce(&mut Tally) -> bool,
    ) {
        let mut wake = false;
        self.write(slot, |tally| {
            wake = entry(tally) && !tally.urgent;
            tally.urgent |= wake;
        });
        if wake {
            self.roster.wake();
        }
    }

    /// Notes a request, while a trace is recorded.
    pub(super) fn note(&self, entry: impl FnOnce() -> Entry) {
        if let Some(tape) = &mut *self.tape.borrow_mut() {
            tape.note(entry());
        }
    }

    /// Whether there are notes that control has not collected.
    #[must_use]
    pub fn has_notes(&self) -> bool {
        self.tape.borrow().as_ref().is_some_and(|tape| !tape.entries.is_empty())
    }

    /// Answers control for as long as it asks.
    pub async fn serve(self: Rc<Self>, mut till: Till) {
        while let Some(Ask { emptied, answer, record }) = till.asked.recv().await {
            if let Err(closed) = answer.send(self.close(emptied, record)) {
                self.take_back(closed);
            }
        }
    }

    /// What control no longer waited for goes into the next exchange.
    fn take_back(&self, closed: Closed) {
        for (slot, tally) in closed.tallies {
            self.write(slot, |ours| ours.add(&tally));
        }
        for (ours, more) in self.unrouted.borrow_mut().iter_mut().zip(closed.unrouted) {
            *ours += more;
        }
        if let (Some(tape), Some(more)) = (&mut *self.tape.borrow_mut(), closed.tape) {
            tape.take_back(more);
        }
    }

    fn close(&self, mut emptied: Vec<Tally>, record: bool) -> Closed {
        let mut closed = Vec::new();
        for (number, place) in self.tallies.borrow_mut().iter_mut().enumerate() {
            let (Some(tally), Some(slot)) = (place, Slot::new(number)) else { continue };
            if !tally.is_empty() {
                let fresh = emptied.pop().unwrap_or_default();
                closed.push((slot, std::mem::replace(&mut **tally, fresh)));
            }
        }
        let unrouted = self.unrouted.replace([0; Class::COUNT]);
        let tape = self.tape.replace(record.then(Tape::default));
        Closed { tallies: closed, spare: emptied, unrouted, tape }
    }
}

impl Ledger {
    /// The exchange for so many workers, and each one's end of it.
    #[must_use]
    pub fn new(workers: usize) -> (Self, Vec<Till>) {
        let (tills, asked) = (0..workers)
            .map(|_| {
                let (ask, asked) = mpsc::channel(1);
                (ask, Till { asked })
            })
            .unzip();
        let (emptied, unrouted) = (Vec::new(), [0; Class::COUNT]);
        (Self { tills, emptied, unrouted, tape: None }, asked)
    }

    /// Every worker's books since the last time, added up by version. Versions without an
    /// entry are left out.
    pub async fn collect(&mut self) -> Vec<(Slot, Tally)> {
        let mut sum: BTreeMap<Slot, Tally> = BTreeMap::new();
        let mut waits = Vec::with_capacity(self.tills.len());
        let mut partial = false;
        for (at, till) in self.tills.iter().enumerate() {
            let (answer, wait) = oneshot::channel();
            let share = self.emptied.len().div_ceil(self.tills.len() - at);
            let emptied = self.emptied.split_off(self.emptied.len() - share);
            // A worker that has not taken the last ask is stuck or gone: the next tick asks.
            let record = self.tape.is_some();
            match till.try_send(Ask { emptied, answer, record }) {
                Ok(()) => waits.push(wait),
                Err(unsent) => {
                    partial |= matches!(unsent, TrySendError::Full(_));
                    self.emptied.extend(unsent.into_inner().emptied);
                }
            }
        }
        for wait in waits {
            let closed = match tokio::time::timeout(PATIENCE, wait).await {
                Ok(Ok(closed)) => closed,
                Ok(Err(_)) => continue,
                Err(_) => {
                    partial = true;
                    continue;
                }
            };
            for (ours, more) in self.unrouted.iter_mut().zip(closed.unrouted) {
                *ours += more;
            }
            if let (Some(tape), Some(more)) = (&mut self.tape, closed.tape) {
                tape.add(more);
            }
            closed.spare.into_iter().for_each(|tally| self.keep(tally));
            for (slot, mut tally) in closed.tallies {
                match sum.get_mut(&slot) {
                    Some(total) => {
                        total.add(&tally);
                        tally.clear();
                        self.keep(tally);
                    }
                    None => {
                        sum.insert(slot, tally);
                    }
                }
            }
        }
        if let Some(tape) = &mut self.tape {
            tape.partial = partial;
        }
        sum.into_iter().collect()
    }

    /// Has every request noted from the next collection on.
    pub fn record(&mut self) {
        self.tape.get_or_insert_default();
    }

    /// What was noted since the last time; `None` when nothing is to be.
    pub fn tape(&mut self) -> Option<Tape> {
        self.tape.as_mut().map(std::mem::take)
    }

    /// Gives a collected tally back, to be filled again.
    pub fn give_back(&mut self, mut tally: Tally) {
        tally.clear();
        self.keep(tally);
    }

    /// Requests since the start that belonged to no route, by [`Class::index`].
    #[must_use]
    pub fn unrouted(&self) -> [u64; Class::COUNT] {
        self.unrouted
    }

    fn keep(&mut self, tally: Tally) {
        if self.emptied.len() < SPARES {
            self.emptied.push(tally);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::{Books, Ledger};
    use crate::clock;
    use crate::measure::flight::{Flight, Stamp};
    use crate::measure::roster::Roster;
    use crate::vocab::ids::Slot;
    use crate::vocab::outcome::Class;

    fn fly(books: &Rc<Books>, slot: Slot, flights: u64) {
        for _ in 0..flights {
            Flight::open(books, Stamp::plain(slot), clock::now()).close(Class::Success);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_late_is_said_and_its_notes_come_later() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let (mut ledger, mut tills) = Ledger::new(2);
                ledger.record();
                let (late, punctual) = (tills.remove(0), tills.remove(0));
                let books = Books::new(1, Roster::new(2));
                let _served = crate::tasks::local("books", books.serve(punctual));
                let _none = ledger.collect().await;
                assert!(ledger.tape().unwrap().partial, "no answer in time");
                let _none = ledger.collect().await;
                assert!(ledger.tape().unwrap().partial, "the ask still lies there");
                let other = Books::new(0, Roster::new(2));
                let _served = crate::tasks::local("books", other.serve(late));
                let _none = ledger.collect().await;
                let _none = ledger.collect().await;
                assert!(!ledger.tape().unwrap().partial);
            })
            .await;
    }

    #[tokio::test]
    async fn every_entry_is_handed_over_exactly_once() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let roster = Roster::new(2);
                let slot = roster.claim().unwrap();
                let (mut ledger, tills) = Ledger::new(2);
                let mut workers = Vec::new();
                for (number, till) in tills.into_iter().enumerate() {
                    let books = Books::new(number, roster.clone());
                    books.prepare(slot);
                    let _served = crate::tasks::local("books", books.clone().serve(till));
                    workers.push(books);
                }
                let mut seen = 0;
                for round in 0..5u64 {
                    workers.iter().for_each(|books| fly(books, slot, round + 1));
                    workers[0].unrouted(Class::Rejected);
                    let all = ledger.collect().await;
                    assert!(all.iter().all(|(at, _)| *at == slot));
                    seen += all.iter().map(|(_, tally)| tally.requests()).sum::<u64>();
                    all.into_iter().for_each(|(_, tally)| ledger.give_back(tally));
                }
                assert_eq!(seen, 2 * (1 + 2 + 3 + 4 + 5));
                assert_eq!(
                    ledger.emptied.len(),
                    2,
                    "each tally is one of the first four"
                );
                assert_eq!(ledger.unrouted()[Class::Rejected.index()], 5);
                assert!(ledger.collect().await.is_empty());
            })
            .await;
    }

    #[tokio::test]
    async fn requests_are_noted_from_when_somebody_asks_for_it() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let roster = Roster::new(1);
                let slot = roster.claim().unwrap();
                let (mut ledger, mut tills) = Ledger::new(1);
                let books = Books::new(0, roster.clone());
                let till = tills.remove(0);
                let _served = crate::tasks::local("books", books.clone().serve(till));
                fly(&books, slot, 3);
                assert!(!books.has_notes());
                let _tallies = ledger.collect().await;
                assert!(ledger.tape().is_none());
                ledger.record();
                let _begun = ledger.collect().await;
                fly(&books, slot, 2);
                let mut flight = Flight::open(&books, Stamp::plain(slot), clock::now());
                flight.at(4);
                flight.answered(clock::now());
                flight.status(429);
                flight.close(Class::TooManyRequests);
                assert!(books.has_notes());
                let _tallies = ledger.collect().await;
                let tape = ledger.tape().unwrap();
                assert_eq!((tape.entries.len(), tape.lost), (3, 0));
                let last = tape.entries[2];
                assert_eq!((last.slot, last.endpoint), (slot, Some(4)));
                assert_eq!(last.status, Some(429));
                assert!(last.first_byte_us.is_some() && !last.judged && !last.shadow);
                assert!(!books.has_notes() && ledger.tape().unwrap().entries.is_empty());
            })
            .await;
    }
}
