//! A compressed stream decoded on the side, within bounds, for the scan alone: what goes to
//! the caller is what came.
//!
//! The bounds are on what comes out: a body that unfolds to more than [`RATIO_MAX`] times
//! its size, or to more than [`OUT_MAX`] bytes, is not looked at any further. What has come
//! out is scanned piece by piece, so that a stream takes one window and one buffer whatever
//! it unfolds to.

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::scan::Core;

/// How many times its size a body may unfold to, beyond [`OUT_FREE`] bytes.
const RATIO_MAX: u64 = 200;
/// Decoded bytes up to which no ratio is looked at: event streams repeat themselves.
const OUT_FREE: u64 = 1024 * 1024;
/// Decoded bytes of one answer.
const OUT_MAX: u64 = 256 * 1024 * 1024;

/// How a body is coded, as far as a scan cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Not at all.
    None,
    /// `gzip`.
    Gzip,
    /// `deflate`: zlib by the standard, raw in practice too.
    Deflate,
    /// In a way that cannot be seen through, or no longer.
    Unseen,
}

/// The decoder, made with the first bytes.
#[derive(Debug, Default)]
pub(super) struct Side {
    decoder: Option<Decoder>,
    read: u64,
}

#[derive(Debug)]
enum Decoder {
    Gzip(Box<MultiGzDecoder<Out>>),
    Zlib(Box<ZlibDecoder<Out>>),
    Raw(Box<DeflateDecoder<Out>>),
}

/// What takes the decoded bytes: the scan's core, lent for one push.
#[derive(Debug, Default)]
struct Out {
    core: Option<Core>,
    room: u64,
    written: u64,
}

impl Coding {
    /// The coding that a `Content-Encoding` names.
    pub(super) fn of(value: Option<&[u8]>) -> Self {
        let Some(value) = value else { return Self::None };
        let value = value.trim_ascii();
        let is = |name: &[u8]| value.eq_ignore_ascii_case(name);
        if value.is_empty() || is(b"identity") {
            Self::None
        } else if is(b"gzip") || is(b"x-gzip") {
            Self::Gzip
        } else if is(b"deflate") {
            Self::Deflate
        } else {
            Self::Unseen
        }
    }
}

impl Side {
    /// Decodes the next bytes into the core.
    ///
    /// # Errors
    /// `InvalidInput` when they are not of that coding, `FileTooLarge` when what they unfold
    /// to is out of bounds.
    pub(super) fn decode(
        &mut self,
        coding: Coding,
        bytes: &[u8],
        core: &mut Core,
    ) -> io::Result<()> {
        let Some(first) = bytes.first() else { return Ok(()) };
        self.read = self.read.saturating_add(bytes.len() as u64);
        let room = self.read.saturating_mul(RATIO_MAX).clamp(OUT_FREE, OUT_MAX);
        let decoder = self.decoder.get_or_insert_with(|| Decoder::new(coding, *first));
        let out = decoder.out();
        (out.core, out.room) = (Some(std::mem::take(core)), room);
        let decoded = decoder.run(bytes);
        if let Some(given) = decoder.out().core.take() {
            *core = given;
        }
        decoded
    }
}

impl Decoder {
    fn new(coding: Coding, first: u8) -> Self {
        let out = Out::default();
        match coding {
            Coding::None | Coding::Gzip | Coding::Unseen => {
                Self::Gzip(Box::new(MultiGzDecoder::new(out)))
            }
            // The low half of zlib's first byte says deflate, which is 8 (RFC 1950, 2.2).
            Coding::Deflate if first & 0x0f == 8 => {
                Self::Zlib(Box::new(ZlibDecoder::new(out)))
            }
            Coding::Deflate => Self::Raw(Box::new(DeflateDecoder::new(out))),
        }
    }

    fn out(&mut self) -> &mut Out {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zlib(decoder) => decoder.get_mut(),
            Self::Raw(decoder) => decoder.get_mut(),
        }
    }

    fn run(&mut self, bytes: &[u8]) -> io::Result<()> {
        let decoder: &mut dyn Write = match self {
            Self::Gzip(decoder) => decoder,
            Self::Zlib(decoder) => decoder,
            Self::Raw(decoder) => decoder,
        };
        let mut left = bytes;
        while !left.is_empty() {
            match decoder.write(left)? {
                // The coded body is over; what follows it is nobody's.
                0 => break,
                taken => left = left.get(taken..).unwrap_or_default(),
            }
        }
        // What is decoded is scanned now, not with the next bytes.
        decoder.flush()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written = self.written.saturating_add(bytes.len() as u64);
        if self.written > self.room {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if let Some(core) = &mut self.core {
            core.take(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
