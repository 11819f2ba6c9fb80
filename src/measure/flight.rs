//! `Flight`: the measurement of one request to one version, from open to close.
//!
//! It is a guard: however the request ends, its outcome is recorded once and the in-flight
//! count goes down once. A flight that is dropped open belongs to a caller that hung up.
//!
//! Times are the version's own. The time a caller takes to send its body or to read the
//! answer is left out, so that slow callers never make a version look slow: the clock of
//! the first byte begins when the request is sent, and the body adds only the spans in
//! which the version was waited for.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::books::Books;
use super::recorder::record;
use crate::vocab::ids::Slot;
use crate::vocab::outcome::Class;

/// One request to one version.
#[derive(Debug)]
pub struct Flight {
    books: Rc<Books>,
    slot: Slot,
    started: Instant,
    first_byte: Option<Duration>,
    body: Duration,
    open: bool,
}

impl Flight {
    /// Opens a flight: in-flight is one higher from here on.
    #[must_use]
    pub fn open(books: &Rc<Books>, slot: Slot, now: Instant) -> Self {
        books.roster.enter(books.worker, slot);
        Self {
            books: Rc::clone(books),
            slot,
            started: now,
            first_byte: None,
            body: Duration::ZERO,
            open: true,
        }
    }

    /// The version it is on.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The books it is recorded in.
    #[must_use]
    pub fn books(&self) -> &Rc<Books> {
        &self.books
    }

    /// Whether the version's requests are to end now.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.books.roster.is_cut(self.slot)
    }

    /// The request has been sent only now, because its caller took long to send it.
    pub fn sent(&mut self, now: Instant) {
        self.started = now;
    }

    /// The head of the answer is here.
    pub fn answered(&mut self, now: Instant) {
        self.first_byte = Some(now.saturating_duration_since(self.started));
    }

    /// The version was waited for in the middle of its answer.
    pub fn waited(&mut self, span: Duration) {
        self.body += span;
    }

    /// Records how it ended.
    pub fn close(mut self, class: Class) {
        self.finish(class);
    }

    /// Records how it ended, where the flight cannot be given away; later calls do nothing.
    pub fn finish(&mut self, class: Class) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let first = self.first_byte;
        let total = first.unwrap_or_else(|| {
            crate::clock::now().saturating_duration_since(self.started)
        }) + self.body;
        self.books.write(self.slot, |tally| {
            tally.outcomes[class.index()] += 1;
            match first {
                Some(first) if class.is_evidence() && !class.is_failure() => {
                    record(&mut tally.first_byte, micros(first));
                    record(&mut tally.total, micros(total));
                }
                Some(_) | None => record(&mut tally.rest, micros(total)),
            }
        });
        self.books.roster.leave(self.books.worker, self.slot);
    }

    /// Ends it unrecorded: nothing was asked of the version.
    pub fn cancel(mut self) {
        if std::mem::take(&mut self.open) {
            self.books.roster.leave(self.books.worker, self.slot);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.finish(Class::ClientCancelled);
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Flight;
    use crate::clock;
    use crate::measure::books::Books;
    use crate::measure::roster::Roster;
    use crate::vocab::outcome::Class;

    #[tokio::test(start_paused = true)]
    async fn a_flight_counts_once_however_it_ends() {
        let roster = Roster::new(1);
        let slot = roster.claim().unwrap();
        let books = Books::new(0, roster.clone());

        let mut slow = Flight::open(&books, slot, clock::now());
        assert_eq!(roster.in_flight(slot), 1);
        tokio::time::advance(Duration::from_millis(10)).await;
        slow.answered(clock::now());
        slow.waited(Duration::from_millis(5));
        slow.finish(Class::Success);
        drop(slow);
        drop(Flight::open(&books, slot, clock::now()));
        Flight::open(&books, slot, clock::now()).cancel();
        Flight::open(&books, slot, clock::now()).close(Class::Truncated);

        assert_eq!(roster.in_flight(slot), 0);
        books.write(slot, |tally| {
            assert_eq!(tally.requests(), 3);
            assert_eq!(tally.outcomes[Class::Success.index()], 1);
            assert_eq!(tally.outcomes[Class::ClientCancelled.index()], 1);
            assert_eq!(tally.outcomes[Class::Truncated.index()], 1);
            assert_eq!((tally.total.len(), tally.rest.len()), (1, 2));
            assert!(
                (14_990..=15_010).contains(&tally.total.max()),
                "{}",
                tally.total.max()
            );
            assert!((9_990..=10_010).contains(&tally.first_byte.max()));
        });
    }
}
