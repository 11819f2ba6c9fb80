//! Given callers of every protocol, when weights change every second and servers are killed
//! and come back, then whatever fails was on its way to a killed server and could not be sent
//! again, and memory stays flat.
//!
//! `SWITCHBACK_TEST_SOAK` is the number of requests: ten millions are as many as in a week.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::grpc::server::{self, Deed, GrpcServer};
use crate::support::client::{Answer, Client, Request};
use crate::support::config::{Config, NO_RULES, Route};
use crate::support::h2::H2Client;
use crate::support::http1::Broken;
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::streams::{self, CHAT};
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

/// Ten millions in a soak; few by default, so that the suite stays quick.
fn requests() -> u64 {
    std::env::var("SWITCHBACK_TEST_SOAK").map_or(20_000, |n| n.parse().unwrap())
}

/// How often a server is killed.
fn outage_every() -> Duration {
    let millis = std::env::var("SWITCHBACK_TEST_OUTAGE_MS");
    Duration::from_millis(millis.map_or(2_000, |n| n.parse().unwrap()))
}

/// Does what a request's path says: a chat, a WebSocket, or the body back.
fn serves(model: &'static str) -> Script {
    let chat = streams::chat(model).script();
    let name = format!("x-served-by: {model}\r\n");
    Arc::new(move |ask, line| {
        if ask.head.field("upgrade").is_some() {
            line.send(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                 connection: upgrade\r\n\
                 sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
            while let Ok(bytes) = line.pipe.some() {
                if !line.send(bytes) {
                    break;
                }
            }
            return Then::Close;
        }
        if ask.target() == CHAT {
            return chat(ask, line);
        }
        match line.body() {
            Ok(body) => line.reply(200, &name, body),
            Err(_) => Then::Close,
        }
    })
}

/// Servers of both kinds, two for each version; a gRPC server that is down is `None`.
struct Cast {
    plain: [ModelServer; 4],
    grpc: [Mutex<Option<GrpcServer>>; 4],
    places: [SocketAddr; 4],
}

impl Cast {
    fn new() -> Self {
        let plain = ["v1", "v1", "v2", "v2"].map(|name| ModelServer::new(serves(name)));
        let grpc = [(); 4].map(|()| GrpcServer::new(Deed::Serves));
        let places = grpc.each_ref().map(|server| server.address);
        Self { plain, grpc: grpc.map(|server| Mutex::new(Some(server))), places }
    }

    fn config(&self) -> Config {
        let plain = self.plain.each_ref().map(ModelServer::url);
        let grpc = self.places.map(|place| format!("http://{place}"));
        let route = |name: &str, urls: &[String; 4]| {
            Route::new(name)
                .version("v1", "role: stable", &urls[..2])
                .version("v2", "role: canary, weight: 10%", &urls[2..])
                .with(NO_RULES)
        };
        Config::new([
            route("rest", &plain).with("pin: { header: x-model-pin, allowed: [v1, v2] }"),
            route("session", &plain)
                .with("match: { pathPrefix: /session }")
                .with("sessionAffinity: { by: cookie }"),
            route("cached", &plain)
                .with("match: { pathPrefix: /v2/models }")
                .with("fallback: { cache: { enabled: true } }"),
            route("calls", &grpc)
                .with("match: { pathPrefix: /inference.GRPCInferenceService }")
                .with("dialect: grpc"),
            route("methods", &grpc)
                .with("match: { pathPrefix: /test.Service }")
                .with("dialect: grpc"),
        ])
        .workers(2)
        .listener("trustForwardedFrom: [127.0.0.0/8]")
    }

    /// Kills one after the other, never two of a version, and brings each back.
    fn outages(&self, scene: &Scene) {
        // Between two of the same version there are three others.
        for turn in [0, 2, 4, 6, 1, 3, 5, 7].into_iter().cycle() {
            if scene.waits(outage_every()) {
                return;
            }
            let (place, is_grpc) = (turn % 4, turn >= 4);
            let begun = Instant::now();
            scene.outages.lock().unwrap().push((begun, None));
            if is_grpc {
                drop(self.grpc[place].lock().unwrap().take());
            } else {
                self.plain[place].kill();
            }
            if let Some(last) = scene.outages.lock().unwrap().last_mut() {
                last.1 = Some(Instant::now());
            }
            let over = scene.waits(OUTAGE);
            if is_grpc {
                let back = GrpcServer::at(self.places[place], Deed::Serves);
                *self.grpc[place].lock().unwrap() = Some(back);
            } else {
                self.plain[place].come_back();
            }
            if over {
                return;
            }
        }
    }
}

/// What callers, operators and servers share.
struct Scene {
    http: SocketAddr,
    admin: SocketAddr,
    sent: AtomicU64,
    over: AtomicBool,
    /// When servers began to die and when they were gone.
    outages: Mutex<Vec<(Instant, Option<Instant>)>>,
    /// Good answers by kind.
    good: Mutex<BTreeMap<&'static str, u64>>,
    explained: AtomicU64,
    unexplained: Mutex<Vec<String>>,
}

/// What callers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Infer,
    Train,
    Chat,
    WebSocket,
    Http2,
    Call,
    Stream,
    Session,
    Pinned,
}

