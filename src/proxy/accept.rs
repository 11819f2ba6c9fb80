//! Listeners: sockets that workers share by `SO_REUSEPORT`, connections with permits, one
//! task each.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::caller::Caller;
use super::serve_h1;
use super::serve_h2;
use super::settings::{ListenerProtocol, ListenerSettings};
use super::worker::Worker;
use crate::tasks;
use crate::wire::Io;

/// A listener's sockets, one a worker, all on one address.
#[derive(Debug)]
pub struct Bound {
    settings: ListenerSettings,
    address: SocketAddr,
    sockets: RefCell<Vec<std::net::TcpListener>>,
    permits: Arc<AtomicUsize>,
}

/// One worker's socket of a listener.
#[derive(Debug)]
pub struct Listener {
    settings: ListenerSettings,
    socket: std::net::TcpListener,
    permits: Arc<AtomicUsize>,
}

/// What the connections of a listener need to know of it.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) settings: ListenerSettings,
}

/// A listener that cannot listen.
#[derive(Debug, Error)]
#[error("listener {name} cannot listen on {address}")]
pub struct BindError {
    name: String,
    address: SocketAddr,
    #[source]
    source: io::Error,
}

impl Bound {
    /// Opens the sockets.
    ///
    /// # Errors
    /// [`BindError`] when the address is in use or not ours.
    pub fn bind(settings: ListenerSettings, workers: usize) -> Result<Self, BindError> {
        let failed = |source| BindError {
            name: settings.name.clone(),
            address: settings.address,
            source,
        };
        // The first socket does not share, so that a port somebody else uses is noticed.
        let first = open(settings.address, false).map_err(failed)?;
        let address = first.local_addr().map_err(failed)?;
        let mut sockets = vec![first];
        if workers > 1 {
            sockets.clear();
            for _ in 0..workers {
                sockets.push(open(address, true).map_err(failed)?);
            }
        }
        let permits = Arc::new(AtomicUsize::new(settings.limits.max_connections));
        Ok(Self { settings, address, sockets: RefCell::new(sockets), permits })
    }

    /// The address, with the port that the kernel chose where the settings say 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The listener's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// One worker's socket; `None` when all have been given away.
    #[must_use]
    pub fn take(&self) -> Option<Listener> {
        let socket = self.sockets.borrow_mut().pop()?;
        let (settings, permits) = (self.settings.clone(), Arc::clone(&self.permits));
        Some(Listener { settings, socket, permits })
    }
}

impl Listener {
    /// Takes connections until `stop` says so, and then those that already wait.
    pub async fn run(self, worker: Rc<Worker>, mut stop: watch::Receiver<bool>) {
        let Self { settings, socket, permits } = self;
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(name = settings.name, %error, "a listener cannot be used");
                return;
            }
        };
        let door = Rc::new(Door { settings });
        let mut stopping = false;
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                _ = stop.changed(), if !stopping => {
                    stopping = *stop.borrow();
                    continue;
                }
                () = std::future::ready(()), if stopping => return,
            };
            match accepted {
                Ok((stream, peer)) => match Permit::take(&permits) {
                    Some(permit) => admit(&worker, &door, stream, peer, permit),
                    None => {
                        tracing::warn!(
                            name = door.settings.name,
                            "maxConnections reached"
                        );
                        drop(stream);
                    }
                },
                Err(error) => {
                    // Out of file descriptors, mostly: those who wait are taken later.
                    if !is_of_connection(&error) {
                        tracing::warn!(name = door.settings.name, %error, "accept failed");
                        tokio::time::sleep(BACK_OFF).await;
                    }
                }
            }
        }
    }
}

fn admit(
    worker: &Rc<Worker>,
    door: &Rc<Door>,
    stream: TcpStream,
    peer: SocketAddr,
    permit: Permit,
) {
    let (worker, door) = (Rc::clone(worker), Rc::clone(door));
    worker.connections.set(worker.connections.get() + 1);
    let _task = tasks::local("connection", async move {
        let open = Open(worker);
        let caller = Caller::new(peer, &door.settings);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended before it began");
            return;
        }
        let protocol = match door.settings.protocol {
            ListenerProtocol::Auto => detect(&stream, &open.0, &door).await,
            ListenerProtocol::Http1 | ListenerProtocol::Http2 => {
                Some(door.settings.protocol)
            }
        };
        let io = Io::Tcp(stream);
        let worker = Rc::clone(&open.0);
        match protocol {
            Some(ListenerProtocol::Http2) => {
                Box::pin(serve_h2::serve(worker, io, caller, door)).await;
            }
            Some(ListenerProtocol::Http1 | ListenerProtocol::Auto) => {
                serve_h1::serve(worker, io, caller, door).await;
            }
            None => {}
        }
        drop((open, permit));
    });
}

/// Whether the connection begins with HTTP/2's preface. `None` when nothing comes.
async fn detect(
    stream: &TcpStream,
    worker: &Worker,
    door: &Door,
) -> Option<ListenerProtocol> {
    let limit = worker.wheel.limit();
    limit.set(door.settings.limits.header_timeout);
    let mut seen = [0u8; PREFACE.len()];
    let mut hurried = false;
    loop {
        let len = std::future::poll_fn(|cx| {
            let mut buffer = tokio::io::ReadBuf::new(&mut seen);
            match stream.poll_peek(cx, &mut buffer) {
                std::task::Poll::Ready(Ok(len)) => std::task::Poll::Ready(Some(len)),
                std::task::Poll::Ready(Err(_)) => std::task::Poll::Ready(None),
                std::task::Poll::Pending => {
                    if worker.closing.get() && !hurried {
                        // Its first bytes may be on the way.
                        hurried = true;
                        limit.set(GRACE);
                    }
                    limit.poll(cx).map(|()| None)
                }
            }
        })
        .await?;
        if len == 0 {
            return None;
        }
        if !PREFACE.starts_with(&seen[..len]) {
            return Some(ListenerProtocol::Http1);
        }
        if len == PREFACE.len() {
            return Some(ListenerProtocol::Http2);
        }
        // A part of the preface: the rest is on its way, or the limit ends it.
        tokio::time::sleep(BETWEEN_LOOKS).await;
        if std::future::poll_fn(|cx| std::task::Poll::Ready(limit.poll(cx).is_ready()))
            .await
        {
            return None;
        }
    }
}

fn open(address: SocketAddr, share: bool) -> io::Result<std::net::TcpListener> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Errors of a connection that was gone before it was accepted.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// The right to have a connection.
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn take(left: &Arc<AtomicUsize>) -> Option<Self> {
        let order = Ordering::Relaxed;
        let took = left.fetch_update(order, order, |left| left.checked_sub(1));
        took.ok().map(|_| Self(Arc::clone(left)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a connection of the worker for as long as it is served.
struct Open(Rc<Worker>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get().saturating_sub(1));
    }
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const BACKLOG: i32 = 4096;
const BACK_OFF: Duration = Duration::from_millis(50);
/// For a connection that has not said anything when everything closes.
const GRACE: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
