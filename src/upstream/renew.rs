//! What a new answer for a name means for a version's servers: the same name may be one
//! server that has moved, or several that come and go.
//!
//! Nothing here waits or asks: where a name leads is a parameter. A name that leads nowhere
//! changes nothing, so that a resolver which hiccups takes no server away.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};

use super::endpoint::{Endpoint, Security};
use super::registry::Upstream;
use super::roll::{self, Gone, Key};
use super::settings::{Address, Origin, Settings};
use crate::vocab::time::Timestamp;

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// To these addresses; at least one.
    At(Arc<[IpAddr]>),
    /// It was never found out, and this is why.
    Nowhere(String),
}

/// What became of a version's servers.
#[derive(Debug, Default)]
pub struct Renewal {
    /// The version with its servers of now, where others are there than before.
    pub upstream: Option<Upstream>,
    /// Servers that were there all along and have other addresses.
    pub moved: Vec<Address>,
    /// Servers that have come.
    pub come: Vec<Address>,
    /// Servers that have gone: they get no new request, and those they have may end.
    pub gone: Vec<Address>,
    /// Addresses that names lead to and that are not used: an address, and why.
    pub refused: Vec<(SocketAddr, &'static str)>,
    /// Servers for which there is no room.
    pub left_out: usize,
}

/// Which place each server has, and who had one.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// In the order of the endpoints.
    by_position: Vec<usize>,
    /// With who may still be using them.
    gone: Vec<(Gone, Weak<Endpoint>)>,
}

impl Upstream {
    /// The version with the servers that its names lead to now. `refuse` says why an address
    /// must not be used.
    #[must_use]
    pub fn renewed(
        &self,
        lead: impl Fn(&str) -> Option<Where>,
        refuse: impl Fn(SocketAddr) -> Option<&'static str>,
        now: Timestamp,
    ) -> Renewal {
        let mut renewal = Renewal::default();
        let mut wanted = Vec::with_capacity(self.endpoints.len());
        for origin in &self.settings.endpoints {
            let found = origin.name().and_then(&lead);
            let found = found.map(|found| allowed(origin, found, &refuse, &mut renewal));
            match (origin, found) {
                (Origin::One(address), found) => {
                    let key = Key { address: address.clone(), called: None };
                    let endpoint = self.endpoint(&key).zip(found);
                    if endpoint.is_some_and(|(one, found)| is_moved(one, found)) {
                        renewal.moved.push(address.clone());
                    }
                    wanted.push(key);
                }
                (Origin::Each(address), Some(Ok(all))) => {
                    wanted.extend(all.iter().map(|at| member(address, at.ip())));
                }
                (Origin::Each(address), Some(Err(_)) | None) => {
                    let keys = self.endpoints.iter().map(|endpoint| key(endpoint));
                    wanted.extend(keys.filter(|key| is_of(key, address)));
                }
            }
        }
        self.call(&wanted, now, renewal)
    }

    fn call(&self, wanted: &[Key], now: Timestamp, mut renewal: Renewal) -> Renewal {
        let (here, gone) = self.places.known(&self.endpoints);
        let next = roll::call(&here, &gone, wanted, now);
        renewal.left_out = next.left_out;
        if next.here == here {
            return renewal;
        }
        let known = |key: &Key| self.endpoint(key).map(Arc::clone);
        let back = |key: &Key| self.places.gone_endpoint(key);
        let mut endpoints = Vec::with_capacity(next.here.len());
        for (key, _) in &next.here {
            endpoints.push(known(key).unwrap_or_else(|| {
                renewal.come.push(key.address.clone());
                back(key).unwrap_or_else(|| {
                    Arc::new(key.endpoint().secured(self.security.as_deref()))
                })
            }));
        }
        let users = |one: Gone| {
            let before = known(&one.key).map(|endpoint| Arc::downgrade(&endpoint));
            let users = before.or_else(|| self.places.users(&one)).unwrap_or_default();
            (one, users)
        };
        let stays = |key: &Key| next.here.iter().any(|(other, _)| other == key);
        let left = here.iter().filter(|(key, _)| !stays(key));
        renewal.gone = left.map(|(key, _)| key.address.clone()).collect();
        let by_position = next.here.iter().map(|(_, place)| *place).collect();
        let places =
            Places { by_position, gone: next.gone.into_iter().map(users).collect() };
        renewal.upstream = Some(self.with(endpoints, places));
        renewal
    }

    fn endpoint(&self, wanted: &Key) -> Option<&Arc<Endpoint>> {
        self.endpoints.iter().find(|endpoint| key(endpoint) == *wanted)
    }
}

