//! `Scenario`: what is simulated, as plain values.
//!
//! Apart from the world that plays it and from the list of those that are played.

use std::fmt;

use crate::law::{Law, Part};

/// One row of the tables: traffic, a fault of the canary's, and what else goes on.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Its place in the report, as in `errors 5x, 100/s`. Seeds depend on it.
    pub(crate) name: String,
    /// Which table it belongs to.
    pub(crate) group: Group,
    /// Requests a second, both versions together.
    pub(crate) rate: f64,
    /// The canary's share of them, 0 to 1.
    pub(crate) share: f64,
    /// Stable's error rate, 0 to 1.
    pub(crate) errors: f64,
    /// What is wrong with the canary.
    pub(crate) fault: Fault,
    /// Seconds after the canary's begin at which it goes wrong.
    pub(crate) onset_s: u64,
    /// What else goes on.
    pub(crate) weather: Weather,
    /// Endpoints of the canary and of stable.
    pub(crate) pods: (usize, usize),
    /// Whether latencies are drawn and the latency rule is on.
    pub(crate) timed: bool,
    /// The deviation of the logarithm of stable's times, whose median is 50 ms.
    pub(crate) sigma: f64,
    /// Seconds after which a rollout ends by itself.
    pub(crate) horizon_s: u64,
    /// How many rollouts.
    pub(crate) rollouts: u64,
    /// In how many of them the peers take part.
    pub(crate) with_peers: u64,
}

/// Which table a scenario belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// Equal versions: what is rolled back is a false alarm.
    Equal,
    /// Equal versions, with faults that hit one endpoint at a time.
    Bursts,
    /// More errors.
    Errors,
    /// More errors, with traffic so low that no bucket's length matters.
    Bound,
    /// Slower, hung, or not there at all.
    Latency,
    /// Errors that begin late, or in bad weather.
    Late,
    /// A canary that is slow at first.
    Cold,
    /// Good canaries and canaries at the margin: who is promoted.
    Promotion,
    /// Every combination of traffic, share, error rate and ratio.
    Grid,
}

impl Group {
    pub(crate) const ALL: [Self; 9] = [
        Self::Equal,
        Self::Bursts,
        Self::Errors,
        Self::Bound,
        Self::Latency,
        Self::Late,
        Self::Cold,
        Self::Promotion,
        Self::Grid,
    ];

    /// The table's title.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Equal => "Equal versions",
            Self::Bursts => "Equal versions, bursts of single endpoints",
            Self::Errors => "More errors",
            Self::Bound => "Delay beside Wald's bound",
            Self::Latency => "Slower, hung, refusing",
            Self::Late => "Late and in bad weather",
            Self::Cold => "Cold canaries",
            Self::Promotion => "Promotion",
            Self::Grid => "The whole grid",
        }
    }

    /// Whether its canaries are no worse than stable.
    pub(crate) fn is_equal(self) -> bool {
        matches!(self, Self::Equal | Self::Bursts)
    }
}

/// What is wrong with the canary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// So many times stable's errors.
    Errors(f64),
    /// Every answer takes so many times as long.
    Scale(f64),
    /// Three answers in a hundred take so many times stable's 99th percentile.
    Tail(f64),
    /// That share of the answers moves to where stable's slowest tenth is.
    Middle(f64),
    /// The first so many answers take eight times as long.
    Cold(u64),
    /// Requests are taken and never answered.
    Hang,
    /// Connections are refused.
    Refuse,
}

/// What goes on beside, to both versions alike unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Weather {
    /// Nothing.
    Calm,
    /// For 120 s somewhere in the hour, 40 % of all requests fail.
    Outage,
    /// For 420 s somewhere in the hour, 10 % of all requests fail.
    BrownOut,
    /// Traffic and errors swing between a third and three times their mean.
    Diurnal,
    /// The error rate wanders between a tenth and ten times its begin.
    Walk,
    /// The share goes 1, 5, 25, 50 %, a quarter of an hour each.
    Ramp,
    /// The share goes up a step after ten seconds without a canary error, and down after
    /// ten with one, as a controller would.
    Obliging,
    /// The same the other way round, as an adversary would.
    Spiteful,
    /// Each endpoint by itself fails so large a part of its requests, for so many seconds,
    /// every so many seconds on average.
    Bursts {
        /// How long one lasts.
        seconds: f64,
        /// The part that fails, 0 to 1.
        depth: f64,
        /// Mean seconds between two of one endpoint.
        every: f64,
    },
}

