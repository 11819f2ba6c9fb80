//! Bodies pass as they come, both ways at once, with back-pressure, trailers and all, and
//! nothing is kept. (rows 13, 14, 24)

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::client::{Client, INFER, PATIENCE, Request};
use crate::support::config::Config;
use crate::support::http1::Framing;
use crate::support::model_server::{Line, ModelServer, Script, Then};
use crate::support::street::Street;
use crate::support::wait;

/// A server that sends a chunk for each word it is given, and closes the stream at the end.
fn prompted() -> (Sender<&'static str>, ModelServer) {
    let (words, hears): (Sender<&'static str>, Receiver<&'static str>) = channel();
    let hears = Mutex::new(hears);
    let server = ModelServer::new(Arc::new(move |_, line| {
        line.body().unwrap_or_default();
        line.send(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        while let Ok(word) = hears.lock().unwrap().recv_timeout(PATIENCE) {
            if word.is_empty() || !line.chunk(word) {
                break;
            }
        }
        line.send("0\r\n\r\n");
        Then::Keep
    }));
    (words, server)
}

#[test]
fn each_piece_of_an_answer_passes_when_it_comes() {
    let (words, server) = prompted();
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    client.send(Request::infer("{}").bytes());
    let (status, _) = client.head().unwrap();
    assert_eq!(status, 200, "the head waits for nothing");
    for word in ["data: one\n\n", "data: two\n\n", "data: [DONE]\n\n"] {
        words.send(word).unwrap();
        // The server sends no more until this one has arrived.
        assert_eq!(client.pipe.chunk().unwrap(), word.as_bytes());
    }
    words.send("").unwrap();
    assert_eq!(client.pipe.chunk().unwrap(), b"");
    client.pipe.trailer().unwrap();
    assert_eq!(street.metrics().requests("v1", "2xx"), 1);
}

#[test]
fn each_piece_of_a_request_passes_when_it_comes() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let server = ModelServer::new(Arc::new(move |_, line: &mut Line| {
        loop {
            let chunk = line.pipe.chunk().unwrap_or_default();
            let end = chunk.is_empty();
            tell.lock().unwrap().send(chunk).unwrap();
            if end {
                break;
            }
        }
        line.pipe.trailer().unwrap();
        line.body_is_read();
        line.reply(200, "", "all of it")
    }));
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    client.send(format!(
        "POST {INFER} HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n"
    ));
    for word in ["one", "two", "three"] {
        client.send(format!("{:x}\r\n{word}\r\n", word.len()));
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), word.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().unwrap().text(), "all of it");
}

#[test]
fn both_directions_flow_at_once() {
    let server = ModelServer::new(Arc::new(|_, line: &mut Line| {
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        loop {
            match line.pipe.chunk() {
                Ok(chunk) if !chunk.is_empty() => line.chunk(chunk),
                _ => break,
            };
        }
        line.pipe.trailer().unwrap_or_default();
        line.body_is_read();
        line.send("0\r\n\r\n");
        Then::Keep
    }));
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    client.send("POST /talk HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n");
    let (status, _) = client.head().unwrap();
    assert_eq!(status, 200, "an answer that begins before the request has ended");
    for number in 0..50 {
        let word = format!("word {number}");
        client.send(format!("{:x}\r\n{word}\r\n", word.len()));
        assert_eq!(client.pipe.chunk().unwrap(), word.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.pipe.chunk().unwrap(), b"");
}

#[test]
fn a_reader_that_pauses_holds_the_writer_back() {
    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    let large: Script = Arc::new(move |_, line| {
        line.body().unwrap_or_default();
        line.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"));
        let piece = vec![b'x'; PIECE];
        for _ in 0..LARGE / PIECE as u64 {
            if !line.send(&piece) {
                return Then::Close;
            }
            count.fetch_add(PIECE as u64, Ordering::Relaxed);
        }
        Then::Keep
    });
    let server = ModelServer::new(large);
    let street = Street::open(&Config::plain(&server).limits("{ bodyIdleTimeout: 60s }"));
    let before = street.rss();
    let mut client = Client::new(street.http);
    client.send(Request::infer("{}").bytes());
    let (_, head) = client.head().unwrap();
    let mut last = u64::MAX;
    wait::eventually("the writer is held back", wait::SOON, || {
        wait::linger(Duration::from_millis(300));
        let now = written.load(Ordering::Relaxed);
        std::mem::replace(&mut last, now).eq(&now).then_some(())
    });
    assert!(last < LARGE / 2, "{last} of {LARGE} bytes went nowhere");
    let grown = street.rss().saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "{} KiB", grown / 1024);
    let mut sum = 0;
    let framing = head.framing(Framing::UntilClose).unwrap();
    client.pipe.each_piece(framing, |piece| sum += piece.len() as u64).unwrap();
    assert_eq!(sum, LARGE);
}

