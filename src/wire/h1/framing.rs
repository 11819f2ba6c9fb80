//! Where a body ends (RFC 9112 section 6 and 7): lengths, chunks, trailers.
//!
//! The decoder is strict, because what two parsers read in two ways is how requests are
//! smuggled: a chunk size is hexadecimal digits and nothing else, lines end in CR LF, and
//! chunk extensions are read over and never sent on.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use thiserror::Error;

use super::head;
use crate::wire::body::BodyLength;

/// Why a body's framing is malformed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the body's framing is malformed")]
pub struct FramingError;

/// What the decoder makes of the bytes that are here.
#[derive(Debug)]
pub enum Piece {
    /// Some of the body.
    Data(Bytes),
    /// The trailers, after the last of the body.
    Trailers(HeaderMap),
    /// It is over.
    End,
    /// More bytes are needed.
    More,
}

/// Reads one body out of a buffer.
#[derive(Debug)]
pub enum Decoder {
    /// Exactly so many bytes more.
    Length(u64),
    /// Chunks, and how much of what was read was extensions.
    Chunked(Chunk, u64),
    /// Everything until the connection ends.
    UntilClose,
    /// Nothing more.
    Done,
}

/// Where in the chunks the decoder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Before a chunk's size.
    Size,
    /// In a chunk, so many bytes before its end.
    Data(u64),
    /// After a chunk's bytes.
    DataEnd,
    /// After the last chunk.
    Trailers,
}

/// A read needs at least this much room, and one of a body that is known to be large.
const ROOM: usize = 2 * 1024;
const ROOM_LARGE: usize = 8 * 1024;

/// How much is read at once, and of a body that is known to be large.
const READ: usize = 8 * 1024;
const READ_LARGE: usize = 32 * 1024;

/// A chunk's size line, extensions included, is not longer than this.
const SIZE_LINE: usize = 1024;

/// What extensions may take beyond a sixteenth of the chunks that they come with: signed
/// chunks are a body, one of nothing but extensions is a flood.
const EXCESS: u64 = 16 * 1024;

/// Trailers are not longer than this.
const TRAILERS: usize = 16 * 1024;

impl Decoder {
    /// The decoder of a body of that length; one of unknown length comes in chunks or ends
    /// with its connection.
    #[must_use]
    pub fn of(length: BodyLength, chunked: bool) -> Self {
        match length {
            BodyLength::None => Self::Done,
            BodyLength::Exact(length) => Self::Length(length),
            BodyLength::Unknown if chunked => Self::Chunked(Chunk::Size, 0),
            BodyLength::Unknown => Self::UntilClose,
        }
    }

    /// Makes room for a read of this body. Only when little is left: a piece that somebody
    /// keeps holds the whole of the buffer that it was read into.
    pub fn make_room(&self, buffer: &mut BytesMut) {
        let large = matches!(
            self,
            Self::Length(left) | Self::Chunked(Chunk::Data(left), _)
                if *left > READ as u64
        );
        let (room, read) = if large { (ROOM_LARGE, READ_LARGE) } else { (ROOM, READ) };
        if buffer.capacity() - buffer.len() < room {
            buffer.reserve(read);
        }
    }

    /// The next piece of the body. `UntilClose` never ends by itself: whoever sees the
    /// connection end ends it.
    ///
    /// # Errors
    /// [`FramingError`] when the chunks or trailers are malformed.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Piece, FramingError> {
        match self {
            Self::Done => Ok(Piece::End),
            Self::Length(0) => {
                *self = Self::Done;
                Ok(Piece::End)
            }
            Self::Length(left) => Ok(match take(buffer, left) {
                Some(bytes) => {
                    if *left == 0 {
                        *self = Self::Done;
                    }
                    Piece::Data(bytes)
                }
                None => Piece::More,
            }),
            Self::UntilClose => Ok(if buffer.is_empty() {
                Piece::More
            } else {
                Piece::Data(buffer.split().freeze())
            }),
            Self::Chunked(state, excess) => {
                let piece = chunked((state, excess), buffer)?;
                if matches!(piece, Piece::End | Piece::Trailers(_)) {
                    *self = Self::Done;
                }
                Ok(piece)
            }
        }
    }

    /// How much of the body is left.
    #[must_use]
    pub fn left(&self) -> BodyLength {
        match self {
            Self::Done | Self::Length(0) => BodyLength::None,
            Self::Length(left) => BodyLength::Exact(*left),
            Self::Chunked(..) | Self::UntilClose => BodyLength::Unknown,
        }
    }

    /// Whether the body is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done | Self::Length(0))
    }
}

