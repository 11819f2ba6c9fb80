//! Do two samples of outputs come from the same law? Kolmogorov and Smirnov's test and the
//! drift rule that stands on it (decision/SPEC.md 6). Apart from the sequential drift tests
//! because it looks at whole windows and not at one bucket after another.

use super::super::reading::float;
use super::sample::SampleError;
use super::sample::check_sorted;

/// What the test says of two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KsResult {
    /// The largest difference of the two distribution functions, 0 to 1.
    pub distance: f64,
    /// The chance of at least that distance if both samples come from the same law, 0 to 1.
    pub p_value: f64,
    /// Whether the chance was counted, or comes from Stephens' correction of the limit.
    pub exact: bool,
}

/// Compares two samples, each in ascending order (decision/SPEC.md 6). The chance is exact
/// without ties and too high with them, so that ties never make a drift. While the product
/// of both sizes is at most 10^8 it is counted, in a time that grows with that product and
/// with the distance: 10,000 beside 3,000 take some 20 ms at 0.1 and 100 ms at 0.9, too
/// long for a tick.
///
/// # Errors
/// A sample is empty, out of order, or has a value that is no number.
pub fn ks_test(
    baseline_sorted: &[f64],
    window_sorted: &[f64],
) -> Result<KsResult, SampleError> {
    check_sorted("baseline", baseline_sorted)?;
    check_sorted("window", window_sorted)?;
    let lattice = Lattice::new(baseline_sorted.len(), window_sorted.len());
    let steps = lattice.distance(baseline_sorted, window_sorted);
    let distance = lattice.share(steps);
    let exact = lattice.is_small();
    let p_value = if exact { lattice.chance(steps) } else { lattice.stephens(distance) };
    Ok(KsResult { distance, p_value, exact })
}

/// The chance that Kolmogorov's limiting distance is above `x` (decision/SPEC.md 6), 0 to
/// 1; not a number if `x` is none.
#[must_use]
pub fn kolmogorov_sf(x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x < 1.18 {
        let y = (-std::f64::consts::PI.powi(2) / (8.0 * x * x)).exp();
        let sum = y + y.powi(9) + y.powi(25) + y.powi(49);
        return (1.0 - std::f64::consts::TAU.sqrt() / x * sum).clamp(0.0, 1.0);
    }
    let y = (-2.0 * x * x).exp();
    (2.0 * (y - y.powi(4) + y.powi(9) - y.powi(16))).clamp(0.0, 1.0)
}

/// The drift rule: so many checks running are significant and of some size.
#[derive(Clone, Debug)]
pub struct DriftStreak {
    needed: u32,
    below: f64,
    least_distance: f64,
    run: u32,
}

impl Default for DriftStreak {
    /// Three checks with p below 0.05 and a distance of at least 0.1: with large windows a
    /// difference that means nothing is significant too.
    fn default() -> Self {
        Self { least_distance: 0.1, ..Self::literal() }
    }
}

impl DriftStreak {
    /// Three checks with p below 0.05, however small the distance.
    #[must_use]
    pub fn literal() -> Self {
        Self { needed: 3, below: 0.05, least_distance: 0.0, run: 0 }
    }

    /// The same beside the streaks of other outputs or inputs, so many in all, at least 1:
    /// p must be smaller by as much.
    #[must_use]
    pub fn among(self, features: u32) -> Self {
        Self { below: self.below / f64::from(features.max(1)), ..self }
    }

    /// Takes the result of the next check; true when it is drift. Windows of checks must
    /// not overlap.
    pub fn check(&mut self, result: &KsResult) -> bool {
        let counts =
            result.p_value < self.below && result.distance >= self.least_distance;
        self.run = if counts { self.run.saturating_add(1) } else { 0 };
        self.run >= self.needed
    }

    /// A check was due and there was nothing to check: the run is over.
    pub fn skip(&mut self) {
        self.run = 0;
    }

    /// How many checks running have counted.
    #[must_use]
    pub fn run(&self) -> u32 {
        self.run
    }
}

/// The paths of two samples merged in order, as steps on a grid of `rows` by `columns`.
#[derive(Clone, Copy, Debug)]
struct Lattice {
    rows: u64,
    columns: u64,
    /// A distance is a whole number of steps of one in `rows * per_row`, where a value of
    /// the first sample moves it by `per_row` and one of the second by `per_column`.
    per_row: u64,
    per_column: u64,
}

impl Lattice {
    fn new(rows: usize, columns: usize) -> Self {
        let (rows, columns) = (rows as u64, columns as u64);
        let divisor = greatest_divisor(rows, columns);
        Self { rows, columns, per_row: columns / divisor, per_column: rows / divisor }
    }

    fn is_small(self) -> bool {
        self.rows.saturating_mul(self.columns) <= COUNTED
    }

