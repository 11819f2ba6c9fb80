//! One version through changes of where its names lead.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Renewal, Where};
use crate::upstream::registry::tests::settings;
use crate::upstream::{Address, Guard, Origin, Settings, Upstream};
use crate::vocab::ids::Name;
use crate::vocab::time::Timestamp;

fn address(host: &str) -> Address {
    Address::Tcp { host: host.to_owned(), port: 9001, tls: false }
}

fn upstream(endpoints: Vec<Origin>, before: Option<&Upstream>) -> Upstream {
    let (route, version) = (Name::parse("iris").unwrap(), Name::parse("v2").unwrap());
    Upstream::new(route, version, Settings { endpoints, ..settings(&[]) }, before)
}

fn lead(ips: &[&str]) -> impl Fn(&str) -> Option<Where> {
    let all: Arc<[IpAddr]> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    move |_: &str| Some(Where::At(Arc::clone(&all)))
}

fn renew(upstream: &Upstream, ips: &[&str]) -> Renewal {
    upstream.renewed(lead(ips), |_| None, Timestamp(0))
}

fn shown(upstream: &Upstream) -> Vec<String> {
    upstream.endpoints.iter().map(|one| one.address.to_string()).collect()
}

#[test]
fn a_plain_name_is_one_server_wherever_it_leads() {
    let upstream = upstream(vec![Origin::One(address("models"))], None);
    assert!(upstream.is_nowhere());
    assert_eq!(upstream.healthy_count(Timestamp(0)), 0);
    let first = renew(&upstream, &["10.0.0.1", "10.0.0.2"]);
    assert!(first.upstream.is_none(), "it is the same server");
    assert_eq!(first.moved, [address("models")]);
    let endpoint = &upstream.endpoints[0];
    assert_eq!((endpoint.sockets().len(), endpoint.moves()), (2, 1));
    assert_eq!(upstream.healthy_count(Timestamp(0)), 1);
    assert!(renew(&upstream, &["10.0.0.1", "10.0.0.2"]).moved.is_empty());
    let nowhere = |_: &str| Some(Where::Nowhere("SERVFAIL".to_owned()));
    let lost = upstream.renewed(nowhere, |_| None, Timestamp(0));
    assert!(lost.moved.is_empty() && lost.upstream.is_none());
    assert_eq!(endpoint.sockets().len(), 2, "what was known stays");
}

#[test]
fn a_headless_name_is_as_many_servers_as_it_has_addresses() {
    let empty = upstream(vec![Origin::Each(address("models"))], None);
    assert!(empty.is_nowhere() && empty.endpoints.is_empty());
    let first = renew(&empty, &["10.0.0.1", "fd00::1"]).upstream.unwrap();
    assert_eq!(shown(&first), ["http://10.0.0.1:9001", "http://[fd00::1]:9001"]);
    let one = &first.endpoints[0];
    assert_eq!((one.host(), one.authority().as_str()), ("models", "models:9001"));
    assert!(!first.is_nowhere() && one.moves() == 0);

    let next = renew(&first, &["10.0.0.2", "fd00::1"]);
    assert_eq!(next.come, [address("10.0.0.2")]);
    assert_eq!(next.gone, [address("10.0.0.1")]);
    let next = next.upstream.unwrap();
    assert_eq!(next.endpoints[0].id, first.endpoints[1].id, "who stays is the same");
    assert_eq!((next.place(0), next.place(1)), (1, 2));
    assert_eq!(
        next.names_by_place(),
        ["http://10.0.0.1:9001", "http://[fd00::1]:9001", "http://10.0.0.2:9001"]
    );
    for lost in [None, Some(Where::Nowhere("SERVFAIL".to_owned()))] {
        let lost = next.renewed(|_| lost.clone(), |_| None, Timestamp(0));
        assert!(lost.upstream.is_none(), "what was known stays");
    }
    // Comes back while requests are still on it: it is the same server at its old place.
    let back = renew(&next, &["10.0.0.1", "fd00::1"]).upstream.unwrap();
    assert_eq!(back.endpoints[0].id, first.endpoints[0].id);
    assert_eq!((back.place(0), back.place(1)), (0, 1));
    assert_eq!(back.names_by_place().len(), 3);
}

#[test]
fn a_place_is_another_s_only_when_nobody_uses_its_server_any_more() {
    let empty = upstream(vec![Origin::Each(address("models"))], None);
    let first = renew(&empty, &["10.0.0.1", "10.0.0.2"]).upstream.unwrap();
    let user = Arc::clone(&first.endpoints[0]);
    let next = renew(&first, &["10.0.0.2"]).upstream.unwrap();
    drop(first);
    let late = Timestamp(3_600_000);
    let more = lead(&["10.0.0.2", "10.0.0.3"]);
    let busy = next.renewed(&more, |_| None, late).upstream.unwrap();
    assert_eq!((busy.place(0), busy.place(1)), (1, 2));
    drop(user);
    let free = next.renewed(&more, |_| None, late).upstream.unwrap();
    assert_eq!((free.place(0), free.place(1)), (0, 1));
    assert_eq!(shown(&free), ["http://10.0.0.3:9001", "http://10.0.0.2:9001"]);
}

#[test]
fn servers_by_address_by_name_and_by_socket_are_one_version() {
    let entries = vec![
        Origin::One(address("10.0.0.1")),
        Origin::Each(address("models")),
        Origin::One(Address::Unix("/run/model.sock".into())),
    ];
    let empty = upstream(entries.clone(), None);
    let full = renew(&empty, &["10.0.0.1", "10.0.0.2"]).upstream.unwrap();
    assert_eq!(
        shown(&full),
        ["http://10.0.0.1:9001", "unix:/run/model.sock", "http://10.0.0.2:9001"],
        "an address that has an entry of its own is there once"
    );
    // A reload that keeps the entries keeps the servers, and so does one that adds to them.
    let same = upstream(entries.clone(), Some(&full));
    assert_eq!(same.names_by_place(), full.names_by_place());
    assert_eq!(same.endpoints[2].id, full.endpoints[2].id);
    let mut more = entries;
    more.push(Origin::One(address("10.0.0.9")));
    let more = upstream(more, Some(&full));
    let ids =
        |one: &Upstream| -> Vec<u32> { one.endpoints.iter().map(|e| e.id).collect() };
    assert!(ids(&full).iter().all(|id| ids(&more).contains(id)));
    assert_eq!(more.endpoints.len(), 4);
}

#[test]
fn addresses_that_must_not_be_used_are_left_out_and_told() {
    let guard = Guard::new(vec!["10.0.0.1:9001".parse().unwrap()]);
    let refuse = |at| guard.refuse(at);
    let each = upstream(vec![Origin::Each(address("models"))], None);
    let all = lead(&["10.0.0.1", "10.0.0.2", "169.254.169.254"]);
    let seen = each.renewed(&all, refuse, Timestamp(0));
    assert_eq!(seen.refused.len(), 2);
    assert_eq!(shown(&seen.upstream.unwrap()), ["http://10.0.0.2:9001"]);
    let one = upstream(vec![Origin::One(address("models"))], None);
    let only_us = one.renewed(lead(&["10.0.0.1"]), refuse, Timestamp(0));
    assert!(only_us.moved.is_empty() && one.is_nowhere());
    let spots = one.endpoints[0].spots();
    let why = spots.why.clone().unwrap();
    assert_eq!(why, "10.0.0.1:9001 is an address of this proxy itself");
}
