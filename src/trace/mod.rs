//! Traces of requests: what each one did, a line of JSON each, without anything of what was
//! asked or answered.
//!
//! `line` is the form of a line and `reader` reads a file of them, plain or compressed,
//! in memory that does not grow with the file. What is wrong with a line comes back as a
//! [`Problem`] beside the good ones, so that whoever reads decides what a bad line means.
//! The [`Recorder`] writes such files while the proxy runs: bounded, rotating, and never in
//! the way of a request.

mod file;
mod line;
mod problem;
mod reader;
mod recorder;

pub use file::RecordSettings;
pub use line::{Event, Line, MOST_LATENCY_US, Streamed, Weights};
pub use problem::{Fault, Problem};
pub use reader::{OpenError, Reader};
pub use recorder::{Batch, Entry, Names, Recorder, RecorderState, Shares};