impl Places {
    /// The servers that settings name, with their places from the first; with those of a
    /// name that `before` knows.
    pub(super) fn of(
        settings: &Settings,
        before: Option<&Upstream>,
        security: Option<&Security>,
    ) -> (Vec<Arc<Endpoint>>, Self) {
        let old = before.map_or(&[][..], |before| &before.endpoints);
        let mut endpoints = Vec::with_capacity(settings.endpoints.len());
        for origin in &settings.endpoints {
            match origin {
                Origin::One(address) => {
                    let kept = old
                        .iter()
                        .find(|one| one.address == *address && one.called().is_none());
                    endpoints.push(kept.map_or_else(
                        || Arc::new(Endpoint::new(address.clone()).secured(security)),
                        Arc::clone,
                    ));
                }
                Origin::Each(address) => {
                    let ours = old.iter().filter(|one| is_of(&key(one), address));
                    endpoints.extend(ours.cloned());
                }
            }
        }
        let known =
            before.filter(|before| before.settings.endpoints == settings.endpoints);
        let places = match known {
            Some(before) => {
                endpoints = before.endpoints.clone();
                before.places.clone()
            }
            None => {
                Self { by_position: (0..endpoints.len()).collect(), gone: Vec::new() }
            }
        };
        (endpoints, places)
    }

    pub(super) fn place(&self, position: usize) -> usize {
        self.by_position.get(position).copied().unwrap_or(position)
    }

    pub(super) fn names(&self, endpoints: &[Arc<Endpoint>]) -> Vec<String> {
        let here = endpoints.iter().zip(&self.by_position);
        let here = here.map(|(endpoint, place)| (*place, &endpoint.address));
        let gone = self.gone.iter().map(|(one, _)| (one.place, &one.key.address));
        let mut names = Vec::new();
        for (place, address) in gone.chain(here) {
            if names.len() <= place {
                names.resize(place + 1, String::new());
            }
            names[place] = address.to_string();
        }
        names
    }

    fn known(&self, endpoints: &[Arc<Endpoint>]) -> (Vec<(Key, usize)>, Vec<Gone>) {
        let here = endpoints.iter().zip(&self.by_position);
        let here = here.map(|(endpoint, place)| (key(endpoint), *place)).collect();
        let gone = self.gone.iter().map(|(one, users)| Gone {
            is_used: users.strong_count() > 0,
            ..one.clone()
        });
        (here, gone.collect())
    }

    /// A server that has gone, while somebody still uses it.
    fn gone_endpoint(&self, key: &Key) -> Option<Arc<Endpoint>> {
        self.gone.iter().find(|(one, _)| one.key == *key)?.1.upgrade()
    }

    fn users(&self, gone: &Gone) -> Option<Weak<Endpoint>> {
        let same = |one: &Gone| one.key == gone.key && one.place == gone.place;
        let found = self.gone.iter().find(|(one, _)| same(one));
        found.map(|(_, users)| Weak::clone(users))
    }
}

impl Key {
    fn endpoint(&self) -> Endpoint {
        Endpoint::called_by(self.address.clone(), self.called.clone())
    }
}

fn key(endpoint: &Endpoint) -> Key {
    let called = endpoint.called().map(str::to_owned);
    Key { address: endpoint.address.clone(), called }
}

/// Whether a server has other addresses by this.
fn is_moved(endpoint: &Endpoint, found: Result<Vec<SocketAddr>, String>) -> bool {
    match found {
        Ok(all) => endpoint.move_to(&all),
        Err(why) => {
            endpoint.is_nowhere(&why);
            false
        }
    }
}

/// One of the servers that the name of an entry stands for.
fn member(entry: &Address, ip: IpAddr) -> Key {
    match entry {
        Address::Tcp { host, port, tls } => {
            let (port, tls, called) = (*port, *tls, Some(host.clone()));
            Key { address: Address::Tcp { host: ip.to_string(), port, tls }, called }
        }
        Address::Unix(_) => Key { address: entry.clone(), called: None },
    }
}

fn is_of(key: &Key, entry: &Address) -> bool {
    match (&key.address, entry) {
        (
            Address::Tcp { port, tls, .. },
            Address::Tcp { host, port: same_port, tls: same_tls },
        ) => key.called.as_ref() == Some(host) && port == same_port && tls == same_tls,
        (Address::Tcp { .. } | Address::Unix(_), _) => false,
    }
}

/// The addresses of a name that may be used, or why there is none.
fn allowed(
    origin: &Origin,
    found: Where,
    refuse: &impl Fn(SocketAddr) -> Option<&'static str>,
    renewal: &mut Renewal,
) -> Result<Vec<SocketAddr>, String> {
    let all = match found {
        Where::At(all) => all,
        Where::Nowhere(why) => return Err(why),
    };
    let port = match origin.address() {
        Address::Tcp { port, .. } => *port,
        Address::Unix(_) => 0,
    };
    let mut good = Vec::with_capacity(all.len());
    let mut why_not = None;
    for at in all.iter().map(|ip| SocketAddr::new(*ip, port)) {
        match refuse(at) {
            None => good.push(at),
            Some(why) => {
                why_not = Some(format!("{at} {why}"));
                renewal.refused.push((at, why));
            }
        }
    }
    match why_not {
        Some(why) if good.is_empty() => Err(why),
        Some(_) | None => Ok(good),
    }
}

#[cfg(test)]
#[path = "renew_tests.rs"]
mod tests;
