//! Any bytes as an answer of a name server, as a `resolv.conf`, a hosts file and a name.

use switchback::dns::message::{Fqdn, Kind, Reply, question, read};
use switchback::dns::system::{Resolver, hosts};

use super::choice;

const ID: u16 = 0x1234;

pub(super) fn body(data: &[u8]) {
    let (what, rest) = choice(data, 4);
    match what {
        0 => whole(rest),
        1 => records(rest),
        2 => files(rest),
        _ => names(rest),
    }
}

fn asked() -> Option<Fqdn> {
    Fqdn::parse("model.example.com")
}

fn bounded(bytes: &[u8]) {
    let Some(name) = asked() else { return };
    for kind in [Kind::V4, Kind::V6] {
        let reply = read(bytes, ID, &name, kind);
        assert_eq!(reply, read(bytes, ID, &name, kind));
        match reply {
            // A record takes eleven bytes and its address.
            Ok(Reply::Addresses(addresses, _)) => {
                assert!(!addresses.is_empty() && addresses.len() * 15 <= bytes.len());
                let v4 = addresses.iter().filter(|ip| ip.is_ipv4()).count();
                let all = if kind == Kind::V4 { addresses.len() } else { 0 };
                assert_eq!(v4, all);
            }
            Ok(Reply::Alias(alias, _)) => {
                let shown = alias.to_string();
                assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
            Ok(Reply::Refused(code)) => assert!(code != 0 && code < 16),
            Ok(Reply::Nothing | Reply::Truncated) | Err(_) => {}
        }
        assert!(read(bytes, ID ^ 1, &name, kind).is_err());
    }
}

fn whole(bytes: &[u8]) {
    bounded(bytes);
}

/// The head and the question are right, and the number of records is the first byte's.
fn records(bytes: &[u8]) {
    let Some(name) = asked() else { return };
    for kind in [Kind::V4, Kind::V6] {
        let mut reply = question(ID, &name, kind, false);
        assert!(read(&reply, ID, &name, kind).is_err(), "a question is no answer");
        reply[2] |= 0x80;
        assert_eq!(read(&reply, ID, &name, kind), Ok(Reply::Nothing));
        let (count, rest) = choice(bytes, 16);
        reply[7] = count;
        reply.extend_from_slice(rest);
        bounded(&reply);
    }
}

fn files(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let resolver = Resolver::parse(&text);
    assert!((1..=3).contains(&resolver.servers.len()));
    assert!(resolver.search.len() <= 32 && resolver.ndots <= 15);
    for name in ["a", "a.b", "a.b.", "a.b.c.d.e"] {
        let candidates = resolver.candidates(name);
        assert!((1..=33).contains(&candidates.len()));
        assert!(candidates.iter().all(|it| it.starts_with(name.trim_end_matches('.'))));
    }
    let found = hosts(&text, "model");
    assert_eq!(found, hosts(&text, "MODEL."));
    assert!(found.len() <= text.lines().count());
}

fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(name) = Fqdn::parse(text) else { return };
    assert!(text.len() <= 254);
    let shown = name.to_string();
    assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)) {
        assert_eq!(shown, text.trim_end_matches('.').to_ascii_lowercase());
        assert_eq!(Fqdn::parse(&shown), Some(name));
    }
}
