//! What may go wrong with any server: what is tried again, when, and that no secret shows.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::server::{Secret, Server, answer, deliver, settings, ship, started};
use crate::effects::post::Target;
use crate::effects::settings::{
    Auth, JiraEdition, SecretFile, SinkKind, SinkSettings, Url,
};
use crate::effects::sink::{Earlier, SinkError};
use crate::tls::ClientSettings;

fn kinds(key: &Secret) -> Vec<SinkKind> {
    vec![
        SinkKind::Slack,
        SinkKind::Alertmanager,
        SinkKind::PagerDuty { routing_key: key.file(), commander_key: None },
        SinkKind::Webhook { secret: Some(key.file()) },
        SinkKind::Jira {
            edition: JiraEdition::Cloud,
            project: "OPS".to_owned(),
            issue_type: "Incident".to_owned(),
            labels: Vec::new(),
            priority: Some("High".to_owned()),
            transition: Some("Done".to_owned()),
        },
        SinkKind::GitHub {
            repo: "acme/models".to_owned(),
            labels: Vec::new(),
            close: true,
        },
        SinkKind::ServiceNow {
            assignment_group: None,
            close_state: Some("6".to_owned()),
            close_code: None,
        },
        SinkKind::Loki { tenant: None },
        SinkKind::Elasticsearch { index: "audit".to_owned() },
    ]
}

async fn fails(sink: &SinkSettings) -> SinkError {
    if sink.kind.takes_lines() {
        return ship(sink, &[LINE]).await.unwrap_err();
    }
    deliver(sink, &started(), Earlier::default()).await.unwrap_err()
}

/// Gives the sink the same thing once more; what it is given is what the outbox holds.
async fn takes(sink: &SinkSettings) {
    if sink.kind.takes_lines() {
        ship(sink, &[LINE]).await.map(drop).unwrap();
    } else {
        deliver(sink, &started(), Earlier::default()).await.map(drop).unwrap();
    }
}

const LINE: &str =
    r#"{"seq":1,"kind":"x","timestamp":"2026-11-24T21:05:58.123Z","hash":"aa"}"#;

/// The word for an error and when it is tried again.
fn word(error: &SinkError) -> (&'static str, Option<Duration>) {
    match error {
        SinkError::Again { after, .. } => ("again", *after),
        SinkError::Fix { .. } => ("fix", None),
        SinkError::Never { .. } => ("never", None),
    }
}

#[tokio::test]
async fn a_status_says_whether_trying_again_may_help() {
    let key = Secret::new("hunter2hunter2");
    let head =
        |line: &str| format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n").into_bytes();
    let minute = Some(Duration::from_secs(60));
    let past = "429 X\r\nretry-after: Wed, 21 Oct 2015 07:28:00 GMT";
    for (bytes, wanted) in [
        (head("429 X\r\nretry-after: 60"), ("again", minute)),
        (head(past), ("again", Some(Duration::ZERO))),
        (head("429 X\r\nretry-after: soon"), ("again", None)),
        (head("503 X\r\nretry-after: 60"), ("again", minute)),
        (head("500 X"), ("again", None)),
        (head("408 X"), ("again", None)),
        (head("301 X\r\nlocation: http://169.254.169.254/"), ("fix", None)),
        (head("401 X"), ("fix", None)),
        (head("403 X"), ("fix", None)),
        (head("400 X"), ("never", None)),
        (head("413 X"), ("never", None)),
        (head("422 X"), ("never", None)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec(), ("again", None)),
        (b"SSH-2.0-OpenSSH\r\n".to_vec(), ("again", None)),
        (Vec::new(), ("again", None)),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let server = Server::start(move |_| bytes.clone()).await;
        for kind in kinds(&key) {
            let said = fails(&settings(server.url(""), kind.clone())).await;
            assert_eq!(word(&said), wanted, "{} {shown}: {said:?}", kind.as_str());
        }
    }
}

#[tokio::test]
async fn a_not_found_is_for_an_operator_to_put_right() {
    let key = Secret::new("hunter2hunter2");
    let server = Server::always(404, "no_service").await;
    for kind in kinds(&key) {
        let said = fails(&settings(server.url(""), kind)).await;
        assert_eq!(word(&said).0, "fix", "{said:?}");
        assert!(said.to_string().contains("404: no_service"), "{said}");
    }
}

