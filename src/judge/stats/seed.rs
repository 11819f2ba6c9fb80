//! The requirement's own rules, to the letter (decision/SPEC.md 9): strictly above, windows
//! that begin after their first moment and end with their last, and no data is no breach.
//! Apart from the sequential tests, which they stand behind and are compared with. What is
//! counted event by event is in [`events`](super::events), drift in [`ks`](super::ks).

use std::time::Duration;

use thiserror::Error;

use super::super::reading::float;

/// How many of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that count, as failures or completions.
    pub hits: u64,
    /// All.
    pub of: u64,
}

/// The mean of so many scores.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// The mean; means nothing without scores.
    pub mean: f64,
    /// How many scores.
    pub of: u64,
}

/// What one version did in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SeenVersion {
    /// Failures of all requests that say something about the version.
    pub errors: Tally,
    /// 99th percentile of the total time of good answers, microseconds.
    pub p99_us: Option<u64>,
    /// Good answers.
    pub good: u64,
    /// Requests completed of those that arrived.
    pub completed: Tally,
    /// Share of right answers among those whose truth is known, 0 to 1.
    pub accuracy: Score,
    /// Satisfaction, 0 to 1.
    pub satisfaction: Score,
}

/// What both versions did in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// The canary.
    pub canary: SeenVersion,
    /// Stable.
    pub stable: SeenVersion,
}

/// The number that a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedMetric {
    /// The canary's error rate as a multiple of stable's.
    ErrorRatio,
    /// The canary's error rate, 0 to 1.
    ErrorRate,
    /// The canary's p99 as a multiple of stable's.
    P99Ratio,
    /// The canary's p99, milliseconds.
    P99Millis,
    /// Stable's accuracy less the canary's.
    AccuracyDrop,
    /// Stable's satisfaction less the canary's.
    SatisfactionDrop,
    /// The canary's share of completed requests as a multiple of stable's.
    ThroughputRatio,
}

/// On which side of the threshold a rule is broken; on the threshold it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparator {
    /// Above it.
    Above,
    /// Below it.
    Below,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Seed {
    /// What it looks at.
    pub metric: SeedMetric,
    /// Which side of the threshold breaks it.
    pub comparator: Comparator,
    /// The threshold, in the metric's unit.
    pub threshold: f64,
    /// How long each window is; windows follow each other without overlap.
    pub window: Duration,
    /// How many windows in a row must break it, at least 1.
    pub consecutive: u32,
    /// Windows with fewer samples than this, of any version that it reads, break nothing.
    pub min_samples: u64,
    /// Whether it may act only while the comparison of both versions says that the canary
    /// is the cause; asked only while stable has traffic.
    pub gate: bool,
}

/// Why a rule cannot be held against a number.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum SeedError {
    /// A number is not finite.
    #[error("{what} is {value}, not a finite number")]
    NotFinite {
        /// Whose number.
        what: &'static str,
        /// The number.
        value: f64,
    },
    /// Something is zero that must not be.
    #[error("{what} is zero")]
    Zero {
        /// What is.
        what: &'static str,
    },
}

/// What a rule says of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedOutcome {
    /// There is nothing to look at.
    NoData,
    /// There is too little.
    Few {
        /// The samples of the version that has fewer.
        samples: u64,
        /// How many it takes.
        needed: u64,
    },
    /// The rule is kept.
    Kept,
    /// The rule is broken, but not in enough windows running.
    Broken {
        /// In how many.
        run: u32,
        /// How many it takes.
        needed: u32,
    },
    /// The rule is broken and the canary is not known to be the cause.
    Shared,
    /// The rule acts.
    Fires,
}

impl Tally {
    /// The share of hits, 0 to 1; `None` of nothing.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        (self.of > 0).then(|| float(self.hits) / float(self.of))
    }

    /// This share as a multiple of another's, infinite over none; `None` when either is of
    /// nothing or both are zero. Divides only once, so that no rounding makes an exact
    /// multiple more than it is.
    #[must_use]
    pub fn ratio(self, other: Self) -> Option<f64> {
        let over = float(self.hits) * float(other.of);
        let under = float(other.hits) * float(self.of);
        let known = self.of > 0 && other.of > 0 && (over > 0.0 || under > 0.0);
        known.then(|| over / under)
    }
}

impl SeedMetric {
    /// The metric's number; `None` without data.
    ///
    /// # Errors
    /// A score is not a finite number.
    pub fn value(self, seen: &Seen) -> Result<Option<f64>, SeedError> {
        let (canary, stable) = (&seen.canary, &seen.stable);
        Ok(match self {
            Self::ErrorRatio => canary.errors.ratio(stable.errors),
            Self::ErrorRate => canary.errors.share(),
            Self::P99Ratio => match (canary.p99_us, stable.p99_us) {
                (Some(0), Some(0)) => None,
                (Some(canary), Some(stable)) => Some(float(canary) / float(stable)),
                _ => None,
            },
            Self::P99Millis => canary.p99_us.map(|us| float(us) / 1000.0),
            Self::AccuracyDrop => drop_of(canary.accuracy, stable.accuracy, "accuracy")?,
            Self::SatisfactionDrop => {
                drop_of(canary.satisfaction, stable.satisfaction, "satisfaction")?
            }
            Self::ThroughputRatio => canary.completed.ratio(stable.completed),
        })
    }

