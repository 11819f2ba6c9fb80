//! Names of endpoints, how they are looked up, and endpoints that cannot be meant.

use std::time::Duration;

use super::support::{read, says, settings, with_canary, with_top};
use crate::dns;

fn endpoints(text: &str) -> String {
    with_canary("").replace(", }", " }").replace("'http://h:2'", text)
}

#[test]
fn every_kind_of_endpoint_is_taken() {
    let text = endpoints(
        "'http://10.0.0.1:9001', 'http://model.svc', 'unix:/run/model.sock', \
         'dns+http://model-headless:9001', 'http://[fd00::1]:9001'",
    );
    let settings = settings(&text);
    let shown: Vec<String> = settings.live.routes[0].versions[1]
        .upstream
        .endpoints
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        shown,
        [
            "http://10.0.0.1:9001",
            "http://model.svc:80",
            "unix:/run/model.sock",
            "dns+http://model-headless:9001",
            "http://[fd00::1]:9001"
        ]
    );
    let names: Vec<&str> = settings.live.names().into_iter().collect();
    assert_eq!(names, ["h", "model-headless", "model.svc"]);
}

#[test]
fn how_names_are_looked_up() {
    assert_eq!(settings(&with_top("")).live.dns, dns::Settings::default());
    let text = with_top(
        "dns: { servers: [10.96.0.10, '127.0.0.1:5353', '::1', '[::1]:54'], \
         search: [Prod.svc.cluster.local], ndots: 5, timeout: 500ms, minTtl: 100ms, \
         maxTtl: 1m }",
    );
    let seen = settings(&text).live.dns;
    let servers: Vec<String> = seen.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.96.0.10:53", "127.0.0.1:5353", "[::1]:53", "[::1]:54"]);
    assert_eq!(seen.search.unwrap(), ["prod.svc.cluster.local"]);
    assert_eq!((seen.ndots, seen.timeout), (Some(5), Duration::from_millis(500)));
    assert_eq!(seen.min_ttl, Duration::from_millis(100));
    assert_eq!(seen.max_ttl, Duration::from_secs(60));
    for (line, message) in [
        (
            "dns: { servers: [dns.example] }",
            "dns.servers[0]: dns.example is not a name server: write 10.96.0.10 or 127.0.0.1:5353",
        ),
        (
            "dns: { servers: ['10.0.0.1:0'] }",
            "dns.servers[0]: \"10.0.0.1:0\" is not a name server: write 10.96.0.10 or 127.0.0.1:5353",
        ),
        (
            "dns: { search: ['a b'] }",
            "dns.search[0]: \"a b\" is not a domain such as svc.cluster.local",
        ),
        ("dns: { minTtl: 2m, maxTtl: 1m }", "dns.maxTtl: is below minTtl, 2m"),
    ] {
        says(&with_top(line), message);
    }
}

#[test]
fn an_endpoint_is_never_this_proxy_itself() {
    for (own, endpoint) in [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:8080", "http://127.9.9.9:8080"),
        ("[::]:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("127.0.0.1:8080", "http://localhost:8080"),
        ("127.0.0.1:8080", "dns+http://localhost:8080"),
        ("127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080"),
    ] {
        let text = endpoints(&format!("'{endpoint}'"))
            .replace("127.0.0.1:8080' }]\nr", &format!("{own}' }}]\nr"));
        let message = format!(
            "routes[0].versions[1].endpoints[0]: \"{endpoint}\" is where listeners[0] \
             listens: requests would go round"
        );
        says(&text, &message);
    }
    let admin = endpoints("'http://127.0.0.1:9901'");
    says(
        &admin,
        "routes[0].versions[1].endpoints[0]: \"http://127.0.0.1:9901\" is where \
         admin.address listens: requests would go round",
    );
    for fine in ["http://127.0.0.1:8081", "http://127.0.0.2:8080", "http://10.0.0.1:8080"]
    {
        settings(&endpoints(&format!("'{fine}'")));
    }
}

#[test]
fn addresses_of_credentials_are_warned_of() {
    for (endpoint, warned) in [
        ("http://169.254.169.254", true),
        ("http://169.254.1.1:80", true),
        ("http://[fe80::1]:80", true),
        ("http://[fd00:ec2::254]", true),
        ("http://100.100.100.200", true),
        ("http://[::ffff:169.254.169.254]", true),
        ("http://10.0.0.1:80", false),
    ] {
        let loaded = read(&endpoints(&format!("'{endpoint}'"))).unwrap();
        let said = loaded.warnings.iter().any(|line| line.contains("credentials"));
        assert_eq!(said, warned, "{endpoint}: {:?}", loaded.warnings);
    }
}
