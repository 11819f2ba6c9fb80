//! Answers kept for the day both versions of a route fail.
//!
//! A request of a route that has opted in is asked about once ([`Cache::begin`]); the
//! question is complete when its body is ([`Pending::question`]). An answer that may be
//! kept ([`Cache::keep`]) is copied by a [`Tee`] while it streams and put away when its
//! last byte has passed. [`Cache::lookup`] is for the failure of every version, and
//! [`serve()`] makes the answer of what it found.
//!
//! What holds, whatever the caller does:
//! - two requests share an answer only when route, method, host, path, query, body and
//!   headers are the same to the byte; left out are names of one exchange (`key.rs`), and
//!   credentials that the route's `vary` does not name;
//! - an answer is found only for the very version (name, digest and slot) it came from, and
//!   only while the caller names that version as one that may serve;
//! - after [`Cache::purge`] returns nothing of that slot is held, and no answer to a
//!   request that began before the purge comes back;
//! - the entries of a route take no more than its `max_size`, copies under way no more
//!   than a bound of their own, and nothing is written anywhere but to memory, unless the
//!   route asks for a copy on disk ([`Disk`]), which takes no more than `max_size` either.
//!
//! `door` lets the fuzz targets (`tests/fuzz`) at the parsers in here.
//!
//! # Why not a general cache
//! Caches for general use decide by how often an entry is read. Here almost nothing is
//! ever read, so that they would hold on to what came first and turn newcomers away. Least
//! recently *stored* goes first here: a question that is asked often is stored often, and
//! what is oldest is also what expires next.

mod directives;
mod disk;
pub mod door;
mod drawers;
mod entry;
mod files;
mod key;
mod policy;
mod record;
mod serve;
mod shelf;
mod store;
mod tee;
#[cfg(test)]
#[path = "tests/words.rs"]
mod words;

pub use disk::Disk;
pub use entry::{Entry, Source};
pub use key::{Key, Pending, Question, RequestFacts};
pub use policy::{AnswerFacts, Scope, Why};
pub use serve::{Detail, Served, banner_header, serve};
pub use store::Cache;
pub use tee::Tee;
