//! `tritonclient` against MLServer over REST and gRPC, binary tensors and compression too:
//! each answer and each error is what it is without the proxy.

use std::path::Path;

use serde_json::Value;

use super::digits::{self, MlServer};
use crate::support::config::{Config, NO_RULES, Route};
use crate::support::street::Street;

#[test]
fn tritonclient_gets_what_it_gets_without_the_proxy() {
    let python = digits::set_up();
    let server = MlServer::start(&python, "v1", Path::new("/nonexistent"));
    let mut echo = python.start("binary.py", [""; 0]);
    let echo_url = format!("http://127.0.0.1:{}", echo.port());
    let binary = Route::new("binary")
        .version("v1", "role: stable", std::slice::from_ref(&echo_url))
        .with("match: { pathPrefix: /v2/models/echo }");
    let rest = Route::new("rest").version("v1", "role: stable", &[server.rest()]);
    let grpc = Route::new("grpc")
        .version("v1", "role: stable, protocol: http2", &[server.grpc()])
        .with("match: { pathPrefix: /inference.GRPCInferenceService }");
    let config = Config::new([grpc, binary, rest].map(|it| it.with(NO_RULES)));
    let street = Street::open(&config);
    let told = |urls: [&str; 3]| -> Value {
        let bare = urls.map(|url| url.trim_start_matches("http://"));
        let told = python.told("ask.py", bare);
        serde_json::from_str(&told).unwrap()
    };
    let direct = told([&server.rest(), &server.grpc(), &echo_url]);
    let address = street.http.to_string();
    let through = told([&address; 3]);
    let cases = direct.as_object().unwrap();
    assert!(cases.len() > 110, "{direct:#}");
    for (case, want) in cases {
        assert_eq!(through[case], *want, "{case}");
    }
    // What is compared is answers, not only errors.
    let good = cases
        .values()
        .filter(|it| {
            it[0]
                .as_str()
                .is_some_and(|kind| kind.starts_with("int") || kind.starts_with("float"))
        })
        .count();
    assert!(good > 80, "{good} tensors: {direct:#}");
    assert!(street.metrics().requests("v1", "2xx") > 40);
}
