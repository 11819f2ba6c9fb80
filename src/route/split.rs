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
    /// Points that are nobody's for now, next to what is left of their version.
    held: (u32, u32),
    stable: usize,
}

impl Split {
    /// A split from the shares of versions by their place in the route, those without a
    /// share among them; `stable` takes the rest. `None` when the shares are more than
    /// 100 %.
    #[must_use]
    pub fn new(stable: usize, shares: &[(usize, Percent)]) -> Option<Self> {
        Self::holding(stable, shares, None)
    }

    /// The same, in which a part of what would be stable's is held back: so much, where the
    /// version at that place had it, so that the less is held, the fewer of its own coins
    /// there are.
    #[must_use]
    pub fn holding(
        stable: usize,
        shares: &[(usize, Percent)],
        held: Option<(usize, Percent)>,
    ) -> Option<Self> {
        let taken = shares.iter().try_fold(Percent::ZERO, |sum, (_, one)| sum.plus(*one));
        taken?.plus(held.map_or(Percent::ZERO, |(_, part)| part))?;
        let held_of = |place: usize| {
            held.filter(|(at, _)| *at == place).map_or(0, |(_, part)| part.ppm())
        };
        let begins = |share: Percent| Percent::FULL.ppm().saturating_sub(share.ppm());
        let taken = |share: &Percent| *share > Percent::ZERO;
        let second = shares.get(1).filter(|(_, share)| taken(share));
        let last = second.map(|(place, share)| (begins(*share), *place));
        let mut held = shares.get(1).map_or((0, 0), |(place, share)| {
            (begins(*share).saturating_sub(held_of(*place)), begins(*share))
        });
        let mut end = 0;
        let mut ends = Vec::with_capacity(shares.len());
        for (_, (place, share)) in shares.iter().enumerate().filter(|(at, _)| *at != 1) {
            if taken(share) {
                end += share.ppm();
                ends.push((end, *place));
            }
            if held_of(*place) > 0 {
                held = (end, end + held_of(*place));
                end = held.1;
            }
        }
        Some(Self { ends, last, held, stable })
    }

    /// Whether this coin falls to what is held back for now; else it is as
    /// [`Split::choose`] says.
    #[must_use]
    pub fn is_held(&self, coin: u64) -> bool {
        let (begin, end) = self.held;
        begin < end && (begin..end).contains(&point(coin))
    }

    /// The place of the version that this coin falls to. A coin is a uniform 64-bit number.
    #[must_use]
    pub fn choose(&self, coin: u64) -> usize {
        let point = point(coin);
        let found = self.ends.iter().find(|(end, _)| point < *end);
        let last = || self.last.filter(|(begin, _)| point >= *begin);
        match found {
            Some((_, place)) => *place,
            None => last().map_or(self.stable, |(_, place)| place),
        }
    }
}

/// Where a coin falls on the circle.
fn point(coin: u64) -> u32 {
    let point = (u128::from(coin) * u128::from(Percent::FULL.ppm())) >> 64;
    // Below a million.
    u32::try_from(point).unwrap_or(u32::MAX)
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
        fn what_is_held_was_the_versions_own_and_goes_to_stable(
            coin: u64,
            own in 0u32..=600_000,
            other in 0u32..=400_000,
            parts in (0u32..=1_000_000, 0u32..=1_000_000),
            first: bool,
        ) {
            let (place, beside) = if first { (1, 2) } else { (2, 1) };
            let split = |of: u32, held: u32| {
                let mut shares = [(place, of), (beside, other)]
                    .map(|(at, ppm)| (at, Percent::from_ppm(ppm)));
                shares.sort_unstable();
                let held = Some((place, Percent::from_ppm(held)));
                Split::holding(0, &shares, held).unwrap()
            };
            let (more, less) = (parts.0.max(parts.1), parts.0.min(parts.1));
            let part = |of: u32| u32::try_from(u64::from(own) * u64::from(of) / 1_000_000);
            let before = split(own, 0);
            let (more, less) = (split(0, part(more).unwrap()), split(0, part(less).unwrap()));
            prop_assert!(!before.is_held(coin));
            prop_assert!(!more.is_held(coin) || before.choose(coin) == place);
            prop_assert!(!less.is_held(coin) || more.is_held(coin));
            prop_assert!(more.choose(coin) != place);
            prop_assert_eq!(before.choose(coin) == beside, more.choose(coin) == beside);
            // What a trickle leaves is not held.
            let (quarter, rest) = (own / 4, own - own / 4);
            let trickle = split(quarter, rest);
            let mine = trickle.choose(coin) == place || trickle.is_held(coin);
            prop_assert_eq!(mine, before.choose(coin) == place);
            prop_assert!(!(trickle.choose(coin) == place && trickle.is_held(coin)));
        }

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
