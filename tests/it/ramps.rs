//! Given a canary that has most of the traffic and a stable version that is too small for it,
//! when the canary is rolled back with `onShort: ramp`, then nobody is left on the canary and
//! stable is not crushed: what does not fit is answered with a kept answer or 503 and
//! `Retry-After`, is let through in steps as there is room, and all of it is said in the
//! record. (issue 4: headroom)

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::client::{Client, Request};
use crate::support::config::{Config, Route};
use crate::support::evidence::{audit, audited};
use crate::support::load::Load;
use crate::support::model_server::{ModelServer, Script};
use crate::support::scripts;
use crate::support::street::{Street, run};
use crate::support::wait::{self, SOON};

/// Answers well after a while; the most that it had at a time is kept.
fn counts(model: &str, most: Arc<AtomicU64>) -> Script {
    let (slow, now) =
        (scripts::slow(model, Duration::from_millis(30)), AtomicU64::new(0));
    Arc::new(move |ask, line| {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let then = slow(ask, line);
        now.fetch_sub(1, Ordering::SeqCst);
        then
    })
}

fn street(stable: &ModelServer, canary: &ModelServer, headroom: &str) -> Street {
    let route = Route::new("iris")
        .version("v1", "role: stable, maxInFlight: 4", &[stable.url()])
        .canary("v2", "90%", canary)
        .with("fallback: { cache: { enabled: true } }")
        .with(&format!("rollback: {{ stabilization: 100ms, headroom: {headroom} }}"));
    Street::open(&Config::new([route]))
}

fn order() -> Request {
    let order = json!({ "version": "v2", "reason": "a test" }).to_string();
    Request::post("/api/v1/routes/iris/rollback", order)
        .field("content-type", "application/json")
}

#[test]
fn what_stable_has_no_room_for_is_held_back_and_let_through_in_steps() {
    let most = Arc::new(AtomicU64::new(0));
    let stable = ModelServer::new(counts("v1", most.clone()));
    let canary = ModelServer::new(scripts::slow("v2", Duration::from_millis(30)));
    let ramp = "{ onShort: ramp, step: 20%, interval: 300ms, timeout: 1h }";
    let street = street(&stable, &canary, ramp);
    let load = Load::new(street.http).clients(24).start();
    load.reaches(200);
    let answer = street.admin(order());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let held = |street: &Street| street.status()["routes"][0]["held_back"].as_f64();
    let at_first = held(&street).expect("24 in flight do not fit into 4");
    assert!((50.0..=90.0).contains(&at_first), "{at_first}");
    let started = audited(&street, "ramp.started");
    assert_eq!((&started["have"], &started["version"]), (&json!(4), &json!("v2")));
    wait::eventually("the canary has nothing left", SOON, || {
        (street.version("v2")["in_flight"] == 0).then_some(())
    });
    let (reached, before) = (canary.requests(), load.sent());
    load.reaches(before + 500);
    assert_eq!(canary.requests(), reached, "somebody was sent to the canary");
    assert!(most.load(Ordering::SeqCst) <= 4, "stable had {most:?} at a time");
    refusals_say_when_to_come_again(&street);
    let shown = run(["status", "--admin", &format!("http://{}", street.admin)]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("of the requests are held back"), "{shown}");
    let record = street.status()["routes"][0]["last_rollback"].clone();
    assert_eq!(
        record["status"], "in_progress",
        "it settles when all is over: {record:#}"
    );

    // Less is asked, and all of it fits.
    let count = load.stop();
    assert!(count.with_reason("held-back") > 0, "{:?}", count.good);
    let quiet = Load::new(street.http).clients(1).start();
    wait::eventually("all is let through", SOON, || {
        held(&street).is_none().then_some(())
    });
    street.rolled_back("v2");
    drop(quiet.stop());
    Load::new(street.http).clients(2).requests(200).run().is_clean();
    let ended = audited(&street, "rollback.completed");
    let notes = ended["notes"].to_string();
    assert!(notes.contains("of the traffic was held back at first"), "{notes}");
    assert_eq!(audit(&street).iter().filter(|it| it["kind"] == "ramp.ended").count(), 1);
}

fn refusals_say_when_to_come_again(street: &Street) {
    let mut client = Client::new(street.http);
    let (mut refused, mut kept) = (0, 0);
    for number in 0..200 {
        // A question that was never asked before, and one that has a kept answer.
        let new = format!("{{\"inputs\":[{number},\"new\"]}}");
        let answer = client.ask(&Request::infer(new));
        if answer.field("x-switchback-reason") == "held-back" {
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert!(!answer.field("retry-after").is_empty());
            assert!(answer.field("proxy-status").contains("error="));
            assert_eq!(answer.field("x-model-version"), "none");
            refused += 1;
        }
        let answer = client.ask(&Request::infer("{\"inputs\":[1,2,3]}"));
        if answer.status == 200 && answer.field("x-switchback-reason") == "held-back" {
            assert!(answer.field("cache-status").contains("held-back"));
            assert_eq!(answer.version(), "v1");
            kept += 1;
        }
    }
    assert!(refused > 0 && kept > 0, "{refused} refused, {kept} kept");
}

#[test]
fn with_shed_all_goes_over_at_once_and_the_bound_holds() {
    let most = Arc::new(AtomicU64::new(0));
    let stable = ModelServer::new(counts("v1", most.clone()));
    let canary = ModelServer::new(scripts::slow("v2", Duration::from_millis(30)));
    let street = street(&stable, &canary, "{ onShort: shed }");
    let load = Load::new(street.http).clients(24).start();
    load.reaches(200);
    assert_eq!(street.admin(order()).status, 200);
    assert!(street.status()["routes"][0]["held_back"].is_null());
    street.rolled_back("v2");
    drop(load.stop());
    assert!(most.load(Ordering::SeqCst) <= 4, "stable had {most:?} at a time");
    assert!(audit(&street).iter().all(|record| record["kind"] != "ramp.started"));
}
