//! Requests that name their version: pins, overrides and paths, in that order, and what
//! becomes of them when the version takes no requests.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Assignment, Reason, Refused, assign};
use crate::route::assign::tests::policy;
use crate::route::{Override, Role, Route, RouteMatch, Signature, Standing, Version};
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Name, Slot};
use crate::vocab::policy::{Pin, RoutePolicy};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// Stable v1, canaries v2 and v4, the candidate v3; v1, v2 and v3 may be demanded.
fn route(refuse: bool) -> Route {
    let version = |at: usize, role, percent| Version {
        name: name(&format!("v{}", at + 1)),
        slot: Slot::new(at).unwrap(),
        digest: Digest::new("d"),
        role,
        weight: Percent::of(percent).unwrap(),
        standing: Standing::Serving,
    };
    let versions = vec![
        version(0, Role::Stable, 0.0),
        version(1, Role::Canary, 50.0),
        version(2, Role::Candidate, 0.0),
        version(3, Role::Canary, 10.0),
    ];
    let allowed = vec![name("v1"), name("v2"), name("v3")];
    let pin = Some(Pin { header: "x-model-pin".into(), allowed, refuse });
    let policy = RoutePolicy { pin, ..RoutePolicy::clone(&policy()) };
    let to_v2 = Override { header: "canary".into(), value: "true".into(), to: 1 };
    let (name, matcher) = (name("r"), RouteMatch::default());
    Route::new(name, matcher, versions, vec![to_v2], Arc::new(policy)).unwrap()
}

#[derive(Clone, Copy, Debug, Default)]
struct Says<'a> {
    pin: Option<&'a str>,
    path: Option<&'a str>,
    header: bool,
    coin: u64,
}

fn ask(route: &Route, says: Says<'_>) -> Result<Assignment, Refused> {
    let mut headers = HashMap::new();
    if says.header {
        headers.insert("canary", "true");
    }
    let sig = Signature {
        pin: says.pin,
        version: says.path,
        ..Signature::new("", "/", &headers, says.coin)
    };
    assign(route, &sig)
}

fn got(version: usize, reason: Reason, strict: bool) -> Result<Assignment, Refused> {
    Ok(Assignment { version, reason, strict })
}

#[test]
fn a_pin_comes_before_an_override_before_a_path_before_the_split() {
    let route = route(false);
    let (pin, path, header) = (Some("v3"), Some("v4"), true);
    let all = Says { pin, path, header, coin: 0 };
    assert_eq!(ask(&route, all), got(2, Reason::Pin, false));
    assert_eq!(ask(&route, Says { pin: None, ..all }), got(1, Reason::Override, false));
    let path = Says { path, ..Says::default() };
    assert_eq!(ask(&route, path), got(3, Reason::Path, true));
    assert_eq!(ask(&route, Says::default()), got(1, Reason::Split, false));
}

#[test]
fn only_what_may_be_demanded_is() {
    for refuse in [false, true] {
        let route = route(refuse);
        for wanted in ["v4", "v9", "", "V1", "v1 ", " v1", "v1,v1", "v", "..", "v2\0"] {
            let says = Says { pin: Some(wanted), ..Says::default() };
            assert_eq!(ask(&route, says), Err(Refused::Unknown), "{wanted:?}");
        }
        for (wanted, place) in [("v1", 0), ("v2", 1), ("v3", 2)] {
            let says = Says { pin: Some(wanted), coin: u64::MAX / 2, ..Says::default() };
            assert_eq!(ask(&route, says), got(place, Reason::Pin, refuse), "{wanted}");
        }
    }
}

#[test]
fn a_path_reaches_what_the_split_may_reach_and_is_never_split() {
    let route = route(false);
    for coin in [0, 1, u64::MAX / 2, u64::MAX] {
        for (path, place) in
            [("v1", 0), ("v2", 1), ("v4", 3), ("v3", 0), ("7", 0), ("", 0), ("V2", 0)]
        {
            let says = Says { path: Some(path), coin, ..Says::default() };
            assert_eq!(ask(&route, says), got(place, Reason::Path, true), "{path:?}");
        }
    }
}

#[test]
fn what_names_a_version_that_is_out_goes_to_stable_or_is_refused() {
    let pin = Says { pin: Some("v2"), ..Says::default() };
    let path = Says { path: Some("v2"), ..Says::default() };
    let header = Says { header: true, ..Says::default() };
    for (standing, reason) in [
        (Standing::Quarantined, Reason::Rollback),
        (Standing::Protected, Reason::Protect),
    ] {
        let out = |refuse| route(refuse).with_standing(&name("v2"), standing).unwrap();
        let (reroutes, refuses) = (out(false), out(true));
        assert_eq!(ask(&reroutes, pin), got(0, reason, false));
        assert_eq!(ask(&reroutes, path), got(0, reason, true));
        assert_eq!(ask(&refuses, pin), Err(Refused::Out(standing)));
        assert_eq!(ask(&refuses, path), Err(Refused::Out(standing)));
        for route in [&reroutes, &refuses] {
            assert_eq!(ask(route, header), got(0, reason, false));
        }
    }
    let trickling = route(true).with_standing(&name("v2"), Standing::Trickling).unwrap();
    assert_eq!(ask(&trickling, pin), got(1, Reason::Pin, true));
}

proptest! {
    #[test]
    fn nothing_that_a_request_says_reaches_a_version_that_is_out(
        coin: u64,
        refuse: bool,
        header: bool,
        protected: bool,
        sticky: bool,
        at in 1usize..4,
        pin in prop::option::of(0usize..4),
        path in prop::option::of(0usize..4),
    ) {
        let standing =
            if protected { Standing::Protected } else { Standing::Quarantined };
        let names = ["v1", "v2", "v3", "v4"];
        let route = route(refuse).with_standing(&name(names[at]), standing).unwrap();
        let mut headers = HashMap::new();
        if header {
            headers.insert("canary", "true");
        }
        let sig = Signature {
            pin: pin.map(|at| names[at]),
            version: path.map(|at| names[at]),
            sticky,
            ..Signature::new("", "/", &headers, coin)
        };
        if let Ok(given) = assign(&route, &sig) {
            prop_assert_ne!(given.version, at);
        }
    }
}
