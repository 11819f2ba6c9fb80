//! A route in the read-only mode: what is kept of earlier answers, the emergency version
//! where the configuration names one, or a refusal that says since when and to come again.
//! So is a request that a route holds back while its traffic goes over in steps, but that
//! no emergency version is asked.
//!
//! Apart from the hot path, which only asks whether the mode is on. No other version is
//! sent anything here, and what is refused is refused before its body is read: the
//! connection reads a bounded rest of it over, or is closed.

use std::future::poll_fn;
use std::rc::Rc;

use http::header::{HeaderName, HeaderValue};

use super::about::sample;
use super::error::ProxyError;
use super::failure::Failure;
use super::handle::{Trip, class_of_outcome, finish};
use super::outgoing::Reply;
use super::repeat::is_question;
use super::reply::{Stamps, reply};
use super::settle::SETTLE_TRIES;
use super::view::View;
use super::worker::Worker;
use crate::cache::{Detail, banner_header};
use crate::clock;
use crate::measure::{Flight, Stamp};
use crate::route::{Mode, Route};
use crate::vocab::ids::Slot;
use crate::vocab::outcome::Class;
use crate::vocab::policy::Banner;
use crate::vocab::time::Timestamp;
use crate::wire::Body;
use crate::wire::BodyError;
use crate::wire::Copy;
use crate::wire::Keep;

/// A flight on a version of a table that was in force when it was opened.
pub(super) struct Entered {
    pub(super) view: Rc<View>,
    pub(super) route: usize,
    pub(super) version: usize,
    pub(super) flight: Flight,
}

impl Worker {
    /// Answers a request that no version is asked, as its route was when it was placed.
    pub(super) async fn answer_read_only(
        &self,
        (view, at): (&Rc<View>, usize),
        trip: &Trip<'_>,
        mut body: Body,
    ) -> Reply {
        let route = &view.table.routes()[at];
        if trip.pending.is_some()
            && let Err(error) = read_ahead(&mut body, trip.copy.as_ref()).await
        {
            self.turn_away(route, false);
            return reply(&ProxyError::Body(error), &Stamps::unasked(route, trip));
        }
        if let Some(kept) = self.kept_read_only((view, at), trip, None).await {
            self.turn_away(route, true);
            return kept;
        }
        let asked = trip.asked;
        let question =
            !asked.upgrade && is_question(trip.manner.repeatable, &asked.method);
        let body = match trip.copy {
            Some(_) => Keep::again(body),
            None => Some(body),
        };
        let emergency = |route: &Route| match route.mode() {
            Mode::Normal => None,
            Mode::ReadOnly { emergency, .. } => emergency,
        };
        if question
            && let Some(body) = body
            && emergency(route).is_some()
            && let Some(entered) = self.enter((view, at), emergency)
        {
            return self.ask_emergency(entered, trip, body).await;
        }
        self.turn_away(route, false);
        refuse(route, trip)
    }

    /// What is kept, or the refusal, for a request whose version failed while its route
    /// became read-only. It is counted already, as a failure of that version.
    pub(super) async fn end_read_only(
        &self,
        (origin, at): (&Rc<View>, usize),
        trip: &Trip<'_>,
        (failed, body): (Slot, Body),
    ) -> Reply {
        let (view, at) =
            self.now((origin, at)).unwrap_or_else(|| (Rc::clone(origin), at));
        let view = &view;
        match self.kept_read_only((view, at), trip, Some(body)).await {
            Some(kept) => {
                self.books.write(failed, |tally| tally.cache_served += 1);
                kept
            }
            None => refuse(&view.table.routes()[at], trip),
        }
    }

    /// Opens a flight on the version that `choose` names in the table in force, for the
    /// route of that name; in the given view where the route has left the configuration.
    /// `None` when it names none. As with any flight, either it is seen by a drain, or it
    /// sees the table that the drain belongs to.
    pub(super) fn enter(
        &self,
        (origin, at): (&Rc<View>, usize),
        choose: impl Fn(&Route) -> Option<usize>,
    ) -> Option<Entered> {
        for _ in 0..SETTLE_TRIES {
            let now = self.now((origin, at));
            let is_there = now.is_some();
            let (view, at) = now.unwrap_or_else(|| (Rc::clone(origin), at));
            let route = &view.table.routes()[at];
            let version = choose(route)?;
            let stamp = Stamp::plain(route.versions()[version].slot);
            let mut flight = Flight::open(&self.books, stamp, clock::now());
            if !is_there || view.table.generation() >= self.live.generation() {
                flight.note_up_to(route.policy.sample_bodies);
                return Some(Entered { view, route: at, version, flight });
            }
            flight.cancel();
        }
        None
    }

