//! From the proxy's counters to a picture of this moment: what each version took of the
//! traffic of the last two seconds.
//!
//! It is apart because it is plain arithmetic over looks in a row, with the time as an
//! argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::clients::Books;
use crate::control::{RouteView, VersionView};

/// Everything that is shown at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Picture {
    /// Since the start.
    pub(super) at: Duration,
    /// What the script is about.
    pub(super) act: &'static str,
    /// What the proxy calls the route's state.
    pub(super) health: String,
    /// The versions.
    pub(super) rows: Vec<Row>,
    /// The callers' books.
    pub(super) books: Books,
    /// Requests of the callers that ended, a second.
    pub(super) ended_per_second: f64,
}

/// One version.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    /// What the proxy says of it.
    pub(super) view: VersionView,
    /// Its part of all requests that versions were asked lately, 0 to 1.
    pub(super) share: Option<f64>,
    /// Requests that it was asked, a second.
    pub(super) per_second: f64,
}

/// The looks of the last two seconds.
#[derive(Debug, Default)]
pub(super) struct Meter {
    looks: VecDeque<Look>,
}

#[derive(Debug)]
struct Look {
    at: Instant,
    asked: Vec<u64>,
    ended: u64,
}

impl Meter {
    /// Takes another look.
    pub(super) fn look(
        &mut self,
        now: Instant,
        route: &RouteView,
        books: Books,
    ) -> Picture {
        let asked = route.versions.iter().map(|version| version.requests).collect();
        while self.looks.len() >= MOST_LOOKS
            || self.looks.front().is_some_and(|old| now.duration_since(old.at) > SPAN)
        {
            self.looks.pop_front();
        }
        self.looks.push_back(Look { at: now, asked, ended: books.ended() });
        let all: u64 = (0..route.versions.len()).map(|at| self.asked_lately(at)).sum();
        let row = |(at, view): (usize, &VersionView)| Row {
            view: view.clone(),
            share: (all > 0).then(|| float(self.asked_lately(at)) / float(all)),
            per_second: self.per_second(self.asked_lately(at)),
        };
        Picture {
            at: Duration::ZERO,
            act: "",
            health: route.health.clone(),
            rows: route.versions.iter().enumerate().map(row).collect(),
            ended_per_second: self.per_second(self.lately(|look| Some(look.ended))),
            books,
        }
    }

    fn asked_lately(&self, version: usize) -> u64 {
        self.lately(|look| look.asked.get(version).copied())
    }

    fn lately(&self, read: impl Fn(&Look) -> Option<u64>) -> u64 {
        let edge = |look: Option<&Look>| look.and_then(&read).unwrap_or(0);
        edge(self.looks.back()).saturating_sub(edge(self.looks.front()))
    }

    fn per_second(&self, number: u64) -> f64 {
        let (Some(first), Some(last)) = (self.looks.front(), self.looks.back()) else {
            return 0.0;
        };
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        if seconds > 0.0 { float(number) / seconds } else { 0.0 }
    }
}

/// A count as a number for shares and rates; the demo's are far below the bound.
pub(super) fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// What "lately" means.
const SPAN: Duration = Duration::from_secs(2);

/// Looks that are kept.
const MOST_LOOKS: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MOST_LOOKS, Meter};
    use crate::clock;
    use crate::control::{RouteView, VersionView};
    use crate::demo::clients::Books;

    fn route(asked: [u64; 2]) -> RouteView {
        let version = |requests| VersionView { requests, ..VersionView::default() };
        RouteView { versions: asked.map(version).to_vec(), ..RouteView::default() }
    }

    fn books(answered: u64) -> Books {
        Books { fresh: [("v1".to_owned(), answered)].into(), ..Books::default() }
    }

    #[test]
    fn shares_and_rates_are_those_of_the_last_two_seconds() {
        let (mut meter, start) = (Meter::default(), clock::now());
        let first = meter.look(start, &route([0, 0]), books(0));
        assert_eq!((first.rows[0].share, first.rows[1].share), (None, None));
        let at = |ms| start + Duration::from_millis(ms);
        let second = meter.look(at(1_000), &route([90, 10]), books(100));
        assert_eq!((second.rows[0].share, second.rows[1].share), (Some(0.9), Some(0.1)));
        assert_eq!((second.rows[1].per_second, second.ended_per_second), (10.0, 100.0));
        let third = meter.look(at(2_900), &route([280, 10]), books(290));
        assert_eq!((third.rows[0].share, third.rows[1].share), (Some(1.0), Some(0.0)));
        assert_eq!(format!("{:.3}", third.rows[0].per_second), "100.000");
    }

    #[test]
    fn only_so_many_looks_are_kept() {
        let (mut meter, start) = (Meter::default(), clock::now());
        for _ in 0..1_000 {
            meter.look(start, &route([1, 1]), books(1));
        }
        assert_eq!(meter.looks.len(), MOST_LOOKS);
    }
}
