//! `Target`: where a request may go, and which addresses it may never reach. Apart from the
//! client because this is the policy and that is the plumbing.
//!
//! A target comes from the configuration alone. What its name stands for is asked anew each
//! time and held against the same rules, so that a name which turns to an inner address
//! leads nowhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use thiserror::Error;

/// A parsed URL of the configuration. What follows the host may be a secret and is never
/// shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) is_tls: bool,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Begins with a slash.
    pub(super) path: String,
    pub(super) allow_private: bool,
}

/// Why a text is no target. The text is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// It cannot be read.
    #[error("is not a URL: write https://HOST/PATH")]
    Form,
    /// It is not HTTP.
    #[error("is neither https:// nor http://")]
    Scheme,
    /// It has a name or a password in it.
    #[error("has a user name in it: give the secret as a file")]
    User,
    /// It is longer than any URL has to be.
    #[error("is longer than {MOST} bytes")]
    Long,
    /// It is not protected and may leave the house.
    #[error(
        "is plain http://, which goes to private addresses only: write https://, or add allowPrivate: true"
    )]
    Plain,
    /// It is an address that is refused.
    #[error("is {0}")]
    Address(Refusal),
}

/// Why an address may not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Link-local, or where clouds keep their credentials.
    #[error("a link-local or metadata address, which is never allowed")]
    Metadata,
    /// No host has it.
    #[error("an address that no server has")]
    Nobody,
    /// Loopback or a private network, and the target may not go there.
    #[error("a private or loopback address, which needs allowPrivate: true")]
    Private,
    /// A public address over plain HTTP.
    #[error("a public address, to which plain http:// does not go")]
    PlainToPublic,
}

impl Target {
    /// Parses a URL of the configuration.
    ///
    /// # Errors
    /// [`TargetError`] when it is no URL, not HTTP, or leads where nothing may go.
    pub fn parse(url: &str, allow_private: bool) -> Result<Self, TargetError> {
        if url.len() > MOST {
            return Err(TargetError::Long);
        }
        // A fragment is dropped by `Uri`; nobody means one here.
        let visible = url.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible || url.contains('#') {
            return Err(TargetError::Form);
        }
        let uri: Uri = url.parse().map_err(|_| TargetError::Form)?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err(TargetError::Scheme),
            None => return Err(TargetError::Form),
        };
        let authority = uri.authority().ok_or(TargetError::Form)?;
        if authority.as_str().contains('@') {
            return Err(TargetError::User);
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let fallback = if is_tls { 443 } else { 80 };
        let given = authority.as_str().rsplit_once(':').filter(|_| !ends(authority));
        let port = match given {
            Some(_) => uri.port_u16().ok_or(TargetError::Form)?,
            None => fallback,
        };
        if host.is_empty() || port == 0 {
            return Err(TargetError::Form);
        }
        if !is_tls && !allow_private {
            return Err(TargetError::Plain);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path =
            if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let host = host.to_ascii_lowercase();
        let target = Self { is_tls, host, port, path, allow_private };
        if let Ok(address) = target.host.parse() {
            target.admit(address).map_err(TargetError::Address)?;
        }
        Ok(target)
    }

    /// The same server with another path, which begins with a slash. Its query must be
    /// encoded already.
    #[must_use]
    pub fn at(&self, path: &str) -> Self {
        debug_assert!(path.starts_with('/'), "{path}");
        Self { path: path.to_owned(), ..self.clone() }
    }

    /// The same server with something appended to the path, between exactly one slash.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        let base = self.path.trim_end_matches('/');
        self.at(&format!("{base}/{}", path.trim_start_matches('/')))
    }

    /// Scheme, host and port, which are no secret.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// The whole address, for one that was made of what is no secret.
    pub(super) fn shown(&self) -> String {
        format!("{}{}", self.origin(), self.path)
    }

    /// What the `Host` header says.
    pub(super) fn authority(&self) -> String {
        let is_usual = self.port == if self.is_tls { 443 } else { 80 };
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        if is_usual { host } else { format!("{host}:{}", self.port) }
    }

