//! Rollouts on the bench: begun, gone on with, stopped and ended, without a data plane.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::support::{
    Bench, Does, Fed, Paper, by, ended, heard, name, pass, percent, release, reload,
    roll_back, roll_back_to, route, rules, sequential, set_weight, status, version,
};
use crate::control::driver::Driver;
use crate::control::handle::{Order, OrderError};
use crate::control::settings::{Hook, RolloutSettings, Settings};
use crate::control::start::Kept;
use crate::control::status::RolloutView;
use crate::effects::post::Target;
use crate::judge::{Confirm, OnBreach};
use crate::rollout::{Finish, Gate, NoTraffic, Plan, PlanStep, Retreat, Strategy, Verb};
use crate::route::{Role, Standing};
use crate::vocab::ids::Digest;

fn two_steps() -> Plan {
    let pause = PlanStep::Pause(Duration::from_secs(10));
    Plan {
        strategy: Strategy::Canary,
        steps: vec![
            PlanStep::SetWeight(percent(10.0)),
            pause,
            PlanStep::SetWeight(percent(50.0)),
            pause,
        ],
        finish: Finish::WhenGood,
        bake: Duration::from_secs(5),
        no_traffic: NoTraffic::Hold,
        retreat: Retreat::AtOnce,
        gates: Vec::new(),
    }
}

/// The route `iris` with a plan for `v2`.
fn planned(plan: Plan, hooks: Vec<Hook>) -> Settings {
    let versions =
        vec![version("v1", Role::Stable, 0.0, 1), version("v2", Role::Canary, 0.0, 2)];
    let mut iris = route("iris", versions);
    iris.rules = Arc::new(sequential(Confirm::Off));
    for version in &mut iris.versions {
        version.upstream.pool.max_connections = 1_000;
    }
    iris.rollout = Some(Arc::new(RolloutSettings { plan, hooks }));
    Settings {
        routes: vec![iris],
        dns: Default::default(),
        config_hash: "one".into(),
        described: "".into(),
    }
}

async fn steer(driver: &mut Driver<Fed>, verb: Verb) -> Result<RolloutView, OrderError> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    let route = name("iris");
    driver.obey(Order::Steer { route, verb, by: by("so be it"), answer }).await;
    heard(driver, wait).await
}

async fn view(driver: &mut Driver<Fed>) -> RolloutView {
    status(driver).await.routes[0].rollout.clone().unwrap()
}

fn refused(done: Result<RolloutView, OrderError>) -> String {
    done.unwrap_err().to_string()
}

const GOOD: (Does, Does) = ((50, 1), (50, 1));
const PROMOTE: Verb = Verb::Promote { full: false };

fn hook(gate: Option<Gate>) -> Hook {
    Hook {
        name: "approval".to_owned(),
        gate,
        target: Target::parse("https://gate.example.com/", false).unwrap(),
        timeout: Duration::from_secs(1),
        metadata: BTreeMap::from([("team".to_owned(), "risk".to_owned())]),
    }
}

/// Webhooks that answer this status and keep what they were sent.
type Sent = Arc<Mutex<Vec<Value>>>;

fn answering(driver: &mut Driver<Fed>) -> (Arc<AtomicU16>, Sent) {
    let (status, sent) = (Arc::new(AtomicU16::new(503)), Sent::default());
    let (says, keeps) = (Arc::clone(&status), Arc::clone(&sent));
    driver.desk.rollouts.webhooks.knock = Arc::new(move |_, body| {
        keeps.lock().unwrap().push(body);
        let status = says.load(Ordering::SeqCst);
        Box::pin(async move { Ok(status) })
    });
    (status, sent)
}

#[tokio::test(start_paused = true)]
async fn a_good_canary_is_promoted_when_the_analysis_is_good() {
    let (bench, mut driver) = Bench::new(planned(two_steps(), Vec::new()));
    driver.tick().await;
    assert_eq!(bench.weight("iris", "v2"), percent(10.0));
    let at =
        |weight: f64| move |bench: &Bench| bench.weight("iris", "v2") == percent(weight);
    assert!(bench.drive(&mut driver, GOOD, 12, at(50.0)).await);
    assert!(bench.drive(&mut driver, GOOD, 600, at(100.0)).await);
    let seen = view(&mut driver).await;
    assert_eq!((seen.phase.as_str(), seen.step, seen.steps), ("finalising", 3, 3));
    assert!(!bench.drive(&mut driver, GOOD, 6, |_| false).await);
    let seen = view(&mut driver).await;
    assert_eq!((seen.phase.as_str(), seen.waits_for), ("succeeded", None));
    let kinds = bench.journal.kinds();
    assert!(kinds.iter().filter(|kind| **kind == "rollout.changed").count() >= 5);
    assert!(bench.journal.topics().contains(&"rollout.changed"));
}

