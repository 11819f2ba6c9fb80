//! Slack: one message for each notice to an incoming webhook.
//!
//! The body is `{"text", "blocks"}`: `text` is what notifications show and is always there,
//! the blocks are what the channel shows (Block Kit: a header of at most 150 characters,
//! sections of at most 3,000, at most ten fields of at most 2,000). In texts `&`, `<` and
//! `>` are written as entities, so that nothing in them is a link or a mention.

use http::Method;
use serde_json::{Value, json};

use super::door::{About, Door};
use crate::effects::sink::{BoxFuture, Earlier, Sink, SinkError, Taken};
use crate::effects::text::{clipped, facts};
use crate::vocab::notice::{Notice, Severity, State};

#[derive(Debug)]
pub(super) struct Slack {
    pub(super) door: Door,
    pub(super) about: About,
}

impl Sink for Slack {
    fn deliver<'a>(
        &'a self,
        notice: &'a Notice,
        _earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<Taken, SinkError>> {
        Box::pin(async move {
            let open = self.door.open().await?;
            let body = message(notice, self.about.runbook_url.as_deref());
            let answer = open.json(Method::POST, &open.target, &body).await?;
            open.is_taken(&answer)?;
            Ok(self.about.taken(None))
        })
    }
}

fn message(notice: &Notice, runbook: Option<&str>) -> Value {
    let mark = match (notice.state, notice.severity) {
        (State::Resolved, _) => ":white_check_mark:",
        (_, Severity::Critical) => ":rotating_light:",
        (_, Severity::High) => ":red_circle:",
        (_, Severity::Low) => ":large_yellow_circle:",
        (_, Severity::Info) => ":information_source:",
    };
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "text": clipped(&notice.summary, HEADER) },
    })];
    if !notice.details.trim().is_empty() {
        blocks.push(section(&escaped(&notice.details, SECTION)));
    }
    let fields: Vec<Value> = facts(notice)
        .iter()
        .take(FIELDS)
        .map(|(name, text)| {
            json!({ "type": "mrkdwn", "text": format!("*{name}*\n{}", escaped(text, FIELD)) })
        })
        .collect();
    blocks.push(json!({ "type": "section", "fields": fields }));
    if let Some(url) = runbook {
        blocks.push(section(&format!("Runbook: {}", escaped(url, FIELD))));
    }
    json!({ "text": format!("{mark} {}", escaped(&notice.summary, SECTION)), "blocks": blocks })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
}

/// The text with Slack's three special characters as entities, within a bound that holds
/// for the written form.
fn escaped(text: &str, most: usize) -> String {
    let mut out = String::new();
    let mut length = 0;
    for c in text.chars() {
        let written = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => "",
        };
        length += written.len().max(1);
        if length > most - 1 {
            out.push('…');
            break;
        }
        if written.is_empty() { out.push(c) } else { out.push_str(written) }
    }
    out
}

const HEADER: usize = 150;
const SECTION: usize = 3_000;
const FIELD: usize = 300;
const FIELDS: usize = 10;
