//! Glue between hyper and tokio for the operators' side: connections and timers.
//!
//! Apart because it is the only file of the room that implements hyper's runtime traits.
//! It copies each read once, which keeps it free of `unsafe` and costs nothing that
//! matters at an operator's pace; the data plane has its own, faster way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Sleep, Timer, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::clock;

/// A connection as hyper wants it.
#[derive(Debug)]
pub(super) struct Io<S>(pub(super) S);

/// Sleeps on the process's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockTimer;

struct ClockSleep(Pin<Box<tokio::time::Sleep>>);

impl<S: AsyncRead + Unpin> Read for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; CHUNK];
        let room = into.remaining().min(CHUNK);
        let mut chunk = ReadBuf::new(&mut bytes[..room]);
        match Pin::new(&mut self.0).poll_read(cx, &mut chunk) {
            Poll::Ready(Ok(())) => {
                into.put_slice(chunk.filled());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(err)) => Poll::Ready(Err(err)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> Write for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "hyper's trait is written with std's Instant"
)]
impl Timer for ClockTimer {
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(ClockSleep(Box::pin(tokio::time::sleep(span))))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        let deadline = Instant::from_std(deadline);
        Box::pin(ClockSleep(Box::pin(tokio::time::sleep_until(deadline))))
    }

    fn now(&self) -> std::time::Instant {
        clock::now().into_std()
    }
}

impl Future for ClockSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl Sleep for ClockSleep {}

/// The largest piece of one read, in bytes.
const CHUNK: usize = 4096;
