//! HTTP/2 with a caller, by hyper, with the limits that it does not set.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::accept::Door;
use super::caller::Caller;
use super::error::ProxyError;
use super::outgoing::Outgoing;
use super::reply::Speech;
use super::settings::Limits;
use super::streams::{StreamTasks, Streams};
use super::tunnel_h2;
use super::worker::Worker;
use crate::clock::Limit;
use crate::dialect::is_grpc;
use crate::wire::Body;
use crate::wire::BodyError;
use crate::wire::Io;
use crate::wire::StreamBody;
use crate::wire::{Fault, Sentry, Watch};

/// Serves a connection until one side ends it.
pub(super) async fn serve(worker: Rc<Worker>, io: Io, caller: Caller, door: Rc<Door>) {
    let limits = door.settings.limits;
    let (sentry, watch) = Sentry::post(io);
    let streams = Streams::new(watch.clone());
    let service = {
        let (worker, streams) = (Rc::clone(&worker), Rc::clone(&streams));
        let caller = Rc::new(caller);
        service_fn(move |request: Request<Incoming>| {
            let (worker, caller) = (Rc::clone(&worker), Rc::clone(&caller));
            let (door, stream) = (Rc::clone(&door), streams.open());
            async move {
                let answer = match *request.method() {
                    Method::CONNECT => {
                        tunnel_h2::open(&worker, &caller, request, stream).await
                    }
                    _ => answer(&worker, &caller, request, &door)
                        .await
                        .map(|body| body.on_stream(stream)),
                };
                Ok::<_, Infallible>(answer)
            }
            .boxed_local()
        })
    };
    let idle = limits.body_idle_timeout;
    let tasks = StreamTasks::new(Rc::clone(&streams), Rc::clone(&worker.wheel), idle);
    let connection =
        builder(&limits, tasks).serve_connection(TokioIo::new(sentry), service);
    let mut connection = pin!(connection);
    let mut vigil = Vigil::new(worker.wheel.limit(), &limits);
    let mut leaving = false;
    let ended = poll_fn(|cx| {
        let full = limits.requests_per_connection > 0
            && streams.opened() >= limits.requests_per_connection;
        if (worker.leaving.get() || full || vigil.is_over()) && !leaving {
            leaving = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        streams.release();
        let phase = Phase::of(&streams, &watch, leaving);
        match vigil.poll(cx, phase, &watch) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if phase.is_quiet() => {
                // Told first, so that a request on its way is not lost.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(()) if phase == Phase::Leaving => Poll::Ready(Ok(())),
            Poll::Ready(()) => {
                watch.give_up(cx, Fault::EnhanceYourCalm);
                Poll::Ready(Ok(()))
            }
        }
    })
    .await;
    if let Err(error) = &ended {
        tracing::debug!(%error, "an http/2 connection of a caller ended");
    }
    // The tasks of streams know the connection, too, and may be the last to see its end.
    let _closed = Closing(&watch);
    if ended.is_err() || watch.fault().is_some() {
        farewell(&worker, &watch).await;
    }
}

/// HTTP/2 with every bound set on purpose.
fn builder(
    limits: &Limits,
    tasks: StreamTasks,
) -> hyper::server::conn::http2::Builder<StreamTasks> {
    let mut builder = hyper::server::conn::http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.concurrent_streams)
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX))
        .header_table_size(HEADER_TABLE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(OWN_RESETS)
        .enable_connect_protocol()
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE);
    builder
}

/// Leaves the caller a moment to read why its connection is given up.
async fn farewell(worker: &Worker, watch: &Watch) {
    let limit = worker.wheel.limit();
    limit.set(LINGER);
    let mut room = LINGER_ROOM;
    poll_fn(|cx| match watch.poll_farewell(cx, &mut room) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => limit.poll(cx),
    })
    .await;
}

/// Closes a connection whoever else still knows it.
struct Closing<'a>(&'a Watch);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What a connection is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its first request.
    Fresh,
    /// The rest of a head.
    Head,
    /// The next request.
    Idle,
    /// The next request, by a caller who has not taken all of the last answer.
    Owing,
    /// Its end, after it was told that there is no next request.
    Leaving,
    /// Answers that are being made or taken.
    Busy,
    /// Its caller, to take what is ready for it.
    Stalled,
}

impl Phase {
    fn of(streams: &Streams, watch: &Watch, leaving: bool) -> Self {
        if watch.is_in_head() && streams.opened() > 0 {
            Self::Head
        } else if streams.is_stalled() || (streams.active() == 0 && watch.is_blocked()) {
            Self::Stalled
        } else if streams.active() > 0 {
            Self::Busy
        } else if leaving {
            Self::Leaving
        } else if streams.opened() == 0 {
            Self::Fresh
        } else if streams.is_owing() {
            Self::Owing
        } else {
            Self::Idle
        }
    }

