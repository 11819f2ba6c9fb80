//! THREATS 26 for gRPC: what goes wrong behind an HTTP status of 200 is counted by its code,
//! rescued where that is safe, and told to the caller as a status.

use std::time::Duration;

use super::server::{Deed, GrpcServer, INFER, OTHER, ask, call, message, status};
use crate::support::config::{BARE, Config, NO_RULES, Route};
use crate::support::h2::H2Client;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

/// A route to one server, which is not tried again.
fn alone(server: &GrpcServer, more: &str) -> Street {
    let route = Route::new("calls")
        .version("v1", "role: stable", std::slice::from_ref(&server.url))
        .with("dialect: grpc")
        .with(NO_RULES)
        .with(more);
    Street::open(&Config::new([route]))
}

/// A stable version and a canary that takes everything.
fn pair(stable: &GrpcServer, canary: &GrpcServer) -> Street {
    let route = Route::new("calls")
        .version("v1", "role: stable", std::slice::from_ref(&stable.url))
        .version("v2", "role: canary, weight: 100%", std::slice::from_ref(&canary.url))
        .with("dialect: grpc")
        .with(NO_RULES);
    Street::open(&Config::new([route]))
}

fn counted(street: &Street, version: &str, class: &str) {
    wait::eventually(&format!("{version} is counted {class}"), SOON, || {
        let metrics = street.metrics();
        let classes = metrics.classes(version);
        (classes.len() == 1 && classes.contains_key(class)).then_some(())
    });
}

#[test]
fn each_end_of_a_call_has_its_class_and_its_status() {
    for (deed, class, code) in [
        (Deed::Ends(0), "2xx", Some(0)),
        (Deed::Ends(13), "grpc_13", Some(13)),
        (Deed::Ends(3), "grpc_3", Some(3)),
        (Deed::Ends(99), "grpc_2", Some(99)),
        (Deed::Only(14), "grpc_14", Some(14)),
        (Deed::Only(0), "2xx", Some(0)),
        (Deed::Only(8), "grpc_8", Some(8)),
        (Deed::Forgets, "truncated", None),
        (Deed::Resets(2, false), "upstream_reset", Some(13)),
        (Deed::Resets(7, false), "upstream_reset", Some(14)),
        (Deed::Resets(8, false), "upstream_reset", Some(1)),
        (Deed::Resets(11, false), "upstream_reset", Some(8)),
        (Deed::Resets(2, true), "upstream_reset", Some(13)),
        (Deed::Resets(11, true), "upstream_reset", Some(8)),
        (Deed::Cuts, "upstream_reset", Some(14)),
        (Deed::Http(200), "grpc_2", Some(2)),
        (Deed::Http(503), "grpc_14", None),
        (Deed::Http(404), "grpc_12", None),
        (Deed::Http(401), "grpc_16", None),
    ] {
        let server = GrpcServer::new(deed);
        let street = alone(&server, BARE);
        let answer = ask(&street, OTHER, &[]);
        assert_eq!(status(&answer), code, "{deed:?}: {answer:?}");
        assert_eq!(answer.field("x-model-version"), "v1", "{deed:?}");
        assert!(!answer.field("x-request-id").is_empty());
        counted(&street, "v1", class);
    }
}

#[test]
fn our_own_errors_are_statuses_that_are_the_whole_answer() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let route = Route::new("calls")
        .version("v1", "role: stable", &[url])
        .with("match: { pathPrefix: /there }")
        .with("dialect: grpc")
        .with(NO_RULES);
    let street = Street::open(&Config::new([route]));
    for (path, code, says) in
        [("/there.S/M", 12, "no route"), ("/there/M", 14, "cannot be reached")]
    {
        let answer = ask(&street, path, &[]);
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(status(&answer), Some(code), "{path}: {answer:?}");
        assert!(answer.trailer.is_none() && answer.body.is_empty(), "{path}");
        assert_eq!(answer.field("content-type"), "application/grpc+proto");
        assert!(answer.field("grpc-message").contains(says), "{answer:?}");
        assert!(answer.field("proxy-status").starts_with("switchback; error="));
        assert!(!answer.field("x-request-id").is_empty());
    }
    // Over HTTP/1.1, which no gRPC client speaks, it is a clean answer too.
    let request = crate::support::client::Request::post("/there/M", message(b"one"))
        .field("content-type", "application/grpc");
    let answer = request.ask(street.http);
    assert_eq!((answer.status, &*answer.field("grpc-status")), (200, "14"));
    assert_eq!(answer.text(), "");
    // Who speaks no gRPC at such a route is not told 200.
    let request = crate::support::client::Request::post("/there/M", "{}")
        .field("content-type", "application/json");
    assert_eq!(request.ask(street.http).status, 503);
}

#[test]
fn a_failed_inference_of_the_canary_is_answered_by_stable_even_from_the_trailers() {
    for deed in [
        Deed::Only(14),
        Deed::Only(13),
        Deed::Ends(13),
        Deed::Ends(2),
        Deed::Ends(15),
        Deed::Only(12),
        Deed::Forgets,
        Deed::Resets(2, false),
        Deed::Resets(2, true),
        Deed::Cuts,
        Deed::Http(200),
        Deed::Http(503),
    ] {
        let (stable, canary) = (GrpcServer::new(Deed::Ends(0)), GrpcServer::new(deed));
        let street = pair(&stable, &canary);
        let answer = ask(&street, INFER, &[]);
        assert_eq!(status(&answer), Some(0), "{deed:?}: {answer:?}");
        assert_eq!(answer.body, message(b"one"), "{deed:?}");
        assert_eq!(answer.field("x-switchback-reason"), "rescue", "{deed:?}");
        assert_eq!(
            street.metrics().count("switchback_rescued_total", &[]),
            1,
            "{deed:?}"
        );
    }
}

