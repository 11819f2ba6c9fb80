//! Users are taken off a version first, and what comes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::support::{
    Bench, Does, Fed, Paper, ended, explain, history, name, of, page, pass, percent,
    reload, roll_back, set_weight, status, until, version, weighed,
};
use crate::clock;
use crate::control::driver::Driver;
use crate::control::start::Kept;
use crate::judge::{Confirm, Streak, Sums};
use crate::measure::{Stamp, Tally};
use crate::route::{Role, Standing};
use crate::store::Store;
use crate::tasks;
use crate::vocab::ids::Digest;
use crate::vocab::outcome::Class;
use crate::vocab::policy::Repeatable;

/// Half of the canary's requests fail, one in a hundred or so of stable's.
const BAD: (Does, Does) = ((3, 2), (25, 0));
const GOOD: (Does, Does) = ((3, 0), (25, 0));
/// Stable fails now and then and the canary does not.
const FINE: (Does, Does) = ((3, 0), (25, 1));
/// The canary is somewhat worse.
const WORSE: (Does, Does) = ((3, 1), (25, 2));
/// Stable alone: no request could be copied.
const SILENT: (Does, Does) = ((0, 0), (25, 0));
/// A minute of ordinary life, so that stable is known.
const CALM: u32 = 20;

/// A bench whose canary is under protect.
async fn protected(confirm: Confirm) -> (Bench, Driver<Fed>, Arc<Paper>) {
    let shelf = Arc::new(Paper::default());
    let (bench, mut driver) =
        Bench::with(weighed(confirm), Arc::<Paper>::clone(&shelf), Kept::default())
            .unwrap();
    bench.drive(&mut driver, GOOD, CALM, |_| false).await;
    let out = |bench: &Bench| bench.standing("iris", "v2") != Standing::Serving;
    assert!(bench.drive(&mut driver, BAD, 30, out).await, "no protect");
    (bench, driver, shelf)
}

