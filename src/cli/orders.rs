//! What an operator orders: a weight, a rollback, a release.
//!
//! Apart from the verbs that look, because each of these changes traffic, needs a reason,
//! and says what was done and in whose name.

use serde::Serialize;
use serde_json::Value;

use super::history::{sentence, took, word};
use super::output::{Exit, Output, one_line};
use super::remote::talk;
use super::table::table;
use super::tree::{Format, ReleaseArgs, RemoteArgs, RollbackArgs, SetWeightArgs};
use crate::admin::wire::{
    Done, Quarantine, ReleaseOrder, RollbackOrder, WeightOrder, reason,
};
use crate::vocab::ids::Name;

/// Gives a version another share.
pub(super) fn set_weight(
    args: SetWeightArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    let SetWeightArgs { route, weight: (version, weight), reason: why, remote } = args;
    let (route, version) = (Name::parse(&route)?, Name::parse(&version)?);
    let order =
        WeightOrder { version: version.to_string(), weight, reason: reason(&why)? };
    let path = format!("/api/v1/routes/{route}/weight");
    let done: Done = post(&remote, &path, &order)?;
    let weight = done.weight.map_or_else(String::new, |weight| format!(" {weight}%"));
    let (by, why) = (one_line(&done.operator), one_line(&done.reason));
    let said =
        format!("route {route}: {version} has the weight{weight} (by {by}: {why})");
    answer(&remote, &done, &said, output)
}

/// Takes all traffic from a version.
pub(super) fn rollback(
    args: RollbackArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    let RollbackArgs { route, version, to, reason: why, remote } = args;
    let route = Name::parse(&route)?;
    let order = RollbackOrder { version, to, reason: reason(&why)? };
    let record: Value =
        post(&remote, &format!("/api/v1/routes/{route}/rollback"), &order)?;
    let mut said = format!("route {route}: {}\n", sentence(&record));
    let phases = record.get("phases").and_then(Value::as_array);
    for phase in phases.into_iter().flatten() {
        let took =
            phase.get("duration_seconds").and_then(Value::as_f64).unwrap_or_default();
        let (name, status) = (word(phase, "phase"), word(phase, "status"));
        said.push_str(&format!("  {name}: {status}, {took:.3} s\n"));
    }
    let notes = record.get("notes").and_then(Value::as_array);
    for note in notes.into_iter().flatten().filter_map(Value::as_str) {
        said.push_str(&format!("  note: {}\n", one_line(note)));
    }
    if took(&record).is_none() {
        said.push_str("new requests are on the stable version; `switchback status` shows the rest\n");
    }
    answer(&remote, &record, &said, output)
}

/// Lets a version out of quarantine.
pub(super) fn release(
    args: ReleaseArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    let ReleaseArgs { route, version, reason: why, remote } = args;
    let order = ReleaseOrder { route, version, reason: reason(&why)? };
    let done: Done = post(&remote, "/api/v1/quarantine/release", &order)?;
    let (route, version) = (one_line(&done.route), one_line(&done.version));
    let (by, why) = (one_line(&done.operator), one_line(&done.reason));
    let said = format!("route {route}: {version} is out of quarantine (by {by}: {why})");
    answer(&remote, &done, &said, output)
}

/// Shows the versions in quarantine.
pub(super) fn quarantine(
    remote: &RemoteArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    let client = remote.client()?;
    let held: Quarantine = talk(async { Ok(client.get("/api/v1/quarantine").await?) })?;
    let rows: Vec<Vec<String>> = held
        .quarantine
        .iter()
        .cloned()
        .map(|one| vec![one.route, one.version, one.reason])
        .collect();
    let said = if rows.is_empty() {
        "no version is in quarantine".to_owned()
    } else {
        table(&[("ROUTE", false), ("VERSION", false), ("REASON", false)], &rows)
    };
    answer(remote, &held, &said, output)
}

fn post<B: Serialize + Sync, T: serde::de::DeserializeOwned>(
    remote: &RemoteArgs,
    path: &str,
    order: &B,
) -> anyhow::Result<T> {
    let client = remote.client()?;
    talk(async { Ok(client.post(path, order).await?) })
}

fn answer<T: Serialize>(
    remote: &RemoteArgs,
    value: &T,
    said: &str,
    output: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    match remote.output {
        Format::Json => output.json(value)?,
        Format::Table => output.lines(said)?,
    }
    Ok(Exit::Good)
}
