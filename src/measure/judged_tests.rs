//! Judged flights from their opening to the sums that control gets, on a clock that the
//! tests move.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::books::Books;
use super::flight::{Flight, Stamp};
use super::recorder::Tally;
use super::roster::Roster;
use crate::clock;
use crate::judge::{Deadlines, Sums, bin_of};
use crate::vocab::ids::{Epoch, Slot};
use crate::vocab::outcome::Class;

pub(super) struct Bench {
    pub(super) roster: Arc<Roster>,
    pub(super) books: Rc<Books>,
    pub(super) slot: Slot,
}

const EPOCH: Epoch = Epoch(5);

fn limits([whole, most]: [Option<u64>; 2]) -> Deadlines {
    Deadlines { whole, first_token: None, most }
}

/// Deadlines of 100 ms and 1 s.
pub(super) fn bench() -> Bench {
    let roster = Roster::new(1);
    let slot = roster.claim().unwrap();
    roster.set_deadlines(slot, limits([Some(100_000), Some(1_000_000)]));
    let books = Books::new(0, Arc::clone(&roster));
    Bench { roster, books, slot }
}

impl Bench {
    pub(super) fn stamp(&self) -> Stamp {
        Stamp { slot: self.slot, epoch: EPOCH, judged: true, shadow: false }
    }

    pub(super) fn open(&self) -> Flight {
        Flight::open(&self.books, self.stamp(), clock::now())
    }

    fn answer(&self, class: Class) {
        let mut flight = self.open();
        flight.answered(clock::now());
        flight.close(class);
    }

    pub(super) fn sweep(&self) {
        self.books.sweep(clock::now());
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Tally) -> T) -> T {
        let mut got = None;
        self.books.write(self.slot, |tally| got = Some(look(tally)));
        got.unwrap()
    }

    pub(super) fn sums(&self) -> Sums {
        self.with(|tally| {
            let of = tally.sums.iter().find(|(epoch, _)| *epoch == EPOCH);
            of.map(|(_, sums)| sums.clone()).unwrap_or_default()
        })
    }

    pub(super) fn slow(&self) -> [u64; 2] {
        self.sums().cells.iter().fold([0, 0], |[a, b], cell| {
            let [c, d] = cell.slow;
            [a + c, b + d]
        })
    }

    /// Whether control was woken since the last time.
    fn woken(&self) -> bool {
        self.roster.urgent().now_or_never().is_some()
    }
}

pub(super) async fn pass(ms: u64) {
    tokio::time::advance(Duration::from_millis(ms)).await;
}

#[tokio::test(start_paused = true)]
async fn an_opening_and_an_end_are_written_into_the_cell_of_the_last_endpoint() {
    let bench = bench();
    let mut flight = bench.open();
    assert_eq!((bench.sums().opened, bench.sums().cells.len()), (1, 0));
    flight.at(3);
    flight.at(1);
    pass(40).await;
    flight.answered(clock::now());
    pass(500).await;
    flight.waited(Duration::from_millis(20));
    flight.close(Class::Success);
    drop(bench.open());
    bench.open().cancel();
    let sums = bench.sums();
    assert_eq!(sums.opened, 2);
    assert_eq!(sums.cells.len(), 2);
    let cell = &sums.cells[1];
    assert_eq!((cell.known, cell.bad, cell.good()), (1, 0, 1));
    assert_eq!(cell.bins[bin_of(60_000)], 1);
    assert_eq!(cell.slow, [0, 0], "the caller's 500 ms are not the version's");
    assert_eq!(bench.roster.in_flight(bench.slot), 0);
}

#[tokio::test(start_paused = true)]
async fn what_no_coin_placed_is_not_in_the_sums() {
    let bench = bench();
    let flight = Flight::open(&bench.books, Stamp::plain(bench.slot), clock::now());
    pass(5_000).await;
    bench.sweep();
    flight.close(Class::ConnectError);
    bench.with(|tally| {
        assert!(tally.sums.is_empty());
        assert_eq!(tally.outcomes[Class::ConnectError.index()], 1);
    });
}

