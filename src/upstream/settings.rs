//! What the configuration says about the servers behind a version.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::tls::ClientSettings;
use crate::vocab::amount::Percent;

/// The servers of one version and how to treat them.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where they are; at least one.
    pub endpoints: Vec<Origin>,
    /// What they speak.
    pub protocol: Protocol,
    /// How those at `https://` are believed, and what is shown to them.
    pub tls: Tls,
    /// Limits on connections.
    pub pool: Pool,
    /// Requests in flight over all endpoints; 0 means no bound.
    pub max_in_flight: u64,
    /// Which endpoint is next.
    pub balance: Balance,
    /// When one endpoint is left out for a while.
    pub outlier: Outlier,
    /// Active health checks, if any.
    pub health: Option<HealthCheck>,
    /// `timeouts.connect` of the route.
    pub connect_timeout: Duration,
}

impl Settings {
    /// Whether a connection surely carries one request at a time.
    #[must_use]
    pub fn is_one_by_one(&self) -> bool {
        match self.protocol {
            Protocol::Auto => !self.speaks_tls(),
            Protocol::Http1 => true,
            Protocol::Http2 => false,
        }
    }

    /// Whether TLS is spoken to any of them.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        self.endpoints.iter().any(|one| one.address().is_tls())
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `http://host:port` or `https://host:port`
    Tcp {
        /// Name or IP address, without brackets.
        host: String,
        /// Port.
        port: u16,
        /// Whether it is spoken to over TLS.
        tls: bool,
    },
    /// `unix:/path`
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "https" } else { "http" };
                let (open, close) =
                    if host.contains(':') { ("[", "]") } else { ("", "") };
                write!(f, "{scheme}://{open}{host}{close}:{port}")
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One entry of `endpoints`: where one server is, or several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// One server. Where a name has several addresses, all of them lead to it.
    One(Address),
    /// `dns+http://` or `dns+https://`: every address that the name has is a server of its
    /// own. A name and never a literal address.
    Each(Address),
}

impl Origin {
    /// What is written in the entry.
    #[must_use]
    pub fn address(&self) -> &Address {
        match self {
            Self::One(address) | Self::Each(address) => address,
        }
    }

    /// The name that has to be looked up, where there is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.address().name()
    }
}

impl From<Address> for Origin {
    fn from(address: Address) -> Self {
        Self::One(address)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(f),
            Self::Each(address) => write!(f, "dns+{address}"),
        }
    }
}

impl Address {
    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Tcp { tls, .. } => *tls,
            Self::Unix(_) => false,
        }
    }

    /// Its host, where that is a name and not an IP address.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } if host.parse::<IpAddr>().is_err() => Some(host),
            Self::Tcp { .. } | Self::Unix(_) => None,
        }
    }

    /// Where it is, if that needs no look-up.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { host, port, .. } => {
                host.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, *port))
            }
            Self::Unix(_) => None,
        }
    }

    /// Its port, unless it is a socket in the file system.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } => Some(*port),
            Self::Unix(_) => None,
        }
    }
}

/// How servers at `https://` are believed, and what is shown to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whom to believe beside the public roots, and the certificate to show.
    pub files: ClientSettings,
    /// The name that is asked for (SNI) and that the certificate must be for, whatever the
    /// endpoint is called; the host of the endpoint when absent.
    pub server_name: Option<String>,
}

/// What the servers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// What ALPN says over TLS, HTTP/1.1 else.
    Auto,
    /// HTTP/1.1
    Http1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge else.
    Http2,
}

/// Limits on the connections to one endpoint, for the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Idle connections kept.
    pub max_idle: usize,
    /// Connections at all.
    pub max_connections: usize,
    /// How long an idle one is kept.
    pub idle_timeout: Duration,
}

/// Which endpoint is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The less busy of two drawn at random.
    LeastRequest,
    /// In turn.
    RoundRobin,
}

/// When one endpoint is left out for a while, so that one bad server is not a bad version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// Failures in a row; 0 means never.
    pub consecutive_failures: u32,
    /// How long at first; doubles each time in a row, up to ten times this.
    pub base_ejection: Duration,
    /// At most so many of the version's endpoints.
    pub max_ejected: Percent,
}

/// Active health checks of each endpoint: `GET`, 2xx is good; or what gRPC has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path that says the process lives.
    pub liveness: Option<String>,
    /// Path that says the model is loaded.
    pub readiness: Option<String>,
    /// A header that must have a certain value.
    pub integrity: Option<Integrity>,
    /// Whether `grpc.health.v1` is asked too, over HTTP/2.
    pub grpc: bool,
    /// Between two checks.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// Failed checks in a row that make an endpoint unhealthy.
    pub unhealthy_after: u32,
    /// Good checks in a row that make it healthy again.
    pub healthy_after: u32,
}

/// A response header that names the loaded model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integrity {
    /// Path asked.
    pub path: String,
    /// Header name, lower case.
    pub header: String,
    /// The value it must have.
    pub expect: String,
}

#[cfg(test)]
impl Settings {
    /// Nobody's servers, treated as the defaults say, to be varied by tests.
    pub(crate) fn example() -> Self {
        Self {
            endpoints: Vec::new(),
            protocol: Protocol::Http1,
            tls: Tls::default(),
            pool: Pool {
                max_idle: 4,
                max_connections: 16,
                idle_timeout: Duration::from_secs(4),
            },
            max_in_flight: 0,
            balance: Balance::LeastRequest,
            outlier: Outlier {
                consecutive_failures: 0,
                base_ejection: Duration::from_secs(30),
                max_ejected: Percent::ZERO,
            },
            health: None,
            connect_timeout: Duration::from_secs(1),
        }
    }
}
