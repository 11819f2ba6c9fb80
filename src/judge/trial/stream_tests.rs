//! Trials over simulated streams of tokens: judged by first token and pace, mixed with other
//! answers or not, and with the same promise to equals.

use std::sync::Arc;

use super::tests::{CANARY, Court, STABLE, rules, traffic, whole};
use super::{Call, Phase, Share};
use crate::judge::reading::{Health, Observation, Reading};
use crate::judge::rules::{Confirm, Rules};
use crate::judge::sums::{Deadlines, Sums, Timing, bin_of};
use crate::judge::verdict::Finding;

/// What one version's streams are like.
#[derive(Clone, Copy, Debug)]
struct Streams {
    rate: f64,
    first_ms: f64,
    each_ms: f64,
}

const OURS: Streams = Streams { rate: 5.0, first_ms: 200.0, each_ms: 20.0 };
const THEIRS: Streams = Streams { rate: 20.0, ..OURS };

/// Streams of one tick, each wholly within it.
fn streams(draws: &mut fastrand::Rng, are: Streams, deadlines: Deadlines) -> Sums {
    let mut sums = Sums::default();
    let expected = are.rate / 4.0;
    let count = expected.floor() + f64::from(draws.f64() < expected.fract());
    for _ in 0..whole(count) {
        let endpoint = draws.usize(..2);
        let mut near = |median_ms: f64, width: f64| {
            let spread = (0..6).map(|_| draws.f64() - 0.5).sum::<f64>();
            whole(median_ms * 1_000.0 * (spread * width).exp())
        };
        let (first, each) = (near(are.first_ms, 0.8), near(are.each_ms, 0.3));
        let slow = deadlines.first_token.is_some_and(|limit| first > limit);
        if slow {
            sums.stalled.hit();
        } else {
            sums.stalled.miss();
        }
        sums.opened += 1;
        sums.refused.miss();
        let cell = sums.cell(endpoint);
        cell.known += 1;
        cell.slow[0] += u64::from(slow);
        let stream = sums.stream(endpoint);
        stream.first[bin_of(first)] += 1;
        stream.each[bin_of(each)] += 1;
    }
    sums
}

/// Seconds until the trial calls for something, and what; `plain` of the requests are none
/// with streams, by the versions of the other tests.
fn until_call(
    court: &mut Court,
    (ours, theirs): (Streams, Streams),
    plain: bool,
    most: f64,
) -> Option<(f64, Call)> {
    let share = Share::Nominal(ours.rate / (ours.rate + theirs.rate));
    let begun = court.now;
    while court.now.since(begun).as_secs_f64() < most {
        let deadlines = court.baseline.deadlines();
        let mut canary = streams(&mut court.draws, ours, deadlines);
        let mut stable = streams(&mut court.draws, theirs, deadlines);
        if plain {
            let does = |rate| super::tests::Does { rate, ..STABLE };
            canary.add(&traffic(&mut court.draws, does(ours.rate), deadlines.whole));
            stable.add(&traffic(&mut court.draws, does(theirs.rate), deadlines.whole));
        }
        if let Some(call) = court.beat(&canary, &stable, share) {
            return Some((court.now.since(begun).as_secs_f64(), call));
        }
    }
    None
}

fn protected(call: Call) -> Finding {
    let Call::Protect(finding) = call else { panic!("{call:?}") };
    assert_eq!(finding.rule, "latencyP99");
    finding
}

#[test]
fn a_canary_that_is_twice_as_slow_for_each_token_is_protected_and_rolled_back() {
    for (seed, plain) in [(1, false), (2, false), (3, false), (4, true), (5, true)] {
        let mut court = Court::new(rules(Confirm::Auto), seed);
        let call = until_call(&mut court, (OURS, THEIRS), plain, 60.0);
        assert!(call.is_none(), "seed {seed}: {call:?}");
        let slow = Streams { each_ms: 40.0, ..OURS };
        let (wait, call) = until_call(&mut court, (slow, THEIRS), plain, 60.0).unwrap();
        let finding = protected(call);
        assert_eq!(finding.timing, Timing::EachToken, "{finding}");
        assert!(finding.to_string().contains("time per output token"), "{finding}");
        assert!(wait <= 12.0, "seed {seed}: after {wait} s");
        let (_, call) = until_call(&mut court, (slow, THEIRS), plain, 200.0).unwrap();
        assert!(matches!(call, Call::Rollback(_)), "seed {seed}: {call:?}");
    }
}

#[test]
fn a_canary_whose_first_token_comes_late_is_protected() {
    for (seed, plain) in [(1, false), (2, false), (3, true)] {
        let mut court = Court::new(rules(Confirm::Auto), seed);
        assert!(until_call(&mut court, (OURS, THEIRS), plain, 60.0).is_none());
        let slow = Streams { first_ms: 450.0, ..OURS };
        let (wait, call) = until_call(&mut court, (slow, THEIRS), plain, 90.0).unwrap();
        let finding = protected(call);
        assert_ne!(finding.timing, Timing::EachToken, "{finding}");
        assert!(plain || finding.timing == Timing::FirstToken, "{finding}");
        assert!(wait <= 20.0, "seed {seed}: after {wait} s");
    }
}

