//! `Upstream`: one version's servers; `Registry`: all of them by slot.
//!
//! The table says which slot a request goes to, the registry says who serves it. They are
//! apart because the table is pure; control inserts here before it publishes there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;

use super::eject::{self, Record};
use super::endpoint::{Endpoint, Health, Security};
use super::renew::Places;
use super::settings::Settings;
use crate::telemetry::emit;
use crate::tls::Trust;
use crate::vocab::ids::{Name, Slot};
use crate::vocab::time::Timestamp;

/// One version's servers.
#[derive(Debug)]
pub struct Upstream {
    /// The route it serves, for logs.
    pub route: Name,
    /// The version it is.
    pub version: Name,
    /// How its servers are treated.
    pub settings: Settings,
    /// Its servers of now, by place.
    pub endpoints: Vec<Arc<Endpoint>>,
    pub(super) places: Places,
    /// How they are believed, where TLS is spoken to them.
    pub(super) security: Option<Arc<Security>>,
    /// One ejection is decided at a time, so that the bound on them holds.
    ejecting: Arc<Mutex<()>>,
}

/// What the active checks say about a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// There are endpoints, and every one is unhealthy by its checks.
    pub all_unhealthy: bool,
    /// Checks in a row that failed on the endpoint that fails least; 0 without checks.
    pub failed: u32,
}

impl Upstream {
    /// The servers of these settings. Those that `before` has too are kept with what is
    /// known of them, also those that a name of the settings stands for. Where names lead is
    /// not known else: see [`Upstream::renewed`].
    #[must_use]
    pub fn new(
        route: Name,
        version: Name,
        settings: Settings,
        before: Option<&Self>,
    ) -> Self {
        let secured = settings.speaks_tls();
        let same_tls = before.filter(|before| before.settings.tls == settings.tls);
        let security = secured.then(|| {
            let kept = same_tls.and_then(|before| before.security.clone());
            kept.unwrap_or_else(|| {
                let trust = Trust::new(settings.tls.files.clone());
                let name = settings.tls.server_name.clone();
                Arc::new(Security { trust, name })
            })
        });
        // Connections under other certificates are not used again.
        let known = before.filter(|_| !secured || same_tls.is_some());
        let (endpoints, places) = Places::of(&settings, known, security.as_deref());
        if settings.health.is_none() {
            endpoints.iter().for_each(|endpoint| endpoint.forget_checks());
        }
        let ejecting = Arc::default();
        Self { route, version, settings, endpoints, places, security, ejecting }
    }

    /// The same version with other servers.
    pub(super) fn with(&self, endpoints: Vec<Arc<Endpoint>>, places: Places) -> Self {
        Self {
            route: self.route.clone(),
            version: self.version.clone(),
            settings: self.settings.clone(),
            endpoints,
            places,
            security: self.security.clone(),
            ejecting: Arc::clone(&self.ejecting),
        }
    }

    /// The place of a server: the number that evidence and traces know it by, which is no
    /// other server's for as long as it could be mistaken. By its position among the
    /// endpoints.
    #[must_use]
    pub fn place(&self, position: usize) -> usize {
        self.places.place(position)
    }

    /// What the servers are called, by place; empty where a place is nobody's. Those that
    /// are there no longer are named while something may still be told of them.
    #[must_use]
    pub fn names_by_place(&self) -> Vec<String> {
        self.places.names(&self.endpoints)
    }

