//! Ids that follow a request: `x-request-id` and `traceparent`.

use crate::wire::Headers;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};

/// Whether a request came with fields of these, sound or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given {
    /// An `x-request-id`.
    pub(super) id: bool,
    /// A `traceparent` or a `tracestate`.
    pub(super) trace: bool,
}

/// Leaves exactly one usable `x-request-id` and one valid `traceparent` in the fields: the
/// caller's where it is sound, a new one otherwise. Returns the request id.
pub(super) fn settle(
    headers: &mut Headers,
    given: Given,
    mut draw: impl FnMut() -> u64,
) -> HeaderValue {
    let sound = if given.id { headers.only(X_REQUEST_ID) } else { None };
    let sound = sound.filter(|id| is_request_id(id.as_bytes())).cloned();
    let id = sound.unwrap_or_else(|| {
        let made = request_id(draw(), draw());
        put(headers, given.id, X_REQUEST_ID, made.clone());
        made
    });
    let parent = if given.trace { headers.only(TRACEPARENT) } else { None };
    if !parent.is_some_and(|value| is_traceparent(value.as_bytes())) {
        if given.trace {
            // Without a sound parent its state has no meaning either.
            headers.remove(TRACESTATE);
        }
        let made = traceparent(draw(), draw(), draw());
        put(headers, given.trace, TRACEPARENT, made);
    }
    id
}

/// Sets a field; one that is not there needs no place to be looked for.
fn put(headers: &mut Headers, there: bool, name: HeaderName, value: HeaderValue) {
    if there {
        headers.insert(name, value);
    } else {
        headers.append(name, value);
    }
}

/// Short and plain enough to stand in a log line or a header of ours.
fn is_request_id(id: &[u8]) -> bool {
    (1..=128).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/+=@".contains(byte))
}

/// `version "-" trace-id "-" parent-id "-" flags` of W3C Trace Context, level 1.
fn is_traceparent(value: &[u8]) -> bool {
    let hex = |part: &[u8]| {
        part.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
    };
    let some = |part: &[u8]| part.iter().any(|byte| *byte != b'0');
    value.len() >= 55
        && (value.len() == 55 || (value[55] == b'-' && !value.starts_with(b"00")))
        && [2, 35, 52].iter().all(|at| value[*at] == b'-')
        && hex(&value[..2])
        && !value.starts_with(b"ff")
        && hex(&value[3..35])
        && some(&value[3..35])
        && hex(&value[36..52])
        && some(&value[36..52])
        && hex(&value[53..55])
}

/// A version 4 UUID (RFC 9562 section 5.4).
fn request_id(high: u64, low: u64) -> HeaderValue {
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    let mut text = [b'-'; 36];
    let mut digits = [0u8; 32];
    hex(high, &mut digits[..16]);
    hex(low, &mut digits[16..]);
    for (from, to) in [(0..8, 0), (8..12, 9), (12..16, 14), (16..20, 19), (20..32, 24)] {
        let len = from.len();
        text[to..to + len].copy_from_slice(&digits[from]);
    }
    value(&text)
}

fn traceparent(high: u64, low: u64, parent: u64) -> HeaderValue {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    hex(high | 1, &mut text[3..19]);
    hex(low, &mut text[19..35]);
    hex(parent | 1, &mut text[36..52]);
    value(&text)
}

/// Not by the copying way, whose loop is unrolled here byte by byte.
fn value(text: &[u8]) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(text))
        .unwrap_or_else(|_| HeaderValue::from_static("none"))
}

/// Sixteen digits, eight at a time: each nibble gets a byte of its own, and all those above
/// nine are moved from the digits to the letters at once.
fn hex(number: u64, into: &mut [u8]) {
    const EACH: u64 = 0x0101_0101_0101_0101;
    for (half, place) in
        [number >> 32, number & 0xffff_ffff].iter().zip(into.chunks_mut(8))
    {
        let spread = (half << 16 | half) & 0x0000_ffff_0000_ffff;
        let spread = (spread << 8 | spread) & 0x00ff_00ff_00ff_00ff;
        let spread = (spread << 4 | spread) & (EACH * 0x0f);
        let letters = ((spread + EACH * 6) >> 4) & EACH;
        let digits =
            spread + EACH * u64::from(b'0') + letters * u64::from(b'a' - b'9' - 1);
        place.copy_from_slice(&digits.to_be_bytes());
    }
}

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::{Given, TRACEPARENT, X_REQUEST_ID, is_traceparent, settle};
    use crate::wire::Headers;

    fn settled(pairs: &[(&'static str, &str)]) -> (String, Headers) {
        let mut headers = Headers::new();
        for (name, value) in pairs {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let mut next = 0x0123_4567_89ab_cdef_u64;
        let given = Given { id: true, trace: true };
        let id = settle(&mut headers, given, || {
            next = next.rotate_left(9);
            next
        });
        (id.to_str().unwrap().to_owned(), headers)
    }

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, 1, 0x9a, u64::MAX, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]
        {
            let mut text = [0; 16];
            super::hex(number, &mut text);
            assert_eq!(std::str::from_utf8(&text).unwrap(), format!("{number:016x}"));
        }
    }

    #[test]
    fn a_sound_id_is_the_callers_and_stays_as_it_is() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (id, headers) = settled(&[
            ("x-request-id", "chat-42"),
            ("traceparent", trace),
            ("tracestate", "a=b"),
        ]);
        assert_eq!(id, "chat-42");
        assert_eq!(headers[TRACEPARENT], trace);
        assert_eq!(headers["tracestate"], "a=b");
    }

    #[test]
    fn an_odd_id_is_replaced_by_a_uuid() {
        let long = "x".repeat(129);
        for bad in [
            &[("x-request-id", "a b")][..],
            &[("x-request-id", "a\"b")],
            &[("x-request-id", &long)],
            &[("x-request-id", "a"), ("x-request-id", "b")],
            &[],
        ] {
            let (id, headers) = settled(bad);
            assert_eq!((id.len(), &id[14..15]), (36, "4"), "{id}");
            assert_eq!(headers.values(X_REQUEST_ID).count(), 1);
            assert!(is_traceparent(headers[TRACEPARENT].as_bytes()));
        }
    }

    #[test]
    fn an_invalid_traceparent_is_replaced_with_its_state() {
        for bad in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "junk",
        ] {
            let (_, headers) = settled(&[("traceparent", bad), ("tracestate", "a=b")]);
            assert_ne!(headers[TRACEPARENT], bad);
            assert!(!headers.has("tracestate"));
        }
    }
}
