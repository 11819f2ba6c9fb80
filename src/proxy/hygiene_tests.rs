//! Tables of what goes through and what does not.

use http::header::HeaderName;
use http::{Request, Version};

use super::{Asked, clean_answer, clean_request};
use crate::proxy::caller::Caller;
use crate::proxy::error::ProxyError;
use crate::proxy::settings::{Limits, ListenerProtocol, ListenerSettings, Network};
use crate::wire::Headers;

/// A listener for tests that need no more than one.
pub(in crate::proxy) fn test_listener() -> ListenerSettings {
    let limits = Limits {
        max_connections: 1,
        max_connections_per_address: None,
        min_rate: 0,
        header_timeout: std::time::Duration::ZERO,
        header_size: 1,
        header_count: 1,
        body_size: 1,
        body_idle_timeout: std::time::Duration::ZERO,
        keep_alive_timeout: std::time::Duration::ZERO,
        requests_per_connection: 0,
        concurrent_streams: 1,
    };
    ListenerSettings {
        name: "http".into(),
        address: "127.0.0.1:0".parse().unwrap(),
        protocol: ListenerProtocol::Auto,
        tls: None,
        limits,
        trusted: vec![],
    }
}

fn caller(trusted: bool) -> Caller {
    let mut listener = test_listener();
    if trusted {
        listener.trusted.push(Network::parse("127.0.0.0/8").unwrap());
    }
    Caller::new("127.0.0.1:5".parse().unwrap(), &listener)
}

fn clean_as(
    version: Version,
    trusted: bool,
    line: &str,
    fields: &[(&str, &str)],
) -> Result<Asked, ProxyError> {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri).version(version);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    clean_request(parts.into(), &caller(trusted))
}

fn clean(line: &str, fields: &[(&str, &str)]) -> Result<Asked, ProxyError> {
    clean_as(Version::HTTP_11, false, line, fields)
}

const HOST: (&str, &str) = ("host", "model.example:80");

fn value(headers: &Headers, name: &str) -> Option<String> {
    let all: Vec<&str> =
        headers.values(name).map(|value| value.to_str().unwrap()).collect();
    (!all.is_empty()).then(|| all.join("|"))
}

#[test]
fn hosts_are_one_and_valid() {
    for good in ["h", "a.b:8080", "[::1]", "[::1]:80", "10.0.0.1", "a_b"] {
        let got = clean("GET /", &[("host", good)]);
        assert!(got.is_ok(), "{good}");
    }
    for bad in [
        "",
        "a@b",
        "localhost/evil",
        "a b",
        "a,b",
        "a:b",
        "[::1",
        "[x]",
        "a:123456",
        "ü",
        ":80",
    ] {
        assert!(clean("GET /", &[("host", bad)]).is_err(), "{bad}");
    }
    assert!(clean("GET /", &[]).is_err());
    assert!(clean("GET /", &[HOST, HOST]).is_err());
    assert!(clean_as(Version::HTTP_10, false, "GET /", &[]).is_ok());
}

#[test]
fn the_target_never_chooses_the_server() {
    assert!(clean("GET http://evil/", &[HOST]).is_err());
    assert!(clean("GET http://MODEL.example:80/x?y", &[HOST]).is_ok());
    assert!(clean("GET ftp://model.example:80/", &[HOST]).is_err());
    assert!(matches!(clean("CONNECT a:22", &[HOST]), Err(ProxyError::Method)));
    assert!(matches!(clean("TRACE /", &[HOST]), Err(ProxyError::Method)));
    assert!(clean("OPTIONS *", &[HOST]).is_ok());
    assert!(clean("GET *", &[HOST]).is_err());
    let two = clean_as(Version::HTTP_2, false, "GET http://h:1/x?y", &[]).unwrap();
    assert_eq!(
        (two.headers["host"].to_str().unwrap(), two.target.as_str()),
        ("h:1", "/x?y")
    );
    assert!(clean_as(Version::HTTP_2, false, "GET http://u@h/", &[]).is_err());
}

