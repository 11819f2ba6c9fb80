//! Who answers when a version fails: a retry within the version, stable for a failed canary,
//! or nobody, for each kind of failure and each kind of request. (rows 23, 26-28)

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::client::{Client, Request};
use crate::support::config::{Config, NO_RULES, Route};
use crate::support::load::Load;
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait;

/// A canary that takes everything and a stable version that takes what is rescued.
fn scene(config: impl FnOnce(Config) -> Config) -> (ModelServer, ModelServer, Street) {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let pair = Config::pair(&stable, "100%", &canary).route_with(NO_RULES);
    let street = Street::open(&config(pair.route_with(QUICK)));
    (stable, canary, street)
}

fn fast(config: Config) -> Config {
    config
}

#[test]
fn the_trailers_of_a_canarys_answer_reach_the_caller() {
    let (_stable, canary, street) = scene(fast);
    for announced in ["", "trailer: x-sum\r\n"] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{announced}\
             transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\nx-sum: 17\r\n\r\n"
        );
        canary.now(scripts::says(answer, Then::Keep));
        let request =
            Request::infer("{}").field("te", "trailers").field("connection", "te");
        for _ in 0..3 {
            let answer = Client::new(street.http).send(request.bytes()).answer().unwrap();
            assert_eq!((answer.text().as_str(), &*answer.version()), ("{}", "v2"));
            let fields = answer.end.map(|end| end.fields).unwrap_or_default();
            assert_eq!(fields, [("x-sum".to_owned(), "17".to_owned())], "{announced}");
        }
    }
    assert_eq!(street.metrics().requests("v2", "2xx"), 6);
}

#[test]
fn each_failure_of_a_canary_is_rescued_and_counted_as_what_it_was() {
    let table: [(&str, Script, &str); 9] = [
        ("500", scripts::status(500), "5xx"),
        ("502", scripts::status(502), "5xx"),
        ("503", scripts::status(503), "5xx"),
        ("599", scripts::status(599), "5xx"),
        ("a reset", scripts::resets(), "upstream_reset"),
        ("a hang-up", scripts::hangs_up(), "upstream_reset"),
        ("a stall", scripts::stalls(), "timeout_first_byte"),
        ("garbage", scripts::says("GARBAGE\r\n\r\n", Then::Close), "protocol_error"),
        ("half a head", scripts::says("HTTP/1.1 200 OK\r\nx: ", Then::Close), ""),
    ];
    for (what, script, class) in table {
        let (_stable, canary, street) = scene(fast);
        canary.now(script);
        for _ in 0..3 {
            let answer = street.ask(&Request::infer("{}"));
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            assert_eq!(answer.version(), "v1", "{what}");
            assert_eq!(answer.field("x-switchback-reason"), "rescue", "{what}");
        }
        let metrics = street.metrics();
        let classes = metrics.classes("v2");
        assert_eq!(classes.values().sum::<u64>(), 3, "{what}: {classes:?}");
        assert_eq!(metrics.count("switchback_rescued_total", &[]), 3, "{what}");
        assert_eq!(metrics.requests("v1", "2xx"), 3, "{what}");
        if !class.is_empty() {
            assert_eq!(metrics.requests("v2", class), 3, "{what}: {classes:?}");
        }
    }
}

#[test]
fn a_canary_that_is_gone_is_rescued_even_for_what_must_not_be_repeated() {
    let (_stable, canary, street) = scene(fast);
    canary.kill();
    for request in
        [Request::infer("{}"), Request::post("/train", "{}"), Request::get("/x")]
    {
        let answer = street.ask(&request);
        assert_eq!(
            (answer.status, answer.version().as_str()),
            (200, "v1"),
            "{request:?}"
        );
    }
    assert_eq!(street.metrics().requests("v2", "connect_error"), 3);
}

