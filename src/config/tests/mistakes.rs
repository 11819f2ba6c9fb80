//! Everything that is refused, with the words of the refusal. Apart from the right files
//! because it is one long list.

use std::path::Path;

use super::support::{
    LISTENERS, STABLE, problems, says, settings, with_canary, with_route, with_top,
};
use crate::config::parse;
use crate::route::Role;

#[test]
fn ten_mistakes_give_ten_messages() {
    let text = "\
wokers: 2
listeners:
  - address: 127.0.0.1
    limits: { headerSize: 2GiB, headerTimeout: 10 }
stateDir: [a]
routes:
  - name: iris
    timeouts: { conect: 1s, total: fast }
    versions:
      - { name: v1, role: stable, endpoints: [] }
      - { name: v2, role: canary,
          weight: 130%, endpoints: ['http://h:2'] }
    overrides: [{ header: 'a b', value: x, to: v3 }]
";
    let said = problems(text);
    let expected = [
        "f.yaml:1: wokers: there is no such key, did you mean workers?",
        "f.yaml:3: listeners[0].address: 127.0.0.1 has no port: write an address such as 127.0.0.1:8080",
        "f.yaml:4: listeners[0].limits.headerSize: 2GiB is above the largest, 1MiB",
        "f.yaml:4: listeners[0].limits.headerTimeout: 10 has no unit: write a duration such as 250ms, 30s, 5m or 1h30m",
        "f.yaml:5: stateDir: must be a text, not a list",
        "f.yaml:8: routes[0].timeouts.conect: there is no such key, did you mean connect?",
        "f.yaml:8: routes[0].timeouts.total: fast is not a duration: write one such as 250ms, 30s, 5m or 1h30m",
        "f.yaml:10: routes[0].versions[0].endpoints: needs at least 1 of them",
        "f.yaml:12: routes[0].versions[1].weight: 130% is above 100%",
        "f.yaml:13: routes[0].overrides[0].header: \"a b\" is not a header name",
        "f.yaml:13: routes[0].overrides[0].to: v3 is not a version of this route",
    ];
    assert_eq!(said, expected, "{said:#?}");
}

#[test]
fn every_problem_knows_its_column() {
    let errors = parse(&with_route("balance: fair"), "f", Path::new("")).unwrap_err();
    let problem = &errors.problems()[0];
    assert_eq!((problem.line, problem.column), (5, 14));
    assert_eq!(problem.path, "routes[0].balance");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let refused = |text: &str, path: &str| {
        let said = problems(text);
        let refused = format!(": {path} is not built yet: ");
        assert!(said.len() == 1 && said[0].contains(&refused), "{text}\n{said:#?}");
    };
    for (line, path) in NOT_BUILT {
        refused(&with_route(line), &format!("routes[0].{path}"));
    }
    says(
        &with_route("").replace("role: canary, weight: 10%", "role: shadow"),
        "routes[0].versions[1].role is not built yet: shadow; write one of stable, canary, candidate",
    );
}

#[test]
fn what_is_not_built_may_be_absent_in_every_form() {
    for none in ["null", "~", "", "false", "off", "none", "[]"] {
        let text = with_route(&format!("shadow: {none}"));
        assert_eq!(problems(&text), [""; 0], "{text}");
    }
    for lines in [
        "sessionAffinity: { by: none }",
        "match: { model: null }",
        "dialect: plain",
        "analysis: { falseAlarm: null, confirm: off, noTraffic: hold }",
        "analysis: { metrics: [{ name: errorRate, test: window, onBreach: alert }] }",
        "rollback: { stabilization: null, verify: null }",
        "fallback: { cache: { persist: false }, emergencyVersion: null }",
    ] {
        assert_eq!(problems(&with_route(lines)), [""; 0], "{lines}");
    }
    let top = "record: { path: null, maxSize: 1GiB }\nnotify: []\nadmin: { tls: null }";
    assert_eq!(problems(&with_top(top)), [""; 0]);
    let version = "tls: null, healthCheck: { liveness: /l, grpc: false }";
    assert_eq!(problems(&with_canary(version)), [""; 0]);
}

#[test]
fn single_values_are_told_what_they_should_be() {
    for (line, message) in TOP_MISTAKES {
        says(&with_top(line), message);
    }
    for (line, message) in ROUTE_MISTAKES {
        says(&with_route(line), &format!("routes[0].{message}"));
    }
    for (keys, message) in VERSION_MISTAKES {
        says(&with_canary(keys), &format!("routes[0].versions[1].{message}"));
    }
}

