//! Changes as server-sent events (WHATWG HTML, section 9.2), one stream a caller.
//!
//! Apart from the other answers because this one has no end. What a caller does not take is
//! never kept for him: the ring forgets, and he is dropped.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderName, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep};

use super::reply::{AdminError, Reply, dress};
use super::router::{Api, Line};
use super::seats::AtWork;
use crate::clock;
use crate::control::{Cursor, EventView, Next};

/// When the event stream of a connection last got on, while there is one.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<Option<Instant>>);

impl Pulse {
    fn set(&self, at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Whether the caller has taken nothing for longer than anything could be under way.
    pub(super) fn has_stopped(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| clock::now().saturating_duration_since(last) > STALLED)
    }
}

/// Begins a stream.
pub(super) fn stream(
    api: &Api,
    line: &Arc<Line>,
    headers: &HeaderMap,
) -> Result<Reply, AdminError> {
    let after = match headers.get(LAST_EVENT_ID).map(|id| id.to_str()) {
        None => None,
        Some(id) => {
            Some(id.ok().and_then(|id| id.parse().ok()).ok_or(AdminError::EventId)?)
        }
    };
    let permit = Arc::clone(&api.streams).try_acquire_owned();
    let permit = permit.map_err(|_| AdminError::Streams(STREAMS))?;
    let telling = Telling {
        cursor: api.handle.events(after),
        stopped: line.stopped.clone(),
        line: Arc::clone(line),
        _at_work: line.seat.work(),
        _permit: permit,
        told: 0,
        over: false,
    };
    let body = StreamBody::new(unfold(telling, Telling::next)).boxed_unsync();
    let mut reply = Response::new(body);
    dress(&mut reply, "text/event-stream");
    Ok(reply)
}

/// A stream under way.
struct Telling {
    cursor: Cursor,
    stopped: watch::Receiver<bool>,
    line: Arc<Line>,
    _at_work: AtWork,
    _permit: OwnedSemaphorePermit,
    /// Frames so far.
    told: u64,
    over: bool,
}

impl Telling {
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, Infallible>, Self)> {
        self.line.pulse.set(Some(clock::now()));
        if self.over {
            return None;
        }
        let text = if self.told == 0 {
            // At once, so that the caller knows that he is heard.
            format!("retry: {}\n\n", RETRY.as_millis())
        } else {
            tokio::select! {
                next = self.cursor.next() => match next {
                    Next::Event(event) => encode(&event),
                    Next::Missed => {
                        // Who comes back hears it first; who falls behind is dropped.
                        self.over = self.told > 1;
                        "event: missed\ndata: {}\n\n".to_owned()
                    }
                },
                () = sleep(HEARTBEAT) => ": still here\n\n".to_owned(),
                _ = self.stopped.wait_for(|stopped| *stopped) => return None,
            }
        };
        self.told += 1;
        self.line.pulse.set(Some(clock::now()));
        Some((Ok(Frame::data(text.into())), self))
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.line.pulse.set(None);
    }
}

fn encode(event: &EventView) -> String {
    let data = serde_json::to_string(event).unwrap_or_else(|_| "{}".to_owned());
    format!("id: {}\nevent: {}\ndata: {data}\n\n", event.id, event.kind)
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Streams of one listener at a time; the other seats are for everybody else.
pub(super) const STREAMS: usize = 16;
/// Silence that a caller and what stands between may take for a cut line.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Three heartbeats that were not taken.
const STALLED: Duration = Duration::from_secs(30);
/// Between two looks at whether the caller still takes anything.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// How long a caller waits before he comes back.
const RETRY: Duration = Duration::from_secs(2);
