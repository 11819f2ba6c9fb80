//! `Baseline`: what is learned of stable alone, and every canary is held against.
//!
//! Everything here is learned from the past and used from then on, never within the bucket
//! that taught it, and never from a canary: that is what keeps the evidence honest.

use std::sync::Arc;

use super::law::{Law, NEEDED};
use super::noise::Noise;
use super::plan::LatencyAim;
use crate::judge::reading::float;
use crate::judge::rules::Rules;
use crate::judge::stats::bank::Tables;
use crate::judge::stats::detector::baseline_rate;
use crate::judge::sums::{Deadlines, STALLED, Streak, Sums, Timing};
use crate::vocab::time::Timestamp;

/// What is learned of a route's stable version. One a route, as long as the version keeps its
/// place; every beat of it is observed before the canaries' of the same time.
#[derive(Clone, Debug)]
pub struct Baseline {
    aim: LatencyAim,
    /// By [`Timing`].
    laws: Box<[Law; Timing::ALL.len()]>,
    errors: Noise,
    slow: Noise,
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
        let aim = LatencyAim::of(rules);
        let law = |timing| Law::new(aim.ratio, aim.floor_of(timing));
        Self {
            aim,
            laws: Box::new(Timing::ALL.map(law)),
            errors: Noise::rare(),
            slow: Noise::rare(),
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
            good += cell.good();
            self.laws[Timing::Whole as usize].add(endpoint, &cell.bins);
        }
        for (endpoint, stream) in stable.streams.iter().enumerate() {
            let first: u64 = stream.first.iter().map(|count| u64::from(*count)).sum();
            good += first;
            self.laws[Timing::FirstToken as usize].add(endpoint, &stream.first);
            self.laws[Timing::EachToken as usize].add(endpoint, &stream.each);
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
            self.laws.iter_mut().for_each(|law| law.settle(now));
        }
    }

    /// Stable gave a good answer to somebody, be it for a canary that failed.
    pub fn alive(&mut self, now: Timestamp) {
        self.last_good = self.last_good.max(Some(now));
    }

    /// After how many microseconds a request is slow: half as much again as stable's 99th
    /// percentile (by the rule's ratio), and the rule's absolute limit.
    #[must_use]
    pub fn deadlines(&self) -> Deadlines {
        Deadlines {
            whole: self.law(Timing::Whole).deadline_us(),
            first_token: self.law(Timing::FirstToken).deadline_us(),
            most: self.aim.max_us,
        }
    }

    /// Good answers that the tables rest on, decayed: of those of a kind, whole answers or
    /// streams, of which there are more.
    #[must_use]
    pub fn answers(&self) -> u64 {
        let of = |timing| self.law(timing).answers();
        of(Timing::Whole).max(of(Timing::FirstToken))
    }

    /// Fewer good answers than this make no table.
    #[must_use]
    pub fn answers_needed() -> u64 {
        NEEDED
    }

    /// What stable's times of a kind look like.
    pub(super) fn law(&self, timing: Timing) -> &Law {
        &self.laws[timing as usize]
    }

    /// Stable's tables of a kind of times, once there are times enough.
    pub(super) fn tables(&self, timing: Timing) -> Option<&Arc<Tables>> {
        self.law(timing).tables()
    }

    /// Whether there is anything that latencies could be compared with.
    pub(super) fn has_tables(&self) -> bool {
        self.laws.iter().any(|law| law.tables().is_some())
    }

    /// What a deadline is about: first tokens where the route has streams alone.
    pub(super) fn timing_of_slow(&self) -> Timing {
        let Deadlines { whole, first_token, .. } = self.deadlines();
        match (whole, first_token) {
            (None, Some(_)) => Timing::FirstToken,
            (Some(_) | None, _) => Timing::Whole,
        }
    }

    /// Stable's share of answers slower than their first deadline, 0 to 1.
    pub(super) fn slow_mass(&self) -> Option<f64> {
        let (whole, first) = (self.law(Timing::Whole), self.law(Timing::FirstToken));
        match (whole.slow_mass(), first.slow_mass()) {
            (Some(one), Some(two)) => {
                let (ours, theirs) = (float(whole.answers()), float(first.answers()));
                Some((one * ours + two * theirs) / (ours + theirs).max(1.0))
            }
            (one, two) => one.or(two),
        }
    }

    pub(super) fn errors(&self) -> &Noise {
        &self.errors
    }

    pub(super) fn slow(&self) -> &Noise {
        &self.slow
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
            self.laws.iter_mut().for_each(|law| law.begin(now));
            self.faded_at = now;
            return;
        };
        if now <= ends {
            return;
        }
        let second = ends.0 / 1_000 - 1;
        self.laws.iter_mut().for_each(|law| law.close(second));
        self.errors.close(second);
        self.slow.close(second);
        self.second_ends = Some(next_second(now));
        let minutes = float(now.0.saturating_sub(self.faded_at.0)) / 60_000.0;
        if minutes >= 1.0 {
            self.laws.iter_mut().for_each(|law| law.fade(minutes));
            self.errors.fade(minutes);
            self.slow.fade(minutes);
            self.faded_at = now;
        }
        self.laws.iter_mut().for_each(|law| law.advance(now));
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

fn next_second(now: Timestamp) -> Timestamp {
    Timestamp(now.0.div_ceil(1_000).max(1) * 1_000)
}

const ALIVE_MS: u64 = 2_000;
/// Connections that stable fails to get in a row before a run of the canary's needs
/// statistics: where one in ten fails for both, stable's many requests show it at once.
const FLAKY: u32 = 2;
const TRAFFIC_MS: u64 = 60_000;
const HOUR: u64 = 60;
const DAY: u64 = 24 * HOUR;
const HISTORY_MINUTES: u64 = DAY + HOUR;
