//! `report.json`: all facts for tools, under a number for its shape.
//!
//! Apart from the facts' own shape, so that a member can be renamed there without anybody's
//! tools noticing, and what follows from other members is said once, here.

use serde::Serialize;

use super::bound::LeftOut;
use super::facts::{Breach, Facts, Moment, Version};
use super::figures::share;
use crate::vocab::record::RollbackRecord;
use crate::vocab::sample::Sample;
use crate::vocab::time::Timestamp;

/// Grows when a member goes or changes its meaning; one that is added leaves it.
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    /// When the report was made.
    reported: Timestamp,
    rollback: &'a RollbackRecord,
    breaches: &'a [Breach],
    timeline: &'a [Moment],
    window_seconds: f64,
    versions: Vec<Judged<'a>>,
    requests: Option<Requests>,
    failed_exchanges: &'a [Sample],
    config: &'a str,
    left_out: &'a LeftOut,
}

#[derive(Serialize)]
struct Judged<'a> {
    #[serde(flatten)]
    version: &'a Version,
    error_rate: Option<f64>,
}

/// What became of the requests of the version that lost its traffic.
#[derive(Serialize)]
struct Requests {
    /// Given to it.
    given: u64,
    /// Failed by it.
    failed: u64,
    /// Failed by it and answered by another.
    rescued: u64,
    /// Failed by it and by nobody made good.
    affected: u64,
    /// The share of those among all, 0 to 1.
    affected_share: Option<f64>,
}

pub(super) fn json(facts: &Facts, left_out: &LeftOut) -> String {
    let requests = facts.record.impact.map(|impact| {
        let affected = impact.failed.saturating_sub(impact.rescued);
        Requests {
            given: impact.requests,
            failed: impact.failed,
            rescued: impact.rescued,
            affected,
            affected_share: share(affected, impact.requests),
        }
    });
    let versions = facts.versions.iter();
    let report = Report {
        schema_version: SCHEMA_VERSION,
        reported: facts.at,
        rollback: &facts.record,
        breaches: &facts.breaches,
        timeline: &facts.timeline,
        window_seconds: facts.window_seconds,
        versions: versions
            .map(|version| Judged { version, error_rate: version.error_rate() })
            .collect(),
        requests,
        failed_exchanges: &facts.samples,
        config: &facts.config,
        left_out,
    };
    // No map with keys that are not text and no type that refuses: this cannot fail.
    let mut json = serde_json::to_string_pretty(&report).unwrap_or_default();
    json.push('\n');
    json
}
