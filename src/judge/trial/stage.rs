//! `Stage`: one set of tests over one phase of a trial, bucket after bucket.
//!
//! A stage begins with no evidence. While users are on the canary its buckets are a second
//! (or a quarter, where there is traffic enough); a confirmation looks at ten seconds at a
//! time, so that no short burst confirms itself (SPEC 3.2, 3.3, 3.6).

use super::banks::Banks;
use super::baseline::Baseline;
use super::call::Share;
use super::gauges::{Limit, Split};
use super::plan::Plan;
use crate::judge::stats::bernoulli::{SLOW_ALTERNATIVES, SLOW_LIMIT, error_alternatives};
use crate::judge::stats::log::log_sum_exp;
use crate::judge::stats::shell::ShellPlan;
use crate::judge::stats::slow::slow_ratios;
use crate::judge::stats::split::ratios_for;
use crate::judge::sums::{Sums, Timing};
use crate::vocab::time::Timestamp;

/// What a stage weighs: one of its tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gauge {
    /// Failures, against stable's.
    Errors,
    /// The shape of the latencies of one kind, against stable's.
    Latency(Timing),
    /// Requests over the deadline, against stable's.
    Slow,
}

/// The tests of one phase.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) since: Timestamp,
    bucket_ms: u64,
    bucket_ends: Timestamp,
    restart_at: Option<Timestamp>,
    /// Whether buckets may be a quarter of a second.
    may_be_fine: bool,
    /// Requests with a known outcome in the open bucket.
    load: u64,
    pub(super) errors: Option<Split>,
    pub(super) latency: Option<Banks>,
    pub(super) slow: Option<Split>,
    pub(super) max_errors: Option<Limit>,
    pub(super) max_latency: Option<Limit>,
    acts: Acting,
    /// The logarithm of what the failures had come to when latencies began to count.
    stake: Option<f64>,
    pub(super) seen: Seen,
}

/// Which rules take traffic away.
#[derive(Clone, Copy, Debug)]
struct Acting {
    errors: bool,
    latency: bool,
}

/// What both versions did in the stage, the canary's first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) opened: (u64, u64),
    pub(super) known: (u64, u64),
    pub(super) bad: (u64, u64),
    pub(super) slow: (u64, u64),
}

/// What one beat brings, winsorised, the canary's first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brought {
    pub(super) share: Share,
    pub(super) known: (u64, u64),
    pub(super) bad: (u64, u64),
    pub(super) slow: (u64, u64),
    /// Requests of the canary over the absolute latency limit.
    pub(super) over_max: u64,
}

impl Stage {
    /// The tests while users are on the canary.
    pub(super) fn running(plan: &Plan, now: Timestamp) -> Self {
        let shell = ShellPlan::running(plan.alpha);
        let mut stage = Self::new(plan, &shell, now, SECOND_MS);
        stage.restart_at = Some(now.after(RESTART));
        stage.may_be_fine = !plan.is_one_stage();
        stage
    }

    /// Fresh tests that confirm a first verdict.
    pub(super) fn confirming(plan: &Plan, now: Timestamp) -> Self {
        let shell = ShellPlan::confirming((-plan.confirm_bound).exp());
        let mut stage = Self::new(plan, &shell, now, CONFIRM_MS);
        stage.stake = Some(0.0);
        stage
    }

    fn new(plan: &Plan, shell: &ShellPlan, now: Timestamp, bucket_ms: u64) -> Self {
        let errors = plan.errors.and_then(|aim| {
            let ratios = ratios_for(aim.ratio?);
            Some(Split::new(&ratios, shell))
        });
        let ratio = plan.latency.and_then(|aim| aim.ratio);
        let latency = ratio.map(|_| Banks::new(shell));
        let slow = ratio.map(|_| Split::new(&slow_ratios(0.01), shell));
        let max_errors = plan
            .max_errors
            .map(|limit| Limit::new(limit, &error_alternatives(limit), shell));
        let max_latency = plan
            .has_max_latency
            .then(|| Limit::new(SLOW_LIMIT, &SLOW_ALTERNATIVES, shell));
        let acts = Acting {
            errors: plan.errors.is_some_and(|aim| aim.acts),
            latency: plan.latency.is_some_and(|aim| aim.acts),
        };
        let mut stage = Self {
            since: now,
            bucket_ms,
            bucket_ends: Timestamp(0),
            restart_at: None,
            may_be_fine: false,
            load: 0,
            errors,
            latency,
            slow,
            max_errors,
            max_latency,
            acts,
            stake: None,
            seen: Seen::default(),
        };
        stage.bucket_ends = stage.next_end(now);
        stage
    }

