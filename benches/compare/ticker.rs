//! The pace of the streams: so many events a second, to one stream after the other.
//!
//! Apart because it is the only thing of the servers that has a clock. An event says when it
//! was due, not when it was sent: a server that comes late is part of what is measured, and
//! the same with every proxy and without one.

use std::collections::VecDeque;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec,
    timerfd_create, timerfd_settime,
};

use crate::answers::{DIGITS, LETTERS, event, monotonic};

/// Events a second, over all streams.
const RATE: u64 = 2_000;
const EVERY: u64 = 1_000_000_000 / RATE;
/// The head of a stream.
pub(crate) const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
    server: fake\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
    x-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n";

/// Who gets the next event, and when.
pub(crate) struct Ticker {
    timer: OwnedFd,
    /// Places of the connections that are streams.
    streams: VecDeque<usize>,
    next: u64,
    chunks: [Vec<u8>; 2],
    digits: usize,
}

impl Ticker {
    pub(crate) fn new(registry: &Registry, token: Token) -> std::io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let fd = timer.as_raw_fd();
        registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        let size = format!("{:x}\r\n", event(LETTERS[0]).len());
        let chunks =
            LETTERS.map(|letter| [size.as_bytes(), &event(letter), b"\r\n"].concat());
        let digits = size.len() + DIGITS.start;
        Ok(Self { timer, streams: VecDeque::new(), next: 0, chunks, digits })
    }

    /// Adds a stream; the first starts the clock.
    pub(crate) fn add(&mut self, place: usize) -> std::io::Result<()> {
        if self.streams.is_empty() {
            self.next = monotonic() + EVERY;
            self.set(EVERY)?;
        }
        self.streams.push_back(place);
        Ok(())
    }

    /// Forgets a connection; the last stops the clock.
    pub(crate) fn remove(&mut self, place: usize) -> std::io::Result<()> {
        let before = self.streams.len();
        self.streams.retain(|stream| *stream != place);
        if before > 0 && self.streams.is_empty() { self.set(0) } else { Ok(()) }
    }

    /// Lets the clock go on: it stands until somebody has read it.
    pub(crate) fn read(&self) {
        // Nothing to read is as good.
        let _count = rustix::io::read(&self.timer, &mut [0; 8]);
    }

    /// The next stream that is due an event.
    pub(crate) fn due(&mut self) -> Option<(usize, u64)> {
        if self.next > monotonic() {
            return None;
        }
        let place = self.streams.pop_front()?;
        self.streams.push_back(place);
        let due = self.next;
        self.next += EVERY;
        Some((place, due))
    }

    /// The chunk with the event that was due then.
    pub(crate) fn chunk(&mut self, at: usize, due: u64) -> &[u8] {
        let chunk = &mut self.chunks[at];
        let digits = format!("{due:020}");
        chunk[self.digits..self.digits + digits.len()].copy_from_slice(digits.as_bytes());
        chunk
    }

    fn set(&self, every: u64) -> std::io::Result<()> {
        let every =
            Timespec { tv_sec: 0, tv_nsec: i64::try_from(every).unwrap_or_default() };
        let spec = Itimerspec { it_interval: every, it_value: every };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }
}
