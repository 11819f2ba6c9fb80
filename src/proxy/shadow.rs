//! Copies of stable's requests for a version that users are protected from: who is copied,
//! when the copy goes, and the task in which it is sent, measured and thrown away.
//!
//! The caller's request never waits for a copy and nothing of a copy reaches a caller. A copy
//! goes once stable has given the head of its answer (or failed) and the whole body of the
//! request is here, so that a copy never asks a caller for anything either. How many there
//! may be and when they end is in `shadows`.

use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Method;
use http::header::{self, HeaderName, HeaderValue};

use super::about::sample_copy;
use super::error::class_of;
use super::failure::Failure;
use super::fallback::class_of_head;
use super::forward::{Answer, Manner};
use super::grpc::{Call, GRPC_STATUS, grpc_class};
use super::hold::next_held;
use super::hygiene::Asked;
use super::repeat::may_repeat;
use super::scan::Scan;
use super::shadows::copies_to;
use super::view::View;
use super::worker::Worker;
use crate::clock;
use crate::dialect::pick;
use crate::measure::Flight;
use crate::measure::Stamp;
use crate::route::Route;
use crate::tasks;
use crate::vocab::ids::Slot;
use crate::vocab::outcome::Class;
use crate::vocab::policy::{Dialect, RoutePolicy};
use crate::wire::Beginning;
use crate::wire::Body;
use crate::wire::BodyError;
use crate::wire::BodyLength;
use crate::wire::Copy;
use crate::wire::Keep;
use crate::wire::Kept;

/// The longest that a copy may take, whatever the route allows.
const LONGEST: Duration = Duration::from_secs(600);

/// Bytes of a copy's answer that are read at most.
const ANSWER: usize = 64 * 1024 * 1024;

/// Marks a copy for the version that gets it.
const X_SHADOW: HeaderName = HeaderName::from_static("x-shadow");

/// Whether a request is one of those that may be copied. While a route copies, only such
/// requests are compared, so that both versions are measured on the same kind of request.
pub(super) fn is_comparable(
    policy: &RoutePolicy,
    asked: &Asked,
    length: BodyLength,
) -> bool {
    let fits = match length {
        BodyLength::None | BodyLength::Unknown => true,
        BodyLength::Exact(length) => length <= policy.rescue.max_body as u64,
    };
    fits && !asked.upgrade
        && may_repeat(policy.repeatable, &asked.method, asked.target.path())
}

/// A request that the coin has chosen to be copied.
#[derive(Debug)]
pub(super) struct Ticket {
    worker: Rc<Worker>,
    view: Rc<View>,
    route: usize,
    to: usize,
}

/// A copy that waits for the rest of its request, which is still being sent to stable while
/// stable answers.
#[derive(Debug)]
pub(super) struct Later {
    ticket: Ticket,
    asked: Asked,
    copy: Copy,
}

impl Ticket {
    /// A copy of a request on that route of the view, for that version of it.
    pub(super) fn new(worker: &Rc<Worker>, view: &Rc<View>, at: (usize, usize)) -> Self {
        let (route, to) = at;
        Self { worker: Rc::clone(worker), view: Rc::clone(view), route, to }
    }

