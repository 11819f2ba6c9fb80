//! THE HOT PATH: one request from its head to its answer, read top to bottom.

use std::rc::Rc;

use http::Method;
use http::header::{self, HeaderValue};

use super::about::{Subject, look_ahead, sample};
use super::caller::Caller;
use super::error::ProxyError;
use super::failure::Failure;
use super::fallback::class_of_head;
use super::forward::{Answer, Manner};
use super::grpc::Call;
use super::hold::{Held, hold, is_reclaimable, reclaim};
use super::hygiene::{Asked, Head, clean_answer, clean_request};
use super::ids;
use super::outgoing::{Outgoing, Reply};
use super::read_only::Entered;
use super::repeat::may_repeat;
use super::reply::{Speech, Stamps, reply, stamp};
use super::scan::Scan;
use super::settle::{Placed, Settled, strip};
use super::view::{Place, View};
use super::worker::Worker;
use crate::cache::{AnswerFacts, Detail, Pending, Scope, Tee};
use crate::clock;
use crate::measure::Flight;
use crate::route::Route;
use crate::upstream::Serving;
use crate::vocab::ids::Slot;
use crate::vocab::outcome::Class;
use crate::wire::Body;
use crate::wire::BodyLength;
use crate::wire::Copy;
use crate::wire::Keep;

/// A request on its way, as far as every attempt needs it.
pub(super) struct Trip<'a> {
    pub(super) asked: &'a Asked,
    pub(super) manner: Manner<'a>,
    pub(super) pending: Option<Pending>,
    pub(super) copy: Option<Copy>,
    pub(super) id: &'a HeaderValue,
    /// What its caller speaks.
    pub(super) speech: Speech,
}

/// What looking at a canary's answer came to.
enum Weighed {
    /// The outcome, and the request's body if stable is to be asked.
    Done(Result<Answer, Failure>, Option<Body>),
    /// What follows the head has to be seen.
    Held(Answer),
}

/// A failure in whose place the cache is asked.
struct Lost {
    /// A version's answer that says so itself, or why there is none.
    answer: Result<(Answer, Flight), ProxyError>,
    /// The request's body, where it has not been given away.
    body: Option<Body>,
    class: Class,
    slot: Slot,
    stamps: Stamps,
}

impl Worker {
    /// Answers one request.
    pub(super) async fn handle(
        self: &Rc<Self>,
        caller: &Caller,
        head: Head,
        mut body: Body,
    ) -> Reply {
        let begun = clock::now();
        let mut speech = Speech::of(head.uri.path(), &head.headers);
        let mut asked = match clean_request(head, caller) {
            Ok(asked) => asked,
            Err(error) => return self.refuse(&error, None, speech),
        };
        if asked.upgrade && body.length() != BodyLength::None {
            let error = ProxyError::BadRequest("a request to upgrade has a body");
            return self.refuse(&error, None, speech);
        }
        let id = ids::settle(&mut asked.headers, asked.given, || self.draw());
        let placed = match self.place(&asked, caller, &mut body, begun).await {
            Ok(placed) => placed,
            Err(error) => return self.refuse(&error, Some(id), speech),
        };
        let (view, at, strict) = match &placed {
            Placed::Open(open) => (Rc::clone(&open.view), open.route, open.strict),
            Placed::Closed(view, at) => (Rc::clone(view), *at, false),
        };
        let route = &view.table.routes()[at];
        let policy = &*route.policy;
        strip(&mut asked.headers, policy, &view, caller.trusted);
        speech.dialect = policy.dialect.unwrap_or(speech.dialect);
        let total = policy.timeouts.total;
        let total_until = (!total.is_zero()).then(|| begun + total);
        let call = if speech.is_grpc() { Call::of(&asked.headers, begun) } else { None };
        let manner = Manner {
            policy,
            repeatable: !asked.upgrade
                && may_repeat(policy.repeatable, &asked.method, asked.target.path()),
            total_until: match &call {
                Some(call) => call.bound(total_until),
                None => total_until,
            },
            call,
        };
        let body = match body.length() {
            BodyLength::None => Body::Empty,
            BodyLength::Exact(_) | BodyLength::Unknown => {
                Keep::noting(body, manner.keep(), policy.sample_bodies)
            }
        };
        // What another version has answered is no answer to who wants this one.
        let pending = if strict { None } else { self.question(route, &asked) };
        let copy = Keep::copy(&body);
        let trip = Trip { asked: &asked, manner, pending, copy, id: &id, speech };
        let mut answer = match placed {
            Placed::Open(mut settled) => {
                let overhead = clock::now() - settled.begun;
                self.books.overhead(settled.flight.slot(), overhead);
                let cookie = settled.cookie.take();
                let answer = self.travel(settled, route, &trip, body).await;
                match cookie {
                    None => answer,
                    Some(cookie) => begin_session(answer, cookie),
                }
            }
            Placed::Closed(..) => {
                Box::pin(self.answer_read_only((&view, at), &trip, body)).await
            }
        };
        let said = trip.copy.as_ref().and_then(Copy::beginning);
        answer.body.about(|| Subject::new(asked.method, asked.target, id, said));
        answer
    }

