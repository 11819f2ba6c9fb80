//! A door for fuzz targets: the parsers of this room as functions from bytes to what can be
//! checked. Nothing of the product calls them; apart, so that the parsers themselves need
//! not be public.

use std::time::Duration;

use http::header::HeaderValue;
use http::request::Parts;

use super::caller::Caller;
use super::session::{Session, Sessions};
use super::{grpc, hygiene, ids, session};
use crate::vocab::outcome::Class;
use crate::vocab::time::Timestamp;
use crate::wire::Headers;

/// The id of the session that the cookie of that name and age proves.
#[must_use]
pub fn proven(
    sessions: &Sessions,
    headers: &Headers,
    named: (&str, Duration),
    now: Timestamp,
) -> Option<[u8; 16]> {
    let found = sessions.find(headers, named, now, || [0; 16]);
    (!found.fresh).then_some(found.id)
}

/// What gives a session its cookie, attributes included.
#[must_use]
pub fn cookie(
    sessions: &Sessions,
    id: [u8; 16],
    named: (&str, Duration),
    now: Timestamp,
) -> Option<HeaderValue> {
    sessions.cookie(&Session { id, fresh: true }, named, now)
}

/// Takes the cookie of that name out of a request.
pub fn strip_cookie(headers: &mut Headers, name: &str) {
    session::strip_cookie(headers, name);
}

/// The span that a `grpc-timeout` says, and how that span is written again.
#[must_use]
pub fn timeout(value: &[u8]) -> Option<(Duration, String)> {
    let span = grpc::timeout(value)?;
    Some((span, grpc::written(span)))
}

/// The class that a `grpc-status` gives.
#[must_use]
pub fn grpc_class(status: &HeaderValue) -> Option<Class> {
    grpc::grpc_class(Some(status))
}

/// Leaves one sound request id and parent in the fields; the id.
pub fn settle_ids(headers: &mut Headers) -> HeaderValue {
    // One that is said to be there and is not is looked for in vain.
    ids::settle(headers, ids::Given { id: true, trace: true }, || 7)
}

/// What a version is sent of a request by a caller that is trusted or not: the target and
/// the fields; `None` where the request is refused.
#[must_use]
pub fn clean_request(parts: Parts, trusted: bool) -> Option<(String, Headers)> {
    let caller = Caller {
        trusted,
        forwarded_for: HeaderValue::from_static("192.0.2.1"),
        forwarded: HeaderValue::from_static("for=192.0.2.1;proto=http"),
        proto: HeaderValue::from_static("http"),
    };
    let asked = hygiene::clean_request(parts.into(), &caller).ok()?;
    Some((asked.target.to_string(), asked.headers))
}

/// Cleans the fields of an answer that is no upgrade.
pub fn clean_answer(headers: &mut Headers) {
    hygiene::clean_answer(headers, false);
}
