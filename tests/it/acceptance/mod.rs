//! The scenarios that the product is accepted by, one file each: what is promised in the
//! file's first lines, and the promise tried on the real binary below.

mod canary;
mod detection;
mod failed_rollback;
mod fallback;
mod manual;
mod memory;
mod performance_degradation;
mod quarantine;
mod reuse;
mod shutdown;
mod soak;
mod split;
mod swaps;
mod verdicts;
