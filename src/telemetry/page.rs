//! What a metrics page is made of: plain numbers that control adds up from the books.
//!
//! Apart from the exporter, so that whoever gathers the numbers knows nothing of the way
//! they are written.

use super::buckets::Buckets;
use crate::vocab::ids::Name;
use crate::vocab::outcome::Class;

/// Everything on one page but the rollbacks, which the exporter counts itself.
#[derive(Debug)]
pub struct Page<'a> {
    /// 0 normal, 1 degraded, 2 read-only.
    pub mode: u8,
    /// Requests that no route matched, by [`Class::index`].
    pub unrouted: &'a [u64; Class::COUNT],
    /// All routes.
    pub routes: Vec<RouteFacts<'a>>,
    /// The names that are looked up.
    pub names: Vec<NameFacts<'a>>,
}

/// What is known of one name that the configuration has.
#[derive(Debug)]
pub struct NameFacts<'a> {
    /// The name.
    pub name: &'a str,
    /// Its addresses that are in use.
    pub addresses: usize,
    /// There is no good answer at the moment.
    pub is_failing: bool,
    /// Looks that had a good answer since the start, and looks that had none.
    pub looks: (u64, u64),
}

/// One route's part of a page.
#[derive(Debug)]
pub struct RouteFacts<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Each rule's name with its last verdict: 0 pass, 1 inconclusive, 2 breach.
    pub verdicts: Vec<(&'static str, u8)>,
    /// Its versions, those included that are leaving.
    pub versions: Vec<VersionFacts<'a>>,
}

/// One version's part of a page.
#[derive(Debug)]
pub struct VersionFacts<'a> {
    /// Its name.
    pub name: &'a Name,
    /// The `role` label.
    pub role: &'static str,
    /// Percent of new requests that it takes now.
    pub share: f64,
    /// Requests under way.
    pub in_flight: u64,
    /// The window's 99th percentile in seconds, once there is one.
    pub p99: Option<f64>,
    /// The window's 99th percentiles of streams in seconds, to the first token and for each
    /// after it, once there are any.
    pub stream_p99: [Option<f64>; 2],
    /// The window's failed share, once there is one.
    pub error_ratio: Option<f64>,
    /// How each rule stands, where it is on trial.
    pub trial: Vec<RuleFacts>,
    /// Everything since the start.
    pub totals: &'a Totals,
}

/// How one rule stands on a version on trial.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleFacts {
    /// The rule's name, or `all` for what they give together.
    pub rule: &'static str,
    /// What it sees: a share, seconds, or failed checks in a row.
    pub value: Option<f64>,
    /// The odds to one that the version is worse, and the share of the evidence needed that
    /// is there, 0 to 1; where evidence is gathered.
    pub evidence: Option<(f64, f64)>,
}

/// One version's numbers since the start of the process.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Requests by [`Class::index`].
    pub outcomes: [u64; Class::COUNT],
    /// Requests that it failed and stable was asked in its place.
    pub rescued: u64,
    /// Requests that it failed and the response cache answered.
    pub cache_served: u64,
    /// Tries beyond the first.
    pub retries: u64,
    /// Protects that were confirmed.
    pub protects_confirmed: u64,
    /// Protects whose users came back.
    pub protects_resumed: u64,
    /// Protects that were left to an operator.
    pub protects_held: u64,
    /// Copies of requests by [`Class::index`]; none of them is in the outcomes.
    pub shadow: [u64; Class::COUNT],
    /// Copies that were not sent.
    pub shadow_dropped: u64,
    /// Times of all requests, good or not.
    pub durations: Buckets,
    /// Times to the first byte of good answers.
    pub first_bytes: Buckets,
    /// Times spent in the proxy.
    pub overheads: Buckets,
    /// Streams of tokens, from the first of them on.
    pub streams: Option<Box<StreamTotals>>,
}

/// One version's streams of tokens since the start of the process.
#[derive(Clone, Debug)]
pub struct StreamTotals {
    /// Times to the first token.
    pub first_tokens: Buckets,
    /// Times for each token after the first, one of each good stream.
    pub each_tokens: Buckets,
    /// Tokens of good streams.
    pub lengths: Buckets,
    /// Tokens of all streams.
    pub tokens: u64,
}

impl Default for StreamTotals {
    fn default() -> Self {
        Self {
            first_tokens: Buckets::first_tokens(),
            each_tokens: Buckets::each_tokens(),
            lengths: Buckets::lengths(),
            tokens: 0,
        }
    }
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            outcomes: [0; Class::COUNT],
            rescued: 0,
            cache_served: 0,
            retries: 0,
            protects_confirmed: 0,
            protects_resumed: 0,
            protects_held: 0,
            shadow: [0; Class::COUNT],
            shadow_dropped: 0,
            durations: Buckets::durations(),
            first_bytes: Buckets::first_bytes(),
            overheads: Buckets::overheads(),
            streams: None,
        }
    }
}

impl Totals {
    /// Requests that it was asked; one that was refused before that is none of them.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let refused = self.outcomes[Class::Rejected.index()];
        self.outcomes.iter().sum::<u64>() - refused
    }

    /// Requests that count against the version.
    #[must_use]
    pub fn failures(&self) -> u64 {
        Class::all()
            .filter(|class| class.is_failure())
            .map(|c| self.outcomes[c.index()])
            .sum()
    }
}
