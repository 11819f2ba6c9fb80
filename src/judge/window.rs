//! `Window`: what one version did over a trailing span, in fixed slices.
//!
//! A rolling sum is kept beside the slices, so that a reading costs what the window holds
//! and not sixty times that. The sum is always exactly the sum of the slices.

use std::collections::VecDeque;
use std::time::Duration;

use super::reading::{Reading, Spread};
use super::sparse::Sparse;
use super::sums::Timing;
use crate::vocab::outcome::Class;
use crate::vocab::time::Timestamp;
use crate::vocab::times::Times;

/// The last `span` of one version, in at most sixty slices.
///
/// The slice that `now` lies in is the newest; a slice leaves as a whole, so that a reading
/// looks back at most `span` and at least `span` less one slice. Time that goes backwards
/// counts as the latest time seen: what comes late is added to the newest slice.
#[derive(Clone, Debug)]
pub struct Window {
    span: Duration,
    slice_ms: u64,
    keep: u64,
    newest: u64,
    slices: VecDeque<(u64, Sums)>,
    rolling: Sums,
}

/// What the window holds of one slice of its span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// When it began.
    pub at: Timestamp,
    /// Requests that say something about the version.
    pub samples: u64,
    /// Those of them that are the version's failures.
    pub failures: u64,
    /// 99th percentile of the good ones' total time, microseconds; of the time to the first
    /// token where all were streams.
    pub p99_us: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sums {
    samples: u64,
    failures: u64,
    classes: [u64; Class::COUNT],
    times: Sparse,
    first_token: Sparse,
    each_token: Sparse,
}

impl Default for Sums {
    fn default() -> Self {
        let classes = [0; Class::COUNT];
        Self {
            samples: 0,
            failures: 0,
            classes,
            times: Sparse::default(),
            first_token: Sparse::default(),
            each_token: Sparse::default(),
        }
    }
}

impl Window {
    /// An empty window that looks back so far.
    #[must_use]
    pub fn new(span: Duration) -> Self {
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let slice_ms = span_ms.div_ceil(MOST_SLICES).max(SHORTEST_SLICE_MS);
        let keep = span_ms.div_ceil(slice_ms).max(1);
        let (newest, rolling) = (0, Sums::default());
        Self { span, slice_ms, keep, newest, slices: VecDeque::new(), rolling }
    }

    /// Adds what happened up to `now`: requests by [`Class::index`], and the total times of
    /// good answers but streams, in microseconds. Costs in proportion to the values recorded here and in
    /// the window.
    pub fn add(
        &mut self,
        now: Timestamp,
        outcomes: &[u64; Class::COUNT],
        good_total_us: &Times,
    ) {
        self.advance(now);
        self.enter(Sums::of(outcomes, good_total_us));
    }

    /// Adds the times of streams until `now`, in microseconds: to the first token, and for
    /// each after it.
    pub fn add_streams(&mut self, now: Timestamp, first: &Times, each: &Times) {
        self.advance(now);
        let (first_token, each_token) = (Sparse::of(first), Sparse::of(each));
        self.enter(Sums { first_token, each_token, ..Sums::default() });
    }

    fn enter(&mut self, more: Sums) {
        if more == Sums::default() {
            return;
        }
        self.rolling.add(&more);
        match self.slices.back_mut() {
            Some((number, newest)) if *number == self.newest => newest.add(&more),
            _ => self.slices.push_back((self.newest, more)),
        }
    }

    /// What the window holds at `now`.
    pub fn reading(&mut self, now: Timestamp) -> Reading {
        self.advance(now);
        let Sums { samples, failures, times, .. } = &self.rolling;
        let mut reading = Reading::new(self.span, *samples, *failures, times.clone());
        if self.rolling.first_token.total() > 0 {
            reading.first_token = Spread::of(&self.rolling.first_token);
            reading.each_token = Spread::of(&self.rolling.each_token);
        }
        reading
    }

    /// The slices that hold something at `now`, in order of time.
    pub fn slices(&mut self, now: Timestamp) -> Vec<Slice> {
        self.advance(now);
        let slices = self.slices.iter().map(|(number, sums)| Slice {
            at: Timestamp(number.saturating_mul(self.slice_ms)),
            samples: sums.samples,
            failures: sums.failures,
            p99_us: sums.times.percentile(99).or(sums.first_token.percentile(99)),
        });
        slices.collect()
    }

    /// How the requests in the window ended, by [`Class::index`].
    #[must_use]
    pub fn classes(&self) -> &[u64; Class::COUNT] {
        &self.rolling.classes
    }

    /// The times of one kind in the window.
    #[must_use]
    pub fn times(&self, timing: Timing) -> Times {
        match timing {
            Timing::Whole => self.rolling.times.times(),
            Timing::FirstToken => self.rolling.first_token.times(),
            Timing::EachToken => self.rolling.each_token.times(),
        }
    }