#[test]
fn hop_by_hop_fields_stay_here() {
    let asked = clean(
        "GET /",
        &[
            HOST,
            ("connection", "keep-alive, X-Hop"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("proxy-connection", "x"),
            ("proxy-authorization", "x"),
            ("te", "gzip, trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("x-keep", "1"),
        ],
    )
    .unwrap();
    for gone in [
        "connection",
        "keep-alive",
        "x-hop",
        "proxy-connection",
        "upgrade",
        "proxy-authorization",
        "http2-settings",
    ] {
        assert!(!asked.headers.has(gone), "{gone}");
    }
    assert_eq!(asked.headers["te"], "trailers");
    assert_eq!(asked.headers["x-keep"], "1");
    for named in [
        "Authorization",
        "Host",
        "cookie",
        "Content-Length",
        "Transfer-Encoding",
        "X-Forwarded-For",
        "x_forwarded_for",
        "X-Model-Version",
        "a b",
    ] {
        let connection = format!("close, {named}");
        assert!(clean("GET /", &[HOST, ("connection", &connection)]).is_err(), "{named}");
    }
}

#[test]
fn only_a_websocket_may_be_wanted() {
    let wants = |fields: &[(&str, &str)]| clean("GET /", fields).unwrap().upgrade;
    let upgrade = ("connection", "Upgrade");
    assert!(wants(&[HOST, upgrade, ("upgrade", "WebSocket")]));
    assert!(!wants(&[HOST, upgrade, ("upgrade", "h2c")]));
    assert!(!wants(&[HOST, upgrade, ("upgrade", "websocket, h2c")]));
    assert!(!wants(&[HOST, ("upgrade", "websocket")]));
    assert!(
        !clean("POST /", &[HOST, upgrade, ("upgrade", "websocket")]).unwrap().upgrade
    );
}

#[test]
fn names_that_are_ours_or_imitate_guarded_ones_do_not_pass() {
    let asked = clean(
        "GET /",
        &[
            HOST,
            ("x-model-version", "v9"),
            ("x_model_version", "v9"),
            ("x-switchback-reason", "x"),
            ("x_forwarded_for", "6.6.6.6"),
            ("ts_stream_next", "true"),
        ],
    )
    .unwrap();
    for gone in
        ["x-model-version", "x_model_version", "x-switchback-reason", "x_forwarded_for"]
    {
        assert!(!asked.headers.has(gone), "{gone}");
    }
    assert_eq!(asked.headers["ts_stream_next"], "true");
    for twin in ["transfer_encoding", "content_length", "Transfer_Encoding"] {
        assert!(clean("GET /", &[HOST, (twin, "chunked")]).is_err(), "{twin}");
    }
}

#[test]
fn nobody_can_pass_for_a_copy() {
    for name in ["x-shadow", "X-Shadow", "x_shadow"] {
        for trusted in [false, true] {
            let fields = [HOST, (name, "1"), (name, "2")];
            let asked =
                clean_as(Version::HTTP_11, trusted, "GET /", &fields).unwrap().headers;
            assert!(
                asked.names().all(|key| key.as_str().replace('_', "-") != "x-shadow")
            );
        }
    }
}

#[test]
fn forwarding_is_believed_only_from_trusted_callers() {
    let fields = [
        HOST,
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=1.1.1.1"),
        ("x-real-ip", "1.1.1.1"),
        ("x-original-url", "/admin"),
    ];
    let spoofed = clean_as(Version::HTTP_11, false, "GET /", &fields).unwrap().headers;
    assert_eq!(value(&spoofed, "x-forwarded-for").unwrap(), "127.0.0.1");
    assert_eq!(value(&spoofed, "forwarded").unwrap(), "for=127.0.0.1;proto=http");
    assert_eq!(value(&spoofed, "x-forwarded-proto").unwrap(), "http");
    assert_eq!(value(&spoofed, "x-forwarded-host").unwrap(), HOST.1);
    assert!(
        value(&spoofed, "x-real-ip").is_none()
            && value(&spoofed, "x-original-url").is_none()
    );
    let believed = clean_as(Version::HTTP_11, true, "GET /", &fields).unwrap().headers;
    assert_eq!(
        value(&believed, "x-forwarded-for").unwrap(),
        "1.1.1.1, 2.2.2.2, 127.0.0.1"
    );
    assert_eq!(value(&believed, "x-forwarded-proto").unwrap(), "https");
    assert_eq!(
        value(&believed, "forwarded").unwrap(),
        "for=1.1.1.1, for=127.0.0.1;proto=http"
    );
}

#[test]
fn expectations_and_cookies() {
    assert!(clean("POST /", &[HOST, ("expect", "100-Continue")]).is_ok());
    for odd in ["y 100-continue", "100-continue, x", ""] {
        let got = clean("POST /", &[HOST, ("expect", odd)]);
        assert!(matches!(got, Err(ProxyError::Expectation)), "{odd}");
    }
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2")];
    let joined = clean_as(Version::HTTP_2, false, "GET http://h/", &crumbs).unwrap();
    assert_eq!(value(&joined.headers, "cookie").unwrap(), "a=1; b=2");
}

#[test]
fn answers_lose_what_is_of_the_connection_and_what_is_ours() {
    let mut headers = Headers::new();
    for (name, value) in [
        ("connection", "X-Hop, close"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("x-model-version", "forged"),
        ("x-switchback-reason", "forged"),
        ("server", "uvicorn"),
        ("ts_stream_next", "false"),
    ] {
        headers.insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    clean_answer(&mut headers, false);
    let mut left: Vec<&str> = headers.names().map(|name| name.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["server", "ts_stream_next"]);
}
