//! Rules of the requirement that count single events (decision/SPEC.md 9): too many within
//! a trailing span, as safety violations and complaints, and too many in a row, as failed
//! health checks. Apart from the rules that compare windows because they can fire at any
//! event.

use std::collections::VecDeque;
use std::time::Duration;

/// Events within a trailing span that contains its end and not its beginning. Keeps no more
/// events than it takes to exceed the limit.
#[derive(Clone, Debug)]
pub struct EventWindow {
    limit: usize,
    span: Duration,
    latest: VecDeque<Duration>,
}

impl EventWindow {
    /// More than `limit` events within `span` are too many.
    #[must_use]
    pub fn new(limit: usize, span: Duration) -> Self {
        Self { limit, span, latest: VecDeque::with_capacity(limit + 1) }
    }

    /// Safety violations: the sixth within an hour.
    #[must_use]
    pub fn safety() -> Self {
        Self::new(5, Duration::from_secs(3_600))
    }

    /// Complaints: the eleventh within five minutes. They ask for a review and move no
    /// traffic.
    #[must_use]
    pub fn complaints() -> Self {
        Self::new(10, Duration::from_secs(300))
    }

    /// Adds an event; true when there are too many at the time of the latest one. Events
    /// may come in any order: one that is older than all that are kept cannot matter.
    pub fn add(&mut self, at: Duration) -> bool {
        let place = self.latest.partition_point(|earlier| *earlier <= at);
        self.latest.insert(place, at);
        if self.latest.len() > self.limit + 1 {
            self.latest.pop_front();
        }
        self.latest.back().is_some_and(|latest| self.is_exceeded(*latest))
    }

    /// Whether there are too many within the span that ends at `now`, which is not before
    /// the latest event.
    #[must_use]
    pub fn is_exceeded(&self, now: Duration) -> bool {
        let oldest = self.latest.front();
        self.latest.len() > self.limit
            && oldest.is_some_and(|oldest| now.saturating_sub(*oldest) < self.span)
    }
}

/// Failures in a row.
#[derive(Clone, Debug)]
pub struct Consecutive {
    needed: u32,
    run: u32,
}

impl Consecutive {
    /// So many in a row are too many; 0 is taken as 1.
    #[must_use]
    pub fn new(needed: u32) -> Self {
        Self { needed: needed.max(1), run: 0 }
    }

    /// Failed health checks: three.
    #[must_use]
    pub fn health() -> Self {
        Self::new(3)
    }

    /// Adds a result; true when there are too many.
    pub fn add(&mut self, failed: bool) -> bool {
        self.run = if failed { self.run.saturating_add(1) } else { 0 };
        self.run >= self.needed
    }

    /// How many have failed in a row.
    #[must_use]
    pub fn run(&self) -> u32 {
        self.run
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::vectors::cases;
    use super::super::vectors::count;
    use super::super::vectors::counts;
    use super::{Consecutive, EventWindow};

    #[test]
    fn verdicts_are_those_of_the_reference() {
        let mut checked = 0;
        for case in cases!("rules") {
            let fired = match case["rule"].as_str().unwrap() {
                "count_window" | "complaints" => {
                    let limit = count(&case["threshold"]).try_into().unwrap();
                    let span = Duration::from_secs(count(&case["window_s"]));
                    let mut window = EventWindow::new(limit, span);
                    let times = counts(&case["times_s"]);
                    times.into_iter().position(|at| window.add(Duration::from_secs(at)))
                }
                "health" => {
                    let needed = count(&case["needed"]).try_into().unwrap();
                    let mut checks = Consecutive::new(needed);
                    let results = counts(&case["results"]);
                    results.into_iter().position(|result| checks.add(result == 0))
                }
                _ => continue,
            };
            let expected = case["fire_index"].as_u64();
            assert_eq!(fired.map(|at| at as u64), expected, "{case}");
            checked += 1;
        }
        assert_eq!(checked, 4);
    }

    #[test]
    fn the_requirements_own_numbers() {
        for (mut window, fires_at) in
            [(EventWindow::safety(), 6), (EventWindow::complaints(), 11)]
        {
            let fired = (1..20_u64).find(|at| window.add(Duration::from_secs(*at)));
            assert_eq!(fired, Some(fires_at));
            assert!(!window.is_exceeded(Duration::from_secs(fires_at + 3_600)));
        }
        let mut health = Consecutive::health();
        let results = [true, true, false, true, true, true, true];
        let fired: Vec<bool> = results.map(|failed| health.add(failed)).into();
        assert_eq!(fired, [false, false, false, false, false, true, true]);
        assert_eq!(health.run(), 4);
    }

    proptest! {
        #[test]
        fn the_ring_knows_what_all_events_would(
            times in prop::collection::vec(0_u64..60, 1..40), limit in 0_usize..5,
        ) {
            let span = Duration::from_secs(10);
            let mut window = EventWindow::new(limit, span);
            for (count, at) in (1..).zip(&times) {
                let fires = window.add(Duration::from_secs(*at));
                let now = *times[..count].iter().max().unwrap();
                let within = times[..count].iter().filter(|at| *at + 10 > now).count();
                prop_assert_eq!(fires, within > limit);
                prop_assert!(window.latest.len() <= limit + 1);
            }
        }
    }
}
