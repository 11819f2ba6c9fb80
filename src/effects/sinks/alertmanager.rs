//! Alertmanager: notices as alerts, by its API v2.
//!
//! `POST /api/v2/alerts` takes a list of `{labels, annotations, startsAt, endsAt,
//! generatorURL}`. An alert is told from others by its labels alone, so ids are annotations,
//! and the end of an incident is posted under the labels of its beginning. An alert that
//! lasts is posted again every minute, as its documentation asks of clients, with an end
//! five minutes ahead: when nobody posts it any more it ends by itself. An end is posted
//! again for five minutes.

use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};

use super::door::{About, Door};
use crate::clock;
use crate::effects::sink::{BoxFuture, Earlier, Repeats, Sink, SinkError, Taken};
use crate::vocab::notice::{Notice, State, Topic};
use crate::vocab::time::Timestamp;

#[derive(Debug)]
pub(super) struct Alertmanager {
    pub(super) door: Door,
    pub(super) about: About,
}

impl Sink for Alertmanager {
    fn deliver<'a>(
        &'a self,
        notice: &'a Notice,
        earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<Taken, SinkError>> {
        Box::pin(async move {
            let open = self.door.open().await?;
            let runbook = self.about.runbook_url.as_deref();
            let alert = alert(notice, earlier, runbook, clock::wall());
            let target = open.target.below("api/v2/alerts");
            open.is_taken(&open.json(Method::POST, &target, &[alert]).await?)?;
            Ok(self.about.taken(None))
        })
    }

    fn repeats(&self) -> Option<Repeats> {
        Some(Repeats { every: EVERY, end_for: AHEAD })
    }
}

fn alert(
    notice: &Notice,
    earlier: Earlier<'_>,
    runbook: Option<&str>,
    now: Timestamp,
) -> Value {
    let is_over = notice.state == State::Resolved;
    let opened = if is_over { earlier.opened } else { None };
    let begins = opened.map_or(notice.at, |opened| opened.at);
    let ends = if is_over { notice.at.max(begins) } else { now.after(AHEAD) };
    let mut annotations = Map::new();
    for (name, text) in [
        ("summary", &notice.summary[..]),
        ("description", &notice.details),
        ("incident", &notice.incident),
        ("audit_head", &notice.audit_head),
        ("runbook_url", runbook.unwrap_or_default()),
    ] {
        if !text.is_empty() {
            annotations.insert(name.to_owned(), text.into());
        }
    }
    json!({
        "labels": labels(opened.unwrap_or(notice)),
        "annotations": annotations,
        "startsAt": begins,
        "endsAt": ends,
    })
}

fn labels(notice: &Notice) -> Map<String, Value> {
    let alertname = match notice.topic {
        Topic::RollbackStarted | Topic::RollbackCompleted => "ModelRollback",
        Topic::RollbackFailed => "ModelRollbackFailed",
        Topic::ProtectStarted | Topic::ProtectEnded => "ModelProtect",
        Topic::RolloutChanged => "ModelRollout",
        Topic::ModeChanged => "ModelServiceMode",
        Topic::HeadroomShort => "ModelHeadroomShort",
        Topic::AuditFailed => "SwitchbackAuditFailed",
    };
    let mut labels = Map::new();
    labels.insert("alertname".to_owned(), alertname.into());
    labels.insert("severity".to_owned(), notice.severity.as_str().into());
    labels.insert("source".to_owned(), "switchback".into());
    let names = [
        ("model", &notice.route),
        ("from_version", &notice.version),
        ("to_version", &notice.to_version),
    ];
    for (label, name) in names {
        if let Some(name) = name {
            labels.insert(label.to_owned(), name.as_str().into());
        }
    }
    labels
}

/// Between two posts of an alert that lasts.
const EVERY: Duration = Duration::from_secs(60);
/// For so long an alert holds without being posted, and its end is posted again.
const AHEAD: Duration = Duration::from_secs(300);
