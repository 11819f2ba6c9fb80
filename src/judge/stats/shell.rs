//! `Shell`: the evidence process around any test (decision/SPEC.md 3.2). Apart from the
//! tests, because all of them share it: a mixture over alternatives, restarts that keep a
//! late regression as quick to find as an early one, and a cap on what one bucket may say.

use super::log::log_add_exp;
use super::log::log_sum_exp_of;

/// How a shell mixes, restarts and caps.
#[derive(Clone, Debug, PartialEq)]
pub struct ShellPlan {
    /// The chance of a false alarm that the cap is made for, above 0 and below 1.
    pub alpha: f64,
    /// The share of the process that began at the start, above 0 and at most 1; the
    /// restarts have the rest.
    pub initial: f64,
    /// How many buckets must speak before the evidence can reach 1/alpha. Below 2 there is
    /// no cap.
    pub least_buckets: u32,
    /// Restarts that share one half of what is left for restarts, at least 1.
    pub restarts: u32,
}

/// One metric's evidence that the canary is worse, as a logarithm.
#[derive(Clone, Debug)]
pub struct Shell {
    components: Box<[Component]>,
    initial: f64,
    later: f64,
    cap: f64,
    restarts: u32,
    restarted: u32,
    evidence: f64,
}

/// One alternative. Everything is a logarithm.
#[derive(Clone, Copy, Debug)]
struct Component {
    weight: f64,
    /// Evidence since the start, closed buckets.
    whole: f64,
    /// The mixture of evidence since each restart, closed buckets.
    since: f64,
    /// The weighted mixture of both; bucket by bucket it moves as they do.
    mixed: f64,
    /// What the open bucket says, capped.
    open: f64,
}

impl ShellPlan {
    /// The plan of a running canary: buckets of a second, a restart every 15 of them and 240
    /// restarts to the hour.
    #[must_use]
    pub fn running(alpha: f64) -> Self {
        Self { alpha, initial: 0.75, least_buckets: 3, restarts: 240 }
    }

    /// The plan that confirms a first verdict: buckets of ten seconds, begun afresh and
    /// never restarted.
    #[must_use]
    pub fn confirming(alpha: f64) -> Self {
        Self { alpha, initial: 1.0, least_buckets: 4, restarts: 240 }
    }

    /// The most that one bucket may add to one alternative, in nats.
    #[must_use]
    pub fn cap(&self) -> f64 {
        let others = self.least_buckets.saturating_sub(1);
        if others == 0 {
            return f64::INFINITY;
        }
        0.999 * -self.alpha.ln() / f64::from(others)
    }
}

impl Shell {
    /// A process that has seen nothing. The weights of the alternatives sum to at most 1.
    #[must_use]
    pub fn new(weights: &[f64], plan: &ShellPlan) -> Self {
        let component = |weight: &f64| Component {
            weight: weight.ln(),
            whole: 0.0,
            since: f64::NEG_INFINITY,
            mixed: weight.ln() + plan.initial.ln(),
            open: 0.0,
        };
        let mut shell = Self {
            components: weights.iter().map(component).collect(),
            initial: plan.initial.ln(),
            later: (1.0 - plan.initial).ln(),
            cap: plan.cap(),
            restarts: plan.restarts.max(1),
            restarted: 0,
            evidence: 0.0,
        };
        shell.weigh();
        shell
    }

    /// Says what the open bucket adds to each alternative so far: the whole of it, made
    /// from the bucket's sums, so that it does not matter in how many steps they came.
    pub fn set_open(&mut self, increments: &[f64]) {
        debug_assert_eq!(increments.len(), self.components.len());
        let mut changed = false;
        for (component, increment) in self.components.iter_mut().zip(increments) {
            let open = increment.min(self.cap);
            changed |= open.to_bits() != component.open.to_bits();
            component.open = open;
        }
        if changed {
            self.weigh();
        }
    }

