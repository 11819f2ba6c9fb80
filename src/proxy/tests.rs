//! The data plane alone, over real sockets: one worker, a fixed table, servers that speak
//! whatever a test wants.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::accept::Bound;
use super::session::Sessions;
use super::settings::{Limits, ListenerProtocol, ListenerSettings};
use super::worker::{Shared, Worker};
use crate::cache::Cache;
use crate::clock;
use crate::measure::{Ledger, Roster, Tally};
use crate::route::{
    Live, Override, Role, Route, RouteMatch, RouteTable, Standing, Version,
};
use crate::tasks;
use crate::upstream::{
    Address, Balance, Outlier, Pool, Protocol, Registry, Settings, Tls, Upstream,
};
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Generation, Name, Slot};
use crate::vocab::outcome::Class;
use crate::vocab::policy::{
    Banner, FailureSet, Repeatable, Rescue, Retry, RoutePolicy, Timeouts,
};

pub(super) struct Bench {
    pub(super) address: SocketAddr,
    pub(super) ledger: Ledger,
    live: Arc<Live>,
    pub(super) slots: Vec<Slot>,
    pub(super) roster: Arc<Roster>,
    pub(super) cache: Arc<Cache>,
    _stop: watch::Sender<bool>,
}

fn policy() -> RoutePolicy {
    let second = Duration::from_secs(1);
    let on = FailureSet {
        connect: true,
        reset: true,
        timeout: true,
        stream_error: true,
        server_errors: true,
        statuses: vec![],
    };
    RoutePolicy {
        timeouts: Timeouts {
            connect: second,
            first_byte: second,
            idle: second,
            total: Duration::ZERO,
        },
        retry: Retry { attempts: 0, budget: Percent::ZERO, on: FailureSet::default() },
        rescue: Rescue { on, max_body: 1 << 20 },
        repeatable: Repeatable::Auto,
        dialect: None,
        affinity: None,
        pin: None,
        cache: None,
        banner: Banner { header: "x".into(), json_field: None, message: "m".into() },
        emergency: None,
        sample_bodies: 0,
    }
}

/// How the servers of a bench are reached.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub(super) protocol: Protocol,
    max_connections: usize,
    /// Requests that each version may have in flight; 0 is no bound.
    max_in_flight: u64,
}

pub(super) const HTTP1: Way =
    Way { protocol: Protocol::Http1, max_connections: 64, max_in_flight: 0 };
pub(super) const HTTP2: Way = Way { protocol: Protocol::Http2, ..HTTP1 };

fn upstream(name: &Name, address: SocketAddr, way: Way) -> Upstream {
    let settings = Settings {
        endpoints: vec![
            Address::Tcp {
                host: address.ip().to_string(),
                port: address.port(),
                tls: false,
            }
            .into(),
        ],
        protocol: way.protocol,
        tls: Tls::default(),
        pool: Pool {
            max_idle: 8,
            max_connections: way.max_connections,
            idle_timeout: Duration::from_secs(4),
        },
        max_in_flight: way.max_in_flight,
        balance: Balance::LeastRequest,
        outlier: Outlier {
            consecutive_failures: 5,
            base_ejection: Duration::from_secs(30),
            max_ejected: Percent::of(50.0).unwrap(),
        },
        health: None,
        connect_timeout: Duration::from_secs(1),
    };
    Upstream::new(Name::parse("r").unwrap(), name.clone(), settings, None)
}

fn listener() -> ListenerSettings {
    ListenerSettings {
        name: "http".into(),
        address: "127.0.0.1:0".parse().unwrap(),
        protocol: ListenerProtocol::Auto,
        limits: Limits {
            max_connections: 100,
            max_connections_per_address: None,
            min_rate: 240,
            header_timeout: Duration::from_millis(300),
            header_size: 65_536,
            header_count: 100,
            body_size: 8 << 20,
            body_idle_timeout: Duration::from_secs(2),
            keep_alive_timeout: Duration::from_secs(5),
            requests_per_connection: 0,
            concurrent_streams: 16,
        },
        trusted: vec![],
        tls: None,
    }
}

