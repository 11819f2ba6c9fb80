//! `Outgoing`: the body of an answer on its way to the caller. It closes the flight at the
//! last byte, and feeds the copy for the cache.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, SizeHint};
use tokio::time::Instant;

use super::about::Subject;
use super::error::class_of;
use super::serve_h2::Stream;
use super::shadow::Later;
use crate::cache::Tee;
use crate::clock;
use crate::measure::Flight;
use crate::upstream::Busy;
use crate::vocab::outcome::Class;
use crate::wire::Body;
use crate::wire::BodyError;
use crate::wire::Frame;

/// The body of an answer on its way to the caller.
#[derive(Debug)]
pub(super) struct Outgoing {
    body: Body,
    flight: Option<Flight>,
    class: Class,
    grpc: bool,
    tee: Option<Tee>,
    busy: Option<Busy>,
    waiting_since: Option<Instant>,
    stream: Option<Stream>,
    later: Option<Box<Later>>,
    /// What was asked, for a sample of an answer that fails after a good head.
    subject: Option<Subject>,
}

impl Outgoing {
    /// A body of our own that belongs to no version.
    pub(super) fn own(body: Bytes) -> Self {
        Self {
            body: Body::Full(body),
            flight: None,
            class: Class::Success,
            grpc: false,
            tee: None,
            busy: None,
            waiting_since: None,
            stream: None,
            later: None,
            subject: None,
        }
    }

    /// A version's body. `class` is how the attempt ends if the body ends well; with `grpc`
    /// the status in the trailers decides.
    pub(super) fn of_version(
        body: Body,
        flight: Flight,
        (class, grpc): (Class, bool),
        tee: Option<Tee>,
        busy: Option<Busy>,
    ) -> Self {
        let mut this = Self {
            body,
            flight: Some(flight),
            class,
            grpc,
            tee,
            busy,
            waiting_since: None,
            stream: None,
            later: None,
            subject: None,
        };
        // An upgraded connection is in flight as long as its tunnel lasts.
        if this.body.is_over() && class != Class::Upgraded {
            this.end_well();
        }
        this
    }

    /// What was asked, should the rest of the answer fail.
    pub(super) fn about(&mut self, subject: impl FnOnce() -> Subject) {
        if self.flight.is_some() && !self.class.is_failure() {
            self.subject = Some(subject());
        }
    }

    /// The same body, on an HTTP/2 stream.
    pub(super) fn on_stream(mut self, stream: Stream) -> Self {
        self.stream = Some(stream);
        self
    }

    /// The same body, at whose end a copy of the request is sent.
    pub(super) fn then_copy(mut self, later: Later) -> Self {
        if self.body.is_over() {
            later.send();
        } else {
            self.later = Some(Box::new(later));
        }
        self
    }

    /// Takes the body and its flight out, for an upgraded connection.
    pub(super) fn into_tunnel(self) -> (Body, Option<Flight>, Option<Busy>) {
        (self.body, self.flight, self.busy)
    }

    fn end_well(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.sample(&flight, self.class);
            flight.close(self.class);
        }
        self.busy = None;
        self.copy_now();
        if let Some(tee) = self.tee.take()
            && self.class == Class::Success
            && let Err(why) = tee.finish()
        {
            tracing::debug!(%why, "an answer was not kept");
        }
    }

    fn end_badly(&mut self, error: &BodyError) {
        self.tee = None;
        if let Some(flight) = self.flight.take() {
            self.sample(&flight, class_of(error));
            flight.close(class_of(error));
        }
        self.busy = None;
        self.copy_now();
    }

    fn sample(&self, flight: &Flight, class: Class) {
        if class.is_failure()
            && let Some(subject) = &self.subject
        {
            let endpoint = self.busy.as_ref().map(|busy| busy.address().to_string());
            subject.sample(flight, class, endpoint);
        }
    }

    fn copy_now(&mut self) {
        if let Some(later) = self.later.take() {
            later.send();
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        self.tee = None;
        if self.grpc {
            self.class = grpc_class(trailers).unwrap_or(self.class);
        }
    }
}

/// The class that a `grpc-status` field gives.
pub(super) fn grpc_class(fields: &HeaderMap) -> Option<Class> {
    let status = fields.get("grpc-status")?.to_str().ok()?;
    Some(Class::of_grpc(status.trim().parse().unwrap_or(2)))
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        let this = self.get_mut();
        if this.flight.as_ref().is_some_and(Flight::is_cut) {
            this.end_badly(&BodyError::Cut);
            this.body = Body::Empty;
            return Poll::Ready(Some(Err(BodyError::Cut)));
        }
        let polled = this.body.poll_next(cx);
        if let Some(stream) = &mut this.stream {
            stream.asked(polled.is_pending());
        }
        if polled.is_pending() {
            if let Some(flight) = &mut this.flight
                && this.waiting_since.is_none()
            {
                let now = clock::now();
                this.waiting_since = Some(now);
                flight.waits(now);
            }
            return Poll::Pending;
        }
        if let (Some(since), Some(flight)) = (this.waiting_since.take(), &mut this.flight)
        {
            flight.waited(clock::now().saturating_duration_since(since));
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(bytes) = frame.data_ref() {
                    if let Some(tee) = &mut this.tee {
                        tee.push(bytes);
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    this.trailers(trailers);
                }
                if this.body.is_over() {
                    this.end_well();
                }
            }
            Poll::Ready(Some(Err(error))) => this.end_badly(error),
            Poll::Ready(None) => this.end_well(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
