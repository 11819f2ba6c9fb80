//! Tests of the requirement's rules. Apart because they are as long as the rules.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::super::vectors::cases;
use super::super::vectors::count;
use super::super::vectors::real;
use super::{
    Comparator, Score, Seed, SeedError, SeedMetric, SeedOutcome, SeedWatch, Seen,
    SeenVersion, Tally,
};

const WINDOW: Duration = Duration::from_secs(300);

/// What one version did, as a case of the reference writes it.
fn version(case: &Value, name: &str) -> SeenVersion {
    let mut version = SeenVersion::default();
    if let Value::Array(pair) = &case[name] {
        version.errors = Tally { hits: count(&pair[0]), of: count(&pair[1]) };
    } else if let Some(mean) = case[name].as_f64() {
        let score = Score { mean, of: 1 };
        (version.accuracy, version.satisfaction) = (score, score);
    }
    version.p99_us = case[format!("{name}_p99_us")].as_u64();
    version
}

#[test]
fn verdicts_are_those_of_the_reference() {
    let mut checked = 0;
    for case in cases!("rules") {
        let (metric, threshold) = match case["rule"].as_str().unwrap() {
            "error_ratio" => (SeedMetric::ErrorRatio, "threshold"),
            "error_abs" => (SeedMetric::ErrorRate, "threshold"),
            "p99_ratio" => (SeedMetric::P99Ratio, "threshold"),
            "p99_abs" => (SeedMetric::P99Millis, "threshold_ms"),
            "accuracy_drop" => (SeedMetric::AccuracyDrop, "threshold"),
            "satisfaction_drop" => (SeedMetric::SatisfactionDrop, "threshold"),
            _ => continue,
        };
        let seed = Seed::new(metric, real(&case[threshold]), WINDOW);
        let seen =
            Seen { canary: version(&case, "canary"), stable: version(&case, "stable") };
        let fires = seed.breaks(&seen).unwrap().unwrap_or(false);
        assert_eq!(Some(fires), case["fire"].as_bool(), "{case}");
        checked += 1;
    }
    assert_eq!(checked, 12);
}

fn tally(hits: u64, of: u64) -> Tally {
    Tally { hits, of }
}

fn errors(canary: Tally, stable: Tally) -> Seen {
    let version = |errors| SeenVersion { errors, ..SeenVersion::default() };
    Seen { canary: version(canary), stable: version(stable) }
}

#[test]
fn throughput_is_completions_among_arrivals() {
    let seed = Seed::new(SeedMetric::ThroughputRatio, 0.5, Duration::from_secs(60));
    assert_eq!(seed.comparator, Comparator::Below);
    for (canary, stable, fires) in [
        ((49, 100), (980, 1_000), false),
        ((48, 100), (980, 1_000), true),
        ((0, 100), (980, 1_000), true),
        ((0, 100), (0, 1_000), false),
        ((0, 0), (980, 1_000), false),
        ((5, 100), (0, 0), false),
    ] {
        let version = |(hits, of)| SeenVersion {
            completed: tally(hits, of),
            ..SeenVersion::default()
        };
        let seen = Seen { canary: version(canary), stable: version(stable) };
        let got = seed.breaks(&seen).unwrap().unwrap_or(false);
        assert_eq!(got, fires, "{canary:?} {stable:?}");
    }
}

#[test]
fn exact_drops_and_times_do_not_fire() {
    let score = |mean| {
        let satisfaction = Score { mean, of: 9 };
        SeenVersion { satisfaction, ..SeenVersion::default() }
    };
    let seed = Seed::new(SeedMetric::SatisfactionDrop, 0.1, WINDOW);
    for (stable, canary, fires) in
        [(0.8, 0.7, false), (0.8, 0.699, true), (0.5, 0.9, false)]
    {
        let seen = Seen { canary: score(canary), stable: score(stable) };
        assert_eq!(seed.breaks(&seen), Ok(Some(fires)), "{stable} {canary}");
    }
    let seed = Seed::new(SeedMetric::P99Ratio, 1.5, WINDOW);
    for (canary, stable, fires) in [
        (Some(3), Some(2), Some(false)),
        (Some(4), Some(2), Some(true)),
        (Some(4), Some(0), Some(true)),
        (Some(0), Some(0), None),
        (None, Some(2), None),
        (Some(4), None, None),
    ] {
        let version = |p99_us| SeenVersion { p99_us, ..SeenVersion::default() };
        let seen = Seen { canary: version(canary), stable: version(stable) };
        assert_eq!(seed.breaks(&seen), Ok(fires), "{canary:?} {stable:?}");
    }
}