impl Kind {
    /// Whether it can be lost with a server: it must not be done twice, or it had begun.
    fn may_fail(self) -> bool {
        matches!(self, Self::Train | Self::Chat | Self::WebSocket | Self::Stream)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Infer => "POST with a cache",
            Self::Train => "POST in chunks",
            Self::Chat => "stream of events",
            Self::WebSocket => "WebSocket",
            Self::Http2 => "HTTP/2",
            Self::Call => "gRPC",
            Self::Stream => "gRPC stream",
            Self::Session => "session",
            Self::Pinned => "pin",
        }
    }
}

impl Scene {
    /// Waits for so long; whether it is over.
    fn waits(&self, span: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < span && !self.is_over() {
            wait::linger(Duration::from_millis(10));
        }
        self.is_over()
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// A caller's work.
    fn calls(&self, kind: Kind, number: u64) {
        let mut caller = Caller { kind, scene: self, line: None, h2: None, cookie: None };
        let mut turn = 0;
        while !self.is_over() {
            let count = if matches!(kind, Kind::Http2 | Kind::Call) { BATCH } else { 1 };
            self.sent.fetch_add(count, Ordering::Relaxed);
            let begun = Instant::now();
            let done = caller.asks(number * 1_000_000_000 + turn);
            turn += 1;
            match done {
                Ok(()) => {
                    let mut good = self.good.lock().unwrap();
                    *good.entry(kind.name()).or_default() += count;
                }
                Err(what) => {
                    (caller.line, caller.h2) = (None, None);
                    self.failed(kind, begun, &what);
                }
            }
        }
    }

    fn failed(&self, kind: Kind, begun: Instant, what: &str) {
        let now = Instant::now();
        let outages = self.outages.lock().unwrap();
        let near = |(from, gone): &(Instant, Option<Instant>)| {
            *from <= now && gone.is_none_or(|gone| begun <= gone + NOTICED)
        };
        if kind.may_fail() && outages.iter().rev().take(3).any(near) {
            self.explained.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let since = outages.last().map(|(from, _)| now - *from);
        let mut all = self.unexplained.lock().unwrap();
        if all.len() < 20 {
            let span = now - begun;
            all.push(format!(
                "{}: {what}, after {span:?}, {since:?} after a kill",
                kind.name()
            ));
        }
    }

    /// Changes a weight of every route each second.
    fn operates(&self) -> u64 {
        let (mut line, mut swaps) = (Client::new(self.admin), 0);
        while !self.waits(Duration::from_secs(1)) {
            for route in ["rest", "session", "cached", "calls", "methods"] {
                let weight = 5.0 + (swaps * 17 % 90) as f64;
                let answer = line.ask(&Street::weight_order(route, "v2", weight));
                assert_eq!(answer.status, 200, "{}", answer.text());
                swaps += 1;
            }
        }
        swaps
    }
}

/// A caller and the connections that it keeps.
struct Caller<'a> {
    kind: Kind,
    scene: &'a Scene,
    line: Option<Client>,
    h2: Option<H2Client>,
    cookie: Option<String>,
}

type Done = Result<(), String>;

impl Caller<'_> {
    fn asks(&mut self, id: u64) -> Done {
        let body = format!("{{\"inputs\":[{id}]}}");
        match self.kind {
            Kind::Get => self.same(&Request::get("/plain"), "").map(drop),
            Kind::Infer => self
                .same(&Request::infer(format!("{{\"inputs\":[{}]}}", id % 100)), "")
                .map(drop),
            Kind::Train => self.train(&body),
            Kind::Chat => self.chat(),
            Kind::WebSocket => self.web_socket(),
            Kind::Http2 => self.http2(),
            Kind::Call | Kind::Stream => self.grpc(body.as_bytes()),
            Kind::Session => self.session(),
            Kind::Pinned => {
                let pin = if id.is_multiple_of(2) { "v1" } else { "v2" };
                let request = Request::get("/plain").field("x-model-pin", pin);
                self.same(&request, pin).map(drop)
            }
        }
    }

