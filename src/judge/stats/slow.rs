//! What the split test looks for when its events are slow answers (decision/SPEC.md 4.5).
//! Apart because an answer is slow as soon as it passes the deadline, long before it ends.

/// The shares of slow answers that are looked for.
const SHARES: [f64; 4] = [0.015, 0.04, 0.12, 0.4];
/// Stable's share is taken to be at least this.
const LEAST_SHARE: f64 = 1e-4;
/// No ratio is outside.
const RATIOS: (f64, f64) = (2.0, 3000.0);

/// The ratios of slow answers to look for when stable has `mass`, 0 to 1, of its answers at
/// or beyond the deadline's bin. They do not fall.
#[must_use]
pub fn slow_ratios(mass: f64) -> [f64; 4] {
    SHARES.map(|share| (share / mass.max(LEAST_SHARE)).clamp(RATIOS.0, RATIOS.1))
}

#[cfg(test)]
mod tests {
    use super::slow_ratios;

    #[test]
    fn ratios_follow_what_stable_does() {
        for (mass, expected) in [
            (0.01, [2.0, 4.0, 12.0, 40.0]),
            (0.002, [7.5, 20.0, 60.0, 200.0]),
            (0.0, [150.0, 400.0, 1200.0, 3000.0]),
            (0.5, [2.0; 4]),
        ] {
            for (got, expected) in slow_ratios(mass).into_iter().zip(expected) {
                assert!((got - expected).abs() < 1e-9, "{mass}: {got}");
            }
        }
    }
}
