//! The tests of one stage, each with its open bucket as integers: what a bucket is worth is
//! computed from its sums anew at each look, so that no order and no batching changes it.

use std::sync::Arc;

use super::call::Share;
use super::noise::Noise;
use crate::judge::reading::float;
use crate::judge::stats::bank::{ALTERNATIVES, Tables};
use crate::judge::stats::bernoulli::bernoulli_increment;
use crate::judge::stats::shell::{Shell, ShellPlan};
use crate::judge::stats::split::split_increment;
use crate::judge::sums::BINS;

/// The split test of one kind of bad event (SPEC 3.1).
#[derive(Clone, Debug)]
pub(super) struct Split {
    pub(super) shell: Shell,
    ratios: Vec<f64>,
    phi: f64,
    /// The open bucket, by the share that the requests were routed by.
    open: Vec<Part>,
    /// Without a known share: kept until both versions have a request.
    pooled: Pooled,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    share: f64,
    canary: u64,
    stable: u64,
}

/// Events and requests of both, canary's first.
#[derive(Clone, Copy, Debug, Default)]
struct Pooled {
    events: (u64, u64),
    requests: (u64, u64),
}

impl Split {
    pub(super) fn new(ratios: &[f64], plan: &ShellPlan) -> Self {
        Self {
            shell: Shell::new(&equal(ratios.len()), plan),
            ratios: ratios.to_vec(),
            phi: 1.0,
            open: Vec::new(),
            pooled: Pooled::default(),
        }
    }

    /// Bad events and requests of the canary and of stable.
    pub(super) fn add(&mut self, share: Share, events: (u64, u64), requests: (u64, u64)) {
        match share {
            // Nothing is drawn with a chance of none: such events are not the coin's.
            Share::Nominal(share)
                if events == (0, 0) || share <= 0.0 || share.is_nan() => {}
            Share::Nominal(share) => {
                let same = |part: &&mut Part| part.share.to_bits() == share.to_bits();
                match self.open.iter_mut().find(same) {
                    Some(part) => {
                        part.canary += events.0;
                        part.stable += events.1;
                    }
                    None => {
                        let (canary, stable) = events;
                        self.open.push(Part { share, canary, stable });
                    }
                }
            }
            Share::Realised => {
                self.pooled.events.0 += events.0;
                self.pooled.events.1 += events.1;
                self.pooled.requests.0 += requests.0;
                self.pooled.requests.1 += requests.1;
            }
        }
        self.look();
    }

    fn look(&mut self) {
        let mut increments = [0.0; MOST];
        for (sum, ratio) in increments.iter_mut().zip(&self.ratios) {
            let parts = self.open.iter().copied().chain(self.pooled.part());
            *sum = parts
                .map(|Part { share, canary, stable }| {
                    split_increment(canary, stable, share, *ratio, 1.0, self.phi)
                })
                .sum();
        }
        self.shell.set_open(&increments[..self.ratios.len()]);
    }

    /// Closes the bucket; the next is discounted by what is known of stable now.
    pub(super) fn close(&mut self, noise: &Noise) {
        self.shell.close();
        self.open.clear();
        if self.pooled.part().is_some() {
            self.pooled = Pooled::default();
        }
        self.phi = noise.phi();
    }

    /// Other alternatives from the next bucket on. Comes right after [`Split::close`].
    pub(super) fn refit(&mut self, ratios: &[f64]) {
        self.ratios.clear();
        self.ratios.extend_from_slice(ratios);
    }

    /// Expected growth of the leading alternative for each request of the canary, when the
    /// canary and stable fail at these rates.
    pub(super) fn growth(&self, (canary, stable): (f64, f64), share: f64) -> f64 {
        if share <= 0.0 || share >= 1.0 {
            return 0.0;
        }
        let stable = stable * (1.0 - share) / share;
        let best = self.ratios.iter().map(|ratio| {
            canary * ratio.ln() - (canary + stable) * (share * (ratio - 1.0)).ln_1p()
        });
        best.fold(f64::NEG_INFINITY, f64::max) / self.phi
    }
}

impl Pooled {
    fn part(&self) -> Option<Part> {
        let (canary, stable) = self.requests;
        let share = float(canary) / float(canary + stable);
        let both = canary > 0 && stable > 0;
        both.then_some(Part { share, canary: self.events.0, stable: self.events.1 })
    }
}

/// The latency bank (SPEC 4.4).
#[derive(Clone, Debug)]
pub(super) struct Bank {
    pub(super) shell: Shell,
    phi: f64,
    tables: Option<Arc<Tables>>,
    canary: [u64; BINS],
    stable: [u64; BINS],
    stale: bool,
}

impl Bank {
    pub(super) fn new(plan: &ShellPlan) -> Self {
        Self {
            shell: Shell::new(&equal(ALTERNATIVES), plan),
            phi: 1.0,
            tables: None,
            canary: [0; BINS],
            stable: [0; BINS],
            stale: false,
        }
    }

    /// So many more good answers of the canary, or of stable, in that bin.
    pub(super) fn add(&mut self, canary: bool, bin: usize, count: u64) {
        let counts = if canary { &mut self.canary } else { &mut self.stable };
        counts[bin] += count;
        self.stale = true;
    }

    /// Whether there is anything to compare with.
    pub(super) fn has_tables(&self) -> bool {
        self.tables.is_some()
    }

    /// Looks at what the open bucket holds.
    pub(super) fn look(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let Some(tables) = &self.tables else { return };
        let increments = tables.increments(&self.canary, &self.stable, self.phi);
        self.shell.set_open(&increments);
    }

    /// Closes the bucket. What it holds of one version alone waits for the other.
    pub(super) fn close(&mut self, tables: Option<&Arc<Tables>>, phi: f64) {
        self.look();
        self.shell.close();
        let both =
            self.canary.iter().any(|n| *n > 0) && self.stable.iter().any(|n| *n > 0);
        if both || self.tables.is_none() {
            self.canary = [0; BINS];
            self.stable = [0; BINS];
        }
        self.phi = phi;
        self.tables = tables.cloned();
    }
}

/// A share of events against a fixed limit (SPEC 5).
#[derive(Clone, Debug)]
pub(super) struct Limit {
    pub(super) shell: Shell,
    limit: f64,
    alternatives: Vec<f64>,
    phi: f64,
    events: u64,
    requests: u64,
}

impl Limit {
    pub(super) fn new(limit: f64, alternatives: &[f64], plan: &ShellPlan) -> Self {
        Self {
            shell: Shell::new(&equal(alternatives.len()), plan),
            limit,
            alternatives: alternatives.to_vec(),
            phi: 1.0,
            events: 0,
            requests: 0,
        }
    }

    pub(super) fn add(&mut self, events: u64, requests: u64) {
        self.events += events;
        self.requests += requests;
        let mut increments = [0.0; MOST];
        for (place, alternative) in increments.iter_mut().zip(&self.alternatives) {
            *place = bernoulli_increment(
                self.events,
                self.requests,
                self.limit,
                *alternative,
                self.phi,
            );
        }
        self.shell.set_open(&increments[..self.alternatives.len()]);
    }

    pub(super) fn close(&mut self, noise: &Noise) {
        self.shell.close();
        (self.events, self.requests) = (0, 0);
        self.phi = noise.phi();
    }
}

fn equal(count: usize) -> Vec<f64> {
    let weight = 1.0 / f64::from(u32::try_from(count.max(1)).unwrap_or(1));
    vec![weight; count]
}

/// Alternatives of one test, at most.
const MOST: usize = 16;
