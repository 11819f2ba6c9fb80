//! Endpoints that are names: found, moved, multiplied and lost, by a name server that says
//! what the test wants (issue 5, item 7; THREATS 39). `moves` has what changes while requests
//! pass, `answers` what a name server may say, `places` the kinds of endpoint and where a name
//! must not lead, `secured` names with TLS.

mod answers;
mod moves;
mod places;
mod secured;

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::support::config::{BARE, Config, NO_RULES, Route};
use crate::support::model_server::{ModelServer, Script};
use crate::support::name_server::NameServer;
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

/// Servers at these addresses of the loopback network, all on one port.
fn servers<const N: usize>(hosts: [&str; N]) -> [ModelServer; N] {
    let scripts = hosts.map(scripts::good);
    servers_with(hosts, scripts)
}

fn servers_with<const N: usize>(
    hosts: [&str; N],
    scripts: [Script; N],
) -> [ModelServer; N] {
    let ips: [IpAddr; N] = hosts.map(|host| host.parse().unwrap());
    let port = free_port(&hosts);
    let mut scripts = scripts.into_iter();
    ips.map(|ip| ModelServer::at(SocketAddr::new(ip, port), scripts.next().unwrap()))
}

/// A port that is free at all these addresses.
fn free_port(hosts: &[&str]) -> u16 {
    let bound = |host: &str, port: u16| {
        let ip: IpAddr = host.parse().unwrap();
        std::net::TcpListener::bind(SocketAddr::new(ip, port))
    };
    wait::eventually("a port that is free everywhere", SOON, || {
        let any = bound(hosts[0], 0).unwrap();
        let port = any.local_addr().unwrap().port();
        drop(any);
        hosts.iter().all(|host| bound(host, port).is_ok()).then_some(port)
    })
}

/// The entry of a name at the port of that server.
fn entry(scheme: &str, name: &str, server: &ModelServer) -> String {
    format!("{scheme}://{name}:{}", server.address().port())
}

/// One stable version at that entry, nothing tried again, looked up at that server.
fn config(dns: &NameServer, entry: &str) -> Config {
    let route = Route::new("iris").version("v1", "role: stable", &[entry.to_owned()]);
    Config::new([route]).route_with(BARE).route_with(NO_RULES).with(&dns.line())
}

/// The addresses that the status shows for the one name of `v1`.
fn leads_to(street: &Street, addresses: &[&str]) {
    wait::eventually(&format!("the name leads to {addresses:?}"), SOON, || {
        let seen = street.version("v1")["names"][0]["addresses"].clone();
        (seen == Value::from(addresses.to_vec())).then_some(())
    });
}

/// Waits until so many of so many endpoints of `v1` may be asked.
fn has(street: &Street, healthy: u64, all: u64) {
    wait::eventually(&format!("{healthy} of {all} endpoints"), SOON, || {
        let seen = street.version("v1");
        (seen["healthy_endpoints"] == healthy && seen["endpoints"] == all).then_some(())
    });
}

/// Waits until the name of `v1` can, or cannot, be looked up.
fn is_failing(street: &Street, failing: bool) {
    wait::eventually(&format!("the name is failing: {failing}"), SOON, || {
        (street.version("v1")["names"][0]["problem"].is_string() == failing).then_some(())
    });
}
