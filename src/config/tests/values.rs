//! The whole way from text to settings: defaults, insertions, bounds and examples. Apart
//! from the mistakes because here the files are right.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::support::{
    CANARY, LISTENERS, STABLE, environment, problems, read, says, settings, with_canary,
    with_route, with_top,
};
use crate::config::describe;
use crate::config::error::Report;
use crate::config::file::FILE;
use crate::config::load::{load, parse_in};
use crate::config::shape::{Key, Need, Shape, check};
use crate::config::tree::read as read_tree;
use crate::control::OnTimeout;
use crate::judge::{Confirm, Metric, OnBreach, Rule, Test};
use crate::proxy::ListenerProtocol;
use crate::upstream::{Balance, Protocol};
use crate::vocab::policy::{Affinity, FailureSet, Repeatable};

#[test]
fn the_minimal_file_has_the_defaults_of_the_interface() {
    let settings = settings(&with_route(""));
    assert_eq!(settings.workers, 1);
    assert_eq!(settings.state_dir, Path::new("./switchback-state"));
    assert_eq!(settings.shutdown_drain, Duration::from_secs(30));
    assert_eq!(settings.admin.address, SocketAddr::from(([127, 0, 0, 1], 9901)));
    assert!(settings.admin.metrics_address.is_none());
    assert!(settings.admin.operators.is_empty());
    let listener = &settings.listeners[0];
    assert_eq!(
        (listener.name.as_str(), listener.protocol),
        ("http", ListenerProtocol::Auto)
    );
    assert!(listener.trusted.is_empty());
    let limits = listener.limits;
    assert_eq!((limits.max_connections, limits.header_count), (10_000, 100));
    assert_eq!((limits.header_size, limits.body_size), (64 << 10, 64 << 20));
    assert_eq!((limits.requests_per_connection, limits.concurrent_streams), (0, 128));
    let seconds = |s| Duration::from_secs(s);
    assert_eq!(limits.header_timeout, seconds(10));
    assert_eq!(limits.body_idle_timeout, seconds(30));
    assert_eq!(limits.keep_alive_timeout, seconds(75));
    let route = &settings.live.routes[0];
    assert_eq!(route.matcher.path_prefix, "/");
    assert!(route.matcher.hosts.is_empty() && route.matcher.headers.is_empty());
    assert!(route.overrides.is_empty());
    assert_eq!(route.rollback.drain_timeout, seconds(30));
    assert_eq!(route.rollback.cap, seconds(600));
    assert_eq!(route.rollback.on_timeout, OnTimeout::Finish);
    let stable = &route.versions[0];
    assert_eq!((stable.digest.as_str(), stable.weight.ppm()), ("a", 0));
    let upstream = &stable.upstream;
    assert_eq!((upstream.pool.max_idle, upstream.pool.max_connections), (64, 1_024));
    assert_eq!(upstream.pool.idle_timeout, seconds(4));
    assert_eq!(upstream.outlier.consecutive_failures, 5);
    assert_eq!(upstream.outlier.base_ejection, seconds(30));
    assert_eq!(upstream.outlier.max_ejected.to_string(), "50%");
    assert_eq!(
        (upstream.protocol, upstream.balance),
        (Protocol::Auto, Balance::LeastRequest)
    );
    assert_eq!((upstream.max_in_flight, upstream.connect_timeout), (0, seconds(1)));
    assert!(upstream.health.is_none());
}

