//! `report.md`: the same facts for people, from three sentences down to the last sample.
//!
//! Apart from the form of the review, which is its last part, and from how texts are
//! escaped: nothing here writes a text from outside but through `text`.

use super::bound::LeftOut;
use super::facts::{Breach, Facts, Version};
use super::figures::{UNKNOWN, amount, count, micros, millis, odds, percent};
use super::figures::{seconds, share, span};
use super::review::review;
use super::text::{block, code, prose};
use crate::vocab::outcome::Class;
use crate::vocab::record::{AlertSent, PhaseRecord, RollbackRecord, Status};
use crate::vocab::sample::Sample;

pub(super) fn markdown(facts: &Facts, left_out: &LeftOut) -> String {
    let record = &facts.record;
    let mut page = Page::default();
    page.line(&format!(
        "# Rollback of {} on {}",
        prose(record.from_version.as_str()),
        prose(record.route.as_str())
    ));
    page.line("");
    page.line(&format!("{} · reported {}", code(&record.rollback_id), facts.at));
    page.part("Summary");
    page.line(&summary(record));
    numbers(&mut page, facts, left_out);
    timeline(&mut page, facts, left_out);
    phases(&mut page, record, left_out);
    errors(&mut page, facts);
    latency(&mut page, facts);
    afterwards(&mut page, record);
    alerts(&mut page, &record.alerts_sent, left_out);
    samples(&mut page, &facts.samples, left_out);
    config(&mut page, facts, left_out);
    page.part("Post-incident review");
    page.0.push_str(&review(facts));
    page.0
}

/// What happened, what it cost, and how it ended: a sentence each.
fn summary(record: &RollbackRecord) -> String {
    let who = match &record.initiated_by {
        Some(operator) => prose(operator),
        None if record.automatic => "Switchback".to_owned(),
        None => "An operator".to_owned(),
    };
    let (from, to) =
        (prose(record.from_version.as_str()), prose(record.to_version.as_str()));
    let why = prose(record.reason.trim_end_matches('.'));
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    format!(
        "{who} took {from} out of the traffic of {} at {} and gave its requests to {to} \
         ({}){why}. {} {}",
        prose(record.route.as_str()),
        record.timestamp,
        record.trigger,
        cost(record),
        end(record, &to)
    )
}

fn cost(record: &RollbackRecord) -> String {
    let from = prose(record.from_version.as_str());
    let Some(impact) = record.impact else {
        return format!("How many requests of {from} failed is not known.");
    };
    let affected = impact.failed.saturating_sub(impact.rescued);
    if impact.failed == 0 {
        let all = count(impact.requests);
        return format!("Of {all} requests that {from} was given it failed none.");
    }
    format!(
        "Of {} requests that {from} was given it failed {} ({}), {} of these were answered by \
         another version, and {} were not.",
        count(impact.requests),
        count(impact.failed),
        percent(share(impact.failed, impact.requests)),
        count(impact.rescued),
        count(affected)
    )
}

fn end(record: &RollbackRecord, to: &str) -> String {
    let took = match record.total_duration_seconds {
        Some(total) => format!(" after {}", seconds(Some(total))),
        None => String::new(),
    };
    match record.status {
        Status::Pending => "The rollback has not begun.".to_owned(),
        Status::InProgress => "The rollback is under way.".to_owned(),
        Status::Completed => format!("The rollback was completed{took}."),
        Status::Failed => format!(
            "The rollback failed{took}: {to} was not shown to be sound, and the notes under \
             \"Phases\" say what was done instead."
        ),
        Status::RolledBack => format!("The rollback was undone{took}."),
    }
}

fn numbers(page: &mut Page, facts: &Facts, left_out: &LeftOut) {
    page.part("What broke which rule");
    let acted = facts.breaches.iter().any(|breach| breach.acted);
    match (acted || facts.record.automatic, facts.breaches.is_empty()) {
        (true, true) => page.line("No numbers of the rules were kept."),
        (true, false) => {}
        (false, true) => page.line("None: the rollback was ordered."),
        (false, false) => {
            page.line("None: the rollback was ordered. What the rules saw then:\n");
        }
    }
    if facts.breaches.is_empty() {
        return;
    }
    let row = |breach: &Breach| {
        [
            prose(&breach.rule),
            prose(&breach.test),
            amount(breach.seen, breach.unit),
            amount(breach.stable, breach.unit),
            amount(breach.limit, breach.unit),
            count(breach.samples),
            count(breach.stable_samples),
            span(breach.window_seconds),
            odds(breach.odds),
            odds(breach.odds_needed),
            if breach.acted { "yes" } else { "no" }.to_owned(),
        ]
    };
    page.table(
        [
            "Rule",
            "Test",
            "Seen",
            "Stable's",
            "Limit",
            "Samples",
            "Stable's samples",
            "Window",
            "Odds",
            "Odds that suffice",
            "Acted",
        ],
        facts.breaches.iter().map(row),
    );
    page.line("");
    for breach in facts.breaches.iter().filter(|breach| !breach.finding.is_empty()) {
        page.line(&format!("- {}", prose(&breach.finding)));
    }
    page.rest(left_out.breaches, "more rules");
}

