//! Starts that cannot be, and files that are wrong: each a clear error that names what and
//! where, exit code 1, and nothing left behind.

use std::net::TcpListener;
use std::process::Output;

use crate::support::config::Config;
use crate::support::model_server::ModelServer;
use crate::support::street::{Dir, run};
use crate::support::tls::Authority;

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Runs `command` on that file, which must fail and say all of that.
fn fails(command: &[&str], dir: &Dir, yaml: &str, says: &[&str]) {
    let file = dir.write("switchback.yaml", yaml);
    let mut args: Vec<&str> = command.to_vec();
    args.push(file.to_str().unwrap());
    let output = run(&args);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{yaml}\n{text}");
    assert!(!text.contains("panicked"), "{text}");
    for what in says {
        assert!(text.contains(what), "no {what:?} in:\n{text}");
    }
}

const RUN: &[&str] = &["run", "--config"];
const CHECK: &[&str] = &["check"];
const ROUTE: &str = "routes:\n  - name: iris\n    versions:\n      \
                     - { name: v1, role: stable, endpoints: [\"http://127.0.0.1:1\"] }\n";

#[test]
fn a_port_in_use_is_named() {
    let dir = Dir::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let state = format!("stateDir: {:?}\n", dir.path().join("state"));
    let free = "admin: { address: \"127.0.0.1:0\" }\n";
    let yaml = format!("listeners: [{{ address: \"{address}\" }}]\n{free}{state}{ROUTE}");
    fails(RUN, &dir, &yaml, &[&address, "in use"]);
    let yaml = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"{address}\" }}\n{state}{ROUTE}"
    );
    fails(RUN, &dir, &yaml, &[&address, "in use"]);
}

#[test]
fn a_second_proxy_on_the_same_port_does_not_start() {
    let server = ModelServer::good("v1");
    let street = crate::support::street::Street::open(&Config::plain(&server));
    let dir = Dir::new();
    let address = street.http.to_string();
    let yaml = format!(
        "listeners: [{{ address: \"{address}\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         stateDir: {:?}\n{ROUTE}",
        dir.path().join("state")
    );
    fails(RUN, &dir, &yaml, &[&address, "in use"]);
    street.is_well();
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    let dir = Dir::new();
    dir.write("file", "in the way");
    for place in
        [dir.path().join("file"), dir.path().join("file/state"), "/proc/state".into()]
    {
        let yaml = format!(
            "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
             stateDir: {place:?}\n{ROUTE}"
        );
        fails(RUN, &dir, &yaml, &[place.to_str().unwrap()]);
    }
}

#[test]
fn a_state_directory_in_use_is_named() {
    let server = ModelServer::good("v1");
    let street = crate::support::street::Street::open(&Config::plain(&server));
    let state = street.dir().path().join("state");
    let dir = Dir::new();
    let yaml = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         stateDir: {state:?}\n{ROUTE}"
    );
    fails(RUN, &dir, &yaml, &[state.to_str().unwrap()]);
}

