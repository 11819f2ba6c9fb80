//! The ledger of a rollback, phase by phase, as it goes or as a whole.
//!
//! Apart from the verbs because `rollback` prints it piece by piece and `history --id` at
//! once. A record is read field by field: its shape is the requirement's.

use serde_json::Value;

use super::history::{sentence, took, word};
use super::output::one_line;

/// What was printed of a ledger so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The status of each phase when it was printed.
    phases: Vec<String>,
    notes: usize,
}

impl Ledger {
    /// The lines that a record has and that were not printed yet.
    pub(super) fn news(&mut self, record: &Value) -> String {
        let mut text = String::new();
        for (place, phase) in list(record, "phases").enumerate() {
            let status = word(phase, "status");
            if self.phases.get(place) == Some(&status) {
                continue;
            }
            if status != "pending" {
                text.push_str(&line(phase, &status));
            }
            self.phases.truncate(place);
            self.phases.push(status);
        }
        for note in list(record, "notes").skip(self.notes) {
            let note = note.as_str().map_or_else(|| note.to_string(), str::to_owned);
            text.push_str(&format!("  note: {}\n", one_line(note)));
            self.notes += 1;
        }
        text
    }
}

/// Whether a rollback has ended, and well.
pub(super) fn end(record: &Value) -> Option<bool> {
    match record.get("status").and_then(Value::as_str) {
        Some("completed") => Some(true),
        Some("failed" | "rolled_back") => Some(false),
        _ => None,
    }
}

/// How a rollback ended, in one line.
pub(super) fn ending(record: &Value) -> String {
    let (id, status) = (word(record, "rollback_id"), word(record, "status"));
    let took = took(record).map_or_else(String::new, |took| format!(" in {took}"));
    format!("{id} {status}{took}\n")
}

/// All that a record says.
pub(super) fn whole(record: &Value) -> String {
    let route = word(record, "route");
    let mut text = format!("route {route}: {}\n", sentence(record));
    text.push_str(&format!("  reason: {}\n", word(record, "reason")));
    if let Some(protect) = record.get("protect") {
        let (id, at) = (word(protect, "protect_id"), word(protect, "timestamp"));
        text.push_str(&format!("  grew from {id} at {at}\n"));
    }
    text.push_str(&Ledger::default().news(record));
    if let Some(latency) = number(record, "trigger_latency_seconds") {
        text.push_str(&format!("  out {latency:.3} s after the first verdict\n"));
    }
    if let Some(after) = record.get("post_rollback_metrics").filter(|it| !it.is_null()) {
        let rate =
            number(after, "error_rate").map(|rate| format!("{:.2}%", rate * 100.0));
        let p99 = number(after, "latency_p99").map(|ms| format!("{ms:.1} ms"));
        let said = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let requests = word(after, "requests");
        text.push_str(&format!(
            "  afterwards: {} failed, p99 {}, over {requests} requests\n",
            said(rate),
            said(p99)
        ));
    }
    if let Some(impact) = record.get("impact").filter(|it| !it.is_null()) {
        let [all, rescued, failed] =
            ["requests", "rescued", "failed"].map(|name| word(impact, name));
        text.push_str(&format!(
            "  impact: {all} requests, {failed} failed, {rescued} of them rescued\n"
        ));
    }
    for alert in list(record, "alerts_sent") {
        let (severity, at) = (word(alert, "severity"), word(alert, "timestamp"));
        let names: Vec<_> =
            list(alert, "recipients").filter_map(Value::as_str).map(one_line).collect();
        let reference = alert.get("reference").and_then(Value::as_str);
        let reference =
            reference.map_or_else(String::new, |at| format!(", {}", one_line(at)));
        text.push_str(&format!(
            "  told {} ({severity}) at {at}{reference}\n",
            names.join(", ")
        ));
    }
    text
}