#[tokio::test(start_paused = true)]
async fn without_a_request_it_holds_at_its_step() {
    let (bench, mut driver) = Bench::new(planned(two_steps(), Vec::new()));
    for _ in 0..100 {
        pass(Duration::from_millis(250)).await;
        driver.tick().await;
    }
    assert_eq!(bench.weight("iris", "v2"), percent(10.0));
    let seen = view(&mut driver).await;
    assert_eq!(seen.waits_for.as_deref(), Some("the first request to the version"));
    bench.feed(bench.slot("iris", "v2"), 1, 0);
    driver.tick().await;
    assert_eq!(bench.weight("iris", "v2"), percent(50.0));
}

#[tokio::test(start_paused = true)]
async fn a_bad_canary_is_stopped_and_comes_back_by_release_and_retry() {
    let (bench, mut driver) = Bench::new(planned(two_steps(), Vec::new()));
    driver.tick().await;
    let v2 = bench.slot("iris", "v2");
    let bad = ((50, 25), (50, 0));
    let out = |bench: &Bench| bench.standing("iris", "v2") == Standing::Quarantined;
    assert!(bench.drive(&mut driver, bad, 10, out).await);
    let seen = view(&mut driver).await;
    assert_eq!((seen.phase.as_str(), seen.weight), ("rollingBack", 0.0));
    let why = refused(steer(&mut driver, Verb::Promote { full: true }).await);
    assert_eq!(why, "v2 is being rolled back: there is nothing to promote");
    ended(&mut driver, v2).await;
    driver.tick().await;
    let seen = view(&mut driver).await;
    assert_eq!(seen.phase, "failed");
    assert!(seen.reason.unwrap().starts_with("rolled back: errorRate"));
    let why = refused(steer(&mut driver, Verb::Retry).await);
    assert_eq!(why, "v2 is in quarantine: release it first");
    release(&mut driver, "v2").await.unwrap();
    driver.tick().await;
    assert_eq!(bench.weight("iris", "v2"), percent(0.0), "a release gives no users back");
    let seen = steer(&mut driver, Verb::Retry).await.unwrap();
    assert_eq!((seen.phase.as_str(), seen.weight), ("progressing", 10.0));
    assert_eq!(bench.weight("iris", "v2"), percent(10.0));
}

#[tokio::test(start_paused = true)]
async fn orders_are_answered_when_they_are_on_disk_and_a_restart_goes_on() {
    let paper = Arc::new(Paper::default());
    let settings = planned(two_steps(), Vec::new());
    let (bench, mut driver) =
        Bench::with(settings.clone(), Arc::<Paper>::clone(&paper), Kept::default())
            .unwrap();
    driver.tick().await;
    steer(&mut driver, Verb::Pause).await.unwrap();
    let kept = |paper: &Paper| paper.rolled.lock().unwrap()[&name("iris")].clone();
    assert_eq!(kept(&paper)["rollout"]["paused"]["by"], "alice");
    let why = refused(steer(&mut driver, PROMOTE).await);
    assert_eq!(why, "it is stopped by alice (so be it): resume it first");
    drop((bench, driver));

    let row = serde_json::from_value(kept(&paper)).unwrap();
    let rollouts = vec![(name("iris"), row)];
    let kept = Kept { rollouts, ..Kept::default() };
    let shelf = Arc::<Paper>::clone(&paper);
    let (bench, mut driver) = Bench::with(settings, shelf, kept).unwrap();
    assert_eq!(bench.weight("iris", "v2"), percent(10.0), "before the first tick");
    driver.tick().await;
    let seen = view(&mut driver).await;
    assert_eq!(
        (seen.phase.as_str(), seen.paused_by.as_deref()),
        ("paused", Some("alice"))
    );
    steer(&mut driver, Verb::Resume).await.unwrap();
    let half = |bench: &Bench| bench.weight("iris", "v2") == percent(50.0);
    assert!(!bench.drive(&mut driver, GOOD, 9, half).await);
    assert!(bench.drive(&mut driver, GOOD, 2, half).await);
}

