//! `DecileBank`: has the canary's law of a real-valued output moved away from stable's?
//! Apart from the window test of the same question because it weighs every bucket as it
//! comes: what moves the inputs moves both versions, and cancels (decision/SPEC.md 6).

use super::super::reading::float;
use super::odds::Odds;
use super::pooled::Pooled;
use super::sample::SampleError;
use super::sample::check_sorted;
use super::shell::Shell;
use super::shell::ShellPlan;

/// Where stable's outputs are cut into ten parts.
pub const CUTS: usize = 9;
/// How many parts there are.
pub const PARTS: usize = CUTS + 1;
/// How many alternatives: four odds at each cut.
pub const ALTERNATIVES: usize = CUTS * ODDS.len();

/// Stable's deciles, and the alternatives to them.
#[derive(Clone, Debug)]
pub struct Deciles {
    cuts: [f64; CUTS],
    tables: [Odds; ALTERNATIVES],
    /// Whether the sample knows the share above each cut well enough to be held against.
    known: [bool; CUTS],
}

impl Deciles {
    /// From a sample of stable's outputs in ascending order.
    ///
    /// # Errors
    /// The sample is empty, out of order, or has a value that is no number.
    pub fn new(stable_sorted: &[f64]) -> Result<Self, SampleError> {
        check_sorted("stable", stable_sorted)?;
        let size = stable_sorted.len();
        let cuts: [f64; CUTS] = std::array::from_fn(|cut| {
            let rank = (size * (cut + 1)).div_ceil(PARTS);
            stable_sorted[rank.max(1) - 1]
        });
        // Outputs that repeat make the parts unequal: what counts is the sample's share
        // above each cut, with half a value added on both sides.
        let chances = cuts.map(|cut| {
            let above = size - stable_sorted.partition_point(|value| *value <= cut);
            (float(above as u64) + 0.5) / (float(size as u64) + 1.0)
        });
        let tables = std::array::from_fn(|place| {
            Odds::new(chances[place / ODDS.len()], ODDS[place % ODDS.len()])
        });
        let known = chances.map(|chance| chance.min(1.0 - chance) >= LEAST_SIDE);
        Ok(Self { cuts, tables, known })
    }

    /// The part that an output belongs to, 0 to 9: how many cuts it is above.
    ///
    /// # Errors
    /// The output is not a number.
    pub fn part(&self, output: f64) -> Result<usize, SampleError> {
        if output.is_nan() {
            return Err(SampleError::NotANumber { sample: "output", place: 0 });
        }
        Ok(self.cuts.partition_point(|cut| *cut < output))
    }

    /// The cuts, ascending.
    #[must_use]
    pub fn cuts(&self) -> &[f64; CUTS] {
        &self.cuts
    }

    /// ln of the evidence of one bucket for each alternative, canary beside stable; nothing
    /// when a version has no outputs.
    #[must_use]
    pub fn against(
        &self,
        canary: &[u64; PARTS],
        stable: &[u64; PARTS],
    ) -> [f64; ALTERNATIVES] {
        let (canary, stable) = (sides(canary), sides(stable));
        std::array::from_fn(|place| {
            let cut = place / ODDS.len();
            self.tables[place].against(canary[cut], stable[cut])
        })
    }

    /// The same for one version alone against the sample that the cuts were made from, as
    /// when it has all the traffic. The sample should have thousands of values: what it
    /// does not know of stable's law counts as drift here. A cut with less than 5 % of it
    /// on either side, as where outputs repeat, says nothing.
    #[must_use]
    pub fn alone(&self, counts: &[u64; PARTS]) -> [f64; ALTERNATIVES] {
        let sides = sides(counts);
        std::array::from_fn(|place| {
            let cut = place / ODDS.len();
            if !self.known[cut] {
                return 0.0;
            }
            let (above, below) = sides[cut];
            self.tables[place].alone(above, below)
        })
    }
}

/// Evidence that the canary's outputs follow another law than stable's.
#[derive(Clone, Debug)]
pub struct DecileBank {
    deciles: Deciles,
    pooled: Pooled,
}

