//! Heads of requests and answers: read by their grammar, then judged strictly.
//!
//! What decides where a message ends is taken out of the header map here and kept as a
//! value, so that nothing further on can forward a length that does not hold. Repeated or
//! odd `Content-Length` and `Transfer-Encoding` fields end the connection (RFC 9112 section
//! 6.3, RFC 9110 section 8.6).

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri, Version};
use thiserror::Error;

use super::grammar::{self, Ends, Field, Lines, Malformed, StatusLine};
use crate::wire::body::BodyLength;
use crate::wire::headers::Headers;

/// A parsed request head.
#[derive(Debug)]
pub struct RequestHead {
    /// Its method.
    pub method: Method,
    /// Its target, in origin form or as it was sent.
    pub uri: Uri,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Its fields, without `content-length` and `transfer-encoding`.
    pub headers: Headers,
    /// How long the body is.
    pub length: BodyLength,
    /// Whether the caller wants another request on this connection.
    pub keep_alive: bool,
}

/// A parsed head of an answer.
#[derive(Debug)]
pub struct AnswerHead {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, without `transfer-encoding`, and without `content-length` where a body
    /// of that length follows.
    pub headers: Headers,
    /// How long the body is.
    pub length: BodyLength,
    /// Whether the body is in chunks.
    pub chunked: bool,
    /// Whether the connection can be used again.
    pub keep_alive: bool,
    /// The reason phrase, where it is not the usual one.
    pub reason: Option<Reason>,
}

/// A reason phrase that is not the usual one of its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(pub Bytes);

/// Bounds of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of all of it.
    pub size: usize,
    /// Fields, up to 256.
    pub count: usize,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeadError {
    /// Not HTTP.
    #[error("the head is not valid HTTP/1.1")]
    Malformed,
    /// A length that does not hold, or two.
    #[error("the head says in a wrong or ambiguous way how long the body is")]
    Framing,
    /// Another HTTP version.
    #[error("the HTTP version is not supported")]
    Version,
    /// The request line alone is over the limit.
    #[error("the request target is over the limit")]
    TargetTooLong,
    /// Too many bytes or fields.
    #[error("the head is over the limit")]
    TooLarge,
}

/// Room for what most messages have and what is added on the way: as many as an allocation of
/// the small kind holds.
const USUAL: usize = 14;

/// Fields of trailers.
const TRAILERS: usize = 64;

/// What most heads have room in.
const HEAD_ROOM: usize = 1024;

/// How far the end of a first line is looked for before its head is whole.
const LONG_LINE: usize = 1024;

/// Takes a request head out of the buffer; `None` when more bytes are needed. `scanned`
/// remembers between calls how much is known to hold no end of the head; it begins at 0.
///
/// # Errors
/// [`HeadError`]; the connection cannot be used any more.
pub fn parse_request(
    buffer: &mut BytesMut,
    limits: HeadLimits,
    scanned: &mut usize,
) -> Result<Option<RequestHead>, HeadError> {
    while buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        *scanned = 0;
    }
    let mut ends = Ends::NONE;
    let Some(len) = head_len(buffer, limits.size, scanned, &mut ends)? else {
        if buffer.len() <= limits.size {
            return if is_hopeless(buffer) {
                Err(HeadError::Malformed)
            } else {
                Ok(None)
            };
        }
        let line = buffer.iter().take(limits.size).any(|byte| *byte == b'\n');
        return Err(if line { HeadError::TooLarge } else { HeadError::TargetTooLong });
    };
    let head = buffer.split_to(len).freeze();
    let mut lines = Lines::of(&head, ends.known());
    let line = lines.request_line().ok_or(HeadError::Malformed)?;
    let version = grammar::version(line.version).ok_or_else(|| version_error(&head))?;
    let uri = target(&head, line.target)?;
    let mut seen = Seen::default();
    let headers = fields_of(&head, lines, limits.count, &mut seen)?;
    let keep_alive = seen.keep_alive(version);
    let length = seen.request_length(version)?;
    let method = line.method;
    Ok(Some(RequestHead { method, uri, version, headers, length, keep_alive }))
}

