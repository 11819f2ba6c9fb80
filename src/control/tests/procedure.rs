//! The whole procedure: what is written down and told and when, the read-only mode, rollbacks
//! to another version than stable, and what a start goes on with.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::support::{
    Bench, Paper, ended, iris, last, name, of, pass, percent, reload, roll_back,
    roll_back_to, set_mode, set_weight, status, until, version,
};
use crate::clock;
use crate::control::handle::OrderError;
use crate::control::past::Past;
use crate::control::settings::Settings;
use crate::control::start::Kept;
use crate::measure::Tally;
use crate::route::{Mode, Role, Standing};
use crate::vocab::ids::Digest;
use crate::vocab::notice::{Delivery, Severity, State};
use crate::vocab::outcome::Class;
use crate::vocab::record::{Phase, RollbackRecord, Status};
use crate::vocab::time::Timestamp;

fn three() -> Settings {
    let mut settings = iris();
    settings.routes[0].versions.push(version("v0", Role::Candidate, 0.0, 3));
    settings
}

fn mode(bench: &Bench) -> Mode {
    bench.live.load().route(&name("iris")).unwrap().mode()
}

#[tokio::test(start_paused = true)]
async fn an_order_is_written_down_before_it_is_carried_out() {
    let (bench, mut driver) = Bench::new(iris());
    set_weight(&mut driver, "v2", 20.0).await.unwrap();
    assert_eq!(bench.journal.kinds(), ["order.set_weight"]);
    let entry = bench.journal.entries.lock().unwrap()[0].clone();
    assert_eq!(entry.operator.unwrap().id, "alice");
    assert_eq!((entry.reason.as_deref(), &*entry.config_hash), (Some("x"), "one"));
    assert_eq!(entry.body["weight"], 20.0);

    bench.journal.ill.store(true, Ordering::Relaxed);
    let generation = bench.live.generation();
    let error = set_weight(&mut driver, "v2", 30.0).await.unwrap_err();
    assert!(matches!(error, OrderError::Unrecorded(_)), "{error}");
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    assert_eq!(bench.live.generation(), generation);

    bench.journal.ill.store(false, Ordering::Relaxed);
    set_weight(&mut driver, "v9", 1.0).await.unwrap_err();
    until(&mut driver, |_| bench.journal.kinds().contains(&"order.refused")).await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_holds_up_no_protection() {
    let (bench, mut driver) = Bench::new(iris());
    bench.journal.ill.store(true, Ordering::Relaxed);
    let (v1, v2) = (bench.slot("iris", "v1"), bench.slot("iris", "v2"));
    bench.feed(v1, 900, 0);
    bench.feed(v2, 100, 60);
    driver.tick().await;
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    ended(&mut driver, v2).await;
    let told = bench.journal.topics();
    let expect = ["audit.failed", "rollback.started", "rollback.completed"];
    assert_eq!(told, expect);
    assert!(status(&mut driver).await.audit_error.is_some());
    bench.journal.ill.store(false, Ordering::Relaxed);
    until(&mut driver, |_| bench.journal.topics().len() == 4).await;
    assert_eq!(status(&mut driver).await.audit_error, None);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_told_with_all_its_phases() {
    let (bench, mut driver) = Bench::new(iris());
    let v2 = bench.slot("iris", "v2");
    let record = roll_back(&mut driver, None).await.unwrap();
    ended(&mut driver, v2).await;
    let kinds = bench.journal.kinds();
    assert_eq!(kinds, ["order.rollback", "rollback.started", "rollback.completed"]);
    let end = bench.journal.entries.lock().unwrap()[2].clone();
    assert_eq!(end.body["rollback_id"], record.rollback_id);
    for phase in end.body["phases"].as_array().unwrap() {
        assert_eq!(phase["status"], "completed", "{phase}");
    }
    assert_eq!(end.body["post_rollback_metrics"]["requests"], 0);
    let notices = bench.journal.notices.lock().unwrap().clone();
    let keys: Vec<_> = notices.iter().map(|notice| notice.key.clone()).collect();
    let id = &record.rollback_id;
    let expect = [format!("{id}:rollback.started"), format!("{id}:rollback.completed")];
    assert_eq!(keys, expect);
    assert!(notices.iter().all(|notice| notice.audit_head.starts_with("head-")));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_dead_leads_to_read_only_and_not_back_to_the_bad_version() {
    let (bench, mut driver) = Bench::new(iris());
    bench.dead.lock().unwrap().insert("v1");
    let v2 = bench.slot("iris", "v2");
    roll_back(&mut driver, None).await.unwrap();
    ended(&mut driver, v2).await;
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    assert!(mode(&bench).is_read_only());
    let seen = status(&mut driver).await;
    assert_eq!(
        (last(&seen)["status"].as_str(), &*seen.routes[0].health),
        (Some("failed"), "ReadOnly")
    );
    assert!(
        seen.routes[0]
            .mode
            .as_ref()
            .unwrap()
            .reason
            .as_ref()
            .unwrap()
            .contains("health check")
    );
    assert!(bench.journal.topics().contains(&"mode.changed"));

    // It serves again when stable has been well for long enough.
    pass(Duration::from_secs(60)).await;
    driver.tick().await;
    assert!(mode(&bench).is_read_only());
    bench.dead.lock().unwrap().clear();
    until(&mut driver, |_| !mode(&bench).is_read_only()).await;
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    assert_eq!(status(&mut driver).await.routes[0].health, "Degraded");
}

#[tokio::test(start_paused = true)]
async fn a_stable_version_that_fails_afterwards_is_a_failed_rollback() {
    let (bench, mut driver) = Bench::new(iris());
    let (v1, v2) = (bench.slot("iris", "v1"), bench.slot("iris", "v2"));
    roll_back(&mut driver, None).await.unwrap();
    until(&mut driver, |driver| {
        bench.feed(v1, 50, 25);
        !driver.desk.is_rolling(v2)
    })
    .await;
    ended(&mut driver, v2).await;
    let seen = status(&mut driver).await;
    let record: RollbackRecord = serde_json::from_value(last(&seen).clone()).unwrap();
    assert_eq!(record.status, Status::Failed);
    assert_eq!(record.phases.last().unwrap().phase, Phase::VerifyMetrics);
    assert!(mode(&bench).is_read_only());
}

#[tokio::test(start_paused = true)]
async fn a_route_whose_versions_are_all_down_is_read_only() {
    let (bench, mut driver) = Bench::new(iris());
    bench.dead.lock().unwrap().extend(["v1", "v2"]);
    for _ in 0..3 {
        for version in ["v1", "v2"] {
            let mut tally = Tally::default();
            tally.outcomes[Class::ConnectError.index()] = 4;
            let slot = bench.slot("iris", version);
            bench.books.0.lock().unwrap().push_back((slot, tally));
        }
        driver.tick().await;
        pass(Duration::from_millis(250)).await;
    }
    driver.tick().await;
    assert!(mode(&bench).is_read_only());
    bench.dead.lock().unwrap().clear();
    until(&mut driver, |_| !mode(&bench).is_read_only()).await;
    until(&mut driver, |_| bench.journal.topics().len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn the_mode_may_be_ordered_and_ends_by_order() {
    let (bench, mut driver) = Bench::new(iris());
    let view = set_mode(&mut driver, true).await.unwrap();
    assert_eq!((&*view.mode, view.ordered_by.as_deref()), ("readOnly", Some("alice")));
    pass(Duration::from_secs(100)).await;
    for _ in 0..100 {
        driver.tick().await;
        pass(Duration::from_millis(500)).await;
    }
    assert!(mode(&bench).is_read_only());
    // A reload does not end it.
    reload(&mut driver, iris()).await.unwrap();
    assert!(mode(&bench).is_read_only());
    let view = set_mode(&mut driver, false).await.unwrap();
    assert_eq!(view.mode, "normal");
    assert_eq!(mode(&bench), Mode::Normal);
}

#[tokio::test(start_paused = true)]
async fn any_version_may_be_gone_back_to() {
    let shelf = Arc::new(Paper::default());
    let (bench, mut driver) =
        Bench::with(three(), Arc::<Paper>::clone(&shelf), Kept::default()).unwrap();
    let v2 = bench.slot("iris", "v2");
    let record = roll_back_to(&mut driver, None, Some("v0")).await.unwrap();
    assert_eq!((record.from_version.as_str(), record.to_version.as_str()), ("v2", "v0"));
    ended(&mut driver, v2).await;
    let seen = status(&mut driver).await;
    let share = |named: &str| of(&seen.routes[0], named).share;
    assert!((share("v0") - 100.0).abs() < 1e-9 && share("v1").abs() < 1e-9);

    // The one with the role may go too, and a reload or a restart brings nobody back.
    let v1 = bench.slot("iris", "v1");
    let record = roll_back_to(&mut driver, Some("v1"), None).await.unwrap();
    assert_eq!((record.from_version.as_str(), record.to_version.as_str()), ("v1", "v0"));
    ended(&mut driver, v1).await;
    reload(&mut driver, three()).await.unwrap();
    assert_eq!(bench.standing("iris", "v1"), Standing::Quarantined);
    assert_eq!(bench.live.load().routes()[0].stable().name, name("v0"));
    until(&mut driver, |_| shelf.kept.lock().unwrap().len() == 2).await;
    let kept = Kept {
        quarantines: shelf.kept.lock().unwrap().clone(),
        acting: shelf.acting.lock().unwrap().clone(),
        ..Kept::default()
    };
    let (again, mut driver) =
        Bench::with(three(), Arc::new(Paper::default()), kept).unwrap();
    assert_eq!(again.live.load().routes()[0].stable().name, name("v0"));
    let error = roll_back_to(&mut driver, Some("v0"), Some("v1")).await.unwrap_err();
    assert!(error.to_string().contains("in quarantine: release it first"), "{error}");

    // Another configuration means what it says.
    let mut other = three();
    other.routes[0].versions[0].digest = Digest::new("v1 repaired");
    reload(&mut driver, other).await.unwrap();
    assert_eq!(again.live.load().routes()[0].stable().name, name("v1"));
}

#[tokio::test(start_paused = true)]
async fn a_start_goes_on_with_a_rollback_that_was_under_way() {
    let mut open = RollbackRecord::example("rb-7");
    open.timestamp = clock::wall();
    let mut line = serde_json::to_value(&open).unwrap();
    line["kind"] = "rollback.started".into();
    line["digest"] = "v2".into();
    let past = Past::read(&[line]);
    let quarantines = past.out.clone();
    let kept = Kept { quarantines, past, ..Kept::default() };
    let (bench, mut driver) =
        Bench::with(iris(), Arc::new(Paper::default()), kept).unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    let v2 = bench.slot("iris", "v2");
    ended(&mut driver, v2).await;
    assert_eq!(bench.journal.kinds(), ["rollback.completed"]);
    // Nobody knows whether its begin was told before the process ended.
    assert_eq!(bench.journal.topics(), ["rollback.started", "rollback.completed"]);
    let seen = status(&mut driver).await;
    assert_eq!(last(&seen)["rollback_id"], "rb-7");
    assert!(last(&seen)["notes"][0].as_str().unwrap().contains("went on with it"));
    assert_eq!(bench.weight("iris", "v2"), percent(10.0));
}

#[tokio::test(start_paused = true)]
async fn what_was_delivered_is_in_the_record() {
    let (bench, mut driver) = Bench::new(iris());
    let v2 = bench.slot("iris", "v2");
    let record = roll_back(&mut driver, None).await.unwrap();
    let delivery = Delivery {
        key: "k".to_owned(),
        incident: record.rollback_id.clone(),
        sink: "ops".to_owned(),
        recipients: vec!["ml-ops".to_owned()],
        severity: Severity::High,
        at: Timestamp(5),
        reference: Some("https://t.example/7".to_owned()),
    };
    driver.desk.delivered(&delivery);
    ended(&mut driver, v2).await;
    let sent = last(&status(&mut driver).await)["alerts_sent"].clone();
    assert_eq!(sent[0]["recipients"][0], "ml-ops", "{sent}");
    assert_eq!(sent[0]["timestamp"], "1970-01-01T00:00:00.005Z");
    let entries = bench.journal.entries.lock().unwrap();
    let end = entries.iter().find(|it| it.kind == "rollback.completed").unwrap();
    assert_eq!(end.body["alerts_sent"][0]["severity"], "high");
    let told = entries.iter().find(|it| it.kind == "notice.delivered").unwrap();
    assert_eq!(told.body["rollback_id"], record.rollback_id);
}

#[tokio::test(start_paused = true)]
async fn a_mode_that_was_ordered_outlives_the_process_and_another_is_looked_at_anew() {
    for by in [Some("alice"), None] {
        let line = serde_json::json!({
            "kind": "mode.changed", "timestamp": "2026-11-24T21:05:58.123Z", "route": "iris",
            "mode": "read-only", "reason": "dark", "ordered_by": by,
        });
        let kept = Kept { past: Past::read(&[line]), ..Kept::default() };
        let (bench, mut driver) =
            Bench::with(iris(), Arc::new(Paper::default()), kept).unwrap();
        assert_eq!(mode(&bench).is_read_only(), by.is_some());
        until(&mut driver, |_| bench.journal.topics() == ["mode.changed"]).await;
        let notice = bench.journal.notices.lock().unwrap()[0].clone();
        assert_eq!(notice.state == State::Firing, by.is_some());
    }
}
