//! `Promotion`: evidence that the canary is no worse than stable by more than a margin
//! (SPEC 8). The other side of the trial, gathered over all its steps.

use super::baseline::Baseline;
use super::call::Share;
use super::plan::Plan;
use super::stage::{Brought, Gauge};
use crate::judge::reading::float;
use crate::judge::stats::noninferior::{Counts, NonInferiority, Promptness};
use crate::judge::sums::{Sums, Timing};
use crate::vocab::time::Timestamp;

/// Evidence for the canary.
#[derive(Clone, Debug)]
pub(super) struct Promotion {
    errors: Option<NonInferiority>,
    latency: Option<Promptness>,
    /// The time for each token of streams, where latency is compared.
    pace: Option<Pace>,
    share: Option<f64>,
    since: Timestamp,
}

/// Evidence about the pace of streams.
#[derive(Clone, Debug, Default)]
struct Pace {
    promptness: Promptness,
    streams: u64,
    /// All requests, streams or not.
    known: u64,
}

impl Promotion {
    pub(super) fn new(plan: &Plan, now: Timestamp) -> Self {
        let errors = plan.errors.and_then(|aim| aim.ratio);
        let latency = plan.latency.and_then(|aim| aim.ratio);
        Self {
            errors: errors.map(NonInferiority::within),
            latency: latency.map(|_| Promptness::default()),
            pace: latency.map(|_| Pace::default()),
            share: None,
            since: now,
        }
    }

    /// Adds what a beat brought to a canary that users are on.
    pub(super) fn add(&mut self, now: Timestamp, brought: &Brought, is_warm: bool) {
        let share = match brought.share {
            Share::Nominal(share) => share,
            Share::Realised => {
                let (canary, stable) = brought.known;
                let all = canary + stable;
                if canary == 0 || stable == 0 {
                    return;
                }
                float(canary) / float(all)
            }
        };
        let steady = matches!(brought.share, Share::Realised)
            || self.share.is_some_and(|before| before.to_bits() == share.to_bits());
        if !steady && brought.known != (0, 0) {
            (self.share, self.since) = (Some(share), now);
        }
        if let Some(errors) = &mut self.errors {
            let counts = Counts {
                bad_canary: brought.bad.0,
                canary: brought.known.0,
                bad_stable: brought.bad.1,
                stable: brought.known.1,
            };
            errors.add(&counts, share);
        }
        if let Some(latency) = self.latency.as_mut().filter(|_| is_warm) {
            latency.add(brought.slow.0.min(brought.known.0), brought.known.0);
        }
    }

    /// Adds how fast a canary's streams were.
    pub(super) fn add_pace(&mut self, canary: &Sums, baseline: &Baseline, is_warm: bool) {
        let Some(pace) = self.pace.as_mut().filter(|_| is_warm) else { return };
        let Some(tables) = baseline.tables(Timing::EachToken) else { return };
        pace.known += canary.cells.iter().map(|cell| cell.known).sum::<u64>();
        let (mut late, mut all) = (0, 0);
        let law = baseline.law(Timing::EachToken);
        for stream in &canary.streams {
            for (bin, count) in law.folded(&stream.each) {
                all += count;
                late += if bin >= tables.tail_bin() { count } else { 0 };
            }
        }
        pace.streams += all;
        pace.promptness.add(late, all);
    }

    /// The logarithm of the evidence that the pace of streams is within the margin; `None`
    /// where hardly any answer is a stream.
    fn log_odds_of_pace(&self) -> Option<f64> {
        let Pace { promptness, streams, known } = self.pace.as_ref()?;
        let some = streams.saturating_mul(FEW_STREAMS) > *known;
        some.then(|| promptness.log_evidence())
    }

    /// The logarithms of the evidence that failures, and latency, are within the margin.
    pub(super) fn log_odds(&self) -> (Option<f64>, Option<f64>) {
        let errors = self.errors.as_ref().map(NonInferiority::log_evidence);
        let latency = self.latency.as_ref().map(Promptness::log_evidence);
        let pace = self.log_odds_of_pace().unwrap_or(f64::INFINITY);
        (errors, latency.map(|latency| latency.min(pace)))
    }

    /// Whether what a version was accused of is shown to be within the margin.
    pub(super) fn shows(&self, gauge: Gauge) -> bool {
        let (errors, latency) = self.log_odds();
        let odds = if gauge == Gauge::Errors { errors } else { latency };
        odds.is_some_and(|odds| odds >= bound())
    }

    /// Whether every rule that compares has its evidence, and the share has stood still for
    /// long enough.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let (errors, latency) = self.log_odds();
        let enough = |odds: Option<f64>| odds.is_none_or(|odds| odds >= bound());
        let settled = now.0.saturating_sub(self.since.0) >= SETTLED_MS;
        settled
            && (errors.is_some() || latency.is_some())
            && enough(errors)
            && enough(latency)
    }
}

/// The logarithm of the odds that a promotion needs: a version at the margin is promoted
/// once in twenty.
pub(super) fn bound() -> f64 {
    20.0_f64.ln()
}

/// Streams are few where not even one answer in so many is one.
const FEW_STREAMS: u64 = 10;
const SETTLED_MS: u64 = 30_000;
