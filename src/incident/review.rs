//! The form of a post-incident review, the last part of `report.md`.
//!
//! Apart from the report, because of a rule of its own: what was measured is filled in, and
//! everything else is marked as to be filled in by people. Nothing is guessed.

use super::facts::Facts;
use super::figures::{count, seconds};
use super::text::prose;

/// The mark of what people have to write.
const BY_PEOPLE: &str = "> **To be filled in by people:**";

pub(super) fn review(facts: &Facts) -> String {
    let record = &facts.record;
    let known = |sentence: &str| format!("Known from the proxy: {sentence}\n\n");
    let by_people = |question: &str| format!("{BY_PEOPLE} {question}\n");
    let parts = [
        ("Root cause", known(&cause(facts)) + &by_people("why did the version do that?")),
        ("Impact", known(&impact(facts)) + &by_people("who was affected, and how?")),
        (
            "Lessons learned",
            by_people("what went well, what went badly, where were we lucky?"),
        ),
        (
            "Prevention",
            by_people("what is changed, by whom, until when, so that it does not recur?"),
        ),
        ("Sign-off", by_people("who wrote and who approved this review, and when?")),
    ];
    let quarantine = format!(
        "Before the next try: {} stays in quarantine until an operator releases it with a \
         reason, or its `digest` in the configuration changes.\n",
        prose(record.from_version.as_str())
    );
    let mut text = "This form is filled in as far as the proxy can know it.\n".to_owned();
    for (title, body) in parts {
        text.push_str(&format!("\n### {title}\n\n{body}"));
    }
    text.push('\n');
    text.push_str(&quarantine);
    text
}

fn cause(facts: &Facts) -> String {
    let acted: Vec<&str> = facts
        .breaches
        .iter()
        .filter(|breach| breach.acted)
        .map(|breach| breach.rule.as_str())
        .collect();
    match (acted.is_empty(), facts.record.automatic) {
        (false, _) => {
            format!("{} of {} was broken.", prose(&acted.join(", ")), version(facts))
        }
        (true, true) => format!("the trigger was {}.", facts.record.trigger),
        (true, false) => "the rollback was ordered; no rule was broken.".to_owned(),
    }
}

fn version(facts: &Facts) -> String {
    prose(facts.record.from_version.as_str())
}

fn impact(facts: &Facts) -> String {
    let record = &facts.record;
    let Some(impact) = record.impact else {
        return "the requests that failed were not counted.".to_owned();
    };
    let affected = impact.failed.saturating_sub(impact.rescued);
    let took = match record.trigger_latency_seconds {
        Some(_) => format!(
            "; its users were off it {} after the first verdict",
            seconds(record.trigger_latency_seconds)
        ),
        None => String::new(),
    };
    format!(
        "{} was given {} requests, failed {}, and another version answered {} of these, \
         which leaves {} that none answered{took}.",
        version(facts),
        count(impact.requests),
        count(impact.failed),
        count(impact.rescued),
        count(affected)
    )
}
