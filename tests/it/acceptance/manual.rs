//! Scenario S4: Emergency Manual Rollback
//!
//! ```gherkin
//! Given a critical model issue is discovered
//! And immediate rollback is required
//! When operator executes manual rollback command
//! Then rollback shall initiate within 10 seconds
//! And traffic shall shift to previous version within 2 minutes
//! And rollback confirmation shall be displayed
//! And audit log shall record manual rollback with operator ID and reason
//! And post-rollback validation shall verify system health
//! ```

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::Request;
use crate::support::config::Config;
use crate::support::evidence::{audit, audited, incident, phases};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::street::{Dir, Street, run};
use crate::support::wait::{self, SOON};

const TOKEN: &str = "alices-own-token-0123456789";
const REASON: &str = "invents side effects, INC-123";

#[test]
fn an_operator_takes_a_version_out_by_hand() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = with_an_operator(&stable, &canary);
    let load = Load::new(street.http).clients(4).start();
    load.reaches(500);
    let ordered = Instant::now();
    let (code, said) = order(&street, &["rollback", "iris", "--reason", REASON]);
    let took = ordered.elapsed();
    let done = audited(&street, "rollback.completed");
    let at_end = canary.requests();
    let sent = load.sent();
    load.reaches(sent + 500);
    let count = load.stop();

    assert_eq!(code, Some(0), "{said}");
    assert!(took < Duration::from_secs(120), "{took:?}");
    for confirmed in
        ["v2", "v1", "route_traffic", "post_rollback_health_check", "completed"]
    {
        assert!(said.contains(confirmed), "no {confirmed} in: {said}");
    }
    count.is_clean();
    assert_eq!(canary.requests(), at_end, "v2 is asked after its rollback");

    let records = audit(&street);
    let at = |kind: &str| records.iter().position(|record| record["kind"] == *kind);
    let (order, start) = (at("order.rollback"), at("rollback.started"));
    assert!(order.is_some() && order < start, "the order first: {records:#?}");
    let order = &records[order.unwrap()];
    assert_eq!(order["operator"]["id"], "alice", "{order:#}");
    assert_eq!(order["operator"]["method"], "token", "{order:#}");
    assert_eq!(order["reason"], REASON, "{order:#}");
    assert_eq!(done["initiated_by"], "alice", "{done:#}");
    assert_eq!((&done["automatic"], &done["trigger"]), (&false.into(), &"manual".into()));
    assert!(done["trigger_latency_seconds"].as_f64().unwrap() < 10.0, "{done:#}");
    is_validated(&done);
    let (_, page) = incident(&street, done["rollback_id"].as_str().unwrap());
    assert!(page.contains("alice took v2 out of the traffic"), "{page}");
    assert!(page.contains("None: the rollback was ordered."), "{page}");
}

/// Every phase was gone through, and the version that took the traffic was looked at.
fn is_validated(record: &Value) {
    let all = phases(record);
    let names: Vec<&str> = all.iter().map(|(phase, _)| phase.as_str()).collect();
    let want = [
        "pre_rollback_health_check",
        "route_traffic",
        "drain_traffic",
        "stabilise",
        "post_rollback_health_check",
        "verify_metrics",
    ];
    assert_eq!(names, want, "{record:#}");
    assert!(all.iter().all(|(_, status)| status == "completed"), "{record:#}");
    let after = &record["post_rollback_metrics"];
    assert!(after["requests"].as_u64().unwrap() > 0, "{record:#}");
    assert_eq!(after["error_rate"], 0.0, "{record:#}");
    assert_eq!(after["accuracy"], Value::Null, "never invented: {record:#}");
}

#[test]
fn the_command_may_be_repeated_and_needs_a_reason_and_a_token() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = with_an_operator(&stable, &canary);
    let (code, said) = order(&street, &["rollback", "iris", "--reason", ""]);
    assert_eq!(code, Some(1), "without a reason: {said}");
    let admin = format!("http://{}", street.admin);
    let bare = run(["rollback", "iris", "--reason", REASON, "--admin", &admin]);
    assert_eq!(bare.status.code(), Some(1), "without a token");
    assert!(audit(&street).iter().all(|record| record["kind"] != "rollback.started"));
    for _ in 0..2 {
        let (code, said) = order(&street, &["rollback", "iris", "--reason", REASON]);
        assert_eq!(code, Some(0), "{said}");
    }
    let records = audit(&street);
    let starts = records.iter().filter(|record| record["kind"] == "rollback.started");
    assert_eq!(starts.count(), 1, "one rollback: {records:#?}");
}

#[test]
fn without_the_admin_api_the_command_says_how_to_do_it_by_file() {
    let said =
        run(["rollback", "iris", "--reason", REASON, "--admin", "http://127.0.0.1:1"]);
    assert_eq!(said.status.code(), Some(1));
    let text = String::from_utf8(said.stderr).unwrap();
    for hint in ["weight", "configuration"] {
        assert!(text.contains(hint), "no {hint} in: {text}");
    }
}

/// Runs a remote verb as alice and returns its exit code and what it printed.
fn order(street: &Street, verb: &[&str]) -> (Option<i32>, String) {
    let admin = format!("http://{}", street.admin);
    let token = street.dir().path().join("token").display().to_string();
    let remote = ["--admin", &admin, "--token-file", &token];
    let output = run(verb.iter().chain(&remote));
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn with_an_operator(stable: &ModelServer, canary: &ModelServer) -> Street {
    let dir = Dir::new();
    let token = dir.write("token", TOKEN);
    let ready = "healthCheck: { readiness: /ready, interval: 200ms }";
    let route = crate::support::config::Route::new("iris")
        .version("v1", &format!("role: stable, {ready}"), &[stable.url()])
        .canary("v2", "60%", canary)
        .with("rollback: { stabilization: 500ms }");
    let open = "admin: { address: \"127.0.0.1:0\" }";
    let operators = format!("[{{ name: alice, tokenFile: {token:?}, role: operator }}]");
    let named = format!("admin: {{ address: \"127.0.0.1:0\", operators: {operators} }}");
    let text = Config::new([route]).yaml(dir.path());
    assert!(text.contains(open), "{text}");
    dir.write("switchback.yaml", &text.replace(open, &named));
    let street = Street::start(dir, "switchback.yaml");
    wait::eventually("alice is let in", SOON, || {
        let asked = Request::get("/api/v1/status");
        let answer =
            street.admin(asked.field("authorization", &format!("Bearer {TOKEN}")));
        (answer.status == 200).then_some(())
    });
    street
}