impl Scenario {
    /// A calm hour of a good canary at 10 % of so many requests a second, with errors alone.
    pub(crate) fn new(group: Group, rate: f64) -> Self {
        Self {
            name: String::new(),
            group,
            rate,
            share: 0.1,
            errors: 0.01,
            fault: Fault::None,
            onset_s: 0,
            weather: Weather::Calm,
            pods: even_pods(0.1),
            timed: false,
            sigma: 0.5,
            horizon_s: 3_600,
            rollouts: 0,
            with_peers: 0,
        }
    }

    /// How long stable's answers take.
    pub(crate) fn stable_law(&self) -> Law {
        Law::new(&[Part(1.0, MEDIAN_US, self.sigma)])
    }

    /// How long the canary's answers take once it has gone wrong.
    pub(crate) fn faulty_law(&self) -> Law {
        let base = |chance| Part(chance, MEDIAN_US, self.sigma);
        let quantile = |z: f64| MEDIAN_US * (self.sigma * z).exp();
        match self.fault {
            Fault::Scale(factor) => {
                Law::new(&[Part(1.0, MEDIAN_US * factor, self.sigma)])
            }
            Fault::Cold(_) => Law::new(&[Part(1.0, MEDIAN_US * COLD, self.sigma)]),
            Fault::Tail(factor) => {
                Law::new(&[base(0.97), Part(0.03, factor * quantile(Z99), 0.1)])
            }
            Fault::Middle(part) => {
                Law::new(&[base(1.0 - part), Part(part, quantile(Z95), 0.05)])
            }
            Fault::None | Fault::Errors(_) | Fault::Hang | Fault::Refuse => {
                self.stable_law()
            }
        }
    }

    /// Whether what harms users is slowness.
    pub(crate) fn is_about_time(&self) -> bool {
        match self.fault {
            Fault::Scale(_)
            | Fault::Tail(_)
            | Fault::Middle(_)
            | Fault::Cold(_)
            | Fault::Hang => true,
            Fault::None | Fault::Errors(_) | Fault::Refuse => false,
        }
    }

    /// The factor on stable's error rate; one where errors are not the fault.
    pub(crate) fn ratio(&self) -> f64 {
        match self.fault {
            Fault::Errors(ratio) => ratio,
            Fault::None
            | Fault::Scale(_)
            | Fault::Tail(_)
            | Fault::Middle(_)
            | Fault::Cold(_)
            | Fault::Hang
            | Fault::Refuse => 1.0,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("equal"),
            Self::Errors(ratio) => write!(f, "errors {ratio}x"),
            Self::Scale(factor) => write!(f, "latency {factor}x"),
            Self::Tail(factor) => write!(f, "3 % at {factor}x p99"),
            Self::Middle(part) => write!(f, "{} % at p95", part * 100.0),
            Self::Cold(answers) => write!(f, "first {answers} answers 8x"),
            Self::Hang => f.write_str("hangs"),
            Self::Refuse => f.write_str("refuses connections"),
        }
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calm => f.write_str("calm"),
            Self::Outage => f.write_str("shared outage"),
            Self::BrownOut => f.write_str("shared brown-out"),
            Self::Diurnal => f.write_str("diurnal load and errors"),
            Self::Walk => f.write_str("random walk"),
            Self::Ramp => f.write_str("ramp"),
            Self::Obliging => f.write_str("ramp that follows outcomes"),
            Self::Spiteful => f.write_str("ramp against outcomes"),
            Self::Bursts { seconds, depth, every } => {
                let (depth, every) = (depth * 100.0, every / 60.0);
                write!(f, "{seconds} s at {depth} % every {every} min")
            }
        }
    }
}

/// Endpoints of the canary and of stable, so that each gets about as many requests.
pub(crate) fn even_pods(share: f64) -> (usize, usize) {
    if share > 0.4 {
        (3, 3)
    } else if share > 0.07 {
        (1, 9)
    } else {
        (1, 19)
    }
}

const MEDIAN_US: f64 = 50_000.0;
const COLD: f64 = 8.0;
const Z95: f64 = 1.645;
const Z99: f64 = 2.326;
