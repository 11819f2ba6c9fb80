//! `switchback notices`: what waits to be delivered, what was given up, and what is to become
//! of that.
//!
//! Apart from the other orders because it changes no traffic.

use serde_json::Value;

use super::output::{Exit, Output, one_line};
use super::remote::talk;
use super::table::table;
use super::tree::{DeadArgs, Format, NoticesVerb, RemoteArgs};
use crate::admin::wire::{DeadOrder, Redelivered, reason};

/// Shows what waits, or says what becomes of what was given up.
pub(super) fn notices(
    verb: NoticesVerb,
    output: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    match verb {
        NoticesVerb::List(remote) => list(&remote, output),
        NoticesVerb::Retry(args) => order("retry", args, output),
        NoticesVerb::Drop(args) => order("drop", args, output),
    }
}

fn order(verb: &str, args: DeadArgs, output: &mut Output<'_>) -> anyhow::Result<Exit> {
    let DeadArgs { sink, reason: why, remote } = args;
    let order = DeadOrder { sink, reason: reason(&why)? };
    let client = remote.client()?;
    let path = format!("/api/v1/notices/{verb}");
    let done: Redelivered = talk(async { Ok(client.post(&path, &order).await?) })?;
    let Redelivered { sink, letters, operator, reason } = &done;
    let of = sink.as_ref().map_or("all sinks".to_owned(), one_line);
    let what = if verb == "drop" { "are dropped" } else { "are tried again" };
    let said = format!(
        "{letters} dead letters of {of} {what} (by {}: {})",
        one_line(operator),
        one_line(reason)
    );
    match remote.output {
        Format::Json => output.json(&done)?,
        Format::Table => output.lines(said)?,
    }
    Ok(Exit::Good)
}

fn list(remote: &RemoteArgs, output: &mut Output<'_>) -> anyhow::Result<Exit> {
    let client = remote.client()?;
    let all: Value = talk(async { Ok(client.get("/api/v1/notices").await?) })?;
    match remote.output {
        Format::Json => output.json(&all)?,
        Format::Table => output.lines(text(&all))?,
    }
    Ok(Exit::Good)
}

fn text(all: &Value) -> String {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let word = |value: &Value| match value {
        Value::String(text) => one_line(text),
        Value::Null => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    let sinks = list(&all["sinks"]);
    if sinks.is_empty() {
        return "nobody is told anything: there is no sink\n".to_owned();
    }
    let row = |sink: &Value| {
        let cells = ["name", "type", "waiting", "dead", "delivered", "last_error"];
        cells.map(|cell| word(&sink[cell])).to_vec()
    };
    let rows: Vec<Vec<String>> = sinks.iter().map(row).collect();
    let mut text = table(
        &[
            ("SINK", false),
            ("TYPE", false),
            ("WAITING", true),
            ("DEAD", true),
            ("DELIVERED", true),
            ("LAST ERROR", false),
        ],
        &rows,
    );
    for sink in &sinks {
        for letter in list(&sink["dead_letters"]) {
            let [key, when, why] =
                ["key", "given_up", "why"].map(|name| word(&letter[name]));
            let name = word(&sink["name"]);
            text.push_str(&format!("{name} gave up {key} at {when}: {why}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::text;

    #[test]
    fn what_was_given_up_is_shown_with_its_reason() {
        let all = json!({ "is_writing": false, "sinks": [{
            "name": "ops", "type": "slack", "waiting": 2, "dead": 1, "delivered": 7,
            "last_error": "HTTP 404\n\u{1b}[2J",
            "dead_letters": [{
                "key": "rb-1:rollback.started", "summary": "x", "queued": "t0",
                "given_up": "t1", "why": "HTTP 404",
            }],
        }] });
        let shown = text(&all);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        assert!(lines[1].starts_with("ops ") && lines[1].contains("HTTP 404\\n"));
        assert_eq!(lines[2], "ops gave up rb-1:rollback.started at t1: HTTP 404");
        assert!(text(&json!({ "sinks": [] })).starts_with("nobody is told"));
    }
}
