//! `place`: where a request goes. The table that is in force, the route, the version and an
//! open flight on it, so that a drain waits for it.
//!
//! Apart from the hot path because all that a request may say about its own version is
//! weighed here: the model it names, a pin, its session.

use std::rc::Rc;

use http::header::HeaderValue;
use tokio::time::Instant;

use super::caller::Caller;
use super::error::ProxyError;
use super::hygiene::{Asked, Fields};
use super::naming::Naming;
use super::session::{ID_BYTES, Session, strip_cookie};
use super::shadow::{Ticket, is_comparable};
use super::view::View;
use super::worker::Worker;
use crate::clock;
use crate::measure::Flight;
use crate::measure::Stamp;
use crate::route::{
    Assignment, Found, Reason, Refused, Route, Signature, assign, session_coin,
};
use crate::vocab::policy::{Affinity, Pin, RoutePolicy};
use crate::wire::Body;
use crate::wire::BodyLength;
use crate::wire::Headers;

/// Where a request goes: a table, a version of it, and an open flight that a drain waits
/// for.
pub(super) struct Settled {
    pub(super) view: Rc<View>,
    pub(super) route: usize,
    pub(super) version: usize,
    pub(super) reason: Reason,
    /// No other version may answer in its place.
    pub(super) strict: bool,
    pub(super) flight: Flight,
    /// It is copied once stable has answered.
    pub(super) ticket: Option<Ticket>,
    /// What gives its session a cookie.
    pub(super) cookie: Option<HeaderValue>,
    /// Since when this proxy has had in hand what it took to place it.
    pub(super) begun: Instant,
}

/// What a request came to when it was placed.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are open: a box would cost each of them"
)]
pub(super) enum Placed {
    /// A version is to be asked.
    Open(Settled),
    /// No version is asked: the route is read-only, or holds this request back while its
    /// traffic goes over in steps.
    Closed(Rc<View>, usize),
}

/// Tables that may be published while one request is being placed.
pub(super) const SETTLE_TRIES: usize = 100;

/// A request on its way to a place.
struct Visit<'a> {
    asked: &'a Asked,
    trusted: bool,
    naming: Naming<'a>,
    length: BodyLength,
    begun: Instant,
    session: Option<Session>,
    /// Whether it may be evidence as the first request of its session.
    first: Option<bool>,
}

impl Worker {
    /// Where this request goes. Reads of its body what it takes to say.
    pub(super) async fn place(
        self: &Rc<Self>,
        asked: &Asked,
        caller: &Caller,
        body: &mut Body,
        begun: Instant,
    ) -> Result<Placed, ProxyError> {
        let length = body.length();
        let mut visit = Visit {
            asked,
            trusted: caller.trusted,
            naming: Naming::of_head(asked, length),
            length,
            begun,
            session: None,
            first: None,
        };
        if let Some(placed) = self.settle(&mut visit)? {
            return Ok(placed);
        }
        Box::pin(self.place_by_body(visit, body)).await
    }

    async fn place_by_body(
        self: &Rc<Self>,
        mut visit: Visit<'_>,
        body: &mut Body,
    ) -> Result<Placed, ProxyError> {
        loop {
            visit.naming.read(visit.asked, body).await?;
            // The time until now was the caller's.
            visit.begun = clock::now();
            if let Some(placed) = self.settle(&mut visit)? {
                return Ok(placed);
            }
        }
    }