/// A proxy in front of a stable server and, with all the weight, a canary.
fn bench(stable: SocketAddr, canary: Option<SocketAddr>) -> Bench {
    bench_by(HTTP1, stable, canary)
}

pub(super) fn bench_by(
    way: Way,
    stable: SocketAddr,
    canary: Option<SocketAddr>,
) -> Bench {
    let all = [(Some(stable), Role::Stable), (canary, Role::Canary)];
    let all = all.into_iter().filter_map(|(address, role)| Some((address?, role)));
    bench_of(way, &all.collect::<Vec<_>>())
}

/// A proxy in front of these servers; each version is called by its role.
pub(super) fn bench_of(way: Way, all: &[(SocketAddr, Role)]) -> Bench {
    let (roster, registry) = (Roster::new(1), Registry::new());
    let mut versions = Vec::new();
    for &(address, role) in all {
        let slot = roster.claim().unwrap();
        let name = Name::parse(role.as_str()).unwrap();
        registry.insert(slot, Arc::new(upstream(&name, address, way)));
        versions.push(Version {
            name: name.clone(),
            slot,
            digest: Digest::new(name.as_str()),
            role,
            weight: if role == Role::Canary { Percent::FULL } else { Percent::ZERO },
            standing: Standing::Serving,
        });
    }
    let slots = versions.iter().map(|version| version.slot).collect();
    let by_header = |to: usize| Override {
        header: "canary".into(),
        value: all[to].1.as_str().into(),
        to,
    };
    let overrides = (1..all.len()).map(by_header).collect();
    let route = Route::new(
        Name::parse("r").unwrap(),
        RouteMatch { path_prefix: "/".into(), ..Default::default() },
        versions,
        overrides,
        Arc::new(policy()),
    );
    let table = RouteTable::new(Generation(1), vec![Arc::new(route.unwrap())]);
    let shared = Shared {
        live: Arc::new(Live::new(table)),
        registry,
        roster: roster.clone(),
        cache: Arc::new(Cache::new()),
        sessions: Arc::new(Sessions::of(b"a key of tests")),
        workers: 1,
    };
    let (live, cache) = (Arc::clone(&shared.live), Arc::clone(&shared.cache));
    let (ledger, mut tills) = Ledger::new(1);
    let worker = Worker::start(0, &shared, tills.pop().unwrap());
    let bound = Bound::bind(listener(), 1, usize::MAX).unwrap();
    let address = bound.address();
    let (stop, stopped) = watch::channel(false);
    let _run = tasks::local("listener", bound.take().unwrap().run(worker, stopped));
    Bench { address, ledger, live, slots, roster, cache, _stop: stop }
}

/// A server that hands every connection to `serve`.
pub(super) async fn server<F, R>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream, usize) -> R + 'static,
    R: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Rc::new(serve);
    let _accepting = tasks::local("server", async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let serve = Rc::clone(&serve);
            let _one = tasks::local("served", async move { serve(stream, number).await });
        }
    });
    address
}

/// Reads one request with its body; `None` at the end of the connection.
pub(super) async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    loop {
        let mut piece = [0u8; 4096];
        let len = stream.read(&mut piece).await.ok()?;
        if len == 0 {
            return None;
        }
        seen.extend_from_slice(&piece[..len]);
        let text = String::from_utf8_lossy(&seen).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let whole = match length {
            Some(length) => body.len() >= length.parse().unwrap(),
            None if head.contains("chunked") => body.ends_with("0\r\n\r\n"),
            None => true,
        };
        if whole {
            return Some(text);
        }
    }
}

