//! Who is let in, what is refused, and what slow or many callers can do.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::support::{ALICE, BOB, Side, WEIGHT, receive, send, status};
use crate::admin::auth::CALLS;
use crate::admin::client::AdminClient;
use crate::admin::health::Readiness;
use crate::admin::listen::bind;
use crate::admin::pace::Bucket;
use crate::admin::router::{self, Api};
use crate::admin::settings::Settings;
use crate::admin::wire::{
    Analysis, Explanation, Finding, HistoryView, Quarantine, StatusView,
};
use crate::clock;
use crate::control::fake;

#[tokio::test]
async fn readiness_follows_the_life_of_the_process() {
    let side = Side::with_operators();
    for path in ["/readyz", "/health/ready"] {
        assert_eq!(side.get(path, "").await.status, 503);
    }
    side.readiness.ready();
    for path in ["/livez", "/readyz", "/health/live", "/health/ready"] {
        assert_eq!(side.get(path, "").await.status, 200, "{path}");
        let on_metrics = format!("GET {path} HTTP/1.1\r\nhost: any.name\r\n\r\n");
        assert_eq!(send(side.metrics, &on_metrics).await.status, 200, "{path}");
    }
    side.readiness.stopping();
    let stopping = side.get("/readyz", "").await;
    assert_eq!((stopping.status, &*stopping.body), (503, "shutting down\n"));
    assert_eq!(side.get("/livez", "").await.status, 200);
}

#[tokio::test]
async fn metrics_are_open_on_loopback_and_alone_on_their_own_address() {
    let side = Side::with_operators();
    let answer = side.get("/metrics", "").await;
    assert_eq!((answer.status, &*answer.body), (200, "up 1\n"));
    assert!(
        answer.head.contains("content-type: text/plain; version=0.0.4"),
        "{}",
        answer.head
    );

    let ask = |path| format!("GET {path} HTTP/1.1\r\nhost: prometheus.svc\r\n\r\n");
    assert_eq!(send(side.metrics, &ask("/metrics")).await.body, "up 1\n");
    for path in ["/api/v1/status", "/dashboard", "/"] {
        assert_eq!(send(side.metrics, &ask(path)).await.status, 404, "{path}");
    }
    let head = "HEAD /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut socket = TcpStream::connect(side.metrics).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_order_needs_a_token_of_the_right_role() {
    let side = Side::with_operators();
    let path = "/api/v1/routes/iris/weight";
    for (headers, status) in [
        ("", 401),
        ("authorization: Bearer nonsense\r\n", 401),
        (BOB, 403),
        (
            "authorization: Bearer alice-token\r\nauthorization: Bearer alice-token\r\n",
            401,
        ),
        ("authorization: Bearer alice-token\r\norigin: http://evil\r\n", 403),
        ("authorization: Bearer alice-token\r\norigin: null\r\n", 403),
    ] {
        let answer = side.post(path, headers, WEIGHT).await;
        assert_eq!(answer.status, status, "{headers} {}", answer.body);
        assert!(answer.head.contains("content-type: application/problem+json"));
        assert_eq!(answer.head.contains("www-authenticate: bearer"), status == 401);
        assert!(!answer.body.contains("nonsense"), "{}", answer.body);
    }
    assert_eq!(side.orders(), Vec::<String>::new());

    let answer = side.post(path, ALICE, WEIGHT).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(side.orders(), ["weight iris v2.5 10% alice: slow start"]);
    for (headers, status) in [("", 401), (BOB, 200), (ALICE, 200)] {
        assert_eq!(side.get("/api/v1/status", headers).await.status, status);
    }
}

#[tokio::test]
async fn without_operators_the_caller_is_local_and_no_web_page() {
    let side = Side::begin(Vec::new());
    let path = "/api/v1/routes/iris/weight";
    assert_eq!(side.post(path, "origin: http://localhost\r\n", WEIGHT).await.status, 403);
    assert_eq!(side.post(path, "", WEIGHT).await.status, 200);
    assert_eq!(side.orders(), ["weight iris v2.5 10% local: slow start"]);
}

#[tokio::test]
async fn a_request_meant_for_another_host_is_refused() {
    let side = Side::begin(Vec::new());
    let bound = side.admin.to_string();
    for (host, status) in [
        ("host: evil\r\n", 403),
        ("host: evil.localhost\r\n", 403),
        ("", 403),
        ("host: localhost\r\nhost: localhost\r\n", 403),
        (&*format!("host: {bound}\r\n"), 200),
        ("host: 10.1.2.3\r\n", 200),
    ] {
        for path in ["/api/v1/status", "/metrics", "/livez"] {
            let answer = side.send(&format!("GET {path} HTTP/1.1\r\n{host}\r\n")).await;
            assert_eq!(answer.status, status, "{host:?} {path} {}", answer.body);
        }
    }
    for target in ["http://localhost/livez", "http://evil/livez"] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert_eq!(side.send(&request).await.status, 400, "{target}");
    }
    let connect = "CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(side.send(connect).await.status, 400);
}

