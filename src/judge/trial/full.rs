//! `Full`: a version that takes everything, with no stable beside it to compare (SPEC 5).
//!
//! Its failures and latencies are held against what stable did before. When that looks bad,
//! stable gets a part of the traffic back for half a minute, and the two are compared: a
//! version is not rolled back for an outage that the other one shares.

use super::baseline::Baseline;
use super::gauges::{Bank, Split};
use super::stage::{Brought, Gauge};
use crate::judge::stats::bank::ALTERNATIVES;
use crate::judge::stats::detector::{Detector, detector_increment};
use crate::judge::stats::shell::ShellPlan;
use crate::judge::stats::split::RATIOS;
use crate::judge::sums::{BINS, Sums, Timing};
use crate::vocab::time::Timestamp;

/// For which of its signs a version that takes everything may lose traffic. Stable gets no
/// part back for a sign that no rule acts on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    pub(super) errors: bool,
    pub(super) latency: bool,
}

/// The detectors of a version that takes everything.
#[derive(Clone, Debug)]
pub(super) struct Full {
    watched: Watched,
    errors: Detector,
    /// By [`Timing`].
    latency: [Detector; KINDS],
    second_ends: Timestamp,
    open: Open,
    probe: Option<Probe>,
    rest_until: Timestamp,
}

#[derive(Clone, Debug)]
struct Open {
    bad: u64,
    known: u64,
    bins: [[u64; BINS]; KINDS],
}

const KINDS: usize = Timing::ALL.len();

/// The comparison with stable while it has a part back.
#[derive(Clone, Debug)]
struct Probe {
    ends: Timestamp,
    errors: Split,
    slow: Split,
    pace: Bank,
    second_ends: Timestamp,
    stable: u64,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing.
    Go,
    /// Give stable a part back.
    Probe,
    /// The version is bad: what for, and the log odds it was told by.
    Bad { gauge: Gauge, log_odds: f64, log_bound: f64 },
    /// The comparison is over and shows no fault of the version's.
    Shared,
}

impl Full {
    pub(super) fn new(now: Timestamp, watched: Watched) -> Self {
        Self {
            watched,
            errors: Detector::new(&[0.2; RATIOS.len()], ALARM),
            latency: Timing::ALL
                .map(|_| Detector::new(&[1.0 / 9.0; ALTERNATIVES], ALARM)),
            second_ends: next_second(now),
            open: Open { bad: 0, known: 0, bins: [[0; BINS]; KINDS] },
            probe: None,
            rest_until: now,
        }
    }

    pub(super) fn is_probing(&self) -> bool {
        self.probe.is_some()
    }

    /// Takes in what the version did, and what stable did while it has a part back.
    pub(super) fn observe(
        &mut self,
        now: Timestamp,
        brought: &Brought,
        (version, stable): (&Sums, &Sums),
        baseline: &Baseline,
    ) {
        if now > self.second_ends {
            self.errors.close();
            self.latency.iter_mut().for_each(Detector::close);
            self.open = Open { bad: 0, known: 0, bins: [[0; BINS]; KINDS] };
            self.second_ends = next_second(now);
        }
        self.open.bad += brought.bad.0;
        self.open.known += brought.known.0;
        let whole = version.cells.iter().map(|cell| (Timing::Whole, &cell.bins));
        let streams = version.streams.iter().flat_map(|stream| {
            [(Timing::FirstToken, &stream.first), (Timing::EachToken, &stream.each)]
        });
        for (timing, bins) in whole.chain(streams) {
            for (bin, count) in baseline.law(timing).folded(bins) {
                self.open.bins[timing as usize][bin] += count;
            }
        }
        self.look(now, baseline);
        let Some(probe) = &mut self.probe else { return };
        if now > probe.second_ends {
            probe.errors.close(baseline.errors());
            probe.slow.close(baseline.slow());
            let law = baseline.law(Timing::EachToken);
            probe.pace.close(law.tables(), law.phi());
            probe.second_ends = next_second(now);
        }
        probe.stable += brought.known.1;
        probe.errors.add(brought.share, brought.bad, brought.known);
        probe.slow.add(brought.share, brought.slow, brought.known);
        for (is_version, sums) in [(true, version), (false, stable)] {
            for stream in &sums.streams {
                let law = baseline.law(Timing::EachToken);
                for (bin, count) in law.folded(&stream.each) {
                    probe.pace.add(is_version, bin, count);
                }
            }
        }
        probe.pace.look();
    }

