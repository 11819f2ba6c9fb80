//! `Failure`: an attempt that came to no answer, with its class in the version's books, the
//! words for the caller, and what is left of the request.

use super::error::ProxyError;
use super::grpc::{Call, is_in};
use crate::tls;
use crate::upstream::ConnectError;
use crate::vocab::outcome::Class;
use crate::vocab::policy::FailureSet;
use crate::wire::Body;
use crate::wire::BodyError;
use crate::wire::StreamFault;
use crate::wire::h1::ExchangeError;

/// A version that gave no head of an answer.
#[derive(Debug)]
pub(super) struct Failure {
    /// How the attempt ended, in the version's books.
    pub(super) class: Class,
    /// What the caller is told when nobody else answers.
    pub(super) error: ProxyError,
    /// The request's body, to be sent again; `None` when it is gone.
    pub(super) body: Option<Body>,
    /// Nothing of the request can have reached the version.
    pub(super) unsent: bool,
    /// A connection that had been used before died without one byte of an answer.
    pub(super) stale: bool,
}

impl Failure {
    /// Whether the failure is of one of these kinds.
    pub(super) fn is_of(&self, set: &FailureSet) -> bool {
        match self.class {
            Class::ConnectError | Class::TlsError | Class::TimeoutConnect => set.connect,
            Class::UpstreamReset | Class::ProtocolError => set.reset,
            Class::TimeoutFirstByte | Class::TimeoutIdle | Class::TimeoutTotal => {
                set.timeout
            }
            Class::Truncated | Class::StreamError | Class::EmptyStream => {
                set.stream_error
            }
            // Too much in flight, or the version was taken out of service: anybody else may
            // be asked.
            Class::Rejected => matches!(self.error, ProxyError::Full | ProxyError::Cut),
            Class::Upgraded
            | Class::Success
            | Class::Redirect
            | Class::ClientError
            | Class::TooManyRequests
            | Class::ServerError
            | Class::ClientCancelled => false,
            Class::Grpc(_) => is_in(set, self.class),
        }
    }

    /// The version has as much in flight as it may.
    pub(super) fn full(body: Body) -> Self {
        let (class, error) = (Class::Rejected, ProxyError::Full);
        Self { class, error, body: Some(body), unsent: true, stale: false }
    }

    /// The answer was good so far and then failed, before any of it had been sent on.
    pub(super) fn of_body(class: Class, body: Option<Body>) -> Self {
        let error = ProxyError::Upstream(class, "the answer was cut short");
        Self { class, error, body, unsent: false, stale: false }
    }

    pub(super) fn connect(error: &ConnectError, body: Option<Body>) -> Self {
        let (class, text) = match error {
            // A shortage of ours, and nothing that the version has done.
            ConnectError::Failed(_, error) if is_out_of_descriptors(error) => {
                let (class, error) = (Class::Rejected, ProxyError::Full);
                return Self { class, error, body, unsent: true, stale: false };
            }
            ConnectError::Failed(..) => {
                (Class::ConnectError, "the server cannot be reached")
            }
            ConnectError::Tls(..) => {
                (Class::TlsError, "the handshake with the server failed")
            }
            ConnectError::Late(_) => {
                (Class::TimeoutConnect, "the server cannot be reached in time")
            }
            // A bound of ours, and nothing that the version has done.
            ConnectError::Busy(_) => {
                let (class, error) = (Class::Rejected, ProxyError::Full);
                return Self { class, error, body, unsent: true, stale: false };
            }
            ConnectError::Nowhere => (Class::ConnectError, "the version has no server"),
        };
        tracing::debug!(%error, "a version could not be reached");
        let error = ProxyError::Upstream(class, text);
        Self { class, error, body, unsent: true, stale: false }
    }

    /// The server ended the connection by an alert of TLS, as one does that does not like
    /// our certificate: it has not looked at the request.
    pub(super) fn refused(body: Option<Body>) -> Self {
        let class = Class::TlsError;
        let error = ProxyError::Upstream(class, "the server refused the handshake");
        Self { class, error, body, unsent: true, stale: false }
    }

