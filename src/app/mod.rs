//! The only place that knows every room but the ways in.
//!
//! `start` makes the parts and connects them, `runtimes` gives each its thread (one a
//! worker for requests, one for everything else), and `shutdown` is the order in which they
//! go down, so that no caller is left without an answer.

mod descriptors;
mod kept;
mod runtimes;
mod settings;
mod shutdown;
mod start;

pub use settings::Settings;
pub use start::{Running, run, start};