#[test]
fn what_may_not_be_repeated_is_not_rescued_once_it_was_sent() {
    let (stable, canary, street) = scene(fast);
    canary.now(scripts::status(500));
    let answer = street.ask(&Request::post("/train", "{}"));
    assert_eq!((answer.status, answer.version().as_str()), (500, "v2"));
    canary.now(scripts::resets());
    let answer = street.ask(&Request::post("/train", "{}"));
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.field("proxy-status").contains("error="));
    assert_eq!((stable.requests(), canary.requests()), (0, 2));
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let answer = street.ask(&Request::new(method, "/x"));
        assert_eq!((answer.status, answer.version().as_str()), (200, "v1"), "{method}");
    }
    assert_eq!(street.ask(&Request::new("PATCH", "/x")).status, 502);
}

#[test]
fn the_route_says_what_may_be_repeated() {
    let (_stable, canary, street) = scene(|c| c.route_with("repeatable: true"));
    canary.now(scripts::status(500));
    assert_eq!(street.ask(&Request::post("/train", "{}")).version(), "v1");
    let (_stable, canary, street) = scene(|c| c.route_with("repeatable: false"));
    canary.now(scripts::status(500));
    assert_eq!(street.ask(&Request::infer("{}")).status, 500);
    for path in [
        "/v2/models/m/infer",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/predictions/m",
    ] {
        let (_stable, canary, street) = scene(fast);
        canary.now(scripts::status(500));
        assert_eq!(street.ask(&Request::post(path, "{}")).version(), "v1", "{path}");
    }
}

#[test]
fn a_body_above_the_bound_is_sent_once_and_whole() {
    let (stable, canary, street) = scene(fast);
    canary.now(scripts::echo());
    let large = vec![b'x'; 3 * 1024 * 1024];
    let answer = street.ask(&Request::infer(&large));
    assert_eq!((answer.status, answer.body.len()), (200, large.len()));
    canary.now(scripts::status(500));
    let answer = street.ask(&Request::infer(&large));
    assert_eq!((answer.status, answer.version().as_str()), (500, "v2"));
    assert_eq!(stable.requests(), 0);
    stable.now(scripts::echo());
    let fits = vec![b'y'; 1024 * 1024];
    let answer = street.ask(&Request::infer(&fits));
    assert_eq!(answer.version(), "v1");
    assert!(answer.body == fits, "another body was rescued");
}

#[test]
fn a_server_that_was_left_out_comes_back_when_the_other_one_dies() {
    let servers = [ModelServer::good("v1"), ModelServer::good("v1")];
    let urls = servers.each_ref().map(ModelServer::url);
    let route = Route::new("iris").version("v1", "role: stable", &urls).with(NO_RULES);
    let street = Street::open(&Config::new([route]));
    let mut client = Client::new(street.http);
    // Each is away once, and for a shorter time than it would be left out.
    for away in [0, 1, 0] {
        servers[away].kill();
        for turn in 0..200 {
            let answer = client.ask(&Request::get("/x"));
            assert_eq!(answer.status, 200, "{away} {turn}: {}", answer.text());
        }
        servers[away].come_back();
    }
}

#[test]
fn a_chunked_body_is_rescued_as_it_was() {
    let (stable, canary, street) = scene(fast);
    canary.now(scripts::status(500));
    stable.now(scripts::echo());
    let mut client = Client::new(street.http);
    client.send(
        "POST /v2/models/iris/infer HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n\
         3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
    );
    let answer = client.answer().unwrap();
    assert_eq!((answer.version().as_str(), answer.text().as_str()), ("v1", "abcdefg"));
}

#[test]
fn what_has_begun_to_arrive_is_not_begun_again() {
    let (stable, canary, street) = scene(fast);
    let (cut, may) = channel::<()>();
    let may = Mutex::new(may);
    canary.now(Arc::new(move |_, line| {
        line.body().unwrap_or_default();
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\n");
        may.lock().unwrap().recv_timeout(wait::SOON).unwrap();
        Then::Close
    }));
    let mut client = Client::new(street.http);
    client.send(Request::infer("{}").bytes());
    let (_, head) = client.head().unwrap();
    assert_eq!(head.field("x-model-version").as_deref(), Some("v2"));
    assert_eq!(client.pipe.chunk().unwrap(), b"begun");
    cut.send(()).unwrap();
    assert!(client.pipe.chunk().is_err(), "a cut answer looks whole");
    assert_eq!(stable.requests(), 0);
    wait::eventually("it is counted", wait::SOON, || {
        (street.metrics().requests("v2", "truncated") == 1).then_some(())
    });
}

