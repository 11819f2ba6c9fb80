//! Names that lead elsewhere while requests pass: nobody gets a failure, and what is under
//! way ends where it began.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{config, entry, has, leads_to, servers, servers_with};
use crate::support::client::{Client, PATIENCE, Request};
use crate::support::config::{Config, NO_RULES, Route};
use crate::support::load::Load;
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::name_server::{NameServer, Says, ips};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

const BOTH: [&str; 2] = ["http", "dns+http"];

#[test]
fn an_answer_is_good_for_as_long_as_it_says() {
    let [server] = servers(["127.0.0.2"]);
    let dns = NameServer::new();
    dns.say("models", Says::At(ips(&["127.0.0.2"]), 300));
    let street = Street::open(&config(&dns, &entry("http", "models", &server)));
    let load = Load::new(street.http).requests(500).run();
    load.is_clean();
    // Not once for each connection, and not again while the answer is good.
    wait::holds("it is not asked again", Duration::from_millis(1_500), || {
        dns.asked("models") == 1
    });
    let [server] = servers(["127.0.0.2"]);
    dns.say("brief", Says::At(ips(&["127.0.0.2"]), 1));
    let street = Street::open(&config(&dns, &entry("http", "brief", &server)));
    let first = dns.asked("brief");
    dns.asked_again("brief", 2);
    assert!(first >= 1 && street.metrics().sum("switchback_name_addresses", &[]) == 1.0);
}

#[test]
fn a_name_that_moves_under_load_fails_nobody() {
    for scheme in BOTH {
        let [old, new] = servers(["127.0.0.2", "127.0.0.3"]);
        let dns = NameServer::new();
        dns.at("models", &["127.0.0.2"]);
        let config = config(&dns, &entry(scheme, "models", &old)).workers(2);
        let street = Street::open(&config);
        let load = Load::new(street.http).start();
        load.reaches(500);
        dns.at("models", &["127.0.0.3"]);
        wait::eventually("the connections to the old address are closed", SOON, || {
            (new.requests() > 0 && old.open_connections() == 0).then_some(())
        });
        let before = old.requests();
        load.reaches(load.sent() + 500);
        load.stop().is_clean();
        assert_eq!(old.requests(), before, "{scheme}: the old address is asked again");
        assert_eq!(street.version("v1")["endpoints"], 1);
        assert_eq!((old.faults(), new.faults()), (vec![], vec![]));
    }
}

#[test]
fn idle_connections_to_an_address_that_is_gone_are_closed_without_a_request() {
    for scheme in BOTH {
        let [old, _new] = servers(["127.0.0.2", "127.0.0.3"]);
        let dns = NameServer::new();
        dns.at("models", &["127.0.0.2"]);
        let pool = Route::new("iris").version(
            "v1",
            "role: stable, pool: { idleTimeout: 1h }",
            &[entry(scheme, "models", &old)],
        );
        let street = Street::open(&Config::new([pool]).with(&dns.line()));
        street.is_well();
        assert_eq!(old.open_connections(), 1, "{scheme}");
        dns.at("models", &["127.0.0.3"]);
        wait::eventually("the idle connection is closed", SOON, || {
            (old.open_connections() == 0).then_some(())
        });
    }
}

/// A server that streams until it is told to end.
fn streams() -> (Sender<&'static str>, Script) {
    let (words, hears) = channel();
    let hears = Mutex::new(hears);
    let script: Script = Arc::new(move |ask, line| {
        if ask.target() != "/stream" {
            return line.reply(200, "", "old");
        }
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let next = || hears.lock().unwrap().recv_timeout(PATIENCE).unwrap_or("");
        loop {
            match next() {
                "" => break,
                word => assert!(line.chunk(word), "the stream was cut"),
            }
        }
        line.send("0\r\n\r\n");
        Then::Keep
    });
    (words, script)
}

#[test]
fn an_endpoint_that_vanishes_drains() {
    for scheme in BOTH {
        let (words, script) = streams();
        let hosts = ["127.0.0.2", "127.0.0.3"];
        let [old, new] = servers_with(hosts, [script, scripts::good("new")]);
        let dns = NameServer::new();
        dns.at("models", &["127.0.0.2"]);
        let street = Street::open(&config(&dns, &entry(scheme, "models", &old)));
        let mut client = Client::new(street.http);
        client.send(Request::get("/stream").bytes());
        assert_eq!(client.head().unwrap().0, 200);
        words.send("before").unwrap();
        assert_eq!(client.pipe.chunk().unwrap(), b"before");
        dns.at("models", &["127.0.0.3"]);
        leads_to(&street, &["127.0.0.3"]);
        // From the moment that a request has met the new one, no other goes to the old one.
        wait::eventually("requests go to the new server", SOON, || {
            (street.ask(&Request::infer("{}")).text() != "old").then_some(())
        });
        let before = old.requests();
        Load::new(street.http).requests(200).run().is_clean();
        assert_eq!(old.requests(), before, "{scheme}: a server that is gone is asked");
        assert!(new.requests() >= 200);
        assert_eq!(street.version("v1")["in_flight"], 1);
        words.send("after").unwrap();
        assert_eq!(client.pipe.chunk().unwrap(), b"after");
        words.send("").unwrap();
        assert_eq!(client.pipe.chunk().unwrap(), b"");
        client.pipe.trailer().unwrap();
        wait::eventually("its connection is closed then", SOON, || {
            (old.open_connections() == 0).then_some(())
        });
        assert_eq!(street.version("v1")["in_flight"], 0);
    }
}

