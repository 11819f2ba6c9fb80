//! Given two versions of a digits model behind MLServer, driven with `tritonclient`, when the
//! second fails on cue, then it is rolled back; when it is released and killed with
//! `kill -9`, then it is rolled back again; and no client sees a failure of either.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Request;
use crate::support::config::{Config, Route};
use crate::support::street::{Dir, Street};
use crate::support::wait;

#[test]
fn a_real_model_server_that_fails_and_is_killed_costs_nobody_anything() {
    let place = set_up();
    let dir = Dir::new();
    let cue = dir.path().join("cue");
    let stable = MlServer::start(&place, "v1", &dir.path().join("never"));
    let mut canary = MlServer::start(&place, "v2", &cue);
    let check = "healthCheck: { readiness: /v2/models/digits/ready, interval: 500ms }";
    let rules = "analysis: { confirm: off, metrics: [{ name: errorRate, maxRatio: 2, minSamples: 30, test: window }] }";
    let route = Route::new("digits")
        .version("v1", &format!("role: stable, {check}"), &[stable.url()])
        .version("v2", &format!("role: canary, weight: 50%, {check}"), &[canary.url()])
        .with(rules);
    let street = Street::open(&Config::new([route]));
    let mut clients: Vec<Driver> =
        (0..2).map(|_| Driver::start(&place, &street, 0.0)).collect();
    // MLServer closes a connection that was idle for 5 s: this one asks just around then.
    clients.push(Driver::start(&place, &street, 5.0));
    served(&street, 50);

    fs::write(&cue, "").unwrap();
    rolled_back(&street, 1);
    fs::remove_file(&cue).unwrap();
    release(&street);
    served(&street, 50);
    canary.kill();
    rolled_back(&street, 2);

    let (mut right, mut answers) = (0, 0);
    for client in clients {
        let told = client.finish();
        assert_eq!(told["failed"], 0, "{told:#}");
        right += told["right"]["v1"].as_u64().unwrap_or(0);
        answers += told["answers"]["v1"].as_u64().unwrap_or(0);
    }
    assert!(right * 10 > answers * 8, "stable was right on {right} of {answers}");
    let metrics = street.metrics();
    assert!(
        metrics.count("switchback_rescued_total", &[]) >= 10,
        "{:?}",
        metrics.classes("v2")
    );
    assert_eq!(metrics.classes("v1").keys().collect::<Vec<_>>(), ["2xx"]);
}

/// Waits until the canary has answered that many more requests.
fn served(street: &Street, more: u64) {
    let before = street.metrics().requests("v2", "2xx");
    wait::eventually("the canary takes its share", MINUTE, || {
        (street.metrics().requests("v2", "2xx") >= before + more).then_some(())
    });
}

fn rolled_back(street: &Street, times: u64) {
    wait::eventually(&format!("rollback number {times} is complete"), MINUTE, || {
        (street.metrics().count("rollback_completed_total", &[]) == times).then_some(())
    });
    assert_eq!(street.version("v2")["state"], "quarantined");
}

fn release(street: &Street) {
    let order = json!({ "route": "digits", "version": "v2", "reason": "mended" });
    let request = Request::post("/api/v1/quarantine/release", order.to_string());
    let answer = street.admin(request.field("content-type", "application/json"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The virtual environment with the models, made if it is not there.
fn set_up() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("mlserver-venv");
    let script = source("setup");
    let made = Command::new(&script).arg(&place).output();
    let made = made.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "the set-up of MLServer failed: {said}");
    place
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mlserver").join(name)
}

/// One MLServer with one version of the model.
struct MlServer {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl MlServer {
    fn start(place: &Path, version: &str, cue: &Path) -> Self {
        let mut child = Command::new(place.join("bin/mlserver"))
            .args(["start", "."])
            .current_dir(place.join("models").join(version))
            .env("PYTHONPATH", source(""))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("DIGITS_CUE", cue)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        follow(child.stderr.take().unwrap(), log.clone());
        let server = Self { child, log };
        let address = server.url();
        let address = address.strip_prefix("http://").unwrap().parse().unwrap();
        wait::eventually("MLServer has loaded its model", MINUTE, || {
            let answer = Request::get("/v2/models/digits/ready").ask(address);
            (answer.status == 200).then_some(())
        });
        server
    }

    /// Where it is, from its own log.
    fn url(&self) -> String {
        wait::eventually("MLServer says where it listens", MINUTE, || {
            let log = self.log.lock().unwrap();
            let (_, rest) = log.split_once("Uvicorn running on ")?;
            Some(rest.split_whitespace().next()?.to_owned())
        })
    }

    fn kill(&mut self) {
        // It may have ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

impl Drop for MlServer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- MLServer ---\n{}", self.log.lock().unwrap());
        }
    }
}

fn follow(from: impl Read + Send + 'static, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            if log.len() < 100_000 {
                log.push_str(&line);
                log.push('\n');
            }
        }
    });
}

/// A client process.
struct Driver {
    child: Child,
    says: BufReader<std::process::ChildStdout>,
}

impl Driver {
    /// Starts it and waits for its first answer.
    fn start(place: &Path, street: &Street, pause: f64) -> Self {
        let mut child = Command::new(place.join("bin/python"))
            .arg(source("drive.py"))
            .args([street.http.to_string(), pause.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self { child, says }
    }

    /// What it got.
    fn finish(mut self) -> Value {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.says.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // One that has finished is only waited for.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

const MINUTE: Duration = Duration::from_secs(60);
