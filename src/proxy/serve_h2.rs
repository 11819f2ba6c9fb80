//! HTTP/2 with a caller, by hyper, with the limits that it does not set.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body as HttpBody, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::accept::Door;
use super::caller::Caller;
use super::error::ProxyError;
use super::handler::Handler;
use super::hygiene::Head;
use super::outgoing::{Outgoing, Reply};
use super::reply::Speech;
use super::settings::Limits;
use super::streams::{StreamTasks, Streams};
use super::tunnel_h2;
use super::worker::Worker;
use crate::clock;
use crate::clock::{Group, Limit, Waits};
use crate::dialect::is_grpc;
use crate::wire::Body;
use crate::wire::BodyError;
use crate::wire::Io;
use crate::wire::Pace;
use crate::wire::StreamBody;
use crate::wire::Tails;
use crate::wire::{Fault, Sentry, Watch};

/// Serves a connection until one side ends it.
pub(super) async fn serve(
    worker: Rc<Worker>,
    io: Io,
    caller: Rc<Caller>,
    door: Rc<Door>,
) {
    let (limits, group) = (door.settings.limits, door.group);
    let (sentry, watch) = Sentry::post(io);
    let streams = Streams::new(watch.clone());
    let tails = Tails::new(worker.wheel.limit());
    let service = {
        let (worker, streams) = (Rc::clone(&worker), Rc::clone(&streams));
        let tails = tails.clone();
        service_fn(move |request: Request<Incoming>| {
            let (worker, caller) = (Rc::clone(&worker), Rc::clone(&caller));
            let (door, tails) = (Rc::clone(&door), tails.clone());
            let (stream, tardy) = (streams.open(), streams.tardy());
            async move {
                let answer = if *request.method() == Method::CONNECT {
                    tunnel_h2::open(&worker, &caller, request, stream).await
                } else {
                    let all = (&worker, &caller, &*door);
                    let mut answer = answer(all, request, tardy, tails).await;
                    answer.body.on_stream(stream);
                    answer
                };
                Ok::<_, Infallible>(response(answer))
            }
            .boxed_local()
        })
    };
    let tasks = StreamTasks::new(Rc::clone(&streams), Rc::clone(&worker.wheel), &limits);
    let connection =
        builder(&limits, tasks).serve_connection(TokioIo::new(sentry), service);
    let mut connection = pin!(connection);
    let mut vigil = Vigil::new(worker.wheel.limit(), group, &limits);
    let (mut leaving, mut stalled) = (false, false);
    let ended = poll_fn(|cx| {
        let full = limits.requests_per_connection > 0
            && streams.opened() >= limits.requests_per_connection;
        let done = full || vigil.is_over() || streams.is_spent();
        if (worker.leaving.get() || done) && !leaving {
            leaving = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        tails.poll(cx);
        streams.release(cx);
        let doomed = streams.is_doomed();
        let phase = Phase::of(&streams, &watch, leaving);
        match vigil.poll(cx, phase, &streams, &watch) {
            Poll::Pending if !doomed => Poll::Pending,
            Poll::Ready(()) if phase.is_quiet() && !doomed => {
                // Told first, so that a request on its way is not lost.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(()) if phase == Phase::Leaving && !doomed => Poll::Ready(Ok(())),
            Poll::Pending | Poll::Ready(()) => {
                stalled = doomed || phase == Phase::Stalled;
                watch.give_up(cx, Fault::EnhanceYourCalm);
                Poll::Ready(Ok(()))
            }
        }
    })
    .await;
    if let Err(error) = &ended {
        tracing::debug!(%error, "an http/2 connection of a caller ended");
    }
    let failed = ended.is_err() || watch.fault().is_some();
    part(&worker, &watch, failed, stalled || streams.is_spent()).await;
}

/// The end of a connection: with a word if it failed, and with a reset if its caller takes
/// nothing.
async fn part(worker: &Rc<Worker>, watch: &Watch, failed: bool, stalled: bool) {
    // The tasks of streams know the connection, too, and may be the last to see its end.
    let _closed = Closing(watch);
    let blocked = watch.is_blocked();
    if failed && !blocked {
        farewell(worker, watch).await;
    }
    if stalled || blocked {
        watch.reset_on_close();
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
    /// For whose sake the connection may be given up while it has no request.
    group: Group,
    phase: Phase,
    /// How the caller keeps up while all wait for it, and how much of answers it had taken
    /// when that was last looked at.
    pace: Pace,
    taken: u64,
    /// It is looked at closely how much is taken.
    closely: bool,
    /// Since when there has been no request, and the number of those before.
    quiet: (u64, Instant),
    header: Duration,
    keep_alive: Duration,
    slow: Duration,
    over: bool,
}

impl Vigil {
    fn new(limit: Limit, group: Group, limits: &Limits) -> Self {
        limit.set_spare(limits.header_timeout, group, Waits::Begin);
        Self {
            limit,
            group,
            phase: Phase::Fresh,
            pace: Pace::of_taking(limits.min_rate),
            taken: 0,
            closely: false,
            quiet: (0, clock::now()),
            header: limits.header_timeout,
            keep_alive: limits.keep_alive_timeout,
            slow: match limits.min_rate {
                0 => limits.body_idle_timeout,
                _ => limits.body_idle_timeout.min(Pace::PATIENCE),
            },
            over: false,
        }
    }

    /// The connection has had no request for as long as it may.
    fn is_over(&self) -> bool {
        self.over
    }

    /// Ready when the connection was waited for too long in this phase.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        phase: Phase,
        streams: &Streams,
        watch: &Watch,
    ) -> Poll<()> {
        let now_taken = watch.data_sent();
        let moved = now_taken - std::mem::replace(&mut self.taken, now_taken);
        if self.phase == Phase::Stalled && (moved > 0 || phase != Phase::Stalled) {
            self.pace.moved(moved);
            self.look_closely(watch, self.pace.is_slow());
        }
        let next = phase != self.phase;
        self.phase = phase;
        if phase == Phase::Stalled && (next || moved > 0) {
            self.look_again();
        } else if next {
            let span = match phase {
                Phase::Fresh | Phase::Head => self.header,
                Phase::Idle => self.left(streams.opened()),
                Phase::Leaving => FAREWELL,
                Phase::Owing | Phase::Stalled => self.slow,
                Phase::Busy => Duration::ZERO,
            };
            match phase {
                Phase::Fresh => self.limit.set_spare(span, self.group, Waits::Begin),
                Phase::Idle => self.limit.set_spare(span, self.group, Waits::Again),
                Phase::Head
                | Phase::Leaving
                | Phase::Owing
                | Phase::Stalled
                | Phase::Busy => self.limit.set(span),
            }
        }
        ready!(self.limit.poll(cx));
        if phase == Phase::Stalled && !self.pace.is_over(self.slow) {
            self.look_closely(watch, true);
            self.look_again();
            return self.limit.poll(cx);
        }
        self.over = true;
        Poll::Ready(())
    }

    fn look_again(&mut self) {
        let left = self.pace.wait(self.slow);
        self.limit.set(if left.is_zero() { LOOK } else { left.min(LOOK) });
    }

    fn look_closely(&mut self, watch: &Watch, closely: bool) {
        if std::mem::replace(&mut self.closely, closely) != closely {
            watch.take_closely(closely);
        }
    }

    /// How long the next request may be waited for, by the number of those before: what is
    /// no request does not begin it anew.
    fn left(&mut self, opened: u64) -> Duration {
        let now = clock::now();
        if self.quiet.0 != opened {
            self.quiet = (opened, now);
        }
        if self.keep_alive.is_zero() {
            return Duration::ZERO;
        }
        let waited = now.saturating_duration_since(self.quiet.1);
        self.keep_alive.saturating_sub(waited).max(Duration::from_millis(1))
    }
}

async fn answer(
    (worker, caller, door): (&Rc<Worker>, &Rc<Caller>, &Door),
    request: Request<Incoming>,
    tardy: Rc<Cell<bool>>,
    tails: Tails,
) -> Reply {
    let limits = &door.settings.limits;
    let (parts, incoming) = request.into_parts();
    let head = Head::from(parts);
    let kind = head.headers.get(header::CONTENT_TYPE);
    let calls = kind.is_some_and(|kind| is_grpc(kind.as_bytes()));
    let body = if HttpBody::is_end_stream(&incoming) {
        Body::Empty
    } else {
        let limit = worker.wheel.limit();
        let idle = limits.body_idle_timeout;
        let body = StreamBody::new(incoming, limit, idle, None, limits.body_size);
        let body = body.tailed(tails);
        // A call may have nothing to say for a while.
        let body = if calls { body } else { body.paced(limits.min_rate, tardy) };
        Body::Stream(Box::new(body))
    };
    let refused = if let crate::wire::BodyLength::Exact(length) = body.length()
        && length > limits.body_size
    {
        Some(ProxyError::Body(BodyError::TooLong(limits.body_size)))
    } else if head.headers.len() > limits.header_count {
        Some(ProxyError::Head(crate::wire::h1::HeadError::TooLarge))
    } else {
        None
    };
    if let Some(error) = refused {
        let speech = Speech::of(head.uri.path(), &head.headers);
        return worker.refuse(&error, None, speech);
    }
    let silent = calls || head.method == Method::HEAD;
    let mut answer = Handler::begin(worker, caller, head, body).answer().await;
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
    if !silent
        && HttpBody::is_end_stream(&answer.body)
        && !bodiless.contains(&answer.status)
    {
        // HTTP/2 says so without it; a caller may look for what HTTP/1.1 has to say.
        answer.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    }
    answer
}

/// The answer as hyper takes it.
fn response(answer: Reply) -> Response<Box<Outgoing>> {
    let mut response = Response::new(answer.body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.into();
    response
}

const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 64 * 1024;
const FRAME: u32 = 16 * 1024;
/// What a caller may make us remember of its fields.
const HEADER_TABLE: u32 = 4096;
/// Streams that a caller may reset before they are looked at.
const PENDING_RESETS: usize = 32;
/// Streams that a caller may make us reset in the life of a connection: what bounds them is a
/// rate (`wire::Sentry`), as long as the caller takes what we say.
const OWN_RESETS: usize = 2_000;
/// For a connection without streams to end by itself.
const FAREWELL: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at one.
const LOOK: Duration = Duration::from_secs(1);
/// How long, and how many bytes, a connection that was given up is still read.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_ROOM: usize = 256 * 1024;
