//! ServiceNow: one record in the table `incident` for each incident, by its Table API.
//!
//! `GET /api/now/table/incident?sysparm_query=correlation_id=…` finds the record again,
//! `POST /api/now/table/incident` with `{short_description, description, urgency, impact,
//! assignment_group, correlation_id}` creates it, `PATCH /api/now/table/incident/{sys_id}`
//! with `{work_notes}` adds what came later. Whether an incident is over is for people to
//! say: the fields that closing needs differ from site to site.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::door::{About, Door, Open, is_gone};
use super::ticket::{body, label, tail};
use crate::effects::post::{Call, Target};
use crate::effects::sink::{BoxFuture, Earlier, Sink, SinkError, Taken};
use crate::effects::text::{clipped, percent_encoded};
use crate::vocab::notice::{Notice, Severity};

#[derive(Debug)]
pub(super) struct ServiceNow {
    pub(super) door: Door,
    pub(super) about: About,
    pub(super) assignment_group: Option<String>,
}

#[derive(Deserialize)]
struct Answered<T> {
    result: T,
}

#[derive(Deserialize)]
struct Record {
    sys_id: String,
}

impl Sink for ServiceNow {
    fn deliver<'a>(
        &'a self,
        notice: &'a Notice,
        earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<Taken, SinkError>> {
        Box::pin(async move {
            let open = self.door.open().await?;
            let known = earlier.reference.and_then(|url| tail(url, "sys_id="));
            if let Some(id) = known
                && self.note(&open, id, notice).await?
            {
                return Ok(self.about.taken(earlier.reference.map(str::to_owned)));
            }
            let id = match find(&open, notice).await? {
                Some(id) => {
                    if !self.note(&open, &id, notice).await? {
                        let why = "the record that was found is gone".to_owned();
                        return Err(SinkError::again(why));
                    }
                    id
                }
                None => self.create(&open, notice).await?,
            };
            let place = open.target.below(&format!("incident.do?sys_id={id}"));
            Ok(self.about.taken(Some(place.shown())))
        })
    }
}

impl ServiceNow {
    async fn create(
        &self,
        open: &Open<'_>,
        notice: &Notice,
    ) -> Result<String, SinkError> {
        // 1 is high, 3 is low; the site's table makes a priority of the two.
        let grade = match notice.severity {
            Severity::Critical => "1",
            Severity::High => "2",
            Severity::Low | Severity::Info => "3",
        };
        let mut record = json!({
            "short_description": clipped(&notice.summary, SHORT),
            "description": body(notice, self.about.runbook_url.as_deref()),
            "urgency": grade,
            "impact": grade,
            "correlation_id": label(&notice.incident),
        });
        if let Some(group) = &self.assignment_group {
            record["assignment_group"] = group.as_str().into();
        }
        let answer = open.json(Method::POST, &table(open, ""), &record).await?;
        let created: Answered<Record> = open.read(&answer)?;
        Ok(created.result.sys_id)
    }

    /// Adds what came later; `false` when the record is gone.
    async fn note(
        &self,
        open: &Open<'_>,
        id: &str,
        notice: &Notice,
    ) -> Result<bool, SinkError> {
        let text = body(notice, self.about.runbook_url.as_deref());
        let call = Call::json(Method::PATCH, &json!({ "work_notes": text }))
            .map_err(|error| SinkError::Never { why: error.to_string() })?;
        let answer = open.ask(&table(open, &format!("/{id}")), call).await?;
        if answer.status.is_success() {
            Ok(true)
        } else if is_gone(answer.status) {
            Ok(false)
        } else {
            Err(open.refusal(&answer))
        }
    }
}

async fn find(open: &Open<'_>, notice: &Notice) -> Result<Option<String>, SinkError> {
    let query = percent_encoded(&format!("correlation_id={}", label(&notice.incident)));
    let rest = format!("?sysparm_query={query}&sysparm_limit=1&sysparm_fields=sys_id");
    let answer = open.get(&table(open, &rest)).await?;
    let found: Answered<Vec<Record>> = open.read(&answer)?;
    Ok(found.result.into_iter().next().map(|record| record.sys_id))
}

fn table(open: &Open<'_>, rest: &str) -> Target {
    open.target.below(&format!("api/now/table/incident{rest}"))
}

/// Characters of a short description.
const SHORT: usize = 160;
