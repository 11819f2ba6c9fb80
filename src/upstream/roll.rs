//! Who of a version's servers stays, comes and goes when names have other addresses, and
//! which place each has.
//!
//! Pure, so that years of comings and goings are tested in a moment. A place is the number
//! that evidence and traces know a server by, so it is stable: it belongs to one server for
//! as long as that is there or has requests in flight and for a while after, and only then
//! to another. Places are given from the lowest, because the analysis counts the servers of
//! a version by the highest.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::settings::Address;
use crate::vocab::time::Timestamp;

/// What one server is known by: its address, and the name that stands for it, if one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) address: Address,
    pub(super) called: Option<String>,
}

/// A server that is there no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) key: Key,
    pub(super) place: usize,
    pub(super) since: Timestamp,
    /// Whether somebody still uses it.
    pub(super) is_used: bool,
}

/// Who is there from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roll {
    /// Each with its place, by place.
    pub(super) here: Vec<(Key, usize)>,
    /// Those that are there no longer and whose places are not free.
    pub(super) gone: Vec<Gone>,
    /// Those that are wanted and for which there is no room.
    pub(super) left_out: usize,
}

/// Calls the roll: `wanted` are there from now on, at most [`MOST`] of them. Where that is
/// not enough, those that were there before are before the others.
pub(super) fn call(
    here: &[(Key, usize)],
    gone: &[Gone],
    wanted: &[Key],
    now: Timestamp,
) -> Roll {
    let mut wanted = distinct(wanted);
    let was_here = |key: &Key| here.iter().any(|(old, _)| old == key);
    if wanted.len() > MOST {
        wanted.sort_by_key(|key| !was_here(key));
    }
    let left_out = wanted.len().saturating_sub(MOST);
    wanted.truncate(MOST);

    let mut left: Vec<Gone> = gone.to_vec();
    left.extend(here.iter().filter(|(key, _)| !wanted.contains(&key)).map(
        |(key, place)| {
            let (key, place) = (key.clone(), *place);
            Gone { key, place, since: now, is_used: true }
        },
    ));
    let rests = |one: &Gone| one.is_used || now.since(one.since) < REST;
    left.retain(rests);
    let spare = left.len().saturating_sub(REMEMBERED);
    left.sort_by_key(|one| one.since.0);
    left.drain(..spare);

    let mut next: Vec<(Key, usize)> = Vec::with_capacity(wanted.len());
    let mut fresh = Vec::new();
    for key in wanted {
        let old = here.iter().find(|(old, _)| old == key).map(|(_, place)| *place);
        let back = left.iter().position(|one| one.key == *key);
        match old.or_else(|| back.map(|at| left.remove(at).place)) {
            Some(place) => next.push((key.clone(), place)),
            None => fresh.push(key.clone()),
        }
    }
    let mut taken: BTreeSet<usize> = next.iter().map(|(_, place)| *place).collect();
    taken.extend(left.iter().map(|one| one.place));
    let mut free = (0..).filter(|place| !taken.contains(place));
    next.extend(fresh.into_iter().zip(&mut free));
    next.sort_by_key(|(_, place)| *place);
    Roll { here: next, gone: left, left_out }
}

/// Each once; a server that an entry of its own names is not counted again under a name
/// that stands for it.
fn distinct(wanted: &[Key]) -> Vec<&Key> {
    let named = |key: &&Key| key.called.is_some();
    let own: HashSet<&Address> =
        wanted.iter().filter(|key| !named(key)).map(|key| &key.address).collect();
    let mut seen: HashSet<&Address> = HashSet::with_capacity(wanted.len());
    let once = wanted.iter().filter(|key| !named(key) || !own.contains(&key.address));
    once.filter(|key| seen.insert(&key.address)).collect()
}

/// Servers of one version at a time: as many as the configuration may list.
pub(super) const MOST: usize = 256;

/// How long a place is nobody's after its server has gone and its last request has ended:
/// what is known of that server has been counted by then.
const REST: Duration = Duration::from_secs(30);

