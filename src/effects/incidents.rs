//! `Incidents`: what one sink was told of each incident: where it is found, how it began,
//! and what is delivered again until it is over. Apart from what waits because it outlives
//! the notices.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::journal::{Journal, Kind};
use super::sink::{Earlier, Repeats};
use super::text::clipped;
use crate::vocab::notice::{Notice, State};
use crate::vocab::time::Timestamp;

/// One incident as one sink knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Incident {
    reference: Option<String>,
    /// When the sink was last owed something of it.
    at: Timestamp,
    /// The notice with which it began, if it lasts.
    opened: Option<Box<Notice>>,
    repeat: Option<Repeat>,
}

/// What is delivered again.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Repeat {
    notice: Box<Notice>,
    next: Timestamp,
    /// When that ends; `None`: with the incident.
    until: Option<Timestamp>,
    #[serde(default)]
    tries: u32,
}

/// All incidents of one sink.
#[derive(Debug)]
pub(super) struct Incidents {
    sink: String,
    known: BTreeMap<String, Incident>,
}

impl Incidents {
    pub(super) fn new(sink: &str) -> Self {
        Self { sink: sink.to_owned(), known: BTreeMap::new() }
    }

    pub(super) fn restore(&mut self, id: String, incident: Incident) {
        self.known.insert(id, incident);
    }

    /// Whether the sink was told, or is to be told, of that incident.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.known.contains_key(id)
    }

    pub(super) fn earlier(&self, id: &str) -> Earlier<'_> {
        let Some(incident) = self.known.get(id) else { return Earlier::default() };
        let (reference, opened) = (&incident.reference, &incident.opened);
        Earlier { reference: reference.as_deref(), opened: opened.as_deref() }
    }

    /// The sink is going to be told something. The oldest incident goes when there are too
    /// many.
    pub(super) fn expect(&mut self, id: &str, now: Timestamp, journal: &mut Journal) {
        let fresh = Incident { reference: None, at: now, opened: None, repeat: None };
        let incident = self.known.entry(id.to_owned()).or_insert(fresh);
        incident.at = now;
        journal.put(Kind::Incident, &self.sink, id, incident);
        while self.known.len() > MOST {
            let oldest = self.known.iter().min_by_key(|(_, incident)| incident.at);
            let Some(id) = oldest.map(|(id, _)| id.clone()) else { return };
            self.known.remove(&id);
            journal.remove(Kind::Incident, &self.sink, id);
        }
    }

    /// The sink has taken a notice.
    pub(super) fn taken(
        &mut self,
        notice: &Notice,
        reference: Option<String>,
        repeats: Option<Repeats>,
        (now, journal): (Timestamp, &mut Journal),
    ) {
        let Some(incident) = self.known.get_mut(&notice.incident) else { return };
        incident.reference = reference.or(incident.reference.take());
        let again = |notice: Notice, repeats: Repeats, until| Repeat {
            notice: Box::new(notice),
            next: now.after(repeats.every),
            until,
            tries: 0,
        };
        match notice.state {
            State::Firing => {
                incident.opened = Some(Box::new(slim(notice)));
                incident.repeat =
                    repeats.map(|repeats| again(slim(notice), repeats, None));
            }
            State::Resolved => {
                let until = |repeats: Repeats| Some(now.after(repeats.end_for));
                let repeat =
                    repeats.map(|repeats| again(slim(notice), repeats, until(repeats)));
                // How it began is needed for as long as its end is told.
                if repeat.is_none() {
                    incident.opened = None;
                }
                incident.repeat = repeat;
            }
            State::Event => {}
        }
        journal.put(Kind::Incident, &self.sink, &notice.incident[..], incident);
    }

    /// What is to be delivered again by now.
    pub(super) fn due(&self, now: Timestamp) -> Option<&Notice> {
        let repeats = self.known.values().filter_map(|incident| incident.repeat.as_ref());
        let due = repeats.filter(|repeat| repeat.next <= now);
        due.min_by_key(|repeat| repeat.next).map(|repeat| &*repeat.notice)
    }

    /// When something is to be delivered again.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let repeats = self.known.values().filter_map(|incident| incident.repeat.as_ref());
        repeats.map(|repeat| repeat.next).min()
    }

    /// Something was delivered again.
    pub(super) fn repeated(
        &mut self,
        id: &str,
        repeats: Repeats,
        (now, journal): (Timestamp, &mut Journal),
    ) {
        let Some(incident) = self.known.get_mut(id) else { return };
        let Some(repeat) = &mut incident.repeat else { return };
        if repeat.until.is_some_and(|until| now >= until) {
            (incident.repeat, incident.opened) = (None, None);
            journal.put(Kind::Incident, &self.sink, id, incident);
        } else {
            // Not written down: after a restart it is simply due.
            (repeat.next, repeat.tries) = (now.after(repeats.every), 0);
        }
    }

    /// Something could not be delivered again.
    pub(super) fn postponed(
        &mut self,
        id: &str,
        now: Timestamp,
        pause: impl Fn(u32) -> std::time::Duration,
    ) {
        let repeat = self.known.get_mut(id).and_then(|it| it.repeat.as_mut());
        if let Some(repeat) = repeat {
            repeat.tries = repeat.tries.saturating_add(1);
            repeat.next = now.after(pause(repeat.tries));
        }
    }

    /// Writes all of it.
    pub(super) fn write(&self, journal: &mut Journal) {
        for (id, incident) in &self.known {
            journal.put(Kind::Incident, &self.sink, &id[..], incident);
        }
    }
}

/// The notice without what is long in it.
fn slim(notice: &Notice) -> Notice {
    let details = clipped(&notice.details, SLIM_DETAILS).into_owned();
    Notice { details, record: Value::Null, ..notice.clone() }
}

/// Incidents that a sink is remembered to know.
const MOST: usize = 500;
/// Characters of the details that are delivered again.
const SLIM_DETAILS: usize = 1_000;
