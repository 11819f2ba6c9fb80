//! `ServerConnection`: a caller's HTTP/1.1 connection, one request after the other.
//!
//! The connection is shared by the task's own parts only: the loop that reads heads and
//! writes answers, and the request's body, which reads from it while the request is sent
//! on. It holds a read buffer only while there is something in it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, Version};
use http_body::Body as HttpBody;
use tokio::io::AsyncWrite;

use super::buffer::WriteBuffer;
use super::framing::Decoder;
use super::head::{HeadError, HeadLimits, Reason, RequestHead};
use super::shared::{LINGER, Leave, Reading, Shared, is_bodiless};
use crate::clock::{Group, Limit, Waits};
use crate::wire::body::{BodyLength, Frame};
use crate::wire::error::BodyError;
use crate::wire::headers::Headers;
use crate::wire::io::Io;
use crate::wire::pace::Pace;

/// Bounds on what a caller may do on a connection.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Bounds of a head.
    pub head: HeadLimits,
    /// From the first byte of a head to its end; for the first head, from the connection.
    pub head_time: Duration,
    /// Bytes of a body.
    pub body_size: u64,
    /// Between two pieces of a body, and of an answer that the caller reads.
    pub body_idle: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
    /// Bytes a second that a caller sends or takes at least while it is waited for; 0: any.
    pub min_rate: u64,
    /// For whose sake a connection without a request may be given up.
    pub group: Group,
}

/// A caller's connection.
#[derive(Debug)]
pub struct ServerConnection {
    shared: Rc<RefCell<Shared>>,
    closing: Rc<Cell<bool>>,
}

/// The body of the request that is being answered.
#[derive(Debug)]
pub struct RequestBody {
    shared: Rc<RefCell<Shared>>,
    length: BodyLength,
    failed: bool,
}

/// What reading a head came to.
#[derive(Debug)]
pub enum Turn {
    /// A request.
    Request(Box<RequestHead>),
    /// The connection is over, and nobody waits for an answer.
    Over,
    /// The head is refused; the caller is told and the connection closed.
    Refused(HeadError),
    /// The head took too long.
    Late,
}

/// An answer to a caller.
#[derive(Debug)]
pub struct Reply<B> {
    /// Its status.
    pub status: StatusCode,
    /// The reason phrase, where it is not the usual one.
    pub reason: Option<Reason>,
    /// Its fields, without framing.
    pub headers: Headers,
    /// Its body, in a box because an answer passes through a dozen hands.
    pub body: Box<B>,
    /// No other request is to be read on the connection.
    pub last: bool,
}

/// How an answer's head is to be framed.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    /// The request's method was `HEAD`.
    pub head_only: bool,
    /// The request's version.
    pub version: Version,
    /// Whether another request may follow.
    pub keep_alive: bool,
}

/// An answer that is being written.
struct Writing<'a, B> {
    chunked: bool,
    /// There is no more of it.
    over: bool,
    wanted: &'a dyn Fn(&B) -> bool,
}

/// How much of an unwanted body is read over before the connection is given up.
const DRAIN: usize = 256 * 1024;

/// The same where the connection is closed anyway; time bounds it first.
const CLOSE_DRAIN: usize = 256 * 1024 * 1024;

impl ServerConnection {
    /// A connection; `closing` is set when no further request is to be taken.
    #[must_use]
    pub fn new(
        io: Io,
        limits: ServerLimits,
        limit: Limit,
        closing: Rc<Cell<bool>>,
    ) -> Self {
        limit.set_spare(limits.head_time, limits.group, Waits::Begin);
        let shared = Shared {
            io,
            input: BytesMut::new(),
            scanned: 0,
            output: WriteBuffer::default(),
            decoder: Decoder::Done,
            incoming: Pace::of_sending(limits.min_rate),
            outgoing: Pace::of_taking(limits.min_rate),
            closely: false,
            body_room: 0,
            leave: Leave::Given,
            limits,
            body_limit: limit.wheel().limit(),
            limit,
            owner: None,
            reading: Reading::Fresh,
            answering: false,
            ended: false,
        };
        Self { shared: Rc::new(RefCell::new(shared)), closing }
    }

    /// Reads the next head.
    pub async fn next(&self) -> Turn {
        poll_fn(|cx| self.shared.borrow_mut().poll_head(cx, self.closing.get())).await
    }

    /// The body of the request whose head was just read. `expects` says that the caller
    /// waits for leave to send it.
    #[must_use]
    pub fn body(&self, head: &RequestHead, expects: bool) -> RequestBody {
        let mut shared = self.shared.borrow_mut();
        shared.decoder = Decoder::of(head.length, true);
        shared.body_room = shared.limits.body_size;
        shared.answering = false;
        shared.incoming.restart();
        shared.outgoing.restart();
        shared.set_closely(false);
        shared.owner = None;
        let waits = expects && head.length != BodyLength::None;
        shared.leave = if waits { Leave::Waited } else { Leave::Given };
        RequestBody {
            shared: Rc::clone(&self.shared),
            length: head.length,
            failed: false,
        }
    }

