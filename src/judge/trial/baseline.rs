//! `Baseline`: what is learned of stable alone, and every canary is held against.
//!
//! Everything here is learned from the past and used from then on, never within the bucket
//! that taught it, and never from a canary: that is what keeps the evidence honest.

use std::sync::Arc;

use super::noise::Noise;
use super::plan::LatencyAim;
use crate::judge::reading::{float, whole};
use crate::judge::rules::Rules;
use crate::judge::stats::bank::Tables;
use crate::judge::stats::detector::baseline_rate;
use crate::judge::sums::{BINS, Cell, DEADLINES, STALLED, Streak, Sums, bin_of};
use crate::vocab::time::Timestamp;

/// What is learned of a route's stable version. One a route, as long as the version keeps its
/// place; every beat of it is observed before the canaries' of the same time.
#[derive(Clone, Debug)]
pub struct Baseline {
    aim: LatencyAim,
    /// Decayed counts of good answers by latency bin.
    counts: [f64; BINS],
    /// Good answers since the last decay.
    fresh: [u64; BINS],
    tables: Option<Arc<Tables>>,
    thresholds: Option<[usize; QUANTILES.len()]>,
    refit_at: Timestamp,
    errors: Noise,
    slow: Noise,
    latency: [Noise; QUANTILES.len()],
    history: History,
    endpoints: usize,
    last_request: Option<Timestamp>,
    last_good: Option<Timestamp>,
    /// Requests in a row that found no connection, and that were late.
    refused: Streak,
    stalled: Streak,
    /// When such a run was last long enough to say that the fault is not the canary's alone.
    last_down: Option<Timestamp>,
    /// The end of the present second.
    second_ends: Option<Timestamp>,
    faded_at: Timestamp,
}

/// Failures of the last hour, minute by minute, and of the last day, hour by hour.
#[derive(Clone, Debug, Default)]
struct History {
    minutes: Vec<(u64, u64, u64)>,
}

