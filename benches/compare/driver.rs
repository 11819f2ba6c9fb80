//! Keeps a fixed number of connections busy and counts what comes back.
//!
//! One thread, one buffer a connection, one read and one write an answer: it has to be
//! cheaper than the proxies, or it would measure itself. In an open loop a request has a
//! due time, and its latency counts from then: a proxy that stalls is charged for all the
//! requests that had to wait, not only for the ones it had already taken.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec,
    timerfd_create, timerfd_settime,
};

use crate::shape::Shape;
use crate::watched::Time;
use crate::{framing, watched};

/// Failures after which a run is given up.
const PATIENCE: u64 = 100;
/// Requests that may be due and not yet sent.
const BACKLOG: usize = 100_000;
/// The longest answer with its head, in bytes.
const LONGEST: usize = 16 * 1024;
const TIMER: Token = Token(usize::MAX);

/// What to do and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) to: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    /// The processes whose time is read at both ends of the counted window.
    pub(crate) pids: Vec<u32>,
    /// Processes beside those and this one that belong to the comparison.
    pub(crate) ours: Vec<u32>,
    /// The cores that the comparison runs on.
    pub(crate) cores: Vec<u32>,
}

/// When the next request is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As soon as the answer before it has come, for a time, of which the first part does
    /// not count.
    Closed { warmup: Duration, window: Duration },
    /// At a fixed rate a second, whatever comes back.
    Open { rate: u32, warmup: Duration, window: Duration },
    /// As in a closed loop, until so many answers have come.
    Count { answers: u64 },
}

/// What came back within the window.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) answers: u64,
    pub(crate) canary: u64,
    pub(crate) window: Duration,
    /// What the watched processes took of it.
    pub(crate) time: Time,
    /// What strangers took of the cores.
    pub(crate) others: Duration,
    /// Nanoseconds from the due time (open loop) or from sending (else).
    pub(crate) latency: Histogram<u64>,
    /// Over the whole run, warm-up included.
    pub(crate) failed: u64,
    pub(crate) failure: Option<String>,
}

/// Runs the plan.
///
/// # Errors
/// When the proxy cannot be reached, fails [`PATIENCE`] times or cannot keep the rate.
pub(crate) fn run(plan: &Plan, shape: &Shape) -> Result<Report, String> {
    let mut driver = Driver::new(plan, shape).map_err(|error| error.to_string())?;
    let timer = match plan.pace {
        Pace::Open { rate, .. } => {
            Some(driver.timer(rate).map_err(|error| error.to_string())?)
        }
        Pace::Closed { .. } | Pace::Count { .. } => None,
    };
    let report = driver.go(timer.is_some());
    drop(timer);
    report
}

/// The clocks at one end of the window.
#[derive(Clone, Copy)]
struct Edge {
    at: Instant,
    watched: Time,
    ours: Time,
    busy: Duration,
}

struct Driver<'a> {
    plan: &'a Plan,
    shape: &'a Shape,
    poll: Poll,
    lines: Vec<Line>,
    /// Connections without a request.
    idle: VecDeque<usize>,
    /// Due times of requests that have no connection yet.
    waiting: VecDeque<Instant>,
    tally: Report,
}

/// One connection.
struct Line {
    stream: TcpStream,
    due: Instant,
    sent: usize,
    buffer: Vec<u8>,
    filled: usize,
    /// Length of the whole answer once its head has come.
    needed: Option<framing::Head>,
}

