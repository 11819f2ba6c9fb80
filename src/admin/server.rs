//! The operators' listeners: so many connections each, limits on all that a caller can be
//! slow or large with, and an end that lets answers out.
//!
//! Apart from the router because it knows sockets and nothing of paths. It runs on the
//! control runtime; the data plane does not know it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{interval, sleep, timeout};

use super::auth::{CALLS, Gate};
use super::events::{LOOK, Pulse, STREAMS};
use super::health::Readiness;
use super::io::{ClockTimer, Io};
use super::listen::Bound;
use super::pace::Bucket;
use super::refusals::Refusals;
use super::router::{self, Api, Line, Side};
use super::seats::{Seat, Seats};
use super::settings::Settings;
use crate::control::ControlHandle;
use crate::tasks;
use crate::tls;
use crate::tls::{Fingerprint, TlsServer};

/// Serves the operators until `shutdown` comes, then lets answers out for some seconds.
///
/// Must run on a tokio runtime with IO and time; every connection is a task of its own.
///
/// # Errors
/// What the system says when a bound socket cannot be watched.
pub async fn serve(
    settings: &Settings,
    bound: Bound,
    handle: ControlHandle,
    readiness: Readiness,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let gate = Box::new(Gate::new(settings, bound.address()?));
    let (tls, refusals) = (bound.tls.clone(), Box::new(Refusals::new(handle.clone())));
    let api = |side| {
        Arc::new(Api {
            side,
            handle: handle.clone(),
            readiness: readiness.clone(),
            state_dir: settings.state_dir.clone(),
            streams: Arc::new(Semaphore::new(STREAMS)),
        })
    };
    let operators = api(Side::Operators { gate, tls, refusals });
    let metrics = api(Side::Metrics(Mutex::new(Bucket::new(CALLS))));
    serve_within(HEADER_TIME, bound, (operators, metrics), shutdown).await
}

/// The same with another patience for heads, for both sides.
pub(super) async fn serve_within(
    header_time: Duration,
    bound: Bound,
    (operators, metrics): (Arc<Api>, Arc<Api>),
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let admin = TcpListener::from_std(bound.admin)?;
    let open = bound.metrics.map(TcpListener::from_std).transpose()?;
    let (stop, stopped) = watch::channel(false);
    let upkeep = upkeep(bound.tls.clone(), &operators, stopped.clone());
    let own = Hall { api: Arc::clone(&operators), tls: bound.tls, header_time };
    let own = own.listen(admin, stopped.clone());
    let open = async {
        if let Some(listener) = open {
            let hall = Hall { api: metrics, tls: None, header_time };
            hall.listen(listener, stopped.clone()).await;
        }
    };
    let until = async {
        shutdown.await;
        stop.send_replace(true);
    };
    tokio::join!(own, open, until, upkeep);
    if let Side::Operators { refusals, .. } = &operators.side {
        refusals.flush();
    }
    Ok(())
}

/// What goes on beside the connections: certificates are renewed, counts are written.
async fn upkeep(tls: Option<Arc<TlsServer>>, api: &Api, mut stopped: Stopped) {
    let fresh = async {
        match tls {
            Some(tls) => tls.keep_fresh().await,
            None => std::future::pending().await,
        }
    };
    let flushed = async {
        match &api.side {
            Side::Operators { refusals, .. } => refusals.keep_flushing().await,
            Side::Metrics(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = fresh => {}
        () = flushed => {}
        () = said(&mut stopped) => {}
    }
}

/// One listener and what is behind it.
struct Hall {
    api: Arc<Api>,
    tls: Option<Arc<TlsServer>>,
    header_time: Duration,
}

impl Hall {
    async fn listen(self, listener: TcpListener, mut stopped: Stopped) {
        let (seats, hall) = (Seats::new(SEATS), Arc::new(self));
        loop {
            let next = async {
                let (socket, peer) = accept(&listener).await;
                (socket, peer, seats.take().await)
            };
            tokio::select! {
                (socket, peer, seat) = next => {
                    let (hall, stopped) = (Arc::clone(&hall), stopped.clone());
                    let met = async move { hall.meet(socket, peer, seat, stopped).await };
                    tasks::shared("admin connection", met);
                }
                () = said(&mut stopped) => break,
            }
        }
        drop(listener);
        if timeout(LAST_ANSWERS, seats.empty()).await.is_err() {
            seats.dismiss();
            seats.empty().await;
        }
    }

    /// Shakes hands, where that is asked for, and converses.
    async fn meet(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        seat: Seat,
        stopped: Stopped,
    ) {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "an operator's connection keeps its delay");
        }
        let line = |certificate, seat| {
            Arc::new(Line { peer, certificate, seat, pulse: Pulse::default(), stopped })
        };
        let Some(tls) = &self.tls else {
            return self.converse(socket, line(None, seat)).await;
        };
        let shaken = tokio::select! {
            shaken = timeout(HANDSHAKE_TIME, tls.accept(socket)) => shaken,
            () = seat.asked_to_leave() => return,
        };
        match shaken {
            Ok(Ok(stream)) => {
                let certificate: Option<Fingerprint> = tls::caller(&stream);
                self.converse(stream, line(certificate, seat)).await;
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, %peer, "no handshake with a caller");
            }
            Err(_) => tracing::debug!(%peer, "a caller did not shake hands in time"),
        }
    }

    async fn converse<S>(&self, stream: S, line: Arc<Line>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (api, sitting) = (&self.api, &line);
        let service = service_fn(move |request| async move {
            Ok::<_, Infallible>(router::answer(api, sitting, request).await)
        });
        let mut http = http1::Builder::new();
        http.timer(ClockTimer)
            .header_read_timeout(self.header_time)
            .max_header_size(HEADER_BYTES)
            .max_buf_size(BUFFER_BYTES);
        let mut connection = pin!(http.serve_connection(Io(stream), service));
        let (mut stopped, mut stopping) = (line.stopped.clone(), false);
        let mut looks = interval(LOOK);
        loop {
            tokio::select! {
                end = connection.as_mut() => {
                    if let Err(error) = end {
                        tracing::debug!(%error, "an operator's connection ended");
                    }
                    return;
                }
                () = line.seat.asked_to_leave() => return,
                _ = looks.tick() => if line.pulse.has_stopped() {
                    let peer = line.peer;
                    tracing::info!(%peer, "a reader of events takes none: dropped");
                    return;
                },
                () = said(&mut stopped), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "the operators' side cannot take a connection");
                sleep(AFTER_ACCEPT_ERROR).await;
            }
        }
    }
}

type Stopped = watch::Receiver<bool>;

/// Waits until the shutdown was said, or whoever would say it is gone.
async fn said(stopped: &mut Stopped) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        tracing::debug!("the operators' side is dropped");
    }
}

/// Connections of one listener at a time.
const SEATS: usize = 64;
/// How long a head may take to come, and a connection to be silent.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// How long a TLS handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// The largest head of a request.
const HEADER_BYTES: usize = 16 * 1024;
/// What hyper may hold of one connection.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long answers under way may take once the process goes down.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Without open files to be had, asking again at once would only spin.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(100);
