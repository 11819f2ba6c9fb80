//! Sessions: the same version as long as it may take traffic, stable at once when it may not;
//! by a header of the caller, or by a cookie that nobody can make or change.

use std::collections::BTreeMap;

use crate::support::client::{Answer, Client, Request};
use crate::support::config::{Config, NO_RULES, Route};
use crate::support::model_server::ModelServer;
use crate::support::street::Street;
use crate::support::wait;

const BY_HEADER: &str = "sessionAffinity: { by: header, name: x-session-id, maxAge: 6h }";
const BY_COOKIE: &str = "sessionAffinity: { by: cookie, name: sb, maxAge: 6h }";

struct Scene {
    street: Street,
    stable: ModelServer,
    canary: ModelServer,
}

impl Scene {
    fn new(weight: &str, lines: &[&str]) -> Self {
        let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
        let config = Config::pair(&stable, weight, &canary).workers(2);
        let config = lines.iter().fold(config, |config, line| config.route_with(line));
        Self { street: Street::open(&config), stable, canary }
    }

    /// Where each of some sessions goes.
    fn census(&self, count: u32) -> BTreeMap<u32, String> {
        let mut client = Client::new(self.street.http);
        (0..count)
            .map(|one| {
                let name = format!("user-{one}");
                let answer =
                    client.ask(&Request::infer("{}").field("x-session-id", &name));
                assert_eq!(answer.field("x-switchback-reason"), "sticky");
                (one, answer.version())
            })
            .collect()
    }

    fn weigh(&self, weight: f64) {
        let answer = self.street.admin(Street::weight_order("iris", "v2", weight));
        assert!(answer.status < 300, "{}", answer.text());
        wait::eventually("the weight is in force", wait::SOON, || {
            (self.street.version("v2")["share"] == weight).then_some(())
        });
    }
}

/// The cookie that an answer gives, name and value.
fn cookie(answer: &Answer) -> String {
    let all = answer.head.all("set-cookie");
    let ours: Vec<&&str> = all.iter().filter(|line| line.starts_with("sb=")).collect();
    let [one] = ours[..] else { panic!("{all:?}") };
    one.split(';').next().unwrap().to_owned()
}

#[test]
fn a_session_keeps_its_version_over_connections_workers_processes_and_restarts() {
    let scene = Scene::new("30%", &[BY_HEADER, NO_RULES]);
    let before = scene.census(300);
    let canaries = before.values().filter(|version| *version == "v2").count();
    assert!((50..=130).contains(&canaries), "{canaries} of 300 at 30%");
    for _ in 0..3 {
        assert_eq!(scene.census(300), before);
    }
    let other = Scene::new("30%", &[BY_HEADER, NO_RULES]);
    assert_eq!(other.census(300), before, "a replica agrees");
    let Scene { street, stable, canary } = scene;
    let scene = Scene { street: street.again(), stable, canary };
    assert_eq!(scene.census(300), before, "and so does the same after a restart");
}

#[test]
fn a_raise_moves_nobody_off_and_a_rollback_everybody() {
    let scene = Scene::new("10%", &[BY_HEADER, NO_RULES]);
    let mut last = scene.census(200);
    for weight in [25.0, 60.0, 100.0] {
        scene.weigh(weight);
        let next = scene.census(200);
        for (one, version) in &last {
            assert!(
                version == "v1" || next[one] == "v2",
                "user-{one} fell off at {weight}"
            );
        }
        last = next;
    }
    scene.weigh(40.0);
    let forty = scene.census(200);
    scene.weigh(25.0);
    for (one, version) in scene.census(200) {
        assert!(version == "v1" || forty[&one] == "v2", "user-{one} came at a cut");
    }
    let order = serde_json::json!({ "version": "v2", "reason": "a test" });
    let request = Request::post("/api/v1/routes/iris/rollback", order.to_string())
        .field("content-type", "application/json");
    let answer = scene.street.admin(request);
    assert!(answer.status < 300, "{}", answer.text());
    let asked = scene.canary.requests();
    assert!(scene.census(200).values().all(|version| version == "v1"));
    assert_eq!(scene.canary.requests(), asked);
    assert!(scene.stable.requests() > 0);
}