pub(super) async fn good(mut stream: TcpStream) {
    while let Some(text) = request(&mut stream).await {
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// Answers requests in this wrong way.
pub(super) async fn fail(mut stream: TcpStream, failure: &str) {
    while request(&mut stream).await.is_some() {
        let answer = match failure {
            "500" => "HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno",
            "garbage" => "SSH-2.0-nope\r\n\r\n",
            "cut" => "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nno",
            "half" => "HTTP/1.1 200 OK\r\ncontent-le",
            "silent" => std::future::pending().await,
            _ => return,
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
        if failure != "500" {
            return;
        }
    }
}

/// Sends bytes and reads until the connection ends or nothing comes for a while.
pub(super) async fn talk(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    loop {
        let mut piece = vec![0u8; 65_536];
        let read =
            tokio::time::timeout(Duration::from_millis(400), stream.read(&mut piece));
        match read.await {
            Ok(Ok(len)) if len > 0 => all.extend_from_slice(&piece[..len]),
            Ok(_) | Err(_) => return String::from_utf8_lossy(&all).into_owned(),
        }
    }
}

/// Somebody who says nothing for so long, which is what the test is about.
async fn silence(span: Duration) {
    tokio::time::timeout(span, std::future::pending::<()>()).await.unwrap_err();
}

impl Bench {
    /// Puts another table in force, with this in the place of the only route.
    pub(super) fn change(&self, change: impl FnOnce(&Route) -> Route) {
        let table = self.live.load();
        let next = table.with_route(change(&table.routes()[0])).unwrap();
        assert!(self.live.publish(next));
    }

    pub(super) async fn tally(&mut self, slot: usize) -> Tally {
        let slot = self.slots[slot];
        let all = self.ledger.collect().await;
        all.into_iter()
            .find(|(at, _)| *at == slot)
            .map(|(_, tally)| tally)
            .unwrap_or_default()
    }
}

pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(20), test).await.unwrap();
    });
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    run(async {
        let mut bench = bench(server(|stream, _| good(stream)).await, None);
        let one = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
        let two = "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n";
        let got = talk(bench.address, &format!("{one}{two}{one}")).await;
        assert_eq!(got.matches("HTTP/1.1 200 OK").count(), 3, "{got}");
        assert_eq!(got.matches("x-model-version: stable").count(), 3, "{got}");
        assert!(
            got.contains("POST /b HTTP/1.1\r\n") && got.contains("3\r\nxyz\r\n0\r\n\r\n")
        );
        let tally = bench.tally(0).await;
        assert_eq!(tally.outcomes[Class::Success.index()], 3);
        assert_eq!(bench.roster.in_flight(bench.slots[0]), 0);
    });
}

#[test]
fn a_failing_canary_costs_its_callers_nothing() {
    for failure in ["500", "reset", "garbage", "cut", "half", "silent", "refused"] {
        run(async {
            let stable = server(|stream, _| good(stream)).await;
            let bad = server(move |stream, _| fail(stream, failure)).await;
            let dead = "127.0.0.1:1".parse().unwrap();
            let canary = if failure == "refused" { dead } else { bad };
            let mut bench = bench(stable, Some(canary));
            for text in [
                "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                "POST /v1/completions HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
            ] {
                let mut stream = TcpStream::connect(bench.address).await.unwrap();
                stream.write_all(text.as_bytes()).await.unwrap();
                let mut got = String::new();
                stream.read_to_string(&mut got).await.unwrap();
                assert!(got.starts_with("HTTP/1.1 200 OK"), "{failure}: {got}");
                assert!(got.contains("x-switchback-reason: rescue"), "{failure}: {got}");
                assert!(got.contains("x-model-version: stable"), "{failure}: {got}");
                assert!(
                    !text.ends_with("hello") || got.ends_with("hello"),
                    "{failure}: {got}"
                );
            }
            let tally = bench.tally(1).await;
            let failed: u64 = Class::all()
                .filter(|class| class.is_failure())
                .map(|class| tally.outcomes[class.index()])
                .sum();
            assert_eq!((failed, tally.requests(), tally.rescued), (2, 2, 2), "{failure}");
        });
    }
}

#[test]
fn a_used_connection_that_dies_is_nobodys_fault() {
    run(async {
        let stable = server(|mut stream, _| async move {
            // Answers once, then takes the next request and says nothing.
            let Some(_) = request(&mut stream).await else { return };
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await
                .unwrap();
            let _second = request(&mut stream).await;
        })
        .await;
        let mut bench = bench(stable, None);
        let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let got = talk(bench.address, &get.repeat(6)).await;
        assert_eq!(got.matches("HTTP/1.1 200 OK").count(), 6, "{got}");
        let tally = bench.tally(0).await;
        assert_eq!((tally.requests(), tally.outcomes[Class::Success.index()]), (6, 6));
    });
}