    /// Whether the target may be reached at that address.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn admit(&self, address: IpAddr) -> Result<(), Refusal> {
        match kind(address) {
            Kind::Metadata => Err(Refusal::Metadata),
            Kind::Nobody => Err(Refusal::Nobody),
            Kind::Private if self.allow_private => Ok(()),
            Kind::Private => Err(Refusal::Private),
            Kind::Public if self.is_tls => Ok(()),
            Kind::Public => Err(Refusal::PlainToPublic),
        }
    }
}

/// Whether an authority ends with an IPv6 address and has no port.
fn ends(authority: &http::uri::Authority) -> bool {
    authority.as_str().ends_with(']')
}

/// Only the origin: the rest may be a secret.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({}/***)", self.origin())
    }
}

/// What is at an address, by the registries of special addresses (RFC 6890) and by what
/// the large clouds say about their metadata servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Private,
    Metadata,
    Nobody,
}

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => match inner(address) {
            Some(address) => kind_v4(address),
            None => kind_v6(address),
        },
    }
}

fn kind_v4(address: Ipv4Addr) -> Kind {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        _ if METADATA.contains(&address) => Kind::Metadata,
        (169, 254, _) => Kind::Metadata,
        (0 | 224..=255, _, _) => Kind::Nobody,
        (10 | 127, _, _) => Kind::Private,
        (100, 64..=127, _) | (172, 16..=31, _) | (192, 168, _) => Kind::Private,
        (192, 0, 0) | (198, 18..=19, _) => Kind::Private,
        _ => Kind::Public,
    }
}

