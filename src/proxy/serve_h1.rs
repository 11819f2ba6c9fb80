//! HTTP/1.1 with a caller: one request after the other on one connection.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use http::{Method, StatusCode, Version};

use super::accept::Door;
use super::caller::Caller;
use super::error::ProxyError;
use super::handler::Handler;
use super::hygiene::Head;
use super::outgoing::{Outgoing, Reply};
use super::reply::Speech;
use super::tunnel;
use super::worker::Worker;
use crate::wire::Body;
use crate::wire::Io;
use crate::wire::h1;
use crate::wire::h1::{HeadLimits, RequestHead, ServerConnection, ServerLimits, Turn};

/// Serves a connection until one side ends it.
pub(super) async fn serve(worker: &Rc<Worker>, io: Io, caller: &Rc<Caller>, door: &Door) {
    let limits = &door.settings.limits;
    let connection = connection(worker, io, door);
    let mut served = 0;
    loop {
        let head = match connection.next().await {
            Turn::Request(head) => head,
            Turn::Over => return,
            Turn::Refused(error) => {
                let error = ProxyError::Head(error);
                return Box::pin(refuse(worker, &connection, &error)).await;
            }
            Turn::Late => {
                let error = ProxyError::Late;
                return Box::pin(refuse(worker, &connection, &error)).await;
            }
        };
        served += 1;
        let most = limits.requests_per_connection;
        let more = head.keep_alive && (most == 0 || served < most);
        let (head_only, version) = (head.method == Method::HEAD, head.version);
        let too_long = declared_too_long(&head, limits.body_size);
        let Some(mut answer) = (match too_long {
            true => {
                let _unread = connection.body(&head, true);
                let error = crate::wire::BodyError::TooLong(limits.body_size);
                let speech = Speech::of(head.uri.path(), &head.headers);
                Some(worker.refuse(&ProxyError::Body(error), None, speech))
            }
            false => answer(worker, caller, &connection, *head).await,
        }) else {
            return;
        };
        if answer.status == StatusCode::SWITCHING_PROTOCOLS {
            return Box::pin(tunnel::run(worker, connection, answer)).await;
        }
        let keep_alive = more && !too_long && !answer.last && !worker.leaving.get();
        let out = h1::Outgoing { head_only, version, keep_alive };
        let wanted = Outgoing::is_wanted_elsewhere;
        let Ok(keep_alive) = connection.answer(&mut answer, out, &wanted).await else {
            return;
        };
        drop(answer);
        if !keep_alive || !connection.finish().await {
            return Box::pin(connection.close()).await;
        }
    }
}

/// Answers a connection with an error, whatever it says, and ends it.
pub(super) async fn turn_away(worker: &Worker, io: Io, door: &Door, error: &ProxyError) {
    refuse(worker, &connection(worker, io, door), error).await;
}

fn connection(worker: &Worker, io: Io, door: &Door) -> ServerConnection {
    let limits = &door.settings.limits;
    let bounds = ServerLimits {
        head: HeadLimits { size: limits.header_size, count: limits.header_count },
        head_time: limits.header_timeout,
        body_size: limits.body_size,
        body_idle: limits.body_idle_timeout,
        keep_alive: limits.keep_alive_timeout,
        min_rate: limits.min_rate,
        group: door.group,
    };
    let closing = Rc::clone(&worker.closing);
    ServerConnection::new(io, bounds, worker.wheel.limit(), closing)
}

/// The answer to one request; `None` when the caller has hung up.
async fn answer(
    worker: &Rc<Worker>,
    caller: &Rc<Caller>,
    connection: &ServerConnection,
    head: RequestHead,
) -> Option<Reply> {
    let expects =
        head.version == Version::HTTP_11 && head.headers.has(http::header::EXPECT);
    let body = Body::Request(connection.body(&head, expects));
    let RequestHead { method, uri, version, headers, .. } = head;
    let head = Head { method, uri, version, headers };
    let mut handler = Handler::begin(worker, caller, head, body);
    poll_fn(|cx| match handler.poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => connection.poll_gone(cx).map(|()| None),
    })
    .await
}

fn declared_too_long(head: &RequestHead, most: u64) -> bool {
    matches!(head.length, crate::wire::BodyLength::Exact(length) if length > most)
}

async fn refuse(worker: &Worker, connection: &ServerConnection, error: &ProxyError) {
    let mut answer = worker.refuse(error, None, Speech::PLAIN);
    let out =
        h1::Outgoing { head_only: false, version: Version::HTTP_11, keep_alive: false };
    if connection.answer(&mut answer, out, &|_| false).await.is_ok() {
        connection.close().await;
    }
}
