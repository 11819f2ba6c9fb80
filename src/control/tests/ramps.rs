//! Where stable has no room for all, what does not fit is held back and let through in steps.

use std::cell::RefCell;
use std::time::Duration;

use super::support::{
    Bench, Does, ended, iris, last, name, of, percent, release, roll_back, set_mode,
    set_weight, status, until, weighed,
};
use crate::control::settings::Settings;
use crate::judge::Confirm;
use crate::measure::Flight;
use crate::rollout::RampPlan;
use crate::route::Standing;
use crate::vocab::outcome::Class;

/// Stable may have so many in flight.
fn ramped(mut settings: Settings, most: u64) -> Settings {
    let route = &mut settings.routes[0];
    route.versions[0].upstream.max_in_flight = most;
    route.versions[0].upstream.pool.max_connections = 1_000;
    route.rollback.ramp = Some(RampPlan {
        step: percent(10.0),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(60),
    });
    settings
}

impl Bench {
    fn held(&self) -> f64 {
        let table = self.live.load();
        let held = table.route(&name("iris")).unwrap().held();
        held.map_or(0.0, |(_, part)| part.percent())
    }

    fn flights(&self, version: &str, many: usize) -> Vec<Flight> {
        let slot = self.slot("iris", version);
        (0..many).map(|_| self.flight(slot)).collect()
    }
}