#[test]
fn what_tells_no_session_is_split_as_ever() {
    let scene = Scene::new("50%", &[BY_HEADER, NO_RULES]);
    let mut client = Client::new(scene.street.http);
    let bare = Request::infer("{}");
    for request in [
        bare.clone(),
        bare.clone().field("x-session-id", ""),
        bare.field("x-session-id", "a").field("x-session-id", "a"),
    ] {
        let versions: Vec<String> = (0..60)
            .map(|_| {
                let answer = client.ask(&request);
                assert_eq!(answer.field("x-switchback-reason"), "split");
                assert!(answer.head.all("set-cookie").is_empty());
                answer.version()
            })
            .collect();
        assert!(
            versions.iter().any(|it| it == "v1") && versions.iter().any(|it| it == "v2")
        );
    }
    // The header is the caller's own, and goes on.
    client.ask(&Request::get("/with").field("x-session-id", "a"));
    let seen = [&scene.stable, &scene.canary].map(ModelServer::seen).concat();
    let ask = seen.iter().find(|ask| ask.target() == "/with").unwrap();
    assert_eq!(ask.head.all("x-session-id"), ["a"]);
}

#[test]
fn a_cookie_is_given_once_signed_and_keeps_the_version() {
    let scene = Scene::new("50%", &[BY_COOKIE, NO_RULES]);
    let mut seen = BTreeMap::new();
    for _ in 0..40 {
        let first = scene.street.ask(&Request::infer("{}"));
        let line = first.head.all("set-cookie")[0].to_owned();
        for part in
            ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=21600"]
        {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains("v1") && !line.contains("v2"), "{line}");
        let private = first.head.all("cache-control").join(",").contains("private");
        assert!(private, "no cache may share a session");
        let ours = cookie(&first);
        let version = first.version();
        for _ in 0..5 {
            let again = scene.street.ask(&Request::infer("{}").field("cookie", &ours));
            assert_eq!(again.version(), version);
            assert_eq!(again.field("x-switchback-reason"), "sticky");
            assert!(again.head.all("set-cookie").is_empty(), "it has one");
        }
        *seen.entry(version).or_insert(0) += 1;
        let forged: String =
            ours.char_indices()
                .map(|(at, c)| {
                    if at == ours.len() - 1 {
                        if c == '0' { '1' } else { '0' }
                    } else {
                        c
                    }
                })
                .collect();
        let answer = scene.street.ask(&Request::infer("{}").field("cookie", &forged));
        assert_ne!(cookie(&answer), forged, "a new session");
    }
    assert_eq!(seen.len(), 2, "both versions have sessions: {seen:?}");
}

#[test]
fn no_server_sees_our_cookie_and_every_other_stays() {
    let scene = Scene::new("0%", &[BY_COOKIE, NO_RULES]);
    let ours = cookie(&scene.street.ask(&Request::infer("{}")));
    for (sent, left) in [
        (format!("a=b; {ours}; c=\"d e\"; f"), Some("a=b; c=\"d e\"; f")),
        (format!("{ours};a=b"), Some("a=b")),
        (ours.clone(), None),
        ("sb=forged; a=b".to_owned(), Some("a=b")),
        ("sbx=1; SB=2".to_owned(), Some("sbx=1; SB=2")),
    ] {
        scene.street.ask(&Request::infer("{}").field("cookie", &sent));
        let ask = scene.stable.asked("/v2/models/iris/infer");
        assert_eq!(ask.head.field("cookie").as_deref(), left, "{sent}");
    }
    let key = scene.street.dir().path().join("state/session.key");
    let mode = std::fs::metadata(&key).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777;
    assert_eq!(mode, 0o600);
    assert!(!scene.street.log().contains(ours.trim_start_matches("sb=")));
}

