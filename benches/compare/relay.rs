//! The floor: the least that a splitting reverse proxy can do.
//!
//! One thread, one epoll, heads parsed and passed on as they came, every tenth request to
//! the canary, upstream connections kept. It has no limits, no time-outs, no measuring and
//! no error handling beyond hanging up, and must never face anything but this comparison:
//! it shows how much of each figure is the kernel's. `relay PORT STABLE CANARY`.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

/// Bytes that may wait for a slow receiver before both sides are hung up on.
const MOST_WAITING: usize = 4 * 1024 * 1024;
/// The longest head that is passed on.
const LONGEST_HEAD: usize = 64 * 1024;
const LISTENER: Token = Token(usize::MAX);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` calls every target; there is nothing to do alone.
    if args.is_empty() || args.iter().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let [port, stable, canary] = &args[..] else {
        return Err("relay PORT STABLE CANARY".into());
    };
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(format!("127.0.0.1:{port}").parse()?)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut relay = Relay {
        registry: poll.registry().try_clone()?,
        servers: [stable.parse()?, canary.parse()?],
        ends: Vec::new(),
        free: Vec::new(),
        pools: [Vec::new(), Vec::new()],
        turn: 0,
    };
    let mut scratch = vec![0; 64 * 1024];
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                relay.accept(&listener)?;
            } else {
                relay.ready(event.token().0, event.is_readable(), &mut scratch);
            }
        }
    }
}

struct Relay {
    registry: Registry,
    servers: [SocketAddr; 2],
    ends: Vec<Option<End>>,
    free: Vec<usize>,
    /// Connections to each server that wait for a request.
    pools: [Vec<usize>; 2],
    turn: u64,
}

/// One end of a relayed exchange: a client's connection or a server's.
struct End {
    stream: TcpStream,
    /// The server it leads to; `None` for a client.
    server: Option<usize>,
    /// The other end while a request is under way.
    partner: Option<usize>,
    /// The part of a head that has come.
    head: Vec<u8>,
    /// What is missing of the body of the message that it is receiving.
    left: usize,
    /// Not yet taken by the socket.
    out: Vec<u8>,
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener) -> std::io::Result<()> {
        loop {
            match listener.accept() {
                Ok((stream, _)) => drop(self.add(stream, None)?),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn add(
        &mut self,
        mut stream: TcpStream,
        server: Option<usize>,
    ) -> std::io::Result<usize> {
        stream.set_nodelay(true)?;
        let place = self.free.pop().unwrap_or(self.ends.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut stream, Token(place), interest)?;
        let (head, out) = (Vec::new(), Vec::new());
        let end = Some(End { stream, server, partner: None, head, left: 0, out });
        if place == self.ends.len() {
            self.ends.push(end);
        } else {
            self.ends[place] = end;
        }
        Ok(place)
    }

    fn ready(&mut self, place: usize, readable: bool, scratch: &mut [u8]) {
        let Some(end) = self.ends[place].as_mut() else { return };
        let mut alive = end.flush();
        while alive && readable {
            let Some(end) = self.ends[place].as_mut() else { return };
            match end.stream.read(scratch) {
                Ok(0) => alive = false,
                Ok(got) => {
                    alive = self.pass(place, &scratch[..got]).is_some();
                    if got < scratch.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => alive = false,
            }
        }
        if !alive {
            self.hang_up(place);
        }
    }

    /// Passes bytes on to the other end; `None` when the exchange has failed.
    fn pass(&mut self, place: usize, bytes: &[u8]) -> Option<()> {
        let end = self.ends[place].as_mut()?;
        let joined;
        let whole: &[u8] = if end.head.is_empty() {
            bytes
        } else {
            end.head.extend_from_slice(bytes);
            joined = std::mem::take(&mut end.head);
            &joined
        };
        if end.left > 0 {
            end.left = end.left.checked_sub(whole.len())?;
        } else {
            let Some(length) = message_length(whole, end.server.is_none())? else {
                end.head.extend_from_slice(whole);
                return (end.head.len() < LONGEST_HEAD).then_some(());
            };
            end.left = length.checked_sub(whole.len())?;
        }
        let (server, done) = (end.server, end.left == 0);
        let partner = match (end.partner, server) {
            (Some(partner), _) => partner,
            (None, Some(_)) => return None,
            (None, None) => self.choose(place)?,
        };
        self.ends[partner].as_mut()?.send(whole)?;
        if let Some(server) = server
            && done
        {
            self.ends[partner].as_mut()?.partner = None;
            self.ends[place].as_mut()?.partner = None;
            self.pools[server].push(place);
        }
        Some(())
    }

    /// A connection to the server whose turn it is.
    fn choose(&mut self, client: usize) -> Option<usize> {
        self.turn += 1;
        let server = usize::from(self.turn.is_multiple_of(10));
        let place = match self.pools[server].pop() {
            Some(place) => place,
            None => {
                let stream = TcpStream::connect(self.servers[server]).ok()?;
                self.add(stream, Some(server)).ok()?
            }
        };
        self.ends[place].as_mut()?.partner = Some(client);
        self.ends[client].as_mut()?.partner = Some(place);
        Some(place)
    }

    fn hang_up(&mut self, place: usize) {
        let Some(end) = self.ends[place].take() else { return };
        self.free.push(place);
        if let Some(server) = end.server {
            self.pools[server].retain(|pooled| *pooled != place);
        }
        if let Some(partner) = end.partner {
            self.hang_up(partner);
        }
    }
}

/// The length of the message, head and body, that begins here: `Some(None)` while its head
/// is not whole, `None` when it is not HTTP.
#[expect(clippy::option_option, reason = "not yet and never are two things")]
fn message_length(bytes: &[u8], request: bool) -> Option<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let (status, headers) = if request {
        let mut head = httparse::Request::new(&mut headers);
        (head.parse(bytes).ok()?, head.headers)
    } else {
        let mut head = httparse::Response::new(&mut headers);
        (head.parse(bytes).ok()?, head.headers)
    };
    let httparse::Status::Complete(head) = status else { return Some(None) };
    let length =
        headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let body = match length {
        Some(field) => std::str::from_utf8(field.value).ok()?.parse().ok()?,
        // A stream does not end in this comparison.
        None if headers.iter().any(is_coding) => usize::MAX / 2,
        None => 0,
    };
    Some(Some(head + body))
}

fn is_coding(field: &httparse::Header<'_>) -> bool {
    field.name.eq_ignore_ascii_case("transfer-encoding")
}

impl End {
    fn send(&mut self, bytes: &[u8]) -> Option<()> {
        let mut rest = bytes;
        while self.out.is_empty() && !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if not_now(&error) => break,
                Err(_) => return None,
            }
        }
        self.out.extend_from_slice(rest);
        (self.out.len() <= MOST_WAITING).then_some(())
    }

    fn flush(&mut self) -> bool {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(error) if not_now(&error) => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

/// Whether the socket will take it later: it is full, or still being connected.
fn not_now(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}
