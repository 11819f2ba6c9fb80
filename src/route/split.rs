//! The weighted choice among the versions of a route.

use crate::vocab::amount::Percent;

/// Shares of the versions other than stable, as ends of intervals on one circle of a
/// million points; what no interval covers is stable's. Raising a version's share moves only
/// its own end, so a coin that fell to it still does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    ends: Vec<(u32, usize)>,
    stable: usize,
}

impl Split {
    /// A split from the shares of versions by their place in the route; `stable` takes the
    /// rest. `None` when the shares are more than 100 %.
    #[must_use]
    pub fn new(stable: usize, shares: &[(usize, Percent)]) -> Option<Self> {
        let mut sum = Percent::ZERO;
        let mut ends = Vec::with_capacity(shares.len());
        for &(place, share) in shares.iter().filter(|(_, share)| *share > Percent::ZERO) {
            sum = sum.plus(share)?;
            ends.push((sum.ppm(), place));
        }
        Some(Self { ends, stable })
    }

    /// The place of the version that this coin falls to. A coin is a uniform 64-bit number.
    #[must_use]
    pub fn choose(&self, coin: u64) -> usize {
        let point = (u128::from(coin) * u128::from(Percent::FULL.ppm())) >> 64;
        self.ends
            .iter()
            .find(|(end, _)| point < u128::from(*end))
            .map_or(self.stable, |(_, place)| *place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Split;
    use crate::vocab::amount::Percent;

    fn share(percent: f64) -> Percent {
        Percent::of(percent).unwrap()
    }

    #[test]
    fn the_share_is_exact_over_the_whole_circle() {
        let split = Split::new(0, &[(1, share(12.5)), (2, share(0.5))]).unwrap();
        let mut seen = [0u32; 3];
        for i in 0..1_000_000u64 {
            seen[split.choose(i * (u64::MAX / 1_000_000) + (u64::MAX / 2_000_000))] += 1;
        }
        assert_eq!(seen, [870_000, 125_000, 5_000]);
    }

    #[test]
    fn the_ends_of_the_range_are_right() {
        let none = Split::new(0, &[(1, Percent::ZERO)]).unwrap();
        let all = Split::new(0, &[(1, Percent::FULL)]).unwrap();
        for coin in [0, 1, u64::MAX / 2, u64::MAX] {
            assert_eq!(none.choose(coin), 0);
            assert_eq!(all.choose(coin), 1);
        }
        assert!(Split::new(0, &[(1, share(60.0)), (2, share(60.0))]).is_none());
    }

    proptest! {
        #[test]
        fn raising_a_share_keeps_every_coin(coin: u64, low in 0u32..=1_000_000, more in 0u32..=1_000_000) {
            let high = low.max(more);
            let (low, high) = (Percent::from_ppm(low), Percent::from_ppm(high));
            let before = Split::new(0, &[(1, low)]).unwrap().choose(coin);
            let after = Split::new(0, &[(1, high)]).unwrap().choose(coin);
            prop_assert!(before == 0 || after == 1);
        }
    }
}
