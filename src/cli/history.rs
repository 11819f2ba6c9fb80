//! `switchback history`: the rollbacks and protects so far, as tables or as records.
//!
//! Apart from the status because a record's shape is the requirement's and is read field by
//! field: what an older or newer Switchback does not send is shown as absent.

use serde_json::Value;

use super::ledger::whole;
use super::output::{Exit, Output, one_line};
use super::remote::talk;
use super::table::{Column, table};
use super::tree::{Format, HistoryArgs};
use crate::admin::wire::HistoryView;

/// Shows the rollbacks and protects, or the ledger of one rollback.
pub(super) fn history(
    args: &HistoryArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    let HistoryArgs { id, remote } = args;
    let client = remote.client()?;
    if let Some(id) = id {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !id.starts_with("rb-") || !id.chars().all(plain) {
            anyhow::bail!("--id {id:?} is no id of a rollback: write rb-…");
        }
        let path = format!("/api/v1/rollbacks/{id}");
        let record: Value = talk(async { Ok(client.get(&path).await?) })?;
        match remote.output {
            Format::Json => output.json(&record)?,
            Format::Table => output.lines(whole(&record))?,
        }
        return Ok(Exit::Good);
    }
    let history: HistoryView = talk(async { Ok(client.get("/api/v1/history").await?) })?;
    match remote.output {
        Format::Json => output.json(&history)?,
        Format::Table => output.lines(text(&history))?,
    }
    Ok(Exit::Good)
}

/// One record in one line.
pub(super) fn sentence(record: &Value) -> String {
    let field = |name| word(record, name);
    let (from, to) = (field("from_version"), field("to_version"));
    let (id, trigger, by) =
        (field("rollback_id"), field("trigger"), field("initiated_by"));
    let (at, status) = (time(record), field("status"));
    let took = took(record).map_or_else(String::new, |took| format!(" in {took}"));
    format!("{id} at {at}, {from} -> {to}, {trigger}, by {by}, {status}{took}")
}

/// The record of a protect in one line.
pub(super) fn protect_sentence(record: &Value) -> String {
    let field = |name| word(record, name);
    let (id, version, to) = (field("protect_id"), field("version"), field("to_version"));
    let (at, finding, outcome) = (time(record), field("finding"), field("outcome"));
    let why = match record.get("why") {
        Some(Value::String(why)) => format!(": {}", one_line(why)),
        Some(_) | None => String::new(),
    };
    format!(
        "{id} at {at}, users of {version} are moved to {to}, {finding}; {outcome}{why}"
    )
}

/// A record's member as one harmless line, or a dash.
pub(super) fn word(record: &Value, name: &str) -> String {
    match record.get(name) {
        Some(Value::String(text)) => one_line(text),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => one_line(other),
    }
}

/// How long it took, once it has ended.
pub(super) fn took(record: &Value) -> Option<String> {
    let seconds = record.get("total_duration_seconds")?.as_f64()?;
    Some(format!("{seconds:.3} s"))
}

fn time(record: &Value) -> String {
    word(record, "timestamp")
}

fn text(history: &HistoryView) -> String {
    let mut text = match &history.rollbacks[..] {
        [] => "no rollbacks since the start\n".to_owned(),
        records => table(ROLLBACKS, &records.iter().map(rollback).collect::<Vec<_>>()),
    };
    if !history.protects.is_empty() {
        let rows: Vec<Vec<String>> = history.protects.iter().map(protect).collect();
        text.push('\n');
        text.push_str(&table(PROTECTS, &rows));
    }
    text
}

fn rollback(record: &Value) -> Vec<String> {
    let field = |name| word(record, name);
    vec![
        time(record),
        field("rollback_id"),
        field("route"),
        format!("{} -> {}", field("from_version"), field("to_version")),
        field("trigger"),
        field("initiated_by"),
        field("status"),
        took(record).unwrap_or_else(|| "-".to_owned()),
        field("reason"),
    ]
}

fn protect(record: &Value) -> Vec<String> {
    let field = |name| word(record, name);
    vec![
        time(record),
        field("protect_id"),
        field("route"),
        field("version"),
        field("trigger"),
        field("outcome"),
        field("finding"),
        field("why"),
    ]
}

const ROLLBACKS: &[Column] = &[
    ("TIME", false),
    ("ROLLBACK", false),
    ("ROUTE", false),
    ("FROM -> TO", false),
    ("TRIGGER", false),
    ("BY", false),
    ("STATUS", false),
    ("TOOK", true),
    ("REASON", false),
];
const PROTECTS: &[Column] = &[
    ("TIME", false),
    ("PROTECT", false),
    ("ROUTE", false),
    ("VERSION", false),
    ("TRIGGER", false),
    ("OUTCOME", false),
    ("FINDING", false),
    ("WHY", false),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{protect_sentence, text};
    use crate::admin::wire::HistoryView;

    #[test]
    fn a_record_is_a_row_and_what_is_absent_a_dash() {
        let rollbacks = vec![
            json!({
                "timestamp": "2000-02-29T00:00:00.000Z", "rollback_id": "rb-2", "route": "iris",
                "from_version": "v2.5", "to_version": "v2.4", "trigger": "manual",
                "initiated_by": "alice", "status": "completed",
                "total_duration_seconds": 30.0, "reason": "bad\nanswers",
            }),
            json!({"rollback_id": "rb-1", "status": "in_progress", "total_duration_seconds": null}),
        ];
        let golden = "\
TIME                      ROLLBACK  ROUTE  FROM -> TO    TRIGGER  BY     STATUS           TOOK  REASON
2000-02-29T00:00:00.000Z  rb-2      iris   v2.5 -> v2.4  manual   alice  completed    30.000 s  bad\\nanswers
-                         rb-1      -      - -> -        -        -      in_progress         -  -
";
        assert_eq!(text(&HistoryView { rollbacks, protects: Vec::new() }), golden);
        assert_eq!(text(&HistoryView::default()), "no rollbacks since the start\n");
    }
    #[test]
    fn a_protect_is_a_row_below() {
        let record = json!({
            "timestamp": "2000-02-29T00:00:00.000Z", "protect_id": "pr-1", "route": "iris",
            "version": "v2.5", "to_version": "v2.4", "trigger": "error_rate",
            "finding": "odds 24 to 1", "outcome": "resumed", "why": "it was noise",
        });
        let said = protect_sentence(&record);
        assert_eq!(
            said,
            "pr-1 at 2000-02-29T00:00:00.000Z, users of v2.5 are moved to v2.4, odds 24 to 1; \
             resumed: it was noise"
        );
        let protects = vec![record, json!({"protect_id": "pr-0", "outcome": "open"})];
        let golden = "\
no rollbacks since the start

TIME                      PROTECT  ROUTE  VERSION  TRIGGER     OUTCOME  FINDING       WHY
2000-02-29T00:00:00.000Z  pr-1     iris   v2.5     error_rate  resumed  odds 24 to 1  it was noise
-                         pr-0     -      -        -           open     -             -
";
        assert_eq!(text(&HistoryView { rollbacks: Vec::new(), protects }), golden);
    }
}
