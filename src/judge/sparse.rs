//! `Sparse`: an exact histogram that stores only the values that occurred.
//!
//! It is apart from the window because adding and taking away again are its whole contract:
//! what was added and then subtracted leaves no trace. Its values are the steps of an HDR
//! histogram, so that it is as fine as one and costs what was seen, not what could be.

use hdrhistogram::Histogram;

/// Counts by value, ascending, without empty entries. Bounded by the distinct steps of the
/// HDR histograms that feed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sparse {
    steps: Vec<(u64, u64)>,
    total: u64,
}

impl Sparse {
    /// The recorded values of an HDR histogram, each as the highest value that the
    /// histogram does not tell apart from it.
    pub(super) fn of(histogram: &Histogram<u32>) -> Self {
        let mut all = Self::default();
        for step in histogram.iter_recorded() {
            let count = u64::from(step.count_at_value());
            all.steps.push((step.value_iterated_to(), count));
            all.total += count;
        }
        all
    }

    /// How many values there are.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Adds every value of `more`.
    pub(super) fn add(&mut self, more: &Self) {
        if more.total == 0 {
            return;
        }
        let old = std::mem::take(&mut self.steps);
        self.steps.reserve(old.len() + more.steps.len());
        let (mut ours, mut theirs) =
            (old.iter().peekable(), more.steps.iter().peekable());
        loop {
            let next = match (ours.peek(), theirs.peek()) {
                (Some(a), Some(b)) => a.0.min(b.0),
                (Some(one), None) | (None, Some(one)) => one.0,
                (None, None) => break,
            };
            let count = [&mut ours, &mut theirs]
                .into_iter()
                .filter_map(|side| side.next_if(|step| step.0 == next))
                .map(|step| step.1)
                .sum();
            self.steps.push((next, count));
        }
        self.total += more.total;
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

    fn hdr(values: &[u64]) -> Histogram<u32> {
        let mut histogram = Histogram::new_with_bounds(1, 600_000_000, 3).unwrap();
        for value in values {
            histogram.record(*value).unwrap();
        }
        histogram
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Sparse::default().percentile(99), None);
        assert_eq!(Sparse::of(&hdr(&[])), Sparse::default());
    }

    #[test]
    fn one_in_a_hundred_may_be_above_the_99th_percentile() {
        let mut values = vec![10; 990];
        values.extend([500; 10]);
        assert_eq!(Sparse::of(&hdr(&values)).percentile(99), Some(10));
        values.push(500);
        assert_eq!(Sparse::of(&hdr(&values)).percentile(99), Some(500));
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_hdr_histogram(
            values in prop::collection::vec(1_u64..500_000_000, 1..300),
        ) {
            let histogram = hdr(&values);
            let sparse = Sparse::of(&histogram);
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
                sum.add(&Sparse::of(&hdr(part)));
            }
            assert_eq!(sum, Sparse::of(&hdr(&parts.concat())));
            for (at, part) in parts.iter().enumerate() {
                if at != kept {
                    sum.subtract(&Sparse::of(&hdr(part)));
                }
            }
            assert_eq!(sum, Sparse::of(&hdr(&parts[kept])));
        }

        #[test]
        fn above_is_strict(
            values in prop::collection::vec(1_u64..2_000, 0..100),
            limit in 1_u64..2_000,
        ) {
            let above = values.iter().filter(|value| **value > limit).count();
            assert_eq!(Sparse::of(&hdr(&values)).above(limit), above as u64);
        }
    }
}