#[test]
fn the_minimal_route_has_the_policy_and_rules_of_the_interface() {
    let settings = settings(&with_route(""));
    let route = &settings.live.routes[0];
    let policy = &route.policy;
    let seconds = |s| Duration::from_secs(s);
    assert_eq!(policy.timeouts.first_byte, seconds(120));
    assert_eq!(policy.timeouts.idle, seconds(120));
    assert_eq!(
        (policy.timeouts.connect, policy.timeouts.total),
        (seconds(1), seconds(0))
    );
    assert_eq!(policy.repeatable, Repeatable::Auto);
    assert_eq!(
        (policy.retry.attempts, policy.retry.budget.to_string().as_str()),
        (1, "20%")
    );
    let (connect, reset) = (true, true);
    let statuses = vec![503];
    assert_eq!(
        policy.retry.on,
        FailureSet { connect, reset, statuses, ..FailureSet::default() }
    );
    let (timeout, stream_error, server_errors) = (true, true, true);
    let statuses = vec![];
    assert_eq!(
        policy.rescue.on,
        FailureSet { connect, reset, timeout, stream_error, server_errors, statuses }
    );
    assert_eq!(policy.rescue.max_body, 1 << 20);
    assert!(policy.cache.is_none());
    assert_eq!(policy.banner.header, "x-service-degraded");
    assert!(policy.banner.json_field.is_none());
    let rules = &route.rules;
    assert_eq!(rules.interval, Duration::from_millis(250));
    assert_eq!(rules.window, seconds(300));
    let acts = |rule| Metric {
        rule,
        on_breach: OnBreach::Rollback,
        dry_run: false,
        test: Test::Sequential,
    };
    assert_eq!(rules.confirm, Confirm::Auto);
    assert!((rules.false_alarm - 0.001).abs() < 1e-12);
    let percent = |p| crate::vocab::amount::Percent::of(p).unwrap();
    assert_eq!(
        rules.metrics,
        [
            acts(Rule::ErrorRate {
                max_ratio: Some(2.0),
                floor: percent(1.0),
                max: Some(percent(5.0)),
                min_samples: 50,
            }),
            acts(Rule::LatencyP99 {
                max_ratio: Some(1.5),
                floor: Duration::from_millis(5),
                max: None,
                min_samples: 200,
            }),
            acts(Rule::HealthCheck),
        ]
    );
}

#[test]
fn a_limit_of_its_own_replaces_the_default_ones() {
    let text = with_route(
        "analysis: { metrics: [{ name: errorRate, max: 3%, dryRun: true }, { name: latencyP99, onBreach: alert }] }",
    );
    let settings = settings(&text);
    let metrics = &settings.live.routes[0].rules.metrics;
    let Rule::ErrorRate { max_ratio, max, .. } = &metrics[0].rule else { panic!() };
    assert_eq!((*max_ratio, max.unwrap().to_string().as_str()), (None, "3%"));
    assert!(metrics[0].dry_run && metrics[1].on_breach == OnBreach::Alert);
    let Rule::LatencyP99 { max_ratio, .. } = &metrics[1].rule else { panic!() };
    assert_eq!(*max_ratio, Some(1.5));
}

#[test]
fn every_way_to_weigh_and_to_confirm_is_told_from_the_others() {
    for (lines, alpha, confirm, test, says) in [
        (
            "analysis: { falseAlarm: 50, confirm: off, metrics: [{ name: errorRate, test: window }] }",
            0.5,
            Confirm::Off,
            Test::Window,
            "from 50 requests on, it is rolled back\n    the first verdict is final",
        ),
        (
            "analysis: { falseAlarm: 0.0001%, confirm: mirror, metrics: [{ name: errorRate, test: both }] }",
            1e-6,
            Confirm::Mirror,
            Test::Both,
            "suffices or from 50 requests on",
        ),
        (
            "repeatable: false\n    analysis: { confirm: trickle, metrics: [{ name: errorRate }] }",
            1e-3,
            Confirm::Trickle,
            Test::Sequential,
            "for a trickle, on which it is confirmed",
        ),
    ] {
        let loaded = read(&with_route(lines)).unwrap();
        let rules = &loaded.settings.live.routes[0].rules;
        assert_eq!((rules.confirm, rules.metrics[0].test), (confirm, test), "{lines}");
        assert!((rules.false_alarm - alpha).abs() < 1e-12, "{lines}");
        let meaning = describe(&loaded);
        assert!(meaning.contains(says), "{meaning}");
    }
}