#[test]
fn what_was_cut_before_any_of_it_arrived_is_rescued() {
    let (_stable, canary, street) = scene(fast);
    canary.now(scripts::truncates());
    let answer = street.ask(&Request::infer("{}"));
    assert_eq!((answer.version().as_str(), answer.is_whole()), ("v1", true));
    assert_eq!(street.metrics().requests("v2", "truncated"), 1);
}

#[test]
fn what_the_caller_did_wrong_is_the_canarys_answer() {
    let (stable, canary, street) = scene(fast);
    for status in [400, 404, 422, 429] {
        canary.now(scripts::status(status));
        let answer = street.ask(&Request::infer("{}"));
        assert_eq!((answer.status, answer.version().as_str()), (status, "v2"));
    }
    assert_eq!(stable.requests(), 0);
}

#[test]
fn when_stable_fails_too_its_failure_is_the_answer() {
    let (stable, canary, street) = scene(fast);
    canary.now(scripts::status(500));
    stable.now(scripts::status(503));
    let answer = street.ask(&Request::infer("{}"));
    assert_eq!(
        (answer.status, answer.version().as_str()),
        (503, "v1"),
        "{}",
        answer.text()
    );
    stable.kill();
    let answer = street.ask(&Request::infer("{}"));
    assert!([500, 502, 503].contains(&answer.status), "{}", answer.text());
    let metrics = street.metrics();
    assert_eq!(metrics.requests("v2", "5xx"), 2);
    assert!(
        metrics.requests("v1", "5xx") >= 1
            && metrics.requests("v1", "connect_error") == 1
    );
}

#[test]
fn a_retry_is_for_another_try_of_the_same_version() {
    let count = AtomicU64::new(0);
    let every_other = scripts::good("v1");
    let server = ModelServer::new(Arc::new(move |ask, line| {
        let odd = count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        if odd { scripts::status(503)(ask, line) } else { every_other(ask, line) }
    }));
    let config = Config::plain(&server);
    let street = Street::open(
        &config.route_with("retry: { attempts: 1, budget: 100%, on: [\"503\"] }"),
    );
    let answer = street.ask(&Request::infer("{}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.requests(), 2);
    let answer = street.ask(&Request::post("/train", "{}"));
    assert_eq!(
        (answer.status, server.requests()),
        (503, 3),
        "a request that must not be repeated"
    );
}

#[test]
fn retries_have_a_budget() {
    let server = ModelServer::new(scripts::status(503));
    let street = Street::open(&Config::plain(&server));
    let count = Load::new(street.http).requests(1_000).run();
    assert_eq!(count.failed, 1_000);
    let asked = server.requests();
    assert!(asked <= 1_250, "{asked} requests reached a failing version for 1,000");
}

#[test]
fn retry_after_passes() {
    let server = ModelServer::new(Arc::new(|_, line| {
        line.body().unwrap_or_default();
        line.reply(503, "retry-after: 7\r\n", "busy")
    }));
    let street =
        Street::open(&Config::plain(&server).route_with("retry: { attempts: 0 }"));
    let answer = street.ask(&Request::infer("{}"));
    assert_eq!((answer.status, answer.field("retry-after").as_str()), (503, "7"));
    assert_eq!(answer.text(), "busy");
}

#[test]
fn a_server_that_never_reads_is_rescued() {
    let (_stable, canary, street) = scene(fast);
    canary.now(Arc::new(|_, line| {
        line.body_is_read();
        line.peer_leaves(Duration::from_secs(20));
        Then::Close
    }));
    let answer = street.ask(&Request::infer(vec![b'x'; 700_000]));
    assert_eq!(
        (answer.status, answer.version().as_str()),
        (200, "v1"),
        "{}",
        answer.text()
    );
}

const QUICK: &str = "timeouts: { firstByte: 400ms, idle: 2s }";