#[test]
fn every_address_of_a_headless_name_is_a_server_of_its_own() {
    let hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
    let [a, b, c] = servers(hosts);
    let dns = NameServer::new();
    dns.at("models", &hosts[..2]);
    let street = Street::open(&config(&dns, &entry("dns+http", "models", &a)));
    has(&street, 2, 2);
    Load::new(street.http).requests(400).run().is_clean();
    assert!(a.requests() > 100 && b.requests() > 100, "{a:?} {b:?}");
    dns.at("models", &hosts);
    has(&street, 3, 3);
    Load::new(street.http).requests(400).run().is_clean();
    assert!(c.requests() > 50, "{c:?}");
    dns.at("models", &hosts[2..]);
    has(&street, 1, 1);
    wait::eventually("they are left alone", SOON, || {
        (a.open_connections() + b.open_connections() == 0).then_some(())
    });
    street.is_well();
}

#[test]
fn answers_that_flap_fail_nobody() {
    for scheme in BOTH {
        let hosts = ["127.0.0.2", "127.0.0.3"];
        let [a, b] = servers(hosts);
        let dns = NameServer::new();
        dns.at("models", &hosts);
        let street = Street::open(&config(&dns, &entry(scheme, "models", &a)).workers(2));
        let load = Load::new(street.http).start();
        for turn in 0..24 {
            match turn % 4 {
                0 => dns.at("models", &hosts[..1]),
                1 => dns.at("models", &hosts[1..]),
                2 => dns.say("models", Says::Code(2)),
                _ => dns.at("models", &["127.0.0.3", "127.0.0.2"]),
            };
            dns.asked_again("models", 2);
        }
        load.stop().is_clean();
        assert!(a.requests() > 0 && b.requests() > 0);
        street.is_well();
    }
}

#[test]
fn checks_follow_the_servers() {
    let hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
    let ill: Script = Arc::new(|ask, line| match ask.target() {
        "/health" => line.reply(503, "", ""),
        _ => line.reply(200, "", "ill"),
    });
    let scripts = [scripts::good("a"), ill, scripts::good("c")];
    let [a, b, c] = servers_with(hosts, scripts);
    let dns = NameServer::new();
    dns.at("models", &hosts[..2]);
    let check = "healthCheck: { liveness: /health, interval: 50ms, unhealthyAfter: 2 }";
    let members = format!("role: stable, {check}");
    let at = entry("dns+http", "models", &a);
    let route = Route::new("iris").version("v1", &members, &[at]).with(NO_RULES);
    let street = Street::open(&Config::new([route]).with(&dns.line()));
    has(&street, 1, 2);
    Load::new(street.http).requests(50).run().is_clean();
    let inferred = |server: &ModelServer| {
        server.seen().iter().filter(|ask| ask.target() != "/health").count()
    };
    assert_eq!(inferred(&b), 0);
    dns.at("models", &["127.0.0.3", "127.0.0.4"]);
    has(&street, 1, 2);
    wait::eventually("the new server is checked", SOON, || {
        c.seen().iter().any(|ask| ask.target() == "/health").then_some(())
    });
    wait::eventually("the old server is not", SOON, || {
        (a.open_connections() == 0).then_some(())
    });
    let before = a.requests();
    Load::new(street.http).requests(50).run().is_clean();
    assert_eq!((inferred(&b), a.requests()), (0, before));
}

#[test]
fn a_reload_to_a_new_name_fails_nobody_even_if_the_look_up_is_slow() {
    let [a, b] = servers(["127.0.0.2", "127.0.0.3"]);
    let dns = NameServer::new();
    dns.at("one", &["127.0.0.2"]).at("two", &["127.0.0.3"]);
    let street = Street::open(&config(&dns, &entry("http", "one", &a)));
    let load = Load::new(street.http).start();
    load.reaches(200);
    dns.slow(Duration::from_millis(50));
    for scheme in BOTH {
        let before = b.requests();
        street.rewrite(&config(&dns, &entry(scheme, "two", &b)));
        wait::eventually("the new server is asked", SOON, || {
            (b.requests() > before + 50).then_some(())
        });
        street.rewrite(&config(&dns, &entry("http", "one", &a)));
        let before = a.requests();
        wait::eventually("the old server is asked", SOON, || {
            (a.requests() > before + 50).then_some(())
        });
    }
    load.stop().is_clean();
}
