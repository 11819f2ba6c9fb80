//! Given an audit log on a file system that is full, then the proxy goes on serving, raises
//! the alarm, refuses what operators order and it cannot record, takes users off a bad version
//! all the same, and records it when there is room again. (issue 4: a full disk)
//!
//! The file system is a real one of 8 MiB, mounted in a namespace of the test's own, so that
//! nothing of it is left behind; where the machine allows no such namespace, the test says so
//! and proves nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::config::Config;
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::street::{Dir, Street, run};
use crate::support::wait::{self, SOON};

/// Whether a process may have a file system of its own.
fn may_mount(at: &Path) -> bool {
    let script = "mount -t tmpfs -o size=1m tmpfs \"$1\"";
    let done =
        Command::new("unshare").args(["-rm", "sh", "-c", script, "sh"]).arg(at).output();
    done.is_ok_and(|done| done.status.success())
}

/// The state directory as the proxy sees it.
fn state(street: &Street) -> PathBuf {
    let inside = format!("/proc/{}/root", street.pid());
    Path::new(&inside).join(street.dir().path().join("state").strip_prefix("/").unwrap())
}

fn records(street: &Street) -> Vec<Value> {
    let mut files: Vec<_> = fs::read_dir(state(street).join("audit"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "jsonl"))
        .collect();
    files.sort_unstable();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    texts
        .flat_map(|text| {
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            let lines = text[..whole].lines();
            lines.map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        })
        .collect()
}

/// Takes all the room there is left.
fn fill(street: &Street) {
    let filler = state(street).join("filler");
    let script = "head -c 64M /dev/zero > \"$1\"; :";
    let done = Command::new("sh").args(["-c", script, "sh"]).arg(&filler).output();
    assert!(done.unwrap().status.success());
    assert!(fs::metadata(&filler).unwrap().len() > 0, "it was full before");
}

#[test]
fn a_full_disk_stops_operators_and_not_the_protection() {
    let dir = Dir::new();
    fs::create_dir_all(dir.path().join("state")).unwrap();
    if !may_mount(&dir.path().join("state")) {
        eprintln!("no file system of one's own here: nothing is proven");
        return;
    }
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "30%", &canary);
    dir.write("switchback.yaml", &config.yaml(dir.path()));
    let street = Street::start_on_small_disk(dir, "state", "8m");
    Load::new(street.http).requests(100).run().is_clean();
    assert_eq!(street.admin(Street::weight_order("iris", "v2", 31.0)).status, 200);

    fill(&street);
    // What is ordered cannot be recorded, and is not done.
    let mut weight = 31.0;
    wait::eventually("an order is refused", SOON, || {
        let answer = street.admin(Street::weight_order("iris", "v2", 71.0 - weight));
        // The last bytes of the disk may take one more.
        if answer.status == 200 {
            weight = 71.0 - weight;
        }
        (answer.status == 503).then_some(())
    });
    let now = street.version("v2")["weight"].as_f64().unwrap();
    assert!((now - weight).abs() < 0.1, "{now} is in force, {weight} was ordered last");
    wait::eventually("the alarm is raised", SOON, || {
        street.status()["audit_error"].as_str().map(|_| ())
    });
    assert!(street.metrics().sum("switchback_audit_failures_total", &[]) >= 1.0);
    Load::new(street.http).requests(500).run().is_clean();

    // Users are taken off a bad version all the same.
    canary.now(scripts::status(500));
    let load = Load::new(street.http).clients(4).start();
    wait::eventually("v2 is out", Duration::from_secs(60), || {
        (street.version("v2")["state"] == "quarantined").then_some(())
    });
    load.stop().is_clean();
    Load::new(street.http).requests(200).run().is_clean();

    // With room again what happened is recorded, and orders are taken.
    fs::remove_file(state(&street).join("filler")).unwrap();
    wait::eventually("it is recorded", SOON, || {
        let has = |kind: &str| records(&street).iter().any(|it| it["kind"] == *kind);
        (has("rollback.started") && has("rollback.completed")).then_some(())
    });
    wait::eventually("the alarm is over", SOON, || {
        street.status()["audit_error"].is_null().then_some(())
    });
    let release = r#"{"route":"iris","version":"v2","reason":"a test"}"#;
    let release =
        crate::support::client::Request::post("/api/v1/quarantine/release", release);
    let answer = street.admin(release.field("content-type", "application/json"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let log = state(&street).join("audit").display().to_string();
    let checked = run(["audit", "verify", "--dir", &log]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(0), "{said}");
}
