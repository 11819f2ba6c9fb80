//! The verbs of operators against the real binary: what they print, their exit codes, and
//! that they may be repeated.

use serde_json::Value;

use super::desk::{ALICE, as_alice, get, json, plain};
use crate::support::config::{Config, NO_RULES};
use crate::support::evidence::{audit, incident};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;

#[test]
fn a_rollback_is_followed_kept_and_explained() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = plain(&Config::pair(&stable, "30%", &canary).route_with(NO_RULES));
    Load::new(street.http).requests(200).run().is_clean();
    let order = ["rollback", "iris", "--reason", "slow"];
    let (code, said, err) = as_alice(&street, &order);
    assert_eq!((code, &*err), (Some(0), ""), "{said}");
    assert!(said.starts_with("route iris: rb-"), "{said}");
    for phase in ["route_traffic: completed", "drain_traffic: completed"] {
        assert!(said.contains(phase), "no {phase} in {said}");
    }
    let last = said.lines().last().unwrap();
    let (id, rest) = last.split_once(' ').unwrap();
    assert!(rest.starts_with("completed in "), "{last}");

    let (code, again, _) =
        as_alice(&street, &[&order[..], &["--version", "v2"]].concat());
    assert_eq!(code, Some(0), "{again}");
    assert!(again.contains(id), "the same one: {again}");

    let (code, ledger, _) = as_alice(&street, &["history", "--id", id]);
    assert_eq!(code, Some(0));
    for part in ["reason: slow", "by alice", "verify_metrics: completed", "afterwards:"] {
        assert!(ledger.contains(part), "no {part} in {ledger}");
    }
    incident(&street, id);
    let (code, page, _) = as_alice(&street, &["incident", "show", id]);
    assert_eq!(code, Some(0));
    assert!(page.starts_with('#') && page.contains(id), "{page}");
    let (_, facts, _) = as_alice(&street, &["incident", "show", id, "--output", "json"]);
    assert!(serde_json::from_str::<Value>(&facts).unwrap().is_object());
    let (_, list, _) = as_alice(&street, &["incident", "list"]);
    assert!(list.contains(id), "{list}");
    let started =
        audit(&street).into_iter().filter(|it| it["kind"] == "rollback.started");
    assert_eq!(started.count(), 1);
}

#[test]
fn a_route_is_read_only_by_order_and_says_who_wanted_it() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = plain(&Config::pair(&stable, "30%", &canary).route_with(NO_RULES));
    let (code, said, err) =
        as_alice(&street, &["mode", "iris", "read-only", "--reason", "disk full"]);
    assert_eq!((code, &*err), (Some(0), ""), "{said}");
    assert!(said.starts_with("route iris is read-only since "), "{said}");
    let (_, status, _) = as_alice(&street, &["status"]);
    assert!(
        status.contains("read-only since ") && status.contains("disk full"),
        "{status}"
    );
    let route = json(&get(&street, ALICE, "/api/v1/routes/iris"));
    assert_eq!(route["mode"]["mode"], "readOnly", "{route:#}");
    let (code, said, _) =
        as_alice(&street, &["mode", "iris", "normal", "--reason", "disk empty"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("route iris is normal"), "{said}");
    street.is_well();
}

#[test]
fn a_rollout_that_is_not_there_cannot_be_steered() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = plain(&Config::pair(&stable, "30%", &canary).route_with(NO_RULES));
    for verb in ["promote", "pause", "resume", "abort", "retry", "freeze"] {
        let (code, out, err) = as_alice(&street, &[verb, "iris", "--reason", "a test"]);
        assert_eq!((code, &*out), (Some(1), ""), "{verb}");
        assert!(err.contains("(HTTP 409)"), "{verb}: {err}");
        let (code, _, err) = as_alice(&street, &[verb, "rose", "--reason", "a test"]);
        assert_eq!(code, Some(1), "{verb}");
        assert!(err.contains("there is no route rose"), "{verb}: {err}");
    }
    let (code, _, err) = as_alice(&street, &["promote", "iris"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("--reason"), "{err}");
}
