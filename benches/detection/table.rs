//! The report as Markdown for people and JSON for machines.

use crate::accept::Line;
use crate::bound;
use crate::drift::{self, Drift};
use crate::number::{float, upper_bound};
use crate::rollout::Report;
use crate::scenario::Group;
use crate::tally::{Delays, Tally};

/// The one table, group by group.
pub(crate) fn markdown(reports: &[Report], drifts: &[Drift]) -> String {
    let mut text = String::from(
        "| scenario | method | rollouts | false rollbacks an hour (≤, 95 %) | rolled back | \
         users off: median / p95 / mean s | rollback: median / p95 / mean s | harmed requests \
         | mean / bound |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for group in Group::ALL {
        let mut reports =
            reports.iter().filter(|it| it.scenario().group == group).peekable();
        if reports.peek().is_some() {
            text += &format!("| **{}** | | | | | | | | |\n", group.title());
        }
        for report in reports {
            for tally in &report.tallies {
                row(&mut text, report, tally);
            }
        }
    }
    if !drifts.is_empty() {
        text += "| **Drift of outputs** | | | | | | | | |\n";
    }
    for drift in drifts {
        for tally in &drift.tallies {
            drift_row(&mut text, drift, tally);
        }
    }
    text
}

fn row(text: &mut String, report: &Report, tally: &Tally) {
    let scenario = report.scenario();
    let (protect, rollback) = (tally.protect(), tally.rollback());
    let is_equal = scenario.group.is_equal();
    let rate = if is_equal { per_hour(tally) } else { "–".to_owned() };
    let chance = format!("{:.1} %", rollback.chance * 100.0);
    let early = match tally.early {
        0 => String::new(),
        early => format!(" (+{early} before)"),
    };
    let promotion = match tally.promotion() {
        Delays { count, .. } if count == 0 || scenario.group != Group::Promotion => {
            String::new()
        }
        promoted => {
            format!(", promoted {:.1} %: {}", promoted.chance * 100.0, delays(promoted))
        }
    };
    let ours = tally.method == crate::ours::TWO_PHASE;
    let confirmed = if ours { delays(rollback) } else { "=".to_owned() };
    let bound = bound::seconds(scenario, report.stage.laws());
    let ratio = bound
        .filter(|_| protect.chance > 0.95)
        .map_or("–".to_owned(), |bound| format!("{:.2}", protect.mean / bound));
    *text += &format!(
        "| {} | {} | {} | {rate} | {chance}{early}{promotion} | {} | {confirmed} | {:.1} \
         | {ratio} |\n",
        scenario.name,
        tally.method,
        tally.rollouts,
        delays(protect),
        tally.harm(),
    );
}

fn drift_row(text: &mut String, drift: &Drift, tally: &Tally) {
    let rollback = tally.rollback();
    let rest = if tally.method == drift::BESIDE { 0.9 } else { 1.0 };
    let ratio = drift::bound(drift, rest)
        .filter(|_| rollback.chance > 0.95)
        .map_or("–".to_owned(), |bound| format!("{:.2}", rollback.mean / bound));
    let rate = if drift.shift > 0.0 { "–".to_owned() } else { per_hour(tally) };
    *text += &format!(
        "| {} sigma; {} outputs/s | {} | {} | {rate} | {:.1} % | {} | = | – | {ratio} |\n",
        drift.shift,
        drift.rate,
        tally.method,
        tally.rollouts,
        rollback.chance * 100.0,
        delays(rollback),
    );
}

/// The share of hour-long rollouts that end in a rollback, and the highest chance that still
/// explains it.
fn per_hour(tally: &Tally) -> String {
    let hits = tally.rollbacks();
    let rate = float(hits) / float(tally.rollouts.max(1));
    let most = upper_bound(hits, tally.rollouts);
    format!("{:.3} % (≤ {:.3} %)", rate * 100.0, most * 100.0)
}

fn delays(delays: Delays) -> String {
    if delays.count == 0 {
        return "–".to_owned();
    }
    let Delays { median, p95, mean, .. } = delays;
    format!("{} / {} / {}", seconds(median), seconds(p95), seconds(mean))
}

fn seconds(seconds: f64) -> String {
    if seconds.is_infinite() {
        "never".to_owned()
    } else if seconds < 20.0 {
        format!("{seconds:.2}")
    } else {
        format!("{seconds:.0}")
    }
}

/// The numbers to reach, each with what was reached.
pub(crate) fn acceptance(lines: &[Line]) -> String {
    let mut text =
        String::from("| what | wanted | measured | met |\n|---|---|---|---|\n");
    for Line { what, wanted, measured, met } in lines {
        let met = match met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        text += &format!("| {what} | {wanted} | {measured} | {met} |\n");
    }
    text
}

/// The same for machines.
pub(crate) fn json(
    seed: u64,
    reports: &[Report],
    drifts: &[Drift],
    lines: &[Line],
) -> String {
    let mut rows = Vec::new();
    for report in reports {
        let scenario = report.scenario();
        let bound = bound::seconds(scenario, report.stage.laws());
        for tally in &report.tallies {
            rows.push(object(scenario.group.title(), &scenario.name, tally, bound));
        }
    }
    for drift in drifts {
        let name = format!("{} sigma; {} outputs/s", drift.shift, drift.rate);
        for tally in &drift.tallies {
            let rest = if tally.method == drift::BESIDE { 0.9 } else { 1.0 };
            rows.push(object(
                "Drift of outputs",
                &name,
                tally,
                drift::bound(drift, rest),
            ));
        }
    }
    let lines: Vec<String> = lines
        .iter()
        .map(|Line { what, wanted, measured, met }| {
            let met = met.map_or("null".to_owned(), |met| met.to_string());
            format!(
                "{{\"what\":{},\"wanted\":{},\"measured\":{},\"met\":{met}}}",
                quoted(what),
                quoted(wanted),
                quoted(measured)
            )
        })
        .collect();
    let (rows, lines) = (rows.join(",\n"), lines.join(",\n"));
    format!("{{\"seed\":{seed},\"rows\":[\n{rows}\n],\"acceptance\":[\n{lines}\n]}}\n")
}

fn object(group: &str, name: &str, tally: &Tally, bound: Option<f64>) -> String {
    let times = |delays: Delays| {
        format!(
            "{{\"count\":{},\"chance\":{},\"median\":{},\"p95\":{},\"mean\":{}}}",
            delays.count,
            number(delays.chance),
            number(delays.median),
            number(delays.p95),
            number(delays.mean)
        )
    };
    format!(
        "{{\"table\":{},\"scenario\":{},\"method\":{},\"rollouts\":{},\"hours\":{},\
         \"rollbacks\":{},\"rollbacksAtMost\":{},\"early\":{},\"held\":{},\"protects\":{},\
         \"resumes\":{},\"harmed\":{},\"bound\":{},\"protect\":{},\"rollback\":{},\
         \"promotion\":{}}}",
        quoted(group),
        quoted(name),
        quoted(tally.method),
        tally.rollouts,
        number(tally.hours()),
        tally.rollbacks(),
        number(upper_bound(tally.rollbacks(), tally.rollouts)),
        tally.early,
        tally.held,
        tally.protects,
        tally.resumes,
        number(tally.harm()),
        number(bound.unwrap_or(f64::NAN)),
        times(tally.protect()),
        times(tally.rollback()),
        times(tally.promotion()),
    )
}

/// What is not finite has no number in JSON.
fn number(number: f64) -> String {
    if number.is_finite() { format!("{number}") } else { "null".to_owned() }
}

/// Names hold no control characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
