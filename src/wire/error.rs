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
    /// The other side ended the stream: an HTTP/2 reset, with its code (RFC 9113 section 7)
    /// where there is one.
    #[error("the stream was reset")]
    Reset(Option<u32>),
    /// An exchange in which both sides may speak: the caller had the turn, and said nothing
    /// for as long as the idle limit allows.
    #[error("the caller said nothing more within the time limit")]
    Quiet,
    /// Whoever sends it has withdrawn it, or it has failed where it came from.
    #[error("the body was withdrawn")]
    Withdrawn(#[source] Cancel),
    /// The operating system says so.
    #[error("the connection failed")]
    Io(#[source] Arc<io::Error>),
}

/// Makes HTTP/2 say `CANCEL` to the side to which such a body was being sent.
#[derive(Clone, Debug, Error)]
#[error("the stream is cancelled")]
pub struct Cancel(#[source] Arc<Source>);

/// hyper takes the code of a reset from an error of h2 among the sources.
#[derive(Debug, Error)]
#[error("cancelled")]
struct Source(#[source] h2::Error);

impl BodyError {
    /// The error that is a cancellation to the other side.
    #[must_use]
    pub(super) fn cancel() -> Self {
        Self::Withdrawn(Cancel(Arc::new(Source(h2::Reason::CANCEL.into()))))
    }
}

/// How an HTTP/2 exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFault {
    /// The code of the reset or of the connection's end, if it was one.
    pub code: Option<u32>,
    /// The other side has said that it has not looked at the request, so that it may be sent
    /// again whatever it is (RFC 9113 sections 6.8 and 8.7).
    pub unprocessed: bool,
    /// What came is not HTTP/2 as it must be: a length that lies, for one.
    pub malformed: bool,
}

impl StreamFault {
    /// What an error of hyper's says about it.
    #[must_use]
    pub fn of(error: &hyper::Error) -> Self {
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            let Some(fault) = error.downcast_ref::<h2::Error>() else {
                cause = error.source();
                continue;
            };
            let reason = fault.reason();
            let refused = reason == Some(h2::Reason::REFUSED_STREAM);
            // A connection that ends in peace fails only the streams that it never began.
            let left = fault.is_go_away() && reason == Some(h2::Reason::NO_ERROR);
            return Self {
                code: reason.map(u32::from),
                unprocessed: fault.is_remote() && (refused || left),
                malformed: fault.is_library(),
            };
        }
        Self { code: None, unprocessed: false, malformed: false }
    }
}

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
