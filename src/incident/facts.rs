//! `Facts`: everything there is to say about one rollback, as plain values.
//!
//! Apart from the files that are made of it, because whoever carries a rollback out fills it
//! in and knows nothing of Markdown or SVG. Numbers are as measured; what is not known is
//! `None` or an empty list, and is shown as not known.

use serde::Serialize;

use crate::vocab::ids::Name;
use crate::vocab::outcome::Class;
use crate::vocab::record::RollbackRecord;
use crate::vocab::sample::Sample;
use crate::vocab::time::Timestamp;
use crate::vocab::times::Times;

/// Everything there is to say about one rollback.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// When these facts were put together.
    pub at: Timestamp,
    /// The rollback, as the audit log has it.
    pub record: RollbackRecord,
    /// What broke which rule; none for a rollback that somebody ordered.
    pub breaches: Vec<Breach>,
    /// What happened, in order of time.
    pub timeline: Vec<Moment>,
    /// The span that the numbers of the versions are of, in seconds.
    pub window_seconds: f64,
    /// The versions: first the one that lost its traffic, then the one that took it.
    pub versions: Vec<Version>,
    /// Failed exchanges with the version that lost its traffic, the oldest first.
    pub samples: Vec<Sample>,
    /// The configuration in force in lines for people, without secrets; its hash is in the
    /// record.
    pub config: String,
}

/// One rule with its numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Breach {
    /// The rule's name in the configuration.
    pub rule: String,
    /// How it was weighed: `sequential` or `window`.
    pub test: String,
    /// Whether it took the traffic away; others are there to be seen beside it.
    pub acted: bool,
    /// What was seen of the version.
    pub seen: Option<f64>,
    /// What was seen of stable.
    pub stable: Option<f64>,
    /// What the version was held against.
    pub limit: Option<f64>,
    /// The unit of these three.
    pub unit: Unit,
    /// The version's samples.
    pub samples: u64,
    /// Stable's samples.
    pub stable_samples: u64,
    /// The span that was looked at, in seconds.
    pub window_seconds: f64,
    /// The odds to one that the version is worse, where evidence was gathered.
    pub odds: Option<f64>,
    /// The odds that suffice.
    pub odds_needed: Option<f64>,
    /// All of it in one sentence.
    pub finding: String,
}

/// What a rule's numbers are measured in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A share of requests, 0 to 1.
    Share,
    /// A time in seconds.
    Seconds,
    /// Failed checks in a row.
    Checks,
    /// A plain number.
    #[default]
    Number,
}

impl Unit {
    /// The unit of that word, as the views of a trial have it; any other is a number.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "share" => Self::Share,
            "seconds" => Self::Seconds,
            "checks" => Self::Checks,
            _ => Self::Number,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// What, in a word or two, such as `protect.started` or `phase route_traffic`.
    pub event: String,
    /// More about it, in one sentence.
    pub detail: String,
}

/// What one version did over the window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Version {
    /// Its name.
    pub name: Name,
    /// The role it had when it began, such as `canary`.
    pub role: String,
    /// Requests that say something about it.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// How the requests ended, the classes that occurred.
    pub classes: Vec<ClassCount>,
    /// How long good answers took but streams of tokens.
    pub latency: Latency,
    /// How long streams took to their first token; nothing without streams.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub first_token: Latency,
    /// How long streams took for each token after the first.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub each_token: Latency,
    /// The window in slices of equal length, in order of time.
    pub slices: Vec<Slice>,
}

/// How many requests ended so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// How.
    pub class: Class,
    /// How many.
    pub count: u64,
}

/// How long good answers took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// The median, in microseconds.
    pub p50_us: Option<u64>,
    /// Nine in ten took no longer, in microseconds.
    pub p90_us: Option<u64>,
    /// 99 in a hundred took no longer, in microseconds.
    pub p99_us: Option<u64>,
    /// The whole distribution, in order; times that nobody had are left out.
    pub bars: Vec<Bar>,
}

/// So many answers took between these two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// The shortest of them, in microseconds.
    pub from_us: u64,
    /// The longest of them, in microseconds.
    pub to_us: u64,
    /// How many.
    pub count: u64,
}

/// What one version did in one slice of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Slice {
    /// When the slice began.
    pub at: Timestamp,
    /// Requests that say something about the version.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// 99 in a hundred good answers took no longer, in microseconds.
    pub p99_us: Option<u64>,
}

impl Latency {
    /// What was recorded, with its percentiles: the longest time of the step that the
    /// ranked answer is in, by the nearest-rank definition.
    #[must_use]
    pub fn of(times: &Times) -> Self {
        let bars = times.steps().map(|step| Bar {
            from_us: step.low_us,
            to_us: step.high_us,
            count: u64::from(step.count),
        });
        let bars: Vec<Bar> = bars.collect();
        let at = |percent| percentile(&bars, times.len(), percent);
        Self { p50_us: at(50), p90_us: at(90), p99_us: at(99), bars }
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bars.is_empty()
    }
}

impl Version {
    /// The failed share of its requests, 0 to 1; `None` without requests.
    #[must_use]
    pub fn error_rate(&self) -> Option<f64> {
        super::figures::share(self.failures, self.requests)
    }
}

fn percentile(bars: &[Bar], total: u64, percent: u64) -> Option<u64> {
    let rank = total.saturating_mul(percent).div_ceil(100).max(1);
    let mut below = 0_u64;
    let found = bars.iter().find(|bar| {
        below = below.saturating_add(bar.count);
        below >= rank
    });
    found.map(|bar| bar.to_us)
}

#[cfg(test)]
mod tests {
    use super::{Latency, Unit};
    use crate::vocab::times::Times;

    #[test]
    fn percentiles_are_of_the_answer_of_that_rank() {
        let mut times = Times::fine();
        (1..=1_000).for_each(|micros| times.record(micros));
        let latency = Latency::of(&times);
        let all = (latency.p50_us, latency.p90_us, latency.p99_us);
        assert_eq!(all, (Some(500), Some(900), Some(990)));
        assert_eq!(latency.bars.iter().map(|bar| bar.count).sum::<u64>(), 1_000);
        assert_eq!(Latency::of(&Times::fine()), Latency::default());
        let mut one = Times::fine();
        one.record(7);
        assert_eq!(Latency::of(&one).p99_us, Some(7));
    }

    #[test]
    fn units_are_read_as_the_views_write_them() {
        for (word, unit) in [
            ("share", Unit::Share),
            ("seconds", Unit::Seconds),
            ("checks", Unit::Checks),
            ("", Unit::Number),
        ] {
            assert_eq!(Unit::of(word), unit);
        }
    }
}
