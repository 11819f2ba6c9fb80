//! `Exchange`: one request and its answer on one connection to a server, in the task of the
//! request.
//!
//! Sending and reading go on side by side: an answer that comes before the request is
//! through is read, and the rest of the request is still sent while the answer is. When
//! both are through and the connection is clean it goes back to its home.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::{Method, StatusCode};
use tokio::time::Instant;

use super::connection::ClientConnection;
use super::error::ExchangeError;
use super::framing::{Decoder, Piece};
use super::head::{self, AnswerHead, HeadError, HeadLimits};
use super::spans::Spans;
use super::spare;
use crate::clock;
use crate::clock::Limit;
use crate::wire::body::{Body, BodyLength, Frame};
use crate::wire::error::BodyError;
use crate::wire::headers::Headers;
use crate::wire::io::Io;

/// One request and its answer.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one exchange")]
pub struct Exchange {
    connection: Option<ClientConnection>,
    method: Method,
    body: Body,
    chunked: bool,
    left: u64,
    sending: Sending,
    waited_for_caller: bool,
    sent_late: Option<Instant>,
    heard: bool,
    /// The server does not take what waits to be written.
    stalled: bool,
    /// The head of the answer has come.
    answered: bool,
    interim: usize,
    decoder: Decoder,
    length: BodyLength,
    keep_alive: bool,
    limit: Limit,
    spans: Spans,
}

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Body,
    Flush,
    Done,
    /// The server takes no more; an answer may still come.
    Broken,
}

/// Bounds of an answer's head.
const ANSWER_HEAD: HeadLimits = HeadLimits { size: 64 * 1024, count: 256 };

/// Interim answers (1xx) that are read over before the real one.
const INTERIM: usize = 16;

