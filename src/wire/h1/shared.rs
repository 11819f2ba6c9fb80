//! `Shared`: the state of a caller's HTTP/1.1 connection, which the loop over its requests
//! and the body of the current one both work on. Apart, so that what is polled under a
//! borrow stands in one place, and nothing here calls back into a body.

use std::io;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::{StatusCode, Version};

use super::buffer::WriteBuffer;
use super::framing::{Decoder, Piece};
use super::head::{self, Reason};
use super::server::{Outgoing, ServerLimits, Turn};
use super::spare;
use crate::clock::{Limit, Waits};
use crate::wire::body::Frame;
use crate::wire::error::BodyError;
use crate::wire::headers::Headers;
use crate::wire::io::Io;
use crate::wire::pace::Pace;

/// What a caller's connection is and where it stands.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) io: Io,
    pub(super) input: BytesMut,
    pub(super) scanned: usize,
    pub(super) output: WriteBuffer,
    pub(super) decoder: Decoder,
    /// How the caller keeps up with sending its body.
    pub(super) incoming: Pace,
    /// And with taking its answer.
    pub(super) outgoing: Pace,
    /// It is looked at closely how much of the answer is taken.
    pub(super) closely: bool,
    pub(super) body_room: u64,
    pub(super) leave: Leave,
    pub(super) limits: ServerLimits,
    pub(super) limit: Limit,
    /// The request body's own, because another task may be reading it.
    pub(super) body_limit: Limit,
    /// The task of the connection, where another one reads the body.
    pub(super) owner: Option<Waker>,
    /// How far the reading of heads and bodies is.
    pub(super) reading: Reading,
    /// The answer's head has been written.
    pub(super) answering: bool,
    /// The caller has ended the connection.
    pub(super) ended: bool,
}

/// How far the reading of heads and bodies is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// No byte has come on this connection, and it has not been told to hurry.
    Fresh,
    /// No byte has come, and it has been told to hurry.
    Hurried,
    /// Between two requests.
    Idle,
    /// Within a head.
    Head,
    /// At a body, which is well so far.
    Body,
    /// At a body that failed: what follows cannot be read as a request.
    Broken,
}

/// Whether the caller has been told to send its body (`Expect: 100-continue`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It did not ask, or was told.
    Given,
    /// It waits to be told.
    Waited,
    /// It got its answer instead, and may or may not send the body.
    Never,
}

