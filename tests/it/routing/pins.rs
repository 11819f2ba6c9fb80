//! Pins: believed from whom the configuration trusts, of the versions that it allows, and
//! never a way to a version that was rolled back (THREATS 35).

use crate::support::client::{Answer, Client, Request};
use crate::support::config::{BARE, Config, NO_RULES, Route};
use crate::support::model_server::ModelServer;
use crate::support::scripts::status;
use crate::support::street::Street;

const TRUST: &str = "trustForwardedFrom: [127.0.0.0/8]";

/// Stable v1, a canary v2 and a candidate v3, of which v1 and v3 may be demanded, or v2.
struct Scene {
    street: Street,
    servers: [ModelServer; 3],
}

impl Scene {
    fn new(listener: &str, pin: &str) -> Self {
        let servers =
            [ModelServer::good("v1"), ModelServer::good("v2"), ModelServer::good("v3")];
        let route = Route::new("iris")
            .stable("v1", &servers[0])
            .canary("v2", "0%", &servers[1])
            .version("v3", "role: candidate", &[servers[2].url()])
            .with(NO_RULES)
            .with(&format!("pin: {pin}"));
        let street = Street::open(&Config::new([route]).listener(listener));
        Self { street, servers }
    }

    fn pinned(&self, fields: &[(&str, &str)]) -> Answer {
        let request =
            fields.iter().fold(Request::infer("{}"), |request, (name, value)| {
                request.field(name, value)
            });
        self.street.ask(&request)
    }

    fn quarantine(&self, version: &str) {
        let order = serde_json::json!({ "version": version, "reason": "a test" });
        let request = Request::post("/api/v1/routes/iris/rollback", order.to_string());
        let answer = self.street.admin(request.field("content-type", "application/json"));
        assert!(answer.status < 300, "{}", answer.text());
        self.street.rolled_back(version);
    }
}

fn reason(answer: &Answer) -> (u16, String, String) {
    (answer.status, answer.version(), answer.field("x-switchback-reason"))
}

fn is(status: u16, version: &str, why: &str) -> (u16, String, String) {
    (status, version.to_owned(), why.to_owned())
}

#[test]
fn a_trusted_caller_gets_the_version_it_demands() {
    let scene = Scene::new(TRUST, "{ header: x-model-pin, allowed: [v1, v2, v3] }");
    for version in ["v1", "v2", "v3"] {
        for name in ["x-model-pin", "X-Model-Pin", "X-MODEL-PIN"] {
            let answer = scene.pinned(&[(name, version)]);
            assert_eq!(reason(&answer), is(200, version, "pin"), "{name}: {version}");
        }
    }
    assert_eq!(reason(&scene.pinned(&[])), is(200, "v1", "split"));
    assert!(scene.street.version("v2")["samples"].as_u64().unwrap() >= 3);
    // The version is asked with the pin that was believed, once.
    assert_eq!(
        scene.servers[1].asked("/v2/models/iris/infer").head.all("x-model-pin"),
        ["v2"]
    );
}

#[test]
fn what_may_not_be_demanded_is_refused_and_says_what_may() {
    let scene = Scene::new(TRUST, "{ header: x-model-pin, allowed: [v1, v3] }");
    for value in [
        "v2", "v9", "V1", "v1,v3", "v1, v1", "v1;x", "*", "../../v1", "..%2fv1",
        "\"v1\"", "latest", "0", "",
    ] {
        let answer = scene.pinned(&[("x-model-pin", value)]);
        assert_eq!(answer.status, 400, "{value:?}");
        assert!(answer.text().contains("v1, v3"), "{}", answer.text());
        assert!(value.len() < 6 || !answer.text().contains(value), "it is not repeated");
        assert!(answer.field("proxy-status").contains("http_request_error"));
    }
    for twice in [["v1", "v1"], ["v1", "v3"]] {
        let fields = twice.map(|value| ("x-model-pin", value));
        assert_eq!(scene.pinned(&fields).status, 400, "{twice:?}");
    }
    assert_eq!(scene.servers[1].requests(), 0);
    assert_eq!(scene.servers[2].requests(), 0);
    scene.street.is_well();
}