/// Servers that have gone and are still remembered. Beyond it the oldest give their places
/// up early.
const REMEMBERED: usize = 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{Gone, Key, MOST, Roll, call};
    use crate::upstream::settings::Address;
    use crate::vocab::time::Timestamp;

    fn key(number: usize) -> Key {
        let [_, _, c, d] = u32::try_from(number).unwrap().to_be_bytes();
        let address = Address::Tcp { host: format!("10.0.{c}.{d}"), port: 1, tls: false };
        Key { address, called: Some("models".to_owned()) }
    }

    fn keys(numbers: impl IntoIterator<Item = usize>) -> Vec<Key> {
        numbers.into_iter().map(key).collect()
    }

    fn next(before: &Roll, numbers: &[usize], now: u64) -> Roll {
        let wanted = keys(numbers.iter().copied());
        call(&before.here, &before.gone, &wanted, Timestamp(now))
    }

    fn places(roll: &Roll) -> Vec<usize> {
        roll.here.iter().map(|(_, place)| *place).collect()
    }

    /// Everybody who has gone has ended all requests.
    fn idle(mut roll: Roll) -> Roll {
        roll.gone.iter_mut().for_each(|one| one.is_used = false);
        roll
    }

    #[test]
    fn who_stays_keeps_its_place_and_who_comes_gets_one_that_nobody_had() {
        let first = next(&Roll::default(), &[1, 2, 3], 0);
        assert_eq!(places(&first), [0, 1, 2]);
        let second = next(&first, &[3, 4, 1], 0);
        assert_eq!(
            second.here,
            [(key(1), 0), (key(3), 2), (key(4), 3)],
            "place 1 is still that of a server with requests in flight"
        );
        assert_eq!(second.gone.len(), 1);
        assert_eq!(second.gone[0].place, 1);
    }

    #[test]
    fn a_place_is_free_once_its_server_is_idle_and_a_while_has_passed() {
        let first = next(&Roll::default(), &[1, 2], 0);
        let gone = next(&first, &[1], 0);
        let busy = next(&gone, &[1, 3], 3_600_000);
        assert_eq!(busy.here, [(key(1), 0), (key(3), 2)]);
        let soon = next(&idle(gone.clone()), &[1, 3], 29_999);
        assert_eq!(soon.here, [(key(1), 0), (key(3), 2)]);
        let late = next(&idle(gone), &[1, 3], 30_000);
        assert_eq!(late.here, [(key(1), 0), (key(3), 1)]);
        assert!(late.gone.is_empty());
    }

    #[test]
    fn who_comes_back_has_its_place_back() {
        let first = next(&Roll::default(), &[1, 2], 0);
        let without = next(&first, &[2], 0);
        let back = next(&without, &[1, 2], 10);
        assert_eq!(back.here, first.here);
        assert!(back.gone.is_empty());
    }

    #[test]
    fn too_many_are_bounded_and_those_that_were_there_come_first() {
        let first = next(&Roll::default(), &[900, 901], 0);
        let all: Vec<usize> = (0..1_000).collect();
        let full = next(&first, &all, 0);
        assert_eq!((full.here.len(), full.left_out), (MOST, 1_000 - MOST));
        assert_eq!(full.here[..2], first.here[..]);
        assert_eq!(next(&full, &all, 1).here, full.here, "and they stay");
    }

    #[test]
    fn one_address_is_one_server() {
        let own = Key { called: None, ..key(1) };
        let other = Key { called: Some("others".to_owned()), ..key(2) };
        let wanted = [key(1), own.clone(), key(2), other, key(2)];
        let roll = call(&[], &[], &wanted, Timestamp(0));
        assert_eq!(roll.here, [(own, 0), (key(2), 1)]);
    }

    proptest! {
        #[test]
        fn evidence_of_two_servers_is_never_mixed(
            rounds in prop::collection::vec(
                (prop::collection::vec(0_usize..400, 0..300), any::<u64>(), 0_u64..60_000),
                1..20,
            ),
        ) {
            let mut now = 0;
            let mut roll = Roll::default();
            for (numbers, used, later) in rounds {
                now += later;
                let before = roll.clone();
                roll = next(&roll, &numbers, now);
                let distinct: BTreeSet<usize> = numbers.iter().copied().collect();
                prop_assert_eq!(roll.here.len(), distinct.len().min(MOST));
                let mut all = places(&roll);
                all.extend(roll.gone.iter().map(|one| one.place));
                let unique: BTreeSet<usize> = all.iter().copied().collect();
                prop_assert_eq!(unique.len(), all.len(), "a place belongs to one");
                for (key, place) in &roll.here {
                    let had = before.here.iter().find(|(old, _)| old == key);
                    prop_assert!(had.is_none_or(|(_, old)| old == place));
                    let other = |one: &&Gone| one.place == *place && one.key != *key;
                    if let Some(was) = before.gone.iter().find(other) {
                        prop_assert!(!was.is_used && now - was.since.0 >= 30_000);
                    }
                }
                for one in &mut roll.gone {
                    one.is_used = used >> (one.place % 64) & 1 == 1;
                }
            }
        }
    }
}
