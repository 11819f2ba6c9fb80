//! Time limits of a worker without a timer each: one sweep a tick wakes whoever is late.
//!
//! A connection or an attempt holds one [`Limit`] for all its phases; setting it is two
//! stores. A limit fires between its time and two ticks later, never early, which is fine
//! for limits that are there to get rid of what hangs.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// Between two sweeps.
const TICK: Duration = Duration::from_millis(25);

/// So long somebody may have nothing to say at first, whoever waits.
const SILENT: Duration = Duration::from_secs(1);

/// All limits of one worker.
pub struct Wheel {
    start: Instant,
    now_ms: Cell<u64>,
    entries: RefCell<Entries>,
}

#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    free: Vec<usize>,
}

#[derive(Default)]
struct Entry {
    /// In milliseconds since the wheel's start; zero when no limit is set.
    due_ms: u64,
    waker: Option<Waker>,
    /// Who may have it pass early, for what, and since when it runs.
    spare: Option<(Group, Waits, u64)>,
}

/// Those that share a bound, for whose sake one of them may be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group(pub u32);

/// What somebody is waited for who may be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// To say what it wants.
    Begin,
    /// To want something again.
    Again,
}

/// One limit; given back to the wheel when it is dropped.
pub struct Limit {
    wheel: Rc<Wheel>,
    key: usize,
}