#[test]
fn names_of_headers_and_methods_are_made_alike() {
    let text = with_route(
        "fallback: { cache: { enabled: true, vary: [X-B, Cookie, x-b], methods: [post] }, banner: { header: X-Note } }\n    overrides: [{ header: Canary, value: true, to: b }]\n    match: { hosts: [A.Org], headers: { X-Team: Risk } }",
    );
    let loaded = read(&text).unwrap();
    let route = &loaded.settings.live.routes[0];
    let cache = route.policy.cache.clone().unwrap();
    assert_eq!(cache.vary, ["cookie", "x-b"]);
    assert_eq!(cache.methods, ["POST"]);
    assert_eq!(route.policy.banner.header, "x-note");
    assert_eq!(route.overrides, [("canary".to_owned(), "true".to_owned(), 1)]);
    assert_eq!(route.matcher.hosts, ["a.org"]);
    assert_eq!(route.matcher.headers, [("x-team".to_owned(), "Risk".to_owned())]);
    let warning = "callers who differ only in authorization, x-api-key, x-tenant get each other's kept answers";
    assert!(loaded.warnings[0].ends_with(warning), "{:?}", loaded.warnings);
}

#[test]
fn bodies_are_shown_where_a_route_asks_for_it_and_nowhere_else() {
    let most = |lines: &str| {
        let loaded = read(&with_route(lines)).unwrap();
        let says = describe(&loaded);
        let said = says.lines().find(|line| line.contains("the bodies of failed"));
        (loaded.settings.live.routes[0].policy.sample_bodies, said.map(str::to_owned))
    };
    let told = |most: &str| {
        format!(
            "  a failure analysis shows the bodies of failed exchanges, {most} of each"
        )
    };
    for (lines, bytes, said) in [
        ("", 0, None),
        ("incident: {}", 0, None),
        ("incident: { bodies: 0B }", 0, None),
        ("incident: { bodies: 1B }", 1, Some(told("1B"))),
        ("incident: { bodies: 4KiB }", 4_096, Some(told("4KiB"))),
    ] {
        assert_eq!(most(lines), (bytes, said), "{lines}");
    }
    for (lines, why) in [
        ("incident: { bodies: 5KiB }", "5KiB is above the largest, 4KiB"),
        ("incident: { bodies: true }", "bodies"),
        ("incident: { bodies: -1B }", "bodies"),
        ("incident: { body: 1KiB }", "there is no such key, known here are bodies"),
        ("incident: 4KiB", "incident"),
    ] {
        let said = read(&with_route(lines)).unwrap_err();
        assert!(said.len() == 1 && said[0].contains(why), "{lines}: {said:?}");
    }
}

#[test]
fn the_emergency_version_is_one_of_the_route() {
    let last = "{ name: c, role: candidate, endpoints: ['http://h:3'] }";
    for (named, role) in [("c", "candidate"), ("a", "stable")] {
        let text = format!(
            "{LISTENERS}routes:\n  - name: r\n    versions: [{STABLE}, {CANARY}, {last}]\n    fallback: {{ emergencyVersion: {named} }}\n"
        );
        let loaded = read(&text).unwrap();
        let route = &loaded.settings.live.routes[0];
        let emergency = route.policy.emergency.as_ref().unwrap();
        let version = route.versions.iter().find(|one| one.name == *emergency).unwrap();
        assert_eq!(version.role.as_str(), role);
        let says = format!("{named} is asked in the read-only mode when nothing is kept");
        assert!(describe(&loaded).contains(&says), "{}", describe(&loaded));
    }
    let plain = read(&with_route("balance: roundRobin")).unwrap();
    assert_eq!(plain.settings.live.routes[0].policy.emergency, None);
}

