//! `Ledger`: which phases of a rollback have begun and ended, when and how. Apart from the
//! machine because it only keeps books: no decision hangs on it but "is this one still
//! open".

use crate::vocab::record::{Phase, PhaseRecord, Status};
use crate::vocab::time::Timestamp;

/// The phases of one rollback.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ledger {
    /// In the order in which they began.
    lines: Vec<Line>,
    drained: Option<(u64, u64)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Line {
    phase: Phase,
    since: Timestamp,
    end: Option<(Timestamp, Status)>,
    detail: Option<String>,
}

impl Ledger {
    /// A phase begins. One that has begun before goes on.
    pub(super) fn begin(&mut self, phase: Phase, now: Timestamp) {
        if self.line(phase).is_none() {
            self.lines.push(Line { phase, since: now, end: None, detail: None });
        }
    }

    /// A phase ends, if it is open.
    pub(super) fn end(
        &mut self,
        phase: Phase,
        status: Status,
        detail: Option<String>,
        now: Timestamp,
    ) {
        let open = |line: &&mut Line| line.phase == phase && line.end.is_none();
        if let Some(line) = self.lines.iter_mut().find(open) {
            (line.end, line.detail) = (Some((now, status)), detail);
        }
    }

    /// What came of the drain: requests that ended, and those that were left.
    pub(super) fn note_drain(&mut self, drained: u64, left: u64) {
        self.drained = Some((drained, left));
    }

    /// Since when a phase is open, if it is.
    pub(super) fn open_since(&self, phase: Phase) -> Option<Timestamp> {
        self.line(phase).filter(|line| line.end.is_none()).map(|line| line.since)
    }

    /// Whether a phase has ended well.
    pub(super) fn is_completed(&self, phase: Phase) -> bool {
        let end = self.line(phase).and_then(|line| line.end);
        end.is_some_and(|(_, status)| status == Status::Completed)
    }

    /// How long a phase took, if it has ended well.
    pub(super) fn took(&self, phase: Phase) -> Option<f64> {
        let line = self.line(phase)?;
        match line.end? {
            (end, Status::Completed) => Some(end.since(line.since).as_secs_f64()),
            _ => None,
        }
    }

    /// Ends every open phase, as when the whole could not be done.
    pub(super) fn close(&mut self, status: Status, now: Timestamp) {
        for line in self.lines.iter_mut().filter(|line| line.end.is_none()) {
            line.end = Some((now, status));
        }
    }

    /// All phases in the order of the record, those that have not begun as pending.
    pub(super) fn records(&self, now: Timestamp) -> Vec<PhaseRecord> {
        Phase::ALL.into_iter().map(|phase| self.record(phase, now)).collect()
    }

    fn record(&self, phase: Phase, now: Timestamp) -> PhaseRecord {
        let (drained_requests, left_requests) = match self.drained {
            Some((drained, left)) if phase == Phase::DrainTraffic => {
                (Some(drained), Some(left))
            }
            Some(_) | None => (None, None),
        };
        let Some(line) = self.line(phase) else {
            let (status, duration_seconds, detail) = (Status::Pending, 0.0, None);
            return PhaseRecord {
                phase,
                status,
                duration_seconds,
                drained_requests,
                left_requests,
                detail,
            };
        };
        let (end, status) = line.end.unwrap_or((now, Status::InProgress));
        PhaseRecord {
            phase,
            status,
            duration_seconds: end.since(line.since).as_secs_f64(),
            drained_requests,
            left_requests,
            detail: line.detail.clone(),
        }
    }

    fn line(&self, phase: Phase) -> Option<&Line> {
        self.lines.iter().find(|line| line.phase == phase)
    }
}
