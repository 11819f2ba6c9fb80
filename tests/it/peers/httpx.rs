//! `httpx` over HTTP/1.1 and HTTP/2, in the clear and over TLS, to a server of either: what
//! it gets is what it gets from the server itself, headers of the way apart.

use serde_json::Value;

use super::origin::Origin;
use crate::support::peers::Python;

#[test]
fn httpx_gets_what_it_gets_without_the_proxy() {
    let python = Python::of("clients");
    let origin = Origin::start(&python);
    for secured in [false, true] {
        for protocol in ["h1", "h2"] {
            let direct = told(&python, &origin, &origin.url(secured), protocol);
            for upstream in ["http1", "http2"] {
                let (street, url) = origin.street(upstream, secured);
                let through = told(&python, &origin, &url, protocol);
                let what = format!("{protocol} to {upstream}, tls: {secured}");
                same(&direct, &through, &what);
                let failed = street.metrics().classes("v1");
                let known = ["2xx", "3xx", "4xx", "429", "5xx"];
                assert!(
                    failed.keys().all(|it| known.contains(&it.as_str())),
                    "{failed:?}"
                );
                assert_eq!(street.version("v1")["in_flight"], 0);
            }
        }
    }
}

fn told(python: &Python, origin: &Origin, url: &str, protocol: &str) -> Value {
    let authority = origin.authority();
    let told = python.told("httpx_asks.py", [url, protocol, &authority]);
    serde_json::from_str(&told).unwrap()
}

fn same(direct: &Value, through: &Value, what: &str) {
    let direct = direct.as_object().unwrap();
    assert!(direct.len() > 80, "{what}: {direct:?}");
    for (case, want) in direct {
        assert_eq!(through[case], *want, "{what}: {case}");
    }
}