#[test]
fn insertions_are_filled_in_and_never_shown() {
    let weight = CANARY.replace("10%", "'${WEIGHT}'");
    let text = format!(
        "workers: ${{TWO}}\nlisteners: [{{ address: '127.0.0.1:${{PORT}}' }}]\nroutes: [{{ name: r, versions: [{STABLE}, {weight}], overrides: [{{ header: x-key, value: '${{SECRET}}', to: b }}] }}]\n"
    );
    let loaded = read(&text).unwrap();
    assert_eq!(loaded.settings.workers, 2);
    assert_eq!(loaded.settings.listeners[0].address.port(), 8181);
    let route = &loaded.settings.live.routes[0];
    assert_eq!(route.versions[1].weight.to_string(), "25%");
    assert_eq!(route.overrides[0].1, "hunter2");
    let meaning = describe(&loaded);
    for hidden in ["hunter2", "25%", "75%", "8181"] {
        assert!(!meaning.contains(hidden), "{meaning}");
    }
    assert!(meaning.contains("requests with x-key: *** go to b"), "{meaning}");
    let other = read(&text.replace("${TWO}", "${EMPTY}")).unwrap_err();
    assert_eq!(
        other,
        ["f.yaml:1: workers: the inserted value is not a whole number or auto"]
    );
    let plain = read(&text.replace("${SECRET}", "hunter2")).unwrap();
    assert_ne!(plain.settings.live.config_hash, loaded.settings.live.config_hash);
}

