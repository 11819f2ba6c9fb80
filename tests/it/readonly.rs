//! Kept answers when nobody can give a new one: in the read-only mode, and over a restart
//! from the copy on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::client::{Answer, Request};
use crate::support::config::{Config, NO_RULES, Route};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

const PERSISTED: &str = "fallback: { cache: { enabled: true, persist: true } }";

/// The files of kept answers.
fn files(street: &Street) -> Vec<PathBuf> {
    let Ok(listed) = fs::read_dir(street.dir().path().join("state/cache")) else {
        return Vec::new();
    };
    let paths = listed.map(|one| one.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|it| it == "kept")).collect()
}

fn on_disk(street: &Street, count: usize) {
    wait::eventually("kept answers on disk", SOON, || {
        (files(street).len() == count).then_some(())
    });
}

fn degraded(answer: &Answer, body: &str) {
    let raw = answer.head.raw.escape_ascii().to_string();
    assert_eq!((answer.status, answer.text().as_str()), (200, body), "{raw}");
    assert!(!answer.field("x-service-degraded").is_empty(), "{raw}");
    assert!(answer.field("cache-status").contains("hit"), "{raw}");
}

fn refused(answer: &Answer) {
    let raw = answer.head.raw.escape_ascii().to_string();
    assert!([502, 503, 504].contains(&answer.status), "{raw} {}", answer.text());
    assert!(answer.field("proxy-status").contains("error="), "{raw}");
}

/// Waits until a version answers; a route that has become read-only leaves that by itself.
fn serves_again(street: &Street, question: &Request) {
    wait::eventually("a version answers again", SOON, || {
        let answer = street.ask(question);
        let plain = answer.field("x-service-degraded").is_empty();
        (answer.status == 200 && plain).then_some(())
    });
}

#[test]
fn a_route_without_a_version_is_read_only_until_one_is_back() {
    let (stable, last) = (ModelServer::good("v1"), ModelServer::good("v0"));
    let route = Route::new("iris")
        .stable("v1", &stable)
        .version("v0", "role: candidate", &[last.url()])
        .with("fallback: { cache: { enabled: true }, emergencyVersion: v0 }");
    let street = Street::open(&Config::new([route]));
    let known = Request::infer("known");
    let body = street.ask(&known).text();
    assert_eq!(street.metrics().count("switchback_service_mode", &[]), 0);
    stable.kill();
    let until = "the route is read-only";
    let kept = wait::eventually(until, SOON, || {
        let answer = street.ask(&known);
        degraded(&answer, &body);
        (answer.field("x-switchback-reason") == "read-only").then_some(answer)
    });
    assert_eq!(kept.version(), "v1");
    assert!(kept.field("x-service-degraded").starts_with("read-only; since=20"));
    assert!(kept.field("cache-status").contains("detail=read-only"));
    assert_eq!(street.metrics().count("switchback_service_mode", &[]), 2);
    let asked = stable.seen().len();
    let answer = street.ask(&Request::infer("never asked"));
    assert_eq!((answer.status, answer.version().as_str()), (200, "v0"));
    assert!(answer.field("x-service-degraded").starts_with("read-only; since=20"));
    let write = Request::new("DELETE", "/v2/models/iris");
    let refusal = street.ask(&write);
    refused(&refusal);
    assert_eq!((refusal.status, refusal.field("retry-after").as_str()), (503, "5"));
    assert_eq!(refusal.field("x-switchback-reason"), "read-only");
    assert_eq!(last.seen().len(), 1, "the question and not the order");
    assert_eq!(stable.seen().len(), asked);
    let turned = street.metrics().requests("v1", "rejected_by_proxy");
    assert!(turned >= 2, "{turned}");
    stable.come_back();
    serves_again(&street, &known);
    assert_eq!(street.metrics().count("switchback_service_mode", &[]), 0);
}

