//! What passes over TLS is what passes in the clear: large bodies, small pieces, tunnels,
//! and the difference between an end and a break.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustls::version::{TLS12, TLS13};

use crate::support::client::{Client, PATIENCE, Request};
use crate::support::config::Config;
use crate::support::h2::{H2Client, H2Server};
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::tls::{Authority, Bridge, shake};
use crate::support::wait::{self, SOON};

const BOTH: &[&str] = &["h2", "http/1.1"];

/// A listener with TLS before a server with TLS, and the bridges at both ends.
struct Ends {
    server: ModelServer,
    behind: Bridge,
    street: Street,
    before: Bridge,
}

fn ends(script: Script, authority: &Authority, alpn: &[&str]) -> Ends {
    let server = ModelServer::new(script);
    let at = server.url().trim_start_matches("http://").parse().unwrap();
    let behind = Bridge::off(at, authority.server("server", &["http/1.1"], None));
    let street = Street::open(&over(&behind, authority));
    let before = Bridge::on(street.http, authority.client(alpn));
    Ends { server, behind, street, before }
}

/// A configuration with TLS on both sides of the proxy.
fn over(behind: &Bridge, authority: &Authority) -> Config {
    let ca = authority.path("ca.pem");
    let members = format!("role: stable, tls: {{ caFile: {ca:?} }}");
    let route = crate::support::config::Route::new("iris").version(
        "v1",
        &members,
        &[behind.url()],
    );
    Config::new([route]).listener(&authority.listener("server", ""))
}

/// Bytes that no mistake in order or number leaves as they are.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&next());
    }
    bytes.truncate(len);
    bytes
}

#[test]
fn large_bodies_pass_both_ways_by_http_1() {
    let authority = Authority::serving();
    let ends = ends(scripts::echo(), &authority, &["http/1.1"]);
    let mut client = Client::new(ends.before.address);
    for len in [0, 1, 16 * 1024 - 1, 16 * 1024 + 1, 100_000, 24 << 20] {
        let body = noise(len);
        let answer = client.ask(&Request::infer(&body));
        assert!(answer.status == 200 && answer.body == body, "{len}");
    }
    assert_eq!(ends.server.faults(), Vec::<String>::new());
    assert_eq!(ends.behind.facts().len(), 1, "one connection carries all");
}

#[test]
fn large_bodies_pass_both_ways_by_http_2() {
    let authority = Authority::serving();
    let server = H2Server::new();
    let at = server.url.trim_start_matches("http://").parse().unwrap();
    let behind = Bridge::off(at, authority.server("server", BOTH, None));
    let street = Street::open(&over(&behind, &authority));
    let before = Bridge::on(street.http, authority.client(&["h2"]));
    let mut client = H2Client::new(before.address);
    let all: Vec<Vec<u8>> =
        [1, 16 * 1024 + 1, 1 << 20, 8 << 20].map(noise).into_iter().collect();
    let ask = |body: &Vec<u8>| {
        let request = http::Request::post("https://models.test/x").body(()).unwrap();
        (request, body.clone(), None)
    };
    let answers = client.ask_all(all.iter().map(ask).collect());
    for (body, answer) in all.iter().zip(answers) {
        let answer = answer.unwrap();
        assert!(answer.status() == 200 && answer.body == *body, "{}", body.len());
        assert_eq!(answer.trailer.unwrap()["x-end"], "yes");
    }
    assert_eq!(behind.facts()[0].alpn, "h2");
}

/// A server that sends a chunk for each word it is given.
fn prompted() -> (Sender<&'static str>, Script) {
    let (words, hears): (Sender<&'static str>, Receiver<&'static str>) = channel();
    let hears = Mutex::new(hears);
    let script: Script = Arc::new(move |_, line| {
        line.body().unwrap_or_default();
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while let Ok(word) = hears.lock().unwrap().recv_timeout(PATIENCE) {
            if word.is_empty() || !line.chunk(word) {
                break;
            }
        }
        line.send("0\r\n\r\n");
        Then::Keep
    });
    (words, script)
}

