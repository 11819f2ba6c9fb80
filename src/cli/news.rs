//! `News`: what a watching verb waits for between two looks.
//!
//! Apart from the status because it holds a stream open, and falls back to asking again
//! where there is none to be had.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::output::one_line;
use crate::admin::{AdminClient, EventStream, Heard};
use crate::vocab::ids::Name;

/// The events that were heard last.
#[derive(Debug, Default)]
pub(super) struct News {
    stream: Option<EventStream>,
    /// The last one heard, so that none is lost between two streams.
    last: Option<u64>,
    lines: VecDeque<String>,
}

impl News {
    /// Waits for a second, or less when something changes.
    pub(super) async fn wait(&mut self, client: &AdminClient) {
        if self.stream.is_none() {
            self.stream = client.events(self.last).await.ok();
        }
        let Some(mut stream) = self.stream.take() else {
            sleep(EVERY).await;
            return;
        };
        let mut patience = EVERY;
        // What comes in one go is shown in one go.
        for _ in 0..MOST_AT_ONCE {
            match timeout(patience, stream.next()).await {
                Err(_) => break,
                Ok(Ok(Some(heard))) => {
                    self.note(&heard);
                    patience = AT_ONCE;
                }
                Ok(Ok(None) | Err(_)) => {
                    sleep(patience).await;
                    return;
                }
            }
        }
        self.stream = Some(stream);
    }

    fn note(&mut self, heard: &Heard) {
        let line = match heard {
            Heard::Missed => "some events were missed".to_owned(),
            Heard::Event(event) => {
                self.last = Some(event.id);
                let name = |name: Option<&str>| {
                    name.map_or_else(String::new, |n| format!(" {n}"))
                };
                let route = name(event.route.as_ref().map(Name::as_str));
                let version = name(event.version.as_ref().map(Name::as_str));
                format!("{} {}{route}{version}", event.at, one_line(&event.kind))
            }
        };
        if self.lines.len() == SHOWN {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The last of them, one a line; nothing before the first.
    pub(super) fn text(&self) -> String {
        let lines: String = self.lines.iter().map(|line| format!("  {line}\n")).collect();
        if lines.is_empty() { lines } else { format!("\nevents:\n{lines}") }
    }
}

/// Between two looks when nothing changes: the numbers do.
const EVERY: Duration = Duration::from_secs(1);
/// Events no further apart are one change.
const AT_ONCE: Duration = Duration::from_millis(50);
const MOST_AT_ONCE: usize = 100;
/// Events that are shown.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::{News, SHOWN};
    use crate::admin::Heard;
    use crate::admin::wire::EventView;
    use crate::vocab::ids::Name;
    use crate::vocab::time::Timestamp;

    #[test]
    fn the_last_events_are_shown_one_a_line() {
        let mut news = News::default();
        assert_eq!(news.text(), "");
        for id in 0..9 {
            news.note(&Heard::Event(EventView {
                id,
                at: Timestamp(1_795_554_358_123),
                kind: format!("weight.set{id}"),
                route: Some(Name::parse("iris").unwrap()),
                version: (id == 8).then(|| Name::parse("v2").unwrap()),
                data: serde_json::Value::Null,
            }));
        }
        let text = news.text();
        assert_eq!(text.lines().count(), SHOWN + 2, "{text}");
        let last = "  2026-11-24T21:05:58.123Z weight.set8 iris v2\n";
        assert!(text.starts_with("\nevents:\n") && text.ends_with(last), "{text}");
        assert_eq!(news.last, Some(8));
    }
}
