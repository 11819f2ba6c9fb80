//! `Line`: one line of a trace, parsed without copying its texts.
//!
//! Apart from the reader of files, because this is the format itself (INTERFACE.md, "Traces
//! for `replay`"): which members a line has, which numbers can be true, and which class a
//! status means. Members that it does not know are passed over, so that a trace may carry
//! more than is needed here.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::problem::Fault;
use crate::vocab::outcome::Class;
use crate::vocab::time::Timestamp;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub enum Line<'a> {
    /// A request that ended.
    Event(Event<'a>),
    /// The shares of a route from here on.
    Weights(Weights<'a>),
}

/// One request to one version, at the moment its outcome was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When it ended, on the trace's clock.
    pub at: Timestamp,
    /// The version's name.
    pub version: Cow<'a, str>,
    /// The route's name, where the trace has several.
    pub route: Option<Cow<'a, str>>,
    /// Which of the version's servers it was.
    pub endpoint: Option<Cow<'a, str>>,
    /// How it ended: the line's class, else what its status means.
    pub class: Class,
    /// Time to its end in microseconds, at most [`MOST_LATENCY_US`].
    pub latency_us: u64,
    /// Time to the first byte of the answer in microseconds.
    pub first_byte_us: Option<u64>,
    /// What was timed of it, if it was a stream of tokens that came to its first.
    pub streamed: Option<Streamed>,
    /// Whether it was a copy, whose answer no user saw.
    pub shadow: bool,
    /// Whether the split's coin placed it, so that it may be compared; not after an override
    /// or in the place of a version that failed.
    pub judged: bool,
}

/// What is timed of a stream of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streamed {
    /// Time to the first token in microseconds.
    pub first_us: u64,
    /// How many tokens it has; 0 where the trace does not say.
    pub tokens: u64,
    /// Microseconds for each token after the first.
    pub each_us: Option<u64>,
}

/// The shares of a route's versions from one moment on.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights<'a> {
    /// From when.
    pub at: Timestamp,
    /// The route's name, where the trace has several.
    pub route: Option<Cow<'a, str>>,
    /// Each version with its share; any unit, finite and not negative, no version twice.
    pub shares: Vec<(Cow<'a, str>, f64)>,
}

/// A day: no request takes longer, so a larger number is in another unit.
pub const MOST_LATENCY_US: u64 = 86_400_000_000;

/// A line that is none: the kind of fault, and what is wrong.
pub(super) type Wrong = (Fault, String);

impl<'a> Line<'a> {
    /// Parses one line, with or without its end.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Wrong> {
        let mut raw: Raw<'a> =
            serde_json::from_slice(text).map_err(|error| unreadable(&error))?;
        let at = raw.t_ms.ok_or_else(|| missing("t_ms"))?.whole("t_ms", LATEST_MS)?;
        let (at, route) = (Timestamp(at), raw.route.take().map(|route| route.0));
        let Some(weights) = raw.weights.take() else { return event(raw, at, route) };
        let shares = weights.checked()?;
        Ok(Self::Weights(Weights { at, route, shares }))
    }
}

fn event<'a>(
    raw: Raw<'a>,
    at: Timestamp,
    route: Option<Cow<'a, str>>,
) -> Result<Line<'a>, Wrong> {
    let version = raw.version.ok_or_else(|| missing("version"))?.0;
    let latency = raw.latency_us.ok_or_else(|| missing("latency_us"))?;
    let latency_us = latency.whole("latency_us", MOST_LATENCY_US)?;
    let first = raw.ttfb_us.map(|first| first.whole("ttfb_us", MOST_LATENCY_US));
    let streamed = streamed((raw.ttft_us, raw.tokens, raw.tpot_us), latency_us)?;
    let class = match (raw.class, raw.status) {
        (Some(Text(class)), _) => class_of(&class)?,
        (None, Some(status)) => of_status(status)?,
        (None, None) => return Err(missing("status")),
    };
    Ok(Line::Event(Event {
        at,
        version,
        route,
        endpoint: raw.endpoint.map(|endpoint| endpoint.0),
        class,
        latency_us,
        first_byte_us: first.transpose()?,
        streamed,
        shadow: raw.shadow.unwrap_or(false),
        judged: raw.judged.unwrap_or(true),
    }))
}

