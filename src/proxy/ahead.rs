//! A body that is waited for before its server is: where a server has few connections left,
//! a caller that drips gets none of them.
//!
//! Apart, because nothing of it happens while there are connections for all: then every
//! piece of a body passes when it comes.

use std::future::poll_fn;
use std::task::Poll;

use super::failure::Failure;
use crate::clock;
use crate::measure::Flight;
use crate::upstream::Connections;
use crate::wire::Body;

/// Waits for a small body's end, or the beginning of a large one, while connections to the
/// server are scarce. A body of unknown length is not waited for: its caller may want to
/// hear before it says more.
///
/// # Errors
/// [`Failure`] of the caller, who did not send in time.
pub(super) async fn wait_for_body(
    pool: &Connections,
    body: &mut Body,
    flight: &mut Flight,
) -> Result<(), Failure> {
    if body.is_over() || !pool.is_crowded() {
        return Ok(());
    }
    let mut waited = false;
    let came = poll_fn(|cx| match body.poll_ahead(cx) {
        Poll::Pending if flight.is_cut() => Poll::Ready(Ok(())),
        Poll::Pending => {
            waited = true;
            flight.uploading(clock::now());
            Poll::Pending
        }
        Poll::Ready(came) => Poll::Ready(came),
    })
    .await;
    if waited {
        flight.sent(clock::now());
    }
    came.map_err(Failure::caller)
}
