//! `Door`: what every sink needs to ask its server: the address, what it is shown to be let
//! in, and what its statuses mean. Apart from the sinks so that none of them handles a
//! secret or a status on its own.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER};
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::effects::post::{Answer, Call, Client, PostError, Target};
use crate::effects::settings::{Auth, SecretFile, Url};
use crate::effects::sink::{SinkError, Taken};
use crate::effects::text::{base64, shown};

/// The way to one server.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) client: Client,
    pub(super) url: Url,
    pub(super) auth: Auth,
}

/// What the configuration says about a sink for people.
#[derive(Debug)]
pub(super) struct About {
    pub(super) recipients: Vec<String>,
    pub(super) runbook_url: Option<String>,
}

/// The way with its secrets at hand, for one delivery.
pub(super) struct Open<'a> {
    client: &'a Client,
    pub(super) target: Target,
    authorization: Option<String>,
    /// What must never be shown.
    secrets: Vec<String>,
}

/// What an object may say of itself: Slack and those that speak like it say `ok`, PagerDuty,
/// Alertmanager and Loki `status`.
#[derive(Default, Deserialize)]
struct Said {
    ok: Option<bool>,
    success: Option<bool>,
    status: Option<String>,
}

impl About {
    /// What a sink says when it has taken a notice.
    pub(super) fn taken(&self, reference: Option<String>) -> Taken {
        Taken { reference, recipients: self.recipients.clone() }
    }
}

impl Door {
    /// Reads the secrets.
    pub(super) async fn open(&self) -> Result<Open<'_>, SinkError> {
        let mut secrets = Vec::new();
        let target = match &self.url {
            Url::Given(target) => target.clone(),
            Url::File { file, allow_private } => {
                let url = read(file).await?;
                let target = Target::parse(&url, *allow_private).map_err(|error| {
                    let path = file.path().display();
                    SinkError::Fix { why: format!("the URL in {path} {error}") }
                })?;
                secrets.push(url);
                target
            }
        };
        let authorization = match &self.auth {
            Auth::None => None,
            Auth::Bearer(file) => Some(("Bearer", read(file).await?)),
            Auth::ApiKey(file) => Some(("ApiKey", read(file).await?)),
            Auth::Basic { user, password } => {
                let password = read(password).await?;
                let both = base64(format!("{user}:{password}").as_bytes());
                secrets.push(password);
                Some(("Basic", both))
            }
        };
        let authorization = authorization.map(|(scheme, secret)| {
            let text = format!("{scheme} {secret}");
            secrets.push(secret);
            text
        });
        Ok(Open { client: &self.client, target, authorization, secrets })
    }
}

impl Open<'_> {
    /// Something beside what the door shows must not be shown either.
    pub(super) fn hide(&mut self, secret: &str) {
        self.secrets.push(secret.to_owned());
    }

    /// Sends a value as JSON; any other status than 2xx is an error.
    pub(super) async fn json(
        &self,
        method: Method,
        target: &Target,
        body: &(impl Serialize + Sync),
    ) -> Result<Answer, SinkError> {
        let call = Call::json(method, body).map_err(|error| unsent(&error))?;
        self.send(target, call).await
    }

    /// Asks for something.
    pub(super) async fn get(&self, target: &Target) -> Result<Answer, SinkError> {
        self.send(target, Call::get()).await
    }

    /// Sends a call; any other status than 2xx is an error.
    pub(super) async fn send(
        &self,
        target: &Target,
        call: Call,
    ) -> Result<Answer, SinkError> {
        let answer = self.ask(target, call).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.refusal(&answer)) }
    }

    /// Sends a call; any status is an answer.
    pub(super) async fn ask(
        &self,
        target: &Target,
        call: Call,
    ) -> Result<Answer, SinkError> {
        let call = match &self.authorization {
            Some(text) => {
                call.header(AUTHORIZATION, text).map_err(|error| unsent(&error))?
            }
            None => call,
        };
        self.client.send(target, call).await.map_err(|error| unsent(&error))
    }

    /// What a status other than 2xx means.
    pub(super) fn refusal(&self, answer: &Answer) -> SinkError {
        let status = answer.status;
        let why = format!("{} answered {}", self.target, status.as_u16());
        let said = self.hidden(shown(&answer.body));
        let why = if said.is_empty() { why } else { format!("{why}: {said}") };
        match status.as_u16() {
            408 | 425 | 429 | 500..=599 => {
                SinkError::Again { why, after: retry_after(&answer.headers) }
            }
            // A redirect is not followed: the address has to be put right.
            300..=399 => {
                let moved = answer.headers.contains_key(LOCATION);
                let hint =
                    if moved { " (a redirect, which is not followed)" } else { "" };
                SinkError::Fix { why: format!("{why}{hint}") }
            }
            401 | 403 | 404 | 405 | 407 => SinkError::Fix { why },
            _ => SinkError::Never { why },
        }
    }

    /// Reads an answer as JSON; one that is something else may be another one next time.
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        answer: &Answer,
    ) -> Result<T, SinkError> {
        serde_json::from_slice(&answer.body).map_err(|_| {
            let cut = if answer.is_cut { ", too long" } else { "" };
            let said = self.hidden(shown(&answer.body));
            SinkError::again(format!(
                "{} answered {} with what is not its JSON{cut}: {said}",
                self.target,
                answer.status.as_u16()
            ))
        })
    }

    /// Holds an answer of success whose text nobody needs against what it says: a page for
    /// people, as a portal gives to those it does not know, or an object that says of itself
    /// that it is a refusal, has taken nothing.
    pub(super) fn is_taken(&self, answer: &Answer) -> Result<(), SinkError> {
        let said: Said = serde_json::from_slice(&answer.body).unwrap_or_default();
        let refused = [said.ok, said.success].contains(&Some(false))
            || said.status.is_some_and(|status| status != "success");
        let page = answer.body.trim_ascii_start().starts_with(b"<");
        if !refused && !page {
            return Ok(());
        }
        let (status, said) = (answer.status.as_u16(), self.hidden(shown(&answer.body)));
        Err(SinkError::Fix { why: format!("{} answered {status}: {said}", self.target) })
    }

    fn hidden(&self, text: String) -> String {
        let hide = |text: String, secret: &String| text.replace(&secret[..], "***");
        self.secrets.iter().fold(text, hide)
    }
}

/// Reads a secret, aside from the runtime's thread.
pub(super) async fn read(file: &SecretFile) -> Result<String, SinkError> {
    let own = file.clone();
    let read = tokio::task::spawn_blocking(move || own.read()).await;
    let path = file.path().display();
    match read {
        Ok(Ok(secret)) => Ok(secret),
        Ok(Err(error)) => {
            Err(SinkError::Fix { why: format!("{path} cannot be read: {error}") })
        }
        Err(_) => Err(SinkError::again(format!("{path} was not read"))),
    }
}

fn unsent(error: &PostError) -> SinkError {
    let mut why = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        why += &format!(": {cause}");
        next = cause.source();
    }
    match error {
        PostError::Refused { .. } => SinkError::Fix { why },
        PostError::Request(_) => SinkError::Never { why },
        PostError::Lookup { .. }
        | PostError::Connect { .. }
        | PostError::Tls { .. }
        | PostError::Exchange { .. }
        | PostError::Late { .. } => SinkError::again(why),
    }
}

/// When a server asks to be tried again: seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.saturating_sub(Duration::from_millis(clock::wall().0)))
}

/// Whether a status says that what was asked about is not there any more.
pub(super) fn is_gone(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}
