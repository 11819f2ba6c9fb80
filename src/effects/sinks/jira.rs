//! Jira: one issue for each incident, in Jira Cloud or Data Center.
//!
//! Cloud has its API v3, where texts are documents (ADF): `POST /rest/api/3/search/jql`
//! finds the issue again by its label, `POST /rest/api/3/issue` with `{fields: {project,
//! issuetype, summary, description, labels, priority}}` creates it, `POST
//! /rest/api/3/issue/{key}/comment` with `{body}` adds what came later. Data Center has v2,
//! where texts are wiki markup and the search is `POST /rest/api/2/search`.
//!
//! Where a transition is named, it is done when the incident is over, after the comment:
//! `GET …/issue/{key}/transitions` says which there are from where the issue stands, and
//! `POST` to the same place with `{transition: {id}}` does one (204). One that is not there
//! or is refused, as where a screen wants fields that only people can fill in, is said in the
//! log, and the issue stays where it is: the workflow is the site's own. The same goes for a
//! priority that the project does not have: the issue is created without it.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::door::{About, Door, Open, is_gone};
use super::ticket::{Noted, body, label, tail};
use crate::effects::post::{Answer, Call};
use crate::effects::settings::JiraEdition;
use crate::effects::sink::{BoxFuture, Earlier, Sink, SinkError, Taken};
use crate::effects::text::clipped;
use crate::telemetry::emit;
use crate::vocab::notice::{Notice, State};

#[derive(Debug)]
pub(super) struct Jira {
    pub(super) door: Door,
    pub(super) about: About,
    pub(super) edition: JiraEdition,
    pub(super) project: String,
    pub(super) issue_type: String,
    pub(super) labels: Vec<String>,
    /// Name or id.
    pub(super) priority: Option<String>,
    /// Name or id of what is done at the end.
    pub(super) transition: Option<String>,
    /// The comments that wait for their transition.
    pub(super) noted: Noted,
}

#[derive(Deserialize)]
struct Found {
    issues: Vec<Issue>,
}

#[derive(Deserialize)]
struct Issue {
    key: String,
}

/// What may be done with an issue from where it stands.
#[derive(Deserialize)]
struct Ways {
    transitions: Vec<Way>,
}

#[derive(Deserialize)]
struct Way {
    id: String,
    name: String,
}

/// Why Jira refuses to create an issue, by field.
#[derive(Default, Deserialize)]
struct Refused {
    #[serde(default)]
    errors: Map<String, Value>,
}

impl Sink for Jira {
    fn deliver<'a>(
        &'a self,
        notice: &'a Notice,
        earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<Taken, SinkError>> {
        Box::pin(async move {
            let open = self.door.open().await?;
            let known = earlier.reference.and_then(|url| tail(url, "/browse/"));
            if let Some(key) = known
                && self.update(&open, key, notice).await?
            {
                return Ok(self.about.taken(earlier.reference.map(str::to_owned)));
            }
            let key = match self.find(&open, notice).await? {
                Some(key) => {
                    if !self.update(&open, &key, notice).await? {
                        let why = "the issue that was found is gone".to_owned();
                        return Err(SinkError::again(why));
                    }
                    key
                }
                None => {
                    let key = self.create(&open, notice).await?;
                    self.end(&open, &key, notice).await?;
                    key
                }
            };
            Ok(self
                .about
                .taken(Some(open.target.below(&format!("browse/{key}")).shown())))
        })
    }
}

impl Jira {
    async fn find(
        &self,
        open: &Open<'_>,
        notice: &Notice,
    ) -> Result<Option<String>, SinkError> {
        let (project, label) = (&self.project, label(&notice.incident));
        let path = match self.edition {
            JiraEdition::Cloud => "rest/api/3/search/jql",
            JiraEdition::DataCenter => "rest/api/2/search",
        };
        let question = json!({
            "jql": format!("project = \"{project}\" AND labels = \"{label}\""),
            "maxResults": 1,
            "fields": ["key"],
        });
        let target = open.target.below(path);
        let answer = open.json(Method::POST, &target, &question).await?;
        let found: Found = open.read(&answer)?;
        Ok(found.issues.into_iter().next().map(|issue| issue.key))
    }

    async fn create(
        &self,
        open: &Open<'_>,
        notice: &Notice,
    ) -> Result<String, SinkError> {
        let mut labels = vec![label(&notice.incident)];
        labels.extend(self.labels.iter().cloned());
        let mut issue = json!({ "fields": {
            "project": { "key": self.project },
            "issuetype": { "name": self.issue_type },
            "summary": clipped(&notice.summary, SUMMARY),
            "description": self.text(notice),
            "labels": labels,
        }});
        let target = open.target.below(&format!("{}/issue", self.api()));
        if let Some(priority) = &self.priority {
            issue["fields"]["priority"] = named(priority);
        }
        let mut answer = open.ask(&target, call(&issue)?).await?;
        if self.priority.is_some() && is_about(&answer, "priority") {
            emit::ticket_unlike(&open.refusal(&answer).to_string());
            if let Some(fields) = issue["fields"].as_object_mut() {
                fields.remove("priority");
            }
            answer = open.ask(&target, call(&issue)?).await?;
        }
        if !answer.status.is_success() {
            return Err(open.refusal(&answer));
        }
        let created: Issue = open.read(&answer)?;
        Ok(created.key)
    }

