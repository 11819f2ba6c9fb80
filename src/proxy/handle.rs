//! THE HOT PATH: one request from its head to its answer, read top to bottom.

use std::rc::Rc;

use http::header::HeaderValue;
use http::{Request, Response};
use tokio::time::Instant;

use super::about::{Subject, sample};
use super::caller::Caller;
use super::error::{ProxyError, class_of};
use super::failure::Failure;
use super::fallback::{Held, class_of_head, hold, is_reclaimable, reclaim};
use super::forward::{Answer, Manner};
use super::hygiene::{Asked, Fields, clean_answer, clean_request};
use super::ids;
use super::outgoing::Outgoing;
use super::read_only::Entered;
use super::repeat::may_repeat;
use super::reply::{Stamps, reply, stamp};
use super::shadow::{Ticket, is_comparable};
use super::view::{Place, View};
use super::worker::Worker;
use crate::cache::{AnswerFacts, Detail, Pending, Scope, Tee};
use crate::clock;
use crate::measure::Flight;
use crate::measure::Stamp;
use crate::route::{Reason, Route, Signature, assign};
use crate::vocab::outcome::Class;
use crate::wire::Body;
use crate::wire::BodyLength;
use crate::wire::Copy;
use crate::wire::Keep;

/// Where a request goes: a table, a version of it, and an open flight that a drain waits
/// for.
struct Settled {
    view: Rc<View>,
    route: usize,
    version: usize,
    reason: Reason,
    flight: Flight,
    /// It is copied once stable has answered.
    ticket: Option<Ticket>,
}

/// What a request came to when it was placed.
enum Placed {
    /// A version is to be asked.
    Open(Settled),
    /// The route is read-only.
    Closed(Rc<View>, usize),
}

/// A request on its way, as far as every attempt needs it.
pub(super) struct Trip<'a> {
    pub(super) asked: &'a Asked,
    pub(super) manner: Manner<'a>,
    pub(super) pending: Option<Pending>,
    pub(super) copy: Option<Copy>,
    pub(super) id: &'a HeaderValue,
}

/// Tables that may be published while one request is being placed.
pub(super) const SETTLE_TRIES: usize = 100;

impl Worker {
    /// Answers one request.
    pub(super) async fn handle(
        self: &Rc<Self>,
        caller: &Caller,
        request: Request<Body>,
    ) -> Response<Outgoing> {
        let begun = clock::now();
        let (parts, body) = request.into_parts();
        let mut asked = match clean_request(parts, caller) {
            Ok(asked) => asked,
            Err(error) => return self.refuse(&error, None),
        };
        let id = ids::settle(&mut asked.headers, || self.draw());
        let placed = match self.settle(&asked, body.length(), begun) {
            Ok(placed) => placed,
            Err(error) => return self.refuse(&error, Some(id)),
        };
        let (view, at) = match &placed {
            Placed::Open(settled) => (Rc::clone(&settled.view), settled.route),
            Placed::Closed(view, at) => (Rc::clone(view), *at),
        };
        let route = &view.table.routes()[at];
        let policy = &*route.policy;
        let total = policy.timeouts.total;
        let manner = Manner {
            policy,
            repeatable: !asked.upgrade
                && may_repeat(policy.repeatable, &asked.method, asked.target.path()),
            total_until: (!total.is_zero()).then(|| begun + total),
        };
        let body = match body.length() {
            BodyLength::None => Body::Empty,
            BodyLength::Exact(_) | BodyLength::Unknown => Keep::wrap(body, manner.keep()),
        };
        let pending = self.question(route, &asked);
        let copy = Keep::copy(&body);
        let trip = Trip { asked: &asked, manner, pending, copy, id: &id };
        let mut answer = match placed {
            Placed::Open(settled) => {
                self.books.overhead(settled.flight.slot(), clock::now() - begun);
                self.travel(settled, route, &trip, body).await
            }
            Placed::Closed(..) => {
                Box::pin(self.answer_read_only((&view, at), &trip, body)).await
            }
        };
        answer.body_mut().about(|| Subject::new(asked.method, asked.target, id));
        answer
    }

