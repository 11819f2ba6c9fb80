//! One version asked once: an endpoint, a connection, the request, the head of the answer;
//! and tried again within the version where that harms nobody.

use std::borrow::Cow;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use http::StatusCode;
use http::header;
use tokio::time::Instant;

use super::ahead::wait_for_body;
use super::failure::Failure;
use super::fallback::class_of_head;
use super::grpc::{Call, is_answer, is_fault_of_server, is_in};
use super::hold::reclaim;
use super::hygiene::Asked;
use super::scan::Scan;
use super::worker::Worker;
use crate::clock;
use crate::measure::Flight;
use crate::upstream::Busy;
use crate::upstream::ConnectError;
use crate::upstream::Connections;
use crate::upstream::Protocol;
use crate::upstream::Serving;
use crate::vocab::policy::{FailureSet, RoutePolicy};
use crate::wire::Body;
use crate::wire::Headers;
use crate::wire::Keep;
use crate::wire::h1::{ClientConnection, Exchange, ExchangeError, Reason, Spans};

/// A version's answer as far as its head.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Headers,
    pub(super) reason: Option<Reason>,
    pub(super) body: Body,
    /// Counts on the endpoint until the body is over.
    pub(super) busy: Option<Busy>,
    /// The gRPC call that it answers.
    pub(super) call: Option<Call>,
    /// What it comes to is seen while it passes.
    pub(super) scan: Option<Box<Scan>>,
}

