//! What a stream comes to is counted in its class, whatever the dialect, the chunks and the
//! coding; and a bad canary is rolled back by it.

use std::time::Duration;

use crate::support::client::{Client, INFER, Request};
use crate::support::config::{Config, NO_RULES};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::streams::{
    CHAT, COMMENT, DONE, ERROR, EVENTS, End, ROLE, STOP, Tape, WORD, chat,
};
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

/// A stream in its class: path, frames, end, class.
type Case = (&'static str, &'static [&'static str], End, &'static str);

const MESSAGES: &str = "/v1/messages";
const GENERATE: &str = "/v2/models/m/generate_stream";
const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n";
const DELTA: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
const MESSAGE_STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const OVERLOADED: &str = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
const TEXT: &str =
    "data: {\"model_name\":\"m\",\"model_version\":\"1\",\"text_output\":\"Hi\"}\n\n";
const CREATED: &str =
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{}}\n\n";
const OUTPUT: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n";
const COMPLETED: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{}}\n\n";

const CASES: &[Case] = &[
    (CHAT, &[ROLE, WORD, STOP, DONE], End::Clean, "2xx"),
    // `transformers serve` never says that it is done.
    (CHAT, &[ROLE, WORD, STOP], End::Clean, "2xx"),
    (CHAT, &[ROLE, WORD, DONE], End::Clean, "2xx"),
    // The six ways.
    (CHAT, &[ROLE, WORD], End::Closed, "truncated"),
    (CHAT, &[ROLE, WORD], End::Reset, ""),
    (CHAT, &[ROLE, WORD, ERROR, DONE], End::Clean, "stream_error"),
    (GENERATE, &[TEXT, "data: {\"error\":\"no\"}\n\n"], End::Clean, "stream_error"),
    (CHAT, &[ROLE, WORD], End::Clean, "truncated"),
    (
        CHAT,
        &[ROLE, WORD, "data: {\"choices\":[{\n\n", STOP, DONE],
        End::Clean,
        "protocol_error",
    ),
    (CHAT, &[ROLE, WORD], End::Silence, "timeout_idle"),
    // And more of the kind.
    (CHAT, &[ROLE, WORD, ERROR], End::Closed, "stream_error"),
    (CHAT, &[ROLE, STOP, DONE], End::Clean, "empty_stream"),
    (CHAT, &[COMMENT, DONE], End::Clean, "empty_stream"),
    (CHAT, &[], End::Clean, "empty_stream"),
    ("/v1/responses", &[CREATED, OUTPUT, COMPLETED], End::Clean, "2xx"),
    ("/v1/responses", &[CREATED, OUTPUT], End::Clean, "truncated"),
    ("/v1/responses", &[CREATED, COMPLETED], End::Clean, "empty_stream"),
    (MESSAGES, &[START, DELTA, MESSAGE_STOP], End::Clean, "2xx"),
    (MESSAGES, &[START, DELTA], End::Clean, "truncated"),
    (MESSAGES, &[START, DELTA, OVERLOADED], End::Clean, "stream_error"),
    (MESSAGES, &[START, MESSAGE_STOP], End::Clean, "empty_stream"),
    (GENERATE, &[TEXT, TEXT], End::Clean, "2xx"),
    (GENERATE, &[], End::Clean, "empty_stream"),
    // Nothing is demanded of a stream of nobody knows whom.
    ("/talk", &["plain text, labelled as events"], End::Clean, "2xx"),
    ("/talk", &["data: 1\n\n"], End::Clean, "2xx"),
    ("/talk", &[], End::Clean, "2xx"),
    (
        "/talk",
        &["data: 1\n\n", "data: {\"error\":\"no\"}\n\n"],
        End::Clean,
        "stream_error",
    ),
    ("/talk", &["data: 1\n\n"], End::Closed, "truncated"),
];

const QUICK: &str = "timeouts: { firstByte: 2s, idle: 300ms }";

fn counted(street: &Street, class: &str, times: u64, what: &str) {
    wait::eventually(&format!("{what} is counted as {class:?}"), SOON, || {
        let classes = street.metrics().classes("v1");
        let all: u64 = classes.values().sum();
        let known = if class.is_empty() {
            // A reset may overtake what was sent before it.
            let resets = ["upstream_reset", "truncated"];
            resets.iter().filter_map(|class| classes.get(*class)).sum::<u64>()
        } else {
            classes.get(class).copied().unwrap_or_default()
        };
        assert!(all <= times, "{what}: {classes:?}");
        assert!(all < times || known == times, "{what}: {classes:?}");
        (known == times).then_some(())
    });
}

