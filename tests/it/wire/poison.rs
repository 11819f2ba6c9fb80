//! The cache for failures, attacked: nobody is answered with what was meant for somebody
//! else, with what must not be kept, or with a piece; and the same question of the same
//! caller is answered. (rows 29-34)

use crate::support::client::{Answer, Client, Request};
use crate::support::config::Config;
use crate::support::model_server::{ModelServer, Then};
use crate::support::scripts;
use crate::support::street::Street;

/// A route that keeps answers, and its server, up or down.
struct Scene {
    server: ModelServer,
    street: Street,
    paths: u32,
}

const CACHE: &str = "fallback: { cache: { enabled: true } }";
const ONCE: &str = "retry: { attempts: 0 }";
const NO_EJECTION: &str = "outlierDetection: { consecutiveFailures: 0 }";

impl Scene {
    fn new() -> Self {
        let server = ModelServer::good("v1");
        let config = Config::plain(&server).route_with(CACHE).route_with(ONCE);
        let street = Street::open(&config.route_with(NO_EJECTION));
        Self { server, street, paths: 0 }
    }

    /// Whether what was said to `first` is what `second` gets once the server is down. Each
    /// call asks below a path of its own.
    fn shares(&mut self, first: &Request, said: &str, second: &Request) -> bool {
        self.paths += 1;
        let below =
            |request: &Request| request.clone().below(&format!("/{}", self.paths));
        let end = if said.contains("length: 0\r\n") || said.ends_with(WHOLE) {
            Then::Keep
        } else {
            Then::Close
        };
        self.server.now(scripts::says(said, end));
        // A piece of an answer is no answer, and may still have been kept.
        self.ask(&below(first)).map(drop).unwrap_or_default();
        self.server.now(scripts::status(503));
        let answer = self.ask(&below(second));
        answer.is_ok_and(|answer| {
            let kept = answer.field("cache-status").contains("hit");
            assert!(kept || answer.status == 503, "{} {}", answer.status, answer.text());
            kept
        })
    }

    fn ask(&self, request: &Request) -> Result<Answer, String> {
        let mut client = Client::new(self.street.http);
        let answer = client.send(request.bytes()).answer_to(request.method());
        answer.map_err(|broken| format!("{broken:?}"))
    }

    /// Fails when the same question is not answered from what was kept.
    fn still_useful(&mut self) {
        assert!(self.shares(&infer(), &said(""), &infer()), "a POST asked again");
        let get = Request::get("/v2/models/iris");
        assert!(self.shares(&get, &said(""), &get), "a GET asked again");
        self.server.now(scripts::good("v1"));
        self.street.is_well();
    }
}

const WHOLE: &str = "secret of one";

fn infer() -> Request {
    Request::infer("{\"a\":1}")
}

/// A good answer with these fields.
fn said(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n{WHOLE}", WHOLE.len())
}

#[test]
fn two_that_differ_never_share_an_answer() {
    let mut scene = Scene::new();
    let named = |name: &str, value: &str| infer().field(name, value);
    let mut pairs: Vec<(String, Request, Request)> = Vec::new();
    for name in [
        "authorization",
        "cookie",
        "x-api-key",
        "x-tenant",
        "x-tenant-id",
        "x-user",
        "x-user-id",
        "x-session-id",
        "x-organization",
        "x-auth-request-user",
        "x_tenant",
        "x_api_key",
        "api-key",
        "accept",
        "accept-language",
        "content-encoding",
        "content-language",
        "x-custom",
        "remote-user",
    ] {
        pairs.push((name.into(), named(name, "a"), named(name, "b")));
        pairs.push((format!("{name}, then none"), named(name, "a"), infer()));
        pairs.push((format!("no {name}, then one"), infer(), named(name, "a")));
        let two = named(name, "a").field(name, "b");
        pairs.push((format!("{name} twice, then once"), two, named(name, "a")));
    }
    let other = |request: Request| ("another request".to_owned(), infer(), request);
    let get = |target: &str| Request::get(target);
    pairs.extend([
        other(infer().host("models.test:81")),
        other(infer().host("other.test")),
        other(Request::infer("{\"a\":2}")),
        other(Request::infer("{\"a\": 1}")),
        other(Request::infer("")),
        other(Request::post(crate::support::client::INFER, "{\"a\":1}")),
        other(infer().field("content-type", "text/plain")),
        other(Request::new("PUT", crate::support::client::INFER)),
        other(Request::post("/v2/models/IRIS/infer", "{\"a\":1}")),
        other(Request::post("/v2/models/%69ris/infer", "{\"a\":1}")),
        other(Request::post("/v2/models/iris/infer/", "{\"a\":1}")),
        other(Request::post("/v2/models/iris/infer?", "{\"a\":1}")),
        ("order".into(), get("/a?x=1&y=2"), get("/a?y=2&x=1")),
        ("a file's name".into(), get("/me").field("cookie", "a"), get("/me/x.css")),
        ("the same".into(), get("/me/x.css").field("cookie", "a"), get("/me/x.css")),
        ("dots".into(), get("/me/..%2fx.css").field("cookie", "a"), get("/x.css")),
        ("segments".into(), get("/me/../x"), get("/x")),
        ("a GET with a body".into(), fat("evil"), get("/fat")),
        ("a GET with a body, later".into(), get("/fat"), fat("evil")),
        ("an origin".into(), get("/o").field("origin", "http://a"), get("/o")),
    ]);
    let mut wrong = Vec::new();
    for (what, first, second) in &pairs {
        let reflected = said("access-control-allow-origin: http://a\r\n");
        let answer = if what == "an origin" { reflected } else { said("") };
        if scene.shares(first, &answer, second) {
            wrong.push(what.as_str());
        }
    }
    assert!(wrong.is_empty(), "{} of {} share: {wrong:#?}", wrong.len(), pairs.len());
    scene.still_useful();
}

