//! The one table from [`ProxyError`] to an answer of our own: no other file writes a 4xx or
//! a 5xx.

use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};

use super::error::ProxyError;
use super::ids::X_REQUEST_ID;
use super::outgoing::{Outgoing, Reply};
use crate::dialect::{Worded, pick, word};
use crate::vocab::policy::Dialect;
use crate::wire::Headers;

/// What our own answers say beside the error.
#[derive(Clone, Debug)]
pub(super) struct Stamps {
    /// The version asked last, or `none`.
    pub(super) version: HeaderValue,
    /// The request's id.
    pub(super) id: Option<HeaderValue>,
    /// Why the request went where it went.
    pub(super) reason: Option<&'static str>,
    /// How the caller wants an error worded.
    pub(super) speech: Speech,
}

/// How a caller wants an error worded.
#[derive(Clone, Debug)]
pub(super) struct Speech {
    /// What it speaks.
    pub(super) dialect: Dialect,
    /// The content type of its request, where that is gRPC's.
    kind: Option<HeaderValue>,
}

impl Speech {
    /// Of a caller of whose request nothing is known.
    pub(super) const PLAIN: Self = Self { dialect: Dialect::Plain, kind: None };

    /// Whether the request is a gRPC call.
    pub(super) fn is_grpc(&self) -> bool {
        self.kind.is_some()
    }

    /// Of a request that no route has spoken for yet.
    pub(super) fn of(path: &str, headers: &Headers) -> Self {
        let kind = headers.get(header::CONTENT_TYPE);
        let dialect = pick(path, kind.map(HeaderValue::as_bytes));
        let kind = kind.filter(|_| dialect == Dialect::Grpc).cloned();
        Self { dialect, kind }
    }
}

impl Stamps {
    /// For a request that got no further than its head.
    pub(super) fn none(id: Option<HeaderValue>, speech: Speech) -> Self {
        Self { version: HeaderValue::from_static("none"), id, reason: None, speech }
    }
}

/// The answer to a request that no version answers.
pub(super) fn reply(error: &ProxyError, stamps: &Stamps) -> Reply {
    let message = error.to_string();
    let id = stamps.id.as_ref().and_then(|id| id.to_str().ok());
    let said = error.own(&message, id);
    let speech = &stamps.speech;
    let Worded { status, headers, body } =
        word(speech.dialect, &said, speech.kind.as_ref());
    let mut headers = Headers::from(headers);
    let said = format!("switchback; error={}", error.proxy_status());
    if let Ok(said) = HeaderValue::from_str(&said) {
        headers.insert(PROXY_STATUS, said);
    }
    if let Some(seconds) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed =
            HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        headers.insert(header::ALLOW, allowed);
    }
    stamp(&mut headers, stamps);
    // What was refused may have been meant to be read in another way by somebody else, and so
    // may what follows it.
    let last = matches!(error, ProxyError::BadRequest(_) | ProxyError::Method);
    Reply { status, reason: None, headers, body: Outgoing::own(body), last }
}

/// Sets the fields that every answer has; none of them is there yet.
pub(super) fn stamp(headers: &mut Headers, stamps: &Stamps) {
    headers.append(X_MODEL_VERSION, stamps.version.clone());
    if let Some(id) = &stamps.id {
        headers.append(X_REQUEST_ID, id.clone());
    }
    if let Some(reason) = stamps.reason {
        headers.append(X_SWITCHBACK_REASON, HeaderValue::from_static(reason));
    }
}

const X_MODEL_VERSION: HeaderName = HeaderName::from_static("x-model-version");
const X_SWITCHBACK_REASON: HeaderName = HeaderName::from_static("x-switchback-reason");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;

    use super::{Speech, Stamps, reply};
    use crate::proxy::error::ProxyError;
    use crate::vocab::outcome::Class;
    use crate::wire::BodyError;
    use crate::wire::Headers;

    #[test]
    fn every_error_says_who_failed_and_how() {
        let stamps = Stamps {
            version: HeaderValue::from_static("v2"),
            id: Some(HeaderValue::from_static("id-1")),
            reason: Some("rescue"),
            speech: Speech::PLAIN,
        };
        for (error, status, said) in [
            (ProxyError::NoRoute, 404, "destination_not_found"),
            (ProxyError::Upstream(Class::ConnectError, "x"), 503, "connection_refused"),
            (
                ProxyError::Upstream(Class::TimeoutFirstByte, "x"),
                504,
                "http_response_timeout",
            ),
            (
                ProxyError::Upstream(Class::UpstreamReset, "x"),
                502,
                "connection_terminated",
            ),
            (
                ProxyError::Upstream(Class::Truncated, "x"),
                502,
                "http_response_incomplete",
            ),
            (ProxyError::Body(BodyError::TooLong(5)), 413, "http_request_error"),
            (ProxyError::Expectation, 417, "http_request_error"),
            (ProxyError::Method, 405, "http_request_error"),
        ] {
            let answer = reply(&error, &stamps);
            assert_eq!(answer.status, status, "{error}");
            let headers = &answer.headers;
            assert_eq!(headers["proxy-status"], format!("switchback; error={said}"));
            assert_eq!(headers["content-type"], "application/problem+json");
            assert_eq!(headers["x-model-version"], "v2");
            assert_eq!(headers["x-request-id"], "id-1");
            assert_eq!(headers.has("retry-after"), status == 503 || status == 504);
        }
    }

    #[test]
    fn a_grpc_caller_learns_the_same_from_a_grpc_status() {
        let mut headers = Headers::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let speech = Speech::of("/inference.GRPCInferenceService/ModelInfer", &headers);
        let stamps = Stamps::none(Some(HeaderValue::from_static("id-1")), speech);
        for (error, status) in [
            (ProxyError::NoRoute, "12"),
            (ProxyError::Method, "12"),
            (ProxyError::Upstream(Class::ConnectError, "x"), "14"),
            (ProxyError::Upstream(Class::TimeoutConnect, "x"), "14"),
            (ProxyError::Upstream(Class::UpstreamReset, "x"), "14"),
            (ProxyError::Upstream(Class::TimeoutFirstByte, "x"), "4"),
            (ProxyError::Body(BodyError::TooLong(5)), "8"),
            (ProxyError::Full, "8"),
            (ProxyError::BadRequest("x"), "13"),
            (ProxyError::Internal, "13"),
        ] {
            let answer = reply(&error, &stamps);
            assert_eq!(answer.status, 200, "{error}");
            let headers = &answer.headers;
            assert_eq!(headers["grpc-status"], status, "{error}");
            assert_eq!(headers["grpc-message"], error.to_string());
            assert_eq!(headers["content-type"], "application/grpc");
            assert_eq!(headers["x-request-id"], "id-1");
            assert!(headers.has("proxy-status"));
        }
    }
}
