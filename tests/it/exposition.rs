//! What a scraper and an operator read: names there from the start at 0, values that add up,
//! health that says what it knows.

use std::process::Output;

use crate::support::client::Request;
use crate::support::config::Config;
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::street::{Street, run};

/// Every name of the interface, its kind, and the labels of the series that must be there.
const NAMES: &[(&str, &str, &[&str])] = &[
    ("rollback_triggered_total", "counter", &[]),
    ("rollback_completed_total", "counter", &[]),
    ("rollback_failed_total", "counter", &[]),
    ("rollback_duration_seconds", "gauge", &[]),
    ("rollback_phase_duration_seconds", "histogram", &[]),
    ("rollback_drill_timestamp", "gauge", &[]),
    ("switchback_requests_total", "counter", &["route", "version", "role", "class"]),
    ("switchback_request_duration_seconds", "histogram", &["route", "version"]),
    ("switchback_time_to_first_byte_seconds", "histogram", &["route", "version"]),
    ("switchback_latency_p99_seconds", "gauge", &["route", "version"]),
    ("switchback_error_ratio", "gauge", &["route", "version"]),
    ("switchback_inflight_requests", "gauge", &["route", "version"]),
    ("switchback_version_weight", "gauge", &["route", "version"]),
    ("switchback_rescued_total", "counter", &["route"]),
    ("switchback_cache_served_total", "counter", &["route"]),
    ("switchback_service_mode", "gauge", &[]),
    ("switchback_analysis_verdict", "gauge", &["route", "metric"]),
    ("switchback_protects_total", "counter", &["route", "version", "outcome"]),
    ("switchback_shadow_requests_total", "counter", &["route", "version", "class"]),
    ("switchback_shadow_dropped_total", "counter", &["route", "version"]),
    ("switchback_evidence_odds", "gauge", &["route", "version", "metric"]),
    ("switchback_evidence_reached_ratio", "gauge", &["route", "version", "metric"]),
    ("switchback_overhead_seconds", "histogram", &[]),
    ("switchback_build_info", "gauge", &[]),
];

#[test]
fn every_name_is_there_from_the_start_at_0() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = Street::open(&Config::pair(&stable, "10%", &canary));
    let answer = street.admin(Request::get("/metrics"));
    assert!(answer.field("content-type").starts_with("text/plain"), "{answer:?}");
    let text = answer.text();
    let metrics = street.metrics();
    for (name, kind, labels) in NAMES {
        assert_eq!(metrics.types.get(*name).map(String::as_str), Some(*kind), "{name}");
        let help = format!("# HELP {name} ");
        assert!(text.contains(&help), "no help for {name}");
        let series = match *kind {
            "histogram" => format!("{name}_count"),
            _ => (*name).to_owned(),
        };
        let line = text.lines().find(|l| l.starts_with(&series));
        let line = line.unwrap_or_else(|| panic!("no series of {name} at the start"));
        for label in *labels {
            assert!(line.contains(&format!("{label}=\"")), "no {label} in {line}");
        }
        let holds = [
            "switchback_version_weight",
            "switchback_build_info",
            "switchback_analysis_verdict",
            "switchback_evidence_odds",
        ];
        if !holds.contains(name) {
            assert!(
                metrics.sum(&series, &[]).abs() < f64::EPSILON,
                "{name} does not begin at 0"
            );
        }
    }
    for class in ["2xx", "5xx", "connect_error", "truncated", "client_cancelled"] {
        for (version, role) in [("v1", "stable"), ("v2", "canary")] {
            let labels = [
                ("route", "iris"),
                ("version", version),
                ("role", role),
                ("class", class),
            ];
            assert!(
                metrics.has("switchback_requests_total", &labels),
                "{version} {class}"
            );
        }
    }
}

#[test]
fn the_values_add_up() {
    let stable = ModelServer::new(scripts::fails(100, "v1"));
    let street =
        Street::open(&Config::plain(&stable).route_with("retry: { attempts: 0 }"));
    let count = Load::new(street.http).requests(2_000).run();
    assert_eq!((count.all(), count.failed), (1_800, 200));
    let metrics = street.metrics();
    assert_eq!(
        metrics.classes("v1"),
        [("2xx".into(), 1_800), ("5xx".into(), 200)].into()
    );
    let ratio = metrics.sum("switchback_error_ratio", &[("version", "v1")]);
    assert!((ratio - 0.1).abs() < 0.001, "{ratio}");
    let buckets = "switchback_request_duration_seconds_bucket";
    let all = metrics.count(buckets, &[("version", "v1"), ("le", "+Inf")]);
    let timed =
        metrics.count("switchback_request_duration_seconds_count", &[("version", "v1")]);
    assert_eq!((all, timed), (2_000, 2_000));
    let p99 = metrics.sum("switchback_latency_p99_seconds", &[("version", "v1")]);
    assert!(p99 > 0.0 && p99 < 5.0, "{p99}");
    let view = street.version("v1");
    assert_eq!(
        (view["requests"].as_u64(), view["failures"].as_u64()),
        (Some(2_000), Some(200))
    );
}

#[test]
fn health_and_metrics_need_no_token_and_orders_do_no_harm_from_a_browser() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(street.admin(Request::get(path)).status, 200, "{path}");
    }
    let order = Street::weight_order("iris", "v1", 10.0);
    let foreign = order.clone().field("origin", "http://evil.test");
    assert_eq!(street.admin(foreign).status, 403);
    let rebound = order.host("evil.test").ask(street.admin);
    assert!((400..500).contains(&rebound.status), "{}", rebound.status);
    let through = street.ask(&Request::get("/api/v1/status"));
    assert_eq!(through.version(), "v1", "the data port is not the admin port");
}

fn status(street: &Street, more: &[&str]) -> Output {
    let admin = format!("http://{}", street.admin);
    let mut args = vec!["status", "--admin", &admin];
    args.extend(more);
    run(&args)
}

#[test]
fn the_command_line_shows_the_status() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = Street::open(&Config::pair(&stable, "10%", &canary));
    Load::new(street.http).requests(500).run().is_clean();
    let output = status(&street, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for word in ["iris", "v1", "v2", "stable", "canary", "10"] {
        assert!(text.contains(word), "no {word} in:\n{text}");
    }
    let output = status(&street, &["--output", "json"]);
    let view: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(view["routes"][0]["versions"][1]["name"], "v2", "{view:#}");
    canary.now(scripts::status(500));
    let load = Load::new(street.http).start();
    street.rolled_back("v2");
    load.stop().is_clean();
    let text = String::from_utf8(status(&street, &[]).stdout).unwrap();
    assert!(text.contains("quarantined"), "{text}");
    let output = run(["status", "--admin", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("127.0.0.1:1"));
}

#[test]
fn the_log_is_one_record_a_line_and_holds_no_payload() {
    let server = ModelServer::new(scripts::status(500));
    let street = Street::open(&Config::plain(&server));
    let secret = "4111-1111-1111-1111 secret-canary-string";
    let request = Request::infer(secret)
        .field("authorization", "Bearer secret-canary-string")
        .field("x-prompt", secret);
    street.ask(&request);
    server.kill();
    street.ask(&request);
    street.ask(&Request::get("/%0a%7b%22level%22:%22audit%22%7d?secret-canary-string"));
    let everything = street.log() + &street.admin(Request::get("/metrics")).text();
    assert!(!everything.contains("secret-canary-string"), "{everything}");
    assert!(!everything.contains("4111"), "{everything}");
    assert!(!street.log().lines().any(|line| line.starts_with("{\"level\":\"audit\"}")));
}
