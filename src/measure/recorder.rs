//! One version's numbers over one tick of one worker: plain integers and HDR histograms,
//! written by one thread, handed over whole.

use hdrhistogram::Histogram;

use crate::vocab::outcome::Class;

/// The longest time that is told apart, in microseconds; longer ones count as this.
pub const LONGEST_US: u64 = 600_000_000;

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
    pub first_byte: Histogram<u32>,
    /// Time to the last byte of the answer, in microseconds, of good answers.
    pub total: Histogram<u32>,
    /// Time to the end, in microseconds, of all the rest, with one digit.
    pub rest: Histogram<u32>,
    /// Time spent here before the version was asked, in microseconds, with one digit.
    pub overhead: Histogram<u32>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            outcomes: [0; Class::COUNT],
            rescued: 0,
            cache_served: 0,
            retries: 0,
            first_byte: histogram(3),
            total: histogram(3),
            rest: histogram(1),
            overhead: histogram(1),
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
        merge(&mut self.first_byte, &other.first_byte);
        merge(&mut self.total, &other.total);
        merge(&mut self.rest, &other.rest);
        merge(&mut self.overhead, &other.overhead);
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests() == 0
            && self.rescued == 0
            && self.cache_served == 0
            && self.retries == 0
    }

    /// Requests of all classes.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Empties it without giving its memory back.
    pub fn clear(&mut self) {
        self.outcomes = [0; Class::COUNT];
        (self.rescued, self.cache_served, self.retries) = (0, 0, 0);
        for histogram in
            [&mut self.first_byte, &mut self.total, &mut self.rest, &mut self.overhead]
        {
            if !histogram.is_empty() {
                histogram.reset();
            }
        }
    }
}

/// Records a time without ever growing or failing.
pub(super) fn record(histogram: &mut Histogram<u32>, micros: u64) {
    histogram.saturating_record(micros.clamp(1, LONGEST_US));
}

#[expect(
    clippy::expect_used,
    reason = "the bounds are constants that HdrHistogram accepts"
)]
fn histogram(digits: u8) -> Histogram<u32> {
    Histogram::new_with_bounds(1, LONGEST_US, digits).expect("constant bounds are valid")
}

fn merge(into: &mut Histogram<u32>, from: &Histogram<u32>) {
    for step in from.iter_recorded() {
        let count = step.count_at_value();
        // Both have the same bounds, so that every value of one fits the other.
        into.saturating_record_n(step.value_iterated_to(), count);
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_US, Tally, record};
    use crate::vocab::outcome::Class;

    #[test]
    fn tallies_add_up_and_empty() {
        let (mut one, mut two) = (Tally::default(), Tally::default());
        one.outcomes[Class::Success.index()] = 3;
        two.outcomes[Class::Success.index()] = 4;
        record(&mut one.total, 1_000);
        record(&mut two.total, 9_000);
        record(&mut two.total, u64::MAX);
        one.add(&two);
        assert_eq!(one.requests(), 7);
        assert_eq!(one.total.len(), 3);
        assert!(one.total.max() >= LONGEST_US);
        one.clear();
        assert!(one.is_empty() && one.total.is_empty());
    }
}
