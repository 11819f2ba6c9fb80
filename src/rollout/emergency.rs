//! `Emergency`: when a route serves kept answers only, and when it serves again. Pure, like
//! the rest of the room: `now` is an argument.

use std::time::Duration;

use crate::vocab::time::Timestamp;

/// A route in read-only mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emergency {
    /// Since when.
    pub since: Timestamp,
    /// Why, in one sentence.
    pub why: String,
    /// Who ordered it; then it ends by order alone.
    pub ordered_by: Option<String>,
    calm: Duration,
    well_since: Option<Timestamp>,
}

/// A route that has left read-only mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    at: Timestamp,
    calm: Duration,
}

impl Emergency {
    /// Enters read-only mode. Soon after the last time it takes twice as long to leave it:
    /// a server that comes and goes must not take the route with it.
    #[must_use]
    pub fn enter(
        why: String,
        ordered_by: Option<String>,
        last: Option<Left>,
        now: Timestamp,
    ) -> Self {
        let calm = match last {
            Some(left) if now.since(left.at) < RECENT => (left.calm * 2).min(LONGEST),
            Some(_) | None => SHORTEST,
        };
        Self { since: now, why, ordered_by, calm, well_since: None }
    }

    /// How long stable has to be well in a row.
    #[must_use]
    pub fn calm(&self) -> Duration {
        self.calm
    }

    /// Stable was looked at: `well` says whether it passed its checks. Returns whether the
    /// route is to serve again.
    pub fn look(&mut self, well: bool, now: Timestamp) -> bool {
        if !well {
            self.well_since = None;
            return false;
        }
        let since = *self.well_since.get_or_insert(now);
        self.ordered_by.is_none() && now.since(since) >= self.calm
    }

    /// It is over.
    #[must_use]
    pub fn leave(&self, now: Timestamp) -> Left {
        Left { at: now, calm: self.calm }
    }
}

/// How long stable has to be well in a row at first.
const SHORTEST: Duration = Duration::from_secs(5);
/// And at most.
const LONGEST: Duration = Duration::from_secs(300);
/// So long after the last time counts as the same trouble.
const RECENT: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::{Emergency, LONGEST, SHORTEST};
    use crate::vocab::time::Timestamp;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000)
    }

    #[test]
    fn it_ends_when_stable_has_been_well_for_long_enough() {
        let mut on = Emergency::enter("dead".to_owned(), None, None, at(0));
        for (seconds, well, over) in [
            (1, false, false),
            (2, true, false),
            (6, true, false),
            (7, false, false),
            (8, true, false),
            (12, true, false),
            (13, true, true),
        ] {
            assert_eq!(on.look(well, at(seconds)), over, "{seconds}");
        }
    }

    #[test]
    fn a_server_that_comes_and_goes_has_to_stay_longer_each_time() {
        let (mut last, mut now) = (None, 0);
        let mut calms = Vec::new();
        for _ in 0..9 {
            let on = Emergency::enter("dead".to_owned(), None, last, at(now));
            calms.push(on.calm().as_secs());
            now += 300;
            last = Some(on.leave(at(now)));
        }
        assert_eq!(calms, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        let later = Emergency::enter("dead".to_owned(), None, last, at(now + 600));
        assert_eq!((later.calm(), LONGEST.as_secs()), (SHORTEST, 300));
    }

    #[test]
    fn what_was_ordered_ends_by_order() {
        let mut on =
            Emergency::enter("dark".to_owned(), Some("alice".to_owned()), None, at(0));
        assert!(!on.look(true, at(1)) && !on.look(true, at(100_000)));
    }
}
