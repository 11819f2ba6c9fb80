//! `Pool`: one worker's connections to one endpoint.
//!
//! Idle HTTP/1.1 connections are used last in, first out, so that the rest can grow old and
//! be closed. Nothing here is shared between workers: each has its part of the bound.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker, ready};
use std::time::Duration;

use http::HeaderValue;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::connect::{ConnectError, connect};
use super::endpoint::Endpoint;
use super::settings::{Address, Pool as Bounds};
use crate::clock;
use crate::clock::Wheel;
use crate::tasks;
use crate::wire::Body;
use crate::wire::h1::{ClientConnection, Home};

/// One worker's connections to one endpoint.
pub struct Pool {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// What `Host` would name it.
    pub authority: HeaderValue,
    bounds: Cell<Bounds>,
    connect_timeout: Cell<Duration>,
    wheel: Rc<Wheel>,
    idle: RefCell<VecDeque<ClientConnection>>,
    open: Cell<usize>,
    /// Requests that this worker has on the endpoint.
    busy: Cell<usize>,
    waiting: RefCell<VecDeque<Rc<Ticket>>>,
    http2: RefCell<Option<SendRequest<Body>>>,
    /// Until then a request that must not be sent twice gets a fresh connection.
    wary_until: Cell<Option<Instant>>,
    /// Set once the endpoint is no longer in any table.
    retired: Cell<bool>,
}

/// Counts a request on an endpoint for as long as it lives.
#[derive(Debug)]
pub struct Busy(Rc<Pool>);

/// How long a pool stays wary after a used connection died under a request.
const WARY: Duration = Duration::from_secs(30);

/// A request that must not be sent twice goes on a used connection only if that has been
/// idle for less than this: a server does not close so soon.
const FRESH: Duration = Duration::from_secs(1);

/// Requests that may wait for a connection.
const WAITING: usize = 1024;

impl Pool {
    /// An empty pool. `workers` is how many share the bound on connections.
    #[must_use]
    pub fn new(
        endpoint: Arc<Endpoint>,
        bounds: Bounds,
        connect_timeout: Duration,
        workers: usize,
        wheel: Rc<Wheel>,
    ) -> Rc<Self> {
        let authority = match &endpoint.address {
            Address::Tcp { host, port } if host.contains(':') => {
                format!("[{host}]:{port}")
            }
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(_) => "localhost".to_owned(),
        };
        let authority = HeaderValue::from_str(&authority)
            .unwrap_or_else(|_| HeaderValue::from_static("localhost"));
        let pool = Self {
            endpoint,
            authority,
            bounds: Cell::new(bounds),
            connect_timeout: Cell::new(connect_timeout),
            wheel,
            idle: RefCell::default(),
            open: Cell::new(0),
            busy: Cell::new(0),
            waiting: RefCell::default(),
            http2: RefCell::new(None),
            wary_until: Cell::new(None),
            retired: Cell::new(false),
        };
        pool.configure(bounds, connect_timeout, workers);
        Rc::new(pool)
    }

    /// Takes new bounds after a reload.
    pub fn configure(&self, bounds: Bounds, connect_timeout: Duration, workers: usize) {
        let share =
            |all: usize| if all == 0 { usize::MAX } else { all.div_ceil(workers.max(1)) };
        self.bounds.set(Bounds {
            max_idle: share(bounds.max_idle.max(1)),
            max_connections: share(bounds.max_connections),
            idle_timeout: bounds.idle_timeout,
        });
        self.connect_timeout.set(connect_timeout);
    }

