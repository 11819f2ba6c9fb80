//! Scores of outputs, given by people or judges, mostly later than the outputs themselves
//! (decision/SPEC.md 7). Apart from latency because a score has a fixed range and is worse
//! when it is lower; scores that are only right or wrong go through the split test.

use super::super::reading::float;
use super::bank::pava;
use super::bank::smooth;
use super::sample::SampleError;
use super::sample::check;
use super::split::split_increment;

/// How many bins the range of 0 to 1 is cut into; bin 0 holds the best scores.
pub const SCORE_BINS: usize = 20;
/// How far down the whole law of scores is moved by each alternative, in bins: 0.05, 0.1,
/// 0.2 and 0.4.
const MOVES: [usize; SHIFTS] = [1, 2, 4, 8];
/// How many alternatives there are.
pub const SHIFTS: usize = 4;
/// The ratios of wrong answers that are looked for.
pub const WRONG_RATIOS: [f64; 4] = [1.4, 1.8, 2.5, 4.0];

/// ln of the evidence of one batch of answers known to be wrong, for each of
/// [`WRONG_RATIOS`] against "the canary's are not wrong more often". `share`, 0 to 1, is the
/// chance that an answer with feedback was the canary's; `phi` is at least 1.
#[must_use]
pub fn wrong_increments(
    canary: u64,
    stable: u64,
    share: f64,
    phi: f64,
) -> [f64; WRONG_RATIOS.len()] {
    WRONG_RATIOS.map(|ratio| split_increment(canary, stable, share, ratio, 1.0, phi))
}

/// The bin of a score: 0 for the best, [`SCORE_BINS`] less 1 for the worst.
///
/// # Errors
/// The score is not a number from 0 to 1.
pub fn score_bin(score: f64) -> Result<usize, SampleError> {
    check("score", &[score], 0.0, 1.0)?;
    let ends = (1..SCORE_BINS).map(|bin| 1.0 - float(bin as u64) / BINS_PER_UNIT);
    Ok(ends.take_while(|end| score <= *end).count())
}

/// Stable's law of scores and the alternatives to it.
#[derive(Clone, Debug)]
pub struct ScoreTables {
    rho: [[f64; SCORE_BINS]; SHIFTS],
}

impl ScoreTables {
    /// From stable's counts by [`score_bin`], which may have faded and so be fractions.
    #[must_use]
    pub fn new(stable: &[f64; SCORE_BINS]) -> Self {
        let law = smooth(stable);
        Self { rho: MOVES.map(|bins| pava(&moved(&law, bins), &law)) }
    }

    /// ln of the evidence of one bucket for each alternative, from scores by bin; nothing
    /// when a version has none. `phi` is at least 1.
    #[must_use]
    pub fn increments(
        &self,
        canary: &[u64; SCORE_BINS],
        stable: &[u64; SCORE_BINS],
        phi: f64,
    ) -> [f64; SHIFTS] {
        let totals: (u64, u64) = (canary.iter().sum(), stable.iter().sum());
        if totals.0 == 0 || totals.1 == 0 {
            return [0.0; SHIFTS];
        }
        let share = float(totals.0) / float(totals.0 + totals.1);
        self.rho.each_ref().map(|table| {
            let bins = table.iter().zip(canary.iter().zip(stable));
            let terms = bins.map(|(rho, (mine, theirs))| {
                let expected = (share * (rho - 1.0)).ln_1p();
                float(*mine) * rho.ln() - float(mine + theirs) * expected
            });
            terms.sum::<f64>() / phi
        })
    }

    /// How much likelier each bin is under an alternative than under stable's law.
    #[must_use]
    pub fn table(&self, alternative: usize) -> &[f64; SCORE_BINS] {
        &self.rho[alternative]
    }
}

/// The law of scores that are so many bins lower; the last bin keeps what falls out.
fn moved(law: &[f64; SCORE_BINS], bins: usize) -> [f64; SCORE_BINS] {
    let mut moved = [0.0; SCORE_BINS];
    for (bin, share) in law.iter().enumerate() {
        moved[(bin + bins).min(SCORE_BINS - 1)] += share;
    }
    moved
}

