//! Heads of requests and answers: parsed by `httparse`, then judged strictly.
//!
//! What decides where a message ends is taken out of the header map here and kept as a
//! value, so that nothing further on can forward a length that does not hold. Repeated or
//! odd `Content-Length` and `Transfer-Encoding` fields end the connection (RFC 9112 section
//! 6.3, RFC 9110 section 8.6).

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri, Version};
use thiserror::Error;

use crate::wire::body::BodyLength;

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
    pub headers: HeaderMap,
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
    pub headers: HeaderMap,
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

const FIELDS: usize = 256;

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
    let Some((len, bare)) = head_len(buffer, limits.size, scanned) else {
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
    if bare {
        return Err(HeadError::Malformed);
    }
    let head = buffer.split_to(len).freeze();
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(&head, &mut fields) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(HeadError::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(httparse::Error::Version) => return Err(version_error(&head)),
        Err(_) => return Err(HeadError::Malformed),
    }
    if request.headers.len() > limits.count {
        return Err(HeadError::TooLarge);
    }
    let version =
        if request.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let method = request.method.unwrap_or_default().as_bytes();
    let method = Method::from_bytes(method).map_err(|_| HeadError::Malformed)?;
    let uri = target(&head, request.path.unwrap_or_default())?;
    let mut seen = Seen::default();
    let headers = fields_of(&head, request.headers, &mut seen)?;
    let keep_alive = seen.keep_alive(version);
    let length = seen.request_length(version)?;
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
    let Some((len, bare)) = head_len(buffer, limits.size, &mut 0) else {
        return if buffer.len() > limits.size {
            Err(HeadError::TooLarge)
        } else {
            Ok(None)
        };
    };
    // httparse reads over empty lines before the head and takes a line feed for a line's
    // end: both are how one answer becomes two.
    if buffer.starts_with(b"\r") || bare {
        return Err(HeadError::Malformed);
    }
    let head = buffer.split_to(len).freeze();
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut answer,
        &head,
        &mut fields,
    );
    match parsed {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(HeadError::Malformed),
    }
    let version =
        if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let status = StatusCode::from_u16(answer.code.unwrap_or_default())
        .map_err(|_| HeadError::Malformed)?;
    let reason = answer.reason.unwrap_or_default();
    let reason = (status.canonical_reason() != Some(reason))
        .then(|| Reason(head.slice_ref(reason.as_bytes())));
    let mut seen = Seen::default();
    let mut headers = fields_of(&head, answer.headers, &mut seen)?;
    let (length, chunked) = seen.answer_length(version, method, status, &mut headers)?;
    let until_close = length == BodyLength::Unknown && !chunked;
    let keep_alive = seen.keep_alive(version) && !until_close;
    Ok(Some(AnswerHead { status, headers, length, chunked, keep_alive, reason }))
}

/// Trailers from their block, empty line included; `None` when they are malformed.
pub(super) fn parse_trailers(block: &Bytes) -> Option<HeaderMap> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let Ok(httparse::Status::Complete((_, fields))) =
        httparse::parse_headers(block, &mut fields)
    else {
        return None;
    };
    if has_bare_line_feed(block) {
        return None;
    }
    fields_of(block, fields, &mut Seen::default()).ok()
}

/// Writes a request head.
pub fn write_request(
    into: &mut BytesMut,
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    length: BodyLength,
) {
    into.reserve(HEAD_ROOM + target.len());
    into.extend_from_slice(method.as_str().as_bytes());
    into.extend_from_slice(b" ");
    into.extend_from_slice(target.as_bytes());
    into.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(into, headers);
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
    headers: &HeaderMap,
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
    write_fields(into, headers);
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
pub(super) fn write_fields(into: &mut BytesMut, headers: &HeaderMap) {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + 4
    };
    into.reserve(headers.iter().map(line).sum());
    for (name, value) in headers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        into.extend_from_slice(name);
        into.extend_from_slice(b": ");
        into.extend_from_slice(value);
        into.extend_from_slice(b"\r\n");
    }
}

/// The end of the head, if it is within the limit, and whether a line in it ends in a line
/// feed alone.
fn head_len(buffer: &[u8], limit: usize, scanned: &mut usize) -> Option<(usize, bool)> {
    let within = &buffer[..buffer.len().min(limit)];
    let (mut from, mut bare) = (*scanned, false);
    while let Some(at) = memchr::memchr(b'\n', within.get(from..)?) {
        let end = from + at + 1;
        bare |= !within[..end].ends_with(b"\r\n");
        let whole = match within.get(end..) {
            Some([b'\n', ..]) => Some((end + 1, true)),
            Some([b'\r', b'\n', ..]) => Some((end + 2, bare)),
            // The empty line may be cut by the end of what is here.
            Some([] | [b'\r']) => break,
            Some(_) | None => None,
        };
        if let Some((len, bare)) = whole {
            // What was seen before has been seen for its end only.
            return Some((len, bare || has_bare_line_feed(&within[..*scanned])));
        }
        from = end;
    }
    *scanned = from;
    None
}

/// Whether a line ends in a line feed alone (RFC 9112 section 2.2 lets a reader take it, and
/// two readers that differ in it see two messages).
fn has_bare_line_feed(block: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', block)
        .any(|at| at.checked_sub(1).and_then(|before| block.get(before)) != Some(&b'\r'))
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

fn target(head: &Bytes, path: &str) -> Result<Uri, HeadError> {
    let plain = path.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'#');
    if !plain {
        return Err(HeadError::Malformed);
    }
    Uri::from_maybe_shared(head.slice_ref(path.as_bytes()))
        .map_err(|_| HeadError::Malformed)
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
    fields: &[httparse::Header<'_>],
    seen: &mut Seen,
) -> Result<HeaderMap, HeadError> {
    let mut headers = HeaderMap::with_capacity(fields.len() + 6);
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| HeadError::Malformed)?;
        if name == header::CONTENT_LENGTH {
            seen.length(field.value)?;
            continue;
        }
        if name == header::TRANSFER_ENCODING {
            seen.codings += 1;
            seen.chunked = field.value.eq_ignore_ascii_case(b"chunked");
            continue;
        }
        if name == header::CONNECTION {
            seen.connection(field.value);
        }
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value))
            .map_err(|_| HeadError::Malformed)?;
        headers.try_append(name, value).map_err(|_| HeadError::TooLarge)?;
    }
    Ok(headers)
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
        headers: &mut HeaderMap,
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
