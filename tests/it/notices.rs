//! Given sinks of every type, then a rollback is told to all of them, once a key, with one
//! ticket in each product, also when they are down while it happens and the proxy is killed;
//! and no secret and no payload is told to anybody.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::client::Request;
use crate::support::config::Config;
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::sinks::{Letter, Office, SECRET};
use crate::support::street::{Dir, Street};
use crate::support::wait::{self, SOON};

/// What a caller sends and nobody else may see.
const PAYLOAD: &str = "4111-1111-1111-1111";

struct Scene {
    _stable: ModelServer,
    _canary: ModelServer,
    office: Office,
    street: Street,
}

/// A proxy with a failing canary and every product to be told.
fn scene() -> Scene {
    let (stable, canary) =
        (ModelServer::good("v1"), ModelServer::new(scripts::status(500)));
    let (office, dir) = (Office::open(), Dir::new());
    let config = Config::pair(&stable, "20%", &canary).with(&office.notify(&dir));
    dir.write("switchback.yaml", &config.yaml(dir.path()));
    let street = Street::start(dir, "switchback.yaml");
    Scene { _stable: stable, _canary: canary, office, street }
}

/// The canary fails until it is rolled back.
fn roll_back(street: &Street) {
    let body = format!("{{\"card\":\"{PAYLOAD}\"}}");
    assert_eq!(street.ask(&Request::infer(&body)).status, 200);
    let load = Load::new(street.http).start();
    street.rolled_back("v2");
    load.stop().is_clean();
}

/// The topics of the events that a webhook was sent.
fn topics(letters: &[Letter]) -> BTreeSet<String> {
    let topic =
        |letter: &Letter| letter.json()["data"]["topic"].as_str().unwrap().to_owned();
    letters.iter().map(topic).collect()
}

/// Waits until everybody has heard of the end of the rollback.
fn told(office: &Office) -> Vec<Letter> {
    wait::eventually("the end of the rollback is told to the webhook", 3 * SOON, || {
        let events = office.of("webhook");
        topics(&events).contains("rollback.completed").then_some(events)
    });
    let is_over = |product: &str, sign: &str| {
        let what = format!("the end of the rollback is told to {product}");
        wait::eventually(&what, 3 * SOON, || {
            let letters = office.of(product);
            letters.iter().any(|letter| letter.text.contains(sign)).then_some(())
        });
    };
    is_over("pagerduty", "\"resolve\"");
    is_over("github", "\"closed\"");
    for product in ["slack", "alertmanager", "jira", "servicenow"] {
        is_over(product, "rolled back");
    }
    office.of("webhook")
}

/// The value of a sink's series.
fn count(street: &Street, name: &str, sink: &str, outcome: Option<&str>) -> f64 {
    let mut labels = vec![("sink", sink)];
    labels.extend(outcome.map(|outcome| ("outcome", outcome)));
    street.metrics().sum(name, &labels)
}

#[test]
fn a_rollback_is_told_to_everybody_with_one_ticket_in_each_product() {
    let Scene { office, street, _stable, _canary } = scene();
    roll_back(&street);
    let events = told(&office);
    let ids: Vec<Value> = events.iter().map(|event| event.json()["id"].clone()).collect();
    let unique: BTreeSet<String> = ids.iter().map(Value::to_string).collect();
    assert_eq!(ids.len(), unique.len(), "a notice was delivered twice: {ids:?}");
    assert!(topics(&events).contains("rollback.started"), "{:?}", topics(&events));
    for product in ["jira", "github", "servicenow"] {
        assert_eq!(office.tickets(product), 1, "{product}");
    }
    // What PagerDuty was told to trigger is what it was told to resolve.
    let pages: Vec<Value> = office.of("pagerduty").iter().map(Letter::json).collect();
    let keys = |action: &str| -> BTreeSet<String> {
        let these = pages.iter().filter(|page| page["event_action"] == action);
        these.map(|page| page["dedup_key"].to_string()).collect()
    };
    assert_eq!(keys("trigger"), keys("resolve"));
    // An alert and its end differ in nothing by which Alertmanager tells alerts apart.
    let alerts = office.of("alertmanager");
    let alerts: Vec<Value> = alerts.iter().map(|it| it.json()[0].clone()).collect();
    let of_rollback = |alert: &&Value| {
        alert["annotations"]["incident"].to_string().starts_with("\"rb-")
    };
    let alerts: Vec<&Value> = alerts.iter().filter(of_rollback).collect();
    let (first, last) = (alerts[0], alerts[alerts.len() - 1]);
    assert_eq!(first["labels"], last["labels"]);
    assert_eq!(first["startsAt"], last["startsAt"]);
    let end = |alert: &Value| alert["endsAt"].as_str().unwrap().to_owned();
    assert!(end(last) < end(first), "{alerts:#?}");

    wait::eventually("the deliveries are on the metrics page", SOON, || {
        let delivered = |sink: &str| {
            count(&street, "switchback_notices_total", sink, Some("delivered"))
        };
        let all = ["slack", "alerts", "pager", "events", "jira", "github", "snow"];
        all.iter().all(|sink| delivered(sink) >= 2.0).then_some(())
    });
    assert!(count(&street, "switchback_notices_dead", "slack", None) < 0.5);
    records_are_shipped(&office);
    nothing_is_betrayed(&office, &street);
    street.is_well();
}