    /// Asks the version, then stable, then the cache.
    async fn travel(
        &self,
        settled: Settled,
        route: &Route,
        trip: &Trip<'_>,
        body: Body,
    ) -> Reply {
        let Settled {
            view, route: at, version, reason, strict, mut flight, ticket, ..
        } = settled;
        let place = &view.places[at][version];
        let mut outcome = self.ask_place(place, trip, body, &mut flight).await;
        let mut later = None;
        if version == route.stable_place() {
            later = ticket.and_then(|ticket| {
                ticket.follow(trip.asked, trip.copy.as_ref(), &mut outcome)
            });
        } else if !strict {
            let rescuer = view.places[at][route.stable_place()].serving.as_deref();
            let (weighed, rescue) = match weigh(outcome, trip, rescuer) {
                Weighed::Done(outcome, rescue) => (outcome, rescue),
                // Seldom needed, as what is boxed below, and so no part of every request's
                // own size.
                Weighed::Held(answer) => {
                    Box::pin(self.weigh_held(answer, trip, &mut flight, rescuer)).await
                }
            };
            if let Some(body) = rescue {
                let failed = (flight, weighed);
                return Box::pin(self.rescue((&view, at), place, trip, failed, body))
                    .await;
            }
            outcome = weighed;
        }
        let ended = (flight, outcome);
        let mut answer =
            match self.conclude((&view, at), place, trip, ended, reason.as_str()) {
                Ok(answer) => answer,
                Err(lost) => Box::pin(self.make_up((&view, at), trip, *lost)).await,
            };
        if let Some(later) = later {
            answer.body.then_copy(later);
        }
        answer
    }

    /// Asks stable in place of a version that failed, with the request's body.
    async fn rescue(
        &self,
        (view, at): (&Rc<View>, usize),
        place: &Place,
        trip: &Trip<'_>,
        (flight, outcome): (Flight, Result<Answer, Failure>),
        body: Body,
    ) -> Reply {
        let (failed, class) = (flight.slot(), class_of_outcome(&outcome));
        if class.is_failure() {
            sample(&flight, class, place, trip, &outcome);
        }
        flight.close(class);
        drop(outcome);
        // The stable of now, which may be another than when the request was placed.
        let stable =
            |route: &Route| (!route.mode().is_read_only()).then(|| route.stable_place());
        let Some(entered) = self.enter((view, at), stable) else {
            let left = (failed, body);
            return Box::pin(self.end_read_only((view, at), trip, left)).await;
        };
        let Entered { view, route: at, version, flight: mut second } = entered;
        let stable = &view.places[at][version];
        // Counted when it is handed over, so that requests less rescues are the callers' own
        // requests, however the second try ends.
        self.books.write(failed, |tally| tally.rescued += 1);
        let outcome = self.ask_place(stable, trip, body, &mut second).await;
        match self.conclude((&view, at), stable, trip, (second, outcome), "rescue") {
            Ok(answer) => answer,
            Err(lost) => self.make_up((&view, at), trip, *lost).await,
        }
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
        let mut answer = self.ask(serving, trip.asked, trip.manner, body, flight).await?;
        if trip.asked.method != Method::HEAD {
            answer.scan = Scan::of(trip.speech.dialect, &answer, flight);
        }
        if flight.wants_more() {
            Box::pin(look_ahead(&mut answer, flight)).await;
        }
        Ok(answer)
    }

