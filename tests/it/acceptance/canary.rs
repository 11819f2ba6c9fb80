//! Scenario S2: Canary Deployment with Automatic Rollback
//!
//! ```gherkin
//! Given model v3.0 (canary) is deployed to 10% of traffic
//! And model v2.8 (stable) is serving 90% of traffic
//! And canary monitoring is active with 5-minute evaluation window
//! When canary error rate is 8% vs stable 2% (> 2x degradation)
//! And canary evaluation window completes
//! Then automatic rollback of canary shall be triggered
//! And all traffic shall route to stable version v2.8
//! And canary deployment shall be marked as failed
//! And detailed failure analysis shall be generated
//! And canary version shall be quarantined
//! ```
//!
//! And: a canary at 10 % of 100,000 requests that begins to fail at request 20,000 costs no
//! client a failure, no request reaches it after its drain is reported, and the metrics say
//! what the clients counted. The window is a ceiling and not a wait: the rollback comes when
//! the evidence is there.

use std::time::Duration;

use crate::support::config::{Config, Route};
use crate::support::evidence::{audited, audited_within, incident, phases};
use crate::support::load::{Count, Load};
use crate::support::metrics::Metrics;
use crate::support::model_server::{ModelServer, Script};
use crate::support::people;
use crate::support::scripts;
use crate::support::sinks::Office;
use crate::support::street::{Dir, Street};
use crate::support::wait::{self, SOON};

#[test]
fn a_canary_that_begins_to_answer_500_costs_its_users_nothing() {
    turns_bad(100_000, 20_000, |_| scripts::status(500), "5xx");
}

#[test]
fn a_canary_that_begins_to_reset_costs_its_users_nothing() {
    turns_bad(40_000, 3_000, |_| scripts::resets(), "upstream_reset");
}

#[test]
fn a_canary_that_is_killed_costs_its_users_nothing() {
    let kill = |canary: &ModelServer| {
        canary.kill();
        scripts::status(500)
    };
    turns_bad(40_000, 3_000, kill, "connect_error");
}

#[test]
fn a_canary_with_more_errors_than_stable_is_rolled_back_with_all_its_evidence() {
    let stable = ModelServer::new(scripts::fails(20, "v2.8"));
    let canary = ModelServer::new(scripts::fails(80, "v3.0"));
    let (office, dir) = (Office::open(), Dir::new());
    let route = Route::new("iris").stable("v2.8", &stable).canary("v3.0", "10%", &canary);
    let config = Config::new([route.with("rollback: { stabilization: 500ms }")])
        .route_with("analysis: { window: 5m, confirm: auto }")
        .with(&office.notify(&dir));
    dir.write("switchback.yaml", &config.yaml(dir.path()));
    let street = Street::start(dir, "switchback.yaml");
    let load = Load::new(street.http).start();
    let started = audited_within(&street, "rollback.started", WINDOW);
    street.rolled_back("v3.0");
    let at_end = canary.requests();
    let sent = load.sent();
    load.reaches(sent + 1_000);
    load.stop();
    assert_eq!(canary.requests(), at_end, "v3.0 is asked after its rollback");

    let id = started["rollback_id"].as_str().unwrap();
    let done = audited(&street, "rollback.completed");
    assert_eq!(done["trigger"], "error_rate", "{done:#}");
    assert!(
        done["protect"]["protect_id"].is_string(),
        "it grew from a protect: {done:#}"
    );
    let names: Vec<String> = phases(&done).into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"post_rollback_health_check".to_owned()), "{done:#}");
    for topic in ["protect.started", "rollback.started", "rollback.completed"] {
        people::event(&office, topic, |event| event["data"]["version"] == "v3.0");
    }
    is_analysed(&street, id);
    let street = street.again();
    assert_eq!(street.version("v3.0")["state"], "quarantined", "after kill -9");
}

/// The failure analysis has the rule with its numbers, both versions, and the form.
fn is_analysed(street: &Street, id: &str) {
    let (facts, page) = incident(street, id);
    let breaches = facts["breaches"].as_array().unwrap();
    let acted = breaches.iter().find(|breach| breach["acted"] == true).unwrap();
    assert!(acted["samples"].as_u64().unwrap() >= 50, "{acted:#}");
    let versions = facts["versions"].as_array().unwrap();
    for (version, (name, rate)) in versions.iter().zip([("v3.0", 0.08), ("v2.8", 0.02)]) {
        assert_eq!(version["name"], name, "{version:#}");
        let seen = version["error_rate"].as_f64().unwrap();
        assert!((seen - rate).abs() < rate / 2.0, "{name} failed {seen}");
        let bars = version["latency"]["bars"].as_array().unwrap();
        assert!(!bars.is_empty(), "{version:#}");
        assert!(!version["slices"].as_array().unwrap().is_empty(), "{version:#}");
    }
    let impact = &facts["requests"];
    assert!(impact["failed"].as_u64().unwrap() > 0, "{impact:#}");
    let samples = facts["failed_exchanges"].as_array().unwrap();
    assert!(!samples.is_empty() && samples.len() <= 20, "{} samples", samples.len());
    assert!(samples.iter().all(|sample| sample["class"] == "5xx"), "{samples:#?}");
    // What a caller sends is in none of the files.
    assert!(!page.contains("inputs") && !facts.to_string().contains("inputs"), "{page}");
    assert_eq!(page.matches("To be filled in by people:").count(), 5, "{page}");
    let config = facts["config"].as_str().unwrap();
    assert!(config.contains("v3.0"), "the configuration in force: {config}");
}

/// The evaluation window of the requirement.
const WINDOW: Duration = Duration::from_secs(300);

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
