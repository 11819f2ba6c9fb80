//! Opening a connection to an endpoint, with a time limit.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};

use super::settings::Address;
use crate::clock::Wheel;
use crate::wire::Io;

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Refused, unreachable, no such name.
    #[error("cannot connect to {0}")]
    Failed(Address, #[source] io::Error),
    /// It took too long.
    #[error("no connection to {0} within the time limit")]
    Late(Address),
    /// All connections to the endpoint are busy and nobody gave one back in time.
    #[error("all connections to {0} are busy")]
    Busy(Address),
    /// The version has no endpoint.
    #[error("the version has no endpoint")]
    Nowhere,
}

/// Opens a connection within `limit` (zero: as long as it takes).
///
/// # Errors
/// [`ConnectError::Failed`] or [`ConnectError::Late`].
pub(super) async fn connect(
    address: &Address,
    limit: Duration,
    wheel: &Rc<Wheel>,
) -> Result<Io, ConnectError> {
    let timer = wheel.limit();
    timer.set(limit);
    let mut opening = pin!(open(address));
    let opened = poll_fn(|cx| match opening.as_mut().poll(cx) {
        Poll::Ready(opened) => Poll::Ready(Some(opened)),
        Poll::Pending => timer.poll(cx).map(|()| None),
    })
    .await;
    match opened {
        Some(Ok(io)) => Ok(io),
        Some(Err(error)) => Err(ConnectError::Failed(address.clone(), error)),
        None => Err(ConnectError::Late(address.clone())),
    }
}

async fn open(address: &Address) -> io::Result<Io> {
    match address {
        Address::Tcp { host, port } => {
            // A literal address is parsed and not looked up; names are asked anew each time.
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Ok(Io::Tcp(stream))
        }
        Address::Unix(path) => Ok(Io::Unix(UnixStream::connect(path).await?)),
    }
}
