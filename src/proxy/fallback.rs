//! What comes after a failure: stable after the canary, the cache after stable, and the
//! small answers of a canary held until they are whole, so that a cut one can still be
//! rescued.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, Response, StatusCode};

use super::forward::Answer;
use super::hygiene::Asked;
use super::outgoing::Outgoing;
use super::read_only::{READ_ONLY, mark};
use super::reply::{Stamps, stamp};
use super::view::View;
use super::worker::Worker;
use crate::cache::{Detail, Pending, RequestFacts, Scope, Source, serve};
use crate::clock;
use crate::measure::Flight;
use crate::route::Route;
use crate::route::Standing;
use crate::vocab::outcome::Class;
use crate::wire::Body;
use crate::wire::BodyError;
use crate::wire::BodyLength;
use crate::wire::Copy;
use crate::wire::Frame;
use crate::wire::Keep;
use crate::wire::Kept;

/// An answer of a canary is held whole before it is sent on up to this size.
const HELD: usize = 64 * 1024;

/// How holding an answer ended.
pub(super) enum Held {
    /// It can be sent on.
    Good(Answer),
    /// It was cut short; nothing of it has been sent on. The request's body is here if it
    /// can be sent again.
    Cut(BodyError, Option<Body>),
}

/// Reads a canary's answer to its end while it is small, unless it is a stream that its
/// caller wants piece by piece.
pub(super) async fn hold(
    answer: Answer,
    (copy, keep): (Option<&Copy>, usize),
    flight: &mut Flight,
) -> Held {
    let Answer { status, headers, reason, mut body, busy } = answer;
    let grpc = is_grpc(&headers);
    let small = !grpc
        && match body.left() {
            BodyLength::None => false,
            BodyLength::Exact(length) => length <= HELD as u64,
            BodyLength::Unknown => is_json(&headers),
        };
    if !small {
        return Held::Good(Answer { status, headers, reason, body, busy });
    }
    let mut kept = Kept::default();
    while kept.len() < HELD {
        match next_held(&mut body, flight).await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => kept.push(&bytes),
                // Trailers cannot be put back; what follows them is the end.
                Err(_) => break,
            },
            Some(Err(error)) => return Held::Cut(error, reclaim(body, copy, keep)),
            None => break,
        }
    }
    let body = Body::Again(kept, Box::new(body));
    Held::Good(Answer { status, headers, reason, body, busy })
}

/// The next piece of an answer that no caller waits for yet, or ever. The time it is waited
/// for is the version's.
pub(super) async fn next_held(
    body: &mut Body,
    flight: &mut Flight,
) -> Option<Result<Frame, BodyError>> {
    let mut since = None;
    let next = poll_fn(|cx| match body.poll_next(cx) {
        Poll::Ready(next) => Poll::Ready(next),
        Poll::Pending if flight.is_cut() => Poll::Ready(Some(Err(BodyError::Cut))),
        Poll::Pending => {
            if since.is_none() {
                let now = clock::now();
                since = Some(now);
                flight.waits(now);
            }
            Poll::Pending
        }
    })
    .await;
    if let Some(since) = since {
        flight.waited(clock::now().saturating_duration_since(since));
    }
    next
}

/// The request's body back from an answer that is not wanted.
pub(super) fn reclaim(body: Body, copy: Option<&Copy>, keep: usize) -> Option<Body> {
    match body {
        Body::Answer(exchange) => Keep::again(exchange.take_body()),
        Body::Empty
        | Body::Full(_)
        | Body::Again(..)
        | Body::Keep(_)
        | Body::Lent(_)
        | Body::Request(_)
        | Body::Stream(_) => copy.and_then(|copy| copy.again(keep)),
    }
}

/// Whether [`reclaim`] would give the request's body back.
pub(super) fn is_reclaimable(body: &Body, copy: Option<&Copy>) -> bool {
    match body {
        Body::Answer(exchange) => Keep::is_again(exchange.request_body()),
        Body::Empty
        | Body::Full(_)
        | Body::Again(..)
        | Body::Keep(_)
        | Body::Lent(_)
        | Body::Request(_)
        | Body::Stream(_) => copy.is_some_and(|copy| copy.whole().is_some()),
    }
}

