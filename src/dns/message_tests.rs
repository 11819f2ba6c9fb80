//! Answers of honest, odd and hostile servers.

use std::net::IpAddr;

use proptest::prelude::*;

use super::{Fqdn, Garbage, Kind, Reply, question, read};

fn name(text: &str) -> Fqdn {
    Fqdn::parse(text).unwrap()
}

/// A record: owner, code, class, seconds, data.
type Row<'a> = (&'a [u8], u16, u16, u32, Vec<u8>);

fn wire(text: &str) -> Vec<u8> {
    let mut bytes = name(text).0;
    bytes.push(0);
    bytes
}

/// The answer to the question for the name, with these flags and records.
fn answer(asked: &str, kind: Kind, flags: u16, rows: &[Row<'_>]) -> Vec<u8> {
    let mut bytes = question(7, &name(asked), kind, false);
    bytes[2..4].copy_from_slice(&flags.to_be_bytes());
    bytes[6..8].copy_from_slice(&u16::try_from(rows.len()).unwrap().to_be_bytes());
    for (owner, code, class, ttl, data) in rows {
        bytes.extend(*owner);
        bytes.extend(code.to_be_bytes());
        bytes.extend(class.to_be_bytes());
        bytes.extend(ttl.to_be_bytes());
        bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(data);
    }
    bytes
}

fn seen(asked: &str, bytes: &[u8]) -> Result<Reply, Garbage> {
    read(bytes, 7, &name(asked), Kind::V4)
}

fn addresses(texts: &[&str], ttl: u32) -> Reply {
    let parse = |text: &&str| text.parse::<IpAddr>().unwrap();
    Reply::Addresses(texts.iter().map(parse).collect(), ttl)
}

/// Points at the name of the question.
const ASKED: &[u8] = &[0xc0, 12];
const GOOD: u16 = 0x8180;

#[test]
fn names_are_those_that_dns_can_have() {
    assert_eq!(name("Models.Svc.").0, b"\x06models\x03svc");
    assert_eq!(name("models.svc").to_string(), "models.svc");
    let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)];
    assert!(Fqdn::parse(&long.join(".")).is_some());
    assert!(Fqdn::parse(&format!("{}x", long.join("."))).is_none());
    for bad in ["", ".", "a..b", &"a".repeat(64)] {
        assert!(Fqdn::parse(bad).is_none(), "{bad:?}");
    }
}

#[test]
fn the_question_is_that_of_the_standard() {
    let asked = question(0x1234, &name("a.b"), Kind::V6, true);
    let expected =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x01a\x01b\x00\x00\x1c\
        \x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
    assert_eq!(asked, expected);
}

