//! What may be kept, for how long, and who may be answered with it. Apart, because this is
//! RFC 9111 read with one question in mind: may this answer be given, stale, to somebody
//! when nobody else can answer? Every doubt is a no.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, DATE, EXPIRES, HeaderName, IF_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, PRAGMA, RANGE, SET_COOKIE, TRAILER, UPGRADE, VARY,
};
use http::{Method, StatusCode};
use thiserror::Error;

use super::directives::{Directives, digits};
use super::entry::{Entry, Source};
use super::key::{Cover, RequestFacts, cover};
use crate::vocab::ids::Name;
use crate::vocab::policy::CachePolicy;
use crate::vocab::time::Timestamp;
use crate::wire::Headers;

/// A route that has opted in, and what it says about the cache.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Its name.
    pub route: &'a Name,
    /// Its policy, from the same table as the rest of the request's.
    pub policy: &'a CachePolicy,
}

/// The head of an answer that may be kept.
#[derive(Clone, Copy)]
pub struct AnswerFacts<'a> {
    /// The version that gave it.
    pub source: &'a Source,
    /// Its status.
    pub status: StatusCode,
    /// Its headers as they came from the version.
    pub headers: &'a Headers,
    /// When they came.
    pub now: Timestamp,
}

/// Leaves out the headers.
impl std::fmt::Debug for AnswerFacts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerFacts")
            .field("source", self.source)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Why an answer is not kept.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Why {
    /// Only a whole, good answer is worth keeping.
    #[error("status {0} is not 200")]
    Status(u16),
    /// It is a piece of something.
    #[error("the answer has a content-range")]
    Piece,
    /// It says so.
    #[error("cache-control forbids it: {0}")]
    Forbidden(&'static str),
    /// It is for one caller.
    #[error("the answer sets a cookie")]
    Cookie,
    /// It is a stream of events or calls.
    #[error("answers of type {0} are not kept")]
    Stream(&'static str),
    /// It has fields after its body that a replay would lose.
    #[error("the answer announces trailers")]
    Trailers,
    /// It depends on something that is not part of the key.
    #[error("the answer varies by {0:?}, which is not in the route's `vary`")]
    Varies(String),
    /// The request had credentials that are not part of the key.
    #[error(
        "the request has {0}, which is not in the route's `vary`, and the answer is not public"
    )]
    Credentials(&'static str),
    /// It may not be served for any time at all.
    #[error("the answer is stale already and may not be served so")]
    Stale,
    /// It is larger than the route allows.
    #[error("the answer takes more than {limit} bytes")]
    TooLarge {
        /// Bytes one entry may take.
        limit: usize,
    },
    /// Too many answers are being copied at the moment.
    #[error("copies under way take {limit} bytes already")]
    Busy {
        /// Bytes that all copies may take.
        limit: usize,
    },
    /// It ended before its declared length.
    #[error("the answer has {got} bytes and declared {declared}")]
    Truncated {
        /// Bytes that came.
        got: usize,
        /// Bytes that were declared.
        declared: usize,
    },
    /// Its version lost its traffic after the request began.
    #[error("answers of this version were purged after the request began")]
    Purged,
    /// The route left the configuration, or its opt-in did.
    #[error("the route keeps no answers")]
    NoRoute,
}

/// What a request says about answers from a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// No such answer at all.
    pub(super) never: bool,
    /// None older than this many seconds.
    pub(super) max_age: Option<u64>,
    /// None stale for longer than this many seconds.
    pub(super) max_stale: Option<u64>,
    /// None that is not fresh for this many seconds more.
    pub(super) min_fresh: Option<u64>,
    /// Credentials that are not part of the key: only what is public may be shared.
    pub(super) unkeyed: Option<&'static str>,
}

impl Demand {
    /// Whether `entry` may answer the request at `now`.
    pub(super) fn accepts(&self, entry: &Entry, now: Timestamp) -> bool {
        let age = entry.age_at(now);
        let old = |limit: u64| Duration::from_secs(limit);
        !self.never
            && (self.unkeyed.is_none() || entry.public)
            && self.max_age.is_none_or(|most| age <= old(most))
            && self
                .max_stale
                .is_none_or(|most| age <= entry.fresh.saturating_add(old(most)))
            && self
                .min_fresh
                .is_none_or(|more| age.saturating_add(old(more)) <= entry.fresh)
    }
}

