//! HTTP/2 and HPACK conformance as h2spec asks for it: every section's cases as tables of
//! frames and of what may follow, by raw frames. As there, a connection error may also show
//! as a closed connection, and a stream error as a connection error of the same code.

mod cases;
mod conn;
mod generic;
mod hpack;
mod http2;
mod messages;

use std::net::SocketAddr;

use crate::support::config::Config;
use crate::support::model_server::ModelServer;
use crate::support::street::Street;
use crate::support::tls::{Authority, Bridge};

use cases::{Case, run};

fn all() -> impl Iterator<Item = &'static Case> {
    generic::CASES.iter().chain(http2::CASES).chain(messages::CASES).chain(hpack::CASES)
}

/// Runs every case against that address; each must leave the proxy well.
fn conforms(address: SocketAddr) {
    let wrong: Vec<String> = all().filter_map(|case| run(address, case).err()).collect();
    let count = all().count();
    assert!(wrong.is_empty(), "{} of {count} fail:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_listener_for_both_protocols_conforms() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    conforms(street.http);
    street.is_well();
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn a_listener_with_tls_conforms() {
    let server = ModelServer::good("v1");
    let authority = Authority::serving();
    let config = Config::plain(&server).listener(&authority.listener("server", ""));
    let street = Street::open(&config);
    let bridge = Bridge::on(street.http, authority.client(&["h2"]));
    conforms(bridge.address);
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn a_listener_for_http_2_alone_conforms() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server).listener("protocol: http2"));
    conforms(street.http);
    assert_eq!(server.faults(), Vec::<String>::new());
}
