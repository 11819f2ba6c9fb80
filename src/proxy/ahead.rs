//! A body that is waited for before its server is: where a server has few connections left,
//! a caller that drips gets none of them.
//!
//! Apart, because nothing of it happens while there are connections for all: then every
//! piece of a body passes when it comes.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use super::failure::Failure;
use crate::clock;
use crate::clock::Limit;
use crate::measure::Flight;
use crate::upstream::Connections;
use crate::wire::Body;
use crate::wire::BodyError;
use crate::wire::BodyLength;
use crate::wire::Frame;
use crate::wire::Kept;

/// Waits for a small body's end, or the beginning of a large one, while connections to the
/// server are scarce. One of unknown length is waited for a moment only, because its caller
/// may want to hear before it says more, unless they are all but gone.
///
/// # Errors
/// [`Failure`] of the caller, who did not send in time.
pub(super) async fn wait_for_body(
    pool: &Connections,
    body: &mut Body,
    flight: &mut Flight,
    limit: impl FnOnce() -> Limit,
) -> Result<(), Failure> {
    if body.is_over() || !pool.is_crowded() {
        return Ok(());
    }
    // Where hardly any is left it is asked for, too, whatever its caller waits for.
    let read = body.left() == BodyLength::Unknown || pool.is_pressed();
    let mut beginning =
        read.then(|| Beginning { kept: Kept::default(), moment: limit(), pool });
    if let Some(beginning) = &beginning {
        beginning.moment.set(MOMENT);
    }
    let mut waited = false;
    let came = poll_fn(|cx| {
        let came = match &mut beginning {
            Some(beginning) => beginning.poll(cx, body),
            None => body.poll_ahead(cx),
        };
        match came {
            Poll::Pending if flight.is_cut() => Poll::Ready(Ok(())),
            Poll::Pending => {
                waited = true;
                flight.uploading(clock::now());
                Poll::Pending
            }
            Poll::Ready(came) => Poll::Ready(came),
        }
    })
    .await;
    if waited {
        flight.sent(clock::now());
    }
    if let Some(beginning) = beginning {
        body.put_back(beginning.kept);
    }
    came.map_err(Failure::caller)
}

/// What has come of a body of unknown length.
struct Beginning<'a> {
    kept: Kept,
    moment: Limit,
    pool: &'a Connections,
}

impl Beginning<'_> {
    /// Ready when the body is whole, or enough of it is here.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Body,
    ) -> Poll<Result<(), BodyError>> {
        while self.kept.len() < ENOUGH {
            match body.poll_peeked(cx) {
                Poll::Ready(Some(piece)) => match piece.map(Frame::into_data) {
                    Ok(Ok(bytes)) => self.kept.push(&bytes),
                    Ok(Err(_trailers)) => break,
                    Err(error) => return Poll::Ready(Err(error)),
                },
                Poll::Ready(None) => break,
                Poll::Pending => return self.poll_moment(cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the moment is over and connections are not scarce.
    fn poll_moment(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.moment.poll(cx).is_ready() {
            if !self.pool.is_pressed() {
                return Poll::Ready(());
            }
            self.moment.set(MOMENT);
        }
        Poll::Pending
    }
}

/// How long a body of unknown length is waited for, as long as there are some connections.
const MOMENT: Duration = Duration::from_secs(1);
/// Of which so much will do.
const ENOUGH: usize = 16 * 1024;