    /// Whether nobody is kept waiting but us.
    fn is_quiet(self) -> bool {
        matches!(self, Self::Fresh | Self::Idle | Self::Owing)
    }
}

/// The one time limit of a connection, whatever it is waited for.
struct Vigil {
    limit: Limit,
    phase: Phase,
    /// Bytes taken when the caller began to be waited for.
    written: u64,
    header: Duration,
    keep_alive: Duration,
    slow: Duration,
    /// Bytes a second that a caller takes at least of what is ready for it.
    rate: u64,
    over: bool,
}

impl Vigil {
    fn new(limit: Limit, limits: &Limits) -> Self {
        limit.set(limits.header_timeout);
        Self {
            limit,
            phase: Phase::Fresh,
            written: 0,
            header: limits.header_timeout,
            keep_alive: limits.keep_alive_timeout,
            slow: match limits.min_rate {
                0 => limits.body_idle_timeout,
                _ => limits.body_idle_timeout.min(SLOW),
            },
            rate: limits.min_rate,
            over: false,
        }
    }

    /// The connection has had no request for as long as it may.
    fn is_over(&self) -> bool {
        self.over
    }

    /// Ready when the connection was waited for too long in this phase.
    fn poll(&mut self, cx: &mut Context<'_>, phase: Phase, watch: &Watch) -> Poll<()> {
        if phase != self.phase {
            self.phase = phase;
            self.written = watch.written();
            self.limit.set(match phase {
                Phase::Fresh | Phase::Head => self.header,
                Phase::Idle => self.keep_alive,
                Phase::Leaving => FAREWELL,
                Phase::Owing | Phase::Stalled => self.slow,
                Phase::Busy => Duration::ZERO,
            });
        }
        if self.limit.poll(cx).is_pending() {
            return Poll::Pending;
        }
        if phase == Phase::Stalled {
            let taken = watch.written() - self.written;
            self.written = watch.written();
            let least = self.rate * u64::from(self.slow.subsec_millis()) / 1000
                + self.rate * self.slow.as_secs();
            if taken >= least.max(1) {
                self.limit.set(self.slow);
                return self.limit.poll(cx);
            }
        }
        self.over = true;
        Poll::Ready(())
    }
}

async fn answer(
    worker: &Rc<Worker>,
    caller: &Caller,
    request: Request<Incoming>,
    door: &Door,
) -> Response<Outgoing> {
    let limits = &door.settings.limits;
    let kind = request.headers().get(http::header::CONTENT_TYPE);
    let calls = request.method() == Method::CONNECT
        || kind.is_some_and(|kind| is_grpc(kind.as_bytes()));
    let request = request.map(|incoming| {
        if hyper::body::Body::is_end_stream(&incoming) {
            return Body::Empty;
        }
        let limit = worker.wheel.limit();
        let idle = limits.body_idle_timeout;
        let body = StreamBody::new(incoming, limit, idle, None, limits.body_size);
        // A call and a tunnel may have nothing to say for a while.
        let body = if calls { body } else { body.paced(limits.min_rate) };
        Body::Stream(Box::new(body))
    });
    if let crate::wire::BodyLength::Exact(length) = request.body().length()
        && length > limits.body_size
    {
        let error = BodyError::TooLong(limits.body_size);
        let speech = Speech::of(request.uri().path(), request.headers());
        return worker.refuse(&ProxyError::Body(error), None, speech);
    }
    if request.headers().len() > limits.header_count {
        let error = ProxyError::Head(crate::wire::h1::HeadError::TooLarge);
        let speech = Speech::of(request.uri().path(), request.headers());
        return worker.refuse(&error, None, speech);
    }
    let answer = AssertUnwindSafe(worker.handle(caller, request)).catch_unwind().await;
    answer.unwrap_or_else(|_| {
        tracing::error!("a request panicked: this is a defect of switchback");
        worker.refuse(&ProxyError::Internal, None, Speech::PLAIN)
    })
}

const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 64 * 1024;
const FRAME: u32 = 16 * 1024;
/// What a caller may make us remember of its fields.
const HEADER_TABLE: u32 = 4096;
/// Streams that a caller may reset before they are looked at.
const PENDING_RESETS: usize = 32;
/// Streams that a caller may make us reset, by what it does wrong, in a connection's life.
const OWN_RESETS: usize = 200;
/// For a connection without streams to end by itself.
const FAREWELL: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_PATIENCE: Duration = Duration::from_secs(20);
/// Over how long the pace is measured of a caller for whom answers are ready.
const SLOW: Duration = Duration::from_secs(10);
/// How long, and how many bytes, a connection that was given up is still read.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_ROOM: usize = 256 * 1024;
