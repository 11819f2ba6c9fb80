//! `Stream`: one protected connection of either side, as everything above it reads and
//! writes it. Apart from those who shake hands because an open connection is the same for
//! both of them.

use std::io;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use rustls::{CommonState, HandshakeKind};
use socket2::SockRef;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::dialer::{HTTP2, is_alert};

/// A protected connection over TCP. What is written may be kept back until it is flushed.
///
/// Its end is announced (`close_notify`) when it is shut down, and as far as that is
/// possible without waiting when it is dropped.
#[derive(Debug)]
pub struct Stream {
    inner: TlsStream<TcpStream>,
    /// Bytes that were read to be looked at, still to be read.
    ahead: Vec<u8>,
    /// The end is not to be announced: the other side must not take it for a good one.
    abrupt: bool,
    alert: Alert,
}

/// Whether the other side has ended a connection by an alert, known also to who has given
/// the connection away.
#[derive(Clone, Debug, Default)]
pub struct Alert(Arc<AtomicBool>);

impl Alert {
    /// Whether it has.
    #[must_use]
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Stream {
    pub(super) fn new(mut inner: TlsStream<TcpStream>) -> Self {
        // What a peer that does not read can make us keep.
        match &mut inner {
            TlsStream::Client(client) => client.get_mut().1.set_buffer_limit(BUFFER),
            TlsStream::Server(server) => server.get_mut().1.set_buffer_limit(BUFFER),
        }
        Self { inner, ahead: Vec::new(), abrupt: false, alert: Alert::default() }
    }

    /// The connection below.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        self.inner.get_ref().0
    }

    /// What both sides agreed to speak (ALPN), if they talked about it.
    #[must_use]
    pub fn protocol(&self) -> Option<&[u8]> {
        self.state().alpn_protocol()
    }

    /// Whether both sides agreed to speak HTTP/2.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.protocol() == Some(HTTP2)
    }

    /// Whether an earlier handshake was resumed.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(super) fn state(&self) -> &CommonState {
        self.inner.get_ref().1
    }

    /// Whether an alert has ended it, for later.
    #[must_use]
    pub fn alert(&self) -> Alert {
        self.alert.clone()
    }

    /// From now on the end is not announced.
    pub fn break_off(&mut self) {
        self.abrupt = true;
    }

    /// Ready when a read would not wait: there is data, an end or an error.
    ///
    /// # Errors
    /// What a read would say.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_fill_buf(cx).map(|read| read.map(drop))
    }

    /// Whether nothing has come and nobody has closed, as far as is known without waiting.
    /// What the protocol says to itself is taken in.
    #[must_use]
    pub fn is_quiet(&mut self) -> bool {
        for _ in 0..SAID_TO_ITSELF {
            let ready = self.poll_readable(&mut Context::from_waker(Waker::noop()));
            if ready.is_ready() {
                return false;
            }
            // The system is asked too: the runtime knows only what it has been told.
            match self.read_at_once() {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        false
    }

    /// Takes in what the system has, without waiting and whatever the runtime knows.
    fn read_at_once(&mut self) -> io::Result<usize> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        match &mut self.inner {
            TlsStream::Client(client) => {
                let (tcp, session) = client.get_mut();
                let read = session.read_tls(&mut &*SockRef::from(&*tcp))?;
                session.process_new_packets().map_err(invalid)?;
                Ok(read)
            }
            TlsStream::Server(server) => {
                let (tcp, session) = server.get_mut();
                let read = session.read_tls(&mut &*SockRef::from(&*tcp))?;
                session.process_new_packets().map_err(invalid)?;
                Ok(read)
            }
        }
    }

    /// What has been read ahead, and is still to be read.
    #[must_use]
    pub fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Reads ahead once, so that there are at most `most` bytes; how many there are then.
    /// No more than before: it is the end, or there are enough.
    ///
    /// # Errors
    /// What a read would say.
    pub fn poll_ahead(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let mut more = [0u8; AHEAD];
        let room = most.saturating_sub(self.ahead.len()).min(AHEAD);
        if room > 0 {
            let mut buffer = ReadBuf::new(&mut more[..room]);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
            self.ahead.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(self.ahead.len()))
    }

    /// Reads once into the free end of `buffer`; 0 is the end, and only where it was
    /// announced.
    ///
    /// # Errors
    /// The connection's own; `UnexpectedEof` when the end was not announced.
    pub fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut bytes::BytesMut,
    ) -> Poll<io::Result<usize>> {
        if !self.ahead.is_empty() {
            let ahead = std::mem::take(&mut self.ahead);
            buffer.extend_from_slice(&ahead);
            return Poll::Ready(Ok(ahead.len()));
        }
        // The read keeps no state between polls, so a new future each time is the same.
        pin!(self.inner.read_buf(buffer)).poll(cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.abrupt {
            return;
        }
        // What cannot be sent at once is not sent: who is gone needs no farewell.
        let _sent = match &mut self.inner {
            TlsStream::Client(client) => {
                let (tcp, session) = client.get_mut();
                session.send_close_notify();
                session.write_tls(&mut AtOnce(tcp))
            }
            TlsStream::Server(server) => {
                let (tcp, session) = server.get_mut();
                session.send_close_notify();
                session.write_tls(&mut AtOnce(tcp))
            }
        };
    }
}

/// Writes without waiting.
struct AtOnce<'a>(&'a TcpStream);

impl io::Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
            if read.as_ref().is_err_and(is_alert) {
                self.alert.0.store(true, Ordering::Relaxed);
            }
            return Poll::Ready(read);
        }
        let len = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..len]);
        self.ahead.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Bytes that are kept for a peer that does not read, beside what the kernel keeps.
const BUFFER: Option<usize> = Some(32 * 1024);

/// Reads that bring nothing for us, at most: tickets come in one or two.
const SAID_TO_ITSELF: usize = 8;

/// What is looked at ahead of reading, at most.
const AHEAD: usize = 64;
