//! `Endpoint`: one server of one version, and whether it may be asked.
//!
//! Everything the request path reads is an atomic of its own cache line, read relaxed and
//! not written while requests go well: workers then share the line without trading it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::settings::{Address, HealthCheck};
use super::spots::Spots;
use crate::tls::{Dialer, Trust};
use crate::vocab::time::Timestamp;

/// One server. Shared by all workers and kept across reloads that keep its address.
#[derive(Debug)]
#[repr(align(64))]
pub struct Endpoint {
    /// Unique in the process: a key for pools.
    pub id: u32,
    /// Where it listens, and what logs call it: for one of the servers that a name stands
    /// for, the IP address.
    pub address: Address,
    /// Opens TLS on connections to it.
    dialer: Option<Dialer>,
    /// What it is called where that is not the host of its address.
    called: Option<String>,
    health: AtomicU8,
    /// No address is known for its name.
    nowhere: AtomicBool,
    /// How often its addresses have changed.
    moves: AtomicU32,
    /// Failed requests in a row.
    failures: AtomicU32,
    /// Ejections since the last success.
    ejections: AtomicU32,
    /// Milliseconds of the process's clock; in the past when it is not ejected.
    ejected_until: AtomicU64,
    /// Active checks in a row that failed, or that went well after it was unhealthy.
    failed_checks: AtomicU32,
    good_checks: AtomicU32,
    /// Looked at only by who opens a connection.
    spots: RwLock<Arc<Spots>>,
}

/// How the servers of a version at `https://` are believed.
#[derive(Debug)]
pub(super) struct Security {
    /// Whom to believe, and what to show.
    pub(super) trust: Arc<Trust>,
    /// What their certificates must be for, in place of their hosts.
    pub(super) name: Option<String>,
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
    /// A server of which nothing is known yet. One at a name is nowhere until its addresses
    /// are known.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self::called_by(address, None)
    }

    /// A server that is known by its address, and by a name only where it is asked for by
    /// one.
    pub(super) fn called_by(address: Address, called: Option<String>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let spots = Spots::new(address.socket().as_slice(), None);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            called,
            nowhere: AtomicBool::new(address.name().is_some()),
            moves: AtomicU32::new(0),
            spots: RwLock::new(Arc::new(spots)),
            address,
            dialer: None,
            health: AtomicU8::new(UNCHECKED),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            failed_checks: AtomicU32::new(0),
            good_checks: AtomicU32::new(0),
        }
    }

    /// The same server, where TLS is spoken to it.
    pub(super) fn secured(self, security: Option<&Security>) -> Self {
        let dialer = match (&self.address, security) {
            (Address::Tcp { tls: true, .. }, Some(security)) => {
                let name = security.name.as_deref().unwrap_or_else(|| self.host());
                Some(Dialer::new(Arc::clone(&security.trust), name))
            }
            (Address::Tcp { .. } | Address::Unix(_), _) => None,
        };
        Self { dialer, ..self }
    }

    /// What opens TLS on connections to it; `None` where they are in the clear.
    pub(super) fn dialer(&self) -> Option<&Dialer> {
        self.dialer.as_ref()
    }

    /// The name that stands for it and for others, if one does.
    pub(super) fn called(&self) -> Option<&str> {
        self.called.as_deref()
    }

    /// What the configuration calls its host: the name for SNI, for the certificate and for
    /// `Host`, whatever address a look-up gave. Without the dot that makes a name whole: it is
    /// for name servers alone.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = match (&self.called, &self.address) {
            (Some(name), _) => name,
            (None, Address::Tcp { host, .. }) => host,
            (None, Address::Unix(_)) => "localhost",
        };
        host.strip_suffix('.').unwrap_or(host)
    }

    /// Host and port as `Host` has them.
    #[must_use]
    pub fn authority(&self) -> String {
        match (self.host(), self.address.port()) {
            (host, None) => host.to_owned(),
            (host, Some(port)) if host.contains(':') => format!("[{host}]:{port}"),
            (host, Some(port)) => format!("{host}:{port}"),
        }
    }

    /// Whether a request may be sent to it.
    #[must_use]
    pub fn usable(&self, now: Timestamp) -> bool {
        self.health.load(Ordering::Relaxed) != UNHEALTHY
            && !self.nowhere.load(Ordering::Relaxed)
            && !self.ejected(now)
    }

    /// Whether no address is known for its name.
    #[must_use]
    pub fn nowhere(&self) -> bool {
        self.nowhere.load(Ordering::Relaxed)
    }

    /// How often its addresses have changed since the start. A connection that was opened
    /// before the last change may lead to where the server no longer is.
    #[must_use]
    pub fn moves(&self) -> u32 {
        self.moves.load(Ordering::Acquire)
    }

    /// Its addresses of now.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketAddr> {
        self.spots().all().collect()
    }

    /// Its name has these addresses from now on; at least one. Returns whether that is news.
    pub fn move_to(&self, all: &[SocketAddr]) -> bool {
        let mut spots = self.spots.write().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() || spots.is(all) {
            return false;
        }
        *spots = Arc::new(Spots::new(all, Some(&spots)));
        self.nowhere.store(false, Ordering::Relaxed);
        self.moves.fetch_add(1, Ordering::Release);
        true
    }

    /// No address was ever found for its name, and this is why. One that had addresses
    /// keeps them.
    pub fn is_nowhere(&self, why: &str) {
        let mut spots = self.spots.write().unwrap_or_else(PoisonError::into_inner);
        if spots.is_empty() {
            *spots = Arc::new(Spots::none(why.to_owned()));
        }
    }

    pub(super) fn spots(&self) -> Arc<Spots> {
        Arc::clone(&self.spots.read().unwrap_or_else(PoisonError::into_inner))
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

    /// It answered well when it was asked although it was left out: it is no longer.
    pub fn readmit(&self) {
        if self.ejected_until.load(Ordering::Relaxed) != 0 {
            self.ejected_until.store(0, Ordering::Relaxed);
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
        Endpoint::new(Address::Tcp { host: "127.0.0.1".into(), port: 1, tls: false })
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
            grpc: false,
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
        // One that was on its way before says nothing of the time after.
        assert!(!endpoint.usable(Timestamp(99)));
        endpoint.readmit();
        assert!(endpoint.usable(Timestamp(99)));
    }
}