impl<'a> Driver<'a> {
    fn new(plan: &'a Plan, shape: &'a Shape) -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let mut lines = Vec::new();
        for place in 0..plan.connections {
            lines.push(Line::open(plan.to, &poll, place)?);
        }
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        let tally = Report {
            answers: 0,
            canary: 0,
            window: Duration::ZERO,
            time: Time::default(),
            others: Duration::ZERO,
            latency,
            failed: 0,
            failure: None,
        };
        let idle = (0..lines.len()).collect();
        Ok(Self { plan, shape, poll, lines, idle, waiting: VecDeque::new(), tally })
    }

    /// A timer that wakes the loop at the rate: `epoll_wait` counts in milliseconds, which is
    /// too coarse for 2,000 a second.
    fn timer(&self, rate: u32) -> std::io::Result<OwnedFd> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let every =
            Timespec { tv_sec: 0, tv_nsec: i64::from(1_000_000_000 / rate.max(2)) };
        let spec = Itimerspec { it_interval: every, it_value: every };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        let fd = timer.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&fd), TIMER, Interest::READABLE)?;
        Ok(timer)
    }

    fn go(&mut self, open: bool) -> Result<Report, String> {
        let start = Instant::now();
        let (warm, end, limit) = self.bounds(start);
        let mut edge: Option<Edge> = None;
        let mut made = 0;
        let mut events = Events::with_capacity(1024);
        if !open {
            for place in std::mem::take(&mut self.idle) {
                self.send(place, start)?;
            }
        }
        loop {
            if let Err(error) =
                self.poll.poll(&mut events, Some(Duration::from_millis(50)))
            {
                return Err(error.to_string());
            }
            if open {
                made = self.come_due(start, made)?;
            }
            for event in &events {
                if event.token() != TIMER {
                    self.ready(event.token().0, event.is_readable(), open)?;
                }
            }
            let now = Instant::now();
            if edge.is_none() && now >= warm {
                self.tally.answers = 0;
                self.tally.canary = 0;
                self.tally.latency.reset();
                edge = Some(self.edge()?);
            }
            if let Some(begun) = edge
                && (now >= end || self.tally.answers >= limit)
            {
                return self.close(begun);
            }
        }
    }

    /// When counting begins, when it ends, and after how many answers it does.
    fn bounds(&self, start: Instant) -> (Instant, Instant, u64) {
        match self.plan.pace {
            Pace::Closed { warmup, window } | Pace::Open { warmup, window, .. } => {
                (start + warmup, start + warmup + window, u64::MAX)
            }
            // Ten minutes: the count is for runs under an instruction counter.
            Pace::Count { answers } => (start, start + Duration::from_secs(600), answers),
        }
    }

    fn close(&mut self, begun: Edge) -> Result<Report, String> {
        let ended = self.edge()?;
        let ours = ended.ours.since(begun.ours).ran;
        let latency =
            std::mem::replace(&mut self.tally.latency, Histogram::new(1).map_err(text)?);
        Ok(Report {
            window: ended.at - begun.at,
            time: ended.watched.since(begun.watched),
            others: ended.busy.saturating_sub(begun.busy).saturating_sub(ours),
            latency,
            failure: self.tally.failure.take(),
            ..self.tally
        })
    }

    fn edge(&self) -> Result<Edge, String> {
        let ours = [&self.plan.pids[..], &self.plan.ours, &[std::process::id()]].concat();
        let (busy, ours) = (watched::busy(&self.plan.cores)?, watched::time(&ours)?);
        let watched = watched::time(&self.plan.pids)?;
        Ok(Edge { at: Instant::now(), watched, ours, busy })
    }

    /// Sends what is due, or lets it wait for a connection; returns how many were ever due.
    fn come_due(&mut self, start: Instant, mut made: u32) -> Result<u32, String> {
        let Pace::Open { rate, .. } = self.plan.pace else { return Ok(made) };
        let now = Instant::now();
        loop {
            let due = start + Duration::from_secs(1) * made / rate;
            if due > now {
                return Ok(made);
            }
            made += 1;
            if let Some(place) = self.idle.pop_front() {
                self.send(place, due)?;
            } else {
                self.waiting.push_back(due);
            }
            if self.waiting.len() > BACKLOG {
                return Err(format!(
                    "{BACKLOG} requests are due and unsent: the rate is too high"
                ));
            }
        }
    }

    fn send(&mut self, place: usize, due: Instant) -> Result<(), String> {
        let line = &mut self.lines[place];
        line.due = due;
        line.sent = 0;
        line.filled = 0;
        line.needed = None;
        if let Err(what) = line.push(&self.shape.request) {
            self.fail(place, what)
        } else {
            Ok(())
        }
    }

    fn ready(&mut self, place: usize, readable: bool, open: bool) -> Result<(), String> {
        let line = &mut self.lines[place];
        let done = line
            .push(&self.shape.request)
            .and_then(|()| if readable { line.pull() } else { Ok(false) });
        match done {
            Err(what) => self.fail(place, what),
            Ok(false) => Ok(()),
            Ok(true) => {
                let now = Instant::now();
                self.count(place, now)?;
                if !open {
                    return self.send(place, now);
                }
                if let Some(due) = self.waiting.pop_front() {
                    return self.send(place, due);
                }
                self.idle.push_back(place);
                Ok(())
            }
        }
    }

    /// Compares a whole answer with what it must be.
    fn count(&mut self, place: usize, now: Instant) -> Result<(), String> {
        let line = &mut self.lines[place];
        let answer = &line.buffer[..line.filled];
        let body = line.needed.take().map_or(&[][..], |head| &answer[head.len..]);
        let from = self.shape.answers.iter().position(|expected| expected == body);
        let ok = answer.get(8..12) == Some(b" 200");
        match from {
            Some(from) if ok => {
                self.tally.answers += 1;
                self.tally.canary += u64::from(from == 1);
                let nanos =
                    u64::try_from((now - line.due).as_nanos()).unwrap_or(u64::MAX);
                self.tally.latency.saturating_record(nanos);
                line.sent = self.shape.request.len();
                Ok(())
            }
            _ => {
                let seen = String::from_utf8_lossy(&answer[..answer.len().min(120)])
                    .into_owned();
                self.note(format!("not the answer that the server gave: {seen:?}"))
            }
        }
    }

    fn fail(&mut self, place: usize, what: String) -> Result<(), String> {
        self.note(what)?;
        self.lines[place] = Line::open(self.plan.to, &self.poll, place).map_err(text)?;
        let due = Instant::now();
        let line = &mut self.lines[place];
        line.due = due;
        line.push(&self.shape.request)
    }

    fn note(&mut self, what: String) -> Result<(), String> {
        self.tally.failed += 1;
        if self.tally.failed >= PATIENCE {
            return Err(format!("{PATIENCE} requests failed, the last: {what}"));
        }
        self.tally.failure = Some(what);
        Ok(())
    }
}

