//! How long anything may take: each limit of the configuration, from both sides. (rows 19, 20)

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::client::{Client, INFER, Request};
use crate::support::config::{BARE, Config, Route};
use crate::support::http1::Framing;
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed(), done)
}

fn took(span: Duration, least: u64) {
    let (least, most) =
        (Duration::from_millis(least), Duration::from_millis(least * 4 + 4_000));
    assert!(
        span >= least && span < most,
        "{span:?} is not between {least:?} and {most:?}"
    );
}

#[test]
fn a_version_that_never_answers_is_a_504() {
    let server = ModelServer::new(scripts::stalls());
    let config = Config::plain(&server).route_with("timeouts: { firstByte: 300ms }");
    let street = Street::open(&config.route_with(BARE));
    let (span, answer) = timed(|| street.ask(&Request::infer("{}")));
    took(span, 290);
    assert_eq!(answer.status, 504, "{}", answer.text());
    let reason = answer.field("proxy-status");
    assert!(reason.contains("error=http_response_timeout"), "{reason}");
    assert_eq!(street.metrics().requests("v1", "timeout_first_byte"), 1);
    wait::eventually("the server's work is given up", SOON, || {
        (server.open_connections() == 0).then_some(())
    });
}

#[test]
fn an_answer_that_stalls_is_cut() {
    let stall: Script = Arc::new(|_, line| {
        line.body().unwrap_or_default();
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
        line.peer_leaves(Duration::from_secs(20));
        Then::Close
    });
    let server = ModelServer::new(stall);
    let street =
        Street::open(&Config::plain(&server).route_with("timeouts: { idle: 300ms }"));
    let mut client = Client::new(street.http);
    let (span, answer) =
        timed(|| client.send(Request::infer("{}").bytes()).answer().unwrap());
    took(span, 290);
    assert_eq!((answer.text().as_str(), answer.is_whole()), ("abc", false));
    assert_eq!(street.metrics().requests("v1", "timeout_idle"), 1);
}

#[test]
fn a_total_time_bounds_what_never_stalls() {
    let drip: Script = Arc::new(|_, line| {
        line.body().unwrap_or_default();
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while line.chunk("drip") {
            wait::linger(Duration::from_millis(20));
        }
        Then::Close
    });
    let server = ModelServer::new(drip);
    let street =
        Street::open(&Config::plain(&server).route_with("timeouts: { total: 500ms }"));
    let mut client = Client::new(street.http);
    let (span, answer) =
        timed(|| client.send(Request::infer("{}").bytes()).answer().unwrap());
    took(span, 490);
    assert!(!answer.is_whole() && answer.body.len() >= 4);
    assert_eq!(street.metrics().requests("v1", "timeout_total"), 1);
}

/// An address where connections are neither taken nor refused.
fn deaf() -> (socket2::Socket, Vec<TcpStream>, SocketAddr) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(1).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let brief = Duration::from_millis(200);
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, brief) {
        waiting.push(stream);
    }
    (socket, waiting, address)
}

#[test]
fn a_connection_that_does_not_come_about_is_a_504() {
    let (_socket, _waiting, address) = deaf();
    let url = format!("http://{address}");
    let route = Route::new("iris")
        .version("v1", "role: stable", &[url])
        .with("timeouts: { connect: 300ms }")
        .with(BARE);
    let street = Street::open(&Config::new([route]));
    let (span, answer) = timed(|| street.ask(&Request::infer("{}")));
    took(span, 290);
    assert!([502, 504].contains(&answer.status), "{}", answer.text());
    let reason = answer.field("proxy-status");
    assert!(reason.contains("error=connection_timeout"), "{reason}");
    assert_eq!(street.metrics().requests("v1", "timeout_connect"), 1);
}

#[test]
fn a_head_in_drips_is_cut_off() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server).limits("{ headerTimeout: 500ms }"));
    let mut client = Client::new(street.http);
    let (span, ()) = timed(|| {
        for byte in
            b"GET / HTTP/1.1\r\nhost: models.test\r\nx-slow: ".iter().cycle().take(200)
        {
            if client.pipe.stream.write_all(&[*byte]).is_err() {
                break;
            }
            wait::linger(Duration::from_millis(20));
        }
        assert!(client.is_closed(Duration::from_secs(5)));
    });
    took(span, 490);
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_connection_that_never_says_anything_is_closed() {
    let server = ModelServer::good("v1");
    let limits = "{ headerTimeout: 500ms, keepAliveTimeout: 500ms }";
    let street = Street::open(&Config::plain(&server).limits(limits));
    let mut client = Client::new(street.http);
    let (span, closed) = timed(|| client.is_closed(Duration::from_secs(8)));
    assert!(closed, "still open");
    took(span, 490);
}

#[test]
fn a_connection_between_requests_is_kept_and_then_closed() {
    let server = ModelServer::good("v1");
    let street =
        Street::open(&Config::plain(&server).limits("{ keepAliveTimeout: 700ms }"));
    let mut client = Client::new(street.http);
    for _ in 0..4 {
        assert_eq!(client.ask(&Request::infer("{}")).status, 200);
        wait::linger(Duration::from_millis(250));
    }
    let (span, closed) = timed(|| client.is_closed(Duration::from_secs(8)));
    assert!(closed, "still open");
    assert!(span >= Duration::from_millis(300), "closed after {span:?}");
}

#[test]
fn a_body_that_stalls_is_the_callers_doing() {
    let server = ModelServer::good("v1");
    let street =
        Street::open(&Config::plain(&server).limits("{ bodyIdleTimeout: 400ms }"));
    let mut client = Client::new(street.http);
    client.send(format!(
        "POST {INFER} HTTP/1.1\r\nhost: m\r\ncontent-length: 10\r\n\r\nabc"
    ));
    let (span, answer) = timed(|| client.answer());
    took(span, 390);
    if let Ok(answer) = answer {
        assert_eq!(answer.status, 408, "{}", answer.text());
    }
    assert!(client.is_closed(Duration::from_secs(5)));
    let failures = street.version("v1")["failures"].as_u64();
    assert_eq!(failures, Some(0), "{:?}", street.metrics().classes("v1"));
    wait::eventually("the server is not left waiting", SOON, || {
        (server.open_connections() == 0).then_some(())
    });
}

#[test]
fn a_caller_that_does_not_read_is_left() {
    let endless: Script = Arc::new(|_, line| {
        line.body().unwrap_or_default();
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while line.chunk(vec![b'x'; 65_536]) {}
        Then::Close
    });
    let server = ModelServer::new(endless);
    let street =
        Street::open(&Config::plain(&server).limits("{ bodyIdleTimeout: 700ms }"));
    let mut client = Client::new(street.http);
    client.send(Request::infer("{}").bytes());
    client.head().unwrap();
    wait::eventually("the server is let go", SOON, || {
        (server.open_connections() == 0).then_some(())
    });
    let (_, end) = client.pipe.body(Framing::Chunked);
    assert!(end.is_err(), "a cut answer looks whole");
    assert_eq!(
        street.version("v1")["failures"],
        0,
        "{:?}",
        street.metrics().classes("v1")
    );
}

#[test]
fn a_slow_answer_within_the_limits_is_an_answer() {
    let server = ModelServer::new(scripts::slow("v1", Duration::from_millis(1_200)));
    let limits =
        "{ headerTimeout: 300ms, bodyIdleTimeout: 300ms, keepAliveTimeout: 300ms }";
    let street = Street::open(&Config::plain(&server).limits(limits));
    let answer = street.ask(&Request::infer("{}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}
