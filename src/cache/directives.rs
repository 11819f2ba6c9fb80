//! `Cache-Control` of requests and answers as values. Apart, because both sides share the
//! grammar, and because every doubt in it is settled towards keeping less.

use crate::wire::Headers;
use http::header::CACHE_CONTROL;

/// The directives that matter to answers served stale. Times are in seconds; the smallest
/// wins where one is given twice, and one that is no number counts as zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word that is there or not")]
pub(super) struct Directives {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    /// `must-revalidate` or `proxy-revalidate`.
    pub(super) revalidate: bool,
    pub(super) max_age: Option<u64>,
    pub(super) s_maxage: Option<u64>,
    pub(super) stale_if_error: Option<u64>,
    pub(super) max_stale: Option<u64>,
    pub(super) min_fresh: Option<u64>,
    /// A quoted text does not end, so that what it swallowed is unknown.
    pub(super) malformed: bool,
}

impl Directives {
    /// All directives of all `Cache-Control` lines.
    pub(super) fn of(headers: &Headers) -> Self {
        let mut all = Self::default();
        for line in headers.values(CACHE_CONTROL) {
            let mut rest = line.as_bytes();
            while !rest.is_empty() {
                let Some(end) = end_of_member(rest) else {
                    all.malformed = true;
                    break;
                };
                all.take(&rest[..end]);
                rest = rest.get(end + 1..).unwrap_or_default();
            }
        }
        all
    }

    fn take(&mut self, member: &[u8]) {
        let mut sides = member.splitn(2, |&b| b == b'=');
        let name = sides.next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        let value = sides.next().map(<[u8]>::trim_ascii);
        match name.as_slice() {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = true,
            b"private" => self.private = true,
            b"public" => self.public = true,
            b"must-revalidate" | b"proxy-revalidate" => self.revalidate = true,
            b"max-age" => least(&mut self.max_age, seconds(value)),
            b"s-maxage" => least(&mut self.s_maxage, seconds(value)),
            b"stale-if-error" => least(&mut self.stale_if_error, seconds(value)),
            b"min-fresh" => least(&mut self.min_fresh, seconds(value)),
            // Alone it means any staleness.
            b"max-stale" => {
                least(&mut self.max_stale, value.map_or(LONGEST, |v| seconds(Some(v))));
            }
            _ => {}
        }
    }
}

/// Where the first member ends: at a comma outside quotes or at the end; `None` when a
/// quote is left open.
fn end_of_member(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return Some(at),
            _ => {}
        }
    }
    (!quoted).then_some(text.len())
}

fn least(held: &mut Option<u64>, given: u64) {
    *held = Some(held.map_or(given, |old| old.min(given)));
}

/// A number of seconds, with or without quotes; zero when it is not one.
fn seconds(value: Option<&[u8]>) -> u64 {
    let text = value.unwrap_or_default();
    let text =
        text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\"")).unwrap_or(text);
    digits(text).unwrap_or(0)
}

/// Digits only, capped at [`LONGEST`].
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let more =
        |sum: u64, &b: &u8| sum.saturating_mul(10).saturating_add(u64::from(b - b'0'));
    Some(text.iter().fold(0, more).min(LONGEST))
}

/// The cap on a time in a header, in seconds: 2^31, as RFC 9111 has it for what does not
/// fit.
const LONGEST: u64 = 1 << 31;

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::CACHE_CONTROL};

    use super::{Directives, LONGEST};
    use crate::wire::Headers;

    fn of(lines: &[&str]) -> Directives {
        let mut headers = Headers::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
        }
        Directives::of(&headers)
    }

    #[test]
    fn names_are_read_in_any_case_place_and_line() {
        let none = Directives::default();
        for (lines, want) in [
            (vec!["No-Store"], Directives { no_store: true, ..none }),
            (vec!["a", " b=1 ,, NO-CACHE"], Directives { no_cache: true, ..none }),
            (vec!["private=\"x-user\""], Directives { private: true, ..none }),
            (vec!["x=\"no-store, private\""], none),
            (vec!["x=\"\\\", no-store\", public"], Directives { public: true, ..none }),
            (vec!["proxy-revalidate"], Directives { revalidate: true, ..none }),
            (vec!["must-revalidate"], Directives { revalidate: true, ..none }),
            (vec!["", ",", " "], none),
            (vec!["x=\"no-store"], Directives { malformed: true, ..none }),
        ] {
            assert_eq!(of(&lines), want, "{lines:?}");
        }
    }

    #[test]
    fn times_err_towards_less() {
        for (text, want) in [
            ("max-age=60", Some(60)),
            ("max-age = \"60\"", Some(60)),
            ("max-age=60, max-age=5", Some(5)),
            ("max-age=5, MAX-AGE=60", Some(5)),
            ("max-age=-1", Some(0)),
            ("max-age=1.5", Some(0)),
            ("max-age", Some(0)),
            ("max-age=", Some(0)),
            ("max-age=99999999999999999999999", Some(LONGEST)),
            ("s-maxage=60", None),
        ] {
            assert_eq!(of(&[text]).max_age, want, "{text}");
        }
        assert_eq!(of(&["max-stale"]).max_stale, Some(LONGEST));
        assert_eq!(of(&["max-stale=x"]).max_stale, Some(0));
        assert_eq!(of(&["stale-if-error=7"]).stale_if_error, Some(7));
        assert_eq!(of(&["s-maxage=8, min-fresh=9"]).min_fresh, Some(9));
    }
}
