//! What the machine says about names: `/etc/resolv.conf` and `/etc/hosts`, read as the C
//! library reads them (resolv.conf(5), hosts(5)).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::{fs, io};

/// Whom to ask, and for which names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// In order; at least one.
    pub servers: Vec<SocketAddr>,
    /// What is put behind a name that is not whole.
    pub search: Vec<String>,
    /// With so many dots a name is tried as it is first.
    pub ndots: usize,
}

impl Resolver {
    /// What a `resolv.conf` says; an empty one means this machine, as always.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (mut servers, mut search, mut ndots) = (Vec::new(), Vec::new(), 1);
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // An address with a zone (`fe80::1%eth0`) is left out.
                    let ip = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    servers.extend(ip.map(|ip| SocketAddr::new(ip, PORT)));
                }
                // The last one counts.
                Some("search" | "domain") => {
                    search = words.map(str::to_owned).collect();
                }
                Some("options") => {
                    let numbers = words.filter_map(|word| word.strip_prefix("ndots:"));
                    let mut numbers = numbers.filter_map(|n| n.parse::<usize>().ok());
                    let number = numbers.next_back();
                    ndots = number.map_or(ndots, |number| number.min(NDOTS));
                }
                Some(_) | None => {}
            }
        }
        if servers.is_empty() {
            servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
        }
        servers.truncate(SERVERS);
        search.truncate(SEARCHED);
        Self { servers, search, ndots }
    }

    /// What this machine says now.
    pub(super) fn of_system() -> Self {
        Self::parse(&read(Path::new(RESOLV_CONF)))
    }

    /// The whole names that a name may mean, in the order in which they are tried: the first
    /// that has an address is meant.
    #[must_use]
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let within = |domain: &String| match domain.trim_matches('.') {
            "" => name.to_owned(),
            domain => format!("{name}.{domain}"),
        };
        let mut names: Vec<String> = self.search.iter().map(within).collect();
        if name.matches('.').count() >= self.ndots {
            names.insert(0, name.to_owned());
        } else {
            names.push(name.to_owned());
        }
        names
    }
}

/// The addresses that a hosts file has for a name.
#[must_use]
pub fn hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(ip) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
            continue;
        };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&ip) {
            found.push(ip);
        }
    }
    found
}

/// The addresses that this machine's hosts file has for a name.
pub(super) fn hosts_of_system(name: &str) -> Vec<IpAddr> {
    hosts(&read(Path::new(HOSTS)), name)
}

/// A file, if it can be read and is not monstrous: what cannot be read says nothing.
fn read(path: &Path) -> String {
    let text = || -> io::Result<String> {
        if fs::metadata(path)?.len() > LARGEST {
            return Ok(String::new());
        }
        Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
    };
    text().unwrap_or_default()
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
const LARGEST: u64 = 4 << 20;
/// Where name servers listen.
pub(super) const PORT: u16 = 53;
/// The C library asks three at most.
const SERVERS: usize = 3;
const SEARCHED: usize = 32;
/// More dots than that mean that, as in the C library.
pub(super) const NDOTS: usize = 15;

#[cfg(test)]
mod tests {
    use super::{Resolver, hosts};

    #[test]
    fn a_pod_s_file_is_understood() {
        let text = "# made by kubelet\nsearch prod.svc.cluster.local svc.cluster.local \
                    cluster.local\nnameserver 10.96.0.10\noptions ndots:5 timeout:1\n";
        let resolver = Resolver::parse(text);
        assert_eq!(resolver.servers, ["10.96.0.10:53".parse().unwrap()]);
        assert_eq!(resolver.ndots, 5);
        assert_eq!(
            resolver.candidates("models"),
            [
                "models.prod.svc.cluster.local",
                "models.svc.cluster.local",
                "models.cluster.local",
                "models"
            ]
        );
        assert_eq!(
            resolver.candidates("models.prod")[0],
            "models.prod.prod.svc.cluster.local"
        );
        assert_eq!(resolver.candidates("a.b.c.d.e.f")[0], "a.b.c.d.e.f");
        assert_eq!(resolver.candidates("models."), ["models"]);
    }

    #[test]
    fn odd_files_are_understood_too() {
        for (text, servers, search, ndots) in [
            ("", vec!["127.0.0.1:53"], vec![], 1),
            ("nameserver\nnameserver x\n", vec!["127.0.0.1:53"], vec![], 1),
            (
                "nameserver ::1 # v6\r\nnameserver fe80::1%eth0\r\n",
                vec!["[::1]:53"],
                vec![],
                1,
            ),
            ("domain a\nsearch b c ; d\n", vec!["127.0.0.1:53"], vec!["b", "c"], 1),
            ("options ndots:99\noptions rotate\n", vec!["127.0.0.1:53"], vec![], 15),
            ("options ndots:0 ndots:x\n", vec!["127.0.0.1:53"], vec![], 0),
            (
                "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4",
                vec!["1.1.1.1:53", "1.1.1.2:53", "1.1.1.3:53"],
                vec![],
                1,
            ),
        ] {
            let seen = Resolver::parse(text);
            let shown: Vec<String> =
                seen.servers.iter().map(ToString::to_string).collect();
            assert_eq!(
                (shown, seen.ndots),
                (servers.iter().map(|s| (*s).to_owned()).collect(), ndots),
                "{text:?}"
            );
            assert_eq!(seen.search, search, "{text:?}");
        }
        assert_eq!(Resolver::parse("search .").candidates("a"), ["a", "a"]);
    }

    #[test]
    fn hosts_have_every_address_of_a_name_once() {
        let text = "127.0.0.1 localhost\n::1\tlocalhost ip6-localhost # both\n\
                    10.0.0.1 a.b A  \n10.0.0.1 a\nnonsense a\n# 10.0.0.9 a\n10.0.0.2 x a\n";
        let shown = |name| -> Vec<String> {
            hosts(text, name).iter().map(ToString::to_string).collect()
        };
        assert_eq!(shown("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(shown("a"), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(shown("A.B."), ["10.0.0.1"]);
        assert!(shown("b").is_empty());
    }
}