fn kind_v6(address: Ipv6Addr) -> Kind {
    let first = address.segments()[0];
    if address == METADATA_V6 || first & 0xffc0 == 0xfe80 {
        Kind::Metadata
    } else if address.is_unspecified() || address.is_multicast() {
        Kind::Nobody
    } else if address.is_loopback()
        || first & 0xfe00 == 0xfc00
        || first & 0xffc0 == 0xfec0
    {
        Kind::Private
    } else {
        Kind::Public
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped or compatible (RFC 4291),
/// translated (RFC 6052, RFC 8215) or tunnelled by 6to4 (RFC 3056).
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            Some(of(high, low))
        }
        // Loopback and unspecified are no IPv4 addresses.
        [0, 0, 0, 0, 0, 0, high, low] if high > 0 => Some(of(high, low)),
        [0x64, 0xff9b, 0 | 1, _, _, _, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// Metadata servers outside the link-local network: Alibaba, Azure's wire server, Oracle.
const METADATA: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// That of AWS.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
/// Bytes of a URL.
const MOST: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::{Refusal, Target, TargetError};

    #[test]
    fn a_url_is_taken_apart() {
        for (url, origin, path) in [
            (
                "https://hooks.example.com/a/b?c=d",
                "https://hooks.example.com",
                "/a/b?c=d",
            ),
            ("https://Example.com", "https://example.com", "/"),
            ("https://example.com:8443/x", "https://example.com:8443", "/x"),
            ("https://example.com:443/", "https://example.com", "/"),
            ("http://127.0.0.1:9093/api", "http://127.0.0.1:9093", "/api"),
            ("http://[::1]:9093/", "http://[::1]:9093", "/"),
            ("http://[fd12::1]/x", "http://[fd12::1]", "/x"),
        ] {
            let target = Target::parse(url, true).unwrap();
            assert_eq!(target.origin(), origin, "{url}");
            assert_eq!(target.path, path, "{url}");
        }
        let target = Target::parse("https://h/base/", false).unwrap();
        assert_eq!(target.below("/api/v2/alerts").path, "/base/api/v2/alerts");
        assert_eq!(target.at("/x").path, "/x");
    }

    #[test]
    fn what_is_no_target_is_refused_and_not_repeated() {
        for (url, why) in [
            ("", TargetError::Form),
            ("example.com/x", TargetError::Form),
            ("/x", TargetError::Form),
            ("https:///x", TargetError::Form),
            ("https://example.com:99999/", TargetError::Form),
            ("https://example.com:/", TargetError::Form),
            ("https://example.com:0/", TargetError::Form),
            ("https://example.com/a b", TargetError::Form),
            ("https://example.com/a\r\nx-evil: 1", TargetError::Form),
            ("https://example.com/#a", TargetError::Form),
            ("ftp://example.com/", TargetError::Scheme),
            ("file:///etc/passwd", TargetError::Form),
            ("https://me:secret@example.com/", TargetError::User),
            ("http://example.com/", TargetError::Plain),
        ] {
            assert_eq!(Target::parse(url, false), Err(why), "{url}");
        }
        let long = format!("https://example.com/{}", "x".repeat(3_000));
        assert_eq!(Target::parse(&long, false), Err(TargetError::Long));
    }

    #[test]
    fn addresses_are_admitted_by_what_is_there() {
        let metadata = Err(Refusal::Metadata);
        for (address, closed, open) in [
            ("8.8.8.8", Ok(()), Ok(())),
            ("2606:4700::1", Ok(()), Ok(())),
            ("127.0.0.1", Err(Refusal::Private), Ok(())),
            ("127.9.9.9", Err(Refusal::Private), Ok(())),
            ("::1", Err(Refusal::Private), Ok(())),
            ("10.0.0.1", Err(Refusal::Private), Ok(())),
            ("172.16.0.1", Err(Refusal::Private), Ok(())),
            ("172.32.0.1", Ok(()), Ok(())),
            ("192.168.1.1", Err(Refusal::Private), Ok(())),
            ("100.64.0.1", Err(Refusal::Private), Ok(())),
            ("fd12::1", Err(Refusal::Private), Ok(())),
            ("::ffff:127.0.0.1", Err(Refusal::Private), Ok(())),
            ("::ffff:10.1.2.3", Err(Refusal::Private), Ok(())),
            ("169.254.169.254", metadata, metadata),
            ("::ffff:169.254.169.254", metadata, metadata),
            ("::169.254.169.254", metadata, metadata),
            ("64:ff9b::a9fe:a9fe", metadata, metadata),
            ("2002:a9fe:a9fe::", metadata, metadata),
            ("fe80::1", metadata, metadata),
            ("fd00:ec2::254", metadata, metadata),
            ("100.100.100.200", metadata, metadata),
            ("168.63.129.16", metadata, metadata),
            ("0.0.0.0", Err(Refusal::Nobody), Err(Refusal::Nobody)),
            ("::", Err(Refusal::Nobody), Err(Refusal::Nobody)),
            ("224.0.0.1", Err(Refusal::Nobody), Err(Refusal::Nobody)),
            ("255.255.255.255", Err(Refusal::Nobody), Err(Refusal::Nobody)),
        ] {
            for (allow, wanted) in [(false, closed), (true, open)] {
                let target = Target::parse("https://example.com/", allow).unwrap();
                let seen = target.admit(address.parse().unwrap());
                assert_eq!(seen, wanted, "{address} {allow}");
            }
        }
        let plain = Target::parse("http://example.com/", true).unwrap();
        let seen = plain.admit("8.8.8.8".parse().unwrap());
        assert_eq!(seen, Err(Refusal::PlainToPublic));
    }

    #[test]
    fn an_address_in_a_url_is_held_against_the_rules_at_once() {
        for url in
            ["http://169.254.169.254/latest", "https://[fe80::1]/", "https://0.0.0.0/"]
        {
            for allow in [false, true] {
                assert!(Target::parse(url, allow).is_err(), "{url}");
            }
        }
        let refused = Target::parse("https://[::1]:9901/rollback", false).unwrap_err();
        assert_eq!(refused, TargetError::Address(Refusal::Private));
    }

    #[test]
    fn the_path_is_never_shown() {
        let target = Target::parse("https://hooks.slack.com/services/T0/SECRET", false);
        let target = target.unwrap();
        assert!(!format!("{target:?} {target}").contains("SECRET"));
    }
}
