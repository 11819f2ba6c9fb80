//! Callers that drip: heads, bodies, chunks, silence, and answers that nobody takes. With the
//! limits as they come, honest callers do not notice, each costs little, and all are gone
//! soon. (rows 19-21)

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::client::{Client, INFER, Request};
use crate::support::config::{Config, Route};
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

/// How a caller begins, what it goes on to send every second, and how much it reads of what
/// it is sent in a quarter of one.
struct Kind {
    name: &'static str,
    begins: &'static str,
    drips: &'static str,
    reads: usize,
}

const fn kind(
    name: &'static str,
    begins: &'static str,
    drips: &'static str,
    reads: usize,
) -> Kind {
    Kind { name, begins, drips, reads }
}

const KINDS: [Kind; 10] = [
    kind("says nothing", "", "", 64),
    kind("a head in drips", "GET / HTTP/1.1\r\nhost: m\r\nx: ", "a", 64),
    kind("a head that stops", "GET / HTTP/1.1\r\nhost: m\r\n", "", 64),
    kind("half a preface", "PRI * HT", "", 64),
    kind(
        "a body in drips",
        "POST /t HTTP/1.1\r\nhost: m\r\ncontent-length: 100000\r\n\r\n",
        "a",
        64,
    ),
    kind(
        "a body that stops",
        "POST /t HTTP/1.1\r\nhost: m\r\ncontent-length: 100000\r\n\r\nabc",
        "",
        64,
    ),
    kind(
        "a body that was asked for",
        "POST /t HTTP/1.1\r\nhost: m\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n",
        "",
        64,
    ),
    kind(
        "chunks in drips",
        "POST /t HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n",
        "1\r\na\r\n",
        64,
    ),
    kind(
        "a chunk's size in drips",
        "POST /t HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n5;",
        "a",
        64,
    ),
    kind("takes its answer in drips", "GET /large HTTP/1.1\r\nhost: m\r\n\r\n", "", 16),
];

/// One of them.
struct Dripper {
    kind: &'static Kind,
    stream: TcpStream,
    ended: bool,
}