    /// Whether there is nowhere to send a request: of none of its names an address is known.
    #[must_use]
    pub fn is_nowhere(&self) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.nowhere())
    }

    /// The endpoints that a request may be sent to.
    pub fn usable(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.iter().filter(move |endpoint| endpoint.usable(now))
    }

    /// How many endpoints a request may be sent to.
    #[must_use]
    pub fn healthy_count(&self, now: Timestamp) -> usize {
        self.usable(now).count()
    }

    /// What the active checks say.
    #[must_use]
    pub fn health(&self) -> Checks {
        if self.settings.health.is_none() {
            return Checks { all_unhealthy: false, failed: 0 };
        }
        let unhealthy = |endpoint: &Arc<Endpoint>| endpoint.health() == Health::Unhealthy;
        Checks {
            all_unhealthy: !self.endpoints.is_empty()
                && self.endpoints.iter().all(unhealthy),
            failed: self.endpoints.iter().map(|e| e.failed_checks()).min().unwrap_or(0),
        }
    }

    /// A request to one of the endpoints failed by the endpoint's doing. Returns for how
    /// long it is ejected, if it is by this.
    pub fn note_failure(&self, endpoint: &Endpoint, now: Timestamp) -> Option<Duration> {
        let failures = endpoint.count_failure();
        let rule = &self.settings.outlier;
        if rule.consecutive_failures == 0 || failures < rule.consecutive_failures {
            return None;
        }
        let _one = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        if endpoint.ejected(now) {
            return None;
        }
        let seen = Record {
            failures,
            ejections: endpoint.ejections(),
            endpoints: self.endpoints.len(),
            ejected: self.endpoints.iter().filter(|other| other.ejected(now)).count(),
        };
        let span = eject::decide(rule, seen)?;
        endpoint.eject(now.after(span));
        let (route, version) = (&self.route, &self.version);
        emit::endpoint_ejected(route, version, &endpoint.address, failures, span);
        Some(span)
    }
}

/// Every version's servers by slot; at most [`Slot::LIMIT`].
#[derive(Debug, Default)]
pub struct Registry {
    upstreams: DashMap<Slot, Arc<Upstream>>,
    /// How often the servers of a version have changed under a table that stays.
    renewals: AtomicU64,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The servers behind a slot.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<Arc<Upstream>> {
        self.upstreams.get(&slot).map(|found| Arc::clone(&found))
    }

    /// Puts servers behind a slot, in place of those that were there.
    pub fn insert(&self, slot: Slot, upstream: Arc<Upstream>) {
        self.upstreams.insert(slot, upstream);
    }

    /// Puts other servers of the same version behind a slot, while the table stays as it is:
    /// whoever has looked before has to look again.
    pub fn renew(&self, slot: Slot, upstream: Arc<Upstream>) {
        self.upstreams.insert(slot, upstream);
        self.renewals.fetch_add(1, Ordering::Release);
    }

    /// How often [`Registry::renew`] was called: asked before the servers are, so that what
    /// changes in between is seen the next time.
    #[must_use]
    pub fn renewals(&self) -> u64 {
        self.renewals.load(Ordering::Acquire)
    }

    /// Takes the servers of a slot away. Requests that hold them go on.
    pub fn remove(&self, slot: Slot) {
        self.upstreams.remove(&slot);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Registry, Upstream};
    use crate::upstream::settings::{
        Address, Balance, HealthCheck, Outlier, Pool, Protocol, Settings, Tls,
    };
    use crate::vocab::amount::Percent;
    use crate::vocab::ids::{Name, Slot};
    use crate::vocab::time::Timestamp;

    pub(crate) fn settings(ports: &[u16]) -> Settings {
        let address = |port: &u16| {
            let host = "127.0.0.1".into();
            Address::Tcp { host, port: *port, tls: false }.into()
        };
        Settings {
            endpoints: ports.iter().map(address).collect(),
            protocol: Protocol::Http1,
            tls: Tls::default(),
            pool: Pool {
                max_idle: 8,
                max_connections: 16,
                idle_timeout: Duration::from_secs(4),
            },
            max_in_flight: 0,
            balance: Balance::LeastRequest,
            outlier: Outlier {
                consecutive_failures: 3,
                base_ejection: Duration::from_secs(30),
                max_ejected: Percent::of(50.0).unwrap(),
            },
            health: None,
            connect_timeout: Duration::from_secs(1),
        }
    }

    fn upstream(settings: Settings, before: Option<&Upstream>) -> Upstream {
        let (route, version) = (Name::parse("iris").unwrap(), Name::parse("v2").unwrap());
        Upstream::new(route, version, settings, before)
    }

    fn checks() -> HealthCheck {
        HealthCheck {
            liveness: Some("/live".into()),
            readiness: None,
            integrity: None,
            grpc: false,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            unhealthy_after: 2,
            healthy_after: 1,
        }
    }

