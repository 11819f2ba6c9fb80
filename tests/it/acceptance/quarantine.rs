//! Given a version that was rolled back, then no reload, no restart after `kill -9` and no
//! header brings it back, until an operator releases it or its digest changes.

use std::time::Duration;

use serde_json::json;

use crate::support::client::Request;
use crate::support::config::{Config, Route};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

const OVERRIDE: &str = "overrides: [{ header: canary, value: \"true\", to: v2 }]";

fn rolled_back() -> (ModelServer, ModelServer, Street) {
    let (stable, canary) =
        (ModelServer::good("v1"), ModelServer::new(scripts::status(500)));
    let config = Config::pair(&stable, "20%", &canary).route_with(OVERRIDE);
    let street = Street::open(&config);
    let load = Load::new(street.http).start();
    street.rolled_back("v2");
    load.stop().is_clean();
    canary.now(scripts::good("v2"));
    (stable, canary, street)
}

fn is_shut_out(street: &Street, canary: &ModelServer) {
    let before = canary.requests();
    let count = Load::new(street.http).requests(1_000).run();
    count.is_clean();
    assert_eq!(count.of("v1"), 1_000, "{:?}", count.good);
    let asked = street.ask(&Request::infer("{}").field("canary", "true"));
    assert_eq!((asked.status, asked.version().as_str()), (200, "v1"));
    assert_eq!(asked.field("x-switchback-reason"), "rollback");
    assert_eq!(canary.requests(), before, "requests reached a quarantined version");
    assert_eq!(street.version("v2")["state"], "quarantined");
}

#[test]
fn quarantine_survives_kill_9_and_restart() {
    let (_stable, canary, mut street) = rolled_back();
    is_shut_out(&street, &canary);
    for _ in 0..2 {
        street = street.again();
        is_shut_out(&street, &canary);
    }
}

#[test]
fn quarantine_survives_a_reload_until_the_digest_changes() {
    let (stable, canary, street) = rolled_back();
    let pair = |weight: &str, digest: &str| {
        let members = format!("role: canary, weight: {weight}, digest: {digest}");
        let route = Route::new("iris").stable("v1", &stable);
        Config::new([route.version("v2", &members, &[canary.url()])]).route_with(OVERRIDE)
    };
    street.rewrite(&Config::pair(&stable, "60%", &canary).route_with(OVERRIDE));
    wait::eventually("the reload is taken", SOON, || {
        (street.version("v2")["weight"] == 60.0).then_some(())
    });
    is_shut_out(&street, &canary);
    street.rewrite(&pair("60%", "\"sha256:another\""));
    wait::eventually("another digest is another version", SOON, || {
        (street.version("v2")["state"] == "serving").then_some(())
    });
    let count = Load::new(street.http).requests(500).run();
    assert!(count.of("v2") > 0, "{:?}", count.good);
}

#[test]
fn an_operator_releases_with_a_reason() {
    let (_stable, canary, street) = rolled_back();
    let release = |reason: &str| {
        let order = json!({ "route": "iris", "version": "v2", "reason": reason });
        let request = Request::post("/api/v1/quarantine/release", order.to_string());
        street.admin(request.field("content-type", "application/json"))
    };
    assert_eq!(release("").status, 400);
    is_shut_out(&street, &canary);
    let answer = release("fixed the tokenizer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let asked = street.ask(&Request::infer("{}").field("canary", "true"));
    assert_eq!(asked.version(), "v2");
    // What it did before does not convict it again.
    wait::holds("it stays released", Duration::from_secs(2), || {
        street.version("v2")["state"] == "serving"
    });
    let street = street.again();
    assert_eq!(street.version("v2")["state"], "serving");
}
