//! The format of a kept answer's file, and what is no such file.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{decode, encode, file_id};
use crate::cache::entry::Entry;
use crate::cache::words::{entry, headers, source};
use crate::vocab::ids::{Digest, Name, Slot};

fn full() -> Entry {
    Entry {
        headers: headers(&[
            ("content-type", "application/json"),
            ("link", "<a>"),
            ("link", "<b>"),
            ("x-empty", ""),
        ]),
        body: Bytes::from_static(b"{\"y\":[1.10]}"),
        age: Duration::from_secs(5),
        fresh: Duration::from_millis(60_001),
        public: true,
        target: u64::MAX - 7,
        ..entry(3, 0, 77)
    }
}

fn iris() -> Name {
    Name::parse("iris").unwrap()
}

#[test]
fn what_is_written_is_read_back() {
    for entry in [full(), entry(3, 0, 0)] {
        let file = encode(&iris(), &[9; 32], &entry);
        let record = decode(&file).unwrap();
        assert_eq!((&record.route, record.version.as_str()), (&iris(), "v1"));
        assert_eq!((&record.build, record.digest), (&Digest::new("v1"), [9; 32]));
        assert_eq!(record.stored(), entry.stored);
        assert_eq!(record.id(), file_id(&iris(), &entry.source, &[9; 32]));
        let slot = Slot::new(8).unwrap();
        let back = record.entry(slot);
        assert_eq!(back.source.slot, slot);
        assert_eq!((back.status, &back.body), (entry.status, &entry.body));
        assert_eq!(back.headers, entry.headers);
        assert_eq!((back.age, back.fresh), (entry.age, entry.fresh));
        assert_eq!((back.limit, back.public), (entry.limit, entry.public));
        assert_eq!((back.stored, back.target), (entry.stored, entry.target));
    }
}

#[test]
fn every_question_to_every_build_has_its_own_file() {
    let v1 = source("v1", 1);
    let rebuilt = crate::cache::Source { digest: Digest::new("other"), ..v1.clone() };
    let other = Name::parse("other").unwrap();
    let ids = [
        file_id(&iris(), &v1, &[1; 32]),
        file_id(&iris(), &v1, &[2; 32]),
        file_id(&iris(), &rebuilt, &[1; 32]),
        file_id(&iris(), &source("v2", 1), &[1; 32]),
        file_id(&other, &v1, &[1; 32]),
    ];
    for (at, id) in ids.iter().enumerate() {
        assert!(!ids[..at].contains(id), "{at}");
    }
    assert_eq!(file_id(&iris(), &source("v1", 5), &[1; 32]), ids[0], "in any slot");
}

#[test]
fn what_may_not_be_kept_is_not_read_either() {
    for line in [
        ("cache-control", "no-store"),
        ("cache-control", "max-age=9, private"),
        ("set-cookie", "a=1"),
        ("cache-control", "x=\"no-store"),
    ] {
        let entry = Entry { headers: headers(&[line]), ..full() };
        assert!(decode(&encode(&iris(), &[9; 32], &entry)).is_none(), "{line:?}");
    }
}

#[test]
fn a_torn_file_is_no_file() {
    let file = encode(&iris(), &[9; 32], &full());
    for len in 0..file.len() {
        assert!(decode(&file[..len]).is_none(), "cut at {len}");
        let mut zeroed = file.clone();
        zeroed[len..].fill(0);
        assert!(decode(&zeroed).is_none(), "zeroes from {len}");
    }
    let mut more = file.clone();
    more.push(0);
    assert!(decode(&more).is_none());
    assert!(decode(&file).is_some());
}

proptest! {
    #[test]
    fn no_other_bytes_are_an_answer(at: prop::sample::Index, bit in 0_u8..8, noise: Vec<u8>) {
        let mut file = encode(&iris(), &[9; 32], &full());
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        prop_assert!(decode(&file).is_none());
        prop_assert!(decode(&noise).is_none());
    }
}
