//! `Cells`: how many bad events of each endpoint count, so that one burst of one endpoint is
//! a few events and not hundreds (SPEC 3.4).

use super::call::{Beat, Share};
use super::stage::Brought;
use crate::judge::reading::whole;
use crate::judge::sums::Sums;
use crate::vocab::time::Timestamp;

/// The cells of each version for failures and for slow requests, the canary's first.
#[derive(Clone, Debug, Default)]
pub(super) struct Winsor {
    bad: (Cells, Cells),
    slow: (Cells, Cells),
}

impl Winsor {
    /// The events of a beat that count, endpoint by endpoint, when cells hold at most so many
    /// failures and so many slow requests.
    pub(super) fn count(
        &mut self,
        now: Timestamp,
        (beat, share): (&Beat<'_>, Share),
        stretch: Stretch,
        caps: (Option<u64>, Option<u64>),
    ) -> Brought {
        let Self { bad, slow } = self;
        let Stretch { canary_ms, stable_ms, caps: times } = stretch;
        let wide = |times: u64| {
            let wide = |cap: Option<u64>| cap.map(|cap| cap.saturating_mul(times));
            (wide(caps.0), wide(caps.1))
        };
        let (sums, span) = (beat.canary, (now, canary_ms));
        let ours = side(sums, (&mut bad.0, &mut slow.0), span, wide(times.0));
        let (sums, span) = (beat.stable, (now, stable_ms));
        let theirs = side(sums, (&mut bad.1, &mut slow.1), span, wide(times.1));
        Brought {
            share,
            known: (ours.0, theirs.0),
            bad: (ours.1, theirs.1),
            slow: (ours.2, theirs.2),
            over_max: beat.canary.cells.iter().map(|cell| cell.slow[1]).sum(),
        }
    }
}

/// Requests, failures that count and slow requests that count.
fn side(
    sums: &Sums,
    (bad, slow): (&mut Cells, &mut Cells),
    (now, span_ms): (Timestamp, u64),
    caps: (Option<u64>, Option<u64>),
) -> (u64, u64, u64) {
    let mut counted = (0, 0, 0);
    for (endpoint, cell) in sums.cells.iter().enumerate() {
        counted.0 += cell.known;
        counted.1 += bad.pass(now, span_ms, endpoint, (cell.bad, caps.0));
        counted.2 += slow.pass(now, span_ms, endpoint, (cell.slow[0], caps.1));
    }
    counted
}

/// Bad events that have counted in each endpoint's present cell.
#[derive(Clone, Debug, Default)]
struct Cells {
    begun: Timestamp,
    counted: Vec<u64>,
}

impl Cells {
    /// How many of an endpoint's further bad events count, when a cell lasts so long and
    /// holds at most `cap`.
    fn pass(
        &mut self,
        now: Timestamp,
        span_ms: u64,
        endpoint: usize,
        (bad, cap): (u64, Option<u64>),
    ) -> u64 {
        // The cell of the tick that ends exactly with it still takes what that tick brings.
        if now.0 > self.begun.0.saturating_add(span_ms) || now < self.begun {
            let late = now.0.saturating_sub(1) % span_ms.max(1);
            self.begun = Timestamp(now.0.saturating_sub(1).saturating_sub(late));
            self.counted.fill(0);
        }
        if self.counted.len() <= endpoint {
            self.counted.resize(endpoint + 1, 0);
        }
        let counted = &mut self.counted[endpoint];
        let room = cap.map_or(u64::MAX, |cap| cap.saturating_sub(*counted));
        let passed = bad.min(room);
        *counted = counted.saturating_add(passed);
        passed
    }
}

/// How long a cell of each version lasts, so that both expect as many requests in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stretch {
    /// Milliseconds of the canary's cells.
    pub(super) canary_ms: u64,
    /// Milliseconds of stable's cells.
    pub(super) stable_ms: u64,
    /// By so much the caps of the canary's and of stable's cells are multiplied.
    pub(super) caps: (u64, u64),
}

impl Stretch {
    /// From the canary's share of the requests and the endpoints of each.
    pub(super) fn of(share: f64, (canary, stable): (usize, usize)) -> Self {
        let each = |share: f64, endpoints: usize| {
            share / f64::from(u16::try_from(endpoints.max(1)).unwrap_or(u16::MAX))
        };
        let (ours, theirs) = (each(share, canary), each(1.0 - share, stable));
        if ours <= 0.0 || theirs <= 0.0 {
            let (canary_ms, stable_ms) = (CELL_MS, CELL_MS);
            return Self { canary_ms, stable_ms, caps: (1, 1) };
        }
        if theirs >= ours {
            // Rounded so that the canary's cells are rather too long: fewer of its events
            // count. Beyond the longest cell stable's caps grow instead.
            let ratio = whole((theirs / ours).ceil().clamp(1.0, 1e9));
            let seconds = ratio.min(LONGEST);
            let (canary_ms, stable_ms) = (CELL_MS * seconds, CELL_MS);
            return Self {
                canary_ms,
                stable_ms,
                caps: (1, ratio.div_ceil(LONGEST).max(1)),
            };
        }
        let seconds = whole((ours / theirs).floor()).clamp(1, LONGEST);
        let stable_ms = CELL_MS * seconds;
        Self { canary_ms: CELL_MS, stable_ms, caps: (seconds, seconds) }
    }
}

const CELL_MS: u64 = 1_000;
/// Seconds of the longest cell.
const LONGEST: u64 = 30;

#[cfg(test)]
mod tests {
    use super::{Cells, Stretch};
    use crate::vocab::time::Timestamp;

    #[test]
    fn a_cell_passes_so_many_events_and_no_more() {
        let mut cells = Cells::default();
        let mut pass = |ms, endpoint, bad| {
            cells.pass(Timestamp(ms), 1_000, endpoint, (bad, Some(3)))
        };
        assert_eq!(pass(10_250, 0, 2), 2);
        assert_eq!(pass(10_500, 0, 2), 1);
        assert_eq!(pass(10_500, 1, 9), 3);
        assert_eq!(pass(11_000, 0, 9), 0);
        assert_eq!(pass(11_250, 0, 9), 3);
        assert_eq!(cells.pass(Timestamp(11_300), 1_000, 0, (9, None)), 9);
    }

    #[test]
    fn both_cells_expect_as_many_requests() {
        let of = |share, canary, stable| {
            let Stretch { canary_ms, stable_ms, caps } =
                Stretch::of(share, (canary, stable));
            (canary_ms / 1_000, stable_ms / 1_000, caps)
        };
        assert_eq!(of(0.1, 1, 1), (9, 1, (1, 1)));
        assert_eq!(of(0.1, 1, 9), (1, 1, (1, 1)));
        assert_eq!(of(0.5, 2, 2), (1, 1, (1, 1)));
        assert_eq!(of(0.01, 1, 1), (30, 1, (1, 4)));
        assert_eq!(of(0.9, 1, 1), (1, 9, (9, 9)));
        assert_eq!(of(0.0, 1, 1), (1, 1, (1, 1)));
    }
}
