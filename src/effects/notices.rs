//! `NoticeQueue`: what one sink for notices is owed, in which order, and what is delivered
//! again. Apart from the queue of lines because notices of one incident keep their order
//! while others pass them.

use std::collections::BTreeSet;

use super::incidents::Incidents;
use super::journal::Journal;
use super::retry::{Next, next, pause};
use super::settings::Filter;
use super::shelf::{Payload, Shelf};
use super::sink::{Repeats, SinkError, Taken};
use crate::vocab::notice::{Delivery, Notice, State};
use crate::vocab::time::Timestamp;

/// One sink's queue. At most one delivery is under way.
#[derive(Debug)]
pub(super) struct NoticeQueue {
    pub(super) shelf: Shelf,
    pub(super) incidents: Incidents,
    filter: Filter,
    repeats: Option<Repeats>,
}

/// What is to be delivered now.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Its number; `None` when it is a repetition.
    pub(super) seq: Option<u64>,
    pub(super) notice: Box<Notice>,
    pub(super) reference: Option<String>,
    pub(super) opened: Option<Box<Notice>>,
}

impl NoticeQueue {
    pub(super) fn new(shelf: Shelf, filter: Filter, repeats: Option<Repeats>) -> Self {
        let incidents = Incidents::new(shelf.sink());
        Self { shelf, incidents, filter, repeats }
    }

    /// Whether the sink wants that notice: because of its topic and severity, or because it
    /// ends what the sink was told of.
    pub(super) fn wants(&self, notice: &Notice) -> bool {
        let ends = notice.state == State::Resolved;
        self.filter.accepts(notice) || (ends && self.incidents.knows(&notice.incident))
    }

    pub(super) fn put(
        &mut self,
        seq: u64,
        notice: &Notice,
        now: Timestamp,
        journal: &mut Journal,
    ) {
        self.incidents.expect(&notice.incident, now, journal);
        self.shelf.put(seq, Payload::Notice(Box::new(notice.clone())), now, journal);
    }

    /// What is to be delivered now: the first that is due and is the first of its incident,
    /// else what is to be said again.
    pub(super) fn job(&mut self, now: Timestamp) -> Option<Job> {
        let first = self.heads().find(|(_, _, due)| *due <= now);
        let (seq, notice) = match first {
            Some((seq, notice, _)) => (Some(seq), notice),
            None => (None, self.incidents.due(now)?),
        };
        let notice = Box::new(notice.clone());
        let earlier = self.incidents.earlier(&notice.incident);
        let reference = earlier.reference.map(str::to_owned);
        let opened = earlier.opened.cloned().map(Box::new);
        self.shelf.busy.extend(seq);
        Some(Job { seq, notice, reference, opened })
    }

    /// When the next delivery is due.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let first = self.heads().map(|(_, _, due)| due).min();
        first.into_iter().chain(self.incidents.next()).min()
    }

    /// The first waiting notice of each incident, in their order.
    fn heads(&self) -> impl Iterator<Item = (u64, &Notice, Timestamp)> {
        let mut seen = BTreeSet::new();
        self.shelf.waiting().iter().filter_map(move |(seq, item)| match &item.payload {
            Payload::Notice(notice) => {
                seen.insert(&notice.incident[..]).then_some((*seq, &**notice, item.due))
            }
            Payload::Line(_) => None,
        })
    }

    /// The sink has taken it. Says so for the record, unless it was a repetition.
    pub(super) fn taken(
        &mut self,
        job: &Job,
        taken: Taken,
        now: Timestamp,
        journal: &mut Journal,
    ) -> Option<Delivery> {
        let notice = &job.notice;
        let Some(seq) = job.seq else {
            let repeats = self.repeats?;
            self.incidents.repeated(&notice.incident, repeats, (now, journal));
            return None;
        };
        self.shelf.busy.remove(&seq);
        self.shelf.remove(seq, journal)?;
        self.shelf.counts.delivered += 1;
        let reference = taken.reference.clone();
        self.incidents.taken(notice, taken.reference, self.repeats, (now, journal));
        Some(Delivery {
            key: notice.key.clone(),
            incident: notice.incident.clone(),
            sink: self.shelf.sink().to_owned(),
            recipients: taken.recipients,
            severity: notice.severity,
            at: now,
            reference,
        })
    }

    /// The sink has not taken it.
    pub(super) fn failed(
        &mut self,
        job: &Job,
        error: &SinkError,
        now: Timestamp,
        journal: &mut Journal,
    ) {
        self.shelf.counts.failed += 1;
        let Some(seq) = job.seq else {
            return self.incidents.postponed(&job.notice.incident, now, pause);
        };
        self.shelf.busy.remove(&seq);
        let Some(item) = self.shelf.waiting().get(&seq) else { return };
        match next(error, item.tries.saturating_add(1), item.queued, now) {
            Next::After(pause) => self.shelf.delay(seq, now.after(pause)),
            Next::Never => self.shelf.bury(seq, &error.to_string(), now, journal),
        }
    }
}