#[tokio::test]
async fn an_answer_that_is_garbage_is_no_answer_where_one_is_read() {
    let key = Secret::new("hunter2hunter2");
    for body in ["<html>login</html>", "{\"a\":1}", "[1", &"x".repeat(100_000)] {
        let server = Server::always(200, body).await;
        for kind in kinds(&key) {
            let reads = matches!(
                kind,
                SinkKind::Jira { .. }
                    | SinkKind::GitHub { .. }
                    | SinkKind::ServiceNow { .. }
                    | SinkKind::Elasticsearch { .. }
            );
            if reads {
                let said = fails(&settings(server.url(""), kind)).await;
                assert_eq!(word(&said).0, "again", "{said:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_success_that_says_it_is_none_is_for_an_operator() {
    let key = Secret::new("hunter2hunter2");
    for body in [
        "\n<!DOCTYPE html><title>Sign in</title>",
        r#"{"ok":false,"error":"invalid_blocks"}"#,
        r#"{"success":false,"error":"no such hook"}"#,
        r#"{"status":"invalid event","message":"Event object is invalid","errors":["x"]}"#,
        r#"{"status":"error","errorType":"bad_data"}"#,
    ] {
        let server = Server::always(200, body).await;
        for kind in kinds(&key) {
            // Whoever takes a webhook may answer what it likes; tickets and Elasticsearch
            // have answers that are read.
            let judged = matches!(
                kind,
                SinkKind::Slack
                    | SinkKind::Alertmanager
                    | SinkKind::PagerDuty { .. }
                    | SinkKind::Loki { .. }
            );
            if judged {
                let said = fails(&settings(server.url(""), kind)).await;
                assert_eq!(word(&said).0, "fix", "{body}: {said:?}");
            }
        }
    }
    for body in ["ok", "", r#"{"ok":true}"#, r#"{"status":"success"}"#, "[]", "OK <3"] {
        let server = Server::always(200, body).await;
        for kind in
            [SinkKind::Slack, SinkKind::Alertmanager, SinkKind::Loki { tenant: None }]
        {
            takes(&settings(server.url(""), kind)).await;
        }
    }
}

/// Waits until the server was asked: nothing more will happen but that time passes.
async fn stops_the_clock(server: &Server) {
    while server.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
}

/// A sink with a server that takes the request and says nothing, or never ends what it says.
#[tokio::test]
async fn a_server_that_hangs_is_left_and_tried_again() {
    let key = Secret::new("hunter2hunter2");
    for (said, why) in [
        (&b""[..], "took longer than 10s to answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "took longer than 10s to answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "to end its answer"),
    ] {
        for kind in kinds(&key) {
            let server = Server::hanging(said).await;
            let sink = settings(server.url(""), kind);
            let (error, ()) = tokio::join!(fails(&sink), stops_the_clock(&server));
            tokio::time::resume();
            assert_eq!(word(&error).0, "again", "{}: {error:?}", sink.kind.as_str());
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}

/// The server has done what it was asked, and its answer is lost: the second try says by the
/// same mark that it is the same thing. Slack alone has no such mark, and shows it twice.
#[tokio::test]
async fn after_a_lost_answer_the_same_thing_comes_under_the_same_mark() {
    let (key, calls) = (Secret::new("hunter2hunter2"), AtomicUsize::new(0));
    let server =
        Server::start(move |_| match calls.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Vec::new(),
            _ => answer(200, r#"{"errors":false,"items":[{"create":{"status":409}}]}"#),
        })
        .await;
    for kind in kinds(&key) {
        let mark = |body: &str| -> String {
            let first = body.lines().next().unwrap_or_default();
            let json: Value = serde_json::from_str(first).unwrap();
            match &kind {
                SinkKind::Slack => json["text"].to_string(),
                SinkKind::Alertmanager => json[0]["labels"].to_string(),
                SinkKind::PagerDuty { .. } => json["dedup_key"].to_string(),
                SinkKind::Webhook { .. } => json["id"].to_string(),
                // It takes a line with the time and the text of another for that line.
                SinkKind::Loki { .. } => json["streams"].to_string(),
                SinkKind::Elasticsearch { .. } => json["create"]["_id"].to_string(),
                SinkKind::Jira { .. }
                | SinkKind::GitHub { .. }
                | SinkKind::ServiceNow { .. } => String::new(),
            }
        };
        // How tickets are found again is told with them.
        if !mark("null").is_empty() {
            let sink = settings(server.url(""), kind.clone());
            let before = server.asked().len();
            assert_eq!(word(&fails(&sink).await).0, "again");
            takes(&sink).await;
            let asked = server.asked();
            let marks = [&asked[before], &asked[before + 1]].map(|it| mark(&it.body));
            assert_eq!(marks[0], marks[1], "{}", kind.as_str());
            assert_ne!(marks[0], "null", "{}", kind.as_str());
        }
    }
}

#[tokio::test]
async fn a_server_that_repeats_a_secret_does_not_get_it_into_an_error() {
    let (key, token) = (Secret::new("hunter2hunter2"), Secret::new("t0ken-t0ken"));
    let server = Server::start(|asked| {
        answer(400, &format!("bad\r\n\u{1b}[31m{} {}", asked.head, asked.body))
    })
    .await;
    for kind in kinds(&key) {
        for auth in [
            Auth::Bearer(token.file()),
            Auth::Basic { user: "me".to_owned(), password: token.file() },
        ] {
            let sink = SinkSettings { auth, ..settings(server.url("/x"), kind.clone()) };
            let said = fails(&sink).await.to_string();
            // me:t0ken-t0ken
            for secret in ["hunter2", "t0ken", "bWU6dDBrZW4tdDBrZW4="] {
                assert!(!said.contains(secret), "{said}");
            }
            assert!(!said.contains(['\u{1b}', '\r', '\n']), "{said:?}");
            assert!(!format!("{sink:?}").contains("t0ken-"), "{sink:?}");
        }
    }
    // An address that is a secret is not shown either.
    let hook = Secret::new(&format!("{}/services/SECRET", server.origin));
    let url = Url::File { file: hook.file(), allow_private: true };
    let said = fails(&settings(url, SinkKind::Slack)).await.to_string();
    assert!(!said.contains("SECRET"), "{said}");
}

#[tokio::test]
async fn secrets_and_addresses_that_are_wrong_wait_for_an_operator() {
    let gone = SecretFile::new("no/such/file".into());
    let two = Secret::new("one two");
    let empty = Secret::new(" \n");
    let target = Target::parse("http://127.0.0.1:1/", true).unwrap();
    for file in [gone, two.file(), empty.file()] {
        let sink = SinkSettings {
            auth: Auth::Bearer(file),
            ..settings(Url::Given(target.clone()), SinkKind::Slack)
        };
        let said = fails(&sink).await;
        assert_eq!(word(&said).0, "fix", "{said:?}");
        assert!(!said.to_string().contains("one two"), "{said}");
    }
    for url in
        ["http://169.254.169.254/latest", "ftp://x/", "http://[fe80::1]/", "nothing"]
    {
        let file = Secret::new(url);
        let url = Url::File { file: file.file(), allow_private: true };
        let said = fails(&settings(url, SinkKind::Slack)).await;
        assert_eq!(word(&said).0, "fix", "{said:?}");
    }
    // A name that stands for an inner address, without leave to go there.
    let target = Target::parse("https://localhost:1/", false).unwrap();
    let said = fails(&settings(Url::Given(target), SinkKind::Slack)).await;
    assert_eq!(word(&said).0, "fix", "{said:?}");
}

#[tokio::test]
async fn nobody_there_is_tried_again_and_tls_holds_for_sinks_too() {
    let target = Target::parse("http://127.0.0.1:1/", true).unwrap();
    let said = fails(&settings(Url::Given(target), SinkKind::Slack)).await;
    assert_eq!(word(&said).0, "again", "{said:?}");

    let server = crate::tls::testing::Server::start().await;
    let url = format!("https://localhost:{}/hook", server.address().port());
    let url = Url::Given(Target::parse(&url, true).unwrap());
    let plain = settings(url, SinkKind::Slack);
    let said = fails(&plain).await;
    assert!(said.to_string().contains("no TLS with localhost"), "{said}");
    let ca_file = Some(server.ca_file());
    let tls = ClientSettings { ca_file, ..ClientSettings::default() };
    let sink = SinkSettings { tls, ..plain };
    deliver(&sink, &started(), Earlier::default()).await.unwrap();
}
