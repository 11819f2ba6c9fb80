//! Bounds and spellings of texts that leave. Apart because every sink has its own length
//! and its own special characters, and none may forget them.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::vocab::notice::Notice;

/// The notice with every text within its bound, as it is kept and sent.
pub(super) fn bounded(notice: Notice) -> Notice {
    let own = |text: String, most| match clipped(&text, most) {
        Cow::Borrowed(_) => text,
        Cow::Owned(short) => short,
    };
    let record = match notice.record.to_string().len() {
        bytes if bytes > RECORD => json!({ "left_out_bytes": bytes }),
        _ => notice.record,
    };
    Notice {
        key: own(notice.key, KEY),
        incident: own(notice.incident, KEY),
        summary: one_line(&own(notice.summary, SUMMARY)),
        details: own(notice.details, DETAILS),
        audit_head: own(notice.audit_head, KEY),
        record,
        ..notice
    }
}

/// The text, cut after so many characters; a cut one ends with an ellipsis.
pub(super) fn clipped(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some(_) => {
            let kept: String = text.chars().take(most.saturating_sub(1)).collect();
            Cow::Owned(kept + "…")
        }
    }
}

/// The text in one line: everything that could break or hide a part of it is a space.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The start of an answer as an error may show it.
pub(super) fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN)]);
    let line = one_line(text.trim());
    clipped(&line, SHOWN).into_owned()
}

/// Members of the record that a person may look for, as short texts.
pub(super) fn facts(notice: &Notice) -> Vec<(&'static str, String)> {
    let name =
        |name: &Option<crate::vocab::ids::Name>| name.as_ref().map(ToString::to_string);
    let of_record = |member: &str| match notice.record.get(member) {
        Some(Value::String(text)) => Some(clipped(text, 200).into_owned()),
        _ => None,
    };
    let all = [
        ("Route", name(&notice.route)),
        ("Version", name(&notice.version)),
        ("Traffic goes to", name(&notice.to_version)),
        ("Severity", Some(notice.severity.as_str().to_owned())),
        ("Trigger", of_record("trigger")),
        ("Ordered by", of_record("initiated_by")),
        ("Incident", Some(notice.incident.clone())),
        ("Time", Some(notice.at.to_string())),
        ("Audit head", Some(notice.audit_head.clone()).filter(|head| !head.is_empty())),
    ];
    all.into_iter().filter_map(|(name, text)| text.map(|text| (name, text))).collect()
}

/// Base64 with padding (RFC 4648, section 4).
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            let is_there = place <= chunk.len();
            out.push(if is_there { digit_of(digit) } else { '=' });
        }
    }
    out
}

fn digit_of(number: u32) -> char {
    usize::try_from(number).ok().and_then(|at| BASE64.get(at)).map_or('=', |b| *b as char)
}

/// What base64 stands for, if it is base64.
pub(super) fn unbase64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes() {
        let digit = BASE64.iter().position(|known| *known == byte)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(out)
}

/// The text as it may stand in a query (RFC 3986, section 2.3).
pub(super) fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

const BASE64: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of a key, an incident's id or a hash.
const KEY: usize = 200;
/// Characters of the one line.
const SUMMARY: usize = 500;
/// Characters of the further lines.
const DETAILS: usize = 8_000;
/// Bytes of the record as JSON.
const RECORD: usize = 64 << 10;
/// Characters of an answer that an error shows.
const SHOWN: usize = 160;

#[cfg(test)]
mod tests {
    use super::{base64, clipped, one_line, percent_encoded, unbase64};

    #[test]
    fn base64_is_that_of_the_standard() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), text);
            assert_eq!(unbase64(text).unwrap(), plain.as_bytes());
        }
        assert_eq!(base64(&[0xff, 0xfe]), "//4=");
        assert_eq!(unbase64("a b"), None);
    }

    #[test]
    fn texts_are_cut_between_characters_and_kept_in_one_line() {
        assert_eq!(clipped("äöü", 3), "äöü");
        assert_eq!(clipped("äöüß", 3), "äö…");
        assert_eq!(one_line("a\r\nb\u{1b}[31m"), "a  b [31m");
    }

    #[test]
    fn what_is_special_in_a_query_is_encoded() {
        assert_eq!(percent_encoded("a b&c=ä/~"), "a%20b%26c%3D%C3%A4%2F~");
    }
}
