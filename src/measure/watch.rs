//! `Watch`: the judged requests of a worker that are held against a deadline, so that one
//! that hangs is noticed while it hangs.
//!
//! There is no timer for each: the worker's sweep walks them all. A request's clock runs
//! only while the version is waited for; while its caller sends or reads, nothing is due.

use std::time::Duration;

use tokio::time::Instant;

use crate::judge::DEADLINES;
use crate::vocab::ids::{Epoch, Slot};

/// Which requests passed their deadlines, for each deadline.
pub(super) type Passed = [bool; DEADLINES];

/// Who is asked in one request, and under which shares: where its entries belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) slot: Slot,
    pub(super) epoch: Epoch,
    /// The endpoint's place in the version; 0 before any is chosen.
    pub(super) endpoint: usize,
}

/// All watched requests of one worker; as many places as there were requests at a time.
#[derive(Debug)]
pub(super) struct Watch {
    start: Instant,
    places: Vec<Option<Watched>>,
    free: Vec<usize>,
}

/// The place of one watched request.
#[derive(Debug)]
pub(super) struct Key(usize);

/// How a watched request stands at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Deadlines that it has passed and that nobody has counted.
    pub(super) fresh: Passed,
    /// Whether it has passed the first deadline; `None` when there is no such deadline.
    pub(super) late: Option<bool>,
}

#[derive(Debug)]
struct Watched {
    account: Account,
    /// In microseconds of the version's own time; 0 is none.
    limits: [u64; DEADLINES],
    /// In microseconds since the start; [`NEVER`] while the clock stands before the
    /// deadline, and once it is counted.
    due: [u64; DEADLINES],
    counted: Passed,
}

/// No deadline is due.
const NEVER: u64 = u64::MAX;

impl Watch {
    /// Nobody is watched.
    pub(super) fn new(start: Instant) -> Self {
        Self { start, places: Vec::new(), free: Vec::new() }
    }

    /// Watches a request whose clock runs from `since`.
    pub(super) fn open(
        &mut self,
        account: Account,
        limits: [u64; DEADLINES],
        since: Instant,
    ) -> Key {
        let (due, counted) = ([NEVER; DEADLINES], [false; DEADLINES]);
        let place = Some(Watched { account, limits, due, counted });
        let key = match self.free.pop() {
            Some(at) => {
                self.places[at] = place;
                Key(at)
            }
            None => {
                self.places.push(place);
                Key(self.places.len() - 1)
            }
        };
        self.run(&key, since, Duration::ZERO);
        key
    }

    /// Another endpoint is asked.
    pub(super) fn at(&mut self, key: &Key, endpoint: usize) {
        if let Some(watched) = &mut self.places[key.0] {
            watched.account.endpoint = endpoint;
        }
    }

    /// Other deadlines hold from here on, while the version is not waited for.
    pub(super) fn limit(&mut self, key: &Key, limits: [u64; DEADLINES], spent: Duration) {
        if let Some(watched) = &mut self.places[key.0] {
            watched.limits = limits;
        }
        self.pause(key, spent);
    }

    /// The version is waited for since then, and had taken `spent` before.
    pub(super) fn run(&mut self, key: &Key, since: Instant, spent: Duration) {
        let since = micros(since.saturating_duration_since(self.start));
        let Some(watched) = &mut self.places[key.0] else { return };
        let spent = micros(spent);
        for (at, limit) in watched.limits.into_iter().enumerate() {
            if limit > 0 && !watched.counted[at] {
                let left = limit.saturating_sub(spent);
                watched.due[at] = since.saturating_add(left);
            }
        }
    }

    /// The version is not waited for any more, and has taken `spent` so far.
    pub(super) fn pause(&mut self, key: &Key, spent: Duration) {
        let Some(watched) = &mut self.places[key.0] else { return };
        let spent = micros(spent);
        for (at, limit) in watched.limits.into_iter().enumerate() {
            let passed = limit > 0 && !watched.counted[at] && spent > limit;
            watched.due[at] = if passed { 0 } else { NEVER };
        }
    }

    /// The first token of a stream is here: nothing is due any more. Whether it passed the
    /// first deadline before.
    pub(super) fn spoke(&mut self, key: &Key, spent: Duration) -> bool {
        self.pause(key, spent);
        self.places[key.0].as_ref().is_some_and(|watched| {
            let [limit, _] = watched.limits;
            limit > 0 && (watched.counted[0] || micros(spent) > limit)
        })
    }

    /// The request is over, and took so many microseconds of the version's own time.
    pub(super) fn close(&mut self, key: &Key, spent: u64) -> Standing {
        let mut standing = Standing { fresh: [false; DEADLINES], late: None };
        let Some(watched) = self.places[key.0].take() else { return standing };
        self.free.push(key.0);
        for (at, limit) in watched.limits.into_iter().enumerate() {
            standing.fresh[at] = limit > 0 && !watched.counted[at] && spent > limit;
        }
        if watched.limits[0] > 0 {
            standing.late = Some(watched.counted[0] || standing.fresh[0]);
        }
        standing
    }

