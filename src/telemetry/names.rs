//! Every metric once: name, kind, unit and help, and every label name.
//!
//! Apart from the code that fills them in, so that the list can be read as the contract
//! that dashboards and alerts are written against.

use metrics::Unit;

/// One family of series.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name on the page.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// What it is measured in, where that is not a plain count.
    pub unit: Option<Unit>,
    /// One sentence for people.
    pub help: &'static str,
}

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counted by size.
    Histogram,
}

/// Label: the route's name, `none` where no route matched.
pub const ROUTE: &str = "route";
/// Label: the version's name.
pub const VERSION: &str = "version";
/// Label: the version's role.
pub const ROLE: &str = "role";
/// Label: how a request ended.
pub const CLASS: &str = "class";
/// Label: the rule that was judged.
pub const METRIC: &str = "metric";
/// Label: the phase of a rollback.
pub const PHASE: &str = "phase";
/// Label: what came of a protect.
pub const OUTCOME: &str = "outcome";
/// Label: the sink's name.
pub const SINK: &str = "sink";
/// Label: a name that is looked up.
pub const NAME: &str = "name";
/// Label: the hash of the last record of the audit log. It changes with every record, but
/// there is one series at a time.
pub const HASH: &str = "hash";

/// Rollbacks begun.
pub const TRIGGERED: Metric = counter(
    "rollback_triggered_total",
    "Rollbacks begun, by the machine or an operator.",
);
/// Rollbacks ended well.
pub const COMPLETED: Metric =
    counter("rollback_completed_total", "Rollbacks that came to their end.");
/// Rollbacks ended badly.
pub const FAILED: Metric = counter("rollback_failed_total", "Rollbacks that failed.");
/// How long the last rollback took.
pub const DURATION: Metric =
    seconds("rollback_duration_seconds", "Duration of the last rollback that ended.");
/// How long the phases of rollbacks took.
pub const PHASE_DURATION: Metric =
    times("rollback_phase_duration_seconds", "Duration of the phases of rollbacks.");
/// When the last drill ran.
pub const DRILL: Metric = seconds(
    "rollback_drill_timestamp",
    "Unix time of the last drill, 0 before the first.",
);

/// Requests by how they ended.
pub const REQUESTS: Metric = counter(
    "switchback_requests_total",
    "Requests asked of a version, by how they ended.",
);
/// Total times.
pub const REQUEST_DURATION: Metric = times(
    "switchback_request_duration_seconds",
    "Time of a request to a version, to the last byte of its answer.",
);
/// First-byte times.
pub const FIRST_BYTE: Metric = times(
    "switchback_time_to_first_byte_seconds",
    "Time to the first byte of good answers of a version.",
);
/// Time spent in the proxy.
pub const OVERHEAD: Metric = times(
    "switchback_overhead_seconds",
    "Time a request spent in the proxy before the version was asked.",
);
/// First-token times.
pub const FIRST_TOKEN: Metric = times(
    "switchback_time_to_first_token_seconds",
    "Time to the first token of streams of a version; series from its first stream on.",
);
/// Token times.
pub const EACH_TOKEN: Metric = times(
    "switchback_time_per_output_token_seconds",
    "Time for each token after the first of good streams, one value a stream.",
);
/// How long streams are.
pub const OUTPUT_LENGTH: Metric = Metric {
    name: "switchback_output_length_tokens",
    kind: Kind::Histogram,
    unit: None,
    help: "Output tokens of good streams, one value a stream.",
};
/// Tokens.
pub const OUTPUT_TOKENS: Metric = counter(
    "switchback_output_tokens_total",
    "Output tokens of streams of a version, however they ended.",
);
/// The window's own p99 of first tokens.
pub const FIRST_TOKEN_P99: Metric = seconds(
    "switchback_time_to_first_token_p99_seconds",
    "99th percentile of the time to the first token in the analysis window.",
);
/// The window's own p99 of token times.
pub const EACH_TOKEN_P99: Metric = seconds(
    "switchback_time_per_output_token_p99_seconds",
    "99th percentile of the time for each token of a stream in the analysis window.",
);
/// The window's own p99.
pub const P99: Metric = seconds(
    "switchback_latency_p99_seconds",
    "99th percentile of the total time of good answers but streams in the analysis window.",
);
/// The window's own error share.
pub const ERROR_RATIO: Metric = gauge(
    "switchback_error_ratio",
    "Failed share of the requests in the analysis window, 0 to 1.",
);
/// Requests under way.
pub const IN_FLIGHT: Metric =
    gauge("switchback_inflight_requests", "Requests that are under way on a version.");