#[test]
fn a_stranger_demands_nothing_and_no_server_hears_of_it() {
    for header in ["x-model-pin", "x-pin-to"] {
        let pin = format!("{{ header: {header}, allowed: [v1, v2, v3] }}");
        // Whoever comes from elsewhere than a trusted network is a stranger.
        for listener in ["name: http", "trustForwardedFrom: [10.0.0.0/8]"] {
            let scene = Scene::new(
                if listener.starts_with("name") { "" } else { listener },
                &pin,
            );
            let twin = header.replace('-', "_");
            let mixed = header.replacen('-', "_", 1);
            for fields in [
                vec![(header, "v3")],
                vec![(header, "v3"), (header, "v2")],
                vec![(&*twin, "v3")],
                vec![(&*mixed, "v3")],
                vec![(header, "v3"), (&*twin, "v3")],
                vec![(header, "../../v3")],
                vec![(header, "v9")],
                vec![(header, "v3"), ("x-forwarded-for", "10.0.0.1")],
                vec![(header, "v3"), ("x-real-ip", "127.0.0.1")],
                vec![(header, "v3"), ("forwarded", "for=10.0.0.1")],
                vec![("x-model-version", "v3"), ("x-region", "v3"), ("x-drill", "v3")],
                vec![("x-shadow", "1"), (header, "v3")],
            ] {
                let answer = scene.pinned(&fields);
                assert_eq!(reason(&answer), is(200, "v1", "split"), "{fields:?}");
            }
            // In a trailer it is no field of the request.
            let mut client = Client::new(scene.street.http);
            client.send(format!(
                "POST /v2/models/iris/infer HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\ntrailer: {header}\r\n\r\n2\r\n{{}}\r\n0\r\n{header}: v3\r\n\r\n"
            ));
            assert_eq!(reason(&client.answer().unwrap()), is(200, "v1", "split"));
            for bytes in [
                format!("{header} : v3\r\n"),
                format!("{header}: v3\r\n {header}: v3\r\n"),
                format!("a: b\r{header}: v3\r\n"),
            ] {
                let mut client = Client::new(scene.street.http);
                client.send(format!("GET /x HTTP/1.1\r\nhost: m\r\n{bytes}\r\n"));
                if let Ok(answer) = client.answer() {
                    assert!(
                        answer.status == 400 || answer.version() == "v1",
                        "{bytes:?}"
                    );
                }
            }
            for ask in scene.servers[0].seen() {
                let raw = ask.head.raw.to_ascii_lowercase();
                let raw = String::from_utf8_lossy(&raw).replace('_', "-");
                let names = raw.lines().filter(|line| line.starts_with(header)).count();
                assert_eq!(names, 0, "{raw}");
            }
            assert_eq!(scene.servers[1].requests() + scene.servers[2].requests(), 0);
        }
    }
}

#[test]
fn no_pin_reaches_a_version_that_was_rolled_back() {
    for (policy, expected) in
        [("reroute", is(200, "v1", "rollback")), ("refuse", is(409, "none", ""))]
    {
        let pin = format!(
            "{{ header: x-model-pin, allowed: [v1, v2, v3], quarantined: {policy} }}"
        );
        let scene = Scene::new(TRUST, &pin);
        assert_eq!(scene.pinned(&[("x-model-pin", "v2")]).version(), "v2");
        scene.quarantine("v2");
        let before = scene.servers[1].requests();
        let got = scene.pinned(&[("x-model-pin", "v2")]);
        assert_eq!(reason(&got), expected, "{policy}");
        let path = scene.street.ask(&Request::get("/v2/models/iris/versions/v2/infer"));
        assert_eq!(reason(&path), expected, "{policy}, by the path");
        assert_eq!(scene.servers[1].requests(), before);
        assert_eq!(reason(&scene.pinned(&[("x-model-pin", "v3")])), is(200, "v3", "pin"));
        let explained = scene.street.status()["routes"][0].to_string();
        assert!(explained.contains("x-model-pin"), "{explained}");
    }
}

#[test]
fn a_pinned_failure_is_answered_by_stable_only_where_pins_are_rerouted() {
    for (policy, status_of, version) in [("reroute", 200, "v1"), ("refuse", 500, "v3")] {
        let pin =
            format!("{{ header: x-model-pin, allowed: [v3], quarantined: {policy} }}");
        let scene = Scene::new(TRUST, &pin);
        scene.servers[2].now(status(500));
        let answer = scene.pinned(&[("x-model-pin", "v3")]);
        assert_eq!((answer.status, answer.version()), (status_of, version.to_owned()));
    }
}

/// What callers demand is no sample of what callers get: a version that fails its pins alone
/// is not compared by them.
#[test]
fn pinned_requests_are_not_evidence() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::new(status(500)));
    let config = Config::pair(&stable, "0%", &canary)
        .listener(TRUST)
        .route_with("pin: { header: x-model-pin, allowed: [v2], quarantined: refuse }")
        .route_with("analysis: { metrics: [{ name: errorRate, test: sequential }] }")
        .route_with(BARE);
    let street = Street::open(&config);
    let mut client = Client::new(street.http);
    for _ in 0..300 {
        let answer = client.ask(&Request::infer("{}").field("x-model-pin", "v2"));
        assert_eq!((answer.status, answer.version()), (500, "v2".to_owned()));
        assert_eq!(client.ask(&Request::infer("{}")).version(), "v1");
    }
    assert_eq!(street.version("v2")["state"], "serving");
    assert_eq!(street.metrics().sum("rollback_triggered_total", &[]), 0.0);
}
