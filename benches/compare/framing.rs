//! Just enough of HTTP/1.1 to know where a message ends.
//!
//! Apart because the load, the fake model servers and the relay must all be cheaper than
//! the proxies between them: they look for a length and the blank line and for nothing
//! else. Only messages with a `content-length`, without a body or without an end are
//! understood; a proxy that re-chunks an answer is noticed, since none is whole then.

/// The length of a body in chunks: a stream that does not end.
pub(crate) const CHUNKED: usize = usize::MAX / 2;

/// Where a message's head ends and how long its body is, both in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) len: usize,
    pub(crate) body: usize,
}

/// The head at the start of `bytes`, or `None` while its blank line has not come.
pub(crate) fn head(bytes: &[u8]) -> Option<Head> {
    let mut at = 0;
    let mut body = 0;
    loop {
        let end = at + bytes[at..].iter().position(|byte| *byte == b'\n')?;
        let line = &bytes[at..end];
        if line.len() <= 1 {
            return Some(Head { len: end + 1, body });
        }
        if let Some(length) = content_length(line) {
            body = length;
        } else if line.len() > CODING.len()
            && line[..CODING.len()].eq_ignore_ascii_case(CODING)
        {
            body = CHUNKED;
        }
        at = end + 1;
    }
}

const CODING: &[u8] = b"transfer-encoding:";

fn content_length(line: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let (name, value) = line.split_at_checked(NAME.len())?;
    if !name.eq_ignore_ascii_case(NAME) {
        return None;
    }
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}
