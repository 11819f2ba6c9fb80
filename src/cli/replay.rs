//! `switchback replay`: what one or several configurations would have done with a trace.
//!
//! Apart because it asks no running Switchback and starts none: it reads files and prints
//! what [`crate::replay`] makes of them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::check;
use super::output::{Exit, Output, one_line};
use super::table::table;
use super::tree::{Format, ReplayArgs};
use crate::replay::{Policy, Problems, Replay, Report, Verdict, feed};
use crate::trace::Reader;

/// A report beside the configuration that it is of.
#[derive(Serialize)]
struct Compared<'a> {
    config: String,
    #[serde(flatten)]
    report: &'a Report,
}

/// Replays a trace and prints what came of it.
pub(super) fn replay(args: &ReplayArgs, output: &mut Output<'_>) -> anyhow::Result<Exit> {
    let mut replays = Vec::with_capacity(args.config.len());
    for file in &args.config {
        let Some(loaded) = check::load(file, output) else { return Ok(Exit::Error) };
        for warning in &loaded.warnings {
            output.errors(format!("warning: {}: {warning}", file.display()));
        }
        let routes = &loaded.settings.live.routes;
        let policy = Policy::choose(routes, args.route.as_deref());
        let replay = policy.and_then(|policy| Replay::new(&policy));
        replays.push(replay.with_context(|| file.display().to_string())?);
    }
    let mut reader = Reader::open(&args.trace)?;
    let read = feed(&mut reader, &mut replays);
    tell(&read, &replays, &args.trace, output);
    let mut reports = Vec::with_capacity(replays.len());
    for replay in replays {
        let trace = || args.trace.display().to_string();
        reports.push(replay.finish(&read, reader.line()).with_context(trace)?);
    }
    let compared: Vec<Compared<'_>> = args
        .config
        .iter()
        .zip(&reports)
        .map(|(file, report)| Compared { config: file.display().to_string(), report })
        .collect();
    match (args.output, &compared[..]) {
        (Format::Json, [one]) => output.json(one)?,
        (Format::Json, all) => output.json(&all)?,
        (Format::Table, all) => output.lines(side_by_side(all))?,
    }
    Ok(worst(&reports))
}

/// Says what is wrong with the trace, the first of each kind, one line each; what several
/// configurations say alike is said once.
fn tell(read: &Problems, replays: &[Replay], trace: &Path, output: &mut Output<'_>) {
    let trace = trace.display();
    let mut said = BTreeSet::new();
    for problems in std::iter::once(read).chain(replays.iter().map(Replay::problems)) {
        for problem in problems.first() {
            let line = one_line(format!("{trace}: {problem}"));
            if said.insert(line.clone()) {
                output.errors(line);
            }
        }
        let left = problems.count() - problems.first().len() as u64;
        if left > 0 {
            let counts = problems.counts().iter();
            let kinds: Vec<String> = counts
                .map(|(fault, count)| format!("{} {count}", fault.as_str()))
                .collect();
            let line = format!(
                "{trace}: {left} more problems like these, in all: {}",
                kinds.join(", ")
            );
            if said.insert(line.clone()) {
                output.errors(line);
            }
        }
    }
}

fn worst(reports: &[Report]) -> Exit {
    let any = |verdict| reports.iter().any(|one| one.canary.verdict == verdict);
    if any(Verdict::Rollback) {
        Exit::RolledBack
    } else if any(Verdict::Hold) {
        Exit::Inconclusive
    } else {
        Exit::Good
    }
}

/// One column a configuration.
fn side_by_side(all: &[Compared<'_>]) -> String {
    let ms = |at: Option<u64>| at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    type Cell = fn(&Report, &dyn Fn(Option<u64>) -> String) -> String;
    let rows: [(&str, Cell); 11] = [
        ("route", |it, _| it.route.to_string()),
        ("canary", |it, _| it.canary.version.to_string()),
        ("verdict", |it, _| it.canary.verdict.as_str().to_owned()),
        ("protected at ms", |it, ms| ms(it.canary.protect_ms)),
        ("rolled back at ms", |it, ms| ms(it.canary.rollback_ms)),
        ("promotable at ms", |it, ms| ms(it.canary.promote_ms)),
        ("rule", |it, _| it.canary.rule.unwrap_or("-").to_owned()),
        ("canary requests", |it, _| {
            of(it.canary.samples.canary, it.canary.samples.canary_failures)
        }),
        ("stable requests", |it, _| {
            of(it.canary.samples.stable, it.canary.samples.stable_failures)
        }),
        ("requests in all", |it, _| it.events.to_string()),
        ("problems", |it, _| it.problem_count.to_string()),
    ];
    let columns: Vec<(&str, bool)> = std::iter::once(("", false))
        .chain(all.iter().map(|one| (one.config.as_str(), false)))
        .collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|(name, cell)| {
            let cells = all.iter().map(|one| cell(one.report, &ms));
            std::iter::once((*name).to_owned()).chain(cells).collect()
        })
        .collect();
    let mut text = table(&columns, &rows);
    for one in all {
        if let Some(finding) = &one.report.canary.finding {
            text.push_str(&format!("{}: {finding}\n", one.config));
        }
    }
    text
}

fn of(known: u64, failures: u64) -> String {
    format!("{known}, {failures} failed")
}
