//! Is the canary good enough to be promoted (decision/SPEC.md 8)? Apart from the tests that
//! look for harm, because silence is not proof: here the evidence has to be that it is not
//! worse than a margin.

use super::super::reading::float;
use super::bernoulli::SLOW_LIMIT;
use super::bernoulli::bernoulli_increment;
use super::log::log_sum_exp;

/// So many times stable's rate is too bad.
pub const MARGIN: f64 = 2.0;
/// A rate below this is good enough whatever stable's is.
pub const DELTA: f64 = 0.005;

/// How the canary's rate may compare with stable's.
const RATIOS: [f64; 3] = [0.7, 1.0, 1.3];
/// What share of [`DELTA`] the canary's rate may be.
const FRACTIONS: [f64; 3] = [0.05, 0.2, 0.5];
/// The shares of answers slower than the deadline that a good canary may have.
const SLOW_SHARES: [f64; 3] = [0.001, 0.003, 0.005];

/// Terms in all.
const TERMS: usize = RATIOS.len() + FRACTIONS.len();

/// Failures and requests of both versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The canary's failures.
    pub bad_canary: u64,
    /// The canary's requests.
    pub canary: u64,
    /// Stable's failures.
    pub bad_stable: u64,
    /// Stable's requests.
    pub stable: u64,
}

/// The evidence that the canary fails less than [`MARGIN`] times as often as stable, or less
/// than [`DELTA`]; gathered over a rollout whose share changes.
#[derive(Clone, Debug)]
pub struct NonInferiority {
    margin: f64,
    bad_canary: u64,
    canary: u64,
    /// Failures of both versions at the present share.
    bad: u64,
    share: f64,
    /// What the failures at earlier shares were expected to say, by ratio.
    expected: [f64; 3],
}

/// The evidence that fewer than one in a hundred of the canary's answers are slower than a
/// deadline made from stable's 99th percentile, or set by the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promptness {
    slow: u64,
    requests: u64,
}

impl Default for NonInferiority {
    fn default() -> Self {
        Self::new()
    }
}

impl NonInferiority {
    /// Nothing gathered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::within(MARGIN)
    }

    /// Nothing gathered yet, for another margin than [`MARGIN`], above 1.
    #[must_use]
    pub fn within(margin: f64) -> Self {
        let (bad_canary, canary, bad) = (0, 0, 0);
        Self { margin, bad_canary, canary, bad, share: 0.0, expected: [0.0; 3] }
    }

    /// More counts, of requests that went to the canary with the chance `share`, 0 to 1.
    /// Counts at the same share add up, so that their batches do not matter.
    pub fn add(&mut self, counts: &Counts, share: f64) {
        if share.to_bits() != self.share.to_bits() {
            self.expected = self.expected_so_far();
            (self.share, self.bad) = (share, 0);
        }
        self.bad_canary += counts.bad_canary;
        self.canary += counts.canary;
        self.bad += counts.bad_canary + counts.bad_stable;
    }

    /// ln of the evidence.
    #[must_use]
    pub fn log_evidence(&self) -> f64 {
        log_sum_exp(&self.terms()) - float(TERMS as u64).ln()
    }

    /// The six terms, ratios first.
    fn terms(&self) -> [f64; TERMS] {
        let expected = self.expected_so_far();
        let bad = float(self.bad_canary);
        let mut terms = [0.0; TERMS];
        let (ratios, fractions) = terms.split_at_mut(RATIOS.len());
        for ((term, ratio), expected) in ratios.iter_mut().zip(RATIOS).zip(expected) {
            *term = bad * (ratio / self.margin).ln() - expected;
        }
        for (term, fraction) in fractions.iter_mut().zip(FRACTIONS) {
            let rate = fraction * DELTA;
            *term = bernoulli_increment(self.bad_canary, self.canary, DELTA, rate, 1.0);
        }
        terms
    }

    fn expected_so_far(&self) -> [f64; 3] {
        let at = |ratio: f64| (self.share * (ratio - 1.0)).ln_1p();
        let bad = float(self.bad);
        std::array::from_fn(|place| {
            self.expected[place] + bad * (at(RATIOS[place]) - at(self.margin))
        })
    }
}

impl Promptness {
    /// More of the canary's requests, and those of them that were slow.
    pub fn add(&mut self, slow: u64, requests: u64) {
        self.slow += slow;
        self.requests += requests;
    }

