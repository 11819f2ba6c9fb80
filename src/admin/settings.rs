//! What the configuration says about the operators' side.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::tls::{Fingerprint, ServerSettings};

/// The operators' side of the process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// API, metrics and health.
    pub address: SocketAddr,
    /// Metrics and health alone, open to everybody who reaches it, always without TLS.
    pub metrics_address: Option<SocketAddr>,
    /// The certificate of `address`; plain HTTP without.
    pub tls: Option<ServerSettings>,
    /// Who may do what. Empty only when `address` is loopback: then every caller is the
    /// operator `local`.
    pub operators: Vec<OperatorSettings>,
    /// Where the failure analyses are, below it in `incidents`.
    pub state_dir: PathBuf,
}

/// Somebody who may use the API, by a token, a certificate, or either.
#[derive(Clone)]
pub struct OperatorSettings {
    /// The name that records give.
    pub name: String,
    /// The secret, as read from its file.
    pub token: Option<String>,
    /// The certificate.
    pub certificate: Option<Fingerprint>,
    /// What they are good for.
    pub role: OperatorRole,
}

impl Settings {
    /// A plain address for this machine alone, where nobody is named and nothing is kept.
    #[must_use]
    pub fn on(address: SocketAddr) -> Self {
        Self {
            address,
            metrics_address: None,
            tls: None,
            operators: Vec::new(),
            state_dir: PathBuf::new(),
        }
    }
}

impl fmt::Debug for OperatorSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, certificate, role, .. } = self;
        write!(f, "{name} ({role}) token *** certificate {certificate:?}")
    }
}

/// What an operator may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperatorRole {
    /// Look.
    Viewer,
    /// Send signals.
    Signal,
    /// Change traffic.
    Operator,
}

impl OperatorRole {
    /// The word used in the configuration and in the API's description.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Signal => "signal",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for OperatorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
