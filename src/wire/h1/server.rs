//! `ServerConnection`: a caller's HTTP/1.1 connection, one request after the other.
//!
//! The connection is shared by the task's own parts only: the loop that reads heads and
//! writes answers, and the request's body, which reads from it while the request is sent
//! on. It holds a read buffer only while there is something in it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::HeaderMap;
use http::{Response, StatusCode, Version};
use http_body::Body as HttpBody;
use tokio::io::AsyncWrite;

use super::buffer::WriteBuffer;
use super::client::put_chunk_size;
use super::framing::{Chunk, Decoder, Piece};
use super::head::{self, HeadError, HeadLimits, Reason, RequestHead};
use crate::clock::Limit;
use crate::wire::body::{BodyLength, Frame};
use crate::wire::error::BodyError;
use crate::wire::io::Io;

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
}

/// A caller's connection.
#[derive(Debug)]
pub struct ServerConnection {
    shared: Rc<RefCell<Shared>>,
    closing: Rc<Cell<bool>>,
}

#[derive(Debug)]
struct Shared {
    io: Io,
    input: BytesMut,
    scanned: usize,
    output: WriteBuffer,
    decoder: Decoder,
    body_room: u64,
    leave: Leave,
    limits: ServerLimits,
    limit: Limit,
    ended: bool,
}

/// Whether the caller has been told to send its body (`Expect: 100-continue`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// It did not ask, or was told.
    Given,
    /// It waits to be told.
    Waited,
    /// It got its answer instead, and may or may not send the body.
    Never,
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

const READ: usize = 8 * 1024;
const READ_LARGE: usize = 64 * 1024;

/// How much a caller may send ahead while its request is being answered.
const AHEAD: usize = 64 * 1024;

/// How much of an unwanted body is read over before the connection is given up.
const DRAIN: usize = 256 * 1024;

/// How long a closed connection waits for the caller to have read the last answer.
const LINGER: Duration = Duration::from_secs(1);

