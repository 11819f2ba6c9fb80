//! How fast a regression can be found at all (decision/SPEC.md 2). Apart because nothing
//! decides by it: it tells people how much longer a verdict takes, and the benchmark how
//! close the tests come to what is possible.

/// The divergence of two rates, 0 to 1, in nats for each request: how fast the first shows
/// that it is not the second. Infinite when it does at once.
#[must_use]
pub fn divergence(rate: f64, from: f64) -> f64 {
    divergence_of(&[rate, 1.0 - rate], &[from, 1.0 - from])
}

/// The divergence of two laws over the same bins, in nats for each request; never below
/// nothing, whatever the rounding.
#[must_use]
pub fn divergence_of(law: &[f64], from: &[f64]) -> f64 {
    let sum: f64 = law.iter().zip(from).map(|(p, q)| weighted_log(*p, *q)).sum();
    sum.max(0.0)
}

/// What one request says about which version it came from, in nats, when the canary's rate
/// is `canary`, stable's is `stable` and the canary gets `share` of the requests, all 0 to
/// 1 (decision/SPEC.md 2): no test that must learn the common rate gathers evidence faster.
#[must_use]
pub fn two_sample(canary: f64, stable: f64, share: f64) -> f64 {
    two_sample_of(&[canary, 1.0 - canary], &[stable, 1.0 - stable], share)
}

/// The same for whole laws over the same bins, as of latencies.
#[must_use]
pub fn two_sample_of(canary: &[f64], stable: &[f64], share: f64) -> f64 {
    let mixed: Vec<f64> = canary
        .iter()
        .zip(stable)
        .map(|(canary, stable)| share * canary + (1.0 - share) * stable)
        .collect();
    share * divergence_of(canary, &mixed) + (1.0 - share) * divergence_of(stable, &mixed)
}

/// The part of [`two_sample`] that a test can reach which looks at failures alone, in nats
/// for each request (decision/SPEC.md 2).
#[must_use]
pub fn event_only(canary: f64, stable: f64, share: f64) -> f64 {
    let mixed = share * canary + (1.0 - share) * stable;
    share * weighted_log(canary, mixed) + (1.0 - share) * weighted_log(stable, mixed)
}

/// The fewest canary requests, on average, after which a test of two rates can have its
/// verdict at a false alarm chance of `alpha`, 0 to 1: Wald's bound.
#[must_use]
pub fn canary_requests(canary: f64, stable: f64, share: f64, alpha: f64) -> f64 {
    -alpha.ln() / nats_per_canary_request(canary, stable, share)
}

/// How much evidence a canary request is worth on average, in nats, with the stable
/// requests that come along with it. The nats that are missing, divided by it, are about
/// how many canary requests more a verdict takes.
#[must_use]
pub fn nats_per_canary_request(canary: f64, stable: f64, share: f64) -> f64 {
    if share <= 0.0 {
        return 0.0;
    }
    two_sample(canary, stable, share) / share
}

/// The fewest requests, on average, in which a test of one rate against a known `before` can
/// see that it is `after`, with `between` requests between false alarms: Lorden's bound.
#[must_use]
pub fn requests_alone(before: f64, after: f64, between: f64) -> f64 {
    between.ln() / divergence(after, before)
}

/// p ln(p/q), which is nothing when p is.
fn weighted_log(p: f64, q: f64) -> f64 {
    if p <= 0.0 { 0.0 } else { p * (p / q).ln() }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::assert_near;
    use super::super::vectors::cases;
    use super::super::vectors::real;
    use super::{
        canary_requests, divergence, event_only, nats_per_canary_request, requests_alone,
        two_sample, two_sample_of,
    };

    #[test]
    fn bounds_are_those_of_the_reference() {
        for case in cases!("bounds") {
            let (canary, stable, share) =
                (real(&case["p_c"]), real(&case["p_s"]), real(&case["w"]));
            for (got, name) in [
                (two_sample(canary, stable, share), "info_two_sample"),
                (event_only(canary, stable, share), "info_event_only"),
                (
                    canary_requests(canary, stable, share, 1e-3),
                    "canary_requests_alpha_1e3",
                ),
            ] {
                let expected = real(&case[name]);
                assert_near(got, expected, 1e-9 * expected, &name.into());
            }
        }
    }

    #[test]
    fn a_version_alone_is_found_by_how_far_it_moved() {
        assert!((divergence(0.5, 0.25) - 0.143_841).abs() < 1e-6);
        let requests = requests_alone(0.01, 0.05, 2_592_000.0);
        assert!((requests - 14.768 / divergence(0.05, 0.01)).abs() < 0.1, "{requests}");
    }

    #[test]
    fn equal_versions_say_nothing_and_a_flawless_stable_says_more() {
        assert!(two_sample(0.02, 0.02, 0.1).abs() < 1e-12);
        assert!(canary_requests(0.02, 0.02, 0.1, 1e-3) > 1e9);
        assert!((nats_per_canary_request(0.1, 0.1, 0.0)).abs() < 1e-12);
        assert!(divergence(0.1, 0.0).is_infinite());
        let flawless = nats_per_canary_request(0.1, 0.0, 0.1);
        assert!(
            flawless.is_finite() && flawless > nats_per_canary_request(0.1, 0.01, 0.1)
        );
        assert!(event_only(0.1, 0.0, 0.1) <= two_sample(0.1, 0.0, 0.1));
    }

    #[test]
    fn finer_bins_never_say_less() {
        let (canary, stable) = ([0.5, 0.3, 0.2], [0.6, 0.35, 0.05]);
        let fine = two_sample_of(&canary, &stable, 0.2);
        assert!(fine >= two_sample(canary[2], stable[2], 0.2));
        assert!(fine >= two_sample(canary[0], stable[0], 0.2));
    }
}
