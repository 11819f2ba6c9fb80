//! `switchback incident`: the failure analyses that are kept, and one of them.
//!
//! Apart from the history because it shows a document, not a record.

use serde_json::Value;

use super::output::{Exit, Output};
use super::remote::talk;
use super::table::table;
use super::tree::{Format, IncidentVerb, RemoteArgs};
use crate::admin::wire::Incidents;

/// Shows the list, or the report of one.
pub(super) fn incident(
    verb: &IncidentVerb,
    output: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    match verb {
        IncidentVerb::List(remote) => list(remote, output),
        IncidentVerb::Show { id, remote } => show(id, remote, output),
    }
}

fn list(remote: &RemoteArgs, output: &mut Output<'_>) -> anyhow::Result<Exit> {
    let client = remote.client()?;
    let all: Incidents = talk(async { Ok(client.get("/api/v1/incidents").await?) })?;
    match remote.output {
        Format::Json => output.json(&all)?,
        Format::Table if all.incidents.is_empty() => {
            output.lines("no failure analysis is kept")?;
        }
        Format::Table => {
            let rows: Vec<Vec<String>> = all
                .incidents
                .into_iter()
                .map(|one| vec![one.id, one.files.join(" ")])
                .collect();
            output.lines(table(&[("ROLLBACK", false), ("FILES", false)], &rows))?;
        }
    }
    Ok(Exit::Good)
}

fn show(id: &str, remote: &RemoteArgs, output: &mut Output<'_>) -> anyhow::Result<Exit> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !id.starts_with("rb-") || !id.chars().all(plain) {
        anyhow::bail!(
            "{id:?} is no id of a rollback: write rb-…, see switchback history"
        );
    }
    let client = remote.client()?;
    let path = |file: &str| format!("/api/v1/incidents/{id}/{file}");
    match remote.output {
        Format::Json => {
            let report: Value =
                talk(async { Ok(client.get(&path("report.json")).await?) })?;
            output.json(&report)?;
        }
        Format::Table => {
            let report = talk(async { Ok(client.text(&path("report.md")).await?) })?;
            output.lines(report)?;
        }
    }
    Ok(Exit::Good)
}
