//! A WebSocket passes through; nothing else becomes a tunnel, and none before the version
//! agrees. (row 7)

use std::sync::Arc;
use std::time::Duration;

use crate::support::client::{Client, Request};
use crate::support::config::Config;
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

/// Agrees to a WebSocket and gives every byte back in upper case.
fn shouts() -> Script {
    Arc::new(|ask, line| {
        if ask.head.field("upgrade").is_none() {
            return line.reply(200, "", "plain");
        }
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
    })
}

fn handshake() -> Request {
    Request::get("/chat")
        .field("connection", "Upgrade")
        .field("upgrade", "websocket")
        .field("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .field("sec-websocket-version", "13")
}

fn read(client: &mut Client, length: usize) -> String {
    let mut text = Vec::new();
    while text.len() < length {
        text.extend(client.pipe.some().unwrap());
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_websocket_passes_both_ways() {
    let server = ModelServer::new(shouts());
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    client.send(handshake().bytes());
    let (status, head) = client.head().unwrap();
    assert_eq!(status, 101);
    assert_eq!(head.field("upgrade").as_deref(), Some("websocket"));
    assert_eq!(head.field("x-model-version").as_deref(), Some("v1"));
    assert!(head.field("sec-websocket-accept").is_some());
    assert_eq!(read(&mut client, 6), "HELLO ");
    for word in ["one", "two"] {
        client.send(word);
        assert_eq!(read(&mut client, 3), word.to_uppercase());
    }
    assert_eq!(street.version("v1")["in_flight"], 1, "a tunnel is in flight");
    drop(client);
    wait::eventually("the server's end closes too", SOON, || {
        (server.open_connections() == 0).then_some(())
    });
    wait::eventually("it is counted once it ends", SOON, || {
        (street.metrics().requests("v1", "1xx") == 1).then_some(())
    });
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn a_version_that_does_not_agree_makes_no_tunnel() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    client.send(handshake().bytes()).send(Request::get("/second").bytes());
    let first = client.answer().unwrap();
    assert_eq!((first.status, first.head.all("upgrade").len()), (200, 0));
    if let Ok(second) = client.answer() {
        assert_eq!(second.status, 200);
        server.asked("/second");
    }
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn bytes_sent_ahead_of_the_agreement_are_no_request_of_anybody() {
    let server = ModelServer::new(scripts::status(403));
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    client.send(handshake().bytes()).send("\x01\x02 not HTTP \r\n\r\n");
    assert_eq!(client.answer().unwrap().status, 403);
    client.pipe.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    if let Ok(next) = client.answer() {
        assert_eq!(next.status, 400);
    }
    assert_eq!(server.requests(), 1);
    server.now(scripts::good("v1"));
    street.is_well();
}

/// Agrees with real frames: a text, and then whatever comes back again.
pub fn echoes_frames() -> Script {
    Arc::new(|ask, line| {
        let Some(key) = ask.head.field("sec-websocket-key") else {
            return line.reply(400, "", "no key");
        };
        let accept = switchback::wire::websocket::accept(&key);
        line.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        ));
        line.send(b"\x81\x02hi");
        while let Ok(bytes) = line.pipe.some() {
            if !line.send(bytes) {
                break;
            }
        }
        Then::Close
    })
}

fn greeted(street: &Street) -> Client {
    let mut client = Client::new(street.http);
    client.send(handshake().bytes());
    assert_eq!(client.head().unwrap().0, 101);
    assert_eq!(read_bytes(&mut client, 4), b"\x81\x02hi");
    client
}

fn read_bytes(client: &mut Client, length: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < length {
        match client.pipe.some() {
            Ok(bytes) => all.extend(bytes),
            Err(_) => break,
        }
    }
    all
}

#[test]
fn a_tunnel_in_which_nothing_moves_ends_with_a_close_frame() {
    let server = ModelServer::new(echoes_frames());
    let config = Config::plain(&server).route_with("timeouts: { idle: 1s }");
    let street = Street::open(&config);
    let mut client = greeted(&street);
    for _ in 0..5 {
        wait::linger(Duration::from_millis(500));
        client.send(b"\x89\x80\0\0\0\0");
        assert_eq!(read_bytes(&mut client, 6), b"\x89\x80\0\0\0\0", "it moves");
    }
    assert_eq!(read_bytes(&mut client, 4), b"\x88\x02\x03\xe9", "1001, going away");
    assert!(client.is_closed(SOON));
    wait::eventually("it is no failure", SOON, || {
        (street.metrics().requests("v1", "1xx") == 1).then_some(())
    });
    assert_eq!(street.version("v1")["in_flight"], 0);
    assert_eq!(server.open_connections(), 0);
}

#[test]
fn no_words_of_ours_come_within_a_frame() {
    let server = ModelServer::new(Arc::new(|_, line| {
        line.send(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n",
        );
        line.send(b"\x81\x7e\x01\x00half");
        line.peer_leaves(Duration::from_secs(20));
        Then::Close
    }));
    let config = Config::plain(&server).route_with("timeouts: { idle: 500ms }");
    let street = Street::open(&config);
    let mut client = Client::new(street.http);
    client.send(handshake().bytes());
    assert_eq!(client.head().unwrap().0, 101);
    assert_eq!(read_bytes(&mut client, 100), b"\x81\x7e\x01\x00half");
    assert!(client.is_closed(SOON));
}

#[test]
fn an_end_of_one_side_passes_and_the_other_may_go_on() {
    let server = ModelServer::new(Arc::new(|_, line| {
        line.send(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n",
        );
        let mut all = Vec::new();
        while let Ok(bytes) = line.pipe.some() {
            all.extend(bytes);
        }
        // Only now does this side speak.
        line.send(all.to_ascii_uppercase());
        Then::Close
    }));
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    client.send(handshake().bytes());
    assert_eq!(client.head().unwrap().0, 101);
    client.send("all of it");
    client.pipe.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_bytes(&mut client, 100), b"ALL OF IT");
}

#[test]
fn a_tunnel_on_a_version_that_is_taken_out_is_cut_or_finished_as_configured() {
    for on_timeout in ["cut", "finish"] {
        let (stable, canary) =
            (ModelServer::good("v1"), ModelServer::new(echoes_frames()));
        let drain = format!(
            "rollback: {{ drain: {{ timeout: 1s, onTimeout: {on_timeout} }}, stabilization: 200ms }}"
        );
        let config = Config::pair(&stable, "100%", &canary).route_with(&drain);
        let street = Street::open(&config);
        let mut client = greeted(&street);
        let order = serde_json::json!({ "reason": "a test" });
        let request = Request::post("/api/v1/routes/iris/rollback", order.to_string());
        let answer = street.admin(request.field("content-type", "application/json"));
        assert!(answer.status < 300, "{}", answer.text());
        if on_timeout == "cut" {
            let close = read_bytes(&mut client, 4);
            assert_eq!(close, b"\x88\x02\x03\xf4", "1012, service restart");
            assert!(client.is_closed(SOON));
        } else {
            wait::linger(Duration::from_secs(2));
            client.send(b"\x81\x83\0\0\0\0end");
            assert_eq!(read_bytes(&mut client, 9), b"\x81\x83\0\0\0\0end");
        }
    }
}

#[test]
fn the_end_of_the_process_is_told_after_the_drain() {
    let server = ModelServer::new(echoes_frames());
    let config = Config::plain(&server).with("shutdown: { drainTimeout: 1s }");
    let mut street = Street::open(&config);
    let mut client = greeted(&street);
    street.signal("TERM");
    client.send(b"\x81\x83\0\0\0\0mid");
    assert_eq!(read_bytes(&mut client, 9), b"\x81\x83\0\0\0\0mid", "it may finish");
    assert_eq!(read_bytes(&mut client, 4), b"\x88\x02\x03\xe9", "1001, going away");
    street.ends(SOON);
}

#[test]
fn only_a_websocket_becomes_a_tunnel() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    let upgrades = [
        "h2c",
        "TLS/1.0",
        "IRC/6.9",
        "websocket2",
        "web socket",
        "websocket, h2c",
        "h2c, websocket",
        "WebTransport",
        "connect-udp",
        "\"websocket\"",
    ];
    for upgrade in upgrades {
        let request = Request::get("/up")
            .field("connection", "upgrade, HTTP2-Settings")
            .field("upgrade", upgrade)
            .field("http2-settings", "AAMAAABkAAQAAP__");
        let mut client = Client::new(street.http);
        client.send(request.bytes());
        let answer = client.answer().unwrap();
        assert!([200, 400].contains(&answer.status), "{upgrade}: {}", answer.status);
    }
    for request in [
        Request::new("POST", "/up").field("content-length", "0"),
        Request::new("HEAD", "/up"),
    ] {
        let request =
            request.field("connection", "upgrade").field("upgrade", "websocket");
        let mut client = Client::new(street.http);
        client.send(request.bytes());
        let (status, _) = client.head().unwrap();
        assert!([200, 400].contains(&status), "{status}");
    }
    for ask in server.seen() {
        assert_eq!(ask.head.field("upgrade"), None, "{:?}", ask.head);
        assert_eq!(ask.head.field("http2-settings"), None);
    }
    assert_eq!(server.faults(), Vec::<String>::new());
    street.is_well();
}

#[test]
fn a_version_that_dies_before_it_agrees_is_at_fault() {
    let server = ModelServer::new(scripts::hangs_up());
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    client.send(handshake().bytes());
    assert_eq!(client.answer().unwrap().status, 502);
    assert_eq!(street.metrics().requests("v1", "upstream_reset"), 1);
}

#[test]
fn a_version_that_speaks_http_2_alone_has_no_websockets() {
    let server = crate::support::h2::H2Server::new();
    let members = "role: stable, protocol: http2";
    let urls = [server.url];
    let route = crate::support::config::Route::new("iris").version("v1", members, &urls);
    let street = Street::open(&Config::new([route]));
    let mut client = Client::new(street.http);
    client.send(handshake().bytes());
    let answer = client.answer().unwrap();
    assert_eq!(answer.status, 501, "{}", answer.text());
    assert_eq!(street.metrics().requests("v1", "rejected_by_proxy"), 1);
    street.is_well();
}