    /// ln of the evidence.
    #[must_use]
    pub fn log_evidence(&self) -> f64 {
        let increment =
            |share| bernoulli_increment(self.slow, self.requests, SLOW_LIMIT, share, 1.0);
        log_sum_exp(&SLOW_SHARES.map(increment)) - float(SLOW_SHARES.len() as u64).ln()
    }
}

/// ln of the evidence of counts at one share that the canary's failures are below the
/// margin (decision/SPEC.md 8).
#[must_use]
pub fn log_promotion(counts: &Counts, share: f64) -> f64 {
    let mut evidence = NonInferiority::new();
    evidence.add(counts, share);
    evidence.log_evidence()
}

#[cfg(test)]
mod tests {
    use super::super::vectors::assert_same;
    use super::super::vectors::cases;
    use super::super::vectors::count;
    use super::super::vectors::list;
    use super::super::vectors::real;
    use super::{Counts, DELTA, MARGIN, NonInferiority, Promptness, log_promotion};

    #[test]
    fn evidence_is_that_of_the_reference() {
        for case in cases!("promotion") {
            assert!((real(&case["rho"]) - MARGIN).abs() < 1e-12);
            assert!((real(&case["delta"]) - DELTA).abs() < 1e-12);
            let counts = Counts {
                bad_canary: count(&case["e_c"]),
                canary: count(&case["n_c"]),
                bad_stable: count(&case["e_s"]),
                stable: count(&case["n_s"]),
            };
            let mut evidence = NonInferiority::new();
            evidence.add(&counts, real(&case["w"]));
            let expected = [&case["ln_ratio_terms"], &case["ln_abs_terms"]];
            let expected = expected.into_iter().flat_map(list);
            for (got, expected) in evidence.terms().iter().zip(expected) {
                assert_same(*got, expected, &case);
            }
            let got = log_promotion(&counts, real(&case["w"]));
            assert_same(got, &case["ln_N"], &case);
            let promoted = got >= -0.05_f64.ln();
            assert_eq!(Some(promoted), case["promote_at_beta_0_05"].as_bool());
        }
    }

    #[test]
    fn batches_add_up_and_shares_follow_each_other() {
        let counts = |bad_canary, canary, bad_stable, stable| Counts {
            bad_canary,
            canary,
            bad_stable,
            stable,
        };
        let (low, high) = (counts(1, 100, 40, 1_900), counts(5, 900, 9, 900));
        let mut whole = NonInferiority::new();
        whole.add(&low, 0.05);
        whole.add(&high, 0.5);
        let mut parts = NonInferiority::new();
        for (bad_stable, stable) in [(30, 900), (10, 1_000)] {
            parts.add(&counts(0, 0, bad_stable, stable), 0.05);
        }
        parts.add(&counts(1, 100, 0, 0), 0.05);
        parts.add(&high, 0.5);
        assert_eq!(whole.log_evidence().to_bits(), parts.log_evidence().to_bits());

        let mut alone = [NonInferiority::new(), NonInferiority::new()];
        alone[0].add(&low, 0.05);
        alone[1].add(&high, 0.5);
        for (place, term) in whole.terms().into_iter().enumerate() {
            let sum = alone[0].terms()[place] + alone[1].terms()[place];
            assert!((term - sum).abs() < 1e-9, "{place}: {term} is not {sum}");
        }
    }

    #[test]
    fn prompt_answers_prove_themselves_and_slow_ones_do_not() {
        for (slow, requests, promoted) in
            [(0, 100, false), (0, 500, true), (5, 500, false), (4, 2_000, true)]
        {
            let mut evidence = Promptness::default();
            evidence.add(slow, requests);
            let got = evidence.log_evidence();
            assert_eq!(got >= -0.05_f64.ln(), promoted, "{slow}/{requests}: {got}");
        }
        assert!(Promptness::default().log_evidence().abs() < 1e-12);
    }

    #[test]
    fn a_failure_of_the_canary_never_raises_the_evidence() {
        for share in [0.01, 0.1, 0.5, 0.9] {
            for bad_canary in 0..50 {
                let evidence = |bad_canary| {
                    let (canary, stable) = (1_000, 9_000);
                    log_promotion(
                        &Counts { bad_canary, canary, bad_stable: 30, stable },
                        share,
                    )
                };
                assert!(evidence(bad_canary + 1) <= evidence(bad_canary) + 1e-12);
            }
        }
    }
}
