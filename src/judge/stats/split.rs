//! The split test for rare failures (decision/SPEC.md 3.1): given that a request failed,
//! was it the canary's more often than the routing coin explains? Apart because it looks at
//! failures alone, so that answers that are still under way cannot bend it.

use super::super::reading::float;

/// The ratios of failure rates that are looked for, by default.
pub const RATIOS: [f64; 5] = [2.0, 3.0, 5.0, 10.0, 30.0];
/// The ratios that find smaller regressions, later.
pub const SENSITIVE: [f64; 6] = [1.25, 1.5, 2.0, 3.5, 8.0, 25.0];

/// ln of the evidence of one batch for "the canary fails `ratio` times as often as stable"
/// against "at most `margin` times" (decision/SPEC.md 3.1). `canary` and `stable` are
/// failures, `share` is the chance that a request went to the canary, 0 to 1; `ratio` is at
/// least `margin`; `phi`, at least 1, is how much more the failures clump than a coin.
#[must_use]
pub fn split_increment(
    canary: u64,
    stable: u64,
    share: f64,
    ratio: f64,
    margin: f64,
    phi: f64,
) -> f64 {
    let tilted = margin * share / (margin * share + 1.0 - share);
    let gain = ratio / margin;
    let expected = (tilted * (gain - 1.0)).ln_1p();
    (float(canary) * gain.ln() - float(canary + stable) * expected) / phi
}

/// The ratios to look for when `max_ratio` times stable's rate is allowed: 2 gives
/// [`RATIOS`]. None is below 1, where a failure would speak for the canary.
#[must_use]
pub fn ratios_for(max_ratio: f64) -> [f64; 5] {
    RATIOS.map(|ratio| (ratio * max_ratio / 2.0).max(1.0))
}

/// The ratio of rates above which a test whose smallest ratio is `smallest`, above 1,
/// gathers evidence in the long run, and below which it loses it.
#[must_use]
pub fn indifference(smallest: f64) -> f64 {
    (smallest - 1.0) / smallest.ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::log::log_sum_exp;
    use super::super::vectors::assert_same;
    use super::super::vectors::cases;
    use super::super::vectors::count;
    use super::super::vectors::real;
    use super::{RATIOS, SENSITIVE, indifference, ratios_for, split_increment};

    #[test]
    fn increments_are_those_of_the_reference() {
        for case in cases!("split_increment") {
            let got = split_increment(
                count(&case["e_c"]),
                count(&case["e_s"]),
                real(&case["w"]),
                real(&case["r"]),
                real(&case["rho0"]),
                real(&case["phi"]),
            );
            assert_same(got, &case["ln_increment"], &case);
        }
    }

    #[test]
    fn the_allowed_ratio_scales_what_is_looked_for() {
        assert_eq!(ratios_for(2.0).map(f64::to_bits), RATIOS.map(f64::to_bits));
        assert!((ratios_for(3.0)[0] - 3.0).abs() < 1e-12);
        assert!(ratios_for(0.5).iter().all(|ratio| *ratio >= 1.0));
    }

    #[test]
    fn indifference_is_that_of_the_specification() {
        for (smallest, expected) in [(2.0, 1.44), (1.43, 1.2), (2.15, 1.5), (3.51, 2.0)] {
            let got = indifference(smallest);
            assert!((got - expected).abs() < 0.005, "{smallest}: {got}");
        }
    }

    fn mixture(ratios: &[f64], canary: u64, stable: u64, share: f64) -> f64 {
        let increment =
            |ratio: &f64| split_increment(canary, stable, share, *ratio, 1.0, 1.0);
        log_sum_exp(&ratios.iter().map(increment).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn an_answer_made_good_on_the_canary_never_raises_the_evidence(
            canary in 1_u64..200, stable in 0_u64..2000, share in 0.001_f64..0.999,
        ) {
            for ratios in [&RATIOS[..], &SENSITIVE] {
                let before = mixture(ratios, canary, stable, share);
                prop_assert!(mixture(ratios, canary - 1, stable, share) <= before + 1e-9);
                prop_assert!(mixture(ratios, canary, stable + 1, share) <= before + 1e-9);
            }
        }

        #[test]
        fn batches_add_up_in_any_order(
            batches in prop::collection::vec((0_u64..50, 0_u64..500), 1..20),
            share in 0.001_f64..0.999,
        ) {
            let increment = |canary, stable| {
                split_increment(canary, stable, share, 5.0, 1.0, 1.5)
            };
            let (canary, stable) = batches.iter().fold((0, 0), |sum, batch| {
                (sum.0 + batch.0, sum.1 + batch.1)
            });
            let whole = increment(canary, stable);
            let parts: f64 = batches.iter().rev().map(|one| increment(one.0, one.1)).sum();
            prop_assert!((whole - parts).abs() <= 1e-9 * whole.abs().max(1.0));
        }
    }
}
