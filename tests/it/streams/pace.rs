//! The numbers of streams: how long to the first token, how long for each further one, and
//! how many there are, measured for each version. A version is judged by the first two: one
//! that is slower for each token loses its traffic, one that writes more does not. (issue 5,
//! item 4)

use std::sync::Arc;
use std::time::Duration;

use crate::support::client::Request;
use crate::support::config::{Config, NO_RULES, Route};
use crate::support::evidence::{audited, audited_within, incident};
use crate::support::load::Load;
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::streams::{CHAT, DONE, EVENTS, ROLE, STOP, WORD};
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

/// A chat of so many words: how long to the first, and how long for each after it.
#[derive(Clone, Copy)]
struct Pace {
    words: u64,
    first: Duration,
    each: Duration,
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const USUAL: Pace = Pace { words: 12, first: ms(20), each: ms(4) };

impl Pace {
    fn script(self) -> Script {
        Arc::new(move |_, line| {
            if line.body().is_err() {
                return Then::Close;
            }
            line.send(format!(
                "HTTP/1.1 200 OK\r\n{EVENTS}transfer-encoding: chunked\r\n\r\n"
            ));
            line.chunk(ROLE);
            wait::linger(self.first);
            for word in 0..self.words {
                if word > 0 {
                    wait::linger(self.each);
                }
                if !line.chunk(WORD) {
                    return Then::Close;
                }
            }
            line.chunk(STOP);
            line.chunk(DONE);
            if line.send("0\r\n\r\n") { Then::Keep } else { Then::Close }
        })
    }
}

fn server(model: &str, pace: Pace) -> ModelServer {
    let server = ModelServer::good(model);
    server.now(pace.script());
    server
}

fn ask() -> Request {
    Request::post(CHAT, "{\"stream\":true}")
}

const FIRST: &str = "switchback_time_to_first_token_seconds";
const EACH: &str = "switchback_time_per_output_token_seconds";

#[test]
fn first_token_pace_and_length_are_measured_for_each_version() {
    let plain = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&plain).route_with(NO_RULES));
    street.ask(&Request::infer("{}"));
    let version = [("version", "v1")];
    let metrics = street.metrics();
    assert!(!metrics.has("switchback_output_tokens_total", &version));
    assert!(!metrics.has(&format!("{FIRST}_count"), &version));
    assert!(street.version("v1")["streams"].is_null());

    plain.now(USUAL.script());
    for _ in 0..3 {
        assert_eq!(street.ask(&ask()).status, 200);
    }
    let metrics = wait::eventually("three streams are counted", SOON, || {
        let metrics = street.metrics();
        (metrics.count(&format!("{FIRST}_count"), &version) == 3).then_some(metrics)
    });
    assert_eq!(metrics.count("switchback_output_tokens_total", &version), 36);
    assert_eq!(metrics.count("switchback_output_length_tokens_count", &version), 3);
    assert_eq!(metrics.count("switchback_output_length_tokens_sum", &version), 36);
    assert_eq!(metrics.count(&format!("{EACH}_count"), &version), 3);
    let first = metrics.sum(&format!("{FIRST}_sum"), &version) / 3.0;
    let each = metrics.sum(&format!("{EACH}_sum"), &version) / 3.0;
    assert!((0.018..1.0).contains(&first), "{first} s to the first token");
    assert!((0.003..0.5).contains(&each), "{each} s for each token");
    assert!(metrics.sum("switchback_time_to_first_token_p99_seconds", &version) > 0.0);
    let quick = [("version", "v1"), ("le", "0.01")];
    assert_eq!(metrics.count(&format!("{FIRST}_bucket"), &quick), 0);
    let streams = &street.version("v1")["streams"];
    assert_eq!((&streams["samples"], &streams["output_tokens"]), (&3.into(), &36.into()));
    assert!(streams["first_token_p50_ms"].as_f64().unwrap() >= 18.0, "{streams:#}");
    assert!(streams["tokens_per_second"].as_f64().unwrap() > 1.0, "{streams:#}");
}

fn pair(stable: &ModelServer, canary: &ModelServer) -> Street {
    let route = Route::new("chat").stable("v1", stable).canary("v2", "50%", canary).with(
        "analysis: { confirm: off, window: 1m, metrics: [\
         { name: latencyP99, maxRatio: 1.5, minSamples: 60, test: both }] }",
    );
    Street::open(&Config::new([route]))
}

#[test]
fn a_canary_that_is_slower_for_each_token_loses_its_traffic() {
    let (stable, canary) = (server("v1", USUAL), server("v2", USUAL));
    let street = pair(&stable, &canary);
    let load = Load::new(street.http).clients(8).of(ask()).start();
    load.reaches(100);
    // As long as stable's in all: only its pace gives it away.
    canary.now(Pace { words: 6, each: ms(14), ..USUAL }.script());
    let started = audited_within(&street, "rollback.started", Duration::from_secs(60));
    street.rolled_back("v2");
    let sent = load.sent();
    load.reaches(sent + 40);
    load.stop().is_clean();
    let text = started.to_string();
    assert!(text.contains("time per output token"), "{started:#}");
    assert_eq!(started["trigger"], "latency_p99", "{started:#}");
    let done = audited(&street, "rollback.completed");
    let (facts, page) = incident(&street, done["rollback_id"].as_str().unwrap());
    assert!(page.contains("each token, p99"), "{page}");
    let versions = facts["versions"].as_array().unwrap();
    let v2 = versions.iter().find(|version| version["name"] == "v2").unwrap();
    assert!(v2["each_token"]["p50_us"].as_u64().unwrap() >= 4_000, "{v2:#}");
}

#[test]
fn a_canary_that_writes_more_is_not_slower() {
    let (stable, canary) = (server("v1", USUAL), server("v2", USUAL));
    canary.now(Pace { words: 60, ..USUAL }.script());
    let street = pair(&stable, &canary);
    let load = Load::new(street.http).clients(6).of(ask()).start();
    wait::eventually("both have streams enough", Duration::from_secs(60), || {
        let metrics = street.metrics();
        let count = |version| metrics.requests(version, "2xx");
        (count("v1") > 150 && count("v2") > 150).then_some(())
    });
    let view = street.version("v2");
    assert_eq!(view["state"], "serving", "{view:#}");
    load.stop().is_clean();
    assert_eq!(street.metrics().count("rollback_triggered_total", &[]), 0);
    let (long, short) = (street.version("v2"), street.version("v1"));
    let tokens = |view: &serde_json::Value| view["streams"]["output_tokens"].as_u64();
    assert!(tokens(&long) > tokens(&short), "{long:#}");
}