#[test]
fn a_server_that_does_not_read_holds_the_caller_back() {
    let (go, may) = channel::<()>();
    let may = Mutex::new(may);
    let server = ModelServer::new(Arc::new(move |_, line: &mut Line| {
        may.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        let length = line.body().map_or(0, |body| body.len());
        line.reply(200, "", length.to_string())
    }));
    let config =
        Config::plain(&server).limits("{ bodySize: 1GiB, bodyIdleTimeout: 60s }");
    let street = Street::open(&config);
    let before = street.rss();
    let mut client = Client::new(street.http);
    client.pipe.stream.set_write_timeout(Some(Duration::from_millis(700))).unwrap();
    client.send(format!(
        "POST {INFER} HTTP/1.1\r\nhost: m\r\ncontent-length: {LARGE}\r\n\r\n"
    ));
    let piece = vec![b'x'; PIECE];
    let mut sent = 0;
    let mut stream = client.pipe.stream.try_clone().unwrap();
    let rest = loop {
        match std::io::Write::write(&mut stream, &piece) {
            Ok(bytes) => sent += bytes as u64,
            Err(_) => break LARGE - sent,
        }
        assert!(sent < LARGE / 2, "{sent} bytes went nowhere");
    };
    let grown = street.rss().saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "{} KiB", grown / 1024);
    go.send(()).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    client.send(vec![b'x'; usize::try_from(rest).unwrap()]);
    assert_eq!(client.answer().unwrap().text(), LARGE.to_string());
}

#[test]
fn trailers_pass_both_ways_and_are_no_headers() {
    let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let noted = seen.clone();
    let server = ModelServer::new(Arc::new(move |ask, line: &mut Line| {
        let (_, end) = line.pipe.body(ask.framing);
        line.body_is_read();
        *noted.lock().unwrap() = end.unwrap().fields;
        line.send(
            "HTTP/1.1 200 OK\r\ntrailer: x-checksum\r\ntransfer-encoding: chunked\r\n\r\n\
             2\r\nok\r\n0\r\nx-checksum: 42\r\n\r\n",
        );
        Then::Keep
    }));
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    client.send(format!(
        "POST {INFER} HTTP/1.1\r\nhost: m\r\nte: trailers\r\nconnection: te\r\n\
         trailer: x-digest, authorization\r\ntransfer-encoding: chunked\r\n\r\n\
         2\r\nhi\r\n0\r\nx-digest: 7\r\nauthorization: secret\r\nx-model-version: v9\r\n\
         host: evil\r\ncontent-length: 99\r\ntransfer-encoding: chunked\r\n\r\n"
    ));
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(answer.end.unwrap().fields, [("x-checksum".to_owned(), "42".to_owned())]);
    let ask = server.asked(INFER);
    assert!(
        ask.head.all("x-digest").is_empty() && ask.head.all("authorization").is_empty()
    );
    let seen = seen.lock().unwrap();
    let allowed = seen.iter().all(|(name, _)| name == "x-digest");
    assert!(allowed && seen.len() == 1, "the request's trailer arrived as {seen:?}");
}

#[test]
fn a_caller_that_expects_100_is_told_to_go_on() {
    let server = ModelServer::new(crate::support::scripts::echo());
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    for body in ["first", "second"] {
        client.send(format!(
            "POST {INFER} HTTP/1.1\r\nhost: m\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            body.len()
        ));
        let (status, _) = client.head().unwrap();
        assert_eq!(status, 100, "{body}");
        client.send(body);
        assert_eq!(client.answer().unwrap().text(), body);
    }
}

#[test]
fn a_refusal_needs_no_body() {
    let server = ModelServer::new(Arc::new(|_, line: &mut Line| {
        line.body_is_read();
        line.reply(413, "connection: close\r\n", "too much");
        Then::Close
    }));
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    client.send(format!(
        "POST {INFER} HTTP/1.1\r\nhost: m\r\nexpect: 100-continue\r\ncontent-length: 50000000\r\n\r\n"
    ));
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (413, "too much"));
}

#[test]
fn an_early_answer_reaches_a_caller_that_still_sends() {
    let server = ModelServer::new(Arc::new(|_, line: &mut Line| {
        line.reply(422, "", "that is enough");
        // What is still under way is let in, so that no reset overtakes the answer.
        line.body().unwrap_or_default();
        Then::Close
    }));
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    client.send(format!(
        "POST {INFER} HTTP/1.1\r\nhost: m\r\ncontent-length: 1000000\r\n\r\n"
    ));
    client.send(vec![b'x'; 200_000]);
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (422, "that is enough"));
    assert_eq!(street.metrics().requests("v1", "4xx"), 1);
}

#[test]
fn many_streams_at_once_keep_apart() {
    let server = ModelServer::new(crate::support::scripts::echo());
    let street = Street::open(&Config::plain(&server).workers(2));
    let http = street.http;
    let clients: Vec<_> = (0..16_u8)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client = Client::new(http);
                for turn in 0..20 {
                    let body = vec![number; 1_000 + 7_919 * turn];
                    assert!(client.ask(&Request::infer(&body)).body == body);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

const LARGE: u64 = 64 * 1024 * 1024;
const PIECE: usize = 64 * 1024;
