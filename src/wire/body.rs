//! `Body`: what follows a head, from whichever side and protocol it comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, SizeHint};

use super::error::BodyError;
use super::h1;
use super::keep::{Keep, Kept};
use super::lend::Loan;
use super::stream::StreamBody;

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
    Again(Kept, Box<Self>),
    /// What has been read of another body already, trailers or a failure, with the length
    /// that was still to come when it was read; then the rest of that body.
    Read(Option<Box<Result<Frame, BodyError>>>, BodyLength, Box<Self>),
    /// Another body, of which a bounded copy is kept.
    Keep(Box<Keep>),
    /// Another body that its lender may take back at any time; without it, it is over.
    Lent(Loan),
    /// The body of a request on an HTTP/1.1 connection of ours.
    Request(h1::RequestBody),
    /// The body of an answer on an HTTP/1.1 connection to a server.
    Answer(Box<h1::Exchange>),
    /// A body on an HTTP/2 connection, either side.
    Stream(Box<StreamBody>),
    /// Trailers that are already here.
    Trailers(Box<HeaderMap>),
}

impl Body {
    /// The next piece; `None` after the last. Trailers hold only what may be in trailers.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        let frame = match self {
            Self::Empty => return Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            Self::Again(kept, rest) => {
                return match kept.next() {
                    Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                    None => rest.poll_next(cx),
                };
            }
            Self::Read(read, _, rest) => {
                return match read.take() {
                    Some(read) => Poll::Ready(Some(*read)),
                    None => rest.poll_next(cx),
                };
            }
            Self::Keep(keep) => return keep.poll_next(cx),
            Self::Lent(loan) => return loan.poll_next(cx),
            Self::Trailers(map) => {
                let map = std::mem::take(&mut **map);
                *self = Self::Empty;
                return Poll::Ready(Some(Ok(Frame::trailers(map))));
            }
            Self::Request(body) => ready!(body.poll_next(cx)),
            Self::Answer(exchange) => ready!(exchange.poll_next(cx)),
            Self::Stream(stream) => ready!(stream.poll_next(cx)),
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) if frame.is_trailers() => frame
                .into_trailers()
                .ok()
                .map(|map| Ok(Frame::trailers(clean_trailers(map)))),
            other => other,
        })
    }

    /// The length that was announced, of all of it.
    #[must_use]
    pub fn length(&self) -> BodyLength {
        match self {
            Self::Empty => BodyLength::None,
            Self::Trailers(_) => BodyLength::Unknown,
            Self::Full(bytes) => known(bytes.len() as u64),
            Self::Again(kept, rest) => match rest.left() {
                BodyLength::None => known(kept.len() as u64),
                BodyLength::Exact(more) => BodyLength::Exact(kept.len() as u64 + more),
                BodyLength::Unknown => BodyLength::Unknown,
            },
            Self::Read(Some(_), left, _) => *left,
            Self::Read(None, _, rest) => rest.length(),
            Self::Keep(keep) => keep.inner().length(),
            Self::Lent(loan) => loan.length(),
            Self::Request(body) => body.length(),
            Self::Answer(exchange) => exchange.length(),
            Self::Stream(stream) => stream.length(),
        }
    }

    /// The length of what has not been read yet.
    #[must_use]
    pub fn left(&self) -> BodyLength {
        match self {
            Self::Empty | Self::Full(_) | Self::Again(..) | Self::Trailers(_) => {
                self.length()
            }
            Self::Read(Some(_), left, _) => *left,
            Self::Read(None, _, rest) => rest.left(),
            Self::Keep(keep) => keep.inner().left(),
            Self::Lent(loan) => loan.left(),
            Self::Request(body) => body.left(),
            Self::Answer(exchange) => exchange.left(),
            Self::Stream(stream) => stream.length(),
        }
    }

    /// Whether only the end of its connection ends it, which may come too early.
    #[must_use]
    pub fn ends_by_close(&self) -> bool {
        match self {
            Self::Answer(exchange) => exchange.ends_by_close(),
            Self::Again(_, rest) | Self::Read(_, _, rest) => rest.ends_by_close(),
            Self::Keep(keep) => keep.inner().ends_by_close(),
            Self::Empty
            | Self::Full(_)
            | Self::Lent(_)
            | Self::Request(_)
            | Self::Stream(_)
            | Self::Trailers(_) => false,
        }
    }

    /// Ready when all of a small body, or the beginning of a large one, is here, or it is not
    /// of the kind that can be waited for. Nothing is taken out of it.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        match self {
            Self::Request(body) => body.poll_ahead(cx),
            Self::Keep(keep) => keep.inner_mut().poll_ahead(cx),
            Self::Again(_, rest) | Self::Read(_, _, rest) => rest.poll_ahead(cx),
            Self::Empty
            | Self::Full(_)
            | Self::Lent(_)
            | Self::Answer(_)
            | Self::Stream(_)
            | Self::Trailers(_) => Poll::Ready(Ok(())),
        }
    }

    /// The next piece, as [`Body::poll_next`], but so that it can be put back in its place.
    pub fn poll_peeked(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        self.place().poll_next(cx)
    }

    /// Puts back what was read by [`Body::poll_peeked`]. Trailers are the end, and are lost.
    pub fn put_back(&mut self, kept: Kept) {
        if kept.is_empty() {
            return;
        }
        let place = self.place();
        let rest = std::mem::replace(place, Self::Empty);
        *place = Self::Again(kept, Box::new(rest));
    }

    /// Where the next piece comes from: below what is only kept.
    fn place(&mut self) -> &mut Self {
        match self {
            Self::Keep(keep) => keep.inner_mut(),
            Self::Empty
            | Self::Full(_)
            | Self::Again(..)
            | Self::Read(..)
            | Self::Lent(_)
            | Self::Request(_)
            | Self::Answer(_)
            | Self::Stream(_)
            | Self::Trailers(_) => self,
        }
    }

    /// The exchange with a server over HTTP/1.1 whose answer this is, if it is one, however
    /// much of it has been read.
    #[must_use]
    pub fn exchange(&self) -> Option<&h1::Exchange> {
        match self {
            Self::Answer(exchange) => Some(exchange),
            Self::Again(_, rest) | Self::Read(_, _, rest) => rest.exchange(),
            Self::Empty
            | Self::Full(_)
            | Self::Keep(_)
            | Self::Lent(_)
            | Self::Request(_)
            | Self::Stream(_)
            | Self::Trailers(_) => None,
        }
    }

    /// The same, given away.
    #[must_use]
    pub fn into_exchange(self) -> Option<Box<h1::Exchange>> {
        match self {
            Self::Answer(exchange) => Some(exchange),
            Self::Again(_, rest) | Self::Read(_, _, rest) => rest.into_exchange(),
            Self::Empty
            | Self::Full(_)
            | Self::Keep(_)
            | Self::Lent(_)
            | Self::Request(_)
            | Self::Stream(_)
            | Self::Trailers(_) => None,
        }
    }

    /// Takes the limit off the time between two pieces, where an HTTP/2 stream has one.
    pub fn unhurried(&mut self) {
        match self {
            Self::Keep(keep) => keep.inner_mut().unhurried(),
            Self::Stream(stream) => stream.unhurried(),
            Self::Again(_, rest) | Self::Read(_, _, rest) => rest.unhurried(),
            Self::Empty
            | Self::Full(_)
            | Self::Lent(_)
            | Self::Request(_)
            | Self::Answer(_)
            | Self::Trailers(_) => {}
        }
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Trailers(_) => false,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Again(kept, rest) => kept.is_empty() && rest.is_over(),
            Self::Read(read, _, rest) => read.is_none() && rest.is_over(),
            Self::Keep(keep) => keep.inner().is_over(),
            Self::Lent(loan) => loan.is_over(),
            Self::Request(body) => body.is_over(),
            Self::Answer(exchange) => exchange.is_over(),
            Self::Stream(stream) => stream.is_over(),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        self.get_mut().poll_next(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left() {
            BodyLength::None => SizeHint::with_exact(0),
            BodyLength::Exact(length) => SizeHint::with_exact(length),
            BodyLength::Unknown => SizeHint::default(),
        }
    }
}

