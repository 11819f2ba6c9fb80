//! What is held of a canary's answer so that a failure can still be rescued: small answers
//! until they are whole, and of a stream the frames that only open it, until the first that
//! says something.
//!
//! Stable's answers are never held, nor those of requests that could not be sent again. What
//! is held of a stream is bounded in bytes and in time: a comment keeps a caller's
//! connection alive only if it gets there.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header::{self, HeaderMap};

use super::error::class_of;
use super::failure::Failure;
use super::forward::Answer;
use crate::clock;
use crate::clock::{Limit, Wheel};
use crate::measure::Flight;
use crate::vocab::outcome::Class;
use crate::wire::Body;
use crate::wire::BodyError;
use crate::wire::BodyLength;
use crate::wire::Copy;
use crate::wire::Frame;
use crate::wire::Headers;
use crate::wire::Keep;
use crate::wire::Kept;

/// An answer of a canary is held whole before it is sent on up to this size; of a stream not
/// more than this is held.
const HELD: usize = 64 * 1024;

/// The longest that the head of a stream is held while nothing follows it.
const HEAD_HELD: Duration = Duration::from_secs(10);

/// The longest that frames are held which only open a stream, from the first of them.
const FRAMES_HELD: Duration = Duration::from_secs(3);

/// Both for a stream of nobody knows whom: it may be one that rests for long.
const UNKNOWN_HELD: Duration = Duration::from_secs(1);

/// How holding an answer ended.
pub(super) enum Held {
    /// It can be sent on.
    Good(Answer),
    /// It failed; nothing of it has been sent on. The request's body is here if it can be
    /// sent again.
    Failed(Failure, Option<Body>),
}

/// What is left of a request: the copy that its body leaves, and how much of one is kept.
pub(super) type Left<'a> = (Option<&'a Copy>, usize);

/// Holds a canary's answer as long as that is of use.
pub(super) async fn hold(
    answer: Answer,
    left: Left<'_>,
    flight: &mut Flight,
    wheel: &Rc<Wheel>,
) -> Held {
    let held = hold_some(answer, left, flight, wheel).await;
    if matches!(held, Held::Good(_)) {
        // It passes once more, on its way to the caller.
        flight.forget();
    }
    held
}

async fn hold_some(
    mut answer: Answer,
    left: Left<'_>,
    flight: &mut Flight,
    wheel: &Rc<Wheel>,
) -> Held {
    if answer.scan.as_ref().is_some_and(|scan| scan.is_stream()) {
        return hold_opening(answer, left, flight, &wheel.limit()).await;
    }
    let small = answer.call.is_none()
        && match answer.body.left() {
            BodyLength::None => false,
            BodyLength::Exact(length) => length <= HELD as u64,
            BodyLength::Unknown => is_json(&answer.headers),
        };
    if !small {
        return Held::Good(answer);
    }
    let mut kept = Kept::default();
    while kept.len() < HELD {
        match next_held(&mut answer.body, flight).await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => {
                    flight.note(&bytes);
                    if let Some(scan) = &mut answer.scan {
                        scan.hold(&bytes, flight);
                    }
                    kept.push(&bytes);
                }
                Err(last) => {
                    return ended(answer, kept, last.into_trailers().ok(), left, flight);
                }
            },
            Some(Err(error)) => return broken(answer, &error, left, flight),
            None => return ended(answer, kept, None, left, flight),
        }
    }
    Held::Good(resume(answer, kept))
}

/// Reads a stream up to the first frame that says something.
async fn hold_opening(
    mut answer: Answer,
    left: Left<'_>,
    flight: &mut Flight,
    limit: &Limit,
) -> Held {
    // A failure that could not be made good is better seen as it is.
    if !is_reclaimable(&answer.body, left.0) {
        return Held::Good(answer);
    }
    let mut kept = Kept::default();
    let known = answer.scan.as_ref().is_some_and(|scan| scan.is_known());
    limit.set(if known { HEAD_HELD } else { UNKNOWN_HELD });
    while kept.len() < HELD && answer.scan.as_ref().is_some_and(|it| it.is_opening()) {
        let Some(next) = next_until(&mut answer.body, flight, Some(limit)).await else {
            break;
        };
        match next {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => {
                    if kept.is_empty() && known {
                        limit.set(FRAMES_HELD);
                    }
                    kept.push(&bytes);
                    flight.note(&bytes);
                    let failed = answer.scan.as_mut().and_then(|scan| {
                        scan.hold(&bytes, flight);
                        scan.failed()
                    });
                    if failed.is_some() {
                        return judged(answer, kept, failed, left);
                    }
                }
                Err(last) => {
                    return ended(answer, kept, last.into_trailers().ok(), left, flight);
                }
            },
            Some(Err(error)) => return broken(answer, &error, left, flight),
            None => return ended(answer, kept, None, left, flight),
        }
    }
    Held::Good(resume(answer, kept))
}

