//! How likely chance alone explains what was seen: exact binomial tails, kept as logarithms.
//!
//! Apart from the comparison because it is arithmetic that can be checked against known
//! numbers. Nothing here is approximated in the direction of a false alarm: where a sum is
//! cut off, its remainder is bounded from above.

use super::reading::float;

/// A limit counts as broken when chance explains the excess less often than this, per
/// reading. A day of readings four times a second is 345,600, but the readings of one
/// window share nearly all their data, so that few of them are new tries.
pub(super) const SURE: f64 = 1e-5;

/// ln of the chance of at least `hits` hits in `tries` independent tries of chance `p` each.
///
/// Exact to about nine digits up to a billion tries. At or below the expected number of
/// hits the answer is 0 (a chance of one): that few hits are no evidence at all.
pub(super) fn ln_at_least(hits: u64, tries: u64, p: f64) -> f64 {
    if hits > tries {
        return f64::NEG_INFINITY;
    }
    if hits == 0 || p >= 1.0 || float(hits) <= float(tries) * p {
        return 0.0;
    }
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    let odds = p / (1.0 - p);
    let (mut term, mut sum) = (1.0, 1.0);
    // Above the mean each term is smaller than the one before by a factor that itself
    // shrinks, so that a geometric series bounds whatever has not been summed.
    for at in (hits..tries).take(MOST_TERMS) {
        let factor = odds * float(tries - at) / float(at + 1);
        let rest = term * factor / (1.0 - factor);
        if rest <= sum * NEGLIGIBLE {
            return (ln_exactly(hits, tries, p) + sum.ln()).min(0.0);
        }
        term *= factor;
        sum += term;
    }
    let last = hits.saturating_add(MOST_TERMS as u64).min(tries);
    let factor = odds * float(tries - last) / float(last + 1);
    (ln_exactly(hits, tries, p) + (sum + term * factor / (1.0 - factor)).ln()).min(0.0)
}

/// ln of the chance of exactly `hits` hits, `0 < p < 1`.
fn ln_exactly(hits: u64, tries: u64, p: f64) -> f64 {
    let misses = tries - hits;
    ln_factorial(tries) - ln_factorial(hits) - ln_factorial(misses)
        + float(hits) * p.ln()
        + float(misses) * (-p).ln_1p()
}

/// ln(n!), by multiplication while that is exact and by Stirling's series after.
fn ln_factorial(n: u64) -> f64 {
    if n < 20 {
        return (2..=n).map(float).product::<f64>().ln();
    }
    let x = float(n);
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square / 1_260.0));
    (x + 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series
}

/// Bounds the work of one tail to some ten microseconds; what is left is bounded from above.
const MOST_TERMS: usize = 5_000;
/// A remainder this small does not change the ninth digit.
const NEGLIGIBLE: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{SURE, ln_at_least, ln_factorial};
    use crate::judge::reading::float;

    #[test]
    fn tails_are_those_of_exact_fractions() {
        // ln of sums of `math.comb(n, i) * p**i * (1-p)**(n-i)` in rational arithmetic.
        for (hits, tries, p, known) in [
            (1, 1, 0.5, -std::f64::consts::LN_2),
            (5, 5, 0.1, -11.512_925_464_970_229),
            (4, 50, 0.05, -1.428_817_639_294_925_7),
            (12, 50, 0.05, -12.211_508_995_314_578),
            (50, 50, 0.05, -149.786_613_677_699_56),
            (11, 200, 0.01, -11.886_634_611_912_744),
            (30, 1_000, 0.01, -15.395_395_080_321_011),
            (16, 1_000, 0.01, -3.039_254_039_221_683_4),
            (180, 3_000, 0.05, -4.837_888_125_109_151),
            (60, 100, 0.5, -3.559_819_203_446_907),
            (1_100, 2_000, 0.5, -12.373_652_650_632_971),
            (700, 5_000, 0.1, -43.024_565_344_080_486),
        ] {
            let ours = ln_at_least(hits, tries, p);
            assert!((ours - known).abs() < 1e-9 * known.abs(), "{hits}/{tries}: {ours}");
        }
    }

    #[test]
    fn the_edges_are_certain_or_impossible() {
        assert!(ln_at_least(0, 10, 0.1) >= 0.0);
        assert!(ln_at_least(3, 10, 1.0) >= 0.0);
        assert!(ln_at_least(0, 0, 0.5) >= 0.0);
        assert!(ln_at_least(11, 10, 0.5).is_infinite());
        assert!(ln_at_least(1, 10, 0.0).is_infinite());
        assert!(ln_at_least(5, 100, 0.05) >= 0.0, "as many as expected are no evidence");
    }

    #[test]
    fn huge_counts_are_bounded_in_work_and_near_the_normal_tail() {
        // Five standard deviations above the mean: the normal tail is 2.87e-7.
        let tries = 1_000_000_000_000_u64;
        let (mean, deviation) = (10_000_000_000_u64, 99_498);
        let chance = ln_at_least(mean + 5 * deviation, tries, 0.01).exp();
        assert!((2.6e-7..3.2e-7).contains(&chance), "{chance}");
        assert!(ln_at_least(mean + 3 * deviation, tries, 0.01).exp() > SURE);
    }

    #[test]
    fn factorials_join_without_a_step() {
        for n in 15..40_u64 {
            let grown = ln_factorial(n) + float(n + 1).ln();
            assert!((ln_factorial(n + 1) - grown).abs() < 1e-11, "{n}");
        }
    }

    proptest! {
        #[test]
        fn more_hits_are_never_likelier(
            tries in 1_u64..20_000, share in 0.0_f64..1.0, p in 0.0001_f64..0.9999,
        ) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of tries is between 0 and tries"
            )]
            let hits = (float(tries) * share) as u64;
            let (here, next) = (ln_at_least(hits, tries, p), ln_at_least(hits + 1, tries, p));
            assert!(here <= 0.0 && next <= here + 1e-9, "{here} {next}");
        }
    }
}
