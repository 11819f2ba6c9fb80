//! The coin of a session: golden values, and where sessions go when shares change.

use std::collections::HashMap;

use proptest::prelude::*;

use super::session_coin;
use crate::route::assign::tests::route_of;
use crate::route::{Reason, Route, Signature, Standing, assign};
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// Where a session goes, and that it goes there for being one.
fn place(route: &Route, key: &[u8]) -> usize {
    let headers: HashMap<&str, &str> = HashMap::new();
    let coin = session_coin(&route.name, key);
    let sig = Signature { sticky: true, ..Signature::new("", "/", &headers, coin) };
    let got = assign(route, &sig).unwrap();
    assert_eq!((got.reason, got.strict), (Reason::Sticky, false));
    got.version
}

fn weighed(percents: &[f64]) -> Route {
    let shares: Vec<Percent> =
        percents.iter().map(|one| Percent::of(*one).unwrap()).collect();
    route_of(&shares)
}

/// Where a thousand sessions go.
fn census(route: &Route) -> Vec<usize> {
    (0..1_000u32).map(|one| place(route, &one.to_le_bytes())).collect()
}

fn moved(before: &[usize], after: &[usize]) -> usize {
    before.iter().zip(after).filter(|(one, other)| one != other).count()
}

/// Other numbers here would send every session elsewhere at the next release, and replicas
/// of two releases would not agree.
#[test]
fn the_coins_are_those_of_every_release() {
    for (route, key, coin) in GOLDEN {
        assert_eq!(session_coin(&name(route), key.as_bytes()), coin, "{route} {key}");
    }
}

const GOLDEN: [(&str, &str, u64); 6] = [
    ("iris", "", 0x1a81_bdb6_4567_e307),
    ("iris", "alice", 0xd70f_caa9_c64c_228e),
    ("iris", "bob", 0xcd25_4d05_8ee4_d107),
    ("credit-score", "alice", 0xc4a1_b7c9_74e8_2523),
    ("i", "risalice", 0xd8d1_6158_890d_d0d5),
    ("iris", "8f14e45f-ceea-467f-a0e6-9d2a3b1c7e55", 0x7876_334c_7e6c_0e0c),
];

#[test]
fn shares_are_kept_over_many_sessions() {
    for percent in [0.0, 1.0, 10.0, 33.3, 50.0, 99.0, 100.0] {
        let route = weighed(&[percent]);
        let count = (0..100_000u32)
            .filter(|one| place(&route, format!("user-{one}").as_bytes()) == 1)
            .count();
        let want = percent * 1_000.0;
        let spread = 5.0 * (want * (1.0 - percent / 100.0)).sqrt() + 1.0;
        let off = (f64::from(u32::try_from(count).unwrap()) - want).abs();
        assert!(off <= spread, "{percent}%: {count}");
    }
}

#[test]
fn a_session_is_elsewhere_on_another_route() {
    let coins = |route: &str| -> Vec<bool> {
        let route = name(route);
        (0..10_000u32)
            .map(|key| session_coin(&route, &key.to_le_bytes()) >> 63 == 0)
            .collect()
    };
    let same = coins("a").iter().zip(coins("b")).filter(|(a, b)| *a == b).count();
    assert!((4_700..=5_300).contains(&same), "{same} of 10000 agree");
}

#[test]
fn a_rollback_moves_every_session_at_once_and_nobody_else() {
    let route = weighed(&[30.0, 20.0]);
    let before = census(&route);
    assert!(before.contains(&1) && before.contains(&2));
    for standing in [Standing::Quarantined, Standing::Protected] {
        let after = census(&route.with_standing(&name("v2"), standing).unwrap());
        for (was, is) in before.iter().zip(&after) {
            assert_eq!(*is, if *was == 1 { 0 } else { *was });
        }
        let back = route.with_standing(&name("v2"), standing).unwrap();
        let back = back.with_standing(&name("v2"), Standing::Serving).unwrap();
        assert_eq!(census(&back), before, "a release brings the same sessions back");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_raise_moves_no_session_off_the_version(
        low in 0u32..=1_000_000,
        high in 0u32..=1_000_000,
        key in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let (low, high) = (low.min(high), low.max(high));
        let on = |ppm| place(&route_of(&[Percent::from_ppm(ppm)]), &key) == 1;
        prop_assert!(!on(low) || on(high));
    }

    #[test]
    fn a_change_moves_as_few_as_it_must(
        low in 0u32..=1_000_000,
        high in 0u32..=1_000_000,
        kept in 0u32..=1_000_000,
    ) {
        let kept = kept.min(1_000_000 - low.max(high));
        let split = |ppm| census(&route_of(&[Percent::from_ppm(ppm), Percent::from_ppm(kept)]));
        let (before, after) = (split(low), split(high));
        let of = |census: &[usize], at| census.iter().filter(|one| **one == at).count();
        let must = of(&before, 1).abs_diff(of(&after, 1));
        prop_assert_eq!(moved(&before, &after), must, "as many as the share has changed by");
        prop_assert_eq!(of(&before, 2), of(&after, 2), "the other canary keeps its own");
    }

    #[test]
    fn the_same_key_is_at_the_same_place(key in prop::collection::vec(any::<u8>(), 0..256)) {
        let route = weighed(&[50.0]);
        let first = place(&route, &key);
        prop_assert!((0..8).all(|_| place(&route, &key) == first));
    }
}
