//! What a configuration means, in plain lines.
//!
//! Apart because it is the one place that prints settings. Every value passes through
//! [`Teller::say`], which hides what was inserted from the environment or another file.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::certificates;
use super::load::Loaded;
use super::units::{show_size, show_span};
use crate::control::{OnTimeout, RolloutSettings, RouteSettings, VersionSettings};
use crate::effects::{Filter, SinkSettings, Url};
use crate::judge::{Confirm, Metric, OnBreach, Rule, Rules, Test};
use crate::proxy::{ListenerProtocol, ListenerSettings};
use crate::rollout::{NoTraffic, RampPlan};
use crate::route::Role;
use crate::upstream::Protocol;
use crate::vocab::amount::Percent;
use crate::vocab::policy::FailureSet;

/// What the configuration means, one fact a line, without a line end at the end. Values that
/// came from the environment or another file are shown as `***`.
#[must_use]
pub fn describe(loaded: &Loaded) -> String {
    let mut teller = Teller { inserted: &loaded.inserted, lines: Vec::new() };
    let settings = &loaded.settings;
    let workers = teller.say("workers", settings.workers);
    teller.line(0, format!("data-plane threads: {workers}"));
    for (place, listener) in settings.listeners.iter().enumerate() {
        teller.listener(&format!("listeners[{place}]"), listener);
    }
    teller.admin(&settings.admin);
    let state = teller.say("stateDir", settings.state_dir.display());
    teller.line(0, format!("state is kept in {state}"));
    let drain = teller.say("shutdown.drainTimeout", show_span(settings.shutdown_drain));
    teller.line(0, format!("a shutdown waits {drain} for requests in flight"));
    if let Some(record) = &settings.record {
        let path = teller.say("record.path", record.path.display());
        let most = teller.say("record.maxSize", show_size(record.max_size));
        teller.line(0, format!("requests are recorded in {path}, up to {most}"));
    }
    teller.dns(&settings.live.dns);
    for (place, sink) in settings.effects.sinks.iter().enumerate() {
        teller.sink(&format!("notify[{place}]"), sink);
    }
    for (place, route) in settings.live.routes.iter().enumerate() {
        teller.route(&format!("routes[{place}]"), route);
    }
    teller.lines.join("\n")
}

pub(super) struct Teller<'a> {
    inserted: &'a BTreeSet<String>,
    lines: Vec<String>,
}