    /// Sends bytes on the connection that is kept and takes a whole answer.
    fn exchange(&mut self, bytes: &[u8]) -> Result<Answer, String> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => {
                Client::try_new(self.scene.http).map_err(|error| error.to_string())?
            }
        };
        let answer = line.send(bytes).answer();
        let answer = answer.map_err(|broken: Broken| format!("{broken:?}"))?;
        if answer.status != 200 || !answer.is_whole() {
            let head = answer.head.raw.escape_ascii();
            return Err(format!("{head} {} {:?}", answer.text(), answer.end));
        }
        if answer.field("connection") != "close" {
            self.line = Some(line);
        }
        Ok(answer)
    }

    /// The answer is the one to this request, and from that version if one is demanded.
    fn same(&mut self, request: &Request, version: &str) -> Result<Answer, String> {
        let bytes = request.bytes();
        let answer = self.exchange(&bytes)?;
        let reason = answer.field("x-switchback-reason");
        let (said, served) = (answer.version(), answer.field("x-served-by"));
        if !bytes.ends_with(&answer.body) || said != served {
            return Err(format!("another answer: {}", answer.head.raw.escape_ascii()));
        }
        // Whoever demands a canary that fails is answered by stable, and told so.
        if !version.is_empty() && said != version && reason != "rescue" {
            return Err(format!("{said} in place of {version}"));
        }
        Ok(answer)
    }

    fn train(&mut self, body: &str) -> Done {
        let (first, second) = body.split_at(4);
        let bytes = format!(
            "POST /train HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n\
             {:x}\r\n{first}\r\n{:x};a=b\r\n{second}\r\n0\r\n\r\n",
            first.len(),
            second.len()
        );
        let answer = self.exchange(bytes.as_bytes())?;
        if answer.text() == body { Ok(()) } else { Err(answer.text()) }
    }

    fn chat(&mut self) -> Done {
        let answer = self.exchange(&Request::post(CHAT, "{\"stream\":true}").bytes())?;
        let expected = streams::chat(&answer.version()).bytes();
        if answer.body == expected { Ok(()) } else { Err(answer.text()) }
    }

    fn session(&mut self) -> Done {
        let cookie = self.cookie.clone().unwrap_or_default();
        let request = Request::get("/session").field("cookie", &format!("a=b{cookie}"));
        let given = self.same(&request, "")?.field("set-cookie");
        if given.is_empty() && self.cookie.is_some() {
            return Ok(());
        }
        let pair = given.split(';').next().unwrap_or_default();
        match self.cookie.replace(format!("; {pair}")) {
            None => Ok(()),
            Some(before) => Err(format!("a new session after {before}: {given}")),
        }
    }

    fn web_socket(&mut self) -> Done {
        let mut line =
            Client::try_new(self.scene.http).map_err(|error| error.to_string())?;
        let request = Request::get("/socket")
            .field("connection", "Upgrade")
            .field("upgrade", "websocket")
            .field("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .field("sec-websocket-version", "13");
        line.send(request.bytes());
        let (status, head) = line.head().map_err(|broken| format!("{broken:?}"))?;
        if status != 101 {
            return Err(head.raw.escape_ascii().to_string());
        }
        // Three words and a goodbye, each of which comes back.
        let word = b"\x82\x85\0\0\0\0hello";
        for frame in [&word[..], word, word, b"\x88\x82\0\0\0\0\x03\xe8"] {
            line.send(frame);
            let mut back = Vec::new();
            while back.len() < frame.len() {
                back.extend(line.pipe.some().map_err(|broken| format!("{broken:?}"))?);
            }
            if back != frame {
                return Err(format!("{} came back", back.escape_ascii()));
            }
        }
        Ok(())
    }

    fn h2(&mut self) -> &mut H2Client {
        self.h2.get_or_insert_with(|| H2Client::new(self.scene.http))
    }

    fn http2(&mut self) -> Done {
        let request = || http::Request::get("http://models.test/plain").body(()).unwrap();
        let all = (0..BATCH).map(|_| (request(), Vec::new(), None)).collect();
        for answer in self.h2().ask_all(all) {
            let answer = answer.map_err(|error| error.to_string())?;
            let served = answer.field("x-served-by");
            if answer.status() != 200 || served != answer.field("x-model-version") {
                return Err(format!("{:?}", answer.head));
            }
        }
        Ok(())
    }

    fn grpc(&mut self, body: &[u8]) -> Done {
        let message = server::message(body);
        let (path, count, sent) = if self.kind == Kind::Stream {
            (server::OTHER, 1, message.repeat(5))
        } else {
            (server::INFER, BATCH, message)
        };
        let call = || (server::call(path, &[]), sent.clone(), None);
        let all = (0..count).map(|_| call()).collect();
        for answer in self.h2().ask_all(all) {
            let answer = answer.map_err(|error| error.to_string())?;
            if server::status(&answer) != Some(0) || answer.body != sent {
                return Err(format!("{:?} {:?}", answer.head, answer.trailer));
            }
        }
        Ok(())
    }
}