    /// Asks the version, then stable, then the cache.
    async fn travel(
        &self,
        settled: Settled,
        route: &Route,
        trip: &Trip<'_>,
        body: Body,
    ) -> Response<Outgoing> {
        let Settled { view, route: at, version, reason, mut flight, ticket } = settled;
        let place = &view.places[at][version];
        let mut first = self.ask_place(place, trip, body, &mut flight).await;
        if version == route.stable_place() {
            let later = ticket.and_then(|ticket| {
                ticket.follow(trip.asked, trip.copy.as_ref(), &mut first)
            });
            let answer = self
                .conclude((&view, at), place, trip, (flight, first), reason.as_str())
                .await;
            return match later {
                None => answer,
                Some(later) => answer.map(|body| body.then_copy(later)),
            };
        }
        let (outcome, rescue) = self.weigh(first, trip, &mut flight).await;
        let Some(body) = rescue else {
            return self
                .conclude((&view, at), place, trip, (flight, outcome), reason.as_str())
                .await;
        };
        let (failed, class) = (flight.slot(), class_of_outcome(&outcome));
        if class.is_failure() {
            sample(&flight, class, place, trip, &outcome);
        }
        flight.close(class);
        drop(outcome);
        // The stable of now, which may be another than when the request was placed.
        let stable =
            |route: &Route| (!route.mode().is_read_only()).then(|| route.stable_place());
        let Some(entered) = self.enter((&view, at), stable) else {
            let left = (failed, body);
            return Box::pin(self.end_read_only((&view, at), trip, left)).await;
        };
        let Entered { view, route: at, version, flight: mut second } = entered;
        let stable = &view.places[at][version];
        // Counted when it is handed over, so that requests less rescues are the callers' own
        // requests, however the second try ends.
        self.books.write(failed, |tally| tally.rescued += 1);
        let outcome = self.ask_place(stable, trip, body, &mut second).await;
        self.conclude((&view, at), stable, trip, (second, outcome), "rescue").await
    }

    /// Asks a version, if it has room.
    pub(super) async fn ask_place(
        &self,
        place: &Place,
        trip: &Trip<'_>,
        body: Body,
        flight: &mut Flight,
    ) -> Result<Answer, Failure> {
        let Some(serving) = &place.serving else { return Err(Failure::full(body)) };
        let most = serving.upstream.settings.max_in_flight;
        if most > 0 && self.books.roster().in_flight(flight.slot()) > most {
            return Err(Failure::full(body));
        }
        self.ask(serving, trip.asked, trip.manner, body, flight).await
    }

    /// Looks at what a canary answered: whether stable is to answer in its place, and the
    /// request's body for it.
    async fn weigh(
        &self,
        outcome: Result<Answer, Failure>,
        trip: &Trip<'_>,
        flight: &mut Flight,
    ) -> (Result<Answer, Failure>, Option<Body>) {
        let Manner { policy, repeatable, .. } = trip.manner;
        let (on, keep) = (&policy.rescue.on, trip.manner.keep());
        let answer = match outcome {
            Ok(answer) => answer,
            Err(mut failure) => {
                let may = failure.is_of(on) && (failure.unsent || repeatable);
                let body = if may { failure.body.take() } else { None };
                return (Err(failure), body);
            }
        };
        if !repeatable {
            return (Ok(answer), None);
        }
        if on.has_status(answer.status.as_u16()) {
            if !is_reclaimable(&answer.body, trip.copy.as_ref()) {
                return (Ok(answer), None);
            }
            let Answer { status, headers, reason, body, .. } = answer;
            let again = reclaim(body, trip.copy.as_ref(), keep);
            let lost = Answer { status, headers, reason, body: Body::Empty, busy: None };
            return (Ok(lost), again);
        }
        if !on.stream_error {
            return (Ok(answer), None);
        }
        match hold(answer, (trip.copy.as_ref(), keep), flight).await {
            Held::Good(answer) => (Ok(answer), None),
            Held::Cut(error, body) => {
                (Err(Failure::of_body(class_of(&error), None)), body)
            }
        }
    }

    /// Turns the last outcome into the caller's answer; a failure is answered from the
    /// cache where that is possible.
    async fn conclude(
        &self,
        (view, at): (&View, usize),
        place: &Place,
        trip: &Trip<'_>,
        (flight, outcome): (Flight, Result<Answer, Failure>),
        reason: &'static str,
    ) -> Response<Outgoing> {
        let stamps = Stamps {
            version: place.stamp.clone(),
            id: Some(trip.id.clone()),
            reason: Some(reason),
        };
        let class = class_of_outcome(&outcome);
        let slot = flight.slot();
        if class.is_failure() {
            sample(&flight, class, place, trip, &outcome);
        }
        let (answer, failure) = match outcome {
            Ok(answer) if !class.is_failure() || trip.pending.is_none() => {
                let route = &view.table.routes()[at];
                if trip.pending.is_none() {
                    self.forget_target(route, trip.asked, answer.status);
                }
                let tee = self.tee(route, place, trip, &answer);
                return finish(answer, flight, tee, &stamps);
            }
            Ok(answer) => (Some(answer), None),
            Err(failure) => (None, Some(failure)),
        };
        let (error, body) = match failure {
            Some(failure) => {
                flight.close(class);
                if matches!(failure.error, ProxyError::Body(_)) {
                    return reply(&failure.error, &stamps);
                }
                (Some(failure.error), failure.body)
            }
            None => {
                let copies = (trip.copy.as_ref(), None);
                let kept = self.kept_answer(
                    (view, at),
                    trip.pending.as_ref(),
                    copies,
                    Detail::UpstreamFailed,
                    stamps.clone(),
                );
                return match (kept.await, answer) {
                    (None, Some(answer)) => finish(answer, flight, None, &stamps),
                    (Some(kept), _) => {
                        flight.close(class);
                        self.books.write(slot, |tally| tally.cache_served += 1);
                        kept
                    }
                    (None, None) => reply(&ProxyError::Internal, &stamps),
                };
            }
        };
        let copies = (trip.copy.as_ref(), body);
        let (pending, detail) = (trip.pending.as_ref(), Detail::UpstreamFailed);
        let kept = self.kept_answer((view, at), pending, copies, detail, stamps.clone());
        match kept.await {
            Some(kept) => {
                self.books.write(slot, |tally| tally.cache_served += 1);
                kept
            }
            None => reply(&error.unwrap_or(ProxyError::Internal), &stamps),
        }
    }