fn take(buffer: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    if buffer.is_empty() {
        return None;
    }
    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    *left -= len as u64;
    Some(buffer.split_to(len).freeze())
}

fn chunked(
    (state, excess): (&mut Chunk, &mut u64),
    buffer: &mut BytesMut,
) -> Result<Piece, FramingError> {
    loop {
        match state {
            Chunk::Size => {
                let Some((size, extensions)) = size_line(buffer)? else {
                    return Ok(Piece::More);
                };
                *excess = (*excess + extensions).saturating_sub(size / 16);
                if *excess > EXCESS {
                    return Err(FramingError);
                }
                *state = if size == 0 { Chunk::Trailers } else { Chunk::Data(size) };
            }
            Chunk::Data(left) => {
                let Some(bytes) = take(buffer, left) else { return Ok(Piece::More) };
                if *left == 0 {
                    *state = Chunk::DataEnd;
                }
                return Ok(Piece::Data(bytes));
            }
            Chunk::DataEnd => match buffer.get(..2) {
                Some(b"\r\n") => {
                    buffer.advance(2);
                    *state = Chunk::Size;
                }
                Some(_) => return Err(FramingError),
                None if buffer.first().is_some_and(|first| *first != b'\r') => {
                    return Err(FramingError);
                }
                None => return Ok(Piece::More),
            },
            Chunk::Trailers => return trailers(buffer),
        }
    }
}

/// `1*HEXDIG [ ";" ext ] CRLF`; no space, sign or prefix, at most 16 digits that fit. The
/// size, and how long the extensions are.
fn size_line(buffer: &mut BytesMut) -> Result<Option<(u64, u64)>, FramingError> {
    let mut size = 0u64;
    let mut digits = 0usize;
    for &byte in buffer.iter() {
        let Some(digit) = char::from(byte).to_digit(16) else { break };
        size = size.checked_mul(16).ok_or(FramingError)? | u64::from(digit);
        digits += 1;
        if digits > 16 {
            return Err(FramingError);
        }
    }
    match buffer.get(digits..) {
        None | Some([]) => return Ok(None),
        Some([b'\r' | b';', ..]) if digits > 0 => {}
        Some(_) => return Err(FramingError),
    }
    let rest = &buffer[digits..];
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
        // A CR that is not followed by LF at once is nobody's line end.
        let lone =
            rest.iter().position(|b| *b == b'\r').is_some_and(|at| at + 1 < rest.len());
        return if lone || rest.len() > SIZE_LINE { Err(FramingError) } else { Ok(None) };
    };
    let line = &rest[..end];
    let clean = line.last() == Some(&b'\r')
        && line[..line.len() - 1]
            .iter()
            .all(|byte| *byte == b'\t' || (0x20..0x7f).contains(byte) || *byte >= 0x80);
    if !clean || end > SIZE_LINE {
        return Err(FramingError);
    }
    let extensions = end.saturating_sub(1) as u64;
    buffer.advance(digits + end + 1);
    Ok(Some((size, extensions)))
}

