//! `Sentry`: what stands between a peer's socket and the HTTP/2 implementation, and counts
//! frames as they pass, of callers and of servers. Apart because it knows nine bytes of each frame and nothing else.
//!
//! A protocol error of one stream is HTTP/2's to see. What it does not see is a caller that
//! keeps to the rules and keeps us busy: pings, settings, priorities, window updates, resets
//! and empty frames cost the sender nothing (CVE-2019-9512 to 9518, CVE-2023-44487). Here
//! each costs the caller credit (`credit`), which answers earn and time gives back; without
//! credit the connection ends with `ENHANCE_YOUR_CALM`. Nothing is allocated, and payloads are
//! skipped.
//!
//! A frame on a stream that its caller had ended is answered by a reset; here it ends the
//! connection, as RFC 9113 section 5.1 says of closed streams. Streams that were ended from
//! our side are another thing: what is still on its way on them is nobody's fault.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::credit::{Credit, Peer};
use super::frames::{Heads, kind};
use super::io::Io;

/// The connection as the HTTP/2 implementation gets it.
#[derive(Debug)]
pub struct Sentry(Rc<RefCell<Post>>);

/// The same connection as its owner sees it.
#[derive(Clone, Debug)]
pub struct Watch(Rc<RefCell<Post>>);

#[derive(Debug)]
struct Post {
    /// `None` once it is closed.
    io: Option<Io>,
    peer: Peer,
    inbound: Heads,
    outbound: Heads,
    /// Within a header block that goes on in the next frame.
    in_block: bool,
    /// The kind of the frame that is coming in.
    last_kind: u8,
    last_stream: u32,
    credit: Credit,
    data_sent: u64,
    blocked: bool,
    fault: Option<Fault>,
    told: bool,
    /// Streams that we have reset, the latest of them.
    ours: [u32; OURS],
    next_ours: usize,
}

/// Why a connection is given up, as the code that the caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A frame on a stream that the caller had ended.
    StreamClosed = 5,
    /// Too much that leads to nothing.
    EnhanceYourCalm = 11,
}

impl Sentry {
    /// Stands watch over a caller's connection.
    #[must_use]
    pub fn post(io: Io) -> (Self, Watch) {
        Self::between(io, Peer::Caller)
    }

    /// Stands watch over a connection to a server.
    #[must_use]
    pub fn before_server(io: Io) -> Self {
        Self::between(io, Peer::Server).0
    }

    fn between(io: Io, peer: Peer) -> (Self, Watch) {
        let (theirs, ours) = match peer {
            Peer::Caller => (PREFACE, 0),
            Peer::Server => (0, PREFACE),
        };
        let post = Post {
            io: Some(io),
            peer,
            inbound: Heads::after(theirs),
            outbound: Heads::after(ours),
            in_block: false,
            last_kind: kind::SETTINGS,
            last_stream: 0,
            credit: Credit::new(peer),
            data_sent: 0,
            blocked: false,
            fault: None,
            told: false,
            ours: [0; OURS],
            next_ours: 0,
        };
        let post = Rc::new(RefCell::new(post));
        (Self(Rc::clone(&post)), Watch(post))
    }
}

impl Watch {
    /// Whether a head has begun to come in and is not whole.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        let post = self.0.borrow();
        let partly = !post.inbound.is_between() && post.last_kind != kind::DATA;
        post.in_block || partly
    }

    /// Bytes of answers' bodies that the caller's side of the connection has taken.
    #[must_use]
    pub fn data_sent(&self) -> u64 {
        self.0.borrow().data_sent
    }

    /// Whether the caller's side of the connection has no room for what is ready.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.0.borrow().blocked
    }

    /// Whether it is seen how much the caller takes, at some cost to how fast it can.
    pub fn take_closely(&self, closely: bool) {
        if let Some(io) = &self.0.borrow().io
            && let Err(error) = io.watch_taking(closely)
        {
            tracing::debug!(%error, "what a caller takes cannot be watched");
        }
    }

    /// Has the connection reset when it is closed: what the kernel holds for a caller who
    /// takes nothing would wait on.
    pub fn reset_on_close(&self) {
        if let Some(io) = &mut self.0.borrow_mut().io
            && let Err(error) = io.reset_on_close()
        {
            tracing::debug!(%error, "the connection could not be set to reset");
        }
    }

    /// Tells the caller, if it can be told at once, that the connection is given up.
    pub fn give_up(&self, cx: &mut Context<'_>, fault: Fault) {
        let mut post = self.0.borrow_mut();
        post.fault.get_or_insert(fault);
        post.tell(cx);
    }

    /// Why the connection was given up here, if it was.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.0.borrow().fault
    }

    /// Closes the connection, whoever else still holds a part of it.
    pub fn close(&self) {
        self.0.borrow_mut().io = None;
    }

    /// Ends our side and reads over what comes, so that a reset does not take our last words
    /// from the caller. Ready when the caller has ended its side or sent `room` bytes.
    pub fn poll_farewell(&self, cx: &mut Context<'_>, room: &mut usize) -> Poll<()> {
        let mut post = self.0.borrow_mut();
        let Some(io) = &mut post.io else { return Poll::Ready(()) };
        if ready!(Pin::new(&mut *io).poll_shutdown(cx)).is_err() {
            return Poll::Ready(());
        }
        let mut bytes = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer));
            let len = buffer.filled().len();
            if read.is_err() || len == 0 || len >= *room {
                return Poll::Ready(());
            }
            *room -= len;
        }
    }
}

