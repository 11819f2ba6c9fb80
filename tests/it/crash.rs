//! A proxy that is killed at any moment of a rollback under load: after each start the audit
//! log is whole, what was acknowledged is in it, the version stays out, the rollback comes to
//! its end, and people hear of it once a key. (row 46)

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::process::{Command, Stdio};
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

#[test]
fn a_kill_at_each_write_of_a_rollback_loses_nothing_that_was_acknowledged() {
    let places = WRITTEN.iter().flat_map(|file| CALLS.map(|call| (*file, call)));
    let places: Vec<(&str, &str)> = places.collect();
    // Not all lanes: who is traced takes its time, and others are tested beside.
    let each = places.len().div_ceil(2);
    let lanes: Vec<_> = places
        .chunks(each)
        .zip(0..)
        .map(|(mine, lane)| {
            let mine = mine.to_vec();
            thread::spawn(move || {
                let mut lane = Lane::open(LANES + lane);
                mine.iter().map(|place| lane.strikes(*place)).collect::<Option<Vec<_>>>()
            })
        })
        .collect();
    let struck: Option<Vec<_>> =
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect();
    let Some(struck) = struck else {
        eprintln!("not shown: strace may not attach to a process here");
        return;
    };
    let struck: Vec<u64> = struck.into_iter().flatten().collect();
    let told: BTreeMap<_, _> = places.iter().zip(&struck).collect();
    eprintln!("{told:?}");
    // Written once and synced once is the least there is.
    let of = |name: &str| {
        let mine = told.iter().filter(|((file, _), _)| file.contains(name));
        mine.map(|(_, count)| **count).sum::<u64>()
    };
    assert!(of("audit") >= 2 && of("redb") >= 4, "{told:?}");
}

/// The files that a rollback writes, below the state's directory.
const WRITTEN: [&str; 3] =
    ["audit/audit-0000000001.jsonl", "switchback.redb", "outbox.redb"];

/// How it writes.
const CALLS: [&str; 5] = ["write", "writev", "pwrite64", "fsync", "fdatasync"];

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

    /// Kills it as it is about to do the first, the second, the third such call on the file,
    /// and so on until a rollback has no so many; how often that was. `None` where nobody
    /// may do that to a process.
    fn strikes(&mut self, place: (&str, &str)) -> Option<u64> {
        let mut point = 1;
        while self.strike(place, point)? {
            point += 1;
            assert!(point < 500, "{place:?} has no end");
        }
        Some(point - 1)
    }

    fn strike(&mut self, (file, call): (&str, &str), point: u64) -> Option<bool> {
        let mut street = self.street.take().unwrap();
        let path = street.dir().path().join("state").join(file);
        let mut striker = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-P"])
            .arg(path)
            .args(["-e", &format!("trace={call}"), "-e"])
            .arg(format!("inject={call}:signal=SIGKILL:when={point}"))
            .args(["-p", &street.pid().to_string()])
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let attached = wait::eventually("strace attaches", SOON, || {
            if striker.try_wait().unwrap().is_some() {
                return Some(false);
            }
            is_traced(street.pid()).then_some(true)
        });
        if !attached {
            self.street = Some(street);
            return None;
        }
        let acknowledged = acknowledged(street.admin);
        let told = acknowledged.as_ref().map(|id| format!("{id}:rollback.completed"));
        wait::eventually("it is killed or done", SOON, || {
            let all = self.office.of("webhook");
            let done = told.as_ref().is_some_and(|key| {
                all.iter().any(|letter| letter.json()["id"] == key.as_str())
            });
            (done || !street.is_up()).then_some(())
        });
        // What was delivered is taken out of the outbox after that.
        wait::linger(Duration::from_millis(300));
        let struck = !street.is_up();
        striker.kill().unwrap();
        striker.wait().unwrap();
        let street = if struck { street.again() } else { street };
        self.look(&street, acknowledged.as_ref(), Duration::ZERO);
        self.street = Some(street);
        Some(struck)
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

/// Whether each thread of the process is traced.
fn is_traced(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.flatten().all(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_some_and(|pid| pid.trim() != "0")
    })
}

/// Proxies at a time.
const LANES: u64 = 4;
