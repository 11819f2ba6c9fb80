//! Given a canary at 10 % of 100,000 requests, when it begins to fail at request 20,000,
//! then it is rolled back, no client sees a failure, no request reaches it after its drain
//! is reported, and the metrics say what the clients counted. (S2)

use crate::support::config::Config;
use crate::support::load::{Count, Load};
use crate::support::metrics::Metrics;
use crate::support::model_server::{ModelServer, Script};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

#[test]
fn a_canary_that_begins_to_answer_500_costs_its_users_nothing() {
    turns_bad(100_000, 20_000, |_| scripts::status(500), "5xx");
}

#[test]
fn a_canary_that_begins_to_reset_costs_its_users_nothing() {
    turns_bad(12_000, 3_000, |_| scripts::resets(), "upstream_reset");
}

#[test]
fn a_canary_that_is_killed_costs_its_users_nothing() {
    let kill = |canary: &ModelServer| {
        canary.kill();
        scripts::status(500)
    };
    turns_bad(12_000, 3_000, kill, "connect_error");
}

fn turns_bad(
    requests: u64,
    turn: u64,
    how: impl FnOnce(&ModelServer) -> Script,
    class: &str,
) {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = Street::open(&Config::pair(&stable, "10%", &canary).workers(2));
    let load = Load::new(street.http).requests(requests).start();
    load.reaches(turn);
    canary.now(how(&canary));
    street.rolled_back("v2");
    let at_drain = canary.requests();
    assert!(load.sent() < requests, "the load ended before the rollback");
    let count = load.finish();

    count.is_clean();
    assert_eq!(count.all(), requests, "answers");
    assert_eq!(
        canary.requests(),
        at_drain,
        "requests reached the canary after its drain"
    );
    assert!(count.of("v2") > turn / 20, "the canary had no share: {:?}", count.good);
    agree(&street, &count, class, &stable);
}

/// The metrics say what the clients and the servers counted.
fn agree(street: &Street, count: &Count, class: &str, stable: &ModelServer) {
    let total = |m: &Metrics| m.count("switchback_requests_total", &[("class", "2xx")]);
    let all = format!("{} good answers are in the metrics", count.all());
    wait::eventually(&all, SOON, || {
        (total(&street.metrics()) == count.all()).then_some(())
    });
    let metrics = street.metrics();
    let classes = (metrics.classes("v1"), metrics.classes("v2"));
    let rescued = count.with_reason("rescue");
    assert!(rescued > 0, "nothing was rescued: {:?}", count.good);
    let of = |version| metrics.requests(version, "2xx");
    assert_eq!((of("v1"), of("v2")), (count.of("v1"), count.of("v2")), "{classes:?}");
    assert_eq!(stable.requests(), of("v1"), "what stable saw");
    let failed: u64 = classes.1.values().sum::<u64>() - of("v2");
    assert!(metrics.requests("v2", class) > 0, "no {class} among {classes:?}");
    assert_eq!((failed, rescued), (rescued, failed), "failed and rescued: {classes:?}");
    assert_eq!(metrics.count("switchback_rescued_total", &[]), rescued);
    for version in ["v1", "v2"] {
        let timed = "switchback_request_duration_seconds_count";
        let timed = metrics.count(timed, &[("version", version)]);
        let asked: u64 = metrics.classes(version).values().sum();
        assert_eq!(timed, asked, "requests of {version} with a duration");
    }
    assert_eq!(metrics.count("switchback_inflight_requests", &[]), 0);
    for (name, times) in [("triggered", 1), ("completed", 1), ("failed", 0)] {
        assert_eq!(
            metrics.count(&format!("rollback_{name}_total"), &[]),
            times,
            "{name}"
        );
    }
}