impl DecileBank {
    /// A bank that has seen nothing.
    #[must_use]
    pub fn new(deciles: Deciles, plan: &ShellPlan) -> Self {
        Self { deciles, pooled: Pooled::new(ALTERNATIVES, PARTS, plan) }
    }

    /// Adds outputs to the open bucket, by [`Deciles::part`].
    pub fn add(&mut self, canary: &[u64; PARTS], stable: &[u64; PARTS]) {
        let deciles = &self.deciles;
        self.pooled.add(canary, stable, |canary, stable| {
            let parts = |counts: &[u64]| -> [u64; PARTS] {
                std::array::from_fn(|part| counts[part])
            };
            deciles.against(&parts(canary), &parts(stable)).into()
        });
    }

    /// Closes the bucket and opens the next one. A bucket in which one version had no
    /// outputs stays open with what the other had.
    pub fn close(&mut self) {
        self.pooled.close();
    }

    /// ln of the evidence, with the open bucket.
    #[must_use]
    pub fn log_evidence(&self) -> f64 {
        self.shell().log_evidence()
    }

    /// The cut that explains the most, and by what the odds of being above it are
    /// multiplied.
    #[must_use]
    pub fn leading(&self) -> (f64, f64) {
        let place = self.shell().leading();
        (self.deciles.cuts[place / ODDS.len()], ODDS[place % ODDS.len()])
    }

    /// The deciles that outputs are counted by.
    #[must_use]
    pub fn deciles(&self) -> &Deciles {
        &self.deciles
    }

    fn shell(&self) -> &Shell {
        self.pooled.shell()
    }
}

/// How many outputs are above each cut, and how many are not.
fn sides(counts: &[u64; PARTS]) -> [(u64, u64); CUTS] {
    let total: u64 = counts.iter().sum();
    let mut below = 0;
    std::array::from_fn(|cut| {
        below += counts[cut];
        (total - below, below)
    })
}

