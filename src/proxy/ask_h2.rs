//! One request to a server over HTTP/2, by hyper: how its body is lent, and what it means
//! that there is no head of an answer. Apart from `forward`, which does not care how.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;

use super::failure::Failure;
use super::forward::{Answer, Manner};
use super::hygiene::Asked;
use super::worker::Worker;
use crate::clock;
use crate::clock::Limit;
use crate::measure::Flight;
use crate::upstream::Busy;
use crate::upstream::Connections;
use crate::wire::Body;
use crate::wire::Headers;
use crate::wire::Keep;
use crate::wire::Lender;
use crate::wire::StreamBody;
use crate::wire::StreamFault;
use crate::wire::h1::ExchangeError;

impl Worker {
    /// Asks a server on its HTTP/2 connection.
    pub(super) async fn ask_http2(
        &self,
        pool: &Rc<Connections>,
        asked: &Asked,
        manner: Manner<'_>,
        body: Body,
        flight: &mut Flight,
    ) -> Result<Answer, Failure> {
        let busy = pool.occupy();
        let (mut send, reused) = match pool.http2().await {
            Ok(ready) => ready,
            Err(error) => return Err(Failure::connect(&error, Some(body))),
        };
        // hyper takes the body for good; what it has not read comes back by the lender.
        let (lender, lent) = Lender::lend(body);
        let headers = manner.fields(&asked.headers).into_owned();
        let request = http2_request(asked, headers, pool, lent);
        let request = request.map_err(|()| Failure::protocol(lender.take_back()))?;
        let timer = self.wheel.limit();
        let spans = manner.spans();
        spans.arm(&timer, Duration::ZERO);
        let mut sent = false;
        let mut sending = pin!(send.send_request(request));
        let answer = poll_fn(|cx| {
            if !sent && let Poll::Ready(late) = lender.poll_over(cx) {
                sent = true;
                if let Some(at) = late {
                    flight.sent(at);
                }
                spans.arm(&timer, spans.first_byte);
            } else if !sent && lender.is_awaited() {
                flight.uploading(clock::now());
            }
            match sending.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Ok(answer)),
                Poll::Pending if flight.is_cut() => Poll::Ready(Err(None)),
                Poll::Pending => timer.poll(cx).map(|()| Err(Some(spans.late()))),
            }
        })
        .await;
        match answer {
            Ok(Ok(answer)) => {
                flight.answered(clock::now());
                Ok(answer_of(answer, asked, manner, (lender, timer), busy))
            }
            Ok(Err(error)) => Err(failure_of(&error, reused, pool, &lender)),
            Err(Some(late)) => {
                if !matches!(late, ExchangeError::Total) {
                    // Nothing says that the connection still lives.
                    pool.forget_http2();
                }
                Err(Failure::exchange(late, again(&lender), false))
            }
            Err(None) => Err(Failure::cut(again(&lender))),
        }
    }
}

fn answer_of(
    answer: Response<Incoming>,
    asked: &Asked,
    manner: Manner<'_>,
    (lender, timer): (Lender, Limit),
    busy: Busy,
) -> Answer {
    let (parts, incoming) = answer.into_parts();
    let mut headers = Headers::from(parts.headers);
    // HTTP/2 lets a quotation mark in a name through, which no grammar has.
    headers.retain(|name| !name.as_str().contains('"'));
    if asked.method != Method::HEAD && parts.status != StatusCode::NOT_MODIFIED {
        // Whoever writes the head to the caller says the body's length.
        headers.remove(header::CONTENT_LENGTH);
    }
    if manner.call.is_some() {
        // Both sides may speak for as long as they like.
        lender.unhurried();
    }
    let spans = manner.spans();
    let body = StreamBody::new(incoming, timer, spans.idle, spans.total_until, u64::MAX);
    let body = body.answering(lender);
    let bodiless = asked.method == Method::HEAD
        || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    // The end of such an answer may come in a frame of its own, for which no caller waits.
    let is_over = bodiless && manner.call.is_none();
    Answer {
        status: parts.status,
        headers,
        reason: None,
        body: if is_over { Body::Empty } else { Body::Stream(Box::new(body)) },
        busy: Some(busy),
        call: manner.call,
        scan: None,
    }
}

fn failure_of(
    error: &hyper::Error,
    reused: bool,
    pool: &Connections,
    lender: &Lender,
) -> Failure {
    if let Some(failed) = lender.failure() {
        return Failure::caller(failed);
    }
    if pool.is_refused() {
        return Failure::refused(again(lender));
    }
    let fault = StreamFault::of(error);
    if fault.malformed {
        return Failure::protocol(again(lender));
    }
    // hyper says so of what it has not sent.
    let gone = error.is_canceled() || error.is_closed();
    let unprocessed = gone || fault.unprocessed;
    let stale = reused && unprocessed && fault.code != Some(REFUSED_STREAM);
    let fault = StreamFault { unprocessed, ..fault };
    Failure { stale, ..Failure::stream(fault, again(lender)) }
}

/// The request's body from its beginning, if all that was read of it has been kept.
fn again(lender: &Lender) -> Option<Body> {
    lender.take_back().and_then(Keep::again)
}

fn http2_request(
    asked: &Asked,
    mut headers: Headers,
    pool: &Connections,
    body: Body,
) -> Result<Request<Body>, ()> {
    let host = headers.remove(header::HOST).unwrap_or_else(|| pool.authority.clone());
    let uri = Uri::builder()
        .scheme(pool.scheme())
        .authority(host.as_bytes())
        .path_and_query(asked.target.clone())
        .build()
        .map_err(drop)?;
    let mut request = Request::new(body);
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers.into();
    if let crate::wire::BodyLength::Exact(length) = request.body().length() {
        request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(request)
}

/// The code of a reset that says that the request was not looked at.
const REFUSED_STREAM: u32 = 7;
