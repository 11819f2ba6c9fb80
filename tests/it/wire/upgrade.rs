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
