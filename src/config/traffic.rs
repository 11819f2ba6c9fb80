//! Routes, their versions and the servers behind them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::certificates::{client_tls, has_name};
use super::choice;
use super::reader::View;
use super::rollout;
use super::rules;
use super::units;
use crate::control::{RouteSettings, VersionSettings};
use crate::route::{Role, RouteMatch};
use crate::upstream;
use crate::upstream::{Balance, HealthCheck, Integrity, Origin, Outlier, Pool, Protocol};
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Name, Slot};

/// All routes; every one can be reached.
pub(super) fn routes(root: &View<'_>, dir: &Path) -> Vec<RouteSettings> {
    let views = root.children("routes");
    let versions: usize = views.iter().map(|view| view.children("versions").len()).sum();
    if versions > Slot::LIMIT {
        let most = Slot::LIMIT;
        root.wrong("routes", format!("have {versions} versions, and may have {most}"));
    }
    choice::trusted(root);
    let mut names = HashMap::new();
    let mut matches: Vec<(String, RouteMatch)> = Vec::new();
    let mut routes = Vec::with_capacity(views.len());
    for (place, view) in views.iter().enumerate() {
        let matcher = matcher(&view.child("match"));
        if view.sound("match") {
            reachable(view, &matcher, &matches);
            matches.push((view.path.clone(), matcher.clone()));
        }
        let versions = versions_of(view, dir);
        let (policy, rules, rollback) = rules::of_route(view);
        let rollout = rollout::of_route(view, &rules, dir);
        let overrides = overrides(view);
        let Some(name) = view.name("name") else { continue };
        if let Some(first) = names.insert(name.clone(), place) {
            let shown = view.shown("name");
            view.wrong("name", format!("{shown} is also the name of routes[{first}]"));
        }
        routes.push(RouteSettings {
            name,
            matcher,
            policy: Arc::new(policy),
            versions,
            overrides,
            rules: Arc::new(rules),
            rollback,
            rollout: rollout.map(Arc::new),
        });
    }
    routes
}

fn matcher(view: &View<'_>) -> RouteMatch {
    let hosts = view.items("hosts");
    let mut headers = view.headers("headers");
    headers.sort();
    RouteMatch {
        hosts: hosts.iter().filter_map(|host| units::host(host.text).ok()).collect(),
        path_prefix: view.text("pathPrefix").to_owned(),
        headers,
        model: view.maybe_text("model").map(str::to_owned),
    }
}

/// Reports a route that an earlier one leaves no request.
fn reachable(view: &View<'_>, matcher: &RouteMatch, before: &[(String, RouteMatch)]) {
    let prefix = |rule: &RouteMatch| rule.path_prefix.trim_end_matches('/').to_owned();
    let covers = |other: &RouteMatch| {
        let hosts = if matcher.hosts.is_empty() {
            other.hosts.is_empty()
        } else {
            matcher
                .hosts
                .iter()
                .all(|host| other.hosts.iter().any(|o| is_within(host, o)))
        };
        let model = other.model.is_none() || other.model == matcher.model;
        // Of two that differ in the model alone the one that names it comes first.
        let first = other.model.is_some() || matcher.model.is_none();
        hosts
            && prefix(other) == prefix(matcher)
            && other.headers == matcher.headers
            && model
            && first
    };
    if let Some((path, _)) = before.iter().find(|(_, other)| covers(other)) {
        view.wrong("match", format!("is never reached: {path} takes the same requests"));
    }
}

/// Whether every name that `host` stands for is one that `other` stands for.
fn is_within(host: &str, other: &str) -> bool {
    let suffix = |rest: &str| host.len() > rest.len() && host.ends_with(rest);
    host == other || other.strip_prefix('*').is_some_and(suffix)
}

/// All versions of a route: one is stable, the weights of the others are at most 100 %.
fn versions_of(route: &View<'_>, dir: &Path) -> Vec<VersionSettings> {
    let mut names = HashMap::new();
    let views = route.children("versions");
    let mut versions = Vec::with_capacity(views.len());
    let connect_timeout = route.child("timeouts").span("connect");
    for (place, view) in views.iter().enumerate() {
        let upstream = upstream((view, dir), route, connect_timeout);
        let Some(name) = view.name("name") else { continue };
        if let Some(first) = names.insert(name.clone(), place) {
            let shown = view.shown("name");
            view.wrong("name", format!("{shown} is also the name of versions[{first}]"));
        }
        let role = role(view);
        // A rollout begins at nothing, whatever the version would have without it.
        let weight = match role {
            Role::Canary if route.given("rollout") => Percent::ZERO,
            Role::Canary | Role::Candidate => view.percent("weight"),
            Role::Stable => Percent::ZERO,
        };
        if role == Role::Candidate && view.sound("weight") && weight > Percent::ZERO {
            view.wrong(
                "weight",
                "a candidate takes no share: leave it out, or make it a canary",
            );
        }
        let digest = Digest::new(view.maybe_text("digest").unwrap_or(name.as_str()));
        versions.push(VersionSettings { name, role, weight, digest, upstream });
    }
    shares(route, &views);
    versions
}

fn role(view: &View<'_>) -> Role {
    match view.text("role") {
        "stable" => Role::Stable,
        "canary" => Role::Canary,
        _ => Role::Candidate,
    }
}

