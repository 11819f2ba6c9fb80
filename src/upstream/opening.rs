//! Opening what many requests share: an HTTP/2 connection, or the first one to a server that
//! says by itself what it speaks. Apart from the pool because it is done once for all who ask
//! meanwhile, and only they keep it going.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared, WeakShared};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::connect::ConnectError;
use super::settings::Address;
use crate::tasks;
use crate::wire::{Body, Io, Sentry};

/// What came of it, for all who waited.
type Opened = Result<(), ConnectError>;

/// Something that is opened by one for all.
#[derive(Default)]
pub(super) struct Opening(RefCell<Option<WeakShared<LocalBoxFuture<'static, Opened>>>>);

impl Opening {
    /// Takes part in what is under way, or begins it. Who stops waiting ends it only when he
    /// is the last.
    pub(super) async fn join(
        &self,
        begin: impl FnOnce() -> LocalBoxFuture<'static, Opened>,
    ) -> Opened {
        let under_way = self.0.borrow().as_ref().and_then(WeakShared::upgrade);
        let shared: Shared<_> = match under_way {
            // One that is over tells only of a connection that may be gone again.
            Some(shared) if shared.peek().is_none() => shared,
            Some(_) | None => {
                let shared = begin().shared();
                *self.0.borrow_mut() = shared.downgrade();
                shared
            }
        };
        shared.await
    }
}

/// Begins to speak HTTP/2 on a connection.
///
/// # Errors
/// [`ConnectError::Failed`] when the server does not.
pub(super) async fn speak_http2(
    io: Io,
    address: &Address,
) -> Result<SendRequest<Body>, ConnectError> {
    let failed = |error: hyper::Error| {
        ConnectError::Failed(address.clone(), Arc::new(io::Error::other(error)))
    };
    let (mut send, connection) = hyper::client::conn::http2::Builder::new(LocalExecutor)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(64 * 1024)
        .max_send_buf_size(64 * 1024)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .handshake(TokioIo::new(Sentry::before_server(io)))
        .await
        .map_err(failed)?;
    let ended = address.clone();
    let _running = tasks::local("http2 upstream", async move {
        if let Err(error) = connection.await {
            tracing::debug!(address = %ended, %error, "an http/2 connection to a server ended");
        }
    });
    poll_fn(|cx| send.poll_ready(cx)).await.map_err(failed)?;
    Ok(send)
}

/// Runs what hyper spawns on the worker's own thread.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        let _running = tasks::local("http2", async move {
            let _output = future.await;
        });
    }
}

/// What is spoken to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// HTTP/2 or not, as the configuration says.
    Fixed(bool),
    /// HTTP/2 or not, as the server said last.
    Agreed(bool),
    /// It has not said anything yet.
    Unknown,
}

/// A silent peer is found out after both.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_PATIENCE: Duration = Duration::from_secs(20);

/// What is held of an answer whose caller does not take it.
const STREAM_WINDOW: u32 = 128 * 1024;
/// So many such answers leave room for the others, which share the connection. HTTP/2 also
/// bounds by this how many small frames may wait to be read.
const CONNECTION_WINDOW: u32 = 256 * STREAM_WINDOW;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use futures_util::FutureExt;
    use tokio::sync::Semaphore;

    use super::{ConnectError, Opening};

    async fn through(gate: Rc<Semaphore>) -> Result<(), ConnectError> {
        gate.acquire().await.unwrap().forget();
        Ok(())
    }

    #[tokio::test]
    async fn all_who_ask_at_once_wait_for_one_and_later_ones_begin_anew() {
        let (opening, begun) = (Opening::default(), Rc::new(Cell::new(0)));
        let gate = Rc::new(Semaphore::new(0));
        let ask = || {
            let (begun, gate) = (Rc::clone(&begun), Rc::clone(&gate));
            opening.join(move || {
                begun.set(begun.get() + 1);
                through(gate).boxed_local()
            })
        };
        let open = async { gate.add_permits(1) };
        let (one, two, three, ()) = tokio::join!(ask(), ask(), ask(), open);
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        assert_eq!(begun.get(), 1);
        gate.add_permits(1);
        ask().await.unwrap();
        assert_eq!(begun.get(), 2);
        // One that everybody has left is begun anew.
        assert!(ask().now_or_never().is_none());
        gate.add_permits(1);
        ask().await.unwrap();
        assert_eq!(begun.get(), 4);
    }
}
