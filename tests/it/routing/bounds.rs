//! What callers make up leaves no trace that grows: no label, no line of the log, no memory
//! (THREATS 36 and 37).

use std::fmt::Write;
use std::sync::Arc;

use crate::support::client::{Client, Request};
use crate::support::config::{Config, NO_RULES, Route};
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::street::Street;

/// Distinct things of every kind that are tried: 100 800 in all.
const EACH: usize = 8_400;
/// Requests that are sent before their answers are read.
const BATCH: usize = 50;
const KINDS: usize = 12;

#[test]
fn a_hundred_thousand_made_up_names_add_no_series() {
    let servers = [ModelServer::new(says()), ModelServer::new(says())];
    let route = |name: &str, matches: &str, more: &str| {
        Route::new(name)
            .stable("v1", &servers[0])
            .canary("v2", "10%", &servers[1])
            .with(&format!("match: {matches}"))
            .with("pin: { header: x-model-pin, allowed: [v1, v2] }")
            .with(more)
            .with(NO_RULES)
    };
    let config = Config::new([
        route("rest", "{}", "sessionAffinity: { by: header, name: x-session-id }"),
        route("named", "{ model: b }", "sessionAffinity: { by: cookie }"),
    ]);
    let config = config.listener("trustForwardedFrom: [127.0.0.0/8]");
    let street = Street::open(&config);
    let all = |from: usize, count: usize| {
        let mut client = Client::new(street.http);
        for batch in (from..from + count).step_by(BATCH) {
            let mut bytes = Vec::new();
            for at in batch..batch + BATCH {
                bytes.extend(made_up(at));
            }
            client.send(bytes);
            for at in batch..batch + BATCH {
                let answer = client.answer().unwrap_or_else(|it| panic!("{at}: {it:?}"));
                assert!((200..600).contains(&answer.status), "{}", answer.status);
            }
        }
    };
    // Every kind once, so that the classes that occur have their series.
    all(0, KINDS * BATCH);
    let (series, memory) = (street.metrics().series(), street.rss());
    all(1_200, KINDS * EACH);
    let (more, grown) = (street.metrics().series(), street.rss());
    assert!(more <= series + 10, "{series} series became {more}");
    let most = memory + 16 * 1024 * 1024;
    assert!(grown < most, "{} KiB became {} KiB", memory / 1024, grown / 1024);
    let page = street.admin(Request::get("/metrics")).text();
    assert!(!page.contains("made-up"), "a label says what a caller said");
    street.is_well();
}

/// Answers with the status and the fields that a request asks for.
fn says() -> Script {
    Arc::new(|ask, line| {
        let status = ask.head.field("x-say-status").map_or(200, |it| it.parse().unwrap());
        let field = ask.head.field("x-say-field").map(|field| format!("{field}\r\n"));
        match line.body() {
            Ok(_) => line.reply(status, &field.unwrap_or_default(), "{}"),
            Err(_) => Then::Close,
        }
    })
}

/// The request of that number; its kind goes round.
fn made_up(at: usize) -> Vec<u8> {
    let name = format!("made-up-{at}");
    let plain = Request::get("/v2/models/iris/infer");
    match at % KINDS {
        0 => plain.field("x-model-pin", &name),
        1 => Request::get(&format!("/v2/models/{name}/infer")),
        2 => Request::get(&format!("/v2/models/iris/versions/{name}/infer")),
        3 => Request::new(&format!("MADE{at}"), "/x"),
        4 => plain.host(&format!("{name}.test")),
        5 => plain.field("x-session-id", &name),
        6 => Request::post("/v1/completions", format!(r#"{{"model":"{name}"}}"#)),
        7 => Request::get("/v2/models/b")
            .field("cookie", &format!("switchback-session={name}")),
        // What versions say is not believed to be few things, either.
        8 => plain.field("x-say-status", &(400 + at % 99).to_string()),
        9 => Request::post("/a.B/C", b"\0\0\0\0\0")
            .field("content-type", "application/grpc")
            .field("x-say-field", &format!("grpc-status: {at}")),
        10 => plain.field("x-say-field", &format!("{name}: {name}")),
        _ => plain
            .field("user-agent", &name)
            .field("x-request-id", &name)
            .field(&name, "1")
            .field("x-forwarded-for", &format!("10.{}.{}.1", at / 256 % 256, at % 256)),
    }
    .bytes()
}

#[test]
fn no_name_writes_a_line_of_the_log() {
    let server = ModelServer::good("v1");
    let route = Route::new("iris")
        .stable("v1", &server)
        .with("match: { model: b }")
        .with("pin: { header: x-model-pin, allowed: [v1] }");
    let config = Config::new([route]).listener("trustForwardedFrom: [127.0.0.0/8]");
    let street = Street::open(&config);
    let mark = "forged-line";
    let line = format!("%0a{{\"level\":\"audit\",\"{mark}\":1}}%0d%0a");
    let mut body = String::new();
    write!(body, r#"{{"model":"\n{{\"level\":\"audit\"}}\u001b[2J {mark}"}}"#).unwrap();
    for request in [
        Request::get(&format!("/v2/models/{}/infer", line.replace(['{', '}', '"'], ""))),
        Request::get(&format!("/v2/models/b/versions/%1b%5b2J%0a{mark}/infer")),
        Request::post("/v1/completions", &body),
        Request::post("/v1/completions", r#"{"model":"b","model":"forged-line"}"#),
        Request::get("/v2/models/b").field("x-model-pin", &format!("v9{line}")),
        Request::get("/v2/models/b")
            .field("x-model-pin", mark)
            .field("x-model-pin", mark),
    ] {
        let answer = street.ask(&request);
        assert!([200, 400, 404].contains(&answer.status));
        assert!(
            !answer.text().contains(mark) || answer.status == 200,
            "{}",
            answer.text()
        );
    }
    let log = street.log();
    assert!(!log.contains(mark) && !log.contains('\u{1b}'), "{log}");
}