#[tokio::test(start_paused = true)]
async fn a_copy_counts_among_copies_and_in_the_sums_and_nowhere_else() {
    let bench = bench();
    let judged = Stamp { shadow: true, ..bench.stamp() };
    let plain = Stamp { shadow: true, ..Stamp::plain(bench.slot) };
    for stamp in [judged, plain] {
        let mut flight = Flight::open(&bench.books, stamp, clock::now());
        assert_eq!(bench.roster.in_flight(bench.slot), 1);
        flight.at(0);
        flight.retried();
        flight.answered(clock::now());
        flight.close(Class::Success);
        drop(Flight::open(&bench.books, stamp, clock::now()));
        assert_eq!(bench.roster.in_flight(bench.slot), 0);
    }
    bench.with(|tally| {
        assert_eq!(tally.shadow[Class::Success.index()], 2);
        assert_eq!(tally.shadow[Class::ClientCancelled.index()], 2);
        assert_eq!((tally.requests(), tally.retries), (0, 0));
        let histograms = [&tally.first_byte, &tally.total, &tally.rest, &tally.overhead];
        assert!(histograms.iter().all(|times| times.is_empty()));
        assert!(!tally.is_empty());
    });
    assert_eq!((bench.sums().opened, bench.sums().cells[0].known), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_is_counted_once_at_each_deadline() {
    let bench = bench();
    let mut flight = bench.open();
    flight.at(2);
    for (ms, slow) in
        [(100, [0, 0]), (1, [1, 0]), (50, [1, 0]), (850, [1, 1]), (9, [1, 1])]
    {
        pass(ms).await;
        bench.sweep();
        assert_eq!(bench.slow(), slow, "{ms} ms later");
    }
    let sums = bench.sums();
    assert_eq!(sums.cells[2].slow, [1, 1]);
    assert_eq!((sums.cells[2].known, sums.stalled.run()), (0, 1));
    flight.answered(clock::now());
    flight.close(Class::Success);
    let sums = bench.sums();
    assert_eq!((sums.cells[2].slow, sums.cells[2].known), ([1, 1], 1));
    assert_eq!((sums.cells[2].bad, sums.cells[2].good()), (0, 1));
    assert_eq!((sums.stalled.run(), sums.stalled.broken), (1, false), "it came late");
    bench.answer(Class::Success);
    assert!(bench.sums().stalled.broken);
}

#[tokio::test(start_paused = true)]
async fn a_slow_end_that_no_sweep_saw_is_counted_then() {
    let bench = bench();
    let mut flight = bench.open();
    pass(150).await;
    flight.answered(clock::now());
    flight.close(Class::ServerError);
    bench.sweep();
    let sums = bench.sums();
    assert_eq!((bench.slow(), sums.cells[0].bad, sums.stalled.run()), ([1, 0], 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_sends_or_reads_slowly_makes_nobody_late() {
    let bench = bench();
    let mut flight = bench.open();
    for _ in 0..20 {
        flight.uploading(clock::now());
        pass(90).await;
        bench.sweep();
    }
    assert_eq!(bench.slow(), [0, 0]);
    pass(5_000).await;
    bench.sweep();
    assert_eq!(bench.slow(), [0, 0], "the caller stalls");
    flight.sent(clock::now());
    pass(60).await;
    flight.answered(clock::now());
    pass(5_000).await;
    bench.sweep();
    assert_eq!(bench.slow(), [0, 0], "the caller does not read");
    flight.waits(clock::now());
    pass(41).await;
    bench.sweep();
    assert_eq!(bench.slow(), [1, 0], "60 and 41 ms are the version's");
    flight.waited(Duration::from_millis(41));
    flight.close(Class::Success);
    assert_eq!(bench.slow(), [1, 0]);
    assert_eq!(bench.sums().cells[0].bins[bin_of(101_000)], 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_before_the_request_is_through_is_as_fast_as_it_was() {
    let bench = bench();
    let mut flight = bench.open();
    pass(3_000).await;
    flight.uploading(clock::now());
    pass(30).await;
    flight.answered(clock::now());
    flight.close(Class::ClientError);
    assert_eq!(bench.slow(), [0, 0]);
    assert_eq!(bench.sums().cells[0].bins[bin_of(30_000)], 1);
}

#[tokio::test(start_paused = true)]
async fn another_attempt_is_held_against_the_deadline_again() {
    let bench = bench();
    let mut flight = bench.open();
    flight.at(0);
    flight.uploading(clock::now());
    pass(400).await;
    flight.at(1);
    pass(101).await;
    bench.sweep();
    assert_eq!(bench.sums().cells[1].slow, [1, 0]);
    drop(flight);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_after_the_deadline_was_failed() {
    for (ms, swept, bad) in [(100, true, 0), (101, true, 1), (101, false, 1)] {
        let bench = bench();
        let flight = bench.open();
        pass(ms).await;
        if swept {
            bench.sweep();
        }
        drop(flight);
        let (slow, mut sums) = (bench.slow(), bench.sums());
        let cell = sums.cell(0);
        assert_eq!((cell.known, cell.bad, slow), (bad, bad, [bad, 0]), "{ms} {swept}");
        bench.with(|tally| {
            assert_eq!(tally.outcomes[Class::ClientCancelled.index()], 1);
            assert_eq!(tally.requests(), 1);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_within_its_own_upload_or_a_stalled_answer() {
    let bench = bench();
    let mut flight = bench.open();
    flight.uploading(clock::now());
    pass(5_000).await;
    drop(flight);
    assert_eq!(bench.sums().cell(0).known, 0, "it has waited for nobody");

    let mut flight = bench.open();
    flight.answered(clock::now());
    flight.waits(clock::now());
    pass(101).await;
    drop(flight);
    let mut sums = bench.sums();
    let cell = sums.cell(0);
    assert_eq!((cell.known, cell.bad, cell.slow), (1, 1, [1, 0]));
}

#[tokio::test(start_paused = true)]
async fn deadlines_hold_for_requests_that_are_opened_after_they_were_set() {
    let bench = bench();
    bench.roster.set_deadlines(bench.slot, limits([None, None]));
    let before = bench.open();
    bench.roster.set_deadlines(bench.slot, limits([None, Some(1_000_000)]));
    let after = bench.open();
    bench.roster.set_deadlines(bench.slot, limits([Some(1), Some(1)]));
    pass(1_001).await;
    bench.sweep();
    assert_eq!((bench.slow(), bench.sums().stalled.run()), ([0, 1], 0));
    drop((before, after));
    let mut sums = bench.sums();
    assert_eq!((sums.cell(0).known, bench.slow()), (0, [0, 1]));
}

#[tokio::test(start_paused = true)]
async fn control_is_woken_by_the_third_refusal_once_a_tick() {
    let bench = bench();
    let refuse = || bench.open().close(Class::ConnectError);
    refuse();
    refuse();
    bench.open().close(Class::ServerError);
    assert!(!bench.woken());
    refuse();
    assert!(bench.woken());
    for _ in 0..100 {
        refuse();
    }
    assert!(!bench.woken(), "once a tick");
    bench.with(Tally::clear);
    refuse();
    refuse();
    bench.answer(Class::Success);
    refuse();
    assert!(!bench.woken(), "an answer came in between");
}

#[tokio::test(start_paused = true)]
async fn a_reset_within_the_head_of_an_answer_is_not_refused() {
    let bench = bench();
    for (heard, run) in [(true, 0), (false, 1)] {
        let mut flight = bench.open();
        if heard {
            flight.heard();
        }
        flight.close(Class::UpstreamReset);
        assert_eq!(bench.sums().refused.run(), run);
    }
    let mut flight = bench.open();
    flight.heard();
    flight.at(1);
    flight.close(Class::UpstreamReset);
    assert_eq!(bench.sums().refused.run(), 2, "another endpoint said nothing");
}

#[tokio::test(start_paused = true)]
async fn control_is_woken_by_ten_that_hang() {
    let bench = bench();
    let mut flights: Vec<Flight> = (0..9).map(|_| bench.open()).collect();
    pass(200).await;
    bench.sweep();
    assert!(!bench.woken());
    flights.push(bench.open());
    pass(101).await;
    bench.sweep();
    assert!(bench.woken());
    assert_eq!(bench.sums().stalled.longest, 10);
    bench.sweep();
    assert!(!bench.woken());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_control_is_woken_at_once() {
    let bench = bench();
    let mut urgent = Box::pin(bench.roster.urgent());
    assert!(urgent.as_mut().now_or_never().is_none());
    for _ in 0..3 {
        bench.open().close(Class::TimeoutConnect);
    }
    assert!(urgent.now_or_never().is_some());
}
