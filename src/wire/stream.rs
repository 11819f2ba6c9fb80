//! `StreamBody`: a body on an HTTP/2 connection, with the bounds that HTTP/2 does not set.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::{BodyLength, Frame};
use super::error::BodyError;
use crate::clock;
use crate::clock::Limit;

/// A body on an HTTP/2 connection, either side.
#[derive(Debug)]
pub struct StreamBody {
    incoming: Incoming,
    limit: Limit,
    idle: Duration,
    total_until: Option<Instant>,
    bound: u64,
    room: u64,
    ended: bool,
}

impl StreamBody {
    /// A body of at most `bound` bytes whose pieces come at least every `idle` (zero: no
    /// limit) and all before `total_until`.
    #[must_use]
    pub fn new(
        incoming: Incoming,
        limit: Limit,
        idle: Duration,
        total_until: Option<Instant>,
        bound: u64,
    ) -> Self {
        Self { incoming, limit, idle, total_until, bound, room: bound, ended: false }
    }

    /// The next piece; `None` after the last.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.limit.clear();
                let len = frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
                match self.room.checked_sub(len) {
                    Some(room) => self.room = room,
                    None => return self.fail(BodyError::TooLong(self.bound)),
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => self.fail(if error.is_timeout() {
                BodyError::Idle
            } else {
                BodyError::Reset
            }),
            Poll::Ready(None) => {
                self.limit.clear();
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                if !self.limit.is_set() {
                    self.arm();
                }
                match self.limit.poll(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(())
                        if self.total_until.is_some_and(|at| at <= clock::now()) =>
                    {
                        self.fail(BodyError::Total)
                    }
                    Poll::Ready(()) => self.fail(BodyError::Idle),
                }
            }
        }
    }

    /// The announced length of what is left.
    #[must_use]
    pub fn length(&self) -> BodyLength {
        if self.is_over() {
            return BodyLength::None;
        }
        self.incoming.size_hint().exact().map_or(BodyLength::Unknown, BodyLength::Exact)
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended || self.incoming.is_end_stream()
    }

    fn arm(&self) {
        let Some(until) = self.total_until else { return self.limit.set(self.idle) };
        let left =
            until.saturating_duration_since(clock::now()).max(Duration::from_millis(1));
        self.limit.set(if self.idle.is_zero() { left } else { left.min(self.idle) });
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame, BodyError>>> {
        self.ended = true;
        Poll::Ready(Some(Err(error)))
    }
}