#[test]
fn what_callers_may_not_send_is_refused_and_the_proxy_goes_on() {
    run(async {
        let bench = bench(server(|stream, _| good(stream)).await, None);
        for (text, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("CONNECT a:22 HTTP/1.1\r\nHost: a:22\r\n\r\n", 405),
            ("GET http://evil/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
                400,
            ),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n", 413),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nExpect: x\r\nContent-Length: 3\r\n\r\nabc",
                417,
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n",
                400,
            ),
            ("GET / HTTP/1.1\r\nHost: h\r\nA", 408),
            ("BREW\r\n\r\n", 400),
        ] {
            let got = talk(bench.address, text).await;
            assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{text}: {got}");
            assert!(got.contains("proxy-status: switchback; error="), "{text}: {got}");
            let plain = talk(bench.address, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
            assert!(plain.starts_with("HTTP/1.1 200 OK"), "after {text}: {plain}");
        }
    });
}

#[test]
fn leave_to_send_comes_before_the_body() {
    run(async {
        let bench = bench(server(|stream, _| good(stream)).await, None);
        let head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut piece = [0u8; 4096];
        let len = stream.read(&mut piece).await.unwrap();
        assert_eq!(&piece[..len], b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"abc").await.unwrap();
        let len = stream.read(&mut piece).await.unwrap();
        let got = String::from_utf8_lossy(&piece[..len]).into_owned();
        assert!(got.starts_with("HTTP/1.1 200 OK") && got.ends_with("abc"), "{got}");
        assert!(!got.contains("expect"), "{got}");
    });
}

#[test]
fn a_cut_answer_stays_cut_and_a_caller_that_leaves_is_no_failure() {
    run(async {
        let stable = server(|mut stream, _| async move {
            let Some(text) = request(&mut stream).await else { return };
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            if text.contains("/wait") {
                let mut end = [0u8; 1];
                let _gone = stream.read(&mut end).await;
            }
        })
        .await;
        let mut bench = bench(stable, None);
        let got = talk(bench.address, "GET /cut HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(got.ends_with("2\r\nab\r\n"), "{got}");
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        let mut piece = [0u8; 4096];
        let mut seen = String::new();
        while !seen.ends_with("ab\r\n") {
            let len = stream.read(&mut piece).await.unwrap();
            seen.push_str(&String::from_utf8_lossy(&piece[..len]));
        }
        drop(stream);
        while bench.roster.in_flight(bench.slots[0]) > 0 {
            tokio::task::yield_now().await;
        }
        let tally = bench.tally(0).await;
        assert_eq!(tally.outcomes[Class::Truncated.index()], 1);
        assert_eq!(tally.outcomes[Class::ClientCancelled.index()], 1);
        assert_eq!(tally.requests(), 2);
    });
}

/// An HTTP/2 server that reads each request to its end and then answers with its length.
pub(super) async fn http2_server() -> SocketAddr {
    server(|stream, _| async move {
        let service =
            hyper::service::service_fn(|request: http::Request<_>| async move {
                let body: hyper::body::Incoming = request.into_body();
                let body = http_body_util::BodyExt::collect(body).await?.to_bytes();
                let answer = bytes::Bytes::from(body.len().to_string());
                Ok::<_, hyper::Error>(http::Response::new(http_body_util::Full::new(
                    answer,
                )))
            });
        let io = hyper_util::rt::TokioIo::new(stream);
        let _ended =
            hyper::server::conn::http2::Builder::new(crate::upstream::LocalExecutor)
                .serve_connection(io, service)
                .await;
    })
    .await
}

#[test]
fn a_server_that_takes_nothing_of_an_upload_is_given_up_and_blamed() {
    run(async {
        let stuck = server(|stream, _| async move {
            std::future::pending::<()>().await;
            drop(stream);
        })
        .await;
        let mut bench = bench(stuck, None);
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        let length = 8 << 20;
        let head =
            format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let _sending = tasks::local("upload", async move {
            let _cut = writer.write_all(&vec![b'x'; length]).await;
        });
        let mut got = [0u8; 12];
        reader.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"HTTP/1.1 504");
        assert_eq!(bench.tally(0).await.outcomes[Class::TimeoutIdle.index()], 1);
    });
}

