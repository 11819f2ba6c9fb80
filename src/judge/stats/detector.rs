//! `Detector`: has the rate of a version that is alone risen above its own past
//! (decision/SPEC.md 5)? Apart from the shell because there is no canary that ends: it
//! bounds how often it is wrong per month, not how often it ever is.

use super::super::reading::float;
use super::log::log_add_exp;
use super::log::log_sum_exp_of;

/// The mean time between false alarms by default: 30 days of one-second buckets.
pub const MONTH: f64 = 2_592_000.0;

/// How far above what was counted the baseline is taken to be: the same bound on counts
/// that 1 of 100 baselines exceed, and a tenth more.
const MARGIN: f64 = 1.1;
const SPREAD: f64 = 2.33;
const UNSEEN: f64 = 2.7;

/// The evidence that something has changed, at whatever moment, as a logarithm.
#[derive(Clone, Debug)]
pub struct Detector {
    components: Box<[Component]>,
    clip: f64,
    alarm: f64,
    statistic: f64,
}

/// One alternative. Everything is a logarithm.
#[derive(Clone, Copy, Debug)]
struct Component {
    weight: f64,
    /// The evidence of closed buckets, with a change in the open one among the moments.
    carried: f64,
    /// What the open bucket says, clipped.
    open: f64,
}

impl Detector {
    /// Nothing seen yet. The weights of the alternatives sum to 1; `alarm`, above 1, is the
    /// mean number of buckets between false alarms ([`MONTH`]).
    #[must_use]
    pub fn new(weights: &[f64], alarm: f64) -> Self {
        let component =
            |weight: &f64| Component { weight: weight.ln(), carried: 0.0, open: 0.0 };
        let alarm = alarm.ln();
        let mut detector = Self {
            components: weights.iter().map(component).collect(),
            clip: 0.999 * alarm / 2.0,
            alarm,
            statistic: 0.0,
        };
        detector.weigh();
        detector
    }

    /// Says what the open bucket adds to each alternative so far: the whole of it, made
    /// from the bucket's sums.
    pub fn set_open(&mut self, increments: &[f64]) {
        debug_assert_eq!(increments.len(), self.components.len());
        for (component, increment) in self.components.iter_mut().zip(increments) {
            component.open = increment.min(self.clip);
        }
        self.weigh();
    }

    /// Closes the bucket and opens the next one, in which a change may also have begun.
    pub fn close(&mut self) {
        for component in &mut self.components {
            component.carried = log_add_exp(component.carried + component.open, 0.0);
            component.open = 0.0;
        }
        self.weigh();
    }

    /// ln of the evidence, with the open bucket.
    #[must_use]
    pub fn log_statistic(&self) -> f64 {
        self.statistic
    }

    /// Whether the evidence suffices.
    #[must_use]
    pub fn alarmed(&self) -> bool {
        self.statistic >= self.alarm
    }

    /// ln of the evidence at which it suffices.
    #[must_use]
    pub fn bar(&self) -> f64 {
        self.alarm
    }

    /// The most that one bucket may add to one alternative, in nats.
    #[must_use]
    pub fn clip(&self) -> f64 {
        self.clip
    }

    fn weigh(&mut self) {
        let all = &self.components;
        self.statistic = log_sum_exp_of(all.len(), |place| {
            all[place].weight + all[place].carried + all[place].open
        });
    }
}

/// ln of the evidence of one bucket for a rate `ratio` times, above 1, the rate `null`,
/// 0 to 1 (decision/SPEC.md 5). `phi`, at least 1, is how much more the events clump than a
/// coin.
#[must_use]
pub fn detector_increment(
    events: u64,
    requests: u64,
    null: f64,
    ratio: f64,
    phi: f64,
) -> f64 {
    (float(events) * ratio.ln() - float(requests) * null * (ratio - 1.0)) / phi
}

/// The rate, at most 1, that a version is held to after so many events among so many
/// requests, which may have faded and so be fractions: above its own with room for chance.
#[must_use]
pub fn baseline_rate(events: f64, requests: f64, phi: f64) -> f64 {
    if requests <= 0.0 {
        return 1.0;
    }
    let highest = events + SPREAD * (events * phi).sqrt() + UNSEEN;
    (MARGIN * highest / requests).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::assert_near;
    use super::super::vectors::assert_same;
    use super::super::vectors::cases;
    use super::super::vectors::count;
    use super::super::vectors::list;
    use super::super::vectors::real;
    use super::super::vectors::reals;
    use super::{Detector, MONTH, baseline_rate, detector_increment};

    #[test]
    fn trajectories_are_those_of_the_reference() {
        for case in cases!("esr_trajectory") {
            let ratios = reals(&case["r_grid"]);
            let mut detector = Detector::new(&[0.2; 5], real(&case["A"]));
            assert_same(detector.clip(), &case["clip"], &case["clip"]);
            let mut first = None;
            for (bucket, row) in (0_u64..).zip(list(&case["series"])) {
                let (requests, events) = (count(&row[0]), count(&row[1]));
                let increment = |ratio: &f64| {
                    detector_increment(events, requests, real(&case["p0"]), *ratio, 1.0)
                };
                detector.set_open(&ratios.iter().map(increment).collect::<Vec<_>>());
                assert_near(detector.log_statistic(), real(&row[2]), 1e-9, row);
                first = first.or(detector.alarmed().then_some(bucket));
                detector.close();
            }
            assert_eq!(first, case["first_alarm_index"].as_u64(), "{}", case["p0"]);
        }
    }

    #[test]
    fn one_bucket_alone_never_alarms() {
        let mut detector = Detector::new(&[0.2; 5], MONTH);
        for bucket in 1..=3 {
            detector.set_open(&[1e6; 5]);
            assert_eq!(detector.alarmed(), bucket == 3, "after {bucket}");
            detector.close();
        }
        assert!(detector.log_statistic() >= detector.bar());
    }

    #[test]
    fn steps_within_a_bucket_leave_no_trace() {
        let mut stepped = Detector::new(&[1.0], MONTH);
        let mut merged = stepped.clone();
        for events in 0..9 {
            stepped.set_open(&[detector_increment(events, 100, 0.01, 5.0, 1.0)]);
        }
        merged.set_open(&[detector_increment(8, 100, 0.01, 5.0, 1.0)]);
        for detector in [&mut stepped, &mut merged] {
            detector.close();
        }
        assert_eq!(stepped.log_statistic().to_bits(), merged.log_statistic().to_bits());
    }

    #[test]
    fn the_baseline_is_above_what_was_counted() {
        for (events, requests, phi, expected) in [
            (100.0, 10_000.0, 1.0, 0.01386),
            (100.0, 10_000.0, 4.0, 0.016_423),
            (0.0, 10_000.0, 1.0, 0.000_297),
            (90.0, 100.0, 1.0, 1.0),
            (0.0, 0.0, 1.0, 1.0),
        ] {
            let got = baseline_rate(events, requests, phi);
            assert!((got - expected).abs() < 1e-9, "{events}/{requests}: {got}");
        }
    }
}
