//! The regularised upper incomplete gamma function and what follows from it: tails of the
//! chi-square and of the normal law. Apart because it is arithmetic that can be checked
//! against known numbers.

/// Q(shape, x), the upper tail of the gamma law of that shape, `shape > 0`, `x >= 0`:
/// good to about 12 digits up to shapes of some millions.
#[must_use]
pub fn upper_gamma(shape: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x.is_infinite() {
        return 0.0;
    }
    let scale = (shape * x.ln() - x - ln_gamma(shape)).exp();
    if x < shape + 1.0 {
        (1.0 - scale * lower_series(shape, x)).clamp(0.0, 1.0)
    } else {
        (scale * upper_fraction(shape, x)).clamp(0.0, 1.0)
    }
}

/// The chance that a chi-square number of so many degrees of freedom is at least `x`; 1
/// without any degree of freedom.
#[must_use]
pub fn chi_square_tail(degrees: u32, x: f64) -> f64 {
    if degrees == 0 { 1.0 } else { upper_gamma(f64::from(degrees) / 2.0, x / 2.0) }
}

/// The complementary error function: twice the normal tail beyond `x` times the square root
/// of 2.
#[must_use]
pub fn erfc(x: f64) -> f64 {
    let tail = upper_gamma(0.5, x * x);
    if x < 0.0 { 2.0 - tail } else { tail }
}

/// ln of the gamma function, `x > 0`, by Stirling's series far enough out.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0);
    while x < FAR_ENOUGH {
        product *= x;
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let tail = 1.0 / 1_260.0 - square / 1_680.0;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * tail));
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - product.ln()
}

/// The power series of the lower tail without its scale; falls fast below `shape + 1`.
fn lower_series(shape: f64, x: f64) -> f64 {
    let mut divisor = shape;
    let mut term = 1.0 / shape;
    let mut sum = term;
    for _ in 0..MOST_TERMS {
        divisor += 1.0;
        term *= x / divisor;
        sum += term;
        if term <= sum * f64::EPSILON {
            break;
        }
    }
    sum
}

/// The continued fraction of the upper tail without its scale, from the front; settles fast
/// above `shape + 1`, where every denominator is positive.
fn upper_fraction(shape: f64, x: f64) -> f64 {
    let mut partial = x + 1.0 - shape;
    let mut below = 1.0 / partial;
    let mut above = f64::INFINITY;
    let mut value = below;
    let mut step = 0.0;
    for _ in 0..MOST_TERMS {
        step += 1.0;
        let numerator = step * (shape - step);
        partial += 2.0;
        below = 1.0 / (partial + numerator * below);
        above = partial + numerator / above;
        let factor = above * below;
        value *= factor;
        if (factor - 1.0).abs() <= f64::EPSILON {
            break;
        }
    }
    value
}

/// From here on four terms of Stirling's series are exact to 13 digits.
const FAR_ENOUGH: f64 = 15.0;
/// Enough for shapes of some millions, where the most are needed around the mean.
const MOST_TERMS: usize = 20_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{chi_square_tail, erfc, ln_gamma, upper_gamma};

    #[test]
    fn error_function_is_the_known_one() {
        for (x, known) in [
            (0.0, 1.0),
            (0.1, 0.887_537_083_981_715),
            (0.5, 0.479_500_122_186_953_5),
            (1.0, 0.157_299_207_050_285_13),
            (2.0, 0.004_677_734_981_047_266),
            (5.0, 1.537_459_794_428_035e-12),
            (-0.5, 1.520_499_877_813_046_5),
        ] {
            assert!((erfc(x) - known).abs() <= 1e-12 * known, "{x}: {}", erfc(x));
        }
    }

    #[test]
    fn whole_shapes_are_sums_of_poisson_terms() {
        for (degrees, x) in
            [(2, 0.3), (2, 9.0), (4, 3.0), (10, 9.5), (10, 40.0), (200, 190.0)]
        {
            let half: f64 = x / 2.0;
            let (mut term, mut sum) = ((-half).exp(), 0.0);
            for k in 1..=degrees / 2 {
                sum += term;
                term *= half / f64::from(k);
            }
            let ours = chi_square_tail(degrees, x);
            assert!((ours - sum).abs() <= 1e-12 * sum, "{degrees} {x}: {ours} {sum}");
        }
    }

    #[test]
    fn the_edges_are_certain_or_impossible() {
        assert!(chi_square_tail(0, 5.0) >= 1.0);
        assert!(upper_gamma(3.0, 0.0) >= 1.0);
        assert!(upper_gamma(3.0, f64::INFINITY) <= 0.0);
        assert!(upper_gamma(3.0, 1e6) <= 0.0);
        let median = upper_gamma(1e6, 1e6);
        assert!((median - 0.5).abs() < 1e-3, "{median}");
    }

    #[test]
    fn gamma_is_the_factorial() {
        let mut factorial = 1.0_f64;
        for n in 1..30_u32 {
            factorial *= f64::from(n);
            let ours = ln_gamma(f64::from(n + 1));
            assert!((ours - factorial.ln()).abs() < 1e-12 * ours.abs().max(1.0), "{n}");
        }
        assert!((ln_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-13);
    }

    proptest! {
        #[test]
        fn a_tail_falls_without_a_step_between_its_two_forms(
            shape in 0.1_f64..300.0, x in 0.0_f64..600.0,
        ) {
            let (here, next) = (upper_gamma(shape, x), upper_gamma(shape, x + 0.5));
            prop_assert!((0.0..=1.0).contains(&here));
            prop_assert!(next <= here + 1e-12);
            let border = (shape + 1.0, (shape + 1.0).next_down());
            let step = upper_gamma(shape, border.0) - upper_gamma(shape, border.1);
            prop_assert!(step.abs() < 1e-11, "{step}");
        }
    }
}
