//! Slow connections of all kinds at once, from many addresses, in the clear and over TLS:
//! each is gone in 15 s, costs at most 64 KiB, and honest callers beside them notice nothing,
//! those least who take their time for a reason. (rows 19 to 21)
//!
//! In a plain run there are a few of each kind, and the bounds are those of a full machine.
//! `SWITCHBACK_TEST_SLOW=2000` says how many there are to be, on a quiet machine and against
//! the bounds above: that takes some 6,000 file descriptors.
//! `SWITCHBACK_TEST_BINARY` names another program than the one that was built for the tests.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::client::{Client, Request};
use crate::support::config::Config;
use crate::support::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, WINDOW_UPDATE,
    block, frame, get,
};
use crate::support::model_server::{ModelServer, Then};
use crate::support::street::Street;
use crate::support::tls::{Authority, Shaken, shake};
use crate::support::wait;

/// How a caller begins, what it goes on to send and how often, and how much it takes of what
/// it is sent in a quarter of a second.
struct Kind {
    name: &'static str,
    begins: fn() -> Vec<u8>,
    drips: fn() -> Vec<u8>,
    every: Duration,
    reads: usize,
    speaks: Speaks,
}

/// What is spoken over TLS, if that is got through with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
    /// Not even TLS where it should be.
    Nothing,
}

const NOTHING: fn() -> Vec<u8> = Vec::new;
const MUCH: usize = 32 * 1024;

fn kinds() -> Vec<Kind> {
    let every = Duration::from_millis(250);
    let kind = |name, begins, drips, reads, speaks| Kind {
        name,
        begins,
        drips,
        every,
        reads,
        speaks,
    };
    let second = |kind| Kind { every: Duration::from_secs(1), ..kind };
    let h1 = |name, begins, drips| kind(name, begins, drips, MUCH, Speaks::Http1);
    let h2 = |name, begins, drips| kind(name, begins, drips, MUCH, Speaks::Http2);
    let takes = |name, begins, reads| kind(name, begins, NOTHING, reads, Speaks::Http1);
    vec![
        h1("says nothing", NOTHING, NOTHING),
        h1("a head in drips", || begun("x: "), || b"a".to_vec()),
        h1("a head in lines", || begun(""), || b"x: y\r\n".to_vec()),
        second(h1("empty lines", NOTHING, || b"\r\n".to_vec())),
        h1("a body in drips", || post("content-length: 100000"), || b"a".to_vec()),
        h1("a small body that stops", || post("content-length: 9"), NOTHING),
        h1("chunks in drips", || chunked(""), || b"1\r\na\r\n".to_vec()),
        h1("a chunk's size in drips", || chunked("5;"), || b"a".to_vec()),
        second(h1("a trailer in drips", || chunked("0\r\nx: "), || b"a".to_vec())),
        h1(
            "waits for leave",
            || post("expect: 100-continue\r\ncontent-length: 9"),
            NOTHING,
        ),
        takes("takes 16 bytes at a time", || ask("/large"), 16),
        takes("takes nothing", || ask("/large"), 0),
        takes("asks much and takes nothing", || ask("/mid").repeat(40), 0),
        kind("half a preface", || b"PRI * HT".to_vec(), NOTHING, MUCH, Speaks::Http1),
        h2("a connection and no request", || preface(65_535), NOTHING),
        second(h2("pings", || preface(65_535), || frame(PING, 0, 0, &[0; 8]))),
        h2(
            "a head without end",
            || [preface(9), head(1, 1)].concat(),
            || frame(CONTINUATION, 0, 1, &block(&[("x", "y")])),
        ),
        h2("a frame byte by byte", || [opens(9, 1, "/ok"), part()].concat(), || vec![0]),
        h2(
            "a body in frames of a byte",
            || [preface(9), head(1, 4)].concat(),
            || frame(DATA, 0, 1, b"a"),
        ),
        h2("a body that stops", || [preface(9), head(1, 4)].concat(), NOTHING),
        h2("no window", || opens(0, 1, "/large"), NOTHING),
        h2("a window that is never updated", || opens(65_535, 1, "/large"), NOTHING),
        h2(
            "a window of 16 bytes",
            || opens(16, 1, "/large"),
            || frame(WINDOW_UPDATE, 0, 1, &16_u32.to_be_bytes()),
        ),
        h2("twenty streams and no window", || opens(1, 20, "/large"), NOTHING),
        kind("twenty streams unread", || wide(20), NOTHING, 0, Speaks::Http2),
        kind("twenty streams in sips", || wide(20), NOTHING, 16, Speaks::Http2),
        kind("a handshake that stops", || hello(1), NOTHING, MUCH, Speaks::Nothing),
        kind("a handshake in drips", || hello(6), || vec![0], MUCH, Speaks::Nothing),
    ]
}

