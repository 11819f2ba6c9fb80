//! Keeps a fixed number of connections busy and counts what comes back.
//!
//! One thread, one buffer a connection, one read and one write an answer: it has to be
//! cheaper than the proxies, or it would measure itself. In an open loop a request has a
//! due time, and its latency counts from then: a proxy that stalls is charged for all the
//! requests that had to wait, not only for the ones it had already taken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec,
    timerfd_create, timerfd_settime,
};
use rustls::ClientConfig;

use crate::line::Line;
use crate::secret;
use crate::shape::Shape;
use crate::tally::{Pace, Plan, Report, Tally, text};

/// Requests that may be due and not yet sent.
const BACKLOG: usize = 100_000;
const TIMER: Token = Token(usize::MAX);

/// Runs the plan.
///
/// # Errors
/// When the proxy cannot be reached, fails too often or cannot keep the rate.
pub(crate) fn run(plan: &Plan, shape: &Shape) -> Result<Report, String> {
    let start = Instant::now();
    let mut driver = Driver::new(plan, shape, start)?;
    let timer = match plan.pace {
        Pace::Open { rate, .. } => Some(timer(&driver.poll, rate).map_err(text)?),
        Pace::Closed { .. } | Pace::Count { .. } => None,
    };
    driver.go(start, timer.as_ref())
}

/// A timer that wakes the loop at the rate: `epoll_wait` counts in milliseconds, which is
/// too coarse for 2,000 a second.
fn timer(poll: &Poll, rate: u32) -> std::io::Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
    let every = Timespec { tv_sec: 0, tv_nsec: i64::from(1_000_000_000 / rate.max(2)) };
    let spec = Itimerspec { it_interval: every, it_value: every };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
    let fd = timer.as_raw_fd();
    poll.registry().register(&mut SourceFd(&fd), TIMER, Interest::READABLE)?;
    Ok(timer)
}

struct Driver<'a> {
    plan: &'a Plan,
    shape: &'a Shape,
    tls: Option<Arc<ClientConfig>>,
    poll: Poll,
    lines: Vec<Line>,
    /// Connections without a request.
    idle: VecDeque<usize>,
    /// Due times of requests that have no connection yet.
    waiting: VecDeque<Instant>,
    tally: Tally<'a>,
}

impl<'a> Driver<'a> {
    fn new(plan: &'a Plan, shape: &'a Shape, start: Instant) -> Result<Self, String> {
        let poll = Poll::new().map_err(text)?;
        let tls = if plan.tls { Some(secret::client()?) } else { None };
        let mut lines = Vec::new();
        for place in 0..plan.connections {
            lines.push(Line::open(plan.to, &poll, place, tls.as_ref())?);
        }
        let idle = (0..lines.len()).collect();
        let tally = Tally::new(plan, start)?;
        Ok(Self { plan, shape, tls, poll, lines, idle, waiting: VecDeque::new(), tally })
    }

    fn go(&mut self, start: Instant, timer: Option<&OwnedFd>) -> Result<Report, String> {
        let open = timer.is_some();
        let mut made = 0;
        let mut events = Events::with_capacity(1024);
        if !open {
            for place in std::mem::take(&mut self.idle) {
                self.send(place, start)?;
            }
        }
        loop {
            self.poll.poll(&mut events, Some(Duration::from_millis(50))).map_err(text)?;
            if open {
                made = self.come_due(start, made)?;
            }
            for event in &events {
                if event.token() != TIMER {
                    self.ready(event.token().0, event.is_readable(), open)?;
                } else if let Some(timer) = timer {
                    // It stands until somebody has read it.
                    rustix::io::read(timer, &mut [0; 8]).map_err(text)?;
                }
            }
            if let Some(report) = self.tally.look()? {
                return Ok(report);
            }
        }
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
        line.begin(due);
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
                let line = &mut self.lines[place];
                match line.judge(&self.shape.answers) {
                    Ok(from) => self.tally.good(from == 1, line.due, now),
                    Err(what) => self.tally.bad(what)?,
                }
                if self.plan.fresh {
                    self.renew(place)?;
                }
                if !open {
                    return self.send(place, Instant::now());
                }
                if let Some(due) = self.waiting.pop_front() {
                    return self.send(place, due);
                }
                self.idle.push_back(place);
                Ok(())
            }
        }
    }

    fn fail(&mut self, place: usize, what: String) -> Result<(), String> {
        self.tally.bad(what)?;
        self.renew(place)?;
        let line = &mut self.lines[place];
        line.begin(Instant::now());
        line.push(&self.shape.request)
    }

    fn renew(&mut self, place: usize) -> Result<(), String> {
        let line = Line::open(self.plan.to, &self.poll, place, self.tls.as_ref())?;
        self.lines[place] = line;
        Ok(())
    }
}
