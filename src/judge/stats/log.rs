//! Sums of numbers that are kept as logarithms. Apart because every test adds evidence this
//! way, and evidence itself would overflow.

/// ln(e^a + e^b). Either may be minus infinity, which is nothing.
#[must_use]
pub fn log_add_exp(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// ln of the sum of e^x over all x; minus infinity for none.
#[must_use]
pub fn log_sum_exp(terms: &[f64]) -> f64 {
    log_sum_exp_of(terms.len(), |place| terms[place])
}

/// The same over `term(0)` to `term(count - 1)`, each of which is asked for twice.
pub(super) fn log_sum_exp_of(count: usize, term: impl Fn(usize) -> f64) -> f64 {
    let highest = (0..count).map(&term).fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    let sum: f64 = (0..count).map(|place| (term(place) - highest).exp()).sum();
    highest + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::{log_add_exp, log_sum_exp};

    const NOTHING: f64 = f64::NEG_INFINITY;

    #[test]
    fn sums_are_those_of_the_numbers_themselves() {
        for (terms, sum) in [
            (&[1.0, 2.0, 3.0][..], 6.0_f64),
            (&[0.5], 0.5),
            (&[0.0, 4.0], 4.0),
            (&[0.0, 0.0], 0.0),
            (&[], 0.0),
        ] {
            let logs: Vec<f64> = terms.iter().map(|term: &f64| term.ln()).collect();
            let one_by_one = logs.iter().fold(NOTHING, |sum, log| log_add_exp(sum, *log));
            for got in [log_sum_exp(&logs), one_by_one] {
                assert!((got.exp() - sum).abs() < 1e-12, "{terms:?}: {got}");
            }
        }
    }

    #[test]
    fn large_evidence_does_not_overflow() {
        assert!((log_add_exp(5_000.0, 5_000.0) - 5_000.0 - 2_f64.ln()).abs() < 1e-9);
        assert!((log_sum_exp(&[5_000.0, -5_000.0, NOTHING]) - 5_000.0).abs() < 1e-9);
    }
}