impl Wheel {
    /// A wheel; [`Wheel::run`] must be spawned on the same thread.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            start: super::now(),
            now_ms: Cell::new(1),
            entries: RefCell::new(Entries::default()),
        })
    }

    /// Sweeps for ever. `each` is called at every tick.
    pub async fn run(self: Rc<Self>, each: impl Fn()) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.sweep();
            each();
        }
    }

    /// A limit that is not set yet.
    #[must_use]
    pub fn limit(self: &Rc<Self>) -> Limit {
        let mut entries = self.entries.borrow_mut();
        let key = entries.free.pop().unwrap_or_else(|| {
            entries.list.push(Entry::default());
            entries.list.len() - 1
        });
        Limit { wheel: Rc::clone(self), key }
    }

    /// Wakes everybody who waits on a limit, to look again at what else may have ended.
    pub fn wake_all(&self) {
        let wakers: Vec<Waker> = {
            let mut entries = self.entries.borrow_mut();
            entries.list.iter_mut().filter_map(|entry| entry.waker.take()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Has the limit of one of the group pass now, to make room: of who has long had nothing
    /// to say first, and then of who has wanted nothing for longest. `false` when there is
    /// nobody.
    #[must_use]
    pub fn spare_one(&self, group: Group) -> bool {
        let now_ms = self.now_ms.get();
        let mut entries = self.entries.borrow_mut();
        let spare = entries.list.iter_mut().filter_map(|entry| {
            let (whose, waits, since_ms) = entry.spare?;
            let long = waits == Waits::Again
                || now_ms.saturating_sub(since_ms) >= millis(SILENT);
            (whose == group && long).then_some(((waits == Waits::Again, since_ms), entry))
        });
        let Some((_, entry)) = spare.min_by_key(|(order, _)| *order) else {
            return false;
        };
        (entry.due_ms, entry.spare) = (1, None);
        let waker = entry.waker.take();
        drop(entries);
        waker.into_iter().for_each(Waker::wake);
        true
    }

    fn sweep(&self) {
        let since = super::now().saturating_duration_since(self.start);
        let now_ms = millis(since).saturating_add(1);
        self.now_ms.set(now_ms);
        let late: Vec<Waker> = {
            let mut entries = self.entries.borrow_mut();
            let late =
                entries.list.iter_mut().filter(|e| e.due_ms != 0 && e.due_ms <= now_ms);
            late.filter_map(|entry| entry.waker.take()).collect()
        };
        late.into_iter().for_each(Waker::wake);
    }
}

impl Limit {
    /// Sets the limit to `span` from now; zero takes it away.
    pub fn set(&self, span: Duration) {
        let due_ms = if span.is_zero() {
            0
        } else {
            // The wheel's time is up to a tick old: one tick more keeps it from being early.
            let late = millis(span).saturating_add(millis(TICK));
            self.wheel.now_ms.get().saturating_add(late)
        };
        if let Some(entry) = self.wheel.entries.borrow_mut().list.get_mut(self.key) {
            (entry.due_ms, entry.spare) = (due_ms, None);
        }
    }

    /// The same, of somebody who may be given up earlier ([`Wheel::spare_one`]).
    pub fn set_spare(&self, span: Duration, group: Group, waits: Waits) {
        self.set(span);
        let now_ms = self.wheel.now_ms.get();
        if let Some(entry) = self.wheel.entries.borrow_mut().list.get_mut(self.key) {
            entry.spare = Some((group, waits, now_ms));
        }
    }

    /// Makes the limit pass now.
    pub fn expire(&self) {
        if let Some(entry) = self.wheel.entries.borrow_mut().list.get_mut(self.key) {
            entry.due_ms = 1;
        }
    }

    /// Takes the limit away.
    pub fn clear(&self) {
        self.set(Duration::ZERO);
    }

    /// Whether a limit is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        let entries = self.wheel.entries.borrow();
        entries.list.get(self.key).is_some_and(|entry| entry.due_ms != 0)
    }

    /// Ready once the limit has passed; until then the task is woken when it does.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut entries = self.wheel.entries.borrow_mut();
        let Some(entry) = entries.list.get_mut(self.key) else { return Poll::Pending };
        if entry.due_ms != 0 && entry.due_ms <= self.wheel.now_ms.get() {
            return Poll::Ready(());
        }
        match &entry.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            Some(_) | None => entry.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The wheel it belongs to, for another limit beside it.
    #[must_use]
    pub fn wheel(&self) -> &Rc<Wheel> {
        &self.wheel
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let mut entries = self.wheel.entries.borrow_mut();
        if let Some(entry) = entries.list.get_mut(self.key) {
            *entry = Entry::default();
        }
        entries.free.push(self.key);
    }
}

impl fmt::Debug for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("now_ms", &self.now_ms.get())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit").field("key", &self.key).finish_non_exhaustive()
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(u64::from(!span.is_zero()))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::{Group, Waits, Wheel};

    #[tokio::test(start_paused = true)]
    async fn a_limit_fires_late_by_two_ticks_at_most_and_never_early() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let wheel = Wheel::new();
                let _sweep = crate::tasks::local("sweep", wheel.clone().run(|| {}));
                for ms in [1, 40, 250, 10_000] {
                    let limit = wheel.limit();
                    let begun = crate::clock::now();
                    limit.set(Duration::from_millis(ms));
                    poll_fn(|cx| limit.poll(cx)).await;
                    let took = crate::clock::now() - begun;
                    assert!(took >= Duration::from_millis(ms), "{ms}: {took:?}");
                    assert!(took <= Duration::from_millis(ms + 52), "{ms}: {took:?}");
                }
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_cleared_limit_never_fires_and_its_place_is_used_again() {
        let wheel = Wheel::new();
        let first = wheel.limit();
        first.set(Duration::from_millis(1));
        first.clear();
        wheel.sweep();
        let waited = tokio::time::timeout(
            Duration::from_secs(3_600),
            poll_fn(|cx| first.poll(cx)),
        );
        assert!(waited.await.is_err());
        let key = first.key;
        drop(first);
        assert_eq!(wheel.limit().key, key);
    }

    #[tokio::test(start_paused = true)]
    async fn the_silent_and_then_the_longest_idle_make_room() {
        let wheel = Wheel::new();
        let (ours, others) = (Group(1), Group(2));
        let minute = Duration::from_secs(60);
        let set = |group, waits| {
            wheel.sweep();
            let limit = wheel.limit();
            limit.set_spare(minute, group, waits);
            limit
        };
        let passed = |limit: &super::Limit| {
            limit
                .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
                .is_ready()
        };
        let elsewhere = set(others, Waits::Again);
        let busy = wheel.limit();
        busy.set(minute);
        let oldest = set(ours, Waits::Again);
        tokio::time::advance(Duration::from_secs(5)).await;
        let (silent, younger) = (set(ours, Waits::Begin), set(ours, Waits::Again));
        tokio::time::advance(Duration::from_secs(2)).await;
        let new = set(ours, Waits::Begin);
        for next in [&silent, &oldest, &younger] {
            assert!(!passed(next));
            assert!(wheel.spare_one(ours) && passed(next));
        }
        assert!(!wheel.spare_one(ours), "who has just come is given a moment");
        assert!(!passed(&new) && !passed(&elsewhere) && !passed(&busy));
        elsewhere.set(minute);
        assert!(!wheel.spare_one(others), "it is busy now");
    }
}