fn end(flights: Vec<Flight>) {
    flights.into_iter().for_each(|one| one.close(Class::Success));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_holds_back_what_does_not_fit_and_settles_when_all_is_over() {
    let (bench, mut driver) = Bench::new(ramped(iris(), 6));
    let v2 = bench.slot("iris", "v2");
    set_weight(&mut driver, "v2", 50.0).await.unwrap();
    let (own, theirs) = (bench.flights("v1", 5), bench.flights("v2", 5));
    driver.tick().await;
    roll_back(&mut driver, None).await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    assert!((bench.held() - 40.0).abs() < 1e-9, "6 of 10 fit: {}", bench.held());
    let seen = status(&mut driver).await;
    assert_eq!(seen.routes[0].held_back, Some(40.0));
    let (stable, canary) = (of(&seen.routes[0], "v1"), of(&seen.routes[0], "v2"));
    assert!((stable.share - 60.0).abs() < 1e-9 && canary.share.abs() < 1e-9);
    assert!(bench.journal.kinds().contains(&"ramp.started"));
    assert!(bench.journal.topics().contains(&"headroom.short"));

    // Six of the share that is let through: nothing more fits.
    let more = bench.flights("v1", 1);
    end(theirs);
    until(&mut driver, |driver| !driver.desk.is_draining(v2)).await;
    for _ in 0..30 {
        super::support::pass(Duration::from_secs(1)).await;
        driver.tick().await;
    }
    assert!((bench.held() - 40.0).abs() < 1e-9, "{}", bench.held());
    let seen = status(&mut driver).await;
    assert_eq!(last(&seen)["phases"][3]["status"], "in_progress", "it settles later");

    // Its load goes down, and the rest comes step by step.
    end(more);
    end(own);
    let steps = RefCell::new(vec![bench.held()]);
    until(&mut driver, |_| {
        let mut steps = steps.borrow_mut();
        if steps.last() != Some(&bench.held()) {
            steps.push(bench.held());
        }
        bench.held() == 0.0
    })
    .await;
    assert_eq!(steps.borrow().len(), 5, "{steps:?}");
    ended(&mut driver, v2).await;
    let seen = status(&mut driver).await;
    let record = last(&seen);
    assert_eq!(
        (&record["status"], seen.routes[0].held_back),
        (&"completed".into(), None)
    );
    let notes = record["notes"].to_string();
    assert!(notes.contains("40% of the traffic was held back at first"), "{notes}");
    assert!(bench.journal.kinds().contains(&"ramp.ended"));
    assert!(record["phases"][3]["duration_seconds"].as_f64().unwrap() > 30.0);
}

#[tokio::test(start_paused = true)]
async fn with_room_enough_and_without_the_key_all_goes_over_at_once() {
    let shed = {
        let mut settings = ramped(iris(), 6);
        settings.routes[0].rollback.ramp = None;
        settings
    };
    for (settings, many) in
        [(ramped(iris(), 100), 10), (ramped(iris(), 0), 10), (shed, 10)]
    {
        let (bench, mut driver) = Bench::new(settings);
        set_weight(&mut driver, "v2", 50.0).await.unwrap();
        let flights = bench.flights("v2", many);
        driver.tick().await;
        roll_back(&mut driver, None).await.unwrap();
        assert!(bench.held().abs() < 1e-9);
        assert!(!bench.journal.kinds().contains(&"ramp.started"));
        end(flights);
        ended(&mut driver, bench.slot("iris", "v2")).await;
        assert_eq!(last(&status(&mut driver).await)["status"], "completed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ramp_has_an_end_and_so_has_its_rollback() {
    let (bench, mut driver) = Bench::new(ramped(iris(), 2));
    let v2 = bench.slot("iris", "v2");
    set_weight(&mut driver, "v2", 90.0).await.unwrap();
    let _busy = bench.flights("v1", 20);
    driver.tick().await;
    roll_back(&mut driver, None).await.unwrap();
    assert!((bench.held() - 90.0).abs() < 1e-9, "no more than it had: {}", bench.held());
    ended(&mut driver, v2).await;
    assert!(bench.held().abs() < 1e-9);
    let seen = status(&mut driver).await;
    let notes = last(&seen)["notes"].to_string();
    assert!(notes.contains("90% was still held back when its time of 60s"), "{notes}");
    let took = last(&seen)["total_duration_seconds"].as_f64().unwrap();
    assert!((60.0..90.0).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn read_only_and_release_end_it() {
    for read_only in [true, false] {
        let (bench, mut driver) = Bench::new(ramped(iris(), 2));
        let v2 = bench.slot("iris", "v2");
        set_weight(&mut driver, "v2", 50.0).await.unwrap();
        let busy = bench.flights("v1", 10);
        driver.tick().await;
        roll_back(&mut driver, None).await.unwrap();
        assert!(bench.held() > 0.0);
        if read_only {
            set_mode(&mut driver, true).await.unwrap();
            assert!(bench.held().abs() < 1e-9);
            set_mode(&mut driver, false).await.unwrap();
        }
        end(busy);
        ended(&mut driver, v2).await;
        assert!(bench.held().abs() < 1e-9);
        assert!(bench.journal.kinds().contains(&"ramp.ended"));
        release(&mut driver, "v2").await.unwrap();
        assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
        assert!(driver.desk.ramps.is_empty() && bench.held() == 0.0);
    }
}

/// Half of the canary's requests fail.
const BAD: (Does, Does) = ((3, 2), (25, 0));
const GOOD: (Does, Does) = ((3, 0), (25, 0));

#[tokio::test(start_paused = true)]
async fn a_protect_ramps_too_and_its_rollback_goes_on_with_it() {
    let (bench, mut driver) = Bench::new(ramped(weighed(Confirm::Auto), 19));
    let v2 = bench.slot("iris", "v2");
    bench.drive(&mut driver, GOOD, 20, |_| false).await;
    // Twenty in flight: at 10 % of the traffic half of the canary's does not fit.
    let busy = bench.flights("v1", 20);
    let out = |bench: &Bench| bench.standing("iris", "v2") == Standing::Protected;
    assert!(bench.drive(&mut driver, BAD, 30, out).await, "no protect");
    assert!((bench.held() - 5.0).abs() < 1e-9, "{}", bench.held());
    let protected = status(&mut driver).await;
    assert_eq!(protected.routes[0].held_back, Some(5.0));
    roll_back(&mut driver, Some("v2")).await.unwrap();
    assert!((bench.held() - 5.0).abs() < 1e-9, "the same ramp: {}", bench.held());
    let kinds = bench.journal.kinds();
    assert_eq!(kinds.iter().filter(|kind| **kind == "ramp.started").count(), 1);
    end(busy);
    ended(&mut driver, v2).await;
    assert!(bench.held().abs() < 1e-9);
    let seen = status(&mut driver).await;
    let notes = last(&seen)["notes"].to_string();
    assert!(notes.contains("5% of the traffic was held back at first"), "{notes}");
}