/// Reports roles and weights that do not make a whole.
fn shares(route: &View<'_>, views: &[View<'_>]) {
    if !route.given("versions") || !views.iter().all(|view| view.sound("role")) {
        return;
    }
    let stable: Vec<&View<'_>> =
        views.iter().filter(|view| role(view) == Role::Stable).collect();
    let Some(first) = stable.first() else {
        return route.wrong("versions", "none of them is stable: exactly one must be");
    };
    for other in &stable[1..] {
        let at = &first.path;
        other.wrong("role", format!("{at} is stable already: exactly one may be"));
    }
    if !views.iter().all(|view| view.sound("weight")) {
        return;
    }
    let canaries = views.iter().filter(|view| role(view) == Role::Canary);
    let sum: u64 = canaries.map(|view| u64::from(view.percent("weight").ppm())).sum();
    let show = |ppm: u64| Percent::from_ppm(u32::try_from(ppm).unwrap_or(u32::MAX));
    let whole = u64::from(Percent::FULL.ppm());
    if sum > whole {
        // The sum can be above what a percentage holds.
        let (percent, part) = (sum / 10_000, sum % 10_000);
        let part = if part == 0 { String::new() } else { format!(".{part:04}") };
        let part = part.trim_end_matches('0');
        return route.wrong(
            "versions",
            format!(
                "the weights of the canaries add up to {percent}{part}%, more than 100%"
            ),
        );
    }
    if first.given("weight") && stable.len() == 1 {
        let own = u64::from(first.percent("weight").ppm());
        if own + sum != whole {
            let rest = show(whole - sum);
            first.wrong(
                "weight",
                format!("with the canaries it does not make 100%: leave it out or write {rest}"),
            );
        }
    }
}

/// The overrides with the places of their versions.
fn overrides(route: &View<'_>) -> Vec<(String, String, usize)> {
    let versions = route.children("versions");
    let names: Vec<Option<Name>> =
        versions.iter().map(|view| view.name("name")).collect();
    let views = route.children("overrides");
    let mut found: Vec<(String, String, usize)> = Vec::with_capacity(views.len());
    for view in &views {
        let header = units::header(view.text("header")).unwrap_or_default();
        let value = view.text("value").to_owned();
        let same =
            |other: &(String, String, usize)| other.0 == header && other.1 == value;
        if !header.is_empty() && !value.is_empty() && found.iter().any(same) {
            view.wrong("value", "an earlier override has the same header and value");
        }
        let Some(to) = view.name("to") else { continue };
        match names.iter().position(|name| name.as_ref() == Some(&to)) {
            Some(place) => found.push((header, value, place)),
            // A name that is wrong itself may have been meant.
            None if names.contains(&None) => {}
            None => {
                let shown = view.shown("to");
                view.wrong("to", format!("{shown} is not a version of this route"));
            }
        }
    }
    found
}

fn upstream(
    (view, dir): (&View<'_>, &Path),
    route: &View<'_>,
    connect_timeout: Duration,
) -> upstream::Settings {
    let pool = view.child("pool");
    if view.sound("pool") && pool.span("idleTimeout") >= UVICORN_KEEP_ALIVE {
        pool.warn("idleTimeout", "servers built on uvicorn close idle connections at 5s");
    }
    let outlier = route.child("outlierDetection");
    let endpoints = endpoints(view);
    let tls = client_tls(view, &endpoints, dir);
    upstream::Settings {
        endpoints,
        protocol: match view.text("protocol") {
            "http2" => Protocol::Http2,
            "http1" => Protocol::Http1,
            // gRPC is HTTP/2, whoever agrees on it.
            _ if route.text("dialect") == "grpc" => Protocol::Http2,
            _ => Protocol::Auto,
        },
        tls,
        pool: Pool {
            max_idle: pool.count("maxIdlePerEndpoint"),
            max_connections: pool.count("maxConnectionsPerEndpoint"),
            idle_timeout: pool.span("idleTimeout"),
        },
        max_in_flight: view.count("maxInFlight"),
        balance: match route.text("balance") {
            "roundRobin" => Balance::RoundRobin,
            _ => Balance::LeastRequest,
        },
        outlier: Outlier {
            consecutive_failures: outlier.count("consecutiveFailures"),
            base_ejection: outlier.span("baseEjection"),
            max_ejected: outlier.percent("maxEjected"),
        },
        health: view.maybe_child("healthCheck").map(|health| health_check(view, &health)),
        connect_timeout,
    }
}

fn endpoints(view: &View<'_>) -> Vec<Origin> {
    let mut found: Vec<Origin> = Vec::new();
    for item in view.items("endpoints") {
        let Ok(origin) = units::endpoint(item.text) else { continue };
        if !has_name(view, &item, origin.address()) {
            continue;
        }
        match found.iter().position(|other| *other == origin) {
            Some(first) => {
                let shown = &item.shown;
                view.wrong_item(
                    &item,
                    format!("{shown} is the same as endpoints[{first}]"),
                );
            }
            None => found.push(origin),
        }
    }
    found
}

fn health_check(version: &View<'_>, view: &View<'_>) -> HealthCheck {
    let asks = ["liveness", "readiness", "integrity"];
    let grpc = view.flag("grpc");
    if version.sound("healthCheck") && !grpc && !asks.iter().any(|key| view.given(key)) {
        let needs = "needs at least one of liveness, readiness, integrity, grpc: true";
        version.wrong("healthCheck", needs);
    }
    let path = |key| view.maybe_text(key).map(str::to_owned);
    HealthCheck {
        liveness: path("liveness"),
        readiness: path("readiness"),
        integrity: view.maybe_child("integrity").map(|integrity| Integrity {
            path: integrity.text("path").to_owned(),
            header: integrity.text("header").to_ascii_lowercase(),
            expect: integrity.text("expect").to_owned(),
        }),
        grpc,
        interval: view.span("interval"),
        timeout: view.span("timeout"),
        unhealthy_after: view.count("unhealthyAfter"),
        healthy_after: view.count("healthyAfter"),
    }
}

/// After so long a server built on uvicorn closes an idle connection, just as a request may
/// be on its way.
const UVICORN_KEEP_ALIVE: Duration = Duration::from_secs(5);
