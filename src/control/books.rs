//! Closing the books: everything that happened until now goes to the trials, the windows and
//! the trace.
//!
//! Apart from the loop, which says when, because this is the one way from the workers'
//! numbers to all who want them, and the last thing that is done.

use std::sync::Arc;
use std::time::Duration;

use super::driver::Driver;
use super::record::Recording;
use super::source::Source;
use crate::clock;
use crate::trace::Recorder;
use crate::vocab::time::Timestamp;

impl<S: Source> Driver<S> {
    /// Records every request from now on.
    pub(super) fn record(&mut self, recorder: Recorder) {
        self.source.record();
        self.recording = Some(Recording::new(recorder));
    }

    /// Enters everything that happened until now.
    pub(super) async fn close_books(&mut self) -> Timestamp {
        let until = clock::wall();
        let books = self.source.collect().await;
        let now = clock::wall();
        let table = self.desk.live.load();
        if let (Some(recording), Some(tape)) = (&mut self.recording, self.source.tape()) {
            let published = self.desk.published;
            recording.take(tape, until, &self.seats, (&table, published));
        }
        self.trials.sync(&self.settings, &table, &self.desk.protects, now);
        self.trials.observe(&books, &self.desk.epochs, &self.desk.roster, now);
        for (slot, tally) in books {
            self.seats.enter(slot, &tally, now);
            self.desk.count(slot, &tally, now);
            self.source.give_back(tally);
        }
        now
    }

    /// What is to be written gets a moment to be written.
    pub(super) async fn close(self) {
        let Self { mut desk, events, scribe, clerk, recording, .. } = self;
        desk.put_rest_aside(None);
        let journal = Arc::clone(desk.clerk.journal());
        drop((desk, events));
        if let Some(recording) = recording {
            recording.close().await;
        }
        if tokio::time::timeout(LAST_WORDS, clerk).await.is_err() {
            tracing::error!("the state directory is too slow: audit records may be lost");
        }
        journal.close().await;
        if tokio::time::timeout(LAST_WORDS, scribe).await.is_err() {
            tracing::error!("the state directory is too slow: quarantines may be lost");
        }
    }
}

/// How long the end waits for the disk.
const LAST_WORDS: Duration = Duration::from_secs(5);
