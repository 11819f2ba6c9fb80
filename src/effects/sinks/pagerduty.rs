//! PagerDuty: notices as events, by its Events API v2.
//!
//! `POST /v2/enqueue` takes `{routing_key, event_action, dedup_key, client, links, payload:
//! {summary, source, severity, timestamp, component, group, class, custom_details}}` and
//! answers 202. The incident's id is the dedup key, so that a repetition changes nothing
//! and the end resolves what the beginning triggered. Those on call have one key; the
//! incident commander has another, for what he must decide.

use http::Method;
use serde_json::{Value, json};

use super::door::{About, Door, read};
use crate::effects::settings::SecretFile;
use crate::effects::sink::{BoxFuture, Earlier, Sink, SinkError, Taken};
use crate::effects::text::clipped;
use crate::vocab::notice::{Notice, Severity, State, Topic};

#[derive(Debug)]
pub(super) struct PagerDuty {
    pub(super) door: Door,
    pub(super) about: About,
    pub(super) routing_key: SecretFile,
    pub(super) commander_key: Option<SecretFile>,
}

impl Sink for PagerDuty {
    fn deliver<'a>(
        &'a self,
        notice: &'a Notice,
        earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<Taken, SinkError>> {
        Box::pin(async move {
            let mut taken = self.about.taken(None);
            let commander = self.commander_key.as_ref();
            let commander = commander.filter(|_| is_for_commander(notice));
            self.page(&self.routing_key, notice, earlier).await?;
            if let Some(key) = commander {
                self.page(key, notice, earlier).await?;
                taken.recipients.push(COMMANDER.to_owned());
            }
            Ok(taken)
        })
    }
}

impl PagerDuty {
    async fn page(
        &self,
        key: &SecretFile,
        notice: &Notice,
        earlier: Earlier<'_>,
    ) -> Result<(), SinkError> {
        let mut open = self.door.open().await?;
        let key = read(key).await?;
        open.hide(&key);
        let target = open.target.below("v2/enqueue");
        let event = event(&key, notice, earlier, self.about.runbook_url.as_deref());
        open.is_taken(&open.json(Method::POST, &target, &event).await?)
    }
}

/// The commander is paged when users are hurt or a rollback did not help, and hears of the
/// end of everything; an end of what he was never told is ignored by PagerDuty.
fn is_for_commander(notice: &Notice) -> bool {
    let topics = [Topic::ModeChanged, Topic::RollbackFailed];
    notice.severity == Severity::Critical
        || topics.contains(&notice.topic)
        || notice.state == State::Resolved
}

fn event(
    key: &str,
    notice: &Notice,
    earlier: Earlier<'_>,
    runbook: Option<&str>,
) -> Value {
    let is_minor = notice.severity < Severity::High;
    let action = match notice.state {
        State::Firing => "trigger",
        State::Resolved => "resolve",
        // A step on the way: the machine is at it.
        State::Event if earlier.opened.is_some() && is_minor => "acknowledge",
        State::Event => "trigger",
    };
    let mut event = json!({
        "routing_key": key,
        "event_action": action,
        "dedup_key": notice.incident,
    });
    if action == "trigger" {
        event["client"] = "Switchback".into();
        event["links"] = match runbook {
            Some(url) => json!([{ "href": url, "text": "Runbook" }]),
            None => json!([]),
        };
        event["payload"] = payload(notice);
    }
    event
}

fn payload(notice: &Notice) -> Value {
    let severity = match notice.severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Low => "warning",
        Severity::Info => "info",
    };
    json!({
        "summary": clipped(&notice.summary, SUMMARY),
        "source": notice.route.as_ref().map_or("switchback", |route| route.as_str()),
        "severity": severity,
        "timestamp": notice.at,
        "component": notice.version,
        "group": notice.route,
        "class": notice.topic.as_str(),
        "custom_details": {
            "details": notice.details,
            "incident": notice.incident,
            "to_version": notice.to_version,
            "audit_head": notice.audit_head,
        },
    })
}

/// Whom the second key reaches, as records call him.
const COMMANDER: &str = "incident commander";
/// Characters of a summary.
const SUMMARY: usize = 1_024;
