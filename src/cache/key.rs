//! What makes two requests the same question. Apart, because who may see whose answer is
//! decided here and nowhere else: every part goes into the digest with its length, so that
//! no two different requests can run into one key.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::policy::{Demand, Scope};

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
    pub headers: &'a HeaderMap,
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
    if name == "host"
        || ALWAYS.binary_search(&name).is_ok()
        || vary.iter().any(|v| v == name)
    {
        Cover::Always
    } else if SOMETIMES.contains(&name) {
        Cover::Exact
    } else {
        Cover::Never
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

/// Puts in the [`ALWAYS`] headers that are there, in the order of the list. One walk over
/// the request's headers finds them, instead of one look for each of the list.
fn always(parts: &mut Parts, headers: &HeaderMap) {
    let mut seen = 0_u64;
    for name in headers.keys() {
        if let Ok(at) = ALWAYS.binary_search(&name.as_str()) {
            seen |= 1 << at;
        }
    }
    for (at, name) in ALWAYS.iter().enumerate() {
        if seen & (1 << at) != 0 && !takes_anything(name, headers) {
            parts.put(name.as_bytes());
            parts.header(headers, name);
        }
    }
    // No header has the empty name.
    parts.put(b"");
}

/// `Accept: */*` says the same as no `Accept`, and some clients send it while others do
/// not.
fn takes_anything(name: &str, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(name).iter();
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
    fn header(&mut self, headers: &HeaderMap, name: &str) {
        let values = headers.get_all(name);
        self.count(values.iter().count());
        for value in values {
            self.put(value.as_bytes());
        }
    }

    fn digest(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// Headers that are in every key, whatever `vary` says: what an answer is made from or
/// spelled in, who is asking by other means than the default `vary`, and what servers are
/// known to reflect into answers without saying so. Sorted, at most 64.
const ALWAYS: [&str; 44] = [
    "accept",
    "accept-language",
    "anthropic-beta",
    "anthropic-version",
    "api-key",
    "content-encoding",
    "content-language",
    "content-type",
    "forwarded",
    "inference-header-content-length",
    "openai-beta",
    "openai-organization",
    "openai-project",
    "remote-user",
    "x-access-token",
    "x-amz-security-token",
    "x-auth-token",
    "x-authenticated-user",
    "x-client-cert",
    "x-consumer-id",
    "x-forwarded-client-cert",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-user",
    "x-goog-api-key",
    "x-goog-user-project",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-remote-user",
    "x-rewrite-url",
    "x-scope-orgid",
    "x-tenant-id",
    "x-user-id",
];

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
