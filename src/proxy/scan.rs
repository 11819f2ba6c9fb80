//! `Scan`: an answer of a version looked at while it passes, by `dialect`, with what the
//! flight is told of it and how the stream is ended when the version cannot.
//!
//! Only good answers that are events or small JSON have one; the rest costs nothing here.

use bytes::Bytes;
use http::header;

use super::error::ProxyError;
use super::forward::Answer;
use crate::dialect::{AnswerHead, StreamScan, farewell};
use crate::measure::Flight;
use crate::vocab::outcome::Class;
use crate::vocab::policy::Dialect;
use crate::wire::BodyError;
use crate::wire::BodyLength;

/// An answer that is looked at while it passes.
#[derive(Debug)]
pub(super) struct Scan {
    seen: StreamScan,
    /// Bytes that have been looked at and have not passed yet.
    ahead: usize,
    /// An event can be added: the answer's end was not announced.
    open_ended: bool,
}

impl Scan {
    /// The scan of an answer in that dialect, where there is anything to be seen.
    pub(super) fn of(
        dialect: Dialect,
        answer: &Answer,
        flight: &mut Flight,
    ) -> Option<Box<Self>> {
        let length = match answer.body.left() {
            BodyLength::None => Some(0),
            BodyLength::Exact(length) => Some(length),
            BodyLength::Unknown => None,
        };
        let field = |name| answer.headers.get(name).map(http::HeaderValue::as_bytes);
        let head = AnswerHead {
            status: answer.status.as_u16(),
            content_type: field(header::CONTENT_TYPE),
            content_encoding: field(header::CONTENT_ENCODING),
            length,
        };
        let seen = StreamScan::new(dialect, &head)?;
        if seen.is_stream() {
            flight.streams();
        }
        Some(Box::new(Self { seen, ahead: 0, open_ended: length.is_none() }))
    }

    /// Looks at bytes that are held and will pass later.
    pub(super) fn hold(&mut self, bytes: &Bytes, flight: &mut Flight) {
        self.ahead += bytes.len();
        self.look(bytes, flight);
    }

    /// Looks at bytes that pass.
    pub(super) fn pass(&mut self, bytes: &Bytes, flight: Option<&mut Flight>) {
        let known = self.ahead.min(bytes.len());
        self.ahead -= known;
        if let (Some(new @ [_, ..]), Some(flight)) = (bytes.get(known..), flight) {
            self.look(new, flight);
        }
    }

    fn look(&mut self, bytes: &[u8], flight: &mut Flight) {
        let progress = self.seen.push(bytes);
        if progress.first || progress.tokens > 0 {
            flight.tokens(progress.tokens);
        }
    }

    /// Whether it is a stream of which only signs of life have come.
    pub(super) fn is_opening(&self) -> bool {
        let seen = &self.seen;
        seen.is_stream() && !seen.has_content() && seen.failed().is_none()
    }

    /// Whether it is a stream whose events are known to mean something.
    pub(super) fn is_known(&self) -> bool {
        self.seen.is_known()
    }

    /// Whether it is a stream of events.
    pub(super) fn is_stream(&self) -> bool {
        self.seen.is_stream()
    }

    /// The failure that the stream has come to already.
    pub(super) fn failed(&self) -> Option<Class> {
        self.seen.failed().filter(|class| class.is_failure())
    }

    /// What the answer comes to, its body having ended well.
    pub(super) fn end(&self, flight: &mut Flight) -> Class {
        self.count(flight);
        self.seen.end()
    }

    /// What the answer comes to, its body having failed like that.
    pub(super) fn broken(&self, class: Class, flight: &mut Flight) -> Class {
        self.count(flight);
        self.seen.failed().unwrap_or(class)
    }

    /// What the answer comes to when its caller leaves: `None` where that says nothing.
    pub(super) fn left(&self, flight: &mut Flight) -> Option<Class> {
        self.count(flight);
        self.seen.left()
    }

    /// The version's own count of tokens is believed before ours.
    fn count(&self, flight: &mut Flight) {
        if let Some(tokens) = self.seen.usage().completion {
            flight.usage(tokens);
        }
    }

    /// The event that ends the stream for its caller, where one can be added.
    pub(super) fn farewell(&self, class: Class, error: &BodyError) -> Option<Bytes> {
        if !self.open_ended || self.ahead > 0 {
            return None;
        }
        let error = match error {
            BodyError::Cut => ProxyError::Cut,
            BodyError::Idle => ProxyError::Upstream(class, "the server fell silent"),
            BodyError::Total => {
                ProxyError::Upstream(class, "the time for the request is over")
            }
            BodyError::Truncated
            | BodyError::Malformed
            | BodyError::TooLong(_)
            | BodyError::Reset(_)
            | BodyError::Quiet
            | BodyError::Withdrawn(_)
            | BodyError::Io(_) => {
                ProxyError::Upstream(class, "the server broke off in the middle")
            }
        };
        let message = error.to_string();
        farewell(&self.seen, &error.own(&message, None)).map(Bytes::from)
    }
}
