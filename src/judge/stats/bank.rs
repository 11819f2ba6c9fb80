//! The bank of latency tests (decision/SPEC.md 4.2 to 4.4): nine ways in which the canary's
//! times could be worse than stable's, each a table of how much more likely a bin then is.
//! Apart from the split test because a time says more than whether it was over a limit.

use super::super::reading::float;
use super::super::sums::BINS;

/// How many alternatives there are: four scales, three tails and two bodies.
pub const ALTERNATIVES: usize = 9;

const BINS_PER_OCTAVE: f64 = 4.0;
/// Everything that many times slower, relative to the ratio that the rule allows.
const SCALES: [f64; 4] = [1.0, 4.0 / 3.0, 8.0 / 3.0, 20.0 / 3.0];
/// The share of answers beyond the allowed multiple of stable's p99, and the least multiple
/// of stable's own share there.
const TAILS: ([f64; 3], f64) = ([0.03, 0.1, 0.4], 3.0);
/// The same beyond stable's p90.
const BODIES: ([f64; 2], f64) = ([0.25, 0.6], 2.2);
/// How far a table goes.
const LIKELIER: (f64, f64) = (0.02, 1000.0);
/// Added to both laws before they are divided.
const FLOOR: f64 = 1e-9;
/// Stable's share of a tail is taken to be at least this.
const LEAST_TAIL: f64 = 1e-5;

/// What stable's times look like, and the alternatives to them.
#[derive(Clone, Debug)]
pub struct Tables {
    counts: [f64; BINS],
    h0: [f64; BINS],
    tail_bin: usize,
    rho: [[f64; BINS]; ALTERNATIVES],
    runs: [Vec<Run>; ALTERNATIVES],
}

/// Neighbouring bins with the same value in a table.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// The bin after the last one.
    end: usize,
    rho: f64,
    log: f64,
}

impl Tables {
    /// Tables from stable's counts by bin, which may have faded and so be fractions, for a
    /// rule that allows `ratio` times stable's p99, at least 1.
    #[must_use]
    pub fn new(counts: &[f64; BINS], ratio: f64) -> Self {
        let ratio = ratio.max(1.0);
        let h0 = smooth(counts);
        let tail_bin = tail_bin_of(quantile_bin(counts, 0.99), ratio);
        let body_bin = (quantile_bin(counts, 0.9) + 1).min(BINS - 1);
        let mut rho = [[1.0; BINS]; ALTERNATIVES];
        let (scales, rest) = rho.split_at_mut(SCALES.len());
        let (tails, bodies) = rest.split_at_mut(TAILS.0.len());
        for (table, scale) in scales.iter_mut().zip(SCALES) {
            *table = pava(&shift(&h0, ratio * scale), &h0);
        }
        for (table, share) in tails.iter_mut().zip(TAILS.0) {
            *table = tail(&h0, tail_bin, share, TAILS.1);
        }
        for (table, share) in bodies.iter_mut().zip(BODIES.0) {
            *table = tail(&h0, body_bin, share, BODIES.1);
        }
        let runs = std::array::from_fn(|place| runs_of(&rho[place]));
        Self { counts: *counts, h0, tail_bin, rho, runs }
    }

    /// ln of the evidence of one bucket for each alternative (decision/SPEC.md 4.4), from
    /// the good answers by bin; nothing when a version has none. `phi` is at least 1.
    #[must_use]
    pub fn increments(
        &self,
        canary: &[u64; BINS],
        stable: &[u64; BINS],
        phi: f64,
    ) -> [f64; ALTERNATIVES] {
        let (canary, stable) = (below(canary), below(stable));
        let totals = (canary[BINS], stable[BINS]);
        if totals.0 == 0 || totals.1 == 0 {
            return [0.0; ALTERNATIVES];
        }
        let share = float(totals.0) / float(totals.0 + totals.1);
        std::array::from_fn(|place| {
            let (mut sum, mut start) = (0.0, 0);
            for run in &self.runs[place] {
                let mine = canary[run.end] - canary[start];
                let all = mine + stable[run.end] - stable[start];
                start = run.end;
                if all > 0 {
                    let expected = (share * run.rho + 1.0 - share).ln();
                    sum += float(mine) * run.log - float(all) * expected;
                }
            }
            sum / phi
        })
    }

