//! Calls over HTTP/2: a few connections with many streams each, each stream followed by the
//! next as soon as it has ended.
//!
//! Apart from `driver.rs` because an answer is not the next thing on its connection.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Poll};

use crate::frames::{self, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, RESET, Upkeep};
use crate::line::connect;
use crate::shape::Call;
use crate::tally::{Plan, Report, Tally, text};

/// Streams at a time on each connection.
const STREAMS: usize = 16;

/// Runs the plan: as many streams as it has connections, in a closed loop.
///
/// # Errors
/// When the proxy cannot be reached or fails too often.
pub(crate) fn run(plan: &Plan, call: &Call) -> Result<Report, String> {
    let mut poll = Poll::new().map_err(text)?;
    let mut tally = Tally::new(plan, Instant::now())?;
    let mut wires = Vec::new();
    for place in 0..plan.connections.div_ceil(STREAMS) {
        let mut wire = Wire::open(plan, &poll, place)?;
        wire.fill(call);
        wire.flush()?;
        wires.push(wire);
    }
    let mut events = Events::with_capacity(64);
    let mut scratch = vec![0; 64 * 1024];
    loop {
        poll.poll(&mut events, Some(Duration::from_millis(50))).map_err(text)?;
        for event in &events {
            let place = event.token().0;
            if let Err(what) = wires[place].ready(call, &mut tally, &mut scratch) {
                tally.bad(what)?;
                wires[place] = Wire::open(plan, &poll, place)?;
                wires[place].fill(call);
            }
        }
        if let Some(report) = tally.look()? {
            return Ok(report);
        }
    }
}

/// One connection.
struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
    out: Vec<u8>,
    upkeep: Upkeep,
    next: u32,
    open: Vec<Open>,
}

/// One call under way.
struct Open {
    stream: u32,
    since: Instant,
    good: bool,
    body: Vec<u8>,
}

impl Wire {
    fn open(plan: &Plan, poll: &Poll, place: usize) -> Result<Self, String> {
        let stream = connect(plan.to, poll, place)?;
        let mut out = frames::PREFACE.to_vec();
        frames::greet(&mut out);
        let (input, open) = (Vec::new(), Vec::new());
        Ok(Self { stream, input, out, upkeep: Upkeep::new(), next: 1, open })
    }

    /// Begins calls while there is room for them.
    fn fill(&mut self, call: &Call) {
        while self.open.len() < STREAMS && self.upkeep.spend(call.body.len()) {
            let only = if call.body.is_empty() { END_STREAM } else { 0 };
            let out = &mut self.out;
            frames::write(out, HEADERS, END_HEADERS | only, self.next, &call.head);
            if only == 0 {
                frames::write(out, DATA, END_STREAM, self.next, &call.body);
            }
            let (stream, since) = (self.next, Instant::now());
            self.open.push(Open { stream, since, good: false, body: Vec::new() });
            self.next += 2;
        }
    }

    fn ready(
        &mut self,
        call: &Call,
        tally: &mut Tally<'_>,
        scratch: &mut [u8],
    ) -> Result<(), String> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err("the connection was closed".into()),
                Ok(got) => {
                    self.input.extend_from_slice(&scratch[..got]);
                    self.take(call, tally)?;
                    self.fill(call);
                    if got < scratch.len() {
                        return self.flush();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.flush();
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Takes the whole frames that have come.
    fn take(&mut self, call: &Call, tally: &mut Tally<'_>) -> Result<(), String> {
        let mut at = 0;
        while let Some((frame, size)) = Frame::read(&self.input[at..]) {
            at += size;
            self.upkeep.see(&frame, &mut self.out)?;
            let place = self.open.iter().position(|open| open.stream == frame.stream);
            let Some(place) = place else { continue };
            let open = &mut self.open[place];
            match frame.kind {
                HEADERS => open.good |= frame.is_good(),
                DATA => open.body.extend_from_slice(frame.payload),
                RESET => return Err("a stream was reset".into()),
                _ => {}
            }
            if !frame.ends() {
                continue;
            }
            let open = self.open.swap_remove(place);
            let from = call.answers.iter().position(|answer| *answer == open.body);
            match from {
                Some(from) if open.good => {
                    tally.good(from == 1, open.since, Instant::now());
                }
                _ => tally.bad(format!(
                    "not the answer that the server gave: {:?}",
                    String::from_utf8_lossy(&open.body[..open.body.len().min(120)])
                ))?,
            }
        }
        self.input.drain(..at);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), String> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }
}