    /// Forgets everything but the time.
    pub fn clear(&mut self) {
        self.slices.clear();
        self.rolling = Sums::default();
    }

    fn advance(&mut self, now: Timestamp) {
        self.newest = self.newest.max(now.0 / self.slice_ms);
        let gone = |number: u64| number.saturating_add(self.keep) <= self.newest;
        while let Some((_, old)) = self.slices.pop_front_if(|(number, _)| gone(*number)) {
            self.rolling.subtract(&old);
        }
    }
}

impl Sums {
    fn of(outcomes: &[u64; Class::COUNT], times: &Times) -> Self {
        let times = Sparse::of(times);
        let mut sums = Self { times, classes: *outcomes, ..Self::default() };
        for class in Class::all().filter(|class| class.is_evidence()) {
            let count = outcomes[class.index()];
            sums.samples += count;
            sums.failures += if class.is_failure() { count } else { 0 };
        }
        sums
    }

    fn add(&mut self, more: &Self) {
        self.samples += more.samples;
        self.failures += more.failures;
        for (sum, more) in self.classes.iter_mut().zip(&more.classes) {
            *sum += more;
        }
        self.times.add(&more.times);
        self.first_token.add(&more.first_token);
        self.each_token.add(&more.each_token);
    }

    fn subtract(&mut self, gone: &Self) {
        self.samples = self.samples.saturating_sub(gone.samples);
        self.failures = self.failures.saturating_sub(gone.failures);
        for (sum, gone) in self.classes.iter_mut().zip(&gone.classes) {
            *sum = sum.saturating_sub(*gone);
        }
        self.times.subtract(&gone.times);
        self.first_token.subtract(&gone.first_token);
        self.each_token.subtract(&gone.each_token);
    }
}

