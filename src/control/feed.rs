//! `Feed`: what changed, as a bounded ring that any number of readers follow.
//!
//! Apart from the log and the records because its readers come and go, may be slow, and
//! must never hold up whoever tells: it forgets the oldest, and says so to who missed it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::clock;
use crate::vocab::ids::Name;
use crate::vocab::time::Timestamp;

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventView {
    /// Its number: larger than that of every event before it, also across restarts.
    pub id: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened, such as `rollback.started` or `weight.set`.
    pub kind: String,
    /// The route it is about, if it is about one.
    pub route: Option<Name>,
    /// The version it is about, if it is about one.
    pub version: Option<Name>,
    /// What else there is to say, such as a whole record.
    pub data: Value,
}

/// The way to tell and to follow. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ring: Mutex<Ring>,
    /// The number of the last event.
    last: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    kept: VecDeque<Arc<EventView>>,
    last: u64,
}

/// One reader's place in the feed.
#[derive(Debug)]
pub struct Cursor {
    feed: Feed,
    told: watch::Receiver<u64>,
    /// The last event that was read.
    at: u64,
}

/// What a reader gets next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// The next event.
    Event(Arc<EventView>),
    /// Events between the last one read and the oldest still kept are gone; reading goes on
    /// with the oldest.
    Missed,
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

impl Feed {
    /// An empty feed. Its numbers begin with the time, so that they grow over restarts.
    #[must_use]
    pub fn new() -> Self {
        let last = clock::wall().0.saturating_mul(PER_MILLISECOND);
        let kept = VecDeque::with_capacity(MOST);
        let (told, _) = watch::channel(last);
        Self(Arc::new(Inner { ring: Mutex::new(Ring { kept, last }), last: told }))
    }

    /// Tells everybody. Never waits; the oldest event is forgotten when there are too many.
    pub fn tell(
        &self,
        kind: &str,
        route: Option<&Name>,
        version: Option<&Name>,
        data: Value,
    ) {
        let mut ring = self.ring();
        ring.last += 1;
        let id = ring.last;
        if ring.kept.len() == MOST {
            ring.kept.pop_front();
        }
        ring.kept.push_back(Arc::new(EventView {
            id,
            at: clock::wall(),
            kind: kind.to_owned(),
            route: route.cloned(),
            version: version.cloned(),
            data,
        }));
        // Within the lock, so that a reader who hears of an event finds it.
        self.0.last.send_replace(id);
    }

    /// A reader who begins after the event of that number, or with what comes next.
    #[must_use]
    pub fn follow(&self, after: Option<u64>) -> Cursor {
        let told = self.0.last.subscribe();
        let at = after.unwrap_or_else(|| self.ring().last);
        Cursor { feed: self.clone(), told, at }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // What is guarded is whole after every line that changes it.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes after the event of that number, if it has happened.
    fn after(&self, at: u64) -> Option<Next> {
        let ring = self.ring();
        let oldest = ring.kept.front().map_or(ring.last + 1, |event| event.id);
        if at > ring.last || at < oldest - 1 {
            return Some(Next::Missed);
        }
        let place = usize::try_from(at + 1 - oldest).unwrap_or(usize::MAX);
        ring.kept.get(place).cloned().map(Next::Event)
    }
}

impl Cursor {
    /// Waits for the next event. Nothing is lost when the waiting is given up.
    pub async fn next(&mut self) -> Next {
        loop {
            self.told.borrow_and_update();
            if let Some(next) = self.feed.after(self.at) {
                self.at = match &next {
                    Next::Event(event) => event.id,
                    Next::Missed => self.oldest() - 1,
                };
                return next;
            }
            if self.told.changed().await.is_err() {
                // The sender lives as long as the feed that this cursor holds.
                std::future::pending::<()>().await;
            }
        }
    }

    fn oldest(&self) -> u64 {
        let ring = self.feed.ring();
        ring.kept.front().map_or(ring.last + 1, |event| event.id)
    }
}

/// Events kept for those who come back; the largest, a rollback's record, is a few KiB.
const MOST: usize = 512;
/// So many events a millisecond before the numbers of one run could meet those of the next.
const PER_MILLISECOND: u64 = 1_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;
    use tokio::time::timeout;

    use super::{Cursor, Feed, MOST, Next};
    use crate::vocab::ids::Name;

    fn tell(feed: &Feed, numbers: std::ops::Range<usize>) {
        let route = Name::parse("iris").unwrap();
        for number in numbers {
            feed.tell("weight.set", Some(&route), None, number.into());
        }
    }

    async fn next(cursor: &mut Cursor) -> Option<Next> {
        timeout(Duration::from_secs(1), cursor.next()).await.ok()
    }

    async fn number(cursor: &mut Cursor) -> (u64, u64) {
        match next(cursor).await {
            Some(Next::Event(event)) => (event.id, event.data.as_u64().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_gets_each_event_once_and_waits_for_the_next() {
        let feed = Feed::new();
        tell(&feed, 0..2);
        let mut cursor = feed.follow(None);
        assert_eq!(next(&mut cursor).await, None);
        tell(&feed, 2..4);
        let (first, second) = (number(&mut cursor).await, number(&mut cursor).await);
        assert_eq!((first.1, second.1, second.0 - first.0), (2, 3, 1));
        let (late, ()) = tokio::join!(next(&mut cursor), async {
            tokio::task::yield_now().await;
            feed.tell("reload.taken", None, None, Value::Null);
        });
        let Some(Next::Event(event)) = late else { panic!("{late:?}") };
        assert_eq!((&*event.kind, &event.route), ("reload.taken", &None));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_gets_what_is_kept_and_hears_what_is_not() {
        let feed = Feed::new();
        let mut slow = feed.follow(None);
        tell(&feed, 0..MOST + 10);
        assert_eq!(next(&mut slow).await, Some(Next::Missed));
        let (oldest, data) = number(&mut slow).await;
        assert_eq!(data, 10);
        let mut back = feed.follow(Some(oldest + 4));
        assert_eq!(number(&mut back).await, (oldest + 5, 15));
        let mut exact = feed.follow(Some(oldest - 1));
        assert_eq!(number(&mut exact).await, (oldest, 10));
        // A number of an earlier run, and one that never was.
        for strange in [7, u64::MAX - 1, u64::MAX] {
            let mut cursor = feed.follow(Some(strange));
            assert_eq!(next(&mut cursor).await, Some(Next::Missed), "{strange}");
            assert_eq!(number(&mut cursor).await, (oldest, 10), "{strange}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_feed_of_a_later_run_says_that_something_was_missed_once() {
        let feed = Feed::new();
        let mut cursor = feed.follow(Some(7));
        assert_eq!(next(&mut cursor).await, Some(Next::Missed));
        assert_eq!(next(&mut cursor).await, None);
        tell(&feed, 0..1);
        assert_eq!(number(&mut cursor).await.1, 0);
    }
}
