//! What credit buys.

use std::time::Duration;

use super::{ANSWER, BACK, CREDIT, Credit, END_STREAM, Head, PIECES, Peer, kind};

fn head(kind: u8, length: u32, flags: u8) -> Head {
    Head { length, kind, flags, stream: 1, code: 0 }
}

fn of_stream(kind: u8, stream: u32) -> Head {
    Head { stream, ..head(kind, 4, 0) }
}

/// How many of these frames a caller may send before it is told to calm down.
fn bought(frame: Head) -> i64 {
    let mut credit = Credit::new(Peer::Caller);
    (0..100_000).take_while(|_| credit.came(frame, false)).count().try_into().unwrap()
}

#[test]
fn what_leads_to_nothing_is_bounded_by_some_hundred() {
    let slack = CREDIT / 10;
    for (what, frame, most) in [
        ("ping", head(6, 8, 0), 400),
        ("settings", head(4, 0, 0), 200),
        ("reset", head(3, 4, 0), 200),
        ("priority", head(2, 5, 0), 400),
        ("empty data", head(0, 0, 0), 200),
        ("empty continuation", head(9, 0, 0), 200),
        ("an unknown kind", head(0x16, 0, 0), 400),
        ("window update", head(8, 4, 0), 2_000),
    ] {
        let bought = bought(frame);
        assert!((most..=most + slack).contains(&bought), "{what}: {bought}");
    }
    let single = bought(head(kind::DATA, 1, 0));
    assert!((PIECES..PIECES + PIECES / 10).contains(&single), "single bytes: {single}");
}

#[test]
fn requests_and_their_bodies_cost_nothing() {
    for (what, frame) in [
        ("a request", head(1, 100, 4)),
        ("a frame of a body", head(0, 16_384, 0)),
        ("a message of five bytes", head(0, 10, 0)),
        ("the end of a body", head(0, 0, END_STREAM)),
    ] {
        assert_eq!(bought(frame), 100_000, "{what}");
    }
}

#[test]
fn an_answer_pays_for_what_its_reader_sends() {
    let mut credit = Credit::new(Peer::Caller);
    let update = head(kind::WINDOW_UPDATE, 4, 0);
    for _ in 0..100_000 {
        credit.went(head(kind::DATA, 1, 0));
        assert!(credit.came(update, false) && credit.came(update, false), "two each");
    }
    for _ in 0..100_000 {
        credit.went(head(kind::HEADERS, 30, 4));
        assert!(credit.came(head(3, 4, 0), false), "a reset of what was answered");
        assert!(credit.came(head(6, 8, 0), false), "and a ping");
    }
    assert!(credit.all.left <= CREDIT, "credit is not saved up");
}

#[tokio::test(start_paused = true)]
async fn time_gives_credit_back() {
    let mut credit = Credit::new(Peer::Caller);
    credit.all.left = 0;
    let update = head(kind::WINDOW_UPDATE, 4, 0);
    assert!(!credit.came(update, false));
    tokio::time::advance(Duration::from_secs(1)).await;
    let bought = (0..1_000).take_while(|_| credit.came(update, false)).count();
    assert!((BACK - 3..=BACK).contains(&i64::try_from(bought).unwrap()), "{bought}");
}

/// Opens streams and resets them after `lives`; how many resets passed.
async fn page(streams: u32, lives: Duration, rounds: u32) -> u32 {
    let mut credit = Credit::new(Peer::Caller);
    let mut passed = 0;
    for round in 0..rounds {
        let numbers = || (0..streams).map(|n| (round * streams + n) * 2 + 1);
        for stream in numbers() {
            assert!(credit.came(of_stream(kind::HEADERS, stream), true));
        }
        tokio::time::advance(lives).await;
        for stream in numbers() {
            if !credit.came(of_stream(kind::RST_STREAM, stream), false) {
                return passed;
            }
            passed += 1;
        }
    }
    passed
}

#[tokio::test(start_paused = true)]
async fn who_closes_a_page_may_and_who_resets_at_once_may_not() {
    // Hundreds of streams that were being answered, again and again.
    assert_eq!(page(1_000, Duration::from_millis(1_300), 20).await, 20_000);
    // Rapid resets, alone, in tens and in hundreds.
    for streams in [1, 10, 128] {
        let passed = page(streams, Duration::ZERO, 2_000).await;
        assert!((190..=220).contains(&passed), "{streams}: {passed}");
    }
    let passed = page(128, Duration::from_millis(100), 1_000).await;
    assert!(passed < 400, "a tenth of a second is no life: {passed}");
}

#[tokio::test(start_paused = true)]
async fn who_types_ahead_may_cancel_most_of_what_was_asked() {
    let mut credit = Credit::new(Peer::Caller);
    // Four of five are cancelled before an answer begins, three hundred a second.
    for n in 0..30_000_u32 {
        let stream = n * 2 + 1;
        assert!(credit.came(of_stream(kind::HEADERS, stream), true));
        tokio::time::advance(Duration::from_micros(3_300)).await;
        if n % 5 == 0 {
            credit.went(Head { flags: END_STREAM, ..of_stream(kind::HEADERS, stream) });
        } else {
            assert!(credit.came(of_stream(kind::RST_STREAM, stream), false), "{n}");
        }
    }
    const { assert!(ANSWER < CREDIT) };
}

#[tokio::test(start_paused = true)]
async fn resets_of_streams_that_are_over_are_not_free() {
    let mut credit = Credit::new(Peer::Caller);
    for n in 0..1_000 {
        assert!(credit.came(of_stream(kind::HEADERS, n * 2 + 1), true));
        credit.went(Head { flags: END_STREAM, ..of_stream(kind::DATA, n * 2 + 1) });
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    let reset = of_stream(kind::RST_STREAM, 1);
    let passed = (0..100_000).take_while(|_| credit.came(reset, false)).count();
    // A minute gives credit back once more.
    assert!(passed <= 420, "{passed}");
}

#[tokio::test(start_paused = true)]
async fn resets_that_a_caller_makes_us_send_are_bounded_by_a_rate() {
    let fault = Head { code: 1, ..head(kind::RST_STREAM, 4, 0) };
    let mut credit = Credit::new(Peer::Caller);
    let passed = (0..10_000).take_while(|_| credit.went(fault)).count();
    assert!((190..=220).contains(&passed), "{passed}");
    let mut credit = Credit::new(Peer::Caller);
    for n in 0..10_000 {
        tokio::time::advance(Duration::from_millis(600)).await;
        assert!(credit.went(fault), "{n}: a fault now and then, for an hour and a half");
    }
    let mut credit = Credit::new(Peer::Caller);
    let cancel = Head { code: 8, ..fault };
    assert!((0..10_000).all(|_| credit.went(cancel)), "what is ours is not the caller's");
}