/// A line is one of a stream if it says when its first token came. The time for each further
/// one is `tpot_us`, or follows from the number of `tokens`.
fn streamed(
    (first, tokens, each): (Option<Number>, Option<Number>, Option<Number>),
    latency_us: u64,
) -> Result<Option<Streamed>, Wrong> {
    let tokens = tokens.map(|number| number.whole("tokens", MOST_TOKENS));
    let each = each.map(|number| number.whole("tpot_us", MOST_LATENCY_US));
    let first = first.map(|number| number.whole("ttft_us", MOST_LATENCY_US));
    let (tokens, each) = (tokens.transpose()?.unwrap_or(0), each.transpose()?);
    let Some(first_us) = first.transpose()? else { return Ok(None) };
    let after = tokens.checked_sub(1).filter(|after| *after > 0);
    let derived = after.map(|after| latency_us.saturating_sub(first_us) / after);
    Ok(Some(Streamed { first_us, tokens, each_us: each.or(derived) }))
}

/// What a status in a trace means: 0 is a refused connection, 499 a caller that gave up and
/// 598 our own deadline; the rest is HTTP's.
pub(super) fn meaning(status: u16) -> Class {
    match status {
        0 => Class::ConnectError,
        499 => Class::ClientCancelled,
        598 => Class::TimeoutFirstByte,
        status => Class::of_status(status),
    }
}

fn of_status(status: Number) -> Result<Class, Wrong> {
    let status = status.whole("status", 999)?;
    if (1..100).contains(&status) {
        let what = "neither an HTTP status nor 0 (refused) or 598 (our deadline)";
        return Err((Fault::Absurd, format!("status is {status}, {what}")));
    }
    Ok(meaning(u16::try_from(status).unwrap_or(u16::MAX)))
}

fn class_of(word: &str) -> Result<Class, Wrong> {
    Class::all().find(|class| class.as_str() == word).ok_or_else(|| {
        (Fault::Malformed, format!("class is {}, which is none", short(word)))
    })
}

/// The members of a line, whichever kind it is.
#[derive(serde::Deserialize)]
struct Raw<'a> {
    t_ms: Option<Number>,
    #[serde(borrow)]
    version: Option<Text<'a>>,
    status: Option<Number>,
    latency_us: Option<Number>,
    #[serde(borrow)]
    endpoint: Option<Text<'a>>,
    ttfb_us: Option<Number>,
    ttft_us: Option<Number>,
    tokens: Option<Number>,
    tpot_us: Option<Number>,
    #[serde(borrow)]
    class: Option<Text<'a>>,
    #[serde(borrow)]
    route: Option<Text<'a>>,
    shadow: Option<bool>,
    judged: Option<bool>,
    #[serde(borrow)]
    weights: Option<Shares<'a>>,
}

/// A text that stays where it is unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(
                self,
                text: &'de str,
            ) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Texts)
    }
}

/// A number as the line has it; whether it can be true is asked later, by its name.
#[derive(Clone, Copy)]
enum Number {
    Whole(u64),
    Other(f64),
}

impl Number {
    /// As a whole number of at most `most`; a fraction is cut off.
    fn whole(self, name: &str, most: u64) -> Result<u64, Wrong> {
        let value = match self {
            Self::Whole(value) => value,
            Self::Other(value) if value < 0.0 => {
                return Err((Fault::Absurd, format!("{name} is {value}, below zero")));
            }
            Self::Other(value) => floor(value),
        };
        if value > most {
            return Err((Fault::Absurd, format!("{name} is {value}, above {most}")));
        }
        Ok(value)
    }

    fn share(self) -> f64 {
        match self {
            Self::Whole(value) => approximate(value),
            Self::Other(value) => value,
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl Visitor<'_> for Numbers {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number::Whole(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
                Ok(u64::try_from(value).map_or_else(
                    |_| Number::Other(-approximate(value.unsigned_abs())),
                    Number::Whole,
                ))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
                Ok(Number::Other(value))
            }
        }
        from.deserialize_u64(Numbers)
    }
}

/// The value of `weights`.
struct Shares<'a>(Vec<(Text<'a>, Number)>);

