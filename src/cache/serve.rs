//! Makes the answer of a kept entry: how old it is, where it came from, and the banner
//! that says so to people. Apart, because it changes bytes that a version wrote, and does
//! so only where it cannot make them wrong.

use std::collections::HashMap;

use bytes::Bytes;
use http::StatusCode;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
};
use serde::de::IgnoredAny;

use super::entry::Entry;
use crate::vocab::policy::Banner;
use crate::vocab::time::Timestamp;
use crate::wire::Headers;

/// An answer from the cache, whole.
#[derive(Clone)]
pub struct Served {
    /// The status the version gave.
    pub status: StatusCode,
    /// Its end-to-end headers with `content-length`, `age`, `cache-status` and the banner;
    /// `x-model-version` and `x-request-id` are the caller's to stamp.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// Leaves out headers and body.
impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why an answer comes from the cache, as `Cache-Status` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Every version that may serve failed.
    UpstreamFailed,
    /// The route is read-only and no version was asked.
    ReadOnly,
    /// The route holds requests back while its traffic goes over in steps.
    HeldBack,
}

impl Detail {
    /// The token after `detail=`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpstreamFailed => "upstream-failed",
            Self::ReadOnly => "read-only",
            Self::HeldBack => "held-back",
        }
    }
}

/// The answer that `entry` makes at `now`.
#[must_use]
pub fn serve(entry: &Entry, banner: &Banner, detail: Detail, now: Timestamp) -> Served {
    let mut headers = entry.headers.clone();
    let marked = banner.json_field.as_deref().filter(|_| is_plain_json(&headers));
    let marked =
        marked.and_then(|field| with_member(&entry.body, field, &banner.message));
    if marked.is_some() {
        for name in OF_THE_BYTES {
            headers.remove(name);
        }
        headers.remove(ETAG);
    }
    let body = marked.unwrap_or_else(|| entry.body.clone());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(AGE, HeaderValue::from(entry.age_at(now).as_secs()));
    if let Some(status) = cache_status(entry, detail, now) {
        headers.append(HeaderName::from_static("cache-status"), status);
    }
    if let Some((name, value)) = banner_header(banner) {
        headers.insert(name, value);
    }
    Served { status: entry.status, headers, body }
}

/// The banner as a header. Control characters in its message become spaces; `None` when
/// its name is not one of a header.
#[must_use]
pub fn banner_header(banner: &Banner) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(banner.header.as_bytes()).ok()?;
    let text: String =
        banner.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Some((name, HeaderValue::from_bytes(text.trim().as_bytes()).ok()?))
}

/// `Cache-Status` of RFC 9211. A hit even though the request went forward first: `fwd` is
/// for answers that came from there, and the two exclude each other.
fn cache_status(entry: &Entry, detail: Detail, now: Timestamp) -> Option<HeaderValue> {
    let (fresh, age) = (entry.fresh.as_secs(), entry.age_at(now).as_secs());
    let (sign, left) = if age > fresh { ("-", age - fresh) } else { ("", fresh - age) };
    let detail = detail.as_str();
    HeaderValue::from_str(&format!("switchback; hit; ttl={sign}{left}; detail={detail}"))
        .ok()
}

/// Whether the body is JSON as it stands, not under an encoding.
fn is_plain_json(headers: &Headers) -> bool {
    let encoded = headers
        .values(CONTENT_ENCODING)
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    let Some(kind) = headers.only(CONTENT_TYPE) else { return false };
    let kind = kind.as_bytes().split(|&b| b == b';').next().unwrap_or_default();
    let kind = kind.trim_ascii().to_ascii_lowercase();
    !encoded && (kind == b"application/json" || kind.ends_with(b"+json"))
}

/// The JSON object `body` with one member more, before the others; `None` when it is no
/// object or has a member of that name. Inserted as text, so that everything the version
/// wrote stays to the byte: numbers keep their digits and members their order.
fn with_member(body: &[u8], field: &str, text: &str) -> Option<Bytes> {
    let members: HashMap<String, IgnoredAny> =
        serde_json::from_str(std::str::from_utf8(body).ok()?).ok()?;
    if members.contains_key(field) {
        return None;
    }
    let inside = body.iter().position(|&b| b == b'{')? + 1;
    let comma = if members.is_empty() { "" } else { "," };
    let (field, text) =
        (serde_json::to_string(field).ok()?, serde_json::to_string(text).ok()?);
    let parts = [
        &body[..inside],
        field.as_bytes(),
        b":",
        text.as_bytes(),
        comma.as_bytes(),
        &body[inside..],
    ];
    Some(Bytes::from(parts.concat()))
}

/// Headers that vouch for the very bytes of the body.
const OF_THE_BYTES: [&str; 6] = [
    "content-digest",
    "content-md5",
    "digest",
    "repr-digest",
    "signature",
    "signature-input",
];

#[cfg(test)]
#[path = "tests/serve.rs"]
mod tests;
