//! Given two versions of a digits model behind MLServer, driven with `tritonclient`, when the
//! second fails on cue, then it is rolled back; when it is released and killed with
//! `kill -9`, then it is rolled back again; and no client sees a failure of either.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::digits::{self, MlServer};

use crate::support::client::Request;
use crate::support::config::{Config, Route};
use crate::support::peers::{Peer, Python};
use crate::support::street::{Dir, Street};
use crate::support::wait;

#[test]
fn a_real_model_server_that_fails_and_is_killed_costs_nobody_anything() {
    let python = digits::set_up();
    let dir = Dir::new();
    let cue = dir.path().join("cue");
    let stable = MlServer::start(&python, "v1", &dir.path().join("never"));
    let mut canary = MlServer::start(&python, "v2", &cue);
    let check = "healthCheck: { readiness: /v2/models/digits/ready, interval: 500ms }";
    let rules = "analysis: { confirm: off, metrics: [{ name: errorRate, maxRatio: 2, minSamples: 30, test: window }] }";
    let route = Route::new("digits")
        .version("v1", &format!("role: stable, {check}"), &[stable.rest()])
        .version("v2", &format!("role: canary, weight: 50%, {check}"), &[canary.rest()])
        .with(rules);
    let street = Street::open(&Config::new([route]));
    let mut clients: Vec<Driver> =
        (0..2).map(|_| Driver::start(&python, &street, 0.0)).collect();
    // MLServer closes a connection that was idle for 5 s: this one asks just around then.
    clients.push(Driver::start(&python, &street, 5.0));
    served(&street, 50);

    fs::write(&cue, "").unwrap();
    rolled_back(&street, 1);
    fs::remove_file(&cue).unwrap();
    release(&street);
    served(&street, 50);
    canary.kill();
    rolled_back(&street, 2);

    let (mut right, mut answers) = (0, 0);
    for client in clients {
        let told = client.finish();
        assert_eq!(told["failed"], 0, "{told:#}");
        right += told["right"]["v1"].as_u64().unwrap_or(0);
        answers += told["answers"]["v1"].as_u64().unwrap_or(0);
    }
    assert!(right * 10 > answers * 8, "stable was right on {right} of {answers}");
    let metrics = street.metrics();
    assert!(
        metrics.count("switchback_rescued_total", &[]) >= 10,
        "{:?}",
        metrics.classes("v2")
    );
    assert_eq!(metrics.classes("v1").keys().collect::<Vec<_>>(), ["2xx"]);
}

/// Waits until the canary has answered that many more requests.
fn served(street: &Street, more: u64) {
    let before = street.metrics().requests("v2", "2xx");
    wait::eventually("the canary takes its share", MINUTE, || {
        (street.metrics().requests("v2", "2xx") >= before + more).then_some(())
    });
}

fn rolled_back(street: &Street, times: u64) {
    wait::eventually(&format!("rollback number {times} is complete"), MINUTE, || {
        (street.metrics().count("rollback_completed_total", &[]) == times).then_some(())
    });
    assert_eq!(street.version("v2")["state"], "quarantined");
}

fn release(street: &Street) {
    let order = json!({ "route": "digits", "version": "v2", "reason": "mended" });
    let request = Request::post("/api/v1/quarantine/release", order.to_string());
    let answer = street.admin(request.field("content-type", "application/json"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A client process.
struct Driver(Peer);

impl Driver {
    /// Starts it and waits for its first answer.
    fn start(python: &Python, street: &Street, pause: f64) -> Self {
        let mut process =
            python.start("drive.py", [street.http.to_string(), pause.to_string()]);
        assert_eq!(process.line(), "ready");
        Self(process)
    }

    /// What it got.
    fn finish(self) -> Value {
        serde_json::from_str(&self.0.finish()).unwrap()
    }
}

const MINUTE: Duration = Duration::from_secs(60);
