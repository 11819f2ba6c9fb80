//! Slack, Alertmanager, PagerDuty and webhooks: what they are sent, member by member.

use aws_lc_rs::hmac;
use serde_json::json;

use super::server::{Secret, Server, answer, completed, deliver, settings, started};
use crate::effects::settings::{Auth, SinkKind, Url};
use crate::effects::sink::Earlier;
use crate::effects::text::base64;
use crate::vocab::notice::{Notice, Severity, State, Topic};
use crate::vocab::time::Timestamp;

#[tokio::test]
async fn slack_gets_a_text_and_blocks_in_which_nothing_is_a_mention() {
    let server = Server::always(200, "ok").await;
    let hook = Secret::new(&format!("{}/services/T0/SECRET\n", server.origin));
    let url = Url::File { file: hook.file(), allow_private: true };
    let sink = settings(url, SinkKind::Slack);
    let taken = deliver(&sink, &started(), Earlier::default()).await.unwrap();
    assert_eq!((taken.recipients, taken.reference), (vec!["#ops".to_owned()], None));
    let asked = server.last();
    assert_eq!(asked.line, "POST /services/T0/SECRET");
    let body = asked.json();
    let text = body["text"].as_str().unwrap();
    assert!(text.ends_with("errors 8% &lt;!channel&gt; &amp; 2%"), "{text}");
    let types: Vec<&str> = body["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["header", "section", "section", "section"]);
    assert_eq!(body["blocks"][0]["text"]["type"], "plain_text");
    let fields = body["blocks"][2]["fields"].as_array().unwrap();
    assert!(fields.len() <= 10);
    assert!(fields.iter().any(|field| field["text"] == "*Version*\nv2.5"), "{fields:?}");
    // Only the header, which is plain text, has it as it was.
    assert_eq!(asked.body.matches("<!channel>").count(), 1);
}

#[tokio::test]
async fn slack_texts_keep_to_their_bounds() {
    let server = Server::always(200, "ok").await;
    let sink = settings(server.url("/hook"), SinkKind::Slack);
    let long =
        Notice { summary: "<".repeat(500), details: "&".repeat(8_000), ..started() };
    deliver(&sink, &long, Earlier::default()).await.unwrap();
    let body = server.last().json();
    let chars = |value: &serde_json::Value| value.as_str().unwrap().chars().count();
    assert!(chars(&body["blocks"][0]["text"]["text"]) <= 150);
    assert!(chars(&body["blocks"][1]["text"]["text"]) <= 3_000);
}

#[tokio::test]
async fn alertmanager_gets_an_alert_and_its_end_under_the_same_labels() {
    let server = Server::always(200, "").await;
    let sink = settings(server.url("/am/"), SinkKind::Alertmanager);
    deliver(&sink, &started(), Earlier::default()).await.unwrap();
    let asked = server.last();
    assert_eq!(asked.line, "POST /am/api/v2/alerts");
    let first = asked.json();
    let labels = json!({
        "alertname": "ModelRollback",
        "severity": "high",
        "source": "switchback",
        "model": "iris",
        "from_version": "v2.5",
        "to_version": "v2.4",
    });
    assert_eq!(first[0]["labels"], labels);
    let annotations = &first[0]["annotations"];
    assert_eq!(annotations["incident"], "rb-01");
    assert_eq!(annotations["audit_head"], "ab12");
    assert_eq!(annotations["runbook_url"], "https://runbooks.example.com/rollback");
    assert_eq!(first[0]["startsAt"], "2026-11-24T21:05:58.123Z");
    let moment = |value: &serde_json::Value| -> Timestamp {
        serde_json::from_value(value.clone()).unwrap()
    };
    let ahead = moment(&first[0]["endsAt"]).since(crate::clock::wall());
    assert!((290..=300).contains(&ahead.as_secs()), "{ahead:?}");

    let opened = started();
    let earlier = Earlier { reference: None, opened: Some(&opened) };
    deliver(&sink, &completed(), earlier).await.unwrap();
    let last = server.last().json();
    assert_eq!(last[0]["labels"], labels);
    assert_eq!(last[0]["startsAt"], first[0]["startsAt"]);
    assert_eq!(last[0]["endsAt"], "2026-11-24T21:06:08.000Z");
}

#[tokio::test]
async fn pagerduty_pages_those_on_call_and_the_commander_only_for_what_is_his() {
    let server = Server::always(
        202,
        r#"{"status":"success","message":"Event processed","dedup_key":"rb-01"}"#,
    )
    .await;
    let (on_call, commander) =
        (Secret::new("on-call-key\n"), Secret::new("commander-key"));
    let kind = SinkKind::PagerDuty {
        routing_key: on_call.file(),
        commander_key: Some(commander.file()),
    };
    let sink = settings(server.url(""), kind);
    let taken = deliver(&sink, &started(), Earlier::default()).await.unwrap();
    assert_eq!(taken.recipients, ["#ops"]);
    let asked = server.last();
    assert_eq!(asked.line, "POST /v2/enqueue");
    let event = asked.json();
    assert_eq!(event["routing_key"], "on-call-key");
    assert_eq!(event["event_action"], "trigger");
    assert_eq!(event["dedup_key"], "rb-01");
    assert_eq!(event["payload"]["severity"], "error");
    assert_eq!(event["payload"]["source"], "iris");
    assert_eq!(event["payload"]["timestamp"], "2026-11-24T21:05:58.123Z");
    assert_eq!(event["payload"]["custom_details"]["audit_head"], "ab12");
    assert_eq!(event["links"][0]["text"], "Runbook");

    let failed = Notice {
        topic: Topic::RollbackFailed,
        severity: Severity::Critical,
        ..started()
    };
    let taken = deliver(&sink, &failed, Earlier::default()).await.unwrap();
    assert_eq!(taken.recipients, ["#ops", "incident commander"]);
    let keys: Vec<String> = server.asked()[1..]
        .iter()
        .map(|asked| asked.json()["routing_key"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["on-call-key", "commander-key"]);
    assert_eq!(server.last().json()["payload"]["severity"], "critical");

    deliver(&sink, &completed(), Earlier::default()).await.unwrap();
    let end = server.last().json();
    assert_eq!(
        (&end["event_action"], &end["payload"]),
        (&json!("resolve"), &json!(null))
    );
    let (opened, step) =
        (started(), Notice { state: State::Event, severity: Severity::Low, ..started() });
    let earlier = Earlier { reference: None, opened: Some(&opened) };
    deliver(&sink, &step, earlier).await.unwrap();
    assert_eq!(server.last().json()["event_action"], "acknowledge");
    deliver(&sink, &step, Earlier::default()).await.unwrap();
    let event = server.last().json();
    assert_eq!(event["event_action"], "trigger");
    assert_eq!(event["payload"]["severity"], "warning");
}

#[tokio::test]
async fn a_webhook_gets_a_signed_cloud_event() {
    let server = Server::start(|_| answer(204, "")).await;
    let secret = Secret::new("hunter2hunter2hunter2");
    let kind = SinkKind::Webhook { secret: Some(secret.file()) };
    let token = Secret::new("first-token");
    let sink = crate::effects::settings::SinkSettings {
        auth: Auth::Bearer(token.file()),
        ..settings(server.url("/events?x=1"), kind)
    };
    let odd = Notice { key: "rb\u{fc} 01\r\nx-evil: 1".to_owned(), ..started() };
    deliver(&sink, &odd, Earlier::default()).await.unwrap();
    let asked = server.last();
    assert_eq!(asked.line, "POST /events?x=1");
    assert_eq!(asked.header("content-type"), Some("application/cloudevents+json"));
    assert_eq!(asked.header("authorization"), Some("Bearer first-token"));
    assert_eq!(asked.header("x-evil"), None);
    let event = asked.json();
    for (member, value) in [
        ("specversion", json!("1.0")),
        ("id", json!(odd.key)),
        ("source", json!("/switchback/routes/iris")),
        ("type", json!("io.switchback.rollback.started")),
        ("subject", json!("v2.5")),
        ("time", json!("2026-11-24T21:05:58.123Z")),
        ("datacontenttype", json!("application/json")),
        ("severitytext", json!("high")),
        ("severitynumber", json!(17)),
        ("correlationid", json!("rb-01")),
    ] {
        assert_eq!(event[member], value, "{member}");
    }
    // Attribute names are lower-case letters and digits.
    let plain = |name: &String| {
        name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    assert!(event.as_object().unwrap().keys().all(plain));
    assert_eq!(event["data"]["record"]["rollback_id"], "rb-01");

    let of = |name| asked.header(name).unwrap();
    let (id, seconds) = (of("webhook-id"), of("webhook-timestamp"));
    let signed = format!("{id}.{seconds}.{}", asked.body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"hunter2hunter2hunter2");
    let mac = base64(hmac::sign(&key, signed.as_bytes()).as_ref());
    assert_eq!(of("webhook-signature"), format!("v1,{mac}"));
    let age = crate::clock::wall().0 / 1_000 - seconds.parse::<u64>().unwrap();
    assert!(age < 60, "{age}");

    // A token that is replaced is used at once.
    token.replace("second-token\n");
    deliver(&sink, &started(), Earlier::default()).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer second-token"));
}
