//! Sinks: who is told, with the secrets in files. Apart from `services` for its length, and
//! because nothing else in the file leads outside.

use std::collections::HashMap;
use std::path::Path;

use super::reader::View;
use super::services::is_open;
use crate::effects::post::Target;
use crate::effects::{
    Auth, Filter, JiraEdition, SecretFile, Settings, SinkKind, SinkSettings, Url,
};
use crate::tls::{ClientSettings, TlsClient};
use crate::vocab::notice::Severity;

/// All sinks; no two have the same name.
pub(super) fn sinks(root: &View<'_>, dir: &Path) -> Settings {
    let mut names = HashMap::new();
    let mut sinks = Vec::new();
    for (place, view) in root.children("notify").iter().enumerate() {
        let Some(name) = view.name("name") else { continue };
        if let Some(first) = names.insert(name, place) {
            let shown = view.shown("name");
            view.wrong("name", format!("{shown} is also the name of notify[{first}]"));
        }
        sinks.extend(Reader { view, dir }.sink());
    }
    Settings { sinks }
}

/// One sink of the file.
struct Reader<'a> {
    view: &'a View<'a>,
    dir: &'a Path,
}

impl Reader<'_> {
    fn sink(&self) -> Option<SinkSettings> {
        let view = self.view;
        let (name, kind) = (view.name("name")?, self.kind());
        let takes_lines = kind.as_ref().is_some_and(SinkKind::takes_lines);
        let filter = if takes_lines {
            Filter { topics: Vec::new(), least: Severity::Critical }
        } else {
            self.filter()
        };
        let mut recipients: Vec<String> = match takes_lines {
            true => Vec::new(),
            false => {
                view.items("recipients").iter().map(|it| it.text.to_owned()).collect()
            }
        };
        if recipients.is_empty() {
            recipients.push(name.to_string());
        }
        let (url, auth, tls) = (self.url(), self.auth(), self.tls());
        let runbook_url = if takes_lines { None } else { self.runbook() };
        Some(SinkSettings {
            name,
            filter,
            recipients,
            url: url?,
            auth: auth?,
            tls: tls?,
            runbook_url,
            kind: kind?,
        })
    }

    fn kind(&self) -> Option<SinkKind> {
        let view = self.view;
        let labels =
            || view.items("labels").iter().map(|it| it.text.to_owned()).collect();
        let text = |key: &str| view.text(key).to_owned();
        let maybe = |key: &str| view.maybe_text(key).map(str::to_owned);
        Some(match view.text("type") {
            "slack" => SinkKind::Slack,
            "alertmanager" => SinkKind::Alertmanager,
            "pagerduty" => {
                let (routing, commander) = (
                    self.secret("routingKeyFile"),
                    self.maybe_secret("commanderKeyFile"),
                );
                SinkKind::PagerDuty { routing_key: routing?, commander_key: commander }
            }
            "webhook" => SinkKind::Webhook { secret: self.maybe_secret("secretFile") },
            "jira" => SinkKind::Jira {
                edition: match view.text("edition") {
                    "dataCenter" => JiraEdition::DataCenter,
                    _ => JiraEdition::Cloud,
                },
                project: text("project"),
                issue_type: text("issueType"),
                labels: labels(),
                priority: maybe("priority"),
                transition: maybe("transition"),
            },
            "github" => SinkKind::GitHub {
                repo: text("repo"),
                labels: labels(),
                close: view.flag("close"),
            },
            "servicenow" => {
                if view.given("closeCode") && !view.given("closeState") {
                    let why = "stands without closeState, with which it is sent";
                    view.wrong("closeCode", why);
                }
                SinkKind::ServiceNow {
                    assignment_group: maybe("assignmentGroup"),
                    close_state: maybe("closeState"),
                    close_code: maybe("closeCode"),
                }
            }
            "loki" => SinkKind::Loki { tenant: maybe("tenant") },
            "elasticsearch" => SinkKind::Elasticsearch { index: text("index") },
            _ => return None,
        })
    }

    fn filter(&self) -> Filter {
        let patterns = self.view.items("on");
        let mut topics: Vec<_> =
            patterns.iter().flat_map(|item| Filter::topics(item.text)).collect();
        topics.sort_unstable();
        topics.dedup();
        let least = match self.view.text("severity") {
            "critical" => Severity::Critical,
            "high" => Severity::High,
            "low" => Severity::Low,
            _ => Severity::Info,
        };
        Filter { topics, least }
    }

    /// The address, or a report of what is wrong with it that does not show more of it than
    /// the file does.
    fn url(&self) -> Option<Url> {
        let view = self.view;
        let allow_private = view.flag("allowPrivate");
        let has_file = self.has("urlFile") && view.given("urlFile");
        let has_url = self.has("url") && !view.text("url").is_empty();
        match (has_url, has_file) {
            (true, true) => {
                view.wrong("urlFile", "stands beside url: give one of the two");
                None
            }
            (false, false) => {
                if self.has("url") && view.sound("url") {
                    view.wrong("url", "is missing: give url or urlFile");
                }
                None
            }
            (true, false) => match Target::parse(view.text("url"), allow_private) {
                Ok(target) => Some(Url::Given(target)),
                Err(error) => {
                    view.wrong("url", format!("the address {error}"));
                    None
                }
            },
            (false, true) => {
                let file = self.secret("urlFile")?;
                let url = file.read().ok()?;
                if let Err(error) = Target::parse(&url, allow_private) {
                    view.wrong("urlFile", format!("the address in the file {error}"));
                }
                Some(Url::File { file, allow_private })
            }
        }
    }

    fn auth(&self) -> Option<Auth> {
        let view = self.view;
        if !self.has("tokenFile") {
            return Some(Auth::None);
        }
        let user = if self.has("user") { view.maybe_text("user") } else { None };
        let kind = view.text("type");
        if kind == "jira" && view.text("edition") == "cloud" && user.is_none() {
            view.wrong(
                "user",
                "is missing: Jira Cloud wants the API token's email address",
            );
        }
        match (user, self.maybe_secret("tokenFile")) {
            (Some(user), Some(password)) => {
                Some(Auth::Basic { user: user.to_owned(), password })
            }
            (Some(_), None) => {
                if view.sound("tokenFile") {
                    view.wrong("tokenFile", "is missing: a user has a password");
                }
                None
            }
            (None, Some(key)) if kind == "elasticsearch" => Some(Auth::ApiKey(key)),
            (None, Some(token)) => Some(Auth::Bearer(token)),
            (None, None) => Some(Auth::None),
        }
    }

    /// What certificates are held against, if it can be used.
    fn tls(&self) -> Option<ClientSettings> {
        let view = self.view;
        let path = |key: &str| {
            let text = if self.has(key) { view.maybe_text(key) } else { None };
            text.map(|text| self.dir.join(text))
        };
        let settings = ClientSettings {
            ca_file: path("caFile"),
            cert_file: path("certFile"),
            key_file: path("keyFile"),
        };
        if let Err(error) = TlsClient::new(&settings) {
            let key = if settings.cert_file.is_some() { "certFile" } else { "caFile" };
            let key = if self.has(key) { key } else { "caFile" };
            view.wrong(key, error.to_string());
            return None;
        }
        Some(settings)
    }

    fn runbook(&self) -> Option<String> {
        let url = self.view.maybe_text("runbookUrl")?;
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        if !is_web {
            let shown = self.view.shown("runbookUrl");
            self.view.wrong("runbookUrl", format!("{shown} is no web address"));
        }
        Some(url.to_owned())
    }

    /// The file under that key, whose secret could be read.
    fn secret(&self, key: &str) -> Option<SecretFile> {
        let item = self.view.item(key)?;
        let path = self.dir.join(item.text);
        let file = SecretFile::new(path);
        match file.read() {
            Ok(_) => {
                if is_open(file.path()) {
                    let shown = &item.shown;
                    self.view.warn(key, format!("{shown} can be changed by every user"));
                }
                Some(file)
            }
            Err(error) => {
                let (shown, why) = (&item.shown, super::insert::plain(&error));
                self.view.wrong_item(&item, format!("{shown} cannot be read: {why}"));
                None
            }
        }
    }

    /// The same for a key that may be absent.
    fn maybe_secret(&self, key: &str) -> Option<SecretFile> {
        if self.view.given(key) { self.secret(key) } else { None }
    }

    /// Whether this type of sink has such a key.
    fn has(&self, key: &str) -> bool {
        self.view.has_key(key)
    }
}