impl Teller<'_> {
    pub(super) fn line(&mut self, depth: usize, text: impl Display) {
        self.lines.push(format!("{:1$}{text}", "", depth * 2));
    }

    /// The value at that path of the file, unless it or a part of it was inserted.
    pub(super) fn say(&self, path: &str, value: impl Display) -> String {
        let below = |inserted: &String| {
            inserted
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if self.inserted.iter().any(below) { "***".to_owned() } else { value.to_string() }
    }

    fn listener(&mut self, path: &str, listener: &ListenerSettings) {
        let name = self.say(&format!("{path}.name"), &listener.name);
        let address = self.say(&format!("{path}.address"), listener.address);
        let protocol = match listener.protocol {
            ListenerProtocol::Auto => "HTTP/1.1 and HTTP/2",
            ListenerProtocol::Http1 => "HTTP/1.1",
            ListenerProtocol::Http2 => "HTTP/2",
        };
        let protocol = self.say(&format!("{path}.protocol"), protocol);
        self.line(0, format!("listener {name}: {protocol} on {address}"));
        if let Some(tls) = &listener.tls {
            let text = certificates::of_listener(tls);
            let text = self.say(&format!("{path}.tls"), text);
            self.line(1, text);
        }
    }

    fn admin(&mut self, admin: &crate::admin::Settings) {
        let address = self.say("admin.address", admin.address);
        let who = match &admin.operators[..] {
            [] => "open to this machine".to_owned(),
            operators => {
                let names: Vec<&str> =
                    operators.iter().map(|operator| operator.name.as_str()).collect();
                format!("for {}", self.say("admin.operators", names.join(", ")))
            }
        };
        let tls = admin.tls.as_ref().map_or("", |tls| match tls.client_ca_file {
            Some(_) => " with TLS and client certificates",
            None => " with TLS",
        });
        self.line(0, format!("admin: on {address}{tls}, {who}"));
        if let Some(metrics) = admin.metrics_address {
            let metrics = self.say("admin.metricsAddress", metrics);
            self.line(0, format!("metrics and health alone: on {metrics}, open"));
        }
    }

    fn dns(&mut self, dns: &crate::dns::Settings) {
        if *dns == crate::dns::Settings::default() {
            return;
        }
        let servers: Vec<String> = dns.servers.iter().map(ToString::to_string).collect();
        let whom = match servers.is_empty() {
            true => "those of this machine".to_owned(),
            false => self.say("dns.servers", servers.join(", ")),
        };
        let least = self.say("dns.minTtl", show_span(dns.min_ttl));
        let most = self.say("dns.maxTtl", show_span(dns.max_ttl));
        let text = format!("name servers: {whom}; an answer holds {least} to {most}");
        self.line(0, text);
    }

    fn sink(&mut self, path: &str, sink: &SinkSettings) {
        let name = self.say(&format!("{path}.name"), &sink.name);
        // The rest of an address may be a secret.
        let to = match &sink.url {
            Url::Given(target) => self.say(&format!("{path}.url"), target.origin()),
            Url::File { .. } => "an address from a file".to_owned(),
        };
        let kind = sink.kind.as_str();
        if sink.kind.takes_lines() {
            let text = format!("audit records go to {name}: {kind} at {to}");
            return self.line(0, text);
        }
        let Filter { topics, least } = &sink.filter;
        let topics: Vec<&str> = topics.iter().map(|topic| topic.as_str()).collect();
        let about = match topics.is_empty() {
            true => "everything".to_owned(),
            false => self.say(&format!("{path}.on"), topics.join(", ")),
        };
        let least = self.say(&format!("{path}.severity"), least.as_str());
        let whom = self.say(&format!("{path}.recipients"), sink.recipients.join(", "));
        self.line(
            0,
            format!(
                "told by {name}: {kind} at {to}, {about}, from {least} on, for {whom}"
            ),
        );
    }

    fn route(&mut self, path: &str, route: &RouteSettings) {
        let name = self.say(&format!("{path}.name"), &route.name);
        self.line(0, format!("route {name}"));
        self.matcher(&format!("{path}.match"), route);
        for (place, version) in route.versions.iter().enumerate() {
            self.version(&format!("{path}.versions[{place}]"), route, version);
        }
        self.overrides(path, route);
        self.choice(path, route);
        self.policy(path, route);
        if route.versions.iter().any(|version| version.role == Role::Canary) {
            self.rules(&format!("{path}.analysis"), &route.rules);
            self.rollback(&format!("{path}.rollback.drain"), route);
        }
        if let Some(rollout) = &route.rollout {
            self.rollout(&format!("{path}.rollout"), rollout);
        }
    }

    fn rollout(&mut self, path: &str, rollout: &RolloutSettings) {
        let plan = &rollout.plan;
        let text = format!("rolled out as {}: {plan}", plan.strategy.as_str());
        let text = self.say(path, text);
        self.line(1, text);
        let no_traffic = match plan.no_traffic {
            NoTraffic::Hold => "waits for the first one",
            NoTraffic::Extend => "is followed by one more",
            NoTraffic::Revert => "aborts it",
        };
        let below = path.trim_end_matches(".rollout");
        let no_traffic = self.say(&format!("{below}.analysis.noTraffic"), no_traffic);
        self.line(2, format!("a pause without a request {no_traffic}"));
        for (place, hook) in rollout.hooks.iter().enumerate() {
            let what = hook.gate.map_or("is told of every change", |gate| gate.as_str());
            let origin = hook.target.origin();
            let within = show_span(hook.timeout);
            let name = &hook.name;
            let text = format!("webhook {name}: {what}, at {origin}, within {within}");
            let text = self.say(&format!("{path}.webhooks[{place}]"), text);
            self.line(2, text);
        }
    }

    fn version(&mut self, path: &str, route: &RouteSettings, version: &VersionSettings) {
        let name = self.say(&format!("{path}.name"), &version.name);
        let role = self.say(&format!("{path}.role"), version.role.as_str());
        let share = match version.role {
            Role::Stable => {
                let weight = |other: &VersionSettings| other.weight.ppm();
                let taken: u32 = route.versions.iter().map(weight).sum();
                let rest = Percent::FULL.ppm().saturating_sub(taken);
                let list = path.rsplit_once('[').map_or(path, |(list, _)| list);
                let mut weights =
                    (0..route.versions.len()).map(|at| format!("{list}[{at}].weight"));
                match weights.find(|weight| self.inserted.contains(weight)) {
                    Some(weight) => self.say(&weight, ""),
                    None => Percent::from_ppm(rest).to_string(),
                }
            }
            Role::Canary => self.say(&format!("{path}.weight"), version.weight),
            Role::Candidate => "no share".to_owned(),
        };
        let upstream = &version.upstream;
        let endpoints: Vec<String> =
            upstream.endpoints.iter().map(ToString::to_string).collect();
        let endpoints = self.say(&format!("{path}.endpoints"), endpoints.join(", "));
        let protocol = match upstream.protocol {
            Protocol::Auto if upstream.speaks_tls() => "HTTP",
            Protocol::Auto | Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        };
        let protocol = self.say(&format!("{path}.protocol"), protocol);
        self.line(
            1,
            format!("version {name}: {role}, {share}, {protocol} to {endpoints}"),
        );
        if let Some(text) = certificates::of_version(upstream) {
            let text = self.say(&format!("{path}.tls"), text);
            self.line(2, text);
        }
        if let Some(health) = &upstream.health {
            let asked = [
                health.grpc.then_some("grpc.health.v1"),
                health.liveness.as_deref(),
                health.readiness.as_deref(),
                health.integrity.as_ref().map(|integrity| integrity.path.as_str()),
            ];
            let asked: Vec<&str> = asked.into_iter().flatten().collect();
            let path = format!("{path}.healthCheck");
            let asked = self.say(&path, asked.join(", "));
            let every = self.say(&path, show_span(health.interval));
            self.line(2, format!("health: asks {asked} every {every}"));
        }
    }

    fn policy(&mut self, path: &str, route: &RouteSettings) {
        let (retry, rescue) = (&route.policy.retry, &route.policy.rescue);
        let text = if retry.attempts == 0 || retry.on == FailureSet::default() {
            "no request is tried again within a version".to_owned()
        } else {
            format!(
                "tried again within a version: {} at most, on {}, for {} of requests",
                if retry.attempts == 1 {
                    "once".to_owned()
                } else {
                    format!("{} times", retry.attempts)
                },
                failures(&retry.on),
                retry.budget
            )
        };
        let text = self.say(&format!("{path}.retry"), text);
        self.line(1, text);
        let text = if rescue.on == FailureSet::default() {
            "a failed canary request is not answered by stable".to_owned()
        } else {
            format!(
                "stable answers for a failed canary request on {}, bodies up to {}",
                failures(&rescue.on),
                show_size(rescue.max_body as u64)
            )
        };
        let text = self.say(&format!("{path}.rescue"), text);
        self.line(1, text);
        if let Some(cache) = &route.policy.cache {
            let disk = if cache.persist { ", on disk as well" } else { "" };
            let text = format!(
                "answers are kept: {} in all, {} each, for {}, {}, apart by {}{disk}",
                show_size(cache.max_size as u64),
                show_size(cache.max_entry as u64),
                show_span(cache.ttl),
                cache.methods.join(" and "),
                cache.vary.join(", ")
            );
            let text = self.say(&format!("{path}.fallback.cache"), text);
            self.line(1, text);
        }
        if let Some(version) = &route.policy.emergency {
            let path = format!("{path}.fallback.emergencyVersion");
            let version = self.say(&path, version);
            let text = "is asked in the read-only mode when nothing is kept";
            self.line(1, format!("{version} {text}"));
        }
        if route.policy.sample_bodies > 0 {
            let most = show_size(route.policy.sample_bodies as u64);
            let most = self.say(&format!("{path}.incident.bodies"), most);
            let text = "a failure analysis shows the bodies of failed exchanges";
            self.line(1, format!("{text}, {most} of each"));
        }
    }

    fn rules(&mut self, path: &str, rules: &Rules) {
        let interval = self.say(&format!("{path}.interval"), show_span(rules.interval));
        let window = self.say(&format!("{path}.window"), show_span(rules.window));
        self.line(1, format!("judged every {interval} over the last {window}:"));
        if rules.metrics.iter().any(|metric| metric.test != Test::Window) {
            let bound = Percent::of(rules.false_alarm * 100.0).unwrap_or_default();
            let bound = self.say(&format!("{path}.falseAlarm"), bound);
            self.line(
                2,
                format!("a version that is not worse is rolled back in at most {bound} of rollouts"),
            );
        }
        for (place, metric) in rules.metrics.iter().enumerate() {
            let text = self.say(&format!("{path}.metrics[{place}]"), sentence(metric));
            self.line(2, text);
        }
        if rules.metrics.is_empty() {
            self.line(2, "no rules");
        }
        let confirm = match rules.confirm {
            Confirm::Off => "the first verdict is final",
            Confirm::Auto => {
                "a first verdict moves the users to stable and is confirmed on copies of requests, or on a trickle where none may be copied"
            }
            Confirm::Mirror => {
                "a first verdict moves the users to stable and is confirmed on copies of requests"
            }
            Confirm::Trickle => {
                "a first verdict moves the users to stable but for a trickle, on which it is confirmed"
            }
        };
        let confirm = self.say(&format!("{path}.confirm"), confirm);
        self.line(2, confirm);
    }

    fn rollback(&mut self, path: &str, route: &RouteSettings) {
        let rollback = &route.rollback;
        let then = match rollback.on_timeout {
            OnTimeout::Finish => {
                format!("then they may finish, up to {}", show_span(rollback.cap))
            }
            OnTimeout::Cut => "then they are cut".to_owned(),
        };
        let text = format!(
            "a rollback waits {} for requests in flight, {then}",
            show_span(rollback.drain_timeout)
        );
        let text = self.say(path, text);
        self.line(1, text);
        if let Some(RampPlan { step, interval, timeout }) = rollback.ramp {
            let text = format!(
                "where stable has no room for all of it, the rest is held back and let \
                 through by at most {step} every {}, all of it after {}",
                show_span(interval),
                show_span(timeout)
            );
            let text = self.say(&path.replace(".drain", ".headroom"), text);
            self.line(2, text);
        }
    }
}

