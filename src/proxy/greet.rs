//! The first moments of a connection: the handshake, where there is one, and which protocol
//! is spoken. Apart from the listeners because everything here waits for a stranger, and
//! ends in time whatever he does.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::accept::Door;
use super::settings::{ListenerProtocol, ListenerSettings};
use super::worker::Worker;
use crate::clock::{Limit, Waits};
use crate::tls::TlsServer;
use crate::wire::Io;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP in the clear, where TLS is spoken.
    Mistaken,
}

/// What a listener agrees to speak over TLS, the best one first.
pub(super) fn alpn(settings: &ListenerSettings) -> &'static [&'static str] {
    match settings.protocol {
        ListenerProtocol::Auto => &["h2", "http/1.1"],
        ListenerProtocol::Http1 => &["http/1.1"],
        ListenerProtocol::Http2 => &["h2"],
    }
}

/// A connection without TLS. `None` when nothing comes on it.
pub(super) async fn plain(
    stream: TcpStream,
    worker: &Worker,
    door: &Door,
) -> Option<(Io, Speaks)> {
    let speaks = match door.settings.protocol {
        ListenerProtocol::Auto => detect(&stream, worker, door).await?,
        ListenerProtocol::Http1 => Speaks::Http1,
        ListenerProtocol::Http2 => Speaks::Http2,
    };
    Some((Io::Tcp(stream), speaks))
}

/// Shakes hands within the time for a request's head. `None` when that fails.
pub(super) async fn shake(
    stream: TcpStream,
    tls: &TlsServer,
    worker: &Worker,
    door: &Door,
) -> Option<(Io, Speaks)> {
    let patience = Patience::new(worker, door);
    let mut opening = pin!(open(stream, tls, door));
    let opened = poll_fn(|cx| match opening.as_mut().poll(cx) {
        Poll::Ready(opened) => Poll::Ready(Some(opened)),
        Poll::Pending => patience.poll(cx).map(|()| None),
    });
    match opened.await? {
        Ok(opened) => Some(opened),
        Err(error) => {
            tracing::debug!(name = door.settings.name, %error, "no TLS with a caller");
            None
        }
    }
}

async fn open(
    stream: TcpStream,
    tls: &TlsServer,
    door: &Door,
) -> io::Result<(Io, Speaks)> {
    let mut first = [0u8];
    stream.peek(&mut first).await?;
    // A handshake begins with 22, and a method with a letter.
    if first[0].is_ascii_alphabetic() {
        return Ok((Io::Tcp(stream), Speaks::Mistaken));
    }
    let mut stream = tls.open(stream).await?;
    let speaks = match (stream.protocol(), door.settings.protocol) {
        (Some(_), _) if stream.is_http2() => Speaks::Http2,
        (Some(_), _) | (None, ListenerProtocol::Http1) => Speaks::Http1,
        (None, ListenerProtocol::Http2) => Speaks::Http2,
        (None, ListenerProtocol::Auto) => loop {
            let before = stream.ahead().len();
            let seen = poll_fn(|cx| stream.poll_ahead(cx, PREFACE.len())).await?;
            if !PREFACE.starts_with(stream.ahead()) || seen == before {
                break Speaks::Http1;
            }
            if seen == PREFACE.len() {
                break Speaks::Http2;
            }
        },
    };
    Ok((Io::Tls(Box::new(stream)), speaks))
}

/// Whether the connection begins with HTTP/2's preface. `None` when nothing comes.
async fn detect(stream: &TcpStream, worker: &Worker, door: &Door) -> Option<Speaks> {
    let patience = Patience::new(worker, door);
    let mut seen = [0u8; PREFACE.len()];
    loop {
        let len = poll_fn(|cx| {
            let mut buffer = ReadBuf::new(&mut seen);
            match stream.poll_peek(cx, &mut buffer) {
                Poll::Ready(Ok(len)) => Poll::Ready(Some(len)),
                Poll::Ready(Err(_)) => Poll::Ready(None),
                Poll::Pending => patience.poll(cx).map(|()| None),
            }
        })
        .await?;
        if len == 0 {
            return None;
        }
        if !PREFACE.starts_with(&seen[..len]) {
            return Some(Speaks::Http1);
        }
        if len == PREFACE.len() {
            return Some(Speaks::Http2);
        }
        // A part of the preface: the rest is on its way, or the limit ends it.
        tokio::time::sleep(BETWEEN_LOOKS).await;
        if poll_fn(|cx| Poll::Ready(patience.poll(cx).is_ready())).await {
            return None;
        }
    }
}

/// How long the beginning of a connection may take.
struct Patience<'a> {
    limit: Limit,
    worker: &'a Worker,
    hurried: Cell<bool>,
}

impl<'a> Patience<'a> {
    fn new(worker: &'a Worker, door: &Door) -> Self {
        let limit = worker.wheel.limit();
        limit.set_spare(door.settings.limits.header_timeout, door.group, Waits::Begin);
        Self { limit, worker, hurried: Cell::new(false) }
    }

    /// Ready when it is over.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.worker.closing.get() && !self.hurried.replace(true) {
            // Its first bytes may be on the way.
            self.limit.set(GRACE);
        }
        self.limit.poll(cx)
    }
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// For a connection that has not said anything when everything closes.
const GRACE: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