    /// Stable has answered or failed: sends the copy if the whole request is here. `copy` is
    /// what the request's body has left at first. Gives back what has to wait.
    pub(super) fn follow(
        self,
        asked: &Asked,
        copy: Option<&Copy>,
        outcome: &mut Result<Answer, Failure>,
    ) -> Option<Later> {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => {
                self.follow_failure(asked, failure);
                return None;
            }
        };
        // A body that was sent again has left another copy.
        let copy = match answer.body.exchange() {
            Some(exchange) => Keep::copy(exchange.request_body()),
            None => copy.cloned(),
        };
        let Some(copy) = copy else {
            self.give_up();
            return None;
        };
        match copy.whole() {
            Some(whole) => {
                self.send(asked.clone(), whole);
                None
            }
            None => Some(Later { ticket: self, asked: asked.clone(), copy }),
        }
    }

    fn follow_failure(self, asked: &Asked, failure: &mut Failure) {
        // Stable was not asked, or it is the caller who failed.
        if !failure.class.is_failure() {
            return;
        }
        // Reading the body of a caller that waits for leave to send it would give it leave.
        let unasked = asked.expects && failure.unsent;
        let whole = match failure.body.take() {
            Some(body) if !unasked => {
                let (whole, again) = at_hand(body);
                failure.body = again;
                whole
            }
            body => {
                failure.body = body;
                None
            }
        };
        match whole {
            Some(whole) => self.send(asked.clone(), whole),
            None => self.give_up(),
        }
    }

    /// Sends the copy in a task of its own, if there is room for it and the current table
    /// still wants it.
    fn send(self, mut asked: Asked, body: Kept) {
        let (worker, slot) = (Rc::clone(&self.worker), self.slot());
        if worker.leaving.get() {
            return;
        }
        let name = self.route().name.clone();
        let Some(seat) = worker.shadows.seat(&name, slot, body.len()) else {
            return self.give_up();
        };
        asked.headers.insert(X_SHADOW, HeaderValue::from_static("1"));
        let epoch = self.route().epoch();
        let stamp = Stamp { slot, epoch, judged: true, shadow: true };
        let mut flight = Flight::open(&worker.books, stamp, clock::now());
        // As in `settle`: either this sees the new table or a drain sees the flight.
        if !copies_to(&worker.view().table, &name, slot) {
            return flight.cancel();
        }
        if self.is_full() {
            flight.cancel();
            return self.give_up();
        }
        flight.note_up_to(self.route().policy.sample_bodies);
        let number = seat.number();
        let task = tasks::local("shadow", async move {
            self.fly(&asked, body, flight).await;
            drop(seat);
        });
        worker.shadows.hold(number, task.abort_handle());
    }

    /// Sends the copy and reads its answer to the end.
    async fn fly(&self, asked: &Asked, body: Kept, mut flight: Flight) {
        flight.sent(clock::now());
        let said = self.beginning(&body);
        let class = match self.ask(asked, body, &mut flight).await {
            Ok(mut answer) => {
                if asked.method != Method::HEAD {
                    let dialect = self.dialect(asked);
                    answer.scan = Scan::of(dialect, &answer, &mut flight);
                }
                self.read_out(answer, &mut flight).await
            }
            Err(failure) => failure.class,
        };
        let place = &self.view.places[self.route][self.to];
        sample_copy(&flight, class, place, (asked, said));
        flight.close(class);
    }

    async fn ask(
        &self,
        asked: &Asked,
        body: Kept,
        flight: &mut Flight,
    ) -> Result<Answer, Failure> {
        let policy = &*self.route().policy;
        let total = policy.timeouts.total;
        let span = if total.is_zero() { LONGEST } else { total.min(LONGEST) };
        let total_until = Some(clock::now() + span);
        let call = Call::of(&asked.headers, clock::now()).map(Call::unawaited);
        let manner = Manner { policy, repeatable: true, total_until, call };
        // Kept once more, for a used connection that dies without a byte of an answer.
        let body = Keep::wrap(Body::Again(body, Box::new(Body::Empty)), manner.keep());
        let serving = self.view.places[self.route][self.to].serving.as_ref();
        let Some(serving) = serving else { return Err(Failure::full(body)) };
        self.worker.ask_once(serving, asked, manner, body, flight).await
    }

    /// The beginning of the copy's body, where samples are to have it.
    fn beginning(&self, body: &Kept) -> Option<Beginning> {
        let most = self.route().policy.sample_bodies;
        let said = (most > 0).then(|| Beginning::new(most))?;
        body.pieces().iter().for_each(|piece| said.push(piece));
        Some(said)
    }

    /// Throws the body of an answer away; how it ended.
    async fn read_out(&self, answer: Answer, flight: &mut Flight) -> Class {
        let (mut class, mut open) = class_of_head(&answer);
        let Answer { mut body, busy, mut scan, .. } = answer;
        let mut room = ANSWER;
        let end = loop {
            match next_held(&mut body, flight).await {
                None if open => break Class::Truncated,
                None => break scan.map_or(class, |scan| scan.end(flight)),
                Some(Err(BodyError::Total)) if !self.has_bound() => {
                    break left(scan.as_deref(), flight);
                }
                Some(Err(error)) => {
                    let class = class_of(&error);
                    break scan.map_or(class, |scan| scan.broken(class, flight));
                }
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref().filter(|_| open)
                        && let Some(status) = grpc_class(trailers.get(GRPC_STATUS))
                    {
                        (class, open) = (status, false);
                    }
                    let Some(bytes) = frame.data_ref() else { continue };
                    flight.note(bytes);
                    if let Some(scan) = &mut scan {
                        scan.pass(bytes, Some(flight));
                    }
                    match room.checked_sub(bytes.len()) {
                        Some(left) => room = left,
                        None => break left(scan.as_deref(), flight),
                    }
                }
            }
        };
        drop(busy);
        end
    }

    /// What the request and its answer speak.
    fn dialect(&self, asked: &Asked) -> Dialect {
        let kind = asked.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let named = self.route().policy.dialect;
        named.unwrap_or_else(|| pick(asked.target.path(), kind))
    }

    /// Whether it is the route's own limit that ends a copy that takes too long. Where it is
    /// not, the end says nothing of the version.
    fn has_bound(&self) -> bool {
        let total = self.route().policy.timeouts.total;
        !total.is_zero() && total <= LONGEST
    }

    /// Whether the version has more in flight than it may.
    fn is_full(&self) -> bool {
        let serving = self.view.places[self.route][self.to].serving.as_ref();
        let most = serving.map_or(0, |serving| serving.upstream.settings.max_in_flight);
        most > 0 && self.worker.books.roster().in_flight(self.slot()) > most
    }

    /// Counts a copy that is not sent.
    fn give_up(&self) {
        self.worker.books.write(self.slot(), |tally| tally.shadow_dropped += 1);
    }

    fn route(&self) -> &Route {
        &self.view.table.routes()[self.route]
    }

    fn slot(&self) -> Slot {
        self.route().versions()[self.to].slot
    }
}

impl Later {
    /// Stable's answer is over: sends the copy if the whole request has come by now.
    pub(super) fn send(self) {
        match self.copy.whole() {
            Some(whole) => self.ticket.send(self.asked, whole),
            None => self.ticket.give_up(),
        }
    }
}

/// What an answer came to of which no more is read.
fn left(scan: Option<&Scan>, flight: &mut Flight) -> Class {
    scan.and_then(|scan| scan.left(flight)).unwrap_or(Class::ClientCancelled)
}

/// A request's body if all of it has arrived, without waiting for any of it; and the body as
/// it was, for whoever else needs it.
fn at_hand(mut body: Body) -> (Option<Kept>, Option<Body>) {
    let Some(copy) = Keep::copy(&body) else { return (None, Some(body)) };
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(Ok(_))) = body.poll_next(&mut cx) {}
    (copy.whole(), Keep::again(body))
}

#[cfg(test)]
#[path = "shadow_tests.rs"]
mod tests;
