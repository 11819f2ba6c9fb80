//! What callers and versions say to each other is nobody else's: while a canary fails and is
//! rolled back, with everything on that writes anything down, no part of a request's or an
//! answer's body, credentials or query is found anywhere. (row 33)

use std::fs;
use std::path::Path;

use crate::support::client::Request;
use crate::support::config::Config;
use crate::support::model_server::{ModelServer, Then};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait;

const SECRETS: [&str; 3] =
    ["4111-1111-1111-1111", "secret-canary-string", "s3cr3t-answer"];

/// All files below a directory that have one of these in them.
pub fn telling(dir: &Path, secrets: &[&str], found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            telling(&path, secrets, found);
            continue;
        }
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        found.extend(
            secrets
                .iter()
                .filter(|secret| text.contains(**secret))
                .map(|secret| format!("{secret} in {}", path.display())),
        );
    }
}

#[test]
fn nothing_that_was_said_is_written_down() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "50%", &canary)
        .route_with("fallback: { cache: { enabled: true } }");
    let street = Street::open(&config);
    let failures = [
        scripts::says(
            "HTTP/1.1 500 s3cr3t-answer\r\nx-token: s3cr3t-answer\r\ncontent-length: 13\r\n\r\ns3cr3t-answer",
            Then::Keep,
        ),
        scripts::says("s3cr3t-answer\r\n\r\n", Then::Close),
        scripts::says(
            "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\ns3cr3t-answer",
            Then::Close,
        ),
    ];
    let ask = |street: &Street| {
        let body = "{\"prompt\":\"4111-1111-1111-1111 secret-canary-string\"}";
        let target = "/v2/models/iris/infer?key=secret-canary-string";
        let request = Request::post(target, body)
            .field("authorization", "Bearer secret-canary-string")
            .field("cookie", "session=secret-canary-string")
            .field("x-api-key", "secret-canary-string")
            .field("user-agent", "secret-canary-string");
        street.ask(&request);
    };
    for script in failures {
        canary.now(script);
        for _ in 0..120 {
            ask(&street);
        }
    }
    wait::eventually("the canary loses its traffic", wait::SOON, || {
        (0..20).for_each(|_| ask(&street));
        (street.version("v2")["state"] == "quarantined").then_some(())
    });
    street.rolled_back("v2");
    stable.now(scripts::status(500));
    for _ in 0..20 {
        ask(&street);
    }
    let mut found = Vec::new();
    telling(street.dir().path(), &SECRETS, &mut found);
    let mut said = vec![("the log".to_owned(), street.log())];
    for path in [
        "/metrics",
        "/api/v1/status",
        "/api/v1/history",
        "/api/v1/routes/iris",
        "/api/v1/incidents",
        "/dashboard",
    ] {
        said.push((path.to_owned(), street.admin(Request::get(path)).text()));
    }
    for (place, text) in &said {
        for secret in SECRETS.iter().filter(|secret| text.contains(**secret)) {
            found.push(format!("{secret} in {place}"));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
