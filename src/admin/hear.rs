//! `EventStream`: the server-sent events of another Switchback, read one by one.
//!
//! Apart from the client because it has no end: what is kept of it is bounded, and silence
//! longer than the other side's heartbeat is an end.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::client::{AdminClient, ClientError};
use super::wire::EventView;

/// Events as they come.
#[derive(Debug)]
pub struct EventStream {
    client: AdminClient,
    body: Incoming,
    lines: Lines,
}

/// What is heard.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Something changed.
    Event(EventView),
    /// More changed than is kept for those who come late.
    Missed,
}

impl EventStream {
    pub(super) fn new(client: AdminClient, body: Incoming) -> Self {
        Self { client, body, lines: Lines::default() }
    }

    /// Waits for the next event; `None` when the other side ends the stream. Nothing is lost
    /// when the waiting is given up.
    ///
    /// # Errors
    /// [`ClientError`] when the connection breaks, nothing comes for too long, or what comes
    /// is no event.
    pub async fn next(&mut self) -> Result<Option<Heard>, ClientError> {
        loop {
            match self.lines.event() {
                Ok(Some(heard)) => return Ok(Some(heard)),
                Ok(None) => {}
                Err(why) => return Err(self.client.stranger(why)),
            }
            let frame = timeout(SILENCE, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| self.client.silent(SILENCE))? else {
                return Ok(None);
            };
            let frame = frame.map_err(|err| self.client.stranger(err.to_string()))?;
            if let Ok(bytes) = frame.into_data() {
                self.lines.bytes.extend_from_slice(&bytes);
            }
        }
    }
}

/// What has come and was not heard yet.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
}

impl Lines {
    /// The next event, if all of it is there.
    fn event(&mut self) -> Result<Option<Heard>, String> {
        while let Some(end) = self.bytes.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
            let text = String::from_utf8(block).map_err(|err| err.to_string())?;
            let field = |name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start)
            };
            match (field("event:"), field("data:")) {
                (Some("missed"), _) => return Ok(Some(Heard::Missed)),
                (Some(_), Some(data)) => {
                    let event =
                        serde_json::from_str(data).map_err(|err| err.to_string())?;
                    return Ok(Some(Heard::Event(event)));
                }
                _ => {}
            }
        }
        if self.bytes.len() > EVENT_BYTES {
            return Err(format!("an event is larger than {EVENT_BYTES} bytes"));
        }
        Ok(None)
    }
}

/// Two and a half heartbeats of the other side.
const SILENCE: Duration = Duration::from_secs(25);
/// The largest event.
const EVENT_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::{EVENT_BYTES, Heard, Lines};

    #[test]
    fn events_come_whole_in_whatever_pieces() {
        let text = "retry: 2000\n\n: still here\n\nevent: missed\ndata: {}\n\n\
                    id: 7\nevent: weight.set\ndata: {\"id\":7,\"at\":1,\"kind\":\"weight.set\",\
                    \"route\":\"iris\",\"version\":null,\"data\":{\"weight\":5.0}}\n\n";
        for piece in [1, 7, text.len()] {
            let (mut lines, mut heard) = (Lines::default(), Vec::new());
            for bytes in text.as_bytes().chunks(piece) {
                lines.bytes.extend_from_slice(bytes);
                while let Some(one) = lines.event().unwrap() {
                    heard.push(one);
                }
            }
            let [Heard::Missed, Heard::Event(event)] = &heard[..] else {
                panic!("{heard:?}")
            };
            assert_eq!((event.id, &*event.kind), (7, "weight.set"));
            assert_eq!(event.data["weight"], 5.0);
        }
    }

    #[test]
    fn what_is_no_event_is_said() {
        let mut lines = Lines { bytes: b"event: x\ndata: {\n\n".to_vec() };
        assert!(lines.event().is_err());
        let mut lines = Lines { bytes: vec![b'x'; EVENT_BYTES + 1] };
        assert!(lines.event().unwrap_err().contains("larger"));
    }
}
