//! `Sky`: the state of one rollout's weather, from step to step.
//!
//! Apart from the world that draws requests: what changes with time is here, and nothing
//! else knows it.

use crate::dice::Dice;
use crate::number::place;
use crate::scenario::{Scenario, Weather};

/// What holds during one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Factor on the traffic.
    pub(crate) load: f64,
    /// Factor on every version's own errors.
    pub(crate) errors: f64,
    /// The chance that a request fails for a reason that both versions share.
    pub(crate) outage: f64,
    /// The canary's share, 0 to 1.
    pub(crate) share: f64,
}

/// The weather of one rollout.
#[derive(Debug)]
pub(crate) struct Sky {
    weather: Weather,
    share: f64,
    /// Where the hour's event begins, or the phase of its swing, 0 to 1.
    begin: f64,
    /// ln of the wandering error rate over its begin.
    walk: f64,
    walked_s: f64,
    step: usize,
    step_ends_s: f64,
    errors_in_step: u64,
    bursts: [Vec<Burst>; 2],
}

/// One endpoint's next burst, seconds from the begin.
#[derive(Clone, Copy, Debug)]
struct Burst {
    begins: f64,
    ends: f64,
}

impl Sky {
    pub(crate) fn new(scenario: &Scenario, dice: &mut Dice) -> Self {
        let begin = dice.unit();
        let mut first = |pods: usize| -> Vec<Burst> {
            let Weather::Bursts { seconds, every, .. } = scenario.weather else {
                return Vec::new();
            };
            let one = |_| {
                let begins = dice.wait(every);
                Burst { begins, ends: begins + seconds }
            };
            (0..pods).map(one).collect()
        };
        let bursts = [first(scenario.pods.0), first(scenario.pods.1)];
        Self {
            weather: scenario.weather,
            share: scenario.share,
            begin,
            walk: 0.0,
            walked_s: 0.0,
            step: 0,
            step_ends_s: STEP_S,
            errors_in_step: 0,
            bursts,
        }
    }

    /// What holds in the step that begins at `t` seconds.
    pub(crate) fn at(&mut self, t: f64, dice: &mut Dice) -> Now {
        let mut now = Now { load: 1.0, errors: 1.0, outage: 0.0, share: self.share };
        let event = |length: f64, hour: f64| {
            let begins = self.begin * (hour - length);
            (begins..begins + length).contains(&(t % hour))
        };
        match self.weather {
            Weather::Calm | Weather::Bursts { .. } => {}
            Weather::Outage => now.outage = if event(120.0, 3_600.0) { 0.4 } else { 0.0 },
            Weather::BrownOut => {
                now.outage = if event(420.0, 3_600.0) { 0.1 } else { 0.0 }
            }
            Weather::Diurnal => {
                let turn = std::f64::consts::TAU * (t / 3_600.0 + self.begin);
                let swing = (3.0_f64.ln() * turn.sin()).exp();
                (now.load, now.errors) = (swing, swing);
            }
            Weather::Walk => {
                self.wander(t, dice);
                now.errors = self.walk.exp();
            }
            Weather::Ramp => now.share = RAMP[place(t / 900.0).min(RAMP.len() - 1)],
            Weather::Obliging | Weather::Spiteful => {
                self.react(t);
                now.share = RAMP[self.step];
            }
        }
        now
    }

    fn wander(&mut self, t: f64, dice: &mut Dice) {
        if t >= self.walked_s + 1.0 {
            self.walked_s = t;
            let bound = 10.0_f64.ln();
            self.walk = (self.walk + 0.05 * dice.normal()).clamp(-bound, bound);
        }
    }

    fn react(&mut self, t: f64) {
        if t < self.step_ends_s {
            return;
        }
        let up = (self.errors_in_step == 0) == (self.weather == Weather::Obliging);
        self.step = if up {
            (self.step + 1).min(RAMP.len() - 1)
        } else {
            self.step.saturating_sub(1)
        };
        (self.step_ends_s, self.errors_in_step) = (t + STEP_S, 0);
    }

    /// So many more of the canary's requests failed.
    pub(crate) fn saw_errors(&mut self, errors: u64) {
        self.errors_in_step += errors;
    }

    /// The chance that a request to that endpoint fails for the endpoint's own reason, in the
    /// step of `length` seconds that begins at `t`.
    pub(crate) fn burst(
        &mut self,
        (arm, pod): (usize, usize),
        (t, length): (f64, f64),
        dice: &mut Dice,
    ) -> f64 {
        let Weather::Bursts { seconds, depth, every } = self.weather else { return 0.0 };
        let Some(burst) = self.bursts[arm].get_mut(pod) else { return 0.0 };
        if t >= burst.ends {
            let begins = burst.ends + dice.wait(every);
            *burst = Burst { begins, ends: begins + seconds };
        }
        let overlap = (t + length).min(burst.ends) - t.max(burst.begins);
        depth * (overlap / length).clamp(0.0, 1.0)
    }
}

/// The shares of a ramp.
const RAMP: [f64; 4] = [0.01, 0.05, 0.25, 0.5];
/// Seconds between two looks of a ramp that reacts.
const STEP_S: f64 = 10.0;