fn sentence(metric: &Metric) -> String {
    let then = match (metric.dry_run, metric.on_breach) {
        (true, _) => "it is shown (dry run)",
        (false, OnBreach::Rollback) => "it is rolled back",
        (false, OnBreach::Alert) => "it is said",
        (false, OnBreach::Pause) => "its rollout is paused",
    };
    let name = metric.rule.name();
    match &metric.rule {
        Rule::HealthCheck => {
            format!("{name}: when every endpoint of the canary is unhealthy, {then}")
        }
        Rule::ErrorRate { max_ratio, floor, max, min_samples } => {
            let max = max.map(|max| max.to_string());
            // Evidence needs no floor: one failure alone never suffices.
            let floor = (metric.test != Test::Sequential).then(|| floor.to_string());
            let limits = limits(max, *max_ratio, floor);
            let how = weighed(metric.test, *min_samples, "requests");
            format!("{name}: above {limits}, {how}, {then}")
        }
        Rule::LatencyP99 { max_ratio, floor, max, min_samples } => {
            let floor = Some(show_span(*floor));
            let limits = limits(max.map(show_span), *max_ratio, floor);
            let how = weighed(metric.test, *min_samples, "answers");
            format!("{name}: above {limits}, {how}, {then}")
        }
    }
}

fn weighed(test: Test, least: u64, what: &str) -> String {
    match test {
        Test::Sequential => "as soon as the evidence suffices".to_owned(),
        Test::Window => format!("from {least} {what} on"),
        Test::Both => {
            format!("as soon as the evidence suffices or from {least} {what} on")
        }
    }
}

fn limits(max: Option<String>, ratio: Option<f64>, floor: Option<String>) -> String {
    let floor = floor.map_or_else(String::new, |floor| format!(" (and above {floor})"));
    let ratio = ratio.map(|ratio| format!("{ratio} times stable's{floor}"));
    let limits: Vec<String> = [max, ratio].into_iter().flatten().collect();
    limits.join(" or ")
}

fn failures(set: &FailureSet) -> String {
    let words = [
        (set.connect, "connect"),
        (set.reset, "reset"),
        (set.timeout, "timeout"),
        (set.stream_error, "streamError"),
        (set.server_errors, "5xx"),
    ];
    let words = words.iter().filter(|(on, _)| *on).map(|(_, word)| (*word).to_owned());
    let statuses = set.statuses.iter().map(ToString::to_string);
    words.chain(statuses).collect::<Vec<_>>().join(", ")
}
