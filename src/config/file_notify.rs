//! The shape of `notify` in the file: each type of sink with its keys. Apart from `file`
//! for its length; together they are the one table.

use super::defaults;
use super::file::{NAME, key, list, words};
use super::shape::Need::{Default, Optional, Required};
use super::shape::{Key, Shape};
use super::units;
use super::units::{Parsed, Why};
use crate::effects::Filter;

/// The types of sinks, each with its keys.
pub(super) const SINKS: &[(&str, &[Key])] = &[
    ("slack", SLACK),
    ("alertmanager", ALERTMANAGER),
    ("pagerduty", PAGERDUTY),
    ("webhook", WEBHOOK),
    ("jira", JIRA),
    ("github", GITHUB),
    ("servicenow", SERVICENOW),
    ("loki", LOKI),
    ("elasticsearch", ELASTICSEARCH),
];

const SLACK: &[Key] = &[
    SINK_NAME,
    TYPE,
    key("urlFile", FILE, Required, "the file with the address of the incoming webhook"),
    ON,
    SEVERITY,
    RECIPIENTS,
    RUNBOOK,
    ALLOW_PRIVATE,
    CA_FILE,
];

const ALERTMANAGER: &[Key] = &[
    SINK_NAME,
    TYPE,
    URL,
    URL_FILE,
    ON,
    SEVERITY,
    RECIPIENTS,
    RUNBOOK,
    USER,
    TOKEN_FILE,
    ALLOW_PRIVATE,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
];

const PAGERDUTY: &[Key] = &[
    SINK_NAME,
    TYPE,
    key(
        "url",
        ADDRESS,
        Default(defaults::PAGERDUTY_URL),
        "the events API; another one for the service region EU",
    ),
    key("routingKeyFile", FILE, Required, "the file with the key of those on call"),
    key(
        "commanderKeyFile",
        FILE,
        Optional,
        "the file with the key of the incident commander, who is paged for what is critical, for mode.changed and for rollback.failed",
    ),
    ON,
    SEVERITY_URGENT,
    RECIPIENTS,
    RUNBOOK,
    ALLOW_PRIVATE,
    CA_FILE,
];

const WEBHOOK: &[Key] = &[
    SINK_NAME,
    TYPE,
    URL,
    URL_FILE,
    key(
        "secretFile",
        FILE,
        Optional,
        "the file with the secret that deliveries are signed with",
    ),
    ON,
    SEVERITY,
    RECIPIENTS,
    RUNBOOK,
    USER,
    TOKEN_FILE,
    ALLOW_PRIVATE,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
];

const JIRA: &[Key] = &[
    SINK_NAME,
    TYPE,
    key("url", ADDRESS, Required, "the site, such as https://acme.atlassian.net"),
    key(
        "edition",
        words(&["cloud", "dataCenter"]),
        Default(defaults::JIRA_EDITION),
        "which of the two products",
    ),
    key("project", Shape::Text(is_project), Required, "the project's key"),
    key(
        "issueType",
        Shape::Text(units::line),
        Default(defaults::JIRA_ISSUE_TYPE),
        "the name of the type of issue",
    ),
    LABELS,
    key(
        "priority",
        Shape::Text(is_short),
        Optional,
        "the priority of a new issue, by name or id; the project's own when absent",
    ),
    key(
        "transition",
        Shape::Text(is_short),
        Optional,
        "what is done with the issue when its incident is over, by name or id; a comment alone when absent",
    ),
    key(
        "user",
        Shape::Text(is_user),
        Optional,
        "the email address of the API token; for Cloud",
    ),
    key(
        "tokenFile",
        FILE,
        Required,
        "the file with the API token or personal access token",
    ),
    ON,
    SEVERITY_URGENT,
    RECIPIENTS,
    RUNBOOK,
    ALLOW_PRIVATE,
    CA_FILE,
];

const GITHUB: &[Key] = &[
    SINK_NAME,
    TYPE,
    key(
        "url",
        ADDRESS,
        Default(defaults::GITHUB_URL),
        "the API; another one for Enterprise Server",
    ),
    key("repo", Shape::Text(is_repo), Required, "owner and name, such as acme/models"),
    LABELS,
    key(
        "close",
        Shape::Flag,
        Default(defaults::GITHUB_CLOSE),
        "close the issue when its incident is over",
    ),
    key("tokenFile", FILE, Required, "the file with a token that may write issues"),
    ON,
    SEVERITY_URGENT,
    RECIPIENTS,
    RUNBOOK,
    ALLOW_PRIVATE,
    CA_FILE,
];

const SERVICENOW: &[Key] = &[
    SINK_NAME,
    TYPE,
    key("url", ADDRESS, Required, "the instance, such as https://acme.service-now.com"),
    key("assignmentGroup", Shape::Text(units::line), Optional, "who is to look at it"),
    key(
        "closeState",
        Shape::Text(is_short),
        Optional,
        "the state of an incident that is over, such as \"6\" for Resolved; a work note alone when absent",
    ),
    key(
        "closeCode",
        Shape::Text(is_short),
        Optional,
        "the resolution code that goes with it, such as Solution provided",
    ),
    key("user", Shape::Text(is_user), Required, "the user that may write incidents"),
    key("tokenFile", FILE, Required, "the file with the user's password"),
    ON,
    SEVERITY_URGENT,
    RECIPIENTS,
    RUNBOOK,
    ALLOW_PRIVATE,
    CA_FILE,
];