#[test]
fn a_callers_fault_is_never_the_fault_of_an_http2_version() {
    run(async {
        let mut bench = bench_by(HTTP2, http2_server().await, None);
        let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        let got = talk(bench.address, &format!("{chunked}3\r\nabc\r\nzz\r\n")).await;
        assert!(got.starts_with("HTTP/1.1 400 "), "{got}");
        let good = talk(bench.address, &format!("{chunked}3\r\nabc\r\n0\r\n\r\n")).await;
        assert!(
            good.starts_with("HTTP/1.1 200 OK") && good.ends_with("\r\n\r\n3"),
            "{good}"
        );
        assert_eq!(good.matches("content-length").count(), 1, "{good}");
        let tally = bench.tally(0).await;
        let failures: u64 = Class::all()
            .filter(|class| class.is_failure())
            .map(|class| tally.outcomes[class.index()])
            .sum();
        assert_eq!((failures, tally.outcomes[Class::Success.index()]), (0, 1));
    });
}

#[test]
fn an_answer_without_length_ends_with_an_http_1_0_connection() {
    run(async {
        let stable = server(|mut stream, _| async move {
            while request(&mut stream).await.is_some() {
                let answer =
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await;
        let bench = bench(stable, None);
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        let get = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        stream.write_all(get.as_bytes()).await.unwrap();
        let mut got = String::new();
        let end = stream.read_to_string(&mut got);
        tokio::time::timeout(Duration::from_secs(3), end).await.unwrap().unwrap();
        assert!(
            got.contains("connection: close") && got.ends_with("\r\n\r\nok"),
            "{got}"
        );
    });
}

#[test]
fn who_waits_for_a_connection_is_not_forgotten_when_another_leaves() {
    run(async {
        let stable = server(|mut stream, _| async move {
            while let Some(text) = request(&mut stream).await {
                if text.starts_with("GET /slow") {
                    silence(Duration::from_millis(300)).await;
                }
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await;
        let one = Way { max_connections: 1, ..HTTP1 };
        let bench = bench_by(one, stable, None);
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut first = TcpStream::connect(bench.address).await.unwrap();
        first.write_all(get("/slow").as_bytes()).await.unwrap();
        let flying = |count: u64| {
            let (roster, slot) = (bench.roster.clone(), bench.slots[0]);
            async move {
                while roster.in_flight(slot) != count {
                    tokio::task::yield_now().await;
                }
            }
        };
        flying(1).await;
        let mut leaver = TcpStream::connect(bench.address).await.unwrap();
        leaver.write_all(get("/leaver").as_bytes()).await.unwrap();
        flying(2).await;
        let mut last = TcpStream::connect(bench.address).await.unwrap();
        last.write_all(get("/last").as_bytes()).await.unwrap();
        flying(3).await;
        drop(leaver);
        flying(2).await;
        let mut got = [0u8; 12];
        last.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"HTTP/1.1 200");
    });
}

#[test]
fn a_caller_that_sends_too_much_can_still_read_why() {
    run(async {
        let bench = bench(server(|stream, _| good(stream)).await, None);
        let stream = TcpStream::connect(bench.address).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let _sending = tasks::local("upload", async move {
            let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000000\r\n\r\n";
            let _sent = writer.write_all(head.as_bytes()).await;
            let _cut = writer.write_all(&vec![b'x'; 20_000_000]).await;
        });
        let mut got = String::new();
        reader.read_to_string(&mut got).await.unwrap();
        assert!(got.starts_with("HTTP/1.1 413 "), "{got}");
    });
}

#[test]
fn only_what_the_coin_placed_is_judged_and_a_rescue_is_not() {
    run(async {
        let stable = server(|stream, _| good(stream)).await;
        let canary = server(|stream, _| fail(stream, "reset")).await;
        let mut bench = bench(stable, Some(canary));
        let ask = |more: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{more}\r\n");
        talk(bench.address, &ask("").repeat(2)).await;
        talk(bench.address, &ask("canary: canary\r\n").repeat(3)).await;
        let slots = bench.slots.clone();
        let all = bench.ledger.collect().await;
        let of = |slot| &all.iter().find(|(at, _)| *at == slot).unwrap().1;
        let (stable, canary) = (of(slots[0]), of(slots[1]));
        assert_eq!((canary.requests(), canary.rescued, canary.unjudged), (5, 5, 0));
        assert_eq!((stable.requests(), stable.sums.len()), (5, 0));
        let [(_, sums)] = &canary.sums[..] else { panic!("{:?}", canary.sums) };
        let cell = &sums.cells[0];
        assert_eq!((sums.opened, cell.known, cell.bad, cell.good()), (2, 2, 2, 0));
        assert_eq!(sums.refused.run(), 2);
    });
}

#[test]
fn a_reset_within_the_head_has_reached_the_version() {
    run(async {
        let stable = server(|stream, _| good(stream)).await;
        let canary = server(|stream, _| fail(stream, "half")).await;
        let mut bench = bench(stable, Some(canary));
        talk(bench.address, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let tally = bench.tally(1).await;
        assert_eq!(tally.outcomes[Class::UpstreamReset.index()], 1);
        let (_, sums) = &tally.sums[0];
        assert_eq!((sums.cells[0].bad, sums.refused.longest), (1, 0));
    });
}

#[test]
fn a_hang_is_noticed_while_it_hangs() {
    for way in [HTTP1, HTTP2] {
        run(async {
            let hang = server(|stream, _| async move {
                std::future::pending::<()>().await;
                drop(stream);
            })
            .await;
            let mut bench = bench_by(way, hang, None);
            bench.roster.set_deadline(bench.slots[0], 20_000);
            let mut stream = TcpStream::connect(bench.address).await.unwrap();
            let begun = clock::now();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
            let sums = loop {
                let tally = bench.tally(0).await;
                match tally.sums.into_iter().next() {
                    Some((_, sums)) if !sums.cells.is_empty() => break sums,
                    Some(_) | None => tokio::task::yield_now().await,
                }
            };
            assert!(clock::now() - begun >= Duration::from_millis(20));
            assert_eq!((sums.cells[0].slow, sums.cells[0].known), ([1, 0], 0));
            assert_eq!(sums.stalled.run(), 1);
            assert_eq!(bench.roster.in_flight(bench.slots[0]), 1);
        });
    }
}

#[test]
fn a_slow_upload_makes_no_version_slow() {
    for way in [HTTP1, HTTP2] {
        run(async {
            let stable = match way.protocol {
                Protocol::Auto | Protocol::Http1 => {
                    server(|stream, _| good(stream)).await
                }
                Protocol::Http2 => http2_server().await,
            };
            let mut bench = bench_by(way, stable, None);
            bench.roster.set_deadline(bench.slots[0], 100_000);
            let mut stream = TcpStream::connect(bench.address).await.unwrap();
            let head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n";
            stream.write_all(head).await.unwrap();
            for piece in [b"ab", b"cd", b"ef"] {
                silence(Duration::from_millis(200)).await;
                stream.write_all(piece).await.unwrap();
            }
            let mut got = [0u8; 12];
            stream.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"HTTP/1.1 200");
            drop(stream);
            while bench.roster.in_flight(bench.slots[0]) > 0 {
                tokio::task::yield_now().await;
            }
            let tally = bench.tally(0).await;
            let cell = &tally.sums[0].1.cells[0];
            assert_eq!((cell.known, cell.good(), cell.slow), (1, 1, [0, 0]));
        });
    }
}

#[test]
fn above_its_bound_stable_refuses_at_once_and_says_when_to_come_again() {
    run(async {
        let hang = |stream: TcpStream, _| async move {
            let mut stream = stream;
            let _asked = request(&mut stream).await;
            std::future::pending::<()>().await;
        };
        let bad = server(|stream, _| fail(stream, "reset")).await;
        let two = Way { max_in_flight: 2, ..HTTP1 };
        let mut bench = bench_by(two, server(hang).await, Some(bad));
        bench.change(|route| {
            let canary = route.versions()[1].name.clone();
            route.with_weight(&canary, Percent::ZERO).unwrap()
        });
        let mut held = Vec::new();
        for count in 1..=2 {
            let mut stream = TcpStream::connect(bench.address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
            held.push(stream);
            while bench.roster.in_flight(bench.slots[0]) != count {
                tokio::task::yield_now().await;
            }
        }
        // Its own requests, and those that it would answer for a canary.
        for (more, reason) in [("", "split"), ("canary: canary\r\n", "rescue")] {
            let begun = clock::now();
            let ask =
                format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{more}\r\n");
            let got = talk(bench.address, &ask).await;
            assert!(got.starts_with("HTTP/1.1 503 "), "{got}");
            assert!(got.contains("retry-after: 1\r\n"), "{got}");
            assert!(got.contains("error=connection_limit_reached"), "{got}");
            assert!(got.contains(&format!("x-switchback-reason: {reason}\r\n")), "{got}");
            assert!(clock::now() - begun < Duration::from_millis(900), "it waited");
        }
        assert_eq!(bench.roster.in_flight(bench.slots[0]), 2);
        let tally = bench.tally(0).await;
        assert_eq!(tally.outcomes[Class::Rejected.index()], 2);
        // Room again, once one of them leaves: the next is asked and hangs like the others.
        drop(held.pop());
        while bench.roster.in_flight(bench.slots[0]) != 1 {
            tokio::task::yield_now().await;
        }
        let got = talk(bench.address, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(!got.contains("connection_limit_reached"), "{got}");
    });
}

#[test]
fn a_few_failures_leave_samples_without_anything_private() {
    for (failure, class, status) in [
        ("500", Class::ServerError, Some(500)),
        ("reset", Class::UpstreamReset, None),
        ("garbage", Class::ProtocolError, None),
        ("cut", Class::Truncated, Some(200)),
        ("refused", Class::ConnectError, None),
    ] {
        run(async {
            let bad = server(move |stream, _| fail(stream, failure)).await;
            let dead = "127.0.0.1:1".parse().unwrap();
            let address: SocketAddr = if failure == "refused" { dead } else { bad };
            let mut bench = bench(address, None);
            let ask = "POST /v1/completions?key=sk-secret HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Request-Id: r-7\r\nAuthorization: Bearer sk-secret\r\nContent-Type: application/json; charset=sk-secret\r\nUser-Agent: sk-secret\r\nContent-Length: 9\r\n\r\nsk-secret";
            for _ in 0..20 {
                talk(bench.address, ask).await;
            }
            let tally = bench.tally(0).await;
            assert_eq!(tally.outcomes[class.index()], 20, "{failure}");
            let samples = &tally.samples;
            assert_eq!((samples.kept().len(), samples.left_out()), (16, 4), "{failure}");
            let one = &samples.kept()[0];
            assert_eq!((one.class, one.status), (class, status), "{failure}");
            assert_eq!(one.endpoint, format!("http://{address}"), "{failure}");
            assert_eq!(
                (one.method.as_str(), one.path.as_str()),
                ("POST", "/v1/completions")
            );
            assert_eq!(one.request_id, "r-7");
            assert!(one.latency_us < 5_000_000, "{failure}: {}", one.latency_us);
            let json = ("request content-type".to_owned(), "application/json".to_owned());
            assert_eq!(one.headers.contains(&json), failure != "cut", "{one:?}");
            assert!(!format!("{samples:?}").contains("secret"), "{failure}: {samples:?}");
        });
    }
}

#[test]
fn a_rescued_failure_leaves_a_sample_and_what_goes_well_leaves_none() {
    run(async {
        let stable = server(|stream, _| good(stream)).await;
        let canary = server(|stream, _| fail(stream, "500")).await;
        let mut bench = bench(stable, Some(canary));
        talk(bench.address, &"GET /x HTTP/1.1\r\nHost: h\r\n\r\n".repeat(3)).await;
        // Nor does a caller that is refused.
        talk(bench.address, "GET /x HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n").await;
        let slots = bench.slots.clone();
        let all = bench.ledger.collect().await;
        let kept = |slot| {
            let (_, tally) = all.iter().find(|(at, _)| *at == slot).unwrap();
            tally.samples.kept().len()
        };
        assert_eq!((kept(slots[0]), kept(slots[1])), (0, 3));
    });
}