/// Takes the head of an answer to a request of `method` out of the buffer; `None` when more
/// bytes are needed.
///
/// # Errors
/// [`HeadError`]; the connection cannot be used any more.
pub fn parse_answer(
    buffer: &mut BytesMut,
    method: &Method,
    limits: HeadLimits,
) -> Result<Option<AnswerHead>, HeadError> {
    let mut ends = Ends::NONE;
    let Some(len) = head_len(buffer, limits.size, &mut 0, &mut ends)? else {
        return if buffer.len() > limits.size {
            Err(HeadError::TooLarge)
        } else {
            Ok(None)
        };
    };
    let head = buffer.split_to(len).freeze();
    let mut lines = Lines::of(&head, ends.known());
    let line = lines.status_line().ok_or(HeadError::Malformed)?;
    let StatusLine { version, status, reason } = line;
    let usual = status.canonical_reason().map(str::as_bytes) == Some(reason);
    let reason = (!usual).then(|| Reason(head.slice_ref(reason)));
    let mut seen = Seen::default();
    let mut headers = fields_of(&head, lines, limits.count, &mut seen)?;
    let (length, chunked) = seen.answer_length(version, method, status, &mut headers)?;
    let until_close = length == BodyLength::Unknown && !chunked;
    let keep_alive = seen.keep_alive(version) && !until_close;
    Ok(Some(AnswerHead { status, headers, length, chunked, keep_alive, reason }))
}

/// Trailers from their block, empty line included; `None` when they are malformed.
pub(super) fn parse_trailers(block: &Bytes) -> Option<HeaderMap> {
    let fields = fields_of(block, Lines::of(block, &[]), TRAILERS, &mut Seen::default());
    fields.ok().map(HeaderMap::from)
}

/// Writes a request head.
pub fn write_request(
    into: &mut BytesMut,
    method: &Method,
    target: &str,
    headers: &Headers,
    length: BodyLength,
) {
    into.reserve(HEAD_ROOM + target.len());
    into.extend_from_slice(method.as_str().as_bytes());
    into.extend_from_slice(b" ");
    into.extend_from_slice(target.as_bytes());
    into.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(into, || headers.iter());
    match length {
        BodyLength::None if method == Method::POST || method == Method::PUT => {
            into.extend_from_slice(b"content-length: 0\r\n");
        }
        BodyLength::None => {}
        BodyLength::Exact(len) => write_length(into, len),
        BodyLength::Unknown => into.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    into.extend_from_slice(b"\r\n");
}

/// Writes the status line and the fields of an answer, without the empty line.
pub fn write_answer(
    into: &mut BytesMut,
    status: StatusCode,
    reason: Option<&Reason>,
    headers: &Headers,
) {
    into.reserve(HEAD_ROOM);
    into.extend_from_slice(b"HTTP/1.1 ");
    into.extend_from_slice(status.as_str().as_bytes());
    into.extend_from_slice(b" ");
    match reason {
        Some(Reason(text)) => into.extend_from_slice(text),
        None => {
            into.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
        }
    }
    into.extend_from_slice(b"\r\n");
    write_fields(into, || headers.iter());
}

/// Writes a `content-length` field.
pub(super) fn write_length(into: &mut BytesMut, len: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = len;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    into.extend_from_slice(b"content-length: ");
    into.extend_from_slice(&digits[at..]);
    into.extend_from_slice(b"\r\n");
}

/// Writes fields, each on its line.
pub(super) fn write_fields<'a, I>(into: &mut BytesMut, fields: impl Fn() -> I)
where
    I: Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
{
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + 4
    };
    let begin = into.len();
    into.resize(begin + fields().map(line).sum::<usize>(), 0);
    let mut rest = &mut into[begin..];
    for (name, value) in fields() {
        rest = put(rest, name.as_str().as_bytes());
        rest = put(rest, b": ");
        rest = put(rest, value.as_bytes());
        rest = put(rest, b"\r\n");
    }
}

fn put<'a>(into: &'a mut [u8], part: &[u8]) -> &'a mut [u8] {
    let (place, rest) = into.split_at_mut(part.len());
    place.copy_from_slice(part);
    rest
}

/// The length of the head, if its end is here and within the limit, and where its lines end.
/// `scanned` is set to how much is known to hold no end.
///
/// # Errors
/// [`HeadError::Malformed`] where a line feed alone ends what may be meant for the last line
/// (RFC 9112 section 2.2 lets a reader take it, and two readers that differ in it see two
/// messages). Such an end within a head shows when its lines are read.
fn head_len(
    buffer: &[u8],
    limit: usize,
    scanned: &mut usize,
    ends: &mut Ends,
) -> Result<Option<usize>, HeadError> {
    let within = &buffer[..buffer.len().min(limit)];
    // The ends are known from the first on, or not at all.
    let whole = *scanned == 0;
    let mut from = *scanned;
    while let Some(at) = memchr::memchr(b'\n', within.get(from..).unwrap_or_default()) {
        let end = from + at + 1;
        if whole {
            ends.add(end);
        }
        match &within[end..] {
            [b'\n', ..] => return Err(HeadError::Malformed),
            [b'\r', b'\n', ..] => {
                if whole {
                    ends.add(end + 2);
                }
                return Ok(Some(end + 2));
            }
            // The empty line may be cut by the end of what is here, and is to be found behind
            // the line feed before it.
            [] | [b'\r'] => {
                *scanned = from + at;
                return Ok(None);
            }
            _ => from = end,
        }
    }
    *scanned = from;
    Ok(None)
}

