//! GitHub: one issue for each incident.
//!
//! `GET /repos/{owner}/{name}/issues?labels=…&state=all` finds the issue of an incident
//! again, `POST …/issues` with `{title, body, labels}` creates it, `POST
//! …/issues/{number}/comments` with `{body}` adds what came later, and `PATCH
//! …/issues/{number}` with `{state, state_reason}` closes it where that is wanted. Texts
//! stand in a fence of their own, so that nothing in them mentions or formats.

use http::Method;
use http::header::{ACCEPT, HeaderName};
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::{About, Door, Open, is_gone};
use super::ticket::{body, label, tail};
use crate::effects::post::{Answer, Call, Target};
use crate::effects::sink::{BoxFuture, Earlier, Sink, SinkError, Taken};
use crate::effects::text::{clipped, percent_encoded};
use crate::vocab::notice::{Notice, State};

#[derive(Debug)]
pub(super) struct GitHub {
    pub(super) door: Door,
    pub(super) about: About,
    pub(super) repo: String,
    pub(super) labels: Vec<String>,
    pub(super) close: bool,
}

/// An issue as far as it is looked at.
#[derive(Deserialize)]
struct Issue {
    number: u64,
    html_url: String,
}

impl Sink for GitHub {
    fn deliver<'a>(
        &'a self,
        notice: &'a Notice,
        earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<Taken, SinkError>> {
        Box::pin(async move {
            let open = self.door.open().await?;
            let known = earlier.reference.and_then(|url| {
                let number = tail(url, "/issues/")?.parse().ok()?;
                Some(Issue { number, html_url: url.to_owned() })
            });
            if let Some(issue) = known
                && self.update(&open, &issue, notice).await?
            {
                return Ok(self.about.taken(Some(issue.html_url)));
            }
            let url = match self.find(&open, notice).await? {
                Some(issue) => {
                    if !self.update(&open, &issue, notice).await? {
                        let why = "the issue that was found is gone".to_owned();
                        return Err(SinkError::again(why));
                    }
                    issue.html_url
                }
                None => self.create(&open, notice).await?,
            };
            Ok(self.about.taken(Some(url)))
        })
    }
}

impl GitHub {
    async fn find(
        &self,
        open: &Open<'_>,
        notice: &Notice,
    ) -> Result<Option<Issue>, SinkError> {
        let label = percent_encoded(&label(&notice.incident));
        let target = self.issues(open, &format!("?labels={label}&state=all&per_page=1"));
        let answer = ask(open, &target, Method::GET, None).await?;
        let found: Vec<Issue> = open.read(&passed(open, answer)?)?;
        Ok(found.into_iter().next())
    }

    async fn create(
        &self,
        open: &Open<'_>,
        notice: &Notice,
    ) -> Result<String, SinkError> {
        let mut labels = vec![label(&notice.incident)];
        labels.extend(self.labels.iter().cloned());
        let issue = json!({
            "title": clipped(&notice.summary, TITLE),
            "body": self.text(notice),
            "labels": labels,
        });
        let target = self.issues(open, "");
        let answer = ask(open, &target, Method::POST, Some(issue)).await?;
        let created: Issue = open.read(&passed(open, answer)?)?;
        Ok(created.html_url)
    }

    /// Closes the issue where it is over and adds what came later; `false` when the issue is
    /// gone. Closing comes first: whatever fails is tried again from the start, and an issue
    /// can be closed twice, but a comment would stand there twice.
    async fn update(
        &self,
        open: &Open<'_>,
        issue: &Issue,
        notice: &Notice,
    ) -> Result<bool, SinkError> {
        if self.close && notice.state == State::Resolved {
            let target = self.issues(open, &format!("/{}", issue.number));
            let closed = json!({ "state": "closed", "state_reason": "completed" });
            let answer = ask(open, &target, Method::PATCH, Some(closed)).await?;
            if is_gone(answer.status) {
                return Ok(false);
            }
            passed(open, answer)?;
        }
        let target = self.issues(open, &format!("/{}/comments", issue.number));
        let comment = json!({ "body": self.text(notice) });
        let answer = ask(open, &target, Method::POST, Some(comment)).await?;
        if is_gone(answer.status) {
            return Ok(false);
        }
        passed(open, answer)?;
        Ok(true)
    }

    fn text(&self, notice: &Notice) -> String {
        let text = body(notice, self.about.runbook_url.as_deref());
        let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat((longest + 1).max(3));
        format!("{fence}text\n{text}{fence}\n")
    }

    fn issues(&self, open: &Open<'_>, rest: &str) -> Target {
        open.target.below(&format!("repos/{}/issues{rest}", self.repo))
    }
}

async fn ask(
    open: &Open<'_>,
    target: &Target,
    method: Method,
    body: Option<Value>,
) -> Result<Answer, SinkError> {
    let never = |error: crate::effects::post::PostError| SinkError::Never {
        why: error.to_string(),
    };
    let call = match body {
        Some(body) => Call::json(method, &body).map_err(never)?,
        None => Call::get(),
    };
    let version = HeaderName::from_static("x-github-api-version");
    let call = call.header(ACCEPT, "application/vnd.github+json").map_err(never)?;
    open.ask(target, call.header(version, "2022-11-28").map_err(never)?).await
}

fn passed(open: &Open<'_>, answer: Answer) -> Result<Answer, SinkError> {
    // GitHub says 403 for "too often" too, and then when to come back.
    let limited = answer.status == 403 && answer.headers.contains_key("retry-after");
    if answer.status.is_success() {
        Ok(answer)
    } else if limited {
        Err(open
            .refusal(&Answer { status: http::StatusCode::TOO_MANY_REQUESTS, ..answer }))
    } else {
        Err(open.refusal(&answer))
    }
}

/// Characters of a title.
const TITLE: usize = 250;
