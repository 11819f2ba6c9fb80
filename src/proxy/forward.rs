//! One version asked once: an endpoint, a connection, the request, the head of the answer;
//! and tried again within the version where that harms nobody.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header::{self, HeaderMap};
use http::{Method, Request, StatusCode, Uri, Version};
use tokio::time::Instant;

use super::failure::Failure;
use super::hygiene::Asked;
use super::worker::Worker;
use crate::clock;
use crate::measure::Flight;
use crate::upstream::Busy;
use crate::upstream::ConnectError;
use crate::upstream::Connections;
use crate::upstream::Protocol;
use crate::upstream::Serving;
use crate::vocab::policy::RoutePolicy;
use crate::wire::Body;
use crate::wire::Keep;
use crate::wire::Lender;
use crate::wire::StreamBody;
use crate::wire::h1::{Exchange, ExchangeError, Reason, Spans};

/// A version's answer as far as its head.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) reason: Option<Reason>,
    pub(super) body: Body,
    /// Counts on the endpoint until the body is over.
    pub(super) busy: Option<Busy>,
}

/// How one request is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    pub(super) policy: &'a RoutePolicy,
    /// It may be sent twice.
    pub(super) repeatable: bool,
    /// When all of it must be over.
    pub(super) total_until: Option<Instant>,
}

impl Worker {
    /// Asks a version, and again within it where its policy allows.
    pub(super) async fn ask(
        &self,
        serving: &Serving,
        asked: &Asked,
        manner: Manner<'_>,
        mut body: Body,
        flight: &mut Flight,
    ) -> Result<Answer, Failure> {
        let retry = &manner.policy.retry;
        serving.earn_retry(retry.budget);
        let mut left = retry.attempts;
        let mut tried = None;
        loop {
            let Some(pool) = serving.choose(tried, |bound| self.draw_below(bound)) else {
                return Err(Failure::connect(&ConnectError::Nowhere, Some(body)));
            };
            let outcome =
                self.ask_endpoint((serving, pool), asked, manner, body, flight).await;
            let again = match outcome {
                Ok((answer, copy)) => {
                    let status = answer.status.as_u16();
                    let failed = answer.status.is_server_error();
                    Self::note(serving, pool, !failed);
                    let wanted =
                        left > 0 && retry.on.has_status(status) && manner.repeatable;
                    match copy
                        .filter(|_| wanted)
                        .and_then(|copy| copy.again(manner.keep()))
                    {
                        Some(again) if serving.spend_retry() => again,
                        Some(_) | None => return Ok(answer),
                    }
                }
                Err(failure) => {
                    if failure.class.is_failure() {
                        Self::note(serving, pool, false);
                    }
                    let may =
                        failure.is_of(&retry.on) && (failure.unsent || manner.repeatable);
                    match failure {
                        Failure { body: Some(again), .. }
                            if may && left > 0 && serving.spend_retry() =>
                        {
                            again
                        }
                        failure => return Err(failure),
                    }
                }
            };
            left -= 1;
            tried = Some(pool.endpoint.id);
            flight.retried();
            body = again;
        }
    }

    /// Asks a version once, whatever its policy would try again.
    pub(super) async fn ask_once(
        &self,
        serving: &Serving,
        asked: &Asked,
        manner: Manner<'_>,
        body: Body,
        flight: &mut Flight,
    ) -> Result<Answer, Failure> {
        let Some(pool) = serving.choose(None, |bound| self.draw_below(bound)) else {
            return Err(Failure::connect(&ConnectError::Nowhere, Some(body)));
        };
        let outcome =
            self.ask_endpoint((serving, pool), asked, manner, body, flight).await;
        match &outcome {
            Ok((answer, _)) => {
                Self::note(serving, pool, !answer.status.is_server_error());
            }
            Err(failure) if failure.class.is_failure() => {
                Self::note(serving, pool, false);
            }
            Err(_) => {}
        }
        outcome.map(|(answer, _)| answer)
    }

    /// Asks one endpoint. A used connection that dies without a byte of an answer is
    /// nobody's fault: the request goes on a fresh one, if it may be sent twice.
    async fn ask_endpoint(
        &self,
        (serving, pool): (&Serving, &Rc<Connections>),
        asked: &Asked,
        manner: Manner<'_>,
        body: Body,
        flight: &mut Flight,
    ) -> Result<(Answer, Option<crate::wire::Copy>), Failure> {
        let place = serving.place_of(pool);
        flight.at(place);
        let copy = Keep::copy(&body);
        let two = serving.upstream.settings.protocol == Protocol::Http2 && !asked.upgrade;
        let first = if two {
            self.ask_http2(pool, asked, manner, body, flight).await
        } else {
            self.ask_http1(pool, asked, manner, (body, false), flight).await
        };
        let failure = match first {
            Ok(answer) => {
                flight.status(answer.status.as_u16());
                return Ok((answer, copy));
            }
            Err(failure) if failure.stale => failure,
            Err(failure) => return Err(failure),
        };
        pool.beware();
        let Failure { body: Some(body), .. } = failure else { return Err(failure) };
        if !manner.repeatable {
            return Err(Failure { body: Some(body), ..failure });
        }
        flight.at(place);
        let copy = Keep::copy(&body);
        let again = if two {
            self.ask_http2(pool, asked, manner, body, flight).await
        } else {
            self.ask_http1(pool, asked, manner, (body, true), flight).await
        };
        again.map(|answer| (answer, copy))
    }

