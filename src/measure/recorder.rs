//! One version's numbers over one tick of one worker: plain integers and histograms,
//! written by one thread, handed over whole.

use super::samples::Samples;
use super::speech::Streams;
use crate::judge::Sums;
use crate::vocab::ids::Epoch;
use crate::vocab::outcome::Class;
use crate::vocab::times::Times;

/// One version's numbers since the books were last closed.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Requests by [`Class::index`]. One request asked of the version counts once here,
    /// whatever was retried inside.
    pub outcomes: [u64; Class::COUNT],
    /// Requests that this version failed and stable was asked in its place.
    pub rescued: u64,
    /// Requests that this version failed and the response cache answered.
    pub cache_served: u64,
    /// Tries beyond the first within the version.
    pub retries: u64,
    /// Time to the first byte of the answer, in microseconds, of good answers.
    pub first_byte: Times,
    /// Time to the last byte of the answer, in microseconds, of good answers but streams of
    /// tokens.
    pub total: Times,
    /// Time to the end, in microseconds, of all the rest, with one digit.
    pub rest: Times,
    /// Time spent here before the version was asked, in microseconds, with one digit.
    pub overhead: Times,
    /// What the judged requests did, by the epoch that they were placed in; at most
    /// [`EPOCHS`].
    pub sums: Vec<(Epoch, Sums)>,
    /// Openings, passed deadlines and ends of judged requests that belonged to one epoch
    /// more than there is room for.
    pub unjudged: u64,
    /// Copies of requests by [`Class::index`]; they count nowhere else but in the sums.
    pub shadow: [u64; Class::COUNT],
    /// Copies that were not sent, to stay within their bounds.
    pub shadow_dropped: u64,
    /// A few failed exchanges, copies among them.
    pub samples: Samples,
    /// Answers that are streams of tokens; `None` for a version that had none lately.
    pub streams: Option<Box<Streams>>,
    /// Control has been woken for what is in here.
    pub(super) urgent: bool,
    /// Emptied sums, used again by the next epoch.
    spare: Vec<Sums>,
}

/// How many epochs a tally tells apart: a request may outlast some changes of the shares,
/// and a tick rarely sees two.
pub const EPOCHS: usize = 4;

impl Default for Tally {
    fn default() -> Self {
        Self {
            outcomes: [0; Class::COUNT],
            rescued: 0,
            cache_served: 0,
            retries: 0,
            first_byte: Times::fine(),
            total: Times::fine(),
            rest: Times::coarse(),
            overhead: Times::coarse(),
            sums: Vec::new(),
            unjudged: 0,
            shadow: [0; Class::COUNT],
            shadow_dropped: 0,
            samples: Samples::default(),
            streams: None,
            urgent: false,
            spare: Vec::new(),
        }
    }
}

