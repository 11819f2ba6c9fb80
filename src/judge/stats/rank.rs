//! Mann and Whitney's test of two series and Hodges and Lehmann's shift between them
//! (decision/SPEC.md 9, parity with Kayenta). Apart from the tests that decide, because it
//! is the fixed-sample test that other tools use, kept for policies that come from them.

use super::super::reading::{float, whole};
use super::gamma::erfc;
use super::sample::SampleError;
use super::sample::check;

/// What the test says of the canary's series beside stable's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankTest {
    /// Pairs in which the canary's value is the higher one; equal ones count half.
    pub u: f64,
    /// How far that is from the middle, in standard deviations, corrected for ties and
    /// continuity.
    pub z: f64,
    /// The chance of at least that in either direction if both series come from the same
    /// law, 0 to 1.
    pub p_value: f64,
    /// Median of all differences, canary less stable.
    pub shift: f64,
    /// The 98 % confidence interval of the shift: all that the same test would not reject.
    /// Infinite when the series are too short to bound it.
    pub interval: (f64, f64),
}

/// Where the shift lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The canary is lower beyond the tolerance.
    Lower,
    /// Not certainly either.
    Within,
    /// The canary is higher beyond the tolerance.
    Higher,
}

/// Compares two series in any order. Costs their sorting and little memory.
///
/// # Errors
/// A series is empty, or has a value that is not a finite number.
pub fn rank_test(canary: &[f64], stable: &[f64]) -> Result<RankTest, SampleError> {
    check("canary", canary, f64::MIN, f64::MAX)?;
    check("stable", stable, f64::MIN, f64::MAX)?;
    let pairs = Pairs::new(canary, stable);
    let (n, m) = pairs.sizes();
    let ranks = Ranks::of(&pairs.canary, &pairs.stable);
    let u = ranks.canary - n * (n + 1.0) / 2.0;
    let deviation = deviation(n, m, ranks.ties);
    let (z, p_value) = if deviation > 0.0 {
        let z = (u.max(n * m - u) - n * m / 2.0 - 0.5) / deviation;
        (z, erfc(z / std::f64::consts::SQRT_2).min(1.0))
    } else {
        (0.0, 1.0)
    };
    Ok(RankTest { u, z, p_value, shift: pairs.median(), interval: pairs.interval() })
}

impl RankTest {
    /// The side of the interval, where shifts up to `tolerance` times the estimated one
    /// count as none (Kayenta: 0.25).
    #[must_use]
    pub fn side(&self, tolerance: f64) -> Side {
        let bound = tolerance * self.shift.abs();
        if self.interval.0 > bound {
            Side::Higher
        } else if self.interval.1 < -bound {
            Side::Lower
        } else {
            Side::Within
        }
    }
}

/// All differences of two sorted series, none of them stored.
struct Pairs {
    canary: Vec<f64>,
    stable: Vec<f64>,
}

impl Pairs {
    fn new(canary: &[f64], stable: &[f64]) -> Self {
        let sorted = |values: &[f64]| {
            let mut values = values.to_vec();
            values.sort_by(f64::total_cmp);
            values
        };
        Self { canary: sorted(canary), stable: sorted(stable) }
    }

    fn sizes(&self) -> (f64, f64) {
        (float(self.canary.len() as u64), float(self.stable.len() as u64))
    }

    fn count(&self) -> u64 {
        self.canary.len() as u64 * self.stable.len() as u64
    }

    fn median(&self) -> f64 {
        let count = self.count();
        self.nth(count.div_ceil(2)).midpoint(self.nth(count / 2 + 1))
    }

    /// The shifts that the test does not reject at 2 %. A shift that is no difference
    /// itself leaves only the ties within each series.
    fn interval(&self) -> (f64, f64) {
        let (n, m) = self.sizes();
        let ties = ties(&self.canary) + ties(&self.stable);
        let most = n * m / 2.0 + 0.5 + NORMAL_99 * deviation(n, m, ties);
        let (most, count) = (whole(most), self.count());
        if most >= count {
            return (f64::NEG_INFINITY, f64::INFINITY);
        }
        (self.nth(count - most), self.nth(most + 1))
    }

