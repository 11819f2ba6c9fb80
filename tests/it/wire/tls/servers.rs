//! Servers behind TLS: what is spoken to them, whom is believed, what is shown, what is
//! resumed, and that a handshake that fails is the version's own failure.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use crate::support::client::{Answer, Client, Request};
use crate::support::config::{BARE, Config, Route};
use crate::support::h2::H2Server;
use crate::support::load::Load;
use crate::support::model_server::{ModelServer, Then};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::tls::{Authority, Bridge};
use crate::support::wait::{self, SOON};

const BOTH: &[&str] = &["h2", "http/1.1"];

fn at(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

/// A configuration with one version there, with these members, where nothing is tried again.
fn config(url: &str, members: &str) -> Config {
    let members = format!("role: stable, {members}");
    Config::new([Route::new("iris").version("v1", &members, &[url.to_owned()])])
        .route_with(BARE)
}

fn believing(authority: &Authority, further: &str) -> String {
    let ca = authority.path("ca.pem");
    format!("tls: {{ caFile: {ca:?}{further} }}")
}

fn status(street: &Street) -> u16 {
    street.ask(&Request::infer("{}")).status
}

#[test]
fn the_protocol_is_what_the_server_likes_or_must_be() {
    let authority = Authority::serving();
    let (one, two) = (ModelServer::good("v1"), H2Server::new());
    for (protocol, agrees, spoken) in [
        ("auto", BOTH, Ok("h2")),
        ("auto", &["h2"], Ok("h2")),
        ("auto", &["http/1.1"], Ok("http/1.1")),
        ("auto", &[], Ok("")),
        ("http1", BOTH, Ok("http/1.1")),
        ("http1", &[], Ok("")),
        ("http1", &["h2"], Err(())),
        ("http2", BOTH, Ok("h2")),
        ("http2", &["http/1.1"], Err(())),
        ("http2", &[], Err(())),
    ] {
        let case = format!("{protocol} {agrees:?}");
        let target = if spoken == Ok("h2") { at(&two.url) } else { at(&one.url()) };
        // A server that prefers what it names first.
        let behind = Bridge::off(target, authority.server("server", agrees, None));
        let members = format!("protocol: {protocol}, {}", believing(&authority, ""));
        let street = Street::open(&config(&behind.url(), &members));
        match spoken {
            Ok(spoken) => {
                for _ in 0..3 {
                    assert_eq!(status(&street), 200, "{case}");
                }
                assert_eq!(behind.facts()[0].alpn, spoken, "{case}");
                assert_eq!(behind.facts().len(), 1, "{case}: one connection for all");
            }
            Err(()) => {
                assert_eq!(status(&street), 502, "{case}");
                assert_eq!(street.metrics().requests("v1", "tls_error"), 1, "{case}");
            }
        }
    }
}

#[test]
fn a_server_that_changes_its_mind_is_followed() {
    let authority = Authority::serving();
    let (one, two) = (ModelServer::good("v1"), H2Server::new());
    let first = Bridge::off(at(&two.url), authority.server("server", BOTH, None));
    let address = first.address;
    let street = Street::open(&config(&first.url(), &believing(&authority, "")));
    assert_eq!(status(&street), 200);
    drop(first);
    let plain = authority.server("server", &["http/1.1"], None);
    let second = Bridge::off_at(address, at(&one.url()), plain);
    wait::eventually("HTTP/1.1 is spoken", SOON, || {
        (status(&street) == 200).then_some(())
    });
    assert_eq!(second.facts().last().unwrap().alpn, "http/1.1");
    assert!(one.requests() > 0);
}

#[test]
fn only_a_server_that_is_vouched_for_by_name_is_believed() {
    let (authority, other) = (Authority::new(), Authority::serving());
    authority.issue("server", &["localhost", "127.0.0.1"]);
    authority.issue("named", &["models.test"]);
    authority.issue_for("past", &["127.0.0.1"], 2020);
    let server = ModelServer::good("v1");
    for (name, further, good) in [
        ("server", "", true),
        ("server", ", serverName: localhost", true),
        ("server", ", serverName: models.test", false),
        ("named", "", false),
        ("named", ", serverName: models.test", true),
        ("named", ", serverName: MODELS.test", true),
        ("past", "", false),
    ] {
        let config_of = authority.server(name, &[], None);
        let behind = Bridge::off(at(&server.url()), config_of);
        let street =
            Street::open(&config(&behind.url(), &believing(&authority, further)));
        let (expected, class) = if good { (200, "2xx") } else { (502, "tls_error") };
        assert_eq!(status(&street), expected, "{name}{further}");
        assert_eq!(street.metrics().requests("v1", class), 1, "{name}{further}");
    }
    let behind = Bridge::off(at(&server.url()), authority.server("server", &[], None));
    for members in ["protocol: http1", &believing(&other, "")] {
        let street = Street::open(&config(&behind.url(), members));
        assert_eq!(status(&street), 502, "{members}");
        assert_eq!(street.metrics().requests("v1", "tls_error"), 1, "{members}");
    }
    // Nobody speaks TLS there at all: one says so, one waits for the end of a request.
    let deaf = talks_plainly();
    let street = Street::open(&config(&deaf, &believing(&authority, "")));
    assert_eq!(status(&street), 502);
    assert_eq!(street.metrics().requests("v1", "tls_error"), 1);
    let plain = server.url().replace("http://", "https://");
    let street = Street::open(&config(&plain, &believing(&authority, "")));
    assert_eq!(status(&street), 504);
    assert_eq!(street.metrics().requests("v1", "timeout_connect"), 1);
}

/// A server that answers whatever it reads with an error in plain HTTP.
fn talks_plainly() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let read = stream.read(&mut [0; 512]).unwrap();
        assert!(read > 0, "a handshake begins");
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
            .unwrap();
    });
    url
}

