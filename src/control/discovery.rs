//! What control does when names lead elsewhere: the versions that have them get their
//! servers of now, and whoever has looked at the servers before looks again.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::handle::OrderError;
use super::seats::{Label, Seats};
use super::settings::Settings;
use crate::clock;
use crate::dns::Names;
use crate::route::Role;
use crate::telemetry::emit;
use crate::upstream::{Origin, Renewal, Upstream, Where};
use crate::vocab::time::Timestamp;

impl Seats {
    /// Some names lead elsewhere than before.
    pub(super) fn renew(&mut self, now: Timestamp) {
        let (names, guard) = (&self.names, &self.guard);
        for (slot, seat) in &mut self.seats {
            if seat.is_leaving() {
                continue;
            }
            let lead = |name: &str| lead(names, name);
            let mut renewal = seat.upstream.renewed(lead, |at| guard.refuse(at), now);
            tell(&seat.label, &renewal);
            if let Some(upstream) = renewal.upstream.take() {
                seat.upstream = Arc::new(upstream);
                self.registry.renew(*slot, Arc::clone(&seat.upstream));
                if let Some(probes) = &mut seat.probes {
                    probes.follow(&seat.upstream);
                }
            }
        }
    }

    /// A version that is about to be seated, with the servers that its names lead to.
    pub(super) fn looked_up(&self, upstream: Upstream) -> Arc<Upstream> {
        let lead = |name: &str| lead(&self.names, name);
        let refuse = |at| self.guard.refuse(at);
        let mut renewal = upstream.renewed(lead, refuse, clock::wall());
        let (route, version) = (upstream.route.clone(), upstream.version.clone());
        tell(&Label { route, version }, &renewal);
        Arc::new(renewal.upstream.take().unwrap_or(upstream))
    }
}

impl Seats {
    /// Refuses settings under which a stable version that is served has no server: as a file
    /// that is wrong, they leave everything as it was.
    pub(super) fn would_serve(&self, settings: &Settings) -> Result<(), OrderError> {
        for route in &settings.routes {
            let is_served = self.seats.values().any(|seat| {
                let is_stable = seat.role == Role::Stable && !seat.is_leaving();
                is_stable && seat.label.route == route.name && !seat.upstream.is_nowhere()
            });
            let mut stable = route.versions.iter().filter(|it| it.role == Role::Stable);
            let version = stable.next().filter(|_| is_served);
            let why =
                version.and_then(|version| self.why_nowhere(&version.upstream.endpoints));
            if let (Some(version), Some(why)) = (version, why) {
                let (version, route) = (&version.name, &route.name);
                return Err(OrderError::Refused(format!(
                    "version {version} of route {route} would have no server: {why}"
                )));
            }
        }
        Ok(())
    }

    /// Why none of the entries leads anywhere, if none does.
    fn why_nowhere(&self, endpoints: &[Origin]) -> Option<String> {
        let mut first = None;
        for origin in endpoints {
            let (name, port) = (origin.name()?, origin.address().port()?);
            let why = match lead(&self.names, name) {
                None => "it has not been looked up".to_owned(),
                Some(Where::Nowhere(why)) => why,
                Some(Where::At(all)) => {
                    let refused = |ip: &IpAddr| {
                        let at = SocketAddr::new(*ip, port);
                        self.guard.refuse(at).map(|why| format!("{at} {why}"))
                    };
                    all.iter().map(refused).collect::<Option<Vec<_>>>()?.join(", ")
                }
            };
            first.get_or_insert(format!("{name}: {why}"));
        }
        first
    }
}

fn lead(names: &Names, name: &str) -> Option<Where> {
    let known = names.known(name)?;
    if !known.addresses.is_empty() {
        return Some(Where::At(Arc::clone(&known.addresses)));
    }
    known.failing.as_ref().map(|(_, why)| Where::Nowhere(why.clone()))
}

fn tell(label: &Label, renewal: &Renewal) {
    let Label { route, version } = label;
    for (at, why) in &renewal.refused {
        emit::address_refused(route, version, *at, why);
    }
    for address in &renewal.moved {
        emit::endpoint_moved(route, version, address);
    }
    for address in &renewal.come {
        emit::endpoint_come(route, version, address);
    }
    for address in &renewal.gone {
        emit::endpoint_gone(route, version, address);
    }
    if renewal.left_out > 0 {
        emit::endpoints_left_out(route, version, renewal.left_out);
    }
}
