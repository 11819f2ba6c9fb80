//! What the configuration says about sinks, validated. Secrets are named by their files,
//! which are read anew for each delivery, so that a token can be replaced while the proxy
//! runs; they never come into a setting.

use std::fmt;
use std::io;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::target::Target;
use crate::tls::ClientSettings;
use crate::vocab::ids::Name;
use crate::vocab::notice::{Notice, Severity, Topic};

/// Everybody who is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The sinks; their names are unique.
    pub sinks: Vec<SinkSettings>,
}

/// One sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    /// Its name in metrics, logs and records.
    pub name: Name,
    /// Which notices it wants; stores for logs take none.
    pub filter: Filter,
    /// Whom it reaches, as records call them; at least one.
    pub recipients: Vec<String>,
    /// Where it is.
    pub url: Url,
    /// What it is shown to be let in.
    pub auth: Auth,
    /// What its certificate is held against.
    pub tls: ClientSettings,
    /// Where people read what to do.
    pub runbook_url: Option<String>,
    /// Its type with what only that type needs.
    pub kind: SinkKind,
}

/// Which notices a sink wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Those about one of these; a list without any stands for all.
    pub topics: Vec<Topic>,
    /// Those that are at least so urgent.
    pub least: Severity,
}

/// Where a sink is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Url {
    /// There.
    Given(Target),
    /// The address is a secret, in a file.
    File {
        /// The file.
        file: SecretFile,
        /// Whether it may be a private address.
        allow_private: bool,
    },
}

/// What a sink is shown to be let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// A bearer token.
    Bearer(SecretFile),
    /// A name with a password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: SecretFile,
    },
    /// A key of Elasticsearch.
    ApiKey(SecretFile),
}

/// A file with one secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFile(PathBuf);

/// The types of sinks with what only they need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// A Slack incoming webhook.
    Slack,
    /// The API v2 of Alertmanager.
    Alertmanager,
    /// The Events API v2 of PagerDuty.
    PagerDuty {
        /// The integration of those on call.
        routing_key: SecretFile,
        /// The integration of the incident commander.
        commander_key: Option<SecretFile>,
    },
    /// Whoever takes CloudEvents.
    Webhook {
        /// What deliveries are signed with.
        secret: Option<SecretFile>,
    },
    /// Tickets in Jira.
    Jira {
        /// Which of the two products.
        edition: JiraEdition,
        /// The project's key.
        project: String,
        /// The name of the type of issue.
        issue_type: String,
        /// Labels beside our own.
        labels: Vec<String>,
        /// Name or id of the priority that an issue is created with.
        priority: Option<String>,
        /// Name or id of the transition that is done when an incident is over.
        transition: Option<String>,
    },
    /// Issues on GitHub.
    GitHub {
        /// Owner and name.
        repo: String,
        /// Labels beside our own.
        labels: Vec<String>,
        /// Whether an issue is closed when its incident is over.
        close: bool,
    },
    /// Incidents in ServiceNow.
    ServiceNow {
        /// Who is to look at them.
        assignment_group: Option<String>,
        /// The state that an incident gets when it is over; `None` leaves that to people.
        close_state: Option<String>,
        /// The close code that goes with it.
        close_code: Option<String>,
    },
    /// Lines of the audit log to Grafana Loki.
    Loki {
        /// The tenant, where there are several.
        tenant: Option<String>,
    },
    /// Lines of the audit log to Elasticsearch.
    Elasticsearch {
        /// The index or data stream.
        index: String,
    },
}

/// The two products called Jira.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JiraEdition {
    /// The hosted one, API v3.
    Cloud,
    /// The one that customers run, API v2.
    DataCenter,
}

impl Filter {
    /// Whether the topic and the severity are wanted.
    #[must_use]
    pub fn accepts(&self, notice: &Notice) -> bool {
        let about = self.topics.is_empty() || self.topics.contains(&notice.topic);
        about && notice.severity >= self.least
    }

    /// The topics that a pattern such as `rollback.failed`, `rollback.*` or `*` stands for.
    #[must_use]
    pub fn topics(pattern: &str) -> Vec<Topic> {
        let fits = |topic: &Topic| match pattern.strip_suffix('*') {
            Some("") => true,
            Some(family) => family.ends_with('.') && topic.as_str().starts_with(family),
            None => topic.as_str() == pattern,
        };
        Topic::ALL.into_iter().filter(fits).collect()
    }
}

impl SinkKind {
    /// The word used in the configuration.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Alertmanager => "alertmanager",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Webhook { .. } => "webhook",
            Self::Jira { .. } => "jira",
            Self::GitHub { .. } => "github",
            Self::ServiceNow { .. } => "servicenow",
            Self::Loki { .. } => "loki",
            Self::Elasticsearch { .. } => "elasticsearch",
        }
    }

    /// Whether it takes lines of the audit log and no notices.
    #[must_use]
    pub fn takes_lines(&self) -> bool {
        matches!(self, Self::Loki { .. } | Self::Elasticsearch { .. })
    }
}

impl SecretFile {
    /// The secret in that file.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the secret, which blocks. Spaces around it are not part of it.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, or holds more than one line of visible ASCII.
    /// The content is not part of the error.
    pub fn read(&self) -> io::Result<String> {
        let wrong = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        let mut bytes = Vec::new();
        std::fs::File::open(&self.0)?.take(MOST + 1).read_to_end(&mut bytes)?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let secret = text.trim();
        if secret.is_empty() {
            return Err(wrong("it is empty"));
        }
        let visible = secret.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible || secret.len() as u64 > MOST {
            return Err(wrong("it is not one line of at most 4096 visible characters"));
        }
        Ok(secret.to_owned())
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretFile({})", self.0.display())
    }
}

/// Bytes of a secret.
const MOST: u64 = 4_096;

#[cfg(test)]
mod tests {
    use super::Filter;
    use crate::vocab::notice::Topic;

    #[test]
    fn a_pattern_is_a_topic_a_family_or_all() {
        let rollbacks =
            vec![Topic::RollbackStarted, Topic::RollbackCompleted, Topic::RollbackFailed];
        for (pattern, topics) in [
            ("rollback.*", rollbacks),
            ("mode.changed", vec![Topic::ModeChanged]),
            ("*", Topic::ALL.to_vec()),
            ("roll*", vec![]),
            ("rollback", vec![]),
            ("drift", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(Filter::topics(pattern), topics, "{pattern}");
        }
    }
}
