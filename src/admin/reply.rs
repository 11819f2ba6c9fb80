//! Answers of the operators' side, and the one table from what went wrong to a status.
//!
//! Apart so that no handler chooses a status or writes a header. Errors are
//! `application/problem+json`; nothing of a request is repeated but through the JSON
//! encoder.

use std::convert::Infallible;
use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use thiserror::Error;

use super::auth::Refusal;
use super::wire::{Problem, ReasonError, ShareError};
use crate::control::OrderError;
use crate::vocab::ids::NameError;

/// An answer: whole and small, or a stream of events.
pub(super) type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Why a request of an operator is not carried out.
#[derive(Debug, Error)]
pub(super) enum AdminError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("there is nothing at this path")]
    NoPath,
    #[error("this path answers to {0} only")]
    Method(&'static str),
    #[error("the request's target must be a path")]
    Target,
    #[error("this path takes no query")]
    Query,
    #[error("the body is larger than {0} bytes")]
    LargeBody(usize),
    #[error("the body did not come within {0:?}")]
    SlowBody(Duration),
    #[error("the body broke off")]
    BrokenBody,
    #[error("the body is not what this path takes: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Share(#[from] ShareError),
    #[error(transparent)]
    Reason(#[from] ReasonError),
    #[error("there is no route {0}")]
    NoRoute(String),
    #[error("route {0} has no version {1}")]
    NoVersion(String, String),
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error("the control loop did not answer within {0:?}")]
    Late(Duration),
    #[error("{0} is not built yet")]
    NotBuilt(String),
    #[error("nobody is named who could have ordered this")]
    Nobody,
    #[error("Last-Event-ID must be the number of an event")]
    EventId,
    #[error("there are {0} event streams already: end one")]
    Streams(usize),
    #[error("{0}")]
    NoIncident(String),
    #[error("the failure analysis cannot be read: {0}")]
    Unreadable(std::io::Error),
}

impl AdminError {
    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Refused(Refusal::Host | Refusal::Origin | Refusal::Role { .. })
            | Self::Nobody => StatusCode::FORBIDDEN,
            Self::Refused(Refusal::NoToken | Refusal::WrongToken) => {
                StatusCode::UNAUTHORIZED
            }
            Self::Refused(Refusal::TooManyWrong | Refusal::TooFast(_)) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::NoPath
            | Self::NoRoute(_)
            | Self::NoVersion(..)
            | Self::NoIncident(_)
            | Self::Order(OrderError::Unknown(_)) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::LargeBody(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowBody(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Target
            | Self::Query
            | Self::BrokenBody
            | Self::Json(_)
            | Self::Name(_)
            | Self::Share(_)
            | Self::EventId
            | Self::Reason(_) => StatusCode::BAD_REQUEST,
            Self::Order(OrderError::Refused(_)) => StatusCode::CONFLICT,
            Self::Order(
                OrderError::Busy | OrderError::Gone | OrderError::Unrecorded(_),
            )
            | Self::Late(_)
            | Self::Streams(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreadable(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotBuilt(_) | Self::Order(OrderError::NotAvailable(_)) => {
                StatusCode::NOT_IMPLEMENTED
            }
        }
    }

    /// The header that the status asks for.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        if let Self::Method(allow) = self {
            return Some((ALLOW, HeaderValue::from_static(allow)));
        }
        if matches!(self, Self::Refused(Refusal::NoToken | Refusal::WrongToken)) {
            return Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        self.wait().map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds)))
    }

    /// So many seconds later it may be otherwise.
    fn wait(&self) -> Option<u64> {
        if let Self::Refused(Refusal::TooFast(wait)) = self {
            return Some(wait.as_secs().max(1));
        }
        let soon = matches!(
            self,
            Self::Refused(Refusal::TooManyWrong) | Self::Order(OrderError::Busy)
        );
        if soon { Some(1) } else { matches!(self, Self::Streams(_)).then_some(5) }
    }

    /// Why, without anything of the body.
    pub(super) fn for_records(&self) -> String {
        if matches!(self, Self::Json(_)) {
            return "the body is not what this path takes".to_owned();
        }
        self.to_string()
    }

    /// Whether somebody tried a credential that is none.
    pub(super) fn is_a_guess(&self) -> bool {
        matches!(self, Self::Refused(Refusal::WrongToken | Refusal::TooManyWrong))
    }
}

/// An error as an answer.
pub(super) fn problem(error: &AdminError) -> Reply {
    let status = error.status();
    let mut reply = encode(
        "application/problem+json",
        &Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: error.to_string(),
        },
    );
    *reply.status_mut() = status;
    if let Some((name, value)) = error.header() {
        reply.headers_mut().insert(name, value);
    }
    reply
}

/// A value as an answer.
pub(super) fn json<T: Serialize>(value: &T) -> Reply {
    encode("application/json", value)
}

/// Metrics as Prometheus takes them.
pub(super) fn metrics(text: String) -> Reply {
    whole("text/plain; version=0.0.4; charset=utf-8", text)
}

/// A word for a probe.
pub(super) fn word(status: StatusCode, word: impl Display) -> Reply {
    let mut reply = whole("text/plain; charset=utf-8", format!("{word}\n"));
    *reply.status_mut() = status;
    reply
}

fn encode<T: Serialize>(kind: &'static str, value: &T) -> Reply {
    match serde_json::to_vec(value) {
        Ok(mut body) => {
            body.push(b'\n');
            whole(kind, body)
        }
        Err(err) => word(StatusCode::INTERNAL_SERVER_ERROR, err),
    }
}

fn whole(kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()).boxed_unsync());
    dress(&mut reply, kind);
    reply
}

/// Bytes of that type, which a browser may show but not run.
pub(super) fn document(kind: &'static str, bytes: Vec<u8>) -> Reply {
    let mut reply = whole(kind, bytes);
    reply.headers_mut().insert(CONTENT_SECURITY_POLICY, INERT);
    reply
}

/// The headers of every answer.
pub(super) fn dress(reply: &mut Reply, kind: &'static str) {
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

const INERT: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");
