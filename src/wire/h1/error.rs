//! Why an exchange with a server came to no answer.

use std::io;

use thiserror::Error;

use super::head::HeadError;
use crate::wire::error::BodyError;

/// Why there is no head of an answer.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// The caller's body failed, so the request cannot be finished.
    #[error("the request body failed")]
    Caller(#[source] BodyError),
    /// The connection ended without one byte of an answer.
    #[error("the server closed the connection without an answer")]
    Silent(#[source] Option<io::Error>),
    /// The connection ended within the head.
    #[error("the server closed the connection within the head of its answer")]
    Partial,
    /// The head is not valid.
    #[error("the head of the answer is not valid")]
    Malformed(#[source] HeadError),
    /// The time for the first byte is over.
    #[error("no answer came within the time limit")]
    FirstByte,
    /// The server did not take the request for too long.
    #[error("the server took nothing of the request within the time limit")]
    Idle,
    /// The time for the whole exchange is over.
    #[error("the time for the whole exchange is over")]
    Total,
}
