//! Any bytes around and instead of a session's cookie: nothing proves a session but what was
//! signed, taking the cookie out leaves every other one as it was, and ids come out sound.

use std::time::Duration;

use http::header::{CACHE_CONTROL, COOKIE, HeaderName, HeaderValue};
use switchback::cache::door::{directives, seconds};
use switchback::proxy::Sessions;
use switchback::proxy::door::{cookie, proven, settle_ids, strip_cookie};
use switchback::vocab::time::Timestamp;
use switchback::wire::Headers;

use super::choice;

const NAMED: (&str, Duration) = ("sb", Duration::from_secs(3_600));
const NOW: Timestamp = Timestamp(1_800_000_000_000);
const ID: [u8; 16] = *b"0123456789abcdef";

pub(super) fn body(data: &[u8]) {
    let (what, rest) = choice(data, 4);
    match what {
        0 => found_in(rest),
        1 => altered(rest),
        2 => ids(rest),
        _ => cache_control(rest),
    }
}

/// The value of the session's own cookie.
fn own(sessions: &Sessions) -> Vec<u8> {
    let given = cookie(sessions, ID, NAMED, NOW);
    let given = given.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
    given.split(|byte| *byte == b';').next().unwrap_or_default().to_vec()
}

fn line(bytes: &[u8]) -> Option<Headers> {
    let mut headers = Headers::new();
    for part in bytes.split(|byte| *byte == b'\n') {
        headers.append(COOKIE, HeaderValue::from_bytes(part).ok()?);
    }
    Some(headers)
}

fn names(headers: &Headers) -> Vec<Vec<u8>> {
    let lines = headers.values(COOKIE);
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs
        .map(|pair| pair.split(|byte| *byte == b'=').next().unwrap_or_default())
        .map(|name| name.trim_ascii().to_vec())
        .collect()
}

/// `@` stands for the cookie that was given.
fn found_in(text: &[u8]) {
    let sessions = Sessions::of(&[7; 32]);
    let own = own(&sessions);
    let text: Vec<u8> = text
        .iter()
        .flat_map(|byte| if *byte == b'@' { own.clone() } else { vec![*byte] })
        .collect();
    let Some(mut headers) = line(&text) else { return };
    let count = names(&headers).iter().filter(|name| *name == b"sb").count();
    match proven(&sessions, &headers, NAMED, NOW) {
        Some(id) => {
            assert_eq!((id, count), (ID, 1));
            assert!(text.windows(own.len()).any(|part| part.ends_with(&own[4..])));
        }
        None if count == 1 => {
            let alone = |pair: &[u8]| pair.trim_ascii() == own;
            let pairs = text.split(|byte| b";\n".contains(byte));
            assert_eq!(pairs.filter(|pair| alone(pair)).count(), 0, "not believed");
        }
        None => {}
    }
    let late = Timestamp(NOW.0 + 3_600_000);
    assert_eq!(proven(&sessions, &headers, NAMED, late), None);
    assert_eq!(proven(&Sessions::of(&[8; 32]), &headers, NAMED, NOW), None);

    let others = |headers: &Headers| -> Vec<Vec<u8>> {
        let lines = headers.values(COOKIE);
        let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let trimmed = pairs.map(|pair| pair.trim_ascii().to_vec());
        let is_ours = |pair: &Vec<u8>| {
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
            name.trim_ascii() == b"sb"
        };
        trimmed.filter(|pair| !pair.is_empty() && !is_ours(pair)).collect()
    };
    let before = others(&headers);
    strip_cookie(&mut headers, "sb");
    assert!(!names(&headers).iter().any(|name| name == b"sb"), "it is still there");
    assert_eq!(others(&headers), before, "others were changed");
    let once = headers.clone();
    strip_cookie(&mut headers, "sb");
    assert_eq!(once, headers);
}

/// Some bytes of a good cookie exchanged for others.
fn altered(changes: &[u8]) {
    let sessions = Sessions::of(&[7; 32]);
    let own = own(&sessions);
    let mut value = own.clone();
    for change in changes.chunks_exact(2) {
        let at = 3 + usize::from(change[0]) % (value.len() - 3);
        value[at] = change[1];
    }
    let Some(headers) = line(&value) else { return };
    let id = proven(&sessions, &headers, NAMED, NOW);
    if value == own {
        assert_eq!(id, Some(ID));
    } else {
        assert!(id.is_none() || value.trim_ascii_end() == own, "{value:?}");
    }
}

/// Fields, one a line: what follows a request is one sound id and one sound parent.
fn ids(text: &[u8]) {
    let mut headers = Headers::new();
    for part in text.split(|byte| *byte == b'\n') {
        let mut halves = part.splitn(2, |byte| *byte == b':');
        let (name, value) = (halves.next(), halves.next().unwrap_or_default());
        let name = HeaderName::from_bytes(name.unwrap_or_default());
        let value = HeaderValue::from_bytes(value.trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let id = settle_ids(&mut headers);
    let count = |name: &str| headers.values(name).count();
    assert_eq!((count("x-request-id"), count("traceparent")), (1, 1));
    assert_eq!(headers.get("x-request-id"), Some(&id));
    assert!((1..=128).contains(&id.len()));
    assert!(id.as_bytes().iter().all(u8::is_ascii_graphic));
    let parent = headers.get("traceparent").map(HeaderValue::as_bytes);
    assert!(
        parent.is_some_and(|it| it.len() >= 55 && it.iter().all(u8::is_ascii_graphic))
    );
    let once = headers.clone();
    assert_eq!(settle_ids(&mut headers), id);
    assert_eq!(once, headers);
}

/// `Cache-Control`: words in any split over lines mean the same.
fn cache_control(text: &[u8]) {
    let value = |text: &[u8]| HeaderValue::from_bytes(text).ok();
    let Some(whole) = value(text) else { return };
    let mut headers = Headers::new();
    headers.append(CACHE_CONTROL, whole);
    let said = directives(&headers);
    assert!(said.len() < 1_000);
    // Without quotes a comma is where a line may be broken.
    if !text.contains(&b'"') {
        let mut broken = Headers::new();
        for part in text.split(|byte| *byte == b',').filter_map(value) {
            broken.append(CACHE_CONTROL, part);
        }
        assert_eq!(directives(&broken), said);
    }
    if let Some(number) = seconds(text) {
        assert!(text.iter().all(u8::is_ascii_digit), "{number} of {text:?}");
    }
}