    /// Closes the bucket and opens the next one.
    pub fn close(&mut self) {
        for component in &mut self.components {
            component.whole += component.open;
            component.since += component.open;
            component.mixed += component.open;
            component.open = 0.0;
        }
    }

    /// Begins once more beside what has been gathered; from the next bucket on when called
    /// right after [`close`](Self::close).
    pub fn restart(&mut self) {
        let halvings = f64::from(self.restarted / self.restarts + 1);
        let share = -halvings * std::f64::consts::LN_2 - f64::from(self.restarts).ln();
        self.restarted = self.restarted.saturating_add(1);
        if self.later == f64::NEG_INFINITY {
            return;
        }
        for component in &mut self.components {
            component.since = log_add_exp(component.since, share);
            component.mixed = component.weight
                + log_add_exp(
                    self.initial + component.whole,
                    self.later + component.since,
                );
        }
        self.weigh();
    }

    /// ln of the evidence, with the open bucket.
    #[must_use]
    pub fn log_evidence(&self) -> f64 {
        self.evidence
    }

    /// What an alternative has gathered since the start, with the open bucket, in nats.
    #[must_use]
    pub fn level(&self, component: usize) -> f64 {
        self.components[component].whole + self.components[component].open
    }

    /// The highest [`level`](Self::level).
    #[must_use]
    pub fn best_level(&self) -> f64 {
        let levels = (0..self.components.len()).map(|place| self.level(place));
        levels.fold(f64::NEG_INFINITY, f64::max)
    }

    /// The alternative that explains the most, with its weight; the first of equals.
    #[must_use]
    pub fn leading(&self) -> usize {
        let mut best = (0, f64::NEG_INFINITY);
        for (place, component) in self.components.iter().enumerate() {
            let level = component.mixed + component.open;
            if level > best.1 {
                best = (place, level);
            }
        }
        best.0
    }

    /// How many alternatives there are.
    #[must_use]
    pub fn components(&self) -> usize {
        self.components.len()
    }

    /// The most that one bucket may add to one alternative, in nats.
    #[must_use]
    pub fn cap(&self) -> f64 {
        self.cap
    }

