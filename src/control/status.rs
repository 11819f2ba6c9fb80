//! What an operator sees of the routes: one serialisable view, made by the driver.

use serde::{Deserialize, Serialize};

use crate::judge::{Reading, Spread};
use crate::telemetry::StreamTotals;

/// All routes at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// The number of the table in force.
    pub generation: u64,
    /// The digest of the configuration in force.
    pub config_hash: String,
    /// The last reload that was refused, if the one after it has not been taken.
    pub reload_error: Option<String>,
    /// Why the audit log cannot be written at the moment, if it cannot.
    #[serde(default)]
    pub audit_error: Option<String>,
    /// The routes, in the order of the configuration.
    pub routes: Vec<RouteView>,
    /// Those who are told, in the order of the configuration.
    #[serde(default)]
    pub sinks: Vec<SinkStand>,
}

/// How one of those who are told stands; the notices themselves are asked for by
/// `switchback notices list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStand {
    /// Its name.
    pub name: String,
    /// Notices or lines that wait.
    #[serde(default)]
    pub waiting: u64,
    /// Those that were given up and are kept until somebody settles them.
    #[serde(default)]
    pub dead: u64,
    /// Whether the last try failed.
    #[serde(default)]
    pub is_failing: bool,
    /// What the last failure was.
    #[serde(default)]
    pub last_error: Option<String>,
}

impl SinkStand {
    /// All of them, out of what the outbox says about itself.
    pub(super) fn all(notices: &serde_json::Value) -> Vec<Self> {
        let sinks = notices.get("sinks").cloned().unwrap_or_default();
        serde_json::from_value(sinks).unwrap_or_default()
    }
}

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteView {
    /// Its name.
    pub name: String,
    /// `Healthy`, `Degraded` (a rollback is under way or a version is in quarantine or under
    /// protect).
    pub health: String,
    /// Its versions.
    pub versions: Vec<VersionView>,
    /// The last rollback, if there was one since the start.
    pub last_rollback: Option<serde_json::Value>,
    /// The last protect, if there was one since the start.
    #[serde(default)]
    pub last_protect: Option<serde_json::Value>,
    /// Its rollout, while the configuration has one for it.
    #[serde(default)]
    pub rollout: Option<RolloutView>,
    /// Its mode, unless it is served as usual.
    #[serde(default)]
    pub mode: Option<ModeView>,
    /// Percent of the requests that are held back while the traffic goes over in steps.
    #[serde(default)]
    pub held_back: Option<f64>,
    /// What keeps a session with its version, if anything does.
    #[serde(default)]
    pub affinity: Option<String>,
    /// How a trusted caller demands a version and which, if one may.
    #[serde(default)]
    pub pin: Option<String>,
}

/// How a route is served while it is not as usual.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModeView {
    /// `normal`, or `readOnly`: kept answers are served and nothing else.
    pub mode: String,
    /// Since when, RFC 3339.
    #[serde(default)]
    pub since: Option<String>,
    /// The operator who ordered it; absent when the machine did.
    #[serde(default)]
    pub ordered_by: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// The version that is asked when nothing is kept.
    #[serde(default)]
    pub emergency_version: Option<String>,
}

/// One rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RolloutView {
    /// `ro-` and a sortable unique suffix; empty before the first.
    pub id: String,
    /// `canary`, `blueGreen` or `rolling`.
    pub strategy: String,
    /// The version that is rolled out.
    pub version: String,
    /// `initialized`, `waiting` (for a gate, before any traffic), `progressing`,
    /// `waitingPromotion`, `promoting`, `finalising` (100 %, stable kept warm), `succeeded`,
    /// `failed`, `paused`, `rollingBack` or `aborting`.
    pub phase: String,
    /// The step under way, from 1; 0 before the first.
    pub step: usize,
    /// All steps of the plan, the last one to 100 % included.
    pub steps: usize,
    /// Percent that the rollout gave the version.
    pub weight: f64,
    /// Since when it is in this phase, RFC 3339.
    pub since: String,
    /// What it waits for, in words; absent when it is over.
    pub waits_for: Option<String>,
    /// When the wait of now ends by itself, RFC 3339, where it does.
    pub until: Option<String>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Who froze the rollouts of the route.
    pub frozen_by: Option<String>,
    /// Why it is paused or frozen, or why it failed.
    pub reason: Option<String>,
    /// The plan in words.
    pub plan: String,
}

