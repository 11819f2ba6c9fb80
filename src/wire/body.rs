//! `Body`: what follows a head, from whichever side and protocol it comes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body as _;

use super::error::BodyError;
use super::h1;

/// One piece of a body.
pub type Frame = http_body::Frame<Bytes>;

/// How long a body is, as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// Exactly this many bytes.
    Exact(u64),
    /// It ends when it ends.
    Unknown,
}

/// A body that is read piece by piece.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// One piece that is already here.
    Full(Bytes),
    /// Pieces that are already here, then the rest of another body.
    Again(VecDeque<Bytes>, Box<Self>),
    /// The body of a request on an HTTP/1.1 connection of ours.
    Request(h1::RequestBody),
    /// The body of an answer on an HTTP/1.1 connection to a server.
    Answer(Box<h1::Exchange>),
    /// A body on an HTTP/2 connection, either side.
    Stream(hyper::body::Incoming),
}

impl Body {
    /// The next piece; `None` after the last.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Again(kept, rest) => match kept.pop_front() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => rest.poll_next(cx),
            },
            Self::Request(body) => body.poll_next(cx),
            Self::Answer(exchange) => exchange.poll_next(cx),
            Self::Stream(stream) => {
                let frame = ready!(Pin::new(stream).poll_frame(cx));
                Poll::Ready(
                    frame.map(|frame| frame.map_err(|error| stream_error(&error))),
                )
            }
        }
    }

    /// The length that was announced, of all of it.
    #[must_use]
    pub fn length(&self) -> BodyLength {
        match self {
            Self::Empty => BodyLength::None,
            Self::Full(bytes) => match bytes.len() {
                0 => BodyLength::None,
                len => BodyLength::Exact(len as u64),
            },
            Self::Again(kept, rest) => {
                let here: u64 = kept.iter().map(|bytes| bytes.len() as u64).sum();
                match rest.length() {
                    BodyLength::None if here == 0 => BodyLength::None,
                    BodyLength::None => BodyLength::Exact(here),
                    BodyLength::Exact(more) => BodyLength::Exact(here + more),
                    BodyLength::Unknown => BodyLength::Unknown,
                }
            }
            Self::Request(body) => body.length(),
            Self::Answer(exchange) => exchange.length(),
            Self::Stream(stream) => {
                if stream.is_end_stream() {
                    return BodyLength::None;
                }
                stream.size_hint().exact().map_or(BodyLength::Unknown, BodyLength::Exact)
            }
        }
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Again(kept, rest) => kept.is_empty() && rest.is_over(),
            Self::Request(body) => body.is_over(),
            Self::Answer(exchange) => exchange.is_over(),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }
}

fn stream_error(error: &hyper::Error) -> BodyError {
    if error.is_timeout() { BodyError::Idle } else { BodyError::Reset }
}