#[test]
fn kept_answers_outlive_the_process_when_both_versions_are_gone() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "50%", &canary).workers(2);
    let street = Street::open(&config.route_with(NO_RULES).route_with(PERSISTED));
    let questions: Vec<Request> = (0..20)
        .map(|number| Request::infer(format!("{{\"inputs\":[{number}]}}")))
        .collect();
    let known: Vec<String> =
        questions.iter().map(|question| street.ask(question).text()).collect();
    let tenant = Request::infer("mine").field("x-tenant", "acme");
    let own = street.ask(&tenant).text();
    on_disk(&street, 21);
    let directory = street.dir().path().join("state/cache");
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert!(files(&street).iter().all(|file| mode(file) == 0o600));
    let written = street.metrics();
    assert_eq!(
        written.count("switchback_cache_disk_answers_total", &[("outcome", "written")]),
        21
    );
    stable.kill();
    canary.kill();
    // As `kill -9` does, and with a file that was torn by it.
    let torn = files(&street).into_iter().max().unwrap();
    let street = {
        let file = fs::read(&torn).unwrap();
        fs::write(&torn, &file[..file.len() - 1]).unwrap();
        street.again()
    };
    let mut found = 0;
    for (question, body) in
        questions.iter().chain([&tenant]).zip(known.iter().chain([&own]))
    {
        let answer = street.ask(question);
        if answer.status == 200 {
            degraded(&answer, body);
            found += 1;
        } else {
            refused(&answer);
        }
    }
    assert_eq!(found, 20, "all but the torn one");
    assert!(!torn.exists());
    refused(&street.ask(&Request::infer("mine").field("x-tenant", "other")));
    refused(&street.ask(&Request::infer("mine")));
    refused(&street.ask(&Request::infer("never asked")));
    let served = street.metrics().count("switchback_cache_served_total", &[]);
    assert_eq!(served, 20);
    stable.come_back();
    serves_again(&street, &questions[0]);
}

#[test]
fn what_a_quarantined_version_gave_is_gone_after_a_restart_too() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "100%", &canary).route_with(PERSISTED);
    let street = Street::open(&config);
    let question = Request::infer("only the canary knew");
    assert_eq!(street.ask(&question).version(), "v2");
    on_disk(&street, 1);
    let spared = fs::read(&files(&street)[0]).unwrap();
    let file = files(&street)[0].clone();
    canary.now(scripts::status(500));
    let load = Load::new(street.http).start();
    street.rolled_back("v2");
    load.stop().is_clean();
    wait::eventually("the purge is on disk", SOON, || (!file.exists()).then_some(()));
    stable.kill();
    canary.kill();
    // Even if the file had outlived the purge.
    fs::write(&file, spared).unwrap();
    let street = street.again();
    refused(&street.ask(&question));
    assert!(!file.exists(), "it is thrown away at the start");
    let answer = street.ask(&Request::infer("{\"inputs\":[1,2,3]}"));
    assert_eq!((answer.status, answer.version().as_str()), (200, "v1"), "{answer:?}");
}

#[test]
fn an_orderly_end_writes_what_waits_and_nothing_is_written_unasked() {
    let server = ModelServer::good("v1");
    let mut street = Street::open(&Config::plain(&server).route_with(PERSISTED));
    let count = Load::new(street.http).requests(50).run();
    count.is_clean();
    let last = Request::infer("the last question");
    let body = street.ask(&last).text();
    street.signal("TERM");
    assert!(street.ends(Duration::from_secs(10)).success());
    server.kill();
    let street = street.again();
    degraded(&street.ask(&last), &body);

    let server = ModelServer::good("v1");
    let memory = "fallback: { cache: { enabled: true } }";
    let street = Street::open(&Config::plain(&server).route_with(memory));
    street.ask(&last);
    server.kill();
    degraded(&street.ask(&last), &body);
    assert!(!street.dir().path().join("state/cache").exists());
    refused(&street.again().ask(&last));
}