const LOKI: &[Key] = &[
    SINK_NAME,
    TYPE,
    URL,
    URL_FILE,
    key(
        "tenant",
        Shape::Text(units::header_value),
        Optional,
        "the tenant, where there are several",
    ),
    USER,
    TOKEN_FILE,
    ALLOW_PRIVATE,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
];

const ELASTICSEARCH: &[Key] = &[
    SINK_NAME,
    TYPE,
    URL,
    URL_FILE,
    key(
        "index",
        Shape::Text(is_index),
        Default(defaults::ELASTICSEARCH_INDEX),
        "the index or data stream",
    ),
    key(
        "user",
        Shape::Text(is_user),
        Optional,
        "a user with a password in tokenFile; without one, that is an API key",
    ),
    TOKEN_FILE,
    ALLOW_PRIVATE,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
];

const SINK_NAME: Key =
    key("name", NAME, Required, "its name in metrics, logs and records");
const TYPE: Key = key(
    "type",
    words(&[
        "slack",
        "alertmanager",
        "pagerduty",
        "webhook",
        "jira",
        "github",
        "servicenow",
        "loki",
        "elasticsearch",
    ]),
    Required,
    "what it is",
);
const URL: Key =
    key("url", ADDRESS, Optional, "where it is; https, or http with allowPrivate");
const URL_FILE: Key =
    key("urlFile", FILE, Optional, "the file with the address, where that is a secret");
const ON: Key = key(
    "on",
    list(&Shape::Text(is_topic), 0, 32),
    Default(defaults::NOTIFY_ON),
    "topics such as rollback.failed or rollback.*; none = all",
);
const SEVERITY: Key = key(
    "severity",
    SEVERITIES,
    Default(defaults::NOTIFY_SEVERITY),
    "at least so urgent; the end of what was told is told in any case",
);
const SEVERITY_URGENT: Key = key(
    "severity",
    SEVERITIES,
    Default(defaults::NOTIFY_SEVERITY_URGENT),
    "at least so urgent; the end of what was told is told in any case",
);
const SEVERITIES: Shape = words(&["info", "low", "high", "critical"]);
const RECIPIENTS: Key = key(
    "recipients",
    list(&Shape::Text(units::line), 1, 32),
    Optional,
    "whom it reaches, for the records; its name when absent",
);
const RUNBOOK: Key =
    key("runbookUrl", Shape::Text(units::line), Optional, "where people read what to do");
const USER: Key = key(
    "user",
    Shape::Text(is_user),
    Optional,
    "a user with a password in tokenFile; without one, that is a bearer token",
);
const TOKEN_FILE: Key =
    key("tokenFile", FILE, Optional, "the file with a token or password");
const LABELS: Key = key(
    "labels",
    list(&Shape::Text(is_label), 0, 16),
    Default(defaults::TICKET_LABELS),
    "labels beside our own",
);
const ALLOW_PRIVATE: Key = key(
    "allowPrivate",
    Shape::Flag,
    Default(defaults::NOTIFY_ALLOW_PRIVATE),
    "may be a private or loopback address, and plain http there",
);
const CA_FILE: Key = key(
    "caFile",
    FILE,
    Optional,
    "authorities to believe beside those of the public web",
);
const CERT_FILE: Key = key("certFile", FILE, Optional, "the certificate to show");
const KEY_FILE: Key = key("keyFile", FILE, Optional, "the key of that certificate");
const FILE: Shape = Shape::Text(units::line);
const ADDRESS: Shape = Shape::Text(units::line);

fn fits(is_so: bool, why: &str) -> Parsed<()> {
    if is_so { Ok(()) } else { Err(Why::Wrong(why.to_owned())) }
}

fn is_topic(text: &str) -> Parsed<()> {
    let known = "is no topic: write one such as rollback.failed, rollback.*, mode.changed, protect.*, rollout.changed, headroom.short, audit.failed or *";
    fits(!Filter::topics(text).is_empty(), known)
}

fn is_project(text: &str) -> Parsed<()> {
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let good = (2..=64).contains(&text.len()) && text.bytes().all(plain);
    fits(good, "is not a project's key such as OPS")
}

fn is_repo(text: &str) -> Parsed<()> {
    let part = |part: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        (1..=100).contains(&part.len())
            && part.bytes().all(plain)
            && !part.bytes().all(|b| b == b'.')
    };
    let good =
        text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name));
    fits(good, "is not owner and name such as acme/models")
}

fn is_index(text: &str) -> Parsed<()> {
    let plain =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    let good = (1..=200).contains(&text.len())
        && text.bytes().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    fits(good, "is not the name of an index: use a-z 0-9 - _ .")
}

fn is_label(text: &str) -> Parsed<()> {
    let good = (1..=50).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b',');
    fits(good, "is not a label: use 1 to 50 visible characters without spaces and commas")
}

fn is_short(text: &str) -> Parsed<()> {
    let good = (1..=100).contains(&text.trim().len())
        && text.trim() == text
        && !text.contains(char::is_control);
    fits(good, "is not a name or id of 1 to 100 characters on one line")
}

fn is_user(text: &str) -> Parsed<()> {
    let good = (1..=200).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    fits(good, "is not a user: use visible characters without spaces and colons")
}
