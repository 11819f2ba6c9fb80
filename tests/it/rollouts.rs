//! Rollouts of the real binary: a canary gains traffic by its steps, waits, is stopped and
//! begun again, outlives a restart, and is taken away when it is bad; a blue-green one goes
//! there and back under load and loses no request. (S2, strategies)

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Answer, Client, Request};
use crate::support::config::{Config, NO_RULES, Route};
use crate::support::evidence;
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

/// Steps that are over at once but for one, which waits for a word.
const STEPS: &str = "rollout: { steps: [{ setWeight: 20% }, { pause: 300ms }, \
                     { setWeight: 50% }, { pause: untilPromoted }], bake: 500ms }";

fn order(verb: &str, body: &Value) -> Request {
    Request::post(&format!("/api/v1/routes/iris/{verb}"), body.to_string())
        .field("content-type", "application/json")
        .host("127.0.0.1")
}

/// Carries a verb out; the rollout as it stands then.
fn steer(street: &Street, verb: &str) -> Value {
    let answer = street.admin(order(verb, &json!({ "reason": "a test" })));
    assert_eq!(answer.status, 200, "{verb}: {}", answer.text());
    serde_json::from_str(&answer.text()).unwrap()
}

fn refused(street: &Street, verb: &str) -> Answer {
    let answer = street.admin(order(verb, &json!({ "reason": "a test" })));
    assert_eq!(answer.status, 409, "{verb}: {}", answer.text());
    answer
}

fn rollout(street: &Street) -> Value {
    street.status()["routes"][0]["rollout"].clone()
}

fn share(street: &Street) -> f64 {
    street.version("v2")["share"].as_f64().unwrap()
}

/// Waits until the rollout is in that phase at that weight.
fn stands(street: &Street, phase: &str, weight: f64) -> Value {
    wait::eventually(&format!("the rollout is {phase} at {weight}%"), SOON, || {
        let seen = rollout(street);
        let there = seen["phase"] == phase
            && (seen["weight"].as_f64().unwrap_or(-1.0) - weight).abs() < 1e-6;
        there.then_some(seen)
    })
}

struct Scene {
    _stable: ModelServer,
    canary: ModelServer,
    street: Street,
}

fn scene(plan: &str) -> Scene {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "0%", &canary).route_with(plan);
    let street = Street::open(&config.route_with(NO_RULES));
    Scene { _stable: stable, canary, street }
}

#[test]
fn a_canary_goes_through_its_steps_and_is_promoted() {
    let Scene { street, .. } = &scene(STEPS);
    let load = Load::new(street.http).clients(2).start();
    let waits = stands(street, "waitingPromotion", 50.0);
    assert!(waits["waits_for"].as_str().unwrap().contains("promote"), "{waits:#}");
    assert!((share(street) - 50.0).abs() < 1e-6);
    steer(street, "promote");
    // The last step waits for the analysis, which has no rule here that could say "good".
    let waits = stands(street, "waitingPromotion", 50.0);
    assert!(waits["waits_for"].as_str().unwrap().contains("analysis"), "{waits:#}");
    steer(street, "promote");
    let end = stands(street, "succeeded", 100.0);
    assert_eq!(end["waits_for"], Value::Null, "{end:#}");
    assert!((share(street) - 100.0).abs() < 1e-6);
    load.stop().is_clean();
    let told = evidence::audit(street);
    let of = |kind: &str| told.iter().filter(|line| line["kind"] == *kind).count();
    assert!(of("rollout.changed") >= 4, "{told:#?}");
    assert_eq!(of("order.rollout"), 2);
}

#[test]
fn operators_stop_it_let_it_go_on_end_it_and_begin_it_again() {
    let Scene { street, .. } = &scene(STEPS);
    let load = Load::new(street.http).clients(1).start();
    stands(street, "waitingPromotion", 50.0);
    let paused = steer(street, "pause");
    assert_eq!(
        (&paused["phase"], &paused["paused_by"]),
        (&json!("paused"), &json!("local"))
    );
    refused(street, "pause");
    let answer = street.admin(order("promote", &json!({})));
    assert_eq!(answer.status, 400, "a reason is asked for");
    assert_eq!(steer(street, "resume")["phase"], "waitingPromotion");

    assert_eq!(steer(street, "abort")["phase"], "failed");
    assert!(share(street).abs() < 1e-6);
    assert_eq!(street.version("v2")["state"], "serving", "an abort is no quarantine");
    refused(street, "promote");
    steer(street, "freeze");
    steer(street, "resume");
    steer(street, "retry");
    stands(street, "waitingPromotion", 50.0);
    let whole =
        street.admin(order("promote", &json!({ "full": true, "reason": "good" })));
    assert_eq!(whole.status, 200, "{}", whole.text());
    stands(street, "succeeded", 100.0);
    load.stop().is_clean();
}