/// Shares.
pub const WEIGHT: Metric = gauge(
    "switchback_version_weight",
    "Percent of new requests that a version takes now, quarantine counted in.",
);
/// Answers by stable for a failed canary.
pub const RESCUED: Metric = counter(
    "switchback_rescued_total",
    "Requests that this version failed and stable was asked in its place.",
);
/// Answers from the cache for a failed version.
pub const CACHE_SERVED: Metric = counter(
    "switchback_cache_served_total",
    "Requests that this version failed and the response cache answered.",
);
/// Kept answers on their way to disk.
pub const CACHE_DISK: Metric = counter(
    "switchback_cache_disk_answers_total",
    "Kept answers for the disk, by whether they were written, dropped or failed.",
);
/// Kept answers on disk.
pub const CACHE_DISK_BYTES: Metric =
    gauge("switchback_cache_disk_bytes", "Bytes that kept answers take on disk.");
/// Whether kept answers cannot be written.
pub const CACHE_DISK_FAILING: Metric = gauge(
    "switchback_cache_disk_failing",
    "Whether kept answers cannot be written to disk at the moment, 0 or 1.",
);
/// Tries within a version.
pub const RETRIES: Metric = counter(
    "switchback_retries_total",
    "Tries beyond the first of requests within a version.",
);
/// How the service as a whole is.
pub const MODE: Metric = gauge(
    "switchback_service_mode",
    "0 normal, 1 degraded (a version is in quarantine or rolls back), 2 read-only.",
);
/// Protects that were settled.
pub const PROTECTS: Metric = counter(
    "switchback_protects_total",
    "Times that users were moved to stable before a rollback, by what came of it.",
);
/// Requests in the trace.
pub const RECORDED: Metric = counter(
    "switchback_recorded_requests_total",
    "Requests for the trace, by whether they were written or lost.",
);
/// Whether the trace cannot be written.
pub const RECORD_FAILING: Metric = gauge(
    "switchback_record_failing",
    "Whether the trace cannot be written at the moment, 0 or 1.",
);
/// Notices by what came of them.
pub const NOTICES: Metric = counter(
    "switchback_notices_total",
    "Notices or log lines for a sink: delivered, failed tries, given up, or lost at the door.",
);
/// Notices that wait.
pub const NOTICES_WAITING: Metric =
    gauge("switchback_notices_waiting", "Notices or log lines that wait for a sink.");