    /// Adds what came later and ends the issue where it is over; `false` when it is gone.
    async fn update(
        &self,
        open: &Open<'_>,
        key: &str,
        notice: &Notice,
    ) -> Result<bool, SinkError> {
        // A transition that is tried again does not repeat the comment before it.
        if !self.noted.has(&notice.key) && !self.comment(open, key, notice).await? {
            return Ok(false);
        }
        self.noted.put(&notice.key);
        self.end(open, key, notice).await?;
        self.noted.forget(&notice.key);
        Ok(true)
    }

    /// Does what is to be done with an issue whose incident is over. What Jira does not let
    /// us do is for people to do; only what may pass is an error.
    async fn end(
        &self,
        open: &Open<'_>,
        key: &str,
        notice: &Notice,
    ) -> Result<(), SinkError> {
        let Some(wanted) =
            self.transition.as_ref().filter(|_| notice.state == State::Resolved)
        else {
            return Ok(());
        };
        let path = format!("{}/issue/{key}/transitions", self.api());
        let target = open.target.below(&path);
        let answer = open.ask(&target, Call::get()).await?;
        let ways: Ways = match passed(open, &answer) {
            Ok(()) => open.read(&answer)?,
            Err(error) => return unless_passing(error),
        };
        let is = |way: &&Way| way.id == *wanted || way.name.eq_ignore_ascii_case(wanted);
        let Some(way) = ways.transitions.iter().find(is) else {
            let there: Vec<&str> =
                ways.transitions.iter().map(|way| way.name.as_str()).collect();
            let there = there.join(", ");
            let there = clipped(&there, SUMMARY);
            emit::ticket_unlike(&format!(
                "{key} has no transition {wanted:?} from where it stands, only {there:?}"
            ));
            return Ok(());
        };
        let deed = json!({ "transition": { "id": way.id } });
        let answer = open.ask(&target, call(&deed)?).await?;
        passed(open, &answer).or_else(unless_passing)
    }

    /// Adds what came later; `false` when the issue is gone.
    async fn comment(
        &self,
        open: &Open<'_>,
        key: &str,
        notice: &Notice,
    ) -> Result<bool, SinkError> {
        let target = open.target.below(&format!("{}/issue/{key}/comment", self.api()));
        let comment = json!({ "body": self.text(notice) });
        let answer = open.ask(&target, call(&comment)?).await?;
        if answer.status.is_success() {
            Ok(true)
        } else if is_gone(answer.status) {
            Ok(false)
        } else {
            Err(open.refusal(&answer))
        }
    }

    fn api(&self) -> &'static str {
        match self.edition {
            JiraEdition::Cloud => "rest/api/3",
            JiraEdition::DataCenter => "rest/api/2",
        }
    }

    fn text(&self, notice: &Notice) -> Value {
        let text = body(notice, self.about.runbook_url.as_deref());
        match self.edition {
            JiraEdition::Cloud => {
                let line = |line: &str| json!({ "type": "paragraph", "content": [{ "type": "text", "text": line }] });
                // A text node may not be empty.
                let lines = text.lines().filter(|line| !line.trim().is_empty());
                json!({
                    "type": "doc",
                    "version": 1,
                    "content": lines.map(line).collect::<Vec<_>>(),
                })
            }
            JiraEdition::DataCenter => {
                let text = text.replace("{noformat}", "{no format}");
                format!("{{noformat}}\n{text}{{noformat}}").into()
            }
        }
    }
}

fn call(body: &Value) -> Result<Call, SinkError> {
    Call::json(Method::POST, body)
        .map_err(|error| SinkError::Never { why: error.to_string() })
}

/// What is named by its id, if it is a number, or by its name.
fn named(text: &str) -> Value {
    let is_id = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_id { json!({ "id": text }) } else { json!({ "name": text }) }
}

/// Whether an issue is refused for that field alone.
fn is_about(answer: &Answer, field: &str) -> bool {
    let refused: Refused = serde_json::from_slice(&answer.body).unwrap_or_default();
    answer.status == StatusCode::BAD_REQUEST
        && refused.errors.len() == 1
        && refused.errors.contains_key(field)
}

fn passed(open: &Open<'_>, answer: &Answer) -> Result<(), SinkError> {
    if answer.status.is_success() { Ok(()) } else { Err(open.refusal(answer)) }
}

/// What may pass is tried again; anything else is said, once, and left to people.
fn unless_passing(error: SinkError) -> Result<(), SinkError> {
    match error {
        SinkError::Again { .. } => Err(error),
        SinkError::Fix { why } | SinkError::Never { why } => {
            emit::ticket_unlike(&why);
            Ok(())
        }
    }
}

/// Characters of a summary.
const SUMMARY: usize = 250;