/// A side of a cut with a smaller share than this is not known well enough.
const LEAST_SIDE: f64 = 0.05;
const ODDS: [f64; 4] = [1.5, 1.0 / 1.5, 3.0, 1.0 / 3.0];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        ALTERNATIVES, DecileBank, Deciles, PARTS, SampleError, ShellPlan, float,
    };

    fn hundred() -> Deciles {
        let sample: Vec<f64> = (1..=100_u32).map(f64::from).collect();
        Deciles::new(&sample).unwrap()
    }

    #[test]
    fn cuts_are_deciles_and_outputs_on_a_cut_are_below_it() {
        let deciles = hundred();
        for (cut, known) in deciles.cuts().iter().zip(1_u32..) {
            assert!((cut - f64::from(10 * known)).abs() < 1e-12);
        }
        for (output, part) in [
            (f64::NEG_INFINITY, 0),
            (10.0, 0),
            (10.1, 1),
            (55.0, 5),
            (90.0, 8),
            (90.5, 9),
            (f64::INFINITY, 9),
        ] {
            assert_eq!(deciles.part(output), Ok(part), "{output}");
        }
        let fault = SampleError::NotANumber { sample: "output", place: 0 };
        assert_eq!(deciles.part(f64::NAN), Err(fault));
        assert!(Deciles::new(&[]).is_err() && Deciles::new(&[2.0, 1.0]).is_err());
    }

    #[test]
    fn increments_are_the_formulas() {
        let deciles = hundred();
        let mut canary = [0; PARTS];
        (canary[0], canary[9]) = (2, 6);
        let stable = [10; PARTS];
        let p0 = 90.5_f64 / 101.0;
        for (place, odds) in [1.5, 1.0 / 1.5, 3.0, 1.0 / 3.0].into_iter().enumerate() {
            let p1 = p0 * odds / (1.0 - p0 + p0 * odds);
            let (above, below) = (p1 / p0, (1.0 - p1) / (1.0 - p0));
            let one = 6.0 * above.ln() + 2.0 * below.ln();
            assert!((deciles.alone(&canary)[place] - one).abs() < 1e-12);
            let w = 8.0 / 108.0;
            let two = one
                - 96.0 * (w * above + 1.0 - w).ln()
                - 12.0 * (w * below + 1.0 - w).ln();
            assert!((deciles.against(&canary, &stable)[place] - two).abs() < 1e-12);
        }
    }

    /// Counts by part of `count` evenly spread values moved by `shift`, in the sample's own
    /// unit.
    fn spread(deciles: &Deciles, count: u32, shift: f64) -> [u64; PARTS] {
        let mut parts = [0; PARTS];
        for place in 0..count {
            let value = (f64::from(place) + 0.5) * 100.0 / f64::from(count) + shift;
            parts[deciles.part(value).unwrap()] += 1;
        }
        parts
    }

    #[test]
    fn a_moved_law_is_found_in_either_direction_and_an_equal_one_is_not() {
        for (shift, found) in [(0.0, false), (12.0, true), (-12.0, true)] {
            let deciles = hundred();
            let (canary, stable) =
                (spread(&deciles, 20, shift), spread(&deciles, 180, 0.0));
            let mut bank = DecileBank::new(deciles, &ShellPlan::running(0.001));
            for _ in 0..40 {
                bank.add(&canary, &stable);
                bank.close();
            }
            assert_eq!(bank.log_evidence() >= 1000_f64.ln(), found, "{shift}");
            if found {
                assert_eq!(bank.leading().1 > 1.0, shift > 0.0, "{:?}", bank.leading());
            }
        }
    }

    #[test]
    fn what_moves_both_versions_cancels() {
        let deciles = hundred();
        let (canary, stable) = (spread(&deciles, 20, 30.0), spread(&deciles, 180, 30.0));
        let alone = deciles.alone(&canary);
        assert!(alone.iter().copied().fold(f64::MIN, f64::max) > 1.0);
        let mut bank = DecileBank::new(deciles, &ShellPlan::running(0.001));
        for _ in 0..60 {
            bank.add(&canary, &stable);
            bank.close();
        }
        assert!(bank.log_evidence() < 0.5, "{}", bank.log_evidence());
    }

    #[test]
    fn outputs_that_repeat_are_no_drift() {
        let sample: Vec<f64> = (0..100_u32).map(|place| f64::from(place / 60)).collect();
        let deciles = Deciles::new(&sample).unwrap();
        let mut parts = [0; PARTS];
        for value in &sample {
            parts[deciles.part(*value).unwrap()] += 1;
        }
        let increments = deciles.alone(&parts);
        assert!(increments.iter().all(|increment| *increment <= 0.0), "{increments:?}");
        assert!(increments[..4].iter().all(|increment| *increment < -1.0));
    }

    proptest! {
        #[test]
        fn steps_within_a_bucket_leave_no_trace(
            steps in prop::collection::vec(
                (prop::array::uniform10(0_u64..5), prop::array::uniform10(0_u64..20)), 1..12,
            ),
        ) {
            let plan = ShellPlan::running(0.001);
            let (mut stepped, mut merged) =
                (DecileBank::new(hundred(), &plan), DecileBank::new(hundred(), &plan));
            let mut sums = ([0; PARTS], [0; PARTS]);
            for (canary, stable) in &steps {
                stepped.add(canary, stable);
                for part in 0..PARTS {
                    sums.0[part] += canary[part];
                    sums.1[part] += stable[part];
                }
            }
            merged.add(&sums.0, &sums.1);
            prop_assert_eq!(
                stepped.log_evidence().to_bits(), merged.log_evidence().to_bits()
            );
        }

        #[test]
        fn a_version_without_outputs_is_no_evidence(
            counts in prop::array::uniform10(0_u64..50),
        ) {
            let none = [0; PARTS];
            let deciles = hundred();
            for got in [deciles.against(&counts, &none), deciles.against(&none, &counts)] {
                prop_assert_eq!(got.map(f64::to_bits), [float(0).to_bits(); ALTERNATIVES]);
            }
        }
    }
}
