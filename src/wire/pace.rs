//! `Pace`: the least speed at which a caller has to send or to take, so that one that drips
//! holds nothing for long. Apart, because bodies and answers are judged alike,
//! whatever protocol carries them.
//!
//! Only time in which the caller alone is waited for counts: not that of a server which
//! takes its time to read or to answer, and not that between two tokens. Every window of
//! such time must bring its share of bytes. A caller that was fast before has no credit for
//! it, so that dripping ends within one window of its beginning.
//!
//! What is taken is seen through the kernel's buffers, which may take some of it late and of
//! their own accord: a window that ends so is followed by a shorter one, until the caller is
//! seen to be fast. So whoever stops taking is gone after two windows at most, 11 s.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock;

/// How long a caller may be waited for until its share of bytes has to be there.
const SENDING: Duration = Duration::from_secs(10);
/// The same of one that takes: at first, and as long as it is slow.
const TAKING: Duration = Duration::from_secs(7);
const TAKING_SLOWLY: Duration = Duration::from_secs(4);
/// A window that takes no longer was that of a fast caller.
const FAST: Duration = Duration::from_secs(1);

/// How a caller has kept up.
#[derive(Debug)]
pub struct Pace {
    /// Bytes a second; zero when any speed will do.
    rate: u64,
    /// What a window is at first, and after one that took long.
    windows: [Duration; 2],
    /// The last window took long.
    slow: bool,
    /// Bytes of this window.
    came: u64,
    /// Time of this window, without that since `since`.
    spent: Duration,
    /// Since when the caller is being waited for.
    since: Option<Instant>,
}

impl Pace {
    /// How long a caller may take nothing at all of what is ready for it.
    pub const PATIENCE: Duration = TAKING;
    /// The same of one that has been slow before.
    pub const LITTLE_PATIENCE: Duration = TAKING_SLOWLY;

    /// Of a caller that sends, for a least speed in bytes a second; 0 for none.
    #[must_use]
    pub fn of_sending(rate: u64) -> Self {
        Self::new(rate, [SENDING; 2])
    }

    /// Of one that takes.
    #[must_use]
    pub fn of_taking(rate: u64) -> Self {
        Self::new(rate, [TAKING, TAKING_SLOWLY])
    }

    fn new(rate: u64, windows: [Duration; 2]) -> Self {
        let spent = Duration::ZERO;
        Self { rate, windows, slow: false, came: 0, spent, since: None }
    }

    /// The caller is waited for from now on, or still: how much longer at most, where `idle`
    /// is the longest that nothing at all may come. Zero when there is no limit.
    pub fn wait(&mut self, idle: Duration) -> Duration {
        if self.rate == 0 && idle.is_zero() {
            return Duration::ZERO;
        }
        let now = clock::now();
        let since = *self.since.get_or_insert(now);
        let waited = now.saturating_duration_since(since);
        let mut most = if idle.is_zero() { Duration::MAX } else { idle };
        if self.rate > 0 {
            most = most.min(self.window().saturating_sub(self.spent));
        }
        // Never zero, which would be no limit.
        most.saturating_sub(waited).max(MOMENT)
    }

    /// Whether the caller has been waited for too long.
    #[must_use]
    pub fn is_over(&mut self, idle: Duration) -> bool {
        self.since.is_some() && self.wait(idle) == MOMENT
    }

    /// So many bytes came or went, and the caller is not waited for any more.
    pub fn moved(&mut self, bytes: u64) {
        if let Some(since) = self.since.take() {
            self.spent += clock::now().saturating_duration_since(since);
        } else if self.spent.is_zero() {
            return;
        }
        self.came += bytes;
        if self.came >= self.rate.saturating_mul(self.window().as_secs()) {
            self.slow = self.spent > FAST;
            self.came = 0;
            self.spent = Duration::ZERO;
        }
    }

    /// Whether the caller has been slow of late.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.slow || self.spent > FAST
    }

    /// Another body: nothing is held against the caller.
    pub fn restart(&mut self) {
        self.slow = false;
        self.came = 0;
        self.spent = Duration::ZERO;
        self.since = None;
    }

    fn window(&self) -> Duration {
        self.windows[usize::from(self.slow)]
    }
}

/// What is left when nothing is.
const MOMENT: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Pace, SENDING, TAKING, TAKING_SLOWLY};

    const IDLE: Duration = Duration::from_secs(30);

    async fn drips(pace: &mut Pace, bytes: u64, every: Duration) -> Option<Duration> {
        let mut all = Duration::ZERO;
        for _ in 0..1_000 {
            let left = pace.wait(IDLE);
            if left <= every {
                return Some(all + left);
            }
            tokio::time::advance(every).await;
            all += every;
            pace.moved(bytes);
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn who_drips_is_given_one_window_and_who_keeps_up_all_the_time() {
        let second = Duration::from_secs(1);
        assert_eq!(drips(&mut Pace::of_sending(240), 1, second).await, Some(SENDING));
        let quarter = Duration::from_millis(250);
        assert_eq!(drips(&mut Pace::of_taking(240), 16, quarter).await, Some(TAKING));
        assert_eq!(drips(&mut Pace::of_sending(240), 300, second).await, None);
        let half = Duration::from_millis(500);
        assert_eq!(drips(&mut Pace::of_taking(240), 150, half).await, None);
        assert_eq!(drips(&mut Pace::of_taking(0), 1, second).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_no_credit_and_time_spent_elsewhere_does_not_count() {
        let mut pace = Pace::of_sending(240);
        pace.wait(IDLE);
        pace.moved(1 << 20);
        assert_eq!(pace.wait(IDLE), SENDING);
        pace.moved(1);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert!(pace.wait(IDLE) > SENDING - Duration::from_millis(10));
        let idle = Duration::from_secs(2);
        assert_eq!(Pace::of_sending(240).wait(idle), idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_buffer_that_takes_some_late_delays_the_end_by_a_short_window() {
        let mut pace = Pace::of_taking(240);
        pace.wait(IDLE);
        tokio::time::advance(TAKING - Duration::from_millis(100)).await;
        pace.moved(64 << 10);
        assert!(pace.is_slow());
        assert_eq!(pace.wait(IDLE), TAKING_SLOWLY);
        assert!(TAKING + TAKING_SLOWLY < Duration::from_secs(15));
        tokio::time::advance(TAKING_SLOWLY - Duration::from_millis(10)).await;
        assert!(!pace.is_over(IDLE));
        tokio::time::advance(Duration::from_millis(10)).await;
        assert!(pace.is_over(IDLE));
        // One that is fast again is trusted as at first.
        let mut pace = Pace::of_taking(240);
        pace.wait(IDLE);
        tokio::time::advance(Duration::from_secs(3)).await;
        pace.moved(64 << 10);
        pace.wait(IDLE);
        tokio::time::advance(Duration::from_millis(50)).await;
        pace.moved(64 << 10);
        assert!(!pace.is_slow());
        assert_eq!(pace.wait(IDLE), TAKING);
    }
}
