//! What the configuration says about the operators' side.

use std::fmt;
use std::net::SocketAddr;

/// The operators' side of the process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// API, metrics and health.
    pub address: SocketAddr,
    /// Metrics and health alone, open to everybody who reaches it.
    pub metrics_address: Option<SocketAddr>,
    /// Who may do what. Empty only when `address` is loopback: then every caller is the
    /// operator `local`.
    pub operators: Vec<OperatorSettings>,
}

/// Somebody who may use the API.
#[derive(Clone)]
pub struct OperatorSettings {
    /// The name that records give.
    pub name: String,
    /// The secret, as read from its file.
    pub token: String,
    /// What it is good for.
    pub role: OperatorRole,
}

impl fmt::Debug for OperatorSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}) token ***", self.name, self.role)
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
