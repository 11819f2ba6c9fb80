//! What a route does with its requests beside choosing a version: plain, validated values
//! that the table carries, so that one request sees one policy from end to end.

use std::fmt;
use std::time::Duration;

use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;

/// Everything a route says about the handling of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutePolicy {
    /// Limits on the time of an attempt.
    pub timeouts: Timeouts,
    /// Tries within one version.
    pub retry: Retry,
    /// When stable answers for a failed canary.
    pub rescue: Rescue,
    /// Which requests may be sent twice.
    pub repeatable: Repeatable,
    /// The inference protocol of its requests; `None` finds it out for each.
    pub dialect: Option<Dialect>,
    /// What keeps a session with its version; `None` when every request is placed anew.
    pub affinity: Option<Affinity>,
    /// Who may demand a version; `None` when nobody may.
    pub pin: Option<Pin>,
    /// The response cache; `None` when the route has not opted in.
    pub cache: Option<CachePolicy>,
    /// What tells a caller that an answer is degraded.
    pub banner: Banner,
    /// The version that is asked in the read-only mode when nothing is kept; a version of
    /// the route.
    pub emergency: Option<Name>,
    /// How much of the bodies of a failed exchange its sample shows, in bytes, at most
    /// [`BODY_MAX`](crate::vocab::sample::Sample::BODY_MAX); 0 is nothing.
    pub sample_bodies: usize,
}

/// Limits on the time of one attempt; zero means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// From the request sent to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of a body, either way.
    pub idle: Duration,
    /// From the first byte of the request to the last of the answer.
    pub total: Duration,
}

/// Tries within one version after a failure that another endpoint may not have.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// How many tries beyond the first.
    pub attempts: u8,
    /// Retries as a share of requests, over about ten seconds.
    pub budget: Percent,
    /// Which failures are tried again.
    pub on: FailureSet,
}

/// When stable answers for a failed canary.
#[derive(Clone, Debug, PartialEq)]
pub struct Rescue {
    /// Which failures of the canary are rescued; empty means never.
    pub on: FailureSet,
    /// The largest request body that is kept for a second try, in bytes.
    pub max_body: usize,
}

/// Which requests may be sent again after they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeatable {
    /// Idempotent methods and the known inference paths.
    Auto,
    /// Every request of the route.
    Always,
    /// None.
    Never,
}

/// The inference protocol that a request and its answer speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Any HTTP service: its status says all.
    Plain,
    /// Open Inference Protocol v2 over REST: Triton, KServe, MLServer.
    OpenInference,
    /// The OpenAI API: vLLM, llama-server and others.
    OpenAi,
    /// The Anthropic API.
    Anthropic,
    /// TorchServe.
    TorchServe,
    /// gRPC, whatever service.
    Grpc,
}

impl Dialect {
    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::OpenInference => "openInference",
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::TorchServe => "torchserve",
            Self::Grpc => "grpc",
        }
    }

    /// The dialect of that word; `None` for `auto` and what is no word of these.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        use Dialect::{Anthropic, Grpc, OpenAi, OpenInference, Plain, TorchServe};
        [Plain, OpenInference, OpenAi, Anthropic, TorchServe, Grpc]
            .into_iter()
            .find(|dialect| dialect.as_str() == word)
    }
}

/// What keeps a session with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// The value of this request header, its name in lower case.
    Header(String),
    /// A signed cookie that is given with the first answer.
    Cookie {
        /// Its name.
        name: String,
        /// How long it is good for, from the first answer on.
        max_age: Duration,
    },
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "the header {name}"),
            Self::Cookie { name, max_age } => {
                write!(f, "the cookie {name} for {}s", max_age.as_secs())
            }
        }
    }
}

/// Who may demand a version by name: trusted callers, by a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The header's name, lower case.
    pub header: String,
    /// The versions that may be demanded; versions of the route.
    pub allowed: Vec<Name>,
    /// A demand for a version that takes no requests is refused; stable answers it
    /// otherwise.
    pub refuse: bool,
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.header)?;
        for (place, name) in self.allowed.iter().enumerate() {
            write!(f, "{}{name}", if place == 0 { "" } else { ", " })?;
        }
        f.write_str(if self.refuse { ", or refused" } else { ", or stable" })
    }
}

/// A set of kinds of failure, as `on: [connect, reset, "503"]` writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set, with a member each")]
pub struct FailureSet {
    /// Refused, unreachable, TLS, no healthy endpoint, connect timeout.
    pub connect: bool,
    /// Closed or reset before an answer, or not HTTP.
    pub reset: bool,
    /// First byte, idle or total timeout.
    pub timeout: bool,
    /// A stream that fails before anything of it reached the caller.
    pub stream_error: bool,
    /// Every 5xx.
    pub server_errors: bool,
    /// These very statuses.
    pub statuses: Vec<u16>,
}

impl FailureSet {
    /// Whether an answer of this status belongs to the set.
    #[must_use]
    pub fn has_status(&self, status: u16) -> bool {
        (self.server_errors && (500..600).contains(&status))
            || self.statuses.contains(&status)
    }
}

/// What may be kept of a route's answers for the day both versions fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// Bytes for all entries of the route.
    pub max_size: usize,
    /// Bytes for one entry.
    pub max_entry: usize,
    /// How long an entry may be served.
    pub ttl: Duration,
    /// Request headers that are part of the key, lower case, sorted.
    pub vary: Vec<String>,
    /// Methods whose answers are kept, upper case.
    pub methods: Vec<String>,
    /// Whether a copy is kept on disk, too, for the time after a restart.
    pub persist: bool,
}

/// What tells a caller that an answer is degraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banner {
    /// Header name, lower case.
    pub header: String,
    /// Member added to a JSON object answer, if any.
    pub json_field: Option<String>,
    /// The text.
    pub message: String,
}
