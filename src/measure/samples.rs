//! `Samples`: a few failed exchanges with a version, for whoever has to find out why it
//! failed. Apart from the counts, because a sample says who asked for what: so there are
//! few, each is bounded, and nothing of a good exchange is ever in one.

use crate::vocab::sample::Sample;
use crate::vocab::time::Timestamp;

/// Failed exchanges with one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    kept: Vec<Sample>,
    left_out: u64,
}

impl Samples {
    /// How many are kept: of one worker the first between two exchanges of the books, so
    /// that a version which fails every request costs no more than one which fails a few; of
    /// what is added up, the last.
    pub const MOST: usize = 16;

    /// Those that are kept; once added up, in the order of time.
    #[must_use]
    pub fn kept(&self) -> &[Sample] {
        &self.kept
    }

    /// Failed exchanges of which there is no sample any more.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Adds others; the last ones stay.
    pub fn add(&mut self, other: &Self) {
        self.left_out += other.left_out;
        if other.kept.is_empty() {
            return;
        }
        self.kept.extend_from_slice(&other.kept);
        self.kept.sort_by_key(|sample| sample.at);
        let over = self.kept.len().saturating_sub(Self::MOST);
        self.kept.drain(..over);
        self.left_out += over as u64;
    }

    /// Forgets what ended before then.
    pub fn forget_before(&mut self, then: Timestamp) {
        self.kept.retain(|sample| sample.at >= then);
    }

    /// Whether another one would be kept.
    pub(super) fn has_room(&self) -> bool {
        self.kept.len() < Self::MOST
    }

    /// Takes a sample if there is room, or counts that there was none.
    pub(super) fn take(&mut self, make: impl FnOnce() -> Sample) {
        if self.has_room() {
            self.kept.push(make());
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.left_out == 0
    }

    /// Empties it without giving its memory back.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.left_out = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::Samples;
    use crate::vocab::sample::Sample;
    use crate::vocab::time::Timestamp;

    fn at(ms: u64) -> Sample {
        Sample { at: Timestamp(ms), ..Sample::example("r") }
    }

    fn times(samples: &Samples) -> Vec<u64> {
        samples.kept().iter().map(|sample| sample.at.0).collect()
    }

    #[test]
    fn a_worker_takes_the_first_and_the_sum_keeps_the_last() {
        let (mut one, mut two) = (Samples::default(), Samples::default());
        for ms in 0..20 {
            one.take(|| at(2 * ms));
        }
        assert_eq!(times(&one), (0..16).map(|ms| 2 * ms).collect::<Vec<_>>());
        assert_eq!(one.left_out(), 4);
        two.take(|| at(5));
        two.take(|| at(31));
        let mut sum = Samples::default();
        sum.add(&one);
        sum.add(&two);
        let mut want: Vec<u64> = (1..16).map(|ms| 2 * ms).chain([5, 31]).collect();
        want.sort_unstable();
        want.remove(0);
        assert_eq!(times(&sum), want);
        assert_eq!(sum.left_out(), 6, "all that were ever taken, less those here");
        sum.forget_before(Timestamp(30));
        assert_eq!(times(&sum), [30, 31]);
        sum.clear();
        assert!(sum.is_empty());
        one.clear();
        assert!(one.is_empty());
    }

    #[test]
    fn what_has_no_room_is_not_even_made() {
        let mut full = Samples::default();
        for ms in 0..16 {
            full.take(|| at(ms));
        }
        full.take(|| panic!("it is made for nothing"));
        assert_eq!(full.left_out(), 1);
    }
}
