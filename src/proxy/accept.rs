//! Listeners: sockets that workers share by `SO_REUSEPORT`, connections with permits, one
//! task each.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::caller::Caller;
use super::error::ProxyError;
use super::greet;
use super::greet::{Speaks, alpn};
use super::permits::{Permit, Permits, Refused};
use super::serve_h1;
use super::serve_h2;
use super::settings::ListenerSettings;
use super::worker::Worker;
use crate::clock;
use crate::clock::Group;
use crate::tasks;
use crate::tls::{TlsError, TlsServer};
use crate::wire::watch_taking;

/// A listener's sockets, one a worker, all on one address.
#[derive(Debug)]
pub struct Bound {
    settings: ListenerSettings,
    address: SocketAddr,
    sockets: RefCell<Vec<std::net::TcpListener>>,
    permits: Arc<Permits>,
    tls: Option<Arc<TlsServer>>,
}

/// One worker's socket of a listener.
#[derive(Debug)]
pub struct Listener {
    settings: ListenerSettings,
    socket: std::net::TcpListener,
    permits: Arc<Permits>,
    tls: Option<Arc<TlsServer>>,
    /// One worker looks after the certificate for all.
    renews: bool,
}

/// What the connections of a listener need to know of it.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) settings: ListenerSettings,
    /// With it nothing is spoken in the clear.
    pub(super) tls: Option<Arc<TlsServer>>,
    /// The listener's connections, on this worker as on the others.
    pub(super) group: Group,
    /// When it was last said that connections are refused.
    told: Cell<Option<Instant>>,
}

/// A listener that cannot listen.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address is in use or not ours.
    #[error("listener {name} cannot listen on {address}")]
    Address {
        /// The listener.
        name: String,
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Its certificate cannot be used.
    #[error("listener {name} cannot speak TLS")]
    Tls {
        /// The listener.
        name: String,
        /// What is wrong with the files.
        source: Box<TlsError>,
    },
}

impl Bound {
    /// Opens the sockets and reads the certificate, which blocks. Beyond `room` connections
    /// the rest waits in the system's queue.
    ///
    /// # Errors
    /// [`BindError`] when the address is in use or not ours, or the certificate is of no
    /// use.
    pub fn bind(
        settings: ListenerSettings,
        workers: usize,
        room: usize,
    ) -> Result<Self, BindError> {
        let tls = settings.tls.clone().map(|tls| TlsServer::new(tls, alpn(&settings)));
        let tls = tls
            .transpose()
            .map_err(Box::new)
            .map_err(|source| BindError::Tls { name: settings.name.clone(), source })?;
        let failed = |source| BindError::Address {
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
        let permits = Permits::new(&settings, room);
        let (sockets, tls) = (RefCell::new(sockets), tls.map(Arc::new));
        Ok(Self { settings, address, sockets, permits, tls })
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
        let mut sockets = self.sockets.borrow_mut();
        let socket = sockets.pop()?;
        let (settings, permits) = (self.settings.clone(), Arc::clone(&self.permits));
        let (tls, renews) = (self.tls.clone(), sockets.is_empty());
        Some(Listener { settings, socket, permits, tls, renews })
    }
}

impl Listener {
    /// Takes connections until `stop` says so, and then those that already wait.
    pub async fn run(self, worker: Rc<Worker>, mut stop: watch::Receiver<bool>) {
        let Self { settings, socket, permits, tls, renews } = self;
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(name = settings.name, %error, "a listener cannot be used");
                return;
            }
        };
        let renewed = tls.clone().filter(|_| renews);
        let _renewing = Renewing(
            renewed.map(|tls| tasks::local("listener certificate", tls.keep_fresh())),
        );
        let door = Rc::new(Door {
            settings,
            tls,
            group: permits.group(),
            told: Cell::default(),
        });
        let mut stopping = false;
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = accept(&listener, &permits) => accepted,
                _ = stop.changed(), if !stopping => {
                    stopping = *stop.borrow();
                    continue;
                }
                () = permits.asked() => {
                    permits.make_room(|| worker.wheel.spare_one(door.group));
                    continue;
                }
                () = std::future::ready(()), if stopping => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let ip = peer.ip();
                    let trusted = door.settings.trusts(ip);
                    match permits.take(ip, trusted, || worker.wheel.spare_one(door.group))
                    {
                        Ok(permit) => admit(&worker, &door, stream, peer, permit),
                        Err(Refused::Each) => refuse(&door, Refused::Each),
                        Err(Refused::All) => {
                            wait(&worker, &door, &permits, (stream, peer));
                        }
                    }
                }
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

