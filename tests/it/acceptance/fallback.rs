//! Given answers that were kept, when both versions fail, then each caller gets the answer
//! to its own question with a banner, in under a second; and a clear error where none is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::client::{Answer, Client, Request};
use crate::support::config::{Config, NO_RULES};
use crate::support::load::Load;
use crate::support::model_server::{ModelServer, Script};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

const CACHE: &str = "fallback: { cache: { enabled: true } }";

/// Answers with who asked what, so that nobody's answer can be taken for another's.
fn personal() -> Script {
    Arc::new(|ask, line| {
        let body = line.body().unwrap_or_default();
        let fields = ["host", "authorization", "cookie", "x-api-key", "x-tenant"]
            .map(|name| ask.head.field(name).unwrap_or_default())
            .join("|");
        let text = format!("{}|{fields}|{}", ask.head.first, body.escape_ascii());
        line.reply(200, "content-type: text/plain\r\n", text)
    })
}

fn degraded(answer: &Answer, what: &str) {
    let raw = answer.head.raw.escape_ascii().to_string();
    assert_eq!(answer.status, 200, "{what}: {raw} {}", answer.text());
    assert!(!answer.field("x-service-degraded").is_empty(), "{what}: no banner: {raw}");
    assert!(answer.field("cache-status").contains("hit"), "{what}: {raw}");
    let age = answer.field("age").parse::<u64>();
    assert!(age.is_ok_and(|age| age < 60), "{what}: {raw}");
}

fn refused(answer: &Answer, what: &str) {
    let raw = answer.head.raw.escape_ascii().to_string();
    assert!([502, 503, 504].contains(&answer.status), "{what}: {raw} {}", answer.text());
    assert!(answer.field("proxy-status").contains("error="), "{what}: {raw}");
    assert!(!answer.field("x-request-id").is_empty(), "{what}: {raw}");
    assert!(answer.field("content-type").contains("json"), "{what}: {raw}");
}

#[test]
fn both_down_is_an_answer_from_the_cache_within_a_second() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "20%", &canary).workers(2);
    let street = Street::open(&config.route_with(NO_RULES).route_with(CACHE));
    let known = Load::new(street.http);
    known.clone().requests(200).run().is_clean();
    stable.kill();
    canary.kill();
    let begun = Instant::now();
    let answer = street.ask(&Request::infer("{\"inputs\":[1,2,3]}"));
    degraded(&answer, "the first answer after the failure");
    assert!(answer.text().contains("\"model\""), "{}", answer.text());
    assert!(begun.elapsed() < Duration::from_secs(1), "after {:?}", begun.elapsed());
    let count = known.requests(500).run();
    count.is_clean();
    assert!(count.longest < Duration::from_secs(1), "{:?}", count.longest);
    refused(&street.ask(&Request::infer("{\"inputs\":[9]}")), "an unknown question");
    let served = street.metrics().count("switchback_cache_served_total", &[]);
    assert_eq!(served, 501, "answers from the cache");

    stable.come_back();
    canary.come_back();
    // The route may have become read-only meanwhile, which it leaves by itself.
    wait::eventually("new questions are answered again", SOON, || {
        let answer = street.ask(&Request::infer("{\"inputs\":[9]}"));
        let plain = answer.field("x-service-degraded").is_empty();
        (answer.status == 200 && plain).then_some(())
    });
    let healed = Load::new(street.http).requests(50).run();
    healed.is_clean();
}

#[test]
fn nobody_gets_anothers_answer() {
    let server = ModelServer::new(personal());
    let street = Street::open(&Config::plain(&server).route_with(CACHE));
    let ask = |body: &str| Request::infer(body);
    let questions = [
        ask("a"),
        ask("b"),
        ask("a").field("authorization", "Bearer one"),
        ask("a").field("authorization", "Bearer two"),
        ask("a").field("cookie", "s=1"),
        ask("a").field("cookie", "s=2"),
        ask("a").field("x-api-key", "k1"),
        ask("a").field("x-tenant", "t1"),
        ask("a").host("other.test"),
        Request::post("/v2/models/iris/infer?x=1", "a")
            .field("content-type", "application/json"),
        Request::post("/v2/models/iris/infer", "a").field("content-type", "text/plain"),
        Request::get("/v2/models/iris"),
        Request::get("/v2/models/iris?a=1"),
    ];
    let fresh: Vec<String> = questions.iter().map(|q| street.ask(q).text()).collect();
    server.kill();
    for (question, text) in questions.iter().zip(&fresh) {
        let answer = street.ask(question);
        degraded(&answer, text);
        assert_eq!(answer.text(), *text, "another's answer");
    }
    for stranger in [
        ask("a").field("authorization", "Bearer three"),
        ask("a").field("authorization", "Bearer one").field("x-tenant", "t1"),
        ask("a").field("cookie", "s=1; t=2"),
        ask("a").host("third.test"),
        ask("a "),
        Request::get("/v2/models/iris?a=1&b=2"),
        Request::get("/v2/models/iris/"),
        Request::get("/v2/models/%69ris"),
        Request::new("DELETE", "/v2/models/iris"),
    ] {
        refused(&street.ask(&stranger), &format!("{stranger:?}"));
    }
}