    fn weigh(&mut self) {
        let all = &self.components;
        self.evidence =
            log_sum_exp_of(all.len(), |place| all[place].mixed + all[place].open);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::split::split_increment;
    use super::super::vectors::assert_near;
    use super::super::vectors::cases;
    use super::super::vectors::count;
    use super::super::vectors::list;
    use super::super::vectors::real;
    use super::super::vectors::reals;
    use super::{Shell, ShellPlan};

    const WEIGHTS: [f64; 5] = [0.2; 5];

    /// The evidence after each second of a reference trajectory.
    fn evidence_of(case: &Value) -> Vec<f64> {
        let ratios = reals(&case["r_grid"]);
        let every = count(&case["restart_every_buckets"]);
        let plan = ShellPlan {
            alpha: real(&case["alpha"]),
            initial: real(&case["a0"]),
            least_buckets: count(&case["k_min"]).try_into().unwrap(),
            restarts: (count(&case["horizon_buckets"]) / every).try_into().unwrap(),
        };
        let mut shell = Shell::new(&reals(&case["omega"]), &plan);
        let seconds = count(&case["bucket_seconds"]);
        let (share, phi) = (real(&case["w"]), real(&case["phi"]));
        let (mut canary, mut stable) = (0, 0);
        let step = |(second, row): (u64, &Value)| {
            canary += count(&row[0]);
            stable += count(&row[1]);
            let increment =
                |ratio: &f64| split_increment(canary, stable, share, *ratio, 1.0, phi);
            shell.set_open(&ratios.iter().map(increment).collect::<Vec<_>>());
            let evidence = shell.log_evidence();
            if second.is_multiple_of(seconds) {
                shell.close();
                (canary, stable) = (0, 0);
            }
            if second.is_multiple_of(seconds * every) {
                shell.restart();
            }
            evidence
        };
        (1_u64..).zip(list(&case["series"])).map(step).collect()
    }

    #[test]
    fn trajectories_are_those_of_the_reference() {
        for case in cases!("split_trajectory") {
            let evidence = evidence_of(&case);
            for (got, row) in evidence.iter().zip(list(&case["series"])) {
                assert_near(*got, real(&row[2]), 1e-9, &case["name"]);
            }
            for (name, bar) in [("20", 20_f64), ("60", 60.0), ("1000", 1000.0)] {
                let at = evidence.iter().position(|evidence| *evidence >= bar.ln());
                let expected = case["first_second_at_or_above"].get(name).map(count);
                assert_eq!(
                    at.map(|second| second as u64),
                    expected,
                    "{} at {bar}",
                    case["name"]
                );
            }
        }
    }

    #[test]
    fn caps_are_those_of_the_specification() {
        for (plan, cap) in [
            (ShellPlan::running(0.001), 3.4504),
            (ShellPlan::confirming(1.0 / 60.0), 1.3634),
        ] {
            let got = Shell::new(&WEIGHTS, &plan).cap();
            assert!((got - cap).abs() < 1e-4, "{got}");
        }
        let lone = ShellPlan { least_buckets: 1, ..ShellPlan::running(0.001) };
        assert!(lone.cap().is_infinite());
    }

    #[test]
    fn fewer_buckets_than_the_least_never_reach_the_bar() {
        let plan = ShellPlan { initial: 1.0, ..ShellPlan::running(0.001) };
        let mut shell = Shell::new(&[1.0], &plan);
        for bucket in 1..=3 {
            shell.set_open(&[1e6]);
            let reached = shell.log_evidence() >= 1000_f64.ln();
            assert_eq!(reached, bucket == 3, "after {bucket}");
            shell.close();
        }
    }

    #[test]
    fn a_restart_finds_what_began_late() {
        let mut restarted = Shell::new(&WEIGHTS, &ShellPlan::running(0.001));
        for _ in 0..20 {
            restarted.set_open(&[-1.0; 5]);
            restarted.close();
        }
        let mut plain = restarted.clone();
        restarted.restart();
        for shell in [&mut restarted, &mut plain] {
            for _ in 0..3 {
                shell.set_open(&[3.0; 5]);
                shell.close();
            }
        }
        assert!(restarted.log_evidence() > 0.0, "{restarted:?}");
        assert!(plain.log_evidence() < -10.0, "{plain:?}");
        assert!((restarted.best_level() - plain.best_level()).abs() < 1e-12);
    }

    #[test]
    fn the_leading_alternative_is_the_one_that_explains_the_most() {
        let mut shell = Shell::new(&WEIGHTS, &ShellPlan::running(0.001));
        assert_eq!((shell.leading(), shell.components()), (0, 5));
        shell.set_open(&[0.0, 1.0, -1.0, 2.0, 0.5]);
        assert_eq!(shell.leading(), 3);
        assert!((shell.best_level() - 2.0).abs() < 1e-12);
        assert!((shell.level(2) + 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn steps_within_a_bucket_leave_no_trace(
            steps in prop::collection::vec((0_u64..5, 0_u64..20), 1..40),
        ) {
            let plan = ShellPlan::running(0.001);
            let (mut stepped, mut merged) =
                (Shell::new(&[1.0], &plan), Shell::new(&[1.0], &plan));
            let (mut canary, mut stable) = (0, 0);
            for step in &steps {
                (canary, stable) = (canary + step.0, stable + step.1);
                stepped.set_open(&[split_increment(canary, stable, 0.1, 5.0, 1.0, 1.0)]);
            }
            merged.set_open(&[split_increment(canary, stable, 0.1, 5.0, 1.0, 1.0)]);
            for shell in [&mut stepped, &mut merged] {
                shell.close();
                shell.restart();
            }
            prop_assert_eq!(
                stepped.log_evidence().to_bits(), merged.log_evidence().to_bits()
            );
        }
    }
}
