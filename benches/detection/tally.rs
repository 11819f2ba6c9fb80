//! `Outcome` of one rollout under one method, and the `Tally` of many.

use crate::number::{float, float_of, place};

/// What came of one rollout under one method. Times are milliseconds after the onset of the
/// fault.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) method: &'static str,
    /// How long it was watched, from the begin.
    pub(crate) watched_ms: u64,
    /// When users were off the canary for the first time after the onset.
    pub(crate) protect_ms: Option<u64>,
    /// When it was rolled back.
    pub(crate) rollback_ms: Option<u64>,
    /// When it could be promoted, from the begin.
    pub(crate) promoted_ms: Option<u64>,
    /// Rolled back before anything was wrong.
    pub(crate) is_early: bool,
    /// It ended with the users off and nobody to confirm.
    pub(crate) is_held: bool,
    pub(crate) protects: u64,
    pub(crate) resumes: u64,
    /// Requests after the onset that failed or were slow for a user.
    pub(crate) harmed: u64,
}

impl Outcome {
    pub(crate) fn new(method: &'static str) -> Self {
        Self {
            method,
            watched_ms: 0,
            protect_ms: None,
            rollback_ms: None,
            promoted_ms: None,
            is_early: false,
            is_held: false,
            protects: 0,
            resumes: 0,
            harmed: 0,
        }
    }
}

/// The rollouts of one scenario under one method.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) method: &'static str,
    pub(crate) rollouts: u64,
    watched_ms: u64,
    pub(crate) early: u64,
    pub(crate) held: u64,
    pub(crate) protects: u64,
    pub(crate) resumes: u64,
    pub(crate) harmed: u64,
    protect: Vec<u32>,
    rollback: Vec<u32>,
    promoted: Vec<u32>,
}

/// Delays of some rollouts of many, seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Delays {
    /// In so many rollouts it happened.
    pub(crate) count: u64,
    /// That share of those that could.
    pub(crate) chance: f64,
    /// Over all, with never as infinite.
    pub(crate) median: f64,
    pub(crate) p95: f64,
    /// Over those in which it happened.
    pub(crate) mean: f64,
}

impl Tally {
    pub(crate) fn of(method: &'static str) -> Self {
        Self { method, ..Self::default() }
    }

    pub(crate) fn add(&mut self, outcome: &Outcome) {
        let short = |ms: u64| u32::try_from(ms).unwrap_or(u32::MAX);
        self.rollouts += 1;
        self.watched_ms += outcome.watched_ms;
        self.early += u64::from(outcome.is_early);
        self.held += u64::from(outcome.is_held);
        self.protects += outcome.protects;
        self.resumes += outcome.resumes;
        if !outcome.is_early {
            self.harmed += outcome.harmed;
            self.protect.extend(outcome.protect_ms.map(short));
            self.rollback.extend(outcome.rollback_ms.map(short));
        }
        self.promoted.extend(outcome.promoted_ms.map(short));
    }

    pub(crate) fn merge(&mut self, more: Self) {
        self.rollouts += more.rollouts;
        self.watched_ms += more.watched_ms;
        self.early += more.early;
        self.held += more.held;
        self.protects += more.protects;
        self.resumes += more.resumes;
        self.harmed += more.harmed;
        self.protect.extend(more.protect);
        self.rollback.extend(more.rollback);
        self.promoted.extend(more.promoted);
    }

    /// Hours that canaries were watched.
    pub(crate) fn hours(&self) -> f64 {
        float(self.watched_ms) / 3_600_000.0
    }

    /// Rollbacks, early ones included.
    pub(crate) fn rollbacks(&self) -> u64 {
        self.early + count_of(&self.rollback)
    }

    pub(crate) fn protect(&self) -> Delays {
        Delays::of(&self.protect, self.rollouts - self.early)
    }

    pub(crate) fn rollback(&self) -> Delays {
        Delays::of(&self.rollback, self.rollouts - self.early)
    }

    pub(crate) fn promotion(&self) -> Delays {
        Delays::of(&self.promoted, self.rollouts)
    }

    /// Requests that harmed a user, in a rollout on average.
    pub(crate) fn harm(&self) -> f64 {
        float(self.harmed) / float((self.rollouts - self.early).max(1))
    }
}

impl Delays {
    /// Of those milliseconds, among so many rollouts.
    fn of(delays: &[u32], all: u64) -> Self {
        let mut sorted = delays.to_vec();
        sorted.sort_unstable();
        let seconds = |ms: u32| f64::from(ms) / 1_000.0;
        let quantile = |q: f64| {
            let at = place((float(all) * q).ceil()).saturating_sub(1);
            sorted.get(at).map_or(f64::INFINITY, |ms| seconds(*ms))
        };
        let sum: f64 = sorted.iter().map(|ms| seconds(*ms)).sum();
        Self {
            count: count_of(&sorted),
            chance: float_of(sorted.len()) / float(all.max(1)),
            median: quantile(0.5),
            p95: quantile(0.95),
            mean: sum / float_of(sorted.len()),
        }
    }
}

fn count_of(list: &[u32]) -> u64 {
    u64::try_from(list.len()).unwrap_or(u64::MAX)
}
