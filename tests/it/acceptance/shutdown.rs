//! Given clients at work, when the process is told to end, then every request that reached
//! it is answered within the drain time, and it ends well; what would take longer is cut.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::client::{Client, Request};
use crate::support::config::Config;
use crate::support::load::Load;
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

/// A stream of so many chunks, one every 50 ms.
fn stream(chunks: u64) -> Script {
    Arc::new(move |_, line| {
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for _ in 0..chunks {
            wait::linger(Duration::from_millis(50));
            if !line.chunk("token ") {
                return Then::Close;
            }
        }
        line.send("0\r\n\r\n");
        Then::Keep
    })
}

#[test]
fn a_term_under_load_fails_no_request() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "10%", &canary).workers(2);
    let mut street = Street::open(&config.with("shutdown: { drainTimeout: 5s }"));
    let load = Load::new(street.http).start();
    load.reaches(3_000);
    load.expect_the_end();
    street.signal("TERM");
    let status = street.ends(Duration::from_secs(15));
    let count = load.finish();

    count.is_clean();
    assert!(count.all() >= 3_000);
    assert_eq!(status.code(), Some(0), "{}", street.log());
}

#[test]
fn slow_answers_and_streams_end_before_the_process_does() {
    let server = ModelServer::new(stream(40));
    let mut street = Street::open(&Config::plain(&server).with(LONG_DRAIN));
    let mut streaming = Client::new(street.http);
    streaming.send(Request::get("/stream").bytes());
    streaming.head().unwrap();
    server.now(scripts::slow("v1", Duration::from_secs(1)));
    let mut slow = Client::new(street.http);
    slow.send(Request::infer("{}").bytes());
    wait::eventually("both are on their way", SOON, || {
        (server.requests() == 2).then_some(())
    });
    street.signal("TERM");

    let answer = slow.answer().unwrap();
    assert_eq!((answer.status, answer.is_whole()), (200, true));
    assert_eq!(answer.field("connection"), "close");
    let (body, end) = streaming.pipe.body(crate::support::http1::Framing::Chunked);
    assert!(end.is_ok(), "the stream ended with {end:?}");
    assert_eq!(body.len(), 40 * "token ".len());
    assert_eq!(street.ends(Duration::from_secs(5)).code(), Some(0));
}

#[test]
fn readiness_fails_first() {
    let server = ModelServer::new(stream(40));
    let street = Street::open(&Config::plain(&server).with(LONG_DRAIN));
    assert_eq!(street.admin(Request::get("/readyz")).status, 200);
    let mut streaming = Client::new(street.http);
    streaming.send(Request::get("/stream").bytes());
    streaming.head().unwrap();
    street.signal("TERM");
    wait::eventually("/readyz fails", SOON, || {
        (street.admin(Request::get("/readyz")).status == 503).then_some(())
    });
    assert_eq!(street.admin(Request::get("/livez")).status, 200);
}

#[test]
fn what_takes_longer_than_the_drain_is_cut() {
    let server = ModelServer::new(stream(100_000));
    let config = Config::plain(&server).with("shutdown: { drainTimeout: 1s }");
    let mut street = Street::open(&config);
    let mut endless = Client::new(street.http);
    endless.send(Request::get("/stream").bytes());
    endless.head().unwrap();
    let begun = Instant::now();
    street.signal("TERM");
    let status = street.ends(Duration::from_secs(10));
    assert!(begun.elapsed() >= Duration::from_millis(900), "it did not wait");
    assert_eq!(status.code(), Some(0), "{}", street.log());
    let (_, end) = endless.pipe.body(crate::support::http1::Framing::Chunked);
    assert!(end.is_err(), "a cut stream looks whole");
}

#[test]
fn a_second_term_does_not_wait() {
    let server = ModelServer::new(stream(100_000));
    let mut street = Street::open(&Config::plain(&server).with(LONG_DRAIN));
    let mut endless = Client::new(street.http);
    endless.send(Request::get("/stream").bytes());
    endless.head().unwrap();
    street.signal("TERM");
    wait::eventually("the shutdown has begun", SOON, || {
        (street.admin(Request::get("/readyz")).status == 503).then_some(())
    });
    street.signal("TERM");
    street.ends(Duration::from_secs(5));
}

const LONG_DRAIN: &str = "shutdown: { drainTimeout: 30s }";
