//! Copies over real sockets: what the version under suspicion gets, and that no caller sees
//! any of it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::measure::Tally;
use crate::proxy::tests::{
    Bench, HTTP1, HTTP2, Way, bench_by, fail, good, http2_server, request, run, server,
    talk,
};
use crate::route::{Route, Standing};
use crate::tasks;
use crate::upstream::Protocol;
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;
use crate::vocab::outcome::Class;

/// The place of the canary in a bench.
const CANARY: usize = 1;

/// What a server got, head and body.
type Seen = Rc<RefCell<Vec<String>>>;

/// A server that writes down every request and answers well.
async fn scribe() -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let book = Rc::clone(&seen);
    let address = server(move |mut stream, _| {
        let book = Rc::clone(&book);
        async move {
            while let Some(text) = request(&mut stream).await {
                book.borrow_mut().push(text);
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (address, seen)
}

/// Protects users from the canary and copies all of stable's requests to it.
fn protect(route: &Route) -> Route {
    let canary = Name::parse("canary").unwrap();
    let spared = route.with_standing(&canary, Standing::Protected).unwrap();
    spared.with_copying(&canary, Some(Percent::FULL)).unwrap()
}

fn copying_bench(way: Way, stable: SocketAddr, canary: SocketAddr) -> Bench {
    let bench = bench_by(way, stable, Some(canary));
    bench.change(protect);
    bench
}

async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

/// Everything in both versions' books once so many copies have ended.
async fn after_copies(bench: &mut Bench, copies: u64) -> [Tally; 2] {
    let mut all = [Tally::default(), Tally::default()];
    loop {
        for (slot, tally) in bench.ledger.collect().await {
            let place = bench.slots.iter().position(|at| *at == slot).unwrap();
            all[place].add(&tally);
        }
        let ended: u64 = all[CANARY].shadow.iter().sum();
        assert!(ended <= copies, "{ended} copies instead of {copies}");
        if ended == copies && bench.roster.in_flight(bench.slots[CANARY]) == 0 {
            return all;
        }
        tokio::task::yield_now().await;
    }
}

/// The head's lines without framing and the body without chunks' sizes, of a request whose
/// body has none of them.
fn essence(text: &str) -> (Vec<String>, String) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let framing =
        |line: &&str| line.starts_with("content-length") || line.starts_with("transfer-");
    let mut lines: Vec<String> =
        head.lines().filter(|line| !framing(line)).map(str::to_owned).collect();
    lines.sort();
    let chunked = head.contains("chunked");
    let bare = |body: &str| {
        let pieces = body.split("\r\n").skip(1).step_by(2);
        pieces.collect::<String>()
    };
    (lines, if chunked { bare(body) } else { body.to_owned() })
}

#[test]
fn a_copy_is_the_same_request_with_a_mark() {
    run(async {
        let big = "y".repeat(200_000);
        let texts = [
            "GET /x?q=1 HTTP/1.1\r\nHost: h\r\nx-request-id: id-7\r\n\r\n".to_owned(),
            "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "POST /v1/completions HTTP/1.1\r\nHost: h\r\nx-shadow: 9\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
            "POST /predictions/m HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_owned(),
            format!("POST /v1/embeddings HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{big}", big.len()),
        ];
        let (stable, real) = scribe().await;
        let (canary, copies) = scribe().await;
        let mut bench = copying_bench(HTTP1, stable, canary);
        for (number, text) in texts.iter().enumerate() {
            let got = talk(bench.address, text).await;
            assert!(got.starts_with("HTTP/1.1 200 OK") && got.ends_with("ok"), "{got}");
            assert!(got.contains("x-model-version: stable"), "{got}");
            assert!(got.contains("x-switchback-reason: split"), "{got}");
            assert!(!got.contains("shadow"), "{got}");
            until(|| copies.borrow().len() == number + 1).await;
            let (mut copied, body) = essence(&copies.borrow()[number]);
            let (sent, sent_body) = essence(&real.borrow()[number]);
            assert_eq!(copied.iter().filter(|line| *line == "x-shadow: 1").count(), 1);
            copied.retain(|line| line != "x-shadow: 1");
            assert_eq!(copied, sent);
            assert_eq!(body, sent_body);
            assert!(copied.iter().any(|line| line.starts_with("x-request-id: ")));
            assert!(copied.iter().any(|line| line.starts_with("traceparent: ")));
        }
        let count = texts.len() as u64;
        let [own, tally] = after_copies(&mut bench, count).await;
        assert_eq!(tally.shadow[Class::Success.index()], count);
        assert_eq!((tally.requests(), tally.shadow_dropped), (0, 0));
        let [(epoch, sums)] = &tally.sums[..] else { panic!("{:?}", tally.sums) };
        assert_eq!(
            (sums.opened, sums.cells[0].known, sums.cells[0].bad),
            (count, count, 0)
        );
        let [(same, sums)] = &own.sums[..] else { panic!("{:?}", own.sums) };
        assert_eq!((same, sums.opened, own.requests()), (epoch, count, count));
    });
}

#[test]
fn a_failing_copy_is_measured_and_touches_no_caller() {
    for (failure, class) in [
        ("500", Class::ServerError),
        ("reset", Class::UpstreamReset),
        ("garbage", Class::ProtocolError),
        ("cut", Class::Truncated),
        ("half", Class::UpstreamReset),
        ("silent", Class::TimeoutFirstByte),
        ("refused", Class::ConnectError),
    ] {
        run(async {
            let (stable, real) = scribe().await;
            let bad = server(move |stream, _| fail(stream, failure)).await;
            let dead = "127.0.0.1:1".parse().unwrap();
            let canary = if failure == "refused" { dead } else { bad };
            let mut bench = copying_bench(HTTP1, stable, canary);
            let text = "POST /v1/completions HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
            let mut stream = TcpStream::connect(bench.address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut got = String::new();
            stream.read_to_string(&mut got).await.unwrap();
            assert!(got.starts_with("HTTP/1.1 200 OK"), "{failure}: {got}");
            assert!(got.contains("x-switchback-reason: split"), "{failure}: {got}");
            assert!(got.ends_with("\r\n\r\nok"), "{failure}: {got}");
            if failure == "silent" {
                // The caller has its answer while the copy still waits.
                assert_eq!(bench.roster.in_flight(bench.slots[CANARY]), 1);
            }
            let [own, tally] = after_copies(&mut bench, 1).await;
            assert_eq!(tally.shadow[class.index()], 1, "{failure}: {:?}", tally.shadow);
            assert_eq!((tally.requests(), tally.rescued, tally.retries), (0, 0, 0));
            let [sample] = tally.samples.kept() else { panic!("{:?}", tally.samples) };
            assert_eq!((sample.class, sample.path.as_str()), (class, "/v1/completions"));
            assert_eq!(tally.sums[0].1.cells[0].bad, 1, "{failure}");
            assert_eq!(real.borrow().len(), 1, "{failure}");
            assert_eq!(own.outcomes[Class::Success.index()], 1, "{failure}");
        });
    }
}

#[test]
fn one_copy_too_many_is_dropped_and_counted() {
    run(async {
        let (stable, _) = scribe().await;
        let silent = server(|stream, _| fail(stream, "silent")).await;
        let mut bench = copying_bench(HTTP1, stable, silent);
        let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let got = talk(bench.address, &get.repeat(70)).await;
        assert_eq!(got.matches("HTTP/1.1 200 OK").count(), 70);
        let [_, tally] = after_copies(&mut bench, 64).await;
        assert_eq!(tally.shadow_dropped, 6);
        assert_eq!(tally.shadow[Class::TimeoutFirstByte.index()], 64);
    });
}

#[test]
fn only_what_may_be_repeated_and_kept_is_copied_and_compared() {
    run(async {
        let (stable, real) = scribe().await;
        let (canary, copies) = scribe().await;
        let mut bench = copying_bench(HTTP1, stable, canary);
        let large = format!(
            "POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{}",
            (1 << 20) + 1,
            "x".repeat((1 << 20) + 1)
        );
        for (text, reason) in [
            ("POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", "split"),
            (
                "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                "split",
            ),
            ("GET / HTTP/1.1\r\nHost: h\r\ncanary: canary\r\n\r\n", "protect"),
            (&large, "split"),
        ] {
            let got = talk(bench.address, text).await;
            assert!(got.contains("x-model-version: stable"), "{got}");
            assert!(got.contains(&format!("x-switchback-reason: {reason}\r\n")), "{got}");
        }
        let got = talk(bench.address, "GET /y HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(got.contains("x-switchback-reason: split"), "{got}");
        let [own, tally] = after_copies(&mut bench, 1).await;
        assert_eq!((tally.shadow_dropped, tally.sums[0].1.opened), (0, 1));
        assert_eq!((real.borrow().len(), copies.borrow().len()), (5, 1));
        assert!(copies.borrow()[0].starts_with("GET /y "));
        assert_eq!((own.requests(), own.sums[0].1.opened), (5, 1));
    });
}

#[test]
fn copies_end_when_the_table_says_so() {
    run(async {
        let (stable, _) = scribe().await;
        let silent = server(|stream, _| fail(stream, "silent")).await;
        let mut bench = copying_bench(HTTP1, stable, silent);
        let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(get.as_bytes()).await.unwrap();
        let slot = bench.slots[CANARY];
        until(|| bench.roster.in_flight(slot) == 1).await;
        // A table that still copies leaves it alone.
        bench.change(Route::clone);
        let got = talk(bench.address, get).await;
        assert!(got.starts_with("HTTP/1.1 200 OK"), "{got}");
        assert_eq!(bench.roster.in_flight(slot), 2);
        let canary = Name::parse("canary").unwrap();
        bench
            .change(|route| route.with_standing(&canary, Standing::Quarantined).unwrap());
        // Nobody asks for anything meanwhile.
        until(|| bench.roster.in_flight(slot) == 0).await;
        let [_, tally] = after_copies(&mut bench, 2).await;
        assert_eq!(tally.shadow[Class::ClientCancelled.index()], 2);
        let got = talk(bench.address, get).await;
        assert!(got.contains("x-switchback-reason: split"), "{got}");
        assert!(bench.tally(CANARY).await.is_empty());
    });
}

#[test]
fn a_copy_goes_when_the_rest_of_its_request_has_come() {
    run(async {
        // Answers before it has read the body, and ends the answer after it.
        let early = server(|mut stream, _| async move {
            let mut piece = [0u8; 4096];
            let len = stream.read(&mut piece).await.unwrap();
            assert!(!String::from_utf8_lossy(&piece[..len]).contains("rest"));
            let head =
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"rest") {
                let len = stream.read(&mut piece).await.unwrap();
                seen.extend_from_slice(&piece[..len]);
            }
            stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
        })
        .await;
        let (canary, copies) = scribe().await;
        let mut bench = copying_bench(HTTP1, early, canary);
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        let head =
            "PUT / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 8\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"first\r\n") {
            let mut piece = [0u8; 4096];
            let len = stream.read(&mut piece).await.unwrap();
            assert!(len > 0);
            got.extend_from_slice(&piece[..len]);
        }
        assert_eq!(bench.roster.in_flight(bench.slots[CANARY]), 0);
        stream.write_all(b"the rest").await.unwrap();
        let mut end = String::new();
        stream.read_to_string(&mut end).await.unwrap();
        assert!(end.ends_with("0\r\n\r\n"), "{end}");
        let [_, tally] = after_copies(&mut bench, 1).await;
        assert_eq!(tally.shadow[Class::Success.index()], 1);
        assert!(copies.borrow()[0].ends_with("\r\n\r\nthe rest"), "{copies:?}");
    });
}

#[test]
fn a_request_that_stable_fails_is_copied_if_it_is_all_here() {
    run(async {
        let (canary, copies) = scribe().await;
        let dead = "127.0.0.1:1".parse().unwrap();
        let mut bench = copying_bench(HTTP1, dead, canary);
        let post = "POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n";
        let got = talk(bench.address, &format!("{post}\r\nhello")).await;
        assert!(got.starts_with("HTTP/1.1 503 "), "{got}");
        let [_, tally] = after_copies(&mut bench, 1).await;
        assert_eq!(tally.shadow[Class::Success.index()], 1);
        assert!(copies.borrow()[0].ends_with("\r\n\r\nhello"), "{copies:?}");
        // What is not here yet is not asked for: not even leave is given to send it.
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        let head = format!("{post}Expect: 100-continue\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut got = [0u8; 12];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"HTTP/1.1 503");
        assert_eq!(bench.tally(CANARY).await.shadow_dropped, 1);
        let bad = server(|stream, _| fail(stream, "reset")).await;
        let mut bench = copying_bench(HTTP1, bad, canary);
        let got = talk(bench.address, &format!("{post}\r\nhello")).await;
        assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
        let [_, tally] = after_copies(&mut bench, 1).await;
        assert_eq!(tally.shadow[Class::Success.index()], 1);
        assert_eq!(copies.borrow().len(), 2);
    });
}

#[test]
fn callers_and_versions_may_speak_http2() {
    for way in [HTTP1, HTTP2] {
        run(async {
            let two = way.protocol == Protocol::Http2;
            let (scribe, copies) = scribe().await;
            let plain = server(|stream, _| good(stream)).await;
            let (stable, canary) = if two {
                (http2_server().await, http2_server().await)
            } else {
                (plain, scribe)
            };
            let mut bench = copying_bench(way, stable, canary);
            let stream = TcpStream::connect(bench.address).await.unwrap();
            let io = hyper_util::rt::TokioIo::new(stream);
            let (mut send, connection) =
                hyper::client::conn::http2::handshake(crate::upstream::LocalExecutor, io)
                    .await
                    .unwrap();
            let _connection = tasks::local("caller", async move {
                let _ended = connection.await;
            });
            for (method, body) in [("POST", "hello"), ("GET", "")] {
                let asked = http::Request::builder()
                    .method(method)
                    .uri("http://h/v1/completions")
                    .header("x-shadow", "1")
                    .body(http_body_util::Full::new(bytes::Bytes::from(body)))
                    .unwrap();
                let answer = send.send_request(asked).await.unwrap();
                assert_eq!(answer.status(), 200);
                assert_eq!(answer.headers()["x-model-version"], "stable");
                let body = http_body_util::BodyExt::collect(answer.into_body());
                let body = body.await.unwrap().to_bytes();
                assert!(!String::from_utf8_lossy(&body).contains("x-shadow"));
            }
            let [_, tally] = after_copies(&mut bench, 2).await;
            assert_eq!(tally.shadow[Class::Success.index()], 2, "{:?}", tally.shadow);
            if !two {
                let copies = copies.borrow();
                assert!(copies.iter().all(|text| text.contains("x-shadow: 1\r\n")));
                assert!(copies.iter().any(|text| text.ends_with("\r\n\r\nhello")));
            }
        });
    }
}