impl Dripper {
    fn new(kind: &'static Kind, address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            None,
        )
        .unwrap();
        if kind.reads < 64 {
            socket.set_recv_buffer_size(4_096).unwrap();
        }
        socket.connect(&address.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.write_all(kind.begins.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self { kind, stream, ended: false }
    }

    /// A quarter of a second of its life.
    fn lives(&mut self, turn: usize) {
        if self.ended {
            return;
        }
        if turn.is_multiple_of(4) {
            // Whether it is taken shows in what is read.
            self.stream.write_all(self.kind.drips.as_bytes()).unwrap_or_default();
        }
        let mut buffer = [0; 64];
        self.ended = match self.stream.read(&mut buffer[..self.kind.reads]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
    }
}

fn large() -> Script {
    let body = vec![b'x'; 8 << 20];
    Arc::new(move |ask, line| {
        if line.body().is_err() {
            return Then::Close;
        }
        if ask.target() == "/large" {
            line.reply(200, "", &body)
        } else {
            line.reply(200, "", "ok")
        }
    })
}

#[test]
fn callers_that_drip_cost_little_and_are_gone_soon() {
    const EACH: usize = 30;
    let server = ModelServer::new(large());
    let street = Street::open(&Config::plain(&server));
    for _ in 0..20 {
        street.is_well();
    }
    let before = street.rss();
    let mut all: Vec<Dripper> = (0..EACH)
        .flat_map(|_| KINDS.iter().map(|kind| Dripper::new(kind, street.http)))
        .collect();
    let begun = Instant::now();
    let (mut turn, mut peak) = (0, 0);
    let mut waits: Vec<Duration> = Vec::new();
    while begun.elapsed() < REAPED && all.iter().any(|one| !one.ended) {
        turn += 1;
        for one in &mut all {
            one.lives(turn);
        }
        peak = peak.max(street.rss());
        let asked = Instant::now();
        street.is_well();
        waits.push(asked.elapsed());
        wait::linger(Duration::from_millis(230));
    }
    for kind in &KINDS {
        let mine = all.iter().filter(|one| std::ptr::eq(one.kind, kind));
        let open = mine.filter(|one| !one.ended).count();
        assert_eq!(open, 0, "{} after {:?}", kind.name, begun.elapsed());
    }
    waits.sort();
    // The other tests run beside this one: most callers, so that their load does not tell.
    let most = waits[waits.len() * 9 / 10];
    assert!(most < Duration::from_millis(250), "an honest caller waited {most:?}");
    let each = peak.saturating_sub(before) / (EACH * KINDS.len()) as u64;
    assert!(each <= 64 * 1024, "{} KiB for each of them", each / 1024);
    let classes = street.metrics().classes("v1");
    let blamed = classes
        .keys()
        .any(|class| !["2xx", "client_cancelled"].contains(&class.as_str()));
    assert!(!blamed, "the version is blamed for its callers: {classes:?}");
}

#[test]
fn who_waits_for_the_version_is_not_slow() {
    // Longer than callers are given: it is the version that takes its time.
    let slow: Script = Arc::new(|_, line| {
        line.body().unwrap_or_default();
        wait::linger(Duration::from_secs(11));
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n");
        wait::linger(Duration::from_secs(11));
        line.send("1\r\nb\r\n0\r\n\r\n");
        Then::Keep
    });
    let server = ModelServer::new(slow);
    let street = Street::open(&Config::plain(&server));
    let answer = street.ask(&Request::infer("{}"));
    assert_eq!((answer.text().as_str(), answer.is_whole()), ("ab", true));
}

#[test]
fn one_address_never_takes_all_connections() {
    let server = ModelServer::new(scripts::echo());
    let street = Street::open(&Config::plain(&server).limits("{ maxConnections: 600 }"));
    let other = || {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
                .unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        socket.connect(&street.http.into()).unwrap();
        Client::over(TcpStream::from(socket))
    };
    let _flood: Vec<_> =
        (0..400).filter_map(|_| Client::try_new(street.http).ok()).collect();
    street.says("maxConnectionsPerAddress");
    assert_eq!(other().ask(&Request::infer("{}")).status, 200);
    assert_eq!(street.admin(Request::get("/livez")).status, 200);
}

#[test]
fn a_gateway_that_is_believed_is_many_callers() {
    let server = ModelServer::new(scripts::echo());
    let config = Config::plain(&server)
        .limits("{ maxConnections: 20 }")
        .listener("trustForwardedFrom: [\"127.0.0.0/8\"]");
    let street = Street::open(&config);
    let mut all: Vec<Client> = (0..20).map(|_| Client::new(street.http)).collect();
    for client in &mut all {
        assert_eq!(client.ask(&Request::infer("{}")).status, 200);
    }
}

#[test]
fn bodies_in_drips_take_no_connection_where_they_are_scarce() {
    let server = ModelServer::new(scripts::echo());
    let members = "role: stable, pool: { maxConnectionsPerEndpoint: 8 }";
    let route = Route::new("iris").version("v1", members, &[server.url()]);
    let street = Street::open(&Config::new([route]));
    let head =
        |framing: &str| format!("POST {INFER} HTTP/1.1\r\nhost: m\r\n{framing}\r\n\r\n");
    let open = |text: String| {
        let mut client = Client::new(street.http);
        client.send(text);
        client
    };
    let _chunks: Vec<Client> =
        (0..4).map(|_| open(head("transfer-encoding: chunked") + "1\r\na\r\n")).collect();
    wait::eventually("they have half of the connections", SOON, || {
        (server.open_connections() == 4).then_some(())
    });
    let mut drips: Vec<Client> =
        (0..20).map(|_| open(head("content-length: 10") + "a")).collect();
    for _ in 0..5 {
        street.is_well();
    }
    assert!(server.open_connections() <= 5, "{}", server.open_connections());
    // One that goes on is answered as any other.
    let answer = drips[7].send("bcdefghij").answer().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "abcdefghij"));
    assert_eq!(street.version("v1")["failures"], 0);
}

#[test]
fn a_full_listener_gives_up_the_longest_idle_connection_for_a_new_one() {
    let server = ModelServer::new(scripts::echo());
    let limits = "{ maxConnections: 4, maxConnectionsPerAddress: 0 }";
    let street = Street::open(&Config::plain(&server).limits(limits));
    let well = |client: &mut Client| {
        assert_eq!(client.ask(&Request::infer("{}")).status, 200);
    };
    let mut all: Vec<Client> = (0..4)
        .map(|_| {
            let mut client = Client::new(street.http);
            well(&mut client);
            // Each idle for longer than the next, by more than the proxy's clock can miss.
            wait::linger(Duration::from_millis(100));
            client
        })
        .collect();
    // The first is now the last to have been used.
    well(&mut all[0]);
    for gone in [1, 2] {
        let mut next = Client::new(street.http);
        well(&mut next);
        assert!(all[gone].is_closed(SOON), "{gone} was idle for longest");
        all.push(next);
        wait::linger(Duration::from_millis(100));
    }
    for kept in [0, 3, 4, 5] {
        well(&mut all[kept]);
    }
}

