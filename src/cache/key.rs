//! What makes two requests the same question. Apart, because who may see whose answer is
//! decided here and nowhere else: every part goes into the digest with its length, so that
//! no two different requests can run into one key.

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, Method};

use super::policy::{Demand, Scope};
use crate::wire::Headers;

/// What the key needs to know of a request, as it arrived: before this proxy stamps
/// headers of its own on it.
#[derive(Clone, Copy)]
pub struct RequestFacts<'a> {
    /// The method.
    pub method: &'a Method,
    /// Host and port as the request names them.
    pub host: &'a str,
    /// The path, neither decoded nor normalised.
    pub path: &'a str,
    /// What follows the `?`, if there is one.
    pub query: Option<&'a str>,
    /// All headers.
    pub headers: &'a Headers,
}

/// Leaves out host, query and headers, which may tell who asked what.
impl fmt::Debug for RequestFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestFacts")
            .field("method", self.method)
            .finish_non_exhaustive()
    }
}

/// A request whose answer may be kept or come from what was kept, before its body is
/// known.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    head: Key,
    demand: Demand,
    mark: u64,
    target: u64,
}

impl Pending {
    /// The pending question of a request that `demand` was read from; `mark` is the number
    /// of purges before it began.
    pub(super) fn new(
        scope: Scope<'_>,
        facts: &RequestFacts<'_>,
        demand: Demand,
        mark: u64,
    ) -> Self {
        Self { head: head(scope, facts), demand, mark, target: target(facts) }
    }

    /// The whole question, once all chunks of the request's body are there. Where they
    /// were cut makes no difference.
    #[must_use]
    pub fn question(&self, body: &[Bytes]) -> Question {
        let mut digest = blake3::Hasher::new();
        for chunk in body {
            digest.update(chunk);
        }
        let body = digest.finalize();
        let with_body = |head: &[u8; 32]| {
            let mut parts = Parts::new(b"question");
            parts.put(head);
            parts.put(body.as_bytes());
            parts.digest()
        };
        let key =
            Key { any: with_body(&self.head.any), exact: with_body(&self.head.exact) };
        Question { key, demand: self.demand, mark: self.mark, target: self.target }
    }
}

/// A request whose answer may be kept or come from what was kept.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// What it has in common with every request that may share its answer.
    pub key: Key,
    /// What it says about answers from a cache.
    pub(super) demand: Demand,
    /// How many purges there had been when it began.
    pub(super) mark: u64,
    /// What was asked, without who asked and how.
    pub(super) target: u64,
}

/// Two digests of a request. Answers that depend on some client headers (`SOMETIMES`) are
/// kept under `exact`, which has them all; the rest under `any`, which has none.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) any: [u8; 32],
    pub(super) exact: [u8; 32],
}

/// The first bytes only: enough to tell two keys apart in a log, too few to guess the
/// request from.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.any;
        write!(f, "Key({a:02x}{b:02x}{c:02x}{d:02x})")
    }
}

/// A digest of the target: host, path and query.
pub(super) fn target(facts: &RequestFacts<'_>) -> u64 {
    let mut parts = Parts::new(b"target");
    parts.put(facts.host.as_bytes());
    parts.put(facts.path.as_bytes());
    parts.count(usize::from(facts.query.is_some()));
    parts.put(facts.query.unwrap_or_default().as_bytes());
    let [a, b, c, d, e, f, g, h, ..] = parts.digest();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Whether the answer's `Vary` may name this header, and which digest has it.
pub(super) fn cover(name: &str, vary: &[String]) -> Cover {
    if name == "host" || vary.iter().any(|v| v == name) {
        Cover::Always
    } else if SOMETIMES.contains(&name) {
        Cover::Exact
    } else if name == "*" || is_left_out(name) || OF_CALLERS.contains(&name) {
        Cover::Never
    } else {
        Cover::Always
    }
}

/// Which digest has a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// Both.
    Always,
    /// Only the exact one.
    Exact,
    /// None.
    Never,
}