impl<'a> Shares<'a> {
    fn checked(self) -> Result<Vec<(Cow<'a, str>, f64)>, Wrong> {
        if self.0.is_empty() {
            return Err((Fault::Malformed, "weights names no version".to_owned()));
        }
        let mut shares: Vec<(Cow<'a, str>, f64)> = Vec::with_capacity(self.0.len());
        for (Text(name), number) in self.0 {
            let share = number.share();
            if !share.is_finite() || share < 0.0 {
                let what = format!("the weight of {} is {share}", short(&name));
                return Err((Fault::Absurd, what));
            }
            if shares.iter().any(|(other, _)| *other == name) {
                let what = format!("weights names {} twice", short(&name));
                return Err((Fault::Malformed, what));
            }
            shares.push((name, share));
        }
        Ok(shares)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Shares<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Maps)
    }
}

/// Reads a mapping with its order, and with what it names twice.
struct Maps;

impl<'de> Visitor<'de> for Maps {
    type Value = Shares<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping from versions to numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shares<'de>, A::Error> {
        let mut shares = Vec::new();
        while let Some(share) = map.next_entry()? {
            if shares.len() == MOST_SHARES {
                let what = format!("weights names more than {MOST_SHARES} versions");
                return Err(Error::custom(what));
            }
            shares.push(share);
        }
        Ok(Shares(shares))
    }
}

fn unreadable(error: &serde_json::Error) -> Wrong {
    let fault = if error.is_data() { Fault::Malformed } else { Fault::Unreadable };
    let said = error.to_string();
    // Every line is the first of its text; the column is of use.
    (fault, said.replace(" at line 1 column ", " at column "))
}

fn missing(member: &str) -> Wrong {
    (Fault::Malformed, format!("{member} is missing"))
}

/// A text from outside, quoted and not too long.
pub(super) fn short(text: &str) -> String {
    let start: String = text.chars().take(80).collect();
    format!("{start:?}")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative here, and what is too large becomes the largest"
)]
fn floor(value: f64) -> u64 {
    value as u64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share, or a number that is refused and only shown"
)]
fn approximate(value: u64) -> f64 {
    value as f64
}