    fn share(self, steps: u64) -> f64 {
        float(steps) / float(self.rows * self.per_row)
    }

    /// The largest difference after a block of equal values, in steps.
    fn distance(self, first: &[f64], second: &[f64]) -> u64 {
        let (mut i, mut j, mut largest) = (0, 0, 0);
        while i < first.len() && j < second.len() {
            let value = first[i].min(second[j]);
            i += first[i..].iter().take_while(|next| **next <= value).count();
            j += second[j..].iter().take_while(|next| **next <= value).count();
            let apart = (i as u64 * self.per_row).abs_diff(j as u64 * self.per_column);
            largest = largest.max(apart);
        }
        largest
    }

    /// The chance of at least so many steps: the share of all paths that leave the band
    /// around the diagonal, row by row. Every cell holds the share of the paths to it that
    /// have left, so that small chances keep all their digits and nothing overflows.
    fn chance(self, steps: u64) -> f64 {
        if steps == 0 {
            return 1.0;
        }
        if self.columns > self.rows {
            return self.transposed().chance(steps);
        }
        let cell = |column: u64| usize::try_from(column).unwrap_or(usize::MAX);
        let mut row = vec![1.0; cell(self.columns) + 1];
        for i in 0..=self.rows {
            let here = i * self.per_row;
            let first = here.checked_sub(steps).map_or(0, |b| b / self.per_column + 1);
            let last = ((here + steps - 1) / self.per_column).min(self.columns);
            if first > last {
                continue;
            }
            let (above, mut beside) = (float(i), float(first));
            let mut left = if i == 0 { 0.0 } else { 1.0 };
            for up in &mut row[cell(first)..=cell(last)] {
                let paths = (above + beside).max(1.0);
                left = *up * (above / paths) + left * (beside / paths);
                *up = left;
                beside += 1.0;
            }
        }
        row[cell(self.columns)].clamp(0.0, 1.0)
    }

    fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            per_row: self.per_column,
            per_column: self.per_row,
        }
    }

    fn stephens(self, distance: f64) -> f64 {
        let (n, m) = (float(self.rows), float(self.columns));
        let root = (n * m / (n + m)).sqrt();
        kolmogorov_sf((root + 0.12 + 0.11 / root) * distance)
    }
}

fn greatest_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a.max(1) } else { greatest_divisor(b, a % b) }
}

