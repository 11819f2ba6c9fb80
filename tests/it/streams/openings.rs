//! What opens a canary's stream is held until it says something, so that a failed start is
//! answered by stable and leaves no trace; within bounds, and nobody else's is held.

use std::time::{Duration, Instant};

use crate::support::client::{Client, Request};
use crate::support::config::{Config, NO_RULES};
use crate::support::model_server::ModelServer;
use crate::support::streams::{
    CHAT, COMMENT, DONE, ERROR, End, ROLE, STOP, Tape, WORD, chat,
};
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

/// A canary that takes everything, and stable beside it.
fn scene(more: &str) -> (ModelServer, ModelServer, Street) {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    stable.now(chat("v1").script());
    let config = Config::pair(&stable, "100%", &canary)
        .route_with(NO_RULES)
        .route_with("timeouts: { firstByte: 5s, idle: 500ms }");
    let config = if more.is_empty() { config } else { config.route_with(more) };
    let street = Street::open(&config);
    (stable, canary, street)
}

fn ask() -> Request {
    Request::post(CHAT, "{\"stream\":true}")
}

#[test]
fn a_failed_start_is_answered_by_stable_without_a_trace() {
    let empty: &[&str] = &[];
    for (frames, end, class) in [
        (&[ERROR, DONE][..], End::Clean, "stream_error"),
        (&[ROLE, ERROR, DONE], End::Clean, "stream_error"),
        (&[COMMENT, ROLE, COMMENT, ERROR], End::Silence, "stream_error"),
        (&[ROLE, "data: {\"choi\n\n"], End::Clean, "protocol_error"),
        (&[ROLE, STOP, DONE], End::Clean, "empty_stream"),
        (&[ROLE, DONE], End::Clean, "empty_stream"),
        (&[ROLE], End::Clean, "empty_stream"),
        (empty, End::Clean, "empty_stream"),
        (&[ROLE], End::Closed, "truncated"),
        (empty, End::Closed, "truncated"),
        (&[ROLE], End::Silence, "timeout_idle"),
        (&["{\"error\":{\"message\":\"no\"}}"], End::Clean, "stream_error"),
    ] {
        let (_stable, canary, street) = scene("");
        let json = "content-type: application/json\r\n";
        let tape = Tape::of(frames).ends(end);
        let is_json = frames.first().is_some_and(|frame| frame.starts_with('{'));
        let tape = if is_json { tape.fields(json) } else { tape };
        for (times, tape) in (1..).zip([tape.clone(), tape.chunks_of(1)]) {
            canary.now(tape.script());
            let answer = street.ask(&ask());
            let what = format!("{frames:?} {end:?}");
            assert_eq!(answer.body, chat("v1").bytes(), "{what}");
            assert_eq!(answer.version(), "v1", "{what}");
            assert_eq!(answer.field("x-switchback-reason"), "rescue", "{what}");
            let metrics = street.metrics();
            let classes = metrics.classes("v2");
            assert_eq!(metrics.requests("v2", class), times, "{what}: {classes:?}");
            assert_eq!(metrics.requests("v1", "2xx"), times, "{what}");
        }
    }
}

#[test]
fn a_compressed_start_that_fails_is_rescued_too() {
    let (_stable, canary, street) = scene("");
    canary.now(Tape::of(&[ROLE, ERROR, DONE]).gzipped().script());
    assert_eq!(street.ask(&ask()).version(), "v1");
    assert_eq!(street.metrics().requests("v2", "stream_error"), 1);
}

