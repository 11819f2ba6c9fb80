//! Loki and Elasticsearch: what lines become, and what their answers mean for each.

use serde_json::{Value, json};

use super::server::{Secret, Server, answer, settings, ship};
use crate::effects::settings::{Auth, SinkKind, SinkSettings};
use crate::effects::sink::{Shipped, SinkError};

const FIRST: &str = r#"{"seq":1,"kind":"rollback.started","timestamp":"2026-11-24T21:05:58.123Z","reason":"a \"b\"","hash":"aa"}"#;
const SECOND: &str = r#"{"seq":2,"kind":"rollback.completed","recorded_at":"2026-11-24T21:06:08.000Z","timestamp":"2026-11-24T21:05:58.123Z","hash":"bb"}"#;
const THIRD: &str =
    r#"{"seq":3,"kind":"rollback.started","timestamp":"2026-11-24T21:07:00.000Z"}"#;

#[tokio::test]
async fn loki_gets_streams_of_the_lines_as_they_are() {
    let server = Server::start(|_| answer(204, "")).await;
    let kind = SinkKind::Loki { tenant: Some("models".to_owned()) };
    let sink = settings(server.url(""), kind);
    let shipped = ship(&sink, &[FIRST, SECOND, THIRD]).await.unwrap();
    assert_eq!(shipped, Shipped::default());
    let asked = server.last();
    assert_eq!(asked.line, "POST /loki/api/v1/push");
    assert_eq!(asked.header("x-scope-orgid"), Some("models"));
    let stream = |kind: &str| json!({ "job": "switchback", "kind": kind });
    assert_eq!(
        asked.json(),
        json!({ "streams": [
            {
                "stream": stream("rollback.completed"),
                "values": [["1795554368000000000", SECOND]],
            },
            {
                "stream": stream("rollback.started"),
                "values": [["1795554358123000000", FIRST], ["1795554420000000000", THIRD]],
            },
        ]})
    );
    let too_old = "entry for stream is too far behind\n";
    let server = Server::always(400, too_old).await;
    let sink = settings(server.url(""), SinkKind::Loki { tenant: None });
    let said = ship(&sink, &[FIRST]).await.unwrap_err();
    assert!(matches!(&said, SinkError::Never { why } if why.contains("too far behind")));
}

fn elasticsearch(server: &Server) -> SinkSettings {
    let kind = SinkKind::Elasticsearch { index: "switchback-audit".to_owned() };
    settings(server.url("/es"), kind)
}

#[tokio::test]
async fn elasticsearch_gets_each_line_once_under_its_hash() {
    let server = Server::always(200, r#"{"errors":false,"items":[]}"#).await;
    let key = Secret::new("a2V5");
    let sink = SinkSettings { auth: Auth::ApiKey(key.file()), ..elasticsearch(&server) };
    ship(&sink, &[FIRST, THIRD, "no json"]).await.unwrap();
    let asked = server.last();
    let path = "POST /es/switchback-audit/_bulk?filter_path=errors,items.*.status,items.*.error.type";
    assert_eq!(asked.line, path);
    assert_eq!(asked.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(asked.header("authorization"), Some("ApiKey a2V5"));
    assert!(asked.body.ends_with('\n'));
    let lines: Vec<Value> =
        asked.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[0], json!({ "create": { "_id": "aa" } }));
    assert_eq!(lines[1]["@timestamp"], "2026-11-24T21:05:58.123Z");
    assert_eq!(lines[1]["reason"], "a \"b\"");
    assert_eq!(lines[2], json!({ "create": { "_id": "3" } }));
    assert_eq!(lines[4], json!({ "create": {} }));
    assert_eq!(lines[5]["message"], "no json");
}

#[tokio::test]
async fn elasticsearch_says_of_each_line_what_became_of_it() {
    let answer = json!({ "errors": true, "items": [
        { "create": { "status": 201 } },
        { "create": { "status": 409, "error": { "type": "version_conflict_engine_exception" } } },
        { "create": { "status": 429, "error": { "type": "es_rejected_execution_exception" } } },
        { "create": { "status": 400, "error": { "type": "document_parsing_exception" } } },
    ]});
    let server = Server::always(200, &answer.to_string()).await;
    let shipped =
        ship(&elasticsearch(&server), &[FIRST, SECOND, THIRD, "{}"]).await.unwrap();
    assert_eq!(shipped.again, [2]);
    let why = "a line was answered 400: document_parsing_exception".to_owned();
    assert_eq!(shipped.refused, [(3, why)]);
    assert!(shipped.why.unwrap().contains("429"));
    // An answer that speaks of other lines is none.
    let said = ship(&elasticsearch(&server), &[FIRST]).await.unwrap_err();
    assert!(matches!(said, SinkError::Again { .. }), "{said:?}");
}
