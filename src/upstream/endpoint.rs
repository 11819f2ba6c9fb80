//! `Endpoint`: one server of one version, and whether it may be asked.
//!
//! Everything the request path reads is an atomic of its own cache line, read relaxed and
//! not written while requests go well: workers then share the line without trading it.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::settings::{Address, HealthCheck};
use crate::vocab::time::Timestamp;

/// One server. Shared by all workers and kept across reloads that keep its address.
#[derive(Debug)]
#[repr(align(64))]
pub struct Endpoint {
    /// Unique in the process: a key for pools.
    pub id: u32,
    /// Where it listens.
    pub address: Address,
    health: AtomicU8,
    /// Failed requests in a row.
    failures: AtomicU32,
    /// Ejections since the last success.
    ejections: AtomicU32,
    /// Milliseconds of the process's clock; in the past when it is not ejected.
    ejected_until: AtomicU64,
    /// Active checks in a row that failed, or that went well after it was unhealthy.
    failed_checks: AtomicU32,
    good_checks: AtomicU32,
}

/// What the active checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// No check has decided yet; it may be asked.
    Unchecked,
    /// It may be asked.
    Healthy,
    /// It may not.
    Unhealthy,
}

impl Endpoint {
    /// A server of which nothing is known yet.
    #[must_use]
    pub fn new(address: Address) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            address,
            health: AtomicU8::new(UNCHECKED),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            failed_checks: AtomicU32::new(0),
            good_checks: AtomicU32::new(0),
        }
    }

    /// Whether a request may be sent to it.
    #[must_use]
    pub fn usable(&self, now: Timestamp) -> bool {
        self.health.load(Ordering::Relaxed) != UNHEALTHY && !self.ejected(now)
    }

    /// Whether it is left out for its failures.
    #[must_use]
    pub fn ejected(&self, now: Timestamp) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now.0
    }

    /// What the active checks say.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            HEALTHY => Health::Healthy,
            UNHEALTHY => Health::Unhealthy,
            _ => Health::Unchecked,
        }
    }

    /// Active checks in a row that failed.
    #[must_use]
    pub fn failed_checks(&self) -> u32 {
        self.failed_checks.load(Ordering::Relaxed)
    }

    /// A request to it went well. Writes only when the one before it did not.
    pub fn note_success(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.ejections.store(0, Ordering::Relaxed);
        }
    }

    /// One more failure in a row; returns how many there are.
    pub(super) fn count_failure(&self) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    pub(super) fn ejections(&self) -> u32 {
        self.ejections.load(Ordering::Relaxed)
    }

    pub(super) fn eject(&self, until: Timestamp) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.ejected_until.store(until.0, Ordering::Relaxed);
    }

    /// An active check ended. Returns the new health when it changed by it. Called by the
    /// one task that checks this endpoint.
    pub(super) fn note_check(&self, good: bool, rule: &HealthCheck) -> Option<Health> {
        let (up, down) = (&self.good_checks, &self.failed_checks);
        let (more, none) = if good { (up, down) } else { (down, up) };
        none.store(0, Ordering::Relaxed);
        let streak = more.load(Ordering::Relaxed).saturating_add(1);
        more.store(streak, Ordering::Relaxed);
        let next = match (self.health(), good) {
            (Health::Unchecked, true) => Health::Healthy,
            (Health::Unhealthy, true) if streak >= rule.healthy_after => Health::Healthy,
            (Health::Unchecked | Health::Healthy, false)
                if streak >= rule.unhealthy_after =>
            {
                Health::Unhealthy
            }
            (Health::Unchecked | Health::Healthy | Health::Unhealthy, _) => return None,
        };
        let code = if next == Health::Healthy { HEALTHY } else { UNHEALTHY };
        self.health.store(code, Ordering::Relaxed);
        Some(next)
    }

    /// Nobody checks it any more: what the last check said no longer holds.
    pub(super) fn forget_checks(&self) {
        self.health.store(UNCHECKED, Ordering::Relaxed);
        self.failed_checks.store(0, Ordering::Relaxed);
        self.good_checks.store(0, Ordering::Relaxed);
    }
}

const UNCHECKED: u8 = 0;
const HEALTHY: u8 = 1;
const UNHEALTHY: u8 = 2;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Endpoint, Health};
    use crate::upstream::settings::{Address, HealthCheck};
    use crate::vocab::time::Timestamp;

    fn endpoint() -> Endpoint {
        Endpoint::new(Address::Tcp { host: "127.0.0.1".into(), port: 1 })
    }

    #[test]
    fn ids_are_unique() {
        assert_ne!(endpoint().id, endpoint().id);
    }

    #[test]
    fn checks_need_a_streak_either_way() {
        let rule = HealthCheck {
            liveness: None,
            readiness: None,
            integrity: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            unhealthy_after: 3,
            healthy_after: 2,
        };
        let endpoint = endpoint();
        let mut seen = Vec::new();
        for good in [
            true, false, false, true, false, false, false, false, true, false, true, true,
        ] {
            seen.push(endpoint.note_check(good, &rule));
        }
        let changes: Vec<(usize, Health)> = seen
            .iter()
            .enumerate()
            .filter_map(|(at, change)| change.map(|to| (at, to)))
            .collect();
        assert_eq!(
            changes,
            [(0, Health::Healthy), (6, Health::Unhealthy), (11, Health::Healthy)]
        );
        assert!(endpoint.usable(Timestamp(0)));
    }

    #[test]
    fn an_ejected_endpoint_comes_back_by_itself_and_success_forgives() {
        let endpoint = endpoint();
        assert_eq!((endpoint.count_failure(), endpoint.count_failure()), (1, 2));
        endpoint.eject(Timestamp(100));
        assert!(!endpoint.usable(Timestamp(99)));
        assert!(endpoint.usable(Timestamp(100)));
        assert_eq!(endpoint.ejections(), 1);
        endpoint.note_success();
        assert_eq!((endpoint.ejections(), endpoint.count_failure()), (0, 1));
    }
}
