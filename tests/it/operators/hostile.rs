//! Callers who want a rollback and may not have one: wrong tokens, web pages, bodies that
//! never come, connections that are cut. None of a thousand attempts changes anything,
//! requests and operators go on, and the audit log is not flooded.

use std::time::{Duration, Instant};

use serde_json::json;

use super::desk::{ALICE, BOB, get, json as parsed, plain, post};
use crate::support::client::{Client, Request};
use crate::support::config::{Config, NO_RULES};
use crate::support::evidence::audit;
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

const PATH: &str = "/api/v1/routes/iris/rollback";

/// The attempts, by their number.
fn attempt(street: &Street, number: usize) {
    let order = r#"{"version":"v2","reason":"mine"}"#;
    let bare = |path: &str, body: &str| Request::post(path, body).host("127.0.0.1");
    let bearer = |token: &str| format!("Bearer {token}");
    let request = match number % 10 {
        0 => bare(PATH, order),
        1 => {
            bare(PATH, order).field("authorization", &bearer(&format!("guess-{number}")))
        }
        2 => bare(PATH, order).field("authorization", &bearer(BOB)),
        3 => {
            let page = bare(PATH, order).field("authorization", &bearer(ALICE));
            page.field("origin", "http://evil.example")
        }
        4 => {
            bare(PATH, order).host("evil.example").field("authorization", &bearer(ALICE))
        }
        5 => bare(PATH, "{\"reason\":").field("authorization", &bearer(ALICE)),
        6 => bare("/api/v1/routes/../routes/iris/rollback", order),
        7 => bare("/api/v1/routes/iris/rollback/", order)
            .field("authorization", &bearer(ALICE)),
        8 => Request::get(&format!("{PATH}?reason=mine")).host("127.0.0.1"),
        // Half of a body, then gone.
        _ => {
            let whole = bare(PATH, order).field("authorization", &bearer(ALICE)).bytes();
            let mut client = Client::new(street.admin);
            client.send(&whole[..whole.len() - 5]);
            return;
        }
    };
    let answer = request.ask(street.admin);
    assert!((400..500).contains(&answer.status), "{number}: {}", answer.text());
}

#[test]
fn none_of_a_thousand_attempts_rolls_anything_back() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = plain(&Config::pair(&stable, "30%", &canary).route_with(NO_RULES));
    let load = Load::new(street.http).clients(2).start();
    // Some who never finish what they say, all the while.
    let slow: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = Client::new(street.admin);
            let head = format!(
                "POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {ALICE}\r\n\
                 content-length: 40\r\n\r\n{{\"version\":\"v2\","
            );
            client.send(head);
            client
        })
        .collect();
    for number in 0..1_000 {
        attempt(&street, number);
    }
    let asked = Instant::now();
    assert_eq!(get(&street, ALICE, "/api/v1/status").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    drop(slow);
    load.stop().is_clean();

    let version =
        parsed(&get(&street, ALICE, "/api/v1/routes/iris"))["versions"][1].clone();
    assert_eq!((&version["name"], &version["state"]), (&"v2".into(), &"serving".into()));
    let history = parsed(&get(&street, ALICE, "/api/v1/history"));
    assert_eq!(history["rollbacks"], json!([]));

    // Some are on record one by one and the rest as a number.
    let refused = |street: &Street| {
        let all = audit(street).into_iter();
        all.filter(|record| record["kind"] == "order.refused").collect::<Vec<_>>()
    };
    let count = wait::eventually("the count of the rest is written", SOON, || {
        let records = refused(&street);
        let more: u64 = records.iter().map(|it| it["more"].as_u64().unwrap()).sum();
        let all = more + records.len() as u64;
        (all >= 800).then_some(records.len())
    });
    assert!(count < 200, "{count} records of a thousand refusals");
    let text = format!("{:?}", refused(&street));
    for secret in [ALICE, BOB, "guess-", "mine", "evil.example"] {
        assert!(!text.contains(secret), "{secret} is on record");
    }

    let order = json!({ "version": "v2", "reason": "in earnest" });
    assert_eq!(post(&street, ALICE, PATH, &order).status, 200);
}

#[test]
fn a_refusal_is_on_record_with_who_and_why() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = plain(&Config::pair(&stable, "30%", &canary));
    let order = json!({ "version": "v2", "reason": "x\n{\"actor\":\"root\"}" });
    assert_eq!(post(&street, BOB, PATH, &order).status, 403);
    assert_eq!(post(&street, ALICE, PATH, &order).status, 400);
    let record = wait::eventually("the refusals are on record", SOON, || {
        let all = audit(&street);
        let found = all.iter().filter(|record| record["kind"] == "order.refused");
        let two: Vec<_> = found.cloned().collect();
        (two.len() == 2).then_some(two)
    });
    let pattern = "/api/v1/routes/{route}/rollback";
    for (record, name, status) in [(&record[0], "bob", 403), (&record[1], "alice", 400)] {
        assert_eq!(record["operator"]["id"], name, "{record:#}");
        assert_eq!(record["operator"]["method"], "token", "{record:#}");
        assert_eq!(
            (&record["path"], &record["status"]),
            (&pattern.into(), &status.into())
        );
        assert!(record["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{record:#}");
    }
    assert!(!record[1].to_string().contains("root"), "{:#}", record[1]);
}
