//! `Permits`: how many connections a listener has, in all and from one address, over all
//! workers. Apart from `accept`, because what a flood may take is decided here. A lock is
//! taken once a connection, never for a request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::settings::ListenerSettings;
use crate::clock::Group;

/// The connections that a listener may have.
#[derive(Debug)]
pub(super) struct Permits {
    /// In all.
    most: usize,
    /// From one address.
    each: usize,
    /// That there are file descriptors for.
    room: usize,
    taken: Mutex<Taken>,
    /// The listener's connections, wherever they are.
    group: Group,
    /// New connections that wait for an old one to go, and those that nobody has gone for.
    waiting: AtomicUsize,
    needed: AtomicUsize,
    asked: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Never more addresses than connections.
    by: HashMap<IpAddr, usize>,
}

/// The right to have a connection, for as long as it lives.
#[derive(Debug)]
pub(super) struct Permit {
    permits: Arc<Permits>,
    /// Whom it counts against; `None` for whoever is believed anyway.
    who: Option<IpAddr>,
}

/// A place among the new connections that wait, for as long as it lives.
#[derive(Debug)]
pub(super) struct Place(Arc<Permits>);

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There are as many as there may be.
    All,
    /// There are as many from this address.
    Each,
}

impl Refused {
    /// The key of the configuration that says so.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::All => "maxConnections",
            Self::Each => "maxConnectionsPerAddress",
        }
    }
}

impl Permits {
    /// What the settings allow; `room` is how many there can be.
    pub(super) fn new(settings: &ListenerSettings, room: usize) -> Arc<Self> {
        static GROUPS: AtomicU32 = AtomicU32::new(0);
        let limits = &settings.limits;
        let most = limits.max_connections.max(1);
        let each = match limits.max_connections_per_address {
            None => most.div_ceil(2).max(FEW),
            Some(0) => usize::MAX,
            Some(each) => each,
        };
        Arc::new(Self {
            most,
            each,
            room,
            taken: Mutex::default(),
            group: Group(GROUPS.fetch_add(1, Ordering::Relaxed)),
            waiting: AtomicUsize::new(0),
            needed: AtomicUsize::new(0),
            asked: Notify::new(),
        })
    }

    /// The listener's connections.
    pub(super) fn group(&self) -> Group {
        self.group
    }

    /// Whether another connection can be had at the moment.
    pub(super) fn have_room(&self) -> bool {
        self.lock().all < self.room
    }

    /// A permit for a connection from that address, which is exempt from the bound for one
    /// address when it is `trusted`. When there are as many as there may be, `spare` may give
    /// one up: it is gone in a moment, and there are a few too many until then.
    ///
    /// # Errors
    /// [`Refused`] with the bound that is reached.
    pub(super) fn take(
        self: &Arc<Self>,
        address: IpAddr,
        trusted: bool,
        spare: impl FnOnce() -> bool,
    ) -> Result<Permit, Refused> {
        let who = (!trusted).then(|| network(address));
        let mut taken = self.lock();
        let mine = who.map_or(0, |who| taken.by.get(&who).copied().unwrap_or(0));
        if who.is_some() && mine >= self.each {
            return Err(Refused::Each);
        }
        let full = taken.all >= self.most;
        if full && (taken.all >= self.most.saturating_add(GOING) || !spare()) {
            return Err(Refused::All);
        }
        if let Some(who) = who {
            taken.by.insert(who, mine + 1);
        }
        taken.all += 1;
        Ok(Permit { permits: Arc::clone(self), who })
    }

    /// Asks all workers to give a connection up for a new one; `None` when too many wait
    /// already.
    pub(super) fn ask(self: &Arc<Self>) -> Option<Place> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        if before >= WAITING {
            return None;
        }
        self.needed.fetch_add(1, Ordering::Relaxed);
        self.asked.notify_waiters();
        Some(place)
    }

    /// Ready when somebody asks.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Gives up as many as are asked for and no other worker has given up, as far as `spare`
    /// can.
    pub(super) fn make_room(&self, spare: impl Fn() -> bool) {
        let one_less = |needed: usize| needed.checked_sub(1);
        let order = Ordering::Relaxed;
        // Two workers may do it for the same one, which is better than none.
        while self.needed.load(order) > 0 && spare() {
            if self.needed.fetch_update(order, order, one_less).is_err() {
                return;
            }
        }
    }

    /// No code that may panic runs between the halves of a change.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            // Whoever was to go for those that waited may stay.
            self.0.needed.store(0, Ordering::Relaxed);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.permits.lock();
        taken.all = taken.all.saturating_sub(1);
        let Some(who) = self.who else { return };
        if let Entry::Occupied(mut mine) = taken.by.entry(who) {
            *mine.get_mut() = mine.get().saturating_sub(1);
            if *mine.get() == 0 {
                mine.remove();
            }
        }
    }
}