/// Up to so many pairs the chance is counted.
const COUNTED: u64 = 100_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::vectors::assert_near;
    use super::super::vectors::cases;
    use super::super::vectors::count;
    use super::super::vectors::real;
    use super::super::vectors::reals;
    use super::{DriftStreak, KsResult, Lattice, SampleError, kolmogorov_sf, ks_test};

    fn sorted(mut values: Vec<f64>) -> Vec<f64> {
        values.sort_by(f64::total_cmp);
        values
    }

    #[test]
    fn distances_and_chances_are_those_of_the_reference() {
        for case in cases!("ks") {
            let (n, m) = (count(&case["n"]), count(&case["m"]));
            let lattice = Lattice::new(n.try_into().unwrap(), m.try_into().unwrap());
            let distance = real(&case["D"]);
            let stephens = lattice.stephens(distance);
            assert_near(stephens, real(&case["p_stephens"]), 1e-9, &case);
            let exact = case["p_exact"].as_f64();
            let near = |got: f64| {
                let known = exact.unwrap_or(got);
                // Small chances are held to six digits too, and not only to six places.
                assert_near(got, known, 1e-6 * known, &case);
            };
            if exact.is_some() {
                let whole = (0..).find(|s| lattice.share(*s) >= distance - 1e-9);
                near(lattice.chance(whole.unwrap()));
            }
            if !case["x"].is_null() {
                let (x, y) = (sorted(reals(&case["x"])), sorted(reals(&case["y"])));
                let got = ks_test(&x, &y).unwrap();
                assert_near(got.distance, distance, 1e-12, &case);
                assert_eq!(got.exact, exact.is_some());
                near(got.p_value);
            }
        }
    }

    #[test]
    fn ties_are_stepped_over_as_one() {
        for case in cases!("ks_ties") {
            let (x, y) = (sorted(reals(&case["x"])), sorted(reals(&case["y"])));
            let got = ks_test(&x, &y).unwrap();
            assert_near(got.distance, real(&case["D"]), 1e-12, &case);
        }
        let same = ks_test(&[-0.0, 1.0, 1.0], &[0.0, 1.0]).unwrap();
        assert!((same.distance - 1.0 / 6.0).abs() < 1e-15, "{same:?}");
    }

    #[test]
    fn limiting_law_is_the_reference() {
        for case in cases!("kolmogorov_sf") {
            assert_near(
                kolmogorov_sf(real(&case["lam"])),
                real(&case["sf"]),
                1e-12,
                &case,
            );
        }
        assert!(kolmogorov_sf(0.0) >= 1.0 && kolmogorov_sf(-1.0) >= 1.0);
        assert!(kolmogorov_sf(1e-9) >= 1.0 && kolmogorov_sf(50.0) <= 0.0);
        assert!(kolmogorov_sf(f64::NAN).is_nan());
    }

    #[test]
    fn large_samples_use_the_limit() {
        let place = |share: u32| f64::from(share);
        let large: Vec<f64> = (0..20_001).map(place).collect();
        let small: Vec<f64> = (0..5_000).map(|i| place(4 * i)).collect();
        let got = ks_test(&large, &small).unwrap();
        assert!(!got.exact && got.p_value > 0.99, "{got:?}");
        let shifted: Vec<f64> = small.iter().map(|value| value + 1_000.0).collect();
        let got = ks_test(&large, &shifted).unwrap();
        assert!(!got.exact && got.p_value < 1e-6, "{got:?}");
    }

    #[test]
    fn faulty_samples_are_refused() {
        let good = [0.0, 1.0];
        for (bad, fault) in [
            (&[][..], SampleError::Empty { sample: "window" }),
            (&[0.0, f64::NAN], SampleError::NotANumber { sample: "window", place: 1 }),
            (
                &[2.0, 1.0],
                SampleError::Unsorted { sample: "window", place: 1, value: 1.0 },
            ),
        ] {
            assert_eq!(ks_test(&good, bad), Err(fault));
        }
        let fault = ks_test(&[f64::NAN], &good).unwrap_err();
        assert_eq!(fault, SampleError::NotANumber { sample: "baseline", place: 0 });
    }

    #[test]
    fn drift_needs_three_checks_running_and_some_distance() {
        for case in cases!("rules") {
            if case["rule"] != "ks_consecutive" {
                continue;
            }
            let mut streak = DriftStreak::literal();
            let fired = reals(&case["p"]).iter().position(|p_value| {
                streak.check(&KsResult { distance: 0.02, p_value: *p_value, exact: true })
            });
            let expected = case["fire_index"].as_u64();
            assert_eq!(fired.map(|at| at as u64), expected, "{case}");
        }
        let check = |distance| KsResult { distance, p_value: 0.01, exact: true };
        let mut streak = DriftStreak::default();
        for (distance, fires) in [
            (0.1, false),
            (0.2, false),
            (0.099, false),
            (0.1, false),
            (0.3, false),
            (0.1, true),
        ] {
            assert_eq!(streak.check(&check(distance)), fires, "{distance}");
        }
        let mut one_of_ten = DriftStreak::default().among(10);
        assert!(
            (0..9).all(|_| !one_of_ten.check(&check(0.5))),
            "0.01 is not below 0.005"
        );
        streak.skip();
        assert!(!streak.check(&check(0.5)) && streak.run() == 1);
    }

    /// The share of orders of `n` and `m` distinct values that are at least so far apart.
    fn brute(n: usize, m: usize, steps: u64) -> f64 {
        let lattice = Lattice::new(n, m);
        let (mut far, mut all) = (0_u32, 0_u32);
        for order in 0_u32..1 << (n + m) {
            if order.count_ones() as usize != n {
                continue;
            }
            let side = |first: bool| -> Vec<f64> {
                let mine = (0..n + m).filter(|at| (order >> at & 1 == 1) == first);
                mine.map(|at| f64::from(u32::try_from(at).unwrap())).collect()
            };
            all += 1;
            far += u32::from(lattice.distance(&side(true), &side(false)) >= steps);
        }
        f64::from(far) / f64::from(all)
    }

    #[test]
    fn chances_are_those_of_every_order_written_out() {
        for (n, m) in [(1, 1), (1, 4), (3, 3), (4, 6), (5, 4), (6, 3)] {
            let lattice = Lattice::new(n, m);
            for steps in 0..=lattice.rows * lattice.per_row {
                let (ours, known) = (lattice.chance(steps), brute(n, m, steps));
                assert!((ours - known).abs() < 1e-12, "{n} {m} {steps}: {ours} {known}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_order_of_the_samples_does_not_matter(
            x in prop::collection::vec(-5_i8..5, 1..40),
            y in prop::collection::vec(-5_i8..5, 1..40),
        ) {
            let x = sorted(x.into_iter().map(f64::from).collect());
            let y = sorted(y.into_iter().map(f64::from).collect());
            let (one, two) = (ks_test(&x, &y).unwrap(), ks_test(&y, &x).unwrap());
            prop_assert!((one.distance - two.distance).abs() < 1e-15);
            prop_assert!((one.p_value - two.p_value).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&one.p_value));
            prop_assert!(ks_test(&x, &x).unwrap().p_value >= 1.0);
        }
    }
}
