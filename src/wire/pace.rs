//! `Pace`: the least speed at which a caller has to send or to take, so that one that drips
//! holds nothing for long. Apart, because bodies and answers are judged alike,
//! whatever protocol carries them.
//!
//! Only time in which the caller alone is waited for counts: not that of a server which
//! takes its time to read or to answer, and not that between two tokens. Every
//! [`WINDOW`] of such time must bring its share of bytes. A caller that was fast before has
//! no credit for it, so that dripping ends within one window of its beginning.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock;

/// How long a caller may be waited for until its share of bytes has to be there.
const WINDOW: Duration = Duration::from_secs(10);

/// How a caller has kept up.
#[derive(Debug)]
pub(in crate::wire) struct Pace {
    /// Bytes that a window has to bring; zero when any speed will do.
    share: u64,
    /// Bytes of this window.
    came: u64,
    /// Time of this window, without that since `since`.
    spent: Duration,
    /// Since when the caller is being waited for.
    since: Option<Instant>,
}

impl Pace {
    /// For a least speed in bytes a second; 0 for none.
    pub(in crate::wire) fn new(rate: u64) -> Self {
        let share = rate.saturating_mul(WINDOW.as_secs());
        Self { share, came: 0, spent: Duration::ZERO, since: None }
    }

    /// The caller is waited for from now on: how long at most, where `idle` is the longest
    /// that nothing at all may come.
    pub(in crate::wire) fn wait(&mut self, idle: Duration) -> Duration {
        if self.share == 0 {
            return idle;
        }
        if self.since.is_none() {
            self.since = Some(clock::now());
        }
        // Never zero, which would be no limit.
        let left = WINDOW.saturating_sub(self.spent).max(Duration::from_millis(1));
        if idle.is_zero() { left } else { left.min(idle) }
    }

    /// So many bytes came or went, and the caller is not waited for any more.
    pub(in crate::wire) fn moved(&mut self, bytes: u64) {
        if let Some(since) = self.since.take() {
            self.spent += clock::now().saturating_duration_since(since);
        } else if self.spent.is_zero() {
            return;
        }
        self.came += bytes;
        if self.came >= self.share {
            self.came = 0;
            self.spent = Duration::ZERO;
        }
    }

    /// Another body: nothing is held against the caller.
    pub(in crate::wire) fn restart(&mut self) {
        self.came = 0;
        self.spent = Duration::ZERO;
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Pace, WINDOW};

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
        assert_eq!(drips(&mut Pace::new(240), 1, second).await, Some(WINDOW));
        let quarter = Duration::from_millis(250);
        assert_eq!(drips(&mut Pace::new(240), 16, quarter).await, Some(WINDOW));
        assert_eq!(drips(&mut Pace::new(240), 300, second).await, None);
        assert_eq!(drips(&mut Pace::new(0), 1, second).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_no_credit_and_time_spent_elsewhere_does_not_count() {
        let mut pace = Pace::new(240);
        pace.wait(IDLE);
        pace.moved(1 << 20);
        assert_eq!(pace.wait(IDLE), WINDOW);
        pace.moved(1);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert!(pace.wait(IDLE) > WINDOW - Duration::from_millis(10));
        assert_eq!(Pace::new(240).wait(Duration::from_secs(2)), Duration::from_secs(2));
    }
}
