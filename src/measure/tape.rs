//! `Tape`: what a worker notes of each request for a trace, while one is recorded.
//!
//! Apart from the tallies, because it is off unless somebody asked for it, and because it
//! is the only thing of a worker that grows with the requests: so it is bounded.

use crate::trace::Entry;

/// Notes of one worker, or of all, since the last time.
#[derive(Debug, Default)]
pub struct Tape {
    /// One for each request that ended, at most [`Tape::ROOM`] of each worker.
    pub entries: Vec<Entry>,
    /// Requests for which there was no room.
    pub lost: u64,
    /// A worker did not answer in time: what it noted of this time comes later.
    pub partial: bool,
}

impl Tape {
    /// Notes of one worker between two exchanges: a quarter of a million requests a second
    /// at the default interval.
    pub const ROOM: usize = 65_536;

    /// Notes a request, or counts it where there is no room.
    pub(super) fn note(&mut self, entry: Entry) {
        if self.entries.len() < Self::ROOM {
            self.entries.push(entry);
        } else {
            self.lost += 1;
        }
    }

    /// Adds the notes of another worker, whose room comes to this one's.
    pub(super) fn add(&mut self, more: Self) {
        self.lost += more.lost;
        if self.entries.is_empty() {
            self.entries = more.entries;
        } else {
            self.entries.extend(more.entries);
        }
    }

    /// Takes notes back that nobody waited for.
    pub(super) fn take_back(&mut self, more: Self) {
        self.lost += more.lost;
        more.entries.into_iter().for_each(|entry| self.note(entry));
    }
}

#[cfg(test)]
mod tests {
    use super::Tape;
    use crate::trace::Entry;
    use crate::vocab::ids::Slot;
    use crate::vocab::outcome::Class;
    use crate::vocab::time::Timestamp;

    #[test]
    fn what_has_no_room_is_counted() {
        let entry = Entry {
            at: Timestamp(1),
            slot: Slot::new(0).unwrap(),
            endpoint: None,
            class: Class::Success,
            status: None,
            latency_us: 1,
            first_byte_us: None,
            streamed: None,
            shadow: false,
            judged: true,
        };
        let mut tape = Tape::default();
        for _ in 0..Tape::ROOM + 5 {
            tape.note(entry);
        }
        assert_eq!((tape.entries.len(), tape.lost), (Tape::ROOM, 5));
        let mut next = Tape::default();
        next.note(entry);
        next.take_back(tape);
        assert_eq!((next.entries.len(), next.lost), (Tape::ROOM, 6));
        let mut all = Tape::default();
        all.add(next);
        all.add(Tape { entries: vec![entry], lost: 1, partial: false });
        assert_eq!((all.entries.len(), all.lost), (Tape::ROOM + 1, 7));
    }
}
