//! `Sparse`: an exact histogram that stores only the values that occurred.
//!
//! It is apart from the window because adding and taking away again are its whole contract:
//! what was added and then subtracted leaves no trace. Its values are the steps of the
//! histogram that feeds it, so that it is as fine and costs what was seen, not what could
//! be.

use crate::vocab::times::Times;

/// Counts by value, ascending, without empty entries. Bounded by the distinct steps of the
/// histograms that feed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sparse {
    steps: Vec<(u64, u64)>,
    total: u64,
}

impl Sparse {
    /// The recorded values of a histogram, each as the highest value that the histogram
    /// does not tell apart from it.
    pub(super) fn of(times: &Times) -> Self {
        let mut steps = Vec::new();
        times.steps().for_each(|step| steps.push((step.high_us, u64::from(step.count))));
        Self { steps, total: times.len() }
    }

    /// The values as a histogram.
    pub(super) fn times(&self) -> Times {
        let mut times = Times::fine();
        for (value, count) in &self.steps {
            times.record_n(*value, u32::try_from(*count).unwrap_or(u32::MAX));
        }
        times
    }

    /// How many values there are.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Adds every value of `more`.
    pub(super) fn add(&mut self, more: &Self) {
        self.total += more.total;
        let (mut at, mut new) = (0, 0);
        for (value, count) in &more.steps {
            while self.steps.get(at).is_some_and(|step| step.0 < *value) {
                at += 1;
            }
            match self.steps.get_mut(at) {
                Some(step) if step.0 == *value => step.1 += count,
                Some(_) | None => new += 1,
            }
        }
        if new > 0 {
            self.insert(&more.steps, new);
        }
    }

    /// Puts those of `steps` whose values are not here, which are `new`, in their places.
    /// From the back, so that every step moves once and nothing is allocated but room.
    fn insert(&mut self, steps: &[(u64, u64)], new: usize) {
        let mut left = self.steps.len();
        let mut end = left + new;
        self.steps.resize(end, (0, 0));
        for step in steps.iter().rev() {
            while left > 0 && self.steps[left - 1].0 > step.0 {
                (left, end) = (left - 1, end - 1);
                self.steps[end] = self.steps[left];
            }
            if left == end {
                return;
            }
            if left == 0 || self.steps[left - 1].0 < step.0 {
                end -= 1;
                self.steps[end] = *step;
            }
        }
    }

    /// Takes away every value of `gone`, all of which were added before.
    pub(super) fn subtract(&mut self, gone: &Self) {
        if gone.total == 0 {
            return;
        }
        let mut gone_steps = gone.steps.iter().peekable();
        self.steps.retain_mut(|(value, count)| {
            if let Some(step) = gone_steps.next_if(|step| step.0 == *value) {
                *count = count.saturating_sub(step.1);
            }
            *count > 0
        });
        debug_assert!(gone_steps.next().is_none(), "subtracted what was never added");
        self.total = self.total.saturating_sub(gone.total);
    }

    /// The smallest value that at least `percent` of a hundred values do not exceed.
    pub(super) fn percentile(&self, percent: u64) -> Option<u64> {
        let rank = u128::from(self.total) * u128::from(percent.min(100));
        let rank = u64::try_from(rank.div_ceil(100)).unwrap_or(u64::MAX).max(1);
        let mut so_far = 0;
        for (value, count) in &self.steps {
            so_far += count;
            if so_far >= rank {
                return Some(*value);
            }
        }
        None
    }

    /// How many values are above `limit`.
    pub(super) fn above(&self, limit: u64) -> u64 {
        let first = self.steps.partition_point(|step| step.0 <= limit);
        self.steps[first..].iter().map(|step| step.1).sum()
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use proptest::prelude::{any, prop, proptest};

    use super::Sparse;
    use crate::vocab::times::Times;

    fn times(values: &[u64]) -> Times {
        let mut times = Times::fine();
        values.iter().for_each(|value| times.record(*value));
        times
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Sparse::default().percentile(99), None);
        assert_eq!(Sparse::of(&times(&[])), Sparse::default());
    }

    #[test]
    fn one_in_a_hundred_may_be_above_the_99th_percentile() {
        let mut values = vec![10; 990];
        values.extend([500; 10]);
        assert_eq!(Sparse::of(&times(&values)).percentile(99), Some(10));
        values.push(500);
        assert_eq!(Sparse::of(&times(&values)).percentile(99), Some(500));
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_hdr_histogram(
            values in prop::collection::vec(1_u64..500_000_000, 1..300),
        ) {
            let mut histogram = Histogram::<u32>::new_with_bounds(1, 600_000_000, 3).unwrap();
            values.iter().for_each(|value| histogram.record(*value).unwrap());
            let sparse = Sparse::of(&times(&values));
            for percent in [1_u8, 25, 50, 99, 100] {
                let theirs = histogram.value_at_quantile(f64::from(percent) / 100.0);
                assert_eq!(sparse.percentile(u64::from(percent)), Some(theirs));
            }
        }

        #[test]
        fn what_is_subtracted_again_leaves_no_trace(
            parts in prop::collection::vec(prop::collection::vec(1_u64..5_000, 0..40), 1..8),
            kept in any::<prop::sample::Index>(),
        ) {
            let kept = kept.index(parts.len());
            let mut sum = Sparse::default();
            for part in &parts {
                sum.add(&Sparse::of(&times(part)));
            }
            assert_eq!(sum, Sparse::of(&times(&parts.concat())));
            for (at, part) in parts.iter().enumerate() {
                if at != kept {
                    sum.subtract(&Sparse::of(&times(part)));
                }
            }
            assert_eq!(sum, Sparse::of(&times(&parts[kept])));
        }

        #[test]
        fn above_is_strict(
            values in prop::collection::vec(1_u64..2_000, 0..100),
            limit in 1_u64..2_000,
        ) {
            let above = values.iter().filter(|value| **value > limit).count();
            assert_eq!(Sparse::of(&times(&values)).above(limit), above as u64);
        }
    }
}
