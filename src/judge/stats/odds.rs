//! `Odds`: the alternative that something happens at other odds than on stable. Apart
//! because deciles and categories both ask it, of every cut and of every kind.

use super::super::reading::float;

/// The table of one such alternative: how much likelier an output of either side is under
/// it than under stable's law (decision/SPEC.md 6).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Odds {
    inside: f64,
    outside: f64,
    log_inside: f64,
    log_outside: f64,
}

impl Odds {
    /// `chance` is stable's, 0 to 1; `odds`, above 0, multiply its odds.
    pub(super) fn new(chance: f64, odds: f64) -> Self {
        let outside = 1.0 / (1.0 - chance + chance * odds);
        let inside = odds * outside;
        Self { inside, outside, log_inside: inside.ln(), log_outside: outside.ln() }
    }

    /// ln of the evidence of the canary's outputs beside stable's, each as how many are
    /// inside and how many outside; nothing when a version has none. The chance that an
    /// output is the canary's is taken from the outputs themselves.
    pub(super) fn against(&self, canary: (u64, u64), stable: (u64, u64)) -> f64 {
        let (mine, theirs) = (canary.0 + canary.1, stable.0 + stable.1);
        if mine == 0 || theirs == 0 {
            return 0.0;
        }
        let share = float(mine) / float(mine + theirs);
        let side = |mine: u64, theirs: u64, table: f64, log: f64| {
            let expected = (share * (table - 1.0)).ln_1p();
            float(mine) * log - float(mine + theirs) * expected
        };
        side(canary.0, stable.0, self.inside, self.log_inside)
            + side(canary.1, stable.1, self.outside, self.log_outside)
    }

    /// ln of the evidence of outputs against the fixed law that the table was made from.
    pub(super) fn alone(&self, inside: u64, outside: u64) -> f64 {
        float(inside) * self.log_inside + float(outside) * self.log_outside
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Odds;

    #[test]
    fn tables_and_increments_are_the_formulas() {
        let (p0, odds) = (0.3_f64, 3.0_f64);
        let p1 = p0 * odds / (1.0 - p0 + p0 * odds);
        let (above, below) = (p1 / p0, (1.0 - p1) / (1.0 - p0));
        let table = Odds::new(p0, odds);
        assert!((table.inside - above).abs() < 1e-15);
        assert!((table.outside - below).abs() < 1e-15);
        let w = 20.0_f64 / 120.0;
        let two = 8.0 * above.ln() + 12.0 * below.ln()
            - 38.0 * (w * above + 1.0 - w).ln()
            - 82.0 * (w * below + 1.0 - w).ln();
        assert!((table.against((8, 12), (30, 70)) - two).abs() < 1e-12);
        let one = 8.0 * above.ln() + 12.0 * below.ln();
        assert!((table.alone(8, 12) - one).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_mean_factor_under_equality_is_at_most_one(
            chance in 0.0_f64..1.0, odds in 0.1_f64..10.0, share in 0.01_f64..0.99,
        ) {
            let table = Odds::new(chance, odds);
            prop_assert!(table.log_inside.is_finite() && table.log_outside.is_finite());
            let mean = chance * table.inside + (1.0 - chance) * table.outside;
            prop_assert!((mean - 1.0).abs() < 1e-12);
            let factor = |table: f64| table / (share * table + 1.0 - share);
            let canary =
                chance * factor(table.inside) + (1.0 - chance) * factor(table.outside);
            let stable = chance * factor(table.inside) / table.inside
                + (1.0 - chance) * factor(table.outside) / table.outside;
            let both = share * canary + (1.0 - share) * stable;
            prop_assert!((both - 1.0).abs() < 1e-12, "{both}");
        }
    }
}