/// The next connection, once there is a file descriptor for it.
async fn accept(
    listener: &TcpListener,
    permits: &Permits,
) -> io::Result<(TcpStream, SocketAddr)> {
    while !permits.have_room() {
        tokio::time::sleep(BACK_OFF).await;
    }
    listener.accept().await
}

/// No connection of this worker can make room for one more: leaves it a moment in which
/// another worker may.
fn wait(
    worker: &Rc<Worker>,
    door: &Rc<Door>,
    permits: &Arc<Permits>,
    (stream, peer): (TcpStream, SocketAddr),
) {
    let Some(place) = permits.ask() else { return refuse(door, Refused::All) };
    let (worker, door, permits) =
        (Rc::clone(worker), Rc::clone(door), Arc::clone(permits));
    let _waiting = tasks::local("connection waits", async move {
        let trusted = door.settings.trusts(peer.ip());
        for _ in 0..LOOKS {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            let spare = || worker.wheel.spare_one(door.group);
            if let Ok(permit) = permits.take(peer.ip(), trusted, spare) {
                return admit(&worker, &door, stream, peer, permit);
            }
        }
        drop(place);
        refuse(&door, Refused::All);
    });
}

/// Says that a bound is reached, but not for each connection of a flood.
fn refuse(door: &Door, bound: Refused) {
    let (bound, told) = (bound.key(), door.told.get());
    let now = clock::now();
    if told.is_none_or(|told| now.saturating_duration_since(told) >= QUIET) {
        door.told.set(Some(now));
        tracing::warn!(name = door.settings.name, bound, "connections are refused");
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
        let caller = Rc::new(Caller::new(peer, &door.settings));
        // The kernel holds little of what a caller does not take: it shows soon whether one
        // reads, and costs no more than its own window where it does not.
        if let Err(error) =
            stream.set_nodelay(true).and_then(|()| watch_taking(&stream, false))
        {
            tracing::debug!(%error, "a connection ended before it began");
            return;
        }
        let greeted = match &door.tls {
            // In a box of its own, so that a plain connection does not carry its size.
            Some(tls) => Box::pin(greet::shake(stream, tls, &open.0, &door)).await,
            None => greet::plain(stream, &open.0, &door).await,
        };
        let worker = Rc::clone(&open.0);
        match greeted {
            Some((io, Speaks::Http2)) => {
                Box::pin(serve_h2::serve(worker, io, caller, door)).await;
            }
            Some((io, Speaks::Http1)) => {
                serve_h1::serve(&worker, io, &caller, &door).await;
            }
            Some((io, Speaks::Mistaken)) => {
                let why = "this port speaks HTTPS, and the request came in plain HTTP";
                let error = ProxyError::BadRequest(why);
                Box::pin(serve_h1::turn_away(&worker, io, &door, &error)).await;
            }
            None => {}
        }
        drop((open, permit));
    });
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

/// Counts a connection of the worker for as long as it is served.
struct Open(Rc<Worker>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get().saturating_sub(1));
    }
}

/// The task that looks after a certificate, for as long as the listener runs.
struct Renewing(Option<JoinHandle<()>>);

impl Drop for Renewing {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

const BACKLOG: i32 = 4096;
const BACK_OFF: Duration = Duration::from_millis(50);
/// How often, and how long apart, it is seen whether another worker has made room.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Between two lines about refused connections.
const QUIET: Duration = Duration::from_secs(1);
