//! `Flight`: one request to one version, from the moment it is assigned to its last byte.
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
use super::sheet::{self, Ending, Took};
use super::speech::Speech;
use super::watch::{Account, Key, micros};
use crate::clock;
use crate::judge::Sums;
use crate::trace::Entry;
use crate::vocab::ids::{Epoch, Slot};
use crate::vocab::outcome::Class;
use crate::vocab::sample::{Sample, excerpt};
use crate::wire::Beginning;

/// What is settled about a request when it is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The version.
    pub slot: Slot,
    /// The route's shares that it was placed by.
    pub epoch: Epoch,
    /// A coin placed it there and nothing else, so that it may count as evidence.
    pub judged: bool,
    /// It is a copy of a caller's request, whose answer nobody waits for.
    pub shadow: bool,
}

/// What a failed exchange was about, as far as its flight does not know: for a sample, so
/// that nothing may be in it that is not for everybody's eyes.
#[derive(Clone, Debug)]
pub struct About {
    /// The server that was asked, as the configuration names it.
    pub endpoint: String,
    /// The request's method.
    pub method: String,
    /// Its path without the query.
    pub path: String,
    /// Its id.
    pub request_id: String,
    /// Harmless headers of request and answer.
    pub headers: Vec<(String, String)>,
    /// The beginning of the request's body, where the configuration asks for it.
    pub request_body: Option<Beginning>,
}

/// One request to one version.
#[derive(Debug)]
pub struct Flight {
    books: Rc<Books>,
    stamp: Stamp,
    started: Instant,
    first_byte: Option<Duration>,
    body: Duration,
    /// Since when the version is waited for in the middle of its answer.
    waiting: Option<Instant>,
    /// The caller is waited for in the middle of its request.
    uploading: bool,
    /// Bytes of an answer have come, if not yet a head.
    heard: bool,
    endpoint: usize,
    status: Option<u16>,
    watched: Option<Key>,
    /// The answer is a stream of tokens.
    speech: Option<Speech>,
    /// The beginning of the answer's body, where the configuration asks for it and there is
    /// room for a sample.
    noted: Option<Beginning>,
    open: bool,
}

impl Stamp {
    /// A request that says nothing about the version in comparison with others: an override
    /// placed it, or a failure elsewhere.
    #[must_use]
    pub fn plain(slot: Slot) -> Self {
        Self { slot, epoch: Epoch::default(), judged: false, shadow: false }
    }
}

impl Flight {
    /// Opens a flight: in-flight is one higher from here on.
    #[must_use]
    pub fn open(books: &Rc<Books>, stamp: Stamp, now: Instant) -> Self {
        books.roster.enter(books.worker, stamp.slot);
        let mut watched = None;
        if stamp.judged {
            books.write(stamp.slot, |tally| {
                tally.judge(stamp.epoch, |sums| sums.opened += 1);
            });
            let limits = books.roster.deadlines(stamp.slot);
            if limits.iter().any(|limit| *limit > 0) {
                let Stamp { slot, epoch, .. } = stamp;
                let account = Account { slot, epoch, endpoint: 0 };
                watched = Some(books.watch.borrow_mut().open(account, limits, now));
            }
        }
        Self {
            books: Rc::clone(books),
            stamp,
            started: now,
            first_byte: None,
            body: Duration::ZERO,
            waiting: None,
            uploading: false,
            heard: false,
            endpoint: 0,
            status: None,
            watched,
            speech: None,
            noted: None,
            open: true,
        }
    }