#[test]
fn ten_mistakes_are_told_at_once_each_with_its_place() {
    let dir = Dir::new();
    let yaml = "\
workers: 0
listeners:
  - { address: \"127.0.0.1\", protocol: http3, limits: { headerSize: lots, bodyIdleTimeout: 5 years } }
shutdown: { drainTimeout: -1s }
routes:
  - name: iris
    repeatable: sometimes
    versions:
      - { name: v1, role: stable, endpoints: [\"gopher://127.0.0.1\"] }
      - { name: v2, role: canary, weight: 130%, endpoints: [\"http://127.0.0.1:9002\"] }
    overrides: [{ header: canary, value: \"true\", to: v7 }]
    analysis: { metrics: [{ name: happiness }] }
";
    let says = [
        "workers",
        "listeners[0].address",
        "listeners[0].protocol",
        "listeners[0].limits.headerSize",
        "listeners[0].limits.bodyIdleTimeout",
        "shutdown.drainTimeout",
        "routes[0].repeatable",
        "routes[0].versions[0].endpoints[0]",
        "routes[0].versions[1].weight",
        "routes[0].overrides[0].to",
        "routes[0].analysis.metrics[0].name",
        "switchback.yaml",
        "130%",
        "gopher",
        "http3",
    ];
    for command in [CHECK, RUN] {
        fails(command, &dir, yaml, &says);
    }
}

#[test]
fn one_mistake_of_each_kind_is_named() {
    let dir = Dir::new();
    let listener = "listeners: [{ address: \"127.0.0.1:0\" }]\n";
    let with = |extra: &str| format!("{listener}{ROUTE}{extra}");
    let version = |members: &str| {
        format!("{listener}routes: [{{ name: iris, versions: [{{ {members} }}] }}]\n")
    };
    let table = [
        (String::new(), "switchback.yaml"),
        ("- a\n- b\n".to_owned(), "switchback.yaml"),
        (format!("{listener}routes: [\n"), "line"),
        (listener.to_owned(), "routes"),
        (ROUTE.to_owned(), "listeners"),
        (with("wrokers: 2\n"), "wrokers"),
        (with("    timeouts: { firstbyte: 1s }\n"), "firstbyte"),
        (with("    timeouts: { firstByte: 10 }\n"), "routes[0].timeouts.firstByte"),
        (
            with("    timeouts: { firstByte: \"${NO_SUCH_VARIABLE}\" }\n"),
            "NO_SUCH_VARIABLE",
        ),
        (
            with("    timeouts: { firstByte: \"${file:/no/such/file}\" }\n"),
            "/no/such/file",
        ),
        (with("    rescue: { on: [sunshine] }\n"), "sunshine"),
        (with("    retry: { budget: 200% }\n"), "routes[0].retry.budget"),
        (
            with("    fallback: { cache: { maxSize: 5 bananas } }\n"),
            "routes[0].fallback.cache.maxSize",
        ),
        (
            version("name: v1, role: canary, weight: 10%, endpoints: [\"http://a:1\"]"),
            "stable",
        ),
        (version("name: v1, role: boss, endpoints: [\"http://a:1\"]"), "boss"),
        (
            version("name: v1, role: stable, endpoints: []"),
            "routes[0].versions[0].endpoints",
        ),
        (version("name: v1, role: stable, endpoints: [\"http://a:99999\"]"), "99999"),
        (version("name: \"a b\", role: stable, endpoints: [\"http://a:1\"]"), "a b"),
        (with("  - name: iris\n    versions: []\n"), "routes[1]"),
        (
            format!("{listener}admin: {{ address: \"0.0.0.0:9901\" }}\n{ROUTE}"),
            "operators",
        ),
        (
            format!("{listener}admin: {{ address: \"nowhere\" }}\n{ROUTE}"),
            "admin.address",
        ),
    ];
    for (yaml, says) in &table {
        fails(CHECK, &dir, yaml, &[says]);
    }
}

#[test]
fn what_is_not_built_yet_is_refused_by_name() {
    let dir = Dir::new();
    let listener = "listeners: [{ address: \"127.0.0.1:0\" }]\n";
    let table = [
        ("    shadow: { version: v1, percent: 20% }\n", "shadow"),
        ("    rollout: { strategy: shadow }\n", "rollout.strategy"),
    ];
    for (extra, says) in table {
        let yaml = format!("{listener}{ROUTE}{extra}");
        let file = dir.write("switchback.yaml", &yaml);
        let output = run(["check", file.to_str().unwrap()]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{extra}{text}");
        assert!(text.contains(says) && text.contains("not built"), "{extra}{text}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    for args in [
        ["check", "/no/such/file.yaml"].as_slice(),
        &["run", "--config", "/no/such/file.yaml"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("/no/such/file.yaml"), "{}", text(&output));
    }
}

#[test]
fn a_good_file_is_explained() {
    let server = ModelServer::good("v1");
    let dir = Dir::new();
    let file = dir.write("good.yaml", &Config::plain(&server).yaml(dir.path()));
    let output = run(["check", file.to_str().unwrap()]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for word in ["iris", "v1", "stable"] {
        assert!(text.contains(word), "no {word} in:\n{text}");
    }
}

#[test]
fn the_schema_is_json_and_knows_the_keys() {
    let output = run(["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["listeners", "routes", "admin", "stateDir", "shutdown", "workers"] {
        assert!(schema["properties"][key].is_object(), "no {key} in the schema");
    }
}

#[test]
fn every_example_is_a_good_file() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let certificates = Authority::serving();
    let mut count = 0;
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "yaml") {
            // The examples name certificates beside them, which nobody keeps in a repository.
            let copy = certificates.path(path.file_name().unwrap().to_str().unwrap());
            std::fs::copy(&path, &copy).unwrap();
            let output = run(["check", copy.to_str().unwrap()]);
            assert_eq!(
                output.status.code(),
                Some(0),
                "{}: {}",
                path.display(),
                text(&output)
            );
            count += 1;
        }
    }
    assert!(count > 0, "no examples in {}", dir.display());
}

#[test]
fn a_command_that_is_none_is_explained() {
    for args in [&["frobnicate"][..], &[], &["run"], &["run", "--config"], &["check"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output));
        assert!(
            ["usage", "--help"].iter().any(|w| text(&output).to_lowercase().contains(w)),
            "{args:?}: {}",
            text(&output)
        );
    }
}
