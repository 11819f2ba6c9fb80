//! `Bucket`: so many calls at once, so many more a second. Apart because callers, wrong
//! tokens and records of refusals are all held to a pace, each to its own.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock;

/// How fast something may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// So many at once after a rest.
    pub(super) at_once: u32,
    /// So many a second all the time; at least one.
    pub(super) a_second: u32,
}

/// A token bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    left: u32,
    /// What came in until then is counted.
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, left: rate.at_once, filled: clock::now() }
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long to wait for the next when there is none.
    pub(super) fn take(&mut self) -> Result<(), Duration> {
        let now = clock::now();
        let one = Duration::from_secs(1) / self.rate.a_second.max(1);
        let since = now.saturating_duration_since(self.filled);
        let drops = u32::try_from(since.as_nanos() / one.as_nanos().max(1));
        let drops = drops.unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(drops).min(self.rate.at_once);
        // A full bucket does not save up what runs over.
        self.filled =
            if self.left == self.rate.at_once { now } else { self.filled + one * drops };
        if self.left == 0 {
            return Err((self.filled + one).saturating_duration_since(now));
        }
        self.left -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::{Bucket, Rate};

    #[tokio::test(start_paused = true)]
    async fn so_many_at_once_and_so_many_a_second() {
        let mut bucket = Bucket::new(Rate { at_once: 3, a_second: 10 });
        let mut burst = |most: u32| (0..most).filter(|_| bucket.take().is_ok()).count();
        assert_eq!(burst(10), 3);
        advance(Duration::from_millis(250)).await;
        assert_eq!(burst(10), 2);
        advance(Duration::from_millis(50)).await;
        assert_eq!(burst(10), 1, "halves add up");
        advance(Duration::from_secs(3_600)).await;
        assert_eq!(burst(10), 3, "nothing runs over");
        assert_eq!(bucket.take(), Err(Duration::from_millis(100)));
    }
}
