//! `WebSocket` connections on streams of HTTP/2 (RFC 8441), in front of a version that speaks HTTP/1.1.
//! (rows 7, 8)

use std::sync::Arc;

use super::upgrade::echoes_frames;
use crate::support::config::Config;
use crate::support::h2::{
    DATA, Deed, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, block,
};
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

fn connect(protocol: &str) -> Vec<u8> {
    let pseudo = |name, value| (name, value);
    block(&[
        pseudo(":method", "CONNECT"),
        pseudo(":protocol", protocol),
        pseudo(":scheme", "http"),
        pseudo(":authority", "models.test"),
        pseudo(":path", "/chat?a=1"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat.v2"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ])
}

fn opened(street: &Street) -> Frames {
    let mut frames = Frames::new(street.http);
    let settings = frames.settings();
    assert!(settings.contains(&(8, 1)), "extended CONNECT is announced: {settings:?}");
    frames.send(HEADERS, END_HEADERS, 1, &connect("websocket"));
    assert_eq!(frames.deed(1, SOON), Deed::Answers(200));
    frames
}

#[test]
fn a_websocket_passes_over_a_stream() {
    let server = ModelServer::new(echoes_frames());
    let street = Street::open(&Config::plain(&server));
    let mut frames = opened(&street);
    assert_eq!(frames.exactly(1, 4), b"\x81\x02hi");
    for word in [&b"\x81\x83\x01\x02\x03\x04abc"[..], b"\x89\x80\0\0\0\0"] {
        frames.send(DATA, 0, 1, word);
        assert_eq!(frames.exactly(1, word.len()), word);
    }
    let large: Vec<u8> = (0..200_000_u32).map(|n| (n % 253) as u8).collect();
    let mut back = Vec::new();
    for piece in large.chunks(10_000) {
        frames.send(DATA, 0, 1, piece);
        back.extend(frames.exactly(1, piece.len()));
        let more = 10_000_u32.to_be_bytes();
        frames.send(8, 0, 0, &more);
        frames.send(8, 0, 1, &more);
    }
    assert!(back == large, "{} bytes came back", back.len());
    assert_eq!(street.version("v1")["in_flight"], 1, "a tunnel is in flight");
    let ask = server.asked("/chat?a=1");
    assert_eq!(ask.method(), "GET");
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("host", "models.test"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat.v2"),
        ("cookie", "a=1; b=2"),
    ] {
        assert_eq!(ask.head.field(name).as_deref(), Some(value), "{name}");
    }
    frames.send(DATA, END_STREAM, 1, &[]);
    wait::eventually("the end passes, and it is counted", SOON, || {
        (street.metrics().requests("v1", "1xx") == 1).then_some(())
    });
    assert_eq!(server.faults(), Vec::<String>::new());
    // The connection goes on.
    frames.send(
        HEADERS,
        END_HEADERS | END_STREAM,
        3,
        &block(&crate::support::h2::get("/after", &[])),
    );
    assert_ne!(frames.deed(3, SOON), Deed::Nothing);
}

#[test]
fn a_reset_of_the_stream_ends_the_tunnel() {
    let server = ModelServer::new(echoes_frames());
    let street = Street::open(&Config::plain(&server));
    let mut frames = opened(&street);
    frames.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    wait::eventually("the server's end closes too", SOON, || {
        (server.open_connections() == 0).then_some(())
    });
    assert_eq!(street.version("v1")["in_flight"], 0);
}

fn agrees(accept: &'static str, upgrade: &'static str) -> Script {
    Arc::new(move |_, line| {
        line.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: {upgrade}\r\nconnection: Upgrade\r\n\
             {accept}\r\n"
        ));
        line.peer_leaves(SOON);
        Then::Close
    })
}

#[test]
fn there_is_no_tunnel_without_a_true_agreement() {
    let cases: [(&str, Script, u16, &str); 6] = [
        ("no accept", agrees("", "websocket"), 502, "protocol_error"),
        (
            "another's accept",
            agrees("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "websocket"),
            502,
            "protocol_error",
        ),
        ("another protocol", agrees("", "h2c"), 502, "protocol_error"),
        ("an answer without a tunnel", scripts::good("v1"), 502, "2xx"),
        ("a refusal", scripts::status(403), 403, "4xx"),
        ("a failure", scripts::status(500), 500, "5xx"),
    ];
    for (name, script, status, class) in cases {
        let server = ModelServer::new(script);
        let config = Config::plain(&server).route_with(crate::support::config::BARE);
        let street = Street::open(&config);
        let mut frames = Frames::new(street.http);
        frames.send(HEADERS, END_HEADERS, 1, &connect("websocket"));
        assert_eq!(frames.deed(1, SOON), Deed::Answers(status), "{name}");
        wait::eventually(name, SOON, || {
            let classes = street.metrics().classes("v1");
            (classes.get(class).copied() == Some(1)).then_some(())
        });
        server.now(scripts::good("v1"));
        street.is_well();
    }
}

#[test]
fn any_other_connect_is_refused() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    for protocol in ["connect-udp", "webtransport", "h2c", "WEBSOCKETS", ""] {
        let mut frames = Frames::new(street.http);
        frames.send(HEADERS, END_HEADERS, 1, &connect(protocol));
        let deed = frames.deed(1, SOON);
        let refused = matches!(deed, Deed::Answers(400..=501) | Deed::Resets(_));
        assert!(refused, "{protocol}: {deed:?}");
    }
    let bare = [(":method", "CONNECT"), (":authority", "127.0.0.1:22")];
    let no_path = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "m"),
    ];
    for fields in [&bare[..], &no_path[..]] {
        let mut frames = Frames::new(street.http);
        frames.send(HEADERS, END_HEADERS, 1, &block(fields));
        let deed = frames.deed(1, SOON);
        let refused = matches!(deed, Deed::Answers(405 | 400) | Deed::Resets(_));
        assert!(refused, "{fields:?}: {deed:?}");
    }
    assert_eq!(server.requests(), 0);
    street.is_well();
}
