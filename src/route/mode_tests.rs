//! The read-only mode, and another version in the part of stable.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Mode;
use crate::route::{
    Override, Reason, Role, Route, RouteMatch, Signature, Standing, TableError, Version,
    assign,
};
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Epoch, Name, Slot};
use crate::vocab::policy::{
    Banner, FailureSet, Repeatable, Rescue, Retry, RoutePolicy, Timeouts,
};
use crate::vocab::time::Timestamp;

fn policy(emergency: Option<&str>) -> Arc<RoutePolicy> {
    let none = Duration::ZERO;
    Arc::new(RoutePolicy {
        timeouts: Timeouts { connect: none, first_byte: none, idle: none, total: none },
        retry: Retry { attempts: 0, budget: Percent::ZERO, on: FailureSet::default() },
        rescue: Rescue { on: FailureSet::default(), max_body: 0 },
        repeatable: Repeatable::Auto,
        dialect: None,
        affinity: None,
        pin: None,
        cache: None,
        banner: Banner { header: "x".into(), json_field: None, message: String::new() },
        emergency: emergency.map(name),
        sample_bodies: 0,
    })
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn share(percent: f64) -> Percent {
    Percent::of(percent).unwrap()
}

const VERSIONS: [(&str, Role, f64); 4] = [
    ("v1", Role::Stable, 0.0),
    ("v2", Role::Canary, 10.0),
    ("v3", Role::Canary, 20.0),
    ("v0", Role::Candidate, 0.0),
];

fn route_of(versions: &[(&str, Role, f64)], emergency: Option<&str>) -> Route {
    let versions: Vec<Version> = versions
        .iter()
        .map(|(named, role, percent)| Version {
            name: name(named),
            slot: Slot::new(usize::from(named.as_bytes()[1] - b'0')).unwrap(),
            digest: Digest::new(named),
            role: *role,
            weight: share(*percent),
            standing: Standing::Serving,
        })
        .collect();
    let to_v1 = versions.iter().position(|one| one.name.as_str() == "v1").unwrap();
    let overrides = vec![Override { header: "to".into(), value: "v1".into(), to: to_v1 }];
    Route::new(name("r"), RouteMatch::default(), versions, overrides, policy(emergency))
        .unwrap()
}

fn route() -> Route {
    route_of(&VERSIONS, Some("v0"))
}

/// The shares in percent, in the order of the versions.
fn shares(route: &Route) -> Vec<f64> {
    route.versions().iter().map(|one| route.share(one).fraction() * 100.0).collect()
}

/// How many of a thousand coins over the whole circle fall to each version.
fn taken(route: &Route) -> Vec<u32> {
    let mut taken = vec![0; route.versions().len()];
    for coin in 0..1_000 {
        taken[route.split().choose(coin * (u64::MAX / 1_000) + u64::MAX / 2_000)] += 1;
    }
    taken
}

fn reached(route: &Route) -> (String, Reason) {
    let headers: HashMap<&str, &str> = [("to", "v1")].into();
    let sig = Signature::new("", "/", &headers, 0);
    let got = assign(route, &sig).unwrap();
    (route.versions()[got.version].name.to_string(), got.reason)
}

fn read_only(at: u64, emergency: Option<usize>) -> Mode {
    Mode::ReadOnly { since: Timestamp(at), emergency }
}

#[test]
fn whoever_acts_as_stable_takes_what_the_others_leave() {
    for (acting, want) in [
        ("v1", [70.0, 10.0, 20.0, 0.0]),
        ("v0", [0.0, 10.0, 20.0, 70.0]),
        // Its own weight is without effect meanwhile.
        ("v2", [0.0, 80.0, 20.0, 0.0]),
    ] {
        let next = route().with_stable(&name(acting)).unwrap();
        assert_eq!(next.stable().name.as_str(), acting);
        for (got, want) in shares(&next).into_iter().zip(want) {
            assert!((got - want).abs() < 1e-9, "{acting}: {got} {want}");
        }
        let tens = want.map(|percent| Percent::of(percent).unwrap().ppm() / 1_000);
        assert_eq!(taken(&next), tens, "{acting}");
        let roles: Vec<Role> = next.versions().iter().map(|one| one.role).collect();
        assert_eq!(roles, VERSIONS.map(|(_, role, _)| role), "roles stay");
        let back = next.with_stable(&name("v1")).unwrap();
        assert_eq!(shares(&back), shares(&route()), "{acting}");
    }
}

#[test]
fn the_one_with_the_role_may_be_taken_out_while_another_acts() {
    let v1 = name("v1");
    for standing in [Standing::Quarantined, Standing::Protected, Standing::Trickling] {
        let refused = route().with_standing(&v1, standing);
        assert!(matches!(refused, Err(TableError::StableStanding(..))), "{standing}");
        let acted = route().with_stable(&name("v0")).unwrap();
        assert_eq!(reached(&acted), ("v1".to_owned(), Reason::Override));
        let out = acted.with_standing(&v1, standing).unwrap();
        assert_eq!(out.share(out.version(&v1).unwrap()), Percent::ZERO);
        let want = match standing {
            Standing::Quarantined => ("v0", Reason::Rollback),
            Standing::Protected => ("v0", Reason::Protect),
            Standing::Serving | Standing::Trickling => ("v1", Reason::Override),
        };
        assert_eq!(reached(&out), (want.0.to_owned(), want.1), "{standing}");
        let back = out.with_stable(&v1);
        assert!(matches!(back, Err(TableError::NotServing(_, _, it)) if it == standing));
        let acting = out.with_standing(&name("v0"), standing);
        assert!(matches!(acting, Err(TableError::StableStanding(..))), "{standing}");
    }
    let acted = route().with_stable(&name("v0")).unwrap();
    let weight = |version| acted.with_weight(&name(version), share(1.0));
    assert!(matches!(weight("v1"), Err(TableError::Relieved(..))));
    assert!(matches!(weight("v0"), Err(TableError::StableWeight(..))));
    assert!(weight("v2").is_ok());
    assert!(matches!(route().with_stable(&name("v9")), Err(TableError::NoVersion(..))));
}

#[test]
fn weights_that_only_fit_without_the_acting_one_stop_the_way_back() {
    let acted = route().with_stable(&name("v2")).unwrap();
    let full = acted.with_weight(&name("v3"), share(95.0)).unwrap();
    assert_eq!(full.share(full.stable()), share(5.0));
    assert_eq!(full.with_stable(&name("v1")).err(), Some(TableError::Weights(name("r"))));
}

#[test]
fn copies_of_what_the_acting_stable_takes_go_on() {
    let spared = route().with_standing(&name("v2"), Standing::Protected).unwrap();
    let copied = spared.with_copying(&name("v2"), Some(share(5.0))).unwrap();
    let acted = copied.with_stable(&name("v0")).unwrap();
    assert_eq!(acted.copying(), copied.copying());
    assert!(matches!(
        copied.with_stable(&name("v2")),
        Err(TableError::NotServing(_, _, Standing::Protected))
    ));
}

#[test]
fn the_emergency_version_is_one_that_was_not_rolled_back() {
    for (place, named) in [(0, "v1"), (3, "v0")] {
        let one = route().with_mode(read_only(5, Some(place))).unwrap();
        assert_eq!(one.mode(), read_only(5, Some(place)));
        assert!(one.mode().is_read_only());
        assert_eq!(one.versions()[place].name.as_str(), named);
    }
    let none = route().with_mode(read_only(5, Some(4)));
    assert_eq!(none.err(), Some(TableError::NoEmergency(name("r"), 4)));
    assert_eq!(route().emergency_place(), Some(3));
    assert_eq!(route_of(&VERSIONS, None).emergency_place(), None);
    let bad = route().with_standing(&name("v0"), Standing::Quarantined).unwrap();
    assert_eq!(bad.emergency_place(), None);
    assert!(matches!(
        bad.with_mode(read_only(5, Some(3))),
        Err(TableError::OutOfService(_, _, Standing::Quarantined))
    ));
    let late = route().with_mode(read_only(5, Some(3))).unwrap();
    let late = late.with_standing(&name("v0"), Standing::Quarantined).unwrap();
    assert_eq!(late.mode(), read_only(5, None), "it goes when it is quarantined");
}

#[test]
fn shares_wait_for_the_end_of_the_read_only_mode() {
    let closed = route().with_mode(read_only(5, None)).unwrap();
    assert_eq!(shares(&closed), shares(&route()));
    let moved = closed.with_weight(&name("v2"), share(30.0)).unwrap();
    assert_eq!(moved.mode(), read_only(5, None));
    let open = moved.with_mode(Mode::Normal).unwrap();
    assert!(!open.mode().is_read_only());
    assert_eq!(open.share(open.version(&name("v2")).unwrap()), share(30.0));
}

#[test]
fn an_epoch_ends_where_others_take_the_requests() {
    let mut route = route();
    type Change = fn(&Route) -> Result<Route, TableError>;
    let changes: [(Change, u32); 11] = [
        (|it| it.with_stable(&name("v1")), 0),
        (|it| it.with_stable(&name("v0")), 1),
        (|it| it.with_stable(&name("v0")), 1),
        (|it| it.with_standing(&name("v1"), Standing::Quarantined), 1),
        (|it| it.with_mode(read_only(1, None)), 2),
        (|it| it.with_mode(read_only(2, None)), 2),
        (|it| it.with_mode(read_only(2, Some(3))), 3),
        (|it| it.with_mode(Mode::Normal), 4),
        (|it| it.with_standing(&name("v1"), Standing::Serving), 4),
        (|it| it.with_stable(&name("v1")), 5),
        (|it| it.with_mode(Mode::Normal), 5),
    ];
    for (step, (change, epoch)) in changes.into_iter().enumerate() {
        route = change(&route).unwrap();
        assert_eq!(route.epoch(), Epoch(epoch), "step {step}");
    }
}

#[test]
fn a_reload_keeps_mode_and_acting_stable_where_the_versions_allow() {
    let old = route().with_stable(&name("v0")).unwrap();
    let old = old.with_mode(read_only(5, Some(3))).unwrap();
    let next = route().following(&old);
    assert_eq!((next.stable().name.as_str(), next.mode()), ("v0", old.mode()));
    assert_eq!(next.epoch(), old.epoch());
    let [v1, v2, v3, v0] = VERSIONS;
    for (what, versions, emergency, acting, asked) in [
        ("other places", vec![v0, v1, v2, v3], Some("v0"), "v0", Some(0)),
        ("the acting one is gone", vec![v1, v2, v3], None, "v1", None),
        ("no emergency version", vec![v1, v2, v3, v0], None, "v0", None),
        (
            "another has the role",
            vec![("v1", Role::Canary, 0.0), ("v2", Role::Stable, 0.0), v3, v0],
            Some("v0"),
            "v2",
            Some(3),
        ),
    ] {
        let next = route_of(&versions, emergency).following(&old);
        assert_eq!(next.stable().name.as_str(), acting, "{what}");
        assert_eq!(next.mode(), read_only(5, asked), "{what}");
    }
    let open = old.with_mode(Mode::Normal).unwrap();
    assert_eq!(route().following(&open).mode(), Mode::Normal);
}
