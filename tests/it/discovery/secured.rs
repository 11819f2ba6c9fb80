//! Names with TLS: the certificate is held against the name that the file says, never against
//! the address that a look-up gave, and HTTP/2 connections move with the name.

use std::net::SocketAddr;

use super::{config, free_port, has};
use crate::support::client::Request;
use crate::support::h2::H2Server;
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::name_server::NameServer;
use crate::support::street::Street;
use crate::support::tls::{Authority, Bridge};
use crate::support::wait::{self, SOON};

const BOTH: &[&str] = &["h2", "http/1.1"];

fn at(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

/// A proxy with that entry, by which the authority is believed.
fn open(dns: &NameServer, authority: &Authority, entry: &str) -> Street {
    let ca = authority.path("ca.pem");
    let tls = format!("role: stable, tls: {{ caFile: {ca:?} }}");
    let dir = crate::support::street::Dir::new();
    let text = config(dns, entry).yaml(dir.path());
    dir.write("switchback.yaml", &text.replace("role: stable", &tls));
    Street::start(dir, "switchback.yaml")
}

#[test]
fn a_certificate_is_for_the_name_and_not_for_the_address() {
    let authority = Authority::new();
    authority.issue("model", &["models.test"]);
    authority.issue("other", &["127.0.0.2", "others.test"]);
    let server = ModelServer::good("v1");
    let dns = NameServer::new();
    dns.at("models.test", &["127.0.0.2"]);
    for scheme in ["https", "dns+https"] {
        for (certificate, name, status) in [
            ("model", "models.test", 200),
            ("model", "models.test.", 200),
            ("other", "models.test", 502),
        ] {
            let port = free_port(&["127.0.0.2"]);
            let address = SocketAddr::from(([127, 0, 0, 2], port));
            let trust = authority.server(certificate, &["http/1.1"], None);
            let _behind = Bridge::off_at(address, server.address(), trust);
            let street = open(&dns, &authority, &format!("{scheme}://{name}:{port}"));
            has(&street, 1, 1);
            let answer = street.ask(&Request::infer("{}"));
            assert_eq!(
                answer.status,
                status,
                "{scheme} {certificate}: {}",
                answer.text()
            );
        }
    }
}

#[test]
fn connections_of_http2_move_with_the_name() {
    let authority = Authority::new();
    authority.issue("model", &["models.test"]);
    let two = H2Server::new();
    for scheme in ["https", "dns+https"] {
        let dns = NameServer::new();
        dns.at("models.test", &["127.0.0.2"]);
        let port = free_port(&["127.0.0.2", "127.0.0.3"]);
        let [old, new] = [2_u8, 3].map(|host| {
            let trust = authority.server("model", BOTH, None);
            let address = SocketAddr::from(([127, 0, 0, host], port));
            Bridge::off_at(address, at(&two.url), trust)
        });
        let street = open(&dns, &authority, &format!("{scheme}://models.test:{port}"));
        let load = Load::new(street.http).clients(4).start();
        load.reaches(200);
        assert_eq!((old.facts().len(), new.facts().len()), (1, 0), "{scheme}");
        dns.at("models.test", &["127.0.0.3"]);
        wait::eventually("the new address is spoken to", SOON, || {
            (new.facts().len() == 1).then_some(())
        });
        load.reaches(load.sent() + 200);
        load.stop().is_clean();
        assert_eq!((old.facts().len(), new.facts().len()), (1, 1), "{scheme}");
        assert_eq!(new.facts()[0].alpn, "h2");
    }
}
