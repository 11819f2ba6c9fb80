//! ServiceNow: one record in the table `incident` for each incident, by its Table API.
//!
//! `GET /api/now/table/incident?sysparm_query=correlation_id=…` finds the record again,
//! `POST /api/now/table/incident` with `{short_description, description, urgency, impact,
//! assignment_group, correlation_id}` creates it, `PATCH /api/now/table/incident/{sys_id}`
//! with `{work_notes}` adds what came later.
//!
//! Whether an incident is over is for people to say, unless the configuration has a state for
//! it: then the last note comes with `{state, close_code, close_notes}`, the fields that
//! ServiceNow's own policy wants of an incident that is resolved. What a site's policies and
//! business rules refuse (403 or 400, or a 200 in which the state is another) is said in the
//! log, and the note alone is added.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::{About, Door, Open, is_gone};
use super::ticket::{body, label, tail};
use crate::effects::post::{Answer, Call, Target};
use crate::effects::sink::{BoxFuture, Earlier, Sink, SinkError, Taken};
use crate::effects::text::{clipped, percent_encoded};
use crate::telemetry::emit;
use crate::vocab::notice::{Notice, Severity, State};

#[derive(Debug)]
pub(super) struct ServiceNow {
    pub(super) door: Door,
    pub(super) about: About,
    pub(super) assignment_group: Option<String>,
    /// The state of an incident that is over.
    pub(super) close_state: Option<String>,
    /// The code that goes with it.
    pub(super) close_code: Option<String>,
}

#[derive(Default, Deserialize)]
struct Answered<T> {
    result: T,
}

#[derive(Deserialize)]
struct Record {
    sys_id: String,
}

/// What is looked at of a record that was changed.
#[derive(Default, Deserialize)]
struct Changed {
    state: Option<String>,
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

    /// Adds what came later, and resolves the record where that is wanted; `false` when it
    /// is gone.
    async fn note(
        &self,
        open: &Open<'_>,
        id: &str,
        notice: &Notice,
    ) -> Result<bool, SinkError> {
        let text = body(notice, self.about.runbook_url.as_deref());
        let change = json!({ "work_notes": text });
        let wanted =
            self.close_state.as_ref().filter(|_| notice.state == State::Resolved);
        if let Some(state) = wanted {
            let mut closed = change.clone();
            closed["state"] = state.as_str().into();
            closed["close_notes"] = clipped(&text, NOTES).into();
            if let Some(code) = &self.close_code {
                closed["close_code"] = code.as_str().into();
            }
            let answer = patch(open, id, &closed).await?;
            let refused =
                [StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN].contains(&answer.status);
            if !refused {
                let changed: Answered<Changed> =
                    serde_json::from_slice(&answer.body).unwrap_or_default();
                let stays = changed.result.state.filter(|now| now != state);
                if let Some(now) = stays.filter(|_| answer.status.is_success()) {
                    let now = clipped(&now, SHORT);
                    let why = format!("the state of {id} stays {now:?}, not {state:?}");
                    emit::ticket_unlike(&why);
                }
                return outcome(open, &answer);
            }
            emit::ticket_unlike(&open.refusal(&answer).to_string());
        }
        outcome(open, &patch(open, id, &change).await?)
    }
}

async fn patch(open: &Open<'_>, id: &str, change: &Value) -> Result<Answer, SinkError> {
    let call = Call::json(Method::PATCH, change)
        .map_err(|error| SinkError::Never { why: error.to_string() })?;
    open.ask(&table(open, &format!("/{id}")), call).await
}

/// Whether a record that was to be changed is there.
fn outcome(open: &Open<'_>, answer: &Answer) -> Result<bool, SinkError> {
    if answer.status.is_success() {
        Ok(true)
    } else if is_gone(answer.status) {
        Ok(false)
    } else {
        Err(open.refusal(answer))
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
/// Characters of the notes with which an incident is resolved.
const NOTES: usize = 4_000;
