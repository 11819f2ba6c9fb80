//! The share that is served is the weight within sampling error, in all and per worker; a
//! header chooses a version whatever the weight; every answer says its version.

use crate::support::client::Request;
use crate::support::config::{Config, NO_RULES, Route};
use crate::support::load::{Count, Load};
use crate::support::model_server::ModelServer;
use crate::support::street::Street;

/// How far a count may be from `share` of `n` by chance: five standard deviations.
fn is_near(count: u64, n: u64, share: f64, what: &str) {
    let (seen, n) = (count as f64, n as f64);
    let chance = 5.0 * (n * share * (1.0 - share)).sqrt() + 1.0;
    let off = (seen - n * share).abs();
    assert!(off <= chance, "{what}: {count} of {n} at {share}, {off} off, not {chance}");
}

#[test]
fn the_share_is_the_weight_in_all_and_per_worker() {
    for (weight, share) in [("10%", 0.1), ("0.5%", 0.005), ("33.3", 0.333), ("100%", 1.0)]
    {
        let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
        let config = Config::pair(&stable, weight, &canary).workers(2);
        let street = Street::open(&config.route_with(NO_RULES));
        // A connection stays with its worker, so what holds for each holds for each worker.
        let each = Load::new(street.http).clients(12).requests(12_000).start().each();
        for count in &each {
            count.is_clean();
            is_near(count.of("v2"), count.all(), share, "one connection");
        }
        let (v2, all) = (each.iter().map(|c| c.of("v2")), each.iter().map(Count::all));
        is_near(v2.sum(), all.sum(), share, "in all");
        let metrics = street.metrics();
        let told = metrics.sum("switchback_version_weight", &[("version", "v2")]);
        assert!((told - share * 100.0).abs() < 0.01, "{told} for {weight}");
    }
}

#[test]
fn every_worker_takes_connections() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server).workers(2));
    Load::new(street.http).clients(32).requests(320).run().is_clean();
    let threads = format!("/proc/{}/task", street.pid());
    let count = std::fs::read_dir(threads).unwrap().count();
    assert!(count >= 3, "{count} threads for two workers and a control plane");
}

#[test]
fn three_versions_share_as_they_should() {
    let servers =
        [ModelServer::good("v1"), ModelServer::good("v2"), ModelServer::good("v3")];
    let route = Route::new("iris")
        .stable("v1", &servers[0])
        .canary("v2", "20%", &servers[1])
        .canary("v3", "5%", &servers[2])
        .with(NO_RULES);
    let street = Street::open(&Config::new([route]));
    let count = Load::new(street.http).requests(8_000).run();
    count.is_clean();
    for (version, share) in [("v1", 0.75), ("v2", 0.2), ("v3", 0.05)] {
        is_near(count.of(version), 8_000, share, version);
    }
}

#[test]
fn a_header_chooses_the_version() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "0%", &canary);
    let street = Street::open(
        &config.route_with("overrides: [{ header: Canary, value: \"true\", to: v2 }]"),
    );
    let asked = Request::infer("{}");
    for (value, version) in [("true", "v2"), ("false", "v1"), ("TRUE", "v1"), ("", "v1")]
    {
        let count = Load::new(street.http)
            .requests(50)
            .of(asked.clone().field("CANARY", value))
            .run();
        count.is_clean();
        assert_eq!(count.of(version), 50, "canary: {value}");
    }
    let twice = asked.field("canary", "true").field("canary", "false");
    assert_eq!(street.ask(&twice).version(), "v1", "a doubled header chooses nothing");
}

#[test]
fn the_narrowest_route_takes_the_request_and_none_is_404() {
    let servers =
        [ModelServer::good("a"), ModelServer::good("b"), ModelServer::good("c")];
    let route = |name: &str, at: usize, matches: &str| {
        Route::new(name)
            .stable(name, &servers[at])
            .with(&format!("match: {{ {matches} }}"))
    };
    let street = Street::open(&Config::new([
        route("wide", 0, "pathPrefix: /v2"),
        route("narrow", 1, "pathPrefix: /v2/models/iris"),
        route("hosted", 2, "hosts: [iris.test], pathPrefix: /"),
    ]));
    let table = [
        ("models.test", "/v2/models/iris/infer", Some("narrow")),
        ("models.test", "/v2/models/irises", Some("wide")),
        ("models.test", "/v2", Some("wide")),
        ("iris.test", "/anything", Some("hosted")),
        ("iris.test:8080", "/anything", Some("hosted")),
        ("IRIS.test", "/anything", Some("hosted")),
        ("models.test", "/v3", None),
        ("models.test", "/", None),
        ("iris.test.evil", "/anything", None),
    ];
    for (host, path, version) in table {
        let answer = street.ask(&Request::get(path).host(host));
        match version {
            Some(version) => assert_eq!(answer.version(), version, "{host}{path}"),
            None => {
                assert_eq!(answer.status, 404, "{host}{path}");
                assert!(!answer.field("proxy-status").is_empty(), "{host}{path}");
                assert!(!answer.field("x-request-id").is_empty(), "{host}{path}");
            }
        }
    }
}

#[test]
fn a_candidate_takes_only_what_asks_for_it() {
    let servers = [ModelServer::good("v1"), ModelServer::good("v9")];
    let route = Route::new("iris")
        .stable("v1", &servers[0])
        .version("v9", "role: candidate", &[servers[1].url()])
        .with("overrides: [{ header: try, value: new, to: v9 }]");
    let street = Street::open(&Config::new([route]));
    let count = Load::new(street.http).requests(500).run();
    assert_eq!(count.of("v1"), 500);
    assert_eq!(street.ask(&Request::infer("{}").field("try", "new")).version(), "v9");
}

#[test]
fn several_endpoints_share_a_version_and_one_bad_one_is_left_out() {
    let servers =
        [ModelServer::good("v1"), ModelServer::good("v1"), ModelServer::good("v1")];
    let urls: Vec<String> = servers.iter().map(ModelServer::url).collect();
    let route = Route::new("iris")
        .version("v1", "role: stable", &urls)
        .with("outlierDetection: { consecutiveFailures: 5, baseEjection: 30s }");
    let street = Street::open(&Config::new([route]));
    Load::new(street.http).requests(3_000).run().is_clean();
    for server in &servers {
        assert!(server.requests() > 500, "only {} of 3,000", server.requests());
    }
    servers[0].now(crate::support::scripts::status(500));
    Load::new(street.http).requests(1_000).run();
    let before = servers[0].requests();
    Load::new(street.http).requests(1_000).run().is_clean();
    assert_eq!(servers[0].requests(), before, "a bad endpoint still gets requests");
    assert_eq!(street.version("v1")["healthy_endpoints"], 2);
}
