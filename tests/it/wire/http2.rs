//! HTTP/2 by prior knowledge, towards callers and towards versions. (rows 9, 10)

use http::{HeaderMap, Request};

use crate::support::config::{Config, Route};
use crate::support::h2::{H2Client, H2Server};
use crate::support::load::Load;
use crate::support::model_server::{Line, ModelServer, Then};
use crate::support::scripts;
use crate::support::street::Street;

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://models.test{path}")).body(()).unwrap()
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("http://models.test{path}")).body(()).unwrap()
}

#[test]
fn a_caller_may_speak_http_2_to_a_version_that_does_not() {
    let server = ModelServer::new(scripts::echo());
    let street = Street::open(&Config::plain(&server));
    let mut client = H2Client::new(street.http);
    let answer = client.ask(post("/v2/models/iris/infer?a=1"), b"hello", None).unwrap();
    assert_eq!((answer.status(), answer.body.as_slice()), (200, &b"hello"[..]));
    assert_eq!(answer.field("x-model-version"), "v1");
    assert!(!answer.field("x-request-id").is_empty());
    let hop = ["connection", "transfer-encoding", "keep-alive"];
    assert!(hop.iter().all(|name| answer.field(name).is_empty()));
    let ask = server.asked("/v2/models/iris/infer?a=1");
    assert_eq!(ask.head.field("host").as_deref(), Some("models.test"));
    let answer = client.ask(get("/"), b"", None).unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn many_streams_share_a_connection() {
    let server = ModelServer::new(scripts::echo());
    let street = Street::open(&Config::plain(&server));
    let mut client = H2Client::new(street.http);
    let bodies: Vec<Vec<u8>> =
        (0..100_u8).map(|n| vec![n; usize::from(n) * 997 + 1]).collect();
    let requests = bodies
        .iter()
        .map(|body| (post("/v2/models/iris/infer"), body.clone(), None))
        .collect();
    for (answer, body) in client.ask_all(requests).into_iter().zip(&bodies) {
        assert!(answer.unwrap().body == *body, "another stream's body");
    }
    assert_eq!(street.metrics().requests("v1", "2xx"), 100);
}

#[test]
fn cookies_in_crumbs_are_joined() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    let mut request = get("/cookies");
    for crumb in ["a=1", "b=2", "c=3"] {
        request.headers_mut().append("cookie", crumb.parse().unwrap());
    }
    H2Client::new(street.http).ask(request, b"", None).unwrap();
    assert_eq!(server.asked("/cookies").head.all("cookie"), ["a=1; b=2; c=3"]);
}

#[test]
fn trailers_pass_from_a_version_that_speaks_http_1() {
    let server = ModelServer::new(std::sync::Arc::new(|_, line: &mut Line| {
        line.body().unwrap_or_default();
        line.send(
            "HTTP/1.1 200 OK\r\ntrailer: x-checksum\r\ntransfer-encoding: chunked\r\n\r\n\
             2\r\nok\r\n0\r\nx-checksum: 42\r\n\r\n",
        );
        Then::Keep
    }));
    let street = Street::open(&Config::plain(&server));
    let mut request = get("/");
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let answer = H2Client::new(street.http).ask(request, b"", None).unwrap();
    assert_eq!(answer.trailer.unwrap()["x-checksum"], "42");
}

fn h2_version(server: &H2Server) -> Config {
    let members = "role: stable, protocol: http2";
    let urls = [server.url.clone()];
    Config::new([Route::new("iris").version("v1", members, &urls)])
}

#[test]
fn a_version_may_speak_http_2_alone() {
    let server = H2Server::new();
    let street = Street::open(&h2_version(&server));
    let mut request = post("/v2/models/iris/infer");
    request.headers_mut().append("cookie", "a=1".parse().unwrap());
    request.headers_mut().append("cookie", "b=2".parse().unwrap());
    let mut trailer = HeaderMap::new();
    trailer.insert("x-digest", "7".parse().unwrap());
    let mut client = H2Client::new(street.http);
    let answer = client.ask(request, b"hello", Some(trailer)).unwrap();
    assert_eq!((answer.status(), answer.body.as_slice()), (200, &b"hello"[..]));
    assert_eq!(answer.field("x-seen-path"), "/v2/models/iris/infer");
    assert!(["a=1; b=2", "a=1|b=2"].contains(&answer.field("x-seen-cookies")));
    assert_eq!(answer.trailer.unwrap()["x-end"], "yes");
    let count = Load::new(street.http).requests(1_000).run();
    count.is_clean();
    assert_eq!(count.of("v1"), 1_000);
}

#[test]
fn large_bodies_pass_over_http_2_on_both_sides() {
    let server = H2Server::new();
    let street = Street::open(&h2_version(&server));
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut client = H2Client::new(street.http);
    let answer = client.ask(post("/v2/models/iris/infer"), &body, None).unwrap();
    assert!(answer.body == body, "{} bytes came back", answer.body.len());
}

#[test]
fn a_failed_http_2_canary_is_rescued_too() {
    let (stable, canary) = (ModelServer::good("v1"), H2Server::new());
    let route = Route::new("iris").stable("v1", &stable).version(
        "v2",
        "role: canary, weight: 100%, protocol: http2",
        std::slice::from_ref(&canary.url),
    );
    let street = Street::open(&Config::new([route]));
    let load = Load::new(street.http).start();
    load.reaches(500);
    drop(canary);
    load.reaches(load.sent() + 1_000);
    load.stop().is_clean();
}

#[test]
fn a_listener_may_speak_one_protocol_alone() {
    let server = ModelServer::good("v1");
    let config = Config::plain(&server);
    let street = Street::open(&config.clone().listener("protocol: http2"));
    assert_eq!(
        H2Client::new(street.http).ask(get("/"), b"", None).unwrap().status(),
        200
    );
    let mut client = crate::support::client::Client::new(street.http);
    let plain = crate::support::client::Request::get("/").bytes();
    assert!(client.send(plain).answer().is_err(), "HTTP/1.1 on a listener for HTTP/2");
    let street = Street::open(&config.listener("protocol: http1"));
    let mut client = crate::support::client::Client::new(street.http);
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(client.answer().is_ok_and(|a| [400, 505].contains(&a.status)));
}
