//! `Sums`: what one version did over one tick, as plain counts that add up.
//!
//! Apart from the tests that weigh them, because the data path fills them: every number is
//! an integer, so that workers, ticks and replicas are merged by addition in any order.

/// How many latency bins there are; the first and the last are open.
pub const BINS: usize = 84;
/// How many deadlines a request is held against: the relative one and the absolute one.
pub const DEADLINES: usize = 2;
/// How many endpoints of a version have a cell of their own; further ones share them.
pub const ENDPOINTS: usize = 64;

/// So many requests in a row that find no connection need no statistics
/// (decision/SPEC.md 3.7.2).
pub const REFUSED: u32 = 3;
/// So many late requests in a row need none either (decision/SPEC.md 3.7.3).
pub const STALLED: u32 = 10;

/// The latency bin of a time in microseconds: a ratio of 2^(1/4) each, from 128 us to 268 s,
/// in integers alone.
#[must_use]
pub const fn bin_of(micros: u64) -> usize {
    if micros < SHORTEST_US {
        return 0;
    }
    let octave = micros.ilog2();
    let mantissa = micros << (63 - octave);
    let mut quarter = 0;
    while quarter < QUARTERS.len() && mantissa >= QUARTERS[quarter] {
        quarter += 1;
    }
    let bin = 4 * (octave - SHORTEST_US.ilog2()) as usize + quarter + 1;
    if bin < BINS { bin } else { BINS - 1 }
}

/// What one endpoint of a version did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Requests whose outcome is known and says something about the version.
    pub known: u64,
    /// Those of them that are the version's failures.
    pub bad: u64,
    /// Requests that took longer than each deadline, whether or not they have ended.
    pub slow: [u64; DEADLINES],
    /// Total times of good answers but streams of tokens, by [`bin_of`].
    pub bins: [u32; BINS],
}

/// The times of one endpoint's streams of tokens, by [`bin_of`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamCell {
    /// Times to the first token, of all streams that came to one.
    pub first: [u32; BINS],
    /// Times for each token after the first, one of each good stream.
    pub each: [u32; BINS],
}

/// What of an answer is timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// The whole answer, of all but streams of tokens.
    #[default]
    Whole = 0,
    /// A stream's first token.
    FirstToken = 1,
    /// Each token of a stream after the first.
    EachToken = 2,
}

/// When a request is slow, in microseconds of the version's own time; `None` is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// A whole answer, by what stable takes.
    pub whole: Option<u64>,
    /// The first token of a stream, by what stable takes.
    pub first_token: Option<u64>,
    /// Either, whatever stable takes.
    pub most: Option<u64>,
}

impl Timing {
    /// All of them, each at its own number.
    pub const ALL: [Self; 3] = [Self::Whole, Self::FirstToken, Self::EachToken];

    /// What it is called in a sentence; nothing for whole answers.
    #[must_use]
    pub fn words(self) -> Option<&'static str> {
        match self {
            Self::Whole => None,
            Self::FirstToken => Some("time to first token"),
            Self::EachToken => Some("time per output token"),
        }
    }
}

impl Deadlines {
    /// Of a request of which it is not known what its answer will be: the longer one.
    #[must_use]
    pub fn of_any(self) -> [Option<u64>; DEADLINES] {
        [self.whole.max(self.first_token), self.most]
    }

    /// Of a stream of tokens, or of another answer.
    #[must_use]
    pub fn of(self, streams: bool) -> [Option<u64>; DEADLINES] {
        [if streams { self.first_token } else { self.whole }, self.most]
    }
}

/// What one version did over one tick, within one epoch of the route's weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Requests that the split's coin (or the copying's) gave to the version.
    pub opened: u64,
    /// By the endpoint's place modulo [`ENDPOINTS`].
    pub cells: Vec<Cell>,
    /// Streams of tokens, by the same places; empty without any.
    pub streams: Vec<StreamCell>,
    /// Requests in a row that found no connection.
    pub refused: Streak,
    /// Requests in a row that took longer than the first deadline.
    pub stalled: Streak,
}

