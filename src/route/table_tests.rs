//! Standings, copying and the epoch that numbers both.

use std::sync::Arc;
use std::time::Duration;

use super::{Role, Route, Standing, TableError, Version};
use crate::route::RouteMatch;
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Epoch, Name, Slot};
use crate::vocab::policy::{
    Banner, FailureSet, Repeatable, Rescue, Retry, RoutePolicy, Timeouts,
};

fn policy() -> Arc<RoutePolicy> {
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
        emergency: None,
        sample_bodies: 0,
    })
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn share(percent: f64) -> Percent {
    Percent::of(percent).unwrap()
}

/// Stable v1 and these canaries, by name, percent and slot.
fn route_of(canaries: &[(&str, f64, usize)]) -> Route {
    let version = |named: &str, role, percent, slot| Version {
        name: name(named),
        slot: Slot::new(slot).unwrap(),
        digest: Digest::new(named),
        role,
        weight: share(percent),
        standing: Standing::Serving,
    };
    let mut versions = vec![version("v1", Role::Stable, 0.0, 0)];
    versions.extend(
        canaries
            .iter()
            .map(|(named, percent, slot)| version(named, Role::Canary, *percent, *slot)),
    );
    Route::new(name("r"), RouteMatch::default(), versions, vec![], policy()).unwrap()
}

fn route() -> Route {
    route_of(&[("v2", 10.0, 1), ("v3", 20.0, 2)])
}

#[test]
fn a_protected_version_leaves_its_share_to_stable() {
    let (v2, v3) = (name("v2"), name("v3"));
    let spared = route().with_standing(&v2, Standing::Protected).unwrap();
    assert_eq!(spared.share(spared.version(&v2).unwrap()), Percent::ZERO);
    assert_eq!(spared.share(spared.version(&v3).unwrap()), share(20.0));
    assert_eq!(spared.share(spared.stable()), share(80.0));
    assert_eq!(spared.version(&v2).unwrap().weight, share(10.0));
    let back = spared.with_standing(&v2, Standing::Serving).unwrap();
    assert_eq!(back.share(back.version(&v2).unwrap()), share(10.0));
}

#[test]
fn stable_always_serves() {
    let v1 = name("v1");
    for standing in [Standing::Trickling, Standing::Protected, Standing::Quarantined] {
        let got = route().with_standing(&v1, standing);
        assert!(matches!(got, Err(TableError::StableStanding(..))), "{standing:?}");
    }
    assert!(route().with_standing(&v1, Standing::Serving).is_ok());
}

#[test]
fn copies_go_to_a_protected_version_for_as_long_as_it_is_one() {
    let (v1, v2, v3) = (name("v1"), name("v2"), name("v3"));
    let part = Some(share(11.0));
    for version in [&v1, &v2] {
        let got = route().with_copying(version, part);
        assert!(matches!(got, Err(TableError::Unprotected(..))), "{version}");
    }
    assert!(matches!(
        route().with_copying(&name("v9"), part),
        Err(TableError::NoVersion(..))
    ));
    let spared = route().with_standing(&v2, Standing::Protected).unwrap();
    assert_eq!(spared.copying(), None);
    let copying = spared.with_copying(&v2, part).unwrap();
    let now = copying.copying().unwrap();
    assert_eq!((now.to, now.part), (1, share(11.0)));
    // Another version's changes leave it alone.
    let other = copying.with_weight(&v3, share(5.0)).unwrap();
    assert_eq!(other.copying(), copying.copying());
    assert_eq!(other.with_copying(&v3, None).unwrap().copying(), copying.copying());
    for gone in [
        copying.with_copying(&v2, None),
        copying.with_copying(&v2, Some(Percent::ZERO)),
        copying.with_standing(&v2, Standing::Serving),
        copying.with_standing(&v2, Standing::Trickling),
        copying.with_standing(&v2, Standing::Quarantined),
    ] {
        assert_eq!(gone.unwrap().copying(), None);
    }
    let both = copying.with_standing(&v3, Standing::Protected).unwrap();
    let moved = both.with_copying(&v3, part).unwrap();
    assert_eq!(moved.copying().map(|now| now.to), Some(2));
}

#[test]
fn an_epoch_is_as_long_as_shares_and_copying_stay() {
    let v2 = name("v2");
    let mut route = route();
    assert_eq!(route.epoch(), Epoch(0));
    let part = |percent| Some(share(percent));
    type Change<'a> = Box<dyn Fn(&Route) -> Result<Route, TableError> + 'a>;
    let weight = |percent| -> Change<'_> {
        let v2 = v2.clone();
        Box::new(move |route: &Route| route.with_weight(&v2, share(percent)))
    };
    let stands = |standing| -> Change<'_> {
        let v2 = v2.clone();
        Box::new(move |route: &Route| route.with_standing(&v2, standing))
    };
    let copies = |part| -> Change<'_> {
        let v2 = v2.clone();
        Box::new(move |route: &Route| route.with_copying(&v2, part))
    };
    for (step, (change, epoch)) in [
        (weight(10.0), 0),
        (weight(12.0), 1),
        (stands(Standing::Serving), 1),
        (stands(Standing::Trickling), 2),
        (weight(16.0), 3),
        (stands(Standing::Protected), 4),
        (weight(20.0), 4),
        (copies(part(25.0)), 5),
        (copies(part(25.0)), 5),
        (copies(part(30.0)), 6),
        (stands(Standing::Quarantined), 7),
        (stands(Standing::Protected), 7),
        (copies(None), 7),
        (stands(Standing::Serving), 8),
    ]
    .into_iter()
    .enumerate()
    {
        route = change(&route).unwrap();
        assert_eq!(route.epoch(), Epoch(epoch), "step {step}");
    }
}

#[test]
fn a_reload_that_changes_no_share_is_in_the_same_epoch() {
    let v2 = name("v2");
    let old = route().with_weight(&v2, share(30.0)).unwrap();
    assert_eq!(old.epoch(), Epoch(1));
    let same = route_of(&[("v3", 20.0, 2), ("v2", 30.0, 1)]);
    assert_eq!(same.following(&old).epoch(), Epoch(1));
    for (what, other) in [
        ("a share", route_of(&[("v2", 31.0, 1), ("v3", 20.0, 2)])),
        ("a slot", route_of(&[("v2", 30.0, 7), ("v3", 20.0, 2)])),
        ("one more", route_of(&[("v2", 30.0, 1), ("v3", 20.0, 2), ("v4", 0.0, 3)])),
        ("one less", route_of(&[("v2", 30.0, 1)])),
    ] {
        assert_eq!(other.following(&old).epoch(), Epoch(2), "{what}");
    }
    let copying = |percent| {
        let spared = old.with_standing(&v2, Standing::Protected).unwrap();
        spared.with_copying(&v2, Some(share(percent))).unwrap()
    };
    let before = copying(10.0);
    assert_eq!(copying(10.0).following(&before).epoch(), before.epoch());
    assert_eq!(copying(11.0).following(&before).epoch(), Epoch(before.epoch().0 + 1));
}
