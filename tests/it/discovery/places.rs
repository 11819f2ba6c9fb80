//! The kinds of endpoint that need no name server, and where a name must not lead.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use super::{config, entry, has, servers};
use crate::support::client::Request;
use crate::support::config::{BARE, Config, NO_RULES, Route};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::name_server::{NameServer, Says};
use crate::support::scripts;
use crate::support::street::{Dir, Street};
use crate::support::wait::{self, SOON};

#[test]
fn this_machine_needs_no_name_server() {
    let server = ModelServer::good("here");
    let dns = NameServer::new();
    dns.say("localhost", Says::Silence);
    for scheme in ["http", "dns+http"] {
        let at = entry(scheme, "LocalHost", &server);
        let street = Street::open(&config(&dns, &at));
        wait::eventually("it answers", SOON, || {
            (street.ask(&Request::infer("{}")).status == 200).then_some(())
        });
    }
    let literal = Street::open(&config(&dns, &server.url()));
    literal.is_well();
    assert_eq!(dns.asked("localhost"), 0);
    assert_eq!(literal.version("v1")["names"].as_array().unwrap().len(), 0);
}

#[test]
fn a_host_is_called_as_the_caller_calls_it_and_checks_call_it_by_its_name() {
    let [server] = servers(["127.0.0.2"]);
    let dns = NameServer::new();
    dns.at("models", &["127.0.0.2"]);
    let members = "role: stable, healthCheck: { liveness: /health, interval: 50ms }";
    let at = entry("dns+http", "models", &server);
    let route = Route::new("iris").version("v1", members, &[at]).with(NO_RULES);
    let street = Street::open(&Config::new([route]).with(&dns.line()));
    street.ask(&Request::get("/hello"));
    assert_eq!(server.asked("/hello").head.field("host").unwrap(), "models.test");
    wait::eventually("it is checked", SOON, || {
        server.seen().iter().any(|ask| ask.target() == "/health").then_some(())
    });
    let port = server.address().port();
    let host = server.asked("/health").head.field("host").unwrap();
    assert_eq!(host, format!("models:{port}"));
}

#[test]
fn a_socket_in_the_file_system_is_an_endpoint_beside_others() {
    let dir = Dir::new();
    // Near the root: a socket's path has few bytes.
    let path =
        std::env::temp_dir().join(format!("switchback-it-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsocket";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let server = ModelServer::good("tcp");
    let endpoints = [format!("unix:{}", path.display()), server.url()];
    let route = Route::new("iris").version("v1", "role: stable", &endpoints);
    let street = Street::open(&Config::new([route]).route_with("balance: roundRobin"));
    has(&street, 2, 2);
    let load = Load::new(street.http).of(Request::get("/")).requests(40).run();
    load.is_clean();
    assert!((10..=30).contains(&server.requests()), "{}", server.requests());
    std::fs::remove_file(path).unwrap();
    drop(dir);
}

/// THREATS 39: what a name leads to is no way to the operators' side or to a cloud's
/// credentials, whoever answers for it.
#[test]
fn a_name_never_leads_to_this_proxy_or_to_credentials() {
    let [first] = servers(["127.0.0.2"]);
    let dns = NameServer::new();
    dns.at("models", &["127.0.0.2"]);
    let street = Street::open(&config(&dns, &entry("http", "models", &first)));
    for (scheme, port) in [
        ("http", street.admin.port()),
        ("dns+http", street.admin.port()),
        ("http", street.http.port()),
    ] {
        let at = format!("127.0.0.2:{port}").parse().unwrap();
        let good = ModelServer::at(at, scripts::good("good"));
        dns.at("models", &["127.0.0.2"]);
        street.rewrite(&config(&dns, &format!("{scheme}://models:{port}")));
        wait::eventually("the good server is asked", SOON, || {
            (street.ask(&Request::infer("{}")).status == 200 && good.requests() > 0)
                .then_some(())
        });
        for bad in
            ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::", "fe80::1"]
        {
            dns.at("models", &[bad]);
            dns.asked_again("models", 3);
            let before = good.requests();
            Load::new(street.http).requests(5).run().is_clean();
            assert_eq!(good.requests(), before + 5, "{bad}: what was known stays");
        }
        // What is good beside it is used.
        dns.at("models", &["127.0.0.1", "127.0.0.2", "169.254.169.254"]);
        dns.asked_again("models", 3);
        Load::new(street.http).requests(20).run().is_clean();
        assert_eq!(street.version("v1")["endpoints"], 1);
    }
    street.says("is an address of this proxy itself");
    street.says("is link-local or where clouds keep credentials");
}

/// As a file that is wrong changes nothing, so does one whose stable version nobody can find.
#[test]
fn a_reload_that_would_leave_stable_without_servers_is_refused() {
    let [good] = servers(["127.0.0.2"]);
    let dns = NameServer::new();
    dns.at("models", &["127.0.0.2"]).at("evil", &["127.0.0.1"]);
    let street = Street::open(&config(&dns, &entry("http", "models", &good)));
    let admin = street.admin.port();
    for (at, why) in [
        (entry("http", "nobody", &good), "there is no address for nobody"),
        (entry("dns+http", "nobody", &good), "there is no address for nobody"),
        (format!("http://evil:{admin}"), "is an address of this proxy itself"),
    ] {
        street.rewrite(&config(&dns, &at));
        wait::eventually(&format!("{at} is refused"), SOON, || {
            let error = street.status()["reload_error"].clone();
            error.as_str().is_some_and(|error| error.contains(why)).then_some(())
        });
        Load::new(street.http).requests(20).run().is_clean();
    }
    // A candidate may come before its servers do.
    let route = Route::new("iris")
        .version("v1", "role: stable", &[entry("http", "models", &good)])
        .version("v2", "role: candidate", &[entry("dns+http", "nobody", &good)]);
    street.rewrite(&Config::new([route]).with(&dns.line()));
    wait::eventually("it is taken", SOON, || {
        street.status()["reload_error"].is_null().then_some(())
    });
    assert_eq!(street.version("v2")["endpoints"], 0);
    dns.at("nobody", &["127.0.0.2"]);
    wait::eventually("its server is found", SOON, || {
        (street.version("v2")["endpoints"] == 1).then_some(())
    });
}

#[test]
fn one_bad_server_of_a_headless_name_is_ejected_and_no_other() {
    let hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
    let [a, _b, _c] = servers(hosts);
    let dns = NameServer::new();
    dns.at("models", &hosts);
    a.now(scripts::status(500));
    let rule = "outlierDetection: { consecutiveFailures: 3, baseEjection: 1h }";
    let at = entry("dns+http", "models", &a);
    let route = Route::new("iris").version("v1", "role: stable", &[at]);
    let config = Config::new([route]).route_with(rule).route_with(BARE);
    let street = Street::open(&config.route_with(NO_RULES).with(&dns.line()));
    let load = Load::new(street.http).requests(200).run();
    assert!(load.failed >= 3, "{}", load.failed);
    has(&street, 2, 3);
    street.says("http://127.0.0.2:");
    Load::new(street.http).requests(100).run().is_clean();
    // Others come and go: the bad one stays known as bad.
    dns.at("models", &["127.0.0.2", "127.0.0.4"]);
    has(&street, 1, 2);
    Load::new(street.http).requests(100).run().is_clean();
}
