//! What the configuration says about looking names up.

use std::net::SocketAddr;
use std::time::Duration;

/// How names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whom to ask, in order; empty = whom the machine asks.
    pub servers: Vec<SocketAddr>,
    /// What is put behind a name that is not whole; `None` = what the machine says, or
    /// nothing where `servers` are given.
    pub search: Option<Vec<String>>,
    /// With so many dots a name is tried as it is first; `None` likewise.
    pub ndots: Option<usize>,
    /// For one server to answer one question.
    pub timeout: Duration,
    /// An answer holds at least so long, whatever it says itself.
    pub min_ttl: Duration,
    /// And at most so long.
    pub max_ttl: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: None,
            ndots: None,
            timeout: Duration::from_secs(2),
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
        }
    }
}
