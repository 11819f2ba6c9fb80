//! Drift of real-valued outputs: the decile bank beside the requirement's own rule.
//!
//! Apart from the rollouts because there are no requests here, only outputs: standard normal
//! ones that move by some sigma when the canary begins.

use switchback::judge::stats::deciles::{DecileBank, Deciles, PARTS};
use switchback::judge::stats::ks::ks_test;
use switchback::judge::stats::shell::{Shell, ShellPlan};

use crate::dice::Dice;
use crate::number::{float, place};
use crate::options::Effort;
use crate::tally::{Outcome, Tally};

/// One row: outputs a second of the version in question, and how far they move.
#[derive(Debug)]
pub(crate) struct Drift {
    pub(crate) rate: f64,
    /// In standard deviations.
    pub(crate) shift: f64,
    /// The version alone against what was kept of stable; beside stable; by the window rule.
    pub(crate) tallies: Vec<Tally>,
}

/// Against a sample of stable's that was kept.
pub(crate) const ALONE: &str = "decile bank, alone";
/// With a tenth of the traffic, beside stable with the rest.
pub(crate) const BESIDE: &str = "decile bank, beside stable";
/// Kolmogorov and Smirnov every five minutes, below 5 % three times running.
pub(crate) const WINDOWS: &str = "KS of 5-minute windows, three times";

/// All rows.
pub(crate) fn play_all(effort: Effort, seed: u64) -> Vec<Drift> {
    let count = match effort {
        Effort::Quick => 12,
        Effort::Usual => 60,
        Effort::Full => 400,
    };
    let mut rows = Vec::new();
    for rate in [1.0, 10.0, 100.0] {
        for shift in [0.0, 0.1, 0.2, 0.5] {
            let name = format!("drift {rate} {shift}");
            let mut tallies = [ALONE, BESIDE, WINDOWS].map(Tally::of);
            // The chance of each output is drawn one by one: fewer where there are many.
            let count = if rate > 50.0 { count / 4 } else { count };
            for rollout in 0..count {
                let mut dice = Dice::new(seed, &name, rollout);
                for (tally, outcome) in
                    tallies.iter_mut().zip(play(&mut dice, rate, shift))
                {
                    tally.add(&outcome);
                }
            }
            rows.push(Drift { rate, shift, tallies: tallies.into() });
        }
    }
    rows
}

/// Mean seconds that the best test which knows both laws needs (decision/SPEC.md 2); `None`
/// without a shift. `rest` is the share of the outputs that the other version has.
pub(crate) fn bound(drift: &Drift, rest: f64) -> Option<f64> {
    let information = drift.rate * rest * drift.shift * drift.shift / 2.0;
    (information > 0.0).then(|| 1_000.0_f64.ln() / information)
}

fn play(dice: &mut Dice, rate: f64, shift: f64) -> [Outcome; 3] {
    let mut kept: Vec<f64> = (0..KEPT).map(|_| dice.normal()).collect();
    kept.sort_unstable_by(f64::total_cmp);
    let mut outcomes = [ALONE, BESIDE, WINDOWS].map(Outcome::new);
    let Ok(deciles) = Deciles::new(&kept) else { return outcomes };
    let plan = ShellPlan::running(0.001);
    let mut bank = DecileBank::new(deciles.clone(), &plan);
    let mut alone = Alone::new(&plan);
    let mut windows = Windows { kept: &kept[..], open: Vec::new(), running: 0 };
    let bound = 1_000.0_f64.ln();
    for second in 1..=HORIZON_S {
        let mut ours = [0_u64; PARTS];
        for _ in 0..dice.poisson(rate) {
            let output = dice.normal() + shift;
            ours[deciles.part(output).unwrap_or(0)] += 1;
            windows.add(output, dice);
        }
        let mut theirs = [0_u64; PARTS];
        if outcomes[1].rollback_ms.is_none() {
            for _ in 0..dice.poisson(rate * 9.0) {
                theirs[deciles.part(dice.normal()).unwrap_or(0)] += 1;
            }
            bank.add(&ours, &theirs);
        }
        let hits = [
            alone.second(&deciles.alone(&ours), second) >= bound,
            bank.log_evidence() >= bound,
            second.is_multiple_of(300) && windows.is_over(),
        ];
        bank.close();
        for (outcome, hit) in outcomes.iter_mut().zip(hits) {
            if outcome.rollback_ms.is_none() {
                outcome.watched_ms = second * 1_000;
                outcome.rollback_ms = hit.then_some(second * 1_000);
            }
        }
        if outcomes.iter().all(|outcome| outcome.rollback_ms.is_some()) {
            break;
        }
    }
    outcomes
}

/// The one-sample form: the same alternatives in a shell.
struct Alone(Shell);

impl Alone {
    fn new(plan: &ShellPlan) -> Self {
        let count = switchback::judge::stats::deciles::ALTERNATIVES;
        Self(Shell::new(&vec![1.0 / crate::number::float_of(count); count], plan))
    }

    fn second(&mut self, increments: &[f64], second: u64) -> f64 {
        self.0.set_open(increments);
        let evidence = self.0.log_evidence();
        self.0.close();
        if second.is_multiple_of(15) {
            self.0.restart();
        }
        evidence
    }
}

/// The window rule.
struct Windows<'a> {
    kept: &'a [f64],
    open: Vec<f64>,
    running: u32,
}

impl Windows<'_> {
    /// Keeps at most as many outputs as a window may hold, each with the same chance.
    fn add(&mut self, output: f64, dice: &mut Dice) {
        if self.open.len() < WINDOW_KEEPS {
            self.open.push(output);
            return;
        }
        let at = place(dice.unit() * float(WINDOW_KEEPS_OF));
        if let Some(kept) = self.open.get_mut(at) {
            *kept = output;
        }
    }

    fn is_over(&mut self) -> bool {
        self.open.sort_unstable_by(f64::total_cmp);
        let is_low = ks_test(self.kept, &self.open).is_ok_and(|ks| ks.p_value < 0.05);
        self.running = if is_low { self.running + 1 } else { 0 };
        self.open.clear();
        self.running >= 3
    }
}

/// What is kept of stable's outputs.
const KEPT: u64 = 10_000;
const WINDOW_KEEPS: usize = 3_000;
/// Of about so many a window keeps that many.
const WINDOW_KEEPS_OF: u64 = 30_000;
const HORIZON_S: u64 = 3_600;
