//! `Permits`: how many connections a listener has, in all and from one address, over all
//! workers. Apart from `accept`, because what a flood may take is decided here. A lock is
//! taken once a connection, never for a request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::settings::ListenerSettings;

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

/// Why a connection is not taken, by the key of the configuration that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) &'static str);

impl Permits {
    /// What the settings allow; `room` is how many there can be.
    pub(super) fn new(settings: &ListenerSettings, room: usize) -> Arc<Self> {
        let limits = &settings.limits;
        let most = limits.max_connections.max(1);
        let each = match limits.max_connections_per_address {
            None => most.div_ceil(2).max(FEW),
            Some(0) => most,
            Some(each) => each,
        };
        Arc::new(Self { most, each, room, taken: Mutex::default() })
    }

    /// Whether another connection can be had at the moment.
    pub(super) fn have_room(&self) -> bool {
        self.lock().all < self.room
    }

    /// A permit for a connection from that address, which is exempt from the bound for one
    /// address when it is `trusted`.
    ///
    /// # Errors
    /// [`Refused`] with the bound that is reached.
    pub(super) fn take(
        self: &Arc<Self>,
        address: IpAddr,
        trusted: bool,
    ) -> Result<Permit, Refused> {
        let who = (!trusted).then(|| network(address));
        let mut taken = self.lock();
        if taken.all >= self.most {
            return Err(Refused("maxConnections"));
        }
        if let Some(who) = who {
            let mine = taken.by.entry(who).or_default();
            if *mine >= self.each {
                return Err(Refused("maxConnectionsPerAddress"));
            }
            *mine += 1;
        }
        taken.all += 1;
        Ok(Permit { permits: Arc::clone(self), who })
    }

    /// No code that may panic runs between the halves of a change.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
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

    use super::{Permits, Refused};
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
        let held: Vec<_> = (0..3).map(|_| permits.take(one, false).unwrap()).collect();
        let each = Refused("maxConnectionsPerAddress");
        assert_eq!(permits.take(one, false).unwrap_err(), each);
        assert_eq!(
            permits.take(address("::ffff:192.0.2.1"), false).unwrap_err(),
            each,
            "the same address in another spelling"
        );
        let gateway: Vec<_> = (0..3).map(|_| permits.take(one, true).unwrap()).collect();
        let all = Refused("maxConnections");
        assert_eq!(permits.take(address("192.0.2.2"), false).unwrap_err(), all);
        drop((held, gateway));
        assert!(permits.lock().by.is_empty(), "nobody is remembered for nothing");
        drop(permits.take(one, false).unwrap());
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
        let _held = permits.take(address("2001:db8::1"), false).unwrap();
        assert!(permits.take(address("2001:db8::2:3"), false).is_err());
        assert!(permits.take(address("2001:db8:0:1::1"), false).is_ok());
    }

    #[test]
    fn file_descriptors_bound_them_too() {
        let mut settings = test_listener();
        settings.limits.max_connections = 100;
        let permits = Permits::new(&settings, 2);
        let held: Vec<_> =
            (0..2).map(|_| permits.take(address("::1"), false).unwrap()).collect();
        assert!(!permits.have_room());
        drop(held);
        assert!(permits.have_room());
    }
}
