//! Outputs that are one of a few kinds: labels, finish reasons, tools called
//! (decision/SPEC.md 6). [`compare_categories`] describes two samples, [`CategoryBank`]
//! gathers evidence from bucket to bucket. Apart from real-valued outputs because kinds have
//! no order.

use super::super::reading::float;
use super::gamma::chi_square_tail;
use super::odds::Odds;
use super::pooled::Pooled;
use super::sample::SampleError;
use super::sample::check_counts;
use super::shell::ShellPlan;

/// How two samples of categories differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CategoryReport {
    /// Pearson's chi-square of the table of both.
    pub chi_square: f64,
    /// The chance of at least that if both come from the same law, 0 to 1.
    pub chi_square_p: f64,
    /// The likelihood ratio statistic G of the same table.
    pub g: f64,
    /// The chance of at least that, 0 to 1.
    pub g_p: f64,
    /// Categories that occur in either, less one.
    pub degrees: u32,
    /// Population stability index, shares taken to be at least 10^-4.
    pub stability: f64,
    /// What that index is on average when nothing differs.
    pub stability_expected: f64,
    /// Jensen and Shannon's divergence, nats, 0 to ln 2.
    pub divergence: f64,
}

impl CategoryReport {
    /// Whether the stability index is beyond what chance makes of it by more than 0.25.
    #[must_use]
    pub fn is_unstable(&self) -> bool {
        self.stability > 0.25 + self.stability_expected
    }
}

/// Compares counts by category (decision/SPEC.md 6).
///
/// # Errors
/// The numbers of categories differ, or one version has no outputs.
pub fn compare_categories(
    canary: &[u64],
    stable: &[u64],
) -> Result<CategoryReport, SampleError> {
    check_counts("stable", stable, stable.len())?;
    check_counts("canary", canary, stable.len())?;
    let totals = (sum(canary), sum(stable));
    let all = totals.0 + totals.1;
    let mut report = CategoryReport {
        chi_square: 0.0,
        chi_square_p: 1.0,
        g: 0.0,
        g_p: 1.0,
        degrees: 0,
        stability: 0.0,
        stability_expected: 0.0,
        divergence: 0.0,
    };
    let mut occupied = 0_u32;
    for (mine, theirs) in canary.iter().copied().zip(stable.iter().copied()) {
        let (mine, theirs) = (float(mine), float(theirs));
        if mine + theirs <= 0.0 {
            continue;
        }
        occupied += 1;
        for (seen, total) in [(mine, totals.0), (theirs, totals.1)] {
            let expected = (mine + theirs) * total / all;
            report.chi_square += (seen - expected).powi(2) / expected;
            report.g += 2.0 * weighed_log(seen, expected);
        }
        let (p, q) = (mine / totals.0, theirs / totals.1);
        let (high, low) = (p.max(LEAST_SHARE), q.max(LEAST_SHARE));
        report.stability += (high - low) * (high / low).ln();
        let middle = p.midpoint(q);
        report.divergence += weighed_log(p, middle).midpoint(weighed_log(q, middle));
    }
    report.g = report.g.max(0.0);
    report.divergence = report.divergence.clamp(0.0, std::f64::consts::LN_2);
    report.degrees = occupied.saturating_sub(1);
    report.chi_square_p = chi_square_tail(report.degrees, report.chi_square);
    report.g_p = chi_square_tail(report.degrees, report.g);
    report.stability_expected =
        f64::from(report.degrees) * (1.0 / totals.0 + 1.0 / totals.1);
    Ok(report)
}

/// Evidence that some category has become likelier or rarer on the canary than on stable,
/// by factors of 2 and 4 in its odds (decision/SPEC.md 6).
#[derive(Clone, Debug)]
pub struct CategoryBank {
    tables: Vec<Odds>,
    categories: usize,
    pooled: Pooled,
}

impl CategoryBank {
    /// A bank that has seen nothing, from stable's counts by category so far. Outputs of no
    /// known category belong into one more, that the caller keeps for them.
    ///
    /// # Errors
    /// Stable has no outputs yet.
    pub fn new(stable: &[u64], plan: &ShellPlan) -> Result<Self, SampleError> {
        check_counts("stable", stable, stable.len())?;
        let categories = stable.len();
        let each = 1.0 / float(categories as u64);
        let chance = |count: u64| (float(count) + each) / (sum(stable) + 1.0);
        let odds =
            |count: &u64| ODDS.map(|odds| Odds::new(chance(*count).min(1.0), odds));
        let tables: Vec<Odds> = stable.iter().flat_map(odds).collect();
        let pooled = Pooled::new(tables.len(), categories, plan);
        Ok(Self { tables, categories, pooled })
    }

    /// Adds outputs to the open bucket, by category.
    ///
    /// # Errors
    /// The number of categories is not the one that the bank was made with.
    pub fn add(&mut self, canary: &[u64], stable: &[u64]) -> Result<(), SampleError> {
        for (sample, counts) in [("canary", canary), ("stable", stable)] {
            let (entries, expected) = (counts.len(), self.categories);
            if entries != expected {
                return Err(SampleError::Entries { sample, entries, expected });
            }
        }
        let tables = &self.tables;
        self.pooled.add(canary, stable, |canary, stable| {
            let split = |counts: &[u64], category: usize| {
                let inside = counts[category];
                (inside, counts.iter().sum::<u64>() - inside)
            };
            let increment = |(place, table): (usize, &Odds)| {
                let category = place / ODDS.len();
                table.against(split(canary, category), split(stable, category))
            };
            tables.iter().enumerate().map(increment).collect()
        });
        Ok(())
    }

