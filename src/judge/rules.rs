//! `Rules`: the decision matrix of one route as validated values.

use std::time::Duration;

use crate::vocab::amount::Percent;

/// What a version must keep to.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// How often the numbers are read and judged.
    pub interval: Duration,
    /// The trailing span that the fixed-window rules look at.
    pub window: Duration,
    /// Bound on the chance of ever rolling back a version that is not worse, above 0 and at
    /// most a half.
    pub false_alarm: f64,
    /// How a first verdict is confirmed before it is final.
    pub confirm: Confirm,
    /// The rules.
    pub metrics: Vec<Metric>,
}

/// One rule and what follows when it is broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// The rule.
    pub rule: Rule,
    /// What follows.
    pub on_breach: OnBreach,
    /// Judge and show, but never act.
    pub dry_run: bool,
    /// How its numbers are weighed.
    pub test: Test,
}

/// How the numbers of a rule are weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Evidence is gathered from request to request and acts as soon as it suffices; the
    /// window stands behind it.
    Sequential,
    /// The trailing window against the limits, and nothing else.
    Window,
    /// Whichever comes first.
    Both,
}

/// How a first verdict is confirmed before it is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// It is not: the first verdict is final.
    Off,
    /// On copies of requests where there are any to copy, else on a trickle.
    Auto,
    /// On copies of requests.
    Mirror,
    /// On a quarter of the version's share.
    Trickle,
}

/// A limit on one number of a version.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Failed requests as a share of all that say anything about the version.
    ErrorRate {
        /// At most so many times stable's rate.
        max_ratio: Option<f64>,
        /// Rates up to this never break the ratio.
        floor: Percent,
        /// At most this, whatever stable does.
        max: Option<Percent>,
        /// Fewer requests of the version than this decide nothing.
        min_samples: u64,
    },
    /// The 99th percentile of the time of good answers: of the total time, but of streams of
    /// tokens the time to the first token and the time for each after it, each by itself.
    LatencyP99 {
        /// At most so many times stable's.
        max_ratio: Option<f64>,
        /// Times up to this never break the ratio; a time for each token up to a fifth of it.
        floor: Duration,
        /// At most this, whatever stable does; of a stream the time to the first token.
        max: Option<Duration>,
        /// Fewer good answers of either version than this decide nothing.
        min_samples: u64,
    },
    /// `unhealthyAfter` failed active health checks in a row, on every endpoint.
    HealthCheck,
}

/// A floor is this many times the one of the time for each token: that is the mean of many
/// waits, so that a scheduler disturbs it less.
pub(super) const TOKEN_FLOOR: u32 = 5;

impl Rule {
    /// The name in the configuration and in the `metric` label.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ErrorRate { .. } => "errorRate",
            Self::LatencyP99 { .. } => "latencyP99",
            Self::HealthCheck => "healthCheck",
        }
    }
}

/// What follows a broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBreach {
    /// The version loses its traffic.
    Rollback,
    /// The rollout of the version is paused.
    Pause,
    /// It is said, and nothing else.
    Alert,
}
