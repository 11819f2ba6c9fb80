//! Scenario S6: Failed Rollback Recovery
//!
//! ```gherkin
//! Given automatic rollback is triggered
//! When rollback attempt fails due to infrastructure issue
//! Then fallback to emergency read-only mode shall activate
//! And cached predictions shall be served where available
//! And degraded service banner shall be displayed to users
//! And critical alerts shall be escalated to on-call engineer
//! And incident commander shall be paged
//! ```

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::{Answer, Request};
use crate::support::config::{Config, Route};
use crate::support::evidence::{audited, incident};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::people;
use crate::support::scripts;
use crate::support::sinks::Office;
use crate::support::street::{Dir, Street};
use crate::support::wait::{self, SOON};

const BANNER: &str = "x-service-degraded";

#[test]
fn a_rollback_that_fails_ends_in_kept_answers_and_wakes_people() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let office = Office::open();
    let street = with_a_cache(&stable, &canary, &office);
    let kept = street.ask(&question("kept"));
    assert_eq!((kept.status, kept.version().as_str()), (200, "v1"));
    stable.kill();
    let ordered = Instant::now();
    let order = json!({ "version": "v2", "reason": "wrong answers" }).to_string();
    let order = Request::post("/api/v1/routes/iris/rollback", order);
    street.admin(order.field("content-type", "application/json"));
    is_read_only(&street, ordered);

    let record = audited(&street, "rollback.failed");
    assert_eq!(record["status"], "failed", "{record:#}");
    let (facts, page) = incident(&street, record["rollback_id"].as_str().unwrap());
    assert_eq!(facts["rollback"]["status"], "failed");
    assert!(page.contains("The rollback failed"), "{page}");
    answers_are_kept_ones(&street);
    people_are_woken(&office);
    it_ends_by_itself(&stable, &street, &office);
}

#[test]
fn a_canary_that_fails_while_stable_is_down_ends_in_kept_answers() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let office = Office::open();
    let street = with_a_cache(&stable, &canary, &office);
    assert_eq!(street.ask(&question("kept")).status, 200);
    let load = Load::new(street.http).clients(2).start();
    load.reaches(200);
    stable.kill();
    canary.now(scripts::status(500));
    is_read_only(&street, Instant::now());
    // That requests fail meanwhile is what this is about.
    load.stop();
    answers_are_kept_ones(&street);
    people_are_woken(&office);
}

fn is_read_only(street: &Street, since: Instant) {
    wait::eventually("the route is read-only", Duration::from_secs(60), || {
        (street.metrics().sum("switchback_service_mode", &[]) >= 2.0).then_some(())
    });
    // The requirement allows 60 s; within a second is ours, and this machine is shared.
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    let changed = audited(street, "mode.changed");
    assert_eq!(changed["mode"], "read-only", "{changed:#}");
}

fn answers_are_kept_ones(street: &Street) {
    let kept = street.ask(&question("kept"));
    assert_eq!(kept.status, 200, "{}", kept.text());
    assert!(kept.text().contains("v1"), "{}", kept.text());
    assert!(kept.field("cache-status").contains("hit"), "{}", shown(&kept));
    assert!(!kept.field(BANNER).is_empty(), "{}", shown(&kept));
    let other = street.ask(&question("never asked before"));
    assert_eq!(other.status, 503, "{}", shown(&other));
    for field in ["retry-after", BANNER, "proxy-status"] {
        assert!(!other.field(field).is_empty(), "no {field}: {}", shown(&other));
    }
}

fn people_are_woken(office: &Office) {
    let is_critical = |event: &serde_json::Value| event["data"]["severity"] == "critical";
    people::event(office, "mode.changed", is_critical);
    for key in ["key-1", "key-2"] {
        people::woken(office, key);
    }
}

fn it_ends_by_itself(stable: &ModelServer, street: &Street, office: &Office) {
    stable.come_back();
    wait::eventually("the route serves again", 3 * SOON, || {
        let answer = street.ask(&question("asked later"));
        (answer.status == 200 && answer.version() == "v1").then_some(())
    });
    people::event(office, "mode.changed", |event| event["data"]["state"] == "resolved");
    assert_eq!(street.ask(&question("kept")).field(BANNER), "");
}

fn question(text: &str) -> Request {
    Request::infer(json!({ "inputs": [text] }).to_string())
}

fn shown(answer: &Answer) -> String {
    format!("{} {}", answer.head.raw.escape_ascii(), answer.text())
}

fn with_a_cache(stable: &ModelServer, canary: &ModelServer, office: &Office) -> Street {
    let dir = Dir::new();
    let ready = "healthCheck: { readiness: /ready, interval: 200ms, timeout: 500ms, \
                 unhealthyAfter: 2 }";
    let route = Route::new("iris")
        .version("v1", &format!("role: stable, {ready}"), &[stable.url()])
        .version("v2", &format!("role: canary, weight: 1%, {ready}"), &[canary.url()])
        .with("rollback: { stabilization: 500ms }")
        .with("fallback: { cache: { enabled: true } }");
    let config = Config::new([route]).with(&office.notify(&dir));
    dir.write("switchback.yaml", &config.yaml(dir.path()));
    Street::start(dir, "switchback.yaml")
}