/// An answer that ended before any of it was sent on, with its trailers.
fn ended(
    answer: Answer,
    kept: Kept,
    trailers: Option<HeaderMap>,
    left: Left<'_>,
    flight: &mut Flight,
) -> Held {
    let class = answer.scan.as_ref().map(|scan| scan.end(flight));
    match (judged(answer, kept, class, left), trailers) {
        (Held::Good(mut answer), Some(map)) => {
            // The body itself is over: they are all that is left of it.
            if let Body::Again(_, rest) = &mut answer.body {
                **rest = Body::Trailers(Box::new(map));
            }
            Held::Good(answer)
        }
        (held, _) => held,
    }
}

/// An answer that is whole, or failed inside itself, before any of it was sent on.
fn judged(
    answer: Answer,
    kept: Kept,
    class: Option<Class>,
    (copy, keep): Left<'_>,
) -> Held {
    match class.filter(|class| class.is_failure()) {
        Some(class) if is_reclaimable(&answer.body, copy) => {
            let failure = Failure::of_body(class, None);
            Held::Failed(failure, reclaim(answer.body, copy, keep))
        }
        Some(_) | None => Held::Good(resume(answer, kept)),
    }
}

/// An answer that was cut before any of it was sent on.
fn broken(
    answer: Answer,
    error: &BodyError,
    (copy, keep): Left<'_>,
    flight: &mut Flight,
) -> Held {
    let class = class_of(error);
    let class = answer.scan.as_ref().map_or(class, |scan| scan.broken(class, flight));
    Held::Failed(Failure::of_body(class, None), reclaim(answer.body, copy, keep))
}

/// The answer with what was read of it put back.
fn resume(mut answer: Answer, kept: Kept) -> Answer {
    let rest = std::mem::replace(&mut answer.body, Body::Empty);
    answer.body = Body::Again(kept, Box::new(rest));
    answer
}

/// The next piece of an answer that no caller waits for yet, or ever. The time it is waited
/// for is the version's.
pub(super) async fn next_held(
    body: &mut Body,
    flight: &mut Flight,
) -> Option<Result<Frame, BodyError>> {
    next_until(body, flight, None).await.flatten()
}

/// The same, and `None` when the limit is over first.
async fn next_until(
    body: &mut Body,
    flight: &mut Flight,
    limit: Option<&Limit>,
) -> Option<Option<Result<Frame, BodyError>>> {
    let mut since = None;
    let next = poll_fn(|cx| match body.poll_next(cx) {
        Poll::Ready(next) => Poll::Ready(Some(next)),
        Poll::Pending if flight.is_cut() => Poll::Ready(Some(Some(Err(BodyError::Cut)))),
        Poll::Pending => {
            if since.is_none() {
                let now = clock::now();
                since = Some(now);
                flight.waits(now);
            }
            match limit.map(|limit| limit.poll(cx)) {
                Some(Poll::Ready(())) => Poll::Ready(None),
                Some(Poll::Pending) | None => Poll::Pending,
            }
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
    match body.into_exchange() {
        Some(exchange) => Keep::again(exchange.take_body()),
        None => copy.and_then(|copy| copy.again(keep)),
    }
}

/// Whether [`reclaim`] would give the request's body back.
pub(super) fn is_reclaimable(body: &Body, copy: Option<&Copy>) -> bool {
    match body.exchange() {
        Some(exchange) => Keep::is_again(exchange.request_body()),
        None => copy.is_some_and(|copy| copy.whole().is_some()),
    }
}

fn is_json(headers: &Headers) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    }) && !headers.has(header::TRAILER)
}