/// How long an answer may be served, and under which digest it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) age: Duration,
    pub(super) fresh: Duration,
    pub(super) limit: Duration,
    pub(super) public: bool,
    /// It depends on headers that only the exact digest has.
    pub(super) exact: bool,
    /// Its declared length.
    pub(super) length: Option<usize>,
}

/// What the request demands, or `None` when it has nothing to do with the cache: neither
/// is its answer kept nor is it answered from what was.
pub(super) fn demand(policy: &CachePolicy, facts: &RequestFacts<'_>) -> Option<Demand> {
    // An answer to HEAD has no body to keep, and one from a GET would not have its length.
    let asks = facts.method != Method::HEAD
        && policy.methods.iter().any(|method| method == facts.method.as_str());
    let headers = facts.headers;
    let special = [&RANGE, &IF_RANGE, &IF_MATCH, &IF_UNMODIFIED_SINCE, &UPGRADE];
    if !asks || special.iter().any(|&name| headers.has(name)) || headers.has("x-shadow") {
        return None;
    }
    let said = Directives::of(headers);
    if said.no_store || said.malformed {
        return None;
    }
    let pragma = !headers.has(CACHE_CONTROL) && says_no_cache(headers);
    let unkeyed = CREDENTIALS
        .into_iter()
        .find(|&name| headers.has(name) && !policy.vary.iter().any(|v| v == name));
    let max_stale = match (said.max_stale, said.stale_if_error) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let Directives { no_cache, max_age, min_fresh, .. } = said;
    Some(Demand { never: no_cache || pragma, max_age, max_stale, min_fresh, unkeyed })
}

/// Whether the answer may be kept, and on which terms.
pub(super) fn terms(
    policy: &CachePolicy,
    demand: &Demand,
    answer: &AnswerFacts<'_>,
) -> Result<Terms, Why> {
    let headers = answer.headers;
    whole(answer)?;
    let said = Directives::of(headers);
    let pragma = !headers.has(CACHE_CONTROL) && says_no_cache(headers);
    for (forbids, name) in [
        (said.no_store, "no-store"),
        (said.private, "private"),
        (said.no_cache || pragma, "no-cache"),
        (said.malformed, "an open quote"),
    ] {
        if forbids {
            return Err(Why::Forbidden(name));
        }
    }
    if let Some(name) = demand.unkeyed.filter(|_| !said.public) {
        return Err(Why::Credentials(name));
    }
    let exact = varies(policy, headers)? || depends_unsaid(headers);
    let length = number(headers, &CONTENT_LENGTH).and_then(|n| usize::try_from(n).ok());
    if length.is_some_and(|length| length > policy.max_entry) {
        return Err(Why::TooLarge { limit: policy.max_entry });
    }
    let Some(age) = age(headers, answer.now) else { return Err(Why::Stale) };
    let fresh = lifetime(&said, headers);
    if said.stale_if_error.is_none() && is_old(&said, answer, (fresh, age)) {
        return Err(Why::Stale);
    }
    let limit = limit(&said, fresh, age, policy.ttl);
    if limit.is_zero() {
        return Err(Why::Stale);
    }
    Ok(Terms { age, fresh, limit, public: said.public, exact, length })
}

/// Refuses what is not one whole answer that means the same to the next caller.
fn whole(answer: &AnswerFacts<'_>) -> Result<(), Why> {
    let headers = answer.headers;
    if answer.status != StatusCode::OK {
        return Err(Why::Status(answer.status.as_u16()));
    }
    if headers.has(CONTENT_RANGE) {
        return Err(Why::Piece);
    }
    if headers.has(SET_COOKIE) || headers.has("set-cookie2") {
        return Err(Why::Cookie);
    }
    if headers.has(TRAILER) {
        return Err(Why::Trailers);
    }
    for kind in headers.values(CONTENT_TYPE) {
        let kind = kind.as_bytes().trim_ascii().to_ascii_lowercase();
        if let Some(stream) = STREAMS.into_iter().find(|s| kind.starts_with(s.as_bytes()))
        {
            return Err(Why::Stream(stream));
        }
    }
    Ok(())
}

/// Whether `Vary` names a header that only the exact digest has.
///
/// # Errors
/// [`Why::Varies`] when it names one that no digest has, or `*`.
fn varies(policy: &CachePolicy, headers: &Headers) -> Result<bool, Why> {
    let mut exact = false;
    let lines = headers.values(VARY);
    for name in lines.flat_map(|line| line.as_bytes().split(|&b| b == b',')) {
        let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
        if name.is_empty() {
            continue;
        }
        match cover(&name, &policy.vary) {
            Cover::Always => {}
            Cover::Exact => exact = true,
            Cover::Never => return Err(Why::Varies(name.chars().take(64).collect())),
        }
    }
    Ok(exact)
}

