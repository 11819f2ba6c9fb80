//! How tickets end, and what becomes of a ticket whose making was answered and not heard.
//! Apart from `tickets`, which tells what is written into them, because here the product
//! says no.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::server::{Asked, Server, answer, completed, deliver, settings, started};
use crate::effects::settings::{JiraEdition, SinkKind};
use crate::effects::sink::{Earlier, SinkError};

/// What a product was asked for and did, one word a request.
type Deeds = Arc<Mutex<Vec<String>>>;

/// A server that notes what it is asked for, in the words of `name`, and answers by it.
async fn product(
    name: impl Fn(&Asked) -> String + Send + Sync + 'static,
    says: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static,
) -> (Server, Deeds) {
    let deeds = Deeds::default();
    let own = Arc::clone(&deeds);
    let server = Server::start(move |asked| {
        let word = name(asked);
        let mut deeds = own.lock().unwrap();
        let times = deeds.iter().filter(|deed| **deed == word).count();
        deeds.push(word.clone());
        drop(deeds);
        says(&word, times)
    })
    .await;
    (server, deeds)
}

fn done(deeds: &Deeds) -> Vec<String> {
    std::mem::take(&mut *deeds.lock().unwrap())
}

fn jira(priority: Option<&str>, transition: Option<&str>) -> SinkKind {
    SinkKind::Jira {
        edition: JiraEdition::Cloud,
        project: "OPS".to_owned(),
        issue_type: "Incident".to_owned(),
        labels: Vec::new(),
        priority: priority.map(str::to_owned),
        transition: transition.map(str::to_owned),
    }
}

/// What Jira is asked for; of a transition its id, of a new issue its priority.
fn of_jira(asked: &Asked) -> String {
    let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
    let (method, path) = asked.line.split_once(' ').unwrap();
    match path.strip_prefix("/rest/api/3/").unwrap() {
        "search/jql" => "search".to_owned(),
        "issue" => format!("create {}", body["fields"]["priority"]),
        "issue/OPS-7/comment" => "comment".to_owned(),
        "issue/OPS-7/transitions" if method == "GET" => "ask".to_owned(),
        "issue/OPS-7/transitions" => {
            assert_eq!(body.as_object().unwrap().len(), 1);
            format!("do {}", body["transition"]["id"].as_str().unwrap())
        }
        other => other.to_owned(),
    }
}