    /// Requests that this worker has on the endpoint.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.busy.get()
    }

    /// Counts one more request on the endpoint.
    #[must_use]
    pub fn occupy(self: &Rc<Self>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        Busy(Rc::clone(self))
    }

    /// An HTTP/1.1 connection: an idle one, or a new one. With `fresh` always a new one;
    /// with `once` a used one only where it can hardly be about to close.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn http1(
        self: &Rc<Self>,
        fresh: bool,
        once: bool,
    ) -> Result<ClientConnection, ConnectError> {
        if !fresh && let Some(idle) = self.take_idle(once) {
            return Ok(idle);
        }
        if self.open.get() >= self.bounds.get().max_connections
            && let Some(idle) = self.wait(fresh, once).await?
        {
            return Ok(idle);
        }
        self.open.set(self.open.get() + 1);
        let mut opening = Opening { pool: self, stands: false };
        let io = connect(&self.endpoint.address, self.connect_timeout.get(), &self.wheel)
            .await?;
        opening.stands = true;
        Ok(ClientConnection::new(io, Rc::clone(self) as Rc<dyn Home>))
    }

    /// The HTTP/2 connection, opened if there is none that lives.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn http2(
        self: &Rc<Self>,
    ) -> Result<(SendRequest<Body>, bool), ConnectError> {
        let live = self.http2.borrow().as_ref().filter(|send| !send.is_closed()).cloned();
        if let Some(mut send) = live
            && poll_fn(|cx| send.poll_ready(cx)).await.is_ok()
        {
            return Ok((send, true));
        }
        let io = connect(&self.endpoint.address, self.connect_timeout.get(), &self.wheel)
            .await?;
        let failed = |error: hyper::Error| {
            ConnectError::Failed(
                self.endpoint.address.clone(),
                std::io::Error::other(error),
            )
        };
        let (mut send, connection) =
            hyper::client::conn::http2::Builder::new(LocalExecutor)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_header_list_size(64 * 1024)
                .max_send_buf_size(64 * 1024)
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_PATIENCE)
                .handshake(TokioIo::new(io))
                .await
                .map_err(failed)?;
        let address = self.endpoint.address.clone();
        let _running = tasks::local("http2 upstream", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "an http/2 connection to a server ended");
            }
        });
        poll_fn(|cx| send.poll_ready(cx)).await.map_err(failed)?;
        *self.http2.borrow_mut() = Some(send.clone());
        Ok((send, false))
    }

    /// The HTTP/2 connection may be dead: the next request opens another.
    pub fn forget_http2(&self) {
        *self.http2.borrow_mut() = None;
    }

    /// A used connection died under a request: be careful for a while.
    pub fn beware(&self) {
        self.wary_until.set(Some(clock::now() + WARY));
    }

    /// Closes connections that have been idle too long. Called now and then.
    pub fn tidy(&self, now: Instant) {
        let longest = self.bounds.get().idle_timeout;
        let old: Vec<ClientConnection> = {
            let mut idle = self.idle.borrow_mut();
            let old = |c: &ClientConnection| {
                now.saturating_duration_since(c.idle_since()) >= longest
            };
            std::iter::from_fn(|| idle.pop_front_if(|c| old(c))).collect()
        };
        drop(old);
    }

    /// The endpoint is in no table any more: what is idle is closed, and what is not will be.
    pub fn retire(&self) {
        self.retired.set(true);
        *self.http2.borrow_mut() = None;
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        drop(idle);
    }

    fn take_idle(&self, once: bool) -> Option<ClientConnection> {
        let now = clock::now();
        let mut longest = self.bounds.get().idle_timeout;
        if once {
            if self.wary_until.get().is_some_and(|until| until > now) {
                return None;
            }
            longest = longest.min(FRESH);
        }
        loop {
            let last = self.idle.borrow_mut().pop_back()?;
            if now.saturating_duration_since(last.idle_since()) >= longest {
                // Those before it are older: the tidying closes them.
                if once {
                    self.idle.borrow_mut().push_back(last);
                }
                return None;
            }
            if last.is_clean() {
                return Some(last);
            }
        }
    }

    /// Waits until a connection comes back or one may be opened (`None`).
    async fn wait(
        &self,
        fresh: bool,
        once: bool,
    ) -> Result<Option<ClientConnection>, ConnectError> {
        let timer = self.wheel.limit();
        timer.set(self.connect_timeout.get());
        let place = Place { pool: self, ticket: Rc::default() };
        poll_fn(|cx| {
            if !fresh && let Some(idle) = self.take_idle(once) {
                place.ticket.called.set(false);
                return Poll::Ready(Ok(Some(idle)));
            }
            // Idle ones that will not do take the room: the oldest goes.
            let oldest = self.idle.borrow_mut().pop_front();
            drop(oldest);
            if self.open.get() < self.bounds.get().max_connections {
                place.ticket.called.set(false);
                return Poll::Ready(Ok(None));
            }
            if !place.queue(cx) {
                return Poll::Ready(Err(ConnectError::Busy(
                    self.endpoint.address.clone(),
                )));
            }
            ready!(timer.poll(cx));
            Poll::Ready(Err(ConnectError::Busy(self.endpoint.address.clone())))
        })
        .await
    }

    /// Calls the first who still waits.
    fn wake_one(&self) {
        while let Some(ticket) = self.waiting.borrow_mut().pop_front() {
            ticket.queued.set(false);
            if let Some(waker) = ticket.waker.take() {
                ticket.called.set(true);
                waker.wake();
                return;
            }
        }
    }
}

/// A place among those who wait for a connection.
struct Place<'a> {
    pool: &'a Pool,
    ticket: Rc<Ticket>,
}

/// What is known of one who waits.
#[derive(Default)]
struct Ticket {
    waker: Cell<Option<Waker>>,
    queued: Cell<bool>,
    /// It was woken and has not taken anything yet.
    called: Cell<bool>,
}

impl Place<'_> {
    /// Queues up, if that is not done; `false` when too many wait.
    fn queue(&self, cx: &std::task::Context<'_>) -> bool {
        self.ticket.called.set(false);
        self.ticket.waker.set(Some(cx.waker().clone()));
        if !self.ticket.queued.get() {
            let mut waiting = self.pool.waiting.borrow_mut();
            if waiting.len() >= WAITING {
                return false;
            }
            self.ticket.queued.set(true);
            waiting.push_back(Rc::clone(&self.ticket));
        }
        true
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.ticket.waker.set(None);
        self.pool.waiting.borrow_mut().retain(|ticket| !Rc::ptr_eq(ticket, &self.ticket));
        if self.ticket.called.get() {
            self.pool.wake_one();
        }
    }
}

impl Home for Pool {
    fn give_back(&self, connection: ClientConnection) {
        let room = self.idle.borrow().len() < self.bounds.get().max_idle;
        if room && !self.retired.get() {
            self.idle.borrow_mut().push_back(connection);
            self.wake_one();
        }
    }

    fn closed(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        self.wake_one();
    }
}

impl Busy {
    /// The pool it is on.
    #[must_use]
    pub fn pool(&self) -> &Rc<Pool> {
        &self.0
    }
}

impl Busy {
    /// The endpoint that the request is on.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.0.endpoint.address
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get().saturating_sub(1));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("endpoint", &self.endpoint.address)
            .field("open", &self.open.get())
            .field("busy", &self.busy.get())
            .finish_non_exhaustive()
    }
}

/// Counts a connection that is being opened, and takes the count back if it fails.
struct Opening<'a> {
    pool: &'a Pool,
    stands: bool,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.stands {
            self.pool.closed();
        }
    }
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

/// A silent peer is found out after both.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_PATIENCE: Duration = Duration::from_secs(20);

const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
