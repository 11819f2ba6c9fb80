//! A stream that its version cannot end is ended by the proxy: with the dialect's error, as
//! an event of its own wherever the stream was cut, without `[DONE]`, and cleanly. Where no
//! event can be added the connection is cut.

use serde_json::Value;

use crate::support::client::{Answer, Client, Request};
use crate::support::config::{Config, NO_RULES};
use crate::support::h2::H2Client;
use crate::support::model_server::{ModelServer, Then};
use crate::support::scripts;
use crate::support::streams::{CHAT, DONE, EVENTS, End, ROLE, STOP, Tape, WORD};
use crate::support::street::{Street, run};
use crate::support::wait::{self, SOON};

const QUICK: &str = "timeouts: { firstByte: 2s, idle: 300ms }";

fn scene() -> (ModelServer, Street) {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server).route_with(QUICK));
    (server, street)
}

fn ask(street: &Street, path: &str) -> Answer {
    let mut client = Client::new(street.http);
    client.send(Request::post(path, "{}").bytes());
    client.answer().unwrap()
}

/// Name and data of each event.
fn events(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let events = text.split_terminator("\n\n").map(|event| {
        let field = |name: &str| {
            let lines = event.lines().filter_map(|line| line.strip_prefix(name));
            lines.collect::<Vec<_>>().join("\n")
        };
        (field("event: "), field("data: "))
    });
    events.collect()
}

#[test]
fn a_cut_stream_ends_with_the_error_of_its_dialect() {
    let created = "event: response.created\ndata: {\"type\":\"response.created\"}\n\n";
    let said = |data: &Value, pointer: &str| {
        let text = data.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert!(!text.is_empty(), "{pointer} of {data}");
    };
    let table: [(&str, &str, &str, &[&str]); 5] = [
        (CHAT, WORD, "", &["/error/message", "/error/type", "/error/code"]),
        ("/v1/responses", created, "error", &["/message", "/code"]),
        (
            "/v1/messages",
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
            "error",
            &["/error/type", "/error/message"],
        ),
        (
            "/v2/models/m/generate_stream",
            "data: {\"text_output\":\"a\"}\n\n",
            "",
            &["/error"],
        ),
        ("/talk", "data: 1\n\n", "error", &["/detail"]),
    ];
    for (path, frame, name, pointers) in table {
        for end in [End::Closed, End::Silence] {
            let (server, street) = scene();
            server.now(Tape::of(&[frame]).ends(end).script());
            let answer = ask(&street, path);
            assert!(answer.is_whole(), "{path}: {:?}", answer.end);
            let text = answer.text();
            assert!(
                text.starts_with(frame) && !text.contains("[DONE]"),
                "{path}: {text}"
            );
            let events = events(&text);
            let [_, (event, data)] = &events[..] else { panic!("{path}: {text}") };
            assert_eq!(event, name, "{path}");
            let data: Value = serde_json::from_str(data).unwrap();
            pointers.iter().for_each(|pointer| said(&data, pointer));
        }
    }
}

#[test]
fn wherever_it_was_cut_the_error_is_an_event_of_its_own() {
    let frame = WORD.trim_end();
    for end in ["\n\n", "\r\n\r\n", "\r\r"] {
        let whole = format!("{frame}{end}{frame}{end}");
        for cut in (1..whole.len()).step_by(7).chain(whole.len() - 5..=whole.len()) {
            let (server, street) = scene();
            server.now(Tape::of(&[&whole[..cut]]).ends(End::Closed).script());
            let text = ask(&street, CHAT).text();
            assert!(text.starts_with(&whole[..cut]), "{text:?}");
            let events = events(&text);
            let (_, data) = events.last().unwrap();
            let data: Value = serde_json::from_str(data)
                .unwrap_or_else(|error| panic!("{error}: {text:?} cut at {cut}"));
            assert!(data.pointer("/error/message").is_some(), "{text:?}");
            if cut > 150 {
                break;
            }
        }
    }
}

