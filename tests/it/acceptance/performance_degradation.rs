//! Scenario S1: Automatic Rollback on Performance Degradation
//!
//! ```gherkin
//! Given model v2.5 is deployed and serving 100% traffic
//! And model v2.4 is the previous stable version
//! When model v2.5 accuracy drops from 92% to 85% (> 5% degradation)
//! And performance monitoring detects the degradation
//! Then automatic rollback shall be triggered within 60 seconds
//! And traffic shall be shifted back to model v2.4
//! And rollback shall complete within 5 minutes
//! And no requests shall be lost during rollback
//! And ops team shall be notified of rollback
//! And incident ticket shall be created automatically
//! ```
//!
//! What the wire shows of a degradation stands for accuracy here: error rate and latency.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::Request;
use crate::support::config::{Config, Route};
use crate::support::evidence::{audited, incident};
use crate::support::load::Load;
use crate::support::model_server::{ModelServer, Script};
use crate::support::people;
use crate::support::scripts;
use crate::support::sinks::Office;
use crate::support::street::{Dir, Street};
use crate::support::wait::{self, SOON};

#[test]
fn errors_at_all_traffic_bring_the_previous_version_back() {
    degrades(scripts::fails(150, "v2.5"), "error_rate", 8);
}

#[test]
fn slow_answers_at_all_traffic_bring_the_previous_version_back() {
    let slow = scripts::slow("v2.5", Duration::from_millis(700));
    degrades(slow, "latency_p99", 48);
}

fn degrades(how: Script, trigger: &str, clients: u64) {
    let (old, new) = (ModelServer::good("v2.4"), ModelServer::good("v2.5"));
    let office = Office::open();
    let street = at_full_traffic(&old, &new, &office);
    let load = Load::new(street.http).clients(clients).start();
    load.reaches(1_000);
    assert_eq!(old.requests(), 0, "v2.5 does not have all traffic");
    let degraded = Instant::now();
    new.now(how);
    let started = audited(&street, "rollback.started");
    assert!(degraded.elapsed() < Duration::from_secs(60), "{:?}", degraded.elapsed());
    street.rolled_back("v2.5");
    let sent = load.sent();
    load.reaches(sent + 200);
    let at_end = new.requests();
    let count = load.stop();
    count.is_clean();
    assert!(count.of("v2.4") >= 200, "{:?}", count.good);
    assert_eq!(new.requests(), at_end, "v2.5 is asked after its rollback");

    let id = started["rollback_id"].as_str().unwrap();
    let done = audited(&street, "rollback.completed");
    for (member, is) in [
        ("trigger", trigger),
        ("from_version", "v2.5"),
        ("to_version", "v2.4"),
        ("rollback_id", id),
    ] {
        assert_eq!(done[member], *is, "{member} in {done:#}");
    }
    assert_eq!((&done["automatic"], &done["initiated_by"]), (&true.into(), &Value::Null));
    assert!(done["total_duration_seconds"].as_f64().unwrap() < 300.0, "{done:#}");
    everybody_knows(&street, &office, id);
    let (facts, page) = incident(&street, id);
    assert_eq!(facts["rollback"]["trigger"], *trigger);
    assert!(page.contains("Rollback of v2.5 on iris"), "{page}");
}

/// The ops team was told, the ticket is there, and the record says so.
fn everybody_knows(street: &Street, office: &Office, id: &str) {
    for topic in ["rollback.started", "rollback.completed"] {
        let told = people::event(office, topic, |event| event["correlationid"] == *id);
        assert_eq!(told["specversion"], "1.0", "{told:#}");
        assert_eq!(told["data"]["record"]["from_version"], "v2.5", "{told:#}");
        assert_eq!(told["data"]["audit_head"].as_str().unwrap().len(), 64, "{told:#}");
    }
    let ticket = people::ticket(office);
    assert!(ticket["title"].as_str().unwrap().contains("v2.5"), "{ticket:#}");
    let history = || street.admin(Request::get("/api/v1/history"));
    wait::eventually("the record names who was told", SOON, || {
        let view: Value = serde_json::from_slice(&history().body).unwrap();
        let records = view["rollbacks"].as_array().unwrap().clone();
        let record = records.into_iter().find(|record| record["rollback_id"] == *id)?;
        let sent = record["alerts_sent"].as_array()?;
        let is_ticket = |it: &Value| {
            let place = it["reference"].as_str().unwrap_or_default();
            place.ends_with("/acme/models/issues/1")
        };
        (sent.len() >= 3 && sent.iter().any(is_ticket)).then_some(())
    });
    for product in ["github", "jira", "servicenow"] {
        assert_eq!(office.tickets(product), 1, "tickets in {product}");
    }
}

/// v2.5 has all traffic, v2.4 is kept warm.
fn at_full_traffic(old: &ModelServer, new: &ModelServer, office: &Office) -> Street {
    let dir = Dir::new();
    let route = Route::new("iris")
        .stable("v2.4", old)
        .canary("v2.5", "100%", new)
        .with(
            "analysis: { confirm: off, window: 1m, metrics: [\
             { name: errorRate, max: 5%, test: both }, \
             { name: latencyP99, max: 500ms, test: both }, { name: healthCheck }] }",
        )
        .with("rollback: { stabilization: 500ms }");
    let config = Config::new([route]).with(&office.notify(&dir));
    dir.write("switchback.yaml", &config.yaml(dir.path()));
    Street::start(dir, "switchback.yaml")
}