fn ask(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: m\r\n\r\n").into_bytes()
}

fn begun(more: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nhost: m\r\n{more}").into_bytes()
}

fn post(framing: &str) -> Vec<u8> {
    format!("POST /t HTTP/1.1\r\nhost: m\r\n{framing}\r\n\r\n").into_bytes()
}

fn chunked(more: &str) -> Vec<u8> {
    [post("transfer-encoding: chunked"), more.as_bytes().to_vec()].concat()
}

fn hello(length: usize) -> Vec<u8> {
    [0x16, 3, 1, 2, 0, 1][..length].to_vec()
}

fn preface(window: u32) -> Vec<u8> {
    let [a, b, c, d] = window.to_be_bytes();
    let settings = frame(SETTINGS, 0, 0, &[0, 4, a, b, c, d]);
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), settings].concat()
}

/// The head of a stream that goes on.
fn head(stream: u32, flags: u8) -> Vec<u8> {
    let mut fields = get("/t", &[]);
    fields[0] = (":method", "POST");
    // Without its end where only the stream's end is told.
    frame(HEADERS, flags, stream, &block(&fields))
}

fn part() -> Vec<u8> {
    vec![0, 1, 0, HEADERS, 0, 0, 0, 0, 99]
}

fn opens(window: u32, streams: u32, path: &str) -> Vec<u8> {
    let ends = END_HEADERS | END_STREAM;
    let stream = |n| frame(HEADERS, ends, n * 2 + 1, &block(&get(path, &[])));
    (0..streams).map(stream).fold(preface(window), |all, one| [all, one].concat())
}

fn wide(streams: u32) -> Vec<u8> {
    let room = frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 24).to_be_bytes());
    [opens(1 << 24, streams, "/large"), room].concat()
}

/// One of them.
struct Slow {
    kind: usize,
    line: Wire,
    begun: Instant,
    next: Instant,
    /// When it was last seen to be there: on a full machine it is not looked at for seconds.
    seen: Instant,
    /// How long it is known to have lasted.
    lasted: Option<Duration>,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<Shaken>),
}

impl Slow {
    fn plain(kind: usize, kinds: &[Kind], number: usize, to: SocketAddr) -> Self {
        let domain = socket2::Domain::IPV4;
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        if kinds[kind].reads < MUCH {
            socket.set_recv_buffer_size(4_096).unwrap();
        }
        let host = u8::try_from(2 + number % 40).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.write_all(&(kinds[kind].begins)()).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self::new(kind, &kinds[kind], Wire::Plain(stream))
    }

    fn shaken(
        kind: usize,
        kinds: &[Kind],
        to: SocketAddr,
        authority: &Authority,
    ) -> Self {
        let alpn = if kinds[kind].speaks == Speaks::Http2 { "h2" } else { "http/1.1" };
        let mut line = shake(to, &authority.client(&[alpn]), "localhost").unwrap();
        line.send((kinds[kind].begins)());
        line.set_nonblocking();
        Self::new(kind, &kinds[kind], Wire::Tls(Box::new(line)))
    }

    fn new(number: usize, kind: &Kind, line: Wire) -> Self {
        let begun = Instant::now();
        Self {
            kind: number,
            line,
            begun,
            next: begun + kind.every,
            seen: begun,
            lasted: None,
        }
    }

