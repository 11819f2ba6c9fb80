//! The cast without the proxy: what a scenario shows is the proxy's doing only if the fake
//! servers and clients do what they say, and if the judges among them can say no.

use std::net::SocketAddr;

use http::Request as H2Request;

use crate::support::client::{Client, Request};
use crate::support::h2::{
    Deed, END_HEADERS, END_STREAM, Frames, H2Client, H2Server, HEADERS,
};
use crate::support::h2::{block, get};
use crate::support::http1::Broken;
use crate::support::load::Load;
use crate::support::model_server::{ModelServer, Then};
use crate::support::scripts;

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

#[test]
fn clients_and_servers_count_the_same() {
    let server = ModelServer::new(scripts::fails(100, "v1"));
    let count = Load::new(address(&server.url())).requests(1_000).run();
    assert_eq!((count.all(), count.failed, server.requests()), (900, 100, 1_000));
    assert_eq!(server.faults(), Vec::<String>::new());
    server.kill();
    assert!(Client::try_new(address(&server.url())).is_err());
    let count = Load::new(address(&server.url())).requests(20).run();
    assert_eq!(count.failed, 20, "nobody was there");
    server.come_back();
    assert_eq!(Load::new(address(&server.url())).requests(20).run().all(), 18);
}

#[test]
fn a_client_tells_apart_how_an_answer_fails() {
    let server = ModelServer::good("v1");
    let ask = || {
        Client::new(address(&server.url())).send(Request::infer("{}").bytes()).answer()
    };
    server.now(scripts::truncates());
    assert_eq!(ask().unwrap().end.unwrap_err(), Broken::Cut);
    server.now(scripts::hangs_up());
    assert_eq!(ask().unwrap_err(), Broken::Closed);
    server.now(scripts::resets());
    assert_eq!(ask().unwrap_err(), Broken::Reset);
    for bad in [
        "HTTP/1.1 200 OK\nx: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx y\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
    ] {
        server.now(scripts::says(bad, Then::Close));
        assert!(matches!(ask(), Err(Broken::Garbage(_))), "{bad:?}");
    }
    for bad in ["3\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "+3\r\nabc\r\n0\r\n\r\n"]
    {
        let text = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{bad}");
        server.now(scripts::says(text, Then::Close));
        assert!(matches!(ask().unwrap().end, Err(Broken::Garbage(_))), "{bad:?}");
    }
}

#[test]
fn a_server_says_what_must_not_have_reached_it() {
    let bad = [
        "GET / HTTP/1.0\r\nhost: m\r\n\r\n",
        "GET http://m/ HTTP/1.1\r\nhost: m\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: m\r\nhost: m\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: m\r\nkeep-alive: 5\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: m\r\nconnection: x-a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: m\r\nupgrade: h2c\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: m\r\n folded: y\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: m\nx: y\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: m\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: m\r\ncontent-length: +1\r\n\r\na",
    ];
    for text in bad {
        let server = ModelServer::good("v1");
        let mut client = Client::new(address(&server.url()));
        // What matters is that it was heard, answered or not.
        client.send(text).answer().map(drop).unwrap_or_default();
        assert_ne!(server.faults(), Vec::<String>::new(), "{text:?}");
    }
}

#[test]
fn the_http_2_cast_understands_itself() {
    let server = H2Server::new();
    let request = || H2Request::post("http://m/path").body(()).unwrap();
    let mut client = H2Client::new(address(&server.url));
    let answer = client.ask(request(), b"hello", None).unwrap();
    assert_eq!((answer.status(), answer.body.as_slice()), (200, &b"hello"[..]));
    assert_eq!(answer.trailer.unwrap()["x-end"], "yes");
    let mut frames = Frames::new(address(&server.url));
    let patience = crate::support::client::PATIENCE;
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&get("/", &[])));
    assert_eq!(frames.deed(1, patience), Deed::Answers(200));
    frames.send(
        HEADERS,
        END_HEADERS | END_STREAM,
        3,
        &block(&get("/", &[("connection", "x")])),
    );
    assert!(matches!(frames.deed(3, patience), Deed::Resets(1)));
}
