//! Why this proxy answers itself, with the status and the words for it.

use http::StatusCode;
use thiserror::Error;

use super::grpc::of_reset;
use crate::dialect::OwnError;
use crate::route::Standing;
use crate::vocab::outcome::Class;
use crate::vocab::time::Timestamp;
use crate::wire::BodyError;
use crate::wire::h1::HeadError;

/// A request that gets no version's answer.
#[derive(Clone, Debug, Error)]
pub(super) enum ProxyError {
    /// The head is not acceptable.
    #[error("{0}")]
    Head(HeadError),
    /// The request is not acceptable.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The method is not for proxies of this kind.
    #[error("the method is not allowed here")]
    Method,
    /// The expectation is not 100-continue.
    #[error("the expectation cannot be met")]
    Expectation,
    /// The head did not come in time.
    #[error("the request head did not come in time")]
    Late,
    /// No route wants it.
    #[error("no route matches the host, path and model of the request")]
    NoRoute,
    /// A demand for a version that may not be demanded; with those that may.
    #[error("the version that is demanded is none of those that may be: {0}")]
    Pin(String),
    /// A demand for a version that takes no requests.
    #[error("the version that is demanded takes no requests: it is {0}")]
    Out(Standing),
    /// The body failed on its way from the caller.
    #[error("{0}")]
    Body(BodyError),
    /// The version has as much in flight as it may.
    #[error("the version has as many requests in flight as it may")]
    Full,
    /// The version was drained, and the time for what was left on it is over.
    #[error("the version was taken out of service while it answered")]
    Cut,
    /// A WebSocket was asked of a version that is spoken to over HTTP/2 alone.
    #[error("the version has no WebSockets: it is spoken to over HTTP/2 alone")]
    NoWebSocket,
    /// The version failed.
    #[error("{1}")]
    Upstream(Class, &'static str),
    /// The version reset the stream, with that code of HTTP/2.
    #[error("the server reset the stream")]
    Reset(Option<u32>),
    /// What answered a gRPC call is no gRPC.
    #[error(
        "the server answered a gRPC call with something else: does it speak gRPC here?"
    )]
    NotGrpc,
    /// The caller's own time for it is over.
    #[error("the deadline of the call has passed")]
    Deadline,
    /// The tables changed faster than the request could be placed.
    #[error("the route table changed too often while the request was being placed")]
    Unsettled,
    /// No version of the route takes requests.
    #[error(
        "the route is read-only since {0}: only kept answers are given, no version is asked"
    )]
    ReadOnly(Timestamp),
    /// The route's traffic goes over to another version in steps, and this request is not
    /// among those that it can take yet.
    #[error(
        "the version that takes this route's traffic cannot take all of it yet: \
         requests are let through in steps"
    )]
    HeldBack,
    /// A defect of ours.
    #[error("an internal error")]
    Internal,
}

