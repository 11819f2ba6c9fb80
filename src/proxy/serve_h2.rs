//! HTTP/2 with a caller, by hyper, with the time limits that it does not set.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::accept::Door;
use super::caller::Caller;
use super::error::ProxyError;
use super::outgoing::Outgoing;
use super::worker::Worker;
use crate::upstream::LocalExecutor;
use crate::wire::Body;
use crate::wire::BodyError;
use crate::wire::Io;
use crate::wire::StreamBody;

/// Serves a connection until one side ends it.
pub(super) async fn serve(worker: Rc<Worker>, io: Io, caller: Caller, door: Rc<Door>) {
    let limits = door.settings.limits;
    let streams = Rc::new(Streams::default());
    let service = {
        let (worker, streams) = (Rc::clone(&worker), Rc::clone(&streams));
        let caller = Rc::new(caller);
        service_fn(move |request: Request<Incoming>| {
            let (worker, caller) = (Rc::clone(&worker), Rc::clone(&caller));
            let (door, stream) = (Rc::clone(&door), Stream::open(&streams));
            async move {
                let answer = answer(&worker, &caller, request, &door).await;
                Ok::<_, Infallible>(answer.map(|body| body.on_stream(stream)))
            }
            .boxed_local()
        })
    };
    let connection = hyper::server::conn::http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.concurrent_streams)
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(16 * 1024)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(32)
        .max_local_error_reset_streams(64)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let idle = worker.wheel.limit();
    idle.set(limits.header_timeout);
    let mut leaving = false;
    let ended = poll_fn(|cx| {
        if worker.leaving.get() && !leaving {
            leaving = true;
            connection.as_mut().graceful_shutdown();
            if streams.active.get() == 0 {
                // A peer that says nothing any more must not hold up the end.
                idle.set(FAREWELL);
            }
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        let active = streams.active.get() > 0;
        let stalled = active && streams.waiting.get() == 0;
        if stalled && streams.moved.take() {
            idle.set(limits.body_idle_timeout);
        } else if active && !stalled {
            idle.set(limits.keep_alive_timeout);
        }
        match idle.poll(cx) {
            // The caller reads nothing of what is ready for it.
            Poll::Ready(()) if stalled => Poll::Ready(Ok(())),
            Poll::Ready(()) if !active && leaving => Poll::Ready(Ok(())),
            Poll::Ready(()) => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
                idle.set(limits.header_timeout);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "an http/2 connection of a caller ended");
    }
}

async fn answer(
    worker: &Rc<Worker>,
    caller: &Caller,
    request: Request<Incoming>,
    door: &Door,
) -> Response<Outgoing> {
    let limits = &door.settings.limits;
    let request = request.map(|incoming| {
        if hyper::body::Body::is_end_stream(&incoming) {
            return Body::Empty;
        }
        let limit = worker.wheel.limit();
        let idle = limits.body_idle_timeout;
        Body::Stream(Box::new(StreamBody::new(
            incoming,
            limit,
            idle,
            None,
            limits.body_size,
        )))
    });
    if let crate::wire::BodyLength::Exact(length) = request.body().length()
        && length > limits.body_size
    {
        let error = BodyError::TooLong(limits.body_size);
        return worker.refuse(&ProxyError::Body(error), None);
    }
    if request.headers().len() > limits.header_count {
        let error = ProxyError::Head(crate::wire::h1::HeadError::TooLarge);
        return worker.refuse(&error, None);
    }
    let answer = AssertUnwindSafe(worker.handle(caller, request)).catch_unwind().await;
    answer.unwrap_or_else(|_| {
        tracing::error!("a request panicked: this is a defect of switchback");
        worker.refuse(&ProxyError::Internal, None)
    })
}

/// The streams of a connection.
#[derive(Debug, Default)]
struct Streams {
    active: Cell<usize>,
    /// Those whose next piece is not here yet: it is not the caller who keeps them.
    waiting: Cell<usize>,
    /// Whether the caller has taken anything since this was last looked at.
    moved: Cell<bool>,
}

/// One stream, from its request to the last byte of its answer.
#[derive(Debug)]
pub(super) struct Stream {
    all: Rc<Streams>,
    waiting: bool,
}

impl Stream {
    fn open(all: &Rc<Streams>) -> Self {
        all.active.set(all.active.get() + 1);
        all.waiting.set(all.waiting.get() + 1);
        Self { all: Rc::clone(all), waiting: true }
    }

    /// The answer was asked for its next piece, and it is here or not.
    pub(super) fn asked(&mut self, waiting: bool) {
        self.all.moved.set(true);
        if waiting != self.waiting {
            self.waiting = waiting;
            let others = self.all.waiting.get();
            self.all.waiting.set(if waiting {
                others + 1
            } else {
                others.saturating_sub(1)
            });
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.asked(false);
        self.all.active.set(self.all.active.get().saturating_sub(1));
    }
}

const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 64 * 1024;
/// For a connection without streams to end by itself.
const FAREWELL: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_PATIENCE: Duration = Duration::from_secs(20);
