//! `Promotion`: evidence that the canary is no worse than stable by more than a margin
//! (SPEC 8). The other side of the trial, gathered over all its steps.

use super::call::Share;
use super::plan::Plan;
use super::stage::{Brought, Gauge};
use crate::judge::reading::float;
use crate::judge::stats::noninferior::{Counts, NonInferiority, Promptness};
use crate::vocab::time::Timestamp;

/// Evidence for the canary.
#[derive(Clone, Debug)]
pub(super) struct Promotion {
    errors: Option<NonInferiority>,
    latency: Option<Promptness>,
    share: Option<f64>,
    since: Timestamp,
}

impl Promotion {
    pub(super) fn new(plan: &Plan, now: Timestamp) -> Self {
        let errors = plan.errors.and_then(|aim| aim.ratio);
        let latency = plan.latency.and_then(|aim| aim.ratio);
        Self {
            errors: errors.map(NonInferiority::within),
            latency: latency.map(|_| Promptness::default()),
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

    /// The logarithms of the evidence that failures, and latency, are within the margin.
    pub(super) fn log_odds(&self) -> (Option<f64>, Option<f64>) {
        let errors = self.errors.as_ref().map(NonInferiority::log_evidence);
        (errors, self.latency.as_ref().map(Promptness::log_evidence))
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

const SETTLED_MS: u64 = 30_000;
