//! An upgraded connection: bytes both ways, untouched, until both sides have ended it.
//!
//! The flight is open as long as the tunnel is, so that a drain waits for it. It ends when a
//! side breaks off, when no byte has moved either way for as long as the route's
//! `timeouts.idle` says, when its version's time is over, and at the end of the process. In
//! the last three cases each side is told by a close frame, where it can be put between two
//! frames of the other side.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outgoing::{Outgoing, Reply};
use super::worker::Worker;
use crate::measure::Flight;
use crate::upstream::Busy;
use crate::vocab::outcome::Class;
use crate::wire::Body;
use crate::wire::Io;
use crate::wire::h1;
use crate::wire::h1::{ClientConnection, ServerConnection};
use crate::wire::websocket;
use crate::wire::websocket::Boundary;

/// The version's end of a tunnel, taken out of its answer.
pub(super) struct Far {
    io: Io,
    /// What has come from it already.
    ahead: BytesMut,
    idle: Duration,
    flight: Option<Flight>,
    _busy: Option<Busy>,
    /// Counts at its pool.
    _counted: ClientConnection,
}

impl Far {
    /// Takes it out of the body of a 101.
    pub(super) fn take(body: Box<Outgoing>) -> Option<Self> {
        let (body, flight, busy) = body.into_tunnel();
        let exchange = body.into_exchange()?;
        let idle = exchange.idle();
        let (io, ahead, counted) = exchange.into_io()?;
        Some(Self { io, ahead, idle, flight, _busy: busy, _counted: counted })
    }
}

/// Passes on the 101 of an HTTP/1.1 connection and then everything.
pub(super) async fn run(
    worker: &Rc<Worker>,
    connection: ServerConnection,
    answer: Reply,
) {
    let h1::Reply { status, reason, headers, body, last } = answer;
    let Some(far) = Far::take(body) else { return };
    let mut head =
        h1::Reply { status, reason, headers, body: Box::new(Body::Empty), last };
    let out =
        h1::Outgoing { head_only: false, version: Version::HTTP_11, keep_alive: true };
    if connection.answer(&mut head, out, &|_| false).await.is_err() {
        return;
    }
    let Some((caller, ahead)) = connection.into_io() else { return };
    pass(worker, (caller, ahead), far).await;
}

/// Passes everything until the tunnel ends, and closes the flight.
pub(super) async fn pass<C>(worker: &Rc<Worker>, near: (C, BytesMut), far: Far)
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let Far { io: mut server, ahead, idle, mut flight, _busy, _counted } = far;
    let (mut caller, from_caller) = near;
    let _open = Open::count(worker);
    let limit = worker.wheel.limit();
    limit.set(idle);
    let (mut up, mut down) = (Way::new(from_caller), Way::new(ahead));
    let end = poll_fn(|cx| {
        if flight.as_ref().is_some_and(Flight::is_cut) {
            return Poll::Ready(End::Cut);
        }
        if worker.ending.get() {
            return Poll::Ready(End::GoingAway);
        }
        let there = up.poll(cx, &mut caller, &mut server);
        let back = down.poll(cx, &mut server, &mut caller);
        match (there, back) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(End::Well),
            (Poll::Ready(Err(Side::To(error))), _)
            | (_, Poll::Ready(Err(Side::From(error)))) => {
                tracing::debug!(%error, "a server broke an upgraded connection off");
                return Poll::Ready(End::Server);
            }
            (Poll::Ready(Err(Side::From(error))), _)
            | (_, Poll::Ready(Err(Side::To(error)))) => {
                tracing::debug!(%error, "a caller broke an upgraded connection off");
                return Poll::Ready(End::Caller);
            }
            (Poll::Pending, _) | (_, Poll::Pending) => {}
        }
        // Both are looked at: what moved is forgotten in each.
        let moved = [up.moved(), down.moved()].contains(&true);
        if moved {
            limit.set(idle);
        }
        limit.poll(cx).map(|()| End::Idle)
    })
    .await;
    if let Some(flight) = flight.take() {
        flight.close(end.class());
    }
    if let Some(code) = end.code() {
        limit.set(LAST_WORDS);
        let mask = u32::try_from(worker.draw() >> 32).unwrap_or(1).to_be_bytes();
        let (to_server, to_caller) = (up.close(code, Some(mask)), down.close(code, None));
        let telling = async {
            tell(&mut server, &to_server).await;
            tell(&mut caller, &to_caller).await;
        };
        let mut telling = pin!(telling);
        poll_fn(|cx| match telling.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => limit.poll(cx),
        })
        .await;
    }
}

