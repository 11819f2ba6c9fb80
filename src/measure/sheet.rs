//! What one judged request means for the sums of its version and epoch: the rules by which
//! an end or a passed deadline is counted.
//!
//! Apart from the flight, which knows when, and from the sums, which know nothing of
//! classes.

use super::watch::Passed;
use crate::judge::{REFUSED, STALLED, Sums, bin_of};
use crate::vocab::outcome::Class;

/// How a judged request ended.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// Its class.
    pub class: Class,
    /// The place of the endpoint that was asked last.
    pub endpoint: usize,
    /// The version's own time.
    pub took: Took,
    /// Deadlines it has passed that were not counted before.
    pub passed: Passed,
    /// Whether it has passed the first deadline; `None` when there is none.
    pub late: Option<bool>,
    /// Not one byte of an answer came from the endpoint that was asked last.
    pub silent: bool,
}

/// What of a good answer is judged, in microseconds of the version's own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// The whole of it.
    Whole(u64),
    /// A stream of tokens, by the time for each token after the first, where there are any:
    /// how long it is says nothing. Its first token was counted by [`spoke`].
    Streamed(Option<u64>),
}

/// Counts the first token of a stream, so many microseconds after the request, however the
/// stream is to end, which may be long after. It ends a run of refusals, and unless it is
/// `late` one of requests that are.
pub fn spoke(sums: &mut Sums, endpoint: usize, first_us: u64, late: bool) {
    sums.refused.miss();
    if !late {
        sums.stalled.miss();
    }
    let bin = &mut sums.stream(endpoint).first[bin_of(first_us)];
    *bin = bin.saturating_add(1);
}

/// Counts a request that has passed deadlines, ended or not.
pub(super) fn passed(sums: &mut Sums, endpoint: usize, passed: Passed) {
    let cell = sums.cell(endpoint);
    for (count, passed) in cell.slow.iter_mut().zip(passed) {
        *count += u64::from(passed);
    }
    if passed[0] {
        sums.stalled.hit();
    }
}

/// Counts a request that has ended. A caller that gave up after the first deadline is the
/// version's failure (decision/SPEC.md 1).
pub fn ended(sums: &mut Sums, ending: &Ending) {
    let Ending { class, endpoint, took, late, .. } = *ending;
    if ending.passed.contains(&true) {
        passed(sums, endpoint, ending.passed);
    }
    let given_up = class == Class::ClientCancelled && late == Some(true);
    if !class.is_evidence() && !given_up {
        return;
    }
    let bad = class.is_failure() || given_up;
    let cell = sums.cell(endpoint);
    cell.known += 1;
    cell.bad += u64::from(bad);
    if bad {
        if no_connection(class, ending.silent) {
            sums.refused.hit();
        }
        return;
    }
    let bin = match took {
        Took::Whole(micros) => Some(&mut cell.bins[bin_of(micros)]),
        Took::Streamed(Some(micros)) => {
            Some(&mut sums.stream(endpoint).each[bin_of(micros)])
        }
        Took::Streamed(None) => None,
    };
    if let Some(bin) = bin {
        *bin = bin.saturating_add(1);
    }
    sums.refused.miss();
    if late == Some(false) {
        sums.stalled.miss();
    }
}

/// Whether so many requests in a row failed that control is not to wait for its tick.
#[must_use]
pub fn is_urgent(sums: &Sums) -> bool {
    sums.refused.run() >= REFUSED || sums.stalled.run() >= STALLED
}