fn timeline(page: &mut Page, facts: &Facts, left_out: &LeftOut) {
    page.part("Timeline");
    let row = |it: &super::facts::Moment| {
        [it.at.to_string(), prose(&it.event), prose(&it.detail)]
    };
    page.table(["Time (UTC)", "Event", "Detail"], facts.timeline.iter().map(row));
    page.rest(left_out.moments, "moments in the middle of it");
}

fn phases(page: &mut Page, record: &RollbackRecord, left_out: &LeftOut) {
    page.part("Phases");
    let row = |phase: &PhaseRecord| {
        let number = |n: Option<u64>| n.map_or_else(|| UNKNOWN.to_owned(), count);
        [
            phase.phase.to_string(),
            status(phase.status).to_owned(),
            seconds(Some(phase.duration_seconds)),
            number(phase.drained_requests),
            number(phase.left_requests),
            phase.detail.as_deref().map_or_else(String::new, prose),
        ]
    };
    page.table(
        ["Phase", "Status", "Duration", "Drained", "Left", "Detail"],
        record.phases.iter().map(row),
    );
    page.line("");
    let after = seconds(record.trigger_latency_seconds);
    page.line(&format!(
        "{}, {} in all; from the first verdict until its users were off it: {after}.",
        status(record.status),
        seconds(record.total_duration_seconds)
    ));
    if let Some(protect) = &record.protect {
        page.line("");
        page.line(&format!(
            "It grew from the protect {} of {}: {}",
            code(&protect.protect_id),
            protect.timestamp,
            prose(&protect.finding)
        ));
    }
    if !record.notes.is_empty() {
        page.line("");
    }
    for note in &record.notes {
        page.line(&format!("- Note: {}", prose(note)));
    }
    page.rest(left_out.notes, "more notes");
}

/// The requirement's word.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::InProgress => "in progress",
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::RolledBack => "rolled back",
    }
}

fn errors(page: &mut Page, facts: &Facts) {
    page.part("Requests and errors");
    page.line(&format!("Over the last {} of each version.", span(facts.window_seconds)));
    page.line("");
    if facts.versions.is_empty() {
        page.line("Nothing was measured.");
        return;
    }
    let head = std::iter::once("Ended".to_owned()).chain(facts.versions.iter().map(name));
    let mut rows = vec![
        row("requests", facts, |it| count(it.requests)),
        row("failed", facts, |it| count(it.failures)),
        row("failed share", facts, |it| percent(it.error_rate())),
    ];
    for class in Class::all() {
        let of = |it: &Version| {
            let found = it.classes.iter().find(|one| one.class == class);
            found.map_or(0, |one| one.count)
        };
        if facts.versions.iter().any(|it| of(it) > 0) {
            rows.push(row(class.as_str(), facts, |it| count(of(it))));
        }
    }
    page.rows(head.collect(), rows);
}

fn latency(page: &mut Page, facts: &Facts) {
    page.part("Latency of good answers");
    if facts.versions.is_empty() {
        page.line("Nothing was measured.");
        return;
    }
    let head = std::iter::once(String::new()).chain(facts.versions.iter().map(name));
    let mut rows = vec![
        row("p50", facts, |it| micros(it.latency.p50_us)),
        row("p90", facts, |it| micros(it.latency.p90_us)),
        row("p99", facts, |it| micros(it.latency.p99_us)),
    ];
    if facts.versions.iter().any(|it| it.first_token.p99_us.is_some()) {
        rows.extend([
            row("first token, p50", facts, |it| micros(it.first_token.p50_us)),
            row("first token, p99", facts, |it| micros(it.first_token.p99_us)),
            row("each token, p50", facts, |it| micros(it.each_token.p50_us)),
            row("each token, p99", facts, |it| micros(it.each_token.p99_us)),
        ]);
    }
    page.rows(head.collect(), rows);
    page.line("");
    page.line("![Latency distributions and error rate of both versions](latency.svg)");
}