#[test]
fn addresses_and_the_least_of_their_times() {
    let rows: [Row<'_>; 2] =
        [(ASKED, 1, 1, 30, vec![10, 0, 0, 1]), (ASKED, 1, 1, 5, vec![10, 0, 0, 2])];
    let bytes = answer("a.b", Kind::V4, GOOD, &rows);
    assert_eq!(seen("A.b", &bytes), Ok(addresses(&["10.0.0.1", "10.0.0.2"], 5)));
    // A time that is negative is none.
    let bytes = answer("a", Kind::V4, GOOD, &[(ASKED, 1, 1, 1 << 31, vec![1, 1, 1, 1])]);
    assert_eq!(seen("a", &bytes), Ok(addresses(&["1.1.1.1"], 0)));
    let six = answer("a", Kind::V6, GOOD, &[(ASKED, 28, 1, 9, vec![0; 16])]);
    assert_eq!(read(&six, 7, &name("a"), Kind::V6), Ok(addresses(&["::"], 9)));
}

#[test]
fn a_name_that_stands_for_another_is_followed_in_any_order() {
    let (b, c) = (wire("b"), wire("c"));
    let rows: [Row<'_>; 4] = [
        (&c, 1, 1, 60, vec![10, 0, 0, 3]),
        (&b, 5, 1, 20, c.clone()),
        (ASKED, 5, 1, 40, b.clone()),
        // Of somebody else, and of no concern.
        (b"\x01z\x00", 1, 1, 1, vec![6, 6, 6, 6]),
    ];
    let bytes = answer("a", Kind::V4, GOOD, &rows);
    assert_eq!(seen("a", &bytes), Ok(addresses(&["10.0.0.3"], 20)));
    let half = answer("a", Kind::V4, GOOD, &rows[1..]);
    assert_eq!(seen("a", &half), Ok(Reply::Alias(name("c"), 20)));
    let circle = answer("a", Kind::V4, GOOD, &[(ASKED, 5, 1, 1, wire("a"))]);
    assert_eq!(seen("a", &circle), Err(Garbage::Circle));
}

#[test]
fn what_is_not_an_address() {
    for (flags, reply) in [
        (GOOD, Reply::Nothing),
        (0x8183, Reply::Nothing),
        (0x8182, Reply::Refused(2)),
        (0x8185, Reply::Refused(5)),
        (0x8181, Reply::Refused(1)),
        (0x8380, Reply::Truncated),
    ] {
        assert_eq!(seen("a", &answer("a", Kind::V4, flags, &[])), Ok(reply), "{flags:x}");
    }
    // Another class and another kind of record.
    let rows: [Row<'_>; 2] =
        [(ASKED, 1, 3, 1, vec![1, 1, 1, 1]), (ASKED, 16, 1, 1, b"\x02hi".to_vec())];
    assert_eq!(seen("a", &answer("a", Kind::V4, GOOD, &rows)), Ok(Reply::Nothing));
    // Somebody who did not understand, without the question.
    let bare = b"\x00\x07\x81\x81\x00\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(seen("a", bare), Ok(Reply::Refused(1)));
}

#[test]
fn what_answers_something_else_has_not_come() {
    let good = answer("a", Kind::V4, GOOD, &[(ASKED, 1, 1, 5, vec![10, 0, 0, 1])]);
    assert_eq!(read(&good, 8, &name("a"), Kind::V4), Err(Garbage::Other));
    assert_eq!(read(&good, 7, &name("b"), Kind::V4), Err(Garbage::Other));
    assert_eq!(read(&good, 7, &name("a"), Kind::V6), Err(Garbage::Other));
    let asked = question(7, &name("a"), Kind::V4, true);
    assert_eq!(seen("a", &asked), Err(Garbage::Other), "a question is no answer");
    for end in 0..good.len() {
        assert!(seen("a", &good[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn pointers_that_lead_nowhere_end() {
    let itself: &[u8] = &[0xc0, 19];
    let forward: &[u8] = &[0xc0, 0xff];
    let reserved: &[u8] = &[0x80, 1];
    for owner in [itself, forward, reserved] {
        let bytes = answer("a", Kind::V4, GOOD, &[(owner, 1, 1, 5, vec![10, 0, 0, 1])]);
        assert_eq!(seen("a", &bytes), Err(Garbage::Name), "{owner:?}");
    }
    // A label and then a pointer to it: longer with each turn, if it were followed.
    let growing: &[u8] = &[1, b'x', 0xc0, 19];
    let bytes = answer("a", Kind::V4, GOOD, &[(growing, 1, 1, 5, vec![10, 0, 0, 1])]);
    assert_eq!(seen("a", &bytes), Err(Garbage::Name));
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _read = seen("a", &bytes);
    }

    #[test]
    fn nor_do_answers_that_were_bent(at in 0_usize..60, to in any::<u8>()) {
        let b = wire("b");
        let rows: [Row<'_>; 2] =
            [(ASKED, 5, 1, 40, b.clone()), (&b, 1, 1, 20, vec![10, 0, 0, 1])];
        let mut bytes = answer("a", Kind::V4, GOOD, &rows);
        let at = at % bytes.len();
        bytes[at] = to;
        let _read = seen("a", &bytes);
    }
}