#[test]
fn windows_runs_samples_and_the_gate_are_kept() {
    let seed = Seed {
        consecutive: 2,
        min_samples: 50,
        ..Seed::new(SeedMetric::ErrorRate, 0.05, WINDOW)
    };
    let mut watch = SeedWatch::new(seed, Duration::from_secs(10)).unwrap();
    let stable = tally(5, 900);
    let (bad, good) = (errors(tally(8, 100), stable), errors(tally(1, 100), stable));
    let (sure, unsure) = (100_f64.ln(), 99.9_f64.ln());
    let broken = SeedOutcome::Broken { run: 1, needed: 2 };
    for (step, (seen, evidence, outcome)) in [
        (good, sure, SeedOutcome::Kept),
        (bad, sure, broken),
        (errors(tally(0, 0), stable), sure, SeedOutcome::NoData),
        (bad, sure, broken),
        (
            errors(tally(9, 49), stable),
            sure,
            SeedOutcome::Few { samples: 49, needed: 50 },
        ),
        (bad, unsure, broken),
        (bad, unsure, SeedOutcome::Shared),
        (bad, sure, SeedOutcome::Fires),
        (errors(tally(8, 100), tally(0, 0)), f64::NEG_INFINITY, SeedOutcome::Fires),
        (good, sure, SeedOutcome::Kept),
    ]
    .into_iter()
    .enumerate()
    {
        let ends = Duration::from_secs(310 + 300 * step as u64);
        assert_eq!(watch.ends(), ends);
        assert_eq!(watch.close(&seen, evidence), Ok(outcome), "window {step}");
    }
}

#[test]
fn an_ungated_rule_of_one_window_fires_at_once() {
    let seed = Seed { gate: false, ..Seed::new(SeedMetric::ErrorRatio, 2.0, WINDOW) };
    let mut watch = SeedWatch::new(seed, Duration::ZERO).unwrap();
    let seen = errors(tally(1, 1), tally(1, 3));
    assert_eq!(watch.close(&seen, 0.0), Ok(SeedOutcome::Fires));
}

#[test]
fn silent_windows_end_a_run() {
    let seed = Seed { consecutive: 2, ..Seed::new(SeedMetric::ErrorRate, 0.05, WINDOW) };
    let mut watch = SeedWatch::new(seed, Duration::ZERO).unwrap();
    let bad = errors(tally(8, 100), tally(0, 0));
    let broken = Ok(SeedOutcome::Broken { run: 1, needed: 2 });
    assert_eq!(watch.close(&bad, 0.0), broken);
    watch.skip_to(Duration::from_secs(600));
    assert_eq!(watch.close(&bad, 0.0), Ok(SeedOutcome::Fires), "nothing was skipped");
    watch.skip_to(Duration::from_secs(901));
    assert_eq!(watch.ends(), Duration::from_secs(1_200));
    assert_eq!(watch.close(&bad, 0.0), broken);
    watch.skip_to(Duration::MAX);
    assert!(watch.ends() > Duration::from_secs(1_000_000));
}

#[test]
fn faulty_numbers_are_said_and_break_nothing() {
    for (seed, message) in [
        (
            Seed::new(SeedMetric::ErrorRate, f64::NAN, WINDOW),
            "threshold is NaN, not a finite number",
        ),
        (Seed::new(SeedMetric::ErrorRate, 0.05, Duration::ZERO), "window is zero"),
        (
            Seed { consecutive: 0, ..Seed::new(SeedMetric::ErrorRate, 0.05, WINDOW) },
            "consecutive is zero",
        ),
    ] {
        let fault = SeedWatch::new(seed, Duration::ZERO).unwrap_err();
        assert_eq!(fault.to_string(), message);
    }
    let seed = Seed::new(SeedMetric::AccuracyDrop, 0.05, WINDOW);
    let mut watch = SeedWatch::new(seed, Duration::ZERO).unwrap();
    let seen = |mean| {
        let version = |mean| SeenVersion {
            accuracy: Score { mean, of: 5 },
            errors: tally(0, 5),
            ..SeenVersion::default()
        };
        Seen { canary: version(mean), stable: version(0.9) }
    };
    let fault = watch.close(&seen(f64::NAN), 9.0).unwrap_err();
    assert!(matches!(fault, SeedError::NotFinite { what: "accuracy", .. }));
    let fault = watch.close(&seen(0.5), f64::NAN).unwrap_err();
    assert!(matches!(fault, SeedError::NotFinite { what: "evidence", .. }));
    assert_eq!(watch.close(&seen(0.5), 9.0), Ok(SeedOutcome::Fires));
}

proptest! {
    #[test]
    fn an_exact_multiple_is_never_above_itself(
        hits in 1_u64..1_000, times in 1_u64..40, more in 0_u64..5, of in 1_u64..100_000,
    ) {
        // `times` tenths of stable's rate: the threshold is a decimal fraction.
        let stable = tally(10 * hits, 10 * of);
        let canary = tally(times * hits + more, 10 * of);
        let threshold: f64 = format!("{}.{}", times / 10, times % 10).parse().unwrap();
        let seed = Seed::new(SeedMetric::ErrorRatio, threshold, WINDOW);
        let got = seed.breaks(&errors(canary, stable)).unwrap();
        prop_assert_eq!(got, Some(more > 0));
    }

    #[test]
    fn a_good_answer_instead_of_a_bad_one_never_breaks_a_rule(
        canary in (1_u64..50, 50_u64..200), stable in (0_u64..50, 50_u64..2_000),
    ) {
        for metric in [SeedMetric::ErrorRatio, SeedMetric::ErrorRate] {
            let seed = Seed::new(metric, 0.5, WINDOW);
            let breaks = |hits| {
                let seen = errors(tally(hits, canary.1), tally(stable.0, stable.1));
                seed.breaks(&seen).unwrap().unwrap_or(false)
            };
            prop_assert!(breaks(canary.0) || !breaks(canary.0 - 1));
        }
    }
}
