//! Given a canary that fails 8 % beside 2 % at 200 requests a second (S2), when nobody does
//! anything, then its users are taken off it in seconds, copies of their requests confirm
//! it, and it is rolled back, all well within the five minutes of the requirement's window.
//! A hang and a refused connection are told at once; what was noise is taken back. (S2, T1)

use std::time::{Duration, Instant};

use crate::support::client::Request;
use crate::support::config::{BARE, Config, TWO_STAGES};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::street::{Street, run};
use crate::support::wait::{self, SOON};

const WINDOW: Duration = Duration::from_secs(300);

fn reaches(street: &Street, state: &str, within: Duration) -> Duration {
    let begun = Instant::now();
    wait::eventually(&format!("v2 is {state}"), within, || {
        (street.version("v2")["state"] == state).then_some(())
    });
    begun.elapsed()
}

fn protects(street: &Street, outcome: &str) -> u64 {
    let labels = [("version", "v2"), ("outcome", outcome)];
    street.metrics().count("switchback_protects_total", &labels)
}

#[test]
fn s2_eight_percent_beside_two_is_protected_confirmed_and_rolled_back() {
    let stable = ModelServer::new(scripts::fails(20, "v1"));
    let canary = ModelServer::new(scripts::fails(80, "v2"));
    let config =
        Config::pair(&stable, "10%", &canary).route_with(BARE).route_with(TWO_STAGES);
    let street = Street::open(&config);
    let load = Load::new(street.http).paced(Duration::from_millis(40)).start();

    let protected = reaches(&street, "protected", WINDOW / 3);
    let at_protect = canary.requests();
    let rolled_back = protected + reaches(&street, "quarantined", WINDOW / 2);
    load.stop();
    assert!(rolled_back < WINDOW / 2, "only after {rolled_back:?}");

    let copies = street.metrics().count("switchback_shadow_requests_total", &[]);
    assert!(copies > 50, "{copies} copies");
    let seen = canary.seen();
    let copied = seen.iter().filter(|ask| ask.head.field("x-shadow").is_some()).count();
    assert!(copied > 0 && canary.requests() > at_protect, "{copied} copies arrived");
    assert!(stable.seen().iter().all(|ask| ask.head.field("x-shadow").is_none()));
    assert_eq!((protects(&street, "confirmed"), protects(&street, "resumed")), (1, 0));

    let record = street.status()["routes"][0]["last_rollback"].clone();
    assert_eq!(record["trigger"], "error_rate", "{record:#}");
    let protect = record["protect"]["protect_id"].as_str().expect("names its protect");
    let admin = format!("http://{}", street.admin);
    let output = run(["explain", protect, "--admin", &admin]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("errorRate"), "{text}");
}

#[test]
fn a_canary_that_refuses_is_rolled_back_at_once_and_nobody_notices() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street =
        Street::open(&Config::pair(&stable, "10%", &canary).route_with(TWO_STAGES));
    // What is cut in flight when the server dies is evidence of another kind: of many clients
    // it may be enough for a protect before the third refusal.
    let load = Load::new(street.http).clients(2).start();
    load.reaches(3_000);
    canary.kill();
    let after = reaches(&street, "quarantined", SOON);
    load.reaches(load.sent() + 1_000);
    load.stop().is_clean();
    assert!(after < Duration::from_secs(2), "only after {after:?}");
    let record = street.status()["routes"][0]["last_rollback"].clone();
    assert!(record["protect"].is_null(), "needs no confirmation: {record:#}");
    let reason = record["reason"].as_str().unwrap();
    assert!(reason.contains("in a row found no connection"), "{reason}");
}

#[test]
fn a_canary_that_hangs_loses_its_users_long_before_any_timeout() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "10%", &canary)
        .route_with("timeouts: { firstByte: 20s }")
        .route_with(TWO_STAGES);
    let street = Street::open(&config);
    let load = Load::new(street.http).clients(64).start();
    load.reaches(5_000);
    canary.now(scripts::stalls());
    let after = reaches(&street, "protected", SOON);
    assert!(after < Duration::from_secs(5), "only after {after:?}");
    let told = street.admin(Request::get("/api/v1/explain/iris/v2"));
    assert!(told.text().contains("deadline"), "{}", told.text());
    drop(street);
    load.stop();
}

#[test]
fn a_burst_that_is_over_is_taken_back() {
    let stable = ModelServer::good("v1");
    let canary = ModelServer::good("v2");
    let config = Config::pair(&stable, "20%", &canary).route_with(TWO_STAGES);
    let street = Street::open(&config);
    let load = Load::new(street.http).paced(Duration::from_millis(20)).start();
    load.reaches(200);
    canary.now(scripts::status(500));
    reaches(&street, "protected", SOON);
    canary.now(scripts::good("v2"));
    let back = reaches(&street, "serving", Duration::from_secs(120));
    assert!(back >= Duration::from_secs(25), "after {back:?} already");
    assert_eq!(protects(&street, "resumed"), 1);
    let before = canary.requests();
    load.reaches(load.sent() + 200);
    load.stop().is_clean();
    assert!(canary.requests() > before, "its users are not back");
    assert_eq!(street.metrics().count("rollback_triggered_total", &[]), 0);
}
