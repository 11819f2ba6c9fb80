//! Outlier ejection: whether one endpoint is left out for a while, so that one bad server
//! is not a bad version.
//!
//! Pure, so that the rule can be read and tested apart from the counters it looks at.

use std::time::Duration;

use super::settings::Outlier;

/// What the rule looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Failures in a row of the endpoint, the last one counted.
    pub(super) failures: u32,
    /// How often it was ejected since it last did well.
    pub(super) ejections: u32,
    /// Endpoints of the version.
    pub(super) endpoints: usize,
    /// Those of them that are ejected now.
    pub(super) ejected: usize,
}

/// How long the endpoint is left out from now; `None` leaves it in.
///
/// An endpoint that comes back and fails at once still has its failures in a row, so that
/// one more is enough: the first request after an ejection is its trial.
pub(super) fn decide(rule: &Outlier, seen: Record) -> Option<Duration> {
    if rule.consecutive_failures == 0 || seen.failures < rule.consecutive_failures {
        return None;
    }
    let share = u64::from(rule.max_ejected.ppm());
    let may = u64::try_from(seen.endpoints).unwrap_or(u64::MAX).saturating_mul(share)
        / 1_000_000;
    // The only endpoint is never ejected: a bad answer is no worse than none, and the
    // version's error rate has to see it.
    if seen.endpoints < 2 || u64::try_from(seen.ejected).unwrap_or(u64::MAX) >= may {
        return None;
    }
    let doubled =
        1_u32.checked_shl(seen.ejections.min(LONGEST)).unwrap_or(LONGEST).min(LONGEST);
    Some(rule.base_ejection.saturating_mul(doubled))
}

/// An ejection lasts at most so many times the base.
const LONGEST: u32 = 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Record, decide};
    use crate::upstream::settings::Outlier;
    use crate::vocab::amount::Percent;

    const GOOD: Record = Record { failures: 5, ejections: 0, endpoints: 4, ejected: 0 };

    fn seconds(max_ejected: f64, seen: Record) -> Option<u64> {
        let rule = Outlier {
            consecutive_failures: 5,
            base_ejection: Duration::from_secs(30),
            max_ejected: Percent::of(max_ejected).unwrap(),
        };
        decide(&rule, seen).map(|span| span.as_secs())
    }

    #[test]
    fn failures_in_a_row_eject() {
        for (failures, span) in [(0, None), (4, None), (5, Some(30)), (6, Some(30))] {
            assert_eq!(seconds(50.0, Record { failures, ..GOOD }), span, "{failures}");
        }
        let never = Outlier {
            consecutive_failures: 0,
            base_ejection: Duration::from_secs(30),
            max_ejected: Percent::FULL,
        };
        assert_eq!(decide(&never, Record { failures: 1_000, ..GOOD }), None);
    }

    #[test]
    fn each_ejection_in_a_row_is_twice_as_long_up_to_ten_times() {
        for (ejections, span) in
            [(0, 30), (1, 60), (2, 120), (3, 240), (4, 300), (31, 300), (u32::MAX, 300)]
        {
            assert_eq!(
                seconds(50.0, Record { ejections, ..GOOD }),
                Some(span),
                "{ejections}"
            );
        }
    }

    #[test]
    fn only_so_many_are_ejected_at_a_time_and_the_only_one_never() {
        for (share, endpoints, ejected, ejects) in [
            (50.0, 4, 1, true),
            (50.0, 4, 2, false),
            (50.0, 3, 1, false),
            (50.0, 2, 0, true),
            (50.0, 2, 1, false),
            (10.0, 4, 0, false),
            (100.0, 1, 0, false),
            (100.0, 2, 1, true),
            (0.0, 8, 0, false),
        ] {
            let seen = Record { endpoints, ejected, ..GOOD };
            assert_eq!(seconds(share, seen).is_some(), ejects, "{share}% of {endpoints}");
        }
    }
}
