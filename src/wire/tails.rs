//! `Tails`: bodies of requests over HTTP/2 that have come whole but for the end of their stream.
//! Apart, because they outlive the exchange they belong to.
//!
//! A caller may send the last byte that its `Content-Length` announces in one frame and the end
//! of the stream in another. The server has all it needs after the first, and its answer may be
//! over before the second is here. Letting go of the stream then would reset it (RFC 9113, 8.1),
//! which costs some callers an answer that they had: `httpx` among them. So the end is waited
//! for, by the connection, for a moment.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::Body as _;
use hyper::body::Incoming;

use super::body::Frame;
use crate::clock::Limit;

/// Those of one connection. How many there are is bounded by the streams it may have open:
/// each is one until its end.
#[derive(Clone, Debug)]
pub struct Tails(Rc<RefCell<Waiting>>);

#[derive(Debug)]
struct Waiting {
    bodies: Vec<Incoming>,
    limit: Limit,
}

impl Tails {
    /// None yet.
    #[must_use]
    pub fn new(limit: Limit) -> Self {
        Self(Rc::new(RefCell::new(Waiting { bodies: Vec::new(), limit })))
    }

    /// Lets go of those that have ended, and after five seconds of all. To be called whenever
    /// the connection has been read.
    pub fn poll(&self, cx: &mut Context<'_>) {
        let mut waiting = self.0.borrow_mut();
        if waiting.bodies.is_empty() {
            return;
        }
        let Waiting { bodies, limit } = &mut *waiting;
        bodies.retain_mut(|body| {
            loop {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Pending => break true,
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(None | Some(Err(_))) => break false,
                }
            }
        });
        if bodies.is_empty() {
            limit.clear();
            return;
        }
        if !limit.is_set() {
            limit.set(PATIENCE);
        }
        if limit.poll(cx).is_ready() {
            bodies.clear();
        }
    }

    fn keep(&self, body: Incoming) {
        self.0.borrow_mut().bodies.push(body);
    }
}

/// A body on its stream, and who waits for its end.
#[derive(Debug)]
pub(super) struct Tailed {
    /// There until this is dropped.
    body: Option<Incoming>,
    tails: Option<Tails>,
}

impl Tailed {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body: Some(body), tails: None }
    }

    pub(super) fn leave_to(&mut self, tails: Tails) {
        self.tails = Some(tails);
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    /// The announced length of what is left.
    pub(super) fn left(&self) -> Option<u64> {
        self.body.as_ref().and_then(|body| body.size_hint().exact())
    }

    pub(super) fn is_over(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }
}

impl Drop for Tailed {
    fn drop(&mut self) {
        if !self.is_over()
            && self.left() == Some(0)
            && let (Some(body), Some(tails)) = (self.body.take(), &self.tails)
        {
            tails.keep(body);
        }
    }
}

/// How long the end of a stream may take after all that comes before it.
const PATIENCE: Duration = Duration::from_secs(5);
