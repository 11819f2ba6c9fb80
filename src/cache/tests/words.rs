//! Short words for the tests of this room.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::entry::{Entry, Source};
use super::key::{Question, RequestFacts};
use super::policy::{AnswerFacts, Scope, Why};
use super::store::Cache;
use crate::vocab::ids::{Digest, Name, Slot};
use crate::vocab::policy::CachePolicy;
use crate::vocab::time::Timestamp;
use crate::wire::Headers;

/// A request, owned, as a test describes it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
}

impl Asked {
    /// `POST http://models/v2/infer` with a JSON body.
    pub(super) fn post(body: &'static str) -> Self {
        Self {
            method: Method::POST,
            host: "models".to_owned(),
            path: "/v2/infer".to_owned(),
            query: None,
            headers: headers(&[("content-type", "application/json")]),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers.append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub(super) fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(super) fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            method: &self.method,
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
        }
    }

    pub(super) fn question(&self, world: &World) -> Option<Question> {
        let pending = world.cache.begin(world.scope(), &self.facts())?;
        Some(pending.question(std::slice::from_ref(&self.body)))
    }
}

/// One route `iris` with a cache.
#[derive(Debug)]
pub(super) struct World {
    pub(super) cache: Arc<Cache>,
    pub(super) route: Name,
    pub(super) policy: CachePolicy,
}

impl World {
    pub(super) fn new() -> Self {
        Self::of(policy())
    }

    pub(super) fn of(policy: CachePolicy) -> Self {
        let world = Self {
            cache: Arc::new(Cache::new()),
            route: Name::parse("iris").unwrap(),
            policy,
        };
        world.cache.fit([(&world.route, &world.policy)]);
        world
    }

    pub(super) fn scope(&self) -> Scope<'_> {
        Scope { route: &self.route, policy: &self.policy }
    }

    /// Keeps an answer to `asked` by `source` at `now`, as the proxy would.
    pub(super) fn keep(
        &self,
        asked: &Asked,
        source: &Source,
        answer: &Headers,
        body: &str,
        now: Timestamp,
    ) -> Result<(), Why> {
        let question = asked.question(self).expect("a request that may be kept");
        let facts = AnswerFacts { source, status: StatusCode::OK, headers: answer, now };
        let mut tee = self.cache.keep(self.scope(), &question, &facts)?;
        tee.push(body.as_bytes());
        tee.finish()
    }

    /// The body that `asked` would be answered with.
    pub(super) fn find(
        &self,
        asked: &Asked,
        versions: &[Source],
        now: Timestamp,
    ) -> Option<String> {
        let question = asked.question(self)?;
        let entry = self.cache.lookup(self.scope(), &question, versions, now)?;
        Some(String::from_utf8(entry.body.to_vec()).unwrap())
    }
}

/// The defaults of the interface, a little smaller.
pub(super) fn policy() -> CachePolicy {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    CachePolicy {
        max_size: 4 << 20,
        max_entry: 64 << 10,
        ttl: Duration::from_secs(3_600),
        vary: words(&["authorization", "cookie", "x-api-key", "x-tenant"]),
        methods: words(&["GET", "POST"]),
        persist: false,
    }
}

pub(super) fn source(name: &str, slot: usize) -> Source {
    Source {
        name: Name::parse(name).unwrap(),
        digest: Digest::new(name),
        slot: Slot::new(slot).unwrap(),
    }
}

pub(super) fn headers(lines: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// An entry by the version of `slot`, stored at second `at`.
pub(super) fn entry(slot: usize, body: usize, at: u64) -> Entry {
    Entry {
        source: source("v1", slot),
        status: StatusCode::OK,
        headers: Headers::new(),
        body: Bytes::from(vec![b'x'; body]),
        stored: second(at),
        age: Duration::ZERO,
        fresh: Duration::ZERO,
        limit: Duration::from_secs(3_600),
        public: false,
        target: 0,
    }
}

/// `at` seconds after some moment.
pub(super) fn second(at: u64) -> Timestamp {
    Timestamp(1_795_554_358_000 + at * 1_000)
}