    #[test]
    fn one_bad_endpoint_is_ejected_and_the_bound_holds() {
        let upstream = upstream(settings(&[1, 2, 3, 4]), None);
        let now = Timestamp(1_000);
        for endpoint in &upstream.endpoints {
            for _ in 0..10 {
                upstream.note_failure(endpoint, now);
            }
        }
        let left: Vec<u32> = upstream.usable(now).map(|endpoint| endpoint.id).collect();
        assert_eq!(left, [upstream.endpoints[2].id, upstream.endpoints[3].id]);
        assert_eq!(upstream.healthy_count(Timestamp(31_000)), 4);
    }

    #[test]
    fn the_first_failure_after_an_ejection_is_enough_and_it_lasts_twice_as_long() {
        let upstream = upstream(settings(&[1, 2]), None);
        let bad = &upstream.endpoints[0];
        let mut now = Timestamp(0);
        let spans: Vec<Option<u64>> = (0..5)
            .map(|_| {
                let span = upstream.note_failure(bad, now);
                now = now.after(span.unwrap_or_default());
                span.map(|span| span.as_secs())
            })
            .collect();
        assert_eq!(spans, [None, None, Some(30), Some(60), Some(120)]);
        bad.note_success();
        assert_eq!(upstream.note_failure(bad, now), None);
    }

    #[test]
    fn workers_that_race_eject_no_more_than_allowed() {
        let upstream = upstream(settings(&[1, 2, 3, 4]), None);
        let fail = |endpoint| {
            (0..1_000).for_each(|_| {
                upstream.note_failure(endpoint, Timestamp(5));
            });
        };
        let twice = upstream.endpoints.iter().chain(&upstream.endpoints);
        std::thread::scope(|scope| {
            twice.for_each(|endpoint| drop(scope.spawn(move || fail(endpoint))));
        });
        assert_eq!(upstream.healthy_count(Timestamp(5)), 2);
    }

    #[test]
    fn a_version_is_unhealthy_only_when_every_endpoint_is() {
        let rule = checks();
        let with_checks = Settings { health: Some(rule.clone()), ..settings(&[1, 2]) };
        let first = upstream(with_checks, None);
        first.endpoints[0].note_check(false, &rule);
        first.endpoints[0].note_check(false, &rule);
        assert!(!first.health().all_unhealthy);
        assert_eq!(first.health().failed, 0);
        first.endpoints[1].note_check(false, &rule);
        assert_eq!(first.health().failed, 1);
        first.endpoints[1].note_check(false, &rule);
        assert!(first.health().all_unhealthy);
        assert_eq!(first.health().failed, 2);
        assert_eq!(first.healthy_count(Timestamp(0)), 0);
    }

    #[test]
    fn a_reload_keeps_what_is_known_of_an_address() {
        let rule = checks();
        let old =
            upstream(Settings { health: Some(rule.clone()), ..settings(&[1, 2]) }, None);
        for _ in 0..2 {
            old.endpoints[0].note_check(false, &rule);
        }
        let next = Settings { health: Some(rule), ..settings(&[3, 1]) };
        let new = upstream(next, Some(&old));
        assert_eq!(new.endpoints[1].id, old.endpoints[0].id);
        assert!(!new.endpoints[1].usable(Timestamp(0)));
        assert!(new.endpoints[0].usable(Timestamp(0)));
        // Without checks nothing could ever make it healthy again.
        let plain = upstream(settings(&[1]), Some(&new));
        assert!(plain.endpoints[0].usable(Timestamp(0)));
    }

    #[test]
    fn the_registry_gives_what_was_put_in() {
        let registry = Registry::new();
        let slot = Slot::new(3).unwrap();
        assert!(registry.get(slot).is_none());
        registry.insert(slot, Arc::new(upstream(settings(&[1]), None)));
        assert_eq!(registry.get(slot).unwrap().endpoints.len(), 1);
        registry.remove(slot);
        assert!(registry.get(slot).is_none());
    }
}
