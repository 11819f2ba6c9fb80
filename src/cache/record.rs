//! A kept answer as a file: the bytes, and the checks by which a torn or foreign file is
//! told from one that was written whole. Apart from the thread that writes, so that the
//! format is in one place.
//!
//! The format is ours: a magic line, then fields of fixed order, numbers little-endian,
//! texts after their length, and at the end the BLAKE3 digest of everything before it. A
//! file is read whole or not at all.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue, SET_COOKIE};

use super::directives::Directives;
use super::entry::{Entry, Source, kept_headers};
use crate::vocab::ids::{Digest, Name, Slot};
use crate::vocab::time::Timestamp;
use crate::wire::Headers;

/// A kept answer with the names that tell it from others in another run of the process.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) route: Name,
    pub(super) version: Name,
    pub(super) build: Digest,
    pub(super) digest: [u8; 32],
    entry: Entry,
}

/// The name of an answer's file: the same for the same question to the same version, in
/// every run.
pub(super) type FileId = [u8; 20];

/// Which file the answer to a question by a version of a route is in.
pub(super) fn file_id(route: &Name, source: &Source, digest: &[u8; 32]) -> FileId {
    id_of(route, &source.name, &source.digest, digest)
}

/// The bytes of a file.
pub(super) fn encode(route: &Name, digest: &[u8; 32], entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(entry.weight() + SPARE);
    out.extend_from_slice(MAGIC);
    put_text(&mut out, route.as_str().as_bytes());
    put_text(&mut out, entry.source.name.as_str().as_bytes());
    put_text(&mut out, entry.source.digest.as_str().as_bytes());
    out.extend_from_slice(digest);
    put(&mut out, entry.target);
    put(&mut out, u64::from(entry.status.as_u16()));
    put(&mut out, u64::from(entry.public));
    put(&mut out, entry.stored.0);
    for span in [entry.age, entry.fresh, entry.limit] {
        put(&mut out, u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    }
    put(&mut out, entry.headers.len() as u64);
    for (name, value) in &entry.headers {
        put_text(&mut out, name.as_str().as_bytes());
        put_text(&mut out, value.as_bytes());
    }
    put_text(&mut out, &entry.body);
    let sum = blake3::hash(&out);
    out.extend_from_slice(sum.as_bytes());
    out
}

/// What a file holds; `None` when it is torn, altered, not ours, or of another format. What
/// may not be kept is not taken from a file either.
pub(super) fn decode(file: &[u8]) -> Option<Record> {
    let (text, sum) = file.split_at_checked(file.len().checked_sub(SUM)?)?;
    if *blake3::hash(text).as_bytes() != *sum {
        return None;
    }
    let mut rest = Rest(text.strip_prefix(MAGIC)?);
    let (route, version) = (rest.name()?, rest.name()?);
    let build = Digest::new(std::str::from_utf8(rest.text()?).ok()?);
    let digest = rest.take(32)?.try_into().ok()?;
    let target = rest.number()?;
    let status = StatusCode::from_u16(u16::try_from(rest.number()?).ok()?).ok()?;
    let public = rest.number()? == 1;
    let stored = Timestamp(rest.number()?);
    let mut span = || rest.number().map(Duration::from_millis);
    let (age, fresh, limit) = (span()?, span()?, span()?);
    let count = rest.number()?;
    let mut headers = Headers::new();
    for _ in 0..count.min(MOST_HEADERS) {
        let name = HeaderName::from_bytes(rest.text()?).ok()?;
        headers.append(name, HeaderValue::from_bytes(rest.text()?).ok()?);
    }
    let body = Bytes::copy_from_slice(rest.text()?);
    if !rest.0.is_empty() || is_forbidden(&headers) {
        return None;
    }
    let slot = Slot::new(0)?;
    let source = Source { name: version.clone(), digest: build.clone(), slot };
    let headers = kept_headers(&headers);
    let entry = Entry {
        source,
        status,
        headers,
        body,
        stored,
        age,
        fresh,
        limit,
        public,
        target,
    };
    Some(Record { route, version, build, digest, entry })
}

impl Record {
    /// Which file it belongs in.
    pub(super) fn id(&self) -> FileId {
        id_of(&self.route, &self.version, &self.build, &self.digest)
    }

    /// The answer, on the books of this run.
    pub(super) fn entry(self, slot: Slot) -> Entry {
        let mut entry = self.entry;
        entry.source.slot = slot;
        entry
    }

    /// When the answer came.
    pub(super) fn stored(&self) -> Timestamp {
        self.entry.stored
    }
}

fn id_of(route: &Name, version: &Name, build: &Digest, digest: &[u8; 32]) -> FileId {
    let mut hasher = blake3::Hasher::new();
    for part in [route.as_str(), version.as_str(), build.as_str()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.update(digest);
    let mut id = FileId::default();
    hasher.finalize_xof().fill(&mut id);
    id
}

fn is_forbidden(headers: &Headers) -> bool {
    let said = Directives::of(headers);
    said.no_store || said.private || said.malformed || headers.has(SET_COOKIE)
}

fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// What has not been read of a file.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        self.take(len)
    }

    fn name(&mut self) -> Option<Name> {
        Name::parse(std::str::from_utf8(self.text()?).ok()?).ok()
    }
}

const MAGIC: &[u8] = b"switchback kept answer 1\n";
const SUM: usize = 32;
/// Lengths, names and the sum of an entry beside what it weighs in memory.
const SPARE: usize = 512;
const MOST_HEADERS: u64 = 4_096;

#[cfg(test)]
#[path = "tests/record.rs"]
mod tests;