/// Notices that were given up and are kept.
pub const NOTICES_DEAD: Metric = gauge(
    "switchback_notices_dead",
    "Notices or log lines for a sink that were given up and are kept.",
);
/// Records in the audit log.
pub const AUDIT_RECORDS: Metric = counter(
    "switchback_audit_records_total",
    "Records written to the audit log since the start.",
);
/// The end of the audit log.
pub const AUDIT_HEAD: Metric = gauge(
    "switchback_audit_head_info",
    "Number of the last record of the audit log, whose hash is the label.",
);
/// Entries that wait for the audit log.
pub const AUDIT_UNWRITTEN: Metric = gauge(
    "switchback_audit_unwritten",
    "Entries that wait to be written to the audit log.",
);
/// Writes to the audit log that failed.
pub const AUDIT_FAILURES: Metric = counter(
    "switchback_audit_failures_total",
    "Tries to write to the audit log that failed.",
);
/// Copies of requests by how they ended.
pub const SHADOW_REQUESTS: Metric = counter(
    "switchback_shadow_requests_total",
    "Copies of requests asked of a version without anybody waiting, by how they ended.",
);
/// Copies that were not sent.
pub const SHADOW_DROPPED: Metric = counter(
    "switchback_shadow_dropped_total",
    "Copies of requests that were not sent, to stay within their bounds.",
);
/// How the evidence stands.
pub const EVIDENCE_ODDS: Metric = gauge(
    "switchback_evidence_odds",
    "Odds to one that a version on trial is worse than stable, by rule and for all together.",
);
/// How much of the evidence that suffices is there.
pub const EVIDENCE_REACHED: Metric = gauge(
    "switchback_evidence_reached_ratio",
    "Share of the evidence needed that is there, in the logarithm of the odds, 0 to 1.",
);
/// The number that a rule looks at.
pub const ANALYSIS_VALUE: Metric = gauge(
    "switchback_analysis_value",
    "What a rule sees of a version on trial: a share, seconds, or failed checks in a row.",
);
/// Verdicts.
pub const VERDICT: Metric = gauge(
    "switchback_analysis_verdict",
    "Last verdict of a rule on the versions on trial: 0 pass, 1 inconclusive, 2 breach.",
);
/// Looks at names.
pub const LOOK_UPS: Metric = counter(
    "switchback_name_lookups_total",
    "Times that the name of an endpoint was looked up, by whether there was an answer.",
);
/// Where names lead.
pub const NAME_ADDRESSES: Metric = gauge(
    "switchback_name_addresses",
    "Addresses that the name of an endpoint has, by the last good answer.",
);
/// Whether names cannot be looked up.
pub const NAME_FAILING: Metric = gauge(
    "switchback_name_failing",
    "Whether the last look at a name had no good answer, so that older ones are used, 0 or 1.",
);
/// What runs.
pub const BUILD_INFO: Metric =
    gauge("switchback_build_info", "1, with the version of Switchback that runs.");

/// All of them, in the order of the page's description.
pub const ALL: [&Metric; 47] = [
    &TRIGGERED,
    &COMPLETED,
    &FAILED,
    &DURATION,
    &PHASE_DURATION,
    &DRILL,
    &REQUESTS,
    &REQUEST_DURATION,
    &FIRST_BYTE,
    &OVERHEAD,
    &FIRST_TOKEN,
    &EACH_TOKEN,
    &OUTPUT_LENGTH,
    &OUTPUT_TOKENS,
    &FIRST_TOKEN_P99,
    &EACH_TOKEN_P99,
    &P99,
    &ERROR_RATIO,
    &IN_FLIGHT,
    &WEIGHT,
    &RESCUED,
    &CACHE_SERVED,
    &CACHE_DISK,
    &CACHE_DISK_BYTES,
    &CACHE_DISK_FAILING,
    &RETRIES,
    &MODE,
    &PROTECTS,
    &RECORDED,
    &RECORD_FAILING,
    &NOTICES,
    &NOTICES_WAITING,
    &NOTICES_DEAD,
    &AUDIT_RECORDS,
    &AUDIT_HEAD,
    &AUDIT_UNWRITTEN,
    &AUDIT_FAILURES,
    &SHADOW_REQUESTS,
    &SHADOW_DROPPED,
    &EVIDENCE_ODDS,
    &EVIDENCE_REACHED,
    &ANALYSIS_VALUE,
    &VERDICT,
    &LOOK_UPS,
    &NAME_ADDRESSES,
    &NAME_FAILING,
    &BUILD_INFO,
];

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: None, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: None, help }
}

const fn seconds(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: Some(Unit::Seconds), help }
}

const fn times(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, unit: Some(Unit::Seconds), help }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ALL, Kind};

    #[test]
    fn names_are_unique_and_follow_the_field() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            let counts = metric.name.ends_with("_total");
            assert_eq!(counts, metric.kind == Kind::Counter, "{}", metric.name);
            if metric.kind == Kind::Histogram {
                let unit = metric.name.rsplit('_').next().unwrap();
                assert!(["seconds", "tokens"].contains(&unit), "{}", metric.name);
            }
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }
}
