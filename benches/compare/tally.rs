//! What came back, and what the clocks said at both ends of the window in which it counts.
//!
//! Apart from the loops because they differ by protocol and this must not: the processor
//! time is that of the very window in which the answers are counted.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::watched;
use crate::watched::Time;

/// Failures after which a run is given up.
const PATIENCE: u64 = 100;

/// What to do and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) to: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    /// TLS to the proxy, and whether each request has a connection of its own.
    pub(crate) tls: bool,
    pub(crate) fresh: bool,
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
    /// What the watched processes took of it, and their memory at its end, in KiB.
    pub(crate) time: Time,
    pub(crate) memory: u64,
    /// What strangers took of the cores.
    pub(crate) others: Duration,
    /// Nanoseconds from the due time (open loop) or from sending (else).
    pub(crate) latency: Histogram<u64>,
    /// Over the whole run, warm-up included.
    pub(crate) all: u64,
    pub(crate) failed: u64,
    pub(crate) failure: Option<String>,
}

/// Counts, and knows when counting begins and ends.
pub(crate) struct Tally<'a> {
    plan: &'a Plan,
    warm: Instant,
    end: Instant,
    limit: u64,
    edge: Option<Edge>,
    report: Report,
}

/// The clocks at one end of the window.
#[derive(Clone, Copy)]
struct Edge {
    at: Instant,
    watched: Time,
    ours: Time,
    busy: Duration,
}

impl<'a> Tally<'a> {
    /// Begins at `start`.
    pub(crate) fn new(plan: &'a Plan, start: Instant) -> Result<Self, String> {
        let (warm, end, limit) = match plan.pace {
            Pace::Closed { warmup, window } | Pace::Open { warmup, window, .. } => {
                (start + warmup, start + warmup + window, u64::MAX)
            }
            // Ten minutes: the count is for runs under an instruction counter.
            Pace::Count { answers } => (start, start + Duration::from_secs(600), answers),
        };
        let report = Report {
            answers: 0,
            canary: 0,
            window: Duration::ZERO,
            time: Time::default(),
            memory: 0,
            others: Duration::ZERO,
            latency: Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(text)?,
            all: 0,
            failed: 0,
            failure: None,
        };
        Ok(Self { plan, warm, end, limit, edge: None, report })
    }

    /// A whole and right answer that came `now`.
    pub(crate) fn good(&mut self, canary: bool, due: Instant, now: Instant) {
        let passed = now.saturating_duration_since(due).as_nanos();
        self.passed(canary, u64::try_from(passed).unwrap_or(u64::MAX));
    }

    /// The same, of one that took so many nanoseconds.
    pub(crate) fn passed(&mut self, canary: bool, nanos: u64) {
        self.report.all += 1;
        self.report.answers += 1;
        self.report.canary += u64::from(canary);
        self.report.latency.saturating_record(nanos);
    }

    /// A failure.
    ///
    /// # Errors
    /// At the [`PATIENCE`]th.
    pub(crate) fn bad(&mut self, what: String) -> Result<(), String> {
        self.report.failed += 1;
        if self.report.failed >= PATIENCE {
            return Err(format!("{PATIENCE} requests failed, the last: {what}"));
        }
        self.report.failure = Some(what);
        Ok(())
    }

    /// Looks at the clock: the report when the window is over.
    ///
    /// # Errors
    /// When a watched process is gone.
    pub(crate) fn look(&mut self) -> Result<Option<Report>, String> {
        let now = Instant::now();
        let Some(begun) = self.edge else {
            if now >= self.warm {
                self.report.answers = 0;
                self.report.canary = 0;
                self.report.latency.reset();
                self.edge = Some(self.edge()?);
            }
            return Ok(None);
        };
        if now < self.end && self.report.answers < self.limit {
            return Ok(None);
        }
        let ended = self.edge()?;
        let ours = ended.ours.since(begun.ours).ran;
        let none = Histogram::new(1).map_err(text)?;
        Ok(Some(Report {
            window: ended.at - begun.at,
            time: ended.watched.since(begun.watched),
            memory: watched::memory(&self.plan.pids)?,
            others: ended.busy.saturating_sub(begun.busy).saturating_sub(ours),
            latency: std::mem::replace(&mut self.report.latency, none),
            failure: self.report.failure.take(),
            ..self.report
        }))
    }

    fn edge(&self) -> Result<Edge, String> {
        let ours = [&self.plan.pids[..], &self.plan.ours, &[std::process::id()]].concat();
        let (busy, ours) = (watched::busy(&self.plan.cores)?, watched::time(&ours)?);
        let watched = watched::time(&self.plan.pids)?;
        Ok(Edge { at: Instant::now(), watched, ours, busy })
    }
}

pub(crate) fn text(error: impl Display) -> String {
    error.to_string()
}