/// The runs of hits among hits and misses that came one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    /// Hits before the first miss.
    pub before: u32,
    /// Hits after the last miss; only where there was a miss.
    pub after: u32,
    /// The longest run of hits.
    pub longest: u32,
    /// Whether there was a miss.
    pub broken: bool,
}

impl Default for Cell {
    fn default() -> Self {
        Self { known: 0, bad: 0, slow: [0; DEADLINES], bins: [0; BINS] }
    }
}

impl Cell {
    /// Adds another cell.
    pub fn add(&mut self, more: &Self) {
        self.known += more.known;
        self.bad += more.bad;
        for (sum, more) in self.slow.iter_mut().zip(more.slow) {
            *sum += more;
        }
        for (sum, more) in self.bins.iter_mut().zip(more.bins) {
            *sum = sum.saturating_add(more);
        }
    }

    /// Good answers.
    #[must_use]
    pub fn good(&self) -> u64 {
        self.known.saturating_sub(self.bad)
    }
}

impl Default for StreamCell {
    fn default() -> Self {
        Self { first: [0; BINS], each: [0; BINS] }
    }
}

impl StreamCell {
    fn add(&mut self, more: &Self) {
        let first = self.first.iter_mut().zip(more.first);
        let each = self.each.iter_mut().zip(more.each);
        first.chain(each).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }

    fn is_empty(&self) -> bool {
        self.first == [0; BINS] && self.each == [0; BINS]
    }
}

impl Sums {
    /// The cell of an endpoint, by its place in the version.
    pub fn cell(&mut self, endpoint: usize) -> &mut Cell {
        let place = endpoint % ENDPOINTS;
        if self.cells.len() <= place {
            self.cells.resize_with(place + 1, Cell::default);
        }
        &mut self.cells[place]
    }

    /// The streams of an endpoint, by its place in the version.
    pub fn stream(&mut self, endpoint: usize) -> &mut StreamCell {
        let place = endpoint % ENDPOINTS;
        if self.streams.len() <= place {
            self.streams.resize_with(place + 1, StreamCell::default);
        }
        &mut self.streams[place]
    }

    /// Adds what the same version did at the same time elsewhere, as in another worker.
    pub fn add(&mut self, beside: &Self) {
        self.opened += beside.opened;
        for (place, cell) in beside.cells.iter().enumerate() {
            self.cell(place).add(cell);
        }
        for (place, cell) in beside.streams.iter().enumerate() {
            self.stream(place).add(cell);
        }
        self.refused = self.refused.beside(beside.refused);
        self.stalled = self.stalled.beside(beside.stalled);
    }

    /// Empties it without giving its memory back.
    pub fn clear(&mut self) {
        self.opened = 0;
        self.cells.fill(Cell::default());
        self.streams.clear();
        (self.refused, self.stalled) = (Streak::default(), Streak::default());
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let quiet =
            |cell: &Cell| cell.known == 0 && cell.bad == 0 && cell.slow == [0; DEADLINES];
        self.opened == 0
            && self.cells.iter().all(quiet)
            && self.streams.iter().all(StreamCell::is_empty)
    }
}

impl Streak {
    /// One more hit.
    pub fn hit(&mut self) {
        let run = if self.broken { &mut self.after } else { &mut self.before };
        *run = run.saturating_add(1);
        self.longest = self.longest.max(*run);
    }

    /// A miss: the run is over.
    pub fn miss(&mut self) {
        self.broken = true;
        self.after = 0;
    }

    /// The run that is not over.
    #[must_use]
    pub fn run(self) -> u32 {
        if self.broken { self.after } else { self.before }
    }

    /// What is left once its longest run was looked at: the run that goes on.
    #[must_use]
    pub fn going_on(self) -> Self {
        let run = self.run();
        Self { before: run, after: 0, longest: run, broken: false }
    }