/// How long an answer is waited for after the server has stopped taking the request.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Exchange {
    /// Begins to send a request. `target` is in origin form; `headers` have no framing.
    #[must_use]
    pub fn start(
        mut connection: ClientConnection,
        (method, target, headers): (&Method, &str, &Headers),
        body: Body,
        limit: Limit,
        spans: Spans,
    ) -> Self {
        let length = body.length();
        head::write_request(connection.output.flat(), method, target, headers, length);
        connection.output.grown();
        let (chunked, left) = match length {
            BodyLength::None => (false, 0),
            BodyLength::Exact(length) => (false, length),
            BodyLength::Unknown => (true, 0),
        };
        let sending =
            if length == BodyLength::None { Sending::Flush } else { Sending::Body };
        Self {
            connection: Some(connection),
            method: method.clone(),
            body,
            chunked,
            left,
            sending,
            waited_for_caller: false,
            sent_late: None,
            heard: false,
            stalled: false,
            answered: false,
            interim: 0,
            decoder: Decoder::Done,
            length: BodyLength::None,
            keep_alive: false,
            limit,
            spans,
        }
    }

    /// The head of the answer; interim answers but 101 are read over.
    ///
    /// # Errors
    /// [`ExchangeError`]. [`Exchange::take_body`] then gives the request's body back.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<AnswerHead, ExchangeError>> {
        if let Err(error) = self.send(cx) {
            return Poll::Ready(Err(ExchangeError::Caller(error)));
        }
        loop {
            match self.parse_head() {
                Ok(Some(head))
                    if head.status.is_informational()
                        && head.status != StatusCode::SWITCHING_PROTOCOLS =>
                {
                    self.interim += 1;
                    if self.interim > INTERIM {
                        return Poll::Ready(Err(ExchangeError::Malformed(
                            HeadError::TooLarge,
                        )));
                    }
                    continue;
                }
                Ok(Some(head)) => {
                    self.begin_answer(&head);
                    return Poll::Ready(Ok(head));
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(ExchangeError::Malformed(error))),
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.ended(None))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(self.ended(Some(error))));
                }
                Poll::Pending => return self.limit.poll(cx).map(|()| Err(self.late())),
            }
        }
    }

    /// The next piece of the answer's body; `None` after the last.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.sending != Sending::Done && self.send(cx).is_err() {
            self.sending = Sending::Broken;
        }
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
            match self.decoder.decode(&mut connection.input) {
                Ok(Piece::Data(bytes)) => {
                    self.progress();
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Ok(Piece::Trailers(map)) => {
                    self.finish();
                    return Poll::Ready(Some(Ok(Frame::trailers(map))));
                }
                Ok(Piece::End) => {
                    self.finish();
                    return Poll::Ready(None);
                }
                Ok(Piece::More) => {}
                Err(_) => return self.fail(BodyError::Malformed),
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) if matches!(self.decoder, Decoder::UntilClose) => {
                    (self.connection, self.decoder) = (None, Decoder::Done);
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(0) | Err(_)) => return self.fail(BodyError::Truncated),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    return match self.limit.poll(cx) {
                        Poll::Pending => Poll::Pending,
                        Poll::Ready(()) if self.spans.is_over() => {
                            self.fail(BodyError::Total)
                        }
                        Poll::Ready(()) => self.fail(BodyError::Idle),
                    };
                }
            }
        }
    }

    /// The announced length of the answer's body.
    #[must_use]
    pub fn length(&self) -> BodyLength {
        self.length
    }

    /// The length of what has not been read of it.
    #[must_use]
    pub fn left(&self) -> BodyLength {
        self.decoder.left()
    }

    /// Whether the answer's body is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.decoder.is_done()
    }

    /// Whether only the end of the connection ends the answer's body.
    #[must_use]
    pub fn ends_by_close(&self) -> bool {
        matches!(self.decoder, Decoder::UntilClose)
    }

    /// Whether one byte of an answer has come.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.heard
    }

    /// Whether the connection had carried a request before this one.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.used)
    }

    /// Whether the caller has had to be waited for, and has not sent everything.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.waited_for_caller && matches!(self.sending, Sending::Body | Sending::Flush)
    }

    /// When the request was through, if its caller had to be waited for.
    #[must_use]
    pub fn sent_late(&self) -> Option<Instant> {
        self.sent_late
    }

    /// The request's body, as far as it has not been sent, and ends the exchange.
    #[must_use]
    pub fn take_body(self) -> Body {
        self.body
    }

    /// The request's body, while the exchange goes on.
    #[must_use]
    pub fn request_body(&self) -> &Body {
        &self.body
    }

    /// Whether the whole request has been sent.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.sending == Sending::Done
    }

    /// How long the route lets a body stand still.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.spans.idle
    }

    /// The bare connection after an upgrade, what was already read from it, and what counts
    /// it at its home for as long as it lives.
    #[must_use]
    pub fn into_io(mut self) -> Option<(Io, BytesMut, ClientConnection)> {
        let mut connection = self.connection.take()?;
        let input = std::mem::take(&mut connection.input);
        connection.io.take().map(|io| (io, input, connection))
    }

    fn parse_head(&mut self) -> Result<Option<AnswerHead>, HeadError> {
        match &mut self.connection {
            Some(connection) if !connection.input.is_empty() => {
                head::parse_answer(&mut connection.input, &self.method, ANSWER_HEAD)
            }
            Some(_) | None => Ok(None),
        }
    }

    fn begin_answer(&mut self, head: &AnswerHead) {
        self.answered = true;
        self.length = head.length;
        self.keep_alive = head.keep_alive;
        self.decoder = Decoder::of(head.length, head.chunked);
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            self.limit.clear();
        } else if self.decoder.is_done() {
            self.finish();
        } else {
            self.arm(self.spans.idle);
        }
    }

    fn progress(&mut self) {
        if self.decoder.is_done() {
            self.finish();
        } else {
            self.arm(self.spans.idle);
        }
    }

    /// The answer is over: the connection goes home if it is clean.
    fn finish(&mut self) {
        self.decoder = Decoder::Done;
        self.limit.clear();
        let Some(mut connection) = self.connection.take() else { return };
        let clean = self.keep_alive
            && self.sending == Sending::Done
            && connection.input.is_empty()
            && connection.output.is_empty();
        if clean {
            connection.used = true;
            connection.idle_since = clock::now();
            spare::give_back(&mut connection.input);
            connection.output.release();
            let home = Rc::clone(&connection.home);
            home.give_back(connection);
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame, BodyError>>> {
        (self.connection, self.decoder) = (None, Decoder::Done);
        self.limit.clear();
        Poll::Ready(Some(Err(error)))
    }

    fn ended(&self, error: Option<io::Error>) -> ExchangeError {
        if self.heard { ExchangeError::Partial } else { ExchangeError::Silent(error) }
    }

    fn late(&self) -> ExchangeError {
        if self.spans.is_over() {
            ExchangeError::Total
        } else if matches!(self.sending, Sending::Body | Sending::Flush) {
            ExchangeError::Idle
        } else if self.sending == Sending::Broken {
            ExchangeError::Silent(None)
        } else {
            ExchangeError::FirstByte
        }
    }

    fn arm(&self, span: Duration) {
        self.spans.arm(&self.limit, span);
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(0)) };
        let Some(io) = &mut connection.io else { return Poll::Ready(Ok(0)) };
        spare::lend(&mut connection.input);
        self.decoder.make_room(&mut connection.input);
        let read = io.poll_read_into(cx, &mut connection.input);
        self.heard |= matches!(read, Poll::Ready(Ok(1..)));
        read
    }

    /// Sends as much as can be sent now.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        loop {
            let Some(connection) = &mut self.connection else { return Ok(()) };
            match self.sending {
                Sending::Done | Sending::Broken => return Ok(()),
                Sending::Body if !connection.output.is_full() => {
                    match self.body.poll_next(cx) {
                        Poll::Ready(Some(frame)) => self.queue(frame?)?,
                        Poll::Ready(None) => self.body_over()?,
                        Poll::Pending => {
                            self.waited_for_caller = true;
                            let _pending = self.flush(cx);
                            return Ok(());
                        }
                    }
                }
                Sending::Body | Sending::Flush => {
                    if self.flush(cx).is_pending() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Writes what waits; a failure of the server to take it is seen when reading.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(()) };
        let Some(io) = &mut connection.io else { return Poll::Ready(()) };
        if connection.output.is_empty() && self.sending == Sending::Body {
            return Poll::Ready(());
        }
        let flushed = connection.output.poll_flush(cx, io);
        let moved = connection.output.take_moved() > 0;
        match flushed {
            Poll::Pending => {
                // Set once for each stall, or the limit would be put off for ever.
                if moved || !self.stalled {
                    self.stalled = true;
                    self.arm(self.spans.idle);
                }
                return Poll::Pending;
            }
            Poll::Ready(Err(_)) => {
                self.sending = Sending::Broken;
                self.arm(if self.answered { self.spans.idle } else { LAST_WORDS });
            }
            Poll::Ready(Ok(())) if self.sending == Sending::Flush => {
                self.sending = Sending::Done;
                if self.waited_for_caller {
                    self.sent_late = Some(clock::now());
                }
                let answered = self.answered;
                self.arm(if answered { self.spans.idle } else { self.spans.first_byte });
            }
            // Now it is the caller who is waited for, under its own limit, unless the answer
            // has begun.
            Poll::Ready(Ok(())) if self.stalled || moved => {
                self.arm(if self.answered { self.spans.idle } else { Duration::ZERO });
            }
            Poll::Ready(Ok(())) => {}
        }
        self.stalled = false;
        Poll::Ready(())
    }

    fn queue(&mut self, frame: Frame) -> Result<(), BodyError> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let output = &mut connection.output;
        match frame.into_data() {
            Ok(bytes) if self.chunked => output.put_chunk(bytes),
            Ok(bytes) => {
                self.left = self
                    .left
                    .checked_sub(bytes.len() as u64)
                    .ok_or(BodyError::Malformed)?;
                output.push(bytes);
                if self.left == 0 {
                    self.sending = Sending::Flush;
                }
            }
            Err(frame) => {
                if let (Ok(trailers), true) = (frame.into_trailers(), self.chunked) {
                    output.put_trailers(&trailers);
                    self.sending = Sending::Flush;
                }
            }
        }
        Ok(())
    }

    fn body_over(&mut self) -> Result<(), BodyError> {
        if self.chunked {
            if let Some(connection) = &mut self.connection {
                connection.output.put(b"0\r\n\r\n");
            }
        } else if self.left > 0 {
            return Err(BodyError::Truncated);
        }
        self.sending = Sending::Flush;
        Ok(())
    }
}