fn fat(body: &str) -> Request {
    Request::post("/fat", body).named("GET")
}

#[test]
fn headers_that_move_a_request_elsewhere_poison_nobody() {
    let mut scene = Scene::new();
    for (name, value) in [
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-scheme", "nothttps"),
        ("x-forwarded-prefix", "/evil"),
        ("x-host", "evil.test"),
        ("x-original-url", "/admin"),
        ("x-rewrite-url", "/admin"),
        ("x-http-method-override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-method-override", "DELETE"),
        ("forwarded", "host=evil.test"),
    ] {
        let get = Request::get("/page");
        scene.server.forget();
        scene.shares(&get.clone().field(name, value), &said(""), &get);
        let passed = scene.server.seen();
        let evil = passed.iter().any(|ask| ask.head.raw.windows(4).any(|w| w == b"evil"));
        let there =
            passed.iter().any(|ask| ask.head.field(name).as_deref() == Some(value));
        assert!(!evil && !there, "{name} reached the version");
    }
    scene.still_useful();
}

#[test]
fn what_must_not_be_kept_is_not() {
    let mut scene = Scene::new();
    let get = Request::get("/page");
    let mut wrong = Vec::new();
    for fields in [
        "cache-control: no-store\r\n",
        "cache-control: private\r\n",
        "cache-control: no-cache\r\n",
        "cache-control: NO-STORE\r\n",
        "cache-control: max-age=60, no-store\r\n",
        "cache-control: max-age=60\r\ncache-control: no-store\r\n",
        "cache-control: , ,no-store\r\n",
        "cache-control: no-store=1\r\n",
        "cache-control: private=\"set-cookie\"\r\n",
        "cache-control: max-age=0\r\n",
        "expires: 0\r\n",
        "expires: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        "cache-control: max-age=10\r\nage: 100\r\n",
        "cache-control: max-age=0, must-revalidate\r\n",
        "cache-control: s-maxage=0\r\n",
        "cache-control: must-revalidate\r\n",
        "cache-control: proxy-revalidate\r\n",
        "cache-control: max-age=60, stale-if-error=0\r\nage: 100\r\n",
        "pragma: no-cache\r\n",
        "set-cookie: a=1\r\n",
        "vary: *\r\n",
        "vary: accept, *\r\n",
        "vary: x-request-id\r\n",
        "content-range: bytes 0-1/9\r\n",
        "content-type: text/event-stream\r\n",
        "content-type: application/grpc\r\n",
        "content-type: multipart/x-mixed-replace; boundary=a\r\n",
    ] {
        if scene.shares(&get, &said(fields), &get) {
            wrong.push(fields);
        }
    }
    for status in [
        "201 A", "203 A", "206 A", "226 A", "301 A", "302 A", "400 A", "404 A", "429 A",
        "500 A",
    ] {
        let answer = said("").replace("200 OK", status);
        if scene.shares(&get, &answer, &get) {
            wrong.push(status);
        }
    }
    for (what, piece) in [
        ("what only the connection ends", "HTTP/1.1 200 OK\r\n\r\nsecret"),
        ("a length that lies", "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nsecret"),
        (
            "chunks without their end",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nsecret\r\n",
        ),
        (
            "chunks that are none",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nsecret\r\nx\r\n",
        ),
    ] {
        if scene.shares(&get, piece, &get) {
            wrong.push(what);
        }
    }
    assert!(wrong.is_empty(), "kept: {wrong:#?}");
    scene.still_useful();
}

#[test]
fn what_a_request_says_about_caches_holds() {
    let mut scene = Scene::new();
    let get = Request::get("/page");
    let mut wrong = Vec::new();
    for (name, value) in [
        ("cache-control", "no-store"),
        ("cache-control", "no-cache"),
        ("cache-control", "min-fresh=60"),
        ("pragma", "no-cache"),
        ("range", "bytes=0-1"),
        ("if-range", "\"a\""),
        ("if-match", "\"b\""),
        ("if-unmodified-since", "Mon, 02 Nov 2026 10:00:00 GMT"),
    ] {
        let picky = get.clone().field(name, value);
        if scene.shares(&get, &said("etag: \"a\"\r\n"), &picky) {
            wrong.push(format!("{name}: {value}"));
        }
        let keeps = name == "cache-control" && value != "no-store" || name == "pragma";
        if !keeps && scene.shares(&picky, &said("etag: \"a\"\r\n"), &get) {
            wrong.push(format!("{name}: {value}, asked first"));
        }
    }
    let gzip = get.clone().field("accept-encoding", "gzip");
    let encoded = said("content-encoding: gzip\r\n");
    if scene.shares(&gzip, &encoded, &get) {
        wrong.push("an encoding that was not asked for".into());
    }
    if !scene.shares(&gzip, &encoded, &gzip) {
        wrong.push("one that was is not served".into());
    }
    let head = Request::new("HEAD", "/page");
    if scene.shares(&head, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", &get) {
        wrong.push("the answer to HEAD for GET".into());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    scene.still_useful();
}
