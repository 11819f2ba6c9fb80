//! What leads to a rollback and what must not: errors and p99 beside stable's, failed health
//! checks, an operator's order; not what hits both versions alike, and not what the caller
//! did wrong. (S2, S4, T1, T5, T6)

use std::time::Duration;

use serde_json::Value;

use crate::support::client::Request;
use crate::support::config::{Config, Route};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait;

const RATIO: &str = "analysis: { confirm: off, metrics: [{ name: errorRate, maxRatio: 2, floor: 1%, minSamples: 200, test: window }] }";

fn last_rollback(street: &Street) -> Value {
    let status = street.status();
    let record = status["routes"][0]["last_rollback"].clone();
    assert!(record.is_object(), "no rollback in {status:#}");
    record
}

#[test]
fn eight_percent_of_errors_beside_two_is_a_rollback() {
    let stable = ModelServer::new(scripts::fails(20, "v1"));
    let canary = ModelServer::new(scripts::fails(80, "v2"));
    let street = Street::open(&Config::pair(&stable, "10%", &canary).route_with(RATIO));
    let load = Load::new(street.http).start();
    street.rolled_back("v2");
    load.stop();

    let record = last_rollback(&street);
    assert_eq!(record["trigger"], "error_rate", "{record:#}");
    assert_eq!(record["from_version"], "v2", "{record:#}");
    assert_eq!(record["to_version"], "v1", "{record:#}");
    assert_eq!(record["status"], "completed", "{record:#}");
    assert_eq!(record["automatic"], true, "{record:#}");
    let reason = record["reason"].as_str().unwrap();
    assert!(reason.contains('%') && reason.len() > 20, "no analysis: {reason:?}");
    let phases: Vec<&str> = record["phases"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|phase| phase["phase"].as_str())
        .collect();
    let place = |name: &str| phases.iter().position(|phase| phase.contains(name));
    assert!(place("drain").is_some() && place("route") < place("drain"), "{phases:?}");
    assert!(street.version("v2")["quarantine"].is_string());
}

#[test]
fn the_same_errors_on_both_sides_are_no_rollback() {
    let stable = ModelServer::new(scripts::fails(40, "v1"));
    let canary = ModelServer::new(scripts::fails(40, "v2"));
    let street = Street::open(&Config::pair(&stable, "20%", &canary).route_with(RATIO));
    Load::new(street.http).requests(20_000).run();
    wait::holds("the canary serves", Duration::from_secs(1), || {
        street.version("v2")["state"] == "serving"
    });
    assert!(street.version("v2")["samples"].as_u64().unwrap() > 3_000);
}

#[test]
fn what_the_callers_do_wrong_is_not_held_against_the_canary() {
    let stable = ModelServer::good("v1");
    let canary = ModelServer::new(scripts::status(422));
    let street = Street::open(&Config::pair(&stable, "50%", &canary));
    Load::new(street.http).requests(2_000).run();
    let canary = street.version("v2");
    assert_eq!(canary["state"], "serving", "{canary:#}");
    assert_eq!(canary["failures"], 0, "{canary:#}");
}

#[test]
fn a_slow_canary_is_a_rollback_by_its_p99() {
    let stable = ModelServer::good("v1");
    let canary = ModelServer::new(scripts::slow("v2", Duration::from_millis(40)));
    let rule = "analysis: { confirm: off, metrics: [{ name: latencyP99, maxRatio: 1.5, minSamples: 200, test: window }] }";
    let street = Street::open(&Config::pair(&stable, "50%", &canary).route_with(rule));
    let load = Load::new(street.http).start();
    street.rolled_back("v2");
    load.stop().is_clean();
    assert_eq!(last_rollback(&street)["trigger"], "latency_p99");
    assert!(
        street.metrics().sum("switchback_latency_p99_seconds", &[("version", "v1")])
            > 0.0
    );
}

#[test]
fn a_canary_that_fails_its_health_checks_is_a_rollback_without_any_traffic() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let check = "healthCheck: { readiness: /ready, interval: 100ms, unhealthyAfter: 3 }";
    let route = Route::new("iris")
        .version("v1", &format!("role: stable, {check}"), &[stable.url()])
        .version("v2", &format!("role: canary, weight: 10%, {check}"), &[canary.url()]);
    let street = Street::open(&Config::new([route]));
    canary.now(scripts::status(503));
    street.rolled_back("v2");
    assert_eq!(last_rollback(&street)["trigger"], "health_check");
}

#[test]
fn an_operators_order_is_a_rollback_at_once() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = Street::open(&Config::pair(&stable, "50%", &canary).workers(2));
    let load = Load::new(street.http).start();
    load.reaches(500);
    let order = |body: &str| {
        let order = Request::post("/api/v1/routes/iris/rollback", body);
        street.admin(order.field("content-type", "application/json"))
    };
    assert_eq!(order("{}").status, 400, "an order without a reason");
    assert_eq!(street.version("v2")["state"], "serving");
    let answer = order("{\"reason\":\"looks wrong\"}");
    assert_eq!(answer.status, 200, "{}", answer.text());
    street.rolled_back("v2");
    let at_drain = canary.requests();
    load.reaches(load.sent() + 500);
    load.stop().is_clean();
    assert_eq!(canary.requests(), at_drain);
    let record = last_rollback(&street);
    assert_eq!(record["trigger"], "manual", "{record:#}");
    assert_eq!(record["automatic"], false, "{record:#}");
    assert_eq!(record["initiated_by"], "local", "{record:#}");
    assert!(record["reason"].as_str().unwrap().contains("looks wrong"), "{record:#}");
}

#[test]
fn an_answer_cut_short_is_the_versions_failure() {
    let stable = ModelServer::good("v1");
    let canary = ModelServer::new(scripts::truncates());
    let street = Street::open(&Config::pair(&stable, "50%", &canary));
    let load = Load::new(street.http).start();
    street.rolled_back("v2");
    load.stop();
    assert!(street.metrics().requests("v2", "truncated") >= 50);
    assert_eq!(last_rollback(&street)["trigger"], "error_rate");
}