    /// What it does when its time has come.
    fn lives(&mut self, kinds: &[Kind]) {
        let (kind, now) = (&kinds[self.kind], Instant::now());
        if self.lasted.is_some() || now < self.next {
            return;
        }
        self.next = now + kind.every;
        let drips = (kind.drips)();
        let mut room = [0; MUCH];
        let room = &mut room[..kind.reads];
        let (tcp, read) = match &mut self.line {
            Wire::Plain(stream) => {
                // Whether it is taken shows in what is read.
                stream.write_all(&drips).unwrap_or_default();
                let read = if room.is_empty() { Ok(1) } else { stream.read(room) };
                (&*stream, read)
            }
            Wire::Tls(line) => {
                line.send(drips);
                let read = if room.is_empty() { Ok(1) } else { line.read_once(room) };
                (line.tcp(), read)
            }
        };
        let ended = match read {
            Ok(read) => read == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        // One that leaves unread what came first learns of the end all the same.
        if ended || tcp.take_error().is_ok_and(|error| error.is_some()) {
            self.lasted = Some(self.seen - self.begun);
        }
        self.seen = now;
    }
}

/// Honest callers, each on a connection that it keeps: how long each request took.
fn honest(to: SocketAddr, done: &Arc<AtomicBool>) -> Vec<JoinHandle<Vec<Duration>>> {
    let caller = |_| {
        let done = Arc::clone(done);
        std::thread::spawn(move || {
            let (mut client, mut took) = (Client::new(to), Vec::new());
            while !done.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let answer = client.ask(&Request::infer("{\"inputs\":[1,2,3]}"));
                assert_eq!(answer.status, 200, "{}", answer.text());
                took.push(begun.elapsed());
                wait::linger(Duration::from_millis(10));
            }
            took
        })
    };
    (0..4).map(caller).collect()
}

/// Callers that take their time for a reason: an answer that is long in coming, a stream
/// whose server is slow, a connection that is kept.
fn patient(to: SocketAddr) -> Vec<JoinHandle<()>> {
    let ask = |path: &'static str, text: &'static str| {
        std::thread::spawn(move || {
            let answer = Client::new(to).ask(&Request::get(path));
            assert_eq!(
                (answer.text().as_str(), answer.is_whole()),
                (text, true),
                "{path}"
            );
        })
    };
    let kept = std::thread::spawn(move || {
        let mut client = Client::new(to);
        for _ in 0..2 {
            assert_eq!(client.ask(&Request::get("/ok")).status, 200, "it is kept");
            wait::linger(Duration::from_secs(17));
        }
    });
    vec![ask("/poll", "late"), ask("/tokens", "abc"), kept]
}

fn server() -> ModelServer {
    let (large, mid) = (vec![b'x'; 8 << 20], vec![b'y'; 200_000]);
    ModelServer::new(Arc::new(move |ask, line| {
        if line.body().is_err() {
            return Then::Close;
        }
        match ask.target() {
            "/large" => line.reply(200, "", &large),
            "/mid" => line.reply(200, "", &mid),
            "/poll" => {
                wait::linger(Duration::from_secs(17));
                line.reply(200, "", "late")
            }
            "/tokens" => {
                line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                for token in ["a", "b", "c"] {
                    line.chunk(token);
                    wait::linger(Duration::from_secs(6));
                }
                line.send("0\r\n\r\n");
                Then::Keep
            }
            _ => line.reply(200, "", "ok"),
        }
    }))
}

/// Tells how long each kind lasted, and fails naming those that lasted too long.
fn all_gone(kinds: &[Kind], all: &[Slow], bounds: &Bounds) {
    for (number, kind) in kinds.iter().enumerate() {
        let mine = all.iter().filter(|slow| slow.kind == number);
        let last = mine.map(|slow| slow.lasted.unwrap_or(bounds.late)).max();
        eprintln!("{:>8.1?} {}", last.unwrap_or_default(), kind.name);
    }
    let mut late: Vec<_> = all
        .iter()
        .filter(|slow| slow.lasted.is_none_or(|lasted| lasted > bounds.reaped))
        .map(|slow| {
            let tls = matches!(slow.line, Wire::Tls(_));
            format!("{} (TLS: {tls}): {:?}", kinds[slow.kind].name, slow.lasted)
        })
        .collect();
    late.sort();
    late.dedup();
    assert!(late.is_empty(), "not gone in time:\n{}", late.join("\n"));
}

