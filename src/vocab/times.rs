//! `Times`: many times in microseconds, counted in steps as fine as those of an HDR
//! histogram.
//!
//! Apart from the crate of that name, which walks every step that could be: a tick of a
//! thousand answers is read five times on its way through control, and here that costs what
//! was recorded and not what could have been. Recording allocates nothing and never fails.

/// The longest time that is told apart, in microseconds; longer ones count as this.
pub const LONGEST_US: u64 = 600_000_000;

/// Counts of times between 1 us and [`LONGEST_US`]; what is outside counts as the nearer.
#[derive(Clone, Debug)]
pub struct Times {
    /// Steps of each power of two, as a power of two.
    fineness: u32,
    counts: Vec<u32>,
    /// One bit for each count that is not zero.
    used: Vec<u64>,
    total: u64,
}

/// The times that are not told apart, and how many there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The shortest of them.
    pub low_us: u64,
    /// The longest of them.
    pub high_us: u64,
    /// How many were recorded; not 0.
    pub count: u32,
}

impl Times {
    /// Steps of less than a thousandth of their times: three digits, as HDR histograms call
    /// it.
    #[must_use]
    pub fn fine() -> Self {
        Self::new(10)
    }

    /// Steps of less than a sixteenth of their times: one digit.
    #[must_use]
    pub fn coarse() -> Self {
        Self::new(4)
    }

    fn new(fineness: u32) -> Self {
        let len = place(fineness, LONGEST_US) + 1;
        let (counts, used) = (vec![0; len], vec![0; len.div_ceil(BITS)]);
        Self { fineness, counts, used, total: 0 }
    }

    /// Records one time.
    pub fn record(&mut self, micros: u64) {
        self.record_n(micros, 1);
    }

    /// Records so many equal times.
    pub fn record_n(&mut self, micros: u64, count: u32) {
        self.count(place(self.fineness, micros.clamp(1, LONGEST_US)), count);
    }

    /// Adds the times of `more`; they keep the fineness that they were recorded with, or
    /// lose as much of it as this has less.
    pub fn add(&mut self, more: &Self) {
        let same = self.fineness == more.fineness;
        more.places().for_each(|at| {
            let low_us = || low(more.fineness, at);
            let here = if same { at } else { place(self.fineness, low_us()) };
            self.count(here, more.counts[at]);
        });
    }

    /// The recorded steps, from the shortest.
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        self.places().map(|at| Step {
            low_us: low(self.fineness, at),
            high_us: low(self.fineness, at + 1) - 1,
            count: self.counts[at],
        })
    }

    /// How many times were recorded.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The longest time that is not told apart from the longest recorded; 0 without any.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.steps().last().map_or(0, |step| step.high_us)
    }

    /// Empties it without giving its memory back.
    pub fn clear(&mut self) {
        for (word, bits) in self.used.iter_mut().enumerate() {
            for bit in ones(std::mem::take(bits)) {
                self.counts[word * BITS + bit] = 0;
            }
        }
        self.total = 0;
    }

    fn count(&mut self, at: usize, count: u32) {
        if let Some(own) = self.counts.get_mut(at)
            && count > 0
        {
            *own = own.saturating_add(count);
            self.used[at / BITS] |= 1 << (at % BITS);
            self.total += u64::from(count);
        }
    }

    fn places(&self) -> impl Iterator<Item = usize> {
        let words = self.used.iter().enumerate();
        words.flat_map(|(word, bits)| ones(*bits).map(move |bit| word * BITS + bit))
    }
}

/// The step of a time: exact below twice the fineness, and then so many to each power of
/// two.
fn place(fineness: u32, micros: u64) -> usize {
    let shift = micros.max(1).ilog2().saturating_sub(fineness);
    let place = (u64::from(shift) << fineness) + (micros >> shift);
    usize::try_from(place).unwrap_or(usize::MAX)
}

/// The shortest time of a step.
fn low(fineness: u32, place: usize) -> u64 {
    let place = place as u64;
    let shift = (place >> fineness).saturating_sub(1);
    (place - (shift << fineness)) << shift
}

/// The places of the bits that are one, from the lowest.
fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (bits != 0).then(|| bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        lowest
    })
}

const BITS: usize = u64::BITS as usize;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LONGEST_US, Step, Times};

    fn times(of: &[u64]) -> Times {
        let mut times = Times::fine();
        of.iter().for_each(|micros| times.record(*micros));
        times
    }

    fn steps(times: &Times) -> Vec<Step> {
        times.steps().collect()
    }

    #[test]
    fn steps_are_those_of_an_hdr_histogram_of_three_digits() {
        for (micros, low_us, high_us) in [
            (0, 1, 1),
            (1, 1, 1),
            (2_047, 2_047, 2_047),
            (2_048, 2_048, 2_049),
            (4_095, 4_094, 4_095),
            (50_001, 49_984, 50_015),
            (u64::MAX, 599_785_472, 600_309_759),
        ] {
            let step = Step { low_us, high_us, count: 1 };
            assert_eq!(steps(&times(&[micros])), [step], "{micros}");
        }
        assert!(times(&[LONGEST_US]).max() >= LONGEST_US);
    }

    #[test]
    fn counts_saturate_and_nothing_is_nothing() {
        let mut all = Times::coarse();
        all.record_n(7, 0);
        assert!(all.is_empty() && steps(&all).is_empty() && all.max() == 0);
        all.record_n(7, u32::MAX);
        all.record(7);
        assert_eq!(steps(&all), [Step { low_us: 7, high_us: 7, count: u32::MAX }]);
    }

    proptest! {
        #[test]
        fn every_time_is_in_its_step_and_a_step_is_narrow(micros in 1_u64..LONGEST_US) {
            let fine = steps(&times(&[micros]))[0];
            prop_assert!(fine.low_us <= micros && micros <= fine.high_us);
            prop_assert!((fine.high_us - fine.low_us) * 1_000 <= micros);
            let mut coarse = Times::coarse();
            coarse.record(micros);
            let coarse = steps(&coarse)[0];
            prop_assert!(coarse.low_us <= micros && micros <= coarse.high_us);
            prop_assert!((coarse.high_us - coarse.low_us) * 16 <= micros);
        }

        #[test]
        fn adding_is_recording_all_and_clearing_leaves_nothing(
            one in prop::collection::vec(0_u64..900_000_000, 0..60),
            two in prop::collection::vec(0_u64..900_000_000, 0..60),
        ) {
            let mut sum = times(&one);
            sum.add(&times(&two));
            let all = times(&[one.clone(), two].concat());
            prop_assert_eq!(steps(&sum), steps(&all));
            prop_assert_eq!(sum.len(), all.len());
            prop_assert!(steps(&sum).is_sorted_by_key(|step| step.low_us));
            let mut coarse = Times::coarse();
            coarse.add(&sum);
            prop_assert_eq!(coarse.len(), sum.len());
            sum.clear();
            prop_assert!(sum.is_empty() && steps(&sum).is_empty());
            one.iter().for_each(|micros| sum.record(*micros));
            prop_assert_eq!(steps(&sum), steps(&times(&one)));
        }
    }
}