/// The streams of tokens of one version: the trailing window's times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamsView {
    /// Streams of the window that came to a first token.
    pub samples: u64,
    /// Median of the time to the first token.
    pub first_token_p50_ms: Option<f64>,
    /// 99th percentile of it.
    pub first_token_p99_ms: Option<f64>,
    /// Median of the time for each token after the first.
    pub per_token_p50_ms: Option<f64>,
    /// 99th percentile of it.
    pub per_token_p99_ms: Option<f64>,
    /// Tokens a second of the stream in the middle.
    pub tokens_per_second: Option<f64>,
    /// Output tokens since the start.
    pub output_tokens: u64,
}

impl StreamsView {
    /// From what the window holds and what was counted since the start.
    pub(super) fn of(reading: &Reading, totals: &StreamTotals) -> Self {
        let Reading { first_token, each_token, .. } = reading;
        let millis =
            |us: u64| std::time::Duration::from_micros(us).as_secs_f64() * 1_000.0;
        let both = |one: &Spread| (one.p50_us.map(millis), one.p99_us.map(millis));
        let (first_token_p50_ms, first_token_p99_ms) = both(first_token);
        let (per_token_p50_ms, per_token_p99_ms) = both(each_token);
        Self {
            samples: first_token.count,
            first_token_p50_ms,
            first_token_p99_ms,
            per_token_p50_ms,
            per_token_p99_ms,
            tokens_per_second: per_token_p50_ms.map(|ms| 1_000.0 / ms.max(0.001)),
            output_tokens: totals.tokens,
        }
    }
}

/// One version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VersionView {
    /// Its name.
    pub name: String,
    /// `stable`, `canary` or `candidate`.
    pub role: String,
    /// Percent of new requests that it takes now.
    pub share: f64,
    /// Percent that the configuration or an operator gave it.
    pub weight: f64,
    /// `serving`, `protected` (users are on stable, copies test it), `trickle` (all users
    /// but a few are), `held` (an operator has to decide), `draining` or `quarantined`.
    pub state: String,
    /// Endpoints that may be asked, and all of them.
    pub healthy_endpoints: usize,
    /// All endpoints.
    pub endpoints: usize,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests of the trailing window that say something about the version.
    pub samples: u64,
    /// Failed share of them, 0 to 1; absent without samples.
    pub error_rate: Option<f64>,
    /// Median of the total time of good answers but streams in the window, milliseconds.
    pub p50_ms: Option<f64>,
    /// 99th percentile, milliseconds.
    pub p99_ms: Option<f64>,
    /// Its streams of tokens; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<StreamsView>,
    /// Requests since the start.
    pub requests: u64,
    /// Failed ones since the start.
    pub failures: u64,
    /// Failed ones that stable was asked in its place.
    pub rescued: u64,
    /// Failed ones that the response cache answered.
    pub cache_served: u64,
    /// The verdict on it in one sentence, with the findings.
    pub verdict: String,
    /// Why it is in quarantine.
    pub quarantine: Option<String>,
    /// Why its users are on stable, and since when, while it is under protect.
    #[serde(default)]
    pub protect: Option<String>,
    /// The names of its endpoints that are looked up.
    #[serde(default)]
    pub names: Vec<NameView>,
}

/// Where one name leads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NameView {
    /// The name.
    pub name: String,
    /// Its addresses of the last good answer, at most 256.
    pub addresses: Vec<String>,
    /// Addresses of that answer for which there was no room.
    pub left_out: usize,
    /// When that was, RFC 3339; absent before the first.
    pub good_at: Option<String>,
    /// When it is looked up again, RFC 3339.
    pub next: String,
    /// Since when there has been no good answer, RFC 3339.
    pub failing_since: Option<String>,
    /// Why.
    pub problem: Option<String>,
}
