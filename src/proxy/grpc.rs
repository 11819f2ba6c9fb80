//! gRPC as far as a proxy has to know it: how long a caller waits, what an answer's head and
//! trailers say of its end, and the status that ends a call whose answer fails on the way.
//!
//! A call ends with a status in the trailers, or in the head where there is nothing else
//! ("trailers-only"). HTTP says 200 to nearly all of them, so the status is what counts; an
//! answer that ends without one is cut short, whatever its framing says.
//!
//! Sources: gRPC's `PROTOCOL-HTTP2.md` and `http-grpc-status-mapping.md`; which status is
//! which HTTP status is as in `google/rpc/code.proto`.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::error::class_of;
use super::failure::Failure;
use super::forward::{Answer, Manner};
use super::handle::Trip;
use super::hold::next_held;
use super::worker::Worker;
use crate::clock;
use crate::dialect::{grpc_status, is_grpc, is_unary_inference};
use crate::measure::Flight;
use crate::vocab::outcome::Class;
use crate::vocab::policy::FailureSet;
use crate::wire::Body;
use crate::wire::BodyError;
use crate::wire::Copy;
use crate::wire::Frame;
use crate::wire::Headers;
use crate::wire::Kept;

/// A gRPC call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Call {
    /// When its caller gives up (`grpc-timeout`).
    deadline: Option<Instant>,
}

impl Call {
    /// What a request's fields say that came at `begun`; `None` if it is no gRPC.
    pub(super) fn of(headers: &Headers, begun: Instant) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?;
        if !is_grpc(kind.as_bytes()) {
            return None;
        }
        let timeout = headers.get(GRPC_TIMEOUT).and_then(|it| timeout(it.as_bytes()));
        Some(Self { deadline: timeout.and_then(|span| begun.checked_add(span)) })
    }

    /// The same call, whose caller waits for nothing: a copy.
    pub(super) fn unawaited(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// The earlier of the caller's deadline and another limit.
    pub(super) fn bound(&self, until: Option<Instant>) -> Option<Instant> {
        match (self.deadline, until) {
            (Some(mine), Some(other)) => Some(mine.min(other)),
            (mine, other) => mine.or(other),
        }
    }

    /// Whether its caller has given up by now.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= clock::now())
    }

    /// The fields for a server that is asked now: what is left of the caller's time, where
    /// some has been spent on another try.
    pub(super) fn fields<'a>(&self, headers: &'a Headers) -> Cow<'a, Headers> {
        let Some(deadline) = self.deadline else { return Cow::Borrowed(headers) };
        let left = deadline.saturating_duration_since(clock::now());
        let said = headers.get(GRPC_TIMEOUT).and_then(|it| timeout(it.as_bytes()));
        if said.is_none_or(|said| said.saturating_sub(left) < NOTICEABLE) {
            return Cow::Borrowed(headers);
        }
        let mut headers = headers.clone();
        if let Ok(left) = HeaderValue::from_str(&written(left)) {
            headers.insert(GRPC_TIMEOUT, left);
        }
        Cow::Owned(headers)
    }

    /// How an attempt ended whose answer failed after its head. A caller that has given up
    /// has given up, whoever noticed first.
    pub(super) fn class_of(&self, error: &BodyError) -> Class {
        if matches!(error, BodyError::Total) && self.is_late() {
            return Class::ClientCancelled;
        }
        class_of(error)
    }
}

/// The trailers that end a call whose answer failed after its head.
pub(super) fn ending(error: &BodyError) -> Frame {
    let code = match error {
        BodyError::Idle | BodyError::Total => DEADLINE_EXCEEDED,
        BodyError::Malformed => INTERNAL,
        BodyError::TooLong(_) => RESOURCE_EXHAUSTED,
        BodyError::Reset(code) => of_reset(*code),
        BodyError::Truncated
        | BodyError::Cut
        | BodyError::Quiet
        | BodyError::Withdrawn(_)
        | BodyError::Io(_) => UNAVAILABLE,
    };
    let mut trailers = HeaderMap::new();
    grpc_status(&mut trailers, code, &error.to_string());
    Frame::trailers(trailers)
}

/// The status that a reset of the stream means (`PROTOCOL-HTTP2.md`, "Errors").
pub(super) fn of_reset(code: Option<u32>) -> u8 {
    match code {
        // The connection died without a word.
        None => UNAVAILABLE,
        Some(7) => UNAVAILABLE,
        Some(8) => CANCELLED,
        Some(11) => RESOURCE_EXHAUSTED,
        Some(12) => PERMISSION_DENIED,
        Some(_) => INTERNAL,
    }
}