/// Says the last words, ends our side, and reads over what still comes, so that a reset does
/// not take the words away.
async fn tell<S: AsyncRead + AsyncWrite + Unpin>(side: &mut S, words: &[u8]) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let said = async {
        side.write_all(words).await?;
        side.shutdown().await
    };
    if said.await.is_err() {
        return;
    }
    let mut over = [0; 1024];
    let mut room = 64;
    while room > 0 && matches!(side.read(&mut over).await, Ok(1..)) {
        room -= 1;
    }
}

/// Counts a tunnel of the worker for as long as it is open.
struct Open(Rc<Worker>);

impl Open {
    fn count(worker: &Rc<Worker>) -> Self {
        worker.tunnels.set(worker.tunnels.get() + 1);
        Self(Rc::clone(worker))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.tunnels.set(self.0.tunnels.get().saturating_sub(1));
    }
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Both sides have said all.
    Well,
    /// The caller broke off.
    Caller,
    /// The version broke off.
    Server,
    /// Nothing has moved for too long.
    Idle,
    /// The version was drained and its time is over.
    Cut,
    /// The process ends.
    GoingAway,
}

impl End {
    fn class(self) -> Class {
        match self {
            Self::Well | Self::Caller | Self::Idle => Class::Upgraded,
            Self::Server => Class::UpstreamReset,
            Self::Cut | Self::GoingAway => Class::Rejected,
        }
    }

    /// What the two sides are told (RFC 6455 section 7.4.1, and 1012 "service restart" of its
    /// registry: come back, another will serve you).
    fn code(self) -> Option<u16> {
        match self {
            Self::Well | Self::Caller | Self::Server => None,
            Self::Idle | Self::GoingAway => Some(1001),
            Self::Cut => Some(1012),
        }
    }
}

/// Whose fault it is that a direction ended.
enum Side {
    From(io::Error),
    To(io::Error),
}

/// One direction.
struct Way {
    /// What was read and not written yet.
    rest: BytesMut,
    boundary: Boundary,
    moved: bool,
    ended: bool,
    shut: bool,
}

impl Way {
    fn new(rest: BytesMut) -> Self {
        let boundary = Boundary::default();
        Self { rest, boundary, moved: false, ended: false, shut: false }
    }

    /// Whether anything has moved since this was last asked.
    fn moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// The close frame, if it can be put where this direction stands.
    fn close(&self, code: u16, mask: Option<[u8; 4]>) -> Vec<u8> {
        if self.rest.is_empty() && !self.shut && self.boundary.may_close() {
            websocket::close(code, mask)
        } else {
            Vec::new()
        }
    }

    /// Moves what can be moved; ready when this direction is over. No buffer is held while
    /// nothing is in it.
    fn poll<F, T>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
    ) -> Poll<Result<(), Side>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        for _ in 0..TURNS {
            while !self.rest.is_empty() {
                let wrote = ready!(Pin::new(&mut *to).poll_write(cx, &self.rest));
                let wrote = wrote.and_then(|len| match len {
                    0 => Err(io::ErrorKind::WriteZero.into()),
                    len => Ok(len),
                });
                let len = wrote.map_err(Side::To)?;
                self.boundary.feed(self.rest.get(..len).unwrap_or_default());
                self.rest.advance(len);
                self.moved = true;
            }
            self.rest = BytesMut::new();
            if self.ended {
                if !self.shut {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Side::To)?;
                    self.shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            let mut bytes = [0; READ];
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *from).poll_read(cx, &mut buffer) {
                Poll::Ready(read) => read.map_err(Side::From)?,
                Poll::Pending => {
                    ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(Side::To)?;
                    return Poll::Pending;
                }
            }
            match buffer.filled() {
                [] => self.ended = true,
                some => self.rest.extend_from_slice(some),
            }
            self.moved = true;
        }
        // The other direction and other connections have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Bytes read at a time.
const READ: usize = 8 * 1024;
/// Reads in one turn.
const TURNS: usize = 16;
/// For the two sides to hear why.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "tunnel_tests.rs"]
mod tests;