    /// Closes the bucket and opens the next one.
    pub fn close(&mut self) {
        self.pooled.close();
    }

    /// ln of the evidence, with the open bucket.
    #[must_use]
    pub fn log_evidence(&self) -> f64 {
        self.pooled.shell().log_evidence()
    }

    /// The category that explains the most, and by what its odds are multiplied there.
    #[must_use]
    pub fn leading(&self) -> (usize, f64) {
        let place = self.pooled.shell().leading();
        (place / ODDS.len(), ODDS[place % ODDS.len()])
    }
}

fn sum(counts: &[u64]) -> f64 {
    counts.iter().copied().map(float).sum()
}

/// `seen * ln(seen / expected)`, nothing when nothing was seen.
fn weighed_log(seen: f64, expected: f64) -> f64 {
    if seen > 0.0 { seen * (seen / expected).ln() } else { 0.0 }
}

const ODDS: [f64; 4] = [2.0, 4.0, 0.5, 0.25];
/// Shares below this count as this in the stability index.
const LEAST_SHARE: f64 = 1e-4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::shell::ShellPlan;
    use super::super::vectors::assert_near;
    use super::super::vectors::cases;
    use super::super::vectors::count;
    use super::super::vectors::counts;
    use super::super::vectors::real;
    use super::{CategoryBank, SampleError, compare_categories};

    #[test]
    fn reports_are_those_of_the_reference() {
        for case in cases!("categorical") {
            let (canary, stable) = (counts(&case["canary"]), counts(&case["stable"]));
            let got = compare_categories(&canary, &stable).unwrap();
            assert_eq!(u64::from(got.degrees), count(&case["df"]));
            for (got, name) in [
                (got.chi_square, "chi2"),
                (got.chi_square_p, "chi2_p"),
                (got.g, "g"),
                (got.g_p, "g_p"),
                (got.stability, "psi_floor_1e4"),
                (got.stability_expected, "psi_expected_under_null"),
                (got.divergence, "js_divergence_nats"),
            ] {
                let known = real(&case[name]);
                assert_near(got, known, 1e-9 * known, &name.into());
            }
        }
    }

    #[test]
    fn empty_categories_say_nothing_and_one_category_cannot_differ() {
        let with = compare_categories(&[10, 0, 20], &[300, 0, 700]).unwrap();
        let without = compare_categories(&[10, 20], &[300, 700]).unwrap();
        assert_eq!(with, without);
        let one = compare_categories(&[5], &[9]).unwrap();
        assert!(one.chi_square_p >= 1.0 && one.g_p >= 1.0 && one.degrees == 0);
        assert!(!one.is_unstable());
        assert!(compare_categories(&[900, 100], &[100, 900]).unwrap().is_unstable());
    }

    #[test]
    fn faulty_counts_are_refused() {
        let entries = |sample, entries, expected| SampleError::Entries {
            sample,
            entries,
            expected,
        };
        assert_eq!(compare_categories(&[1], &[1, 2]), Err(entries("canary", 1, 2)));
        let empty = SampleError::Empty { sample: "canary" };
        assert_eq!(compare_categories(&[0, 0], &[1, 2]), Err(empty));
        let plan = ShellPlan::running(0.001);
        assert!(CategoryBank::new(&[], &plan).is_err());
        let mut bank = CategoryBank::new(&[5, 5], &plan).unwrap();
        assert_eq!(bank.add(&[1, 2], &[1]), Err(entries("stable", 1, 2)));
        assert!(bank.log_evidence().abs() < 1.0);
    }

    #[test]
    fn a_category_that_grew_is_found_and_named_and_equal_shares_are_not() {
        let stable = [850, 130, 20];
        for (canary, found) in [([75, 10, 15], true), ([85, 13, 2], false)] {
            let plan = ShellPlan::running(0.001);
            let mut bank = CategoryBank::new(&stable, &plan).unwrap();
            for _ in 0..20 {
                bank.add(&canary, &stable).unwrap();
                bank.close();
            }
            assert_eq!(bank.log_evidence() >= 1000_f64.ln(), found, "{bank:?}");
            if found {
                assert!(bank.leading().0 == 2 && bank.leading().1 > 1.0);
            }
        }
    }

    proptest! {
        #[test]
        fn chances_are_chances_and_both_versions_are_alike(
            pairs in prop::collection::vec((0_u64..500, 0_u64..500), 1..8),
        ) {
            let (mut one, mut two): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
            (one[0], two[0]) = (one[0] + 1, two[0] + 1);
            let got = compare_categories(&one, &two).unwrap();
            let back = compare_categories(&two, &one).unwrap();
            prop_assert!((0.0..=1.0).contains(&got.chi_square_p));
            prop_assert!((0.0..=1.0).contains(&got.g_p));
            prop_assert!(got.stability >= 0.0);
            for (got, back) in [
                (got.chi_square_p, back.chi_square_p),
                (got.g_p, back.g_p),
                (got.stability, back.stability),
                (got.divergence, back.divergence),
            ] {
                prop_assert!((got - back).abs() < 1e-9, "{got} {back}");
            }
            let same = compare_categories(&one, &one).unwrap();
            prop_assert!(same.chi_square_p > 1.0 - 1e-9 && same.divergence < 1e-12);
        }
    }
}