#[test]
fn nothing_fails_unexplained_and_memory_is_flat() {
    let cast = Cast::new();
    let street = Street::open(&cast.config());
    let scene = Scene {
        http: street.http,
        admin: street.admin,
        sent: AtomicU64::new(0),
        over: AtomicBool::new(false),
        outages: Mutex::default(),
        good: Mutex::default(),
        explained: AtomicU64::new(0),
        unexplained: Mutex::default(),
    };
    let begun = Instant::now();
    let (swaps, memory) = std::thread::scope(|scope| {
        for (number, kind) in (0..).zip(CALLERS) {
            let scene = &scene;
            scope.spawn(move || scene.calls(*kind, number));
        }
        scope.spawn(|| cast.outages(&scene));
        let operator = scope.spawn(|| scene.operates());
        let memory = [10, 50, 100].map(|percent| {
            let reached = || scene.sent.load(Ordering::Relaxed) * 100 / requests();
            let failed = || !scene.unexplained.lock().unwrap().is_empty();
            while reached() < percent && !failed() {
                wait::linger(Duration::from_millis(20));
            }
            street.rss()
        });
        scene.over.store(true, Ordering::SeqCst);
        (operator.join().unwrap(), memory)
    });
    let (sent, span) = (scene.sent.into_inner(), begun.elapsed());
    let (outages, explained) = (scene.outages.into_inner().unwrap(), scene.explained);
    eprintln!(
        "{sent} requests in {span:?}, {swaps} swaps, {} kills, {explained:?} lost to them, \
         {:?}; KiB at 10, 50 and 100 %: {:?}",
        outages.len(),
        scene.good.into_inner().unwrap(),
        memory.map(|bytes| bytes / 1024)
    );
    let unexplained = scene.unexplained.into_inner().unwrap();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    // Those on their way when a server dies, and no more.
    let most = outages.len() as u64 * CALLERS.len() as u64;
    assert!(explained.into_inner() <= most, "more than {most} lost");
    let [_, half, end] = memory;
    assert!(end < half + 16 * 1024 * 1024, "{half} bytes grew to {end}");
    for server in &cast.plain {
        assert!(server.faults().is_empty(), "{:?}", server.faults());
    }
    wait::eventually("nothing is in flight", SOON, || {
        let status = street.status();
        let routes = status["routes"].as_array().unwrap().iter();
        let mut all = routes.flat_map(|route| route["versions"].as_array().unwrap());
        all.all(|version| version["in_flight"] == 0).then_some(())
    });
    street.is_well();
}

/// Who asks for what.
const CALLERS: &[Kind] = &[
    Kind::Get,
    Kind::Get,
    Kind::Infer,
    Kind::Infer,
    Kind::Train,
    Kind::Train,
    Kind::Chat,
    Kind::WebSocket,
    Kind::Http2,
    Kind::Call,
    Kind::Stream,
    Kind::Session,
    Kind::Pinned,
];
/// Requests at once on one connection of HTTP/2.
const BATCH: u64 = 8;
const OUTAGE: Duration = Duration::from_millis(500);
/// How long a proxy on a full machine may take to see that a server is gone.
const NOTICED: Duration = Duration::from_millis(500);