/// The documented answers of a Jira that has the issue OPS-7.
fn jira_says(word: &str) -> Vec<u8> {
    match word {
        "search" => answer(200, r#"{"issues":[{"id":"1","key":"OPS-7"}],"isLast":true}"#),
        "comment" => answer(201, r#"{"id":"2"}"#),
        "ask" => {
            let way = |id: &str, name: &str, to: &str| {
                json!({ "id": id, "name": name, "hasScreen": false, "isAvailable": true,
                        "to": { "id": "3", "name": to, "statusCategory": { "key": "done" } } })
            };
            let ways =
                [way("11", "Start work", "In Progress"), way("31", "Resolve", "Done")];
            answer(
                200,
                &json!({ "expand": "transitions", "transitions": ways }).to_string(),
            )
        }
        "do 31" | "do 11" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        _ => answer(201, r#"{"id":"1","key":"OPS-7","self":"https://x/1"}"#),
    }
}

const KNOWN: Earlier<'_> =
    Earlier { reference: Some("https://x/browse/OPS-7"), opened: None };

#[tokio::test]
async fn jira_does_the_transition_that_is_named_when_the_incident_is_over() {
    for (named, deed) in [("31", "do 31"), ("resolve", "do 31"), ("Start work", "do 11")]
    {
        let (server, deeds) = product(of_jira, |word, _| jira_says(word)).await;
        let sink = settings(server.url(""), jira(None, Some(named)));
        deliver(&sink, &started(), KNOWN).await.unwrap();
        assert_eq!(done(&deeds), ["comment"], "not before the end");
        deliver(&sink, &completed(), KNOWN).await.unwrap();
        assert_eq!(done(&deeds), ["comment", "ask", deed], "{named}");
        // Found by its label, as after a restart that forgot the address.
        deliver(&sink, &completed(), Earlier::default()).await.unwrap();
        assert_eq!(done(&deeds), ["search", "comment", "ask", deed]);
    }
    // Nothing is named: nothing is done.
    let (server, deeds) = product(of_jira, |word, _| jira_says(word)).await;
    let sink = settings(server.url(""), jira(None, None));
    deliver(&sink, &completed(), KNOWN).await.unwrap();
    assert_eq!(done(&deeds), ["comment"]);
}

#[tokio::test]
async fn what_jira_does_not_let_us_do_is_left_to_people_and_not_tried_again() {
    let missing =
        r#"{"errorMessages":[],"errors":{"resolution":"Resolution is required."}}"#;
    for (refuses, status, body, rest) in [
        ("", 0, "", &["ask"][..]),
        ("do 31", 400, missing, &["ask", "do 31"]),
        (
            "do 31",
            404,
            r#"{"errorMessages":["Issue does not exist"]}"#,
            &["ask", "do 31"],
        ),
        ("do 31", 409, "", &["ask", "do 31"]),
        ("ask", 401, "", &["ask"]),
        ("ask", 403, "", &["ask"]),
        ("ask", 404, "", &["ask"]),
    ] {
        let (server, deeds) = product(of_jira, move |word, _| match word == refuses {
            true => answer(status, body),
            false => jira_says(word),
        })
        .await;
        let named = if refuses.is_empty() { "Close it" } else { "31" };
        let sink = settings(server.url(""), jira(None, Some(named)));
        let taken = deliver(&sink, &completed(), KNOWN).await.unwrap();
        assert_eq!(taken.reference.as_deref(), KNOWN.reference);
        let seen = done(&deeds);
        assert_eq!(
            (&seen[0][..], &seen[1..]),
            ("comment", &rest.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
            "{refuses} {status}"
        );
    }
}

#[tokio::test]
async fn a_transition_that_fails_for_now_is_tried_again_without_a_second_comment() {
    for fails in ["ask", "do 31"] {
        let (server, deeds) = product(of_jira, move |word, times| match word == fails {
            true if times == 0 => answer(503, ""),
            true if times == 1 => Vec::new(),
            true if times == 2 => {
                b"HTTP/1.1 429 X\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n".to_vec()
            }
            _ => jira_says(word),
        })
        .await;
        let sink = settings(server.url(""), jira(None, Some("31")));
        let all = crate::effects::settings::Settings { sinks: vec![sink] };
        let outlet = crate::effects::sinks::outlets(&all).unwrap().remove(0);
        let crate::effects::queue::Way::Notices(_, jira) = outlet.way else { panic!() };
        let notice = completed();
        for _ in 0..3 {
            let error = jira.deliver(&notice, KNOWN).await.unwrap_err();
            assert!(matches!(error, SinkError::Again { .. }), "{error:?}");
        }
        jira.deliver(&notice, KNOWN).await.unwrap();
        let comments =
            |deeds: &[String]| deeds.iter().filter(|it| *it == "comment").count();
        let seen = done(&deeds);
        assert_eq!((comments(&seen), seen.last().unwrap().as_str()), (1, "do 31"));
        // Another notice is another comment.
        jira.deliver(&started(), KNOWN).await.unwrap();
        assert_eq!(comments(&done(&deeds)), 1);
    }
}

#[tokio::test]
async fn jira_issues_have_the_priority_that_is_named_or_are_made_without_it() {
    for (named, sent) in [("High", r#"{"name":"High"}"#), ("2", r#"{"id":"2"}"#)] {
        let (server, deeds) = product(of_jira, |word, _| match word {
            "search" => answer(200, r#"{"issues":[]}"#),
            _ => jira_says(word),
        })
        .await;
        let sink = settings(server.url(""), jira(Some(named), None));
        deliver(&sink, &started(), Earlier::default()).await.unwrap();
        assert_eq!(done(&deeds), ["search".to_owned(), format!("create {sent}")]);
    }
    let refused = |fields: &[&str]| {
        let errors: serde_json::Map<String, Value> =
            fields.iter().map(|it| ((*it).to_owned(), "cannot be set".into())).collect();
        json!({ "errorMessages": [], "errors": errors }).to_string()
    };
    for (fields, made) in
        [(&["priority"][..], true), (&["priority", "x"], false), (&["x"], false)]
    {
        let body = refused(fields);
        let (server, deeds) = product(of_jira, move |word, _| match word {
            "search" => answer(200, r#"{"issues":[]}"#),
            "create null" => jira_says(word),
            _ => answer(400, &body),
        })
        .await;
        let sink = settings(server.url(""), jira(Some("Urgent"), None));
        let said = deliver(&sink, &started(), Earlier::default()).await;
        let mut want = vec!["search", r#"create {"name":"Urgent"}"#];
        want.extend(made.then_some("create null"));
        assert_eq!(done(&deeds), want, "{fields:?}");
        match said {
            Ok(_) => assert!(made),
            Err(error) => assert!(!made && matches!(error, SinkError::Never { .. })),
        }
    }
}

fn servicenow(state: Option<&str>, code: Option<&str>) -> SinkKind {
    SinkKind::ServiceNow {
        assignment_group: None,
        close_state: state.map(str::to_owned),
        close_code: code.map(str::to_owned),
    }
}

/// What ServiceNow is asked for, with the members of a change.
fn of_servicenow(asked: &Asked) -> String {
    let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
    let mut members: Vec<String> = body
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| match name.as_str() {
            "work_notes" | "close_notes" => name.clone(),
            _ => format!("{name}={}", value.as_str().unwrap()),
        })
        .collect();
    members.sort();
    let (method, _) = asked.line.split_once(' ').unwrap();
    format!("{method} {}", members.join(" "))
}

#[tokio::test]
async fn servicenow_is_resolved_with_what_its_policy_wants_where_a_state_is_named() {
    let earlier =
        Earlier { reference: Some("https://x/incident.do?sys_id=9d38"), opened: None };
    let record = |state: &str| {
        json!({ "result": { "sys_id": "9d38", "state": state } }).to_string()
    };
    let policy = json!({ "error": {
        "message": "Operation Failed",
        "detail": "Data Policy Exception: These fields are mandatory: Resolution code" },
        "status": "failure" })
    .to_string();
    let closing = "PATCH close_code=Solution provided close_notes state=6 work_notes";
    let bare = "PATCH close_notes state=6 work_notes";
    for (code, status, body, want) in [
        (Some("Solution provided"), 200, record("6"), vec![closing]),
        (None, 200, record("6"), vec![bare]),
        // A rule of the site has put it back, or says no: the note is there all the same.
        (None, 200, record("2"), vec![bare]),
        (None, 200, "<html>".to_owned(), vec![bare]),
        (None, 403, policy.clone(), vec![bare, "PATCH work_notes"]),
        (None, 400, policy, vec![bare, "PATCH work_notes"]),
    ] {
        let (server, deeds) = product(of_servicenow, move |word, _| match word {
            "PATCH work_notes" => answer(200, &record("2")),
            _ => answer(status, &body),
        })
        .await;
        let sink = settings(server.url(""), servicenow(Some("6"), code));
        deliver(&sink, &started(), earlier).await.unwrap();
        assert_eq!(done(&deeds), ["PATCH work_notes"], "not before the end");
        deliver(&sink, &completed(), earlier).await.unwrap();
        assert_eq!(done(&deeds), want);
    }
    // Whoever may not write at all is told so, and what may pass is tried again.
    for (status, again) in [(403, false), (401, false), (503, true), (429, true)] {
        let server = Server::always(status, "{}").await;
        let sink = settings(server.url(""), servicenow(Some("6"), None));
        let said = deliver(&sink, &completed(), earlier).await.unwrap_err();
        assert_eq!(matches!(said, SinkError::Again { .. }), again, "{said:?}");
        assert!(again || matches!(said, SinkError::Fix { .. }), "{said:?}");
    }
}

#[tokio::test]
async fn github_is_closed_before_the_last_comment_so_that_trying_again_repeats_nothing() {
    let of_github = |asked: &Asked| {
        let rest = asked.line.replace("/repos/acme/models/issues", "");
        rest.split('?').next().unwrap().to_owned()
    };
    let earlier = Earlier {
        reference: Some("https://github.example/acme/models/issues/1"),
        opened: None,
    };
    let kind = || SinkKind::GitHub {
        repo: "acme/models".to_owned(),
        labels: Vec::new(),
        close: true,
    };
    let (server, deeds) = product(of_github, |word, times| match (word, times) {
        ("PATCH /1", 0) => answer(502, ""),
        ("PATCH /1", 1) => Vec::new(),
        _ => answer(201, "{}"),
    })
    .await;
    let sink = settings(server.url(""), kind());
    for _ in 0..2 {
        deliver(&sink, &completed(), earlier).await.unwrap_err();
    }
    deliver(&sink, &completed(), earlier).await.unwrap();
    assert_eq!(done(&deeds), ["PATCH /1", "PATCH /1", "PATCH /1", "POST /1/comments"]);
}

/// Each product makes the ticket, and the answer is lost. Tried again, the ticket is found by
/// its label and gets a note.
#[tokio::test]
async fn a_ticket_whose_making_was_not_heard_is_not_made_twice() {
    let github = SinkKind::GitHub {
        repo: "acme/models".to_owned(),
        labels: Vec::new(),
        close: false,
    };
    let url = "https://github.example/acme/models/issues/7";
    let issue = json!({ "number": 7, "html_url": url });
    let found = [
        (jira(None, None), "search/jql", json!({ "issues": [{ "key": "OPS-7" }] })),
        (github, "issues?labels=switchback-rb-01&", json!([issue])),
        (
            servicenow(None, None),
            "correlation_id%3Dswitchback-rb-01&",
            json!({ "result": [{ "sys_id": "9d38" }] }),
        ),
    ];
    for (kind, search, there) in found {
        let made = Arc::new(Mutex::new(0));
        let own = Arc::clone(&made);
        let server = Server::start(move |asked| {
            let mut made = own.lock().unwrap();
            let creates = asked.line.starts_with("POST ")
                && ["/issue", "/issues", "/incident"]
                    .iter()
                    .any(|it| asked.line.ends_with(it));
            if creates {
                *made += 1;
                return Vec::new();
            }
            if !asked.line.contains(search) {
                return answer(200, r#"{"id":"2"}"#);
            }
            let nothing =
                if there.is_array() { "[]" } else { r#"{"issues":[],"result":[]}"# };
            let text = if *made == 0 { nothing.to_owned() } else { there.to_string() };
            answer(200, &text)
        })
        .await;
        let sink = settings(server.url(""), kind);
        let said = deliver(&sink, &started(), Earlier::default()).await.unwrap_err();
        assert!(matches!(said, SinkError::Again { .. }), "{said:?}");
        let taken = deliver(&sink, &started(), Earlier::default()).await.unwrap();
        assert_eq!(*made.lock().unwrap(), 1, "{}", sink.kind.as_str());
        assert!(taken.reference.is_some());
    }
}
