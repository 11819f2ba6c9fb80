//! The one table from [`ProxyError`] to an answer of our own: no other file writes a 4xx or
//! a 5xx.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::error::ProxyError;
use super::ids::X_REQUEST_ID;
use super::outgoing::Outgoing;

/// What our own answers say beside the error.
#[derive(Clone, Debug)]
pub(super) struct Stamps {
    /// The version asked last, or `none`.
    pub(super) version: HeaderValue,
    /// The request's id.
    pub(super) id: Option<HeaderValue>,
    /// Why the request went where it went.
    pub(super) reason: Option<&'static str>,
}

impl Stamps {
    /// For a request that got no further than its head.
    pub(super) fn none(id: Option<HeaderValue>) -> Self {
        Self { version: HeaderValue::from_static("none"), id, reason: None }
    }
}

/// The answer to a request that no version answers.
pub(super) fn reply(error: &ProxyError, stamps: &Stamps) -> Response<Outgoing> {
    let status = error.status();
    let id = stamps.id.as_ref().and_then(|id| id.to_str().ok());
    let problem = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": error.to_string(),
        "requestId": id,
    });
    let mut answer = Response::new(Outgoing::own(Bytes::from(problem.to_string())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
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
    stamp(headers, stamps);
    answer
}

/// Sets the fields that every answer has.
pub(super) fn stamp(headers: &mut http::HeaderMap, stamps: &Stamps) {
    headers.insert(X_MODEL_VERSION, stamps.version.clone());
    if let Some(id) = &stamps.id {
        headers.insert(X_REQUEST_ID, id.clone());
    }
    if let Some(reason) = stamps.reason {
        headers.insert(X_SWITCHBACK_REASON, HeaderValue::from_static(reason));
    }
}

const X_MODEL_VERSION: HeaderName = HeaderName::from_static("x-model-version");
const X_SWITCHBACK_REASON: HeaderName = HeaderName::from_static("x-switchback-reason");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::{Stamps, reply};
    use crate::proxy::error::ProxyError;
    use crate::vocab::outcome::Class;
    use crate::wire::BodyError;

    #[test]
    fn every_error_says_who_failed_and_how() {
        let stamps = Stamps {
            version: HeaderValue::from_static("v2"),
            id: Some(HeaderValue::from_static("id-1")),
            reason: Some("rescue"),
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
            assert_eq!(answer.status(), status, "{error}");
            let headers = answer.headers();
            assert_eq!(headers["proxy-status"], format!("switchback; error={said}"));
            assert_eq!(headers["content-type"], "application/problem+json");
            assert_eq!(headers["x-model-version"], "v2");
            assert_eq!(headers["x-request-id"], "id-1");
            assert_eq!(
                headers.contains_key("retry-after"),
                status == 503 || status == 504
            );
        }
    }
}