    fn look(&mut self, now: Timestamp, baseline: &Baseline) {
        if let Some(null) = baseline.known_error_rate(now) {
            let phi = baseline.errors().phi();
            let Open { bad, known, .. } = self.open;
            let increments =
                RATIOS.map(|ratio| detector_increment(bad, known, null, ratio, phi));
            self.errors.set_open(&increments);
        }
        for timing in Timing::ALL {
            let (law, at) = (baseline.law(timing), timing as usize);
            if let Some(tables) = law.tables() {
                let increments = tables.one_sample(&self.open.bins[at], law.phi());
                self.latency[at].set_open(&increments);
            }
        }
    }

    /// What follows at `now`.
    pub(super) fn decide(&mut self, now: Timestamp) -> Step {
        let weight = |counts: bool, odds: f64| if counts { odds } else { 0.0 };
        let (timing, latency) = self.slowest();
        let latency = weight(self.watched.latency, latency);
        let errors = weight(self.watched.errors, self.errors.log_statistic());
        let (gauge, odds) = match timing {
            _ if errors >= latency => (Gauge::Errors, errors),
            Timing::Whole | Timing::FirstToken => (Gauge::Slow, latency),
            Timing::EachToken => (Gauge::Latency(timing), latency),
        };
        let bound = ALARM.ln();
        let bad = |log_odds, log_bound| Step::Bad { gauge, log_odds, log_bound };
        let Some(probe) = &self.probe else {
            if odds < bound / 2.0 || now < self.rest_until {
                return Step::Go;
            }
            let plan =
                ShellPlan { alpha: 1e-3, initial: 1.0, least_buckets: 3, restarts: 1 };
            self.probe = Some(Probe {
                ends: now.after(PROBE),
                errors: Split::new(&RATIOS, &plan),
                slow: Split::new(&RATIOS, &plan),
                pace: Bank::new(&plan),
                second_ends: next_second(now),
                stable: 0,
            });
            return Step::Probe;
        };
        let compared = match gauge {
            Gauge::Errors => probe.errors.shell.log_evidence(),
            Gauge::Slow => probe.slow.shell.log_evidence(),
            Gauge::Latency(_) => probe.pace.shell.log_evidence(),
        };
        let told = odds >= bound && compared >= PROBE_ODDS.ln();
        if told || compared >= SURE_ODDS.ln() {
            return bad(odds, bound);
        }
        if now < probe.ends {
            return Step::Go;
        }
        // Without an answer of stable there is nobody to compare with: history decides.
        let alone = probe.stable == 0;
        self.probe = None;
        self.rest_until = now.after(REST);
        if alone && odds >= bound {
            return bad(odds, bound);
        }
        let (until, mut fresh) = (self.rest_until, Self::new(now, self.watched));
        fresh.rest_until = until;
        *self = fresh;
        Step::Shared
    }

    /// The log odds of failures and of latency, and their bound.
    pub(super) fn log_odds(&self) -> (f64, f64, f64) {
        (self.errors.log_statistic(), self.slowest().1, ALARM.ln())
    }

    /// The kind of times that speak most against the version, and how much.
    fn slowest(&self) -> (Timing, f64) {
        let mut worst = (Timing::Whole, self.latency[0].log_statistic());
        for timing in [Timing::FirstToken, Timing::EachToken] {
            let odds = self.latency[timing as usize].log_statistic();
            if odds > worst.1 {
                worst = (timing, odds);
            }
        }
        worst
    }
}

fn next_second(now: Timestamp) -> Timestamp {
    Timestamp((now.0 / 1_000 + 1) * 1_000)
}

/// Mean seconds between false alarms, at least: thirty days.
const ALARM: f64 = 2_592_000.0;
const PROBE: std::time::Duration = std::time::Duration::from_secs(30);
/// After a comparison that showed nothing, the next comes no sooner.
const REST: std::time::Duration = std::time::Duration::from_secs(300);
const PROBE_ODDS: f64 = 20.0;
const SURE_ODDS: f64 = 1_000.0;