fn row(name: &str, facts: &Facts, of: impl Fn(&Version) -> String) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(facts.versions.iter().map(of)).collect()
}

fn name(version: &Version) -> String {
    let role = if version.role.is_empty() {
        String::new()
    } else {
        format!(" ({})", version.role)
    };
    prose(&format!("{}{role}", version.name))
}

fn afterwards(page: &mut Page, record: &RollbackRecord) {
    page.part("Afterwards");
    let Some(metrics) = record.post_rollback_metrics else {
        page.line(&format!(
            "How {} did with the traffic is not known.",
            prose(record.to_version.as_str())
        ));
        return;
    };
    page.line(&format!(
        "{} failed {} of {} requests, p99 {}.",
        prose(record.to_version.as_str()),
        percent(metrics.error_rate),
        count(metrics.requests),
        metrics
            .latency_p99
            .filter(|ms| ms.is_finite())
            .map_or_else(|| UNKNOWN.to_owned(), millis)
    ));
}

fn alerts(page: &mut Page, sent: &[AlertSent], left_out: &LeftOut) {
    page.part("Who was told");
    if sent.is_empty() {
        page.line("Nobody yet, as far as is known.");
        return;
    }
    let row = |alert: &AlertSent| {
        [
            alert.timestamp.to_string(),
            alert.severity.as_str().to_owned(),
            prose(&alert.recipients.join(", ")),
            alert.reference.as_deref().map_or_else(String::new, prose),
        ]
    };
    page.table(
        ["Time (UTC)", "Severity", "Recipients", "Reference"],
        sent.iter().map(row),
    );
    page.rest(left_out.alerts, "more");
}

fn samples(page: &mut Page, samples: &[Sample], left_out: &LeftOut) {
    page.part("Some failed exchanges");
    if samples.is_empty() {
        page.line("None were kept.");
    }
    for sample in samples {
        let status =
            sample.status.map_or_else(String::new, |it| format!(", status {it}"));
        page.line(&format!(
            "- {} {} {}: {}{status} after {} from {}, request {}",
            sample.at,
            code(&sample.method),
            code(&sample.path),
            sample.class,
            micros(Some(sample.latency_us)),
            code(&sample.endpoint),
            code(&sample.request_id)
        ));
        for (name, value) in &sample.headers {
            page.line(&format!("  - {}: {}", code(name), code(value)));
        }
        for (what, body) in
            [("Request", &sample.request_body), ("Answer", &sample.response_body)]
        {
            if let Some(body) = body {
                page.line(&format!("  - {what}:\n"));
                page.0.push_str(&block(body, "    "));
            }
        }
    }
    page.rest(left_out.samples, "more");
}

fn config(page: &mut Page, facts: &Facts, left_out: &LeftOut) {
    page.part("Configuration in force");
    page.line(&format!("Hash {}.", code(&facts.record.config_hash)));
    if !facts.config.is_empty() {
        page.line("");
        page.0.push_str(&block(&facts.config, ""));
    }
    page.rest(left_out.config_bytes, "more bytes");
}

/// A page of Markdown under way.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn part(&mut self, title: &str) {
        self.line(&format!("\n## {title}\n"));
    }

    fn table<const N: usize>(
        &mut self,
        head: [&str; N],
        rows: impl Iterator<Item = [String; N]>,
    ) {
        let head = head.map(str::to_owned).to_vec();
        self.rows(head, rows.map(|row| row.to_vec()).collect());
    }

    /// A table, or a word that there is nothing to put in it.
    fn rows(&mut self, head: Vec<String>, rows: Vec<Vec<String>>) {
        if rows.is_empty() {
            self.line("Nothing was noted.");
            return;
        }
        let ruler = vec!["---".to_owned(); head.len()];
        for row in [head, ruler].into_iter().chain(rows) {
            self.line(&format!("| {} |", row.join(" | ")));
        }
    }

    /// Says how much was left out, if anything was.
    fn rest(&mut self, left_out: usize, what: &str) {
        if left_out > 0 {
            self.line(&format!("\nLeft out: {} {what}.", count(left_out as u64)));
        }
    }
}