const BINS_PER_UNIT: f64 = 20.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::split::split_increment;
    use super::{SCORE_BINS, SHIFTS, ScoreTables, moved, score_bin, wrong_increments};

    #[test]
    fn bins_are_equal_and_the_best_score_is_first() {
        for (score, bin) in [
            (1.0, 0),
            (0.951, 0),
            (0.95, 1),
            (0.9, 2),
            (0.5, 10),
            (0.501, 9),
            (0.049, 19),
            (0.0, 19),
        ] {
            assert_eq!(score_bin(score), Ok(bin), "{score}");
        }
        for score in [f64::NAN, -0.001, 1.001, f64::INFINITY] {
            assert!(score_bin(score).is_err(), "{score}");
        }
    }

    /// Most scores around 0.8.
    fn usual() -> [f64; SCORE_BINS] {
        let mut counts = [0.0; SCORE_BINS];
        counts[..10].copy_from_slice(&[
            40.0, 90.0, 160.0, 210.0, 190.0, 140.0, 90.0, 50.0, 20.0, 10.0,
        ]);
        counts
    }

    #[test]
    fn a_law_is_moved_whole_and_loses_nothing() {
        let counts = usual();
        let down = moved(&counts, 4);
        assert!(down[..4].iter().sum::<f64>().abs() < 1e-12);
        assert!((down[7] - 210.0).abs() < 1e-12);
        let edge = moved(&counts, 15);
        assert!((edge[19] - 500.0).abs() < 1e-12 && (edge[15] - 40.0).abs() < 1e-12);
    }

    fn counted(counts: &[f64; SCORE_BINS], times: f64) -> [u64; SCORE_BINS] {
        counts.map(|count| format!("{:.0}", count * times).parse().unwrap())
    }

    #[test]
    fn increments_are_the_formula() {
        let tables = ScoreTables::new(&usual());
        let (mut canary, mut stable) = ([0; SCORE_BINS], [0; SCORE_BINS]);
        (canary[6], canary[2], stable[3]) = (4, 1, 15);
        let w = 0.25_f64;
        for (place, got) in tables.increments(&canary, &stable, 2.0).iter().enumerate() {
            let rho = tables.table(place);
            let canary = |bin: usize| rho[bin].ln() - (w * rho[bin] + 1.0 - w).ln();
            let known = 4.0 * canary(6) + canary(2) - 15.0 * (w * rho[3] + 1.0 - w).ln();
            assert!((got - known / 2.0).abs() < 1e-12, "{place}");
        }
    }

    #[test]
    fn lower_scores_are_evidence_and_equal_or_better_ones_are_not() {
        let tables = ScoreTables::new(&usual());
        let stable = counted(&usual(), 1.0);
        let best = |canary: &[f64; SCORE_BINS]| {
            let all = tables.increments(&counted(canary, 0.1), &stable, 1.0);
            all.into_iter().fold(f64::MIN, f64::max)
        };
        assert!(best(&moved(&usual(), 2)) > 7.0);
        assert!(best(&usual()) < 0.0);
        let mut better = usual();
        better.rotate_left(1);
        assert!(best(&better) < best(&usual()));
    }

    #[test]
    fn wrong_answers_go_through_the_split_test() {
        let got = wrong_increments(9, 40, 0.1, 1.5);
        for (got, ratio) in got.into_iter().zip([1.4, 1.8, 2.5, 4.0]) {
            let known = split_increment(9, 40, 0.1, ratio, 1.0, 1.5);
            assert!((got - known).abs() < 1e-15);
        }
    }

    proptest! {
        #[test]
        fn a_better_score_of_the_canary_never_raises_the_evidence(
            mut canary in prop::collection::vec(1_usize..SCORE_BINS, 1..30),
            stable in prop::collection::vec(0_usize..SCORE_BINS, 0..100),
            better in 0_usize..SCORE_BINS,
        ) {
            let tables = ScoreTables::new(&usual());
            let spread = |bins: &[usize]| {
                let mut counts = [0; SCORE_BINS];
                bins.iter().for_each(|bin| counts[*bin] += 1);
                counts
            };
            let before = tables.increments(&spread(&canary), &spread(&stable), 1.0);
            canary[0] = canary[0].min(better);
            let after = tables.increments(&spread(&canary), &spread(&stable), 1.0);
            for place in 0..SHIFTS {
                prop_assert!(after[place] <= before[place] + 1e-9);
                let table = tables.table(place);
                prop_assert!(table.windows(2).all(|pair| pair[0] <= pair[1]));
            }
        }
    }
}