#[test]
fn a_certificate_is_shown_to_who_asks_for_one() {
    let (authority, callers) = (Authority::serving(), Authority::new());
    callers.issue("us", &["switchback"]);
    let (server, two) = (ModelServer::good("v1"), H2Server::new());
    for alpn in [&["http/1.1"][..], BOTH] {
        let to = if alpn == BOTH { at(&two.url) } else { at(&server.url()) };
        let behind = Bridge::off(to, authority.server("server", alpn, Some(&callers)));
        let [cert, key] = ["us.pem", "us.key"].map(|name| callers.path(name));
        let identity = format!(", certFile: {cert:?}, keyFile: {key:?}");
        let street =
            Street::open(&config(&behind.url(), &believing(&authority, &identity)));
        assert_eq!(status(&street), 200, "{alpn:?}");
        assert!(behind.facts()[0].known, "{alpn:?}");
        let street = Street::open(&config(&behind.url(), &believing(&authority, "")));
        assert_eq!(status(&street), 502, "{alpn:?}");
        // Over HTTP/2 the refusal may come while the connection is written to already.
        let metrics = street.metrics();
        let refused = ["tls_error", "connect_error", "upstream_reset"]
            .map(|class| metrics.requests("v1", class));
        assert_eq!(refused.iter().sum::<u64>(), 1, "{alpn:?}: {refused:?}");
        assert!(alpn == BOTH || refused[0] == 1, "{alpn:?}: {refused:?}");
    }
}

#[test]
fn sessions_with_servers_are_resumed() {
    let authority = Authority::serving();
    let server = ModelServer::new(scripts::says(
        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"[..],
        Then::Close,
    ));
    let behind = Bridge::off(at(&server.url()), authority.server("server", &[], None));
    let members = format!("protocol: http1, {}", believing(&authority, ""));
    let street = Street::open(&config(&behind.url(), &members));
    for _ in 0..6 {
        assert_eq!(status(&street), 200);
    }
    let resumed: Vec<bool> = behind.facts().iter().map(|fact| fact.resumed).collect();
    assert_eq!(resumed, [false, true, true, true, true, true]);
}