    /// Closes the buckets that ended before `now`. Comes before what `now` brings is added.
    pub(super) fn advance(&mut self, now: Timestamp, baseline: &Baseline) {
        let mut closed = 0;
        while now > self.bucket_ends {
            self.close(baseline);
            closed += 1;
            // Buckets of a long silence hold nothing; closing more of them changes nothing.
            self.bucket_ends = if closed < MOST_CLOSED {
                Timestamp(self.bucket_ends.0.saturating_add(self.bucket_ms))
            } else {
                self.next_end(now)
            };
            while let Some(at) = self.restart_at.filter(|at| *at <= self.bucket_ends) {
                self.restart();
                let next = at.after(RESTART);
                let late = closed >= MOST_CLOSED && next < self.bucket_ends;
                self.restart_at =
                    Some(if late { self.bucket_ends.after(RESTART) } else { next });
            }
        }
    }

    fn next_end(&self, now: Timestamp) -> Timestamp {
        // Counted from the stage's own begin: a confirmation's first bucket is a whole one.
        let begun = if self.bucket_ms >= CONFIRM_MS { self.since.0 } else { 0 };
        let buckets = now.0.saturating_sub(begun) / self.bucket_ms + 1;
        Timestamp(begun.saturating_add(buckets.saturating_mul(self.bucket_ms)))
    }

    fn close(&mut self, baseline: &Baseline) {
        if let Some(errors) = &mut self.errors {
            errors.close(baseline.errors());
        }
        if let Some(banks) = &mut self.latency {
            banks.close(baseline);
        }
        if let Some(slow) = &mut self.slow {
            slow.close(baseline.slow());
            if let Some(mass) = baseline.slow_mass() {
                slow.refit(&slow_ratios(mass));
            }
        }
        if let Some(limit) = &mut self.max_errors {
            limit.close(baseline.errors());
        }
        if let Some(limit) = &mut self.max_latency {
            limit.close(baseline.slow());
        }
        let per_second = self.load * SECOND_MS / self.bucket_ms.max(1);
        self.load = 0;
        if self.may_be_fine {
            let fine =
                per_second >= FINE_LOAD && self.bucket_ends.0.is_multiple_of(FINE_MS);
            self.bucket_ms = match (fine, self.bucket_ends.0.is_multiple_of(SECOND_MS)) {
                (true, _) => FINE_MS,
                (false, true) => SECOND_MS,
                (false, false) => self.bucket_ms,
            };
        }
    }

    fn restart(&mut self) {
        let splits = [&mut self.errors, &mut self.slow].into_iter().flatten();
        splits.for_each(|split| split.shell.restart());
        if let Some(banks) = &mut self.latency {
            banks.restart();
        }
        let limits = [&mut self.max_errors, &mut self.max_latency].into_iter().flatten();
        limits.for_each(|limit| limit.shell.restart());
    }

    /// Adds what a beat brought; `is_warm`: whether latency counts already.
    pub(super) fn add(&mut self, brought: &Brought, is_warm: bool) {
        let Brought { share, known, bad, slow, over_max } = *brought;
        self.load += known.0 + known.1;
        self.seen.known = sum(self.seen.known, known);
        self.seen.bad = sum(self.seen.bad, bad);
        if let Some(errors) = &mut self.errors {
            errors.add(share, bad, known);
        }
        if let Some(limit) = &mut self.max_errors {
            limit.add(bad.0, known.0);
        }
        if !is_warm {
            return;
        }
        if self.stake.is_none() {
            let errors = self.errors.as_ref().filter(|_| self.acts.errors);
            self.stake = Some(errors.map_or(0.0, |split| split.shell.log_evidence()));
        }
        self.seen.slow = sum(self.seen.slow, slow);
        if let Some(test) = &mut self.slow {
            test.add(share, slow, known);
        }
        if let Some(limit) = &mut self.max_latency {
            limit.add(over_max.min(known.0), known.0);
        }
    }

    /// Adds the times of the canary or of stable.
    pub(super) fn add_times(&mut self, canary: bool, sums: &Sums, baseline: &Baseline) {
        if let Some(banks) = &mut self.latency {
            banks.add(canary, sums, baseline);
        }
    }

