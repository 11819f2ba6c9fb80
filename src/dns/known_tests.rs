//! What becomes of a name with good answers, bad ones and none.

use std::net::IpAddr;
use std::time::Duration;

use super::{Known, MOST, Told};
use crate::dns::look_up::{Family, Found, LookUpError, Through};
use crate::dns::settings::Settings;
use crate::vocab::time::Timestamp;

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn found(v4: Family, v6: Family) -> Result<Found, LookUpError> {
    Ok(Found { v4, v6, through: Through::Dns("models.svc".to_owned()) })
}

fn at(texts: &[&str], ttl: u32) -> Result<Found, LookUpError> {
    found(Family::At(ips(texts), ttl), Family::Nothing)
}

fn failed(why: &str) -> Result<Found, LookUpError> {
    Err(LookUpError::Failed(why.to_owned()))
}

fn next(known: &Known, seen: Result<Found, LookUpError>, now: u64) -> (Known, Vec<Told>) {
    known.after(seen, &Settings::default(), Timestamp(now))
}

fn shown(known: &Known) -> Vec<String> {
    known.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn an_answer_holds_as_long_as_it_says_within_bounds() {
    for (ttl, seconds) in
        [(0, 1), (1, 1), (5, 5), (300, 300), (301, 300), (u32::MAX, 300)]
    {
        let (known, _) = next(&Known::default(), at(&["10.0.0.1"], ttl), 7_000);
        assert_eq!(known.next, Timestamp(7_000 + seconds * 1_000), "{ttl} s");
    }
}

#[test]
fn addresses_come_and_go_and_only_news_is_told() {
    let (known, told) = next(&Known::default(), at(&["10.0.0.2", "10.0.0.1"], 5), 0);
    assert_eq!(shown(&known), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(told.len(), 1);
    let (known, told) = next(&known, at(&["10.0.0.1", "10.0.0.2"], 5), 1);
    assert!(told.is_empty(), "another order is no news: {told:?}");
    let (known, told) = next(&known, at(&["10.0.0.3", "10.0.0.1"], 5), 2);
    let (come, gone) = (ips(&["10.0.0.3"]), ips(&["10.0.0.2"]));
    assert_eq!(told, [Told::Changed { come, gone }]);
    assert_eq!(shown(&known), ["10.0.0.1", "10.0.0.3"]);
}

#[test]
fn no_answer_takes_nothing_away_and_is_told_once() {
    let (known, _) = next(&Known::default(), at(&["10.0.0.1"], 5), 0);
    let mut now = 5_000;
    let mut pauses = Vec::new();
    let mut current = known.clone();
    let mut all_told = Vec::new();
    for why in ["SERVFAIL", "no answer", "SERVFAIL", "x", "x", "x", "x"] {
        let (after, told) = next(&current, failed(why), now);
        assert_eq!(after.addresses, known.addresses);
        pauses.push((after.next.0 - now) / 1_000);
        now = after.next.0;
        all_told.extend(told);
        current = after;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(all_told.len(), 1, "{all_told:?}");
    assert_eq!(current.failing.as_ref().unwrap().0, Timestamp(5_000));
    assert_eq!(current.looks, (1, 7));
    let nothing = Err(LookUpError::Nothing("models.svc".to_owned()));
    let (after, told) = next(&known, nothing, 0);
    assert_eq!((after.addresses.len(), told.len()), (1, 1), "an empty answer is none");
    let (well, told) = next(&current, at(&["10.0.0.1"], 5), now);
    let after = Duration::from_millis(now - 5_000);
    assert_eq!(told, [Told::Well { after }]);
    assert!(well.failing.is_none());
    let (again, _) = next(&well, failed("x"), now);
    assert_eq!(again.next.0 - now, 1_000, "pauses begin anew");
}

#[test]
fn a_kind_of_address_that_nobody_could_tell_of_stays() {
    let both = found(Family::At(ips(&["10.0.0.1"]), 5), Family::At(ips(&["fd00::1"]), 9));
    let (known, _) = next(&Known::default(), both, 0);
    assert_eq!(known.next, Timestamp(5_000));
    let half = found(Family::At(ips(&["10.0.0.2"]), 5), Family::Unknown);
    let (half, _) = next(&known, half, 0);
    assert_eq!(shown(&half), ["10.0.0.2", "fd00::1"]);
    let gone = found(Family::At(ips(&["10.0.0.2"]), 5), Family::Nothing);
    assert_eq!(shown(&next(&half, gone, 0).0), ["10.0.0.2"]);
    // Under another whole name nothing of the old one stays.
    let other = Ok(Found {
        v4: Family::At(ips(&["10.0.0.9"]), 5),
        v6: Family::Unknown,
        through: Through::Dns("models".to_owned()),
    });
    assert_eq!(shown(&next(&half, other, 0).0), ["10.0.0.9"]);
}

#[test]
fn an_ipv4_address_is_one_however_it_is_written() {
    let twice = found(
        Family::At(ips(&["10.0.0.1"]), 5),
        Family::At(ips(&["::ffff:10.0.0.1"]), 5),
    );
    assert_eq!(shown(&next(&Known::default(), twice, 0).0), ["10.0.0.1"]);
}

#[test]
fn too_many_addresses_are_bounded_and_those_in_use_stay() {
    let all: Vec<String> =
        (0..1_000).map(|n| format!("10.1.{}.{}", n / 250, n % 250)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let (before, _) = next(&Known::default(), at(&all[900..902], 5), 0);
    let (full, told) = next(&before, at(&all, 5), 0);
    assert_eq!((full.addresses.len(), full.left_out), (MOST, 1_000 - MOST));
    assert!(before.addresses.iter().all(|ip| full.addresses.contains(ip)));
    assert!(told.contains(&Told::LeftOut(1_000 - MOST)));
    let (same, told) = next(&full, at(&all, 5), 0);
    assert_eq!(same.addresses, full.addresses);
    assert!(told.is_empty());
}
