//! `Queue`: one sink with what it is owed, whichever kind it is. Apart from the two kinds so
//! that the desk treats them alike.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::journal::{Journal, Kind};
use super::lines::{Batch, LineQueue};
use super::notices::{Job, NoticeQueue};
use super::outbox::OfDead;
use super::settings::Filter;
use super::shelf::{Bounds, Shelf};
use super::sink::{BoxFuture, Earlier, Shipped, Shipper, Sink, SinkError, Taken};
use super::view::{DeadLetter, SinkView};
use crate::vocab::notice::{Delivery, Notice};
use crate::vocab::time::Timestamp;

/// A sink and its queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: String,
    type_name: &'static str,
    inner: Inner,
    last_error: Option<(Timestamp, String)>,
    last_delivery: Option<Timestamp>,
    /// Whether the last delivery failed.
    is_failing: bool,
    /// Whether one is under way.
    pub(super) is_busy: bool,
}

#[derive(Debug)]
enum Inner {
    Notices(NoticeQueue, Arc<dyn Sink>),
    Lines(LineQueue, Arc<dyn Shipper>),
}

/// A sink as the outbox is given it.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) name: String,
    pub(super) type_name: &'static str,
    pub(super) way: Way,
}

/// What a sink takes.
#[derive(Debug)]
pub(super) enum Way {
    Notices(Filter, Arc<dyn Sink>),
    Lines(Arc<dyn Shipper>),
}

/// What is under way.
#[derive(Debug)]
pub(super) enum Work {
    Notice(Job),
    Lines(Batch),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    Taken(Taken),
    Shipped(Shipped),
    Failed(SinkError),
}

/// What the desk has to say about an outcome.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) delivery: Option<Delivery>,
    /// The sink has begun to fail, for this reason.
    pub(super) fails: Option<String>,
    /// The sink works again.
    pub(super) recovers: bool,
}

impl Queue {
    pub(super) fn new(outlet: Outlet) -> Self {
        let Outlet { name, type_name, way } = outlet;
        let inner = match way {
            Way::Notices(filter, sink) => {
                let shelf = Shelf::new(&name, NOTICES);
                Inner::Notices(NoticeQueue::new(shelf, filter, sink.repeats()), sink)
            }
            Way::Lines(shipper) => {
                Inner::Lines(LineQueue::new(Shelf::new(&name, LINES)), shipper)
            }
        };
        Self {
            name,
            type_name,
            inner,
            last_error: None,
            last_delivery: None,
            is_failing: false,
            is_busy: false,
        }
    }

    /// Puts back a row of an earlier run; `None` when it is not what was written.
    pub(super) fn restore(&mut self, kind: Kind, id: &str, value: &[u8]) -> Option<()> {
        let shelf = self.shelf_mut();
        match kind {
            Kind::Waiting => {
                shelf.restore(id.parse().ok()?, serde_json::from_slice(value).ok()?);
            }
            Kind::Dead => {
                shelf.restore_dead(id.parse().ok()?, serde_json::from_slice(value).ok()?);
            }
            Kind::Incident => {
                let incident = serde_json::from_slice(value).ok()?;
                let Inner::Notices(queue, _) = &mut self.inner else { return None };
                queue.incidents.restore(id.to_owned(), incident);
            }
            Kind::Seen => return None,
        }
        Some(())
    }

    /// Puts a notice in if the sink wants it.
    pub(super) fn offer(
        &mut self,
        seq: u64,
        notice: &Notice,
        now: Timestamp,
        journal: &mut Journal,
    ) -> bool {
        match &mut self.inner {
            Inner::Notices(queue, _) if queue.wants(notice) => {
                queue.put(seq, notice, now, journal);
                true
            }
            Inner::Notices(..) | Inner::Lines(..) => false,
        }
    }

    /// Puts a line in if the sink takes lines.
    pub(super) fn ship(
        &mut self,
        seq: u64,
        line: &str,
        now: Timestamp,
        journal: &mut Journal,
    ) {
        if let Inner::Lines(queue, _) = &mut self.inner {
            queue.put(seq, line, now, journal);
        }
    }

    /// What is to be done now, if nothing is under way, and the future that does it.
    pub(super) fn work(
        &mut self,
        now: Timestamp,
    ) -> Option<(Work, BoxFuture<'static, Outcome>)> {
        if self.is_busy {
            return None;
        }
        let started = match &mut self.inner {
            Inner::Notices(queue, sink) => {
                let job = queue.job(now)?;
                let (sink, own) = (Arc::clone(sink), job.clone());
                let doing = within(async move {
                    let opened = own.opened.as_deref();
                    let earlier = Earlier { reference: own.reference.as_deref(), opened };
                    sink.deliver(&own.notice, earlier).await.map(Outcome::Taken)
                });
                (Work::Notice(job), doing)
            }
            Inner::Lines(queue, shipper) => {
                let batch = queue.batch(now)?;
                let (shipper, lines) = (Arc::clone(shipper), batch.lines.clone());
                let doing =
                    within(
                        async move { shipper.ship(&lines).await.map(Outcome::Shipped) },
                    );
                (Work::Lines(batch), doing)
            }
        };
        self.is_busy = true;
        Some(started)
    }