/// The connect class of decision/SPEC.md 3.7.2.
fn no_connection(class: Class, silent: bool) -> bool {
    match class {
        Class::ConnectError | Class::TlsError | Class::TimeoutConnect => true,
        Class::UpstreamReset => silent,
        Class::Upgraded
        | Class::Success
        | Class::Redirect
        | Class::ClientError
        | Class::TooManyRequests
        | Class::ServerError
        | Class::TimeoutFirstByte
        | Class::TimeoutIdle
        | Class::TimeoutTotal
        | Class::Truncated
        | Class::StreamError
        | Class::EmptyStream
        | Class::ProtocolError
        | Class::Grpc(_)
        | Class::ClientCancelled
        | Class::Rejected => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Took, ended, is_urgent, passed, spoke};
    use crate::judge::{Sums, bin_of};
    use crate::vocab::outcome::Class;

    fn end(class: Class, late: Option<bool>) -> Ending {
        let passed = [false; 2];
        let took = Took::Whole(5_000);
        Ending { class, endpoint: 0, took, passed, late, silent: true }
    }

    #[test]
    fn every_class_counts_by_what_it_says_about_the_version() {
        for class in Class::all() {
            let mut sums = Sums::default();
            ended(&mut sums, &Ending { endpoint: 2, ..end(class, None) });
            if !class.is_evidence() {
                assert!(sums.is_empty(), "{class}");
                continue;
            }
            let cell = &sums.cells[2];
            let (bad, good) = (u64::from(class.is_failure()), !class.is_failure());
            assert_eq!((cell.known, cell.bad), (1, bad), "{class}");
            assert_eq!(cell.bins[bin_of(5_000)], u32::from(good), "{class}");
            assert_eq!(cell.good(), u64::from(good), "{class}");
        }
    }

    #[test]
    fn a_stream_counts_by_its_first_token_and_its_pace_and_never_by_its_length() {
        let mut sums = Sums::default();
        spoke(&mut sums, 1, 40_000, false);
        assert!(!sums.is_empty());
        for took in [Some(9_000), None] {
            let took = Took::Streamed(took);
            ended(&mut sums, &Ending { endpoint: 1, took, ..end(Class::Success, None) });
        }
        let (cell, stream) = (&sums.cells[1], &sums.streams[1]);
        assert_eq!((cell.known, cell.good(), cell.bins.iter().sum::<u32>()), (2, 2, 0));
        assert_eq!((stream.first[bin_of(40_000)], stream.each[bin_of(9_000)]), (1, 1));
        assert_eq!(stream.each.iter().sum::<u32>(), 1);
        let took = Took::Streamed(Some(1));
        ended(&mut sums, &Ending { took, ..end(Class::StreamError, None) });
        assert_eq!((sums.cells[0].bad, sums.streams[0].each[0]), (1, 0));
    }

    #[test]
    fn a_first_token_ends_the_runs_that_a_good_answer_ends() {
        let mut sums = Sums::default();
        for _ in 0..9 {
            passed(&mut sums, 0, [true, false]);
        }
        ended(&mut sums, &end(Class::ConnectError, None));
        spoke(&mut sums, 0, 5, true);
        assert_eq!((sums.refused.run(), sums.stalled.run()), (0, 9));
        spoke(&mut sums, 0, 5, false);
        assert_eq!(sums.stalled.run(), 0);
    }

    #[test]
    fn a_caller_that_gives_up_counts_only_after_the_deadline() {
        for (late, known) in [(None, 0), (Some(false), 0), (Some(true), 1)] {
            let mut sums = Sums::default();
            ended(&mut sums, &end(Class::ClientCancelled, late));
            let cell = sums.cell(0);
            assert_eq!(
                (cell.known, cell.bad, cell.good()),
                (known, known, 0),
                "{late:?}"
            );
        }
        let mut sums = Sums::default();
        ended(&mut sums, &end(Class::Rejected, Some(true)));
        assert!(sums.is_empty());
    }

    #[test]
    fn only_a_good_answer_ends_a_run_of_refusals() {
        let mut sums = Sums::default();
        for class in [Class::ConnectError, Class::ServerError, Class::TimeoutFirstByte] {
            ended(&mut sums, &end(class, None));
        }
        ended(&mut sums, &Ending { silent: false, ..end(Class::UpstreamReset, None) });
        assert_eq!((sums.refused.run(), sums.refused.broken), (1, false));
        for class in [Class::TlsError, Class::TimeoutConnect, Class::UpstreamReset] {
            assert!(!is_urgent(&sums) || sums.refused.run() == 3);
            ended(&mut sums, &end(class, None));
        }
        assert_eq!(sums.refused.run(), 4);
        assert!(is_urgent(&sums));
        ended(&mut sums, &end(Class::ClientError, None));
        assert_eq!((sums.refused.run(), sums.refused.longest), (0, 4));
    }

    #[test]
    fn only_a_good_answer_within_the_deadline_ends_a_stall() {
        let mut sums = Sums::default();
        for _ in 0..9 {
            passed(&mut sums, 1, [true, false]);
        }
        passed(&mut sums, 1, [false, true]);
        ended(&mut sums, &end(Class::Success, Some(true)));
        ended(&mut sums, &end(Class::Success, None));
        ended(&mut sums, &end(Class::ServerError, Some(false)));
        assert!(!is_urgent(&sums) && sums.stalled.run() == 9);
        let late = Ending { passed: [true, true], ..end(Class::Success, Some(true)) };
        ended(&mut sums, &late);
        assert_eq!((sums.cells[0].slow, sums.cells[1].slow), ([1, 1], [9, 1]));
        assert!(is_urgent(&sums));
        ended(&mut sums, &end(Class::Success, Some(false)));
        assert_eq!((sums.stalled.run(), sums.stalled.longest), (0, 10));
    }
}