#[test]
fn each_way_to_fail_is_counted_in_its_class_in_any_chunks() {
    for (path, frames, end, class) in CASES {
        let server = ModelServer::good("v1");
        let street = Street::open(&Config::plain(&server).route_with(QUICK));
        let tape = Tape::of(frames).ends(*end);
        let carriage =
            Tape::of(&[frames.concat().replace('\n', "\r\n").as_str()]).ends(*end);
        let tapes = [
            tape.clone(),
            tape.clone().chunks_of(1),
            tape.chunks_of(1_000_000),
            carriage,
        ];
        for (times, tape) in (1..).zip(&tapes) {
            server.now(tape.script());
            let mut client = Client::new(street.http);
            client.send(Request::post(path, "{\"stream\":true}").bytes());
            let answer = client.answer().unwrap();
            let what = format!("{path} {frames:?} {end:?} ({times})");
            assert_eq!(answer.status, 200, "{what}");
            // What the server sent comes first, byte for byte.
            if *end != End::Reset {
                assert!(
                    answer.body.starts_with(&tape.bytes()),
                    "{what}: {}",
                    answer.text()
                );
            }
            if *end == End::Clean {
                assert_eq!(answer.text().as_bytes(), tape.bytes(), "{what}");
            }
            counted(&street, class, times, &what);
        }
        assert!(server.faults().is_empty(), "{:?}", server.faults());
    }
}

#[test]
fn a_compressed_stream_is_seen_through_and_passes_as_it_is() {
    for (frames, class) in [
        (&[ROLE, WORD, STOP, DONE][..], "2xx"),
        (&[ROLE, WORD, ERROR, DONE], "stream_error"),
        (&[ROLE, WORD], "truncated"),
        (&[ROLE, DONE], "empty_stream"),
    ] {
        let server = ModelServer::good("v1");
        let street = Street::open(&Config::plain(&server));
        let tape = Tape::of(frames).gzipped();
        for (times, tape) in (1..).zip([tape.clone(), tape.chunks_of(1)]) {
            server.now(tape.script());
            let request = Request::post(CHAT, "{}").field("accept-encoding", "gzip");
            let answer = street.ask(&request);
            assert_eq!(answer.body, tape.bytes(), "{frames:?}");
            assert_eq!(answer.field("content-encoding"), "gzip");
            counted(&street, class, times, &format!("{frames:?}"));
        }
    }
}

#[test]
fn what_cannot_be_seen_through_blames_nobody() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    for (times, coding) in (1..).zip(["br", "zstd"]) {
        let fields = format!("{EVENTS}content-encoding: {coding}\r\n");
        server.now(Tape::of(&["\u{1b}any", "thing"]).fields(&fields).script());
        assert_eq!(street.ask(&Request::post(CHAT, "{}")).text(), "\u{1b}anything");
        counted(&street, "2xx", times, coding);
    }
    // A bomb costs a bounded effort and passes.
    let zeros = "\0".repeat(48 << 20);
    server.now(Tape::of(&[&zeros[..]]).gzipped().script());
    assert_eq!(street.ask(&Request::post(CHAT, "{}")).status, 200);
    counted(&street, "2xx", 3, "a bomb");
}

#[test]
fn an_error_object_under_a_200_is_an_error() {
    let error = "{\"error\":{\"message\":\"CUDA out of memory\",\"code\":500}}";
    let json = scripts::JSON;
    for (path, body, class) in [
        (CHAT, error, "stream_error"),
        (INFER, "{\"error\":\"failed to infer\"}", "stream_error"),
        (
            MESSAGES,
            "{\"type\":\"error\",\"error\":{\"type\":\"api_error\"}}",
            "stream_error",
        ),
        (CHAT, "{\"error\":{\"message\":\"too long\",\"code\":400}}", "4xx"),
        (CHAT, "{\"error\":null,\"choices\":[]}", "2xx"),
        ("/v2/models/m/infer", "{\"outputs\":[{\"name\":\"error\"}]}", "2xx"),
        ("/talk", "{\"error\":\"who knows\"}", "2xx"),
    ] {
        let server = ModelServer::good("v1");
        let street = Street::open(&Config::plain(&server));
        let tape = Tape::of(&[body]).fields(json);
        server.now(tape.script());
        assert_eq!(street.ask(&Request::post(path, "{}")).text(), body);
        counted(&street, class, 1, body);
        let body = body.to_owned();
        server.now(std::sync::Arc::new(move |_, line| {
            line.body().unwrap();
            line.reply(200, json, &body)
        }));
        street.ask(&Request::post(path, "{}"));
        counted(&street, class, 2, path);
    }
}