/// Whether the answer shows that it depends on headers its `Vary` may have forgotten: it
/// is encoded, or made out to one origin.
fn depends_unsaid(headers: &Headers) -> bool {
    let other = |name, usual: &[u8]| {
        let mut values = headers.values(name);
        values.any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(usual))
    };
    other(CONTENT_ENCODING, b"identity") || other(ACCESS_CONTROL_ALLOW_ORIGIN, b"*")
}

/// How old the answer is when it comes: by its own `Age` or by its `Date`, whichever says
/// more (RFC 9111, 4.2.3, without the delay on the way here). `None` when its `Age` is no one
/// number: it came by another cache, and may be of any age.
fn age(headers: &Headers, now: Timestamp) -> Option<Duration> {
    let said = match headers.values(AGE).count() {
        0 => 0,
        1 => number(headers, &AGE)?,
        _ => return None,
    };
    let sent = date(headers, &DATE).unwrap_or(Duration::MAX);
    let since = Duration::from_millis(now.0).saturating_sub(sent);
    Some(Duration::from_secs(said).max(since))
}

/// How old the answer may be and still count as fresh (RFC 9111, 4.2.1). Never guessed: an
/// answer that says nothing is stale from the first.
fn lifetime(said: &Directives, headers: &Headers) -> Duration {
    if let Some(seconds) = said.s_maxage.or(said.max_age) {
        return Duration::from_secs(seconds);
    }
    let (Some(expires), Some(sent)) = (date(headers, &EXPIRES), date(headers, &DATE))
    else {
        return Duration::ZERO;
    };
    if headers.values(EXPIRES).count() > 1 {
        return Duration::ZERO;
    }
    expires.saturating_sub(sent)
}

/// Whether the answer says itself that it is old from the first. What says nothing is stale
/// too, but its source has not asked for that.
fn is_old(
    said: &Directives,
    answer: &AnswerFacts<'_>,
    (fresh, age): (Duration, Duration),
) -> bool {
    if said.s_maxage.or(said.max_age).is_some() {
        return fresh <= age;
    }
    let expires = date(answer.headers, &EXPIRES);
    let now = Duration::from_millis(answer.now.0);
    answer.headers.has(EXPIRES)
        && (expires.is_none_or(|expires| expires <= now)
            || (answer.headers.has(DATE) && fresh <= age))
}

/// How long from now the answer may be served. `must-revalidate` and its kin forbid it
/// stale, on the day that every version fails too: the source has said that an error is
/// better than an old answer (RFC 9111, 5.2.2.2). `stale-if-error` bounds how stale (RFC
/// 5861, 4); an answer that says neither may be served stale when its source is out of reach
/// (RFC 9111, 4.2.4).
fn limit(said: &Directives, fresh: Duration, age: Duration, ttl: Duration) -> Duration {
    let oldest = if said.revalidate || said.s_maxage.is_some() {
        Some(fresh)
    } else {
        said.stale_if_error.map(|more| fresh.saturating_add(Duration::from_secs(more)))
    };
    oldest.map_or(ttl, |oldest| oldest.saturating_sub(age).min(ttl))
}

fn says_no_cache(headers: &Headers) -> bool {
    headers
        .values(PRAGMA)
        .flat_map(|line| line.as_bytes().split(|&b| b == b','))
        .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
}

/// A date, since the Unix epoch.
fn date(headers: &Headers, name: &HeaderName) -> Option<Duration> {
    let date = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    date.duration_since(UNIX_EPOCH).ok()
}

fn number(headers: &Headers, name: &HeaderName) -> Option<u64> {
    headers.get(name).and_then(|value| digits(value.as_bytes().trim_ascii()))
}

/// Request headers that make an answer somebody's own unless they are in the key.
const CREDENTIALS: [&str; 2] = ["authorization", "cookie"];

/// Content types that are a conversation and not an answer, by their beginning.
const STREAMS: [&str; 3] =
    ["text/event-stream", "application/grpc", "multipart/x-mixed-replace"];

#[cfg(test)]
#[path = "tests/policy.rs"]
mod tests;
