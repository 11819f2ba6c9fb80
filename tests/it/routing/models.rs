//! Routes by model: the name is found in paths, in JSON bodies however they are cut, and in
//! gRPC messages; it is the request's own bytes that go on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::client::{Client, Request};
use crate::support::config::{Config, NO_RULES, Route};
use crate::support::h2::H2Client;
use crate::support::http1::Framing;
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::scripts::{echo, good};
use crate::support::street::Street;
use crate::support::wait;

const MIB: usize = 1024 * 1024;

/// Routes for two models and one for all the rest; every version is called as its route.
struct Scene {
    street: Street,
    servers: [ModelServer; 3],
}

impl Scene {
    fn new() -> Self {
        Self::with(|config| config)
    }

    fn with(more: impl FnOnce(Config) -> Config) -> Self {
        let servers =
            [ModelServer::good("a"), ModelServer::good("b"), ModelServer::good("rest")];
        let route = |name: &str, at: usize, matches: &str| {
            Route::new(name).stable(name, &servers[at]).with(&format!("match: {matches}"))
        };
        let config = Config::new([
            route("rest", 2, "{ pathPrefix: / }"),
            route("a", 0, "{ model: meta/a }"),
            route("b", 1, "{ model: b }"),
        ]);
        Self { street: Street::open(&more(config)), servers }
    }

    fn echo(&self) {
        for server in &self.servers {
            server.now(echo());
        }
    }

