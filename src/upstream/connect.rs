//! Opening a connection to an endpoint, with a time limit.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use thiserror::Error;
use tokio::net::UnixStream;

use super::dial::dial;
use super::endpoint::Endpoint;
use super::settings::Address;
use crate::clock::Wheel;
use crate::tls::Offer;
use crate::wire::Io;

/// Why there is no connection.
#[derive(Clone, Debug, Error)]
pub enum ConnectError {
    /// Refused, unreachable, no such name.
    #[error("cannot connect to {0}")]
    Failed(Address, #[source] Arc<io::Error>),
    /// The handshake failed, or the server is not who it should be.
    #[error("no TLS with {0}")]
    Tls(Address, #[source] Arc<io::Error>),
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

/// Opens a connection within `limit` (zero: as long as it takes). With it comes the address
/// that it leads to, where it is one of those that a name may have.
///
/// # Errors
/// [`ConnectError::Failed`], [`ConnectError::Tls`] or [`ConnectError::Late`].
pub(super) async fn connect(
    endpoint: &Endpoint,
    offer: Offer,
    limit: Duration,
    wheel: &Rc<Wheel>,
) -> Result<(Io, Option<SocketAddr>), ConnectError> {
    let timer = wheel.limit();
    timer.set(limit);
    let mut opening = pin!(open(endpoint, offer));
    let opened = poll_fn(|cx| match opening.as_mut().poll(cx) {
        Poll::Ready(opened) => Poll::Ready(Some(opened)),
        Poll::Pending => timer.poll(cx).map(|()| None),
    })
    .await;
    match opened {
        Some(opened) => opened,
        None => Err(ConnectError::Late(endpoint.address.clone())),
    }
}

/// Opens a connection, however long it takes: in the clear, or with TLS, where `offer` is
/// what may be spoken on it. With it comes the address that it leads to, where it is one of
/// those that a name may have.
///
/// # Errors
/// [`ConnectError::Failed`] or [`ConnectError::Tls`].
pub(super) async fn open(
    endpoint: &Endpoint,
    offer: Offer,
) -> Result<(Io, Option<SocketAddr>), ConnectError> {
    let address = &endpoint.address;
    let failed = |error| ConnectError::Failed(address.clone(), Arc::new(error));
    match address {
        Address::Tcp { .. } => {
            let (stream, peer) = dial(endpoint).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            let Some(dialer) = endpoint.dialer() else {
                return Ok((Io::Tcp(stream), Some(peer)));
            };
            let stream = dialer.connect(stream, offer).await;
            stream
                .map(|stream| (Io::Tls(Box::new(stream)), Some(peer)))
                .map_err(|error| ConnectError::Tls(address.clone(), Arc::new(error)))
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(failed)?;
            Ok((Io::Unix(stream), None))
        }
    }
}
