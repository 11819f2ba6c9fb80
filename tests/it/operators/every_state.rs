//! `switchback rollback` works in whatever state the route is in, starts at once, and may be
//! repeated while it runs; what must not be done meanwhile or afterwards is refused with the
//! reason. (S4, T6)

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::desk::{ALICE, as_alice, get, json, plain, post};
use crate::support::client::Request;
use crate::support::config::{Config, NO_RULES};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

const STEPS: &str = "rollout: { steps: [{ setWeight: 30% }, { pause: 1h }], bake: 1h";

fn route(street: &Street) -> Value {
    json(&get(street, ALICE, "/api/v1/routes/iris"))
}

fn version(street: &Street, name: &str) -> Value {
    let versions = route(street)["versions"].clone();
    versions.as_array().unwrap().iter().find(|it| it["name"] == *name).unwrap().clone()
}

fn reaches(street: &Street, what: &str, there: impl Fn(&Value) -> bool) {
    wait::eventually(&format!("the rollout is {what}"), SOON, || {
        there(&route(street)["rollout"]).then_some(())
    });
}

fn steer(street: &Street, verb: &str, more: &[&str]) {
    let words = [&[verb, "iris", "--reason", "a test"][..], more].concat();
    let (code, said, err) = as_alice(street, &words);
    assert_eq!(code, Some(0), "{verb}: {said}{err}");
}

