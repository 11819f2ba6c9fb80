//! Addresses that a name must not lead to, whoever answers for it: this proxy's own, so that
//! requests do not go round in circles or reach the operators' side, and those at which
//! clouds keep credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Knows this proxy's own addresses.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    own: Vec<SocketAddr>,
}

impl Guard {
    /// `own` are the addresses that this process listens on.
    #[must_use]
    pub fn new(own: Vec<SocketAddr>) -> Self {
        Self { own }
    }

    /// Why an address that a look-up gave must not be used, if it must not.
    #[must_use]
    pub fn refuse(&self, at: SocketAddr) -> Option<&'static str> {
        let ip = at.ip().to_canonical();
        if ip.is_unspecified() || ip.is_multicast() || ip == Ipv4Addr::BROADCAST {
            Some("is no server's address")
        } else if Self::is_metadata(ip) {
            Some("is link-local or where clouds keep credentials")
        } else if self.is_own(at) {
            Some("is an address of this proxy itself")
        } else {
            None
        }
    }

    /// Whether this process listens there.
    #[must_use]
    pub fn is_own(&self, at: SocketAddr) -> bool {
        let ip = at.ip().to_canonical();
        self.own.iter().filter(|own| own.port() == at.port()).any(|own| {
            let own = own.ip().to_canonical();
            own == ip || (own.is_unspecified() && is_of_this_machine(ip))
        })
    }

    /// Whether it is link-local or one of the addresses beyond that at which machines of
    /// known clouds find their credentials.
    #[must_use]
    pub fn is_metadata(ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => ip.is_link_local() || CLOUDS_V4.contains(&ip),
            IpAddr::V6(ip) => ip.is_unicast_link_local() || CLOUDS_V6.contains(&ip),
        }
    }
}

/// Only what is an address of this machine can be listened on.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Alibaba Cloud and Azure.
const CLOUDS_V4: [Ipv4Addr; 2] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
/// AWS and Google Cloud.
const CLOUDS_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

#[cfg(test)]
mod tests {
    use super::Guard;

    #[test]
    fn what_a_name_must_not_lead_to() {
        let own = ["127.0.0.1:9901", "0.0.0.0:8080", "[::]:8443", "10.1.2.3:7000"];
        let guard = Guard::new(own.iter().map(|text| text.parse().unwrap()).collect());
        for (at, is_refused) in [
            ("10.0.0.1:8080", false),
            ("127.0.0.1:9000", false),
            ("127.0.0.1:9901", true),
            ("[::ffff:127.0.0.1]:9901", true),
            ("127.0.0.2:9901", false),
            ("127.0.0.2:8080", true),
            ("127.0.0.1:8443", true),
            ("[::1]:8443", true),
            ("10.1.2.3:7000", true),
            ("127.0.0.1:7000", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("224.0.0.1:1", true),
            ("255.255.255.255:1", true),
            ("169.254.169.254:80", true),
            ("[::ffff:169.254.169.254]:80", true),
            ("[fe80::1]:80", true),
            ("[fd00:ec2::254]:80", true),
            ("100.100.100.200:80", true),
            ("192.168.0.1:80", false),
        ] {
            assert_eq!(guard.refuse(at.parse().unwrap()).is_some(), is_refused, "{at}");
        }
    }
}