    /// Holds what a canary answers until it can be said whether stable is to answer in its
    /// place.
    async fn weigh_held(
        &self,
        answer: Answer,
        trip: &Trip<'_>,
        flight: &mut Flight,
        rescuer: Option<&Serving>,
    ) -> (Result<Answer, Failure>, Option<Body>) {
        if let Some(call) = answer.call {
            return self.weigh_call(answer, call, trip, flight).await;
        }
        let can = || rescuer.is_none_or(|one| !one.is_failing() || one.spend_retry());
        let left = (trip.copy.as_ref(), trip.manner.keep());
        match hold(answer, left, flight, &self.wheel).await {
            Held::Good(answer) => (Ok(answer), None),
            Held::Failed(failure, body) => (Err(failure), body.filter(|_| can())),
        }
    }

    /// Turns the last outcome into the caller's answer, unless it is a failure in whose place
    /// the cache is to be asked.
    fn conclude(
        &self,
        (view, at): (&View, usize),
        place: &Place,
        trip: &Trip<'_>,
        (flight, outcome): (Flight, Result<Answer, Failure>),
        reason: &'static str,
    ) -> Result<Reply, Box<Lost>> {
        let stamps = Stamps {
            version: place.stamp.clone(),
            id: Some(trip.id.clone()),
            reason: Some(reason),
            speech: trip.speech.clone(),
        };
        let class = class_of_outcome(&outcome);
        let slot = flight.slot();
        if class.is_failure() {
            sample(&flight, class, place, trip, &outcome);
        }
        let (answer, body) = match outcome {
            Ok(answer) if !class.is_failure() || trip.pending.is_none() => {
                let route = &view.table.routes()[at];
                if trip.pending.is_none() {
                    self.forget_target(route, trip.asked, answer.status);
                }
                let tee = self.tee(route, place, trip, &answer);
                return Ok(finish(answer, flight, tee, &stamps));
            }
            Ok(answer) => (Ok((answer, flight)), None),
            Err(failure) => {
                flight.close(class);
                if trip.pending.is_none() || matches!(failure.error, ProxyError::Body(_))
                {
                    return Ok(reply(&failure.error, &stamps));
                }
                (Err(failure.error), failure.body)
            }
        };
        Err(Box::new(Lost { answer, body, class, slot, stamps }))
    }

    /// Answers from the cache in the place of a failure, or passes that on.
    async fn make_up(
        &self,
        (view, at): (&View, usize),
        trip: &Trip<'_>,
        lost: Lost,
    ) -> Reply {
        let Lost { answer, body, class, slot, stamps } = lost;
        let copies = (trip.copy.as_ref(), body);
        let (pending, detail) = (trip.pending.as_ref(), Detail::UpstreamFailed);
        let kept = self.kept_answer((view, at), pending, copies, detail, stamps.clone());
        match (kept.await, answer) {
            (Some(kept), failed) => {
                if let Ok((_, flight)) = failed {
                    flight.close(class);
                }
                self.books.write(slot, |tally| tally.cache_served += 1);
                kept
            }
            (None, Ok((answer, flight))) => finish(answer, flight, None, &stamps),
            (None, Err(error)) => reply(&error, &stamps),
        }
    }

