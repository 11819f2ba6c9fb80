//! How a body can fail.

use std::io;
use std::sync::Arc;

use thiserror::Error;

/// Why the rest of a body will not come.
#[derive(Clone, Debug, Error)]
pub enum BodyError {
    /// The connection ended before the length or the last chunk that was announced.
    #[error("the connection ended in the middle of the body")]
    Truncated,
    /// The chunks or the trailers are malformed.
    #[error("the body's framing is malformed")]
    Malformed,
    /// It is longer than the limit.
    #[error("the body is longer than the limit of {0} bytes")]
    TooLong(u64),
    /// Nothing came for as long as the idle limit allows.
    #[error("nothing of the body came within the time limit")]
    Idle,
    /// The time for the whole exchange is over.
    #[error("the time for the whole exchange is over")]
    Total,
    /// The version was drained and its time is over.
    #[error("the version was taken out of service and its time to finish is over")]
    Cut,
    /// The other side ended the stream: an HTTP/2 reset.
    #[error("the stream was reset")]
    Reset,
    /// The operating system says so.
    #[error("the connection failed")]
    Io(#[source] Arc<io::Error>),
}

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
