//! `Reading`: one version's numbers over one window; `Observation`: canary beside stable.
//!
//! Apart from the window that makes them, because they are all that [`judge`] sees: plain
//! values that can be written down and judged again.
//!
//! [`judge`]: super::judge

use std::time::Duration;

use super::sparse::Sparse;
use super::sums::Timing;

/// What one version did over the trailing window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The span it looks back at.
    pub span: Duration,
    /// Requests that say something about the version.
    pub samples: u64,
    /// Those of them that are the version's failures.
    pub failures: u64,
    /// Good answers but streams of tokens, whose total times are known.
    pub good: u64,
    /// Median of the total time of good answers, microseconds.
    pub p50_us: Option<u64>,
    /// 99th percentile of it, microseconds: at most one in a hundred took longer.
    pub p99_us: Option<u64>,
    times: Sparse,
    /// Times to the first token of streams.
    pub first_token: Spread,
    /// Times for each token of streams after the first, one of each good stream.
    pub each_token: Spread,
}

/// What one kind of times came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    /// How many there were.
    pub count: u64,
    /// Their median, microseconds.
    pub p50_us: Option<u64>,
    /// Their 99th percentile, microseconds.
    pub p99_us: Option<u64>,
    times: Sparse,
}

impl Spread {
    pub(super) fn of(times: &Sparse) -> Self {
        Self {
            count: times.total(),
            p50_us: times.percentile(50),
            p99_us: times.percentile(99),
            times: times.clone(),
        }
    }

    fn kind(&self) -> Kind<'_> {
        Kind { count: self.count, p99_us: self.p99_us, times: &self.times }
    }
}

/// A kind of times within a reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind<'a> {
    pub(super) count: u64,
    pub(super) p99_us: Option<u64>,
    times: &'a Sparse,
}

impl Kind<'_> {
    /// How many took longer than so many microseconds.
    pub(super) fn slower_than(&self, limit_us: u64) -> u64 {
        self.times.above(limit_us)
    }
}

impl Reading {
    pub(super) fn new(
        span: Duration,
        samples: u64,
        failures: u64,
        times: Sparse,
    ) -> Self {
        Self {
            span,
            samples,
            failures,
            good: times.total(),
            p50_us: times.percentile(50),
            p99_us: times.percentile(99),
            times,
            first_token: Spread::default(),
            each_token: Spread::default(),
        }
    }

    /// Whether any answer was a stream of tokens.
    #[must_use]
    pub fn has_streams(&self) -> bool {
        self.first_token.count > 0
    }

    /// The times of a kind.
    pub(super) fn spread(&self, timing: Timing) -> Kind<'_> {
        match timing {
            Timing::Whole => {
                Kind { count: self.good, p99_us: self.p99_us, times: &self.times }
            }
            Timing::FirstToken => self.first_token.kind(),
            Timing::EachToken => self.each_token.kind(),
        }
    }

    /// The 99th percentile that the latency rule looks at first: of whole answers, or of the
    /// first tokens where there is nothing but streams; microseconds.
    #[must_use]
    pub fn judged_p99_us(&self) -> Option<u64> {
        self.p99_us.or(self.first_token.p99_us)
    }

    /// Failed share of the samples, 0 to 1; `None` without samples.
    #[must_use]
    pub fn error_rate(&self) -> Option<f64> {
        (self.samples > 0).then(|| float(self.failures) / float(self.samples))
    }

    /// How many good answers took longer than so many microseconds.
    #[must_use]
    pub fn slower_than(&self, limit_us: u64) -> u64 {
        self.times.above(limit_us)
    }
}

/// The health of a whole version, by its active checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// There are no checks, or none has an answer yet.
    #[default]
    Unchecked,
    /// At least one endpoint passes.
    Healthy,
    /// Every endpoint fails.
    Unhealthy {
        /// How many checks have failed in a row, on the endpoint that has failed fewest.
        failed_checks: u32,
    },
}

/// What is judged: the canary beside stable, over the same window.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// What the canary did.
    pub canary: &'a Reading,
    /// What stable did.
    pub stable: &'a Reading,
    /// The canary's health.
    pub canary_health: Health,
    /// Stable's health.
    pub stable_health: Health,
}

/// The whole part of a number: a whole number is above it exactly when it is above the
/// argument. What is below zero or no number is zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "cutting off is wanted, and the cast saturates"
)]
pub(super) fn whole(number: f64) -> u64 {
    number as u64
}

/// A count as a real number.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts stay below 2^53; above it the loss is a part in 2^53"
)]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
