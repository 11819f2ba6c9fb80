//! An upgraded connection: bytes both ways until one side ends it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use http::{Response, Version};
use tokio::io::AsyncWriteExt;

use super::outgoing::Outgoing;
use super::worker::Worker;
use crate::measure::Flight;
use crate::vocab::outcome::Class;
use crate::wire::Body;
use crate::wire::h1;
use crate::wire::h1::ServerConnection;

/// Passes on the 101 and then everything. The flight is open as long as the tunnel is.
pub(super) async fn run(
    worker: &Worker,
    connection: ServerConnection,
    answer: Response<Outgoing>,
) {
    let (parts, body) = answer.into_parts();
    let (body, mut flight, _busy) = body.into_tunnel();
    let Body::Answer(exchange) = body else { return };
    let Some((mut server, from_server, _counted)) = exchange.into_io() else { return };
    let head = Response::from_parts(parts, Body::Empty);
    let out =
        h1::Outgoing { head_only: false, version: Version::HTTP_11, keep_alive: true };
    if connection.answer(head, out).await.is_err() {
        return;
    }
    let Some((mut caller, from_caller)) = connection.into_io() else { return };
    let limit = worker.wheel.limit();
    let ended = async {
        caller.write_all(&from_server).await?;
        server.write_all(&from_caller).await?;
        tokio::io::copy_bidirectional(&mut caller, &mut server).await
    };
    let mut ended = pin!(ended);
    let well = poll_fn(|cx| {
        if flight.as_ref().is_some_and(Flight::is_cut) {
            return Poll::Ready(false);
        }
        match Pin::new(&mut ended).poll(cx) {
            Poll::Ready(done) => {
                if let Err(error) = done {
                    tracing::debug!(%error, "an upgraded connection broke off");
                }
                Poll::Ready(true)
            }
            // Never set: it is there so that a cut wakes this task.
            Poll::Pending => limit.poll(cx).map(|()| false),
        }
    })
    .await;
    if let Some(flight) = flight.take() {
        flight.close(if well { Class::Upgraded } else { Class::Rejected });
    }
}
