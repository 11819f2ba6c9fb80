//! A door for fuzz targets: the parsers of this room as functions from bytes to what can be
//! checked. Nothing of the product calls them; apart, so that the parsers themselves need
//! not be public.

use super::directives::{Directives, digits};
use super::record;
use crate::vocab::ids::Slot;
use crate::wire::Headers;

/// Reads a kept answer from the bytes of its file and writes it again; `None` where the
/// bytes are not such a file.
#[must_use]
pub fn rewritten(file: &[u8]) -> Option<Vec<u8>> {
    let record = record::decode(file)?;
    let (route, digest) = (record.route.clone(), record.digest);
    Some(record::encode(&route, &digest, &record.entry(Slot::new(0)?)))
}

/// What `Cache-Control` says among these fields, in words for a person.
#[must_use]
pub fn directives(headers: &Headers) -> String {
    format!("{:?}", Directives::of(headers))
}

/// The number of seconds that a text of digits says.
#[must_use]
pub fn seconds(text: &[u8]) -> Option<u64> {
    digits(text)
}