    pub(super) fn exchange(
        error: ExchangeError,
        body: Option<Body>,
        stale: bool,
    ) -> Self {
        let (class, text) = match error {
            ExchangeError::Caller(error) => return Self::caller(error),
            ExchangeError::Silent(Some(error)) if tls::is_alert(&error) => {
                return Self::refused(body);
            }
            ExchangeError::Silent(_) => (
                Class::UpstreamReset,
                "the server closed the connection without an answer",
            ),
            ExchangeError::Partial => (
                Class::UpstreamReset,
                "the server closed the connection within its answer's head",
            ),
            ExchangeError::Malformed(_) => {
                (Class::ProtocolError, "the server's answer is not valid HTTP")
            }
            ExchangeError::FirstByte => {
                (Class::TimeoutFirstByte, "the server did not answer in time")
            }
            ExchangeError::Idle => {
                (Class::TimeoutIdle, "the server did not take the request in time")
            }
            ExchangeError::Total => {
                (Class::TimeoutTotal, "the time for the request is over")
            }
        };
        let error = ProxyError::Upstream(class, text);
        Self { class, error, body, unsent: false, stale }
    }

    pub(super) fn caller(error: BodyError) -> Self {
        let class = match error {
            BodyError::TooLong(_) | BodyError::Malformed => Class::Rejected,
            BodyError::Truncated
            | BodyError::Idle
            | BodyError::Total
            | BodyError::Cut
            | BodyError::Reset(_)
            | BodyError::Quiet
            | BodyError::Withdrawn(_)
            | BodyError::Io(_) => Class::ClientCancelled,
        };
        let error = ProxyError::Body(error);
        Self { class, error, body: None, unsent: false, stale: false }
    }

    /// A WebSocket was asked of a version that has none to give.
    pub(super) fn no_websocket(body: Body) -> Self {
        let (class, error) = (Class::Rejected, ProxyError::NoWebSocket);
        Self { class, error, body: Some(body), unsent: true, stale: false }
    }

    /// A server's side of an HTTP/2 exchange ended before a head.
    pub(super) fn stream(fault: StreamFault, body: Option<Body>) -> Self {
        let (class, error) = (Class::UpstreamReset, ProxyError::Reset(fault.code));
        Self { class, error, body, unsent: fault.unprocessed, stale: false }
    }

    /// What answered a call is no gRPC.
    pub(super) fn not_grpc(body: Option<Body>) -> Self {
        let (class, error) = (Class::of_grpc(2), ProxyError::NotGrpc);
        Self { class, error, body, unsent: false, stale: false }
    }

    /// The answer to a call broke off before any of it had been sent on.
    pub(super) fn of_call(call: Call, error: &BodyError) -> Self {
        let class = call.class_of(error);
        Self::of_body(class, None).unless_late(Some(call))
    }

    /// The same failure, unless it is only that the caller waits no longer: that is not the
    /// version's by itself. What is long to wait for, the watch over its answers decides.
    pub(super) fn unless_late(self, call: Option<Call>) -> Self {
        let timeout = matches!(self.class, Class::TimeoutTotal | Class::ClientCancelled);
        if timeout && call.is_some_and(|call| call.is_late()) {
            let (class, error) = (Class::ClientCancelled, ProxyError::Deadline);
            return Self { class, error, ..self };
        }
        self
    }

    pub(super) fn protocol(body: Option<Body>) -> Self {
        let class = Class::ProtocolError;
        let error = ProxyError::Upstream(class, "the server's answer is not valid HTTP");
        Self { class, error, body, unsent: false, stale: false }
    }

    pub(super) fn cut(body: Option<Body>) -> Self {
        let (class, error) = (Class::Rejected, ProxyError::Cut);
        Self { class, error, body, unsent: false, stale: false }
    }
}

/// `EMFILE` and `ENFILE`: this process or the system has no file descriptor left.
fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23))
}