    /// Settles where a request goes; `None` while that depends on its body. A table that was
    /// published while the flight was being opened is looked at again: so either the request
    /// sees the new table, or a drain sees the flight.
    fn settle(
        self: &Rc<Self>,
        visit: &mut Visit<'_>,
    ) -> Result<Option<Placed>, ProxyError> {
        let asked = visit.asked;
        let fields = Fields(&asked.headers);
        for _ in 0..SETTLE_TRIES {
            let view = self.view();
            let (host, path) = (asked.host(), asked.target.path());
            let mut sig = Signature::new(host, path, &fields, self.draw());
            sig.model = visit.naming.model();
            let place = match view.table.find(&sig) {
                Found::Route(place) => place,
                Found::Nothing => return Err(ProxyError::NoRoute),
                Found::Unread => return Ok(None),
            };
            let route = &view.table.routes()[place];
            if route.mode().is_read_only() {
                return Ok(Some(Placed::Closed(view, place)));
            }
            sig.version = visit.naming.version();
            if let Some(pin) = &route.policy.pin
                && visit.trusted
            {
                sig.pin = demanded(&asked.headers, pin)?;
            }
            if let Some(affinity) = &route.policy.affinity
                && let Some(coin) = self.coin(affinity, route, &mut visit.session, asked)
            {
                (sig.coin, sig.sticky) = (coin, true);
            }
            let given = assign(route, &sig).map_err(|refused| refusal(refused, route))?;
            let coin = sig.coin;
            if route.split().is_held(coin)
                && matches!(given.reason, Reason::Split | Reason::Sticky)
            {
                return Ok(Some(Placed::Closed(view, place)));
            }
            if let Some(settled) = self.open(visit, (&view, place), given, coin) {
                return Ok(Some(Placed::Open(settled)));
            }
        }
        Err(ProxyError::Unsettled)
    }

    /// Opens the flight, unless another table was published meanwhile.
    fn open(
        self: &Rc<Self>,
        visit: &mut Visit<'_>,
        (view, place): (&Rc<View>, usize),
        given: Assignment,
        coin: u64,
    ) -> Option<Settled> {
        let route = &view.table.routes()[place];
        let Assignment { version, reason, strict } = given;
        let copying = route.copying();
        let by_coin = match reason {
            Reason::Split => true,
            // A copy is chosen by a coin of its own, whatever the session.
            Reason::Sticky if copying.is_some() => true,
            Reason::Sticky => *visit.first.get_or_insert_with(|| {
                let seen = view.seen[place].as_ref();
                seen.is_some_and(|seen| seen.is_first(coin, clock::wall()))
            }),
            Reason::Override
            | Reason::Pin
            | Reason::Path
            | Reason::Rollback
            | Reason::Protect => false,
        };
        let policy = &route.policy;
        let judged = by_coin
            && (copying.is_none() || is_comparable(policy, visit.asked, visit.length));
        let stamp = Stamp {
            slot: route.versions()[version].slot,
            epoch: route.epoch(),
            judged,
            shadow: false,
        };
        let mut flight = Flight::open(&self.books, stamp, visit.begun);
        if view.table.generation() < self.live.generation() {
            flight.cancel();
            return None;
        }
        flight.note_up_to(policy.sample_bodies);
        let mine = judged && version == route.stable_place();
        let copied = copying.filter(|it| mine && it.takes(self.draw()));
        let ticket = copied.map(|it| Ticket::new(self, view, (place, it.to)));
        let fresh = visit.session.filter(|it| it.fresh && reason == Reason::Sticky);
        let cookie = match (&policy.affinity, fresh) {
            (Some(Affinity::Cookie { name, max_age }), Some(session)) => {
                self.sessions.cookie(&session, (name, *max_age), clock::wall())
            }
            _ => None,
        };
        Some(Settled {
            view: Rc::clone(view),
            route: place,
            version,
            reason,
            strict,
            flight,
            ticket,
            cookie,
            begun: visit.begun,
        })
    }

    /// The coin of the request's session, if it belongs to one.
    fn coin(
        &self,
        affinity: &Affinity,
        route: &Route,
        session: &mut Option<Session>,
        asked: &Asked,
    ) -> Option<u64> {
        match affinity {
            Affinity::Header(name) => {
                // Of two keys none is the session's.
                let key = asked.headers.only(name).filter(|key| !key.is_empty())?;
                Some(session_coin(&route.name, key.as_bytes()))
            }
            Affinity::Cookie { name, max_age } => {
                let (headers, now) = (&asked.headers, clock::wall());
                let id = session.map(|session| session.id);
                let found = self.sessions.find(headers, (name, *max_age), now, || {
                    id.unwrap_or_else(|| self.draw_id())
                });
                *session = Some(found);
                Some(session_coin(&route.name, &found.id))
            }
        }
    }