#[test]
fn what_must_be_there_is_missed() {
    for (text, expected) in [
        (
            "routes: []",
            vec![
                "f.yaml:1: listeners: is missing: where requests come in",
                "f.yaml:1: routes: needs at least 1 of them",
            ],
        ),
        (
            "listeners: [{}]\nroutes: [{}]",
            vec![
                "f.yaml:1: listeners[0].address: is missing: IP address and port to listen on",
                "f.yaml:2: routes[0].name: is missing: the name of the route",
                "f.yaml:2: routes[0].versions: is missing: one of them stable",
            ],
        ),
        ("", vec!["f.yaml: is empty: it needs at least listeners and routes"]),
        ("# only\n", vec!["f.yaml: is empty: it needs at least listeners and routes"]),
        (
            "[1]",
            vec![
                "f.yaml:1: must be a mapping with keys such as workers, listeners, admin, not a list",
            ],
        ),
        (
            "just text",
            vec![
                "f.yaml:1: must be a mapping with keys such as workers, listeners, admin, not just text",
            ],
        ),
    ] {
        assert_eq!(problems(text), expected, "{text}");
    }
}

#[test]
fn versions_must_make_a_whole() {
    let route = |versions: &str| {
        format!("{LISTENERS}routes: [{{ name: r, versions: [{versions}] }}]\n")
    };
    let version = |name: &str, more: &str| {
        format!("{{ name: {name}, endpoints: ['http://{name}:1'], {more} }}")
    };
    let (a, b) =
        (version("a", "role: stable"), version("b", "role: canary, weight: 60%"));
    let c = version("c", "role: canary, weight: 40.5%");
    for (versions, message) in [
        (b.clone(), "routes[0].versions: none of them is stable: exactly one must be"),
        (
            format!("{a}, {}", version("z", "role: stable")),
            "routes[0].versions[1].role: routes[0].versions[0] is stable already: exactly one may be",
        ),
        (
            format!("{a}, {b}, {c}"),
            "routes[0].versions: the weights of the canaries add up to 100.5%, more than 100%",
        ),
        (
            format!("{}, {b}", version("a", "role: stable, weight: 50%")),
            "routes[0].versions[0].weight: with the canaries it does not make 100%: leave it out or write 40%",
        ),
        (
            format!("{a}, {}", version("a", "role: canary")),
            "routes[0].versions[1].name: a is also the name of versions[0]",
        ),
        (
            format!("{a}, {}", version("b", "role: candidate, weight: 1%")),
            "routes[0].versions[1].weight: a candidate takes no share: leave it out, or make it a canary",
        ),
        (
            format!(
                "{a}, {}",
                version("'b c'", "role: canary").replace("http://'b c'", "http://b")
            ),
            "routes[0].versions[1].name: \"b c\" is not a name: use 1 to 63 of the characters A-Z a-z 0-9 . _ -, the first a letter or digit",
        ),
        (
            "{ name: a, role: stable, endpoints: ['http://H:1', 'http://h:1/'] }"
                .to_owned(),
            "routes[0].versions[0].endpoints[1]: \"http://h:1/\" is the same as endpoints[0]",
        ),
        (
            "{ name: a, endpoints: ['http://h:1'] }".to_owned(),
            "routes[0].versions[0].role: is missing: stable, canary, or candidate (no traffic but by a pin or an override)",
        ),
    ] {
        says(&route(&versions), message);
    }
    let whole = format!("{}, {b}", version("a", "role: stable, weight: 40"));
    let versions = &settings(&route(&whole)).live.routes[0].versions;
    assert_eq!(versions[1].weight.to_string(), "60%");
    assert_eq!(versions[0].weight.to_string(), "0%");
    let candidate = format!("{a}, {}", version("b", "role: candidate, weight: 0"));
    let versions = &settings(&route(&candidate)).live.routes[0].versions;
    assert_eq!(versions[1].role, Role::Candidate);
}

