//! `Outgoing`: the body of an answer on its way to the caller. It closes the flight at the
//! last byte, and shows what passes to the scan and to the copy for the cache. A stream that
//! its version cannot end is ended here, with an event that says so.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, SizeHint};
use tokio::time::Instant;

use super::about::Subject;
use super::error::class_of;
use super::grpc::{Call, GRPC_STATUS, ending, grpc_class};
use super::scan::Scan;
use super::shadow::Later;
use super::streams::Stream;
use crate::cache::Tee;
use crate::clock;
use crate::measure::Flight;
use crate::upstream::Busy;
use crate::vocab::outcome::Class;
use crate::wire::Body;
use crate::wire::BodyError;
use crate::wire::Frame;
use crate::wire::h1;

/// The body of an answer on its way to the caller.
#[derive(Debug)]
pub(super) struct Outgoing {
    body: Body,
    flight: Option<Flight>,
    class: Class,
    /// The call whose status is still to come.
    call: Option<Call>,
    tee: Option<Box<Tee>>,
    busy: Option<Busy>,
    scan: Option<Box<Scan>>,
    waiting_since: Option<Instant>,
    stream: Option<Stream>,
    /// What an HTTP/2 stream has no room for yet.
    rest: Bytes,
    later: Option<Box<Later>>,
    /// What was asked, for a sample of an answer that fails after a good head.
    subject: Option<Subject>,
}

/// An answer on its way to the caller.
pub(super) type Reply = h1::Reply<Outgoing>;

impl Outgoing {
    /// A body of our own that belongs to no version.
    pub(super) fn own(body: Bytes) -> Box<Self> {
        Box::new(Self {
            body: Body::Full(body),
            flight: None,
            class: Class::Success,
            call: None,
            tee: None,
            busy: None,
            scan: None,
            waiting_since: None,
            stream: None,
            rest: Bytes::new(),
            later: None,
            subject: None,
        })
    }

    /// A version's body. `class` is how the attempt ends if the body ends well; with a `call`
    /// the status in the trailers decides, and what a scan sees decides with it.
    pub(super) fn of_version(
        (body, scan): (Body, Option<Box<Scan>>),
        flight: Flight,
        (class, call): (Class, Option<Call>),
        tee: Option<Box<Tee>>,
        busy: Option<Busy>,
    ) -> Self {
        let mut this = Self {
            body,
            flight: Some(flight),
            class,
            call,
            tee,
            busy,
            scan,
            waiting_since: None,
            stream: None,
            rest: Bytes::new(),
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

    /// It goes out on an HTTP/2 stream.
    pub(super) fn on_stream(&mut self, stream: Stream) {
        stream.answered(self.busy.as_ref().map(|busy| Rc::clone(busy.pool())));
        self.stream = Some(stream);
    }

    /// Whether it holds a connection to a server that has few left. Asked while its caller
    /// takes nothing.
    pub(super) fn is_wanted_elsewhere(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.pool().is_pressed())
    }

    /// At its end a copy of the request is sent.
    pub(super) fn then_copy(&mut self, later: Later) {
        if self.body.is_over() {
            later.send();
        } else {
            self.later = Some(Box::new(later));
        }
    }

    /// Takes the body and its flight out, for an upgraded connection.
    pub(super) fn into_tunnel(mut self) -> (Body, Option<Flight>, Option<Busy>) {
        let body = std::mem::replace(&mut self.body, Body::Empty);
        (body, self.flight.take(), self.busy.take())
    }

    fn end_well(&mut self) {
        if self.call.is_some() {
            // A call that ends without a status has not ended, whatever its framing says.
            self.class = Class::Truncated;
        }
        if let Some(mut flight) = self.flight.take() {
            if let Some(scan) = self.scan.take() {
                self.class = scan.end(&mut flight);
            }
            self.close(flight, self.class);
        }
        if let Some(tee) = self.tee.take()
            && self.class == Class::Success
            && let Err(why) = tee.finish()
        {
            tracing::debug!(%why, "an answer was not kept");
        }
    }

    /// The body failed. What can still be said to the caller, if anything can: a call over
    /// HTTP/2 ends with a status, a stream of events with an event.
    fn end_badly(&mut self, error: &BodyError) -> Option<Frame> {
        self.tee = None;
        let (mut flight, scan) = (self.flight.take()?, self.scan.take());
        if let Some(call) = self.call.take() {
            self.close(flight, call.class_of(error));
            return self.stream.is_some().then(|| ending(error));
        }
        let class = class_of(error);
        let farewell = scan.as_ref().and_then(|scan| scan.farewell(class, error));
        let class = scan.map_or(class, |scan| scan.broken(class, &mut flight));
        self.close(flight, class);
        farewell.map(Frame::data)
    }

    fn close(&mut self, flight: Flight, class: Class) {
        self.sample(&flight, class);
        flight.close(class);
        self.busy = None;
        if let Some(stream) = &self.stream {
            stream.let_go();
        }
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
        if self.call.is_some()
            && let Some(class) = grpc_class(trailers.get(GRPC_STATUS))
        {
            (self.class, self.call) = (class, None);
        }
    }
}

/// The next piece, of at most `room` bytes.
fn pieces(
    rest: &mut Bytes,
    body: &mut Body,
    cx: &mut Context<'_>,
    room: usize,
) -> Poll<Option<Result<Frame, BodyError>>> {
    if rest.is_empty() {
        match ready!(body.poll_next(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => *rest = bytes,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            },
            other => return Poll::Ready(other),
        }
    }
    Poll::Ready(Some(Ok(Frame::data(rest.split_to(rest.len().min(room))))))
}

/// A caller that leaves at an error within the stream, or at the dialect's own end, has seen
/// what the version did.
impl Drop for Outgoing {
    fn drop(&mut self) {
        if let (Some(scan), Some(flight)) = (self.scan.take(), &mut self.flight)
            && let Some(class) = scan.left(flight)
            && let Some(flight) = self.flight.take()
        {
            self.close(flight, class);
        }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        let this = self.get_mut();
        let cut = this.flight.as_ref().is_some_and(Flight::is_cut);
        let polled = match &this.stream {
            _ if cut => Poll::Ready(Some(Err(BodyError::Cut))),
            None => this.body.poll_next(cx),
            Some(stream) => {
                let room = ready!(stream.poll_room(cx));
                let polled = pieces(&mut this.rest, &mut this.body, cx, room);
                if let Poll::Ready(Some(Ok(frame))) = &polled {
                    stream.gave(frame.data_ref().map_or(0, Bytes::len));
                }
                stream.asked(polled.is_pending());
                polled
            }
        };
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
                    if let Some(flight) = &this.flight {
                        flight.note(bytes);
                    }
                    if let Some(scan) = &mut this.scan {
                        scan.pass(bytes, this.flight.as_mut());
                    }
                    if let Some(tee) = &mut this.tee {
                        tee.push(bytes);
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    this.trailers(trailers);
                }
                if this.body.is_over() && this.rest.is_empty() {
                    this.end_well();
                }
            }
            Poll::Ready(Some(Err(error))) => {
                let farewell = this.end_badly(error);
                (this.body, this.rest) = (Body::Empty, Bytes::new());
                if let Some(last) = farewell {
                    return Poll::Ready(Some(Ok(last)));
                }
            }
            Poll::Ready(None) => this.end_well(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_over() && self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