#[test]
fn the_route_may_name_its_dialect() {
    let server = ModelServer::good("v1");
    let config = Config::plain(&server).route_with("dialect: openai");
    let street = Street::open(&config);
    server.now(Tape::of(&[ROLE, WORD]).script());
    street.ask(&Request::post("/anything", "{}"));
    counted(&street, "truncated", 1, "by the route's dialect");
    let street = Street::open(&Config::plain(&server).route_with("dialect: plain"));
    street.ask(&Request::post(CHAT, "{}"));
    counted(&street, "2xx", 1, "by the route's dialect");
}

#[test]
fn a_caller_that_leaves_at_the_error_has_seen_it() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    for (times, (frame, class)) in
        (1..).zip([(ERROR, "stream_error"), (DONE, "2xx"), (WORD, "client_cancelled")])
    {
        server.now(Tape::of(&[ROLE, WORD, frame]).ends(End::Silence).script());
        let mut client = Client::new(street.http);
        client.send(Request::post(CHAT, "{}").bytes());
        client.head().unwrap();
        for frame in [ROLE, WORD, frame] {
            assert_eq!(client.pipe.chunk().unwrap(), frame.as_bytes());
        }
        drop(client);
        wait::eventually("the server is told", SOON, || {
            (server.open_connections() == 0).then_some(())
        });
        wait::eventually("it is counted", SOON, || {
            let metrics = street.metrics();
            let all: u64 = metrics.classes("v1").values().sum();
            (all == times && metrics.requests("v1", class) == 1).then_some(())
        });
    }
}

#[test]
fn a_canary_whose_streams_fail_is_rolled_back_and_no_caller_sees_it() {
    // Its first frame is an error, or there is none: what can be spared is spared.
    for frames in [&[ROLE, ERROR, DONE][..], &[ROLE, STOP, DONE], &[COMMENT]] {
        let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
        stable.now(chat("v1").script());
        canary.now(Tape::of(frames).script());
        let street = Street::open(&Config::pair(&stable, "20%", &canary));
        let load = Load::new(street.http)
            .of(Request::post(CHAT, "{\"stream\":true}"))
            .clients(4)
            .paced(Duration::from_millis(5))
            .start();
        street.rolled_back("v2");
        load.stop().is_clean();
    }
}

#[test]
fn a_canary_whose_streams_break_off_is_rolled_back() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    stable.now(chat("v1").script());
    canary.now(Tape::of(&[ROLE, WORD, WORD]).script());
    let street = Street::open(&Config::pair(&stable, "20%", &canary));
    let load = Load::new(street.http)
        .of(Request::post(CHAT, "{\"stream\":true}"))
        .clients(4)
        .paced(Duration::from_millis(5))
        .start();
    street.rolled_back("v2");
    load.stop();
    let metrics = street.metrics();
    assert!(metrics.requests("v2", "truncated") > 0, "{:?}", metrics.classes("v2"));
    assert_eq!(metrics.requests("v1", "truncated"), 0);
}

#[test]
fn the_cache_keeps_no_stream_that_ended_badly() {
    const CACHE: &str = "fallback: { cache: { enabled: true } }";
    let server = ModelServer::good("v1");
    let street =
        Street::open(&Config::plain(&server).route_with(CACHE).route_with(NO_RULES));
    let request =
        Request::post(CHAT, "{\"q\":1}").field("content-type", "application/json");
    for tape in [
        Tape::of(&[ROLE, WORD, ERROR, DONE]),
        Tape::of(&[ROLE, WORD]),
        Tape::of(&["{\"error\":{\"message\":\"no\"}}"]).fields(scripts::JSON),
    ] {
        server.now(tape.script());
        assert_eq!(street.ask(&request).status, 200);
        server.now(scripts::status(500));
        let answer = street.ask(&request);
        assert_eq!(answer.status, 500, "a bad answer was kept: {}", answer.text());
    }
}
