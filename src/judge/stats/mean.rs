//! Bounds on the mean of scores that hold at every moment at once. Apart from the tests
//! because a report says how large a difference is, not only that there is one.

use super::sample::SampleError;
use super::sample::check;

/// A confidence sequence for the mean of values in 0 to 1: Waudby-Smith and Ramdas'
/// empirical Bernstein bounds with predictable weights (decision/SPEC.md 7,
/// `reference_core.py`).
#[derive(Clone, Debug)]
pub struct MeanBounds {
    log_two_over_alpha: f64,
    count: f64,
    /// Sum of the values, with a half for the prior.
    sum: f64,
    /// Sum of squared distances from the running mean, with a quarter for the prior.
    squares: f64,
    weights: f64,
    weighted: f64,
    spread: f64,
}

impl MeanBounds {
    /// Bounds that are ever wrong with a chance of at most `alpha`, above 0 and below 1.
    #[must_use]
    pub fn new(alpha: f64) -> Self {
        Self {
            log_two_over_alpha: (2.0 / alpha).ln(),
            count: 0.0,
            sum: 0.5,
            squares: 0.25,
            weights: 0.0,
            weighted: 0.0,
            spread: 0.0,
        }
    }

    /// Adds one value.
    ///
    /// # Errors
    /// The value is not a number from 0 to 1; nothing is added.
    pub fn add(&mut self, value: f64) -> Result<(), SampleError> {
        check("score", &[value], 0.0, 1.0)?;
        let next = self.count + 1.0;
        let (mean, variance) = (self.sum / next, self.squares / next);
        let scale = variance * next * next.ln_1p();
        let weight = (2.0 * self.log_two_over_alpha / scale).sqrt().min(MOST_WEIGHT);
        self.weights += weight;
        self.weighted += weight * value;
        self.spread += (value - mean).powi(2) * (-(-weight).ln_1p() - weight);
        self.count = next;
        self.sum += value;
        self.squares += (value - self.sum / (next + 1.0)).powi(2);
        Ok(())
    }

    /// The lowest and the highest mean that the values allow, within 0 to 1.
    #[must_use]
    pub fn bounds(&self) -> (f64, f64) {
        if self.weights <= 0.0 {
            return (0.0, 1.0);
        }
        let center = self.weighted / self.weights;
        let half = (self.log_two_over_alpha + self.spread) / self.weights;
        ((center - half).max(0.0), (center + half).min(1.0))
    }
}

/// Whether the canary's mean score is certainly below stable's.
#[derive(Clone, Debug)]
pub struct MeanDrop {
    canary: MeanBounds,
    stable: MeanBounds,
}

impl MeanDrop {
    /// A comparison that ever certifies what is not with a chance of at most `alpha`, above
    /// 0 and below 1: half of it for each version.
    #[must_use]
    pub fn new(alpha: f64) -> Self {
        let bounds = MeanBounds::new(alpha / 2.0);
        Self { canary: bounds.clone(), stable: bounds }
    }

    /// Adds a score of the canary.
    ///
    /// # Errors
    /// The score is not a number from 0 to 1; nothing is added.
    pub fn add_canary(&mut self, score: f64) -> Result<(), SampleError> {
        self.canary.add(score)
    }

    /// Adds a score of stable.
    ///
    /// # Errors
    /// The score is not a number from 0 to 1; nothing is added.
    pub fn add_stable(&mut self, score: f64) -> Result<(), SampleError> {
        self.stable.add(score)
    }

    /// The least drop that the scores allow: negative while they allow a rise.
    #[must_use]
    pub fn at_least(&self) -> f64 {
        self.stable.bounds().0 - self.canary.bounds().1
    }

    /// Whether the canary's mean is below stable's.
    #[must_use]
    pub fn is_certified(&self) -> bool {
        self.at_least() > 0.0
    }
}

/// No value weighs more than this.
const MOST_WEIGHT: f64 = 0.5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::vectors::assert_near;
    use super::super::vectors::cases;
    use super::super::vectors::count;
    use super::super::vectors::list;
    use super::super::vectors::real;
    use super::super::vectors::reals;
    use super::{MeanBounds, MeanDrop, SampleError};

    #[test]
    fn bounds_are_those_of_the_reference() {
        for case in cases!("eb_confseq") {
            let mut bounds = MeanBounds::new(real(&case["alpha"]));
            let mut at = list(&case["checkpoints_t_lo_hi"]).iter().peekable();
            for (value, t) in reals(&case["x"]).into_iter().zip(1_u64..) {
                bounds.add(value).unwrap();
                if let Some(known) = at.next_if(|known| count(&known[0]) == t) {
                    let (low, high) = bounds.bounds();
                    assert_near(low, real(&known[1]), 1e-9, known);
                    assert_near(high, real(&known[2]), 1e-9, known);
                }
            }
            assert_eq!(at.next(), None, "every checkpoint was reached");
        }
    }

    #[test]
    fn a_drop_is_certified_once_the_scores_suffice_and_never_between_equals() {
        for (canary, certified) in [(0.8, false), (0.6, true)] {
            let mut drop = MeanDrop::new(0.001);
            assert!(!drop.is_certified() && drop.at_least() <= -1.0);
            for step in 0..400 {
                let noise = f64::from(step % 5) * 0.05 - 0.1;
                drop.add_canary(canary + noise).unwrap();
                drop.add_stable(0.8 + noise).unwrap();
            }
            assert_eq!(drop.is_certified(), certified, "{}", drop.at_least());
            assert!(drop.at_least() < 0.2);
        }
    }

    #[test]
    fn faulty_scores_change_nothing() {
        let mut bounds = MeanBounds::new(0.05);
        let fault = SampleError::NotANumber { sample: "score", place: 0 };
        assert_eq!(bounds.add(f64::NAN), Err(fault));
        for value in [-0.01, 1.01, f64::INFINITY] {
            assert!(bounds.add(value).is_err(), "{value}");
        }
        assert_eq!(format!("{bounds:?}"), format!("{:?}", MeanBounds::new(0.05)));
    }

    proptest! {
        #[test]
        fn bounds_stay_in_order_and_mirror_with_the_values(
            values in prop::collection::vec(0.0_f64..=1.0, 1..200),
        ) {
            let (mut one, mut mirrored) = (MeanBounds::new(0.05), MeanBounds::new(0.05));
            for value in values {
                one.add(value).unwrap();
                mirrored.add(1.0 - value).unwrap();
                let ((low, high), back) = (one.bounds(), mirrored.bounds());
                prop_assert!((0.0..=high).contains(&low) && high <= 1.0);
                prop_assert!((low - (1.0 - back.1)).abs() < 1e-9);
            }
        }
    }
}