    /// Ready when the caller has hung up. Asked while the answer is being made.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.borrow_mut().poll_gone(cx)
    }

    /// Writes an answer to its last byte; whether another request may follow. A caller that
    /// takes nothing is given up as soon as `wanted` says that others want what its answer
    /// holds.
    ///
    /// # Errors
    /// [`BodyError`] when the answer's body failed or the caller did not take it; the
    /// connection cannot be used any more.
    pub async fn answer<B>(
        &self,
        answer: &mut Reply<B>,
        out: Outgoing,
        wanted: &dyn Fn(&B) -> bool,
    ) -> Result<bool, BodyError>
    where
        B: HttpBody<Data = Bytes, Error = BodyError> + Unpin,
    {
        let Reply { status, reason, headers, body, .. } = answer;
        let body = &mut **body;
        let length = exact(body);
        let (chunked, keep_alive) = {
            let mut shared = self.shared.borrow_mut();
            shared.begin_answer(*status, reason.as_ref(), headers, length, out)
        };
        let bodiless = out.head_only || is_bodiless(*status);
        let by_close = !chunked && !bodiless && length.is_none();
        let over = bodiless || body.is_end_stream();
        if over && chunked {
            self.shared.borrow_mut().end_of_body(chunked);
        }
        let mut writing = Writing { chunked, over, wanted };
        let done = poll_fn(|cx| self.poll_answer(cx, body, &mut writing)).await;
        if done.is_err() && by_close {
            // The end of the connection would pass for the end of the answer.
            self.shared.borrow_mut().reset_on_close();
        }
        done.map(|()| keep_alive)
    }

    /// The body may itself read from this connection, so it is polled without a borrow.
    fn poll_answer<B>(
        &self,
        cx: &mut Context<'_>,
        body: &mut B,
        writing: &mut Writing<'_, B>,
    ) -> Poll<Result<(), BodyError>>
    where
        B: HttpBody<Data = Bytes, Error = BodyError> + Unpin,
    {
        let Writing { chunked, over, wanted } = writing;
        let chunked = *chunked;
        loop {
            let mut waiting = false;
            while !*over && !waiting && !self.shared.borrow().output.is_full() {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        *over = self.shared.borrow_mut().output.queue(frame, chunked);
                    }
                    Poll::Ready(Some(Err(error))) => {
                        // What came before the failure is the caller's.
                        let _flushed = self.shared.borrow_mut().poll_flush(cx);
                        return Poll::Ready(Err(error));
                    }
                    Poll::Ready(None) => {
                        *over = true;
                        self.shared.borrow_mut().end_of_body(chunked);
                    }
                    Poll::Pending => waiting = true,
                }
                *over |= !chunked && body.is_end_stream();
            }
            if let Poll::Ready(done) =
                self.shared
                    .borrow_mut()
                    .poll_written(cx, *over, waiting, &|| wanted(body))
            {
                match done {
                    Ok(true) => return Poll::Ready(Ok(())),
                    Ok(false) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            } else {
                return Poll::Pending;
            }
        }
    }

    /// Reads over what is left of the request's body; whether another request can follow.
    pub async fn finish(&self) -> bool {
        let mut room = DRAIN;
        self.shared.borrow().limit.set(LINGER);
        let clean =
            poll_fn(|cx| self.shared.borrow_mut().poll_drain(cx, &mut room)).await;
        let mut shared = self.shared.borrow_mut();
        if shared.input.is_empty() {
            shared.reading = Reading::Idle;
            let ServerLimits { keep_alive, group, .. } = shared.limits;
            shared.limit.set_spare(keep_alive, group, Waits::Again);
        } else {
            shared.reading = Reading::Head;
            shared.await_head();
        }
        clean
    }

    /// Closes the connection so that the caller can still read the last answer: what it goes
    /// on sending is read over, because a reset would take the answer from it.
    pub async fn close(&self) {
        let mut room = CLOSE_DRAIN;
        let mut shut = false;
        self.shared.borrow().limit.set(LINGER);
        poll_fn(|cx| {
            let mut shared = self.shared.borrow_mut();
            if !shut {
                let done = ready!(Pin::new(&mut shared.io).poll_shutdown(cx));
                shut = true;
                if done.is_err() {
                    return Poll::Ready(());
                }
                shared.decoder = Decoder::UntilClose;
                shared.leave = Leave::Given;
                shared.reading = Reading::Body;
            }
            shared.poll_drain(cx, &mut room).map(|_| ())
        })
        .await;
    }

    /// The bare connection for an upgrade, and what was already read from it. `None` while
    /// the request's body still holds it.
    #[must_use]
    pub fn into_io(self) -> Option<(Io, BytesMut)> {
        let shared = Rc::try_unwrap(self.shared).ok()?.into_inner();
        Some((shared.io, shared.input))
    }
}

fn exact<B: HttpBody>(body: &B) -> Option<u64> {
    body.size_hint().exact()
}

impl RequestBody {
    /// The next piece; `None` after the last.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let frame = ready!(self.shared.borrow_mut().poll_body(cx));
        self.failed = matches!(frame, Some(Err(_)));
        Poll::Ready(frame)
    }

    /// Ready when all of a small body, or the beginning of a large one, can be read at once.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let came = ready!(self.shared.borrow_mut().poll_ahead(cx));
        self.failed |= came.is_err();
        Poll::Ready(came)
    }

    /// The announced length.
    #[must_use]
    pub fn length(&self) -> BodyLength {
        self.length
    }

    /// The length of what has not been read of it.
    #[must_use]
    pub fn left(&self) -> BodyLength {
        self.shared.borrow().decoder.left()
    }

    /// Whether it has been read to its end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.failed || self.shared.borrow().decoder.is_done()
    }
}