impl ServerConnection {
    /// A connection; `closing` is set when no further request is to be taken.
    #[must_use]
    pub fn new(
        io: Io,
        limits: ServerLimits,
        limit: Limit,
        closing: Rc<Cell<bool>>,
    ) -> Self {
        limit.set(limits.head_time);
        let shared = Shared {
            io,
            input: BytesMut::new(),
            scanned: 0,
            output: WriteBuffer::default(),
            decoder: Decoder::Done,
            body_room: 0,
            leave: Leave::Given,
            limits,
            limit,
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
        shared.decoder = match head.length {
            BodyLength::None => Decoder::Done,
            BodyLength::Exact(length) => Decoder::Length(length),
            BodyLength::Unknown => Decoder::Chunked(Chunk::Size),
        };
        shared.body_room = shared.limits.body_size;
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

    /// Writes an answer to its last byte.
    ///
    /// # Errors
    /// [`BodyError`] when the answer's body failed or the caller did not take it; the
    /// connection cannot be used any more.
    pub async fn answer<B>(
        &self,
        answer: Response<B>,
        out: Outgoing,
    ) -> Result<(), BodyError>
    where
        B: HttpBody<Data = Bytes, Error = BodyError> + Unpin,
    {
        let (parts, mut body) = answer.into_parts();
        let chunked = {
            let mut shared = self.shared.borrow_mut();
            let reason = parts.extensions.get::<Reason>();
            shared.begin_answer(parts.status, reason, &parts.headers, exact(&body), out)
        };
        let bodiless = out.head_only || is_bodiless(parts.status);
        let mut over = bodiless || body.is_end_stream();
        if over && chunked {
            self.shared.borrow_mut().output.put(b"0\r\n\r\n");
        }
        let done =
            poll_fn(|cx| self.poll_answer(cx, &mut body, chunked, &mut over)).await;
        if done.is_err() && !chunked && exact(&body).is_none() && !bodiless {
            // The end of the connection would pass for the end of the answer.
            self.shared.borrow().reset_on_close();
        }
        done
    }

    /// The body may itself read from this connection, so it is polled without a borrow.
    fn poll_answer<B>(
        &self,
        cx: &mut Context<'_>,
        body: &mut B,
        chunked: bool,
        over: &mut bool,
    ) -> Poll<Result<(), BodyError>>
    where
        B: HttpBody<Data = Bytes, Error = BodyError> + Unpin,
    {
        loop {
            let mut waiting = false;
            while !*over && !waiting && !self.shared.borrow().output.is_full() {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        *over = self.shared.borrow_mut().queue(frame, chunked);
                    }
                    Poll::Ready(Some(Err(error))) => {
                        // What came before the failure is the caller's.
                        let _flushed = self.shared.borrow_mut().poll_flush(cx);
                        return Poll::Ready(Err(error));
                    }
                    Poll::Ready(None) => {
                        *over = true;
                        if chunked {
                            self.shared.borrow_mut().output.put(b"0\r\n\r\n");
                        }
                    }
                    Poll::Pending => waiting = true,
                }
                *over |= !chunked && body.is_end_stream();
            }
            if let Poll::Ready(done) =
                self.shared.borrow_mut().poll_written(cx, *over, waiting)
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
        let clean =
            poll_fn(|cx| self.shared.borrow_mut().poll_drain(cx, &mut room)).await;
        let shared = self.shared.borrow();
        shared.limit.set(shared.limits.keep_alive);
        clean
    }

    /// Closes the connection so that the caller can still read the last answer.
    pub async fn close(&self) {
        self.shared.borrow().limit.set(LINGER);
        let mut room = DRAIN;
        let mut shut = false;
        poll_fn(|cx| {
            let mut shared = self.shared.borrow_mut();
            if !shut {
                let done = ready!(Pin::new(&mut shared.io).poll_shutdown(cx));
                shut = true;
                if done.is_err() {
                    return Poll::Ready(());
                }
            }
            shared.decoder = Decoder::UntilClose;
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

fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
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

impl Shared {
    fn poll_head(&mut self, cx: &mut Context<'_>, closing: bool) -> Poll<Turn> {
        loop {
            if !self.input.is_empty() {
                match head::parse_request(
                    &mut self.input,
                    self.limits.head,
                    &mut self.scanned,
                ) {
                    Ok(Some(head)) => {
                        self.limit.clear();
                        self.scanned = 0;
                        return Poll::Ready(Turn::Request(Box::new(head)));
                    }
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Turn::Refused(error)),
                }
            }
            let idle = self.input.is_empty();
            if idle && closing {
                return Poll::Ready(Turn::Over);
            }
            if idle && self.io.poll_readable(cx).is_pending() {
                self.input = BytesMut::new();
                return self.limit.poll(cx).map(|()| Turn::Over);
            }
            self.input.reserve(READ);
            match self.io.poll_read_into(cx, &mut self.input) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Turn::Over),
                Poll::Ready(Ok(_)) if idle => self.limit.set(self.limits.head_time),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if idle => {
                    self.input = BytesMut::new();
                    return self.limit.poll(cx).map(|()| Turn::Over);
                }
                Poll::Pending => return self.limit.poll(cx).map(|()| Turn::Late),
            }
        }
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            match self.decoder.decode(&mut self.input) {
                Ok(Piece::Data(bytes)) => {
                    self.limit.clear();
                    let Some(room) = self.body_room.checked_sub(bytes.len() as u64)
                    else {
                        return self.fail(BodyError::TooLong(self.limits.body_size));
                    };
                    self.body_room = room;
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Ok(Piece::Trailers(map)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(map))));
                }
                Ok(Piece::End) => {
                    self.limit.clear();
                    return Poll::Ready(None);
                }
                Ok(Piece::More) => {}
                Err(_) => return self.fail(BodyError::Malformed),
            }
            if self.leave == Leave::Waited {
                self.leave = Leave::Given;
                self.output.put(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            if let Poll::Ready(Err(error)) = self.output.poll_flush(cx, &mut self.io) {
                return self.fail(error.into());
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return self.fail(BodyError::Truncated),
                Poll::Ready(Ok(_)) => self.limit.set(self.limits.body_idle),
                Poll::Ready(Err(error)) => return self.fail(error.into()),
                Poll::Pending => {
                    if !self.limit.is_set() {
                        self.limit.set(self.limits.body_idle);
                    }
                    ready!(self.limit.poll(cx));
                    return self.fail(BodyError::Idle);
                }
            }
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame, BodyError>>> {
        self.ended = true;
        Poll::Ready(Some(Err(error)))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let large = matches!(self.decoder, Decoder::Length(left) if left > READ as u64);
        self.input.reserve(if large { READ_LARGE } else { READ });
        self.io.poll_read_into(cx, &mut self.input)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // While the body is being read, its reader sees the end; when much is here already,
        // the caller is alive and kept waiting.
        if self.ended {
            return Poll::Ready(());
        }
        if !self.decoder.is_done() || self.input.len() >= AHEAD {
            return Poll::Pending;
        }
        while self.input.len() < AHEAD {
            if ready!(self.io.poll_readable(cx)).is_err() {
                return Poll::Ready(());
            }
            self.input.reserve(READ);
            match ready!(self.io.poll_read_into(cx, &mut self.input)) {
                Ok(0) | Err(_) => {
                    self.ended = true;
                    return Poll::Ready(());
                }
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    /// Writes the head; whether the body goes in chunks.
    fn begin_answer(
        &mut self,
        status: StatusCode,
        reason: Option<&Reason>,
        headers: &HeaderMap,
        length: Option<u64>,
        out: Outgoing,
    ) -> bool {
        if self.leave == Leave::Waited {
            self.leave = Leave::Never;
        }
        let into = self.output.flat();
        head::write_answer(into, status, reason, headers);
        let mut chunked = false;
        let mut keep_alive = out.keep_alive && self.leave != Leave::Never;
        if !out.head_only && !is_bodiless(status) {
            match length {
                Some(length) => head::write_length(into, length),
                None if out.version == Version::HTTP_11 => {
                    chunked = true;
                    into.extend_from_slice(b"transfer-encoding: chunked\r\n");
                }
                None => keep_alive = false,
            }
        }
        if status != StatusCode::SWITCHING_PROTOCOLS {
            if !keep_alive {
                into.extend_from_slice(b"connection: close\r\n");
            } else if out.version == Version::HTTP_10 {
                into.extend_from_slice(b"connection: keep-alive\r\n");
            }
        }
        into.extend_from_slice(b"\r\n");
        self.output.grown();
        chunked
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_flush(cx, &mut self.io)
    }

    /// Writes what waits. Ready with `true` when the answer is over, with `false` when there
    /// is room for more of it.
    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        over: bool,
        waiting: bool,
    ) -> Poll<Result<bool, BodyError>> {
        match self.poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                if self.decoder.is_done() {
                    self.limit.clear();
                }
                if waiting && !over {
                    return self.poll_gone(cx).map(|()| Err(BodyError::Reset));
                }
                Poll::Ready(Ok(over))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending => self.poll_stalled(cx).map(Err),
        }
    }

    /// The caller does not read: it has as long as between two pieces of a body.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        if !self.limit.is_set() || self.output.has_moved() {
            self.limit.set(self.limits.body_idle);
        }
        self.limit.poll(cx).map(|()| BodyError::Idle)
    }

    /// Puts a frame into the output; whether it was the last.
    fn queue(&mut self, frame: Frame, chunked: bool) -> bool {
        match frame.into_data() {
            Ok(bytes) if bytes.is_empty() => false,
            Ok(bytes) if chunked => {
                put_chunk_size(&mut self.output, bytes.len());
                self.output.push(bytes);
                self.output.put(b"\r\n");
                false
            }
            Ok(bytes) => {
                self.output.push(bytes);
                false
            }
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else { return false };
                if chunked {
                    self.output.put(b"0\r\n");
                    head::write_fields(self.output.flat(), &trailers);
                    self.output.put(b"\r\n");
                    self.output.grown();
                }
                true
            }
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>, room: &mut usize) -> Poll<bool> {
        if self.leave == Leave::Never || self.ended {
            return Poll::Ready(false);
        }
        if !self.decoder.is_done() && !self.limit.is_set() {
            self.limit.set(LINGER);
        }
        loop {
            match self.decoder.decode(&mut self.input) {
                Ok(Piece::Data(bytes)) => match room.checked_sub(bytes.len()) {
                    Some(left) => *room = left,
                    None => return Poll::Ready(false),
                },
                Ok(Piece::Trailers(_)) => {}
                Ok(Piece::End) => return Poll::Ready(true),
                Err(_) => return Poll::Ready(false),
                Ok(Piece::More) => match self.poll_read(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => return self.limit.poll(cx).map(|()| false),
                },
            }
        }
    }

    fn reset_on_close(&self) {
        let set = match &self.io {
            Io::Tcp(stream) => {
                socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
            }
            Io::Unix(_) => Ok(()),
        };
        if let Err(error) = set {
            tracing::debug!(%error, "the connection could not be set to reset");
        }
    }
}