    /// The difference of that rank, ascending from 1: the smallest number that so many
    /// differences do not exceed, found by halving the range of all numbers.
    fn nth(&self, rank: u64) -> f64 {
        let (mut low, mut high) = (
            ordinal(self.canary[0] - self.stable[self.stable.len() - 1]),
            ordinal(self.canary[self.canary.len() - 1] - self.stable[0]),
        );
        while low < high {
            let middle = low.midpoint(high - 1);
            if self.up_to(number(middle)) >= rank {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        number(low)
    }

    /// How many differences are at most `bound`.
    fn up_to(&self, bound: f64) -> u64 {
        let (mut first, mut count) = (0, 0);
        for value in &self.canary {
            let more = self.stable[first..].iter();
            first += more.take_while(|other| value - **other > bound).count();
            count += (self.stable.len() - first) as u64;
        }
        count
    }
}

/// The canary's ranks among all values, and what ties take from their spread.
struct Ranks {
    canary: f64,
    ties: f64,
}

impl Ranks {
    fn of(canary: &[f64], stable: &[f64]) -> Self {
        let (mut i, mut j) = (0, 0);
        let mut ranks = Self { canary: 0.0, ties: 0.0 };
        while i < canary.len() || j < stable.len() {
            let next = |side: &[f64], at: usize| side.get(at).copied();
            let value = match (next(canary, i), next(stable, j)) {
                (Some(one), Some(two)) => one.min(two),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => break,
            };
            let block = |side: &[f64]| side.iter().take_while(|v| **v <= value).count();
            let (mine, theirs) = (block(&canary[i..]), block(&stable[j..]));
            let before = float((i + j) as u64);
            (i, j) = (i + mine, j + theirs);
            let tied = float((mine + theirs) as u64);
            ranks.canary += float(mine as u64) * (before + (tied + 1.0) / 2.0);
            ranks.ties += tied.powi(3) - tied;
        }
        ranks
    }
}

fn ties(sorted: &[f64]) -> f64 {
    Ranks::of(sorted, &[]).ties
}

fn deviation(n: f64, m: f64, ties: f64) -> f64 {
    let all = n + m;
    (n * m / 12.0 * ((all + 1.0) - ties / (all * (all - 1.0)))).max(0.0).sqrt()
}

/// The place of a number among all numbers in order.
fn ordinal(number: f64) -> i64 {
    let bits = number.to_bits().cast_signed();
    if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits }
}

fn number(ordinal: i64) -> f64 {
    let bits = if ordinal < 0 { i64::MIN.wrapping_sub(ordinal) } else { ordinal };
    f64::from_bits(bits.cast_unsigned())
}

/// The normal law's quantile of 99 %: one in a hundred on either side.
const NORMAL_99: f64 = 2.326_347_874_040_841;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::vectors::assert_near;
    use super::super::vectors::cases;
    use super::super::vectors::real;
    use super::super::vectors::reals;
    use super::{Pairs, SampleError, Side, number, ordinal, rank_test};

    #[test]
    fn tests_are_those_of_the_reference() {
        for case in cases!("mann_whitney") {
            let got = rank_test(&reals(&case["x"]), &reals(&case["y"])).unwrap();
            assert_near(got.u, real(&case["U"]), 1e-9, &case);
            assert_near(got.z, real(&case["z"]), 1e-9, &case);
            assert_near(got.p_value, real(&case["p_two_sided"]), 1e-9, &case);
        }
    }

    #[test]
    fn a_shift_is_estimated_and_bounded() {
        let stable: Vec<f64> = (0..30_u32).map(|i| f64::from(i * 7 % 30)).collect();
        for (shift, sides) in [
            (0.0, [Side::Within, Side::Within]),
            (40.0, [Side::Higher, Side::Higher]),
            (-40.0, [Side::Lower, Side::Lower]),
            (9.0, [Side::Higher, Side::Within]),
        ] {
            let canary: Vec<f64> = stable.iter().map(|value| value + shift).collect();
            let got = rank_test(&canary, &stable).unwrap();
            assert!((got.shift - shift).abs() < 1e-9, "{got:?}");
            assert!(got.interval.0 < shift && shift < got.interval.1, "{got:?}");
            assert_eq!([0.0, 0.5].map(|tolerance| got.side(tolerance)), sides, "{got:?}");
        }
    }

