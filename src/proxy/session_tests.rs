//! Cookies of sessions: what proves one and what does not, what a version gets to see, and
//! which request of a session is evidence.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{FILE, ID_BYTES, Seen, Session, SessionError, Sessions, strip_cookie};
use crate::route::session_coin;
use crate::vocab::ids::Name;
use crate::vocab::time::Timestamp;
use crate::wire::Headers;

const HOUR: Duration = Duration::from_secs(3_600);
const NAME: &str = "sb";
const NOW: Timestamp = Timestamp(1_800_000_000_000);
const OLD: [u8; ID_BYTES] = [7; ID_BYTES];
const NEW: [u8; ID_BYTES] = [9; ID_BYTES];

fn cookies(lines: &[&[u8]]) -> Headers {
    let mut map = Headers::new();
    for line in lines {
        map.append(header::COOKIE, HeaderValue::from_bytes(line).unwrap());
    }
    map
}

/// The cookie that is given to the session [`OLD`].
fn given(sessions: &Sessions, name: &str) -> String {
    let session = Session { id: OLD, fresh: true };
    let value = sessions.cookie(&session, (name, HOUR), NOW).unwrap();
    value.to_str().unwrap().to_owned()
}

fn pair(sessions: &Sessions, name: &str) -> String {
    given(sessions, name).split(';').next().unwrap().to_owned()
}

fn found(sessions: &Sessions, lines: &[&[u8]], now: Timestamp) -> Session {
    sessions.find(&cookies(lines), (NAME, HOUR), now, || NEW)
}

#[test]
fn a_cookie_is_for_the_browser_alone_and_says_no_version() {
    let sessions = Sessions::of(b"key");
    let text = given(&sessions, NAME);
    let (pair, attributes) = text.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax");
    let value = pair.strip_prefix("sb=1-").unwrap();
    assert_eq!(value.len(), 80);
    assert!(value.bytes().all(|b| b.is_ascii_hexdigit()));
    assert!(value.starts_with(&"07".repeat(ID_BYTES)), "the id stands in it as it is");
}

#[test]
fn a_session_is_proven_by_its_own_cookie_wherever_it_stands() {
    let sessions = Sessions::of(b"key");
    let ours = pair(&sessions, NAME);
    for line in [
        ours.clone(),
        format!("a=b; {ours}"),
        format!("{ours}; a=b"),
        format!("a=b;{ours};c=d"),
        format!("  {ours}  ;"),
        format!("sbx=1; xsb=2; SB=3; {ours}"),
    ] {
        let got = found(&sessions, &[line.as_bytes()], NOW);
        assert_eq!(got, Session { id: OLD, fresh: false }, "{line}");
    }
    let got = found(&sessions, &[b"a=b", ours.as_bytes()], NOW);
    assert!(!got.fresh);
    // Any process with the key, whatever route asks.
    let other = Sessions::of(b"key");
    assert!(!found(&other, &[ours.as_bytes()], NOW).fresh);
}

#[test]
fn what_is_not_a_proof_begins_a_new_session() {
    let sessions = Sessions::of(b"key");
    let ours = pair(&sessions, NAME);
    let forged = pair(&Sessions::of(b"another key"), NAME);
    let renamed = pair(&sessions, "other").replace("other=", "sb=");
    let mut lines = vec![
        "a=b".to_owned(),
        String::new(),
        "sb".to_owned(),
        "sb=".to_owned(),
        "sb=v2".to_owned(),
        "sb=1-".to_owned(),
        format!("{ours}; {ours}"),
        format!("{ours}; sb=x"),
        forged,
        renamed,
        ours.replace("sb=1-", "sb=2-"),
        ours.replace("sb=1-", "sb="),
        ours.replace("sb=", "Sb="),
        ours.replace("sb=", "sb=="),
        ours.to_ascii_uppercase().replace("SB=", "sb="),
        format!("{ours}00"),
        format!("\"{ours}\""),
        ours[..ours.len() - 2].to_owned(),
        format!("sb={}", "a".repeat(60_000)),
    ];
    // Another id, another time, another signature: each digit counts.
    for at in 5..ours.len() {
        let mut bytes = ours.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        lines.push(String::from_utf8(bytes).unwrap());
    }
    for line in lines {
        let got = found(&sessions, &[line.as_bytes()], NOW);
        assert_eq!(got, Session { id: NEW, fresh: true }, "{line}");
    }
    assert!(found(&sessions, &[], NOW).fresh);
    assert!(found(&sessions, &[ours.as_bytes(), ours.as_bytes()], NOW).fresh);
    assert!(found(&sessions, &[b"sb=\xff\xfe"], NOW).fresh);
}

#[test]
fn a_session_ends_with_its_age_and_not_before() {
    let sessions = Sessions::of(b"key");
    let ours = pair(&sessions, NAME);
    let at = |now| found(&sessions, &[ours.as_bytes()], now).fresh;
    let second = Duration::from_secs(1);
    assert!(!at(NOW.after(HOUR - second)));
    assert!(at(NOW.after(HOUR)));
    assert!(at(NOW.after(HOUR * 1_000)));
    // The clock of the replica that gave it is a little ahead, or far.
    assert!(!at(Timestamp(NOW.0 - 60_000)));
    assert!(at(Timestamp(NOW.0 - 3_600_000)));
}

