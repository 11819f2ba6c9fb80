//! What is stamped, what is taken off and what passes untouched.

use std::sync::Arc;

use crate::support::client::{Answer, Client, INFER, Request};
use crate::support::config::Config;
use crate::support::model_server::{Ask, ModelServer, Script};
use crate::support::scripts;
use crate::support::street::Street;

fn asked(config: impl FnOnce(Config) -> Config, request: &Request) -> (Ask, Answer) {
    let server = ModelServer::good("v1");
    let street = Street::open(&config(Config::plain(&server)));
    let answer = street.ask(request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.faults(), Vec::<String>::new());
    let ask = server.seen().remove(0);
    (ask, answer)
}

fn trusting(config: Config) -> Config {
    config.listener("trustForwardedFrom: [127.0.0.0/8]")
}

fn field(ask: &Ask, name: &str) -> String {
    ask.head.field(name).unwrap_or_default()
}

#[test]
fn every_answer_says_its_version_and_its_request() {
    let (ask, answer) = asked(|c| c, &Request::infer("{}"));
    assert_eq!(answer.version(), "v1");
    let id = answer.field("x-request-id");
    assert!(id.len() >= 16, "{id:?}");
    assert_eq!(field(&ask, "x-request-id"), id, "the server's id");
    let parent = field(&ask, "traceparent");
    let parts: Vec<&str> = parent.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    assert_eq!(lengths, [2, 32, 16, 2], "{parent:?}");
}

#[test]
fn what_a_trusted_caller_says_of_itself_is_believed() {
    let request = Request::infer("{}")
        .field("x-request-id", "cmpl-42")
        .field("x-forwarded-for", "203.0.113.9")
        .field("x-forwarded-proto", "https")
        .field("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let (ask, answer) = asked(trusting, &request);
    assert_eq!(answer.field("x-request-id"), "cmpl-42");
    assert_eq!(field(&ask, "x-request-id"), "cmpl-42");
    assert_eq!(field(&ask, "x-forwarded-for"), "203.0.113.9, 127.0.0.1");
    assert_eq!(field(&ask, "x-forwarded-proto"), "https");
    let parent = field(&ask, "traceparent");
    assert!(parent.contains("0af7651916cd43dd8448eb211c80319c"), "{parent:?}");
}

#[test]
fn what_a_stranger_says_of_itself_is_not() {
    let request = Request::infer("{}")
        .field("x-forwarded-for", "203.0.113.9")
        .field("x-forwarded-proto", "https")
        .field("x-forwarded-host", "evil.test")
        .field("forwarded", "for=203.0.113.9;host=evil.test")
        .field("x-model-version", "v9");
    let (ask, answer) = asked(|c| c, &request);
    assert_eq!(field(&ask, "x-forwarded-for"), "127.0.0.1");
    assert_eq!(field(&ask, "x-forwarded-proto"), "http");
    assert!(!ask.head.raw.escape_ascii().to_string().contains("evil.test"));
    assert!(!field(&ask, "forwarded").contains("203.0.113.9"));
    assert_eq!(field(&ask, "x-model-version"), "");
    assert_eq!(answer.version(), "v1");
}

#[test]
fn fields_of_the_hop_end_here() {
    let request = Request::infer("{}")
        .field("connection", "x-private, keep-alive")
        .field("x-private", "1")
        .field("keep-alive", "timeout=5")
        .field("proxy-connection", "keep-alive")
        .field("proxy-authorization", "Basic eA==")
        .field("te", "trailers, deflate")
        .field("x-kept", "1");
    let (ask, _) = asked(|c| c, &request);
    for gone in ["x-private", "keep-alive", "proxy-connection", "proxy-authorization"] {
        assert_eq!(field(&ask, gone), "", "{gone}");
    }
    assert_eq!(field(&ask, "x-kept"), "1");
}

#[test]
fn the_target_the_host_and_the_body_arrive_as_they_left() {
    let targets = [
        "/v2/models/iris/infer?a=%2f&b=c%20d&&",
        "/v2/%2e%2e/x",
        "/a//b/",
        "/;p=1",
        "/a/../b",
        "/?",
        "/caf%c3%a9",
        "/a:b@c!$&'()*+,=",
    ];
    let server = ModelServer::new(scripts::echo());
    let street = Street::open(&Config::plain(&server));
    for target in targets {
        let body: Vec<u8> = (0..=255).collect();
        let answer = street.ask(&Request::post(target, &body).host("models.test:8080"));
        assert_eq!(answer.body, body, "{target}");
        let ask = server.asked(target);
        assert_eq!(
            ask.head.field("host").as_deref(),
            Some("models.test:8080"),
            "{target}"
        );
    }
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "HEAD"] {
        let answer = street.ask(&Request::new(method, "/method"));
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(server.asked("/method").method(), method);
    }
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn odd_but_lawful_answers_pass_unchanged() {
    let odd: Script = Arc::new(|_, line| {
        line.body().unwrap_or_default();
        line.send(
            "HTTP/1.1 200 \r\nts_stream_next: true\r\nx-empty:\r\nset-cookie: a=1\r\n\
             set-cookie: b=2\r\ncontent-encoding: gzip\r\nx-model-version: liar\r\n\
             connection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5, max=100\r\n\
             inference-header-content-length: 7\r\ncontent-length: 4\r\n\r\n\x1f\u{0}zz",
        );
        crate::support::model_server::Then::Keep
    });
    let server = ModelServer::new(odd);
    let street = Street::open(&Config::plain(&server));
    let answer = street.ask(&Request::infer("{}"));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("ts_stream_next"), "true");
    assert_eq!(answer.head.all("x-empty"), [""]);
    assert_eq!(answer.head.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.field("content-encoding"), "gzip");
    assert_eq!(answer.field("inference-header-content-length"), "7");
    assert_eq!(answer.head.all("x-model-version"), ["v1"]);
    assert_eq!(
        (answer.field("x-hop"), answer.field("keep-alive")),
        (String::new(), String::new())
    );
    assert_eq!(answer.body, b"\x1f\0zz");
    assert!(answer.head.all("date").len() <= 1);
}

