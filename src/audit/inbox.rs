//! What waits to be written, in the order of its coming and within bounds.
//!
//! Apart because the bounds differ by urgency: a flood of entries that nobody needs must
//! leave room for the one that says who rolled back.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::chain::Head;
use super::error::WriteError;
use super::log::MOST_BATCH;
use super::record::Draft;

/// What becomes of an entry that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It is refused, and so is the deed. It gets no part of the last room on a full disk.
    Ordinary,
    /// It is refused, but gets the last room on a full disk: an operator's rollback.
    Rollback,
    /// The deed is done and does not wait: the entry is kept in memory and written as soon
    /// as it can be.
    Protective,
}

/// How an entry is answered.
pub(super) type Answer = oneshot::Sender<Result<Head, WriteError>>;

/// An entry on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) draft: Draft,
    pub(super) urgency: Urgency,
    /// Nobody asks what becomes of the log's own entries.
    pub(super) answer: Option<Answer>,
}

/// Entries that wait.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    jobs: VecDeque<Job>,
    ordinary: Load,
    others: Load,
    closed: bool,
}

/// So many entries of so many bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    entries: usize,
    bytes: usize,
}

impl Load {
    /// Counts one more, if it fits within a bound.
    pub(super) fn add(&mut self, bytes: usize, most: Self) -> bool {
        let sum = Self { entries: self.entries + 1, bytes: self.bytes + bytes };
        let fits = sum.entries <= most.entries && sum.bytes <= most.bytes;
        if fits {
            *self = sum;
        }
        fits
    }

    fn remove(&mut self, bytes: usize) {
        self.entries -= 1;
        self.bytes -= bytes;
    }
}

impl Inbox {
    /// Takes a job, or gives back why not and whom to tell.
    pub(super) fn push(&mut self, job: Job) -> Result<(), WriteError> {
        if self.closed {
            return Err(WriteError::Closed);
        }
        let bytes = job.draft.size();
        let fits = match job.urgency {
            Urgency::Ordinary => self.ordinary.add(bytes, MOST_ORDINARY),
            Urgency::Rollback | Urgency::Protective => {
                self.others.add(bytes, MOST_OTHERS)
            }
        };
        if !fits {
            return Err(WriteError::Busy);
        }
        self.jobs.push_back(job);
        Ok(())
    }

    /// Everything that waits, as much of it as goes into one write.
    pub(super) fn take(&mut self) -> Vec<Job> {
        let (mut taken, mut size) = (Vec::new(), 0);
        while let Some(job) = self.jobs.front() {
            let bytes = job.draft.size();
            if size + bytes > MOST_BATCH {
                break;
            }
            size += bytes;
            match job.urgency {
                Urgency::Ordinary => self.ordinary.remove(bytes),
                Urgency::Rollback | Urgency::Protective => self.others.remove(bytes),
            }
            taken.extend(self.jobs.pop_front());
        }
        taken
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// From here on nothing is taken.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether it was closed and nothing is left in it.
    pub(super) fn is_over(&self) -> bool {
        self.closed && self.jobs.is_empty()
    }
}

/// A slow disk takes some hundred writes a second, and many entries go into one.
const MOST_ORDINARY: Load = Load { entries: 1_024, bytes: 8 << 20 };
/// These are few; the bound is there so that there is one.
const MOST_OTHERS: Load = Load { entries: 4_096, bytes: 16 << 20 };
/// What is kept in memory while nothing can be written.
pub(super) const MOST_KEPT: Load = Load { entries: 4_096, bytes: 16 << 20 };

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Inbox, Job, MOST_BATCH, MOST_ORDINARY, Urgency};
    use crate::audit::error::WriteError;
    use crate::audit::record::Draft;
    use crate::vocab::time::Timestamp;

    fn job(urgency: Urgency, bytes: usize) -> Job {
        let draft = Draft::ours("test", Timestamp(0), json!({"x": "y".repeat(bytes)}));
        Job { draft, urgency, answer: None }
    }

    #[test]
    fn a_flood_leaves_room_for_what_matters() {
        let mut inbox = Inbox::default();
        for _ in 0..MOST_ORDINARY.entries {
            inbox.push(job(Urgency::Ordinary, 1)).unwrap();
        }
        assert_eq!(inbox.push(job(Urgency::Ordinary, 1)), Err(WriteError::Busy));
        inbox.push(job(Urgency::Rollback, 1)).unwrap();
        inbox.push(job(Urgency::Protective, 1)).unwrap();
        let mut taken = Vec::new();
        while inbox.len() > 0 {
            let batch = inbox.take();
            assert!(
                batch.iter().map(|job| job.draft.size()).sum::<usize>() <= MOST_BATCH
            );
            taken.extend(batch);
        }
        assert_eq!(taken.len(), MOST_ORDINARY.entries + 2);
        assert_eq!(taken.last().unwrap().urgency, Urgency::Protective);
        inbox.push(job(Urgency::Ordinary, 1)).unwrap();
        inbox.close();
        assert_eq!(inbox.push(job(Urgency::Ordinary, 1)), Err(WriteError::Closed));
        assert!(!inbox.is_over());
        assert_eq!(inbox.take().len(), 1);
        assert!(inbox.is_over());
    }

    #[test]
    fn few_long_entries_are_as_many_as_many_short_ones() {
        let mut inbox = Inbox::default();
        let long = || job(Urgency::Ordinary, 200 << 10);
        let count = (0..1_000).take_while(|_| inbox.push(long()).is_ok()).count();
        assert!((30..=40).contains(&count), "{count}");
        assert_eq!(inbox.take().len(), 5);
        assert_eq!((0..1_000).take_while(|_| inbox.push(long()).is_ok()).count(), 5);
    }
}
