//! Orders of rollouts and modes, what is refused on record, and the files of incidents.

use std::path::PathBuf;

use serde_json::Value;

use super::support::{ALICE, BOB, Side, WEIGHT};
use crate::admin::settings::Settings;

#[tokio::test]
async fn a_rollout_is_steered_and_a_mode_set_in_the_name_behind_the_token() {
    let side = Side::with_operators();
    let why = r#"{"reason":"as planned"}"#;
    for (what, body) in [
        ("promote", why),
        ("promote", r#"{"reason":"as planned","full":true}"#),
        ("pause", why),
        ("resume", why),
        ("abort", why),
        ("retry", why),
        ("freeze", why),
        ("mode", r#"{"mode":"readOnly","reason":"as planned"}"#),
        ("mode", r#"{"mode":"normal","reason":"as planned"}"#),
        ("rollback", r#"{"to":"v3","version":"v2.4","reason":"as planned"}"#),
    ] {
        let path = format!("/api/v1/routes/iris/{what}");
        let answer = side.post(&path, ALICE, body).await;
        assert_eq!(answer.status, 200, "{what} {}", answer.body);
        assert_eq!(side.post(&path, BOB, body).await.status, 403, "{what}");
    }
    let by = "iris alice: as planned";
    let orders = [
        format!("promote {by}"),
        format!("promote --full {by}"),
        format!("pause {by}"),
        format!("resume {by}"),
        format!("abort {by}"),
        format!("retry {by}"),
        format!("freeze {by}"),
        "mode iris readOnly alice: as planned".to_owned(),
        "mode iris normal alice: as planned".to_owned(),
        "rollback iris v2.4 -> v3 alice: as planned".to_owned(),
    ];
    assert_eq!(side.orders(), orders);
    for (what, body) in [
        ("pause", r#"{"reason":"x","full":true}"#),
        ("promote", r#"{"full":true}"#),
        ("mode", r#"{"mode":"off","reason":"x"}"#),
        ("mode", r#"{"reason":"x"}"#),
    ] {
        let path = format!("/api/v1/routes/iris/{what}");
        assert_eq!(side.post(&path, ALICE, body).await.status, 400, "{what} {body}");
        let nowhere = format!("/api/v1/routes/rose/{what}");
        assert_eq!(
            side.post(&nowhere, ALICE, r#"{"reason":"x","mode":"normal"}"#).await.status
                / 100,
            4
        );
    }
    assert_eq!(side.orders().len(), orders.len());
}

#[tokio::test]
async fn what_is_refused_is_on_record_with_what_is_known_of_the_caller() {
    let side = Side::with_operators();
    let weight = "/api/v1/routes/iris/weight";
    let evil = "authorization: Bearer nonsense\r\n";
    for (path, headers, body, status) in [
        (weight, "", WEIGHT, 401),
        (weight, evil, WEIGHT, 401),
        (weight, BOB, WEIGHT, 403),
        (weight, ALICE, "{}", 400),
        (weight, ALICE, r#"{"version":"stubborn","weight":1,"reason":"x"}"#, 409),
        ("/api/v1/routes/secret-route/weight", ALICE, WEIGHT, 404),
        ("/api/v1/secret/path", ALICE, WEIGHT, 404),
        ("/api/v1/status", ALICE, "", 405),
    ] {
        assert_eq!(side.post(path, headers, body).await.status, status, "{path}");
    }
    // Looking is nobody's business, guessing a token is.
    for (headers, status) in [("", 401), (evil, 401), (BOB, 404)] {
        assert_eq!(side.get("/api/v1/routes/rose", headers).await.status, status);
    }
    let weight = "POST /api/v1/routes/{route}/weight";
    assert_eq!(
        side.refusals(),
        [
            format!("{weight} 401 nobody +0"),
            format!("{weight} 401 nobody +0"),
            format!("{weight} 403 bob +0"),
            format!("{weight} 400 alice +0"),
            format!("{weight} 409 alice +0"),
            format!("{weight} 404 alice +0"),
            "POST other 404 nobody +0".to_owned(),
            "POST /api/v1/status 405 nobody +0".to_owned(),
            "GET /api/v1/routes/{route} 401 nobody +0".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_thousand_attempts_change_nothing_and_hold_nobody_up() {
    let side = Side::with_operators();
    let path = "/api/v1/routes/iris/rollback";
    let body = r#"{"reason":"x"}"#;
    for number in 0..1_000 {
        let headers = match number % 4 {
            0 => String::new(),
            1 => format!("authorization: Bearer {number}\r\n"),
            2 => BOB.to_owned(),
            _ => format!("{ALICE}origin: http://evil\r\n"),
        };
        let answer = side.post(path, &headers, body).await;
        assert!(matches!(answer.status, 401 | 403 | 429), "{}", answer.status);
        assert_eq!(answer.head.contains("retry-after: 1"), answer.status == 429);
    }
    assert_eq!(side.orders(), Vec::<String>::new());
    let told = side.refusals();
    assert!(told.len() < 60, "{} lines", told.len());
    let status = side.get("/api/v1/status", ALICE).await.status;
    assert_eq!(status, 200);
    side.stop.send(()).unwrap();
    side.served.await.unwrap();
    let orders = side.orders.lock().unwrap();
    let counted = orders.iter().filter_map(|line| line.rsplit_once(" +"));
    let all: u64 = counted.map(|(_, more)| 1 + more.parse::<u64>().unwrap()).sum();
    assert_eq!(all, 1_000);
}

/// A state directory that is gone when this is dropped.
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[tokio::test]
async fn incidents_are_files_that_only_an_id_leads_to() {
    let name = format!("switchback-incidents-{}", std::process::id());
    let dir = Dir(std::env::temp_dir().join(name));
    for id in ["rb-01a2-1", "rb-01a3-2", "other"] {
        let at = dir.0.join("incidents").join(id);
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join("report.json"), format!("{{\"schema\":1,\"id\":{id:?}}}"))
            .unwrap();
        std::fs::write(at.join("report.md"), format!("# {id}\n")).unwrap();
        std::fs::write(at.join("latency.svg"), "<svg/>").unwrap();
        std::fs::write(at.join("secret"), "no").unwrap();
    }
    std::fs::write(dir.0.join("secret"), "no").unwrap();
    let loopback = ([127, 0, 0, 1], 0).into();
    let state_dir = dir.0.clone();
    let side = Side::serve(Settings { state_dir, ..Settings::on(loopback) });

    let list: Value =
        serde_json::from_str(&side.get("/api/v1/incidents", "").await.body).unwrap();
    let ids: Vec<_> =
        list["incidents"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, ["rb-01a3-2", "rb-01a2-1"]);
    let one: Value =
        serde_json::from_str(&side.get("/api/v1/incidents/rb-01a2-1", "").await.body)
            .unwrap();
    assert_eq!(one["report"]["id"], "rb-01a2-1");
    assert_eq!(one["files"].as_array().unwrap().len(), 3);
    for (file, kind, body) in [
        ("report.md", "text/markdown; charset=utf-8", "# rb-01a2-1\n"),
        ("report.json", "application/json", "{\"schema\":1,\"id\":\"rb-01a2-1\"}"),
        ("latency.svg", "image/svg+xml", "<svg/>"),
    ] {
        let answer = side.get(&format!("/api/v1/incidents/rb-01a2-1/{file}"), "").await;
        assert_eq!((answer.status, &*answer.body), (200, body));
        assert!(
            answer.head.contains(&format!("content-type: {kind}")),
            "{}",
            answer.head
        );
        assert!(answer.head.contains("content-security-policy: default-src 'none'"));
    }
    for path in [
        "rb-9/report.md",
        "rb-9",
        "other",
        "other/report.md",
        "../secret",
        "rb-01a2-1/secret",
        "rb-01a2-1/../../secret",
        "rb-01a2-1%2f..%2f..%2fsecret/report.md",
        "..%2f/report.md",
        "./report.md",
    ] {
        let answer = side.get(&format!("/api/v1/incidents/{path}"), "").await;
        assert_eq!(answer.status, 404, "{path} {}", answer.body);
        assert!(!answer.body.contains("switchback-incidents"), "{}", answer.body);
    }
}
