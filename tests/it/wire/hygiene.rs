//! What a caller may not do to a version: every hostile request is refused or made harmless,
//! nothing smuggled arrives, and the next caller is answered at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::requests::{self, Case, Must};
use crate::support::client::{Client, Request};
use crate::support::config::Config;
use crate::support::http1::Broken;
use crate::support::model_server::{ModelServer, Then};
use crate::support::street::Street;

/// A proxy before a server that notes which requests came whole.
struct Scene {
    server: ModelServer,
    street: Street,
    whole: Arc<Mutex<Vec<String>>>,
}

impl Scene {
    fn new() -> Self {
        let whole: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = whole.clone();
        let server = ModelServer::new(Arc::new(move |ask, line| match line.body() {
            Ok(_) => {
                noted.lock().unwrap().push(ask.target().to_owned());
                line.reply(200, "", "ok")
            }
            Err(_) => Then::Close,
        }));
        let limits = "{ headerTimeout: 1s, bodyIdleTimeout: 1s }";
        let street = Street::open(&Config::plain(&server).limits(limits));
        Self { server, street, whole }
    }

    /// What went wrong with that case, if anything did.
    fn tries(&self, case: &Case) -> Option<String> {
        let mut client = Client::new(self.street.http);
        client.pipe.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let first = client.send(&case.bytes).answer();
        let ended = client.send(Request::get("/again").bytes()).answer();
        let mut wrong = None;
        let mut claim = |holds: bool, what: String| {
            if !holds {
                wrong.get_or_insert(what);
            }
        };
        match &first {
            Ok(answer) => {
                let refused = REFUSALS.contains(&answer.status);
                // Where both lengths are given, chunks may win if the connection ends.
                let fine = refused || case.must == Must::BeSafe || case.row == 1;
                claim(fine, format!("{} in place of a refusal", answer.status));
            }
            Err(Broken::Closed | Broken::Reset) => {}
            Err(other) => claim(false, format!("{other:?} in place of a refusal")),
        }
        if case.must == Must::End {
            let over = matches!(ended, Err(Broken::Closed | Broken::Reset));
            claim(over, format!("the connection goes on with {ended:?}"));
            let target = self.whole.lock().unwrap().iter().any(|target| target == "/t");
            claim(
                !target || case.row == 1,
                "it reached the server as a whole request".to_owned(),
            );
        }
        let smuggled = self.whole.lock().unwrap().iter().any(|t| t.contains("smuggled"));
        claim(!smuggled, "/smuggled reached the server".to_owned());
        let faults = self.server.faults();
        claim(faults.is_empty(), format!("the server was sent {faults:?}"));
        let next = self.street.ask(&Request::get("/next"));
        claim(next.status == 200, format!("the next request got {}", next.status));
        self.whole.lock().unwrap().clear();
        wrong
    }
}

#[test]
fn hostile_requests_do_no_harm() {
    let mut scene = Scene::new();
    let (mut wrong, cases) = (Vec::new(), requests::all());
    assert!(cases.len() > 150);
    for case in &cases {
        if let Some(what) = scene.tries(case) {
            let bytes = case.bytes.escape_ascii().to_string();
            wrong.push(format!("row {} {bytes}\n    {what}", case.row));
            scene = Scene::new();
        }
    }
    let (count, all) = (wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{count} of {all} do harm:\n{}\n", wrong.join("\n"));
    scene.street.is_well();
}

#[test]
fn they_are_told_apart_from_what_the_version_does() {
    let scene = Scene::new();
    for case in requests::all().iter().filter(|case| case.must == Must::End).take(40) {
        scene.tries(case);
    }
    let classes = scene.street.metrics().classes("v1");
    let blamed = classes
        .iter()
        .any(|(class, _)| !["2xx", "client_cancelled"].contains(&class.as_str()));
    assert!(!blamed, "the version is blamed for its callers: {classes:?}");
}

#[test]
fn a_body_that_nobody_read_is_not_the_next_request() {
    let scene = Scene::new();
    let inner = "GET /smuggled HTTP/1.1\r\nhost: models.test\r\n\r\n";
    scene.server.now(Arc::new(|_, line| {
        line.body_is_read();
        line.reply(200, "connection: close\r\n", "early");
        Then::Close
    }));
    let mut client = Client::new(scene.street.http);
    client.send(Request::post("/early", inner).bytes());
    let first = client.answer().unwrap();
    assert!([200, 502].contains(&first.status), "{}", first.status);
    client.send(Request::get("/second").bytes());
    if let Ok(second) = client.answer() {
        assert!([200, 502].contains(&second.status), "{}", second.text());
    }
    assert!(scene.server.seen().iter().all(|ask| ask.target() != "/smuggled"));
}

#[test]
fn an_answer_of_our_own_leaves_no_body_behind() {
    let server = ModelServer::good("v1");
    let config = Config::plain(&server).route_with("match: { pathPrefix: /v2 }");
    let street = Street::open(&config);
    for length in [40, 4_000, 400_000] {
        let mut inner =
            "GET /v2/smuggled HTTP/1.1\r\nhost: models.test\r\n\r\n".to_owned();
        inner.push_str(&"x".repeat(length));
        let mut client = Client::new(street.http);
        client.send(Request::post("/nowhere", &inner).bytes());
        client.send(Request::get("/v2/after").bytes());
        // A reset may overtake the answer of a proxy that closes; it may not lie.
        if let Ok(first) = client.answer() {
            assert_eq!(first.status, 404, "{}", first.text());
        }
        if let Ok(next) = client.answer() {
            assert_eq!(next.status, 200, "{}", next.text());
        }
        assert!(server.seen().iter().all(|ask| !ask.target().contains("smuggled")));
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = ModelServer::new(crate::support::scripts::echo());
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    let mut all = Vec::new();
    for number in 0..20 {
        all.extend(Request::infer(number.to_string()).bytes());
    }
    client.send(all);
    for number in 0..20 {
        assert_eq!(client.answer().unwrap().text(), number.to_string());
    }
}

#[test]
fn a_request_in_single_bytes_is_a_request() {
    let server = ModelServer::new(crate::support::scripts::echo());
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    let chunked = "POST /v2/models/iris/infer HTTP/1.1\r\nhost: m\r\n\
                   transfer-encoding: chunked\r\n\r\n3;ext=\"1\"\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    for byte in chunked.as_bytes() {
        client.send([*byte]);
    }
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "abcde"));
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn an_http_1_0_caller_is_answered_and_left() {
    let server = ModelServer::new(crate::support::scripts::echo());
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    client.send(
        "POST /v2/models/iris/infer HTTP/1.0\r\nhost: m\r\ncontent-length: 3\r\n\r\nabc",
    );
    let head = client.pipe.head().unwrap();
    assert_eq!(head.word(1), "200");
    assert!(head.all("transfer-encoding").is_empty(), "chunks to an HTTP/1.0 caller");
    assert!(client.is_closed(Duration::from_secs(5)));
    let mut client = Client::new(street.http);
    client.send("POST /x HTTP/1.0\r\nhost: m\r\n\r\nabc");
    let head = client.pipe.head().unwrap();
    assert_eq!(
        (head.word(1), head.field("content-length").as_deref()),
        ("200", Some("0"))
    );
}

const REFUSALS: [u16; 12] = [400, 404, 405, 408, 411, 413, 414, 417, 421, 431, 501, 505];