fn head(scope: Scope<'_>, facts: &RequestFacts<'_>) -> Key {
    let mut parts = Parts::new(b"head");
    parts.put(scope.route.as_str().as_bytes());
    parts.put(facts.method.as_str().as_bytes());
    parts.put(facts.host.as_bytes());
    parts.put(facts.path.as_bytes());
    parts.count(usize::from(facts.query.is_some()));
    parts.put(facts.query.unwrap_or_default().as_bytes());
    always(&mut parts, facts.headers);
    parts.count(scope.policy.vary.len());
    for name in &scope.policy.vary {
        parts.put(name.as_bytes());
        parts.header(facts.headers, name);
    }
    let any = parts.digest();
    let mut parts = Parts::new(b"exact");
    parts.put(&any);
    for name in SOMETIMES {
        parts.header(facts.headers, name);
    }
    Key { any, exact: parts.digest() }
}

/// Puts in every header but those that are left out, in the order of their names: what an
/// answer depends on is not always said in its `Vary`.
fn always(parts: &mut Parts, headers: &Headers) {
    let mut names: Vec<&str> = headers
        .names()
        .map(HeaderName::as_str)
        .filter(|name| {
            let other = SOMETIMES.contains(name) || OF_CALLERS.contains(name);
            !other && !is_left_out(name) && !takes_anything(name, headers)
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        parts.put(name.as_bytes());
        parts.header(headers, name);
    }
    // No header has the empty name.
    parts.put(b"");
}

/// Whether a header names one exchange, or says how to reach an answer and not which.
fn is_left_out(name: &str) -> bool {
    LEFT_OUT.binary_search(&name).is_ok()
        || LEFT_OUT_UNDER.iter().any(|start| name.starts_with(start))
}

/// `Accept: */*` says the same as no `Accept`, and some clients send it while others do
/// not.
fn takes_anything(name: &str, headers: &Headers) -> bool {
    let mut values = headers.values(name);
    name == "accept" && values.all(|value| value.as_bytes() == b"*/*")
}

/// A digest over parts that each begin with their length.
struct Parts(blake3::Hasher);

impl Parts {
    fn new(kind: &[u8]) -> Self {
        let mut parts = Self(blake3::Hasher::new());
        parts.put(kind);
        parts
    }

    fn count(&mut self, number: usize) {
        self.0.update(&(number as u64).to_le_bytes());
    }

    fn put(&mut self, part: &[u8]) {
        self.count(part.len());
        self.0.update(part);
    }

    /// All values in order after their number, so that absent, empty and doubled differ.
    fn header(&mut self, headers: &Headers, name: &str) {
        let values = headers.values(name);
        self.count(values.clone().count());
        for value in values {
            self.put(value.as_bytes());
        }
    }

    fn digest(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// Headers that tell callers apart and are in the key by the route's `vary` alone, so that
/// whoever wants answers to be shared can say so.
const OF_CALLERS: [&str; 4] = ["authorization", "cookie", "x-api-key", "x-tenant"];

/// Headers that are in no key: names of one exchange, what was said to caches on the way,
/// conditions on what the caller has, and what chooses a version, which an entry has itself.
/// Sorted.
const LEFT_OUT: [&str; 29] = [
    "b3",
    "baggage",
    "cache-control",
    "canary",
    "content-length",
    "date",
    "dnt",
    "host",
    "idempotency-key",
    "if-modified-since",
    "if-none-match",
    "pragma",
    "priority",
    "sentry-trace",
    "te",
    "traceparent",
    "tracestate",
    "uber-trace-id",
    "via",
    "x-amzn-trace-id",
    "x-canary",
    "x-cloud-trace-context",
    "x-correlation-id",
    "x-model-pin",
    "x-request-id",
    "x-request-start",
    "x-stainless-retry-count",
    "x-stainless-timeout",
    "x-trace-id",
];

/// The same for families of names.
const LEFT_OUT_UNDER: [&str; 2] = ["x-b3-", "x-datadog-"];

/// Headers that differ between clients and seldom matter: in the key of those answers only
/// that say, or show, that they depend on them.
const SOMETIMES: [&str; 6] = [
    "accept-charset",
    "accept-encoding",
    "origin",
    "sec-fetch-mode",
    "sec-fetch-site",
    "user-agent",
];

#[cfg(test)]
#[path = "tests/key.rs"]
mod tests;
