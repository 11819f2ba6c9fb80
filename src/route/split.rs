//! The weighted choice among the versions of a route.

use crate::vocab::amount::Percent;

/// Shares of the versions other than stable, as intervals on one circle of a million
/// points; what no interval covers is stable's. Raising a version's share moves only its own
/// end, so a coin that fell to it still does.
///
/// The first version grows from the beginning of the circle and the second from its end, so
/// that with two of them no change of one ever moves a coin of the other. More cannot be had
/// from the shares of now alone: a third lies behind the first, and moves with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    ends: Vec<(u32, usize)>,
    /// Where the second version's interval begins, which goes on to the end.
    last: Option<(u32, usize)>,
    stable: usize,
}

impl Split {
    /// A split from the shares of versions by their place in the route, those without a
    /// share among them; `stable` takes the rest. `None` when the shares are more than
    /// 100 %.
    #[must_use]
    pub fn new(stable: usize, shares: &[(usize, Percent)]) -> Option<Self> {
        let total = shares.iter().try_fold(Percent::ZERO, |sum, (_, one)| sum.plus(*one));
        total?;
        let begins = |share: Percent| Percent::FULL.ppm().saturating_sub(share.ppm());
        let taken = |share: &Percent| *share > Percent::ZERO;
        let second = shares.get(1).filter(|(_, share)| taken(share));
        let last = second.map(|(place, share)| (begins(*share), *place));
        let mut end = 0;
        let mut ends = Vec::with_capacity(shares.len());
        for (_, (place, share)) in shares.iter().enumerate().filter(|(at, _)| *at != 1) {
            if taken(share) {
                end += share.ppm();
                ends.push((end, *place));
            }
        }
        Some(Self { ends, last, stable })
    }

    /// The place of the version that this coin falls to. A coin is a uniform 64-bit number.
    #[must_use]
    pub fn choose(&self, coin: u64) -> usize {
        let point = (u128::from(coin) * u128::from(Percent::FULL.ppm())) >> 64;
        let found = self.ends.iter().find(|(end, _)| point < u128::from(*end));
        let last = || self.last.filter(|(begin, _)| point >= u128::from(*begin));
        match found {
            Some((_, place)) => *place,
            None => last().map_or(self.stable, |(_, place)| place),
        }
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

        #[test]
        fn of_two_versions_none_moves_a_coin_of_the_other(
            coin: u64,
            kept in 0u32..=1_000_000,
            a: u32,
            b: u32,
            first: bool,
        ) {
            let left = 1_000_001 - kept;
            let chosen = |other: u32| {
                let (kept, other) =
                    (Percent::from_ppm(kept), Percent::from_ppm(other % left));
                let shares = if first { [kept, other] } else { [other, kept] };
                Split::new(0, &[(1, shares[0]), (2, shares[1])]).unwrap().choose(coin)
            };
            let own = if first { 1 } else { 2 };
            prop_assert_eq!(chosen(a) == own, chosen(b) == own);
        }

        #[test]
        fn a_change_moves_no_more_coins_than_it_must(
            low in 0u32..=1_000_000,
            high in 0u32..=1_000_000,
        ) {
            let split = |ppm| Split::new(0, &[(1, Percent::from_ppm(ppm))]).unwrap();
            let step = u64::MAX / 10_000;
            let moved = (0..10_000u64)
                .filter(|at| {
                    let coin = at * step + step / 2;
                    split(low).choose(coin) != split(high).choose(coin)
                })
                .count();
            let must = low.abs_diff(high) as usize / 100;
            prop_assert!(moved.abs_diff(must) <= 1, "{} for {}", moved, must);
        }
    }
}
