//! A proxy that is killed at any moment of a rollback under load: after each start the audit
//! log is whole, what was acknowledged is in it, the version stays out, the rollback comes to
//! its end, and people hear of it once a key. (row 46)

use std::collections::BTreeMap;
use std::env;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Client, Request};
use crate::support::config::Config;
use crate::support::evidence;
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::sinks::{Letter, Office};
use crate::support::street::{Dir, Street, run};
use crate::support::wait::{self, SOON};

/// `SWITCHBACK_TEST_CRASHES` says how many; the acceptance asks for 200.
fn crashes() -> u64 {
    env::var("SWITCHBACK_TEST_CRASHES").map_or(24, |n| n.parse().unwrap())
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let each = crashes().div_ceil(LANES);
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| thread::spawn(move || Lane::open(lane).drive(each)))
        .collect();
    let seen: Vec<BTreeMap<String, u64>> =
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect();
    let mut sums = BTreeMap::new();
    for (what, count) in seen.into_iter().flatten() {
        *sums.entry(what).or_insert(0) += count;
    }
    eprintln!("{sums:?}");
}

struct Lane {
    _servers: [ModelServer; 2],
    office: Office,
    street: Option<Street>,
    dice: u64,
    seen: BTreeMap<String, u64>,
}

impl Lane {
    fn open(lane: u64) -> Self {
        let servers = [ModelServer::good("v1"), ModelServer::good("v2")];
        let (office, dir) = (Office::open(), Dir::new());
        let rollback = "rollback: { stabilization: 50ms }";
        let config = Config::pair(&servers[0], "50%", &servers[1])
            .with(&office.notify(&dir))
            .route_with(rollback);
        dir.write("switchback.yaml", &config.yaml(dir.path()));
        let street = Some(Street::start(dir, "switchback.yaml"));
        let dice = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(lane + 1);
        Self { _servers: servers, office, street, dice, seen: BTreeMap::new() }
    }

    fn drive(mut self, times: u64) -> BTreeMap<String, u64> {
        for _ in 0..times {
            self.crash();
        }
        self.seen
    }

    /// From 0 to 100 ms, longer than a rollback takes here; more often early.
    fn moment(&mut self) -> Duration {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let part = (self.dice >> 33) % 1_000;
        Duration::from_micros(part * part * part / 10_000)
    }

    fn crash(&mut self) {
        let street = self.street.take().unwrap();
        let load = Load::new(street.http).clients(2).start();
        load.reaches(20);
        load.expect_the_end();
        let moment = self.moment();
        let admin = street.admin;
        let order = thread::spawn(move || acknowledged(admin));
        wait::linger(moment);
        let mut street = street;
        street.kill();
        let acknowledged = order.join().unwrap();
        drop(load.stop());
        let street = street.again();
        self.look(&street, acknowledged.as_ref(), moment);
        self.street = Some(street);
    }

    fn look(&mut self, street: &Street, acknowledged: Option<&String>, moment: Duration) {
        let dir = street.dir().path().join("state/audit").display().to_string();
        let checked = run(["audit", "verify", "--dir", &dir]);
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert_eq!(checked.status.code(), Some(0), "killed after {moment:?}: {said}");
        let records = evidence::audit(street);
        let started = records.iter().rev().find(|it| it["kind"] == "rollback.started");
        let last = started.map(|it| it["rollback_id"].as_str().unwrap().to_owned());
        let state = street.version("v2")["state"].clone();
        let what = match (acknowledged, state == "quarantined") {
            (Some(id), out) => {
                assert!(out, "{id} was acknowledged, and v2 is {state} ({moment:?})");
                assert_eq!(last.as_ref(), Some(id), "its record is lost ({moment:?})");
                "acknowledged"
            }
            (None, true) => "done and not said",
            (None, false) => "not done",
        };
        *self.seen.entry(what.to_owned()).or_insert(0) += 1;
        if state == "quarantined" {
            // The order stood in the log before the deed, and the rollback's own record
            // before its quarantine: none is found without them.
            let is = |kind: &'static str| move |it: &&Value| it["kind"] == kind;
            let seq = |it: &Value| it["seq"].as_u64().unwrap();
            let released =
                records.iter().rev().find(is("quarantine.released")).map_or(0, seq);
            for kind in ["order.rollback", "rollback.started"] {
                let stands = records.iter().rev().find(is(kind)).map(seq);
                assert!(
                    stands.is_some_and(|seq| seq > released),
                    "killed after {moment:?}: v2 is out and no {kind} says why"
                );
            }
            self.ends(street, &last.unwrap());
            let body = json!({ "route": "iris", "version": "v2", "reason": "a test" });
            let release = Request::post("/api/v1/quarantine/release", body.to_string())
                .field("content-type", "application/json")
                .host("127.0.0.1");
            let answer = street.admin(release);
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }

    /// The rollback comes to its end, and each of its notices is told, once a key.
    fn ends(&self, street: &Street, id: &str) {
        wait::eventually(&format!("{id} ends"), SOON, || {
            let asked = Request::get(&format!("/api/v1/rollbacks/{id}"));
            let answer = street.admin(asked);
            let record: Value = serde_json::from_str(&answer.text()).ok()?;
            (record["status"] == "completed").then_some(())
        });
        let topics = ["rollback.started", "rollback.completed"];
        wait::eventually(&format!("{id} is told"), SOON, || {
            let events: Vec<Value> =
                self.office.of("webhook").iter().map(Letter::json).collect();
            let told = |topic: &str| {
                let key = format!("{id}:{topic}");
                events.iter().filter(|event| event["id"] == key).count()
            };
            topics.iter().all(|topic| told(topic) >= 1).then_some(())
        });
        assert_eq!(self.office.tickets("github"), self.incidents(), "one ticket each");
    }

    fn incidents(&self) -> usize {
        let events = self.office.of("webhook");
        let ids: std::collections::BTreeSet<String> = events
            .iter()
            .filter_map(|letter| {
                letter.json()["data"]["record"]["rollback_id"].as_str().map(str::to_owned)
            })
            .collect();
        ids.len()
    }
}

/// Orders a rollback; its id, if the order was acknowledged before the process was gone.
fn acknowledged(admin: std::net::SocketAddr) -> Option<String> {
    let order = json!({ "version": "v2", "reason": "a test" });
    let request = Request::post("/api/v1/routes/iris/rollback", order.to_string())
        .field("content-type", "application/json")
        .host("127.0.0.1");
    let begun = Instant::now();
    let mut client = Client::try_new(admin).ok()?;
    let answer = client.send(request.bytes()).answer().ok()?;
    assert!(begun.elapsed() < SOON && answer.status == 200, "{}", answer.text());
    let record: Value = serde_json::from_str(&answer.text()).ok()?;
    Some(record["rollback_id"].as_str().unwrap().to_owned())
}

/// Proxies at a time.
const LANES: u64 = 4;