impl Shared {
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        closing: bool,
    ) -> Poll<Turn> {
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
                        self.reading = Reading::Body;
                        return Poll::Ready(Turn::Request(Box::new(head)));
                    }
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Turn::Refused(error)),
                }
            }
            let idle = self.input.is_empty();
            spare::lend(&mut self.input);
            self.input.reserve(READ);
            match self.io.poll_read_into(cx, &mut self.input) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Turn::Over),
                Poll::Ready(Ok(_)) if self.reading != Reading::Head => {
                    // The first head's time has run since the connection stands.
                    if self.reading != Reading::Fresh {
                        self.await_head();
                    }
                    self.reading = Reading::Head;
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if idle => return self.poll_idle(cx, closing),
                Poll::Pending => return self.limit.poll(cx).map(|()| Turn::Late),
            }
        }
    }

    /// A head has begun to come.
    pub(super) fn await_head(&self) {
        let ServerLimits { head_time, group, .. } = self.limits;
        self.limit.set_spare(head_time, group, Waits::Begin);
    }

    /// Nothing is here and nothing comes. A connection that has not carried a request yet is
    /// given a moment when everything closes: its request may be on the way.
    fn poll_idle(&mut self, cx: &mut Context<'_>, closing: bool) -> Poll<Turn> {
        spare::give_back(&mut self.input);
        self.output.release();
        match self.reading {
            Reading::Fresh if closing => {
                self.reading = Reading::Hurried;
                self.limit.set(LINGER);
            }
            Reading::Idle if closing => return Poll::Ready(Turn::Over),
            Reading::Fresh
            | Reading::Hurried
            | Reading::Idle
            | Reading::Head
            | Reading::Body
            | Reading::Broken => {}
        }
        self.limit.poll(cx).map(|()| Turn::Over)
    }

    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            match self.decoder.decode(&mut self.input) {
                Ok(Piece::Data(bytes)) => {
                    let Some(room) = self.body_room.checked_sub(bytes.len() as u64)
                    else {
                        return self.fail(cx, BodyError::TooLong(self.limits.body_size));
                    };
                    self.body_room = room;
                    self.wake_owner_at_end(cx);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Ok(Piece::Trailers(map)) => {
                    self.wake_owner_at_end(cx);
                    return Poll::Ready(Some(Ok(Frame::trailers(map))));
                }
                Ok(Piece::End) => {
                    self.wake_owner_at_end(cx);
                    return Poll::Ready(None);
                }
                Ok(Piece::More) => {}
                Err(_) => return self.fail(cx, BodyError::Malformed),
            }
            if let Err(error) = self.give_leave(cx) {
                return self.fail(cx, error.into());
            }
            if let Err(error) = ready!(self.poll_more(cx)) {
                return self.fail(cx, error);
            }
        }
    }

    /// Waits for more of the body, as long as its caller may be waited for.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        match self.poll_read(cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(BodyError::Truncated)),
            Poll::Ready(Ok(read)) => {
                self.incoming.moved(read as u64);
                self.body_limit.clear();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending => {
                if !self.body_limit.is_set() {
                    let most = self.incoming.wait(self.limits.body_idle);
                    self.body_limit.set(most);
                }
                self.body_limit.poll(cx).map(|()| Err(BodyError::Idle))
            }
        }
    }

    /// Reads a body of known length ahead, without taking anything of it: all of it, or as
    /// much as is read at once. A caller that waits for leave is not given it here.
    pub(super) fn poll_ahead(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BodyError>> {
        loop {
            let Decoder::Length(left) = self.decoder else { return Poll::Ready(Ok(())) };
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(BEFOREHAND);
            if self.leave == Leave::Waited || self.input.len() >= wanted {
                return Poll::Ready(Ok(()));
            }
            if let Err(error) = ready!(self.poll_more(cx)) {
                let _failed = self.fail(cx, error.clone());
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Tells a caller that waits for it to send its body. Once an answer is being written
    /// the output is that task's alone.
    fn give_leave(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.leave == Leave::Waited {
            self.leave = Leave::Given;
            self.output.put(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if self.answering || self.output.is_empty() {
            return Ok(());
        }
        match self.poll_flush(cx) {
            Poll::Ready(done) => done,
            Poll::Pending => Ok(()),
        }
    }

    /// The end of the body is what the connection's task waits for before it looks out for
    /// a caller that hangs up.
    fn wake_owner_at_end(&self, cx: &Context<'_>) {
        if let Some(owner) = &self.owner
            && (self.decoder.is_done() || self.reading == Reading::Broken)
            && !owner.will_wake(cx.waker())
        {
            owner.wake_by_ref();
        }
    }

    fn fail(
        &mut self,
        cx: &Context<'_>,
        error: BodyError,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        self.ended |= matches!(error, BodyError::Truncated | BodyError::Io(_));
        self.reading = Reading::Broken;
        self.wake_owner_at_end(cx);
        Poll::Ready(Some(Err(error)))
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.decoder.make_room(&mut self.input);
        self.io.poll_read_into(cx, &mut self.input)
    }

    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // While the body is being read, its reader sees the end; when much is here already,
        // the caller is alive and kept waiting.
        if self.ended {
            return Poll::Ready(());
        }
        if !self.owner.as_ref().is_some_and(|owner| owner.will_wake(cx.waker())) {
            self.owner = Some(cx.waker().clone());
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

    /// Writes the head; whether the body goes in chunks, and whether another request may
    /// follow.
    pub(super) fn begin_answer(
        &mut self,
        status: StatusCode,
        reason: Option<&Reason>,
        headers: &Headers,
        length: Option<u64>,
        out: Outgoing,
    ) -> (bool, bool) {
        self.answering = true;
        if self.leave == Leave::Waited {
            // One that did not wait has sent everything already.
            let sent = self.decoder.is_done();
            self.leave = if sent { Leave::Given } else { Leave::Never };
        }
        let into = self.output.flat();
        head::write_answer(into, status, reason, headers);
        let mut chunked = false;
        let mut keep_alive = out.keep_alive
            && self.leave != Leave::Never
            && self.reading != Reading::Broken;
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
        (chunked, keep_alive)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_flush(cx, &mut self.io)
    }

    /// Writes what waits. Ready with `true` when the answer is over, with `false` when there
    /// is room for more of it.
    pub(super) fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        over: bool,
        waiting: bool,
        wanted: &dyn Fn() -> bool,
    ) -> Poll<Result<bool, BodyError>> {
        match self.poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.limit.clear();
                self.took();
                if waiting && !over {
                    return self.poll_gone(cx).map(|()| Err(BodyError::Reset(None)));
                }
                Poll::Ready(Ok(over))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending => self.poll_stalled(cx, wanted).map(Err),
        }
    }

    /// The caller does not read, or not fast enough, or does not read at all while others
    /// want what its answer holds.
    pub(super) fn poll_stalled(
        &mut self,
        cx: &mut Context<'_>,
        wanted: &dyn Fn() -> bool,
    ) -> Poll<BodyError> {
        if self.took() > 0 || !self.limit.is_set() {
            self.look_again();
        }
        ready!(self.limit.poll(cx));
        if self.outgoing.is_over(self.limits.body_idle) || wanted() {
            // What the kernel holds would wait on for somebody who does not take it.
            self.reset_on_close();
            return Poll::Ready(BodyError::Idle);
        }
        self.set_closely(true);
        self.look_again();
        self.limit.poll(cx).map(|()| BodyError::Idle)
    }

    /// Judges what was written since the last time; how much that is.
    fn took(&mut self) -> u64 {
        let moved = self.output.take_moved();
        if moved > 0 {
            self.outgoing.moved(moved);
            if !self.outgoing.is_slow() {
                self.set_closely(false);
            }
        }
        moved
    }

    fn look_again(&mut self) {
        let left = self.outgoing.wait(self.limits.body_idle);
        self.limit.set(if left.is_zero() { LOOK } else { left.min(LOOK) });
    }

    /// From now on it is seen how much the caller takes, at some cost to how fast it can; or
    /// no longer.
    pub(super) fn set_closely(&mut self, closely: bool) {
        if self.closely == closely {
            return;
        }
        self.closely = closely;
        self.output.be_careful(closely);
        if let Err(error) = self.io.watch_taking(closely) {
            tracing::debug!(%error, "what a caller takes cannot be watched");
        }
    }

    /// The body is over without trailers.
    pub(super) fn end_of_body(&mut self, chunked: bool) {
        if chunked {
            self.output.put(b"0\r\n\r\n");
        }
    }

    pub(super) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut usize,
    ) -> Poll<bool> {
        if self.leave == Leave::Never || self.ended || self.reading == Reading::Broken {
            return Poll::Ready(false);
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

    pub(super) fn reset_on_close(&mut self) {
        if let Err(error) = self.io.reset_on_close() {
            tracing::debug!(%error, "the connection could not be set to reset");
        }
    }
}

/// Whether answers of this status never have a body.
pub(super) fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

const READ: usize = 8 * 1024;

/// Between two looks at a caller that takes nothing.
const LOOK: Duration = Duration::from_millis(500);

/// How much of a body is read before its server is asked, where that is waited for.
const BEFOREHAND: usize = 16 * 1024;

/// How much a caller may send ahead while its request is being answered.
const AHEAD: usize = 64 * 1024;

/// How long what is left of an unwanted body is waited for.
pub(super) const LINGER: Duration = Duration::from_secs(1);
