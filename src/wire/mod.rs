//! Bytes on connections: HTTP/1.1 from head to last chunk, and the body types that every
//! path shares.
//!
//! # Why not hyper for HTTP/1.1
//! HTTP/2 is hyper's. HTTP/1.1 is ours because it is what this program does all day, and
//! because three things cannot be had through hyper: to see what a caller really sent (it
//! folds repeated lengths and drops what it has understood), to relay a request in one task
//! with no channel between the two connections, and to hold no buffer for a connection that
//! is idle. Heads and framing are read strictly: what two parsers could read in two ways is
//! refused.
//!
//! What only reads bytes (`frames`, `websocket`) is public, so that it can be fuzzed alone.

mod body;
mod credit;
mod error;
pub mod frames;
pub mod h1;
mod headers;
mod io;
mod keep;
mod lend;
mod pace;
mod sentry;
mod stream;
mod tails;
pub mod websocket;

pub use body::{Body, BodyLength, Frame};
pub use error::{BodyError, Cancel, StreamFault};
pub use headers::{Headers, Named};
pub use io::{Io, watch_taking};
pub use keep::{Beginning, Copy, Keep, Kept};
pub use lend::{Lender, Loan};
pub use pace::Pace;
pub use sentry::{Fault, Sentry, Watch};
pub use stream::StreamBody;
pub use tails::Tails;