    /// ln of the evidence of one bucket without a stable beside it, for each alternative:
    /// stable's law stands for it (decision/SPEC.md 5). `phi` is at least 1.
    #[must_use]
    pub fn one_sample(&self, counts: &[u64; BINS], phi: f64) -> [f64; ALTERNATIVES] {
        let counts = below(counts);
        std::array::from_fn(|place| {
            let mut start = 0;
            let runs = self.runs[place].iter().map(|run| {
                let inside = counts[run.end] - counts[start];
                start = run.end;
                float(inside) * run.log
            });
            runs.sum::<f64>() / phi
        })
    }

    /// How much likelier each bin is under an alternative than under stable's law.
    #[must_use]
    pub fn table(&self, alternative: usize) -> &[f64; BINS] {
        &self.rho[alternative]
    }

    /// Stable's law: the share of each bin, smoothed and never nothing.
    #[must_use]
    pub fn h0(&self) -> &[f64; BINS] {
        &self.h0
    }

    /// The first bin that is wholly beyond the allowed multiple of stable's p99.
    #[must_use]
    pub fn tail_bin(&self) -> usize {
        self.tail_bin
    }

    /// The bin of stable's p99.
    #[must_use]
    pub fn p99_bin(&self) -> usize {
        self.quantile_bin(0.99)
    }

    /// Stable's share at or beyond a bin.
    #[must_use]
    pub fn mass_from(&self, bin: usize) -> f64 {
        self.h0.iter().skip(bin).sum()
    }

    /// The bin of a quantile, 0 to 1, of stable's counts.
    #[must_use]
    pub fn quantile_bin(&self, quantile: f64) -> usize {
        quantile_bin(&self.counts, quantile)
    }
}

/// The first bin wholly beyond so many times the upper end of p99's bin, within the bins.
fn tail_bin_of(p99_bin: usize, ratio: f64) -> usize {
    let beyond = (BINS_PER_OCTAVE * ratio.log2()).ceil();
    (0..BINS - 1).find(|bin| real(*bin) >= real(p99_bin) + beyond).unwrap_or(BINS - 1)
}

/// How many are below each bin, and below the end.
fn below(counts: &[u64; BINS]) -> [u64; BINS + 1] {
    let mut sums = [0; BINS + 1];
    for (bin, count) in counts.iter().enumerate() {
        sums[bin + 1] = sums[bin] + count;
    }
    sums
}

/// Counts as shares: half of each bin spread over its neighbours, and one count over all.
pub(super) fn smooth<const N: usize>(counts: &[f64; N]) -> [f64; N] {
    let spread: [f64; N] = std::array::from_fn(|bin| {
        let before = counts[bin.saturating_sub(1)];
        let after = counts[(bin + 1).min(N - 1)];
        counts[bin] * 0.5 + before * 0.25 + after * 0.25 + 1.0 / real(N)
    });
    let total: f64 = spread.iter().sum();
    spread.map(|share| share / total)
}

/// The law of times `factor` times as long: the distribution of `h0`, straight within a
/// bin, moved along the bins.
fn shift(h0: &[f64; BINS], factor: f64) -> [f64; BINS] {
    let moved = BINS_PER_OCTAVE * factor.log2();
    let mut sums = [0.0; BINS + 1];
    for (bin, share) in h0.iter().enumerate() {
        sums[bin + 1] = sums[bin] + share;
    }
    let until = |place: f64| {
        if place <= 0.0 {
            return 0.0;
        }
        let bin = whole(place);
        if bin >= BINS {
            return 1.0;
        }
        sums[bin] + (place - real(bin)) * (sums[bin + 1] - sums[bin])
    };
    std::array::from_fn(|bin| {
        let low = if bin == 0 { 0.0 } else { until(real(bin) - moved) };
        let high = if bin == BINS - 1 { 1.0 } else { until(real(bin + 1) - moved) };
        (high - low).max(0.0)
    })
}