#[tokio::test(start_paused = true)]
async fn a_freeze_holds_the_route_and_a_rollback_works_all_the_same() {
    let (bench, mut driver) = Bench::new(planned(two_steps(), Vec::new()));
    driver.tick().await;
    steer(&mut driver, Verb::Freeze).await.unwrap();
    let moved = |bench: &Bench| bench.weight("iris", "v2") != percent(10.0);
    assert!(!bench.drive(&mut driver, GOOD, 60, moved).await);
    assert_eq!(view(&mut driver).await.frozen_by.as_deref(), Some("alice"));
    let record = roll_back(&mut driver, None).await.unwrap();
    assert_eq!(record.from_version, name("v2"));
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    ended(&mut driver, bench.slot("iris", "v2")).await;

    let mut next = planned(two_steps(), Vec::new());
    next.routes[0].versions[1].digest = Digest::new("sha256:new");
    reload(&mut driver, next).await.unwrap();
    assert!(!bench.drive(&mut driver, GOOD, 30, |_| false).await);
    assert_eq!(bench.weight("iris", "v2"), percent(0.0), "the route is frozen still");
    steer(&mut driver, Verb::Resume).await.unwrap();
    assert_eq!(bench.weight("iris", "v2"), percent(10.0));
}

#[tokio::test(start_paused = true)]
async fn another_build_begins_anew_and_the_same_one_does_not() {
    let (bench, mut driver) = Bench::new(planned(two_steps(), Vec::new()));
    driver.tick().await;
    steer(&mut driver, Verb::Promote { full: true }).await.unwrap();
    assert_eq!(bench.weight("iris", "v2"), percent(100.0));
    reload(&mut driver, planned(two_steps(), Vec::new())).await.unwrap();
    driver.tick().await;
    assert_eq!(bench.weight("iris", "v2"), percent(100.0));
    let first = view(&mut driver).await.id;

    let mut next = planned(two_steps(), Vec::new());
    next.routes[0].versions[1].digest = Digest::new("sha256:new");
    reload(&mut driver, next).await.unwrap();
    assert_eq!(bench.weight("iris", "v2"), percent(0.0), "it has shown nothing yet");
    driver.tick().await;
    assert_eq!(bench.weight("iris", "v2"), percent(10.0));
    assert_ne!(view(&mut driver).await.id, first);

    reload(&mut driver, planned(two_steps(), Vec::new())).await.unwrap();
    driver.tick().await;
    let seen = view(&mut driver).await;
    assert_eq!((seen.phase.as_str(), bench.weight("iris", "v2")), ("idle", percent(0.0)));
    assert!(seen.waits_for.unwrap().contains("rolled out before"));
    assert!(refused(steer(&mut driver, PROMOTE).await).contains("nothing to promote"));
    steer(&mut driver, Verb::Retry).await.unwrap();
    assert_eq!(bench.weight("iris", "v2"), percent(10.0));
}

#[tokio::test(start_paused = true)]
async fn a_weight_by_hand_pauses_it() {
    let (bench, mut driver) = Bench::new(planned(two_steps(), Vec::new()));
    driver.tick().await;
    set_weight(&mut driver, "v2", 30.0).await.unwrap();
    let seen = view(&mut driver).await;
    assert_eq!((seen.phase.as_str(), seen.weight), ("paused", 30.0));
    let settings = planned(two_steps(), Vec::new());
    reload(&mut driver, settings).await.unwrap();
    assert_eq!(bench.weight("iris", "v2"), percent(30.0));
}