#[test]
fn nothing_is_there_twice() {
    let route = |name: &str, more: &str| {
        format!("{{ name: {name}, versions: [{STABLE}], {more} }}")
    };
    let routes = |list: &[String]| format!("{LISTENERS}routes: [{}]\n", list.join(", "));
    let (x, y) = ("match: { pathPrefix: /x }", "match: { pathPrefix: /y }");
    for (text, message) in [
        (
            routes(&[route("r", x), route("r", y)]),
            "routes[1].name: r is also the name of routes[0]",
        ),
        (
            routes(&[route("r", x), route("s", "match: { pathPrefix: /x/ }")]),
            "routes[1].match: is never reached: routes[0] takes the same requests",
        ),
        (
            routes(&[route("r", ""), route("s", "")]),
            "routes[1].match: is never reached: routes[0] takes the same requests",
        ),
        (
            routes(&[
                route("r", "match: { hosts: ['*.x.org', y.org] }"),
                route("s", "match: { hosts: [Y.org, a.x.org] }"),
            ]),
            "routes[1].match: is never reached: routes[0] takes the same requests",
        ),
        (with_top("workers: 1\nworkers: 2"), "workers: is there twice, first in line 3"),
        (
            with_route("match: { headers: { x-a: '1', X-A: '2' } }"),
            "routes[0].match.headers.X-A: is there twice, first in line 5",
        ),
        (
            with_route(
                "overrides: [{ header: x, value: 1, to: a }, { header: X, value: 1, to: b }]",
            ),
            "routes[0].overrides[1].value: an earlier override has the same header and value",
        ),
        (
            with_top("").replace(
                "[{ address",
                "[{ address: '127.0.0.1:8080' }, { name: o, address",
            ),
            "listeners[1].address: \"127.0.0.1:8080\" is also taken by listeners[0]",
        ),
        (
            with_top("").replace(
                "[{ address",
                "[{ address: '127.0.0.1:1' }, { name: http, address",
            ),
            "listeners[1].name: http is also the name of listeners[0]",
        ),
        (
            with_top("admin: { address: '127.0.0.1:8080' }"),
            "admin.address: \"127.0.0.1:8080\" is also taken by listeners[0]",
        ),
        (
            with_top("admin: { metricsAddress: '127.0.0.1:9901' }"),
            "admin.metricsAddress: \"127.0.0.1:9901\" is also taken by admin.address",
        ),
    ] {
        says(&text, message);
    }
    let fine = routes(&[
        route("r", ""),
        route("s", "match: { headers: { x: y } }"),
        route("t", "match: { hosts: [a.org] }"),
        route("u", x),
    ]);
    assert_eq!(problems(&fine), [""; 0]);
}

/// Lines of a route and the path below it that is refused.
const NOT_BUILT: &[(&str, &str)] = &[("shadow: { version: b, percent: 20% }", "shadow")];

#[test]
fn a_ramp_is_told_how_to_go() {
    for (line, message) in [
        (
            "rollback: { headroom: { step: 5% } }",
            "rollback.headroom.step: is for onShort: ramp alone",
        ),
        (
            "rollback: { headroom: { onShort: ramp, step: 0% } }",
            "rollback.headroom.step: must be above 0%",
        ),
        (
            "rollback: { headroom: { onShort: ramp, interval: 1ms } }",
            "rollback.headroom.interval: 1ms is below the smallest, 100ms",
        ),
        (
            "rollback: { headroom: { onShort: crush } }",
            "rollback.headroom.onShort: crush is not one of shed, ramp",
        ),
    ] {
        says(&with_route(line), &format!("routes[0].{message}"));
    }
}