impl Baseline {
    /// A baseline that knows nothing yet.
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        Self {
            aim: LatencyAim::of(rules),
            counts: [0.0; BINS],
            fresh: [0; BINS],
            tables: None,
            thresholds: None,
            refit_at: Timestamp(0),
            errors: Noise::rare(),
            slow: Noise::rare(),
            latency: QUANTILES.map(|_| Noise::frequent()),
            history: History::default(),
            endpoints: 0,
            last_request: None,
            last_good: None,
            refused: Streak::default(),
            stalled: Streak::default(),
            last_down: None,
            second_ends: None,
            faded_at: Timestamp(0),
        }
    }

    /// Takes in what stable did until `now`. Time that goes back counts as the present.
    pub fn observe(&mut self, now: Timestamp, stable: &Sums) {
        self.advance(now);
        self.endpoints = self.endpoints.max(stable.cells.len());
        let (mut known, mut bad, mut good) = (0, 0, 0);
        for (endpoint, cell) in stable.cells.iter().enumerate() {
            known += cell.known;
            bad += cell.bad;
            if cell.known == 0 && cell.slow[0] == 0 {
                continue;
            }
            self.errors.add(endpoint, cell.bad, cell.known);
            self.slow.add(endpoint, cell.slow[0], cell.known);
            good += self.add_times(endpoint, cell);
        }
        self.refused = self.refused.then(stable.refused);
        self.stalled = self.stalled.then(stable.stalled);
        let flaky = stable.refused.longest > 0 && self.refused.longest >= FLAKY;
        let stuck = stable.stalled.longest > 0 && self.stalled.longest >= STALLED;
        if flaky || stuck {
            self.last_down = Some(now);
        }
        self.refused = self.refused.going_on();
        self.stalled = self.stalled.going_on();
        if known > 0 {
            self.last_request = Some(now);
            self.history.add(now, bad, known);
        }
        if good > 0 {
            self.alive(now);
            if self.tables.is_none() {
                self.refit(now);
            }
        }
    }

    fn add_times(&mut self, endpoint: usize, cell: &Cell) -> u64 {
        let mut good = 0;
        let mut above = [0; QUANTILES.len()];
        for (bin, count) in self.folded(cell) {
            good += count;
            self.fresh[bin] += count;
            for (above, limit) in above.iter_mut().zip(self.thresholds.iter().flatten()) {
                *above += if bin > *limit { count } else { 0 };
            }
        }
        if self.thresholds.is_some() {
            for (noise, above) in self.latency.iter_mut().zip(above) {
                noise.add(endpoint, above, good);
            }
        }
        good
    }

    /// The good answers of a cell by bin, with all bins up to the rule's floor as one: times
    /// below it do not differ.
    pub(super) fn folded(
        &self,
        cell: &Cell,
    ) -> impl Iterator<Item = (usize, u64)> + use<> {
        let floor = self.aim.floor_bin;
        let bins = cell.bins;
        bins.into_iter()
            .enumerate()
            .filter(|(_, count)| *count > 0)
            .map(move |(bin, count)| (bin.max(floor), u64::from(count)))
    }

    /// Stable gave a good answer to somebody, be it for a canary that failed.
    pub fn alive(&mut self, now: Timestamp) {
        self.last_good = self.last_good.max(Some(now));
    }

    /// After how many microseconds a request is slow: half as much again as stable's 99th
    /// percentile (by the rule's ratio), and the rule's absolute limit.
    #[must_use]
    pub fn deadlines_us(&self) -> [Option<u64>; DEADLINES] {
        let relative = self.tables.as_ref().map(|tables| {
            let p99 = upper_us(tables.p99_bin());
            whole(p99 * self.aim.ratio).max(self.aim.floor_us)
        });
        [relative, self.aim.max_us]
    }

    /// Good answers that the tables rest on, decayed.
    #[must_use]
    pub fn answers(&self) -> u64 {
        whole(self.counts.iter().sum::<f64>())
            .saturating_add(self.fresh.iter().sum::<u64>())
    }

    /// Fewer good answers than this make no table.
    #[must_use]
    pub fn answers_needed() -> u64 {
        NEEDED
    }

    pub(super) fn tables(&self) -> Option<&Arc<Tables>> {
        self.tables.as_ref()
    }

    /// Stable's share of answers slower than the first deadline, 0 to 1.
    pub(super) fn slow_mass(&self) -> Option<f64> {
        let tables = self.tables.as_ref()?;
        let deadline = self.deadlines_us()[0]?;
        Some(tables.mass_from(bin_of(deadline)))
    }

    pub(super) fn errors(&self) -> &Noise {
        &self.errors
    }

    pub(super) fn slow(&self) -> &Noise {
        &self.slow
    }

    pub(super) fn phi_of_latency(&self) -> f64 {
        self.latency.iter().map(Noise::phi).fold(1.0, f64::max)
    }

    pub(super) fn endpoints(&self) -> usize {
        self.endpoints
    }

    /// Whether stable had a good answer in the two seconds before `now` and has not begun to
    /// fail in the same way since: an outage of both reaches the canary's run of failures
    /// before stable's last good answer is two seconds old.
    pub(super) fn is_alive(&self, now: Timestamp) -> bool {
        let lately = |then: Timestamp| now.0.saturating_sub(then.0) <= ALIVE_MS;
        self.last_good.is_some_and(lately) && !self.last_down.is_some_and(lately)
    }

    /// Whether stable had a request of its own in the minute before `now`.
    pub(super) fn has_traffic(&self, now: Timestamp) -> bool {
        self.last_request.is_some_and(|then| now.0.saturating_sub(then.0) <= TRAFFIC_MS)
    }

    /// The failure rate that a version without a stable beside it is held against (SPEC 5),
    /// 0 to 1; `None` without a history.
    pub(super) fn known_error_rate(&self, now: Timestamp) -> Option<f64> {
        let phi = self.errors.phi();
        let rates = self.history.of(now).into_iter().filter(|(_, known)| *known > 0);
        rates
            .map(|(bad, known)| baseline_rate(float(bad), float(known), phi).min(0.99))
            .max_by(f64::total_cmp)
    }

    fn advance(&mut self, now: Timestamp) {
        let Some(ends) = self.second_ends else {
            self.second_ends = Some(next_second(now));
            (self.refit_at, self.faded_at) = (now.after(REFIT), now);
            return;
        };
        if now <= ends {
            return;
        }
        let second = ends.0 / 1_000 - 1;
        let noises = self.latency.iter_mut().chain([&mut self.errors, &mut self.slow]);
        noises.for_each(|noise| noise.close(second));
        self.second_ends = Some(next_second(now));
        let minutes = float(now.0.saturating_sub(self.faded_at.0)) / 60_000.0;
        if minutes >= 1.0 {
            let noises =
                self.latency.iter_mut().chain([&mut self.errors, &mut self.slow]);
            noises.for_each(|noise| noise.fade(minutes));
            self.faded_at = now;
        }
        if now >= self.refit_at {
            self.refit(now);
        }
    }

    fn refit(&mut self, now: Timestamp) {
        if self.answers() < NEEDED {
            return;
        }
        let spans = 1 + now.0.saturating_sub(self.refit_at.0) / REFIT_MS;
        let fade = 0.5_f64.powf(float(spans) * float(REFIT_MS) / HALF_LIFE_MS);
        let fade = if self.tables.is_some() { fade } else { 1.0 };
        for (sum, fresh) in self.counts.iter_mut().zip(&mut self.fresh) {
            *sum = *sum * fade + float(std::mem::take(fresh));
        }
        let tables = Tables::new(&self.counts, self.aim.ratio);
        self.thresholds = Some(QUANTILES.map(|q| tables.quantile_bin(q)));
        self.tables = Some(Arc::new(tables));
        self.refit_at = now.after(REFIT);
    }
}

