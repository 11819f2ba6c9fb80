//! When what was not taken is tried again, and when it is given up. Apart because notices
//! and lines keep to the same patience.

use std::time::Duration;

use super::sink::SinkError;
use crate::vocab::time::Timestamp;

/// What becomes of something that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is tried again after so long.
    After(Duration),
    /// It is given up.
    Never,
}

/// After so long without success something is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(24 * 3_600);

/// What becomes of something that waits since `queued` and failed for the `tries`th time.
pub(super) fn next(
    error: &SinkError,
    tries: u32,
    queued: Timestamp,
    now: Timestamp,
) -> Next {
    if now.since(queued) >= PATIENCE {
        return Next::Never;
    }
    match error {
        SinkError::Never { .. } => Next::Never,
        SinkError::Fix { .. } => Next::After(jittered(LONGEST)),
        SinkError::Again { after, .. } => {
            let own = pause(tries);
            // A sink that asks for a day would get the notice when it is of no use.
            Next::After(after.map_or(own, |asked| asked.min(ASKED).max(own)))
        }
    }
}

/// The pause after so many failures in a row: doubled each time, up to five minutes, of
/// which a random half, so that many that failed together do not come back together.
pub(super) fn pause(tries: u32) -> Duration {
    let doubled = SHORTEST.saturating_mul(1_u32 << tries.clamp(1, 16).saturating_sub(1));
    jittered(doubled.min(LONGEST))
}

fn jittered(span: Duration) -> Duration {
    (span / 2).max(SHORTEST) + (span / 2).mul_f64(fastrand::f64())
}

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// The longest that a sink may ask for.
const ASKED: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Next, next, pause};
    use crate::effects::sink::SinkError;
    use crate::vocab::time::Timestamp;

    #[test]
    fn pauses_grow_from_a_second_to_five_minutes() {
        for (tries, least, most) in
            [(0, 1, 2), (1, 1, 2), (2, 1, 2), (4, 4, 8), (9, 128, 256), (40, 150, 300)]
        {
            let pause = pause(tries);
            let range = Duration::from_secs(least)..=Duration::from_secs(most);
            assert!(range.contains(&pause), "{tries}: {pause:?}");
        }
    }

    #[test]
    fn what_failed_is_tried_again_by_its_error_and_its_age() {
        let day = Timestamp(24 * 3_600_000);
        let again = |after| SinkError::Again { why: String::new(), after };
        let minute = Duration::from_secs(60);
        for (error, tries, now, range) in [
            (again(None), 1, 0, Some(1..=2)),
            (again(Some(minute)), 1, 0, Some(60..=60)),
            (again(Some(minute * 60 * 30)), 1, 0, Some(3_600..=3_600)),
            (again(Some(Duration::ZERO)), 5, 0, Some(8..=16)),
            (again(None), 1, day.0 - 1, Some(1..=2)),
            (again(None), 1, day.0, None),
            (SinkError::Fix { why: String::new() }, 1, 0, Some(150..=300)),
            (SinkError::Never { why: String::new() }, 1, 0, None),
        ] {
            let seen = next(&error, tries, Timestamp(0), Timestamp(now));
            match (seen, range) {
                (Next::Never, None) => {}
                (Next::After(span), Some(range)) => {
                    let (least, most) = (*range.start(), *range.end());
                    let range = Duration::from_secs(least)..=Duration::from_secs(most);
                    assert!(range.contains(&span), "{error:?}: {span:?}");
                }
                (seen, range) => panic!("{error:?}: {seen:?}, not {range:?}"),
            }
        }
    }
}
