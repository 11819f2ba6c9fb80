//! Streams of events, each event followed from the moment when the server had to send it to
//! the moment when it is here.
//!
//! Apart from `driver.rs` because here the server sets the pace. Its clock is ours: both
//! processes read the same monotonic one.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Poll};

use crate::answers::{DIGITS, LETTERS, event, monotonic};
use crate::framing;
use crate::line::connect;
use crate::shape::Shape;
use crate::tally::{Plan, Report, Tally, text};

/// Runs the plan: one stream on each connection, for as long as it lasts.
///
/// # Errors
/// When the proxy cannot be reached, or an event is not what the server sent.
pub(crate) fn run(plan: &Plan, shape: &Shape) -> Result<Report, String> {
    let mut poll = Poll::new().map_err(text)?;
    let mut tally = Tally::new(plan, Instant::now())?;
    let mut streams = Vec::new();
    for place in 0..plan.connections {
        let mut tcp = connect(plan.to, &poll, place)?;
        tcp.write_all(&shape.request).map_err(text)?;
        let (head, events) = (Some(Vec::new()), Vec::new());
        streams.push(Stream { tcp, head, chunk: Chunk::Size(0), events });
    }
    let wanted = LETTERS.map(event);
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; 64 * 1024];
    loop {
        poll.poll(&mut events, Some(Duration::from_millis(50))).map_err(text)?;
        for event in &events {
            if event.is_readable() {
                streams[event.token().0].ready(&mut tally, &wanted, &mut scratch)?;
            }
        }
        if let Some(report) = tally.look()? {
            return Ok(report);
        }
    }
}

/// One answer that does not end.
struct Stream {
    tcp: TcpStream,
    /// What has come of its head, until it is whole.
    head: Option<Vec<u8>>,
    chunk: Chunk,
    /// What has come of the next event.
    events: Vec<u8>,
}

/// Where we are among the chunks (RFC 9112 section 7.1).
enum Chunk {
    Size(usize),
    Data(usize),
    /// The line's end behind the data.
    End,
}

impl Stream {
    fn ready(
        &mut self,
        tally: &mut Tally<'_>,
        wanted: &[Vec<u8>; 2],
        scratch: &mut [u8],
    ) -> Result<(), String> {
        loop {
            let got = match self.tcp.read(scratch) {
                Ok(0) => return Err("a stream has ended".into()),
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            };
            self.take(&scratch[..got])?;
            self.judge(tally, wanted)?;
            if got < scratch.len() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(head) = &mut self.head else { return self.unchunk(bytes) };
        head.extend_from_slice(bytes);
        let Some(found) = framing::head(head) else { return Ok(()) };
        if !(head.starts_with(b"HTTP/1.1 200 ") && found.body == framing::CHUNKED) {
            return Err(format!("not a stream: {:?}", String::from_utf8_lossy(head)));
        }
        let rest = head.split_off(found.len);
        self.head = None;
        self.unchunk(&rest)
    }

    fn unchunk(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let Some((first, rest)) = bytes.split_first() {
            match &mut self.chunk {
                Chunk::Size(size) => {
                    if let Some(digit) = char::from(*first).to_digit(16) {
                        *size = *size * 16 + usize::try_from(digit).map_err(text)?;
                    } else if *first == b'\n' {
                        self.chunk = Chunk::Data(*size);
                    } else if *first != b'\r' {
                        return Err("a chunk has no size".into());
                    }
                    bytes = rest;
                }
                Chunk::Data(left) => {
                    let part = bytes.len().min(*left);
                    self.events.extend_from_slice(&bytes[..part]);
                    bytes = &bytes[part..];
                    *left -= part;
                    if *left == 0 {
                        self.chunk = Chunk::End;
                    }
                }
                Chunk::End => {
                    if *first == b'\n' {
                        self.chunk = Chunk::Size(0);
                    }
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    /// Takes the whole events that have come.
    fn judge(
        &mut self,
        tally: &mut Tally<'_>,
        wanted: &[Vec<u8>; 2],
    ) -> Result<(), String> {
        let size = wanted[0].len();
        while self.events.len() >= size {
            let event = &self.events[..size];
            let same = |wanted: &Vec<u8>| {
                event[..DIGITS.start] == wanted[..DIGITS.start]
                    && event[DIGITS.end..] == wanted[DIGITS.end..]
            };
            let due = std::str::from_utf8(&event[DIGITS]).map_err(text)?.parse::<u64>();
            match (wanted.iter().position(same), due) {
                (Some(from), Ok(due)) => {
                    tally.passed(from == 1, monotonic().saturating_sub(due).max(1));
                }
                _ => tally.bad(format!(
                    "not the event that the server sent: {:?}",
                    String::from_utf8_lossy(event)
                ))?,
            }
            self.events.drain(..size);
        }
        Ok(())
    }
}