/// Brings a route with a rollout into that state.
fn bring(street: &Street, state: &str) {
    let phase = |phase: &'static str| move |it: &Value| it["phase"] == *phase;
    if !["gated", "read-only"].contains(&state) {
        reaches(street, "at its first weight", |it| it["weight"] == 30.0);
    }
    match state {
        "gated" => reaches(street, "held by its gate", |it| {
            it["waits_for"].as_str().is_some_and(|why| why.contains("board"))
        }),
        "promoting" => {}
        "paused" => steer(street, "pause", &[]),
        "frozen" => steer(street, "freeze", &[]),
        "baking" => {
            steer(street, "promote", &["--full"]);
            reaches(street, "baking", phase("finalising"));
        }
        "aborted" => steer(street, "abort", &[]),
        "read-only" => {
            let words = ["mode", "iris", "read-only", "--reason", "a test"];
            assert_eq!(as_alice(street, &words).0, Some(0));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_rollback_works_in_every_state() {
    let gate = ModelServer::new(scripts::status(403));
    let hook = format!(
        ", webhooks: [{{ name: board, type: confirm-rollout, url: \"{}/gate\", interval: \
         100ms, allowPrivate: true }}]",
        gate.url()
    );
    for state in
        ["gated", "promoting", "paused", "frozen", "baking", "aborted", "read-only"]
    {
        let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
        let more = if state == "gated" { &hook[..] } else { "" };
        let street = plain(
            &Config::pair(&stable, "0%", &canary)
                .route_with(NO_RULES)
                .route_with(&format!("{STEPS}{more} }}")),
        );
        bring(&street, state);
        let begun = Instant::now();
        let order = ["rollback", "iris", "--version", "v2", "--reason", "a test"];
        let (code, said, err) = as_alice(&street, &order);
        assert_eq!(code, Some(0), "{state}: {said}{err}");
        assert!(said.contains("route_traffic: completed"), "{state}: {said}");
        assert!(begun.elapsed() < Duration::from_secs(120), "{state}");
        assert_eq!(version(&street, "v2")["state"], "quarantined", "{state}");
        if state != "read-only" {
            let asked = canary.requests();
            Load::new(street.http).requests(50).run().is_clean();
            assert_eq!(canary.requests(), asked, "{state}");
        }
        // It cannot be brought back but by a release.
        let back = ["rollback", "iris", "--to", "v2", "--reason", "a test"];
        let (code, _, err) = as_alice(&street, &back);
        assert_eq!(code, Some(1), "{state}: {err}");
        assert!(err.contains("quarantine"), "{state}: {err}");
        let (code, _, err) = as_alice(&street, &["retry", "iris", "--reason", "a test"]);
        assert_eq!(code, Some(1), "{state}: {err}");
    }
}

/// A request that the canary holds keeps the drain, and so the rollback, going.
#[test]
fn while_one_runs_another_is_the_same_and_a_promotion_is_refused() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = plain(
        &Config::pair(&stable, "0%", &canary)
            .route_with(NO_RULES)
            .route_with(&format!("{STEPS} }}"))
            .route_with("overrides: [{ header: canary, value: \"true\", to: v2 }]"),
    );
    bring(&street, "promoting");
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    canary.now(Arc::new(move |ask, line| {
        // Nobody sends anything: it waits until the other end is dropped.
        held.lock().unwrap().recv().unwrap_or_default();
        scripts::good("v2")(ask, line)
    }));
    let before = canary.requests();
    thread::scope(|scope| {
        let slow = scope
            .spawn(|| street.ask(&Request::infer("{}").field("canary", "true")).status);
        wait::eventually("the canary has a request", SOON, || {
            (canary.requests() > before).then_some(())
        });
        let path = "/api/v1/routes/iris/rollback";
        let order = json!({ "version": "v2", "reason": "a test" });
        let first = json(&post(&street, ALICE, path, &order));
        let again = json(&post(&street, ALICE, path, &order));
        assert_eq!(again["rollback_id"], first["rollback_id"], "{again:#}");
        assert_eq!(again["status"], "in_progress", "{again:#}");
        for verb in ["promote", "retry", "pause"] {
            let path = format!("/api/v1/routes/iris/{verb}");
            let answer = post(&street, ALICE, &path, &json!({ "reason": "a test" }));
            assert_eq!(answer.status, 409, "{verb}: {}", answer.text());
        }
        let more = Street::weight_order("iris", "v2", 50.0)
            .field("authorization", &format!("Bearer {ALICE}"));
        let answer = street.admin(more);
        assert!((400..500).contains(&answer.status), "{}", answer.text());
        drop(hold);
        assert_eq!(slow.join().unwrap(), 200, "it may finish");
    });
    wait::eventually("the rollback is over", SOON, || {
        let last = route(&street)["last_rollback"].clone();
        (last["status"] == "completed").then_some(())
    });
}

/// Analysis and rollback stay active while a gate waits: it lets the first step through and
/// no other.
#[test]
fn a_canary_that_turns_bad_behind_a_gate_is_rolled_back() {
    let asked = AtomicU64::new(0);
    let gate = ModelServer::new(Arc::new(move |ask, line| {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        scripts::status(if first { 200 } else { 403 })(ask, line)
    }));
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let plan = format!(
        "rollout: {{ steps: [{{ setWeight: 50% }}, {{ setWeight: 60% }}], bake: 1h, \
         webhooks: [{{ name: board, type: confirm-traffic-increase, url: \"{}/gate\", \
         interval: 100ms, allowPrivate: true }}] }}",
        gate.url()
    );
    let street = plain(&Config::pair(&stable, "0%", &canary).route_with(&plan));
    let load = Load::new(street.http).start();
    reaches(&street, "held by its gate", |it| {
        it["weight"] == 50.0
            && it["waits_for"].as_str().is_some_and(|why| why.contains("board"))
    });
    canary.now(scripts::status(500));
    wait::eventually("v2 is rolled back", 3 * SOON, || {
        (version(&street, "v2")["state"] == "quarantined").then_some(())
    });
    load.stop().is_clean();
    reaches(&street, "over", |it| it["phase"] == "failed");
}

/// A board that wants it back gets it back: by a good answer to the webhook `rollback`.
#[test]
fn a_webhook_may_ask_for_the_rollback() {
    let board = ModelServer::new(scripts::status(403));
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let plan = format!(
        "rollout: {{ steps: [{{ setWeight: 50% }}, {{ pause: 1h }}], webhooks: [{{ name: \
         board, type: rollback, url: \"{}/\", interval: 100ms, allowPrivate: true }}] }}",
        board.url()
    );
    let config = Config::pair(&stable, "0%", &canary).route_with(NO_RULES);
    let street = plain(&config.route_with(&plan));
    reaches(&street, "at its first weight", |it| it["weight"] == 50.0);
    wait::eventually("the board is asked", SOON, || (board.requests() > 1).then_some(()));
    assert_eq!(version(&street, "v2")["state"], "serving");
    board.now(scripts::status(200));
    wait::eventually("v2 is rolled back", SOON, || {
        (version(&street, "v2")["state"] == "quarantined").then_some(())
    });
}

/// In even steps there, and in even steps back.
#[test]
fn a_rolling_rollout_goes_in_steps_both_ways() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let plan =
        "rollout: { strategy: rolling, stepWeight: 20%, interval: 200ms, bake: 1h }";
    let street = plain(
        &Config::pair(&stable, "0%", &canary).route_with(NO_RULES).route_with(plan),
    );
    let load = Load::new(street.http).clients(1).start();
    let mut weights = Vec::new();
    let mut follow = |there: &dyn Fn(&Value) -> bool| {
        wait::eventually("the rollout has come there", SOON, || {
            let seen = route(&street)["rollout"].clone();
            let weight = seen["weight"].as_f64().unwrap();
            if weights.last() != Some(&weight) {
                weights.push(weight);
            }
            there(&seen).then_some(())
        });
        std::mem::take(&mut weights)
    };
    let up = follow(&|it| it["weight"].as_f64().unwrap() >= 80.0);
    assert!(up.is_sorted() && up.iter().all(|it| it % 20.0 == 0.0), "{up:?}");
    assert!(up.len() >= 3, "not at once: {up:?}");
    steer(&street, "abort", &[]);
    let down = follow(&|it| it["weight"] == 0.0);
    assert!(down.is_sorted_by(|a, b| a >= b), "{down:?}");
    assert!(down.len() >= 3, "not at once: {down:?}");
    load.stop().is_clean();
}