#[test]
fn the_opening_leaves_with_the_first_word() {
    let (stable, canary, street) = scene("");
    let (go, tape) = Tape::of(&[COMMENT, ROLE]).then(&[WORD]);
    let (end, tape) = tape.then(&[STOP, DONE]);
    canary.now(tape.script());
    let mut client = Client::new(street.http);
    client.send(ask().bytes());
    wait::eventually("the canary is asked", SOON, || {
        (canary.requests() == 1).then_some(())
    });
    go.send(()).unwrap();
    let (status, head) = client.head().unwrap();
    assert_eq!((status, head.field("x-model-version").as_deref()), (200, Some("v2")));
    let opening = [COMMENT, ROLE, WORD].concat();
    let mut came = Vec::new();
    while came.len() < opening.len() {
        came.extend(client.pipe.chunk().unwrap());
    }
    assert_eq!(came, opening.as_bytes(), "and the end is still to be written");
    end.send(()).unwrap();
    assert_eq!(client.pipe.chunk().unwrap(), STOP.as_bytes());
    assert_eq!(client.pipe.chunk().unwrap(), DONE.as_bytes());
    assert_eq!(client.pipe.chunk().unwrap(), b"");
    assert_eq!(stable.requests(), 0);
}

#[test]
fn signs_of_life_are_not_held_for_long() {
    let (_stable, canary, street) = scene("");
    let config = "timeouts: { firstByte: 5s, idle: 60s }";
    drop(street);
    let stable = ModelServer::good("v1");
    let street = Street::open(
        &Config::pair(&stable, "100%", &canary).route_with(NO_RULES).route_with(config),
    );
    let (go, tape) = Tape::of(&[COMMENT]).then(&[WORD, STOP]);
    canary.now(tape.script());
    let begun = Instant::now();
    let mut client = Client::new(street.http);
    client.send(ask().bytes());
    client.head().unwrap();
    assert_eq!(client.pipe.chunk().unwrap(), COMMENT.as_bytes());
    let held = begun.elapsed();
    assert!(held > Duration::from_secs(2) && held < Duration::from_secs(8), "{held:?}");
    go.send(()).unwrap();
    assert_eq!(client.pipe.chunk().unwrap(), WORD.as_bytes());
}

#[test]
fn what_opens_a_stream_without_end_is_held_up_to_a_bound() {
    let (_stable, canary, street) = scene("");
    let many = COMMENT.repeat(20_000);
    canary.now(Tape::of(&[&many[..], WORD, STOP]).chunks_of(10_000).script());
    let answer = street.ask(&ask());
    assert_eq!(answer.version(), "v2");
    assert_eq!(answer.body.len(), many.len() + WORD.len() + STOP.len());
}

#[test]
fn stable_is_never_held_nor_what_cannot_be_rescued() {
    let (stable, canary, street) = scene("");
    let post = Request::post("/v1/messages", "{}");
    let start = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n";
    // Not a path whose requests may be sent twice.
    let (_go, tape) = Tape::of(&[start]).then(&[]);
    canary.now(tape.script());
    let mut client = Client::new(street.http);
    client.send(post.bytes());
    client.head().unwrap();
    assert_eq!(client.pipe.chunk().unwrap(), start.as_bytes());
    drop(street);
    // And what stable sends leaves at once.
    let (_go, tape) = Tape::of(&[ROLE]).then(&[]);
    stable.now(tape.script());
    let street = Street::open(&Config::plain(&stable));
    let mut client = Client::new(street.http);
    client.send(ask().bytes());
    client.head().unwrap();
    assert_eq!(client.pipe.chunk().unwrap(), ROLE.as_bytes());
    drop(street);
    let (_stable, canary, street) = scene("rescue: { on: [connect] }");
    let (_go, tape) = Tape::of(&[ROLE]).then(&[]);
    canary.now(tape.script());
    let mut client = Client::new(street.http);
    client.send(ask().bytes());
    client.head().unwrap();
    assert_eq!(client.pipe.chunk().unwrap(), ROLE.as_bytes());
}

#[test]
fn a_stream_of_the_canary_passes_byte_for_byte() {
    let (stable, canary, street) = scene("");
    for size in [1, 2, 17, 100, 1_000_000] {
        let tape = chat("v2").chunks_of(size);
        canary.now(tape.script());
        let answer = street.ask(&ask());
        assert_eq!((answer.version().as_str(), answer.body), ("v2", tape.bytes()));
    }
    assert_eq!((stable.requests(), street.metrics().requests("v2", "2xx")), (0, 5));
}
