//! How a request to one version ended, and whose doing it was.
//!
//! This table *is* the error rate: what [`Class::is_failure`] says is what rolls a version
//! back. The classes are those of OpenTelemetry's `error.type` as the field uses them, plus
//! the classes of good answers.

use std::fmt;

use serde::{Serialize, Serializer};

/// Whose doing an outcome was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Nobody's: it went well.
    None,
    /// The caller's: a bad request, or it hung up.
    Client,
    /// The version's.
    Upstream,
    /// This proxy's: it refused or shed the request.
    Ours,
}

/// How one request to one version ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// 101: the connection was upgraded.
    Upgraded,
    /// 2xx.
    Success,
    /// 3xx.
    Redirect,
    /// 4xx but 429.
    ClientError,
    /// 429 from the version.
    TooManyRequests,
    /// 5xx from the version.
    ServerError,
    /// No connection: refused, unreachable, no such name, no endpoint.
    ConnectError,
    /// The TLS handshake failed.
    TlsError,
    /// `timeouts.connect` passed.
    TimeoutConnect,
    /// `timeouts.firstByte` passed.
    TimeoutFirstByte,
    /// `timeouts.idle` passed in the middle of an answer.
    TimeoutIdle,
    /// `timeouts.total` passed.
    TimeoutTotal,
    /// The connection was reset or closed before an answer.
    UpstreamReset,
    /// The answer ended before its own length or last chunk.
    Truncated,
    /// A stream reported an error inside itself.
    StreamError,
    /// A stream ended without content.
    EmptyStream,
    /// Not HTTP, or HTTP with contradictions.
    ProtocolError,
    /// A gRPC status from 1 to 16.
    Grpc(u8),
    /// The caller hung up first.
    ClientCancelled,
    /// Refused here before any version was asked.
    Rejected,
}

impl Class {
    /// How many classes there are; [`Class::index`] is below it.
    pub const COUNT: usize = PLAIN.len() + GRPC_NAMES.len();