#[test]
fn slow_connections_of_all_kinds_are_gone_in_time_and_hurt_nobody() {
    let (most, bounds) = match std::env::var("SWITCHBACK_TEST_SLOW") {
        Ok(told) => (told.parse().unwrap(), Bounds::QUIET),
        // Beside hundreds of other tests neither side gets the processor that it needs to be
        // measured.
        Err(_) => (FEW, Bounds::FULL),
    };
    let (server, authority, kinds) = (server(), Authority::serving(), kinds());
    // The fake server has to be given a processor, too.
    let config = || Config::plain(&server).route_with("timeouts: { connect: 20s }");
    let street = Street::open(&config());
    let secured = config().listener(&authority.listener("server", ""));
    let secured = Street::open(&secured);
    let done = Arc::new(AtomicBool::new(false));
    let honest = honest(street.http, &done);
    for _ in 0..20 {
        street.is_well();
    }
    let patient = patient(street.http);
    let rss = || street.rss() + secured.rss();
    let (before, mut peak) = (rss(), 0);
    let mut all: Vec<Slow> = Vec::new();
    let opening = Instant::now();
    for number in 0..most {
        let (kind, turn) = (number % kinds.len(), number / kinds.len());
        all.push(match (kinds[kind].speaks, turn % 4) {
            (Speaks::Nothing, _) => Slow::plain(kind, &kinds, number, secured.http),
            (_, 0) => Slow::shaken(kind, &kinds, secured.http, &authority),
            _ => Slow::plain(kind, &kinds, number, street.http),
        });
        // The first ones do not wait for the last.
        all.iter_mut().for_each(|slow| slow.lives(&kinds));
    }
    let opened = opening.elapsed();
    while all.iter().any(|slow| slow.lasted.is_none())
        && opening.elapsed() < opened + bounds.late
    {
        all.iter_mut().for_each(|slow| slow.lives(&kinds));
        peak = peak.max(rss());
        wait::linger(Duration::from_millis(20));
    }
    done.store(true, Ordering::Relaxed);
    let mut took: Vec<Duration> =
        honest.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
    took.sort();
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    let each = peak.saturating_sub(before) / most as u64 / 1024;
    let last = all.iter().map(|slow| slow.lasted.unwrap_or(bounds.late)).max().unwrap();
    eprintln!(
        "{most} slow connections, opened in {opened:?}: {} honest requests beside them, p50 \
         {:?}, p90 {:?}, p99 {:?}; {each} KiB each; the last was gone after {last:?}",
        took.len(),
        at(50),
        at(90),
        at(99),
    );
    all_gone(&kinds, &all, &bounds);
    assert!(each <= bounds.each, "{each} KiB for each");
    assert!(at(99) <= bounds.honest, "{:?}", at(99));
    patient.into_iter().for_each(|caller| caller.join().unwrap());
    street.is_well();
    let classes = street.metrics().classes("v1");
    let blamed = classes
        .keys()
        .any(|class| !["2xx", "client_cancelled"].contains(&class.as_str()));
    assert!(!blamed, "the version is blamed for its callers: {classes:?}");
}

/// What is asked of the proxy.
struct Bounds {
    /// After which none may be left, with what it takes here to notice.
    reaped: Duration,
    /// How long the last is waited for.
    late: Duration,
    /// KiB for each of them.
    each: u64,
    /// The 99th percentile of honest callers.
    honest: Duration,
}

impl Bounds {
    const QUIET: Self = Self {
        reaped: Duration::from_millis(15_500),
        late: Duration::from_secs(25),
        each: 64,
        honest: Duration::from_millis(250),
    };
    /// A little memory that all share weighs more where there are few.
    const FULL: Self = Self {
        reaped: Duration::from_secs(45),
        late: Duration::from_secs(50),
        each: 256,
        honest: Duration::from_secs(5),
    };
}

/// Of each kind three in the clear and one over TLS.
const FEW: usize = 112;
