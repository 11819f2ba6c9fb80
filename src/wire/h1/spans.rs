//! `Spans`: the time limits of one exchange with a server, whatever protocol it speaks.

use std::time::Duration;

use tokio::time::Instant;

use super::error::ExchangeError;
use crate::clock;
use crate::clock::Limit;

/// The time limits of an exchange; zero is none.
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    /// From the request sent to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces.
    pub idle: Duration,
    /// When the whole of it must be over.
    pub total_until: Option<Instant>,
}

impl Spans {
    /// Sets a limit to `span` (zero: none), but not beyond the time for all of it.
    pub fn arm(&self, limit: &Limit, span: Duration) {
        let Some(until) = self.total_until else { return limit.set(span) };
        let left = until.saturating_duration_since(clock::now());
        if left.is_zero() {
            limit.expire();
        } else {
            limit.set(if span.is_zero() { left } else { left.min(span) });
        }
    }

    /// Whether the time for all of it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.total_until.is_some_and(|until| until <= clock::now())
    }

    /// What it means that the limit of the first byte has passed.
    #[must_use]
    pub fn late(&self) -> ExchangeError {
        if self.is_over() { ExchangeError::Total } else { ExchangeError::FirstByte }
    }
}