/// The nondecreasing table closest to h1/h0 where h0 has its weight: neighbours in the wrong
/// order are pooled.
pub(super) fn pava<const N: usize>(h1: &[f64; N], h0: &[f64; N]) -> [f64; N] {
    let mut pools = [(0.0, 0.0, 0_usize); N];
    let mut last = 0;
    for bin in 0..N {
        pools[last] = (h1[bin] + FLOOR, h0[bin] + FLOOR, bin + 1);
        while last > 0
            && pools[last - 1].0 * pools[last].1 >= pools[last].0 * pools[last - 1].1
        {
            let pool = pools[last];
            last -= 1;
            pools[last] = (pools[last].0 + pool.0, pools[last].1 + pool.1, pool.2);
        }
        last += 1;
    }
    let mut table = [0.0; N];
    let mut start = 0;
    for (over, under, end) in &pools[..last] {
        table[start..*end].fill((over / under).clamp(LIKELIER.0, LIKELIER.1));
        start = *end;
    }
    table
}

/// The table of "`share` of the answers are at or beyond `bin`", or `multiple` times as many
/// as stable has there.
fn tail(h0: &[f64; BINS], bin: usize, share: f64, multiple: f64) -> [f64; BINS] {
    let mass: f64 = h0[bin..].iter().sum();
    let share = share.max((multiple * mass).min(0.99));
    let mass = mass.max(LEAST_TAIL);
    let mut table = [((1.0 - share) / (1.0 - mass)).max(LIKELIER.0); BINS];
    table[bin..].fill((share / mass).min(LIKELIER.1));
    table
}

fn runs_of(table: &[f64; BINS]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::with_capacity(BINS);
    for (bin, rho) in table.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.rho.to_bits() == rho.to_bits() => run.end = bin + 1,
            _ => runs.push(Run { end: bin + 1, rho: *rho, log: rho.ln() }),
        }
    }
    runs
}

/// The bin in which a quantile of the counts lies; the last occupied one when fractions of
/// counts sum to less than a whole one more.
fn quantile_bin(counts: &[f64; BINS], quantile: f64) -> usize {
    let total = counts.iter().fold(0.0, |sum, count| sum + count);
    let enough = (quantile * total).ceil().min(total);
    let mut sum = 0.0;
    for (bin, count) in counts.iter().enumerate() {
        sum += count;
        if sum >= enough {
            return bin;
        }
    }
    BINS - 1
}

