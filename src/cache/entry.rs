//! One kept answer: whose it is, what it says, how long it may be served. Apart, because
//! it owns all of its bytes: nothing in it holds a read buffer of a connection.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{
    AGE, CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

use crate::vocab::ids::{Digest, Name, Slot};
use crate::vocab::time::Timestamp;
use crate::wire::Headers;

/// The very version that gave an answer. A later version that gets the same name, or the
/// same slot, is another source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: Name,
    /// What quarantine remembers of it.
    pub digest: Digest,
    /// Where its books are.
    pub slot: Slot,
}

/// A kept answer.
pub struct Entry {
    /// The version that gave it.
    pub source: Source,
    /// Its status.
    pub status: StatusCode,
    /// Its end-to-end headers, without length, age and what named one exchange.
    pub headers: Headers,
    /// Its whole body.
    pub body: Bytes,
    /// When its head arrived.
    pub stored: Timestamp,
    /// How old it was then, by its own `Age`.
    pub age: Duration,
    /// How old it may be and still count as fresh; zero when its source did not say.
    pub fresh: Duration,
    /// How long after `stored` it may be served.
    pub limit: Duration,
    /// Whether its source called it `public`.
    pub public: bool,
    /// A digest of the host, path and query that were asked: what a later change of the
    /// target is told by.
    pub target: u64,
}

impl Entry {
    /// How old the answer is, in the sense of `Age`.
    #[must_use]
    pub fn age_at(&self, now: Timestamp) -> Duration {
        self.age.saturating_add(now.since(self.stored))
    }

    /// Whether its time is over at `now`, `ttl` being the most that any answer is given.
    #[must_use]
    pub fn is_over(&self, now: Timestamp, ttl: Duration) -> bool {
        now.since(self.stored) >= self.limit.min(ttl)
    }

    /// What it takes in memory, in bytes, with what holds it in the store.
    #[must_use]
    pub fn weight(&self) -> usize {
        let texts: usize = self
            .headers
            .iter()
            .map(|(n, v)| n.as_str().len() + v.len() + PER_HEADER)
            .sum();
        size_of::<Self>() + PER_ENTRY + texts + self.body.len()
    }
}

/// Leaves out headers and body, which may be somebody's secrets.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("source", &self.source)
            .field("status", &self.status)
            .field("stored", &self.stored)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A copy, in one buffer of its own, of the headers that may be replayed.
pub(super) fn kept_headers(headers: &Headers) -> Headers {
    let named: Vec<&[u8]> = headers
        .values(CONNECTION)
        .flat_map(|line| line.as_bytes().split(|&b| b == b','))
        .map(<[u8]>::trim_ascii)
        .collect();
    let stays = |name: &HeaderName| {
        !is_dropped(name) && !named.iter().any(|n| n.eq_ignore_ascii_case(name.as_ref()))
    };
    let kept: Vec<(&HeaderName, &HeaderValue)> =
        headers.iter().filter(|(name, _)| stays(name)).collect();
    let mut text =
        BytesMut::with_capacity(kept.iter().map(|(_, value)| value.len()).sum());
    for (_, value) in &kept {
        text.extend_from_slice(value.as_bytes());
    }
    let mut text = text.freeze();
    let mut own = Headers::with_capacity(kept.len());
    for (name, value) in kept {
        let copy = text.split_to(value.len());
        // Both were a header's before and are so again.
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_str().as_bytes()),
            HeaderValue::from_maybe_shared(copy),
        ) {
            own.append(name, value);
        }
    }
    own
}

fn is_dropped(name: &HeaderName) -> bool {
    [&CONNECTION, &TE, &TRAILER, &TRANSFER_ENCODING, &UPGRADE, &CONTENT_LENGTH, &AGE]
        .contains(&name)
        || DROPPED.contains(&name.as_str())
        || DROPPED_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
}

/// What belongs to one connection or one exchange and would lie in another.
const DROPPED: [&str; 17] = [
    "alt-svc",
    "authentication-info",
    "keep-alive",
    "openai-processing-ms",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "proxy-status",
    "retry-after",
    "server-timing",
    "traceparent",
    "traceresponse",
    "tracestate",
    "x-model-version",
    "x-request-id",
    "x-response-time",
    "x-switchback-reason",
];

/// Families of the same kind.
const DROPPED_PREFIXES: [&str; 3] = ["ratelimit", "x-ratelimit-", "x-rollout-"];

/// A header beside its texts: its place in the list, and what a name and a shared value
/// allocate, rounded up.
const PER_HEADER: usize = 224;

/// An entry beside its own fields: reference counts, its places in map and queue with
/// their spare room, the headers of its two allocations.
const PER_ENTRY: usize = 384;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderName, HeaderValue, StatusCode};

    use super::{Entry, Source, kept_headers};
    use crate::vocab::ids::{Digest, Name, Slot};
    use crate::vocab::time::Timestamp;
    use crate::wire::Headers;

    fn map(lines: &[(&'static str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    #[test]
    fn only_what_is_true_in_another_exchange_is_kept() {
        let kept = kept_headers(&map(&[
            ("content-type", "application/json"),
            ("content-length", "7"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "timeout=5"),
            ("age", "9"),
            ("date", "Tue, 24 Nov 2026 21:05:58 GMT"),
            ("x-request-id", "abc"),
            ("x-ratelimit-remaining-tokens", "12"),
            ("server-timing", "a;dur=1"),
            ("x-model-version", "v1"),
            ("link", "<a>"),
            ("link", "<b>"),
            ("etag", "\"x\""),
            ("x-empty", ""),
        ]));
        let want = map(&[
            ("content-type", "application/json"),
            ("date", "Tue, 24 Nov 2026 21:05:58 GMT"),
            ("link", "<a>"),
            ("link", "<b>"),
            ("etag", "\"x\""),
            ("x-empty", ""),
        ]);
        assert_eq!(kept, want);
    }

    #[test]
    fn headers_do_not_hold_the_buffer_they_were_read_into() {
        let mut buffer = vec![b' '; 64 * 1024];
        buffer[..5].copy_from_slice(b"value");
        let whole = Bytes::from(buffer);
        let mut headers = Headers::new();
        let value = HeaderValue::from_maybe_shared(whole.slice(..5)).unwrap();
        headers.insert(HeaderName::from_static("x-custom"), value);
        let kept = kept_headers(&headers);
        drop(headers);
        assert!(whole.is_unique());
        assert_eq!(kept["x-custom"], "value");
    }

    #[test]
    fn an_entry_prints_without_what_it_says() {
        let entry = Entry {
            source: Source {
                name: Name::parse("v1").unwrap(),
                digest: Digest::new("v1"),
                slot: Slot::new(0).unwrap(),
            },
            status: StatusCode::OK,
            headers: map(&[("x-note", "secret-canary-string")]),
            body: Bytes::from_static(b"secret-canary-string"),
            stored: Timestamp(1_000),
            age: Duration::from_secs(5),
            fresh: Duration::ZERO,
            limit: Duration::from_secs(60),
            public: false,
            target: 0,
        };
        assert!(!format!("{entry:?}").contains("secret"));
        assert_eq!(entry.age_at(Timestamp(3_500)), Duration::from_millis(7_500));
        let (hour, ten) = (Duration::from_secs(3_600), Duration::from_secs(10));
        assert!(!entry.is_over(Timestamp(60_999), hour));
        assert!(entry.is_over(Timestamp(61_000), hour));
        assert!(entry.is_over(Timestamp(11_000), ten));
    }
}
