//! `StreamBody`: a body on an HTTP/2 connection, with the bounds that HTTP/2 does not set.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::{BodyLength, Frame};
use super::error::{BodyError, StreamFault};
use super::lend::Lender;
use super::pace::Pace;
use super::tails::{Tailed, Tails};
use crate::clock;
use crate::clock::Limit;

/// A body on an HTTP/2 connection, either side.
#[derive(Debug)]
pub struct StreamBody {
    incoming: Tailed,
    limit: Limit,
    idle: Duration,
    total_until: Option<Instant>,
    bound: u64,
    room: u64,
    ended: bool,
    asked: Option<Asked>,
    /// How a caller keeps up with sending it.
    pace: Option<(Pace, Rc<Cell<bool>>)>,
}

/// The request that an answer belongs to, as long as it may still be on its way: for the
/// other side it ends with the answer.
#[derive(Debug)]
struct Asked {
    body: Lender,
    /// How far it was when the limit was set, and when the last piece of the answer came.
    at_limit: u64,
    at_piece: u64,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.body.is_over() {
            drop(self.body.take_back());
        }
    }
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
        Self {
            incoming: Tailed::new(incoming),
            limit,
            idle,
            total_until,
            bound,
            room: bound,
            ended: false,
            asked: None,
            pace: None,
        }
    }

    /// The same body, from a caller that has to send so many bytes a second at least; where
    /// it does not, that is noted in `tardy`.
    #[must_use]
    pub fn paced(self, rate: u64, tardy: Rc<Cell<bool>>) -> Self {
        Self { pace: Some((Pace::of_sending(rate), tardy)), ..self }
    }

    /// The same body, whose last frame is waited for when nobody reads it any more.
    #[must_use]
    pub fn tailed(mut self, tails: Tails) -> Self {
        self.incoming.leave_to(tails);
        self
    }

    /// The same body, as the answer to a request that is over when the answer is. While the
    /// request is still being sent, the exchange is idle only when neither side speaks.
    #[must_use]
    pub fn answering(mut self, request: Lender) -> Self {
        if !request.is_over() {
            let moves = request.moves();
            self.asked = Some(Asked { body: request, at_limit: moves, at_piece: moves });
        }
        self
    }

    /// Takes the limit off the time between two pieces.
    pub fn unhurried(&mut self) {
        self.idle = Duration::ZERO;
        self.pace = None;
        self.limit.clear();
    }

    /// The next piece; `None` after the last.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.incoming.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.limit.clear();
                if let Some(asked) = &mut self.asked {
                    asked.at_piece = asked.body.moves();
                }
                let len = frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
                if let Some((pace, _)) = &mut self.pace {
                    pace.moved(len);
                }
                match self.room.checked_sub(len) {
                    Some(room) => self.room = room,
                    None => return self.fail(BodyError::TooLong(self.bound)),
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let fault = StreamFault::of(&error);
                self.fail(match fault.malformed {
                    _ if error.is_timeout() => BodyError::Idle,
                    true => BodyError::Malformed,
                    false => BodyError::Reset(fault.code),
                })
            }
            Poll::Ready(None) => {
                self.limit.clear();
                (self.ended, self.asked) = (true, None);
                Poll::Ready(None)
            }
            Poll::Pending => {
                if !self.limit.is_set() {
                    self.arm();
                }
                if self.limit.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if self.total_until.is_some_and(|at| at <= clock::now()) {
                    return self.fail(BodyError::Total);
                }
                match self.silence() {
                    Some(error) => self.fail(error),
                    None => {
                        self.arm();
                        if self.limit.poll(cx).is_ready() {
                            cx.waker().wake_by_ref();
                        }
                        Poll::Pending
                    }
                }
            }
        }
    }

    /// What it means that no piece came for as long as the limit allows; `None` when the
    /// request has gone on meanwhile.
    fn silence(&self) -> Option<BodyError> {
        let Some(asked) = &self.asked else { return Some(BodyError::Idle) };
        let moves = asked.body.moves();
        if moves != asked.at_limit {
            return None;
        }
        // Whoever was spoken to last has the turn.
        let callers = !asked.body.is_over() && moves == asked.at_piece;
        Some(if callers { BodyError::Quiet } else { BodyError::Idle })
    }

    /// The announced length of what is left.
    #[must_use]
    pub fn length(&self) -> BodyLength {
        if self.is_over() {
            return BodyLength::None;
        }
        self.incoming.left().map_or(BodyLength::Unknown, BodyLength::Exact)
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended || self.incoming.is_over()
    }

    fn arm(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.at_limit = asked.body.moves();
        }
        let idle = match &mut self.pace {
            Some((pace, _)) => pace.wait(self.idle),
            None => self.idle,
        };
        let Some(until) = self.total_until else { return self.limit.set(idle) };
        let left =
            until.saturating_duration_since(clock::now()).max(Duration::from_millis(1));
        self.limit.set(if idle.is_zero() { left } else { left.min(idle) });
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame, BodyError>>> {
        (self.ended, self.asked) = (true, None);
        if let (BodyError::Idle, Some((_, tardy))) = (&error, &self.pace) {
            tardy.set(true);
        }
        Poll::Ready(Some(Err(error)))
    }
}