impl Line {
    fn open(to: SocketAddr, poll: &Poll, place: usize) -> std::io::Result<Self> {
        let stream = std::net::TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(place), interest)?;
        Ok(Self {
            stream,
            due: Instant::now(),
            // Nothing to send until there is a request.
            sent: usize::MAX,
            buffer: vec![0; LONGEST],
            filled: 0,
            needed: None,
        })
    }

    /// Sends what the socket takes of the request.
    fn push(&mut self, request: &[u8]) -> Result<(), String> {
        while let Some(rest) = request.get(self.sent..)
            && !rest.is_empty()
        {
            match self.stream.write(rest) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Reads what has come; `true` when the answer is whole.
    fn pull(&mut self) -> Result<bool, String> {
        loop {
            let space = self.buffer.len() - self.filled;
            let got = match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err("the connection was closed".into()),
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.to_string()),
            };
            self.filled += got;
            if self.needed.is_none() {
                self.needed = framing::head(&self.buffer[..self.filled]);
            }
            if let Some(head) = self.needed {
                match self.filled.cmp(&(head.len + head.body)) {
                    std::cmp::Ordering::Equal => return Ok(true),
                    std::cmp::Ordering::Greater => {
                        return Err("there are bytes after the answer".into());
                    }
                    std::cmp::Ordering::Less => {}
                }
            }
            if self.filled == self.buffer.len() {
                return Err(format!("the answer is longer than {LONGEST} bytes"));
            }
            // A short read has emptied the socket.
            if got < space {
                return Ok(false);
            }
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
