//! `SampleRatio`: does the canary get the share of requests that the route gives it?
//! (decision/SPEC.md 10). Apart from the tests of the versions because it tests the split
//! itself, on which the validity of all of them rests.

use thiserror::Error;

use super::super::reading::float;
use super::log::log_sum_exp;
use super::split::split_increment;

/// A share that is none.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("the canary's share is {share}, not within 0 to 1")]
pub struct ShareError {
    /// What was given.
    pub share: f64,
}

/// Evidence that the routed split is not the nominal one, in either direction.
#[derive(Clone, Debug, Default)]
pub struct SampleRatio {
    levels: [f64; ODDS.len()],
    highest: f64,
}

impl SampleRatio {
    /// Adds requests that the split's coin gave to each version while the canary's share
    /// was `share`, 0 to 1. Requests that were not the coin's to give, as pinned ones, do
    /// not belong here.
    ///
    /// # Errors
    /// The share is not a number from 0 to 1; nothing is added.
    pub fn add(
        &mut self,
        canary_routed: u64,
        stable_routed: u64,
        share: f64,
    ) -> Result<(), ShareError> {
        if !(0.0..=1.0).contains(&share) {
            return Err(ShareError { share });
        }
        for (level, odds) in self.levels.iter_mut().zip(ODDS) {
            *level +=
                split_increment(canary_routed, stable_routed, share, odds, 1.0, 1.0);
        }
        self.highest = self.highest.max(self.log_evidence());
        Ok(())
    }

    /// ln of the evidence now.
    #[must_use]
    pub fn log_evidence(&self) -> f64 {
        log_sum_exp(&self.levels) - float(ODDS.len() as u64).ln()
    }

    /// Whether the evidence has ever reached 1000: a true split does that with a chance of
    /// at most one in 1000.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.highest >= ALARM.ln()
    }
}

/// What the odds of the canary's share may be multiplied by.
const ODDS: [f64; 4] = [1.05, 1.0 / 1.05, 1.2, 1.0 / 1.2];
const ALARM: f64 = 1000.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ODDS, SampleRatio, ShareError};

    #[test]
    fn evidence_is_the_likelihood_ratio_of_the_counts() {
        let mut ratio = SampleRatio::default();
        assert!(ratio.log_evidence().abs() < 1e-12);
        ratio.add(30, 170, 0.1).unwrap();
        ratio.add(40, 60, 0.5).unwrap();
        let term = |odds: f64| {
            let tilt = |share: f64| odds * share / (1.0 - share + odds * share);
            let batch = |mine: f64, theirs: f64, share: f64| {
                mine * (tilt(share) / share).ln()
                    + theirs * ((1.0 - tilt(share)) / (1.0 - share)).ln()
            };
            (batch(30.0, 170.0, 0.1) + batch(40.0, 60.0, 0.5)).exp()
        };
        let known = ODDS.map(term).iter().sum::<f64>() / 4.0;
        assert!((ratio.log_evidence() - known.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_bent_split_breaks_in_either_direction_and_stays_broken() {
        for (per_thousand, broken) in [(100, false), (120, true), (85, true)] {
            let mut ratio = SampleRatio::default();
            for _ in 0..50 {
                ratio.add(per_thousand, 1_000 - per_thousand, 0.1).unwrap();
            }
            assert_eq!(ratio.is_broken(), broken, "{per_thousand}");
            if broken {
                for _ in 0..5_000 {
                    ratio.add(100, 900, 0.1).unwrap();
                }
                assert!(ratio.log_evidence() < 0.0 && ratio.is_broken());
            }
        }
    }

    #[test]
    fn faulty_shares_change_nothing() {
        let mut ratio = SampleRatio::default();
        for share in [-0.1, 1.1] {
            assert_eq!(ratio.add(5, 5, share), Err(ShareError { share }));
        }
        assert!(ratio.add(5, 5, f64::NAN).is_err());
        assert!(ratio.log_evidence().abs() < 1e-12);
        ratio.add(0, 1_000_000, 0.0).unwrap();
        ratio.add(1_000_000, 0, 1.0).unwrap();
        assert!(ratio.log_evidence().abs() < 1e-6 && !ratio.is_broken());
    }

    proptest! {
        #[test]
        fn batches_merge(
            parts in prop::collection::vec((0_u64..50, 0_u64..500), 1..20),
            share in 0.01_f64..0.99,
        ) {
            let (mut stepped, mut merged) = (SampleRatio::default(), SampleRatio::default());
            for (canary, stable) in &parts {
                stepped.add(*canary, *stable, share).unwrap();
            }
            let sum = parts.iter().fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
            merged.add(sum.0, sum.1, share).unwrap();
            prop_assert!((stepped.log_evidence() - merged.log_evidence()).abs() < 1e-9);
        }
    }
}