#[tokio::test]
async fn paths_methods_and_queries_are_exact() {
    let side = Side::begin(Vec::new());
    for path in
        ["/", "/api", "/api/v1/status/", "//livez", "/livez%00", "/api/v1/routes/a/b"]
    {
        assert_eq!(side.get(path, "").await.status, 404, "{path}");
    }
    assert_eq!(side.get("/api/v1/routes/other", "").await.status, 404);
    assert_eq!(side.get("/dashboard", "").await.status, 501);
    assert_eq!(side.get("/api/v1/status?route=iris", "").await.status, 400);
    let answer = side.get("/api/v1/routes/iris/weight", "").await;
    assert_eq!((answer.status, answer.head.contains("allow: post")), (405, true));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        let request = format!(
            "{method} /api/v1/status HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
        );
        let answer = side.send(&request).await;
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("allow: get, head"), "{}", answer.head);
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
    }
    assert_eq!(side.orders(), Vec::<String>::new());
}

#[tokio::test]
async fn an_order_that_says_too_little_or_too_much_is_refused() {
    let side = Side::begin(Vec::new());
    let (weight, rollback) =
        ("/api/v1/routes/iris/weight", "/api/v1/routes/iris/rollback");
    for (path, body, status, says) in [
        (weight, "", 400, "EOF"),
        (weight, "[]", 400, "invalid length"),
        (weight, r#"{"version":"v2.5","weight":5}"#, 400, "missing field `reason`"),
        (weight, r#"{"version":"v2.5","weight":5,"reason":" "}"#, 400, "say why"),
        (weight, r#"{"version":"v2.5","weight":5,"reason":"a\nb"}"#, 400, "not allowed"),
        (
            weight,
            r#"{"version":"v2.5","weight":500,"reason":"x"}"#,
            400,
            "500% is above 100%",
        ),
        (
            weight,
            r#"{"version":"v2.5","weight":5,"reason":"x","by":"root"}"#,
            400,
            "unknown field",
        ),
        (
            weight,
            r#"{"version":"v9","weight":5,"reason":"x"}"#,
            404,
            "route iris has no version v9",
        ),
        (
            weight,
            r#"{"version":"stubborn","weight":5,"reason":"x"}"#,
            409,
            "stays as it is",
        ),
        (
            "/api/v1/routes/other/rollback",
            r#"{"reason":"x"}"#,
            404,
            "there is no route other",
        ),
        (rollback, "{}", 400, "missing field `reason`"),
        (rollback, r#"{"reason":"x","to":"v9"}"#, 404, "route iris has no version v9"),
        (
            "/api/v1/quarantine/release",
            r#"{"route":"iris","version":"v3"}"#,
            400,
            "reason",
        ),
    ] {
        let answer = side.post(path, "", body).await;
        assert_eq!(answer.status, status, "{path} {body} {}", answer.body);
        assert!(answer.body.contains(says), "{path} {body} {}", answer.body);
    }
    let orders = side.orders();
    assert!(orders.iter().all(|order| order.contains("stubborn")), "{orders:?}");
    let refusals = side.refusals();
    let right =
        |line: &String| line.starts_with("POST /api/v1/") && line.ends_with(" local +0");
    assert!(refusals.len() == 13 && refusals.iter().all(right), "{refusals:#?}");
}

#[tokio::test]
async fn orders_reach_the_control_loop_with_the_name_behind_the_token() {
    let side = Side::with_operators();
    for (path, body) in [
        ("/api/v1/routes/iris/rollback", r#"{"reason":"bad answers","to":"v2.4"}"#),
        ("/api/v1/routes/iris/rollback", r#"{"version":"v3","reason":"too"}"#),
        (
            "/api/v1/quarantine/release",
            r#"{"route":"iris","version":"v3","reason":"fixed"}"#,
        ),
    ] {
        let answer = side.post(path, ALICE, body).await;
        assert_eq!(answer.status, 200, "{path} {}", answer.body);
    }
    assert_eq!(
        side.orders(),
        [
            "rollback iris v2.5 -> v2.4 alice: bad answers",
            "rollback iris v3 alice: too",
            "release iris v3 alice: fixed",
        ]
    );
}

#[tokio::test]
async fn the_client_reads_what_the_server_writes() {
    let side = Side::with_operators();
    let url = format!("http://localhost:{}", side.admin.port());
    let client = AdminClient::new(&url, Some("bob-token")).unwrap();
    assert_eq!(client.get::<StatusView>("/api/v1/status").await.unwrap(), status());
    let held = client.get::<Quarantine>("/api/v1/quarantine").await.unwrap().quarantine;
    assert_eq!((held.len(), &*held[0].version), (1, "v3"));
    let history = client.get::<HistoryView>("/api/v1/history").await.unwrap().rollbacks;
    let ids: Vec<_> =
        history.iter().map(|record| record["rollback_id"].clone()).collect();
    assert_eq!(ids, ["rb-2", "rb-1"]);
    let analysis = client.get::<Analysis>("/api/v1/analysis/iris").await.unwrap();
    assert_eq!((analysis.result, analysis.value), (Finding::Successful, Some(0.01)));
    assert_eq!(analysis.trials[0].evidence[0].odds.to_bits(), 4.5_f64.to_bits());
    let told = client.get::<Explanation>("/api/v1/explain/iris/v2.5").await.unwrap();
    assert_eq!((&*told.route, &*told.trials[0].version), ("iris", "v2.5"));
    let unknown = client.get::<Explanation>("/api/v1/explain/rb-0").await.unwrap_err();
    assert_eq!(unknown.to_string(), "there is nothing called rb-0 (HTTP 404)");
    let none = client.get::<Analysis>("/api/v1/analysis/credit").await.unwrap();
    assert_eq!((none.result, none.version), (Finding::Inconclusive, None));

    let order = serde_json::json!({"version": "v2.5", "weight": 1, "reason": "x"});
    let refused =
        client.post::<_, StatusView>("/api/v1/routes/iris/weight", &order).await;
    let said = refused.unwrap_err().to_string();
    assert_eq!(said, "bob has the role viewer and this needs operator (HTTP 403)");
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_comes() {
    let side = Side::begin(Vec::new());
    let head = "POST /api/v1/routes/iris/weight HTTP/1.1\r\nhost: localhost\r\n";
    let declared =
        side.send(&format!("{head}content-length: 1099511627776\r\n\r\n")).await;
    assert_eq!(declared.status, 413);

    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000)).repeat(3);
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}");
    assert_eq!(side.send(&chunked).await.status, 413);

    let long = format!("x: {}\r\n", "x".repeat(20_000));
    let request = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{long}\r\n");
    assert_eq!(side.send(&request).await.status, 431);
}

#[tokio::test]
async fn a_refused_body_is_never_taken_for_the_next_request() {
    let side = Side::begin(Vec::new());
    let hidden = "GET /api/v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let length = hidden.len();
    let request = format!(
        "POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{hidden}GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    );
    let mut socket = TcpStream::connect(side.admin).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut all = String::new();
    socket.read_to_string(&mut all).await.unwrap();
    assert!(all.starts_with("HTTP/1.1 404"), "{all}");
    assert!(!all.contains("config_hash"), "{all}");
}

#[tokio::test]
async fn silent_callers_do_not_keep_an_operator_out() {
    let side = Side::begin(Vec::new());
    let mut silent = Vec::new();
    for n in 0..300 {
        let mut socket = TcpStream::connect(side.admin).await.unwrap();
        if n % 2 == 0 {
            socket.write_all(b"GET /livez HTTP/1.1\r\nho").await.unwrap();
        }
        silent.push(socket);
    }
    let before = clock::now();
    assert_eq!(side.get("/livez", "").await.status, 200);
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let address = ([127, 0, 0, 1], 0).into();
    let bound = bind(&Settings::on(address)).unwrap();
    let at = bound.address().unwrap();
    let api = Arc::new(Api {
        side: router::Side::Metrics(Mutex::new(Bucket::new(CALLS))),
        handle: fake(status()).0,
        readiness: Readiness::new(),
        state_dir: PathBuf::new(),
        streams: Arc::new(Semaphore::new(1)),
    });
    let brief = Duration::from_millis(200);
    let served = crate::admin::server::serve_within(
        brief,
        bound,
        (Arc::clone(&api), api),
        async {
            for begun in ["", "GET /livez HTTP/1.1\r\nhost: loc"] {
                let mut slow = TcpStream::connect(at).await.unwrap();
                slow.write_all(begun.as_bytes()).await.unwrap();
                let mut rest = Vec::new();
                let end =
                    timeout(Duration::from_secs(5), slow.read_to_end(&mut rest)).await;
                end.unwrap().unwrap();
            }
        },
    );
    served.await.unwrap();
}

#[tokio::test]
async fn a_connection_takes_one_request_after_the_other() {
    let side = Side::begin(Vec::new());
    let mut socket = TcpStream::connect(side.admin).await.unwrap();
    for _ in 0..3 {
        socket
            .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(receive(&mut socket).await.body, "live\n");
    }
}

#[tokio::test]
async fn a_shutdown_ends_idle_connections_and_frees_the_port() {
    let side = Side::begin(Vec::new());
    let mut idle = TcpStream::connect(side.admin).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(receive(&mut idle).await.status, 200);
    side.stop.send(()).unwrap();
    timeout(Duration::from_secs(4), side.served).await.unwrap().unwrap();
    assert_eq!(idle.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(TcpStream::connect(side.admin).await.is_err());
}
