//! A client that says anything, and looks on without judging what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::cases::Then;
use crate::support::h2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame,
};

/// A connection.
pub struct Conn {
    stream: TcpStream,
    held: Vec<u8>,
    /// What the other side has set, as (identifier, value).
    pub settings: Vec<(u16, u32)>,
}

/// One frame that came.
#[derive(Debug)]
struct Came {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// What is seen when one looks.
#[derive(Debug)]
enum Seen {
    Frame(Came),
    Closed,
    Nothing,
}

/// How long anything is waited for, as h2spec does.
const WAIT: Duration = Duration::from_secs(2);

impl Conn {
    /// A connection on which nothing was said.
    pub fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(WAIT)).unwrap();
        Self { stream, held: Vec::new(), settings: Vec::new() }
    }

    /// Sends bytes; a peer that has closed is seen when reading.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap_or_default();
    }

    /// Sends a frame.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.raw(&frame(kind, flags, stream, payload));
    }

    /// The preface and settings of ours, then until both sides have agreed.
    pub fn greet(&mut self) -> Result<(), String> {
        self.raw(PREFACE);
        self.set(&[(4, 65_535)]);
        let (mut heard, mut agreed) = (false, false);
        while !(heard && agreed) {
            match self.next(WAIT) {
                Seen::Frame(came) if came.kind == SETTINGS && came.flags & ACK != 0 => {
                    agreed = true;
                }
                Seen::Frame(came) if came.kind == SETTINGS => {
                    let pair = |six: &[u8]| {
                        let id = u16::from_be_bytes([six[0], six[1]]);
                        (id, u32::from_be_bytes([six[2], six[3], six[4], six[5]]))
                    };
                    self.settings = came.payload.chunks_exact(6).map(pair).collect();
                    heard = true;
                    self.frame(SETTINGS, ACK, 0, &[]);
                }
                Seen::Frame(_) => {}
                other @ (Seen::Closed | Seen::Nothing) => {
                    return Err(format!("{other:?}"));
                }
            }
        }
        Ok(())
    }

    /// Sends settings.
    pub fn set(&mut self, settings: &[(u16, u32)]) {
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| {
                [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
            })
            .collect();
        self.frame(SETTINGS, 0, 0, &payload);
    }

    /// Waits for the next settings or their acknowledgement.
    pub fn await_settings(&mut self) {
        self.until(|came| came.kind == SETTINGS);
    }

    /// Waits for the end of the first stream's answer.
    pub fn await_end(&mut self) {
        self.until(|came| {
            matches!(came.kind, DATA | HEADERS) && came.flags & END_STREAM != 0
        });
    }

    /// Waits for a `DATA`.
    pub fn await_data(&mut self) {
        self.until(|came| came.kind == DATA);
    }

    fn until(&mut self, wanted: impl Fn(&Came) -> bool) {
        while let Seen::Frame(came) = self.next(WAIT) {
            if wanted(&came) {
                return;
            }
        }
    }

    /// A `HEADERS` with a whole block.
    pub fn headers(&mut self, flags: u8, stream: u32, block: &[u8]) {
        self.frame(HEADERS, flags | END_HEADERS, stream, block);
    }

    /// A whole `GET`.
    pub fn get(&mut self, stream: u32) {
        self.headers(END_STREAM, stream, &common("GET", &[]));
    }

    /// The head of a `POST`.
    pub fn post(&mut self, stream: u32, more: &[(&str, &str)]) {
        self.headers(0, stream, &common("POST", more));
    }

    /// A `DATA`.
    pub fn data(&mut self, flags: u8, stream: u32, bytes: &[u8]) {
        self.frame(DATA, flags, stream, bytes);
    }

    /// A `RST_STREAM`.
    pub fn reset(&mut self, stream: u32, code: u32) {
        self.frame(RST_STREAM, 0, stream, &code.to_be_bytes());
    }

    /// A `WINDOW_UPDATE`.
    pub fn window(&mut self, stream: u32, by: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    }

    /// A `PRIORITY` with that parent.
    pub fn priority(&mut self, stream: u32, parent: u32, weight: u8) {
        self.frame(2, 0, stream, &[&parent.to_be_bytes()[..], &[weight]].concat());
    }

    /// A `PING`.
    pub fn ping(&mut self, flags: u8, bytes: [u8; 8]) {
        self.frame(PING, flags, 0, &bytes);
    }

    /// A `CONTINUATION`.
    pub fn more(&mut self, flags: u8, stream: u32, block: &[u8]) {
        self.frame(CONTINUATION, flags, stream, block);
    }

    /// Looks on until what must come has come.
    pub fn verify(&mut self, then: Then) -> Result<(), String> {
        let begun = Instant::now();
        let mut log = Vec::new();
        loop {
            let seen = self.next(WAIT.saturating_sub(begun.elapsed()));
            let over = !matches!(seen, Seen::Frame(_));
            match judge(then, &seen) {
                Some(true) => return Ok(()),
                None if !over => log.push(format!("{seen:?}")),
                Some(false) | None => {
                    log.push(format!("{seen:?}"));
                    let text: Vec<String> =
                        log.iter().map(|it| it.chars().take(120).collect()).collect();
                    return Err(text.join(" "));
                }
            }
        }
    }

    fn next(&mut self, within: Duration) -> Seen {
        let until = Instant::now() + within;
        let need = |held: &[u8]| match held {
            [a, b, c, _, _, _, _, _, _, ..] => {
                9 + u32::from_be_bytes([0, *a, *b, *c]) as usize
            }
            _ => 9,
        };
        while self.held.len() < need(&self.held) {
            let left = until.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Seen::Closed,
                Ok(len) => self.held.extend_from_slice(&buffer[..len]),
                Err(error) if is_late(&error) => return Seen::Nothing,
                Err(_) => return Seen::Closed,
            }
        }
        let rest = self.held.split_off(need(&self.held));
        let bytes = std::mem::replace(&mut self.held, rest);
        let stream = u32::from_be_bytes([bytes[5] & 0x7f, bytes[6], bytes[7], bytes[8]]);
        let payload = bytes[9..].to_vec();
        Seen::Frame(Came { kind: bytes[3], flags: bytes[4], stream, payload })
    }
}