/// The end of the year 9999: a larger number counts in another unit.
const LATEST_MS: u64 = 253_402_300_799_999;
/// No answer has more tokens.
const MOST_TOKENS: u64 = 1_000_000_000;
/// Versions in one line of shares; no route has more.
const MOST_SHARES: usize = 256;

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{Line, MOST_LATENCY_US};
    use crate::trace::problem::Fault;
    use crate::vocab::outcome::Class;

    fn event(members: &str) -> super::Event<'_> {
        match Line::parse(members.as_bytes()) {
            Ok(Line::Event(event)) => event,
            other => panic!("{members}: {other:?}"),
        }
    }

    #[test]
    fn a_line_of_the_interface_is_an_event_without_copies() {
        let line = r#"{"t_ms":123456,"version":"v2.5","status":200,"latency_us":18234}"#;
        let event = event(line);
        assert_eq!((event.at.0, event.latency_us), (123_456, 18_234));
        assert!(matches!(event.version, Cow::Borrowed("v2.5")));
        assert_eq!(event.class, Class::Success);
        assert!(event.judged && !event.shadow);
        assert_eq!((event.endpoint, event.first_byte_us), (None, None));
    }

    #[test]
    fn every_member_is_read_and_others_are_passed_over() {
        let line = r#"{"latency_us":1,"class":"truncated","status":200,"version":"a",
            "route":"r","endpoint":"http://h:1","ttfb_us":7,"shadow":true,"judged":false,"t_ms":1.9,
            "more":{"x":[1]},"weights":null}"#;
        let event = event(line);
        assert_eq!(event.class, Class::Truncated, "the class wins over the status");
        assert_eq!(event.route.as_deref(), Some("r"));
        assert_eq!(event.endpoint.as_deref(), Some("http://h:1"));
        assert_eq!((event.first_byte_us, event.shadow, event.at.0), (Some(7), true, 1));
        assert!(!event.judged);
        let escaped = r#"{"t_ms":1,"version":"v\u002d1","status":0,"latency_us":0}"#;
        assert_eq!(self::event(escaped).version, "v-1");
    }

    #[test]
    fn a_stream_says_when_its_first_token_came_and_how_fast_the_others() {
        let of = |members: &str| {
            let line = format!(
                r#"{{"t_ms":1,"version":"a","status":200,"latency_us":5000,{members}}}"#
            );
            event(&line).streamed.map(|it| (it.first_us, it.tokens, it.each_us))
        };
        assert_eq!(of(r#""ttft_us":1000,"tokens":5"#), Some((1_000, 5, Some(1_000))));
        assert_eq!(
            of(r#""ttft_us":1000,"tokens":5,"tpot_us":7"#),
            Some((1_000, 5, Some(7)))
        );
        assert_eq!(of(r#""ttft_us":9000,"tokens":2"#), Some((9_000, 2, Some(0))));
        assert_eq!(of(r#""ttft_us":1000,"tokens":1"#), Some((1_000, 1, None)));
        assert_eq!(of(r#""ttft_us":1000.7"#), Some((1_000, 0, None)));
        assert_eq!(of(r#""tokens":5,"tpot_us":7"#), None);
        let absurd =
            br#"{"t_ms":1,"version":"a","status":200,"latency_us":5,"ttft_us":-1}"#;
        assert_eq!(Line::parse(absurd).unwrap_err().0, Fault::Absurd);
    }

    #[test]
    fn a_status_means_a_class() {
        for (status, class) in [
            (0, Class::ConnectError),
            (101, Class::Upgraded),
            (204, Class::Success),
            (404, Class::ClientError),
            (429, Class::TooManyRequests),
            (499, Class::ClientCancelled),
            (503, Class::ServerError),
            (598, Class::TimeoutFirstByte),
        ] {
            let line =
                format!(r#"{{"t_ms":1,"version":"a","status":{status},"latency_us":1}}"#);
            assert_eq!(event(&line).class, class, "{status}");
        }
    }

    #[test]
    fn weights_are_shares_by_name() {
        let line = r#"{"t_ms":0,"weights":{"v2.4":90,"v2.5":2.5}}"#;
        let Ok(Line::Weights(weights)) = Line::parse(line.as_bytes()) else { panic!() };
        let shares: Vec<_> = weights.shares.iter().map(|(n, s)| (&**n, *s)).collect();
        assert_eq!(shares, [("v2.4", 90.0), ("v2.5", 2.5)]);
    }

    #[test]
    fn a_line_that_is_none_says_why() {
        let long = MOST_LATENCY_US + 1;
        let with = |members: &str| format!(r#"{{"t_ms":1,"version":"a",{members}}}"#);
        for (line, fault, what) in [
            ("hello".to_owned(), Fault::Unreadable, "column 1"),
            (r#"{"t_ms":1,"version":"a","#.to_owned(), Fault::Unreadable, "EOF"),
            ("[]".to_owned(), Fault::Malformed, "invalid length 0"),
            ("7".to_owned(), Fault::Malformed, "invalid type"),
            ("{}".to_owned(), Fault::Malformed, "t_ms is missing"),
            (with(r#""status":200"#), Fault::Malformed, "latency_us is missing"),
            (with(r#""latency_us":5"#), Fault::Malformed, "status is missing"),
            (with(r#""status":"200","latency_us":5"#), Fault::Malformed, "string"),
            (with(r#""status":77,"latency_us":5"#), Fault::Absurd, "status is 77"),
            (with(r#""status":200,"latency_us":-5"#), Fault::Absurd, "latency_us is -5"),
            (with(r#""status":200,"latency_us":-0.5"#), Fault::Absurd, "is -0.5"),
            (with(r#""status":200,"latency_us":1e300"#), Fault::Absurd, "above"),
            (
                with(&format!(r#""status":200,"latency_us":{long}"#)),
                Fault::Absurd,
                "above",
            ),
            (with(r#""status":200,"latency_us":NaN"#), Fault::Unreadable, "column"),
            (with(r#""class":"nice","latency_us":5"#), Fault::Malformed, "nice"),
            (r#"{"t_ms":1e18,"weights":{"a":1}}"#.to_owned(), Fault::Absurd, "t_ms"),
            (r#"{"t_ms":1,"weights":{}}"#.to_owned(), Fault::Malformed, "no version"),
            (r#"{"t_ms":1,"weights":{"a":-1}}"#.to_owned(), Fault::Absurd, "of \"a\""),
            (
                r#"{"t_ms":1,"weights":{"a":1,"a":2}}"#.to_owned(),
                Fault::Malformed,
                "twice",
            ),
            ("\u{0}\u{1}\u{2}".to_owned(), Fault::Unreadable, "column"),
        ] {
            let (kind, said) = Line::parse(line.as_bytes()).unwrap_err();
            assert_eq!(kind, fault, "{line}: {said}");
            assert!(said.contains(what), "{line}: {said}");
        }
        assert!(Line::parse(b"{\"version\":\"\xff\"}").is_err());
    }
}