fn facts(asked: &Asked) -> RequestFacts<'_> {
    let host = asked.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    RequestFacts {
        method: &asked.method,
        host: host.unwrap_or_default(),
        path: asked.target.path(),
        query: asked.target.query(),
        headers: &asked.headers,
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    }) && !headers.contains_key(header::TRAILER)
}

impl Worker {
    /// The beginning of the request's question to the cache, where the route has opted in.
    pub(super) fn question(&self, route: &Route, asked: &Asked) -> Option<Pending> {
        let policy = route.policy.cache.as_ref()?;
        if asked.method == Method::HEAD {
            return None;
        }
        self.cache.begin(Scope { route: &route.name, policy }, &facts(asked))
    }

    /// What was kept about a target goes when a request has changed it (RFC 9111, 4.4): one
    /// of an unsafe method, of which no answers are kept, that was answered without an error.
    pub(super) fn forget_target(&self, route: &Route, asked: &Asked, status: StatusCode) {
        let Some(policy) = &route.policy.cache else { return };
        let asks = asked.method.is_safe()
            || policy.methods.iter().any(|method| method == asked.method.as_str());
        if !asks && (status.is_success() || status.is_redirection()) {
            let scope = Scope { route: &route.name, policy };
            self.cache.touch(scope, &facts(asked), clock::wall());
        }
    }

    /// A kept answer for a request that no version answers.
    pub(super) async fn kept_answer(
        &self,
        (view, place): (&View, usize),
        pending: Option<&Pending>,
        (copy, body): (Option<&Copy>, Option<Body>),
        detail: Detail,
        mut stamps: Stamps,
    ) -> Option<Response<Outgoing>> {
        let pending = pending?;
        let route = view.table.routes().get(place)?;
        let policy = route.policy.cache.as_ref()?;
        let whole = match copy.and_then(Copy::whole) {
            Some(whole) => whole,
            None => read_whole(body?, route.policy.rescue.max_body).await?,
        };
        let question = pending.question(&whole.pieces());
        let mut serving: Vec<(bool, Source)> = route
            .versions()
            .iter()
            .zip(view.places.get(place)?)
            .filter(|(version, _)| version.standing == Standing::Serving)
            .map(|(version, place)| {
                (version.slot != route.stable().slot, place.source.clone())
            })
            .collect();
        serving.sort_by_key(|(other, _)| *other);
        let sources: Vec<Source> =
            serving.into_iter().map(|(_, source)| source).collect();
        let scope = Scope { route: &route.name, policy };
        let now = clock::wall();
        let entry = self.cache.lookup(scope, &question, &sources, now)?;
        let banner = &route.policy.banner;
        let mut served = serve(&entry, banner, detail, now);
        // The length is the body's own; whoever writes the head says it.
        served.headers.remove(header::CONTENT_LENGTH);
        if let Ok(version) = entry.source.name.as_str().parse() {
            stamps.version = version;
        }
        stamps.reason = Some(match detail {
            Detail::UpstreamFailed => "cache",
            Detail::ReadOnly => READ_ONLY,
        });
        stamp(&mut served.headers, &stamps);
        let mut answer = Response::new(Outgoing::own(served.body));
        *answer.status_mut() = served.status;
        *answer.headers_mut() = served.headers;
        if detail == Detail::ReadOnly {
            mark(&mut answer, route, Some(&banner.message));
        }
        Some(answer)
    }
}

async fn read_whole(mut body: Body, bound: usize) -> Option<Kept> {
    let mut kept = Kept::default();
    loop {
        match poll_fn(|cx| body.poll_next(cx)).await {
            None => return Some(kept),
            Some(frame) => {
                let bytes: Bytes = frame.ok()?.into_data().ok()?;
                if kept.len() + bytes.len() > bound {
                    return None;
                }
                kept.push(&bytes);
            }
        }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The class of an answer by its head.
pub(super) fn class_of_head(answer: &Answer) -> (Class, bool) {
    let grpc = is_grpc(&answer.headers);
    let by_status = Class::of_status(answer.status.as_u16());
    let by_head = if grpc { super::outgoing::grpc_class(&answer.headers) } else { None };
    (by_head.unwrap_or(by_status), grpc)
}