fn line(phase: &Value, status: &str) -> String {
    let mut text = format!("  {}: {status}", word(phase, "phase"));
    if status != "in_progress" {
        let took = number(phase, "duration_seconds").unwrap_or_default();
        text.push_str(&format!(", {took:.3} s"));
    }
    for (member, what) in [("drained_requests", "drained"), ("left_requests", "left")] {
        if let Some(count) = phase.get(member).and_then(Value::as_u64) {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    if let Some(detail) = phase.get("detail").and_then(Value::as_str) {
        text.push_str(&format!(": {}", one_line(detail)));
    }
    text.push('\n');
    text
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn number(value: &Value, name: &str) -> Option<f64> {
    value.get(name).and_then(Value::as_f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Ledger, end, ending, whole};

    #[test]
    fn each_change_is_a_line_and_is_said_once() {
        let phase = |status: &str| json!({ "phase": "drain_traffic", "status": status });
        let route = json!({
            "phase": "route_traffic", "status": "completed", "duration_seconds": 0.0012,
        });
        let mut ledger = Ledger::default();
        let mut record =
            json!({ "status": "in_progress", "phases": [route, phase("pending")] });
        assert_eq!(ledger.news(&record), "  route_traffic: completed, 0.001 s\n");
        record["phases"][1] = phase("in_progress");
        assert_eq!(ledger.news(&record), "  drain_traffic: in_progress\n");
        assert_eq!(ledger.news(&record), "");
        assert_eq!(end(&record), None);
        record["phases"][1] = json!({
            "phase": "drain_traffic", "status": "completed", "duration_seconds": 3.5,
            "drained_requests": 12, "left_requests": 0, "detail": "all\nended",
        });
        record["notes"] = json!(["one", "two"]);
        record["status"] = json!("failed");
        record["rollback_id"] = json!("rb-1");
        let golden = "  drain_traffic: completed, 3.500 s, 12 drained, 0 left: all\\nended\n  \
                      note: one\n  note: two\n";
        assert_eq!(ledger.news(&record), golden);
        assert_eq!((end(&record), &*ending(&record)), (Some(false), "rb-1 failed\n"));
    }

    #[test]
    fn a_whole_record_reads_like_this() {
        let record = json!({
            "rollback_id": "rb-1", "timestamp": "2026-11-24T21:05:58.123Z", "route": "iris",
            "trigger": "error_rate", "from_version": "v2.5", "to_version": "v2.4",
            "reason": "errorRate: 14.56% is above 1.00%", "automatic": true,
            "initiated_by": null, "status": "completed", "total_duration_seconds": 0.312,
            "trigger_latency_seconds": 0.0009,
            "protect": { "protect_id": "pr-1", "timestamp": "2026-11-24T21:05:57.000Z" },
            "phases": [
                { "phase": "route_traffic", "status": "completed", "duration_seconds": 0.001 },
                {
                    "phase": "verify_metrics", "status": "completed", "duration_seconds": 0.2,
                    "detail": "0.00% of 431 failed",
                },
            ],
            "post_rollback_metrics": {
                "accuracy": null, "error_rate": 0.0, "latency_p99": 12.04, "requests": 431,
            },
            "impact": { "requests": 412, "rescued": 58, "failed": 60 },
            "alerts_sent": [{
                "severity": "high", "recipients": ["ops", "oncall"],
                "timestamp": "2026-11-24T21:05:59.000Z", "reference": "https://tickets/7",
            }],
        });
        let golden = "\
route iris: rb-1 at 2026-11-24T21:05:58.123Z, v2.5 -> v2.4, error_rate, by -, completed in 0.312 s
  reason: errorRate: 14.56% is above 1.00%
  grew from pr-1 at 2026-11-24T21:05:57.000Z
  route_traffic: completed, 0.001 s
  verify_metrics: completed, 0.200 s: 0.00% of 431 failed
  out 0.001 s after the first verdict
  afterwards: 0.00% failed, p99 12.0 ms, over 431 requests
  impact: 412 requests, 60 failed, 58 of them rescued
  told ops, oncall (high) at 2026-11-24T21:05:59.000Z, https://tickets/7
";
        assert_eq!(whole(&record), golden);
    }
}