/// How one request is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    pub(super) policy: &'a RoutePolicy,
    /// It may be sent twice.
    pub(super) repeatable: bool,
    /// When all of it must be over.
    pub(super) total_until: Option<Instant>,
    /// It is a gRPC call.
    pub(super) call: Option<Call>,
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
                    Self::note(serving, pool, !answer.is_fault());
                    // A second try goes to a server that is left out only when the others
                    // fail, and then it is better than those.
                    if tried.is_some() && !answer.is_fault() {
                        pool.endpoint.readmit();
                    }
                    let wanted = left > 0
                        && answer.is_of(&retry.on)
                        && manner.repeatable
                        && !answer.headers.has(header::RETRY_AFTER);
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
                Self::note(serving, pool, !answer.is_fault());
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
        mut body: Body,
        flight: &mut Flight,
    ) -> Result<(Answer, Option<crate::wire::Copy>), Failure> {
        if asked.upgrade && serving.upstream.settings.protocol == Protocol::Http2 {
            flight.at(serving.place_of(pool));
            return Err(Failure::no_websocket(body));
        }
        let mut fresh = false;
        loop {
            flight.at(serving.place_of(pool));
            let copy = Keep::copy(&body);
            let asking = match by_http2(pool, asked).await {
                // Larger than the other, which is not to carry its size.
                Ok(true) => {
                    Box::pin(self.ask_http2(pool, asked, manner, body, flight)).await
                }
                Ok(false) => {
                    self.ask_http1(pool, asked, manner, (body, fresh), flight).await
                }
                Err(error) => Err(Failure::connect(&error, Some(body))),
            };
            let failure = match asking {
                Ok(answer) => return heard(answer, copy, manner, flight),
                Err(failure) if failure.stale && !fresh => failure,
                Err(failure) => return Err(failure.unless_late(manner.call)),
            };
            pool.beware();
            let Failure { body: Some(left), .. } = failure else { return Err(failure) };
            if !manner.repeatable && !failure.unsent {
                return Err(Failure { body: Some(left), ..failure });
            }
            (body, fresh) = (left, true);
        }
    }

    async fn ask_http1(
        &self,
        pool: &Rc<Connections>,
        asked: &Asked,
        manner: Manner<'_>,
        (mut body, fresh): (Body, bool),
        flight: &mut Flight,
    ) -> Result<Answer, Failure> {
        wait_for_body(pool, &mut body, flight, || self.wheel.limit()).await?;
        let busy = pool.occupy();
        let once = !manner.repeatable;
        let idle = if fresh { None } else { pool.take_idle(once) };
        let connection = match idle {
            Some(idle) => idle,
            // To open one takes more room than all the rest, and is seldom.
            None => match Box::pin(pool.http1(fresh, once)).await {
                Ok(connection) => connection,
                Err(error) => return Err(Failure::connect(&error, Some(body))),
            },
        };
        let mut exchange = self.send(pool, connection, asked, manner, body);
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
                if head.status == StatusCode::SWITCHING_PROTOCOLS
                    && !(asked.upgrade && is_websocket(&head.headers))
                {
                    return Err(Failure::protocol(None));
                }
                Ok(Answer {
                    status: head.status,
                    headers: head.headers,
                    reason: head.reason,
                    body: Body::Answer(exchange),
                    busy: Some(busy),
                    call: manner.call,
                    scan: None,
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

    fn send(
        &self,
        pool: &Connections,
        connection: ClientConnection,
        asked: &Asked,
        manner: Manner<'_>,
        body: Body,
    ) -> Box<Exchange> {
        let mut headers = manner.fields(&asked.headers);
        if !headers.has(header::HOST) {
            // Only HTTP/1.0 has none, and what is sent on is HTTP/1.1.
            headers.to_mut().insert(header::HOST, pool.authority.clone());
        }
        let request = (&asked.method, asked.target.as_str(), &*headers);
        let (limit, spans) = (self.wheel.limit(), manner.spans());
        Box::new(Exchange::start(connection, request, body, limit, spans))
    }

    fn note(serving: &Serving, pool: &Connections, good: bool) {
        serving.noted(good);
        if good {
            pool.endpoint.note_success();
        } else if serving.pools().len() > 1 {
            let _ejected = serving.upstream.note_failure(&pool.endpoint, clock::wall());
        }
    }
}

/// The head of an answer as far as its caller can do anything with it.
fn heard(
    answer: Answer,
    copy: Option<crate::wire::Copy>,
    manner: Manner<'_>,
    flight: &mut Flight,
) -> Result<(Answer, Option<crate::wire::Copy>), Failure> {
    flight.status(answer.status.as_u16());
    if manner.call.is_none() || is_answer(&answer) {
        return Ok((answer, copy));
    }
    Err(Failure::not_grpc(reclaim(answer.body, copy.as_ref(), manner.keep())))
}

impl Answer {
    /// Whether its head is one of these failures.
    pub(super) fn is_of(&self, set: &FailureSet) -> bool {
        set.has_status(self.status.as_u16()) || is_in(set, class_of_head(self).0)
    }

    /// Whether its head speaks against the server that gave it.
    fn is_fault(&self) -> bool {
        self.status.is_server_error() || is_fault_of_server(class_of_head(self).0)
    }
}

impl Manner<'_> {
    /// How much of a body is kept.
    pub(super) fn keep(&self) -> usize {
        self.policy.rescue.max_body
    }

    /// The fields for a server that is asked now.
    pub(super) fn fields<'a>(&self, headers: &'a Headers) -> Cow<'a, Headers> {
        match &self.call {
            Some(call) => call.fields(headers),
            None => Cow::Borrowed(headers),
        }
    }

    pub(super) fn spans(&self) -> Spans {
        let timeouts = &self.policy.timeouts;
        Spans {
            first_byte: timeouts.first_byte,
            idle: timeouts.idle,
            total_until: self.total_until,
        }
    }
}

/// Whether a 101 switches to the one protocol that was asked for.
fn is_websocket(headers: &Headers) -> bool {
    let only = headers.only(header::UPGRADE);
    only.is_some_and(|only| only.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Whether a request goes over HTTP/2, which a server over TLS may have to be asked first.
async fn by_http2(pool: &Rc<Connections>, asked: &Asked) -> Result<bool, ConnectError> {
    match pool.speaks_http2() {
        _ if asked.upgrade => Ok(false),
        Some(two) => Ok(two),
        None => pool.settle().await,
    }
}