    fn version(&self, request: &Request) -> String {
        let answer = self.street.ask(request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.version()
    }
}

fn chat(body: &str) -> Request {
    Request::post("/v1/chat/completions", body).field("content-type", "application/json")
}

#[test]
fn a_path_names_the_model() {
    let scene = Scene::new();
    for (path, version) in [
        ("/v2/models/b/infer", "b"),
        ("/v2/models/b/versions/1/infer", "b"),
        ("/v2/models/b", "b"),
        ("/v2/models/meta%2Fa/infer", "a"),
        ("/v2/models/meta%2fa/infer?x=b", "a"),
        ("/v2/models/%62/infer", "b"),
        ("/v2/repository/models/b/load", "b"),
        ("/v1/models/meta/a", "a"),
        ("/v1/models/b:predict", "b"),
        ("/predictions/b", "b"),
        ("/predictions/b/1.0", "b"),
        ("/v2/models/B/infer", "rest"),
        ("/v2/models/bb/infer", "rest"),
        ("/v2/models/c/infer", "rest"),
        ("/v2/models/c/../b/infer", "rest"),
        ("/v2/models/%2562/infer", "rest"),
        ("/x/b", "rest"),
        ("/", "rest"),
    ] {
        assert_eq!(scene.version(&Request::get(path)), version, "{path}");
        // The body of a request whose path names its model does not.
        let post = Request::post(path, r#"{"model":"meta/a"}"#);
        let version = if ["/", "/x/b"].contains(&path) { "a" } else { version };
        let got = scene.version(&post.field("content-type", "application/json"));
        let named = path.starts_with("/v2/models/c/..");
        assert_eq!(got, if named { "a" } else { version }, "POST {path}");
    }
}

#[test]
fn a_body_names_the_model() {
    let scene = Scene::new();
    let long = "x".repeat(200_000);
    for (body, version) in [
        (r#"{"model":"b"}"#.to_owned(), "b"),
        (r#"{"model":"meta\/a"}"#.to_owned(), "a"),
        (r#"{"mod\u0065l":"\u0062"}"#.to_owned(), "b"),
        (r#"{"messages":[{"role":"user","content":"{\"model\":\"b\"}"}],"model":"meta/a"}"#
            .to_owned(), "a"),
        (format!(r#"{{"model":"b","messages":"{long}"}}"#), "b"),
        (format!(r#"{{"messages":"{}","model":"b"}}"#, &long[..60_000]), "b"),
        (format!(r#"{{"messages":"{long}","model":"b"}}"#), "rest"),
        (r#"{"x":{"model":"b"}}"#.to_owned(), "rest"),
        (r#"{"model":"B"}"#.to_owned(), "rest"),
        (r#"{"model":"b\n"}"#.to_owned(), "rest"),
        (r#"{"model":null}"#.to_owned(), "rest"),
        ("not json".to_owned(), "rest"),
        (r#"{"model":"b""#.to_owned(), "rest"),
        (String::new(), "rest"),
    ] {
        assert_eq!(scene.version(&chat(&body)), version, "{body:.80}");
    }
    let plain = Request::post("/v1/messages", r#"{"model":"b"}"#);
    assert_eq!(scene.version(&plain), "b", "whatever its content type");
    let packed = chat(r#"{"model":"b"}"#).field("content-encoding", "gzip");
    assert_eq!(scene.version(&packed), "rest", "but nothing is unpacked");
    for body in [r#"{"model":"b","model":"meta/a"}"#, r#"{"model":"b","Model":"x"}"#] {
        let answer = scene.street.ask(&chat(body));
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    scene.street.is_well();
}

#[test]
fn a_body_arrives_byte_for_byte_however_it_was_cut() {
    let scene = Scene::new();
    scene.echo();
    let body = format!(
        r#" {{"messages":[{{"content":"{}"}}],"model":"b","seed":7}} "#,
        "\\u00e4 ä ".repeat(20)
    );
    let bytes = body.as_bytes();
    for size in [1, 2, 3, 7, 50, bytes.len()] {
        let mut client = Client::new(scene.street.http);
        client.send(
            "POST /v1/completions HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        for piece in bytes.chunks(size) {
            client.send(format!("{:x}\r\n", piece.len()));
            client.send(piece);
            client.send("\r\n");
        }
        client.send("0\r\n\r\n");
        let answer = client.answer().unwrap();
        assert_eq!((answer.version(), answer.text()), ("b".to_owned(), body.clone()));
    }
    for size in [100, 16_384, 65_536, 65_537, 1_000_000] {
        let body = format!(r#"{{"model":"b","prompt":"{}"}}"#, "p".repeat(size));
        let mut client = Client::new(scene.street.http);
        for _ in 0..2 {
            let answer = client.ask(&chat(&body));
            assert_eq!(answer.version(), "b");
            assert!(answer.body == body.as_bytes(), "{size}");
        }
        let ask = scene.servers[1].asked("/v1/chat/completions");
        assert_eq!(ask.framing, Framing::Length(body.len() as u64), "its length is kept");
    }
    for server in &scene.servers {
        assert_eq!(server.faults(), Vec::<String>::new());
    }
}

#[test]
fn a_caller_that_waits_for_leave_gets_it_and_one_that_is_slow_is_bounded() {
    let scene = Scene::with(|config| config.limits("{ bodyIdleTimeout: 300ms }"));
    let body = r#"{"model":"b"}"#;
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: m\r\ncontent-length: {}\r\n",
        body.len()
    );
    let mut client = Client::new(scene.street.http);
    client.send(format!("{head}expect: 100-continue\r\n\r\n"));
    assert_eq!(client.head().unwrap().0, 100);
    assert_eq!(client.send(body).answer().unwrap().version(), "b");
    let mut client = Client::new(scene.street.http);
    client.send(format!("{head}\r\n{}", &body[..5]));
    assert_eq!(client.answer().unwrap().status, 408);
    let mut client = Client::new(scene.street.http);
    client
        .send("POST /x HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n");
    assert_eq!(client.answer().unwrap().status, 400);
    assert_eq!(scene.servers.iter().map(ModelServer::requests).sum::<u64>(), 1);
    scene.street.is_well();
}

#[test]
fn a_request_whose_path_names_its_model_is_not_held_for_its_body() {
    let scene = Scene::new();
    let early: Script = Arc::new(|_, line| {
        line.body_is_read();
        line.reply(200, "connection: close\r\n", "early");
        Then::Close
    });
    scene.servers[1].now(early);
    let mut client = Client::new(scene.street.http);
    client.send(
        "POST /v2/models/b/infer HTTP/1.1\r\nhost: m\r\ncontent-length: 9\r\n\r\n{",
    );
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.version()), (200, "b".to_owned()));
}

/// 50 bodies of 64 MiB would be 3 GiB: as long as only their beginnings are looked at, the
/// size makes no difference.
#[test]
fn large_bodies_are_not_held() {
    let scene = Scene::with(|config| config.workers(2));
    let count: Script = Arc::new(|_, line| match line.body() {
        Ok(body) => line.reply(200, "", body.len().to_string()),
        Err(_) => Then::Close,
    });
    scene.servers[1].now(good("b"));
    for _ in 0..4 {
        scene.version(&chat(&format!(r#"{{"model":"b","x":"{}"}}"#, "x".repeat(MIB))));
    }
    scene.servers[1].now(count);
    let before = scene.street.rss();
    let senders: Vec<_> = (0..50)
        .map(|_| {
            let address = scene.street.http;
            std::thread::spawn(move || {
                let mut client = Client::new(address);
                let total = 64 * MIB;
                let begin = r#"{"model":"b","x":""#;
                client.send(format!(
                    "POST /v1/completions HTTP/1.1\r\nhost: m\r\ncontent-length: {total}\r\n\r\n{begin}"
                ));
                // Longer than what is looked at, much shorter than all of it.
                client.send(vec![b'x'; 256 * 1024]);
                client
            })
        })
        .collect();
    let clients: Vec<Client> = senders.into_iter().map(|it| it.join().unwrap()).collect();
    wait::eventually("all are on their way", wait::SOON, || {
        (scene.street.version("b")["in_flight"] == 50).then_some(())
    });
    let grown = scene.street.rss().saturating_sub(before);
    assert!(grown < 64 * MIB as u64, "{} KiB for 50 bodies", grown / 1024);
    drop(clients);
}

#[test]
fn a_grpc_message_names_the_model() {
    let scene = Scene::new();
    let bodies = Arc::new(Mutex::new(Vec::new()));
    for server in &scene.servers {
        let bodies = bodies.clone();
        server.now(Arc::new(move |_, line| match line.body() {
            Ok(body) => {
                bodies.lock().unwrap().push(body);
                line.reply(200, "content-type: application/grpc\r\n", "")
            }
            Err(_) => Then::Close,
        }));
    }
    let message = |model: &str| {
        let length = u8::try_from(model.len()).unwrap();
        let mut bytes = vec![0, 0, 0, 0, length + 4, 0x0a, length];
        bytes.extend_from_slice(model.as_bytes());
        bytes.extend_from_slice(&[0x1a, 0]);
        bytes
    };
    let mut client = H2Client::new(scene.street.http);
    for (method, model, version) in [
        ("ModelInfer", "b", "b"),
        ("ModelReady", "meta/a", "a"),
        ("ModelInfer", "c", "rest"),
        ("ModelInfer", "", "rest"),
        ("ServerLive", "b", "rest"),
    ] {
        let path = format!("/inference.GRPCInferenceService/{method}");
        let request = http::Request::post(format!("http://m{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let body = message(model);
        let answer = client.ask(request, &body, None).unwrap();
        assert_eq!(answer.field("x-model-version"), version, "{method} {model}");
        assert_eq!(bodies.lock().unwrap().pop(), Some(body), "it goes on as it was");
    }
}

/// “Such requests are routed to that version, never split” (a server answers 404 to the
/// version of another).
#[test]
fn a_version_in_the_path_is_never_split() {
    let servers =
        [ModelServer::good("1"), ModelServer::good("2"), ModelServer::good("3")];
    let route = Route::new("iris")
        .stable("1", &servers[0])
        .canary("2", "50%", &servers[1])
        .version("3", "role: candidate", &[servers[2].url()])
        .with(NO_RULES);
    let street = Street::open(&Config::new([route]));
    for (path, version) in [
        ("/v2/models/iris/versions/2/infer", "2"),
        ("/v2/models/iris/versions/1/ready", "1"),
        ("/predictions/iris/2", "2"),
        // A candidate is for pins; what nobody here has is stable's to refuse.
        ("/v2/models/iris/versions/3/infer", "1"),
        ("/v2/models/iris/versions/9/infer", "1"),
    ] {
        for _ in 0..20 {
            let answer = street.ask(&Request::get(path));
            assert_eq!(answer.version(), version, "{path}");
            assert_eq!(answer.field("x-switchback-reason"), "path", "{path}");
        }
    }
    // Its own failure is the answer: stable has another version of the model.
    servers[1].now(crate::support::scripts::status(503));
    let answer = street.ask(&Request::post("/v2/models/iris/versions/2/infer", "{}"));
    assert_eq!((answer.status, answer.version()), (503, "2".to_owned()));
}

/// The rules of one snapshot: while routes come and go, each request is answered by a route
/// that was in force, and none is lost.
#[test]
fn a_reload_while_bodies_are_read_loses_none() {
    let scene = Scene::new();
    let servers = &scene.servers;
    let route = |name: &str, at: usize, matches: &str| {
        Route::new(name).stable(name, &servers[at]).with(&format!("match: {matches}"))
    };
    let other = Config::new([route("rest", 2, "{ pathPrefix: / }")]);
    let both = Config::new([
        route("rest", 2, "{ pathPrefix: / }"),
        route("a", 0, "{ model: meta/a }"),
        route("b", 1, "{ model: b }"),
    ]);
    let mut client = Client::new(scene.street.http);
    for round in 0..6 {
        let generation = scene.street.status()["generation"].as_u64().unwrap();
        scene.street.rewrite(if round % 2 == 0 { &other } else { &both });
        scene.street.signal("HUP");
        wait::eventually("the table is another", Duration::from_secs(20), || {
            for _ in 0..20 {
                let answer = client.ask(&chat(r#"{"messages":[1,2],"model":"b"}"#));
                assert_eq!(answer.status, 200);
                assert!(["b", "rest"].contains(&&*answer.version()));
            }
            (scene.street.status()["generation"].as_u64() > Some(generation))
                .then_some(())
        });
    }
}