#[test]
fn a_choice_that_would_do_nothing_is_refused() {
    for (line, message) in [
        (
            "sessionAffinity: { by: ip }",
            "sessionAffinity.by: ip is not one of header, cookie, none",
        ),
        (
            "sessionAffinity: { name: x }",
            "sessionAffinity.by: is missing: what tells a session: a header of the caller, or a cookie that it is given",
        ),
        (
            "sessionAffinity: { by: header, name: 'a b' }",
            "sessionAffinity.name: \"a b\" is not a header name",
        ),
        (
            "sessionAffinity: { by: header, name: Cookie }",
            "sessionAffinity.name: Cookie is a header that HTTP itself needs",
        ),
        (
            "sessionAffinity: { by: header, name: x-request-id }",
            "sessionAffinity.name: x-request-id is a header that this proxy sets itself",
        ),
        (
            "sessionAffinity: { by: cookie, name: 'a;b' }",
            "sessionAffinity.name: \"a;b\" cannot be the name of a cookie",
        ),
        (
            "sessionAffinity: { by: cookie, name: 'a=b' }",
            "sessionAffinity.name: \"a=b\" cannot be the name of a cookie",
        ),
        (
            "sessionAffinity: { by: cookie, maxAge: 0s }",
            "sessionAffinity.maxAge: 0s is below the smallest, 1s",
        ),
        (
            "pin: { header: x-model-pin }",
            "pin.allowed: is missing: the versions that may be named",
        ),
        ("pin: { allowed: [] }", "pin.allowed: needs at least 1 of them"),
        ("pin: { allowed: [c] }", "pin.allowed[0]: c is not a version of this route"),
        ("pin: { allowed: [a, b, a] }", "pin.allowed[2]: a is the same as allowed[0]"),
        (
            "pin: { allowed: [a], header: x-model-version }",
            "pin.header: x-model-version is a header that this proxy sets itself",
        ),
        (
            "pin: { allowed: [a], header: X-Switchback-Pin }",
            "pin.header: X-Switchback-Pin is a header that this proxy sets itself",
        ),
        (
            "pin: { allowed: [a], header: x_model_pin }",
            "pin.header: x_model_pin has an underscore, so that many servers drop it or confuse it",
        ),
        (
            "pin: { allowed: [a], quarantined: serve }",
            "pin.quarantined: serve is not one of reroute, refuse",
        ),
        ("match: { model: '' }", "match.model: \"\" is empty"),
        ("match: { model: [a] }", "match.model: must be a text, not a list"),
    ] {
        says(&with_route(line), &format!("routes[0].{message}"));
    }
    let both = "overrides: [{ header: X-Model-Pin, value: b, to: b }]\n    pin: { allowed: [a] }";
    says(
        &with_route(both),
        "routes[0].pin.header: x-model-pin is also the header of an override",
    );
}

#[test]
fn routes_may_differ_in_the_model_alone() {
    let route = |name: &str, matches: &str| {
        format!("{{ name: {name}, match: {matches}, versions: [{STABLE}] }}")
    };
    let file =
        |routes: &[String]| format!("{LISTENERS}routes: [{}]\n", routes.join(", "));
    let (rest, a, b) = (
        route("rest", "{ pathPrefix: /v1 }"),
        route("a", "{ pathPrefix: /v1, model: meta/a }"),
        route("b", "{ pathPrefix: /v1, model: b }"),
    );
    for routes in
        [&[rest.clone(), a.clone(), b.clone()][..], &[a.clone(), b, rest.clone()]]
    {
        assert_eq!(problems(&file(routes)), [""; 0]);
    }
    let again = "routes[2].match: is never reached: routes[1] takes the same requests";
    says(
        &file(&[
            rest.clone(),
            a.clone(),
            route("c", "{ pathPrefix: /v1/, model: meta/a }"),
        ]),
        again,
    );
    says(&file(&[a, rest, route("c", "{ pathPrefix: /v1 }")]), again);
}

const TOP_MISTAKES: &[(&str, &str)] = &[
    ("workers: many", "workers: many is not a whole number or auto"),
    ("workers: 0", "workers: 0 is below the smallest, 1"),
    ("workers: '2'", "workers: \"2\" is text, not a whole number: leave out the quotes"),
    (
        "admin: x",
        "admin: must be a mapping with keys such as address, metricsAddress, tls, not x",
    ),
    (
        "admin: { address: ':1' }",
        "admin.address: \":1\" has no IP address: write one such as 0.0.0.0:8080",
    ),
];

