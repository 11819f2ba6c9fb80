//! While it is looked at, a stream passes as it came: chunk by chunk, cancelled when its
//! caller leaves, and in bounded memory however long it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::client::{Client, Request};
use crate::support::config::{Config, NO_RULES};
use crate::support::http1::Framing;
use crate::support::model_server::{ModelServer, Then};
use crate::support::streams::{CHAT, DONE, EVENTS, ROLE, STOP, Tape, WORD, chat};
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

fn ask() -> Request {
    Request::post(CHAT, "{\"stream\":true}")
}

#[test]
fn each_chunk_leaves_when_it_came_even_in_the_middle_of_an_event() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    let whole = chat("v1").bytes();
    for gzip in [false, true] {
        // The server sends the next piece when the client has had this one.
        let mut tape = Tape::of(&[]);
        let mut cues = Vec::new();
        let pieces: Vec<&str> =
            whole.chunks(40).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
        for piece in &pieces {
            let (go, next) = tape.then(&[*piece]);
            cues.push(go);
            tape = next;
        }
        let tape = if gzip { tape.gzipped() } else { tape };
        server.now(tape.script());
        let mut client = Client::new(street.http);
        client.send(ask().bytes());
        client.head().unwrap();
        let mut came = Vec::new();
        for cue in cues {
            cue.send(()).unwrap();
            came.extend(client.pipe.chunk().unwrap());
        }
        loop {
            match client.pipe.chunk().unwrap() {
                rest if rest.is_empty() => break,
                rest => came.extend(rest),
            }
        }
        assert_eq!(came, tape.bytes());
    }
    assert_eq!(street.metrics().requests("v1", "2xx"), 2);
}

#[test]
fn a_caller_that_leaves_half_way_stops_the_model_and_blames_nobody() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    canary.now(Arc::new(|_, line| {
        line.body().unwrap_or_default();
        line.send(format!(
            "HTTP/1.1 200 OK\r\n{EVENTS}transfer-encoding: chunked\r\n\r\n"
        ));
        line.chunk(ROLE);
        while line.chunk(WORD) {
            wait::linger(Duration::from_millis(10));
        }
        Then::Close
    }));
    let config = Config::pair(&stable, "100%", &canary).route_with(NO_RULES);
    let street = Street::open(&config);
    for _ in 0..5 {
        let mut client = Client::new(street.http);
        client.send(ask().bytes());
        client.head().unwrap();
        client.pipe.chunk().unwrap();
    }
    wait::eventually("the model is stopped", Duration::from_secs(2), || {
        (canary.open_connections() == 0).then_some(())
    });
    wait::eventually("it is counted as the callers' doing", SOON, || {
        (street.metrics().requests("v2", "client_cancelled") == 5).then_some(())
    });
    let view = street.version("v2");
    assert_eq!(
        (&view["failures"], &view["in_flight"]),
        (&0.into(), &0.into()),
        "{view:#}"
    );
    // One that leaves before the first word, too.
    canary.now(Tape::of(&[ROLE]).ends(crate::support::streams::End::Silence).script());
    let mut client = Client::new(street.http);
    client.send(ask().bytes());
    wait::eventually("the canary is asked", SOON, || {
        (canary.requests() == 6).then_some(())
    });
    drop(client);
    wait::eventually("the model is stopped", Duration::from_secs(2), || {
        (canary.open_connections() == 0).then_some(())
    });
    assert_eq!(stable.requests(), 0);
}

/// Events of so many bytes come down in all, the reader pausing now and then.
fn comes_down(total: u64, gzip: bool) {
    let server = ModelServer::good("v1");
    let sent = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&sent);
    server.now(Arc::new(move |_, line| {
        line.body().unwrap_or_default();
        let coding = if gzip { "content-encoding: gzip\r\n" } else { "" };
        line.send(format!(
            "HTTP/1.1 200 OK\r\n{EVENTS}{coding}transfer-encoding: chunked\r\n\r\n"
        ));
        let words = Tape::of(&[WORD.repeat(300).as_str()]);
        let words = if gzip { words.gzipped() } else { words };
        let last = Tape::of(&[STOP, DONE]);
        let last = if gzip { last.gzipped() } else { last };
        let (words, last) = (words.bytes(), last.bytes());
        while sum.fetch_add(words.len() as u64, Ordering::Relaxed) < total {
            if !line.chunk(&words) {
                return Then::Close;
            }
        }
        line.chunk(last);
        if line.send("0\r\n\r\n") { Then::Keep } else { Then::Close }
    }));
    let street = Street::open(&Config::plain(&server));
    street.metrics();
    let before = street.rss();
    let mut client = Client::new(street.http);
    client.send(ask().bytes());
    let (_, head) = client.head().unwrap();
    let (mut came, mut peak, mut since) = (0, 0, 0);
    let framing = head.framing(Framing::UntilClose).unwrap();
    let end = client.pipe.each_piece(framing, |piece| {
        came += piece.len() as u64;
        since += piece.len() as u64;
        if since > total / 16 {
            since = 0;
            wait::linger(Duration::from_millis(50));
            peak = peak.max(street.rss());
        }
    });
    end.unwrap();
    assert!(came > total, "{came} of {total} bytes");
    let grown = peak.saturating_sub(before) / 1024;
    assert!(grown < 8 * 1024, "{grown} KiB for one stream");
    assert_eq!(street.metrics().requests("v1", "2xx"), 1);
}

#[test]
fn a_long_stream_with_a_slow_reader_takes_no_memory() {
    comes_down(bytes(), false);
    comes_down(bytes() / 512, true);
}

#[test]
fn an_event_without_end_takes_no_memory() {
    let server = ModelServer::good("v1");
    let total = bytes() / 2;
    server.now(Arc::new(move |_, line| {
        line.body().unwrap_or_default();
        line.send(format!(
            "HTTP/1.1 200 OK\r\n{EVENTS}transfer-encoding: chunked\r\n\r\n"
        ));
        let piece = vec![b'x'; 256 * 1024];
        line.chunk("data: ");
        for _ in 0..total / piece.len() as u64 {
            line.chunk(&piece);
        }
        line.chunk("\n\n");
        line.chunk(DONE);
        if line.send("0\r\n\r\n") { Then::Keep } else { Then::Close }
    }));
    let street = Street::open(&Config::plain(&server));
    let before = street.rss();
    assert_eq!(street.ask(&ask()).status, 200);
    let grown = street.rss().saturating_sub(before) / 1024;
    assert!(grown < 8 * 1024, "{grown} KiB for one event");
}

/// 2 GiB in CI; less by default, so that the suite stays quick.
fn bytes() -> u64 {
    let mib = std::env::var("SWITCHBACK_TEST_STREAM_MIB");
    mib.map_or(64, |mib| mib.parse::<u64>().unwrap()) * 1024 * 1024
}
