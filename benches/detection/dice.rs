//! `Dice`: seeded chance, and samplers that are exact and fast enough for 10^9 draws.
//!
//! Small means by inversion; large ones by transformed rejection with squeeze (W. Hörmann,
//! "The transformed rejection method for generating Poisson random variables", 1993, and
//! "The generation of binomial random variates", 1993).

use crate::number::{float, ln_factorial, place, stirling_rest, whole};

/// A stream of chance that its seed fixes.
#[derive(Debug)]
pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    /// The stream of one rollout: the same for the same three numbers, on any thread.
    pub(crate) fn new(seed: u64, scenario: &str, rollout: u64) -> Self {
        // FNV-1a over all of it; the generator's own mixing does the rest.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let numbers = seed.to_le_bytes().into_iter().chain(rollout.to_le_bytes());
        for byte in scenario.bytes().chain(numbers) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let mut first = fastrand::Rng::with_seed(hash);
        let second = first.u64(..);
        Self(fastrand::Rng::with_seed(second ^ rollout.rotate_left(32)))
    }

    /// Uniform from 0 to below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0.f64()
    }

    /// A whole number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.u64(0..end.max(1))
    }

    /// The wait for something that comes every `mean`, by chance.
    pub(crate) fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// A standard normal number (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// How many of something that comes `mean` times on average.
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        if mean >= INVERSION {
            return self.many(mean);
        }
        let (mut left, mut term, mut k) = (self.unit(), (-mean).exp(), 0.0);
        while left >= term && k < 200.0 {
            left -= term;
            k += 1.0;
            term *= mean / k;
        }
        whole(k)
    }

    fn many(&mut self, mean: f64) -> u64 {
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.024_83 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let squeeze = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let (u, v) = (self.unit() - 0.5, self.unit());
            let edge = 0.5 - u.abs();
            let k = ((2.0 * a / edge + b) * u + mean + 0.43).floor();
            if edge >= 0.07 && v <= squeeze {
                return whole(k);
            }
            if k < 0.0 || (edge < 0.013 && v > edge) {
                continue;
            }
            let height = v.ln() + inverse_alpha.ln() - (a / (edge * edge) + b).ln();
            if height <= k * mean.ln() - mean - ln_factorial(k) {
                return whole(k);
            }
        }
    }

    /// How many of `tries` happen, each with chance `p`.
    pub(crate) fn binomial(&mut self, tries: u64, p: f64) -> u64 {
        if tries == 0 || p <= 0.0 {
            return 0;
        }
        if p >= 1.0 {
            return tries;
        }
        if p > 0.5 {
            return tries - self.binomial(tries, 1.0 - p);
        }
        let n = float(tries);
        if n * p >= INVERSION {
            return self.many_of(n, p);
        }
        let odds = p / (1.0 - p);
        let (mut left, mut term, mut k) = (self.unit(), (n * (-p).ln_1p()).exp(), 0.0);
        while left >= term && k < n {
            left -= term;
            k += 1.0;
            term *= odds * (n - k + 1.0) / k;
        }
        whole(k)
    }

    fn many_of(&mut self, n: f64, p: f64) -> u64 {
        let deviation = (n * p * (1.0 - p)).sqrt();
        let b = 1.15 + 2.53 * deviation;
        let a = -0.0873 + 0.0248 * b + 0.01 * p;
        let squeeze = 0.92 - 4.2 / b;
        let odds = p / (1.0 - p);
        let alpha = (2.83 + 5.1 / b) * deviation;
        let mode = ((n + 1.0) * p).floor();
        loop {
            let (u, v) = (self.unit() - 0.5, self.unit());
            let edge = 0.5 - u.abs();
            let k = ((2.0 * a / edge + b) * u + n * p + 0.5).floor();
            if edge >= 0.07 && v <= squeeze && k >= 0.0 && k <= n {
                return whole(k);
            }
            if k < 0.0 || k > n {
                continue;
            }
            let height = (v * alpha / (a / (edge * edge) + b)).ln();
            let ratio = (mode + 0.5) * ((mode + 1.0) / (odds * (n - mode + 1.0))).ln()
                + (n + 1.0) * ((n - mode + 1.0) / (n - k + 1.0)).ln()
                + (k + 0.5) * (odds * (n - k + 1.0) / (k + 1.0)).ln()
                + stirling_rest(mode)
                + stirling_rest(n - mode)
                - stirling_rest(k)
                - stirling_rest(n - k);
            if height <= ratio {
                return whole(k);
            }
        }
    }
}

/// A choice among places with fixed chances, one draw each (the alias method).
#[derive(Clone, Debug)]
pub(crate) struct Alias {
    keep: Vec<f64>,
    other: Vec<usize>,
}

impl Alias {
    /// From chances that sum to one.
    pub(crate) fn new(chances: &[f64]) -> Self {
        let n = chances.len();
        let mut keep: Vec<f64> =
            chances.iter().map(|p| p * crate::number::float_of(n)).collect();
        let mut other: Vec<usize> = (0..n).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..n).partition(|at| keep[*at] < 1.0);
        while let (Some(low), Some(high)) = (small.pop(), large.last().copied()) {
            other[low] = high;
            keep[high] -= 1.0 - keep[low];
            if keep[high] < 1.0 {
                large.pop();
                small.push(high);
            }
        }
        // What is left over differs from one by rounding only.
        small.iter().chain(&large).for_each(|at| keep[*at] = 1.0);
        Self { keep, other }
    }

    /// One choice.
    pub(crate) fn draw(&self, dice: &mut Dice) -> usize {
        let spot = dice.unit() * crate::number::float_of(self.keep.len());
        let at = place(spot).min(self.keep.len() - 1);
        if spot - spot.floor() < self.keep[at] { at } else { self.other[at] }
    }
}

/// Means below this are drawn by inversion.
const INVERSION: f64 = 10.0;
