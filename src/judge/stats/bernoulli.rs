//! The test of one rate against a limit (decision/SPEC.md 5). Apart from the split test
//! because it needs no stable version, and so cannot tell a shared cause from the canary's.

use super::super::reading::float;

/// The share of answers that may be slower than a 99th percentile's limit.
pub const SLOW_LIMIT: f64 = 0.01;
/// The shares of slower answers that are looked for.
pub const SLOW_ALTERNATIVES: [f64; 5] = [0.02, 0.04, 0.1, 0.3, 0.8];

/// How many times an error rate's limit is looked for.
const MULTIPLES: [f64; 5] = [1.5, 2.0, 4.0, 8.0, 16.0];
/// Above this no rate is looked for.
const HIGHEST: f64 = 0.99;
/// A limit of less is looked for as if it were this: multiples of nothing are nothing.
const LEAST_LIMIT: f64 = 0.001;
/// Rates are kept this far from 0 and 1, where a logarithm ends.
const EDGE: f64 = 1e-9;

/// ln of the evidence of one batch for a rate of `alternative` against one at or below
/// `null`, or at or above it when `alternative` is the lower one (decision/SPEC.md 5). Rates
/// are 0 to 1; `phi`, at least 1, is how much more the events clump than a coin.
#[must_use]
pub fn bernoulli_increment(
    events: u64,
    requests: u64,
    null: f64,
    alternative: f64,
    phi: f64,
) -> f64 {
    let null = null.clamp(EDGE, 1.0 - EDGE);
    let alternative = alternative.clamp(EDGE, 1.0 - EDGE);
    let hit = (alternative / null).ln();
    let miss = (-alternative).ln_1p() - (-null).ln_1p();
    let misses = requests.saturating_sub(events);
    (float(events) * hit + float(misses) * miss) / phi
}

/// The rates that are looked for when an error rate up to `limit`, 0 to 1, is allowed. None
/// is below the limit.
#[must_use]
pub fn error_alternatives(limit: f64) -> [f64; 5] {
    let scaled = |multiple: f64| (multiple * limit.max(LEAST_LIMIT)).min(HIGHEST);
    MULTIPLES.map(|multiple| scaled(multiple).max(limit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::vectors::assert_same;
    use super::super::vectors::cases;
    use super::super::vectors::count;
    use super::super::vectors::real;
    use super::{bernoulli_increment, error_alternatives};

    #[test]
    fn increments_are_those_of_the_reference() {
        for case in cases!("bern_increment") {
            let got = bernoulli_increment(
                count(&case["e"]),
                count(&case["n"]),
                real(&case["p0"]),
                real(&case["p1"]),
                real(&case["phi"]),
            );
            assert_same(got, &case["ln_increment"], &case);
        }
    }

    #[test]
    fn alternatives_follow_the_limit() {
        for (limit, expected) in [
            (0.05, [0.075, 0.1, 0.2, 0.4, 0.8]),
            (0.1, [0.15, 0.2, 0.4, 0.8, 0.99]),
            (0.995, [0.995; 5]),
            (0.0, [0.0015, 0.002, 0.004, 0.008, 0.016]),
        ] {
            for (got, expected) in error_alternatives(limit).into_iter().zip(expected) {
                assert!((got - expected).abs() < 1e-12, "{limit}: {got}");
            }
        }
    }

    #[test]
    fn limits_of_nothing_and_of_everything_stay_finite() {
        for (events, requests, limit) in
            [(0, 9, 0.0), (9, 9, 0.0), (9, 9, 1.0), (0, 9, 1.0)]
        {
            for alternative in error_alternatives(limit) {
                let got = bernoulli_increment(events, requests, limit, alternative, 1.0);
                assert!(got.is_finite(), "{events}/{requests} at {limit}: {got}");
                assert!(
                    limit < 0.5 || got.abs() < 1e-12,
                    "a limit of 1 cannot be broken"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn an_answer_made_good_never_raises_the_evidence(
            events in 1_u64..500, more in 0_u64..500, limit in 0.001_f64..0.5,
        ) {
            for alternative in error_alternatives(limit) {
                let increment = |events| {
                    bernoulli_increment(events, 500 + more, limit, alternative, 1.0)
                };
                prop_assert!(increment(events - 1) <= increment(events) + 1e-9);
            }
        }
    }
}
