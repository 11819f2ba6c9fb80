//! What a rollback leaves behind in the state directory: the audit log and the failure
//! analyses, read as an auditor does, from the files.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::street::Street;
use super::wait::{self, SOON};

/// The records of the audit log, in order.
pub fn audit(street: &Street) -> Vec<Value> {
    let dir = street.dir().path().join("state/audit");
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ext| ext == "jsonl"));
    files.sort_unstable();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    let records = texts.flat_map(|text| {
        // The last line may be under way.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let lines = text[..whole].lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    });
    records.collect()
}

/// Waits for the first record of that kind.
pub fn audited(street: &Street, kind: &str) -> Value {
    audited_within(street, kind, SOON)
}

/// The same with more patience.
pub fn audited_within(street: &Street, kind: &str, patience: Duration) -> Value {
    wait::eventually(&format!("the audit log has {kind}"), patience, || {
        audit(street).into_iter().find(|record| record["kind"] == *kind)
    })
}

/// Waits until a rollback's failure analysis is written to its end, and returns the facts
/// and the page.
pub fn incident(street: &Street, id: &str) -> (Value, String) {
    let dir = street.dir().path().join("state/incidents").join(id);
    let what = format!("the failure analysis of {id} is written");
    wait::eventually(&what, SOON, || {
        let json = fs::read_to_string(dir.join("report.json")).ok()?;
        let facts: Value = serde_json::from_str(&json).unwrap();
        let over = facts["rollback"]["status"] != "in_progress";
        let page = fs::read_to_string(dir.join("report.md")).unwrap();
        assert!(dir.join("latency.svg").exists(), "no plot beside {}", dir.display());
        over.then_some((facts, page))
    })
}

/// The phases of a rollback's record with their statuses.
pub fn phases(record: &Value) -> Vec<(String, String)> {
    let phases = record["phases"].as_array().unwrap().iter();
    let word = |phase: &Value, name: &str| phase[name].as_str().unwrap().to_owned();
    phases.map(|phase| (word(phase, "phase"), word(phase, "status"))).collect()
}
