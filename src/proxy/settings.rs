//! What the configuration says about a listener.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::tls::ServerSettings;

/// One address that takes requests.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerSettings {
    /// Its name, for logs.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it speaks.
    pub protocol: ListenerProtocol,
    /// Its certificate; without one it speaks in the clear.
    pub tls: Option<ServerSettings>,
    /// Bounds on what a caller may do.
    pub limits: Limits,
    /// Networks whose forwarding headers are believed.
    pub trusted: Vec<Network>,
}

impl ListenerSettings {
    /// Whether the forwarding headers of a caller at that address are believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// HTTP/1.1, or HTTP/2 when the connection begins with its preface or, over TLS, both
    /// sides agree on it.
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

/// Bounds on what a caller may do; zero durations and zero counts mean no bound where the
/// field says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the listener, over all workers.
    pub max_connections: usize,
    /// Connections from one address, over all workers; `None` means half of them, or
    /// 256 where that is more.
    pub max_connections_per_address: Option<usize>,
    /// From a request's first byte to the end of its head.
    pub header_timeout: Duration,
    /// Bytes of a request head.
    pub header_size: usize,
    /// Fields of a request head.
    pub header_count: usize,
    /// Bytes of a request body.
    pub body_size: u64,
    /// Between two pieces of a request body, and of an answer that the caller reads.
    pub body_idle_timeout: Duration,
    /// Bytes a second that a caller sends of its body or takes of its answer at least, while
    /// nobody else is waited for; 0 means no bound.
    pub min_rate: u64,
    /// Between two requests of a connection.
    pub keep_alive_timeout: Duration,
    /// Requests of one connection; 0 means no bound.
    pub requests_per_connection: u64,
    /// HTTP/2 streams of one connection.
    pub concurrent_streams: u32,
}

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of that address and prefix length; `None` when the prefix is too long.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(Self { address, prefix })
    }

    /// Parses `10.0.0.0/8`, `fd00::/8` or a single address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            Some((address, prefix)) => {
                Self::new(address.parse().ok()?, prefix.parse().ok()?)
            }
            None => {
                let address: IpAddr = text.parse().ok()?;
                Self::new(address, if address.is_ipv4() { 32 } else { 128 })
            }
        }
    }

    /// Whether the address is in it; an IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip.to_canonical() {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, true),
            IpAddr::V6(ip) => (u128::from(ip), false),
        };
        let ((ours, ours_v4), (theirs, theirs_v4)) = (bits(self.address), bits(address));
        let mask = if self.prefix == 0 {
            0
        } else {
            u128::MAX << (128 - u32::from(self.prefix))
        };
        ours_v4 == theirs_v4 && ours & mask == theirs & mask
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn networks_hold_their_addresses() {
        let ten = Network::parse("10.0.0.0/8").unwrap();
        assert!(ten.contains("10.255.1.2".parse().unwrap()));
        assert!(ten.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!ten.contains("11.0.0.1".parse().unwrap()));
        let all = Network::parse("::/0").unwrap();
        assert!(all.contains("fd00::1".parse().unwrap()));
        assert!(!all.contains("1.2.3.4".parse().unwrap()));
        assert!(
            Network::parse("127.0.0.1").unwrap().contains("127.0.0.1".parse().unwrap())
        );
        assert!(
            Network::parse("10.0.0.0/33").is_none() && Network::parse("x/8").is_none()
        );
    }
}
