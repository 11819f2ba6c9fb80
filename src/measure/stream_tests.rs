//! Judged flights whose answers are streams of tokens, on a clock that the tests move.

use std::time::Duration;

use super::flight::{Flight, Stamp};
use super::judged_tests::{bench, pass};
use crate::clock;
use crate::judge::{Deadlines, bin_of};
use crate::vocab::outcome::Class;

/// Waits so long for the version, as for the next piece of its answer.
async fn await_piece(flight: &mut Flight, ms: u64) {
    flight.waits(clock::now());
    pass(ms).await;
    flight.waited(Duration::from_millis(ms));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_judged_by_its_first_token_and_its_pace_whatever_its_length() {
    for (more, caller_ms) in [(10, 0), (2_000, 0), (10, 9_000)] {
        let bench = bench();
        let mut flight = bench.open();
        pass(20).await;
        flight.answered(clock::now());
        flight.streams();
        await_piece(&mut flight, 30).await;
        flight.tokens(1);
        let sums = bench.sums();
        assert_eq!(sums.streams[0].first[bin_of(50_000)], 1, "known at once");
        for _ in 0..more {
            pass(caller_ms).await;
            await_piece(&mut flight, 10).await;
            flight.tokens(1);
            bench.sweep();
        }
        flight.close(Class::Success);
        let sums = bench.sums();
        let (cell, stream) = (&sums.cells[0], &sums.streams[0]);
        assert_eq!((cell.known, cell.bad, cell.slow), (1, 0, [0, 0]), "{more} more");
        assert_eq!((cell.good(), cell.bins.iter().sum::<u32>()), (1, 0));
        assert_eq!(stream.each[bin_of(10_000)], 1, "the caller's time is its own");
        assert_eq!(stream.first.iter().sum::<u32>(), 1);
        bench.with(|tally| {
            let streams = tally.streams.as_ref().unwrap();
            assert_eq!((streams.tokens, streams.length.len()), (more + 1, 1));
            assert_eq!(streams.first_token.max(), 50_015);
            assert_eq!(streams.per_token.max(), 10_007);
            assert!(tally.total.is_empty() && tally.first_byte.len() == 1);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_stream_is_its_first_tokens() {
    let bench = bench();
    let most = Some(1_000_000);
    let deadlines = Deadlines { whole: Some(900_000), first_token: Some(60_000), most };
    bench.roster.set_deadlines(bench.slot, deadlines);
    // Before its head nobody knows what it will be.
    let mut stream = bench.open();
    pass(100).await;
    bench.sweep();
    assert_eq!(bench.slow(), [0, 0]);
    stream.answered(clock::now());
    stream.streams();
    bench.sweep();
    assert_eq!(bench.slow(), [1, 0], "it has taken too long before its head already");
    await_piece(&mut stream, 2_000).await;
    bench.sweep();
    assert_eq!(bench.slow(), [1, 1]);
    stream.tokens(1);
    await_piece(&mut stream, 2_000).await;
    stream.close(Class::Success);
    assert_eq!(bench.slow(), [1, 1]);

    let mut waits = bench.open();
    waits.answered(clock::now());
    waits.streams();
    waits.waits(clock::now());
    pass(61).await;
    bench.sweep();
    assert_eq!(bench.slow(), [2, 1], "it hangs before its first token");
    drop(waits);

    let mut whole = bench.open();
    whole.answered(clock::now());
    await_piece(&mut whole, 500).await;
    bench.sweep();
    whole.close(Class::Success);
    assert_eq!(bench.slow(), [2, 1]);
    assert_eq!(bench.sums().cells[0].bins[bin_of(500_000)], 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_says_nothing_is_any_answer_and_a_copy_is_not_in_the_numbers() {
    let bench = bench();
    let mut silent = bench.open();
    silent.answered(clock::now());
    silent.streams();
    silent.usage(50);
    await_piece(&mut silent, 40).await;
    silent.close(Class::EmptyStream);
    bench.with(|tally| assert!(tally.streams.is_none() && tally.rest.len() == 1));
    let mut copy =
        Flight::open(&bench.books, Stamp { shadow: true, ..bench.stamp() }, clock::now());
    copy.answered(clock::now());
    copy.streams();
    copy.tokens(1);
    copy.usage(11);
    await_piece(&mut copy, 100).await;
    copy.close(Class::Success);
    bench.with(|tally| assert!(tally.streams.is_none()));
    let sums = bench.sums();
    assert_eq!(sums.streams[0].each[bin_of(10_000)], 1, "by its own count of tokens");
    assert_eq!((sums.cells[0].known, sums.cells[0].bad), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_asked_for_again_is_timed_from_the_beginning() {
    let bench = bench();
    let mut flight = bench.open();
    pass(30).await;
    flight.answered(clock::now());
    flight.streams();
    await_piece(&mut flight, 20).await;
    flight.at(0);
    pass(60).await;
    bench.sweep();
    assert_eq!(bench.slow(), [1, 0], "the clock goes on while it is asked again");
    flight.answered(clock::now());
    await_piece(&mut flight, 5).await;
    flight.close(Class::Success);
    assert_eq!(bench.sums().cells[0].bins[bin_of(115_000)], 1);
    assert!(bench.sums().streams.is_empty());
}