    async fn ask_http1(
        &self,
        pool: &Rc<Connections>,
        asked: &Asked,
        manner: Manner<'_>,
        (body, fresh): (Body, bool),
        flight: &mut Flight,
    ) -> Result<Answer, Failure> {
        let busy = pool.occupy();
        let connection = match pool.http1(fresh, !manner.repeatable).await {
            Ok(connection) => connection,
            Err(error) => return Err(Failure::connect(&error, Some(body))),
        };
        let spans = manner.spans();
        let request = (&asked.method, asked.target.as_str(), &asked.headers);
        let mut exchange = Box::new(Exchange::start(
            connection,
            request,
            body,
            self.wheel.limit(),
            spans,
        ));
        let head = poll_fn(|cx| match exchange.poll_head(cx) {
            Poll::Pending if flight.is_cut() => Poll::Ready(None),
            Poll::Pending => {
                if exchange.is_awaited() {
                    flight.uploading(clock::now());
                } else if let Some(at) = exchange.sent_late() {
                    flight.sent(at);
                }
                Poll::Pending
            }
            Poll::Ready(head) => Poll::Ready(Some(head)),
        })
        .await;
        if exchange.is_heard() {
            flight.heard();
        }
        match head {
            Some(Ok(head)) => {
                if let Some(at) = exchange.sent_late() {
                    flight.sent(at);
                }
                flight.answered(clock::now());
                if head.status == StatusCode::SWITCHING_PROTOCOLS && !asked.upgrade {
                    return Err(Failure::protocol(None));
                }
                Ok(Answer {
                    status: head.status,
                    headers: head.headers,
                    reason: head.reason,
                    body: Body::Answer(exchange),
                    busy: Some(busy),
                })
            }
            Some(Err(error)) => {
                let silent = matches!(error, ExchangeError::Silent(_));
                let stale = silent && exchange.is_reused() && !exchange.is_heard();
                let body = Keep::again(exchange.take_body());
                Err(Failure::exchange(error, body, stale))
            }
            None => Err(Failure::cut(Keep::again(exchange.take_body()))),
        }
    }

    async fn ask_http2(
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
        let request = http2_request(asked, pool, lent);
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
        let again = || lender.take_back().and_then(Keep::again);
        match answer {
            Ok(Ok(answer)) => {
                flight.answered(clock::now());
                let (mut parts, incoming) = answer.into_parts();
                if asked.method != Method::HEAD
                    && parts.status != StatusCode::NOT_MODIFIED
                {
                    // Whoever writes the head to the caller says the body's length.
                    parts.headers.remove(header::CONTENT_LENGTH);
                }
                let total = spans.total_until;
                let body = StreamBody::new(incoming, timer, spans.idle, total, u64::MAX);
                Ok(Answer {
                    status: parts.status,
                    headers: parts.headers,
                    reason: None,
                    body: Body::Stream(Box::new(body)),
                    busy: Some(busy),
                })
            }
            Ok(Err(error)) => {
                if let Some(failed) = lender.failure() {
                    return Err(Failure::caller(failed));
                }
                let gone = error.is_canceled() || error.is_closed();
                let silent = ExchangeError::Silent(None);
                Err(Failure::exchange(silent, again(), reused && gone))
            }
            Err(Some(late)) => {
                // Nothing says that the connection still lives.
                pool.forget_http2();
                Err(Failure::exchange(late, again(), false))
            }
            Err(None) => Err(Failure::cut(again())),
        }
    }

    fn note(serving: &Serving, pool: &Connections, good: bool) {
        if good {
            pool.endpoint.note_success();
        } else if serving.pools().len() > 1 {
            let _ejected = serving.upstream.note_failure(&pool.endpoint, clock::wall());
        }
    }
}

impl Manner<'_> {
    /// How much of a body is kept.
    pub(super) fn keep(&self) -> usize {
        self.policy.rescue.max_body
    }

    fn spans(&self) -> Spans {
        let timeouts = &self.policy.timeouts;
        Spans {
            first_byte: timeouts.first_byte,
            idle: timeouts.idle,
            total_until: self.total_until,
        }
    }
}

fn http2_request(
    asked: &Asked,
    pool: &Connections,
    body: Body,
) -> Result<Request<Body>, ()> {
    let mut headers = asked.headers.clone();
    let host = headers.remove(header::HOST).unwrap_or_else(|| pool.authority.clone());
    let uri = Uri::builder()
        .scheme("http")
        .authority(host.as_bytes())
        .path_and_query(asked.target.clone())
        .build()
        .map_err(drop)?;
    let mut request = Request::new(body);
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    if let crate::wire::BodyLength::Exact(length) = request.body().length() {
        request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(request)
}