impl ProxyError {
    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Head(HeadError::TargetTooLong) => StatusCode::URI_TOO_LONG,
            Self::Head(HeadError::TooLarge) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::Head(HeadError::Version) => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Head(HeadError::Malformed | HeadError::Framing)
            | Self::BadRequest(_)
            | Self::Pin(_) => StatusCode::BAD_REQUEST,
            Self::Out(_) => StatusCode::CONFLICT,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Late | Self::Body(BodyError::Idle) => StatusCode::REQUEST_TIMEOUT,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Body(BodyError::TooLong(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::NoWebSocket => StatusCode::NOT_IMPLEMENTED,
            Self::Full
            | Self::Cut
            | Self::Unsettled
            | Self::ReadOnly(_)
            | Self::HeldBack => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream(class, _) => match class {
                Class::ConnectError => StatusCode::SERVICE_UNAVAILABLE,
                Class::TimeoutConnect
                | Class::TimeoutFirstByte
                | Class::TimeoutIdle
                | Class::TimeoutTotal => StatusCode::GATEWAY_TIMEOUT,
                Class::Upgraded
                | Class::Success
                | Class::Redirect
                | Class::ClientError
                | Class::TooManyRequests
                | Class::ServerError
                | Class::TlsError
                | Class::UpstreamReset
                | Class::Truncated
                | Class::StreamError
                | Class::EmptyStream
                | Class::ProtocolError
                | Class::Grpc(_)
                | Class::ClientCancelled
                | Class::Rejected => StatusCode::BAD_GATEWAY,
            },
            Self::Reset(_) | Self::NotGrpc => StatusCode::BAD_GATEWAY,
            Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error type of RFC 9209 section 2.3.
    pub(super) fn proxy_status(&self) -> &'static str {
        match self {
            Self::Head(_) | Self::BadRequest(_) | Self::Expectation | Self::Late => {
                "http_request_error"
            }
            Self::Method | Self::Body(_) | Self::Pin(_) => "http_request_error",
            Self::NoWebSocket => "http_upgrade_failed",
            Self::Out(_) => "destination_unavailable",
            Self::NoRoute => "destination_not_found",
            Self::Full | Self::HeldBack => "connection_limit_reached",
            Self::Cut | Self::Unsettled | Self::ReadOnly(_) => "proxy_internal_response",
            Self::Internal => "proxy_internal_error",
            Self::Reset(_) => "connection_terminated",
            Self::NotGrpc => "http_protocol_error",
            Self::Deadline => "http_response_timeout",
            Self::Upstream(class, _) => match class {
                Class::ConnectError => "connection_refused",
                Class::TlsError => "tls_protocol_error",
                Class::TimeoutConnect => "connection_timeout",
                Class::TimeoutFirstByte => "http_response_timeout",
                Class::TimeoutIdle => "connection_read_timeout",
                Class::TimeoutTotal => "http_response_timeout",
                Class::UpstreamReset => "connection_terminated",
                Class::Truncated => "http_response_incomplete",
                Class::Upgraded
                | Class::Success
                | Class::Redirect
                | Class::ClientError
                | Class::TooManyRequests
                | Class::ServerError
                | Class::StreamError
                | Class::EmptyStream
                | Class::ProtocolError
                | Class::Grpc(_)
                | Class::ClientCancelled
                | Class::Rejected => "http_protocol_error",
            },
        }
    }

    /// The status of gRPC that says it, as gRPC itself maps HTTP statuses
    /// (`http-grpc-status-mapping.md`), where a proxy does not know better.
    pub(super) fn grpc(&self) -> u8 {
        match self {
            Self::Full => RESOURCE_EXHAUSTED,
            Self::Reset(code) => of_reset(*code),
            Self::NotGrpc => UNKNOWN,
            // Nothing was asked yet: it may be asked again.
            Self::Upstream(Class::TimeoutConnect, _) => UNAVAILABLE,
            Self::Head(_)
            | Self::BadRequest(_)
            | Self::Method
            | Self::Expectation
            | Self::Late
            | Self::NoRoute
            | Self::Pin(_)
            | Self::Out(_)
            | Self::Body(_)
            | Self::NoWebSocket
            | Self::Cut
            | Self::Upstream(..)
            | Self::Deadline
            | Self::Unsettled
            | Self::ReadOnly(_)
            | Self::HeldBack
            | Self::Internal => match self.status().as_u16() {
                401 => UNAUTHENTICATED,
                403 => PERMISSION_DENIED,
                404 | 405 => UNIMPLEMENTED,
                409 => FAILED_PRECONDITION,
                408 | 504 => DEADLINE_EXCEEDED,
                413 | 429 | 431 => RESOURCE_EXHAUSTED,
                502 | 503 => UNAVAILABLE,
                _ => INTERNAL,
            },
        }
    }

    /// What a dialect makes its words of; `message` is the error's own text.
    pub(super) fn own<'a>(
        &self,
        message: &'a str,
        request_id: Option<&'a str>,
    ) -> OwnError<'a> {
        OwnError {
            status: self.status(),
            grpc: self.grpc(),
            code: self.proxy_status(),
            message,
            request_id,
        }
    }

    /// In how many seconds it may go better, if it may at all.
    pub(super) fn retry_after(&self) -> Option<&'static str> {
        match self.status() {
            // Nobody is back before its checks have been good for a while.
            _ if matches!(self, Self::ReadOnly(_) | Self::HeldBack) => Some("5"),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Some("1"),
            _ => None,
        }
    }
}

const UNKNOWN: u8 = 2;
const DEADLINE_EXCEEDED: u8 = 4;
const PERMISSION_DENIED: u8 = 7;
const RESOURCE_EXHAUSTED: u8 = 8;
const FAILED_PRECONDITION: u8 = 9;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;
const UNAUTHENTICATED: u8 = 16;

/// The class of a body of an answer that failed.
pub(super) fn class_of(error: &BodyError) -> Class {
    match error {
        BodyError::Truncated => Class::Truncated,
        BodyError::Malformed => Class::ProtocolError,
        BodyError::TooLong(_) | BodyError::Cut => Class::Rejected,
        BodyError::Idle => Class::TimeoutIdle,
        BodyError::Total => Class::TimeoutTotal,
        BodyError::Reset(_) | BodyError::Io(_) => Class::UpstreamReset,
        BodyError::Quiet | BodyError::Withdrawn(_) => Class::ClientCancelled,
    }
}
