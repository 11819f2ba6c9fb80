//! What survives a restart: quarantines, open protects, who acts as stable, and rollouts, in
//! an embedded store in the state directory.
//!
//! A room of its own, because durability is its whole promise: what a call has returned from
//! is on disk. Every call blocks on the disk, so that callers on a runtime put it aside.
//! What a quarantine, a protect or a rollout means is not known here.

mod engine;
mod entries;
mod error;
mod rollouts;

#[cfg(test)]
mod tests;

pub use engine::Store;
pub use error::StoreError;