    /// Looks at the open bucket, after everything of a tick was added.
    pub(super) fn look(&mut self) {
        if let Some(banks) = &mut self.latency {
            banks.look();
        }
    }

    /// The logarithm of the odds that the tests which act give together (SPEC 3.3).
    pub(super) fn log_odds(&self) -> f64 {
        let (mut terms, mut count) = ([f64::NEG_INFINITY; TESTS], 0);
        for part in self.parts().filter(|part| part.acts) {
            terms[count] = part.weighted();
            count += 1;
        }
        if count == 0 { f64::NEG_INFINITY } else { log_sum_exp(&terms[..count]) }
    }

    /// Each test of the stage.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        let Acting { errors, latency } = self.acts;
        let all = if errors && self.errors.is_some() { ERRORS_WEIGHT } else { 0.0 }
            + if latency && self.latency.is_some() {
                LATENCY_WEIGHT + SLOW_WEIGHT
            } else {
                0.0
            };
        // Until latencies count, what there is to bet is on the failures; what came of it is
        // then divided. That is a strategy known beforehand, so the odds stay honest.
        let (of_errors, of_latency) = match self.stake {
            Some(stake) => (-all.ln(), stake - all.ln()),
            None => (-ERRORS_WEIGHT.ln(), f64::NEG_INFINITY),
        };
        let split = |gauge, acts, (split, log_weight): (&Split, f64)| Part {
            gauge,
            acts,
            log_weight: if acts { log_weight } else { 0.0 },
            log_odds: split.shell.log_evidence(),
            best: split.shell.best_level(),
        };
        let of_errors = ERRORS_WEIGHT.ln() + of_errors;
        let first =
            self.errors.as_ref().map(|it| split(Gauge::Errors, errors, (it, of_errors)));
        let of_banks = LATENCY_WEIGHT.ln() + of_latency;
        let banks = self.latency.iter().flat_map(Banks::parts);
        let banks = banks.map(move |(timing, bank, part)| Part {
            gauge: Gauge::Latency(timing),
            acts: latency,
            log_weight: if latency { of_banks + part } else { 0.0 },
            log_odds: bank.shell.log_evidence(),
            best: bank.shell.best_level(),
        });
        let of_slow = SLOW_WEIGHT.ln() + of_latency;
        let third =
            self.slow.as_ref().map(|it| split(Gauge::Slow, latency, (it, of_slow)));
        first.into_iter().chain(banks).chain(third)
    }

    /// The test that weighs heaviest among those that act.
    pub(super) fn leading(&self) -> Option<Gauge> {
        let heavier = |a: &Part, b: &Part| a.weighted().total_cmp(&b.weighted());
        self.parts().filter(|part| part.acts).max_by(heavier).map(|part| part.gauge)
    }
}

/// One test as it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) gauge: Gauge,
    /// Whether its rule takes traffic away.
    pub(super) acts: bool,
    /// The logarithm of its weight beside the others, and of what it began with.
    pub(super) log_weight: f64,
    /// The logarithm of its odds alone.
    pub(super) log_odds: f64,
    /// The highest level of any of its alternatives since the stage began (log).
    pub(super) best: f64,
}

impl Part {
    /// The logarithm of what it contributes to the odds of all.
    pub(super) fn weighted(&self) -> f64 {
        self.log_weight + self.log_odds
    }
}

fn sum(one: (u64, u64), two: (u64, u64)) -> (u64, u64) {
    (one.0 + two.0, one.1 + two.1)
}

const SECOND_MS: u64 = 1_000;
/// The length of a bucket where the traffic carries finer ones, and requests a second that
/// do: so many that a bucket holds as many as a second does at 125 requests a second.
const FINE_MS: u64 = 250;
const FINE_LOAD: u64 = 500;
const CONFIRM_MS: u64 = 10_000;
const RESTART: std::time::Duration = std::time::Duration::from_secs(15);
/// Tests that may give odds together: failures, deadlines and a bank for each kind of time.
const TESTS: usize = 2 + Timing::ALL.len();
/// Weights of the tests (SPEC 3.3).
const ERRORS_WEIGHT: f64 = 0.4;
const LATENCY_WEIGHT: f64 = 0.4;
const SLOW_WEIGHT: f64 = 0.2;
/// Buckets closed one by one after a silence; an hour of seconds.
const MOST_CLOSED: u32 = 3_600;