/// The audit records of the rollback are in both stores for logs, as the log has them.
fn records_are_shipped(office: &Office) {
    let has = |store: &str, sign: &str| {
        let what = format!("the record of the rollback's end is in {store}");
        wait::eventually(&what, SOON, || {
            let letters = office.of(store);
            letters.iter().any(|letter| letter.text.contains(sign)).then_some(())
        });
    };
    has("loki", "\"kind\":\"rollback.completed\"");
    has("elasticsearch", "\"kind\":\"rollback.completed\"");
    let mut hashes = BTreeSet::new();
    let letters = office.of("elasticsearch");
    for line in letters.iter().flat_map(|letter| letter.text.lines()) {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(id) = line["create"]["_id"].as_str() {
            assert!(hashes.insert(id.to_owned()), "{id} was sent twice");
        } else {
            let own = line["hash"].as_str().unwrap();
            assert!(hashes.contains(own), "{line}");
        }
    }
}

/// The record says what was really delivered.
#[test]
fn the_record_names_what_was_delivered_to_whom() {
    let Scene { office, street, _stable, _canary } = scene();
    roll_back(&street);
    told(&office);
    let sent = wait::eventually("the deliveries are in the record", SOON, || {
        let answer = street.admin(Request::get("/api/v1/history"));
        let history: Value = serde_json::from_slice(&answer.body).unwrap();
        let record = history["rollbacks"].as_array()?.first()?.clone();
        let sent = record["alerts_sent"].as_array()?.clone();
        let whom =
            |alert: &Value| alert["recipients"][0].as_str().unwrap_or("").to_owned();
        let reached: BTreeSet<String> = sent.iter().map(whom).collect();
        (reached.len() == 7).then_some(sent)
    });
    let jira = sent.iter().find(|alert| alert["recipients"][0] == "jira").unwrap();
    assert!(jira["reference"].as_str().unwrap().ends_with("/browse/OPS-1"), "{jira}");
    assert!(sent.iter().all(|alert| alert["timestamp"].is_string()), "{sent:?}");
}

#[test]
fn sinks_that_are_down_and_a_kill_cost_no_notice_and_repeat_none() {
    let Scene { office, mut street, _stable, _canary } = scene();
    office.fails(Some(503));
    roll_back(&street);
    wait::eventually("begin and end wait on disk for every sink", SOON, || {
        let answer = street.admin(Request::get("/api/v1/notices"));
        let view: Value = serde_json::from_slice(&answer.body).unwrap();
        let wait = |sink: &Value| sink["waiting"].as_u64() >= Some(2);
        let all = view["sinks"].as_array()?.iter().all(wait);
        (all && view["is_writing"] == false).then_some(())
    });
    assert!(office.refused() > 0 && office.letters().is_empty());
    street = street.again();
    office.fails(None);
    let events = told(&office);
    let mut seen = BTreeSet::new();
    for event in events.iter().map(Letter::json) {
        assert!(seen.insert(event["id"].to_string()), "twice: {event:#}");
    }
    for product in ["jira", "github", "servicenow"] {
        assert_eq!(office.tickets(product), 1, "{product}");
    }
    nothing_is_betrayed(&office, &street);
}

/// No payload leaves, and no secret is anywhere but where it belongs.
fn nothing_is_betrayed(office: &Office, street: &Street) {
    for letter in office.letters() {
        assert!(!letter.text.contains(PAYLOAD), "{letter:?}");
        assert!(!letter.text.contains(SECRET), "{letter:?}");
    }
    let page = |path: &str| street.admin(Request::get(path)).text();
    let said = [
        street.log(),
        page("/metrics"),
        page("/api/v1/status"),
        page("/api/v1/notices"),
        page("/api/v1/history"),
    ];
    for text in said {
        assert!(!text.contains(SECRET) && !text.contains(PAYLOAD), "{text}");
    }
}