    /// The copy of an answer for the cache, where it may be kept and the request is whole.
    fn tee(
        &self,
        route: &Route,
        place: &Place,
        trip: &Trip<'_>,
        answer: &Answer,
    ) -> Option<Tee> {
        let (pending, policy) = (trip.pending.as_ref()?, route.policy.cache.as_ref()?);
        let whole = trip.copy.as_ref()?.whole()?;
        let facts = AnswerFacts {
            source: &place.source,
            status: answer.status,
            headers: &answer.headers,
            now: clock::wall(),
        };
        let scope = Scope { route: &route.name, policy };
        let kept = self.cache.keep(scope, &pending.question(&whole.pieces()), &facts);
        kept.inspect_err(|why| tracing::debug!(%why, "an answer is not kept")).ok()
    }

    /// Where this request goes. A table that was published while the flight was being
    /// opened is looked at again: so either the request sees the new table, or a drain sees
    /// the flight.
    fn settle(
        self: &Rc<Self>,
        asked: &Asked,
        length: BodyLength,
        now: Instant,
    ) -> Result<Placed, ProxyError> {
        let fields = Fields(&asked.headers);
        for _ in 0..SETTLE_TRIES {
            let view = self.view();
            let sig = Signature {
                host: asked.host(),
                path: asked.target.path(),
                headers: &fields,
                coin: self.draw(),
            };
            let place = view.table.find(&sig).ok_or(ProxyError::NoRoute)?;
            let route = &view.table.routes()[place];
            if route.mode().is_read_only() {
                return Ok(Placed::Closed(view, place));
            }
            let given = assign(route, &sig);
            let copying = route.copying();
            let judged = given.reason == Reason::Split
                && (copying.is_none() || is_comparable(&route.policy, asked, length));
            let stamp = Stamp {
                slot: route.versions()[given.version].slot,
                epoch: route.epoch(),
                judged,
                shadow: false,
            };
            let flight = Flight::open(&self.books, stamp, now);
            if view.table.generation() >= self.live.generation() {
                let (version, reason) = (given.version, given.reason);
                let mine = judged && version == route.stable_place();
                let copied = copying.filter(|it| mine && it.takes(self.draw()));
                let ticket = copied.map(|it| Ticket::new(self, &view, (place, it.to)));
                return Ok(Placed::Open(Settled {
                    view,
                    route: place,
                    version,
                    reason,
                    flight,
                    ticket,
                }));
            }
            flight.cancel();
        }
        Err(ProxyError::Unsettled)
    }

    /// The answer to a request that reached no route.
    pub(super) fn refuse(
        &self,
        error: &ProxyError,
        id: Option<HeaderValue>,
    ) -> Response<Outgoing> {
        self.books.unrouted(Class::Rejected);
        reply(error, &Stamps::none(id))
    }
}

/// The class of an outcome as far as its head.
pub(super) fn class_of_outcome(outcome: &Result<Answer, Failure>) -> Class {
    match outcome {
        Ok(answer) => class_of_head(answer).0,
        Err(failure) => failure.class,
    }
}

/// A version's answer as the caller gets it.
pub(super) fn finish(
    answer: Answer,
    flight: Flight,
    tee: Option<Tee>,
    stamps: &Stamps,
) -> Response<Outgoing> {
    let class = class_of_head(&answer);
    let Answer { status, mut headers, reason, body, busy } = answer;
    clean_answer(&mut headers, class.0 == Class::Upgraded);
    stamp(&mut headers, stamps);
    let mut response =
        Response::new(Outgoing::of_version(body, flight, class, tee, busy));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Some(reason) = reason {
        response.extensions_mut().insert(reason);
    }
    response
}
