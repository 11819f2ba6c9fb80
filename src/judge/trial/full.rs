//! `Full`: a version that takes everything, with no stable beside it to compare (SPEC 5).
//!
//! Its failures and latencies are held against what stable did before. When that looks bad,
//! stable gets a part of the traffic back for half a minute, and the two are compared: a
//! version is not rolled back for an outage that the other one shares.

use super::baseline::Baseline;
use super::gauges::Split;
use super::stage::Brought;
use crate::judge::stats::bank::ALTERNATIVES;
use crate::judge::stats::detector::{Detector, detector_increment};
use crate::judge::stats::shell::ShellPlan;
use crate::judge::stats::split::RATIOS;
use crate::judge::sums::{BINS, Sums};
use crate::vocab::time::Timestamp;

/// The detectors of a version that takes everything.
#[derive(Clone, Debug)]
pub(super) struct Full {
    errors: Detector,
    latency: Detector,
    second_ends: Timestamp,
    open: Open,
    probe: Option<Probe>,
    rest_until: Timestamp,
}

#[derive(Clone, Debug)]
struct Open {
    bad: u64,
    known: u64,
    bins: [u64; BINS],
}

/// The comparison with stable while it has a part back.
#[derive(Clone, Debug)]
struct Probe {
    ends: Timestamp,
    errors: Split,
    slow: Split,
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
    /// The version is bad: whether for its failures, and the log odds it was told by.
    Bad { errors: bool, log_odds: f64, log_bound: f64 },
    /// The comparison is over and shows no fault of the version's.
    Shared,
}

impl Full {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            errors: Detector::new(&[0.2; RATIOS.len()], ALARM),
            latency: Detector::new(&[1.0 / 9.0; ALTERNATIVES], ALARM),
            second_ends: next_second(now),
            open: Open { bad: 0, known: 0, bins: [0; BINS] },
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
        version: &Sums,
        baseline: &Baseline,
    ) {
        if now > self.second_ends {
            self.errors.close();
            self.latency.close();
            self.open = Open { bad: 0, known: 0, bins: [0; BINS] };
            self.second_ends = next_second(now);
        }
        self.open.bad += brought.bad.0;
        self.open.known += brought.known.0;
        for (bin, count) in version.cells.iter().flat_map(|cell| baseline.folded(cell)) {
            self.open.bins[bin] += count;
        }
        self.look(now, baseline);
        let Some(probe) = &mut self.probe else { return };
        if now > probe.second_ends {
            probe.errors.close(baseline.errors());
            probe.slow.close(baseline.slow());
            probe.second_ends = next_second(now);
        }
        probe.stable += brought.known.1;
        probe.errors.add(brought.share, brought.bad, brought.known);
        probe.slow.add(brought.share, brought.slow, brought.known);
    }

    fn look(&mut self, now: Timestamp, baseline: &Baseline) {
        if let Some(null) = baseline.known_error_rate(now) {
            let phi = baseline.errors().phi();
            let Open { bad, known, .. } = self.open;
            let increments =
                RATIOS.map(|ratio| detector_increment(bad, known, null, ratio, phi));
            self.errors.set_open(&increments);
        }
        if let Some(tables) = baseline.tables() {
            let increments =
                tables.one_sample(&self.open.bins, baseline.phi_of_latency());
            self.latency.set_open(&increments);
        }
    }

    /// What follows at `now`.
    pub(super) fn decide(&mut self, now: Timestamp) -> Step {
        let (errors, latency) =
            (self.errors.log_statistic(), self.latency.log_statistic());
        let (is_errors, odds) =
            if errors >= latency { (true, errors) } else { (false, latency) };
        let bound = ALARM.ln();
        let bad =
            |log_odds, log_bound| Step::Bad { errors: is_errors, log_odds, log_bound };
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
                second_ends: next_second(now),
                stable: 0,
            });
            return Step::Probe;
        };
        let with = if is_errors { &probe.errors } else { &probe.slow };
        let compared = with.shell.log_evidence();
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
        let (until, mut fresh) = (self.rest_until, Self::new(now));
        fresh.rest_until = until;
        *self = fresh;
        Step::Shared
    }

    /// The log odds of failures and of latency, and their bound.
    pub(super) fn log_odds(&self) -> (f64, f64, f64) {
        (self.errors.log_statistic(), self.latency.log_statistic(), ALARM.ln())
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