    #[test]
    fn the_interval_is_where_the_test_stops_rejecting() {
        let canary = [3.1, 4.7, 5.2, 6.9, 8.4, 9.3, 10.8, 11.5];
        let stable = [0.2, 1.4, 2.3, 3.9, 4.4, 5.5, 6.1, 7.7, 8.8];
        let (low, high) = rank_test(&canary, &stable).unwrap().interval;
        for (shift, rejected) in [
            (low - 1e-6, true),
            (low + 1e-6, false),
            (high - 1e-6, false),
            (high + 1e-6, true),
        ] {
            let moved: Vec<f64> = canary.iter().map(|value| value - shift).collect();
            let got = rank_test(&moved, &stable).unwrap();
            assert_eq!(got.p_value < 0.02, rejected, "{shift}: {got:?}");
        }
    }

    #[test]
    fn short_and_constant_series_bound_nothing() {
        let one = rank_test(&[5.0], &[1.0]).unwrap();
        assert!(one.interval.0.is_infinite() && one.interval.1.is_infinite());
        assert_eq!(one.side(0.25), Side::Within);
        let same = rank_test(&[2.0; 5], &[2.0; 9]).unwrap();
        assert!(same.p_value >= 1.0 && same.shift.abs() < 1e-12, "{same:?}");
    }

    #[test]
    fn faulty_series_are_refused() {
        let not = SampleError::NotANumber { sample: "stable", place: 1 };
        assert_eq!(rank_test(&[1.0], &[1.0, f64::NAN]), Err(not));
        assert_eq!(rank_test(&[], &[1.0]), Err(SampleError::Empty { sample: "canary" }));
        assert!(rank_test(&[f64::INFINITY], &[1.0]).is_err());
    }

    proptest! {
        #[test]
        fn both_directions_mirror(
            x in prop::collection::vec(-20_i8..20, 1..25),
            y in prop::collection::vec(-20_i8..20, 1..25),
        ) {
            let x: Vec<f64> = x.into_iter().map(f64::from).collect();
            let y: Vec<f64> = y.into_iter().map(f64::from).collect();
            let (one, two) = (rank_test(&x, &y).unwrap(), rank_test(&y, &x).unwrap());
            let pairs = super::float(x.len() as u64 * y.len() as u64);
            prop_assert!((one.u + two.u - pairs).abs() < 1e-9);
            prop_assert!((one.p_value - two.p_value).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&one.p_value));
            prop_assert!((one.shift + two.shift).abs() < 1e-9);
            let ends = (one.interval, two.interval);
            prop_assert!(ends.0.0.is_infinite() || (ends.0.0 + ends.1.1).abs() < 1e-9);
            prop_assert!(one.interval.0 <= one.shift && one.shift <= one.interval.1);
        }

        #[test]
        fn ranks_are_those_of_all_differences_written_out(
            x in prop::collection::vec(-1e3_f64..1e3, 1..12),
            y in prop::collection::vec(-1e3_f64..1e3, 1..12),
        ) {
            let pairs = Pairs::new(&x, &y);
            let differences = x.iter().flat_map(|x| y.iter().map(move |y| x - y));
            let mut all: Vec<f64> = differences.collect();
            all.sort_by(f64::total_cmp);
            for (known, rank) in all.iter().zip(1..) {
                let got = pairs.nth(rank);
                prop_assert!((got - known).abs() <= 0.0, "{rank}: {got} {known}");
            }
        }

        #[test]
        fn numbers_in_order_have_places_in_order(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert!((number(ordinal(a)) - a).abs() <= 0.0 || a.is_infinite());
            prop_assert_eq!(ordinal(a) < ordinal(b), a < b);
        }
    }
}