/// Whether no further byte can make a request of what is here: it begins with what begins no
/// method, or its first line is whole and names no version.
fn is_hopeless(buffer: &[u8]) -> bool {
    let Some(first) = buffer.first() else { return false };
    if !(first.is_ascii_graphic() || *first == b'\r') {
        return true;
    }
    let Some(end) = buffer.iter().take(LONG_LINE).position(|byte| *byte == b'\n') else {
        return false;
    };
    let words = buffer[..end].rsplit(|byte| *byte == b' ');
    !words.take(1).any(|word| word.starts_with(b"HTTP/"))
}

/// What is wrong with a version that is neither 1.0 nor 1.1: another that there may be, or
/// no version at all.
fn version_error(head: &[u8]) -> HeadError {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let word = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let spaces = line.iter().filter(|byte| **byte == b' ').count();
    match word.strip_prefix(b"HTTP/") {
        Some([major] | [major, b'.', _])
            if spaces == 2
                && major.is_ascii_digit()
                && word.last().is_some_and(u8::is_ascii_digit) =>
        {
            HeadError::Version
        }
        Some(_) | None => HeadError::Malformed,
    }
}

fn target(head: &Bytes, path: &[u8]) -> Result<Uri, HeadError> {
    // What is below these the type refuses itself.
    if path.iter().fold(false, |odd, byte| odd | (*byte >= 0x7f) | (*byte == b'#')) {
        return Err(HeadError::Malformed);
    }
    Uri::from_maybe_shared(head.slice_ref(path)).map_err(|_| HeadError::Malformed)
}

/// What the fields said about framing and the connection.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one head")]
struct Seen {
    length: Option<u64>,
    lengths: usize,
    length_differs: bool,
    codings: usize,
    chunked: bool,
    close: bool,
    keep: bool,
}

fn fields_of(
    head: &Bytes,
    mut lines: Lines<'_>,
    most: usize,
    seen: &mut Seen,
) -> Result<Headers, HeadError> {
    let mut headers = Headers::with_capacity(USUAL);
    let mut count = 0;
    while let Some(Field { name, value }) = lines.field()? {
        count += 1;
        if count > most {
            return Err(HeadError::TooLarge);
        }
        if name == header::CONTENT_LENGTH {
            seen.length(value)?;
            continue;
        }
        if name == header::TRANSFER_ENCODING {
            seen.codings += 1;
            seen.chunked = value.eq_ignore_ascii_case(b"chunked");
            continue;
        }
        if name == header::CONNECTION {
            seen.connection(value);
        }
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value))
            .map_err(|_| HeadError::Malformed)?;
        headers.append(name, value);
    }
    Ok(headers)
}

impl From<Malformed> for HeadError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl Seen {
    fn length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let digits =
            (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        if !digits {
            return Err(HeadError::Framing);
        }
        let length =
            value.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        // Beyond it a length turns negative in whoever counts with a sign.
        if i64::try_from(length).is_err() {
            return Err(HeadError::Framing);
        }
        self.lengths += 1;
        self.length_differs |= self.length.is_some_and(|before| before != length);
        self.length = Some(length);
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= token.eq_ignore_ascii_case(b"close");
            self.keep |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep)
    }

    fn request_length(&self, version: Version) -> Result<BodyLength, HeadError> {
        match (self.codings, self.lengths) {
            (0, 0) => Ok(BodyLength::None),
            (0, 1) => Ok(match self.length {
                Some(0) | None => BodyLength::None,
                Some(length) => BodyLength::Exact(length),
            }),
            (1, 0) if self.chunked && version == Version::HTTP_11 => {
                Ok(BodyLength::Unknown)
            }
            _ => Err(HeadError::Framing),
        }
    }

    /// RFC 9112 section 6.3, points 1, 2 and 4 to 8.
    fn answer_length(
        &self,
        version: Version,
        method: &Method,
        status: StatusCode,
        headers: &mut Headers,
    ) -> Result<(BodyLength, bool), HeadError> {
        if self.length_differs
            || self.codings > 1
            || (self.codings == 1 && self.lengths > 0)
        {
            return Err(HeadError::Framing);
        }
        let bodiless = method == Method::HEAD
            || status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        if bodiless {
            if let Some(length) = self.length
                && (method == Method::HEAD || status == StatusCode::NOT_MODIFIED)
            {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            return Ok((BodyLength::None, false));
        }
        if self.codings == 1 {
            let known = self.chunked && version == Version::HTTP_11;
            return if known {
                Ok((BodyLength::Unknown, true))
            } else {
                Err(HeadError::Framing)
            };
        }
        Ok(match self.length {
            Some(0) => (BodyLength::None, false),
            Some(length) => (BodyLength::Exact(length), false),
            None => (BodyLength::Unknown, false),
        })
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
