//! `switchback audit`: the audit log on this machine, checked or shown.
//!
//! Apart from the verbs that ask a running Switchback: an auditor needs the files and
//! nothing else, and may look at them while they are written.

use std::path::PathBuf;

use clap::{Args, Subcommand, value_parser};
use serde::Serialize;
use serde_json::Value;

use super::check;
use super::history::word;
use super::output::{Exit, Output};
use super::table::{Column, table};
use super::tree::Format;
use crate::audit::{self, Filter, Hash, Report, Shown, Since};
use crate::config;
use crate::vocab::Timestamp;

#[derive(Debug, Subcommand)]
pub(super) enum AuditVerb {
    /// Check every record and name those that were changed, moved, put in or taken out.
    Verify(VerifyArgs),
    /// Show records.
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// A hash that the log must have, from a metric or a notice: shows a log that was cut.
    #[arg(long, value_name = "HASH")]
    head: Option<Hash>,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Only records of this kind; all whose kind begins so with a point at its end, such as
    /// rollback. (may be given several times).
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only records from that time on, such as 2026-11-24T21:05:58Z, or 2h for that long ago.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// Only records with this id (rb-…, pr-…) or number.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// So many at most, the last ones.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u32).range(1..=100_000))]
    last: u32,
    /// How records are written; json: each as the line that it is.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Where the log is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct PlaceArgs {
    /// The directory of the log, or the stateDir that it is in.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The configuration that says where the stateDir is.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Checks or shows the log.
pub(super) fn audit(verb: &AuditVerb, output: &mut Output<'_>) -> anyhow::Result<Exit> {
    match verb {
        AuditVerb::Verify(args) => verify(args, output),
        AuditVerb::Show(args) => show(args, output),
    }
}

/// The report as it is written for machines.
#[derive(Serialize)]
struct Verified<'a> {
    holds: bool,
    #[serde(flatten)]
    report: &'a Report,
}

fn verify(args: &VerifyArgs, output: &mut Output<'_>) -> anyhow::Result<Exit> {
    let Some(dir) = args.place.dir(output) else { return Ok(Exit::Error) };
    let report = audit::verify(&dir, args.head)?;
    let holds = report.holds();
    match args.output {
        Format::Json => output.json(&Verified { holds, report: &report })?,
        Format::Table => output.lines(verified(&report))?,
    }
    // The code of everything that is not as it should be.
    Ok(if holds { Exit::Good } else { Exit::RolledBack })
}

fn show(args: &ShowArgs, output: &mut Output<'_>) -> anyhow::Result<Exit> {
    let Some(dir) = args.place.dir(output) else { return Ok(Exit::Error) };
    let filter =
        Filter { kinds: args.kind.clone(), since: args.since, id: args.id.clone() };
    let last = usize::try_from(args.last)?;
    let shown = audit::show(&dir, &filter, last)?;
    match args.output {
        Format::Json => {
            for (line, _) in &shown {
                output.lines(line)?;
            }
        }
        Format::Table if shown.is_empty() => output.lines("no such records")?,
        Format::Table => {
            let rows: Vec<Vec<String>> = shown.iter().map(row).collect();
            output.lines(table(RECORDS, &rows))?;
        }
    }
    Ok(Exit::Good)
}

impl PlaceArgs {
    /// The directory of the log; what is wrong with a configuration is said.
    fn dir(&self, output: &mut Output<'_>) -> Option<PathBuf> {
        let state_dir = match (&self.dir, &self.config) {
            (Some(dir), _) => dir.clone(),
            (None, Some(file)) => check::load(file, output)?.settings.state_dir,
            (None, None) => return None,
        };
        let below = audit::Settings::below(&state_dir).dir;
        let is_state_dir = self.dir.is_none() || below.is_dir();
        Some(if is_state_dir { below } else { state_dir })
    }
}

fn verified(report: &Report) -> String {
    let mut text = String::new();
    if !report.problems.is_empty() {
        let rows: Vec<Vec<String>> = report
            .problems
            .iter()
            .map(|it| {
                let seq = it.seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
                let fault = it.fault.as_str().to_owned();
                vec![it.file.clone(), it.line.to_string(), seq, fault, it.what.clone()]
            })
            .collect();
        text.push_str(&table(PROBLEMS, &rows));
    }
    if let Some(unfinished) = &report.unfinished {
        let audit::Unfinished { file, offset, bytes } = unfinished;
        text.push_str(&format!(
            "{file} ends in the middle of a line, {bytes} bytes from byte {offset} on: a \
             write under way, or one that was never acknowledged\n"
        ));
    }
    let Report { records, files, head, more, .. } = report;
    let count = report.problems.len() as u64 + more;
    let verdict = match count {
        0 => "the chain holds".to_owned(),
        1 => "the chain does not hold, 1 problem".to_owned(),
        _ => format!("the chain does not hold, {count} problems"),
    };
    text.push_str(&format!(
        "{verdict}: {records} records in {files} files, the last is {} with hash {}\n",
        head.seq, head.hash
    ));
    if let Some(seq) = report.expected {
        text.push_str(&format!("the expected hash is that of record {seq}\n"));
    }
    text
}

fn row((line, said): &Shown) -> Vec<String> {
    let Some(record) = said else {
        let dash = || "-".to_owned();
        return vec![
            dash(),
            dash(),
            "unreadable".to_owned(),
            dash(),
            dash(),
            line.clone(),
        ];
    };
    let field = |name| word(record, name);
    let first = |names: &[&str]| {
        let mut known =
            names.iter().map(|name| word(record, name)).filter(|text| text != "-");
        known.next().unwrap_or_else(|| "-".to_owned())
    };
    let by = match record.get("operator") {
        Some(operator @ Value::Object(_)) => word(operator, "id"),
        Some(_) | None => field("initiated_by"),
    };
    vec![
        field("seq"),
        first(&["recorded_at", "timestamp"]),
        field("kind"),
        by,
        first(&["rollback_id", "protect_id", "version", "route"]),
        first(&["reason", "finding", "what", "why"]),
    ]
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Since::At(at));
    }
    let span = config::parse_span(text).map(Since::Ago);
    span.map_err(|_| {
        format!(
            "{text:?} is no time such as 2026-11-24T21:05:58Z, and no span such as 2h"
        )
    })
}

const PROBLEMS: &[Column] = &[
    ("FILE", false),
    ("LINE", true),
    ("RECORD", true),
    ("FAULT", false),
    ("WHAT", false),
];
const RECORDS: &[Column] = &[
    ("SEQ", true),
    ("TIME", false),
    ("KIND", false),
    ("BY", false),
    ("ABOUT", false),
    ("REASON", false),
];
