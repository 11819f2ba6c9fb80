//! Why a rollback began, in the requirement's own list.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What set off a rollback. More come with the rooms that can see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Too many failed requests (T1).
    ErrorRate,
    /// Answers too slow (T1).
    LatencyP99,
    /// Consecutive failed health checks (T5).
    HealthCheck,
    /// An operator's order (T6).
    Manual,
}

impl Trigger {
    /// The word used in metrics, logs and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ErrorRate => "error_rate",
            Self::LatencyP99 => "latency_p99",
            Self::HealthCheck => "health_check",
            Self::Manual => "manual",
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