    /// Says which requests have passed a deadline since the last time, each deadline of
    /// each request once.
    pub(super) fn sweep(&mut self, now: Instant, mut late: impl FnMut(Account, Passed)) {
        let now = micros(now.saturating_duration_since(self.start));
        for watched in self.places.iter_mut().flatten() {
            let fresh = watched.due.map(|due| due < now);
            if fresh == [false; DEADLINES] {
                continue;
            }
            for (at, _) in fresh.iter().enumerate().filter(|(_, fresh)| **fresh) {
                (watched.due[at], watched.counted[at]) = (NEVER, true);
            }
            late(watched.account, fresh);
        }
        self.shrink();
    }

    /// Lets go of the empty places at the end, so that a crowd of the past is not walked
    /// for ever.
    fn shrink(&mut self) {
        let before = self.places.len();
        while self.places.pop_if(|last| last.is_none()).is_some() {}
        let len = self.places.len();
        if len < before {
            self.free.retain(|at| *at < len);
        }
    }
}

/// Whole microseconds.
pub(super) fn micros(span: Duration) -> u64 {
    let whole = span.as_secs().saturating_mul(1_000_000);
    whole.saturating_add(u64::from(span.subsec_micros()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Account, Key, Standing, Watch};
    use crate::clock;
    use crate::vocab::ids::{Epoch, Slot};

    fn account(endpoint: usize) -> Account {
        Account { slot: Slot::new(3).unwrap(), epoch: Epoch(7), endpoint }
    }

    /// The endpoints of those who are late so many milliseconds after the start.
    fn late(watch: &mut Watch, ms: u64) -> Vec<(usize, [bool; 2])> {
        let mut late = Vec::new();
        let now = watch.start + Duration::from_millis(ms);
        watch.sweep(now, |account, passed| late.push((account.endpoint, passed)));
        late
    }

    #[test]
    fn each_deadline_passes_once_and_only_while_the_clock_runs() {
        let start = clock::now();
        let mut watch = Watch::new(start);
        let ms = |ms| start + Duration::from_millis(ms);
        let key = watch.open(account(0), [50_000, 200_000], ms(10));
        watch.at(&key, 4);
        assert!(late(&mut watch, 60).is_empty(), "at its deadline it is not late");
        watch.pause(&key, Duration::from_millis(50));
        assert!(late(&mut watch, 1_000).is_empty());
        watch.run(&key, ms(1_000), Duration::from_millis(40));
        assert!(late(&mut watch, 1_010).is_empty());
        assert_eq!(late(&mut watch, 1_011), [(4, [true, false])]);
        assert!(late(&mut watch, 1_100).is_empty());
        watch.run(&key, ms(1_100), Duration::from_millis(140));
        assert_eq!(late(&mut watch, 1_161), [(4, [false, true])]);
        let standing = watch.close(&key, 250_000);
        assert_eq!(standing, Standing { fresh: [false, false], late: Some(true) });

        let key = watch.open(account(1), [50_000, 0], ms(2_000));
        watch.pause(&key, Duration::from_millis(51));
        assert_eq!(late(&mut watch, 2_051), [(1, [true, false])]);
        assert!(late(&mut watch, 9_000).is_empty());
    }

    #[test]
    fn what_the_sweep_has_not_seen_is_counted_at_the_end() {
        for (limits, spent, fresh, late) in [
            ([50_000, 0], 50_000, [false, false], Some(false)),
            ([50_000, 0], 50_001, [true, false], Some(true)),
            ([50_000, 60_000], 70_000, [true, true], Some(true)),
            ([0, 60_000], 70_000, [false, true], None),
        ] {
            let mut watch = Watch::new(clock::now());
            let key = watch.open(account(0), limits, watch.start);
            let standing = watch.close(&key, spent);
            assert_eq!(standing, Standing { fresh, late }, "{limits:?} {spent}");
        }
    }

    #[test]
    fn places_are_used_again_and_empty_ones_at_the_end_are_let_go() {
        let mut watch = Watch::new(clock::now());
        let open = |watch: &mut Watch| watch.open(account(0), [1_000, 0], watch.start);
        let mut keys: Vec<Key> = (0..100).map(|_| open(&mut watch)).collect();
        for key in keys.drain(20..) {
            watch.close(&key, 1);
        }
        watch.close(&keys.remove(5), 1);
        assert!(late(&mut watch, 0).is_empty());
        assert_eq!((watch.places.len(), &watch.free[..]), (20, &[5][..]));
        keys.push(open(&mut watch));
        keys.push(open(&mut watch));
        assert_eq!((watch.places.len(), watch.free.len()), (21, 0));
        assert_eq!(late(&mut watch, 2).len(), 21);
        keys.iter().for_each(|key| {
            watch.close(key, 2_000);
        });
        assert!(late(&mut watch, 9).is_empty() && watch.places.is_empty());
    }
}