#[test]
fn no_message_shows_an_inserted_value() {
    for lines in [
        "balance: '${SECRET}'",
        "repeatable: ${SECRET}",
        "match: { hosts: ['a:${SECRET}'], pathPrefix: '${SECRET}' }",
        "retry: { on: ['${SECRET}'], budget: '${SECRET}', attempts: '${SECRET}' }",
        "overrides: [{ header: 'x ${SECRET}', value: 'y', to: '${SECRET}' }]",
        "analysis: { window: '${SECRET}', metrics: [{ name: '${SECRET}' }] }",
        "analysis: '${SECRET}'",
        "fallback: { cache: { enabled: '${SECRET}', maxSize: '${SECRET}' } }",
        "rollout: '${SECRET}'",
    ] {
        let said = problems(&with_route(lines)).join("\n");
        assert!(!said.is_empty() && !said.contains("hunter2"), "{lines}\n{said}");
    }
    let endpoint =
        "{ name: s, role: canary, endpoints: ['http://${SECRET}/x', 'ftp://${SECRET}'] }";
    let versions = format!("routes: [{{ name: r, versions: [{STABLE}, {endpoint}] }}]");
    let said = problems(&format!("{LISTENERS}{versions}")).join("\n");
    assert!(said.lines().count() == 2 && !said.contains("hunter2"), "{said}");
    let token =
        "admin: { operators: [{ name: a, role: viewer, tokenFile: '/no/${SECRET}' }] }";
    let said = problems(&with_top(token)).join("\n");
    assert!(
        said.contains("there is no such file") && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_inserted_is_said_once() {
    for (text, message) in [
        (
            with_top("workers: ${NONE}"),
            "workers: the environment variable NONE is not set",
        ),
        (
            with_route("balance: '${NONE}'"),
            "routes[0].balance: the environment variable NONE is not set",
        ),
        (
            with_canary("digest: '${NONE}'"),
            "routes[0].versions[1].digest: the environment variable NONE is not set",
        ),
        (
            with_route("analysis: ${NONE}"),
            "routes[0].analysis: the environment variable NONE is not set",
        ),
    ] {
        says(&text, message);
    }
}

#[test]
fn operators_are_named_where_others_can_reach() {
    says(
        &with_top("admin: { address: '0.0.0.0:9901' }"),
        "admin.operators: is missing: \"0.0.0.0:9901\" is not loopback, so somebody must be named",
    );
    let dir =
        std::env::temp_dir().join(format!("switchback-tokens-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (name, token) in [
        ("good", "0123456789abcdef\n"),
        ("other", "fedcba9876543210"),
        ("short", "0123456789\n"),
        ("spaced", "0123456789 abcdef"),
    ] {
        std::fs::write(dir.join(name), token).unwrap();
    }
    let read = |operators: &str| {
        let text = with_top(&format!(
            "admin: {{ address: '0.0.0.0:9901', operators: [{operators}] }}"
        ));
        parse_in(&text, "f", &dir, &environment)
    };
    let operator = |name: &str, file: &str| {
        format!("{{ name: {name}, tokenFile: {file}, role: operator }}")
    };
    let two = format!("{}, {}", operator("alice", "good"), operator("bob", "other"));
    let admin = read(&two).unwrap().settings.admin;
    assert_eq!(admin.operators[0].token.as_deref(), Some("0123456789abcdef"));
    assert!(!format!("{admin:?}").contains("0123456789"));
    for (operators, message) in [
        (
            operator("alice", "short"),
            "short has a token of 10 characters: use 16 to 4096",
        ),
        (
            operator("alice", "spaced"),
            "spaced has a token with spaces or other than visible ASCII",
        ),
        (operator("alice", "none"), "none cannot be read: there is no such file"),
        (
            format!("{}, {}", operator("a", "good"), operator("b", "good")),
            "has the same token as operators[0]",
        ),
        (
            format!("{}, {}", operator("a", "good"), operator("a", "other")),
            "a is also the name of operators[0]",
        ),
    ] {
        let said = read(&operators).unwrap_err().to_string();
        assert!(said.ends_with(message) && said.lines().count() == 1, "{said}");
        assert!(!said.contains("0123456789"), "{said}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn an_admin_certificate_and_operators_who_are_certificates() {
    let dir = std::env::temp_dir().join(format!("switchback-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    for (name, text) in [
        ("cert.pem", own.cert.pem()),
        ("key.pem", own.signing_key.serialize_pem()),
        ("other.key", other.serialize_pem()),
        ("token", "0123456789abcdef".to_owned()),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let read = |admin: &str| {
        let text = with_top(&format!("admin: {{ {admin} }}"));
        parse_in(&text, "f", &dir, &environment)
    };
    let digits = "ab".repeat(32);
    let tls = "tls: { certFile: cert.pem, keyFile: key.pem, clientCaFile: cert.pem }";
    let carol = format!(
        "{{ name: carol, role: operator, certificate: {{ sha256: {digits:?} }} }}"
    );
    let loaded = read(&format!("{tls}, operators: [{carol}]")).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    let admin = loaded.settings.admin;
    let (carol_is, given) = (&admin.operators[0], admin.tls.unwrap());
    assert_eq!((carol_is.token.is_none(), carol_is.certificate.is_some()), (true, true));
    assert_eq!(given.min_version, crate::tls::MinVersion::Tls12);
    assert_eq!(given.key_file, dir.join("key.pem"));
    let token = "operators: [{ name: a, role: viewer, tokenFile: token }]";
    let open = read(&format!("address: '0.0.0.0:1', {token}")).unwrap();
    assert!(open.warnings[0].ends_with("tokens go there in the clear"));
    for (admin, message) in [
        ("tls: { certFile: cert.pem }".to_owned(), "keyFile: is missing: its key in PEM"),
        (
            "tls: { certFile: none.pem, keyFile: key.pem }".to_owned(),
            "admin.tls.certFile: none.pem cannot be read as PEM: ",
        ),
        (
            "tls: { certFile: key.pem, keyFile: key.pem }".to_owned(),
            "admin.tls.certFile: key.pem has no certificate in it: use a PEM file",
        ),
        (
            "tls: { certFile: cert.pem, keyFile: other.key }".to_owned(),
            "admin.tls.keyFile: other.key is not the key of cert.pem",
        ),
        (
            format!("{tls}, operators: [{{ name: a, role: viewer }}]"),
            "tokenFile: is missing: name a tokenFile, a certificate, or both",
        ),
        (
            format!("operators: [{carol}]"),
            "certificate: is never asked for: set admin.tls with clientCaFile",
        ),
        (
            format!("{tls}, operators: [{carol}, {}]", carol.replace("carol", "dave")),
            "certificate.sha256: is also that of operators[0]",
        ),
        (
            format!("{tls}, operators: [{}]", carol.replace("ab", "xy")),
            "is not the SHA-256 of a certificate: write its 64 hexadecimal digits",
        ),
    ] {
        let said = read(&admin).unwrap_err().to_string();
        assert!(said.contains(message) && said.lines().count() == 1, "{said}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_file_is_bounded() {
    let large = format!("{}#{}", with_route(""), "x".repeat(1 << 20));
    assert_eq!(problems(&large), ["f.yaml: is larger than 1 MiB"]);
    let path =
        std::env::temp_dir().join(format!("switchback-large-{}", std::process::id()));
    std::fs::write(&path, &large).unwrap();
    let by_path = load(&path).unwrap_err().to_string();
    std::fs::write(&path, [b'a', 0xff]).unwrap();
    let binary = load(&path).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(by_path.ends_with("is larger than 1 MiB"), "{by_path}");
    assert!(binary.ends_with("cannot be read: it is not UTF-8 at byte 1"), "{binary}");
    let many = vec![CANARY; 65].join(", ");
    let text =
        format!("{LISTENERS}routes: [{{ name: r, versions: [{STABLE}, {many}] }}]");
    assert!(problems(&text)[0].contains("has 66 of at most 64"));
}

#[test]
fn a_file_full_of_mistakes_gives_a_bounded_list() {
    let lines: String = (0..20_000).map(|number| format!("key{number}: 1\n")).collect();
    let said = problems(&with_top(&lines));
    assert_eq!(said.len(), 201);
    assert_eq!(said[200], "f.yaml: and 19800 more problems");
    let headers: String = (0..20_000).map(|number| format!("h{number}: v, ")).collect();
    says(
        &with_route(&format!("match: {{ headers: {{ {headers} }} }}")),
        "routes[0].match.headers: has 20000 of at most 64",
    );
    let words = "reset, ".repeat(20_000);
    let said = problems(&with_route(&format!("retry: {{ on: [{words}] }}")));
    assert_eq!(said.len(), 32, "{:?}", &said[..2]);
}

#[test]
fn names_and_values_need_no_quotes() {
    let text = with_route("overrides: [{ header: canary, value: true, to: 2.10 }]");
    let settings = settings(&text.replace("name: b", "name: 2.10"));
    let route = &settings.live.routes[0];
    assert_eq!(route.versions[1].name.as_str(), "2.10");
    assert_eq!(route.overrides[0].1, "true");
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    for (text, warning) in [
        (
            with_canary("pool: { idleTimeout: 5s }"),
            "pool.idleTimeout: servers built on uvicorn close idle connections at 5s",
        ),
        (
            with_route("analysis: { metrics: [] }"),
            "analysis.metrics: no rule takes traffic away from a bad canary",
        ),
        (
            with_route("analysis: { metrics: [{ name: errorRate, dryRun: true }] }"),
            "analysis.metrics: no rule takes traffic away from a bad canary",
        ),
        (
            with_route("analysis: { metrics: [{ name: healthCheck }] }"),
            "analysis.metrics: the rule healthCheck needs a healthCheck of the canary",
        ),
        (
            with_top("").replace("8080' }", "8080', trustForwardedFrom: ['::/0'] }"),
            "trustForwardedFrom: believes the forwarding headers of everybody who can connect",
        ),
        (
            with_route("pin: { allowed: [a] }"),
            "pin: no listener has trustForwardedFrom: nobody is believed",
        ),
        (
            with_route("pin: { allowed: [a], header: x-pin-to }")
                .replace("8080' }", "8080', trustForwardedFrom: [10.0.0.0/8] }"),
            "pin.header: a trailer of that name is passed on, unlike one that begins with x-model-",
        ),
    ] {
        let warnings = read(&text).unwrap().warnings;
        assert!(warnings.len() == 1 && warnings[0].ends_with(warning), "{warnings:?}");
    }
    assert!(read(&with_route("")).unwrap().warnings.is_empty());
}

#[test]
fn every_example_loads_without_a_warning() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let certificates = crate::tls::Authority::new();
    certificates.issue("server", &["localhost"]);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        // The examples name certificates beside them, which nobody keeps in a repository.
        let copy = certificates.file().with_file_name(path.file_name().unwrap());
        std::fs::copy(&path, &copy).unwrap();
        let loaded = load(&copy).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.warnings, [""; 0], "{}", path.display());
        assert!(!describe(&loaded).is_empty());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(
        names,
        [
            "full.yaml",
            "gateway.yaml",
            "grpc.yaml",
            "llm.yaml",
            "minimal.yaml",
            "models.yaml",
            "sidecar.yaml",
            "tls.yaml",
        ]
    );
}

#[test]
fn models_sessions_and_pins_are_read_and_described() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let loaded = load(&dir.join("models.yaml")).unwrap();
    let routes = &loaded.settings.live.routes;
    assert_eq!(routes[0].matcher.model.as_deref(), Some("acme/chat"));
    assert_eq!(routes[2].matcher.model, None);
    let header = Affinity::Header("x-session-id".to_owned());
    assert_eq!(routes[0].policy.affinity, Some(header));
    assert_eq!(routes[1].policy.affinity, None);
    let (name, max_age) =
        ("switchback-session".to_owned(), Duration::from_secs(12 * 3_600));
    assert_eq!(routes[2].policy.affinity, Some(Affinity::Cookie { name, max_age }));
    let pin = routes[0].policy.pin.as_ref().unwrap();
    assert_eq!((pin.header.as_str(), pin.refuse), ("x-model-pin", false));
    assert_eq!(pin.to_string(), "x-model-pin: v7, v9, or stable");
    let meaning = describe(&loaded);
    for line in [
        "  takes requests for any host, path /v1, that name the model acme/chat",
        "  trusted callers may demand v7, v9 by x-model-pin; a demand for what takes no requests goes to stable",
        "  a session, told by the header x-session-id, stays with its version",
        "  a session, told by the cookie switchback-session for 12h, stays with its version",
        "    one request of it in a minute counts as evidence",
    ] {
        assert!(meaning.lines().any(|said| said == line), "{line}\n{meaning}");
    }
    let refusing = settings(&with_route(
        "pin: { header: X-Model-Pin, allowed: [a, b], quarantined: refuse }",
    ));
    let pin = refusing.live.routes[0].policy.pin.clone().unwrap();
    assert_eq!(
        (pin.header.as_str(), pin.refuse, pin.allowed.len()),
        ("x-model-pin", true, 2)
    );
}

#[test]
fn a_route_of_grpc_speaks_http2_to_its_servers_unless_it_is_told_not_to() {
    let canary = |lines: &str, version: &str| {
        let text =
            with_route(lines).replace("role: canary", &format!("{version} role: canary"));
        settings(&text).live.routes[0].versions[1].upstream.clone()
    };
    assert_eq!(canary("", "").protocol, Protocol::Auto);
    assert_eq!(canary("dialect: grpc", "").protocol, Protocol::Http2);
    assert_eq!(canary("dialect: grpc", "protocol: http1,").protocol, Protocol::Http1);
    let health = canary("", "healthCheck: { grpc: true },").health.unwrap();
    assert!(health.grpc && health.readiness.is_none());
    assert!(!canary("", "healthCheck: { readiness: /r },").health.unwrap().grpc);
}

#[test]
fn a_description_says_what_the_file_means() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let meaning = describe(&load(&dir.join("minimal.yaml")).unwrap());
    assert_eq!(
        meaning,
        "\
data-plane threads: 1
listener http: HTTP/1.1 and HTTP/2 on 127.0.0.1:8080
admin: on 127.0.0.1:9901, open to this machine
state is kept in ./switchback-state
a shutdown waits 30s for requests in flight
route iris
  takes requests for any host, path /
  version v2.4: stable, 90%, HTTP/1.1 to http://127.0.0.1:9001
  version v2.5: canary, 10%, HTTP/1.1 to http://127.0.0.1:9002
  tried again within a version: once at most, on connect, reset, 503, for 20% of requests
  stable answers for a failed canary request on connect, reset, timeout, streamError, 5xx, bodies up to 1MiB
  judged every 250ms over the last 5m:
    a version that is not worse is rolled back in at most 0.1% of rollouts
    errorRate: above 5% or 2 times stable's, as soon as the evidence suffices, it is rolled back
    latencyP99: above 1.5 times stable's (and above 5ms), as soon as the evidence suffices, it is rolled back
    healthCheck: when every endpoint of the canary is unhealthy, it is rolled back
    a first verdict moves the users to stable and is confirmed on copies of requests, or on a trickle where none may be copied
  a rollback waits 30s for requests in flight, then they may finish, up to 10m"
    );
}

/// Every key of the table that is built.
fn every_key(keys: &'static [Key]) -> Vec<&'static Key> {
    let built = |key: &&Key| !matches!(key.shape, Shape::NotBuilt { .. });
    let below = |key: &'static Key| {
        let mut all = vec![key];
        if let Shape::Map(keys) | Shape::List { of: Shape::Map(keys), .. } = &key.shape {
            all.extend(every_key(keys));
        }
        if let Shape::List { of: Shape::Named(variants), .. } = &key.shape {
            all.extend(variants.iter().flat_map(|(_, keys)| every_key(keys)));
        }
        if let Shape::List { of: Shape::Typed(variants), .. } = &key.shape {
            all.extend(variants.iter().flat_map(|(_, keys)| every_key(keys)));
        }
        all
    };
    keys.iter().filter(built).flat_map(below).collect()
}

#[test]
fn the_full_example_names_every_key_that_is_built() {
    let full = include_str!("../../../config/full.yaml");
    for key in every_key(FILE) {
        let named = full.contains(&format!("{}:", key.name))
            || full.contains(&format!("{},", key.name));
        assert!(named, "{}", key.name);
    }
}

#[test]
fn every_default_is_a_value_of_its_key() {
    let mut seen = 0;
    for key in every_key(FILE) {
        let Need::Default(text) = key.need else { continue };
        let text = if matches!(key.shape, Shape::List { .. }) {
            format!("[{text}]")
        } else if matches!(key.shape, Shape::Text(_)) {
            format!("{text:?}")
        } else {
            text.to_owned()
        };
        let report = Report::default();
        check(&key.shape, &read_tree(&text).unwrap(), key.name, &report);
        report.close("default").unwrap();
        seen += 1;
    }
    assert!(seen > 50, "{seen}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _outcome = read(&text);
    }

    #[test]
    fn no_broken_file_makes_it_panic(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}:,'\"&*$%|>~ \\n\\-a0é]{0,3}"), 1..6)
    ) {
        let mut chars: Vec<char> = include_str!("../../../config/full.yaml").chars().collect();
        for (place, put) in cuts {
            let at = place.index(chars.len());
            chars.splice(at..(at + 1).min(chars.len()), put.chars());
        }
        let _outcome = read(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn no_value_makes_it_panic(value in any::<String>(), key in 0_usize..13) {
        let keys = [
            "name", "balance", "repeatable", "timeouts", "retry", "analysis", "match",
            "overrides", "versions", "fallback", "rollback", "dialect", "incident",
        ];
        let value = serde_json::to_string(&value).unwrap();
        let _outcome = read(&with_route(&format!("{}: {value}", keys[key])));
        for inner in ["pathPrefix", "hosts", "headers"] {
            let _outcome = read(&with_route(&format!("match: {{ {inner}: {value} }}")));
            let _outcome = read(&with_route(&format!("match: {{ {inner}: [{value}] }}")));
        }
        let _outcome = read(&with_canary(&format!("endpoints: [{value}]")));
    }
}