#[test]
fn what_is_the_callers_own_fault_or_may_not_be_repeated_is_passed_on() {
    for (deed, path, code) in [
        (Deed::Ends(3), INFER, 3),
        (Deed::Only(5), INFER, 5),
        (Deed::Only(16), INFER, 16),
        (Deed::Only(8), INFER, 8),
        (Deed::Only(14), OTHER, 14),
        (Deed::Ends(13), OTHER, 13),
        (Deed::Ends(13), "/inference.GRPCInferenceService/ModelStreamInfer", 13),
    ] {
        let (stable, canary) = (GrpcServer::new(Deed::Ends(0)), GrpcServer::new(deed));
        let street = pair(&stable, &canary);
        let answer = ask(&street, path, &[]);
        assert_eq!(status(&answer), Some(code), "{deed:?} {path}: {answer:?}");
        assert_eq!(answer.field("x-model-version"), "v2");
        assert_eq!(stable.seen(), [""; 0], "{deed:?} {path}");
    }
}

#[test]
fn a_call_that_was_not_looked_at_is_asked_again_whatever_it_is() {
    for deed in [Deed::RefusesOnce, Deed::LeavesOnce] {
        let server = GrpcServer::new(deed);
        let street = alone(&server, "");
        let answer = ask(&street, OTHER, &[]);
        assert_eq!(status(&answer), Some(0), "{deed:?}: {answer:?}");
        counted(&street, "v1", "2xx");
    }
    // One that may have been looked at is not.
    let server = GrpcServer::new(Deed::Resets(2, false));
    let street = alone(&server, "");
    assert_eq!(status(&ask(&street, OTHER, &[])), Some(13));
    assert_eq!(server.seen().iter().filter(|it| it.contains(" te ")).count(), 1);
}

#[test]
fn a_server_of_http1_is_a_clear_status_and_no_broken_stream() {
    let server = crate::support::model_server::ModelServer::good("v1");
    for protocol in ["http1", "auto"] {
        let members = format!("role: stable, protocol: {protocol}");
        let route = Route::new("calls")
            .version("v1", &members, &[server.url()])
            .with("dialect: grpc")
            .with(NO_RULES);
        let street = Street::open(&Config::new([route]));
        let answer = ask(&street, OTHER, &[]);
        let code = status(&answer).unwrap();
        assert!([2, 13, 14].contains(&code), "{protocol}: {answer:?}");
        assert_eq!(answer.status(), 200, "{protocol}");
    }
}

#[test]
fn a_drained_stream_ends_with_a_status() {
    let (stable, canary) =
        (GrpcServer::new(Deed::Ends(0)), GrpcServer::new(Deed::Hangs(true)));
    let route = Route::new("calls")
        .version("v1", "role: stable", std::slice::from_ref(&stable.url))
        .version("v2", "role: canary, weight: 100%", std::slice::from_ref(&canary.url))
        .with("dialect: grpc")
        .with(NO_RULES)
        .with("rollback: { stabilization: 200ms, drain: { timeout: 300ms, onTimeout: cut } }");
    let street = Street::open(&Config::new([route]));
    let http = street.http;
    let waiting = std::thread::spawn(move || {
        H2Client::new(http).ask(call(OTHER, &[]), &message(b"one"), None).unwrap()
    });
    canary.saw(&format!("{OTHER} te trailers"));
    let order = crate::support::client::Request::post(
        "/api/v1/routes/calls/rollback",
        r#"{ "reason": "a test" }"#,
    );
    let said = street.admin(order.field("content-type", "application/json"));
    assert!(said.status < 300, "{}", said.text());
    let answer = waiting.join().unwrap();
    assert_eq!(status(&answer), Some(14), "{answer:?}");
    canary.saw("reset 8");
}

#[test]
fn a_canary_that_fails_in_its_trailers_is_rolled_back() {
    let (stable, canary) =
        (GrpcServer::new(Deed::Ends(0)), GrpcServer::new(Deed::Ends(13)));
    let rules = "analysis: { confirm: off, metrics: [{ name: errorRate, maxRatio: 2, minSamples: 20, test: window }] }";
    let route = Route::new("calls")
        .version("v1", "role: stable", std::slice::from_ref(&stable.url))
        .version("v2", "role: canary, weight: 30%", std::slice::from_ref(&canary.url))
        .with("dialect: grpc")
        .with(rules);
    let street = Street::open(&Config::new([route]));
    let mut client = H2Client::new(street.http);
    wait::eventually("the canary is rolled back", Duration::from_secs(60), || {
        for _ in 0..20 {
            client.ask(call(OTHER, &[]), &message(b"one"), None).unwrap();
        }
        (street.metrics().count("rollback_completed_total", &[]) == 1).then_some(())
    });
    assert_eq!(street.version("v2")["state"], "quarantined");
    let classes = street.metrics().classes("v2");
    assert_eq!(classes.keys().collect::<Vec<_>>(), ["grpc_13"], "{classes:?}");
}