/// Connections that are on their way out may be so many.
const GOING: usize = 64;
/// New connections that may wait at a time.
const WAITING: usize = 64;

/// So many connections a single caller may well have, whatever the bound for all.
const FEW: usize = 256;

/// Whom an address stands for: of IPv6 one subscriber has a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{GOING, Permits, Refused, WAITING};
    use crate::proxy::hygiene::tests::test_listener;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_never_has_all_places() {
        let mut settings = test_listener();
        settings.limits.max_connections = 6;
        settings.limits.max_connections_per_address = Some(3);
        let permits = Permits::new(&settings, 1_000);
        let one = address("192.0.2.1");
        let held: Vec<_> =
            (0..3).map(|_| permits.take(one, false, no).unwrap()).collect();
        let each = Refused::Each;
        assert_eq!(permits.take(one, false, no).unwrap_err(), each);
        assert_eq!(
            permits.take(address("::ffff:192.0.2.1"), false, no).unwrap_err(),
            each,
            "the same address in another spelling"
        );
        let gateway: Vec<_> =
            (0..3).map(|_| permits.take(one, true, no).unwrap()).collect();
        let all = Refused::All;
        assert_eq!(permits.take(address("192.0.2.2"), false, no).unwrap_err(), all);
        drop((held, gateway));
        assert!(permits.lock().by.is_empty(), "nobody is remembered for nothing");
        drop(permits.take(one, false, no).unwrap());
    }

    fn no() -> bool {
        false
    }

    #[test]
    fn who_can_be_spared_makes_room_and_what_goes_is_bounded() {
        let mut settings = test_listener();
        settings.limits.max_connections = 2;
        settings.limits.max_connections_per_address = Some(0);
        let permits = Permits::new(&settings, 1_000);
        let one = address("192.0.2.1");
        let mut held: Vec<_> =
            (0..2).map(|_| permits.take(one, true, no).unwrap()).collect();
        assert_eq!(permits.take(one, true, no).unwrap_err(), Refused::All);
        held.extend((0..GOING).map(|_| permits.take(one, true, || true).unwrap()));
        assert_eq!(permits.take(one, true, || true).unwrap_err(), Refused::All);
        held.clear();
        assert!(permits.take(one, true, || panic!("there is room")).is_ok());
    }

    #[test]
    fn one_connection_goes_for_each_that_waits() {
        let permits = Permits::new(&test_listener(), 1_000);
        permits.make_room(|| panic!("nobody waits"));
        let places: Vec<_> = (0..WAITING).map(|_| permits.ask().unwrap()).collect();
        assert!(permits.ask().is_none());
        permits.make_room(no);
        let gone = std::cell::Cell::new(0);
        permits.make_room(|| gone.replace(gone.get() + 1) < 10);
        assert_eq!(gone.get(), 11, "there were ten to go");
        drop(places);
        permits.make_room(|| panic!("nobody waits any more"));
    }

    #[test]
    fn half_of_many_is_one_addresss_and_all_of_few() {
        let mut settings = test_listener();
        for (all, each) in [(10_000, 5_000), (600, 300), (100, 256)] {
            settings.limits.max_connections = all;
            assert_eq!(Permits::new(&settings, 100_000).each, each, "{all}");
        }
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_address() {
        let mut settings = test_listener();
        settings.limits.max_connections = 100;
        settings.limits.max_connections_per_address = Some(1);
        let permits = Permits::new(&settings, 1_000);
        let _held = permits.take(address("2001:db8::1"), false, no).unwrap();
        assert!(permits.take(address("2001:db8::2:3"), false, no).is_err());
        assert!(permits.take(address("2001:db8:0:1::1"), false, no).is_ok());
    }

    #[test]
    fn file_descriptors_bound_them_too() {
        let mut settings = test_listener();
        settings.limits.max_connections = 100;
        let permits = Permits::new(&settings, 2);
        let held: Vec<_> =
            (0..2).map(|_| permits.take(address("::1"), false, no).unwrap()).collect();
        assert!(!permits.have_room());
        drop(held);
        assert!(permits.have_room());
    }
}
