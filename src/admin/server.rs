//! The operators' listeners: so many connections each, limits on all that a caller can be
//! slow or large with, and an end that lets answers out.
//!
//! Apart from the router because it knows sockets and nothing of paths. It runs on the
//! control runtime; the data plane does not know it.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::auth::Gate;
use super::health::Readiness;
use super::io::{ClockTimer, Io};
use super::listen::Bound;
use super::router::{self, Api, Side};
use super::seats::{Seat, Seats};
use super::settings::Settings;
use crate::control::ControlHandle;
use crate::tasks;

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
    let gate = Gate::new(settings, bound.address()?);
    let api = |side| {
        Arc::new(Api { side, handle: handle.clone(), readiness: readiness.clone() })
    };
    let sides = (api(Side::Operators(gate)), api(Side::Metrics));
    serve_within(HEADER_TIME, bound, sides, shutdown).await
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
    let operators = listen(admin, operators, stopped.clone(), header_time);
    let open = async {
        if let Some(listener) = open {
            listen(listener, metrics, stopped.clone(), header_time).await;
        }
    };
    let until = async {
        shutdown.await;
        stop.send_replace(true);
    };
    tokio::join!(operators, open, until);
    Ok(())
}

async fn listen(
    listener: TcpListener,
    api: Arc<Api>,
    mut stopped: Stopped,
    header_time: Duration,
) {
    let seats = Seats::new(SEATS);
    loop {
        let next = async {
            let socket = accept(&listener).await;
            (socket, seats.take().await)
        };
        tokio::select! {
            (socket, seat) = next => {
                let (api, stopped) = (Arc::clone(&api), stopped.clone());
                tasks::shared("admin connection", converse(socket, Arc::new(seat), api, stopped, header_time));
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

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return socket,
            Err(error) => {
                tracing::warn!(%error, "the operators' side cannot take a connection");
                sleep(AFTER_ACCEPT_ERROR).await;
            }
        }
    }
}

async fn converse(
    socket: TcpStream,
    seat: Arc<Seat>,
    api: Arc<Api>,
    mut stopped: Stopped,
    header_time: Duration,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "an operator's connection keeps its delay");
    }
    let sitting = Arc::clone(&seat);
    let service = service_fn(move |request| {
        let (api, seat) = (Arc::clone(&api), Arc::clone(&sitting));
        async move { Ok::<_, Infallible>(router::answer(&api, &seat, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(ClockTimer)
        .header_read_timeout(header_time)
        .max_header_size(HEADER_BYTES)
        .max_buf_size(BUFFER_BYTES);
    let mut connection = pin!(http.serve_connection(Io(socket), service));
    let mut stopping = false;
    loop {
        tokio::select! {
            end = connection.as_mut() => {
                if let Err(error) = end {
                    tracing::debug!(%error, "an operator's connection ended");
                }
                return;
            }
            () = seat.asked_to_leave() => return,
            () = said(&mut stopped), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
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
/// The largest head of a request.
const HEADER_BYTES: usize = 16 * 1024;
/// What hyper may hold of one connection.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long answers under way may take once the process goes down.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Without open files to be had, asking again at once would only spin.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(100);