impl History {
    fn add(&mut self, now: Timestamp, bad: u64, known: u64) {
        let minute = now.0 / 60_000;
        match self.minutes.last_mut() {
            Some((last, e, n)) if *last >= minute => (*e, *n) = (*e + bad, *n + known),
            Some(_) | None => self.minutes.push((minute, bad, known)),
        }
        let oldest = minute.saturating_sub(HISTORY_MINUTES);
        let gone = self.minutes.partition_point(|(at, ..)| *at <= oldest);
        self.minutes.drain(..gone);
    }

    /// Failures and requests of the last hour that had any, and of the same hour yesterday.
    fn of(&self, now: Timestamp) -> [(u64, u64); 2] {
        let last = self.minutes.last().map_or(now.0 / 60_000, |(at, ..)| *at);
        let span = |from: u64, to: u64| {
            let within = self.minutes.iter().filter(|(at, ..)| (from..to).contains(at));
            within.fold((0, 0), |(e, n), (_, bad, known)| (e + bad, n + known))
        };
        let hour = span((last + 1).saturating_sub(HOUR), last + 1);
        let today = now.0 / 60_000;
        let yesterday = span(
            today.saturating_sub(DAY + HOUR / 2),
            (today + HOUR / 2).saturating_sub(DAY),
        );
        [hour, yesterday]
    }
}

/// The exclusive upper edge of a latency bin in microseconds (SPEC 4.1).
fn upper_us(bin: usize) -> f64 {
    let bin = u32::try_from(bin).unwrap_or(u32::MAX);
    128.0 * (f64::from(bin) / 4.0).exp2()
}

fn next_second(now: Timestamp) -> Timestamp {
    Timestamp(now.0.div_ceil(1_000).max(1) * 1_000)
}

const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// Good answers before there is a table (SPEC 4.2).
const NEEDED: u64 = 200;
const REFIT: std::time::Duration = std::time::Duration::from_secs(10);
const REFIT_MS: u64 = 10_000;
const HALF_LIFE_MS: f64 = 300_000.0;
const ALIVE_MS: u64 = 2_000;
/// Connections that stable fails to get in a row before a run of the canary's needs
/// statistics: where one in ten fails for both, stable's many requests show it at once.
const FLAKY: u32 = 2;
const TRAFFIC_MS: u64 = 60_000;
const HOUR: u64 = 60;
const DAY: u64 = 24 * HOUR;
const HISTORY_MINUTES: u64 = DAY + HOUR;
