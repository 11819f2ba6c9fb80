//! Given a connection to a version that is used again, when it dies without a byte of an
//! answer, then the request is sent once more on a fresh one and nobody is blamed; but what
//! must not be done twice is not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::support::client::{Client, Request};
use crate::support::config::{BARE, Config};
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::street::Street;

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

const REQUESTS: u64 = 300;