fn known(len: u64) -> BodyLength {
    if len == 0 { BodyLength::None } else { BodyLength::Exact(len) }
}

/// Takes out of trailers what must not stand there (RFC 9110 section 6.5.1): framing,
/// routing, authentication, and what this proxy says itself.
fn clean_trailers(mut trailers: HeaderMap) -> HeaderMap {
    const NEVER: [&str; 26] = [
        "age",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "max-forwards",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "proxy-status",
        "range",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "www-authenticate",
    ];
    const NEVER_UNDER: [&str; 5] =
        ["x-forwarded-", "x-model-", "x-switchback-", "x-request-id", "x-shadow"];
    let bad: Vec<_> = trailers
        .keys()
        .filter(|name| {
            let name = name.as_str().replace('_', "-");
            NEVER.contains(&&*name)
                || NEVER_UNDER.iter().any(|start| name.starts_with(start))
        })
        .cloned()
        .collect();
    for name in bad {
        trailers.remove(name);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::clean_trailers;

    #[test]
    fn trailers_carry_results_and_nothing_that_routes_or_frames() {
        let mut map = HeaderMap::new();
        for name in [
            "grpc-status",
            "x-checksum",
            "authorization",
            "content-length",
            "x_model_pin",
            "x-model-version",
            "host",
            "x-forwarded-for",
            "transfer_encoding",
        ] {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        let mut left: Vec<_> =
            clean_trailers(map).keys().map(ToString::to_string).collect();
        left.sort();
        assert_eq!(left, ["grpc-status", "x-checksum"]);
    }
}