#[test]
fn each_piece_passes_when_it_comes() {
    let authority = Authority::serving();
    let (words, script) = prompted();
    let ends = ends(script, &authority, &["http/1.1"]);
    let mut client = Client::new(ends.before.address);
    client.send(Request::infer("{}").bytes());
    assert_eq!(client.head().unwrap().0, 200, "the head waits for nothing");
    for word in ["data: one\n\n", "data: two\n\n", "data: [DONE]\n\n"] {
        words.send(word).unwrap();
        // The server sends no more until this one has arrived.
        assert_eq!(client.pipe.chunk().unwrap(), word.as_bytes());
    }
    words.send("").unwrap();
    assert_eq!(client.pipe.chunk().unwrap(), b"");
}

#[test]
fn a_request_that_comes_in_pieces_passes_in_pieces() {
    let authority = Authority::serving();
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let script: Script = Arc::new(move |_, line| {
        loop {
            let chunk = line.pipe.chunk().unwrap();
            let over = chunk.is_empty();
            tell.lock().unwrap().send(chunk).unwrap();
            if over {
                break;
            }
        }
        line.pipe.trailer().unwrap();
        line.body_is_read();
        line.reply(200, "", "{}")
    });
    let ends = ends(script, &authority, &["http/1.1"]);
    let mut client = Client::new(ends.before.address);
    let head = "POST /v2/models/iris/infer HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(head);
    for word in ["one", "two", "three"] {
        client.send(format!("{:x}\r\n{word}\r\n", word.len()));
        let mut got = Vec::new();
        while got.len() < word.len() {
            got.extend(told.recv_timeout(PATIENCE).unwrap());
        }
        assert_eq!(got, word.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().unwrap().status, 200);
}

#[test]
fn a_websocket_passes_both_ways() {
    let authority = Authority::serving();
    let shouts: Script = Arc::new(|_, line| {
        line.send(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nHELLO ",
        );
        while let Ok(bytes) = line.pipe.some() {
            if !line.send(bytes.to_ascii_uppercase()) {
                break;
            }
        }
        Then::Close
    });
    let ends = ends(shouts, &authority, BOTH);
    // A browser agrees on HTTP/1.1 for a WebSocket, whatever else it could speak.
    let mut client =
        shake(ends.street.http, &authority.client(&["http/1.1"]), "localhost").unwrap();
    client.send(
        "GET /chat HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
    );
    let head = client.until("HELLO ").unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for word in ["one", "two"] {
        client.send(word);
        assert_eq!(client.until(&word.to_uppercase()).unwrap(), word.to_uppercase());
    }
    let long = "x".repeat(300_000);
    client.send(format!("{long}."));
    assert_eq!(client.until(".").unwrap().len(), long.len() + 1);
    drop(client);
    wait::eventually("the server's end closes too", SOON, || {
        (ends.server.open_connections() == 0).then_some(())
    });
    assert_eq!(ends.server.faults(), Vec::<String>::new());
}

#[test]
fn an_end_is_announced_and_a_break_is_not() {
    let authority = Authority::serving();
    for version in [&TLS12, &TLS13] {
        let ends = ends(scripts::good("v1"), &authority, &[]);
        let client = authority.client_as(&[], None, &[version]);
        let ask = |request: &str| {
            let mut shaken = shake(ends.street.http, &client, "localhost").unwrap();
            shaken.send(request).rest()
        };
        let one = "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
        let whole = ask(one).unwrap();
        assert!(whole.ends_with(b"{\"model\":\"v1\"}"), "{version:?}");
        assert!(ask("nonsense\r\n\r\n").unwrap().starts_with(b"HTTP/1.1 400 "));
        // To a caller that knows no chunks an answer of unknown length ends with the
        // connection: broken off, it must not look like a whole one.
        let old = "GET / HTTP/1.0\r\nhost: h\r\n\r\n";
        let begins =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\n";
        ends.server.now(scripts::says(format!("{begins}0\r\n\r\n"), Then::Keep));
        assert!(ask(old).unwrap().ends_with(b"begun"), "{version:?}");
        ends.server.now(scripts::says(begins, Then::Close));
        let said = ask(old).unwrap_err();
        assert!(said == "cut" || said.contains("reset"), "{version:?}: {said}");
    }
}