#[test]
fn streams_that_hang_before_their_first_token_are_protected_at_once() {
    let mut court = Court::new(rules(Confirm::Auto), 3);
    assert!(until_call(&mut court, (OURS, THEIRS), false, 60.0).is_none());
    assert!(court.baseline.deadlines().first_token.is_some());
    assert!(court.baseline.deadlines().whole.is_none());
    let hangs = Streams { first_ms: 30_000.0, ..OURS };
    let (wait, call) = until_call(&mut court, (hangs, THEIRS), false, 20.0).unwrap();
    assert_eq!(protected(call).timing, Timing::FirstToken);
    assert!(wait <= 4.0, "after {wait} s");
}

#[test]
fn equal_streams_are_left_alone_and_promoted() {
    for (seed, plain) in [(200, false), (201, false), (202, true)] {
        let mut court = Court::new(rules(Confirm::Auto), seed);
        let mut promotable = None;
        for second in 0..2_400_u32 {
            let call = until_call(&mut court, (OURS, THEIRS), plain, 1.0);
            let rolled = matches!(call, Some((_, Call::Rollback(_))));
            assert!(!rolled, "seed {seed}: {call:?}");
            if court.trial.is_promotable(court.now) {
                promotable.get_or_insert(second);
            }
        }
        assert!(promotable.is_some_and(|at| at < 1_800), "{promotable:?}");
    }
}

#[test]
fn a_slower_pace_is_not_promoted() {
    let mut court = Court::new(rules(Confirm::Auto), 77);
    let slower = Streams { each_ms: 34.0, ..OURS };
    for _ in 0..900 {
        let call = until_call(&mut court, (slower, THEIRS), false, 1.0);
        assert!(!court.trial.is_promotable(court.now));
        if let Some((_, Call::Rollback(_))) = call {
            break;
        }
    }
}

/// One in ten may be rolled back, and with that bound hardly any is.
#[test]
fn the_bound_on_false_alarms_holds_with_a_bank_for_each_kind_of_time() {
    let eager = Rules { false_alarm: 0.1, ..(*rules(Confirm::Off)).clone() };
    let eager = Arc::new(eager);
    let mut alarms = 0;
    for seed in 0..40 {
        let mut court = Court::new(Arc::clone(&eager), 9_000 + seed);
        let half = Streams { rate: 10.0, ..OURS };
        let call = until_call(&mut court, (half, half), seed % 2 == 0, 150.0);
        alarms += usize::from(call.is_some());
    }
    assert!(alarms <= 4, "{alarms} of 40 equals were rolled back");
}

#[test]
fn a_version_with_everything_is_held_against_the_pace_of_the_past() {
    let mut court = Court::new(rules(Confirm::Auto), 8);
    assert!(until_call(&mut court, (OURS, THEIRS), false, 120.0).is_none());
    let (all, none) = (Streams { rate: 25.0, ..OURS }, Streams { rate: 0.0, ..THEIRS });
    assert!(until_call(&mut court, (all, none), false, 60.0).is_none());
    let slow = Streams { each_ms: 44.0, ..all };
    let (wait, call) = until_call(&mut court, (slow, none), false, 60.0).unwrap();
    assert_eq!((call, court.trial.phase()), (Call::Probe, Phase::Probing));
    assert!(wait < 15.0, "after {wait} s");
    let (slow, back) = (Streams { rate: 20.0, ..slow }, Streams { rate: 5.0, ..THEIRS });
    let (_, call) = until_call(&mut court, (slow, back), false, 40.0).unwrap();
    assert!(matches!(call, Call::Rollback(_) | Call::Protect(_)), "{call:?}");
}

#[test]
fn the_evidence_names_each_bank_and_a_route_without_streams_has_one() {
    let reading = Reading::default();
    let (canary, stable) = (&reading, &reading);
    let (canary_health, stable_health) = (Health::Unchecked, Health::Unchecked);
    let seen = Observation { canary, stable, canary_health, stable_health };
    let tests = |court: &Court| -> Vec<&str> {
        let all = court.trial.evidence(court.now, &seen, &court.baseline);
        all.iter().map(|one| one.test).filter(|test| test.ends_with("ank")).collect()
    };
    let mut court = Court::new(rules(Confirm::Auto), 1);
    let _call = until_call(&mut court, (OURS, THEIRS), false, 30.0);
    assert_eq!(tests(&court), ["firstTokenBank", "eachTokenBank"]);
    let mut court = Court::new(rules(Confirm::Auto), 1);
    let _call = until_call(&mut court, (OURS, THEIRS), true, 30.0);
    assert_eq!(tests(&court), ["bank", "firstTokenBank", "eachTokenBank"]);
    let mut court = Court::new(rules(Confirm::Auto), 1);
    let _call = court.until_call(CANARY, STABLE, 30.0);
    assert_eq!(tests(&court), ["bank"]);
}