    /// The version it is on.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.stamp.slot
    }

    /// The books it is recorded in.
    #[must_use]
    pub fn books(&self) -> &Rc<Books> {
        &self.books
    }

    /// Whether the version's requests are to end now.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.books.roster.is_cut(self.stamp.slot)
    }

    /// An endpoint is asked, by its place in the version.
    pub fn at(&mut self, endpoint: usize) {
        (self.endpoint, self.heard, self.status) = (endpoint, false, None);
        self.speech = None;
        self.forget();
        if self.first_byte.take().is_some() {
            self.asked_again(clock::now());
        }
        if self.uploading {
            // Whether the caller is still to be waited for is for this attempt to find out.
            self.sent(clock::now());
        }
        if let Some(key) = &self.watched {
            self.books.watch.borrow_mut().at(key, endpoint);
        }
    }

    /// The request is tried again within the version.
    pub fn retried(&self) {
        if !self.stamp.shadow {
            self.books.write(self.stamp.slot, |tally| tally.retries += 1);
        }
    }

    /// The caller is waited for, who has not sent all of its request: the version's time
    /// begins anew with every piece of it.
    pub fn uploading(&mut self, now: Instant) {
        (self.started, self.uploading) = (now, true);
        if let Some(key) = &self.watched {
            self.books.watch.borrow_mut().pause(key, Duration::ZERO);
        }
    }

    /// The request has been sent only now, because its caller took long to send it.
    pub fn sent(&mut self, now: Instant) {
        (self.started, self.uploading) = (now, false);
        if let Some(key) = &self.watched {
            self.books.watch.borrow_mut().run(key, now, Duration::ZERO);
        }
    }

    /// The first bytes of an answer are here, whatever they turn out to be.
    pub fn heard(&mut self) {
        self.heard = true;
    }

    /// The head of the answer is here.
    pub fn answered(&mut self, now: Instant) {
        let first = now.saturating_duration_since(self.started);
        (self.first_byte, self.heard) = (Some(first), true);
        // What an answer before this one took is in `first` as well.
        self.body = Duration::ZERO;
        self.pause();
        self.limit(false);
    }

    /// The answer, whose head is here, is a stream of tokens: it is judged by the time to its
    /// first token and by the time for each further one, not by how long it is. To be called
    /// once for each answer, before any [`Flight::tokens`].
    pub fn streams(&mut self) {
        self.speech.get_or_insert_default();
        self.limit(true);
    }

    /// So many more pieces of generated content are here, each of which is a token as far as
    /// can be seen. Comes after [`Flight::waited`] for the bytes that they came in; costs a
    /// few additions, but for the first.
    pub fn tokens(&mut self, pieces: u64) {
        let Some(speech) = &self.speech else { return };
        // Who wants the time only of the first token need not ask the clock for others.
        let spent = if speech.first().is_none() { self.total() } else { Duration::ZERO };
        let begins = self.speech.as_mut().is_some_and(|it| it.hear(pieces, spent));
        if !begins {
            return;
        }
        let late = self
            .watched
            .as_ref()
            .is_some_and(|key| self.books.watch.borrow_mut().spoke(key, spent));
        let Stamp { slot, epoch, shadow, judged } = self.stamp;
        self.books.write(slot, |tally| {
            if !shadow {
                tally.streams().first_token.record(micros(spent));
            }
            if judged {
                let enter = |sums: &mut Sums| {
                    sheet::spoke(sums, self.endpoint, micros(spent), late);
                };
                tally.judge(epoch, enter);
            }
        });
    }

    /// How many tokens the answer has, as the version itself says: it is believed before the
    /// count of pieces, as a piece may be several tokens. The last one counts; 0 says
    /// nothing.
    pub fn usage(&mut self, output_tokens: u64) {
        if let Some(speech) = &mut self.speech {
            speech.say(output_tokens);
        }
    }

    /// The answer's status, for a trace.
    pub fn status(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// The version is waited for from now on, in the middle of its answer.
    pub fn waits(&mut self, now: Instant) {
        self.waiting = Some(now);
        if let Some(key) = self.watched.as_ref().filter(|_| self.first().is_none()) {
            let spent = self.first_byte.unwrap_or_default() + self.body;
            self.books.watch.borrow_mut().run(key, now, spent);
        }
    }

    /// The version was waited for in the middle of its answer.
    pub fn waited(&mut self, span: Duration) {
        self.body += span;
        self.waiting = None;
        self.pause();
    }

    /// The place of the endpoint that was asked last.
    #[must_use]
    pub fn endpoint(&self) -> usize {
        self.endpoint
    }

    /// Should it fail, its sample is to have the first `most` bytes of the answer's body; 0
    /// are none. Nothing is noted where there is no room for a sample.
    pub fn note_up_to(&mut self, most: usize) {
        if most == 0 {
            return;
        }
        self.books.write(self.stamp.slot, |tally| {
            if tally.samples.has_room() {
                self.noted = Some(Beginning::new(most));
            }
        });
    }

    /// Takes note of the next bytes of the answer's body, as far as they are wanted.
    pub fn note(&self, bytes: &[u8]) {
        if let Some(noted) = &self.noted {
            noted.push(bytes);
        }
    }

    /// Whether more of the answer's body is wanted for a sample.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.noted.as_ref().is_some_and(|noted| !noted.is_full())
    }

    /// What was noted comes again, or is of an answer that is tried again.
    pub fn forget(&self) {
        if let Some(noted) = &self.noted {
            noted.clear();
        }
    }

    /// Takes a sample of an exchange that is about to end as a failure of its version; of no
    /// other. `about` is called only if there is room for one.
    pub fn sample(&self, class: Class, about: impl FnOnce() -> About) {
        if !class.is_failure() || !self.open {
            return;
        }
        self.books.write(self.stamp.slot, |tally| {
            tally.samples.take(|| {
                let About { endpoint, method, path, request_id, headers, request_body } =
                    about();
                let shown = |body: &Beginning| body.read(excerpt);
                let sample = Sample {
                    at: clock::wall(),
                    class,
                    status: self.status,
                    endpoint,
                    latency_us: micros(self.total()),
                    method,
                    path,
                    request_id,
                    headers,
                    request_body: request_body.as_ref().and_then(shown),
                    response_body: self.noted.as_ref().and_then(shown),
                };
                sample.bounded()
            });
        });
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
        let span = self.total();
        let total = micros(span);
        let Stamp { slot, epoch, shadow, judged } = self.stamp;
        let ending = judged.then(|| self.ending(class, span));
        let speech = self.speech.filter(|speech| speech.first().is_some());
        let good = class.is_evidence() && !class.is_failure();
        self.books.write_urgent(slot, |tally| {
            match self.first_byte {
                _ if shadow => tally.shadow[class.index()] += 1,
                Some(first) if good => {
                    tally.outcomes[class.index()] += 1;
                    tally.first_byte.record(micros(first));
                    if speech.is_none() {
                        tally.total.record(total);
                    }
                }
                Some(_) | None => {
                    tally.outcomes[class.index()] += 1;
                    tally.rest.record(total);
                }
            }
            if let Some(speech) = speech.filter(|_| !shadow) {
                tally.streams().ended(&speech, span, good);
            }
            let enter = |sums: &mut Sums, ending: &Ending| {
                sheet::ended(sums, ending);
                sheet::is_urgent(sums)
            };
            let urgent = ending.map(|end| tally.judge(epoch, |sums| enter(sums, &end)));
            urgent.flatten().unwrap_or_default()
        });
        self.books.note(|| Entry {
            at: clock::wall(),
            slot,
            endpoint: u16::try_from(self.endpoint).ok(),
            class,
            status: self.status,
            latency_us: total,
            first_byte_us: self.first_byte.map(micros),
            streamed: speech.and_then(|speech| speech.traced(span)),
            shadow,
            judged,
        });
        self.books.roster.leave(self.books.worker, slot);
    }

    /// Ends it unrecorded: nothing was asked of the version. Only in the same go in which it
    /// was opened, before control can have heard of it.
    pub fn cancel(mut self) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let Stamp { slot, epoch, judged, .. } = self.stamp;
        if let Some(key) = self.watched.take() {
            self.books.watch.borrow_mut().close(&key, 0);
        }
        if judged {
            self.books.write(slot, |tally| tally.unopen(epoch));
        }
        self.books.roster.leave(self.books.worker, slot);
    }

    /// How it ended, as the sums see it. Nobody watches it any more.
    fn ending(&mut self, class: Class, span: Duration) -> Ending {
        let (mut passed, mut late) = (Default::default(), None);
        if let Some(key) = self.watched.take() {
            // Whoever gives up while it still sends has waited for nobody.
            let sending = self.uploading && self.first_byte.is_none();
            let spent = self.first().unwrap_or(span);
            let spent = if sending { 0 } else { micros(spent) };
            let standing = self.books.watch.borrow_mut().close(&key, spent);
            (passed, late) = (standing.fresh, standing.late);
        }
        let (endpoint, silent) = (self.endpoint, !self.heard);
        let took = match &self.speech {
            Some(speech) if speech.first().is_some() => {
                Took::Streamed(speech.per_token_us(span))
            }
            Some(_) | None => Took::Whole(micros(span)),
        };
        Ending { class, endpoint, took, passed, late, silent }
    }

    /// The version's own time so far.
    fn total(&self) -> Duration {
        let since = |then| clock::now().saturating_duration_since(then);
        let waiting = self.waiting.map_or(Duration::ZERO, since);
        self.first_byte.unwrap_or_else(|| since(self.started)) + self.body + waiting
    }

    /// The version is waited for anew, as its first answer was none to pass on.
    fn asked_again(&mut self, now: Instant) {
        (self.body, self.waiting) = (Duration::ZERO, None);
        if let Some(key) = &self.watched {
            let spent = now.saturating_duration_since(self.started);
            let limits = self.books.roster.deadlines(self.stamp.slot);
            let mut watch = self.books.watch.borrow_mut();
            watch.limit(key, limits, spent);
            watch.run(key, now, spent);
        }
    }

    /// Time to the first token, once there is one.
    fn first(&self) -> Option<Duration> {
        self.speech.as_ref().and_then(Speech::first)
    }

    /// The deadlines are those of a stream of tokens, or of another answer.
    fn limit(&self, streams: bool) {
        if let Some(key) = &self.watched
            && let Some(limits) = self.books.roster.deadlines_of(self.stamp.slot, streams)
        {
            let spent = self.first_byte.unwrap_or_default() + self.body;
            self.books.watch.borrow_mut().limit(key, limits, spent);
        }
    }

    fn pause(&self) {
        if let Some(key) = self.watched.as_ref().filter(|_| self.first().is_none()) {
            let spent = self.first_byte.unwrap_or_default() + self.body;
            self.books.watch.borrow_mut().pause(key, spent);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.finish(Class::ClientCancelled);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Flight, Stamp};
    use crate::clock;
    use crate::measure::books::Books;
    use crate::measure::roster::Roster;
    use crate::vocab::outcome::Class;

    #[tokio::test(start_paused = true)]
    async fn a_flight_counts_once_however_it_ends() {
        let roster = Roster::new(1);
        let slot = roster.claim().unwrap();
        let books = Books::new(0, roster.clone());

        let mut slow = Flight::open(&books, Stamp::plain(slot), clock::now());
        assert_eq!(roster.in_flight(slot), 1);
        tokio::time::advance(Duration::from_millis(10)).await;
        slow.answered(clock::now());
        slow.waited(Duration::from_millis(5));
        slow.finish(Class::Success);
        drop(slow);
        drop(Flight::open(&books, Stamp::plain(slot), clock::now()));
        Flight::open(&books, Stamp::plain(slot), clock::now()).cancel();
        Flight::open(&books, Stamp::plain(slot), clock::now()).close(Class::Truncated);

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