fn real(bin: usize) -> f64 {
    float(bin as u64)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place among the bins: above 0, and beyond the last is the last"
)]
fn whole(place: f64) -> usize {
    place.floor().min(real(BINS)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::sums::bin_of;
    use super::super::log::log_sum_exp;
    use super::super::vectors::assert_near;
    use super::super::vectors::cases;
    use super::super::vectors::count;
    use super::super::vectors::counts;
    use super::super::vectors::list;
    use super::super::vectors::real;
    use super::super::vectors::reals;
    use super::{ALTERNATIVES, BINS, Tables, shift};

    fn bins<T: Copy + std::fmt::Debug>(list: &[T]) -> [T; BINS] {
        list.try_into().unwrap()
    }

    fn assert_all(got: &[f64], expected: &serde_json::Value, what: &str) {
        assert_eq!(got.len(), list(expected).len(), "{what}");
        for (got, expected) in got.iter().zip(reals(expected)) {
            assert_near(*got, expected, 1e-12 * expected.abs().max(1.0), &what.into());
        }
    }

    #[test]
    fn tables_and_increments_are_those_of_the_reference() {
        for case in cases!("latency_bank") {
            let tables = Tables::new(&bins(&reals(&case["stable_counts"])), 1.5);
            assert_all(tables.h0(), &case["h0"], "h0");
            assert_all(&shift(tables.h0(), 1.5), &case["shifted_1p5"], "shifted");
            for (got, name) in [
                (tables.p99_bin(), "p99_bin"),
                (tables.quantile_bin(0.9), "p90_bin"),
                (tables.tail_bin(), "tail_bin"),
            ] {
                assert_eq!(got as u64, count(&case[name]), "{name}");
            }
            for (place, table) in list(&case["alternatives"]).iter().enumerate() {
                assert_all(tables.table(place), table, "alternative");
            }
            let (canary, stable) = (&case["bucket_canary"], &case["bucket_stable"]);
            let (canary, stable) = (bins(&counts(canary)), bins(&counts(stable)));
            let got = tables.increments(&canary, &stable, 1.0);
            assert_all(&got, &case["ln_increments"], "increments");
            let got = tables.increments(&stable, &canary, 1.0);
            assert_all(&got, &case["ln_increments_swapped"], "swapped");
        }
    }

    #[test]
    fn bins_of_whole_microseconds_are_those_of_the_reference() {
        let mut checked = 0;
        for case in cases!("latency_bins") {
            let micros = real(&case["us"]);
            if micros.fract().abs() < f64::EPSILON {
                let micros = format!("{micros:.0}").parse().unwrap();
                assert_eq!(bin_of(micros) as u64, count(&case["bin"]), "{case}");
                checked += 1;
            }
        }
        assert!(checked > 5);
    }

    #[test]
    fn the_allowed_ratio_moves_the_tail() {
        let stable = some_counts();
        let tail = |ratio| {
            let tables = Tables::new(&stable, ratio);
            tables.tail_bin() - tables.p99_bin()
        };
        for (ratio, bins) in [(0.5, 0), (1.0, 0), (1.5, 3), (2.0, 4), (4.0, 8)] {
            assert_eq!(tail(ratio), bins, "{ratio}");
        }
        assert_eq!(Tables::new(&stable, 1e9).tail_bin(), BINS - 1);
    }

    #[test]
    fn few_and_faded_counts_have_a_p99_among_them() {
        let mut counts = [0.0; BINS];
        (counts[30], counts[40]) = (0.3, 0.2);
        assert_eq!(Tables::new(&counts, 1.5).p99_bin(), 40);
        let nothing = Tables::new(&[0.0; BINS], 1.5);
        assert!(nothing.table(0).iter().all(|rho| rho.is_finite() && *rho > 0.0));
        assert!((nothing.mass_from(0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_version_without_answers_is_no_evidence() {
        let tables = Tables::new(&some_counts(), 1.5);
        let (none, mut some) = ([0; BINS], [0; BINS]);
        some[60] = 500;
        for (canary, stable) in [(&some, &none), (&none, &some), (&none, &none)] {
            let got = tables.increments(canary, stable, 1.0);
            assert_eq!(got.map(f64::to_bits), [0_f64.to_bits(); ALTERNATIVES]);
        }
    }

    fn some_counts() -> [f64; BINS] {
        let mut counts = [0.0; BINS];
        let shape =
            [3.0, 20.0, 90.0, 220.0, 260.0, 180.0, 90.0, 40.0, 20.0, 8.0, 3.0, 1.0];
        counts[28..40].copy_from_slice(&shape);
        counts
    }

    fn spread(answers: &[usize]) -> [u64; BINS] {
        let mut bins = [0; BINS];
        answers.iter().for_each(|bin| bins[*bin] += 1);
        bins
    }

    proptest! {
        #[test]
        fn a_faster_answer_of_the_canary_never_raises_the_evidence(
            mut canary in prop::collection::vec(1_usize..BINS, 1..40),
            stable in prop::collection::vec(0_usize..BINS, 1..200),
            faster in 0_usize..BINS, ratio in 1.0_f64..4.0,
        ) {
            let tables = Tables::new(&some_counts(), ratio);
            let stable = spread(&stable);
            let before = tables.increments(&spread(&canary), &stable, 1.0);
            canary[0] = canary[0].min(faster);
            let after = tables.increments(&spread(&canary), &stable, 1.0);
            for (after, before) in after.iter().zip(before) {
                prop_assert!(*after <= before + 1e-9);
            }
            prop_assert!(log_sum_exp(&after) <= log_sum_exp(&before) + 1e-9);
        }

        #[test]
        fn tables_never_fall_whatever_stable_did(
            stable in prop::collection::vec(0_usize..BINS, 0..400), ratio in 1.0_f64..4.0,
        ) {
            let stable = spread(&stable).map(super::float);
            let tables = Tables::new(&stable, ratio);
            for alternative in 0..ALTERNATIVES {
                let table = tables.table(alternative);
                prop_assert!(table.windows(2).all(|pair| pair[0] <= pair[1]), "{table:?}");
            }
        }
    }
}