fn trailers(buffer: &mut BytesMut) -> Result<Piece, FramingError> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Piece::End);
    }
    let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if buffer.len() > TRAILERS { Err(FramingError) } else { Ok(Piece::More) };
    };
    if end > TRAILERS {
        return Err(FramingError);
    }
    let block = buffer.split_to(end + 4).freeze();
    head::parse_trailers(&block).map(Piece::Trailers).ok_or(FramingError)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::{Chunk, Decoder, FramingError, Piece};

    /// Decodes what comes in these parts; `Ok(None)` when more would be needed.
    fn run(parts: &[&[u8]]) -> Result<Option<(Vec<u8>, usize)>, FramingError> {
        let (mut decoder, mut buffer) =
            (Decoder::Chunked(Chunk::Size, 0), BytesMut::new());
        let (mut body, mut trailers) = (Vec::new(), 0);
        for part in parts {
            buffer.extend_from_slice(part);
            loop {
                match decoder.decode(&mut buffer)? {
                    Piece::Data(bytes) => body.extend_from_slice(&bytes),
                    Piece::Trailers(map) => trailers = map.len(),
                    Piece::End => return Ok(Some((body, trailers))),
                    Piece::More => break,
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_with_extensions_and_trailers() {
        let got =
            run(&[b"3\r\nabc\r\n02;x=\"y\"\r\nde\r\n0\r\nx-a: 1\r\nx-b: 2\r\n\r\n"]);
        assert_eq!(got, Ok(Some((b"abcde".to_vec(), 2))));
        assert_eq!(run(&[b"0\r\n\r\n"]), Ok(Some((Vec::new(), 0))));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for bad in [
            &b"3\nabc\r\n0\r\n\r\n"[..],
            b"3;\nxx\r\n",
            b"+3\r\nabc\r\n",
            b"-3\r\nabc\r\n",
            b"0x3\r\nabc\r\n",
            b" 3\r\nabc\r\n",
            b"3 \r\nabc\r\n",
            b"\r\nabc\r\n",
            b"g\r\nabc\r\n",
            b"10000000000000003\r\nabc\r\n",
            b"00000000000000003\r\nabc\r\n",
            b"3\r\nabcXX",
            b"3\r\nabc\n0\r\n\r\n",
            b"3;a\rb\r\nabc\r\n",
            b"3;a\x00b\r\nabc\r\n",
            b"0\r\nbad trailer\r\n\r\n",
            b"0\r\n x: y\r\n\r\n",
        ] {
            assert_eq!(
                run(&[bad]),
                Err(FramingError),
                "{:?}",
                String::from_utf8_lossy(bad)
            );
        }
        assert_eq!(run(&[b"3;", &vec![b'a'; 2_000]]), Err(FramingError));
    }

    #[test]
    fn extensions_are_read_over_as_long_as_they_come_with_a_body() {
        let line = |size: usize, extension: usize| {
            let mut text = format!("{size:x};{}\r\n", "e".repeat(extension)).into_bytes();
            text.extend(vec![b'a'; size]);
            text.extend(b"\r\n");
            text
        };
        let signed = line(65_536, 85).repeat(1_000);
        assert_eq!(run(&[&signed]), Ok(None));
        let flood = line(1, 1_000).repeat(17);
        assert_eq!(run(&[&flood]), Err(FramingError));
    }

    proptest! {
        #[test]
        fn where_the_reads_fall_changes_nothing(
            sizes in prop::collection::vec(1usize..60, 0..6),
            cuts in prop::collection::vec(1usize..9, 1..50),
        ) {
            let (mut wire, mut body) = (Vec::new(), Vec::new());
            for (number, size) in sizes.iter().enumerate() {
                let piece = vec![b'a' + u8::try_from(number).unwrap(); *size];
                wire.extend_from_slice(format!("{size:x};ext\r\n").as_bytes());
                wire.extend_from_slice(&piece);
                wire.extend_from_slice(b"\r\n");
                body.extend_from_slice(&piece);
            }
            wire.extend_from_slice(b"0\r\nx: y\r\n\r\n");
            let mut parts = Vec::new();
            let mut rest = &wire[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (part, more) = rest.split_at((*cut).min(rest.len()));
                parts.push(part);
                rest = more;
            }
            prop_assert_eq!(run(&parts), Ok(Some((body, 1))));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _seen = run(&[&bytes]);
        }
    }
}