/// A sixtieth of the span leaves at a time: fine enough that a reading does not jump.
const MOST_SLICES: u64 = 60;
/// The default interval of the analysis; finer slices would each hold one reading or none.
const SHORTEST_SLICE_MS: u64 = 250;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{Strategy, prop, prop_oneof, proptest};

    use super::Window;
    use crate::judge::sums::Timing;
    use crate::vocab::outcome::Class;
    use crate::vocab::time::Timestamp;
    use crate::vocab::times::Times;

    fn recorded(values: &[u64]) -> Times {
        let mut times = Times::fine();
        values.iter().for_each(|value| times.record(*value));
        times
    }

    fn outcomes(counts: &[(Class, u64)]) -> [u64; Class::COUNT] {
        let mut all = [0; Class::COUNT];
        for (class, count) in counts {
            all[class.index()] += count;
        }
        all
    }

    #[test]
    fn slices_and_classes_are_what_the_reading_is_made_of() {
        let mut window = Window::new(Duration::from_secs(60));
        for (at, bad) in [(1_000, 1), (1_200, 0), (30_000, 2)] {
            let counts = outcomes(&[(Class::Success, 3), (Class::ServerError, bad)]);
            window.add(Timestamp(at), &counts, &recorded(&[100, 200, 300]));
        }
        let now = Timestamp(30_500);
        let slices = window.slices(now);
        let told: Vec<_> =
            slices.iter().map(|one| (one.at.0, one.samples, one.failures)).collect();
        assert_eq!(told, [(1_000, 7, 1), (30_000, 5, 2)]);
        assert_eq!(window.classes()[Class::ServerError.index()], 3);
        assert_eq!(window.times(Timing::Whole).len(), 9);
        assert_eq!(window.slices(Timestamp(61_500)).len(), 1);
        assert_eq!(window.classes()[Class::ServerError.index()], 2);
    }

    #[test]
    fn only_what_says_something_about_the_version_counts() {
        let mut window = Window::new(Duration::from_secs(300));
        let counts = outcomes(&[
            (Class::Success, 5),
            (Class::ClientError, 3),
            (Class::ServerError, 2),
            (Class::Truncated, 1),
            (Class::ClientCancelled, 40),
            (Class::Rejected, 50),
        ]);
        window.add(Timestamp(1_000), &counts, &recorded(&[100, 200, 300]));
        let reading = window.reading(Timestamp(1_000));
        assert_eq!((reading.samples, reading.failures, reading.good), (11, 3, 3));
        assert_eq!((reading.p50_us, reading.p99_us), (Some(200), Some(300)));
        assert_eq!(reading.error_rate(), Some(3.0 / 11.0));
        assert_eq!(reading.slower_than(100), 2);
    }

    #[test]
    fn streams_have_times_of_their_own_and_leave_as_all_do() {
        let mut window = Window::new(Duration::from_secs(60));
        let one = outcomes(&[(Class::Success, 2)]);
        window.add(Timestamp(1_000), &one, &recorded(&[700]));
        window.add_streams(Timestamp(1_000), &recorded(&[30, 40]), &recorded(&[5]));
        let reading = window.reading(Timestamp(1_000));
        assert_eq!((reading.samples, reading.good, reading.p99_us), (2, 1, Some(700)));
        assert!(reading.has_streams());
        let (first, each) = (&reading.first_token, &reading.each_token);
        assert_eq!((first.count, first.p50_us, first.p99_us), (2, Some(30), Some(40)));
        assert_eq!((each.count, each.p99_us), (1, Some(5)));
        assert_eq!(window.times(Timing::FirstToken).len(), 2);
        let reading = window.reading(Timestamp(61_000));
        assert!(!reading.has_streams() && reading.first_token.p99_us.is_none());
    }

    #[test]
    fn an_empty_window_knows_no_rate() {
        let reading = Window::new(Duration::from_secs(1)).reading(Timestamp(9));
        assert_eq!(
            (reading.error_rate(), reading.p50_us, reading.p99_us),
            (None, None, None)
        );
    }

    #[test]
    fn old_slices_leave_and_a_long_gap_empties_it() {
        let mut window = Window::new(Duration::from_secs(60));
        let one = outcomes(&[(Class::Success, 1)]);
        for second in 0..60 {
            window.add(Timestamp(second * 1_000), &one, &recorded(&[10]));
        }
        assert_eq!(window.reading(Timestamp(59_999)).samples, 60);
        assert_eq!(window.reading(Timestamp(60_000)).samples, 59);
        assert_eq!(window.reading(Timestamp(u64::MAX)).samples, 0);
    }

    #[test]
    fn cleared_is_empty_and_goes_on() {
        let mut window = Window::new(Duration::from_secs(60));
        let one = outcomes(&[(Class::ServerError, 1)]);
        window.add(Timestamp(5_000), &one, &recorded(&[7]));
        window.clear();
        assert_eq!(window.reading(Timestamp(5_000)).samples, 0);
        window.add(Timestamp(5_000), &one, &recorded(&[7]));
        assert_eq!(window.reading(Timestamp(5_000)).failures, 1);
        assert_eq!(window.reading(Timestamp(65_000)).failures, 0);
    }

    #[derive(Clone, Debug)]
    struct Entry {
        step_ms: i64,
        good: Vec<u64>,
        failed: u64,
        cancelled: u64,
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let step = prop_oneof![
            8 => 0_i64..400,
            2 => -3_000_i64..0,
            1 => 0_i64..40_000,
        ];
        let good = prop::collection::vec(1_u64..60_000, 0..6);
        let entry = (step, good, 0_u64..3, 0_u64..2).prop_map(
            |(step_ms, good, failed, cancelled)| Entry {
                step_ms,
                good,
                failed,
                cancelled,
            },
        );
        prop::collection::vec(entry, 1..120)
    }

    proptest! {
        #[test]
        fn is_exactly_what_a_naive_count_says(
            span_ms in prop_oneof![1_u64..20_000, 0_u64..2, 15_000_u64..100_000],
            start in 0_u64..100_000,
            entries in entries(),
        ) {
            let slice = span_ms.div_ceil(60).max(250);
            let mut window = Window::new(Duration::from_millis(span_ms));
            let (mut now, mut latest) = (start, 0);
            let mut seen: Vec<(u64, Entry)> = Vec::new();
            for entry in entries {
                now = now.saturating_add_signed(entry.step_ms);
                latest = latest.max(now);
                let counts = outcomes(&[
                    (Class::Success, entry.good.len() as u64),
                    (Class::UpstreamReset, entry.failed),
                    (Class::ClientCancelled, entry.cancelled),
                ]);
                window.add(Timestamp(now), &counts, &recorded(&entry.good));
                seen.push((latest, entry));

                let oldest = (latest / slice + 1).saturating_sub(span_ms.div_ceil(slice).max(1));
                let live = || seen.iter().filter(|(at, _)| at / slice >= oldest);
                let mut good: Vec<u64> = live().flat_map(|(_, e)| e.good.clone()).collect();
                good.sort_unstable();
                let failures: u64 = live().map(|(_, e)| e.failed).sum();
                let reading = window.reading(Timestamp(now));
                assert_eq!(reading.failures, failures);
                assert_eq!(reading.samples, failures + good.len() as u64);
                assert_eq!(reading.good, good.len() as u64);
                let rank = (good.len() * 99).div_ceil(100);
                let p99 = rank.checked_sub(1).map(|at| recorded(&[good[at]]).max());
                assert_eq!(reading.p99_us, p99);
                assert!(window.slices.len() <= 60);
            }
        }
    }
}
