//! `Pool`: one worker's connections to one endpoint.
//!
//! Idle HTTP/1.1 connections are used last in, first out, so that the rest can grow old and
//! be closed. Nothing here is shared between workers: each has its part of the bound.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderValue;
use hyper::client::conn::http2::SendRequest;
use tokio::time::Instant;

use super::connect::{ConnectError, connect};
use super::endpoint::Endpoint;
use super::opening::{Opening, Spoken, speak_http2};
use super::queue::Queue;
use super::settings::{Address, Pool as Bounds, Protocol, Settings};
use crate::clock;
use crate::clock::Wheel;
use crate::tls::{Alert, Offer};
use crate::wire::Body;
use crate::wire::Io;
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
    waiting: Queue,
    http2: RefCell<Option<SendRequest<Body>>>,
    http2_alert: RefCell<Option<Alert>>,
    /// Requests so far; and how many there were when it was last seen that none was there,
    /// and since when that is so.
    served: Cell<u64>,
    quiet: Cell<Option<(u64, Instant)>>,
    opening: Opening,
    spoken: Cell<Spoken>,
    /// Where that leads.
    http2_peer: Cell<Option<SocketAddr>>,
    /// The endpoint's addresses, and how often they had changed when these were taken.
    current: RefCell<Vec<SocketAddr>>,
    moves: Cell<u32>,
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

/// About as old as the news of a busy worker may be. What has rested for less has been read
/// from since, and only what must not be sent twice is worth a system call.
const A_TURN: Duration = Duration::from_millis(1);

impl Pool {
    /// An empty pool. `workers` is how many share the bound on connections.
    #[must_use]
    pub fn new(
        endpoint: Arc<Endpoint>,
        settings: &Settings,
        workers: usize,
        wheel: Rc<Wheel>,
    ) -> Rc<Self> {
        let authority = HeaderValue::from_str(&endpoint.authority())
            .unwrap_or_else(|_| HeaderValue::from_static("localhost"));
        let pool = Self {
            endpoint,
            authority,
            bounds: Cell::new(settings.pool),
            connect_timeout: Cell::new(settings.connect_timeout),
            wheel,
            idle: RefCell::default(),
            open: Cell::new(0),
            busy: Cell::new(0),
            waiting: Queue::default(),
            http2: RefCell::new(None),
            http2_alert: RefCell::new(None),
            served: Cell::new(0),
            quiet: Cell::new(None),
            opening: Opening::default(),
            spoken: Cell::new(Spoken::Unknown),
            http2_peer: Cell::new(None),
            current: RefCell::default(),
            moves: Cell::new(0),
            wary_until: Cell::new(None),
            retired: Cell::new(false),
        };
        pool.configure(settings, workers);
        Rc::new(pool)
    }

    /// Takes new bounds after a reload, and what is to be spoken.
    pub fn configure(&self, settings: &Settings, workers: usize) {
        let bounds = settings.pool;
        let share =
            |all: usize| if all == 0 { usize::MAX } else { all.div_ceil(workers.max(1)) };
        self.bounds.set(Bounds {
            max_idle: share(bounds.max_idle.max(1)),
            max_connections: share(bounds.max_connections),
            idle_timeout: bounds.idle_timeout,
        });
        self.connect_timeout.set(settings.connect_timeout);
        let secured = self.endpoint.dialer().is_some();
        let spoken = match (settings.protocol, self.spoken.get()) {
            (Protocol::Http1, _) => Spoken::Fixed(false),
            (Protocol::Http2, _) => Spoken::Fixed(true),
            (Protocol::Auto, _) if !secured => Spoken::Fixed(false),
            (Protocol::Auto, Spoken::Fixed(_)) => Spoken::Unknown,
            (Protocol::Auto, known @ (Spoken::Agreed(_) | Spoken::Unknown)) => known,
        };
        self.spoken.set(spoken);
    }