    /// The samples behind it, of the version that has fewer where it reads both.
    #[must_use]
    pub fn samples(self, seen: &Seen) -> u64 {
        let both = |of: fn(&SeenVersion) -> u64| of(&seen.canary).min(of(&seen.stable));
        match self {
            Self::ErrorRatio => both(|version| version.errors.of),
            Self::ErrorRate => seen.canary.errors.of,
            Self::P99Ratio => both(|version| version.good),
            Self::P99Millis => seen.canary.good,
            Self::AccuracyDrop => both(|version| version.accuracy.of),
            Self::SatisfactionDrop => both(|version| version.satisfaction.of),
            Self::ThroughputRatio => both(|version| version.completed.of),
        }
    }

    /// What rounding may add to the number without meaning anything.
    fn slack(self) -> f64 {
        match self {
            Self::AccuracyDrop | Self::SatisfactionDrop => 1e-12,
            Self::ErrorRatio
            | Self::ErrorRate
            | Self::P99Ratio
            | Self::P99Millis
            | Self::ThroughputRatio => 0.0,
        }
    }
}

impl Seed {
    /// A rule that one window breaks, whatever its samples, and that is gated: throughput
    /// below the threshold, anything else above it.
    #[must_use]
    pub fn new(metric: SeedMetric, threshold: f64, window: Duration) -> Self {
        let comparator = if metric == SeedMetric::ThroughputRatio {
            Comparator::Below
        } else {
            Comparator::Above
        };
        Self {
            metric,
            comparator,
            threshold,
            window,
            consecutive: 1,
            min_samples: 0,
            gate: true,
        }
    }

    /// Whether what was seen is beyond the threshold; `None` without data. Knows nothing of
    /// samples, runs and gates.
    ///
    /// # Errors
    /// A score is not a finite number.
    pub fn breaks(&self, seen: &Seen) -> Result<Option<bool>, SeedError> {
        let slack = self.metric.slack();
        Ok(self.metric.value(seen)?.map(|value| match self.comparator {
            Comparator::Above => value > self.threshold + slack,
            Comparator::Below => value < self.threshold - slack,
        }))
    }
}

/// One rule over one window after another.
#[derive(Clone, Debug)]
pub struct SeedWatch {
    seed: Seed,
    ends: Duration,
    run: u32,
}

impl SeedWatch {
    /// A watch whose first window begins at `start`.
    ///
    /// # Errors
    /// The threshold is not finite, or the window or the number of windows is zero.
    pub fn new(seed: Seed, start: Duration) -> Result<Self, SeedError> {
        finite("threshold", seed.threshold)?;
        for (what, zero) in
            [("window", seed.window.is_zero()), ("consecutive", seed.consecutive == 0)]
        {
            if zero {
                return Err(SeedError::Zero { what });
            }
        }
        let ends = start.saturating_add(seed.window);
        Ok(Self { seed, ends, run: 0 })
    }

    /// The last moment of the open window, which still belongs to it.
    #[must_use]
    pub fn ends(&self) -> Duration {
        self.ends
    }

    /// Closes the window with what was seen in it and opens the next one. `log_evidence` is
    /// the comparison's, ln of the odds that the canary is worse.
    ///
    /// # Errors
    /// A number is not finite. The window is over and broke nothing then, and so is the run.
    pub fn close(
        &mut self,
        seen: &Seen,
        log_evidence: f64,
    ) -> Result<SeedOutcome, SeedError> {
        self.ends = self.ends.saturating_add(self.seed.window);
        let run = std::mem::take(&mut self.run);
        if log_evidence.is_nan() {
            return Err(not_finite("evidence", log_evidence));
        }
        let Some(broken) = self.seed.breaks(seen)? else {
            return Ok(SeedOutcome::NoData);
        };
        let (samples, needed) = (self.seed.metric.samples(seen), self.seed.min_samples);
        if samples < needed {
            return Ok(SeedOutcome::Few { samples, needed });
        }
        if !broken {
            return Ok(SeedOutcome::Kept);
        }
        self.run = run.saturating_add(1);
        let needed = self.seed.consecutive;
        if self.run < needed {
            return Ok(SeedOutcome::Broken { run: self.run, needed });
        }
        let asked = self.seed.gate && has_traffic(&seen.stable);
        if asked && log_evidence < CAUSE.ln() {
            return Ok(SeedOutcome::Shared);
        }
        Ok(SeedOutcome::Fires)
    }

    /// Passes over windows that ended before `now` without anything to see. The run is over
    /// if there was one.
    pub fn skip_to(&mut self, now: Duration) {
        let late = now.saturating_sub(self.ends);
        let windows = late.as_nanos().div_ceil(self.seed.window.as_nanos());
        if windows > 0 {
            let windows = u32::try_from(windows).unwrap_or(u32::MAX);
            self.ends =
                self.ends.saturating_add(self.seed.window.saturating_mul(windows));
            self.run = 0;
        }
    }
}

fn drop_of(
    canary: Score,
    stable: Score,
    what: &'static str,
) -> Result<Option<f64>, SeedError> {
    if canary.of == 0 || stable.of == 0 {
        return Ok(None);
    }
    Ok(Some(finite(what, stable.mean)? - finite(what, canary.mean)?))
}

fn has_traffic(version: &SeenVersion) -> bool {
    version.errors.of > 0 || version.good > 0 || version.completed.of > 0
}

fn finite(what: &'static str, value: f64) -> Result<f64, SeedError> {
    if value.is_finite() { Ok(value) } else { Err(not_finite(what, value)) }
}

fn not_finite(what: &'static str, value: f64) -> SeedError {
    SeedError::NotFinite { what, value }
}

/// The evidence from which on the canary is taken to be the cause (decision/SPEC.md 5).
const CAUSE: f64 = 100.0;

#[cfg(test)]
#[path = "seed_tests.rs"]
mod tests;
