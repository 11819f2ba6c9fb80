//! `Law`: what stable's times look like, of one kind: whole answers, first tokens of streams,
//! or tokens after the first.
//!
//! Apart from the baseline, which has one of each, because a route's streams and its other
//! answers are never compared with each other.

use std::sync::Arc;

use super::noise::Noise;
use crate::judge::reading::{float, whole};
use crate::judge::stats::bank::Tables;
use crate::judge::sums::{BINS, bin_of};
use crate::vocab::time::Timestamp;

/// What stable's times of one kind look like.
#[derive(Clone, Debug)]
pub(super) struct Law {
    /// A version's times may be so many times stable's.
    ratio: f64,
    /// Times up to this do not differ, in microseconds.
    floor_us: u64,
    /// Decayed counts by latency bin.
    counts: [f64; BINS],
    /// Times since the last decay.
    fresh: [u64; BINS],
    tables: Option<Arc<Tables>>,
    thresholds: Option<[usize; QUANTILES.len()]>,
    refit_at: Timestamp,
    noise: [Noise; QUANTILES.len()],
}

impl Law {
    /// Nothing is known.
    pub(super) fn new(ratio: f64, floor_us: u64) -> Self {
        Self {
            ratio,
            floor_us,
            counts: [0.0; BINS],
            fresh: [0; BINS],
            tables: None,
            thresholds: None,
            refit_at: Timestamp(0),
            noise: QUANTILES.map(|_| Noise::frequent()),
        }
    }

    /// Stable's time begins.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.refit_at = now.after(REFIT);
    }

    /// Takes in the times of one endpoint.
    pub(super) fn add(&mut self, endpoint: usize, bins: &[u32; BINS]) {
        let mut all = 0;
        let mut above = [0; QUANTILES.len()];
        for (bin, count) in self.folded(bins) {
            all += count;
            self.fresh[bin] += count;
            for (above, limit) in above.iter_mut().zip(self.thresholds.iter().flatten()) {
                *above += if bin > *limit { count } else { 0 };
            }
        }
        if self.thresholds.is_some() && all > 0 {
            for (noise, above) in self.noise.iter_mut().zip(above) {
                noise.add(endpoint, above, all);
            }
        }
    }

    /// Times by bin, with all bins up to the floor as one: times below it do not differ.
    pub(super) fn folded(
        &self,
        bins: &[u32; BINS],
    ) -> impl Iterator<Item = (usize, u64)> + use<> {
        let floor = bin_of(self.floor_us);
        let bins = *bins;
        bins.into_iter()
            .enumerate()
            .filter(|(_, count)| *count > 0)
            .map(move |(bin, count)| (bin.max(floor), u64::from(count)))
    }

    /// Makes tables at once where there are none and times enough.
    pub(super) fn settle(&mut self, now: Timestamp) {
        if self.tables.is_none() {
            self.refit(now);
        }
    }

    /// The end of second number `second`, which is before `now`.
    pub(super) fn close(&mut self, second: u64) {
        self.noise.iter_mut().for_each(|noise| noise.close(second));
    }

    /// What was learned of its noise loses weight, as after so many minutes.
    pub(super) fn fade(&mut self, minutes: f64) {
        self.noise.iter_mut().for_each(|noise| noise.fade(minutes));
    }

    /// Makes the tables anew where it is time to.
    pub(super) fn advance(&mut self, now: Timestamp) {
        if now >= self.refit_at {
            self.refit(now);
        }
    }

    fn refit(&mut self, now: Timestamp) {
        if self.answers() < NEEDED {
            return;
        }
        let spans = 1 + now.0.saturating_sub(self.refit_at.0) / REFIT_MS;
        let fade = 0.5_f64.powf(float(spans) * float(REFIT_MS) / HALF_LIFE_MS);
        let fade = if self.tables.is_some() { fade } else { 1.0 };
        for (sum, fresh) in self.counts.iter_mut().zip(&mut self.fresh) {
            *sum = *sum * fade + float(std::mem::take(fresh));
        }
        let tables = Tables::new(&self.counts, self.ratio);
        self.thresholds = Some(QUANTILES.map(|q| tables.quantile_bin(q)));
        self.tables = Some(Arc::new(tables));
        self.refit_at = now.after(REFIT);
    }

    /// Times that the tables rest on, decayed.
    pub(super) fn answers(&self) -> u64 {
        whole(self.counts.iter().sum::<f64>())
            .saturating_add(self.fresh.iter().sum::<u64>())
    }

    pub(super) fn tables(&self) -> Option<&Arc<Tables>> {
        self.tables.as_ref()
    }

    /// By so much evidence from these times is discounted.
    pub(super) fn phi(&self) -> f64 {
        self.noise.iter().map(Noise::phi).fold(1.0, f64::max)
    }

    /// Stable's 99th percentile times the ratio, in microseconds.
    pub(super) fn deadline_us(&self) -> Option<u64> {
        let tables = self.tables.as_ref()?;
        let p99 = upper_us(tables.p99_bin());
        Some(whole(p99 * self.ratio).max(self.floor_us))
    }

    /// Stable's share of times beyond that, 0 to 1.
    pub(super) fn slow_mass(&self) -> Option<f64> {
        Some(self.tables.as_ref()?.mass_from(bin_of(self.deadline_us()?)))
    }
}

/// The exclusive upper edge of a latency bin in microseconds (SPEC 4.1).
fn upper_us(bin: usize) -> f64 {
    let bin = u32::try_from(bin).unwrap_or(u32::MAX);
    128.0 * (f64::from(bin) / 4.0).exp2()
}

const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// Times before there is a table (SPEC 4.2).
pub(super) const NEEDED: u64 = 200;
const REFIT: std::time::Duration = std::time::Duration::from_secs(10);
const REFIT_MS: u64 = 10_000;
const HALF_LIFE_MS: f64 = 300_000.0;