const ROUTE_MISTAKES: &[(&str, &str)] = &[
    ("balance: fair", "balance: fair is not one of leastRequest, roundRobin"),
    (
        "balance: leastRequests",
        "balance: leastRequests is not one of leastRequest, roundRobin: did you mean leastRequest?",
    ),
    ("repeatable: yes", "repeatable: yes is not one of auto, true, false"),
    (
        "retry: { on: [connect, 200] }",
        "retry.on[1]: 200 is not one of connect, reset, timeout, streamError, 5xx or a status from 400 to 599",
    ),
    ("retry: { on: [reset, reset] }", "retry.on[1]: reset is there twice"),
    ("retry: { attempts: 11 }", "retry.attempts: 11 is above the largest, 10"),
    (
        "retry: { budget: lots }",
        "retry.budget: lots is not a percentage: write one such as 10% or 0.5",
    ),
    ("retry: { budget: 130 }", "retry.budget: 130% is above 100%"),
    ("retry: { budget: -1% }", "retry.budget: -1% is below 0%"),
    ("match: { pathPrefix: v2 }", "match.pathPrefix: v2 does not begin with /"),
    (
        "match: { hosts: ['a:80'] }",
        "match.hosts[0]: \"a:80\" has a port, and a host to match may not have one",
    ),
    (
        "match: { headers: { 'x y': v } }",
        "match.headers.x y: \"x y\" is not a header name",
    ),
    ("match: { headers: { x: [v] } }", "match.headers.x: must be a text, not a list"),
    (
        "fallback: { cache: { enabled: yes } }",
        "fallback.cache.enabled: yes is neither true nor false",
    ),
    (
        "fallback: { cache: { maxSize: 1MiB, maxEntry: 2MiB } }",
        "fallback.cache.maxEntry: 2MiB is larger than maxSize",
    ),
    (
        "fallback: { cache: { methods: [PUT] } }",
        "fallback.cache.methods[0]: PUT is not one of GET, HEAD, POST",
    ),
    (
        "fallback: { banner: { header: content-length } }",
        "fallback.banner.header: content-length is a header that HTTP itself needs",
    ),
    (
        "fallback: { emergencyVersion: v9 }",
        "fallback.emergencyVersion: v9 is not a version of this route",
    ),
    (
        "fallback: { emergencyVersion: b }",
        "fallback.emergencyVersion: b is a canary: name a candidate, or stable",
    ),
    (
        "analysis: { interval: 10ms }",
        "analysis.interval: 10ms is below the smallest, 50ms",
    ),
    ("analysis: { window: 25h }", "analysis.window: 25h is above the largest, 24h"),
    ("analysis: { interval: 10m }", "analysis.interval: 10m is longer than the window"),
    (
        "analysis: { window: 100ms }",
        "analysis.window: 100ms is shorter than the interval",
    ),
    (
        "analysis: { metrics: [{ name: accuracy }] }",
        "analysis.metrics[0].name: accuracy is not one of errorRate, latencyP99, healthCheck",
    ),
    (
        "analysis: { metrics: [{ max: 5% }] }",
        "analysis.metrics[0].name: is missing: one of errorRate, latencyP99, healthCheck",
    ),
    (
        "analysis: { metrics: [{ name: healthCheck, max: 5% }] }",
        "analysis.metrics[0].max: there is no such key, known here are name, dryRun, onBreach, test",
    ),
    (
        "analysis: { metrics: [{ name: latencyP99, max: 5% }] }",
        "analysis.metrics[0].max: 5% is not a duration: write one such as 250ms, 30s, 5m or 1h30m",
    ),
    (
        "analysis: { metrics: [{ name: errorRate, maxRatio: 0.5 }] }",
        "analysis.metrics[0].maxRatio: 0.5 is below the smallest, 1",
    ),
    (
        "rollback: { drain: { timeout: 30s, cap: 10s } }",
        "rollback.drain.cap: 10s is shorter than the timeout",
    ),
    (
        "analysis: { falseAlarm: 0 }",
        "analysis.falseAlarm: 0 is not above 0%: no evidence is that strong",
    ),
    (
        "analysis: { falseAlarm: 51% }",
        "analysis.falseAlarm: 51% is above the largest, 50%",
    ),
    (
        "analysis: { falseAlarm: 0.00001% }",
        "analysis.falseAlarm: 0.00001% is below the smallest share, 0.0001%",
    ),
    (
        "analysis: { falseAlarm: NaN }",
        "analysis.falseAlarm: NaN is not a percentage: write one such as 10% or 0.5",
    ),
    (
        "analysis: { falseAlarm: [1%] }",
        "analysis.falseAlarm: must be a percentage such as 10%, not a list",
    ),
    (
        "analysis: { confirm: maybe }",
        "analysis.confirm: maybe is not one of auto, mirror, trickle, off",
    ),
    (
        "analysis: { metrics: [{ name: errorRate, test: peek }] }",
        "analysis.metrics[0].test: peek is not one of sequential, window, both",
    ),
    (
        "repeatable: false\n    analysis: { confirm: mirror }",
        "analysis.confirm: mirror copies requests, and repeatable: false forbids to send one twice: write trickle or off, or change repeatable",
    ),
];

const VERSION_MISTAKES: &[(&str, &str)] = &[
    (
        "healthCheck: { interval: 1s }",
        "healthCheck: needs at least one of liveness, readiness, integrity, grpc: true",
    ),
    (
        "healthCheck: { grpc: false }",
        "healthCheck: needs at least one of liveness, readiness, integrity, grpc: true",
    ),
    (
        "healthCheck: { integrity: { path: /m } }",
        "healthCheck.integrity.expect: is missing: the value it must have",
    ),
    (
        "pool: { maxConnectionsPerEndpoint: 0 }",
        "pool.maxConnectionsPerEndpoint: 0 is below the smallest, 1",
    ),
];