/// The class that a `grpc-status` field gives.
pub(super) fn grpc_class(status: Option<&HeaderValue>) -> Option<Class> {
    let status = status?.to_str().ok()?;
    Some(Class::of_grpc(status.trim().parse().unwrap_or(UNKNOWN.into())))
}

/// What an answer's head says: the class so far, and whether the status is still to come.
pub(super) fn class_of_grpc_head(answer: &Answer) -> (Class, bool) {
    let status = answer.status.as_u16();
    match (grpc_class(answer.headers.get(GRPC_STATUS)), status) {
        (Some(class), _) => (class, false),
        (None, 200) => (Class::Success, true),
        (None, status) => (Class::of_grpc(of_http(status).into()), false),
    }
}

/// Whether the answer to a call is one.
pub(super) fn is_answer(answer: &Answer) -> bool {
    let kind = answer.headers.get(header::CONTENT_TYPE);
    answer.status != 200 || kind.is_some_and(|kind| is_grpc(kind.as_bytes()))
}

/// The status that an HTTP status means which has none with it
/// (`http-grpc-status-mapping.md`).
fn of_http(status: u16) -> u8 {
    match status {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// Whether a set of failures, which names HTTP statuses, has the class of a call:
/// `google/rpc/code.proto` says which status is which.
pub(super) fn is_in(set: &FailureSet, class: Class) -> bool {
    let Class::Grpc(code) = class else { return false };
    let status = match code {
        DEADLINE_EXCEEDED => 504,
        RESOURCE_EXHAUSTED => 429,
        UNIMPLEMENTED => 501,
        UNAVAILABLE => 503,
        UNKNOWN | INTERNAL | DATA_LOSS => 500,
        _ => return false,
    };
    set.has_status(status)
}

/// Whether an answer's class speaks against the server that gave it: one that has too much to
/// do is not broken.
pub(super) fn is_fault_of_server(class: Class) -> bool {
    matches!(class, Class::Grpc(code) if class.is_failure() && code != RESOURCE_EXHAUSTED)
}

/// How holding a call's answer ended.
enum HeldCall {
    /// It can be sent on: it went well, or it is none of those that are rescued.
    Good(Answer),
    /// It failed with that class before anything of it was sent on. The request's body is
    /// here, to be sent again.
    Failed(Class, Body),
    /// It broke off, and nobody else may be asked.
    Lost(BodyError),
}

/// Reads the answer to a call of one question and one answer up to its status while it is
/// small. Nobody waits longer for it: such a caller can do nothing with the answer before the
/// status is there.
async fn hold_call(
    mut answer: Answer,
    (copy, keep): (&Copy, usize),
    set: &FailureSet,
    flight: &mut Flight,
) -> HeldCall {
    let mut kept = Kept::default();
    let again = || copy.again(keep);
    while kept.len() < HELD {
        let frame = match next_held(&mut answer.body, flight).await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let class = answer.call.unwrap_or_default().class_of(&error);
                return match again().filter(|_| class.is_failure()) {
                    Some(again) => HeldCall::Failed(class, again),
                    None => HeldCall::Lost(error),
                };
            }
            None => match again() {
                Some(again) => return HeldCall::Failed(Class::Truncated, again),
                None => break,
            },
        };
        match frame.into_data() {
            Ok(bytes) => kept.push(&bytes),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                let class = grpc_class(trailers.get(GRPC_STATUS))
                    .filter(|class| is_in(set, *class));
                if let Some((class, again)) = class.zip(again()) {
                    return HeldCall::Failed(class, again);
                }
                answer.body = Body::Trailers(Box::new(trailers));
                break;
            }
        }
    }
    answer.body = Body::Again(kept, Box::new(answer.body));
    HeldCall::Good(answer)
}

impl Worker {
    /// Looks at a canary's answer to a call whose head is good: where one answer is all there
    /// is and the request can be sent again, up to its status.
    pub(super) async fn weigh_call(
        &self,
        answer: Answer,
        call: Call,
        trip: &Trip<'_>,
        flight: &mut Flight,
    ) -> (Result<Answer, Failure>, Option<Body>) {
        let copy = trip.copy.as_ref().filter(|copy| copy.whole().is_some());
        let open = class_of_grpc_head(&answer).1;
        let Some(copy) =
            copy.filter(|_| open && is_unary_inference(trip.asked.target.path()))
        else {
            return (Ok(answer), None);
        };
        let Manner { policy, .. } = trip.manner;
        match hold_call(answer, (copy, trip.manner.keep()), &policy.rescue.on, flight)
            .await
        {
            HeldCall::Good(answer) => (Ok(answer), None),
            HeldCall::Failed(class, body) => {
                (Err(Failure::of_body(class, None)), Some(body))
            }
            HeldCall::Lost(error) => (Err(Failure::of_call(call, &error)), None),
        }
    }
}

