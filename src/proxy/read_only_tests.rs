//! The data plane of a route that is read-only, over real sockets.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clock;
use crate::proxy::tests::{
    Bench, HTTP1, bench_of, fail, good, request, run, server, talk,
};
use crate::route::{Mode, Role, Standing};
use crate::tasks;
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;
use crate::vocab::outcome::Class;
use crate::vocab::policy::CachePolicy;
use crate::vocab::time::Timestamp;

const SINCE: Timestamp = Timestamp(1_795_593_600_000);
const BANNER: &str = "x: read-only; since=2026-11-25T08:00:00.000Z";

fn cached() -> CachePolicy {
    CachePolicy {
        max_size: 1 << 20,
        max_entry: 64 << 10,
        ttl: Duration::from_secs(3_600),
        vary: vec!["authorization".into()],
        methods: vec!["GET".into(), "POST".into()],
        persist: false,
    }
}

/// What reached a server, by its first line.
type Seen = Rc<RefCell<Vec<String>>>;

/// A server that notes what it is asked, and answers with those fields.
async fn noting(fields: &'static str) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let noted = Rc::clone(&seen);
    let address = server(move |mut stream: TcpStream, _| {
        let seen = Rc::clone(&noted);
        async move {
            while let Some(text) = request(&mut stream).await {
                let first = text.lines().next().unwrap_or_default().to_owned();
                seen.borrow_mut().push(first);
                let answer =
                    format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (address, seen)
}

/// Stable alone is asked; the route keeps answers.
fn keeping(all: &[(SocketAddr, Role)]) -> Bench {
    let bench = bench_of(HTTP1, all);
    bench.change(|route| {
        let mut policy = (*route.policy).clone();
        policy.cache = Some(cached());
        policy.rescue.max_body = 16 << 10;
        let mut next = route.clone();
        next.policy = Arc::new(policy);
        next
    });
    let name = Name::parse("r").unwrap();
    bench.cache.fit([(&name, &cached())]);
    if all.iter().any(|(_, role)| *role == Role::Canary) {
        let canary = Name::parse("canary").unwrap();
        bench.change(|route| route.with_weight(&canary, Percent::ZERO).unwrap());
    }
    bench
}

fn close(bench: &Bench, emergency: Option<usize>) {
    let mode = Mode::ReadOnly { since: SINCE, emergency };
    bench.change(|route| route.with_mode(mode).unwrap());
}

fn post(path: &str, body: &str, more: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\n{more}Content-Length: {length}\r\n\r\n{body}"
    )
}

async fn ask(bench: &Bench, text: &str) -> String {
    talk(bench.address, &text.replacen("\r\n", "\r\nConnection: close\r\n", 1)).await
}

fn is_kept(got: &str) {
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("ok"), "{got}");
    assert!(got.contains("switchback; hit; ttl="), "{got}");
    assert!(got.contains("detail=read-only"), "{got}");
    assert!(got.contains("x-switchback-reason: read-only\r\n"), "{got}");
    assert!(got.contains("x-model-version: stable\r\n"), "{got}");
    assert!(got.contains("age: "), "{got}");
    assert!(got.contains(&format!("{BANNER}; m\r\n")), "{got}");
}

fn is_refused(got: &str) {
    assert!(got.starts_with("HTTP/1.1 503 "), "{got}");
    assert!(got.contains("retry-after: 5\r\n"), "{got}");
    assert!(
        got.contains("proxy-status: switchback; error=proxy_internal_response\r\n"),
        "{got}"
    );
    let worded = ["application/problem+json", "application/json"]
        .map(|kind| format!("content-type: {kind}\r\n"));
    assert!(worded.iter().any(|kind| got.contains(kind)), "{got}");
    assert!(got.contains("x-switchback-reason: read-only\r\n"), "{got}");
    assert!(got.contains(&format!("{BANNER}\r\n")), "{got}");
    assert!(!got.contains("cache-status"), "{got}");
}

#[test]
fn what_is_kept_is_given_and_the_rest_is_refused_and_no_version_is_asked() {
    run(async {
        let (stable, seen) = noting("cache-control: max-age=60\r\n").await;
        let (canary, other) = noting("").await;
        let mut bench = keeping(&[(stable, Role::Stable), (canary, Role::Canary)]);
        let known = post("/v1/completions", "a", "");
        ask(&bench, &known).await;
        ask(&bench, "GET /v2/models/iris HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let before = seen.borrow().len();
        drop(bench.tally(0).await);
        close(&bench, None);
        is_kept(&ask(&bench, &known).await);
        is_kept(&ask(&bench, "GET /v2/models/iris HTTP/1.1\r\nHost: h\r\n\r\n").await);
        let refused = [
            post("/v1/completions", "b", ""),
            post("/v1/completions", "a", "Authorization: Bearer x\r\n"),
            post("/v1/completions", "a", "Cache-Control: no-store\r\n"),
            post("/v1/completions", "a", "Cache-Control: no-cache\r\n"),
            post("/v1/completions", "a", "").replace("POST", "PUT"),
            "DELETE /v2/models/iris HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
            "HEAD /v2/models/iris HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
            "GET /v2/models/iris HTTP/1.1\r\nHost: h\r\ncanary: canary\r\nRange: bytes=0-1\r\n\r\n".to_owned(),
            "GET /w HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".to_owned(),
        ];
        for text in &refused {
            is_refused(&ask(&bench, text).await);
        }
        assert_eq!((seen.borrow().len(), other.borrow().len()), (before, 0));
        let tally = bench.tally(0).await;
        let turned = u64::try_from(refused.len()).unwrap() + 2;
        assert_eq!(tally.outcomes[Class::Rejected.index()], turned);
        assert_eq!((tally.requests(), tally.cache_served), (turned, 2));
        assert!(tally.sums.is_empty(), "nothing of it is judged");
        bench.change(|route| route.with_mode(Mode::Normal).unwrap());
        let got = ask(&bench, &refused[0]).await;
        assert!(got.starts_with("HTTP/1.1 200 OK") && !got.contains("x: "), "{got}");
    });
}

#[test]
fn a_body_that_nobody_read_is_no_next_request() {
    run(async {
        let (stable, seen) = noting("").await;
        let bench = keeping(&[(stable, Role::Stable)]);
        let inner = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
        let known = post("/v1/completions", inner, "");
        ask(&bench, &known).await;
        close(&bench, None);
        let after = "GET /after HTTP/1.1\r\nHost: h\r\n\r\n";
        let unknown = post("/v1/completions", "x", "");
        let write = known.replace("POST", "PUT");
        for (first, kept) in [(&known, true), (&unknown, false), (&write, false)] {
            let got = talk(bench.address, &format!("{first}{after}")).await;
            assert_eq!(got.matches("HTTP/1.1 ").count(), 2, "{got}");
            assert_eq!(got.contains("HTTP/1.1 200 OK"), kept, "{got}");
        }
        // Too much to be read over: the connection is closed instead.
        let large = "z".repeat(2 << 20);
        let got =
            talk(bench.address, &format!("{}{after}", post("/up", &large, ""))).await;
        assert!(got.starts_with("HTTP/1.1 503 "), "{got}");
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{got}");
        // Nor is leave given to send what is not wanted.
        let head = "PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
        let got = talk(bench.address, head).await;
        assert!(got.starts_with("HTTP/1.1 503 "), "{got}");
        assert!(seen.borrow().iter().all(|first| !first.contains("/smuggled")));
    });
}

#[test]
fn the_emergency_version_answers_questions_of_which_nothing_is_kept() {
    run(async {
        let (stable, asked) = noting("").await;
        let (last, seen) = noting("").await;
        let mut bench = keeping(&[(stable, Role::Stable), (last, Role::Candidate)]);
        let known = post("/v1/completions", "a", "");
        ask(&bench, &known).await;
        close(&bench, Some(1));
        is_kept(&ask(&bench, &known).await);
        assert!(seen.borrow().is_empty(), "{seen:?}");
        for (text, fwd) in [
            (post("/v1/completions", "b", ""), "miss"),
            (post("/v1/completions", "a", "Cache-Control: no-store\r\n"), "bypass"),
            (post("/v1/completions", &"z".repeat(20 << 10), ""), "miss"),
            ("GET /v2/health HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "miss"),
        ] {
            let got = ask(&bench, &text).await;
            assert!(got.starts_with("HTTP/1.1 200 OK") && got.ends_with("ok"), "{got}");
            assert!(got.contains("x-model-version: candidate\r\n"), "{got}");
            assert!(got.contains("x-switchback-reason: read-only\r\n"), "{got}");
            assert!(got.contains(&format!("{BANNER}\r\n")), "{got}");
            let status = format!("cache-status: switchback; fwd={fwd}; detail=read-only");
            assert!(got.contains(&status), "{got}");
        }
        for write in [
            post("/v2/repository/index", "x", ""),
            post("/v1/completions", "b", "").replace("POST", "PUT"),
            "DELETE /v2/models/iris HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        ] {
            is_refused(&ask(&bench, &write).await);
        }
        assert_eq!((asked.borrow().len(), seen.borrow().len()), (1, 4));
        let tally = bench.tally(1).await;
        assert_eq!((tally.requests(), tally.sums.len()), (4, 0));
        assert_eq!(bench.roster.in_flight(bench.slots[1]), 0);
        let candidate = Name::parse("candidate").unwrap();
        bench.change(|route| {
            route.with_standing(&candidate, Standing::Quarantined).unwrap()
        });
        is_refused(&ask(&bench, &post("/v1/completions", "b", "")).await);
        assert_eq!(seen.borrow().len(), 4);
    });
}

#[test]
fn an_emergency_version_that_fails_is_said_to_have() {
    run(async {
        let (stable, asked) = noting("").await;
        let last = server(|stream, _| fail(stream, "reset")).await;
        let mut bench = keeping(&[(stable, Role::Stable), (last, Role::Candidate)]);
        close(&bench, Some(1));
        let got = ask(&bench, &post("/v1/completions", "b", "")).await;
        assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
        assert!(got.contains("error=connection_terminated"), "{got}");
        assert!(got.contains(&format!("{BANNER}\r\n")), "{got}");
        assert!(asked.borrow().is_empty());
        let tally = bench.tally(1).await;
        assert_eq!(tally.outcomes[Class::UpstreamReset.index()], 1);
    });
}

/// A canary that has a request and fails it when the test says so.
async fn failing_later() -> (SocketAddr, Rc<tokio::sync::Notify>, Rc<tokio::sync::Notify>)
{
    let (here, go) = (Rc::<tokio::sync::Notify>::default(), Rc::default());
    let (tell, wait) = (Rc::clone(&here), Rc::clone(&go));
    let address = server(move |mut stream: TcpStream, _| {
        let (tell, wait): (_, Rc<tokio::sync::Notify>) =
            (Rc::clone(&tell), Rc::clone(&wait));
        async move {
            let _asked = request(&mut stream).await;
            tell.notify_one();
            wait.notified().await;
        }
    })
    .await;
    (address, here, go)
}

async fn send(bench: &Bench, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn read(mut stream: TcpStream) -> String {
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    got
}

const PINNED: &str =
    "GET /q HTTP/1.1\r\nHost: h\r\ncanary: canary\r\nConnection: close\r\n\r\n";

#[test]
fn a_failure_after_the_swap_is_handed_to_nobody() {
    for known in [true, false] {
        run(async {
            let (stable, seen) = noting("").await;
            let (canary, here, go) = failing_later().await;
            let mut bench = keeping(&[(stable, Role::Stable), (canary, Role::Canary)]);
            if known {
                ask(&bench, "GET /q HTTP/1.1\r\nHost: h\r\n\r\n").await;
            }
            let waiting = send(&bench, PINNED).await;
            here.notified().await;
            close(&bench, None);
            go.notify_one();
            let got = read(waiting).await;
            if known {
                is_kept(&got);
            } else {
                is_refused(&got);
            }
            assert_eq!(seen.borrow().len(), usize::from(known));
            let canary = bench.tally(1).await;
            assert_eq!((canary.requests(), canary.rescued), (1, 0));
            assert_eq!(canary.cache_served, u64::from(known));
        });
    }
}

#[test]
fn whoever_acts_as_stable_when_a_canary_fails_answers_for_it() {
    run(async {
        let (stable, seen) = noting("").await;
        let (canary, here, go) = failing_later().await;
        let before = server(|stream, _| good(stream)).await;
        let mut bench = keeping(&[
            (stable, Role::Stable),
            (canary, Role::Canary),
            (before, Role::Candidate),
        ]);
        let waiting = send(&bench, PINNED).await;
        here.notified().await;
        let [old, new] = ["stable", "candidate"].map(|it| Name::parse(it).unwrap());
        bench.change(|route| {
            let acted = route.with_stable(&new).unwrap();
            acted.with_standing(&old, Standing::Quarantined).unwrap()
        });
        go.notify_one();
        let got = read(waiting).await;
        assert!(got.contains("x-model-version: candidate\r\n"), "{got}");
        assert!(got.contains("x-switchback-reason: rescue\r\n"), "{got}");
        let got = ask(&bench, "GET /q HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(got.contains("x-model-version: candidate\r\n"), "{got}");
        assert!(got.contains("x-switchback-reason: split\r\n"), "{got}");
        assert!(seen.borrow().is_empty(), "it was out before anything failed");
        assert_eq!(bench.roster.in_flight(bench.slots[0]), 0);
        assert_eq!(bench.tally(2).await.requests(), 2);
    });
}

#[test]
fn many_are_refused_at_once_and_none_waits() {
    run(async {
        let (stable, seen) = noting("").await;
        let bench = keeping(&[(stable, Role::Stable)]);
        close(&bench, None);
        let begun = clock::now();
        let text = post("/v1/completions", "b", "").repeat(500);
        let got = talk(bench.address, &text).await;
        assert_eq!(got.matches("HTTP/1.1 503 ").count(), 500, "{}", got.len());
        assert!(clock::now() - begun < Duration::from_secs(2));
        assert!(seen.borrow().is_empty());
    });
}

#[test]
fn what_may_not_be_kept_or_not_be_served_stale_is_refused() {
    for fields in [
        "cache-control: no-store\r\n",
        "cache-control: private\r\n",
        "cache-control: max-age=0, must-revalidate\r\n",
        "cache-control: s-maxage=0\r\n",
        "cache-control: stale-if-error=0\r\n",
        "set-cookie: session=alice\r\n",
        "vary: *\r\n",
    ] {
        run(async {
            let (stable, seen) = noting(fields).await;
            let bench = keeping(&[(stable, Role::Stable)]);
            let known = post("/v1/completions", "a", "");
            ask(&bench, &known).await;
            close(&bench, None);
            is_refused(&ask(&bench, &known).await);
            assert_eq!(seen.borrow().len(), 1, "{fields}");
        });
    }
}

#[test]
fn what_a_request_has_changed_is_forgotten() {
    run(async {
        let (stable, _) = noting("").await;
        let bench = keeping(&[(stable, Role::Stable)]);
        let get = "GET /v2/models/iris HTTP/1.1\r\nHost: h\r\n\r\n";
        let other = "GET /v2/models/other HTTP/1.1\r\nHost: h\r\n\r\n";
        ask(&bench, get).await;
        ask(&bench, other).await;
        // In a later millisecond than the answer came in.
        let before = clock::wall();
        while clock::wall() == before {
            tokio::task::yield_now().await;
        }
        ask(&bench, &get.replace("GET", "DELETE")).await;
        close(&bench, None);
        is_refused(&ask(&bench, get).await);
        is_kept(&ask(&bench, other).await);
    });
}

#[test]
fn an_upload_on_http2_is_refused_and_the_connection_goes_on() {
    run(async {
        let (stable, seen) = noting("").await;
        let bench = keeping(&[(stable, Role::Stable)]);
        close(&bench, None);
        let stream = TcpStream::connect(bench.address).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(crate::upstream::LocalExecutor, io)
                .await
                .unwrap();
        let _connection = tasks::local("caller", async move {
            let _ended = connection.await;
        });
        for size in [0, 5, 4 << 20] {
            let body = bytes::Bytes::from(vec![b'x'; size]);
            let asked = http::Request::put("http://h/v2/models/iris")
                .body(http_body_util::Full::new(body))
                .unwrap();
            let answer = send.send_request(asked).await.unwrap();
            assert_eq!(answer.status(), 503, "{size}");
            assert_eq!(answer.headers()["retry-after"], "5");
            assert_eq!(answer.headers()["x-switchback-reason"], "read-only");
            let body = http_body_util::BodyExt::collect(answer.into_body()).await;
            let body = body.unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&body).contains("read-only since"));
        }
        assert!(seen.borrow().is_empty());
    });
}