#[tokio::test(start_paused = true)]
async fn a_weight_that_another_deed_changed_pauses_it_too() {
    let mut settings = planned(two_steps(), Vec::new());
    settings.routes[0].versions.push(version("v0", Role::Candidate, 0.0, 3));
    let (bench, mut driver) = Bench::new(settings);
    driver.tick().await;
    // Back to the version before stable: every canary loses its weight.
    roll_back_to(&mut driver, Some("v1"), Some("v0")).await.unwrap();
    assert_eq!(bench.weight("iris", "v2"), percent(0.0));
    let moved = |bench: &Bench| bench.weight("iris", "v2") != percent(0.0);
    assert!(!bench.drive(&mut driver, GOOD, 30, moved).await);
    let seen = view(&mut driver).await;
    assert_eq!((seen.phase.as_str(), seen.weight), ("paused", 0.0));
    assert_eq!(seen.paused_by.as_deref(), Some("switchback"));
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_pauses_stops_it_once() {
    let mut settings = planned(two_steps(), Vec::new());
    settings.routes[0].rules = Arc::new(rules(OnBreach::Pause));
    let (bench, mut driver) = Bench::new(settings);
    driver.tick().await;
    let (v1, v2) = (bench.slot("iris", "v1"), bench.slot("iris", "v2"));
    bench.feed(v1, 900, 0);
    bench.feed(v2, 100, 60);
    pass(Duration::from_millis(250)).await;
    driver.tick().await;
    let seen = view(&mut driver).await;
    assert_eq!(
        (seen.phase.as_str(), seen.paused_by.as_deref()),
        ("paused", Some("analysis"))
    );
    assert!(seen.reason.unwrap().contains("[pauses the rollout]"));
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
    steer(&mut driver, Verb::Resume).await.unwrap();
    driver.tick().await;
    assert_eq!(view(&mut driver).await.phase, "progressing", "it was told of it already");
}

#[tokio::test(start_paused = true)]
async fn gates_are_asked_until_they_let_pass_and_events_are_told() {
    let gates = vec![(Gate::ConfirmRollout, Duration::from_secs(2))];
    let hooks = vec![hook(Some(Gate::ConfirmRollout)), hook(None)];
    let plan = Plan { gates, ..two_steps() };
    let (bench, mut driver) = Bench::new(planned(plan, hooks));
    let (answer, sent) = answering(&mut driver);
    let moved = |bench: &Bench| bench.weight("iris", "v2") == percent(10.0);
    assert!(!bench.drive(&mut driver, GOOD, 7, moved).await);
    let seen = view(&mut driver).await;
    assert_eq!(seen.phase, "waiting");
    let waits = "the gate confirm-rollout: approval answers 503";
    assert_eq!(seen.waits_for.as_deref(), Some(waits));
    answer.store(200, Ordering::SeqCst);
    assert!(bench.drive(&mut driver, GOOD, 3, moved).await);
    let sent = sent.lock().unwrap();
    let asked: Vec<_> =
        sent.iter().filter(|it| it["metadata"]["eventType"].is_null()).collect();
    assert!((3..=6).contains(&asked.len()), "{}", asked.len());
    assert_eq!(asked[0]["name"], "iris");
    assert_eq!(asked[0]["checksum"], "v2");
    assert_eq!(asked[0]["metadata"]["team"], "risk");
    let told = sent.iter().find(|it| it["metadata"]["eventType"] == "Normal").unwrap();
    assert!(told["metadata"]["eventMessage"].as_str().unwrap().contains("rolled out"));
    assert!(told["metadata"]["timestamp"].as_str().unwrap().parse::<u64>().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_webhook_may_order_the_rollback() {
    let gates = vec![(Gate::Rollback, Duration::from_secs(2))];
    let plan = Plan { gates, ..two_steps() };
    let (bench, mut driver) = Bench::new(planned(plan, vec![hook(Some(Gate::Rollback))]));
    let (answer, _) = answering(&mut driver);
    let out = |bench: &Bench| bench.standing("iris", "v2") == Standing::Quarantined;
    assert!(!bench.drive(&mut driver, GOOD, 5, out).await);
    answer.store(204, Ordering::SeqCst);
    assert!(bench.drive(&mut driver, GOOD, 3, out).await);
    let seen = status(&mut driver).await;
    let record = seen.routes[0].last_rollback.as_ref().unwrap();
    assert_eq!(record["initiated_by"], "webhook");
}

#[tokio::test(start_paused = true)]
async fn without_room_no_step_is_made() {
    let mut settings = planned(two_steps(), Vec::new());
    settings.routes[0].versions[1].upstream.max_in_flight = 4;
    let (bench, mut driver) = Bench::new(settings);
    driver.tick().await;
    let v1 = bench.slot("iris", "v1");
    let running: Vec<_> = (0..10).map(|_| bench.flight(v1)).collect();
    let half = |bench: &Bench| bench.weight("iris", "v2") == percent(50.0);
    assert!(!bench.drive(&mut driver, GOOD, 20, half).await);
    let waits = view(&mut driver).await.waits_for.unwrap();
    assert!(waits.contains("5 requests in flight, 4 fit"), "{waits}");
    assert!(bench.journal.topics().contains(&"headroom.short"));
    drop(running);
    assert!(bench.drive(&mut driver, GOOD, 6, half).await);
}

#[tokio::test(start_paused = true)]
async fn a_route_without_a_plan_has_nothing_to_steer() {
    let mut settings = planned(two_steps(), Vec::new());
    let (bench, mut driver) = Bench::new(settings.clone());
    driver.tick().await;
    settings.routes[0].rollout = None;
    reload(&mut driver, settings).await.unwrap();
    driver.tick().await;
    assert_eq!(bench.weight("iris", "v2"), percent(0.0), "what the file says");
    assert_eq!(status(&mut driver).await.routes[0].rollout, None);
    let why = refused(steer(&mut driver, Verb::Pause).await);
    assert!(why.ends_with("there is nothing to pause"), "{why}");
    let (answer, wait) = tokio::sync::oneshot::channel();
    let (route, by) = (name("rose"), by("x"));
    driver.obey(Order::Steer { route, verb: Verb::Abort, by, answer }).await;
    assert!(matches!(heard(&mut driver, wait).await, Err(OrderError::Unknown(_))));
}
