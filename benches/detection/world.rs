//! `World`: one rollout's requests, as the sums that the data path would hand over.
//!
//! Requests arrive by chance and are split by a coin, so the counts of each version,
//! endpoint and outcome are independent Poisson numbers. An outcome is handed over in the
//! step in which it becomes known: an answer when it ends, a slow one also at its deadline.

use switchback::judge::{BINS, Cell, DEADLINES, Streak, Sums, bin_of};

use crate::dice::Dice;
use crate::law::{Law, middle_us, share_above};
use crate::number::{float, float_of, place, whole};
use crate::scenario::{Fault, Scenario};
use crate::weather::{Now, Sky};

/// What a scenario is played with; shared by its rollouts.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) scenario: Scenario,
    stable: Law,
    faulty: Law,
    /// Half as much again as stable's 99th percentile: what is slow for a user.
    slow_us: f64,
}

/// One rollout's world.
#[derive(Debug)]
pub(crate) struct World<'a> {
    stage: &'a Stage,
    pub(crate) dice: Dice,
    sky: Sky,
    /// Whether stable has all traffic, as before the canary.
    alone: bool,
    /// What becomes known in this step and the next ones.
    ring: Vec<[Sums; 2]>,
    head: usize,
    /// Requests that the canary got so far.
    canary_opened: u64,
    /// The step's share of the canary.
    pub(crate) share: f64,
    /// Requests of the canary in this step that fail or are slow for their user.
    pub(crate) harmed: u64,
}

/// One endpoint in one step.
#[derive(Clone, Copy, Debug)]
struct Post {
    arm: usize,
    pod: usize,
    /// Requests on average.
    requests: f64,
    /// The chance of a failure.
    fails: f64,
    is_faulty: bool,
    step_ms: u64,
}

impl Stage {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let (stable, faulty) = (scenario.stable_law(), scenario.faulty_law());
        let slow_us = 1.5 * stable.quantile_us(0.99);
        Self { scenario, stable, faulty, slow_us }
    }

    /// How long answers take: stable's, and the canary's once it has gone wrong.
    pub(crate) fn laws(&self) -> (&Law, &Law) {
        (&self.stable, &self.faulty)
    }
}

impl<'a> World<'a> {
    /// A world at its begin; `alone`: as before the canary, with all traffic on stable.
    pub(crate) fn new(stage: &'a Stage, mut dice: Dice, alone: bool) -> Self {
        let sky = Sky::new(&stage.scenario, &mut dice);
        let places = if stage.scenario.timed { RING } else { 1 };
        Self {
            stage,
            dice,
            sky,
            alone,
            ring: (0..places).map(|_| [Sums::default(), Sums::default()]).collect(),
            head: 0,
            canary_opened: 0,
            share: if alone { 0.0 } else { stage.scenario.share },
            harmed: 0,
        }
    }

    /// What became known in this step, the canary's first.
    pub(crate) fn sums(&self) -> (&Sums, &Sums) {
        let [canary, stable] = &self.ring[self.head];
        (canary, stable)
    }

    /// Plays the `step_ms` after `from_ms`. `deadline_us` is when a request is slow by what
    /// is known of stable.
    pub(crate) fn step(&mut self, from_ms: u64, step_ms: u64, deadline_us: Option<u64>) {
        self.ring[self.head].iter_mut().for_each(Sums::clear);
        self.head = (self.head + 1) % self.ring.len();
        let scenario = &self.stage.scenario;
        let (t, length) = (float(from_ms) / 1_000.0, float(step_ms) / 1_000.0);
        let now = self.sky.at(t, &mut self.dice);
        self.share = if self.alone { 0.0 } else { now.share };
        self.harmed = 0;
        let is_faulty = !self.alone && from_ms >= scenario.onset_s * 1_000;
        let requests = scenario.rate * now.load * length;
        for (arm, share, pods) in
            [(0, self.share, scenario.pods.0), (1, 1.0 - self.share, scenario.pods.1)]
        {
            for pod in 0..pods {
                let burst = self.sky.burst((arm, pod), (t, length), &mut self.dice);
                let post = Post {
                    arm,
                    pod,
                    requests: requests * share / float_of(pods),
                    fails: fails(scenario, &now, is_faulty && arm == 0, burst),
                    is_faulty: is_faulty && arm == 0,
                    step_ms,
                };
                if post.requests > 0.0 {
                    self.play(&post, deadline_us);
                }
            }
        }
        self.see_streaks(deadline_us);
    }

    fn play(&mut self, post: &Post, deadline_us: Option<u64>) {
        let scenario = &self.stage.scenario;
        let failed = self.dice.poisson(post.requests * post.fails);
        let good = self.dice.poisson(post.requests * (1.0 - post.fails));
        let sums = &mut self.ring[self.head][post.arm];
        sums.opened += failed + good;
        if post.arm == 0 {
            self.canary_opened += failed + good;
        }
        if post.is_faulty && scenario.fault == Fault::Refuse {
            self.refuse(post, failed + good);
            return;
        }
        if post.is_faulty && scenario.fault == Fault::Hang {
            self.harmed += failed + good;
            self.hang(post, failed + good, deadline_us);
            return;
        }
        let cell = sums.cell(post.pod);
        cell.known += failed;
        cell.bad += failed;
        if post.arm == 0 {
            self.harmed += if scenario.is_about_time() { 0 } else { failed };
            self.sky.saw_errors(failed);
        }
        if scenario.timed {
            self.answer(post, good, deadline_us);
        } else {
            cell.known += good;
            cell.bins[USUAL_BIN] += u32::try_from(good).unwrap_or(u32::MAX);
        }
    }

