//! Kayenta's judge (spinnaker.io, "How canary judgment works"): the Mann-Whitney test on
//! per-minute series, scored every five minutes over all minutes so far.
//!
//! Apart from the other peers because it is the one with statistics of its own, which are
//! those that Switchback has for policies that come from there.

use switchback::judge::stats::rank::{Side, rank_test};

use crate::peer::{Pair, Peer};

/// A metric fails when the 98 % confidence interval of its shift lies above a quarter of the
/// shift; fewer than 75 of 100 points roll back.
#[derive(Debug, Default)]
pub(crate) struct Kayenta {
    open: Pair,
    errors: Series,
    latency: Series,
}

/// One number of both versions, minute by minute; minutes without data are left out.
#[derive(Debug, Default)]
struct Series {
    canary: Vec<f64>,
    stable: Vec<f64>,
}

impl Series {
    fn push(&mut self, canary: Option<f64>, stable: Option<f64>) {
        self.canary.extend(canary);
        self.stable.extend(stable);
    }

    /// Whether it is classified as high; `None` without data.
    fn is_high(&self) -> Option<bool> {
        let test = rank_test(&self.canary, &self.stable).ok()?;
        Some(test.side(TOLERANCE) == Side::Higher)
    }
}

impl Peer for Kayenta {
    fn name(&self) -> &'static str {
        "Kayenta, Mann-Whitney"
    }

    fn second(&mut self, t: u64, counts: &Pair) -> bool {
        self.open.merge(counts);
        if t.is_multiple_of(60) {
            let Pair { canary, stable } = std::mem::take(&mut self.open);
            self.errors.push(canary.error_rate(), stable.error_rate());
            self.latency.push(canary.p99_us(), stable.p99_us());
        }
        if !t.is_multiple_of(300) {
            return false;
        }
        let judged = [self.errors.is_high(), self.latency.is_high()];
        let (mut passed, mut all) = (0.0, 0.0);
        for is_high in judged.into_iter().flatten() {
            all += 1.0;
            passed += if is_high { 0.0 } else { 1.0 };
        }
        all > 0.0 && passed / all < PASSING
    }
}

const TOLERANCE: f64 = 0.25;
const PASSING: f64 = 0.75;