    /// What a URL of the server would begin with.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.endpoint.dialer().is_some() { "https" } else { "http" }
    }

    /// Whether half of the connections that there may be are taken, and none is idle.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.open.get() >= self.bounds.get().max_connections / 2
            && self.idle.borrow().is_empty()
    }

    /// Whether so few connections are left that callers who keep one for nothing have to go.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        let most = self.bounds.get().max_connections;
        self.open.get() >= most - most / 8 && self.idle.borrow().is_empty()
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
        self.served.set(self.served.get() + 1);
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
        let mut opening = Beginning { pool: self, stands: false };
        let (io, peer) = self.connect(Offer::Http1).await?;
        opening.stands = true;
        Ok(ClientConnection::new(io, peer, Rc::clone(self) as Rc<dyn Home>))
    }

    /// The HTTP/2 connection, opened if there is none that lives.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn http2(
        self: &Rc<Self>,
    ) -> Result<(SendRequest<Body>, bool), ConnectError> {
        self.follow();
        // It may have been opened while the addresses changed.
        if self.is_elsewhere(self.http2_peer.get()) {
            self.forget_http2();
        }
        let live = self.http2.borrow().as_ref().filter(|send| !send.is_closed()).cloned();
        if let Some(mut send) = live
            && poll_fn(|cx| send.poll_ready(cx)).await.is_ok()
        {
            return Ok((send, true));
        }
        self.open_shared().await?;
        let live = self.http2.borrow().clone();
        live.map(|send| (send, false)).ok_or_else(|| {
            let why = io::Error::other("the server speaks HTTP/1.1 now");
            ConnectError::Failed(self.endpoint.address.clone(), Arc::new(why))
        })
    }

    /// Whether requests go over HTTP/2; `None` when the server is to be asked first.
    #[must_use]
    pub fn speaks_http2(&self) -> Option<bool> {
        let lives = || self.http2.borrow().as_ref().is_some_and(|send| !send.is_closed());
        match self.spoken.get() {
            Spoken::Fixed(two) => Some(two),
            Spoken::Agreed(true) if lives() => Some(true),
            Spoken::Agreed(false) if self.open.get() > 0 => Some(false),
            Spoken::Agreed(_) | Spoken::Unknown => None,
        }
    }

    /// Asks the server whether it speaks HTTP/2, by a connection that is then kept.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn settle(self: &Rc<Self>) -> Result<bool, ConnectError> {
        self.open_shared().await?;
        Ok(self.spoken.get() == Spoken::Agreed(true))
    }

    /// Whether the server has ended the HTTP/2 connection by an alert of TLS, as one does
    /// that does not like our certificate.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.http2_alert.borrow().as_ref().is_some_and(Alert::came)
    }

    /// Opens the HTTP/2 connection, or whichever one the server likes, for all who wait.
    async fn open_shared(self: &Rc<Self>) -> Result<(), ConnectError> {
        let pool = Rc::clone(self);
        self.opening
            .join(move || async move { pool.open_any().await }.boxed_local())
            .await
    }

    async fn open_any(self: &Rc<Self>) -> Result<(), ConnectError> {
        let is_fixed = matches!(self.spoken.get(), Spoken::Fixed(_));
        let offer = if is_fixed { Offer::Http2 } else { Offer::Either };
        let (io, peer) = self.connect(offer).await?;
        let (agreed, alert) = match &io {
            Io::Tls(stream) => (stream.is_http2(), Some(stream.alert())),
            Io::Tcp(_) | Io::Unix(_) => (is_fixed, None),
        };
        if agreed {
            let address = &self.endpoint.address;
            let refused = |error| match &alert {
                Some(alert) if alert.came() => {
                    let why = io::Error::other("the server refused the handshake");
                    ConnectError::Tls(address.clone(), Arc::new(why))
                }
                Some(_) | None => error,
            };
            let send = speak_http2(io, address).await.map_err(refused)?;
            *self.http2.borrow_mut() = Some(send);
            *self.http2_alert.borrow_mut() = alert;
            self.http2_peer.set(peer);
        } else {
            self.open.set(self.open.get() + 1);
            let home = Rc::clone(self) as Rc<dyn Home>;
            self.give_back(ClientConnection::new(io, peer, home));
        }
        if !is_fixed {
            self.spoken.set(Spoken::Agreed(agreed));
        }
        Ok(())
    }

    async fn connect(
        &self,
        offer: Offer,
    ) -> Result<(Io, Option<SocketAddr>), ConnectError> {
        let limit = self.connect_timeout.get();
        let opened = connect(&self.endpoint, offer, limit, &self.wheel).await;
        if matches!(opened, Err(ConnectError::Tls(..)))
            && matches!(self.spoken.get(), Spoken::Agreed(_))
        {
            // It may have changed its mind.
            self.spoken.set(Spoken::Unknown);
        }
        opened
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
        self.follow();
        let longest = self.bounds.get().idle_timeout;
        let old: Vec<ClientConnection> = {
            let mut idle = self.idle.borrow_mut();
            let old = |c: &ClientConnection| {
                now.saturating_duration_since(c.idle_since()) >= longest
            };
            std::iter::from_fn(|| idle.pop_front_if(|c| old(c))).collect()
        };
        drop(old);
        if self.is_quiet(now, longest) {
            self.forget_http2();
        }
    }

    /// Whether there has been no request for so long, as far as the tidying has seen.
    fn is_quiet(&self, now: Instant, longest: Duration) -> bool {
        let served = self.served.get();
        let quiet = self.quiet.get().filter(|(then, _)| *then == served);
        let since = quiet.map_or(now, |(_, since)| since);
        self.quiet.set((self.busy.get() == 0).then_some((served, since)));
        self.busy.get() == 0 && now.saturating_duration_since(since) >= longest
    }

    /// The endpoint is in no table any more: what is idle is closed, and what is not will be.
    pub fn retire(&self) {
        self.retired.set(true);
        *self.http2.borrow_mut() = None;
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        drop(idle);
    }

    /// Where the endpoint's addresses have changed, closes what is idle and leads to where it
    /// no longer is. What is busy there ends by itself and does not come back.
    fn follow(&self) {
        let moves = self.endpoint.moves();
        if moves == self.moves.get() {
            return;
        }
        self.moves.set(moves);
        self.current.replace(self.endpoint.sockets());
        if self.is_elsewhere(self.http2_peer.get()) {
            *self.http2.borrow_mut() = None;
        }
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        let (away, here): (VecDeque<_>, VecDeque<_>) =
            idle.into_iter().partition(|one| self.is_elsewhere(one.peer()));
        *self.idle.borrow_mut() = here;
        drop(away);
    }

    /// Whether that is no longer an address of the endpoint. Of one that needs no look-up
    /// none ever is.
    fn is_elsewhere(&self, peer: Option<SocketAddr>) -> bool {
        self.moves.get() > 0
            && peer.is_some_and(|peer| !self.current.borrow().contains(&peer))
    }

    /// An idle HTTP/1.1 connection, if there is one; with `once` one that can hardly be about
    /// to close.
    #[must_use]
    pub fn take_idle(&self, once: bool) -> Option<ClientConnection> {
        self.follow();
        let now = clock::now();
        let mut longest = self.bounds.get().idle_timeout;
        if once {
            if self.wary_until.get().is_some_and(|until| until > now) {
                return None;
            }
            longest = longest.min(FRESH);
        }
        loop {
            let mut last = self.idle.borrow_mut().pop_back()?;
            let rested = now.saturating_duration_since(last.idle_since());
            if rested >= longest {
                // Those before it are older: the tidying closes them.
                if once {
                    self.idle.borrow_mut().push_back(last);
                }
                return None;
            }
            if last.is_clean(once && rested >= A_TURN) {
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
        let place = self.waiting.place();
        poll_fn(|cx| {
            if !fresh && let Some(idle) = self.take_idle(once) {
                place.is_served();
                return Poll::Ready(Ok(Some(idle)));
            }
            // Idle ones that will not do take the room: the oldest goes.
            let oldest = self.idle.borrow_mut().pop_front();
            drop(oldest);
            if self.open.get() < self.bounds.get().max_connections {
                place.is_served();
                return Poll::Ready(Ok(None));
            }
            if !place.take_up(cx) {
                return Poll::Ready(Err(ConnectError::Busy(
                    self.endpoint.address.clone(),
                )));
            }
            ready!(timer.poll(cx));
            Poll::Ready(Err(ConnectError::Busy(self.endpoint.address.clone())))
        })
        .await
    }
}

impl Home for Pool {
    fn give_back(&self, connection: ClientConnection) {
        self.follow();
        let room = self.idle.borrow().len() < self.bounds.get().max_idle;
        if room && !self.retired.get() && !self.is_elsewhere(connection.peer()) {
            self.idle.borrow_mut().push_back(connection);
            self.waiting.call();
        }
    }

    fn closed(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        self.waiting.call();
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
struct Beginning<'a> {
    pool: &'a Pool,
    stands: bool,
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        if !self.stands {
            self.pool.closed();
        }
    }
}
