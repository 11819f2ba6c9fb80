//! The rules that others decide by, from their own public documents, and two baselines.
//!
//! Each sees one second's counts at a time and says once that it would roll back. They get
//! what they would scrape: complete counts, no loss, no delay.

use switchback::judge::{BINS, Sums};

use crate::number::{float, float_of, normal_tail};

/// What one version did in some span.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) known: u64,
    pub(crate) bad: u64,
    pub(crate) bins: [u64; BINS],
}

impl Default for Counts {
    fn default() -> Self {
        Self { known: 0, bad: 0, bins: [0; BINS] }
    }
}

impl Counts {
    /// Adds what a version did; its times only where they are looked at.
    pub(crate) fn add(&mut self, sums: &Sums, timed: bool) {
        for cell in &sums.cells {
            self.known += cell.known;
            self.bad += cell.bad;
            if timed {
                let bins = self.bins.iter_mut().zip(cell.bins);
                bins.for_each(|(sum, more)| *sum += u64::from(more));
            }
        }
    }

    fn merge(&mut self, more: &Self) {
        self.known += more.known;
        self.bad += more.bad;
        self.bins.iter_mut().zip(more.bins).for_each(|(sum, more)| *sum += more);
    }

    /// Failed share, 0 to 1.
    pub(crate) fn error_rate(&self) -> Option<f64> {
        (self.known > 0).then(|| float(self.bad) / float(self.known))
    }

    /// 99th percentile of good answers, microseconds: the upper edge of its bin, as from a
    /// histogram with buckets.
    pub(crate) fn p99_us(&self) -> Option<f64> {
        let good: u64 = self.bins.iter().sum();
        let needed = good - good / 100;
        let mut seen = 0;
        let bin = self.bins.iter().position(|count| {
            seen += count;
            good > 0 && seen >= needed
        })?;
        Some(128.0 * (float_of(bin) / 4.0).exp2())
    }
}

/// Canary and stable over the same span.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pair {
    pub(crate) canary: Counts,
    pub(crate) stable: Counts,
}

impl Pair {
    pub(crate) fn merge(&mut self, more: &Self) {
        self.canary.merge(&more.canary);
        self.stable.merge(&more.stable);
    }
}

/// A rule that decides by itself.
pub(crate) trait Peer {
    /// Its column in the table.
    fn name(&self) -> &'static str;
    /// One more second; `t` seconds are over. Whether it rolls back now.
    fn second(&mut self, t: u64, counts: &Pair) -> bool;
}

/// All of them, fresh.
pub(crate) fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(Flagger::tutorial()),
        Box::new(Flagger::tuned()),
        Box::new(Argo::documented()),
        Box::new(Argo::tuned()),
        Box::new(crate::kayenta::Kayenta::default()),
        Box::new(crate::window::FiveMinutes::default()),
        Box::new(Peeking::default()),
    ]
}

/// Flagger's canary analysis (flagger.app, "Deployment Strategies" and "Metrics Analysis"):
/// checks every minute; a check fails when the canary's success rate or its latency is out
/// of range, or when there is no traffic to tell. Failed checks add up; the run after the
/// fifth rolls back.
#[derive(Debug)]
struct Flagger {
    is_tuned: bool,
    open: Pair,
    failed: u32,
}

impl Flagger {
    /// The tutorial's: success rate at least 99 %, request duration at most 500 ms.
    fn tutorial() -> Self {
        Self { is_tuned: false, open: Pair::default(), failed: 0 }
    }

    /// Ranges relative to stable, by a metric template: twice the errors, half as much again
    /// of the latency.
    fn tuned() -> Self {
        Self { is_tuned: true, ..Self::tutorial() }
    }

    fn is_good(&self) -> bool {
        let Pair { canary, stable } = &self.open;
        let Some(errors) = canary.error_rate() else { return false };
        if self.is_tuned {
            return !is_worse(canary, stable);
        }
        errors <= 0.01 && canary.p99_us().is_none_or(|p99| p99 <= 500_000.0)
    }
}

impl Peer for Flagger {
    fn name(&self) -> &'static str {
        if self.is_tuned { "Flagger, tuned" } else { "Flagger, tutorial" }
    }

    fn second(&mut self, t: u64, counts: &Pair) -> bool {
        self.open.merge(counts);
        if !t.is_multiple_of(60) {
            return false;
        }
        if self.failed >= 5 {
            return true;
        }
        self.failed += u32::from(!self.is_good());
        self.open = Pair::default();
        false
    }
}

/// Argo Rollouts' analysis (argo-rollouts.readthedocs.io, "Analysis & Progressive
/// Delivery"): a measurement every interval; more failures than the failure limit end it. A
/// measurement without data is neither.
#[derive(Debug)]
struct Argo {
    is_tuned: bool,
    open: Pair,
    failed: u32,
}

impl Argo {
    /// The documents' example: every 5 minutes a success rate of at least 95 %, at most
    /// three failures.
    fn documented() -> Self {
        Self { is_tuned: false, open: Pair::default(), failed: 0 }
    }

    /// Every minute, at most twice stable's errors and half as much again of its latency.
    fn tuned() -> Self {
        Self { is_tuned: true, ..Self::documented() }
    }
}

impl Peer for Argo {
    fn name(&self) -> &'static str {
        if self.is_tuned { "Argo Rollouts, tuned" } else { "Argo Rollouts, documented" }
    }

    fn second(&mut self, t: u64, counts: &Pair) -> bool {
        self.open.merge(counts);
        if !t.is_multiple_of(if self.is_tuned { 60 } else { 300 }) {
            return false;
        }
        let Pair { canary, stable } = std::mem::take(&mut self.open);
        let is_bad = match canary.error_rate() {
            None => false,
            Some(_) if self.is_tuned => is_worse(&canary, &stable),
            Some(errors) => errors > 0.05,
        };
        self.failed += u32::from(is_bad);
        self.failed > 3
    }
}

/// Over twice stable's errors, or over one and a half times its 99th percentile.
fn is_worse(canary: &Counts, stable: &Counts) -> bool {
    let over = |ours: Option<f64>, theirs: Option<f64>, ratio: f64| match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours > ratio * theirs,
        (_, _) => false,
    };
    over(canary.error_rate(), stable.error_rate(), 2.0)
        || over(canary.p99_us(), stable.p99_us(), 1.5)
}

/// What is often written by hand: a two-proportion z-test on all that was seen so far,
/// looked at every second, at the two-sided 5 % level.
#[derive(Debug, Default)]
struct Peeking {
    canary: (u64, u64),
    stable: (u64, u64),
}

impl Peer for Peeking {
    fn name(&self) -> &'static str {
        "z-test every second"
    }

    fn second(&mut self, _t: u64, counts: &Pair) -> bool {
        let Pair { canary, stable } = counts;
        self.canary = (self.canary.0 + canary.bad, self.canary.1 + canary.known);
        self.stable = (self.stable.0 + stable.bad, self.stable.1 + stable.known);
        let ((x, n), (y, m)) = (self.canary, self.stable);
        if n == 0 || m == 0 || x + y < 5 {
            return false;
        }
        let pooled = float(x + y) / float(n + m);
        let spread = (pooled * (1.0 - pooled) * (1.0 / float(n) + 1.0 / float(m))).sqrt();
        let z = (float(x) / float(n) - float(y) / float(m)) / spread;
        spread > 0.0 && normal_tail(z) < 0.025
    }
}
