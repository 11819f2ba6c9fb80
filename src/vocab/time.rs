//! The only time the pure rooms know: milliseconds since the Unix epoch. Written for others
//! as RFC 3339, read from that or from a number of milliseconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A moment, in milliseconds since 1970-01-01T00:00:00Z. Monotonic in one process, because
/// `clock` anchors it to the monotonic clock once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

/// A text that is no moment after 1970 in RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a time such as 2026-11-24T21:05:58.123Z")]
pub struct TimestampError(String);

impl Timestamp {
    /// The time that passed since `earlier`, or zero.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This moment and `span` more.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// As RFC 3339 in UTC with milliseconds, by Howard Hinnant's `civil_from_days`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let z = days + 719_468;
        let era = z / 146_097;
        let doe = z % 146_097;
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + u64::from(month <= 2);
        let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z", ms % 1_000)
    }
}

/// From RFC 3339 with a `Z`, digits of a second up to the millisecond (further ones are
/// dropped).
impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| TimestampError(text.chars().take(40).collect()))
    }
}

/// The inverse of `Display`, by Howard Hinnant's `days_from_civil`.
fn parse(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix(['Z', 'z'])?;
    let (date, time) = text.split_once(['T', 't'])?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let three = |text: &str, by: char| -> Option<[u64; 3]> {
        let mut parts = text.split(by).map(number);
        let all = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(all)
    };
    let ([year, month, day], [hour, minute, second]) =
        (three(date, '-')?, three(time, ':')?);
    let sound = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (hour < 24 && minute < 60 && second < 61);
    if !sound {
        return None;
    }
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, yoe) = (shifted / 400, shifted % 400);
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
    let digits: String = fraction.chars().chain("00".chars()).take(3).collect();
    let ms = number(&digits).filter(|_| !fraction.is_empty())?;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Timestamp(seconds * 1_000 + ms))
}

fn number(text: &str) -> Option<u64> {
    let plain = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Moment;

        impl Visitor<'_> for Moment {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time in RFC 3339 or in milliseconds since 1970")
            }

            fn visit_u64<E: de::Error>(self, ms: u64) -> Result<Timestamp, E> {
                Ok(Timestamp(ms))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Moment)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Timestamp;

    #[test]
    fn prints_as_rfc_3339() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_554_358_123, "2026-11-24T21:05:58.123Z"),
        ] {
            assert_eq!(Timestamp(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp(ms)));
        }
    }

    #[test]
    fn reads_what_others_write_and_nothing_else() {
        for (text, ms) in [
            ("\"2026-11-24T21:05:58Z\"", 1_795_554_358_000),
            ("\"2026-11-24T21:05:58.1234567Z\"", 1_795_554_358_123),
            ("\"2026-11-24t21:05:58.1z\"", 1_795_554_358_100),
            ("1795554358123", 1_795_554_358_123),
        ] {
            let read: Timestamp = serde_json::from_str(text).unwrap();
            assert_eq!(read, Timestamp(ms), "{text}");
        }
        for text in [
            "",
            "2026-11-24",
            "2026-11-24T21:05:58",
            "2026-11-24T21:05:58+01:00",
            "1969-12-31T23:59:59Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00:00Z",
            "+2026-01-01T00:00:00Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
        let written = serde_json::to_string(&Timestamp(0)).unwrap();
        assert_eq!(written, "\"1970-01-01T00:00:00.000Z\"");
    }

    #[test]
    fn spans_do_not_wrap() {
        let (early, late) = (Timestamp(5), Timestamp(9));
        assert_eq!(late.since(early), Duration::from_millis(4));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(
            Timestamp(u64::MAX).after(Duration::from_secs(1)),
            Timestamp(u64::MAX)
        );
    }
}