impl Tally {
    /// Adds another tally to this one.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.outcomes.iter_mut().zip(&other.outcomes) {
            *sum += more;
        }
        self.rescued += other.rescued;
        self.cache_served += other.cache_served;
        self.retries += other.retries;
        self.first_byte.add(&other.first_byte);
        self.total.add(&other.total);
        self.rest.add(&other.rest);
        self.overhead.add(&other.overhead);
        for (epoch, sums) in &other.sums {
            self.judge(*epoch, |ours| ours.add(sums));
        }
        self.unjudged += other.unjudged;
        for (sum, more) in self.shadow.iter_mut().zip(&other.shadow) {
            *sum += more;
        }
        self.shadow_dropped += other.shadow_dropped;
        self.samples.add(&other.samples);
        if let Some(more) = &other.streams {
            self.streams().add(more);
        }
    }

    /// The numbers of its streams of tokens.
    pub fn streams(&mut self) -> &mut Streams {
        self.streams.get_or_insert_default()
    }

    /// Writes into the sums of an epoch, or counts that there was no room for it.
    pub(super) fn judge<T>(
        &mut self,
        epoch: Epoch,
        entry: impl FnOnce(&mut Sums) -> T,
    ) -> Option<T> {
        let entered = self.sums_of(epoch).map(entry);
        self.unjudged += u64::from(entered.is_none());
        entered
    }

    /// Takes the opening of a judged request back.
    pub(super) fn unopen(&mut self, epoch: Epoch) {
        let Some(at) = self.sums.iter().position(|(own, _)| *own == epoch) else {
            self.unjudged = self.unjudged.saturating_sub(1);
            return;
        };
        let sums = &mut self.sums[at].1;
        sums.opened = sums.opened.saturating_sub(1);
        if sums.is_empty() {
            let (_, sums) = self.sums.remove(at);
            self.spare.push(sums);
        }
    }

    fn sums_of(&mut self, epoch: Epoch) -> Option<&mut Sums> {
        let found = self.sums.iter().position(|(own, _)| *own == epoch);
        let at = match found {
            Some(at) => at,
            None if self.sums.len() < EPOCHS => {
                self.sums.push((epoch, self.spare.pop().unwrap_or_default()));
                self.sums.len() - 1
            }
            None => return None,
        };
        self.sums.get_mut(at).map(|(_, sums)| sums)
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests() == 0
            && self.rescued == 0
            && self.cache_served == 0
            && self.retries == 0
            && self.sums.is_empty()
            && self.unjudged == 0
            && self.shadow_dropped == 0
            && self.shadow == [0; Class::COUNT]
            && self.samples.is_empty()
            && self.streams.as_ref().is_none_or(|streams| streams.is_empty())
    }

    /// Requests of all classes, without copies.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Empties it without giving its memory back.
    pub fn clear(&mut self) {
        self.outcomes = [0; Class::COUNT];
        (self.rescued, self.cache_served, self.retries) = (0, 0, 0);
        for (_, mut sums) in self.sums.drain(..) {
            sums.clear();
            // A version of one endpoint does not carry the cells of another one's many.
            sums.cells.clear();
            self.spare.push(sums);
        }
        (self.unjudged, self.shadow_dropped, self.urgent) = (0, 0, false);
        self.shadow = [0; Class::COUNT];
        self.samples.clear();
        // A version that does not stream does not carry the room of one that does.
        if self.streams.as_ref().is_some_and(|streams| streams.is_empty()) {
            self.streams = None;
        }
        if let Some(streams) = &mut self.streams {
            streams.clear();
        }
        for times in
            [&mut self.first_byte, &mut self.total, &mut self.rest, &mut self.overhead]
        {
            times.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EPOCHS, Tally};
    use crate::vocab::ids::Epoch;
    use crate::vocab::outcome::Class;
    use crate::vocab::times::LONGEST_US;

    #[test]
    fn tallies_add_up_and_empty() {
        let (mut one, mut two) = (Tally::default(), Tally::default());
        one.outcomes[Class::Success.index()] = 3;
        two.outcomes[Class::Success.index()] = 4;
        one.total.record(1_000);
        two.total.record(9_000);
        two.total.record(u64::MAX);
        one.add(&two);
        assert_eq!(one.requests(), 7);
        assert_eq!(one.total.len(), 3);
        assert!(one.total.max() >= LONGEST_US);
        one.clear();
        assert!(one.is_empty() && one.total.is_empty());
    }

    #[test]
    fn sums_are_kept_apart_by_epoch_and_their_memory_is_used_again() {
        let (mut one, mut two) = (Tally::default(), Tally::default());
        for (tally, epochs) in [(&mut one, [1, 2, 3]), (&mut two, [3, 4, 5])] {
            for epoch in epochs {
                tally.judge(Epoch(epoch), |sums| sums.opened += 1);
                tally.judge(Epoch(epoch), |sums| sums.cell(2).known += 1);
            }
        }
        two.shadow[Class::Success.index()] = 2;
        two.shadow_dropped = 3;
        one.add(&two);
        let opened = |tally: &Tally| -> Vec<(u32, u64, u64)> {
            let sums = tally.sums.iter();
            sums.map(|(at, sums)| (at.0, sums.opened, sums.cells[2].known)).collect()
        };
        assert_eq!(opened(&one), [(1, 1, 1), (2, 1, 1), (3, 2, 2), (4, 1, 1)]);
        assert_eq!((one.sums.len(), one.unjudged), (EPOCHS, 1));
        assert_eq!((one.shadow[Class::Success.index()], one.shadow_dropped), (2, 3));
        assert_eq!(one.requests(), 0);

        let room = one.sums[0].1.cells.as_ptr();
        one.clear();
        assert!(one.is_empty());
        assert_eq!(one.spare.len(), EPOCHS);
        for epoch in 0..4 {
            one.judge(Epoch(10 + epoch), |sums| sums.cell(2).known += 1);
        }
        assert!(one.spare.is_empty());
        assert!(one.sums.iter().any(|(_, sums)| sums.cells.as_ptr() == room));
        assert!(one.sums.iter().all(|(_, sums)| sums.cells.len() == 3));
    }

    #[test]
    fn only_a_version_that_streams_has_room_for_streams() {
        let (mut one, mut two) = (Tally::default(), Tally::default());
        one.total.record(7);
        assert!(one.streams.is_none());
        two.streams().first_token.record(5);
        assert!(!two.is_empty());
        one.add(&two);
        assert_eq!(one.streams().first_token.len(), 1);
        one.clear();
        assert!(one.is_empty() && one.streams.is_some(), "its next tick has some too");
        one.clear();
        assert!(one.streams.is_none());
    }

    #[test]
    fn an_opening_that_is_taken_back_leaves_nothing() {
        let mut tally = Tally::default();
        for epoch in 0..6 {
            tally.judge(Epoch(epoch), |sums| sums.opened += 1);
        }
        assert_eq!(tally.unjudged, 2);
        (0..6).for_each(|epoch| tally.unopen(Epoch(epoch)));
        assert!(tally.is_empty() && tally.sums.is_empty());
    }
}