    /// This one, followed by another.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let joined = self.run().saturating_add(next.before);
        Self {
            before: if self.broken { self.before } else { joined },
            after: match (self.broken, next.broken) {
                (_, true) => next.after,
                (true, false) => joined,
                (false, false) => 0,
            },
            longest: self.longest.max(next.longest).max(joined),
            broken: self.broken || next.broken,
        }
    }

    /// This one and another of the same time, whose order among each other nobody knows: a
    /// run counts beyond one of them only when neither had a miss.
    #[must_use]
    pub fn beside(self, other: Self) -> Self {
        if self == Self::default() {
            return other;
        }
        if other == Self::default() {
            return self;
        }
        if !self.broken && !other.broken {
            return self.then(other);
        }
        let after = match (self.broken, other.broken) {
            (true, true) => self.after.min(other.after),
            (true, false) => self.after,
            (false, _) => other.after,
        };
        Self {
            before: self.before.min(other.before),
            after,
            longest: self.longest.max(other.longest),
            broken: true,
        }
    }
}

/// The upper end of the first bin.
const SHORTEST_US: u64 = 128;
/// 2^(1/4), 2^(1/2) and 2^(3/4), times 2^63, rounded up.
const QUARTERS: [u64; 3] =
    [0x9837_f051_8db8_a970, 0xb504_f333_f9de_6485, 0xd744_fcca_d69d_6af5];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BINS, Streak, Sums, bin_of};

    #[test]
    fn bins_are_those_of_the_specification() {
        for (micros, bin) in [
            (0, 0),
            (127, 0),
            (128, 1),
            (152, 1),
            (153, 2),
            (1_000, 12),
            (49_999, 35),
            (50_000, 35),
            (1_000_000, 52),
            (30_000_000, 72),
            (1_000_000_000, 83),
            (u64::MAX, BINS - 1),
        ] {
            assert_eq!(bin_of(micros), bin, "{micros} us");
        }
    }

    fn streak(hits: &[bool]) -> Streak {
        let mut streak = Streak::default();
        for hit in hits {
            if *hit { streak.hit() } else { streak.miss() }
        }
        streak
    }

    proptest! {
        #[test]
        fn a_bin_is_a_quarter_of_an_octave(micros in 128_u64..600_000_000) {
            let bin = bin_of(micros);
            let fourth = u128::from(micros).pow(4);
            prop_assert!(fourth >= 1 << (28 + bin - 1), "{micros} is below bin {bin}");
            prop_assert!(bin == BINS - 1 || fourth < 1 << (28 + bin));
        }

        #[test]
        fn a_streak_cut_anywhere_is_the_same_streak(
            hits in prop::collection::vec(any::<bool>(), 0..40), at in 0_usize..40,
        ) {
            let (left, right) = hits.split_at(at.min(hits.len()));
            prop_assert_eq!(streak(left).then(streak(right)), streak(&hits));
        }

        #[test]
        fn streaks_of_two_workers_merge_in_any_order_and_never_above_the_truth(
            one in prop::collection::vec(any::<bool>(), 0..12),
            two in prop::collection::vec(any::<bool>(), 0..12),
        ) {
            let (a, b) = (streak(&one), streak(&two));
            prop_assert_eq!(a.beside(b), b.beside(a));
            if one.contains(&false) && two.contains(&false) {
                let both: Vec<bool> = one.iter().chain(&two).copied().collect();
                prop_assert!(a.beside(b).longest <= streak(&both).longest);
            }
        }

        #[test]
        fn sums_merge_in_any_order(parts in prop::collection::vec((0_usize..70, 0_u64..9), 1..9)) {
            let part = |&(endpoint, count): &(usize, u64)| {
                let mut sums = Sums { opened: count, ..Sums::default() };
                let cell = sums.cell(endpoint);
                (cell.known, cell.bad) = (count, count / 2);
                cell.bins[endpoint] = 1;
                sums
            };
            let sum = |order: &mut dyn Iterator<Item = &(usize, u64)>| {
                let mut sum = Sums::default();
                order.for_each(|one| sum.add(&part(one)));
                sum
            };
            prop_assert_eq!(sum(&mut parts.iter()), sum(&mut parts.iter().rev()));
        }
    }
}
