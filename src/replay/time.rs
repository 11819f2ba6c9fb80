//! `Time`: the trace's own clock, which only goes forward, and when a policy looks next.
//!
//! Apart from the counting, because here is what becomes of times that cannot be true, and
//! of hours in which nothing happens.

use std::time::Duration;

use crate::trace::Fault;
use crate::vocab::time::Timestamp;

/// The clock of one replay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    interval_ms: u64,
    /// The time of the last line.
    now: Timestamp,
    /// When the policy looks next.
    next: Timestamp,
    /// A time far ahead, of which one line alone may be wrong.
    ahead: Option<Timestamp>,
}

impl Time {
    /// A clock that begins at the first request.
    pub(super) fn new(interval: Duration, begin: Timestamp) -> Self {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut time = Self { interval_ms, now: begin, next: begin, ahead: None };
        time.next = time.look_at(begin);
        time
    }

    /// The time of the last line.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// At what time a line counts, and what is wrong with it, if anything.
    pub(super) fn of(&mut self, at: Timestamp) -> (Timestamp, Option<(Fault, String)>) {
        let Timestamp(now) = self.now;
        let before = self.ahead.take();
        if at.0 < now {
            let what =
                format!("t_ms is {}, {} ms before a line before it", at.0, now - at.0);
            return (self.now, Some((Fault::TimeBack, what)));
        }
        if at.0 - now <= DAY_MS || before.is_some() {
            return (at, None);
        }
        self.ahead = Some(at);
        let days = (at.0 - now) / DAY_MS;
        let what = format!("t_ms is {}, {days} days after the line before", at.0);
        (self.now, Some((Fault::TimeJump, what)))
    }

    /// The next look that comes before `at`, if there is one left.
    pub(super) fn due(&mut self, at: Timestamp) -> Option<Timestamp> {
        if at <= self.next {
            return None;
        }
        let due = self.next;
        let quiet = due.0.saturating_sub(self.now.0);
        let step = if quiet < FINE_MS {
            self.interval_ms
        } else if quiet < MIDDLE_MS {
            self.interval_ms.max(SECOND_MS)
        } else if quiet < COARSE_MS {
            self.interval_ms.max(10 * SECOND_MS)
        } else {
            u64::MAX
        };
        let last = self.look_at(at);
        self.next = Timestamp(due.0.saturating_add(step)).min(last);
        Some(due)
    }

    /// The clock is at `at`, after every look before it.
    pub(super) fn set(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
    }

    /// The look that takes in what happened at `at`: looks are at whole intervals.
    pub(super) fn look_at(&self, at: Timestamp) -> Timestamp {
        Timestamp(at.0.div_ceil(self.interval_ms).saturating_mul(self.interval_ms))
    }
}

/// No trace is silent for longer without being asked about.
const DAY_MS: u64 = 86_400_000;
const SECOND_MS: u64 = 1_000;
/// After so long without a line, looks are a second apart: by then nobody is alive.
const FINE_MS: u64 = 2_000;
/// After so long they are ten seconds apart.
const MIDDLE_MS: u64 = 60_000;
/// After so long nothing waits for time to pass any more, and the rest is one look.
const COARSE_MS: u64 = 660_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Time;
    use crate::trace::Fault;
    use crate::vocab::time::Timestamp;

    fn time(begin: u64) -> Time {
        Time::new(Duration::from_millis(250), Timestamp(begin))
    }

    fn looks(time: &mut Time, at: u64) -> Vec<u64> {
        let mut looks = Vec::new();
        while let Some(due) = time.due(Timestamp(at)) {
            looks.push(due.0);
        }
        time.set(Timestamp(at));
        looks
    }

    #[test]
    fn looks_are_at_whole_intervals_and_take_in_their_own_moment() {
        let mut time = time(100);
        assert!(looks(&mut time, 250).is_empty());
        assert_eq!(looks(&mut time, 251), [250]);
        assert_eq!(looks(&mut time, 1_000), [500, 750]);
        assert_eq!(looks(&mut time, 1_001), [1_000]);
    }

    #[test]
    fn a_long_silence_costs_a_bounded_number_of_looks() {
        let mut time = time(0);
        let year = looks(&mut time, 31_536_000_123);
        assert!((100..200).contains(&year.len()), "{}", year.len());
        assert!(year.is_sorted());
        assert_eq!(looks(&mut time, 31_536_000_251), [31_536_000_250]);
    }

    #[test]
    fn one_line_alone_does_not_move_the_clock_far() {
        let mut time = time(1_000);
        let fault =
            |of: (Timestamp, Option<(Fault, String)>)| (of.0.0, of.1.map(|it| it.0));
        assert_eq!(fault(time.of(Timestamp(900))), (1_000, Some(Fault::TimeBack)));
        let day = 86_400_000;
        assert_eq!(fault(time.of(Timestamp(1_000 + day))), (1_000 + day, None));
        let far = 9 * day;
        assert_eq!(fault(time.of(Timestamp(far))), (1_000, Some(Fault::TimeJump)));
        assert_eq!(fault(time.of(Timestamp(1_100))), (1_100, None));
        assert_eq!(fault(time.of(Timestamp(far))), (1_000, Some(Fault::TimeJump)));
        assert_eq!(
            fault(time.of(Timestamp(far + 5))),
            (far + 5, None),
            "it has moved on"
        );
    }
}
