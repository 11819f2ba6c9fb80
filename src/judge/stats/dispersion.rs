//! `Dispersion`: how much more stable's failures clump than independent requests would
//! (decision/SPEC.md 3.5). Apart because it is learned of stable alone: what it does to the
//! canary's evidence is known before the canary speaks.

use super::super::reading::float;

/// What is assumed before anything is seen: this many events that do not clump.
const PRIOR: f64 = 10.0;

/// One length of block, of stable's endpoints held against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispersion {
    binomial: bool,
    squares: f64,
    expected: f64,
    freedom: f64,
}

impl Dispersion {
    /// Nothing learned yet. `binomial` for frequent events, whose spread is smaller than
    /// their number.
    #[must_use]
    pub fn new(binomial: bool) -> Self {
        Self { binomial, squares: 0.0, expected: 0.0, freedom: 0.0 }
    }

    /// One block: events and requests of each endpoint, in the same order. A block without
    /// events, or of a single endpoint, says nothing.
    pub fn block(&mut self, events: &[u64], requests: &[u64]) {
        debug_assert_eq!(events.len(), requests.len());
        let happened = float(events.iter().sum());
        let total = float(requests.iter().sum());
        if happened == 0.0 || total == 0.0 || requests.len() < 2 {
            return;
        }
        let spread = if self.binomial { (1.0 - happened / total).max(0.0) } else { 1.0 };
        for (events, requests) in events.iter().zip(requests) {
            let share = float(*requests) / total;
            self.squares += (float(*events) - happened * share).powi(2);
            self.expected += happened * share * (1.0 - share) * spread;
        }
        self.freedom += float(requests.len() as u64 - 1);
    }

    /// Two blocks of a version with a single endpoint, one right after the other: the events
    /// of each. Two without events say nothing.
    pub fn succession(&mut self, before: u64, after: u64) {
        if before == 0 && after == 0 {
            return;
        }
        self.squares += float(before.abs_diff(after)).powi(2);
        self.expected += float(before + after);
        self.freedom += 1.0;
    }

    /// Lets the past count for less: `factor`, 0 to 1, of what it did.
    pub fn decay(&mut self, factor: f64) {
        self.squares *= factor;
        self.expected *= factor;
        self.freedom *= factor;
    }

    /// The estimate: 1 when events are independent.
    #[must_use]
    pub fn raw(&self) -> f64 {
        (self.squares + PRIOR) / (self.expected + PRIOR)
    }

    /// What is certain of it: the estimate less its own error.
    #[must_use]
    pub fn lower(&self) -> f64 {
        self.raw() * (1.0 - (2.0 / (self.freedom + 1.0)).sqrt())
    }
}

/// The divisor of the evidence: the worst of the lengths of block, and at least 1.
#[expect(
    single_use_lifetimes,
    reason = "an anonymous lifetime inside `impl Trait` is not stable"
)]
#[must_use]
pub fn phi_of<'a>(scales: impl IntoIterator<Item = &'a Dispersion>) -> f64 {
    scales.into_iter().map(Dispersion::lower).fold(1.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::assert_same;
    use super::super::vectors::cases;
    use super::super::vectors::counts;
    use super::super::vectors::list;
    use super::{Dispersion, phi_of};

    #[test]
    fn estimates_are_those_of_the_reference() {
        for case in cases!("dispersion") {
            let mut scale = Dispersion::new(case["binom"].as_bool().unwrap());
            for block in list(&case["blocks_n_e"]) {
                scale.block(&counts(&block[1]), &counts(&block[0]));
            }
            for (got, name) in [
                (scale.squares, "num"),
                (scale.expected, "den"),
                (scale.freedom, "df"),
                (scale.raw(), "raw"),
                (scale.lower(), "lcb"),
                (phi_of([&scale]), "phi_single_scale"),
            ] {
                assert_same(got, &case[name], &name.into());
            }
        }
    }

    #[test]
    fn one_endpoint_is_held_against_its_own_past() {
        let bursts = [0, 0, 0, 40, 0, 0, 0, 0, 40, 0, 0, 0, 0, 40, 0, 0, 0, 0, 40];
        let even = [4, 5, 4, 3, 4, 4, 5, 3, 4, 4, 4, 5, 3, 4, 4, 4, 5, 4, 3];
        let learned = |counts: &[u64]| {
            let mut scale = Dispersion::new(false);
            counts.windows(2).for_each(|pair| scale.succession(pair[0], pair[1]));
            phi_of([&scale])
        };
        assert!(learned(&bursts) > 10.0, "{}", learned(&bursts));
        assert!((learned(&even) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_block_that_says_nothing_is_left_out_and_the_past_fades() {
        let fresh = Dispersion::new(false);
        let mut scale = fresh.clone();
        scale.block(&[0, 0], &[10, 10]);
        scale.block(&[5], &[10]);
        scale.block(&[0, 0], &[0, 0]);
        scale.succession(0, 0);
        assert_eq!(scale, fresh);
        scale.block(&[50, 0], &[100, 100]);
        let before = scale.raw();
        scale.decay(0.5);
        assert!(scale.raw() > 1.0 && scale.raw() < before);
        scale.decay(0.0);
        assert_eq!(scale, fresh);
    }
}