#[test]
fn where_no_event_can_be_added_the_connection_is_cut() {
    let (server, street) = scene();
    let whole = |answer: &Answer| answer.is_whole();
    // Compressed, of a length that was announced, no events at all, or already over.
    server.now(Tape::of(&[ROLE, WORD]).gzipped().ends(End::Closed).script());
    assert!(!whole(&ask(&street, CHAT)));
    let head = format!("HTTP/1.1 200 OK\r\n{EVENTS}content-length: 1000\r\n\r\n{WORD}");
    server.now(scripts::says(head, Then::Close));
    assert!(!whole(&ask(&street, CHAT)));
    let json = Tape::of(&["{\"a\":"]).fields(scripts::JSON).ends(End::Closed);
    server.now(json.script());
    assert!(!whole(&ask(&street, CHAT)));
    server.now(Tape::of(&[WORD, STOP, DONE]).ends(End::Closed).script());
    let answer = ask(&street, CHAT);
    assert!(!whole(&answer) && answer.text().ends_with(DONE), "{}", answer.text());
    wait::eventually("all are counted", SOON, || {
        (street.metrics().requests("v1", "truncated") == 4).then_some(())
    });
}

#[test]
fn a_drain_that_cuts_says_so_in_the_stream() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let cut =
        "rollback: { drain: { timeout: 500ms, onTimeout: cut }, stabilization: 200ms }";
    let config = Config::pair(&stable, "100%", &canary)
        .route_with("timeouts: { idle: 60s }")
        .route_with(cut)
        .route_with(NO_RULES);
    let street = Street::open(&config);
    canary.now(Tape::of(&[ROLE, WORD]).ends(End::Silence).script());
    let mut client = Client::new(street.http);
    client.send(Request::post(CHAT, "{}").bytes());
    client.head().unwrap();
    let admin = format!("http://{}", street.admin);
    let ordered = run(["rollback", "iris", "--reason", "a test", "--admin", &admin]);
    assert!(ordered.status.success(), "{ordered:?}");
    let mut text = String::new();
    loop {
        let chunk = client.pipe.chunk().unwrap();
        if chunk.is_empty() {
            break;
        }
        text += &String::from_utf8(chunk).unwrap();
    }
    assert!(text.starts_with(&[ROLE, WORD].concat()), "{text}");
    let events = events(&text);
    let data: Value = serde_json::from_str(&events.last().unwrap().1).unwrap();
    let message = data["error"]["message"].as_str().unwrap();
    assert!(message.contains("taken out of service"), "{text}");
    assert_eq!(street.metrics().requests("v2", "rejected_by_proxy"), 1);
}

#[test]
fn the_end_of_the_proxy_is_said_in_the_stream() {
    let server = ModelServer::good("v1");
    let config = Config::plain(&server).with("shutdown: { drainTimeout: 500ms }");
    let mut street = Street::open(&config);
    server.now(Tape::of(&[ROLE, WORD]).ends(End::Silence).script());
    let mut client = Client::new(street.http);
    client.send(Request::post(CHAT, "{}").bytes());
    client.head().unwrap();
    for frame in [ROLE, WORD] {
        assert_eq!(client.pipe.chunk().unwrap(), frame.as_bytes());
    }
    street.signal("TERM");
    let rest = client.pipe.chunk().unwrap();
    let events = events(std::str::from_utf8(&rest).unwrap());
    let data: Value = serde_json::from_str(&events[0].1).unwrap();
    assert!(data.pointer("/error/message").is_some(), "{data}");
    assert_eq!(client.pipe.chunk().unwrap(), b"", "a clean end");
    street.ends(SOON);
}

#[test]
fn over_http2_it_ends_the_same_way() {
    let (server, street) = scene();
    server.now(Tape::of(&[ROLE, WORD]).ends(End::Closed).script());
    let mut client = H2Client::new(street.http);
    let request = http::Request::post(format!("http://m{CHAT}")).body(()).unwrap();
    let answer = client.ask(request, b"{}", None).unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.starts_with(&[ROLE, WORD].concat()), "{text}");
    assert!(events(&text).last().unwrap().1.contains("\"error\""), "{text}");
}