    fn draw_id(&self) -> [u8; ID_BYTES] {
        let both = u128::from(self.draw()) << 64 | u128::from(self.draw());
        both.to_be_bytes()
    }
}

/// The version that a trusted caller demands.
fn demanded<'a>(headers: &'a Headers, pin: &Pin) -> Result<Option<&'a str>, ProxyError> {
    let mut values = headers.values(&pin.header);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        // What is no text is no name either.
        (Some(value), None) => Ok(Some(value.to_str().unwrap_or_default())),
        (Some(_), Some(_)) => {
            Err(ProxyError::BadRequest("the version is demanded more than once"))
        }
    }
}

fn refusal(refused: Refused, route: &Route) -> ProxyError {
    match (refused, &route.policy.pin) {
        (Refused::Unknown, Some(pin)) => {
            let allowed: Vec<&str> = pin.allowed.iter().map(|it| it.as_str()).collect();
            ProxyError::Pin(allowed.join(", "))
        }
        (Refused::Unknown, None) => ProxyError::Pin(String::new()),
        (Refused::Out(standing), _) => ProxyError::Out(standing),
    }
}

/// Takes out of a request what it says to this proxy alone: our cookies, and a pin that is
/// not to be believed.
pub(super) fn strip(
    headers: &mut Headers,
    policy: &RoutePolicy,
    view: &View,
    trusted: bool,
) {
    if let Some(pin) = &policy.pin {
        strip_pin(headers, pin, trusted);
    }
    for name in &view.cookies {
        strip_cookie(headers, name);
    }
}

/// Takes a pin out of the request: of a caller that is not trusted it goes, and what differs
/// from its name by underscores goes in any case.
fn strip_pin(headers: &mut Headers, pin: &Pin, trusted: bool) {
    let name = pin.header.as_bytes();
    let is_twin = |other: &str| {
        let same = |(a, b): (&u8, &u8)| a == b || (*a == b'_' && *b == b'-');
        other.len() == name.len() && other.as_bytes().iter().zip(name).all(same)
    };
    headers
        .retain(|other| !is_twin(other.as_str()) || (trusted && *other == *pin.header));
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::{demanded, strip_pin};
    use crate::vocab::policy::Pin;
    use crate::wire::Headers;

    fn headers(names: &[&'static str]) -> Headers {
        let mut map = Headers::new();
        for name in names {
            map.append(HeaderName::from_static(name), HeaderValue::from_static("v2"));
        }
        map
    }

    fn names(map: &Headers) -> Vec<&str> {
        let mut names: Vec<&str> = map.names().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_pin_of_a_stranger_goes_in_every_spelling() {
        let pin = Pin { header: "x-pin-to".into(), allowed: vec![], refuse: false };
        let all = ["x-pin-to", "x_pin_to", "x-pin_to", "x_pin-to", "x-pin-too", "x-pin"];
        let mut map = headers(&all);
        strip_pin(&mut map, &pin, false);
        assert_eq!(names(&map), ["x-pin", "x-pin-too"]);
        let mut map = headers(&all);
        strip_pin(&mut map, &pin, true);
        assert_eq!(names(&map), ["x-pin", "x-pin-to", "x-pin-too"]);
    }

    #[test]
    fn a_demand_is_made_once() {
        let pin = Pin { header: "x-pin-to".into(), allowed: vec![], refuse: false };
        assert_eq!(demanded(&headers(&["x-pin"]), &pin).unwrap(), None);
        assert_eq!(demanded(&headers(&["x-pin-to"]), &pin).unwrap(), Some("v2"));
        assert!(demanded(&headers(&["x-pin-to", "x-pin-to"]), &pin).is_err());
        let mut odd = Headers::new();
        odd.insert(
            HeaderName::from_static("x-pin-to"),
            HeaderValue::from_bytes(b"v2\xff").unwrap(),
        );
        assert_eq!(demanded(&odd, &pin).unwrap(), Some(""));
    }
}
