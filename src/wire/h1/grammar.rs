//! The grammar of heads (RFC 9112 sections 3 to 5), strictly: one line after the other, each
//! ended by CRLF, and no line that goes on in the next. Which bytes a name, a value, a method
//! or a target may have is for the types of `http` to say, which check what they are made of.
//!
//! Ours because a parser of its own looks at every byte twice before those types do it again:
//! a head costs half of what it did. The tests hold it against `httparse`.

use http::header::{self, HeaderName};
use http::{Method, StatusCode, Version};

/// Lines of a head whose ends are remembered from where its end was looked for.
const KNOWN: usize = 32;

/// A line is not what it should be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Malformed;

/// Where the first lines of a head end.
pub(super) struct Ends {
    places: [u32; KNOWN],
    count: usize,
}

impl Ends {
    pub(super) const NONE: Self = Self { places: [0; KNOWN], count: 0 };

    pub(super) fn add(&mut self, end: usize) {
        if let (Some(place), Ok(end)) = (self.places.get_mut(self.count), end.try_into())
        {
            *place = end;
            self.count += 1;
        }
    }

    pub(super) fn known(&self) -> &[u32] {
        self.places.get(..self.count).unwrap_or_default()
    }
}

/// The lines of a head.
#[derive(Clone, Debug)]
pub(super) struct Lines<'a> {
    head: &'a [u8],
    begin: usize,
    /// Where the lines end, as far as that is known.
    ends: &'a [u32],
}

/// The parts of a request's first line.
#[derive(Clone, Debug)]
pub(super) struct RequestLine<'a> {
    pub(super) method: Method,
    pub(super) target: &'a [u8],
    pub(super) version: &'a [u8],
}

/// The parts of an answer's first line.
#[derive(Clone, Debug)]
pub(super) struct StatusLine<'a> {
    pub(super) version: Version,
    pub(super) status: StatusCode,
    /// Without bytes beyond ASCII: a phrase that has one counts as none.
    pub(super) reason: &'a [u8],
}

/// A field.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    pub(super) name: HeaderName,
    pub(super) value: &'a [u8],
}

impl<'a> Lines<'a> {
    /// Of a head and the places behind its first line feeds, as many as are known.
    pub(super) fn of(head: &'a [u8], ends: &'a [u32]) -> Self {
        Self { head, begin: 0, ends }
    }

    /// The next line without its end; `None` where there is no line that ends as it must.
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = match self.ends.split_first() {
            Some((end, rest)) => {
                self.ends = rest;
                usize::try_from(*end).ok()?
            }
            None => self.begin + memchr::memchr(b'\n', self.head.get(self.begin..)?)? + 1,
        };
        let line = self.head.get(self.begin..end)?;
        self.begin = end;
        line.strip_suffix(b"\r\n")
    }

    /// The first line of a request; its version has not been looked at.
    pub(super) fn request_line(&mut self) -> Option<RequestLine<'a>> {
        let line = self.next()?;
        let after_method = line.iter().position(|byte| *byte == b' ')?;
        let before_version = line.iter().rposition(|byte| *byte == b' ')?;
        Some(RequestLine {
            method: Method::from_bytes(&line[..after_method]).ok()?,
            target: line.get(after_method + 1..before_version)?,
            version: &line[before_version + 1..],
        })
    }

    /// The first line of an answer.
    pub(super) fn status_line(&mut self) -> Option<StatusLine<'a>> {
        let line = self.next()?;
        let version = version(line.get(..8)?)?;
        let status = StatusCode::from_bytes(line.get(8..12)?.strip_prefix(b" ")?).ok()?;
        let reason = match &line[12..] {
            [] => &[],
            [b' ', reason @ ..] => reason,
            _ => return None,
        };
        if reason.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return None;
        }
        let reason = if reason.is_ascii() { reason } else { &[] };
        Some(StatusLine { version, status, reason })
    }

    /// The next field; `None` at the empty line.
    ///
    /// # Errors
    /// [`Malformed`] where the next line is neither.
    pub(super) fn field(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        let line = self.next().ok_or(Malformed)?;
        if line.is_empty() {
            return Ok(None);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Malformed)?;
        let name = name(&line[..colon]).ok_or(Malformed)?;
        Ok(Some(Field { name, value: trim(&line[colon + 1..]) }))
    }
}

/// One of the two versions that this grammar is of.
pub(super) fn version(text: &[u8]) -> Option<Version> {
    match text {
        b"HTTP/1.1" => Some(Version::HTTP_11),
        b"HTTP/1.0" => Some(Version::HTTP_10),
        _ => None,
    }
}

/// The name of a field; the usual ones in their usual spellings without a look at each byte.
fn name(text: &[u8]) -> Option<HeaderName> {
    Some(match text {
        b"host" | b"Host" => header::HOST,
        b"date" | b"Date" => header::DATE,
        b"accept" | b"Accept" => header::ACCEPT,
        b"cookie" | b"Cookie" => header::COOKIE,
        b"server" | b"Server" => header::SERVER,
        b"user-agent" | b"User-Agent" => header::USER_AGENT,
        b"connection" | b"Connection" => header::CONNECTION,
        b"content-type" | b"Content-Type" => header::CONTENT_TYPE,
        b"authorization" | b"Authorization" => header::AUTHORIZATION,
        b"content-length" | b"Content-Length" => header::CONTENT_LENGTH,
        b"accept-encoding" | b"Accept-Encoding" => header::ACCEPT_ENCODING,
        b"transfer-encoding" | b"Transfer-Encoding" => header::TRANSFER_ENCODING,
        // `http` takes a quotation mark, which no token has.
        _ if text.contains(&b'"') => return None,
        _ => HeaderName::from_bytes(text).ok()?,
    })
}

/// Without the white space around a value.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
