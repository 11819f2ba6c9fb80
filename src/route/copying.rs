//! `Copying`: which part of stable's requests goes to a protected version, too. Apart from
//! the split, because a copy never decides who answers.

use crate::vocab::amount::Percent;

/// Copies of stable's requests for one version that takes no request of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copying {
    /// The version that gets the copies, by its place in the route.
    pub to: usize,
    /// The part of the requests the split gives to stable that is copied; above 0 %. A
    /// version that had the share `w` sees as much as before at `w / (1 - w)`
    /// (decision/SPEC.md 3.6).
    pub part: Percent,
}

impl Copying {
    /// Whether a request with this coin is copied. A coin is a uniform 64-bit number,
    /// independent of the one that the split used.
    #[must_use]
    pub fn takes(&self, coin: u64) -> bool {
        let point = (u128::from(coin) * u128::from(Percent::FULL.ppm())) >> 64;
        point < u128::from(self.part.ppm())
    }
}

#[cfg(test)]
mod tests {
    use super::Copying;
    use crate::vocab::amount::Percent;

    #[test]
    fn the_part_is_exact_over_the_whole_circle() {
        for ppm in [1u32, 111_111, 500_000, 999_999, 1_000_000] {
            let copying = Copying { to: 1, part: Percent::from_ppm(ppm) };
            let step = u64::MAX / 1_000_000;
            let taken = (0..1_000_000u64)
                .filter(|point| copying.takes(point * step + step / 2))
                .count();
            assert_eq!(taken, usize::try_from(ppm).unwrap());
        }
        let all = Copying { to: 1, part: Percent::FULL };
        assert!(all.takes(0) && all.takes(u64::MAX));
    }
}
