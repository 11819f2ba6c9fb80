//! A WebSocket on a stream of HTTP/2 (RFC 8441): `CONNECT` with `:protocol: websocket`. To
//! the version it is the handshake of HTTP/1.1, with a key of ours and its answer checked.

use std::rc::Rc;

use bytes::BytesMut;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;

use super::caller::Caller;
use super::error::ProxyError;
use super::handler::Handler;
use super::hygiene::{Head, join_cookies};
use super::outgoing::{Outgoing, Reply};
use super::reply::{Speech, Stamps, reply};
use super::streams::Stream;
use super::tunnel::{Far, pass};
use super::worker::Worker;
use crate::tasks;
use crate::vocab::outcome::Class;
use crate::wire::Body;
use crate::wire::websocket;

/// Answers a `CONNECT`: with a tunnel if it asks for a WebSocket and the version agrees.
pub(super) async fn open(
    worker: &Rc<Worker>,
    caller: &Rc<Caller>,
    mut request: Request<Incoming>,
    stream: Stream,
) -> Reply {
    let protocol = request.extensions().get::<Protocol>();
    let wanted = protocol.is_some_and(|it| it.as_str().eq_ignore_ascii_case("websocket"));
    let upgrade = hyper::upgrade::on(&mut request);
    let high = u128::from(worker.draw()) << 64;
    let key = websocket::key(high | u128::from(worker.draw()));
    let mut head = Head::from(request.into_parts().0);
    if wanted {
        shake_hands(&mut head, &key);
    }
    let handler = Handler::begin(worker, caller, head, Body::Empty);
    let mut answer = handler.answer().await;
    if !wanted || !is_agreement(answer.status) {
        answer.body.on_stream(stream);
        return answer;
    }
    let Reply { status, mut headers, body, .. } = answer;
    let agreed = status == StatusCode::SWITCHING_PROTOCOLS
        && headers.get(ACCEPT).map(HeaderValue::as_bytes)
            == Some(websocket::accept(&key).as_bytes());
    if !agreed {
        // To refuse is lawful, and to agree wrongly is not.
        let class = match status {
            StatusCode::SWITCHING_PROTOCOLS => Class::ProtocolError,
            status => Class::of_status(status.as_u16()),
        };
        if let (_, Some(flight), _) = body.into_tunnel() {
            flight.close(class);
        }
        return refused(stream);
    }
    match Far::take(body) {
        Some(far) => {
            let tunnel = Rc::clone(worker);
            let _running = tasks::local("http2 websocket", async move {
                let _stream = stream;
                match upgrade.await {
                    Ok(near) => {
                        pass(&tunnel, (TokioIo::new(near), BytesMut::new()), far).await;
                    }
                    Err(error) => tracing::debug!(%error, "a tunnel did not come about"),
                }
            });
            for name in [header::CONNECTION, header::UPGRADE, ACCEPT] {
                headers.remove(name);
            }
            let (status, body) = (StatusCode::OK, Outgoing::own(bytes::Bytes::new()));
            Reply { status, reason: None, headers, body, last: false }
        }
        None => refused(stream),
    }
}

/// The answer where the version did not agree to the WebSocket.
fn refused(stream: Stream) -> Reply {
    let said = "the server did not agree to the WebSocket";
    let error = ProxyError::Upstream(Class::ProtocolError, said);
    let stamps = Stamps::none(None, Speech::PLAIN);
    let mut answer = reply(&error, &stamps);
    answer.body.on_stream(stream);
    answer
}

/// What would make a tunnel for the caller: a version that answers so without one has not
/// understood the request.
fn is_agreement(status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || status.is_success()
}

/// Makes it the request that HTTP/1.1 has for the same.
fn shake_hands(head: &mut Head, key: &str) {
    (head.method, head.version) = (Method::GET, Version::HTTP_11);
    let host = head.uri.authority().map(http::uri::Authority::as_str);
    let host = host.and_then(|host| HeaderValue::from_str(host).ok());
    let headers = &mut head.headers;
    if let Some(host) = host
        && !headers.has(header::HOST)
    {
        headers.insert(header::HOST, host);
    }
    join_cookies(headers);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if !headers.has(VERSION) {
        headers.insert(VERSION, HeaderValue::from_static("13"));
    }
    if let Ok(key) = HeaderValue::from_str(key) {
        headers.insert(KEY, key);
    }
}

const KEY: HeaderName = header::SEC_WEBSOCKET_KEY;
const ACCEPT: HeaderName = header::SEC_WEBSOCKET_ACCEPT;
const VERSION: HeaderName = header::SEC_WEBSOCKET_VERSION;