    /// The copy of an answer for the cache, where it may be kept and the request is whole.
    fn tee(
        &self,
        route: &Route,
        place: &Place,
        trip: &Trip<'_>,
        answer: &Answer,
    ) -> Option<Box<Tee>> {
        let (pending, policy) = (trip.pending.as_ref()?, route.policy.cache.as_ref()?);
        // Nobody can tell whether such an answer is whole.
        if answer.body.ends_by_close() {
            return None;
        }
        let whole = trip.copy.as_ref()?.whole()?;
        let facts = AnswerFacts {
            source: &place.source,
            status: answer.status,
            headers: &answer.headers,
            now: clock::wall(),
        };
        let scope = Scope { route: &route.name, policy };
        let kept = self.cache.keep(scope, &pending.question(&whole.pieces()), &facts);
        let kept = kept.inspect_err(|why| tracing::debug!(%why, "an answer is not kept"));
        kept.ok().map(Box::new)
    }

    /// The answer to a request that reached no route.
    pub(super) fn refuse(
        &self,
        error: &ProxyError,
        id: Option<HeaderValue>,
        speech: Speech,
    ) -> Reply {
        self.books.unrouted(Class::Rejected);
        reply(error, &Stamps::none(id, speech))
    }
}

/// Looks at what a canary answered: whether stable is to answer in its place, and the
/// request's body for it. A stable version that only fails itself is asked in place of
/// another no more often than it would be asked again.
fn weigh(
    outcome: Result<Answer, Failure>,
    trip: &Trip<'_>,
    rescuer: Option<&Serving>,
) -> Weighed {
    let Manner { policy, repeatable, .. } = trip.manner;
    let can = || rescuer.is_none_or(|one| !one.is_failing() || one.spend_retry());
    let on = &policy.rescue.on;
    let mut answer = match outcome {
        Ok(answer) => answer,
        Err(mut failure) => {
            let may = failure.is_of(on) && (failure.unsent || repeatable);
            let there = failure.body.is_some();
            let body = if may && there && can() { failure.body.take() } else { None };
            return Weighed::Done(Err(failure), body);
        }
    };
    if !repeatable {
        return Weighed::Done(Ok(answer), None);
    }
    if answer.is_of(on) {
        if !is_reclaimable(&answer.body, trip.copy.as_ref()) || !can() {
            return Weighed::Done(Ok(answer), None);
        }
        let lost = std::mem::replace(&mut answer.body, Body::Empty);
        let again = reclaim(lost, trip.copy.as_ref(), trip.manner.keep());
        (answer.busy, answer.scan) = (None, None);
        return Weighed::Done(Ok(answer), again);
    }
    if on.stream_error { Weighed::Held(answer) } else { Weighed::Done(Ok(answer), None) }
}

/// The class of an outcome as far as its head.
pub(super) fn class_of_outcome(outcome: &Result<Answer, Failure>) -> Class {
    match outcome {
        Ok(answer) => class_of_head(answer).0,
        Err(failure) => failure.class,
    }
}

/// The answer that gives a session its cookie. It is nobody else's from here on: a cache
/// that shared it would share the session.
fn begin_session(mut answer: Reply, cookie: HeaderValue) -> Reply {
    answer.headers.append(header::SET_COOKIE, cookie);
    let private = HeaderValue::from_static("private");
    answer.headers.append(header::CACHE_CONTROL, private);
    answer
}

/// A version's answer as the caller gets it.
pub(super) fn finish(
    answer: Answer,
    flight: Flight,
    tee: Option<Box<Tee>>,
    stamps: &Stamps,
) -> Reply {
    let (class, open) = class_of_head(&answer);
    let Answer { status, mut headers, reason, body, busy, scan, call } = answer;
    clean_answer(&mut headers, class == Class::Upgraded);
    stamp(&mut headers, stamps);
    let class = (class, call.filter(|_| open));
    let body = Outgoing::of_version((body, scan), flight, class, tee, busy);
    let body = Box::new(body);
    Reply { status, reason, headers, body, last: false }
}
