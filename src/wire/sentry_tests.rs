//! What credit buys.

use super::{BACK, CREDIT, Credit, Head, Peer, cost, kind, worth};
use crate::clock;

fn head(kind: u8, length: u32, flags: u8) -> Head {
    Head { length, kind, flags, stream: 1, code: 0 }
}

/// How many of these frames a caller may send before it is told to calm down.
fn bought(frame: Head) -> i64 {
    let mut credit = Credit { left: CREDIT, since: clock::now() };
    (0..100_000)
        .take_while(|_| credit.spend(cost(frame, Peer::Caller)))
        .count()
        .try_into()
        .unwrap()
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
}

#[test]
fn requests_and_their_bodies_cost_nothing() {
    assert_eq!(cost(head(1, 100, 4), Peer::Caller), 0);
    assert_eq!(cost(head(0, 16_384, 0), Peer::Caller), 0);
    assert_eq!(cost(head(0, 0, 1), Peer::Caller), 0, "the end of a body");
}

#[test]
fn an_answer_pays_for_what_its_reader_sends() {
    let mut credit = Credit { left: CREDIT, since: clock::now() };
    let update = cost(head(kind::WINDOW_UPDATE, 4, 0), Peer::Caller);
    for _ in 0..100_000 {
        credit.earn(worth(head(kind::DATA, 1, 0)));
        assert!(credit.spend(update) && credit.spend(update), "two for each piece");
    }
    for _ in 0..100_000 {
        credit.earn(worth(head(kind::HEADERS, 30, 4)));
        assert!(
            credit.spend(cost(head(3, 4, 0), Peer::Caller)),
            "a reset of what was answered"
        );
        assert!(credit.spend(cost(head(6, 8, 0), Peer::Caller)), "and a ping");
    }
    assert!(credit.left <= CREDIT, "credit is not saved up");
}

#[tokio::test(start_paused = true)]
async fn time_gives_credit_back() {
    let mut credit = Credit { left: 0, since: clock::now() };
    assert!(!credit.spend(1));
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let bought = (0..1_000).take_while(|_| credit.spend(1)).count();
    assert!((BACK - 3..=BACK).contains(&i64::try_from(bought).unwrap()), "{bought}");
}
