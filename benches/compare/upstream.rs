//! Two fake model servers, stable and canary, on one thread.
//!
//! Apart from any real server because it must cost less than the proxies it stands behind:
//! it answers from memory and reads no more of a request than its length. A path that ends
//! in `/infer` is answered with the number of bytes that came, every other with 1 KB.
//! `upstream serve` listens on two free ports of 127.0.0.1, says them on stdout
//! (`a 127.0.0.1:NNNN`) and runs until it is ended.

mod answers;
mod framing;

use std::error::Error;
use std::io::{ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

use answers::LETTERS;

/// Connections at most; a proxy that opens more is refused, which shows as an error.
const MOST: usize = 40_000;
/// A head longer than this is not what the load sends.
const LONGEST_HEAD: usize = 64 * 1024;

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
    let kilobytes = LETTERS.map(|letter| answer(&answers::kilobyte(letter)));
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut scratch = vec![0; 256 * 1024];
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Token(token) = event.token();
            if let Some(listener) = listeners.get(token) {
                accept(listener, token, poll.registry(), &mut peers, &mut free)?;
                continue;
            }
            let place = token - LETTERS.len();
            let Some(peer) = peers[place].as_mut() else { continue };
            if !peer.ready(event.is_readable(), &mut scratch, &kilobytes) {
                peers[place] = None;
                free.push(place);
            }
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
        let peer = Peer { stream, at, head: Vec::new(), body: None, out: Vec::new() };
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
}

/// A request whose head has come.
struct Body {
    size: usize,
    left: usize,
    /// Whether the answer is the size.
    counted: bool,
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
            if body.counted {
                let size = answers::size(LETTERS[self.at], body.size);
                self.out.extend_from_slice(&answer(&size));
            } else {
                self.out.extend_from_slice(&kilobytes[self.at]);
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
        let counted =
            line.strip_suffix(b" HTTP/1.1").unwrap_or(line).ends_with(b"/infer");
        self.body = Some(Body { size: head.body, left: head.body, counted });
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
