//! `Io`: one connection of any kind we speak over, polled without a trait object.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::tls::Stream;

/// A byte stream in both directions.
#[derive(Debug)]
pub enum Io {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix domain socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<Stream>),
}

impl Io {
    /// Reads once into the free end of `buffer`; 0 is the end of the stream.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        // The read keeps no state between polls, so a new future each time is the same.
        match self {
            Self::Tcp(stream) => pin!(stream.read_buf(buffer)).poll(cx),
            Self::Unix(stream) => pin!(stream.read_buf(buffer)).poll(cx),
            Self::Tls(stream) => stream.poll_read_into(cx, buffer),
        }
    }

    /// Ready when a read would not wait: there is data, an end or an error.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
            Self::Tls(stream) => stream.poll_readable(cx),
        }
    }

    /// Whether nothing has come and nobody has closed, as far as is known without waiting.
    /// Without `closely` that is what the runtime was told with the last events it took; with
    /// it the system is asked, too, for what has come since.
    #[must_use]
    pub fn is_quiet(&mut self, closely: bool) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let (ready, socket) = match self {
            Self::Tcp(stream) => {
                (stream.poll_read_ready(&mut nobody), socket2::SockRef::from(&*stream))
            }
            Self::Unix(stream) => {
                (stream.poll_read_ready(&mut nobody), socket2::SockRef::from(&*stream))
            }
            Self::Tls(stream) => return stream.is_quiet(),
        };
        // The runtime may take for ready what a read has emptied since.
        if ready.is_pending() && !closely {
            return true;
        }
        let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether what is written may be kept back until it is flushed.
    #[must_use]
    pub fn keeps_back(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(_) => true,
        }
    }

    /// How much of what is written the kernel takes ahead of what it has sent: little, so
    /// that it shows soon whether the other side reads, or next to nothing (`closely`), so
    /// that what is taken is what the other side has taken.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn watch_taking(&self, closely: bool) -> io::Result<()> {
        let tcp = match self {
            Self::Tcp(stream) => stream,
            Self::Unix(_) => return Ok(()),
            Self::Tls(stream) => stream.tcp(),
        };
        watch_taking(tcp, closely)
    }

    /// Has the connection reset when it is dropped, so that nobody takes its end for the end
    /// of what was sent on it.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn reset_on_close(&mut self) -> io::Result<()> {
        let tcp = match self {
            Self::Tcp(stream) => stream,
            Self::Unix(_) => return Ok(()),
            Self::Tls(stream) => {
                stream.break_off();
                stream.tcp()
            }
        };
        socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO))
    }

    /// Writes once from the slices.
    ///
    /// # Errors
    /// What the operating system says; a write of nothing is `WriteZero`.
    pub fn poll_write_from(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = ready!(match slices {
            [one] => Pin::new(self).poll_write(cx, one),
            many => Pin::new(self).poll_write_vectored(cx, many),
        })?;
        if wrote == 0 {
            Poll::Ready(Err(io::ErrorKind::WriteZero.into()))
        } else {
            Poll::Ready(Ok(wrote))
        }
    }
}

/// The same as [`Io::watch_taking`], of a connection whose protocol is not known yet.
///
/// # Errors
/// What the operating system says.
pub fn watch_taking(stream: &TcpStream, closely: bool) -> io::Result<()> {
    let unsent = if closely { UNSENT_CLOSELY } else { UNSENT };
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(unsent)
}

/// Bytes that the kernel takes ahead of what it has sent. What is on its way does not
/// count, so that this bounds no speed.
const UNSENT: u32 = 16 * 1024;
/// The same where it is to be seen how much the other side takes.
const UNSENT_CLOSELY: u32 = 4 * 1024;

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
