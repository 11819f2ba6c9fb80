//! Sinks in the file: the example of each, what is wrong with others, and that no secret is
//! ever said. Apart from the other values because secrets are files.

use std::fs;
use std::path::PathBuf;

use super::support::{environment, with_top};
use crate::config::describe::describe;
use crate::config::load::{Loaded, parse_in};
use crate::effects::{Auth, JiraEdition, SinkKind, Url};
use crate::vocab::notice::{Severity, Topic};

/// A folder with one file for each kind of secret.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name =
            format!("switchback-notify-{}-{}", std::process::id(), fastrand::u64(..));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(dir.join("secrets")).unwrap();
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = own.cert.pem();
        for (file, text) in [
            ("slack-url", "https://hooks.slack.com/services/T0/B0/S3CRET\n"),
            ("inner-url", "http://169.254.169.254/S3CRET\n"),
            ("token", "S3CRET-token\n"),
            ("routing-key", "S3CRET-routing\n"),
            ("commander-key", "S3CRET-commander\n"),
            ("two-lines", "S3CRET\nS3CRET\n"),
            ("empty", "\n"),
            ("ca.pem", &pem),
            ("client.pem", &pem),
            ("client.key", &own.signing_key.serialize_pem()),
        ] {
            fs::write(dir.join("secrets").join(file), text).unwrap();
        }
        Self(dir)
    }

    fn read(&self, notify: &str) -> Result<Loaded, Vec<String>> {
        let text = with_top(notify);
        parse_in(&text, "f.yaml", &self.0, &environment)
            .map_err(|errors| errors.lines().collect())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The sinks of the full example, which stand in comments because their files are missing.
fn example() -> String {
    let full = include_str!("../../../config/full.yaml");
    let (_, rest) = full.split_once("notify: []\n").unwrap();
    let lines = rest.lines().map_while(|line| line.strip_prefix("# "));
    format!("notify:\n{}", lines.map(|line| format!("  {line}\n")).collect::<String>())
}

#[test]
fn the_full_example_has_every_type_of_sink_and_each_is_right() {
    let folder = Folder::new();
    let loaded = folder.read(&example()).unwrap();
    let sinks = &loaded.settings.effects.sinks;
    let kinds: Vec<&str> = sinks.iter().map(|sink| sink.kind.as_str()).collect();
    let all = [
        "slack",
        "alertmanager",
        "pagerduty",
        "webhook",
        "jira",
        "github",
        "servicenow",
        "loki",
        "elasticsearch",
    ];
    assert_eq!(kinds, all);
    let rollbacks =
        [Topic::RollbackStarted, Topic::RollbackCompleted, Topic::RollbackFailed];
    let slack = &sinks[0];
    assert_eq!(slack.filter.topics, [&rollbacks[..], &[Topic::ModeChanged]].concat());
    assert_eq!(
        (slack.filter.least, &slack.recipients[0][..]),
        (Severity::Info, "#ml-ops")
    );
    assert!(matches!(slack.url, Url::File { allow_private: false, .. }));
    assert!(matches!(sinks[1].auth, Auth::Basic { .. }));
    assert!(sinks[1].tls.key_file.is_some());
    assert_eq!(sinks[2].filter.least, Severity::High);
    assert!(matches!(sinks[2].kind, SinkKind::PagerDuty { commander_key: Some(_), .. }));
    assert_eq!(sinks[2].recipients, ["pager"]);
    let edition = JiraEdition::Cloud;
    assert!(matches!(&sinks[4].kind, SinkKind::Jira { edition: e, .. } if *e == edition));
    assert!(
        matches!(&sinks[4].kind, SinkKind::Jira { priority: Some(priority), transition: Some(transition), .. }
            if priority == "High" && transition == "Done")
    );
    assert!(
        matches!(&sinks[6].kind, SinkKind::ServiceNow { close_state: Some(state), close_code: Some(code), .. }
            if state == "6" && code == "Solution provided")
    );
    assert!(matches!(sinks[5].auth, Auth::Bearer(_)));
    assert!(matches!(sinks[8].auth, Auth::ApiKey(_)));
    assert_eq!(loaded.warnings, [""; 0]);

    let said = describe(&loaded);
    for line in [
        "told by channel: slack at an address from a file, rollback.started, rollback.completed, rollback.failed, mode.changed, from info on, for #ml-ops",
        "told by pager: pagerduty at https://events.pagerduty.com, everything, from high on, for pager",
        "audit records go to loki: loki at https://loki.example.com",
    ] {
        assert!(said.lines().any(|other| other == line), "{line} not in {said}");
    }
    for text in [said, format!("{:?}", loaded.settings)] {
        assert!(!text.contains("S3CRET"), "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_sink_is_said_without_its_secret() {
    let folder = Folder::new();
    for (sink, says) in MISTAKES {
        let said = folder.read(&format!("notify: [{sink}]")).unwrap_err();
        assert!(said.len() == 1 && said[0].contains("notify[0]"), "{sink}\n{said:#?}");
        assert!(said[0].contains(says), "{sink}\n{said:#?}");
        assert!(!said[0].contains("S3CRET"), "{said:#?}");
    }
    let two = "{ name: a, type: webhook, url: 'https://h/' }";
    let said = folder.read(&format!("notify: [{two}, {two}]")).unwrap_err();
    assert!(
        said[0].contains("notify[1].name: a is also the name of notify[0]"),
        "{said:?}"
    );
}

#[test]
fn an_address_from_outside_the_file_is_not_printed() {
    let folder = Folder::new();
    let sink = "notify: [{ name: a, type: webhook, url: 'https://h.example/${SECRET}' }]";
    let loaded = folder.read(sink).unwrap();
    let said = describe(&loaded);
    assert!(!said.contains("hunter2") && said.contains("webhook at ***"), "{said}");
    assert!(!format!("{:?}", loaded.settings.effects).contains("hunter2"));
}

/// A sink, and what is said about it.
const MISTAKES: &[(&str, &str)] = &[
    ("{ name: a, type: pager }", "type: pager is not one of slack, alertmanager"),
    ("{ name: a }", "type: is missing: one of slack, "),
    ("{ type: slack, urlFile: secrets/slack-url }", "name: is missing"),
    ("{ name: a, type: slack }", "urlFile: is missing"),
    (
        "{ name: a, type: slack, url: 'https://h/', urlFile: secrets/slack-url }",
        "url: there is no such key",
    ),
    (
        "{ name: a, type: slack, urlFile: none }",
        "urlFile: none cannot be read: there is no such file",
    ),
    ("{ name: a, type: slack, urlFile: secrets/empty }", "cannot be read: it is empty"),
    (
        "{ name: a, type: slack, urlFile: secrets/two-lines }",
        "cannot be read: it is not one line",
    ),
    (
        "{ name: a, type: slack, urlFile: secrets/inner-url }",
        "urlFile: the address in the file is plain http://",
    ),
    (
        "{ name: a, type: slack, urlFile: secrets/inner-url, allowPrivate: true }",
        "is a link-local or metadata address, which is never allowed",
    ),
    ("{ name: a, type: webhook }", "url: is missing: give url or urlFile"),
    (
        "{ name: a, type: webhook, url: 'https://h/', urlFile: secrets/slack-url }",
        "urlFile: stands beside url",
    ),
    (
        "{ name: a, type: webhook, url: 'http://h/S3CRET' }",
        "url: the address is plain http://",
    ),
    (
        "{ name: a, type: webhook, url: 'https://me:S3CRET@h/' }",
        "url: the address has a user name",
    ),
    ("{ name: a, type: webhook, url: 'https://127.0.0.1/' }", "needs allowPrivate: true"),
    (
        "{ name: a, type: webhook, url: 'https://h/', on: [rollback] }",
        "on[0]: rollback is no topic",
    ),
    (
        "{ name: a, type: webhook, url: 'https://h/', severity: urgent }",
        "severity: urgent is not one of info, low, high, critical",
    ),
    (
        "{ name: a, type: webhook, url: 'https://h/', user: me }",
        "tokenFile: is missing: a user has a password",
    ),
    ("{ name: a, type: webhook, url: 'https://h/', caFile: secrets/token }", "caFile: "),
    (
        "{ name: a, type: webhook, url: 'https://h/', certFile: secrets/client.pem }",
        "a certificate and its key are needed together",
    ),
    (
        "{ name: a, type: webhook, url: 'https://h/', runbookUrl: 'javascript:x' }",
        "runbookUrl: \"javascript:x\" is no web address",
    ),
    (
        "{ name: a, type: loki, url: 'https://h/', on: [rollback.failed] }",
        "on: there is no such key",
    ),
    ("{ name: a, type: pagerduty }", "routingKeyFile: is missing"),
    (
        "{ name: a, type: jira, url: 'https://h/', project: OPS, tokenFile: secrets/token }",
        "user: is missing: Jira Cloud",
    ),
    (
        "{ name: a, type: jira, url: 'https://h/', edition: dataCenter, project: 'O\" OR', tokenFile: secrets/token }",
        "project: ",
    ),
    (
        "{ name: a, type: github, repo: '../..', tokenFile: secrets/token }",
        "repo: \"../..\" is not owner and name",
    ),
    (
        "{ name: a, type: servicenow, url: 'https://h/', user: u, tokenFile: secrets/token, closeCode: Done }",
        "closeCode: stands without closeState",
    ),
    (
        "{ name: a, type: servicenow, url: 'https://h/', user: u, tokenFile: secrets/token, closeState: '' }",
        "closeState",
    ),
    (
        "{ name: a, type: jira, url: 'https://h/', user: u, project: OPS, tokenFile: secrets/token, transition: ' ' }",
        "transition",
    ),
    (
        "{ name: a, type: github, repo: a/b, tokenFile: secrets/token, transition: Done }",
        "there is no such key",
    ),
    (
        "{ name: a, type: servicenow, url: 'https://h/', tokenFile: secrets/token }",
        "user: is missing",
    ),
    (
        "{ name: a, type: elasticsearch, url: 'https://h/', index: '_all' }",
        "index: \"_all\" is not the name of an index",
    ),
];