async fn protect_id(driver: &mut Driver<Fed>) -> String {
    let protects = history(driver).await.protects;
    protects[0]["protect_id"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn users_are_off_at_once_and_copies_confirm_the_rollback() {
    let (bench, mut driver, shelf) = protected(Confirm::Auto).await;
    assert_eq!(bench.standing("iris", "v2"), Standing::Protected);
    let v2 = bench.slot("iris", "v2");
    assert_eq!(bench.copying(), Some((v2, 111_111)), "as many as at 10 %");
    assert!(bench.purged.lock().unwrap().is_empty(), "nothing is rolled back");
    until(&mut driver, |_| shelf.protect.lock().unwrap().is_some()).await;
    let seen = status(&mut driver).await;
    let canary = of(&seen.routes[0], "v2");
    assert_eq!(
        (canary.state.as_str(), seen.routes[0].health.as_str()),
        ("protected", "Degraded")
    );
    assert!(canary.share.abs() < 1e-9 && (canary.weight - 10.0).abs() < 1e-9);
    let why = canary.protect.as_ref().unwrap();
    assert!(why.contains("errorRate: ") && why.contains("(pr-"), "{why}");
    assert!(canary.quarantine.is_none() && seen.routes[0].last_rollback.is_none());
    assert_eq!(seen.routes[0].last_protect.as_ref().unwrap()["outcome"], "open");
    let protect = protect_id(&mut driver).await;
    let told = explain(&mut driver, &protect).await.unwrap();
    assert_eq!((told.kind.as_str(), told.trials.len()), ("protect", 1));
    let all = told.trials[0].evidence.iter().find(|one| one.rule == "all").unwrap();
    assert!(all.odds >= 20.0 && all.reached >= 1.0, "{all:?}");

    let gone = |bench: &Bench| bench.standing("iris", "v2") == Standing::Quarantined;
    let begun = clock::now();
    assert!(bench.drive(&mut driver, BAD, 120, gone).await, "no rollback");
    let took = (clock::now() - begun).as_secs();
    assert!((25..=60).contains(&took), "four buckets of ten seconds: {took}");
    assert_eq!(bench.copying(), None);
    ended(&mut driver, v2).await;
    until(&mut driver, |_| shelf.protect.lock().unwrap().is_none()).await;
    assert_eq!(shelf.kept.lock().unwrap().len(), 1);
    let told = history(&mut driver).await;
    let (rollback, protected) = (&told.rollbacks[0], &told.protects[0]);
    assert_eq!(rollback["protect"]["protect_id"], protect.as_str());
    assert_eq!(rollback["protect"]["timestamp"], protected["timestamp"]);
    assert!(rollback["trigger_latency_seconds"].as_f64().unwrap() >= 25.0);
    assert_eq!(rollback["trigger"], "error_rate");
    assert_eq!(
        (&protected["outcome"], &protected["rollback_id"]),
        (&"confirmed".into(), &rollback["rollback_id"])
    );
    let told =
        explain(&mut driver, rollback["rollback_id"].as_str().unwrap()).await.unwrap();
    let all = told.trials[0].evidence.iter().find(|one| one.rule == "all").unwrap();
    assert!(all.odds >= all.bound && all.bound > 50.0, "{all:?}");
    let phases: Vec<_> =
        told.trials[0].transitions.iter().map(|step| step.to.as_str()).collect();
    assert_eq!(phases, ["protected"]);
    let text = page(&mut driver).await;
    for line in [
        "switchback_protects_total{route=\"iris\",version=\"v2\",outcome=\"confirmed\"} 1\n",
        "switchback_protects_total{route=\"iris\",version=\"v2\",outcome=\"resumed\"} 0\n",
        "rollback_triggered_total 1\n",
        "switchback_requests_total{route=\"iris\",version=\"v2\",role=\"canary\",class=\"5xx\"}",
        "switchback_shadow_requests_total{route=\"iris\",version=\"v2\",class=\"5xx\"}",
    ] {
        assert!(text.contains(line), "{line} not in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_noise_gives_the_users_back() {
    let (bench, mut driver, shelf) = protected(Confirm::Auto).await;
    let back = |bench: &Bench| bench.standing("iris", "v2") == Standing::Serving;
    assert!(bench.drive(&mut driver, FINE, 120, back).await, "no resume");
    assert_eq!((bench.weight("iris", "v2"), bench.copying()), (percent(10.0), None));
    until(&mut driver, |_| shelf.protect.lock().unwrap().is_none()).await;
    let told = history(&mut driver).await;
    assert!(told.rollbacks.is_empty());
    assert_eq!(told.protects[0]["outcome"], "resumed");
    let seen = status(&mut driver).await;
    assert_eq!(of(&seen.routes[0], "v2").state, "serving");
    assert_eq!(of(&seen.routes[0], "v2").protect, None);
    assert!(page(&mut driver).await.contains(
        "switchback_protects_total{route=\"iris\",version=\"v2\",outcome=\"resumed\"} 1\n"
    ));
    // It is on trial again, with fresh tests, and is found out again.
    let out = |bench: &Bench| bench.standing("iris", "v2") != Standing::Serving;
    assert!(bench.drive(&mut driver, BAD, 30, out).await);
    assert_eq!(history(&mut driver).await.protects.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_placed_before_the_protect_does_not_count_after_it() {
    let (bench, mut driver, _) = protected(Confirm::Auto).await;
    let now = bench.epoch();
    let before = crate::vocab::ids::Epoch(now.0 - 2);
    for _ in 0..300 {
        bench.judged("v2", (20, 20), before);
        bench.judged("v1", (25, 0), now);
        pass(Duration::from_millis(250)).await;
        driver.tick().await;
    }
    assert_ne!(bench.standing("iris", "v2"), Standing::Quarantined);
    let told = explain(&mut driver, "iris/v2").await.unwrap();
    assert!(told.trials[0].evidence.iter().all(|one| one.samples == 0), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn without_copies_the_test_goes_on_with_a_trickle_of_users() {
    let (bench, mut driver, _) = protected(Confirm::Auto).await;
    let trickles = |bench: &Bench| bench.standing("iris", "v2") == Standing::Trickling;
    assert!(bench.drive(&mut driver, SILENT, 40, trickles).await, "no trickle");
    let seen = status(&mut driver).await;
    let canary = of(&seen.routes[0], "v2");
    assert_eq!(canary.state, "trickle");
    assert!((canary.share - 2.5).abs() < 1e-9, "a quarter: {}", canary.share);
    let gone = |bench: &Bench| bench.standing("iris", "v2") == Standing::Quarantined;
    assert!(bench.drive(&mut driver, ((1, 1), (35, 0)), 120, gone).await);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_may_be_sent_twice_it_is_a_trickle_from_the_start() {
    let mut settings = weighed(Confirm::Auto);
    let policy = (*settings.routes[0].policy).clone();
    settings.routes[0].policy = Arc::new(crate::vocab::policy::RoutePolicy {
        repeatable: Repeatable::Never,
        ..policy
    });
    let (bench, mut driver) = Bench::new(settings);
    bench.drive(&mut driver, GOOD, CALM, |_| false).await;
    let out = |bench: &Bench| bench.standing("iris", "v2") != Standing::Serving;
    assert!(bench.drive(&mut driver, BAD, 30, out).await);
    assert_eq!(bench.standing("iris", "v2"), Standing::Trickling);
    assert_eq!(bench.copying(), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_never_settled_waits_for_an_operator() {
    let (bench, mut driver, shelf) = protected(Confirm::Mirror).await;
    let held = |bench: &Bench| bench.copying().is_none();
    assert!(bench.drive(&mut driver, SILENT, 700, held).await, "not held");
    let seen = status(&mut driver).await;
    let canary = of(&seen.routes[0], "v2");
    assert_eq!(
        (canary.state.as_str(), bench.standing("iris", "v2")),
        ("held", Standing::Protected)
    );
    assert!(canary.protect.as_ref().unwrap().contains("held: ten minutes"));
    assert!(shelf.protect.lock().unwrap().is_some(), "a restart keeps the users off");
    let held =
        "switchback_protects_total{route=\"iris\",version=\"v2\",outcome=\"held\"} 1\n";
    assert!(page(&mut driver).await.contains(held));
    bench.drive(&mut driver, GOOD, 400, |_| false).await;
    assert_eq!(bench.standing("iris", "v2"), Standing::Protected, "nobody decided");

    set_weight(&mut driver, "v2", 5.0).await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
    assert_eq!(bench.weight("iris", "v2"), percent(5.0));
    until(&mut driver, |_| shelf.protect.lock().unwrap().is_none()).await;
    let told = history(&mut driver).await;
    assert_eq!(told.protects[0]["outcome"], "resumed");
    assert_eq!(told.protects[0]["why"], "alice decided so: x");
    let text = page(&mut driver).await;
    assert!(text.contains(held), "each protect is counted once");
    assert!(text.contains("version=\"v2\",outcome=\"resumed\"} 0\n"));
    let told = explain(&mut driver, "iris/v2").await.unwrap();
    assert_eq!(told.trials[0].phase.as_deref(), Some("running"));
    assert!(told.trials[0].transitions.is_empty(), "fresh tests");
}

#[tokio::test(start_paused = true)]
async fn an_operator_may_decide_in_every_phase() {
    for phase in ["protected", "trickle", "held"] {
        let confirm = match phase {
            "trickle" => Confirm::Trickle,
            "held" => Confirm::Mirror,
            _ => Confirm::Auto,
        };
        let (bench, mut driver, shelf) = protected(confirm).await;
        if phase == "held" {
            let held = |bench: &Bench| bench.copying().is_none();
            assert!(bench.drive(&mut driver, SILENT, 700, held).await);
        }
        let seen = status(&mut driver).await;
        assert_eq!(of(&seen.routes[0], "v2").state, phase);
        let protect = protect_id(&mut driver).await;
        let record = roll_back(&mut driver, None).await.unwrap();
        assert_eq!(record.protect.unwrap().protect_id, protect, "{phase}");
        assert_eq!(
            (record.automatic, record.initiated_by.as_deref()),
            (false, Some("alice"))
        );
        assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
        until(&mut driver, |_| shelf.protect.lock().unwrap().is_none()).await;
        assert_eq!(history(&mut driver).await.protects[0]["outcome"], "confirmed");
        let told = explain(&mut driver, &record.rollback_id).await.unwrap();
        assert_eq!(told.trials.len(), 1, "{phase}");
    }
    // With a weight it is on trial again, and what was gathered is forgotten.
    let (bench, mut driver, _) = protected(Confirm::Auto).await;
    set_weight(&mut driver, "v2", 20.0).await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
    assert_eq!(bench.copying(), None);
    assert_eq!(history(&mut driver).await.protects[0]["outcome"], "resumed");
    bench.drive(&mut driver, GOOD, 10, |_| false).await;
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
}

#[tokio::test]
async fn a_protect_survives_a_restart_and_is_confirmed_anew() {
    let dir =
        std::env::temp_dir().join(format!("switchback-protect-{}", fastrand::u64(..)));
    let start = |store: Store| {
        let (quarantines, protects) = (store.all().unwrap(), store.protects().unwrap());
        let kept = Kept { quarantines, protects, ..Kept::default() };
        Bench::with(weighed(Confirm::Auto), Arc::new(store), kept).unwrap()
    };
    let (bench, mut driver) = start(Store::open(&dir).unwrap());
    tokio::time::pause();
    bench.drive(&mut driver, GOOD, CALM, |_| false).await;
    let out = |bench: &Bench| bench.standing("iris", "v2") != Standing::Serving;
    assert!(bench.drive(&mut driver, BAD, 30, out).await);
    let protect = protect_id(&mut driver).await;
    tokio::time::resume();
    drop(bench);
    driver.run().await;

    let (bench, mut driver) = start(Store::open(&dir).unwrap());
    assert_eq!(bench.standing("iris", "v2"), Standing::Protected);
    assert_eq!(bench.copying(), Some((bench.slot("iris", "v2"), 111_111)));
    assert_eq!(protect_id(&mut driver).await, protect);
    let seen = status(&mut driver).await;
    assert_eq!(of(&seen.routes[0], "v2").state, "protected");
    tokio::time::pause();
    let gone = |bench: &Bench| bench.standing("iris", "v2") == Standing::Quarantined;
    assert!(bench.drive(&mut driver, BAD, 120, gone).await, "not confirmed");
    assert_eq!(
        history(&mut driver).await.rollbacks[0]["protect"]["protect_id"],
        protect.as_str()
    );
    tokio::time::resume();
    drop(bench);
    driver.run().await;

    let (bench, driver) = start(Store::open(&dir).unwrap());
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    drop(bench);
    driver.run().await;
    let store = Store::open(&dir).unwrap();
    assert_eq!((store.protects().unwrap().len(), store.all().unwrap().len()), (0, 1));
    drop(store);
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_ill_holds_no_protect_up() {
    let shelf = Arc::new(Paper::default());
    shelf.ill_for.store(3, Ordering::SeqCst);
    let settings = weighed(Confirm::Auto);
    let kept = Kept::default();
    let (bench, mut driver) =
        Bench::with(settings, Arc::<Paper>::clone(&shelf), kept).unwrap();
    bench.drive(&mut driver, GOOD, CALM, |_| false).await;
    let out = |bench: &Bench| bench.standing("iris", "v2") == Standing::Protected;
    assert!(bench.drive(&mut driver, BAD, 30, out).await);
    until(&mut driver, |_| shelf.protect.lock().unwrap().is_some()).await;
    assert_eq!(shelf.ill_for.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_changes_nothing_resets_nothing() {
    let (bench, mut driver) = Bench::new(weighed(Confirm::Auto));
    bench.drive(&mut driver, GOOD, CALM, |_| false).await;
    bench.drive(&mut driver, WORSE, 1, |_| false).await;
    let odds = |told: &crate::control::Explanation| {
        let all = told.trials[0].evidence.iter().find(|one| one.rule == "all");
        all.map(|one| (one.odds, one.samples))
    };
    let before = explain(&mut driver, "iris").await.unwrap();
    let (gathered, samples) = odds(&before).unwrap();
    assert!(gathered > 1.5 && samples > 100, "{before:?}");
    let epoch = bench.epoch();
    let mut same = weighed(Confirm::Auto);
    same.config_hash = "two".into();
    same.routes[0].versions[1].upstream.pool.max_idle = 9;
    reload(&mut driver, same).await.unwrap();
    assert_eq!(odds(&explain(&mut driver, "iris").await.unwrap()), odds(&before));
    assert_eq!(bench.epoch(), epoch);
    // Another weight changes the epoch and nothing else.
    set_weight(&mut driver, "v2", 20.0).await.unwrap();
    assert_ne!(bench.epoch(), epoch);
    assert_eq!(odds(&explain(&mut driver, "iris").await.unwrap()), odds(&before));
    // Other rules begin afresh.
    reload(&mut driver, weighed(Confirm::Trickle)).await.unwrap();
    let after = explain(&mut driver, "iris").await.unwrap();
    assert_eq!(odds(&after).unwrap().1, 0, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reload_leaves_a_protect_as_it_is() {
    let (bench, mut driver, shelf) = protected(Confirm::Auto).await;
    bench.drive(&mut driver, BAD, 11, |_| false).await;
    let before = explain(&mut driver, "iris/v2").await.unwrap();
    let mut next = weighed(Confirm::Auto);
    next.config_hash = "two".into();
    reload(&mut driver, next).await.unwrap();
    assert_eq!(bench.copying(), Some((bench.slot("iris", "v2"), 111_111)));
    let after = explain(&mut driver, "iris/v2").await.unwrap();
    assert_eq!(after.trials[0].evidence, before.trials[0].evidence);

    let mut promoted = weighed(Confirm::Auto);
    promoted.routes[0].versions[0].role = Role::Canary;
    promoted.routes[0].versions[1].role = Role::Stable;
    let refused = reload(&mut driver, promoted).await.unwrap_err().to_string();
    assert!(refused.contains("cannot be stable, it is under protect"), "{refused}");

    // Other rules: the confirmation begins anew, and as they say.
    reload(&mut driver, weighed(Confirm::Trickle)).await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Trickling);
    let told = explain(&mut driver, "iris/v2").await.unwrap();
    assert_eq!(told.trials[0].phase.as_deref(), Some("trickling"));

    // Another build is another version.
    let mut repaired = weighed(Confirm::Auto);
    repaired.routes[0].versions[1].digest = Digest::new("repaired");
    reload(&mut driver, repaired).await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
    assert_eq!(history(&mut driver).await.protects[0]["outcome"], "withdrawn");
    until(&mut driver, |_| shelf.protect.lock().unwrap().is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_version_under_protect_waits_for_its_turn() {
    let mut settings = weighed(Confirm::Mirror);
    settings.routes[0].versions.push(version("v3", Role::Canary, 5.0, 3));
    let (bench, mut driver) = Bench::new(settings);
    bench.drive(&mut driver, GOOD, CALM, |_| false).await;
    for _ in 0..80 {
        let epoch = bench.epoch();
        bench.judged("v1", (25, 0), epoch);
        bench.judged("v2", (3, 2), epoch);
        if bench.standing("iris", "v3") == Standing::Serving {
            bench.judged("v3", (2, 2), epoch);
        }
        pass(Duration::from_millis(250)).await;
        driver.tick().await;
    }
    for version in ["v2", "v3"] {
        assert_eq!(bench.standing("iris", version), Standing::Protected, "{version}");
    }
    let (v2, v3) = (bench.slot("iris", "v2"), bench.slot("iris", "v3"));
    let first = bench.copying().unwrap().0;
    let (gone, next) = if first == v2 { ("v2", v3) } else { ("v3", v2) };
    roll_back(&mut driver, Some(gone)).await.unwrap();
    assert_eq!(bench.copying().map(|copying| copying.0), Some(next));
}

#[tokio::test(start_paused = true)]
async fn off_means_that_the_first_verdict_is_final() {
    let (bench, mut driver) = Bench::new(weighed(Confirm::Off));
    bench.drive(&mut driver, GOOD, CALM, |_| false).await;
    let out = |bench: &Bench| bench.standing("iris", "v2") != Standing::Serving;
    assert!(bench.drive(&mut driver, BAD, 30, out).await);
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    let told = history(&mut driver).await;
    assert!(told.protects.is_empty() && told.rollbacks[0].get("protect").is_none());
    assert!(
        told.rollbacks[0]["reason"].as_str().unwrap().contains("errorRate"),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_version_that_takes_everything_is_compared_before_it_is_blamed() {
    let mut settings = weighed(Confirm::Off);
    settings.routes[0].versions[1].weight = percent(50.0);
    let (bench, mut driver) = Bench::new(settings);
    let both = ((25, 0), (25, 0));
    bench.drive(&mut driver, both, 120, |_| false).await;
    set_weight(&mut driver, "v2", 100.0).await.unwrap();
    bench.drive(&mut driver, ((50, 0), (0, 0)), 5, |_| false).await;
    let probed = |bench: &Bench| bench.weight("iris", "v2") == percent(85.0);
    assert!(bench.drive(&mut driver, ((50, 5), (0, 0)), 60, probed).await, "no probe");
    let told = explain(&mut driver, "iris/v2").await.unwrap();
    assert_eq!(told.trials[0].phase.as_deref(), Some("probing"));
    // A reload in the middle leaves stable its part.
    let mut same = weighed(Confirm::Off);
    same.routes[0].versions[1].weight = percent(50.0);
    reload(&mut driver, same).await.unwrap();
    assert!(probed(&bench));
    // Stable is as bad: it was not the version.
    let over = |bench: &Bench| bench.weight("iris", "v2") == percent(100.0);
    assert!(bench.drive(&mut driver, ((42, 4), (8, 1)), 60, over).await, "not over");
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
}

#[tokio::test(start_paused = true)]
async fn what_is_urgent_does_not_wait_for_the_tick() {
    let mut settings = weighed(Confirm::Auto);
    Arc::make_mut(&mut settings.routes[0].rules).interval = Duration::from_secs(1);
    let (bench, driver) = Bench::new(settings);
    let (v1, v2) = (bench.slot("iris", "v1"), bench.slot("iris", "v2"));
    let epoch = bench.epoch();
    let running = tasks::shared("control", driver.run());
    // The first tick is at once; the second a second later.
    pass(Duration::from_millis(10)).await;
    bench.judged("v1", (25, 0), epoch);
    let mut sums = Sums { opened: 3, ..Sums::default() };
    (0..3).for_each(|_| sums.refused.hit());
    assert_eq!(sums.refused, Streak { before: 3, longest: 3, ..Streak::default() });
    let mut tally = Tally::default();
    tally.outcomes[Class::ConnectError.index()] = 3;
    tally.sums.push((epoch, sums));
    bench.books.0.lock().unwrap().push_back((v2, tally));
    let stamp = Stamp { slot: v2, epoch, judged: true, shadow: false };
    for _ in 0..3 {
        let flight = crate::measure::Flight::open(&bench.worker, stamp, clock::now());
        flight.close(Class::ConnectError);
    }
    pass(Duration::from_millis(10)).await;
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    assert_ne!(v1, v2);
    drop(bench);
    assert!(running.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn everything_on_trial_says_what_it_still_needs() {
    let (bench, mut driver) = Bench::new(weighed(Confirm::Auto));
    let told = explain(&mut driver, "iris").await.unwrap();
    assert_eq!((told.kind.as_str(), told.trials.len()), ("route", 1));
    let rule = &told.trials[0].rules[0];
    assert!(!rule.why.is_empty() && rule.test == "sequential", "{rule:?}");
    bench.drive(&mut driver, GOOD, CALM, |_| false).await;
    bench.drive(&mut driver, WORSE, 1, |_| false).await;
    let told = explain(&mut driver, "iris/v2").await.unwrap();
    let trial = &told.trials[0];
    assert_eq!((trial.version.as_str(), trial.state.as_str()), ("v2", "serving"));
    assert!((trial.share - 10.0).abs() < 1e-9);
    let split = trial.evidence.iter().find(|one| one.test == "split").unwrap();
    assert!(
        split.missing.is_some_and(|missing| (1..2_000).contains(&missing)),
        "{split:?}"
    );
    assert!(split.why.starts_with("needs about "), "{split:?}");
    assert!(split.value.unwrap() > 0.01 && split.stable_value.unwrap() < 0.02);
    assert_eq!(split.unit.as_deref(), Some("share"));
    let text = page(&mut driver).await;
    for start in [
        "switchback_evidence_odds{route=\"iris\",version=\"v2\",metric=\"errorRate\"} ",
        "switchback_evidence_reached_ratio{route=\"iris\",version=\"v2\",metric=\"all\"} 0.",
        "switchback_analysis_value{route=\"iris\",version=\"v2\",metric=\"errorRate\"} 0.",
    ] {
        assert!(text.contains(start), "{start} not in {text}");
    }
    assert!(!text.contains("switchback_evidence_odds{route=\"iris\",version=\"v1\""));

    let stable = explain(&mut driver, "iris/v1").await.unwrap();
    assert!(stable.trials.is_empty(), "the others are held against it");
    for id in ["rose", "iris/v9", "pr-0", "", "/"] {
        let said = explain(&mut driver, id).await.unwrap_err().to_string();
        assert!(said.contains("there is iris, iris/v1, iris/v2"), "{id}: {said}");
    }
    roll_back(&mut driver, None).await.unwrap();
    let told = explain(&mut driver, "iris/v2").await.unwrap();
    assert_eq!(told.trials[0].cause.as_deref(), Some("bad answers"));
    assert!(told.trials[0].record_id.as_ref().unwrap().starts_with("rb-"));
    let said = explain(&mut driver, "x").await.unwrap_err().to_string();
    assert!(said.contains(", rb-"), "{said}");
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    assert_eq!(name("iris").as_str(), "iris");
}