#[test]
fn a_version_never_sees_our_cookie_and_every_byte_of_the_others() {
    for (lines, left) in [
        (&["sb=1"][..], &[][..]),
        (&["sb"], &[]),
        (&["sb=1;"], &[]),
        (&["sb=1; sb=2"], &[]),
        (&["a=b; sb=1"], &["a=b"]),
        (&["sb=1; a=b"], &["a=b"]),
        (&["sb=1;a=b"], &["a=b"]),
        (&["a=b; sb=1; c=d"], &["a=b; c=d"]),
        (&["a=\"b c\";sb=1;  c=d=e; f"], &["a=\"b c\";  c=d=e; f"]),
        (&["a=b", "sb=1", "c=d; sb=2"], &["a=b", "c=d"]),
        (&["  a=b;;  "], &["  a=b;;  "]),
        (&["sbx=1; xsb=2; SB=3"], &["sbx=1; xsb=2; SB=3"]),
        (&["a=sb=1; b=sb"], &["a=sb=1; b=sb"]),
        (&[], &[]),
    ] {
        let bytes: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let mut map = cookies(&bytes);
        map.insert(HeaderName::from_static("x-other"), HeaderValue::from_static("sb=1"));
        strip_cookie(&mut map, NAME);
        let got: Vec<&str> =
            map.values(header::COOKIE).map(|it| it.to_str().unwrap()).collect();
        assert_eq!(got, left, "{lines:?}");
        assert_eq!(map["x-other"], "sb=1");
    }
    let mut odd = cookies(&[b"a=\xff\xfe; sb=1"]);
    strip_cookie(&mut odd, NAME);
    assert_eq!(odd[header::COOKIE].as_bytes(), b"a=\xff\xfe");
}

#[test]
fn one_request_of_a_session_counts_in_a_minute() {
    let seen = Seen::default();
    let at = |seconds: u64| Timestamp(NOW.0 + seconds * 1_000);
    assert!(seen.is_first(42, at(0)));
    assert!(!seen.is_first(42, at(0)) && !seen.is_first(42, at(59)));
    assert!(seen.is_first(43, at(59)));
    assert!(seen.is_first(42, at(60)) && !seen.is_first(42, at(61)));
}

/// The sessions that are lost to others in the table are no more of the one version than of
/// the other, and few.
#[test]
fn what_is_lost_of_the_evidence_is_lost_of_both_versions_alike() {
    let (seen, route) = (Seen::default(), Name::parse("r").unwrap());
    let mut counts = [[0u32; 2]; 2];
    for key in 0..200_000u32 {
        let coin = session_coin(&route, &key.to_le_bytes());
        let canary = usize::from(coin < u64::MAX / 10);
        counts[canary][usize::from(seen.is_first(coin, NOW))] += 1;
    }
    let lost = |[lost, kept]: [u32; 2]| f64::from(lost) / f64::from(lost + kept);
    let (stable, canary) = (lost(counts[0]), lost(counts[1]));
    assert!(stable < 0.12 && (stable - canary).abs() < 0.01, "{stable} {canary}");
}

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let name = format!("session-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn the_key_is_made_once_and_is_its_owners() {
    let dir = Dir::new("made");
    let ours = pair(&Sessions::open(&dir.0).unwrap(), NAME);
    let path = dir.0.join(FILE);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(&path).unwrap().len(), 32);
    let again = Sessions::open(&dir.0).unwrap();
    assert!(!found(&again, &[ours.as_bytes()], NOW).fresh, "a restart keeps sessions");
    fs::remove_file(&path).unwrap();
    // What a crash left of an earlier try is in nobody's way.
    fs::write(dir.0.join(format!("{FILE}.new")), "half").unwrap();
    let other = Sessions::open(&dir.0).unwrap();
    assert!(found(&other, &[ours.as_bytes()], NOW).fresh, "another key");
    assert!(!format!("{other:?}").contains("hmac"));
}

#[test]
fn what_is_no_key_is_said() {
    let dir = Dir::new("wrong");
    for bytes in [&b""[..], b"short", &[1; 33]] {
        fs::write(dir.0.join(FILE), bytes).unwrap();
        let error = Sessions::open(&dir.0).unwrap_err();
        assert!(
            matches!(error, SessionError::Length { length, .. } if length == bytes.len())
        );
    }
    let nowhere = Sessions::open(&dir.0.join("missing")).unwrap_err();
    assert!(matches!(nowhere, SessionError::File { .. }));
}

proptest! {
    #[test]
    fn no_cookie_that_was_not_given_proves_anything(
        line in prop::collection::vec(prop_oneof![0x20u8..0x7f, 0x80u8..=0xff], 0..200),
        value in "1-[0-9a-f]{80}",
    ) {
        let sessions = Sessions::of(b"key");
        prop_assert!(found(&sessions, &[&line], NOW).fresh);
        let line = format!("sb={value}");
        prop_assert!(found(&sessions, &[line.as_bytes()], NOW).fresh);
        let mut map = cookies(&[line.as_bytes()]);
        strip_cookie(&mut map, NAME);
        prop_assert!(map.is_empty());
    }

    #[test]
    fn stripping_takes_nothing_else(
        pairs in prop::collection::vec("[a-z]{1,4}(=[!-:<-~]{0,6})?", 0..8),
        at in 0usize..9,
    ) {
        prop_assume!(!pairs.iter().any(|pair| pair.split('=').next() == Some(NAME)));
        let mut with = pairs.clone();
        with.insert(at.min(pairs.len()), "sb=1-x".to_owned());
        let mut map = cookies(&[with.join("; ").as_bytes()]);
        strip_cookie(&mut map, NAME);
        let left = map.get(header::COOKIE).map(|line| line.to_str().unwrap().to_owned());
        prop_assert_eq!(left.unwrap_or_default(), pairs.join("; "));
    }
}
