//! `Caller`: what is known of the other end of a connection, worked out once for it.

use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;

use super::settings::ListenerSettings;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Whether its forwarding headers are believed.
    pub(super) trusted: bool,
    /// What it adds to `X-Forwarded-For`.
    pub(super) forwarded_for: HeaderValue,
    /// What it adds to `Forwarded` (RFC 7239).
    pub(super) forwarded: HeaderValue,
    /// What it adds to `X-Forwarded-Proto`.
    pub(super) proto: HeaderValue,
}

impl Caller {
    /// The caller at that address of a listener.
    pub(super) fn new(peer: SocketAddr, listener: &ListenerSettings) -> Self {
        let ip = peer.ip().to_canonical();
        let trusted = listener.trusts(ip);
        let proto = if listener.tls.is_some() { "https" } else { "http" };
        let node = match ip {
            IpAddr::V4(ip) => format!("for={ip};proto={proto}"),
            IpAddr::V6(ip) => format!("for=\"[{ip}]\";proto={proto}"),
        };
        let value = |text: &str| {
            HeaderValue::from_str(text)
                .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        };
        Self {
            trusted,
            forwarded_for: value(&ip.to_string()),
            forwarded: value(&node),
            proto: HeaderValue::from_static(proto),
        }
    }
}
