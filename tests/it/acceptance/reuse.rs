//! Given a connection to a version that is used again, when it dies without a byte of an
//! answer, then the request is sent once more on a fresh one and nobody is blamed; but what
//! must not be done twice is not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::client::{Client, Request};
use crate::support::config::{BARE, Config};
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::street::Street;
use crate::support::wait;

/// Answers the first request of each connection and ends the connection at the second.
fn mayfly(end: Then) -> Script {
    Arc::new(move |ask, line| {
        line.body().unwrap_or_default();
        if ask.turn == 1 { line.reply(200, "", "ok") } else { end }
    })
}

fn is_blameless(end: Then, config: impl FnOnce(Config) -> Config) {
    let server = ModelServer::new(mayfly(end));
    let street = Street::open(&config(Config::plain(&server)));
    let mut client = Client::new(street.http);
    for turn in 0..REQUESTS {
        let answer = client.ask(&Request::infer("{}"));
        assert_eq!(answer.status, 200, "request {turn}: {}", answer.text());
    }
    assert!(server.requests() > REQUESTS, "no connection was used again");
    let metrics = street.metrics();
    let classes = metrics.classes("v1");
    assert_eq!(classes, [("2xx".to_owned(), REQUESTS)].into(), "somebody was blamed");
    assert_eq!(street.version("v1")["failures"], 0);
    assert_eq!(street.version("v1")["healthy_endpoints"], 1);
}

#[test]
fn a_reused_connection_that_closes_is_nobodys_fault() {
    is_blameless(Then::Close, |config| config);
}

#[test]
fn a_reused_connection_that_resets_is_nobodys_fault() {
    is_blameless(Then::Reset, |config| config);
}

#[test]
fn that_needs_no_retries_in_the_configuration() {
    is_blameless(Then::Close, |config| config.route_with(BARE));
}

#[test]
fn an_idle_connection_that_the_server_closed_is_not_used() {
    let server = ModelServer::new(Arc::new(|_, line| {
        line.body().unwrap_or_default();
        line.reply(200, "", "ok");
        Then::Close
    }));
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    for turn in 0..50 {
        // Whether it may be sent twice does not matter when it is sent once.
        let answer = client.ask(&Request::post("/train", "{}"));
        assert!([200, 502].contains(&answer.status), "request {turn}: {}", answer.text());
    }
    assert_eq!(street.version("v1")["healthy_endpoints"], 1, "{}", street.version("v1"));
}

#[test]
fn what_must_not_be_done_twice_is_not() {
    let done: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let counted = done.clone();
    let server = ModelServer::new(Arc::new(move |ask, line| {
        if line.body().is_err() {
            return Then::Close;
        }
        let id = ask.head.field("x-test-id").unwrap_or_default();
        *counted.lock().unwrap().entry(id).or_default() += 1;
        if ask.turn == 1 { line.reply(200, "", "ok") } else { Then::Close }
    }));
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    for turn in 0..REQUESTS {
        let id = turn.to_string();
        let answer = client.ask(&Request::post("/train", "{}").field("x-test-id", &id));
        let fair = answer.status == 200
            || (answer.status == 502 && !answer.field("proxy-status").is_empty());
        assert!(fair, "request {turn}: {} {}", answer.status, answer.text());
    }
    let done = done.lock().unwrap();
    let twice: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "done more than once: {twice:?}");
}

/// The server ends each connection some moment after its answer, while the next request is on
/// its way: before it, with it, or after it was read. How often an order was carried out, and
/// how many requests failed.
fn races(end: Then, more: &str) -> (HashMap<String, u32>, u64) {
    let done: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let counted = done.clone();
    let server = ModelServer::new(Arc::new(move |ask, line| {
        if line.body().is_err() {
            return Then::Close;
        }
        let id = ask.head.field("x-test-id").unwrap_or_default();
        let moment: u64 = id.bytes().map(u64::from).sum();
        *counted.lock().unwrap().entry(id).or_default() += 1;
        if line.reply(200, "", "ok") == Then::Close || moment.is_multiple_of(3) {
            return end;
        }
        wait::linger(Duration::from_micros(moment * 37 % 900));
        end
    }));
    let street = Street::open(&Config::plain(&server).workers(2).route_with(more));
    let failed = std::thread::scope(|scope| {
        let caller = |caller: u64| {
            let mut client = Client::new(street.http);
            let turns = 0..race_count() / (2 * CALLERS);
            let ask = |turn| {
                let id = format!("{caller}-{turn}");
                let order = Request::post("/train", "{}").field("x-test-id", &id);
                let answer = client.ask(&order);
                assert!([200, 502].contains(&answer.status), "{}", answer.text());
                u64::from(answer.status == 502)
            };
            turns.map(ask).sum::<u64>()
        };
        let callers: Vec<_> =
            (0..CALLERS).map(|number| scope.spawn(move || caller(number))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    let done = std::mem::take(&mut *done.lock().unwrap());
    (done, failed)
}

#[test]
fn no_order_races_with_the_end_of_its_connection_and_is_done_twice() {
    for end in [Then::Close, Then::Reset] {
        let (done, _) = races(end, "repeatable: false");
        let twice: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "done more than once: {twice:?}");
        // Where it may be sent again, nobody sees that a connection ended.
        let (done, failed) = races(end, "repeatable: true");
        assert_eq!(failed, 0, "{} orders", done.len());
    }
}

/// 10,000 in CI; fewer by default, so that the suite stays quick.
fn race_count() -> u64 {
    std::env::var("SWITCHBACK_TEST_RACES").map_or(2_000, |n| n.parse().unwrap())
}

const CALLERS: u64 = 4;
const REQUESTS: u64 = 300;