#[test]
fn another_authority_is_believed_once_its_file_is_there() {
    let (authority, next) = (Authority::serving(), Authority::serving());
    let ca = authority.path("believed.pem");
    fs::copy(authority.path("ca.pem"), &ca).unwrap();
    let server = ModelServer::good("v1");
    let target = at(&server.url());
    let old = Bridge::off(target, authority.server("server", &["http/1.1"], None));
    let new = Bridge::off(target, next.server("server", &["http/1.1"], None));
    let members = format!("pool: {{ idleTimeout: 60s }}, tls: {{ caFile: {ca:?} }}");
    let route = |bridge: &Bridge| {
        let members = format!("role: stable, {members}");
        Route::new("iris").version("v1", &members, &[bridge.url()])
    };
    let street = Street::open(&Config::new([route(&old)]).route_with(BARE));
    assert_eq!(status(&street), 200);
    fs::copy(next.path("ca.pem"), &ca).unwrap();
    street.says("renewed certificates are in use");
    // The connection that stands goes on.
    assert_eq!(status(&street), 200);
    street.rewrite(&Config::new([route(&new)]).route_with(BARE));
    wait::eventually("the new server is asked", SOON, || {
        (status(&street) == 200 && !new.facts().is_empty()).then_some(())
    });
    assert!(new.facts().iter().all(|fact| fact.failed.is_none()), "{:?}", new.facts());
}

#[test]
fn an_answer_that_ends_without_a_word_is_a_truncated_one() {
    let authority = Authority::serving();
    let server = ModelServer::new(scripts::good("v1"));
    let behind = Bridge::off(at(&server.url()), authority.server("server", &[], None));
    let street = Street::open(&config(&behind.url(), &believing(&authority, "")));
    let lengthless = "HTTP/1.1 200 OK\r\n\r\nthe beginning";
    server.now(scripts::says(lengthless, Then::Close));
    let answer = street.ask(&Request::infer("{}"));
    assert!(answer.is_whole() && answer.text() == "the beginning", "{answer:?}");
    // The bridge ends such a connection without the word that TLS has for it.
    server.now(scripts::says(lengthless, Then::Reset));
    let broken = Client::new(street.http).send(Request::infer("{}").bytes()).answer();
    assert!(!broken.as_ref().is_ok_and(Answer::is_whole), "{broken:?}");
    wait::eventually("it is counted as truncated", SOON, || {
        (street.metrics().requests("v1", "truncated") == 1).then_some(())
    });
}

#[test]
fn a_canary_that_cannot_be_believed_is_rolled_back_and_no_caller_sees_it() {
    let (authority, other) = (Authority::serving(), Authority::serving());
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let good = Bridge::off(at(&stable.url()), authority.server("server", BOTH_1, None));
    let bad = Bridge::off(at(&canary.url()), other.server("server", BOTH_1, None));
    let members = |role: &str| format!("{role}, {}", believing(&authority, ""));
    let route = Route::new("iris")
        .version("v1", &members("role: stable"), &[good.url()])
        .version("v2", &members("role: canary, weight: 20%"), &[bad.url()]);
    let rules = "analysis: { confirm: off, window: 10s, interval: 100ms, metrics: [{ name: errorRate, max: 5%, minSamples: 20 }] }";
    let street = Street::open(&Config::new([route]).route_with(rules));
    let load = Load::new(street.http).clients(4).start();
    street.rolled_back("v2");
    load.stop().is_clean();
    assert!(street.metrics().requests("v2", "tls_error") > 0);
    assert_eq!(canary.requests(), 0);
}

const BOTH_1: &[&str] = &["http/1.1"];

#[test]
fn health_is_asked_over_tls() {
    let (authority, other) = (Authority::serving(), Authority::serving());
    let server = ModelServer::good("v1");
    let two = H2Server::new();
    for (target, alpn) in [(at(&server.url()), BOTH_1), (at(&two.url), &["h2"])] {
        for (speaker, healthy) in [(&authority, true), (&other, false)] {
            let behind = Bridge::off(target, speaker.server("server", alpn, None));
            let check = "healthCheck: { readiness: /ready, interval: 50ms, timeout: 1s, unhealthyAfter: 2 }";
            let members = format!("{check}, {}", believing(&authority, ""));
            let street = Street::open(&config(&behind.url(), &members));
            wait::eventually("the checks have been made", SOON, || {
                (behind.facts().len() > 3).then_some(())
            });
            if healthy {
                assert_eq!(status(&street), 200, "{alpn:?}");
                assert!(behind.facts().iter().all(|fact| fact.failed.is_none()));
                assert!(!street.log().contains("unhealthy"), "{}", street.log());
            } else {
                street.says("unhealthy");
            }
        }
    }
}