    /// The class of an HTTP status that came from a version.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            101 => Self::Upgraded,
            0..=299 => Self::Success,
            300..=399 => Self::Redirect,
            429 => Self::TooManyRequests,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }

    /// The class of a gRPC status: 0 is success, what is no known code is 2 (`UNKNOWN`).
    #[must_use]
    pub fn of_grpc(code: u32) -> Self {
        match u8::try_from(code) {
            Ok(0) => Self::Success,
            Ok(code @ 1..=16) => Self::Grpc(code),
            _ => Self::Grpc(2),
        }
    }

    /// Whose doing it was.
    #[must_use]
    pub fn blame(self) -> Blame {
        match self {
            Self::Upgraded | Self::Success | Self::Redirect => Blame::None,
            Self::ClientError | Self::ClientCancelled => Blame::Client,
            // By the status table of gRPC: what the caller asked for was wrong, or it gave up.
            Self::Grpc(1 | 3 | 5 | 6 | 7 | 9 | 11 | 16) => Blame::Client,
            Self::Rejected => Blame::Ours,
            Self::TooManyRequests
            | Self::ServerError
            | Self::ConnectError
            | Self::TlsError
            | Self::TimeoutConnect
            | Self::TimeoutFirstByte
            | Self::TimeoutIdle
            | Self::TimeoutTotal
            | Self::UpstreamReset
            | Self::Truncated
            | Self::StreamError
            | Self::EmptyStream
            | Self::ProtocolError
            | Self::Grpc(_) => Blame::Upstream,
        }
    }

    /// Whether it counts against the version's error rate.
    #[must_use]
    pub fn is_failure(self) -> bool {
        self.blame() == Blame::Upstream
    }

    /// Whether it says anything about the version at all: a caller that hung up and a
    /// request that was refused here are neither success nor failure.
    #[must_use]
    pub fn is_evidence(self) -> bool {
        !matches!(self, Self::ClientCancelled | Self::Rejected)
    }

    /// The class's number, below [`Class::COUNT`]; all numbers are used.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Grpc(code) => PLAIN.len() + usize::from(code.clamp(1, 16)) - 1,
            Self::Upgraded => 0,
            Self::Success => 1,
            Self::Redirect => 2,
            Self::ClientError => 3,
            Self::TooManyRequests => 4,
            Self::ServerError => 5,
            Self::ConnectError => 6,
            Self::TlsError => 7,
            Self::TimeoutConnect => 8,
            Self::TimeoutFirstByte => 9,
            Self::TimeoutIdle => 10,
            Self::TimeoutTotal => 11,
            Self::UpstreamReset => 12,
            Self::Truncated => 13,
            Self::StreamError => 14,
            Self::EmptyStream => 15,
            Self::ProtocolError => 16,
            Self::ClientCancelled => 17,
            Self::Rejected => 18,
        }
    }

    /// Every class, in the order of [`Class::index`].
    pub fn all() -> impl Iterator<Item = Self> {
        let grpc = (1..=16).map(Self::Grpc);
        PLAIN.iter().map(|(class, _)| *class).chain(grpc)
    }

    /// The value of the `class` label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let index = self.index();
        match PLAIN.get(index) {
            Some((_, name)) => name,
            None => GRPC_NAMES[index - PLAIN.len()],
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// As the word of [`Class::as_str`].
impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

const PLAIN: [(Class, &str); 19] = [
    (Class::Upgraded, "1xx"),
    (Class::Success, "2xx"),
    (Class::Redirect, "3xx"),
    (Class::ClientError, "4xx"),
    (Class::TooManyRequests, "429"),
    (Class::ServerError, "5xx"),
    (Class::ConnectError, "connect_error"),
    (Class::TlsError, "tls_error"),
    (Class::TimeoutConnect, "timeout_connect"),
    (Class::TimeoutFirstByte, "timeout_first_byte"),
    (Class::TimeoutIdle, "timeout_idle"),
    (Class::TimeoutTotal, "timeout_total"),
    (Class::UpstreamReset, "upstream_reset"),
    (Class::Truncated, "truncated"),
    (Class::StreamError, "stream_error"),
    (Class::EmptyStream, "empty_stream"),
    (Class::ProtocolError, "protocol_error"),
    (Class::ClientCancelled, "client_cancelled"),
    (Class::Rejected, "rejected_by_proxy"),
];

const GRPC_NAMES: [&str; 16] = [
    "grpc_1", "grpc_2", "grpc_3", "grpc_4", "grpc_5", "grpc_6", "grpc_7", "grpc_8",
    "grpc_9", "grpc_10", "grpc_11", "grpc_12", "grpc_13", "grpc_14", "grpc_15",
    "grpc_16",
];

#[cfg(test)]
mod tests {
    use super::{Blame, Class};

    #[test]
    fn every_class_has_its_own_number_and_word() {
        let all: Vec<Class> = Class::all().collect();
        assert_eq!(all.len(), Class::COUNT);
        for (number, class) in all.iter().enumerate() {
            assert_eq!(class.index(), number, "{class}");
        }
        let words: std::collections::HashSet<_> =
            all.iter().map(|c| c.as_str()).collect();
        assert_eq!(words.len(), Class::COUNT);
    }

    #[test]
    fn only_the_versions_own_failures_count_against_it() {
        for status in [500, 502, 503, 599, 429] {
            assert!(Class::of_status(status).is_failure(), "{status}");
        }
        for status in [101, 200, 204, 304, 400, 404, 422] {
            assert!(!Class::of_status(status).is_failure(), "{status}");
        }
        assert!(Class::Truncated.is_failure());
        assert!(!Class::ClientCancelled.is_failure());
        assert!(!Class::ClientCancelled.is_evidence());
        assert_eq!(Class::Rejected.blame(), Blame::Ours);
    }

    #[test]
    fn grpc_statuses_are_told_apart() {
        assert_eq!(Class::of_grpc(0), Class::Success);
        assert_eq!(Class::of_grpc(14).as_str(), "grpc_14");
        assert!(Class::of_grpc(14).is_failure());
        assert!(!Class::of_grpc(3).is_failure(), "INVALID_ARGUMENT is the caller's");
        assert_eq!(Class::of_grpc(99), Class::Grpc(2));
    }
}
