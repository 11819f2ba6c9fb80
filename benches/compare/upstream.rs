//! Two fake model servers, stable and canary, on one thread.
//!
//! Apart from any real server because it must cost less than the proxies it stands behind:
//! it answers from memory and reads no more of a request than its length. A path that ends
//! in `/infer` is answered with the number of bytes that came, a request that takes events
//! with a stream that does not end, every other with 1 KB. `upstream serve` listens on two
//! free ports of 127.0.0.1 and two for gRPC, says them on stdout (`a 127.0.0.1:NNNN`,
//! `grpc-a …`) and runs until it is ended.

mod answers;
mod calls;
#[expect(dead_code, reason = "a server needs less of it than the load")]
mod frames;
mod framing;
mod ticker;

use std::error::Error;
use std::io::{ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

use answers::LETTERS;
use ticker::Ticker;

/// Connections at most; a proxy that opens more is refused, which shows as an error.
const MOST: usize = 40_000;
/// A head longer than this is not what the load sends.
const LONGEST_HEAD: usize = 64 * 1024;
const CLOCK: Token = Token(usize::MAX);
/// What asks for a stream of events.
const WANTS_EVENTS: &[u8] = b"\naccept: text/event-stream";

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` calls every target; there is nothing to do alone.
    if !std::env::args().any(|arg| arg == "serve") {
        return Ok(());
    }
    let mut poll = Poll::new()?;
    let mut listeners = Vec::new();
    for (at, letter) in LETTERS.into_iter().enumerate() {
        let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
        writeln!(std::io::stdout(), "{letter} {}", listener.local_addr()?)?;
        poll.registry().register(&mut listener, Token(at), Interest::READABLE)?;
        listeners.push(listener);
    }
    let mut callees = Vec::new();
    for letter in LETTERS {
        let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
        writeln!(std::io::stdout(), "grpc-{letter} {}", listener.local_addr()?)?;
        callees.push(listener);
    }
    let callees: [TcpListener; 2] = callees.try_into().map_err(|_| "two listeners")?;
    std::thread::spawn(|| calls::serve(callees).map_err(|error| error.to_string()));
    let mut ticker = Ticker::new(poll.registry(), CLOCK)?;
    let kilobytes = LETTERS.map(|letter| answer(&answers::kilobyte(letter)));
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut scratch = vec![0; 256 * 1024];
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Token(token) = event.token();
            if event.token() == CLOCK {
                tick(&mut ticker, &mut peers);
                continue;
            }
            if let Some(listener) = listeners.get(token) {
                accept(listener, token, poll.registry(), &mut peers, &mut free)?;
                continue;
            }
            let place = token - LETTERS.len();
            let Some(peer) = peers[place].as_mut() else { continue };
            let streamed = peer.streams;
            if !peer.ready(event.is_readable(), &mut scratch, &kilobytes) {
                peers[place] = None;
                free.push(place);
                ticker.remove(place)?;
            } else if peer.streams && !streamed {
                ticker.add(place)?;
            }
        }
    }
}

/// Sends the events that are due.
fn tick(ticker: &mut Ticker, peers: &mut [Option<Peer>]) {
    ticker.read();
    while let Some((place, due)) = ticker.due() {
        if let Some(peer) = peers[place].as_mut() {
            let at = peer.at;
            peer.out.extend_from_slice(ticker.chunk(at, due));
            // A connection that is over says so when it is read.
            peer.flush();
        }
    }
}

/// A whole answer of this body.
fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: fake\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn accept(
    listener: &TcpListener,
    at: usize,
    registry: &Registry,
    peers: &mut Vec<Option<Peer>>,
    free: &mut Vec<usize>,
) -> Result<(), Box<dyn Error>> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let place = free.pop().unwrap_or(peers.len());
        if place == MOST {
            continue;
        }
        stream.set_nodelay(true)?;
        let token = Token(place + LETTERS.len());
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let (head, out) = (Vec::new(), Vec::new());
        let peer = Peer { stream, at, head, body: None, out, streams: false };
        if place == peers.len() {
            peers.push(Some(peer));
        } else {
            peers[place] = Some(peer);
        }
    }
}

/// One connection from a proxy.
struct Peer {
    stream: TcpStream,
    /// Which of the two servers it came to.
    at: usize,
    /// The part of a head that has come.
    head: Vec<u8>,
    body: Option<Body>,
    /// Answered and not yet taken by the socket.
    out: Vec<u8>,
    /// Whether it gets events from now on.
    streams: bool,
}

/// A request whose head has come.
struct Body {
    size: usize,
    left: usize,
    answer: Answer,
}

/// What a request is answered with.
#[derive(Clone, Copy)]
enum Answer {
    Kilobyte,
    Size,
    Events,
}

impl Peer {
    /// Does what the socket is ready for; `false` when the connection is over.
    fn ready(
        &mut self,
        readable: bool,
        scratch: &mut [u8],
        kilobytes: &[Vec<u8>; 2],
    ) -> bool {
        if !readable {
            return self.flush();
        }
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return false,
                Ok(got) => {
                    if self.take(&scratch[..got], kilobytes).is_none() {
                        return false;
                    }
                    // A short read has emptied the socket; what comes later is a new event.
                    if got < scratch.len() {
                        return self.flush();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.flush();
                }
                Err(_) => return false,
            }
        }
    }

    /// Takes what has come of requests; `None` when a head is too long.
    fn take(&mut self, mut bytes: &[u8], kilobytes: &[Vec<u8>; 2]) -> Option<()> {
        while !bytes.is_empty() {
            if self.body.is_none() {
                bytes = self.take_head(bytes)?;
            }
            let Some(body) = &mut self.body else { continue };
            let part = body.left.min(bytes.len());
            body.left -= part;
            bytes = &bytes[part..];
            if body.left > 0 {
                continue;
            }
            match body.answer {
                Answer::Kilobyte => self.out.extend_from_slice(&kilobytes[self.at]),
                Answer::Size => {
                    let size = answers::size(LETTERS[self.at], body.size);
                    self.out.extend_from_slice(&answer(&size));
                }
                Answer::Events => {
                    self.out.extend_from_slice(ticker::HEAD);
                    self.streams = true;
                }
            }
            self.body = None;
        }
        Some(())
    }

    /// Takes the head, or all there is of it; gives back what follows.
    fn take_head<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let before = self.head.len();
        if before > 0 {
            self.head.extend_from_slice(bytes);
        }
        let whole = if before > 0 { &self.head[..] } else { bytes };
        let Some(head) = framing::head(whole) else {
            if before == 0 {
                self.head.extend_from_slice(bytes);
            }
            return (self.head.len() < LONGEST_HEAD).then_some(&[]);
        };
        let line = whole.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let answer =
            if line.strip_suffix(b" HTTP/1.1").unwrap_or(line).ends_with(b"/infer") {
                Answer::Size
            } else if line.starts_with(b"POST") && wants_events(&whole[..head.len]) {
                Answer::Events
            } else {
                Answer::Kilobyte
            };
        self.body = Some(Body { size: head.body, left: head.body, answer });
        self.head.clear();
        Some(&bytes[head.len - before..])
    }

    fn flush(&mut self) -> bool {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(0) => return false,
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

/// Whether the field is there, in whatever case a proxy has written its name.
fn wants_events(head: &[u8]) -> bool {
    let mut windows = head.windows(WANTS_EVENTS.len());
    windows.any(|window| window.eq_ignore_ascii_case(WANTS_EVENTS))
}
