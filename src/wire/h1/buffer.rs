//! `WriteBuffer`: what waits to be written, small pieces flattened and large ones by
//! reference.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::AsyncWrite;

use super::head;
use super::spare;
use crate::wire::body::Frame;
use crate::wire::io::Io;

/// Bytes in order, on their way to one connection. Whoever fills it asks
/// [`WriteBuffer::is_full`] before the next piece.
#[derive(Debug, Default)]
pub struct WriteBuffer {
    ahead: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
    moved: u64,
    /// The connection has taken bytes that it may not have passed on.
    kept_back: bool,
    /// Little is written at a time.
    careful: bool,
}

/// Below this a copy costs less than keeping the piece apart.
const FLATTEN: usize = 4 * 1024;

/// Beyond this a body is not asked for more until some has been written: what one caller
/// that does not read costs in memory.
const FULL: usize = 32 * 1024;

/// What is written at a time to a connection that takes little.
const LITTLE: usize = 4 * 1024;

/// What one system call writes at most.
const SLICES: usize = 16;

impl WriteBuffer {
    /// Room at the end for a head or a chunk's frame; call [`WriteBuffer::grown`] after.
    pub fn flat(&mut self) -> &mut BytesMut {
        spare::lend(&mut self.tail);
        &mut self.tail
    }

    /// Counts what was put into [`WriteBuffer::flat`].
    pub fn grown(&mut self) {
        self.len = self.ahead.iter().map(Bytes::len).sum::<usize>() + self.tail.len();
    }

    /// Adds bytes by copy.
    pub fn put(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Adds a frame of a body; whether it was the last.
    pub fn queue(&mut self, frame: Frame, chunked: bool) -> bool {
        match frame.into_data() {
            Ok(bytes) if chunked => {
                self.put_chunk(bytes);
                false
            }
            Ok(bytes) => {
                self.push(bytes);
                false
            }
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else { return false };
                if chunked {
                    self.put_trailers(&trailers);
                }
                true
            }
        }
    }

    /// Adds a chunk; one of nothing would be the last.
    pub fn put_chunk(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.put_chunk_size(bytes.len());
            self.push(bytes);
            self.put(b"\r\n");
        }
    }

    /// Adds the last chunk and what follows it.
    pub fn put_trailers(&mut self, trailers: &HeaderMap) {
        self.put(b"0\r\n");
        head::write_fields(self.flat(), || trailers.iter());
        self.put(b"\r\n");
        self.grown();
    }

    /// Adds a chunk's size line.
    fn put_chunk_size(&mut self, len: usize) {
        let mut line = [0u8; 18];
        let mut at = line.len() - 2;
        line[at..].copy_from_slice(b"\r\n");
        let mut rest = len;
        loop {
            at -= 1;
            line[at] = b"0123456789abcdef"[rest & 15];
            rest >>= 4;
            if rest == 0 {
                break;
            }
        }
        self.put(&line[at..]);
    }

    /// Adds a piece of a body, by reference when it is large.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= FLATTEN {
            self.put(&bytes);
            return;
        }
        if !self.tail.is_empty() {
            self.ahead.push_back(self.tail.split().freeze());
        }
        self.len += bytes.len();
        self.ahead.push_back(bytes);
    }

    /// Whether enough waits already.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len >= FULL
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0 && !self.kept_back
    }

    /// Bytes that were written since this was last asked.
    pub fn take_moved(&mut self) -> u64 {
        std::mem::take(&mut self.moved)
    }

    /// Whether little is to be written at a time, so that it shows how much is taken.
    pub fn be_careful(&mut self, careful: bool) {
        self.careful = careful;
    }

    /// Gives its memory back when nothing waits.
    pub fn release(&mut self) {
        if self.is_empty() {
            spare::give_back(&mut self.tail);
            self.ahead = VecDeque::new();
        }
    }

    /// Writes until nothing waits.
    ///
    /// # Errors
    /// What the connection says.
    pub fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut Io,
    ) -> Poll<io::Result<()>> {
        while self.len > 0 {
            let wrote = ready!(self.poll_write(cx, io))?;
            self.advance(wrote);
            self.kept_back = io.keeps_back();
        }
        if self.kept_back {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.kept_back = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&self, cx: &mut Context<'_>, io: &mut Io) -> Poll<io::Result<usize>> {
        if self.ahead.is_empty() || self.careful {
            let first = self.ahead.front().map_or(&self.tail[..], |bytes| &bytes[..]);
            let most = if self.careful { LITTLE } else { usize::MAX };
            let first = &first[..first.len().min(most)];
            return io.poll_write_from(cx, &[IoSlice::new(first)]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        let all = self.ahead.iter().map(|bytes| &bytes[..]).chain(tail);
        for (slice, bytes) in slices.iter_mut().zip(all) {
            *slice = IoSlice::new(bytes);
            used += 1;
        }
        io.poll_write_from(cx, &slices[..used])
    }

    fn advance(&mut self, mut wrote: usize) {
        self.len -= wrote;
        self.moved += wrote as u64;
        while let Some(first) = self.ahead.front_mut() {
            if wrote < first.len() {
                first.advance(wrote);
                return;
            }
            wrote -= first.len();
            self.ahead.pop_front();
        }
        if wrote == self.tail.len() {
            self.tail.clear();
        } else {
            self.tail.advance(wrote);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::WriteBuffer;

    proptest! {
        #[test]
        fn bytes_leave_in_the_order_they_came(
            sizes in prop::collection::vec(0usize..10_000, 1..12),
            steps in prop::collection::vec(1usize..9_000, 1..40),
        ) {
            let mut buffer = WriteBuffer::default();
            let mut expected = Vec::new();
            for (number, size) in sizes.into_iter().enumerate() {
                let piece = vec![u8::try_from(number).unwrap(); size];
                expected.extend_from_slice(&piece);
                buffer.push(Bytes::from(piece));
            }
            let mut got = Vec::new();
            for step in steps.into_iter().cycle() {
                if buffer.is_empty() { break }
                let mut all: Vec<u8> = buffer.ahead.iter().flatten().copied().collect();
                all.extend_from_slice(&buffer.tail);
                prop_assert_eq!(all.len(), buffer.len);
                let wrote = step.min(all.len());
                got.extend_from_slice(&all[..wrote]);
                buffer.advance(wrote);
            }
            prop_assert_eq!(got, expected);
        }
    }
}
