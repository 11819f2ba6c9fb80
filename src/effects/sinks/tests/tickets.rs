//! Jira, GitHub and ServiceNow: one ticket for each incident, whatever is repeated, and a
//! note in it for what comes later.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::server::{
    Asked, Secret, Server, answer, completed, deliver, settings, started,
};
use crate::effects::settings::{Auth, JiraEdition, SinkKind, SinkSettings};
use crate::effects::sink::{Earlier, SinkError};

/// What a product has: its tickets, each with its notes.
#[derive(Default)]
struct Shop {
    tickets: Vec<Value>,
    notes: Vec<(String, Value)>,
}

type Shared = Arc<Mutex<Shop>>;

fn github(shop: &Shared) -> impl Fn(&Asked) -> Vec<u8> + Send + Sync + use<> {
    let shop = Arc::clone(shop);
    move |asked| {
        let mut shop = shop.lock().unwrap();
        let (method, path) = asked.line.split_once(' ').unwrap();
        let rest = path.strip_prefix("/repos/acme/models/issues").unwrap();
        let shown = |number: usize| {
            let url = format!("https://github.example/acme/models/issues/{number}");
            json!({ "number": number, "html_url": url })
        };
        match (method, rest) {
            ("GET", query) => {
                let label = query.strip_prefix("?labels=").unwrap();
                let label = label.strip_suffix("&state=all&per_page=1").unwrap();
                let has = |ticket: &&Value| {
                    ticket["labels"].as_array().unwrap().contains(&json!(label))
                };
                let found: Vec<Value> =
                    shop.tickets.iter().filter(has).map(|_| shown(1)).collect();
                answer(200, &json!(found).to_string())
            }
            ("POST", "") => {
                shop.tickets.push(asked.json());
                answer(201, &shown(shop.tickets.len()).to_string())
            }
            ("POST" | "PATCH", _) => {
                let number: usize =
                    rest[1..].trim_end_matches("/comments").parse().unwrap();
                if number > shop.tickets.len() {
                    return answer(404, r#"{"message":"Not Found"}"#);
                }
                shop.notes.push((asked.line.clone(), asked.json()));
                answer(if method == "POST" { 201 } else { 200 }, "{}")
            }
            _ => answer(405, ""),
        }
    }
}

#[tokio::test]
async fn github_has_one_issue_with_comments_that_is_closed() {
    let shop = Shared::default();
    let server = Server::start(github(&shop)).await;
    let token = Secret::new("ghp_token");
    let kind = SinkKind::GitHub {
        repo: "acme/models".to_owned(),
        labels: vec!["incident".to_owned()],
        close: true,
    };
    let auth = Auth::Bearer(token.file());
    let sink = SinkSettings { auth, ..settings(server.url(""), kind) };
    let taken = deliver(&sink, &started(), Earlier::default()).await.unwrap();
    let url = taken.reference.unwrap();
    assert_eq!(url, "https://github.example/acme/models/issues/1");
    let asked = server.last();
    assert_eq!(asked.header("authorization"), Some("Bearer ghp_token"));
    assert_eq!(asked.header("accept"), Some("application/vnd.github+json"));
    assert_eq!(asked.header("x-github-api-version"), Some("2022-11-28"));
    {
        let shop = shop.lock().unwrap();
        let issue = &shop.tickets[0];
        assert_eq!(issue["labels"], json!(["switchback-rb-01", "incident"]));
        // The fence is longer than any in the text, so nothing in it is a mention.
        let body = issue["body"].as_str().unwrap();
        assert!(body.starts_with("````text\n") && body.ends_with("````\n"), "{body}");
    }
    // A crash between creating and noting it: the issue is found by its label.
    let again = deliver(&sink, &started(), Earlier::default()).await.unwrap();
    assert_eq!(again.reference.as_deref(), Some(&url[..]));
    assert_eq!(shop.lock().unwrap().tickets.len(), 1);
    let earlier = Earlier { reference: Some(&url), opened: None };
    deliver(&sink, &completed(), earlier).await.unwrap();
    let lines: Vec<String> =
        shop.lock().unwrap().notes.iter().map(|(line, _)| line.clone()).collect();
    let comment = "POST /repos/acme/models/issues/1/comments";
    assert_eq!(lines, [comment, "PATCH /repos/acme/models/issues/1", comment]);
    let closed = shop.lock().unwrap().notes[1].1.clone();
    assert_eq!(closed, json!({ "state": "closed", "state_reason": "completed" }));
    // Somebody deleted the issue that we remember.
    let gone = "https://github.example/acme/models/issues/7";
    let earlier = Earlier { reference: Some(gone), opened: None };
    let taken = deliver(&sink, &completed(), earlier).await.unwrap();
    assert_eq!(taken.reference.as_deref(), Some(&url[..]));
}

#[tokio::test]
async fn github_says_403_for_too_often() {
    let limited =
        b"HTTP/1.1 403 Forbidden\r\nretry-after: 17\r\ncontent-length: 0\r\n\r\n";
    let server = Server::start(|_| limited.to_vec()).await;
    let repo = "acme/models".to_owned();
    let kind = SinkKind::GitHub { repo, labels: Vec::new(), close: false };
    let sink = settings(server.url(""), kind);
    let said = deliver(&sink, &started(), Earlier::default()).await.unwrap_err();
    assert!(
        matches!(said, SinkError::Again { after: Some(after), .. } if after.as_secs() == 17),
        "{said:?}"
    );
}

fn jira(
    shop: &Shared,
    api: &'static str,
    search: &'static str,
) -> impl Fn(&Asked) -> Vec<u8> + Send + Sync + use<> {
    let shop = Arc::clone(shop);
    move |asked| {
        let mut shop = shop.lock().unwrap();
        let path = asked.line.strip_prefix("POST /jira/rest/api/").unwrap();
        let path = path.strip_prefix(api).unwrap();
        if path == search {
            let jql = asked.json()["jql"].as_str().unwrap().to_owned();
            assert_eq!(jql, "project = \"OPS\" AND labels = \"switchback-rb-01\"");
            let found: Vec<Value> = shop
                .tickets
                .iter()
                .map(|_| json!({ "id": "10001", "key": "OPS-7" }))
                .collect();
            return answer(200, &json!({ "issues": found }).to_string());
        }
        match path {
            "/issue" => {
                shop.tickets.push(asked.json());
                answer(201, r#"{"id":"10001","key":"OPS-7","self":"https://x/10001"}"#)
            }
            "/issue/OPS-7/comment" => {
                shop.notes.push((asked.line.clone(), asked.json()));
                answer(201, r#"{"id":"1"}"#)
            }
            _ => answer(404, r#"{"errorMessages":["Issue does not exist"]}"#),
        }
    }
}

#[tokio::test]
async fn jira_has_one_issue_in_the_words_of_its_edition() {
    let editions = [
        (JiraEdition::Cloud, "3", "/search/jql"),
        (JiraEdition::DataCenter, "2", "/search"),
    ];
    for (edition, api, search) in editions {
        let shop = Shared::default();
        let server = Server::start(jira(&shop, api, search)).await;
        let token = Secret::new("api-token");
        let kind = SinkKind::Jira {
            edition,
            project: "OPS".to_owned(),
            issue_type: "Incident".to_owned(),
            labels: vec!["models".to_owned()],
            priority: None,
            transition: None,
        };
        let auth = Auth::Basic { user: "bot@x.example".into(), password: token.file() };
        let sink = SinkSettings { auth, ..settings(server.url("/jira"), kind) };
        let taken = deliver(&sink, &started(), Earlier::default()).await.unwrap();
        let url = taken.reference.unwrap();
        assert_eq!(url, format!("{}/jira/browse/OPS-7", server.origin));
        // bot@x.example:api-token
        let basic = "Basic Ym90QHguZXhhbXBsZTphcGktdG9rZW4=";
        assert_eq!(server.last().header("authorization"), Some(basic));
        {
            let shop = shop.lock().unwrap();
            let fields = &shop.tickets[0]["fields"];
            assert_eq!(fields["project"], json!({ "key": "OPS" }));
            assert_eq!(fields["issuetype"], json!({ "name": "Incident" }));
            assert_eq!(fields["labels"], json!(["switchback-rb-01", "models"]));
            assert_text(&fields["description"], edition);
        }
        deliver(&sink, &started(), Earlier::default()).await.unwrap();
        let earlier = Earlier { reference: Some(&url), opened: None };
        let taken = deliver(&sink, &completed(), earlier).await.unwrap();
        assert_eq!(taken.reference.as_deref(), Some(&url[..]));
        let gone = Earlier { reference: Some("https://x/browse/OPS-9"), opened: None };
        deliver(&sink, &completed(), gone).await.unwrap();
        let shop = shop.lock().unwrap();
        assert_eq!((shop.tickets.len(), shop.notes.len()), (1, 3));
        assert_text(&shop.notes[1].1["body"], edition);
    }
}

fn assert_text(text: &Value, edition: JiraEdition) {
    match edition {
        JiraEdition::Cloud => {
            assert_eq!((&text["type"], &text["version"]), (&json!("doc"), &json!(1)));
            for block in text["content"].as_array().unwrap() {
                assert_eq!(block["type"], "paragraph");
                let words = block["content"][0]["text"].as_str().unwrap();
                assert!(!words.is_empty() && !words.contains('\n'));
            }
        }
        JiraEdition::DataCenter => {
            let text = text.as_str().unwrap();
            assert_eq!(text.matches("{noformat}").count(), 2, "{text}");
        }
    }
}

#[tokio::test]
async fn servicenow_has_one_record_with_notes() {
    let shop = Shared::default();
    let id = "9d385017c611228701d22104cc95c371";
    let own = Arc::clone(&shop);
    let server = Server::start(move |asked| {
        let mut shop = own.lock().unwrap();
        let (method, path) = asked.line.split_once(' ').unwrap();
        let rest = path.strip_prefix("/api/now/table/incident").unwrap();
        let record = json!({ "sys_id": id, "number": "INC0010001" });
        match method {
            "GET" => {
                let wanted = "?sysparm_query=correlation_id%3Dswitchback-rb-01&sysparm_limit=1&sysparm_fields=sys_id";
                assert_eq!(rest, wanted);
                let found: Vec<&Value> = shop.tickets.iter().map(|_| &record).collect();
                answer(200, &json!({ "result": found }).to_string())
            }
            "POST" => {
                assert_eq!(rest, "");
                shop.tickets.push(asked.json());
                answer(201, &json!({ "result": record }).to_string())
            }
            "PATCH" if rest == format!("/{id}") => {
                shop.notes.push((asked.line.clone(), asked.json()));
                answer(200, &json!({ "result": record }).to_string())
            }
            _ => answer(404, r#"{"error":{"message":"No Record found"},"status":"failure"}"#),
        }
    })
    .await;
    let password = Secret::new("pw");
    let kind = SinkKind::ServiceNow {
        assignment_group: Some("ML ops".to_owned()),
        close_state: None,
        close_code: None,
    };
    let auth = Auth::Basic { user: "switchback".into(), password: password.file() };
    let sink = SinkSettings { auth, ..settings(server.url(""), kind) };
    let taken = deliver(&sink, &started(), Earlier::default()).await.unwrap();
    let url = taken.reference.unwrap();
    assert_eq!(url, format!("{}/incident.do?sys_id={id}", server.origin));
    {
        let shop = shop.lock().unwrap();
        let record = &shop.tickets[0];
        assert_eq!(record["correlation_id"], "switchback-rb-01");
        assert_eq!((&record["urgency"], &record["impact"]), (&json!("2"), &json!("2")));
        assert_eq!(record["assignment_group"], "ML ops");
        assert_eq!(record["short_description"], started().summary);
    }
    deliver(&sink, &started(), Earlier::default()).await.unwrap();
    let earlier = Earlier { reference: Some(&url), opened: None };
    deliver(&sink, &completed(), earlier).await.unwrap();
    let other = "https://x/incident.do?sys_id=0000";
    let gone = Earlier { reference: Some(other), opened: None };
    deliver(&sink, &completed(), gone).await.unwrap();
    let shop = shop.lock().unwrap();
    assert_eq!((shop.tickets.len(), shop.notes.len()), (1, 3));
    let alone = |(_, note): &(String, Value)| note.as_object().unwrap().len() == 1;
    assert!(shop.notes.iter().all(alone), "{:?}", shop.notes);
    assert!(shop.notes[0].1["work_notes"].as_str().unwrap().contains("first line"));
}