#[test]
fn statuses_and_bodiless_answers_keep_their_framing() {
    let script: Script = Arc::new(|ask, line| {
        let status = ask.target().trim_start_matches('/').parse().unwrap_or(200);
        line.body().unwrap_or_default();
        if [204, 304].contains(&status) {
            line.send(format!("HTTP/1.1 {status} X\r\netag: \"a\"\r\n\r\n"));
            return crate::support::model_server::Then::Keep;
        }
        line.reply(status, "", "twelve bytes")
    });
    let server = ModelServer::new(script);
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    for status in [200, 201, 204, 206, 301, 304, 400, 401, 404, 409, 422, 429, 418] {
        let answer = client.ask(&Request::get(&format!("/{status}")));
        assert_eq!(answer.status, status);
        let bodiless = [204, 304].contains(&status);
        assert_eq!(answer.text(), if bodiless { "" } else { "twelve bytes" }, "{status}");
    }
    let head = client.ask(&Request::new("HEAD", "/200"));
    assert_eq!((head.field("content-length").as_str(), head.body.len()), ("12", 0));
    assert_eq!(client.ask(&Request::get("/200")).text(), "twelve bytes", "after a HEAD");
}

#[test]
fn a_method_or_path_override_does_not_choose_the_route() {
    let request = Request::infer("{}")
        .field("x-http-method-override", "DELETE")
        .field("x-original-url", "/admin")
        .field("x-rewrite-url", "/admin");
    let (ask, _) = asked(|c| c, &request);
    assert_eq!((ask.method(), ask.target()), ("POST", INFER));
}

#[test]
fn our_own_errors_say_who_failed_and_how() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    server.kill();
    let answer = street.ask(&Request::get("/x"));
    assert!([502, 503].contains(&answer.status), "{}", answer.text());
    assert!(
        answer.field("proxy-status").contains("error=connection_refused"),
        "{answer:?}"
    );
    assert_eq!(answer.field("content-type"), "application/problem+json");
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["status"], answer.status, "{problem}");
    assert!(!answer.field("x-request-id").is_empty());
    assert_eq!(answer.version(), "v1");
}
