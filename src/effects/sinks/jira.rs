//! Jira: one issue for each incident, in Jira Cloud or Data Center.
//!
//! Cloud has its API v3, where texts are documents (ADF): `POST /rest/api/3/search/jql`
//! finds the issue again by its label, `POST /rest/api/3/issue` with `{fields: {project,
//! issuetype, summary, description, labels}}` creates it, `POST
//! /rest/api/3/issue/{key}/comment` with `{body}` adds what came later. Data Center has v2,
//! where texts are wiki markup and the search is `POST /rest/api/2/search`.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::{About, Door, Open, is_gone};
use super::ticket::{body, label, tail};
use crate::effects::post::Call;
use crate::effects::settings::JiraEdition;
use crate::effects::sink::{BoxFuture, Earlier, Sink, SinkError, Taken};
use crate::effects::text::clipped;
use crate::vocab::notice::Notice;

#[derive(Debug)]
pub(super) struct Jira {
    pub(super) door: Door,
    pub(super) about: About,
    pub(super) edition: JiraEdition,
    pub(super) project: String,
    pub(super) issue_type: String,
    pub(super) labels: Vec<String>,
}

#[derive(Deserialize)]
struct Found {
    issues: Vec<Issue>,
}

#[derive(Deserialize)]
struct Issue {
    key: String,
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
                && self.comment(&open, key, notice).await?
            {
                return Ok(self.about.taken(earlier.reference.map(str::to_owned)));
            }
            let key = match self.find(&open, notice).await? {
                Some(key) => {
                    if !self.comment(&open, &key, notice).await? {
                        let why = "the issue that was found is gone".to_owned();
                        return Err(SinkError::again(why));
                    }
                    key
                }
                None => self.create(&open, notice).await?,
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
        let issue = json!({ "fields": {
            "project": { "key": self.project },
            "issuetype": { "name": self.issue_type },
            "summary": clipped(&notice.summary, SUMMARY),
            "description": self.text(notice),
            "labels": labels,
        }});
        let target = open.target.below(&format!("{}/issue", self.api()));
        let answer = open.json(Method::POST, &target, &issue).await?;
        let created: Issue = open.read(&answer)?;
        Ok(created.key)
    }

    /// Adds what came later; `false` when the issue is gone.
    async fn comment(
        &self,
        open: &Open<'_>,
        key: &str,
        notice: &Notice,
    ) -> Result<bool, SinkError> {
        let target = open.target.below(&format!("{}/issue/{key}/comment", self.api()));
        let comment = Call::json(Method::POST, &json!({ "body": self.text(notice) }))
            .map_err(|error| SinkError::Never { why: error.to_string() })?;
        let answer = open.ask(&target, comment).await?;
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

/// Characters of a summary.
const SUMMARY: usize = 250;