impl Post {
    fn came(&mut self, bytes: &[u8]) {
        let Self { inbound, credit, in_block, last_kind, last_stream, fault, .. } = self;
        inbound.feed(bytes, |head| {
            *last_kind = head.kind;
            let is_new = head.kind == kind::HEADERS && head.stream > *last_stream;
            if matches!(head.kind, kind::HEADERS | kind::CONTINUATION) {
                *in_block = !head.has(END_HEADERS);
                *last_stream = head.stream.max(*last_stream);
            }
            if !credit.came(head, is_new) {
                fault.get_or_insert(Fault::EnhanceYourCalm);
            }
        });
        if let Some(next) = self.inbound.begun() {
            self.last_kind = next;
        }
    }

    fn went(&mut self, bytes: &[u8]) {
        let Self { outbound, credit, data_sent, fault, ours, next_ours, .. } = self;
        let peer = self.peer;
        outbound.feed(bytes, |head| {
            if !credit.went(head) {
                fault.get_or_insert(Fault::EnhanceYourCalm);
            }
            if head.kind == kind::DATA {
                *data_sent += u64::from(head.length);
            }
            if head.kind != kind::RST_STREAM || peer == Peer::Server {
                return;
            }
            if head.code != Fault::StreamClosed as u32 {
                ours[*next_ours % OURS] = head.stream;
                *next_ours += 1;
            } else if !ours.contains(&head.stream) {
                fault.get_or_insert(Fault::StreamClosed);
            }
        });
    }

    /// Says why the connection is given up, between two frames, as far as it can be said
    /// without waiting.
    fn tell(&mut self, cx: &mut Context<'_>) {
        let Some(fault) = self.fault else { return };
        if self.told || !self.outbound.is_between() {
            return;
        }
        self.told = true;
        let mut frame = [0, 0, 8, kind::GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        frame[9..13].copy_from_slice(&self.last_stream.to_be_bytes());
        frame[13..].copy_from_slice(&(fault as u32).to_be_bytes());
        // A caller that does not read does not learn it.
        if let Some(io) = &mut self.io {
            let _wrote = Pin::new(&mut *io).poll_write(cx, &frame).is_ready();
            let _flushed = Pin::new(io).poll_flush(cx).is_ready();
        }
    }

    /// The connection, if it is not given up.
    fn io(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut Io>> {
        self.check(cx)?;
        let io = self.io.as_mut().map(Pin::new);
        io.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.fault {
            None => Ok(()),
            Some(fault) => {
                self.tell(cx);
                Err(io::Error::other(match fault {
                    Fault::StreamClosed => "a frame on a stream that was ended",
                    Fault::EnhanceYourCalm => "too many frames that lead to nothing",
                }))
            }
        }
    }
}

impl AsyncRead for Sentry {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut post = self.0.borrow_mut();
        let before = buf.filled().len();
        ready!(post.io(cx)?.poll_read(cx, buf))?;
        post.came(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(post.check(cx))
    }
}

impl AsyncWrite for Sentry {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut post = self.0.borrow_mut();
        let wrote = post.io(cx)?.poll_write(cx, buf);
        post.blocked = wrote.is_pending();
        let wrote = ready!(wrote)?;
        post.went(buf.get(..wrote).unwrap_or(buf));
        Poll::Ready(Ok(wrote))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut post = self.0.borrow_mut();
        let wrote = post.io(cx)?.poll_write_vectored(cx, bufs);
        post.blocked = wrote.is_pending();
        let wrote = ready!(wrote)?;
        let mut left = wrote;
        for slice in bufs {
            let len = slice.len().min(left);
            post.went(slice.get(..len).unwrap_or(slice));
            left -= len;
        }
        Poll::Ready(Ok(wrote))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().io.as_ref().is_some_and(Io::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut post = self.0.borrow_mut();
        let flushed = post.io(cx)?.poll_flush(cx);
        // What TLS has taken is not with the caller yet. Nothing is flushed before all is
        // written, so that a flush that is done leaves nothing that could be blocked.
        post.blocked = flushed.is_pending();
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0.borrow_mut().io {
            Some(io) => Pin::new(io).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// Resets of ours that are remembered.
const OURS: usize = 64;
/// Bytes before a caller's first frame.
const PREFACE: u32 = 24;
const END_HEADERS: u8 = 0x4;
