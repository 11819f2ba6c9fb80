//! Quarantines on their way to the disk: in memory they stand at once, on the disk they follow
//! the record that says why.
//!
//! Apart from the other deeds because of that order: a quarantine that a crash leaves behind
//! is never found without its record, and is never written after its own end.

use std::time::Duration;

use super::execute::Desk;
use super::scribe::Note;
use crate::clock;
use crate::rollout::Event;
use crate::vocab::ids::Name;
use crate::vocab::record::QuarantineEntry;
use crate::vocab::time::Timestamp;

impl Desk {
    /// The quarantine: in memory at once, on disk by the scribe.
    pub(super) fn set_aside(
        &mut self,
        id: &str,
        (route, version): (Name, Name),
        reason: String,
        now: Timestamp,
    ) -> Option<Event> {
        let running = self.find(id)?;
        let (digest, rollback_id) = (running.digest.clone(), id.to_owned());
        let since = now;
        let entry =
            QuarantineEntry { route, version, digest, since, reason, rollback_id };
        let recorded = running.recorded;
        self.quarantine.add(entry.clone());
        if recorded {
            return self.keep(entry);
        }
        self.aside.push(entry);
        None
    }

    fn keep(&self, entry: QuarantineEntry) -> Option<Event> {
        self.scribe.try_send(Note::Keep(entry)).err().map(|_| Event::QuarantineFailed {
            why: "too much waits to be written".to_owned(),
        })
    }

    /// The beginning of a rollback is in the audit log, or the log has had its time: its
    /// quarantine may be written too, so that none is ever found without a record of why.
    pub(super) fn put_aside(&mut self, id: &str) {
        if let Some(running) = self.find(id) {
            running.recorded = true;
        }
        let (due, rest) = std::mem::take(&mut self.aside)
            .into_iter()
            .partition::<Vec<_>, _>(|entry| entry.rollback_id == id);
        self.aside = rest;
        for entry in due {
            if let Some(event) = self.keep(entry) {
                self.happened(id, &event, clock::wall());
            }
        }
    }

    /// Quarantines whose turn has not come are written all the same: what waits longer than
    /// the log may take, or all of them.
    pub(super) fn put_rest_aside(&mut self, until: Option<Timestamp>) {
        let due = |entry: &&QuarantineEntry| {
            until.is_none_or(|now| now.since(entry.since) > OVERDUE)
        };
        let ids: Vec<String> =
            self.aside.iter().filter(due).map(|it| it.rollback_id.clone()).collect();
        for id in ids {
            self.put_aside(&id);
        }
    }
}

/// Longer than a fact waits for the audit log before it is told.
const OVERDUE: Duration = Duration::from_secs(3);
