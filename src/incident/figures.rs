//! Numbers as people read them: counts, shares, times and odds with their units.
//!
//! Apart so that the report and the plot say the same of the same number, and what is not
//! known or not finite looks alike everywhere.

use std::time::Duration;

use super::facts::Unit;

/// What stands where nothing is known.
pub(super) const UNKNOWN: &str = "–";

/// `part` of `whole`, 0 to 1; `None` of nothing.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| float(part) / float(whole))
}

/// A count as a float. Exact up to 2^53, more than any process will count.
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

/// `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `8.04%` of a share between 0 and 1.
pub(super) fn percent(share: Option<f64>) -> String {
    known(share, |share| format!("{:.2}%", share * 100.0))
}

/// `0.085 ms`, `43.7 ms` or `1.23 s`.
pub(super) fn micros(micros: Option<u64>) -> String {
    known(micros.map(|us| float(us) / 1e3), millis)
}

/// As [`micros`], of a number of milliseconds.
pub(super) fn millis(ms: f64) -> String {
    if ms >= 1_000.0 {
        format!("{:.2} s", ms / 1e3)
    } else if ms >= 1.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.3} ms")
    }
}

/// `0.200 ms`, `13.20 s`: how long something took.
pub(super) fn seconds(seconds: Option<f64>) -> String {
    known(seconds.map(|seconds| seconds * 1e3), millis)
}

/// `5m`, `27s`: a span as the configuration writes it, as far as it is round.
pub(super) fn span(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let (minutes, rest) = (whole.as_secs() / 60, whole.as_secs() % 60);
    match (minutes, rest, whole.subsec_millis()) {
        (0, 0, 0) => "0s".to_owned(),
        (0, 0, ms) => format!("{ms}ms"),
        (0, rest, _) => format!("{rest}s"),
        (minutes, 0, _) => format!("{minutes}m"),
        (minutes, rest, _) => format!("{minutes}m{rest}s"),
    }
}

/// `220 to 1`.
pub(super) fn odds(odds: Option<f64>) -> String {
    known(odds, |odds| {
        if odds >= 1e6 {
            format!("{odds:.0e} to 1")
        } else if odds >= 10.0 {
            format!("{odds:.0} to 1")
        } else {
            format!("{odds:.1} to 1")
        }
    })
}

/// A rule's number in its unit.
pub(super) fn amount(number: Option<f64>, unit: Unit) -> String {
    match unit {
        Unit::Share => percent(number),
        Unit::Seconds => known(number.map(|seconds| seconds * 1e3), millis),
        Unit::Checks => known(number, |checks| format!("{checks:.0} in a row")),
        Unit::Number => known(number, |number| number.to_string()),
    }
}

/// What is known and finite, else [`UNKNOWN`].
fn known(number: Option<f64>, print: impl FnOnce(f64) -> String) -> String {
    number.filter(|n| n.is_finite()).map_or_else(|| UNKNOWN.to_owned(), print)
}

#[cfg(test)]
mod tests {
    use super::{amount, count, micros, odds, percent, span};
    use crate::incident::facts::Unit;

    #[test]
    fn numbers_have_their_units() {
        for (is, says) in [
            (count(0), "0"),
            (count(999), "999"),
            (count(1_000), "1,000"),
            (count(12_345_678), "12,345,678"),
            (percent(Some(0.080_4)), "8.04%"),
            (percent(None), "–"),
            (percent(Some(f64::NAN)), "–"),
            (micros(Some(85)), "0.085 ms"),
            (micros(Some(43_700)), "43.7 ms"),
            (micros(Some(12_300_000)), "12.30 s"),
            (odds(Some(1.5)), "1.5 to 1"),
            (odds(Some(220.4)), "220 to 1"),
            (odds(Some(1e300)), "1e300 to 1"),
            (span(300.0), "5m"),
            (span(27.4), "27s"),
            (span(90.0), "1m30s"),
            (span(0.25), "250ms"),
            (span(f64::NAN), "0s"),
            (span(-1.0), "0s"),
            (amount(Some(0.5), Unit::Seconds), "500.0 ms"),
            (amount(Some(3.0), Unit::Checks), "3 in a row"),
            (amount(Some(1.25), Unit::Number), "1.25"),
        ] {
            assert_eq!(is, says);
        }
    }
}
