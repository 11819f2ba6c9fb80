//! `Journal`: what changed and is not on disk yet. Apart because everything that lasts
//! writes into it and only one place empties it.

use std::collections::BTreeMap;

use serde::Serialize;

/// What kind of row something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Something that is to be delivered.
    Waiting,
    /// Something that was given up.
    Dead,
    /// What a sink was told of an incident.
    Incident,
    /// The key of a notice that was taken in.
    Seen,
}

/// A row of the store: the sink (empty where it is not one's own) and what tells it apart.
pub(super) type RowKey = (Kind, String, String);

/// Rows that are to be written, or removed where they have no value. Bounded by what it
/// speaks of: a row is in it once.
#[derive(Debug, Default)]
pub(super) struct Journal(BTreeMap<RowKey, Option<Vec<u8>>>);

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 4] =
        [Self::Waiting, Self::Dead, Self::Incident, Self::Seen];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Dead => "dead",
            Self::Incident => "incident",
            Self::Seen => "seen",
        }
    }
}

impl Journal {
    /// A row is written.
    pub(super) fn put(
        &mut self,
        kind: Kind,
        sink: &str,
        id: impl Into<String>,
        value: &impl Serialize,
    ) {
        // What is written here has only texts as keys, which JSON can say.
        if let Ok(bytes) = serde_json::to_vec(value) {
            self.0.insert((kind, sink.to_owned(), id.into()), Some(bytes));
        }
    }

    /// A row is removed.
    pub(super) fn remove(&mut self, kind: Kind, sink: &str, id: impl Into<String>) {
        self.0.insert((kind, sink.to_owned(), id.into()), None);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows in order.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&RowKey, Option<&[u8]>)> {
        self.0.iter().map(|(key, value)| (key, value.as_deref()))
    }
}

/// The number of something that waits, so that rows stand in the order of numbers.
pub(super) fn id_of(seq: u64) -> String {
    format!("{seq:020}")
}