    /// Requests whose connection is refused: stable answers them, so nobody is harmed.
    fn refuse(&mut self, post: &Post, requests: u64) {
        let sums = &mut self.ring[self.head][post.arm];
        let cell = sums.cell(post.pod);
        cell.known += requests;
        cell.bad += requests;
        (0..requests).for_each(|_| sums.refused.hit());
    }

    /// Requests that are taken and never answered.
    fn hang(&mut self, post: &Post, requests: u64, deadline_us: Option<u64>) {
        if let Some(deadline) = deadline_us {
            let slot = self.slot(float(deadline), post.step_ms);
            self.ring[slot][post.arm].cell(post.pod).slow[0] += requests;
        }
    }

    fn answer(&mut self, post: &Post, good: u64, deadline_us: Option<u64>) {
        let stage = self.stage;
        let is_cold = match stage.scenario.fault {
            Fault::Cold(first) => self.canary_opened <= first,
            Fault::None
            | Fault::Errors(_)
            | Fault::Scale(_)
            | Fault::Tail(_)
            | Fault::Middle(_)
            | Fault::Hang
            | Fault::Refuse => true,
        };
        let law = if post.is_faulty && is_cold { &stage.faulty } else { &stage.stable };
        let mut counts = [0_u64; BINS];
        law.spread(&mut self.dice, good, |_, bin, count| counts[bin] += count);
        let harms = post.arm == 0 && stage.scenario.is_about_time();
        let (slow_bin, limit) =
            (bin_of(whole(stage.slow_us)), deadline_us.map(|us| (bin_of(us), float(us))));
        for (bin, count) in counts.into_iter().enumerate().filter(|(_, n)| *n > 0) {
            if harms && bin >= slow_bin {
                let part = share_above(bin, stage.slow_us);
                self.harmed +=
                    if bin > slow_bin { count } else { self.dice.binomial(count, part) };
            }
            let slot = self.slot(middle_us(bin), post.step_ms);
            let cell = self.ring[slot][post.arm].cell(post.pod);
            cell.known += count;
            cell.bins[bin] += u32::try_from(count).unwrap_or(u32::MAX);
            let Some((at, deadline)) = limit.filter(|(at, _)| bin >= *at) else {
                continue;
            };
            let part = share_above(bin, deadline);
            let slow = if bin > at { count } else { self.dice.binomial(count, part) };
            let slot = self.slot(deadline, post.step_ms);
            self.ring[slot][post.arm].cell(post.pod).slow[0] += slow;
        }
    }

    /// Where what happens after so many microseconds becomes known. What takes longer than
    /// the ring lasts becomes known at its end.
    fn slot(&self, micros: f64, step_ms: u64) -> usize {
        let steps = place(micros / 1_000.0 / float(step_ms) + 0.5);
        (self.head + steps.min(self.ring.len() - 1)) % self.ring.len()
    }

    /// The runs among the canary's outcomes of this step, whose order is chance.
    fn see_streaks(&mut self, deadline_us: Option<u64>) {
        let sums = &mut self.ring[self.head][0];
        if sums.refused == Streak::default()
            && sums.cells.iter().any(|cell| cell.known > 0)
        {
            sums.refused.miss();
        }
        let Some(deadline) = deadline_us else { return };
        let first_slow = bin_of(deadline);
        let fast_of = |cell: &Cell| -> u64 {
            cell.bins[..first_slow].iter().copied().map(u64::from).sum()
        };
        let mut fast: u64 = sums.cells.iter().map(fast_of).sum();
        let mut slow: u64 = sums.cells.iter().map(|cell| cell.slow[0]).sum();
        if slow == 0 || fast == 0 {
            (0..slow).for_each(|_| sums.stalled.hit());
            if fast > 0 {
                sums.stalled.miss();
            }
            return;
        }
        while slow + fast > 0 {
            if self.dice.below(slow + fast) < slow {
                slow -= 1;
                sums.stalled.hit();
            } else {
                fast -= 1;
                sums.stalled.miss();
            }
        }
    }
}

/// The chance that a request fails.
fn fails(scenario: &Scenario, now: &Now, is_faulty: bool, burst: f64) -> f64 {
    let ratio = if is_faulty { scenario.ratio() } else { 1.0 };
    let own = (scenario.errors * now.errors * ratio).min(1.0);
    1.0 - (1.0 - own) * (1.0 - now.outage) * (1.0 - burst)
}

/// Steps that the ring holds: 32 s of quarters.
const RING: usize = 128;
/// Where answers are counted when times are not drawn.
const USUAL_BIN: usize = 35;
/// The world draws against the relative deadline alone.
const _: () = assert!(DEADLINES == 2, "a third deadline would go unsimulated");