#[test]
fn a_cookie_outlives_a_restart_and_the_version_does_not_outlive_a_rollback() {
    let scene = Scene::new("100%", &[BY_COOKIE, NO_RULES]);
    let first = scene.street.ask(&Request::infer("{}"));
    let (ours, version) = (cookie(&first), first.version());
    assert_eq!(version, "v2");
    let Scene { street, stable: _stable, canary } = scene;
    let street = street.again();
    let asked = Request::infer("{}").field("cookie", &ours);
    let answer = street.ask(&asked);
    assert_eq!(
        (answer.version(), answer.head.all("set-cookie").len()),
        ("v2".to_owned(), 0)
    );
    let order = serde_json::json!({ "version": "v2", "reason": "a test" });
    let request = Request::post("/api/v1/routes/iris/rollback", order.to_string());
    street.admin(request.field("content-type", "application/json"));
    street.rolled_back("v2");
    let before = canary.requests();
    assert_eq!(street.ask(&asked).version(), "v1");
    assert_eq!(canary.requests(), before);
}

/// What was kept for one caller is given to another without the first one's session, and
/// under a key that our cookie has no part in.
#[test]
fn the_cache_neither_keeps_nor_is_parted_by_our_cookie() {
    let scene = Scene::new(
        "0%",
        &[BY_COOKIE, NO_RULES, "fallback: { cache: { enabled: true } }"],
    );
    let kept = scene.street.ask(&Request::infer("{\"q\":1}"));
    let ours = cookie(&kept);
    assert_eq!(kept.status, 200);
    scene.stable.kill();
    let own = scene.street.ask(&Request::infer("{\"q\":1}").field("cookie", &ours));
    assert_eq!(own.field("x-switchback-reason"), "cache", "{}", own.text());
    assert!(own.head.all("set-cookie").is_empty());
    let other = scene.street.ask(&Request::infer("{\"q\":1}"));
    assert_eq!(other.field("x-switchback-reason"), "cache");
    assert_ne!(cookie(&other), ours, "another caller has another session");
    let theirs = Request::infer("{\"q\":1}").field("cookie", &format!("user=x; {ours}"));
    assert_ne!(scene.street.ask(&theirs).status, 200, "their own cookies part callers");
}

/// A caller that always fails and always falls to the canary says it once a minute; that it
/// is one and not all of the canary's callers is what tells it from a bad version.
#[test]
fn one_failing_session_is_no_verdict_and_many_are() {
    let bad = |ask: &crate::support::model_server::Ask| {
        ask.head.field("x-session-id").is_some_and(|id| id.ends_with("-bad"))
    };
    let script = move |model: &'static str| -> crate::support::model_server::Script {
        let (well, badly) =
            (crate::support::scripts::good(model), crate::support::scripts::status(500));
        std::sync::Arc::new(
            move |ask, line| {
                if bad(ask) { badly(ask, line) } else { well(ask, line) }
            },
        )
    };
    let (stable, canary) =
        (ModelServer::new(script("v1")), ModelServer::new(script("v2")));
    let route = Route::new("iris")
        .stable("v1", &stable)
        .canary("v2", "50%", &canary)
        .with(BY_HEADER)
        .with("rescue: { on: [] }")
        .with("analysis: { confirm: off, metrics: [{ name: errorRate, test: sequential }] }");
    let street = Street::open(&Config::new([route]));
    let mut client = Client::new(street.http);
    let mut ask = |id: &str| {
        let answer = client.ask(&Request::infer("{}").field("x-session-id", id));
        (answer.status, answer.version())
    };
    let culprit =
        (0..).map(|at| format!("user-{at}-bad")).find(|id| ask(id).1 == "v2").unwrap();
    for round in 0..300 {
        assert_eq!(ask(&culprit), (500, "v2".to_owned()), "round {round}");
        assert_eq!(ask(&format!("user-{round}")).0, 200);
    }
    assert_eq!(street.metrics().sum("rollback_triggered_total", &[]), 0.0);
    canary.now(crate::support::scripts::status(500));
    let mut round = 0;
    wait::eventually("the version is rolled back", wait::SOON, || {
        for _ in 0..50 {
            round += 1;
            ask(&format!("caller-{round}"));
        }
        (street.version("v2")["state"] == "quarantined").then_some(())
    });
    assert_eq!(ask(&culprit).1, "v1");
}
