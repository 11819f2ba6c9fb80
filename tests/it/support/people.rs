//! What the people who are told of a rollback wait for: an event, a ticket, a page. Apart
//! from the products that bring it to them ([`Office`]).

use serde_json::Value;

use super::sinks::{Letter, Office};
use super::wait::{self, SOON};

/// Waits for the event about that topic which `wanted` wants, and returns it.
pub fn event(office: &Office, topic: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    wait::eventually(&format!("an event tells of {topic}"), SOON, || {
        let kind = format!("io.switchback.{topic}");
        let events = office.of("webhook").into_iter().map(|letter| letter.json());
        events.filter(|event| event["type"] == *kind).find(|event| wanted(event))
    })
}

/// Waits for the first ticket on GitHub, and returns it.
pub fn ticket(office: &Office) -> Value {
    wait::eventually("a ticket is opened", SOON, || {
        let letters = office.of("github");
        letters.iter().map(Letter::json).find(|body| body["title"].is_string())
    })
}

/// Waits until somebody with that key is woken for something critical.
pub fn woken(office: &Office, key: &str) {
    wait::eventually(&format!("{key} is paged"), SOON, || {
        let pages = office.of("pagerduty").into_iter().map(|letter| letter.json());
        let wakes = |page: &Value| {
            page["event_action"] == "trigger" && page["payload"]["severity"] == "critical"
        };
        pages.filter(wakes).any(|page| page["routing_key"] == *key).then_some(())
    });
}