fn is_late(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Whether that decides the case, and how.
fn judge(then: Then, seen: &Seen) -> Option<bool> {
    let code_of = |came: &Came, at: usize| {
        let bytes = came.payload.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map_or(u32::MAX, u32::from_be_bytes)
    };
    let came = match (then, seen) {
        (
            Then::Connection(_) | Then::Stream(_) | Then::Closes | Then::PongOrCloses(_),
            Seen::Closed,
        ) => return Some(true),
        (_, Seen::Closed | Seen::Nothing) => return Some(false),
        (_, Seen::Frame(came)) => came,
    };
    let is = |kind| came.kind == kind;
    let yes = match then {
        Then::Connection(codes) => is(GOAWAY) && codes.contains(&code_of(came, 4)),
        Then::Stream(codes) => {
            is(GOAWAY) && codes.contains(&code_of(came, 4))
                || is(RST_STREAM) && codes.contains(&code_of(came, 0))
        }
        Then::Closes => false,
        Then::GoesAway(code) => is(GOAWAY) && code_of(came, 4) == code,
        Then::Resets(code) => {
            is(RST_STREAM) && came.stream == 1 && code_of(came, 0) == code
        }
        Then::Answers => is(HEADERS) && came.stream == 1,
        Then::Data(_) if !is(DATA) => false,
        Then::Data(length) => return Some(length == 0 || came.payload.len() == length),
        Then::Pong(_) | Then::PongOrCloses(_) if !is(PING) => false,
        Then::Pong(bytes) | Then::PongOrCloses(bytes) => {
            return Some(came.flags & ACK != 0 && came.payload == bytes);
        }
        Then::Acknowledges if !is(SETTINGS) => false,
        Then::Acknowledges => return Some(came.flags & ACK != 0),
        Then::Greets => return Some(is(SETTINGS) && came.flags & ACK == 0),
    };
    yes.then_some(true)
}

/// A block of the four pseudo-headers and more, in literals that leave no trace.
pub fn common(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", method),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "models.test"),
    ];
    fields.extend_from_slice(more);
    crate::support::h2::block(&fields)
}

/// A block of that many long fields.
pub fn dummies(count: usize) -> Vec<u8> {
    let value = "x".repeat(4_000);
    let names: Vec<String> = (0..count).map(|n| format!("x-dummy{n}")).collect();
    let fields: Vec<(&str, &str)> =
        names.iter().map(|name| (name.as_str(), value.as_str())).collect();
    crate::support::h2::block(&fields)
}

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Codes of errors (RFC 9113 section 7).
pub const PROTOCOL: u32 = 1;
/// Flow control.
pub const FLOW_CONTROL: u32 = 3;
/// A frame after the end.
pub const STREAM_CLOSED: u32 = 5;
/// A frame of a wrong size.
pub const FRAME_SIZE: u32 = 6;
/// Not processed.
pub const REFUSED: u32 = 7;
/// No longer wanted.
pub const CANCEL: u32 = 8;
/// Header compression.
pub const COMPRESSION: u32 = 9;