#[test]
fn what_must_not_be_kept_is_not_kept() {
    let never = [
        ("cache-control: private\r\n", 200),
        ("cache-control: no-store\r\n", 200),
        ("cache-control: max-age=1, NO-STORE\r\n", 200),
        ("content-range: bytes 0-1/10\r\n", 206),
        ("retry-after: 1\r\n", 429),
        ("", 500),
        ("", 503),
        ("vary: *\r\n", 200),
    ];
    for (fields, status) in never {
        let reply: Script = Arc::new(move |_, line| {
            line.body().unwrap_or_default();
            line.reply(status, fields, "xx")
        });
        let server = ModelServer::new(reply);
        let street = Street::open(&Config::plain(&server).route_with(CACHE));
        assert_eq!(street.ask(&Request::infer("a")).status, status);
        server.kill();
        refused(&street.ask(&Request::infer("a")), &format!("{fields}{status}"));
    }
}

#[test]
fn a_truncated_answer_is_not_kept() {
    let server = ModelServer::new(scripts::truncates());
    let street = Street::open(&Config::plain(&server).route_with(CACHE));
    let mut client = Client::new(street.http);
    let cut = client.send(Request::infer("a").bytes()).answer().unwrap();
    assert!(!cut.is_whole());
    server.kill();
    refused(&street.ask(&Request::infer("a")), "after a truncated answer");
}

#[test]
fn a_rolled_back_versions_answers_are_never_served() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "100%", &canary).route_with(CACHE);
    let street = Street::open(&config);
    let question = Request::infer("only the canary knew");
    assert_eq!(street.ask(&question).version(), "v2");
    canary.now(scripts::status(500));
    let load = Load::new(street.http).start();
    street.rolled_back("v2");
    load.stop().is_clean();
    stable.kill();
    canary.kill();
    refused(&street.ask(&question), "an answer of a quarantined version");
    degraded(&street.ask(&Request::infer("{\"inputs\":[1,2,3]}")), "stable's answer");
}

#[test]
fn without_opting_in_nothing_is_kept() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    assert_eq!(street.ask(&Request::infer("a")).status, 200);
    server.kill();
    let answer = street.ask(&Request::infer("a"));
    refused(&answer, "no cache");
    assert_eq!(answer.field("cache-status"), "");
}

#[test]
fn the_banners_words_are_the_configurations() {
    let server = ModelServer::good("v1");
    let lines = "fallback: { cache: { enabled: true }, banner: \
                 { header: x-old-news, jsonField: degraded, message: read only } }";
    let street = Street::open(&Config::plain(&server).route_with(lines));
    street.ask(&Request::infer("a"));
    server.kill();
    let answer = street.ask(&Request::infer("a"));
    assert!(answer.field("x-old-news").contains("read only"), "{answer:?}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["model"], "v1", "{body}");
    assert!(body["degraded"].to_string().contains("read only"), "{body}");
}

#[test]
fn a_body_that_the_cache_answered_is_no_next_request() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server).route_with(CACHE));
    let inner = "GET /smuggled HTTP/1.1\r\nhost: models.test\r\n\r\n";
    let known = Request::infer(inner);
    street.ask(&known);
    server.kill();
    let mut client = Client::new(street.http);
    client.send(known.bytes()).send(Request::get("/v2/after").bytes());
    degraded(&client.answer().unwrap(), "a kept answer");
    if let Ok(next) = client.answer() {
        refused(&next, "the next request");
    }
    server.come_back();
    street.ask(&known);
    assert!(server.seen().iter().all(|ask| ask.target() != "/smuggled"));
}