    /// The place of a route of an earlier view in the table in force, if it is there.
    fn now(&self, (origin, at): (&Rc<View>, usize)) -> Option<(Rc<View>, usize)> {
        let view = self.view();
        let name = &origin.table.routes()[at].name;
        let at = view.table.routes().iter().position(|route| route.name == *name)?;
        Some((view, at))
    }

    async fn kept_read_only(
        &self,
        (view, at): (&Rc<View>, usize),
        trip: &Trip<'_>,
        body: Option<Body>,
    ) -> Option<Reply> {
        let copies = (trip.copy.as_ref(), body);
        let route = &view.table.routes()[at];
        let (stamps, pending) = (Stamps::unasked(route, trip), trip.pending.as_ref());
        let detail =
            if route.mode().is_read_only() { Detail::ReadOnly } else { Detail::HeldBack };
        self.kept_answer((view, at), pending, copies, detail, stamps).await
    }

    async fn ask_emergency(
        &self,
        entered: Entered,
        trip: &Trip<'_>,
        body: Body,
    ) -> Reply {
        let Entered { view, route: at, version, mut flight } = entered;
        let (route, place) = (&view.table.routes()[at], &view.places[at][version]);
        let outcome = self.ask_place(place, trip, body, &mut flight).await;
        let mut stamps = Stamps::unasked(route, trip);
        stamps.version = place.stamp.clone();
        let class = class_of_outcome(&outcome);
        if class.is_failure() {
            sample(&flight, class, place, trip, &outcome);
        }
        let mut answer = match outcome {
            Ok(answer) => finish(answer, flight, None, &stamps),
            Err(Failure { class, error, .. }) => {
                flight.close(class);
                reply(&error, &stamps)
            }
        };
        let known = if trip.pending.is_some() { "miss" } else { "bypass" };
        let status = format!("switchback; fwd={known}; detail=read-only");
        if let Ok(status) = HeaderValue::from_str(&status) {
            answer.headers.append(CACHE_STATUS, status);
        }
        mark(&mut answer, route, None);
        answer
    }

    /// Counts a request that was sent to no version, under the one that acts as stable.
    fn turn_away(&self, route: &Route, kept: bool) {
        self.books.write(route.stable().slot, |tally| {
            tally.outcomes[Class::Rejected.index()] += 1;
            tally.cache_served += u64::from(kept);
        });
    }
}

impl Stamps {
    /// For an answer from no version so far.
    fn unasked(route: &Route, trip: &Trip<'_>) -> Self {
        let none = Self::none(Some(trip.id.clone()), trip.speech.clone());
        let read_only = route.mode().is_read_only();
        Self { reason: Some(if read_only { READ_ONLY } else { HELD_BACK }), ..none }
    }
}

fn refuse(route: &Route, trip: &Trip<'_>) -> Reply {
    let error = match (since(route), route.held()) {
        (Some(since), _) => ProxyError::ReadOnly(since),
        (None, Some(_)) => ProxyError::HeldBack,
        (None, None) => ProxyError::Unsettled,
    };
    let mut answer = reply(&error, &Stamps::unasked(route, trip));
    mark(&mut answer, route, None);
    answer
}

/// Sets the banner of a route that is read-only: the mode and since when, and then `more`.
pub(super) fn mark(answer: &mut Reply, route: &Route, more: Option<&str>) {
    let Some(since) = since(route) else { return };
    let more = more.map_or_else(String::new, |more| format!("; {more}"));
    let banner = Banner {
        header: route.policy.banner.header.clone(),
        json_field: None,
        message: format!("{READ_ONLY}; since={since}{more}"),
    };
    if let Some((name, value)) = banner_header(&banner) {
        answer.headers.insert(name, value);
    }
}

fn since(route: &Route) -> Option<Timestamp> {
    match route.mode() {
        Mode::Normal => None,
        Mode::ReadOnly { since, .. } => Some(since),
    }
}

/// Reads a request's body to its end, so that the cache can be asked; stops where it is
/// longer than what is kept of it.
async fn read_ahead(body: &mut Body, copy: Option<&Copy>) -> Result<(), BodyError> {
    if copy.is_none() {
        return Ok(());
    }
    while Keep::is_again(body) {
        match poll_fn(|cx| body.poll_next(cx)).await {
            Some(frame) => drop(frame?),
            None => break,
        }
    }
    Ok(())
}

/// What `x-switchback-reason` says, and the first word of the banner.
pub(super) const READ_ONLY: &str = "read-only";
/// The same for a request that is held back while the route's traffic goes over in steps.
pub(super) const HELD_BACK: &str = "held-back";
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

#[cfg(test)]
#[path = "read_only_tests.rs"]
mod tests;
