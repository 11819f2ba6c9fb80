//! What the configuration says about the servers behind a version.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::vocab::amount::Percent;

/// The servers of one version and how to treat them.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where they are; at least one.
    pub endpoints: Vec<Address>,
    /// What they speak.
    pub protocol: Protocol,
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

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `http://host:port`
    Tcp {
        /// Name or IP address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// `unix:/path`
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => {
                write!(f, "http://[{host}]:{port}")
            }
            Self::Tcp { host, port } => write!(f, "http://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What the servers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2 by prior knowledge.
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

/// Active health checks of each endpoint: `GET`, 2xx is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path that says the process lives.
    pub liveness: Option<String>,
    /// Path that says the model is loaded.
    pub readiness: Option<String>,
    /// A header that must have a certain value.
    pub integrity: Option<Integrity>,
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