#[test]
fn it_outlives_a_restart_where_it_was() {
    let Scene { _stable, canary: _canary, mut street } = scene(STEPS);
    let load = Load::new(street.http).clients(1).start();
    let before = stands(&street, "waitingPromotion", 50.0);
    load.stop().is_clean();
    steer(&street, "pause");
    street.kill();
    let street = street.again();
    let after = rollout(&street);
    assert_eq!(after["phase"], "paused", "{after:#}");
    assert_eq!((&after["id"], &after["step"]), (&before["id"], &before["step"]));
    assert!((share(&street) - 50.0).abs() < 1e-6);
    steer(&street, "resume");
    let whole =
        street.admin(order("promote", &json!({ "full": true, "reason": "good" })));
    assert_eq!(whole.status, 200, "{}", whole.text());
    stands(&street, "succeeded", 100.0);
}

#[test]
fn a_bad_canary_is_rolled_back_wherever_its_rollout_stands() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "0%", &canary).route_with(STEPS);
    let street = Street::open(&config);
    let load = Load::new(street.http).start();
    stands(&street, "waitingPromotion", 50.0);
    canary.now(scripts::status(500));
    street.rolled_back("v2");
    load.stop().is_clean();
    let end = stands(&street, "failed", 0.0);
    assert!(end["reason"].as_str().unwrap().contains("errorRate"), "{end:#}");
    assert!(refused(&street, "retry").text().contains("quarantine"));
}

/// Flagger's webhooks: a gate that says no holds the rollout, one that says go lets it go.
#[test]
fn a_gate_holds_it_until_it_says_go() {
    let asked = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let (bodies, says) = (Arc::clone(&asked), Arc::new(AtomicU16::new(403)));
    let answer = Arc::clone(&says);
    let gate = ModelServer::new(Arc::new(move |_, line| {
        bodies.lock().unwrap().push(line.body().unwrap());
        line.reply(answer.load(Ordering::Relaxed), "", "")
    }));
    let hook = format!(
        "{{ name: board, type: confirm-rollout, url: \"{}/gate\", interval: 100ms, \
         allowPrivate: true, metadata: {{ team: risk }} }}",
        gate.url()
    );
    let plan = STEPS.replace("bake:", &format!("webhooks: [{hook}], bake:"));
    let Scene { street, .. } = &scene(&plan);
    let waits = wait::eventually("the gate has said no", SOON, || {
        let seen = rollout(street);
        let why = seen["waits_for"].as_str().unwrap_or_default().to_owned();
        why.contains("403").then_some(seen)
    });
    assert_eq!(waits["phase"], "waiting", "{waits:#}");
    assert!(share(street).abs() < 1e-6);
    let body: Value = serde_json::from_slice(&asked.lock().unwrap()[0]).unwrap();
    assert_eq!(
        (&body["name"], &body["metadata"]["team"]),
        (&json!("iris"), &json!("risk"))
    );
    let load = Load::new(street.http).clients(1).start();
    says.store(200, Ordering::Relaxed);
    stands(street, "waitingPromotion", 50.0);
    load.stop().is_clean();
}

#[test]
fn any_version_may_be_gone_back_to_and_stays_after_a_restart() {
    let servers = ["v1", "v2", "v0"].map(ModelServer::good);
    let route = Route::new("iris")
        .stable("v1", &servers[0])
        .canary("v2", "30%", &servers[1])
        .version("v0", "role: candidate", &[servers[2].url()]);
    let mut street = Street::open(&Config::new([route]));
    let back = json!({ "to": "v0", "reason": "v1 is no better" });
    let answer = street.admin(order("rollback", &back));
    assert_eq!(answer.status, 200, "{}", answer.text());
    for _ in 0..2 {
        for _ in 0..20 {
            assert_eq!(street.ask(&Request::infer("{}")).version(), "v0");
        }
        wait::eventually("v2 is out, and that is on disk", SOON, || {
            let ended = street.status()["routes"][0]["last_rollback"]["status"].clone();
            let out = street.version("v2")["state"] == "quarantined";
            (ended == "completed" && out).then_some(())
        });
        street = street.again();
    }
}

/// The acceptance asks for a thousand switches, each well under 30 s, and no request lost.
#[test]
fn a_thousand_switches_there_and_back_lose_no_request() {
    let Scene { street, .. } = &scene("rollout: { strategy: blueGreen, bake: 1h }");
    stands(street, "waitingPromotion", 0.0);
    let load = Load::new(street.http).clients(4).start();
    let mut client = Client::new(street.admin);
    let mut longest = Duration::ZERO;
    let body = json!({ "reason": "a test" });
    let mut ask = |verb: &str| {
        let answer = client.send(order(verb, &body).bytes()).answer().unwrap();
        assert_eq!(answer.status, 200, "{verb}: {}", answer.text());
        serde_json::from_str::<Value>(&answer.text()).unwrap()
    };
    let begun = Instant::now();
    for _ in 0..SWITCHES / 2 {
        for (verb, weight) in [("promote", 100.0), ("abort", 0.0)] {
            let since = Instant::now();
            let seen = ask(verb);
            longest = longest.max(since.elapsed());
            assert_eq!(seen["weight"], weight, "{seen:#}");
        }
        ask("retry");
    }
    let took = begun.elapsed();
    let count = load.stop();
    count.is_clean();
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    for version in ["v1", "v2"] {
        assert!(count.good.keys().any(|(by, _)| by == version), "{:?}", count.good);
    }
    eprintln!("{SWITCHES} switches in {took:?}, the longest {longest:?}");
}

const SWITCHES: u32 = 1_000;
