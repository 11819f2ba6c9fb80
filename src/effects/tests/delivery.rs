//! Who gets a notice, when, how often, and what becomes of one that nobody takes.

use std::time::Duration;

use super::fake::{Fake, Scratch, begin, down, event, is_idle, notice, until};
use crate::clock;
use crate::effects::outbox::OfDead;
use crate::effects::settings::Filter;
use crate::effects::sink::{Repeats, SinkError};
use crate::effects::view::SinkView;
use crate::vocab::notice::{Notice, Severity, State, Topic};

#[tokio::test(start_paused = true)]
async fn a_notice_reaches_every_sink_that_wants_it_once() {
    let scratch = Scratch::new();
    let (all, few, none) = (Fake::default(), Fake::default(), Fake::default());
    let critical = Filter { topics: Vec::new(), least: Severity::Critical };
    let modes = Filter { topics: vec![Topic::RollbackStarted], least: Severity::High };
    let outlets = vec![
        all.outlet("all"),
        few.filtered("few", modes),
        none.filtered("none", critical),
    ];
    let (outbox, mut told) = begin(&scratch, outlets);
    outbox.offered_durably(event("a")).await.unwrap();
    outbox.offer(event("a"));
    outbox.offered_durably(event("a")).await.unwrap();
    let first = told.recv().await.unwrap();
    let second = told.recv().await.unwrap();
    assert_eq!([&first.sink[..], &second.sink].map(str::len), [3, 3]);
    assert_eq!(first.recipients, ["ops"]);
    assert_eq!(first.reference.unwrap(), "ticket of incident of a");
    until(&outbox, 0, is_idle).await;
    outbox.close().await;
    assert_eq!((all.given(), few.given()), (vec!["a".to_owned()], vec!["a".to_owned()]));
    assert!(none.given().is_empty() && told.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_down_for_an_hour_gets_everything_in_order_and_is_not_flooded() {
    let scratch = Scratch::new();
    let fake = Fake::failing(down());
    let (outbox, mut told) = begin(&scratch, vec![fake.outlet("a")]);
    for (key, incident) in
        [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("b2", "b")]
    {
        outbox.offered_durably(notice(key, incident, State::Event)).await.unwrap();
    }
    tokio::time::advance(Duration::ZERO).await;
    let begun = clock::now();
    until(&outbox, 0, |_| clock::now() - begun > Duration::from_secs(3_600)).await;
    let view = until(&outbox, 0, |view| view.is_failing).await;
    assert_eq!((view.waiting, view.dead, view.delivered), (5, 0, 0));
    assert_eq!(view.last_error.as_deref(), Some("it is down"));
    // Two incidents, each some ten times on the way to five minutes and then every five.
    assert!((20..70).contains(&view.failed), "{view:?}");
    fake.always(None);
    for _ in 0..5 {
        told.recv().await.unwrap();
    }
    let given: Vec<String> =
        fake.given().iter().map(|key| key.trim_end_matches('+').to_owned()).collect();
    let of = |incident: &str| -> Vec<String> {
        given.iter().filter(|key| key.starts_with(incident)).cloned().collect()
    };
    assert_eq!(of("a"), ["a1", "a2", "a3"]);
    assert_eq!(of("b"), ["b1", "b2"]);
    let view = until(&outbox, 0, is_idle).await;
    assert!(!view.is_failing && view.last_delivery.is_some(), "{view:?}");
    outbox.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_in_a_day_or_ever_is_a_dead_letter_and_can_be_tried_again() {
    let scratch = Scratch::new();
    let (stuck, picky) = (Fake::failing(down()), Fake::default());
    let never = || SinkError::Never { why: "it answered 400: no".to_owned() };
    picky.says(never());
    let outlets = || vec![stuck.outlet("stuck"), picky.outlet("picky")];
    let (outbox, mut told) = begin(&scratch, outlets());
    outbox.offered_durably(event("a")).await.unwrap();
    let view = until(&outbox, 1, |view| view.dead == 1).await;
    assert_eq!(view.dead_letters[0].why, "it answered 400: no");
    assert_eq!(view.dead_letters[0].key.as_deref(), Some("a"));
    let view = until(&outbox, 0, |view| view.dead == 1).await;
    let day = Duration::from_secs(86_400);
    let letter = &view.dead_letters[0];
    let lived = letter.given_up.since(letter.queued);
    assert!(lived >= day && lived <= day + Duration::from_secs(300), "{lived:?}");
    outbox.close().await;

    let (outbox, mut again) = begin(&scratch, outlets());
    assert_eq!(outbox.view().sinks[0].dead, 1);
    stuck.always(None);
    assert_eq!(outbox.settle_dead(Some("stuck"), OfDead::Retry).await, 1);
    assert_eq!(again.recv().await.unwrap().sink, "stuck");
    assert_eq!(outbox.settle_dead(None, OfDead::Retry).await, 1);
    assert_eq!(again.recv().await.unwrap().sink, "picky");
    let view = until(&outbox, 1, is_idle).await;
    assert_eq!(view.dead, 0);
    assert!(told.try_recv().is_err());
    outbox.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_can_put_right_is_tried_rarely_and_a_sink_is_obeyed() {
    let scratch = Scratch::new();
    let fake = Fake::default();
    fake.says(SinkError::Fix { why: "401".to_owned() });
    let after = Some(Duration::from_secs(90));
    fake.says(SinkError::Again { why: "429".to_owned(), after });
    let (outbox, mut told) = begin(&scratch, vec![fake.outlet("a")]);
    outbox.offered_durably(event("a")).await.unwrap();
    told.recv().await.unwrap();
    let at = fake.script.lock().unwrap().at.clone();
    let pauses: Vec<u64> =
        at.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000).collect();
    assert!((150..=301).contains(&pauses[0]), "{pauses:?}");
    assert!((90..=91).contains(&pauses[1]), "{pauses:?}");
    outbox.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_gives_up_the_oldest_of_the_least_urgent() {
    let scratch = Scratch::new();
    let fake = Fake::failing(down());
    let (outbox, _told) = begin(&scratch, vec![fake.outlet("a")]);
    let urgent = Notice { severity: Severity::Critical, ..event("urgent") };
    outbox.offered_durably(urgent).await.unwrap();
    for number in 0..1_010 {
        let low = Notice { severity: Severity::Low, ..event(&format!("low{number}")) };
        outbox.offered_durably(low).await.unwrap();
    }
    let view = until(&outbox, 0, |view| view.pushed_out == 11).await;
    assert_eq!((view.waiting, view.dead, view.given_up), (1_000, 11, 11));
    let names: Vec<&str> =
        view.dead_letters.iter().filter_map(|letter| letter.key.as_deref()).collect();
    assert!(!names.contains(&"urgent"), "{names:?}");
    assert!(names.contains(&"low9") || names.contains(&"low10"), "{names:?}");
    outbox.close().await;
}

#[tokio::test(start_paused = true)]
async fn offering_never_waits_and_what_is_lost_is_counted() {
    let scratch = Scratch::new();
    let fake = Fake::default();
    let (outbox, _told) = begin(&scratch, vec![fake.outlet("a"), fake.store("logs")]);
    // The desk has had no turn yet: this task has not waited for anything.
    for number in 0..1_500 {
        outbox.offer(event(&number.to_string()));
    }
    outbox.ship("{}");
    outbox.ship(&"x".repeat((256 << 10) + 1));
    let facts = outbox.facts();
    assert_eq!((facts[0].lost, facts[1].lost), (1_500 - 1_024, 2));
    let view = until(&outbox, 0, |view| view.delivered + view.given_up >= 1_024).await;
    assert_eq!(view.lost, 476);
    outbox.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_lasts_is_said_again_until_it_is_over_and_its_end_for_a_while() {
    let scratch = Scratch::new();
    let minute = Duration::from_secs(60);
    let repeats = Some(Repeats { every: minute, end_for: 5 * minute });
    let fake = Fake { repeats, ..Fake::default() };
    let (outbox, mut told) = begin(&scratch, vec![fake.outlet("a")]);
    outbox.offered_durably(notice("on", "x", State::Firing)).await.unwrap();
    let begun = clock::now();
    let passed = |span: Duration| move |_: &SinkView| clock::now() - begun > span;
    until(&outbox, 0, passed(10 * minute)).await;
    let said = fake.given().len();
    assert!((10..=12).contains(&said), "{said}");
    outbox.close().await;

    // A restart changes nothing.
    let (outbox, mut again) = begin(&scratch, vec![fake.outlet("a")]);
    until(&outbox, 0, passed(15 * minute)).await;
    let said = fake.given().len();
    assert!((15..=18).contains(&said), "{said}");
    outbox.offered_durably(notice("off", "x", State::Resolved)).await.unwrap();
    until(&outbox, 0, passed(40 * minute)).await;
    let given = fake.given();
    let ends = given.iter().filter(|key| key.starts_with("off")).count();
    assert!((5..=7).contains(&ends), "{given:?}");
    assert!(given.last().unwrap().starts_with("off"), "{given:?}");
    let beginnings = given.iter().position(|key| key.starts_with("off")).unwrap();
    assert!(given[beginnings..].iter().all(|key| key.starts_with("off")), "{given:?}");
    // Repetitions are not deliveries.
    assert_eq!(told.recv().await.unwrap().key, "on");
    assert_eq!(again.recv().await.unwrap().key, "off");
    assert!(told.try_recv().is_err() && again.try_recv().is_err());
    outbox.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_what_a_sink_was_told_reaches_it_whatever_its_filter() {
    let scratch = Scratch::new();
    let fake = Fake::default();
    let filter = Filter { topics: vec![Topic::RollbackStarted], least: Severity::High };
    let (outbox, mut told) = begin(&scratch, vec![fake.filtered("a", filter)]);
    outbox.offered_durably(notice("on", "x", State::Firing)).await.unwrap();
    let end = |key: &str, incident: &str| Notice {
        topic: Topic::RollbackCompleted,
        severity: Severity::Info,
        ..notice(key, incident, State::Resolved)
    };
    outbox.offered_durably(end("off", "x")).await.unwrap();
    outbox.offered_durably(end("other", "y")).await.unwrap();
    assert_eq!(told.recv().await.unwrap().key, "on");
    assert_eq!(told.recv().await.unwrap().key, "off");
    outbox.close().await;
    // The second delivery knows where the first is found.
    assert_eq!(fake.given(), ["on", "off+"]);
    assert!(told.recv().await.is_none());
}
