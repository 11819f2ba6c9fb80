//! Everything that a name server may say, and that none of it takes away what was known.

use std::time::Duration;

use super::{config, entry, has, is_failing, leads_to, servers};
use crate::support::client::Request;
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::name_server::{NameServer, Says, ips};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

#[test]
fn whatever_is_no_answer_leaves_the_last_good_one_in_force() {
    let [a] = servers(["127.0.0.2"]);
    for scheme in ["http", "dns+http"] {
        let dns = NameServer::new();
        dns.at("models", &["127.0.0.2"]);
        let street = Street::open(&config(&dns, &entry(scheme, "models", &a)));
        for bad in [
            Says::Code(1),
            Says::Code(2),
            Says::Code(3),
            Says::Code(4),
            Says::Code(5),
            Says::Silence,
            Says::Nothing,
            Says::Garbage,
            Says::Truncated,
            Says::Forged(ips(&["127.0.0.66"])),
            Says::Alias("models".to_owned()),
            Says::Alias("nowhere".to_owned()),
        ] {
            let what = format!("{scheme} {bad:?}");
            dns.say("models", bad);
            is_failing(&street, true);
            Load::new(street.http).requests(20).run().is_clean();
            leads_to(&street, &["127.0.0.2"]);
            assert_eq!(street.version("v1")["healthy_endpoints"], 1, "{what}");
            assert_eq!(
                street.metrics().sum("switchback_name_failing", &[]),
                1.0,
                "{what}"
            );
            dns.at("models", &["127.0.0.2"]);
            is_failing(&street, false);
        }
        let log = street.log();
        let told = log.matches("a name cannot be looked up").count();
        assert_eq!(told, 12, "once for each:\n{log}");
    }
}

#[test]
fn a_name_that_is_not_there_yet_is_waited_for() {
    let [a] = servers(["127.0.0.2"]);
    for scheme in ["http", "dns+http"] {
        let dns = NameServer::new();
        let street = Street::open(&config(&dns, &entry(scheme, "models", &a)));
        let answer = street.ask(&Request::infer("{}"));
        assert_eq!(answer.status, 503, "{}", answer.text());
        let seen = street.version("v1");
        assert_eq!(seen["healthy_endpoints"], 0);
        let why = seen["names"][0]["problem"].as_str().unwrap().to_owned();
        assert_eq!(why, "there is no address for models");
        assert_eq!(street.metrics().requests("v1", "connect_error"), 1);
        dns.at("models", &["127.0.0.2"]);
        has(&street, 1, 1);
        street.is_well();
    }
}

#[test]
fn a_name_server_that_is_not_there_keeps_nobody_from_starting() {
    let [a] = servers(["127.0.0.2"]);
    let dns = NameServer::new();
    dns.say("models", Says::Silence);
    let street = Street::open(&config(&dns, &entry("http", "models", &a)));
    assert_eq!(street.ask(&Request::infer("{}")).status, 503);
    dns.at("models", &["127.0.0.2"]);
    has(&street, 1, 1);
    street.is_well();
}

#[test]
fn several_addresses_of_which_some_refuse() {
    let [a] = servers(["127.0.0.2"]);
    let dns = NameServer::new();
    dns.at("models", &["127.0.0.2", "127.0.0.77", "127.0.0.78"]);
    let street = Street::open(&config(&dns, &entry("http", "models", &a)));
    // Each request on a connection of its own to the server, and none tried again.
    a.now(std::sync::Arc::new(|_, line| {
        line.reply(200, "connection: close\r\n", "once");
        crate::support::model_server::Then::Close
    }));
    Load::new(street.http).requests(100).run().is_clean();
    assert_eq!(street.metrics().sum("switchback_retries_total", &[]), 0.0);
}

#[test]
fn a_thousand_addresses_are_bounded() {
    let server = ModelServer::at("0.0.0.0:0".parse().unwrap(), scripts::good("many"));
    let all: Vec<String> =
        (0..1_000).map(|n| format!("127.1.{}.{}", n / 250, n % 250 + 1)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for scheme in ["http", "dns+http"] {
        let dns = NameServer::new();
        dns.say("models", Says::At(ips(&all), 1));
        let street = Street::open(&config(&dns, &entry(scheme, "models", &server)));
        let expected = if scheme == "http" { 1 } else { 256 };
        has(&street, expected, expected);
        Load::new(street.http).requests(600).run().is_clean();
        let seen = street.version("v1")["names"][0].clone();
        assert_eq!(seen["addresses"].as_array().unwrap().len(), 256);
        assert_eq!(seen["left_out"], 744);
        street.says("a name has too many addresses");
    }
}

#[test]
fn names_that_stand_for_others_are_followed() {
    let [a] = servers(["127.0.0.2"]);
    let dns = NameServer::new();
    dns.say("models", Says::Alias("b.example".to_owned()));
    dns.say("b.example", Says::Alias("c.example".to_owned()));
    let last = Says::Through("d.example".to_owned(), ips(&["127.0.0.2"]));
    dns.say("c.example", last);
    let street = Street::open(&config(&dns, &entry("dns+http", "models", &a)));
    has(&street, 1, 1);
    street.is_well();
}

#[test]
fn the_search_domains_are_walked() {
    let [a] = servers(["127.0.0.2"]);
    let dns = NameServer::new();
    dns.at("models.prod.svc.cluster.local", &["127.0.0.2"]);
    let line = format!(
        "dns: {{ servers: [{:?}], search: [dev.svc.cluster.local, prod.svc.cluster.local], \
         ndots: 5, minTtl: 50ms, timeout: 200ms }}",
        dns.shown()
    );
    let entry = entry("dns+http", "models", &a);
    let text = config(&dns, &entry);
    let street = {
        let dir = crate::support::street::Dir::new();
        let yaml = text.yaml(dir.path()).replace(&dns.line(), &line);
        dir.write("switchback.yaml", &yaml);
        Street::start(dir, "switchback.yaml")
    };
    has(&street, 1, 1);
    street.is_well();
    assert!(dns.asked("models.dev.svc.cluster.local") > 0);
    assert_eq!(dns.asked("models"), 0, "a name with few dots is tried as it is last");
}

#[test]
fn one_kind_of_address_is_enough_and_neither_takes_the_other_away() {
    let [a, six] = servers(["127.0.0.2", "::1"]);
    let dns = NameServer::new();
    dns.say("models", Says::OnlyV4(ips(&["127.0.0.2"])));
    let street = Street::open(&config(&dns, &entry("dns+http", "models", &a)));
    has(&street, 1, 1);
    dns.at("models", &["127.0.0.2", "::1"]);
    has(&street, 2, 2);
    Load::new(street.http).requests(100).run().is_clean();
    assert!(six.requests() > 10);
    // Nobody can tell of the IPv6 address now: it stays.
    dns.say("models", Says::OnlyV4(ips(&["127.0.0.2"])));
    dns.asked_again("models", 2);
    wait::holds("both are there", Duration::from_millis(700), || {
        street.version("v1")["endpoints"] == 2
    });
    dns.at("models", &["::1"]);
    has(&street, 1, 1);
    wait::eventually("the other is left", SOON, || {
        (a.open_connections() == 0).then_some(())
    });
    street.is_well();
}
