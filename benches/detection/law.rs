//! `Law`: how long answers take, as chances of the latency bins.
//!
//! Apart from the world that draws from it: a law is made once for a scenario and shared by
//! all its rollouts, and its quantiles are what the bounds are computed from.

use switchback::judge::BINS;

use crate::dice::{Alias, Dice};
use crate::number::{float_of, normal_tail};

/// A mixture of lognormal times, cut into the bins that the data path keeps.
#[derive(Clone, Debug)]
pub(crate) struct Law {
    bins: [f64; BINS],
    alias: Alias,
    /// Each bin with a chance, and that chance among it and all bins after it.
    ladder: Vec<(usize, f64)>,
}

/// One part of a mixture: its chance, its median in microseconds, and the standard
/// deviation of the logarithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part(pub(crate) f64, pub(crate) f64, pub(crate) f64);

impl Law {
    pub(crate) fn new(parts: &[Part]) -> Self {
        let below = |bin: usize| -> f64 {
            let edge = upper_us(bin).ln();
            let part = |Part(chance, median, sigma): &Part| {
                chance * normal_tail((median.ln() - edge) / sigma)
            };
            parts.iter().map(part).sum()
        };
        let mut bins = [0.0; BINS];
        let mut before = 0.0;
        for (bin, chance) in bins.iter_mut().enumerate() {
            let now = if bin == BINS - 1 { 1.0 } else { below(bin) };
            *chance = (now - before).max(0.0);
            before = now;
        }
        let mut left = 1.0;
        let mut ladder = Vec::new();
        for (bin, chance) in bins.iter().enumerate().filter(|(_, p)| **p > 1e-9) {
            ladder.push((bin, (chance / left).min(1.0)));
            left -= chance;
        }
        if let Some((_, last)) = ladder.last_mut() {
            *last = 1.0;
        }
        Self { alias: Alias::new(&bins), ladder, bins }
    }

    /// The chances of the bins.
    pub(crate) fn bins(&self) -> &[f64; BINS] {
        &self.bins
    }

    /// The time that a share `q` of answers stays below, in microseconds.
    pub(crate) fn quantile_us(&self, q: f64) -> f64 {
        let mut below = 0.0;
        for (bin, chance) in self.bins.iter().enumerate() {
            if below + chance >= q {
                let within = (q - below) / chance;
                return lower_us(bin) * (upper_us(bin) / lower_us(bin)).powf(within);
            }
            below += chance;
        }
        upper_us(BINS - 1)
    }

    /// The share of answers that takes longer, 0 to 1.
    pub(crate) fn above(&self, micros: f64) -> f64 {
        let bin = switchback::judge::bin_of(crate::number::whole(micros));
        let rest: f64 = self.bins[bin + 1..].iter().sum();
        rest + self.bins[bin] * share_above(bin, micros)
    }

    /// Draws the times of so many answers and gives each bin that has any.
    pub(crate) fn spread(
        &self,
        dice: &mut Dice,
        answers: u64,
        mut each: impl FnMut(&mut Dice, usize, u64),
    ) {
        if answers <= 24 {
            for _ in 0..answers {
                let bin = self.alias.draw(dice);
                each(dice, bin, 1);
            }
            return;
        }
        let mut left = answers;
        for (bin, chance) in &self.ladder {
            let count = dice.binomial(left, *chance);
            if count > 0 {
                each(dice, *bin, count);
            }
            left -= count;
            if left == 0 {
                return;
            }
        }
    }
}

/// The share of a bin's answers above a time within it, when they lie evenly in its
/// logarithm.
pub(crate) fn share_above(bin: usize, micros: f64) -> f64 {
    let (low, high) = (lower_us(bin).ln(), upper_us(bin).ln());
    ((high - micros.max(1.0).ln()) / (high - low)).clamp(0.0, 1.0)
}

/// The time in the middle of a bin, microseconds.
pub(crate) fn middle_us(bin: usize) -> f64 {
    (lower_us(bin) * upper_us(bin)).sqrt()
}

/// The exclusive upper edge of a bin (SPEC 4.1).
fn upper_us(bin: usize) -> f64 {
    128.0 * (float_of(bin) / 4.0).exp2()
}

fn lower_us(bin: usize) -> f64 {
    upper_us(bin) / 0.25_f64.exp2()
}