#[test]
fn a_worker_asks_the_others_for_a_connection_when_it_has_none_to_give_up() {
    let server = ModelServer::new(scripts::echo());
    let limits = "{ maxConnections: 4, maxConnectionsPerAddress: 0 }";
    let config = Config::plain(&server).limits(limits).workers(4);
    let street = Street::open(&config);
    let mut all: Vec<Client> = Vec::new();
    for turn in 0..30 {
        let mut client = Client::new(street.http);
        let answer = client.send(Request::infer("{}").bytes()).answer();
        assert_eq!(answer.map(|answer| answer.status).ok(), Some(200), "{turn}");
        all.push(client);
    }
}

#[test]
fn silent_connections_make_room_before_anybody_else() {
    let server = ModelServer::new(scripts::echo());
    let limits = "{ maxConnections: 20, maxConnectionsPerAddress: 0 }";
    let street = Street::open(&Config::plain(&server).limits(limits));
    let mut kept = Client::new(street.http);
    assert_eq!(kept.ask(&Request::infer("{}")).status, 200);
    let _silent: Vec<Client> = (0..19).map(|_| Client::new(street.http)).collect();
    wait::linger(Duration::from_millis(1_200));
    for _ in 0..10 {
        street.is_well();
    }
    assert_eq!(kept.ask(&Request::infer("{}")).status, 200, "it was not given up");
}

#[test]
fn who_takes_nothing_leaves_scarce_connections_to_others() {
    let server = ModelServer::new(large());
    let members = "role: stable, pool: { maxConnectionsPerEndpoint: 8 }";
    let route = Route::new("iris").version("v1", members, &[server.url()]);
    // Thirty have eight connections by turns, for half a second each: longer than the second
    // for which a request waits by default.
    let street = Street::open(&Config::new([route.with("timeouts: { connect: 6s }")]));
    let kind = KINDS.iter().find(|kind| kind.reads == 16).unwrap();
    let _held: Vec<Dripper> = (0..30).map(|_| Dripper::new(kind, street.http)).collect();
    wait::eventually("they have all connections", SOON, || {
        (server.open_connections() >= 7).then_some(())
    });
    // Long before they would have to go by themselves.
    let begun = Instant::now();
    wait::eventually("an honest caller is answered", SOON, || {
        (street.ask(&Request::get("/well")).status == 200).then_some(())
    });
    for _ in 0..5 {
        street.is_well();
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(street.version("v1")["failures"], 0);
}

#[test]
fn chunks_in_drips_never_take_the_last_connections() {
    let server = ModelServer::new(scripts::echo());
    let members = "role: stable, pool: { maxConnectionsPerEndpoint: 8 }";
    let route = Route::new("iris").version("v1", members, &[server.url()]);
    let street = Street::open(&Config::new([route]));
    let begun = format!(
        "POST {INFER} HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n"
    );
    let mut drips: Vec<Client> = (0..40)
        .map(|_| {
            let mut client = Client::new(street.http);
            client.send(&begun);
            client
        })
        .collect();
    wait::eventually("they have the first of them", SOON, || {
        (server.open_connections() >= 7).then_some(())
    });
    for _ in 0..5 {
        street.is_well();
    }
    assert!(server.open_connections() <= 8, "{}", server.open_connections());
    // One that goes on is answered as any other, byte for byte.
    for dripper in [0, 39] {
        let answer = drips[dripper].send("2\r\nbc\r\n0\r\n\r\n").answer().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "abc"), "{dripper}");
    }
    assert_eq!(street.version("v1")["failures"], 0);
}

#[test]
fn a_flood_that_takes_all_file_descriptors_takes_nothing_else() {
    let server = ModelServer::new(scripts::echo());
    let street = Street::open_with_files(&Config::plain(&server), 90);
    street.is_well();
    let flood: Vec<_> =
        (0..200).filter_map(|_| Client::try_new(street.http).ok()).collect();
    assert_eq!(street.admin(Request::get("/livez")).status, 200);
    assert_eq!(street.admin(Request::get("/readyz")).status, 200);
    drop(flood);
    street.is_well();
    assert_eq!(street.version("v1")["failures"], 0);
    let lines = street.log().lines().count();
    assert!(lines < 100, "{lines} lines about it");
}

/// After which none of them may be left.
const REAPED: Duration = Duration::from_secs(15);
