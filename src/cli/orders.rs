//! What an operator orders: a weight, a rollout's next step, a mode, a release.
//!
//! Apart from the verbs that look, because each of these changes traffic, needs a reason,
//! and says what was done and in whose name.

use serde::Serialize;

use super::output::{Exit, Output, one_line};
use super::remote::talk;
use super::status::{mode_sentence, rollout_sentence};
use super::table::table;
use super::tree::{
    Format, ModeArgs, ModeWord, ReleaseArgs, RemoteArgs, SetWeightArgs, SteerArgs,
};
use crate::admin::wire::{
    Done, ModeOrder, ModeView, PlainOrder, PromoteOrder, Quarantine, ReleaseOrder,
    RolloutView, ServiceMode, WeightOrder, reason,
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

/// Lets a rollout go on, stop, or begin again.
pub(super) fn steer(
    verb: &str,
    full: bool,
    args: SteerArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    let SteerArgs { route, reason: why, remote } = args;
    let (route, reason) = (Name::parse(&route)?, reason(&why)?);
    let path = format!("/api/v1/routes/{route}/{verb}");
    let view: RolloutView = if verb == "promote" {
        post(&remote, &path, &PromoteOrder { full, reason })?
    } else {
        post(&remote, &path, &PlainOrder { reason })?
    };
    let said = format!("route {route}: {}", rollout_sentence(&view));
    answer(&remote, &view, &said, output)
}

/// Makes a route read-only, or ends that.
pub(super) fn mode(args: ModeArgs, output: &mut Output<'_>) -> anyhow::Result<Exit> {
    let ModeArgs { route, mode, reason: why, remote } = args;
    let (route, reason) = (Name::parse(&route)?, reason(&why)?);
    let mode = match mode {
        ModeWord::Normal => ServiceMode::Normal,
        ModeWord::ReadOnly => ServiceMode::ReadOnly,
    };
    let path = format!("/api/v1/routes/{route}/mode");
    let view: ModeView = post(&remote, &path, &ModeOrder { mode, reason })?;
    let said = format!("route {route} is {}", mode_sentence(&view));
    answer(&remote, &view, &said, output)
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