    /// When there is something to do, if nothing is under way.
    pub(super) fn due(&self) -> Option<Timestamp> {
        if self.is_busy {
            return None;
        }
        match &self.inner {
            Inner::Notices(queue, _) => queue.due(),
            Inner::Lines(queue, _) => queue.due(),
        }
    }

    /// What was under way has ended.
    pub(super) fn ended(
        &mut self,
        work: &Work,
        outcome: Outcome,
        now: Timestamp,
        journal: &mut Journal,
    ) -> Told {
        self.is_busy = false;
        let mut why = None;
        let mut delivery = None;
        match (&mut self.inner, work, outcome) {
            (Inner::Notices(queue, _), Work::Notice(job), Outcome::Taken(taken)) => {
                delivery = queue.taken(job, taken, now, journal);
            }
            (Inner::Notices(queue, _), Work::Notice(job), Outcome::Failed(error)) => {
                queue.failed(job, &error, now, journal);
                why = Some(error.to_string());
            }
            (Inner::Lines(queue, _), Work::Lines(batch), Outcome::Shipped(shipped)) => {
                let first = shipped.refused.first().map(|(_, why)| why.clone());
                why = shipped.why.clone().or(first);
                queue.shipped(batch, &shipped, now, journal);
            }
            (Inner::Lines(queue, _), Work::Lines(batch), Outcome::Failed(error)) => {
                queue.failed(batch, &error, now, journal);
                why = Some(error.to_string());
            }
            // A queue is only ever told of its own work.
            (Inner::Notices(..) | Inner::Lines(..), _, _) => {}
        }
        let was_failing = std::mem::replace(&mut self.is_failing, why.is_some());
        if let Some(why) = &why {
            self.last_error = Some((now, why.clone()));
        } else {
            self.last_delivery = Some(now);
        }
        let recovers = was_failing && why.is_none();
        Told { delivery, fails: why.filter(|_| !was_failing), recovers }
    }

    /// Gives what was given up another try, or forgets it; says how much.
    pub(super) fn settle_dead(
        &mut self,
        how: OfDead,
        now: Timestamp,
        journal: &mut Journal,
    ) -> usize {
        match how {
            OfDead::Retry => self.shelf_mut().revive(now, journal),
            OfDead::Drop => self.shelf_mut().forget_dead(journal),
        }
    }

    /// The largest number in use.
    pub(super) fn last_seq(&self) -> u64 {
        let shelf = self.shelf();
        let waiting = shelf.waiting().last_key_value().map(|(seq, _)| *seq);
        let dead = shelf.dead().last_key_value().map(|(seq, _)| *seq);
        waiting.max(dead).unwrap_or(0)
    }

    /// Writes all of it.
    pub(super) fn write(&self, journal: &mut Journal) {
        self.shelf().write(journal);
        if let Inner::Notices(queue, _) = &self.inner {
            queue.incidents.write(journal);
        }
    }

    pub(super) fn view(&self) -> SinkView {
        let shelf = self.shelf();
        let dead = shelf.dead();
        let shown = dead.values().rev().take(SHOWN).map(DeadLetter::of).collect();
        let (last_error_at, last_error) = self.last_error.clone().unzip();
        SinkView {
            name: self.name.clone(),
            type_name: self.type_name,
            waiting: shelf.waiting().len(),
            dead: dead.len(),
            is_failing: self.is_failing,
            last_error,
            last_error_at,
            last_delivery: self.last_delivery,
            delivered: shelf.counts.delivered,
            failed: shelf.counts.failed,
            given_up: shelf.counts.given_up,
            pushed_out: shelf.counts.pushed_out,
            lost: 0,
            dead_letters: shown,
        }
    }

    /// How often something was pushed out of the full queue since the start.
    pub(super) fn pushed_out(&self) -> u64 {
        self.shelf().counts.pushed_out
    }

    fn shelf(&self) -> &Shelf {
        match &self.inner {
            Inner::Notices(queue, _) => &queue.shelf,
            Inner::Lines(queue, _) => &queue.shelf,
        }
    }

    fn shelf_mut(&mut self) -> &mut Shelf {
        match &mut self.inner {
            Inner::Notices(queue, _) => &mut queue.shelf,
            Inner::Lines(queue, _) => &mut queue.shelf,
        }
    }
}

/// A delivery with the limit that all of its requests share.
fn within(
    doing: impl Future<Output = Result<Outcome, SinkError>> + Send + 'static,
) -> BoxFuture<'static, Outcome> {
    Box::pin(async move {
        match timeout(LIMIT, doing).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Failed(error),
            Err(_) => Outcome::Failed(SinkError::again("it took longer than a minute")),
        }
    })
}

/// For one delivery, which may be several requests.
const LIMIT: Duration = Duration::from_secs(60);
/// A day of rollbacks every two minutes.
const NOTICES: Bounds =
    Bounds { count: 1_000, bytes: 8 << 20, dead_count: 200, dead_bytes: 2 << 20 };
/// Some days of deeds; the log itself has them all.
const LINES: Bounds =
    Bounds { count: 10_000, bytes: 16 << 20, dead_count: 200, dead_bytes: 2 << 20 };
/// Dead letters that a view names.
const SHOWN: usize = 10;
