//! Rollbacks, quarantine, reloads and weights, without a data plane.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::support::{
    Bench, Paper, Spoil, by, ended, iris, last, name, of, page, pass, percent, release,
    reload, roll_back, route, rules, set_weight, status, until, version,
};
use crate::clock;
use crate::control::settings::OnTimeout;
use crate::control::start::Kept;
use crate::judge::OnBreach;
use crate::route::{Role, Standing};
use crate::store::Store;
use crate::tasks;
use crate::upstream::{Address, HealthCheck};
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Slot};
use crate::vocab::outcome::Class;
use crate::vocab::record::Status;

#[tokio::test(start_paused = true)]
async fn a_breach_swaps_at_once_then_persists_then_drains() {
    let shelf = Arc::new(Paper::default());
    let (bench, mut driver) =
        Bench::with(iris(), Arc::<Paper>::clone(&shelf), Kept::default()).unwrap();
    assert!(shelf.live.set(Arc::clone(&bench.live)).is_ok());
    let (v1, v2) = (bench.slot("iris", "v1"), bench.slot("iris", "v2"));
    let running = bench.flight(v2);
    bench.feed(v1, 900, 0);
    bench.feed(v2, 100, 60);
    driver.tick().await;

    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    assert_eq!(bench.live.generation().0, 2);
    assert_eq!(*bench.purged.lock().unwrap(), [v2]);
    assert!(shelf.kept.lock().unwrap().is_empty(), "the disk was not waited for");
    let seen = status(&mut driver).await;
    let (stable, canary) = (of(&seen.routes[0], "v1"), of(&seen.routes[0], "v2"));
    assert_eq!((canary.state.as_str(), canary.in_flight), ("draining", 1));
    assert_eq!((canary.requests, canary.failures, canary.samples), (100, 60, 100));
    assert!(canary.share.abs() < 1e-9 && (stable.share - 100.0).abs() < 1e-9);
    assert!((canary.weight - 10.0).abs() < 1e-9);
    assert!(
        canary.verdict.starts_with("breach: errorRate: 60.00%"),
        "{}",
        canary.verdict
    );
    assert_eq!(seen.routes[0].health, "Degraded");

    until(&mut driver, |_| !shelf.kept.lock().unwrap().is_empty()).await;
    assert!(shelf.was_swapped.load(Ordering::SeqCst));
    assert_eq!(shelf.kept.lock().unwrap()[0].digest, Digest::new("v2"));

    running.close(Class::Success);
    ended(&mut driver, v2).await;
    let seen = status(&mut driver).await;
    let record = last(&seen);
    assert_eq!(record["status"], "completed");
    assert_eq!(record["trigger"], "error_rate");
    assert_eq!(record["phases"][2]["drained_requests"], 1);
    assert_eq!(record["phases"][2]["left_requests"], 0);
    assert_eq!(of(&seen.routes[0], "v2").state, "quarantined");
    assert!(of(&seen.routes[0], "v2").quarantine.as_ref().unwrap().contains("60.00%"));
    let text = page(&mut driver).await;
    for line in [
        "rollback_triggered_total 1\n",
        "rollback_completed_total 1\n",
        "switchback_service_mode 1\n",
        "switchback_analysis_verdict{route=\"iris\",metric=\"errorRate\"} 2\n",
    ] {
        assert!(text.contains(line), "{line} not in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_outlasts_the_drain_is_reported_and_cut_as_the_policy_says() {
    for (policy, seconds) in [(OnTimeout::Cut, 30), (OnTimeout::Finish, 600)] {
        let mut settings = iris();
        settings.routes[0].rollback.on_timeout = policy;
        let (bench, mut driver) = Bench::new(settings);
        let v2 = bench.slot("iris", "v2");
        let hangs = bench.flight(v2);
        let begun = clock::now();
        let record = roll_back(&mut driver, None).await.unwrap();
        assert_eq!(
            (record.initiated_by.as_deref(), record.automatic),
            (Some("alice"), false)
        );
        assert_eq!(record.phases[2].status, Status::InProgress, "routed, and draining");
        until(&mut driver, |driver| !driver.desk.is_draining(v2)).await;
        let seen = status(&mut driver).await;
        assert_eq!(last(&seen)["phases"][2]["left_requests"], 1);
        assert_eq!(bench.roster.is_cut(v2), policy == OnTimeout::Cut);
        until(&mut driver, |_| bench.roster.is_cut(v2)).await;
        let took = (clock::now() - begun).as_secs();
        assert!((seconds..=seconds + 1).contains(&took), "{policy:?}: {took}");
        ended(&mut driver, v2).await;
        let seen = status(&mut driver).await;
        let notes = last(&seen)["notes"].to_string();
        assert!(notes.contains("1 requests were cut"), "{notes}");
        drop(hangs);
        ended(&mut driver, v2).await;
        // Released, it must not be cut any more.
        release(&mut driver, "v2").await.unwrap();
        assert!(!bench.roster.is_cut(v2));
        assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_takes_back_the_cut_that_was_to_come() {
    let (bench, mut driver) = Bench::new(iris());
    let v2 = bench.slot("iris", "v2");
    let _hangs = bench.flight(v2);
    roll_back(&mut driver, Some("v2")).await.unwrap();
    let early = release(&mut driver, "v2").await.unwrap_err();
    assert!(early.to_string().contains("has not ended"), "{early}");
    ended(&mut driver, v2).await;
    release(&mut driver, "v2").await.unwrap();
    pass(Duration::from_secs(700)).await;
    driver.tick().await;
    assert!(!bench.roster.is_cut(v2));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_ill_is_tried_again_and_the_record_says_so() {
    let shelf = Arc::new(Paper::default());
    shelf.ill_for.store(5, Ordering::SeqCst);
    let (bench, mut driver) =
        Bench::with(iris(), Arc::<Paper>::clone(&shelf), Kept::default()).unwrap();
    roll_back(&mut driver, None).await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    let _hangs = bench.flight(bench.slot("iris", "v2"));
    until(&mut driver, |_| !shelf.kept.lock().unwrap().is_empty()).await;
    let seen = status(&mut driver).await;
    let notes = last(&seen)["notes"].to_string();
    assert!(notes.contains("not on disk") && notes.contains("/full"), "{notes}");
}

#[tokio::test(start_paused = true)]
async fn a_release_is_never_overtaken_by_the_quarantine_it_ends() {
    let shelf = Arc::new(Paper::default());
    shelf.ill_for.store(1, Ordering::SeqCst);
    let (bench, mut driver) =
        Bench::with(iris(), Arc::<Paper>::clone(&shelf), Kept::default()).unwrap();
    let v2 = bench.slot("iris", "v2");
    roll_back(&mut driver, None).await.unwrap();
    ended(&mut driver, v2).await;
    release(&mut driver, "v2").await.unwrap();
    pass(Duration::from_secs(120)).await;
    assert!(shelf.kept.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_it_does_not_change() {
    let (bench, mut driver) = Bench::new(iris());
    let (v1, v2) = (bench.slot("iris", "v1"), bench.slot("iris", "v2"));
    bench.feed(v1, 900, 9);
    bench.feed(v2, 100, 1);
    driver.tick().await;
    let mut next = iris();
    next.config_hash = "two".into();
    next.routes[0].versions[1].upstream.pool.max_idle = 9;
    next.routes[0].versions[1].weight = percent(20.0);
    next.routes[0].versions.push(version("v3", Role::Candidate, 0.0, 3));
    reload(&mut driver, next).await.unwrap();

    assert_eq!((bench.slot("iris", "v1"), bench.slot("iris", "v2")), (v1, v2));
    assert_eq!(bench.registry.get(v2).unwrap().settings.pool.max_idle, 9);
    assert!(bench.registry.get(bench.slot("iris", "v3")).is_some());
    let seen = status(&mut driver).await;
    assert_eq!(seen.config_hash, "two");
    let canary = of(&seen.routes[0], "v2");
    assert_eq!((canary.samples, canary.requests, canary.failures), (100, 100, 1));
    assert!((canary.share - 20.0).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_moves_gets_new_books_and_goes_on_counting() {
    let (bench, mut driver) = Bench::new(iris());
    let old = bench.slot("iris", "v2");
    bench.feed(old, 100, 10);
    driver.tick().await;
    let late = bench.flight(old);
    let mut next = iris();
    next.routes[0].versions[1] = version("v2", Role::Canary, 10.0, 22);
    reload(&mut driver, next).await.unwrap();
    let new = bench.slot("iris", "v2");
    assert_ne!(new, old);
    bench.feed(old, 1, 0);
    bench.feed(new, 30, 0);
    let seen = status(&mut driver).await;
    assert_eq!(seen.routes[0].versions.len(), 2);
    let canary = of(&seen.routes[0], "v2");
    assert_eq!((canary.samples, canary.requests, canary.in_flight), (30, 131, 1));
    let text = page(&mut driver).await;
    let version = r#"route="iris",version="v2""#;
    let count = format!("switchback_request_duration_seconds_count{{{version}}} 131\n");
    assert_eq!(text.matches(&count).count(), 1, "{text}");

    // The old slot goes back only when its last request has ended and been counted.
    driver.tick().await;
    assert!(bench.registry.get(old).is_some());
    drop(late);
    driver.tick().await;
    assert!(bench.registry.get(old).is_some());
    driver.tick().await;
    assert!(bench.registry.get(old).is_none());
    assert_eq!(bench.roster.claim(), Some(old));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_removed_drains_and_leaves_nothing_behind() {
    let (bench, mut driver) = Bench::new(iris());
    let v2 = bench.slot("iris", "v2");
    bench.feed(v2, 100, 0);
    let late = bench.flight(v2);
    let mut next = iris();
    next.routes[0].versions.pop();
    next.routes[0].overrides.clear();
    reload(&mut driver, next).await.unwrap();
    let seen = status(&mut driver).await;
    let leaver = of(&seen.routes[0], "v2");
    assert_eq!((leaver.state.as_str(), leaver.in_flight), ("draining", 1));
    assert!(page(&mut driver).await.contains("version=\"v2\""));
    // It is cut at the cap.
    pass(Duration::from_secs(601)).await;
    driver.tick().await;
    assert!(bench.roster.is_cut(v2));
    drop(late);
    driver.tick().await;
    driver.tick().await;
    assert!(bench.registry.get(v2).is_none());
    assert!(!page(&mut driver).await.contains("version=\"v2\""));
    assert_eq!(status(&mut driver).await.routes[0].versions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reload_in_the_middle_of_a_rollback_lets_nobody_go() {
    let (bench, mut driver) = Bench::new(iris());
    let v2 = bench.slot("iris", "v2");
    let late = bench.flight(v2);
    roll_back(&mut driver, None).await.unwrap();
    let mut next = iris();
    next.routes[0].versions[1].weight = percent(50.0);
    reload(&mut driver, next).await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);

    // Not as stable either, and not on other servers; another build is another version.
    let mut promoted = iris();
    promoted.routes[0].versions[0].role = Role::Canary;
    promoted.routes[0].versions[1].role = Role::Stable;
    let error = reload(&mut driver, promoted).await.unwrap_err();
    assert!(error.to_string().contains("cannot be stable"), "{error}");
    assert!(status(&mut driver).await.reload_error.unwrap().contains("cannot be stable"));
    let mut moved = iris();
    moved.routes[0].versions[1] = version("v2", Role::Canary, 10.0, 22);
    reload(&mut driver, moved.clone()).await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    assert_eq!(status(&mut driver).await.reload_error, None);
    moved.routes[0].versions[1].digest = Digest::new("repaired");
    reload(&mut driver, moved).await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);

    // The rollback that was under way still ends, on the slot it began on.
    drop(late);
    ended(&mut driver, v2).await;
    assert_eq!(last(&status(&mut driver).await)["status"], "completed");
}

#[tokio::test(start_paused = true)]
async fn an_operators_weight_stays_until_the_configuration_says_another() {
    let (bench, mut driver) = Bench::new(iris());
    set_weight(&mut driver, "v2", 35.0).await.unwrap();
    reload(&mut driver, iris()).await.unwrap();
    assert_eq!(bench.weight("iris", "v2"), percent(35.0));
    let mut next = iris();
    next.routes[0].versions[1].weight = percent(12.0);
    reload(&mut driver, next).await.unwrap();
    assert_eq!(bench.weight("iris", "v2"), percent(12.0));
    reload(&mut driver, iris()).await.unwrap();
    assert_eq!(
        bench.weight("iris", "v2"),
        percent(10.0),
        "what was overruled does not come back"
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_weights_in_a_row() {
    let (bench, driver) = Bench::new(iris());
    let running = tasks::shared("control", driver.run());
    for step in 0..10_000_u32 {
        let weight = Percent::from_ppm(step * 100);
        let (route, version) = (name("iris"), name("v2"));
        bench.handle.set_weight(route, version, weight, by("ramp")).await.unwrap();
        let table = bench.live.load();
        let iris = table.route(&name("iris")).unwrap();
        let shares = iris.versions().iter().map(|one| u64::from(iris.share(one).ppm()));
        assert_eq!(shares.sum::<u64>(), 1_000_000);
        assert_eq!(iris.version(&name("v2")).unwrap().weight, weight);
    }
    assert_eq!(bench.live.generation().0, 10_001);
    let Bench { handle, .. } = bench;
    drop(handle);
    assert!(running.await.is_ok(), "it ends when nobody can give orders");
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused_with_the_reason() {
    let mut settings = iris();
    settings.routes[0].versions.push(version("v3", Role::Candidate, 0.0, 3));
    let (bench, mut driver) = Bench::new(settings);
    let weights = [
        ("v1", 5.0, "is what the others leave"),
        ("v9", 5.0, "has no version v9"),
        ("v3", 5.0, "is a candidate"),
    ];
    for (version, weight, why) in weights {
        let error = set_weight(&mut driver, version, weight).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let back =
        [(Some("v1"), "name the version to go back to"), (Some("v9"), "no version v9")];
    for (from, why) in back {
        let error = roll_back(&mut driver, from).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let error = release(&mut driver, "v2").await.unwrap_err();
    assert!(error.to_string().contains("v2 is not in quarantine"), "{error}");
    let before = bench.live.generation();
    let first = roll_back(&mut driver, None).await.unwrap();
    for again in [Some("v2"), None] {
        let same = roll_back(&mut driver, again).await.unwrap();
        assert_eq!(same.rollback_id, first.rollback_id, "the same order again");
    }
    let error = set_weight(&mut driver, "v2", 1.0).await.unwrap_err();
    assert!(error.to_string().contains("release it first"), "{error}");
    assert_eq!(bench.live.generation().0, before.0 + 1);
}

#[tokio::test(start_paused = true)]
async fn settings_that_do_not_fit_change_nothing_and_keep_no_slot() {
    let (bench, mut driver) = Bench::new(iris());
    let mut twice = iris();
    twice.routes.push(route("other", vec![version("a", Role::Stable, 0.0, 8)]));
    let cases: [(Spoil, &str); 4] = [
        (|it| it.routes[1].name = name("iris"), "route iris is there twice"),
        (
            |it| it.routes[1].versions.push(version("a", Role::Canary, 1.0, 9)),
            "version a",
        ),
        (|it| it.routes[1].overrides[0].2 = 4, "version number 4"),
        (|it| it.routes[0].versions[1].weight = percent(100.0), ""),
    ];
    for (spoil, why) in cases {
        let mut settings = twice.clone();
        settings.routes[0].versions.push(version("v3", Role::Canary, 50.0, 3));
        spoil(&mut settings);
        let error = reload(&mut driver, settings).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(bench.live.generation().0, 1);
    let free = std::iter::from_fn(|| bench.roster.claim()).count();
    assert_eq!(free, Slot::LIMIT - 2);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_only_alerts_and_a_version_without_traffic_roll_nothing_back() {
    let mut settings = iris();
    settings.routes[0].rules = Arc::new(rules(OnBreach::Alert));
    let (bench, mut driver) = Bench::new(settings);
    bench.feed(bench.slot("iris", "v2"), 100, 90);
    driver.tick().await;
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
    let seen = status(&mut driver).await;
    assert!(of(&seen.routes[0], "v2").verdict.starts_with("breach without consequence"));

    // A candidate that is not up yet fails its checks and harms nobody.
    let mut settings = iris();
    settings.routes[0].versions[1].role = Role::Candidate;
    settings.routes[0].versions[1].upstream.health = Some(HealthCheck {
        liveness: Some("/live".into()),
        readiness: None,
        integrity: None,
        grpc: false,
        interval: Duration::from_millis(10),
        timeout: Duration::from_millis(100),
        unhealthy_after: 1,
        healthy_after: 1,
    });
    settings.routes[0].versions[1].upstream.endpoints =
        vec![Address::Unix("/nowhere/at/all".into()).into()];
    let (bench, mut driver) = Bench::new(settings);
    let slot = bench.slot("iris", "v2");
    let (registry, standing) =
        (Arc::clone(&bench.registry), || bench.standing("iris", "v2"));
    until(&mut driver, |_| registry.get(slot).unwrap().health().all_unhealthy).await;
    driver.tick().await;
    assert_eq!(standing(), Standing::Serving);
    // One that gets requests does.
    bench.feed(slot, 1, 0);
    until(&mut driver, |_| standing() == Standing::Quarantined).await;
    assert_eq!(last(&status(&mut driver).await)["trigger"], "health_check");
}

#[tokio::test]
async fn quarantine_survives_a_restart_and_a_release_does_too() {
    let dir =
        std::env::temp_dir().join(format!("switchback-control-{}", fastrand::u64(..)));
    let open = || Arc::new(Store::open(&dir).unwrap());
    let start = |store: Arc<Store>| {
        let quarantines = store.all().unwrap();
        let kept = Kept { quarantines, ..Kept::default() };
        Bench::with(iris(), store, kept).unwrap()
    };
    let (bench, mut driver) = start(open());
    roll_back(&mut driver, None).await.unwrap();
    // The end of the loop waits for what is to be written.
    drop(bench);
    driver.run().await;

    let (bench, mut driver) = start(open());
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    let seen = status(&mut driver).await;
    assert_eq!(of(&seen.routes[0], "v2").quarantine.as_deref(), Some("bad answers"));
    release(&mut driver, "v2").await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
    drop(bench);
    driver.run().await;

    let (bench, driver) = start(open());
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
    drop(bench);
    driver.run().await;
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_page_adds_up_to_what_was_fed() {
    let (bench, mut driver) = Bench::new(iris());
    let (v1, v2) = (bench.slot("iris", "v1"), bench.slot("iris", "v2"));
    let mut sum = 7_u64;
    for turn in 1..=40_u32 {
        bench.feed(v1, turn * 3, turn % 2);
        bench.feed(v2, turn, 0);
        sum += u64::from(turn) * 4;
        if turn % 3 == 0 {
            driver.tick().await;
        }
    }
    let text = page(&mut driver).await;
    let total = |family: &str| -> u64 {
        let lines = text.lines().filter(|line| line.starts_with(family));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    assert_eq!(total("switchback_requests_total{"), sum);
    assert_eq!(total("switchback_request_duration_seconds_count{"), sum - 7);
    let good = sum - 7 - 20;
    assert_eq!(total("switchback_time_to_first_byte_seconds_count{"), good);
}
