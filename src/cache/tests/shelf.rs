//! The bound in bytes, the order of leaving, and what `retain` takes.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Shelf, Size, Spot};
use crate::cache::policy::Why;
use crate::cache::words::{entry, second};
use crate::vocab::ids::Slot;

fn spot(number: u8, slot: usize) -> Spot {
    let digest = *blake3::hash(&[number]).as_bytes();
    Spot { digest, slot: Slot::new(slot).unwrap() }
}

fn put(shelf: &Shelf, number: u8, slot: usize, body: usize, at: u64) -> Result<(), Why> {
    shelf.put(spot(number, slot), Arc::new(entry(slot, body, at)), || true)
}

#[test]
fn what_was_stored_longest_ago_goes_first() {
    let one = entry(0, 1_000, 0).weight();
    let shelf = Shelf::new(Size { all: 3 * one, each: 3 * one });
    for (number, at) in [(1, 1), (2, 2), (3, 3), (1, 4), (4, 5)] {
        put(&shelf, number, 0, 1_000, at).unwrap();
    }
    let held = [1, 2, 3, 4].map(|number| shelf.get(&spot(number, 0)).is_some());
    assert_eq!(held, [true, false, true, true]);
    assert_eq!((shelf.len(), shelf.bytes()), (3, 3 * one));
}

#[test]
fn what_is_put_back_is_older_than_all_that_came_since() {
    let one = entry(0, 1_000, 0).weight();
    let shelf = Shelf::new(Size { all: 4 * one, each: 4 * one });
    let back = |number, at| {
        shelf.restore(spot(number, 0), Arc::new(entry(0, 1_000, at)), || true)
    };
    put(&shelf, 1, 0, 1_000, 50).unwrap();
    // Those that were stored last come first.
    back(2, 40).unwrap();
    back(3, 30).unwrap();
    back(1, 20).unwrap();
    assert_eq!(shelf.get(&spot(1, 0)).unwrap().stored, second(50), "nothing is replaced");
    back(4, 10).unwrap();
    assert!(back(5, 5).is_err(), "and nothing displaced");
    let purged = shelf.restore(spot(6, 0), Arc::new(entry(0, 0, 1)), || false);
    assert!(purged.is_err());
    for number in [6, 7] {
        put(&shelf, number, 0, 1_000, 60).unwrap();
    }
    let held = [1, 2, 3, 4, 6, 7].map(|it| shelf.get(&spot(it, 0)).is_some());
    assert_eq!(held, [true, true, false, false, true, true]);
    assert_eq!(shelf.bytes(), 4 * one);
}

#[test]
fn one_entry_may_be_as_large_as_allowed_and_no_larger() {
    let each = 8_192;
    let fits = each - entry(0, 0, 0).weight();
    let shelf = Shelf::new(Size { all: 8 * each, each });
    put(&shelf, 1, 0, fits, 0).unwrap();
    assert_eq!(put(&shelf, 2, 0, fits + 1, 0), Err(Why::TooLarge { limit: each }));
    let tight = Shelf::new(Size { all: each, each: 10 * each });
    put(&tight, 1, 0, fits, 0).unwrap();
    assert_eq!(put(&tight, 2, 0, fits + 1, 0), Err(Why::TooLarge { limit: each }));
    assert_eq!(tight.len(), 1);
}

#[test]
fn expired_entries_make_way_though_there_is_room() {
    let shelf = Shelf::new(Size { all: 1 << 20, each: 1 << 20 });
    put(&shelf, 1, 0, 10, 0).unwrap();
    put(&shelf, 2, 0, 10, 3_599).unwrap();
    assert_eq!(shelf.len(), 2);
    put(&shelf, 3, 0, 10, 3_600).unwrap();
    assert!(shelf.get(&spot(1, 0)).is_none());
    assert_eq!(shelf.len(), 2);
}

#[test]
fn what_may_not_be_is_not_put() {
    let shelf = Shelf::new(Size { all: 1 << 20, each: 1 << 20 });
    let refused = shelf.put(spot(1, 0), Arc::new(entry(0, 1, 0)), || false);
    assert_eq!(refused, Err(Why::Purged));
    assert_eq!((shelf.len(), shelf.bytes()), (0, 0));
}

#[test]
fn another_size_keeps_the_newest() {
    let one = entry(0, 1_000, 0).weight();
    let shelf = Shelf::new(Size { all: 1 << 20, each: 1 << 20 });
    for number in 0..10 {
        put(&shelf, number, 0, 1_000, u64::from(number)).unwrap();
    }
    put(&shelf, 99, 0, 100_000, 20).unwrap();
    let size = Size { all: 4 * one, each: 2 * one };
    let smaller = shelf.resized(size);
    assert_eq!((smaller.size(), smaller.len(), smaller.bytes()), (size, 4, 4 * one));
    let newest = (6..10).all(|number| smaller.get(&spot(number, 0)).is_some());
    assert!(newest && smaller.get(&spot(99, 0)).is_none());
}

proptest! {
    #[test]
    fn the_sum_is_right_and_never_above_the_bound(
        all in 2_000_usize..60_000,
        each in 1_000_usize..30_000,
        puts in proptest::collection::vec((0_u8..20, 0_usize..3, 0_usize..20_000), 1..60),
        gone in 0_usize..3,
    ) {
        let shelf = Shelf::new(Size { all, each });
        for (at, (number, slot, body)) in puts.into_iter().enumerate() {
            let held = put(&shelf, number, slot, body, at as u64);
            prop_assert_eq!(held.is_ok(), shelf.get(&spot(number, slot)).is_some_and(|e| {
                e.stored == second(at as u64)
            }));
            prop_assert!(shelf.bytes() <= all);
        }
        let count = |slot: usize| {
            (0..20).filter(|&number| shelf.get(&spot(number, slot)).is_some()).count()
        };
        let before = [count(0), count(1), count(2)];
        let taken = shelf.retain(|entry| entry.source.slot.index() != gone);
        prop_assert_eq!(taken, before[gone]);
        for (slot, before) in before.into_iter().enumerate() {
            prop_assert_eq!(count(slot), if slot == gone { 0 } else { before });
        }
        let left: usize = (0..3)
            .flat_map(|slot| (0..20).map(move |number| spot(number, slot)))
            .filter_map(|spot| shelf.get(&spot))
            .map(|entry| entry.weight())
            .sum();
        prop_assert_eq!(shelf.bytes(), left);
    }
}
