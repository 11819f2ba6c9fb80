//! The file changes while requests pass: a good one is taken, a bad one changes nothing and
//! is loud, however it got there.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::support::client::Request;
use crate::support::config::{Config, NO_RULES};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::street::{Dir, Street};
use crate::support::wait::{self, SOON};

fn pair(stable: &ModelServer, weight: &str, canary: &ModelServer) -> Config {
    Config::pair(stable, weight, canary).route_with(NO_RULES)
}

fn weighs(street: &Street, weight: f64) {
    wait::eventually(&format!("the canary's weight is {weight}"), SOON, || {
        (street.version("v2")["weight"] == weight).then_some(())
    });
}

#[test]
fn a_good_file_is_taken_under_load() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = Street::open(&pair(&stable, "0%", &canary).workers(2));
    let load = Load::new(street.http).start();
    for weight in ["100%", "10%", "100%"] {
        street.rewrite(&pair(&stable, weight, &canary).workers(2));
        weighs(&street, weight.trim_end_matches('%').parse().unwrap());
    }
    load.stop().is_clean();
    let count = Load::new(street.http).requests(200).run();
    assert_eq!(count.of("v2"), 200, "{:?}", count.good);
}

#[test]
fn weight_after_weight_from_the_file_fails_no_request() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = |weight: u64| pair(&stable, &format!("{weight}%"), &canary).workers(2);
    let street = Street::open(&config(10));
    let load = Load::new(street.http).clients(4).start();
    for turn in 1..=reloads() {
        let weight = 10 + turn * 7 % 80;
        street.rewrite(&config(weight));
        weighs(&street, weight as f64);
    }
    let count = load.stop();
    count.is_clean();
    assert!(count.longest < Duration::from_secs(2), "one waited {:?}", count.longest);
}

/// More in a soak; the file is looked at once in a while, so that each takes its time.
fn reloads() -> u64 {
    std::env::var("SWITCHBACK_TEST_RELOADS").map_or(8, |n| n.parse().unwrap())
}

#[test]
fn new_routes_versions_and_servers_are_taken() {
    let servers =
        [ModelServer::good("v1"), ModelServer::good("v2"), ModelServer::good("v3")];
    let street = Street::open(&pair(&servers[0], "0%", &servers[1]));
    let load = Load::new(street.http).start();
    load.reaches(200);
    street.rewrite(&pair(&servers[2], "0%", &servers[1]));
    wait::eventually("another server is stable", SOON, || {
        street.ask(&Request::infer("{}")).text().contains("v3").then_some(())
    });
    // What was on its way to the old server when the new one came may still arrive.
    load.reaches(load.sent() + 100);
    let before = servers[0].requests();
    load.reaches(load.sent() + 200);
    load.stop().is_clean();
    assert_eq!(
        servers[0].requests(),
        before,
        "a server that is gone still gets requests"
    );
}

#[test]
fn a_bad_file_changes_nothing_and_is_loud() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = Street::open(&pair(&stable, "100%", &canary));
    let bad =
        ["routes: [", "", "routes: []\n", "listeners: 7\n", "\0\0", "unknownKey: 1\n"];
    for text in bad {
        street.dir().write("switchback.yaml", text);
        wait::eventually(&format!("{text:?} is refused"), SOON, || {
            street.status()["reload_error"].is_string().then_some(())
        });
        let count = Load::new(street.http).requests(50).run();
        count.is_clean();
        assert_eq!(count.of("v2"), 50, "after {text:?}: {:?}", count.good);
        street.rewrite(&pair(&stable, "100%", &canary));
        wait::eventually("a good file after a bad one", SOON, || {
            street.status()["reload_error"].is_null().then_some(())
        });
    }
    street.rewrite(&pair(&stable, "130%", &canary));
    street.says("130%");
    assert_eq!(street.version("v2")["weight"], 100.0);
    let log = street.log();
    assert!(log.contains("routes[0].versions[1].weight"), "no path in the log:\n{log}");
}

#[test]
fn a_file_that_goes_missing_changes_nothing() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let mut street = Street::open(&pair(&stable, "100%", &canary));
    fs::remove_file(street.dir().path().join("switchback.yaml")).unwrap();
    street.signal("HUP");
    wait::holds("the canary's weight", Duration::from_secs(2), || {
        street.version("v2")["weight"] == 100.0
    });
    assert!(street.is_up());
    street.rewrite(&pair(&stable, "40%", &canary));
    weighs(&street, 40.0);
}

#[test]
fn a_hangup_signal_reads_the_file_again() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let mut street = Street::open(&pair(&stable, "0%", &canary));
    street.rewrite(&pair(&stable, "30%", &canary));
    street.signal("HUP");
    weighs(&street, 30.0);
    // Again and again, with nothing changed.
    for _ in 0..20 {
        street.signal("HUP");
    }
    assert!(street.is_up());
    street.is_well();
}

#[test]
fn a_config_map_swap_is_seen() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let dir = Dir::new();
    let stage = |name: &str, weight: &str| {
        let place = dir.path().join(name);
        fs::create_dir(&place).unwrap();
        let text = pair(&stable, weight, &canary).yaml(dir.path());
        fs::write(place.join("switchback.yaml"), text).unwrap();
    };
    // As the kubelet lays it out: file -> ..data/file, ..data -> a directory with a date.
    stage("..2026_01_01", "0%");
    symlink("..2026_01_01", dir.path().join("..data")).unwrap();
    symlink("..data/switchback.yaml", dir.path().join("switchback.yaml")).unwrap();
    let path = dir.path().to_owned();
    stage("..2026_01_02", "100%");
    let street = Street::start(dir, "switchback.yaml");
    assert_eq!(street.version("v2")["weight"], 0.0);
    symlink("..2026_01_02", path.join("..data_tmp")).unwrap();
    fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    fs::remove_dir_all(path.join("..2026_01_01")).unwrap();
    weighs(&street, 100.0);
    assert_eq!(street.ask(&Request::infer("{}")).version(), "v2");
}

#[test]
fn what_needs_a_restart_says_so() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = Street::open(&pair(&stable, "10%", &canary));
    street.rewrite(&pair(&stable, "20%", &canary).workers(2));
    street.says("next start");
    street.is_well();
}
