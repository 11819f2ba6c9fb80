//! `switchback history`: the rollbacks so far, as a table or as records.
//!
//! Apart from the status because a record's shape is the requirement's and is read field by
//! field: what an older or newer Switchback does not send is shown as absent.

use serde_json::Value;

use super::output::{Exit, Output, one_line};
use super::remote::talk;
use super::table::{Column, table};
use super::tree::{Format, RemoteArgs};
use crate::admin::wire::History;
use crate::vocab::time::Timestamp;

/// Shows the last rollback of every route.
pub(super) fn history(
    remote: &RemoteArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    let client = remote.client()?;
    let history: History = talk(async { Ok(client.get("/api/v1/history").await?) })?;
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
    match record.get("timestamp").and_then(Value::as_u64) {
        Some(ms) => Timestamp(ms).to_string(),
        None => word(record, "timestamp"),
    }
}

fn text(history: &History) -> String {
    if history.rollbacks.is_empty() {
        return "no rollbacks since the start\n".to_owned();
    }
    let rows: Vec<Vec<String>> = history
        .rollbacks
        .iter()
        .map(|record| {
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
        })
        .collect();
    table(COLUMNS, &rows)
}

const COLUMNS: &[Column] = &[
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::text;
    use crate::admin::wire::History;

    #[test]
    fn a_record_is_a_row_and_what_is_absent_a_dash() {
        let rollbacks = vec![
            json!({
                "timestamp": 951_782_400_000_u64, "rollback_id": "rb-2", "route": "iris",
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
        assert_eq!(text(&History { rollbacks }), golden);
        assert_eq!(text(&History::default()), "no rollbacks since the start\n");
    }
}