/// `grpc-timeout`: at most eight digits and a unit. One that is malformed sets no limit here
/// and is the server's to judge.
pub(super) fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(count * 3_600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// A span as `grpc-timeout` writes it, in the finest unit that holds it.
pub(super) fn written(span: Duration) -> String {
    const MOST: u128 = 99_999_999;
    if span.as_micros() <= MOST {
        format!("{}u", span.as_micros())
    } else if span.as_millis() <= MOST {
        format!("{}m", span.as_millis())
    } else {
        format!("{}S", u128::from(span.as_secs()).min(MOST))
    }
}

/// An answer is held up to this size.
const HELD: usize = 64 * 1024;
/// Less than this was not spent on another try, and the field stays as it is.
const NOTICEABLE: Duration = Duration::from_millis(50);

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

const CANCELLED: u8 = 1;
const UNKNOWN: u8 = 2;
const DEADLINE_EXCEEDED: u8 = 4;
const PERMISSION_DENIED: u8 = 7;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;
const DATA_LOSS: u8 = 15;
const UNAUTHENTICATED: u8 = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderName, HeaderValue};

    use super::{Call, is_in, of_http, of_reset, timeout, written};
    use crate::clock;
    use crate::vocab::outcome::Class;
    use crate::vocab::policy::FailureSet;
    use crate::wire::Headers;

    #[test]
    fn a_timeout_is_eight_digits_and_a_unit() {
        for (text, span) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("15S", Some(Duration::from_secs(15))),
            ("100m", Some(Duration::from_millis(100))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("00000001n", Some(Duration::from_nanos(1))),
            ("0m", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("", None),
            ("m", None),
            ("100", None),
            ("100s", None),
            ("123456789m", None),
            ("-1m", None),
            ("+1m", None),
            ("1.5S", None),
            (" 1S", None),
            ("1 S", None),
            ("1S ", None),
            ("0x1S", None),
        ] {
            assert_eq!(timeout(text.as_bytes()), span, "{text:?}");
        }
        for span in [1, 99_999, 99_999_999, 100_000_000, 86_400_000_000, u64::MAX] {
            let span = Duration::from_micros(span);
            let again = timeout(written(span).as_bytes()).unwrap();
            assert!(again <= span && (span > DAYS || again * 1_001 / 1_000 >= span));
        }
    }

    const DAYS: Duration = Duration::from_secs(99_999_999);

    #[tokio::test(start_paused = true)]
    async fn a_second_try_has_the_time_that_is_left() {
        let mut headers = Headers::new();
        headers.insert(
            HeaderName::from_static("content-type"),
            HeaderValue::from_static("application/grpc+proto"),
        );
        headers.insert(
            HeaderName::from_static("grpc-timeout"),
            HeaderValue::from_static("1S"),
        );
        let call = Call::of(&headers, clock::now()).unwrap();
        assert_eq!(call.fields(&headers)["grpc-timeout"], "1S");
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(call.fields(&headers)["grpc-timeout"], "600000u");
        assert!(!call.is_late());
        tokio::time::advance(Duration::from_millis(600)).await;
        assert_eq!(call.fields(&headers)["grpc-timeout"], "0u");
        assert!(call.is_late());
        let now = clock::now();
        assert!(call.bound(Some(now + Duration::from_secs(9))).unwrap() <= now);
        headers.insert(
            HeaderName::from_static("grpc-timeout"),
            HeaderValue::from_static("soon"),
        );
        assert_eq!(Call::of(&headers, now).unwrap().bound(None), None);
        headers.insert(
            HeaderName::from_static("content-type"),
            HeaderValue::from_static("application/json"),
        );
        assert!(Call::of(&headers, now).is_none());
    }

    #[test]
    fn statuses_resets_and_sets_are_those_of_grpc() {
        for (http, grpc) in
            [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (500, 2), (503, 14)]
        {
            assert_eq!(of_http(http), grpc, "{http}");
        }
        for (code, grpc) in
            [(0, 13), (1, 13), (2, 13), (7, 14), (8, 1), (11, 8), (12, 7), (13, 13)]
        {
            assert_eq!(of_reset(Some(code)), grpc, "{code}");
        }
        let all = FailureSet { server_errors: true, ..FailureSet::default() };
        let found: Vec<u8> =
            (1..=16).filter(|code| is_in(&all, Class::Grpc(*code))).collect();
        assert_eq!(found, [2, 4, 12, 13, 14, 15]);
        let some = FailureSet { statuses: vec![503, 429], ..FailureSet::default() };
        let found: Vec<u8> =
            (1..=16).filter(|code| is_in(&some, Class::Grpc(*code))).collect();
        assert_eq!(found, [8, 14]);
        assert!(!is_in(&all, Class::Success));
    }
}
