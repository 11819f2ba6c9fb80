//! What a route does with its requests, what its canary must keep to, and how traffic is
//! taken away from it.

use super::choice;
use super::defaults;
use super::file_rules::METRICS;
use super::reader::View;
use super::units;
use crate::control::{OnTimeout, RollbackSettings};
use crate::judge::{Confirm, Metric, OnBreach, Rule, Rules, Test};
use crate::rollout::RampPlan;
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;
use crate::vocab::policy::{
    Banner, CachePolicy, Dialect, FailureSet, Repeatable, Rescue, Retry, RoutePolicy,
    Timeouts,
};

/// Policy, rules and rollback of a route.
pub(super) fn of_route(route: &View<'_>) -> (RoutePolicy, Rules, RollbackSettings) {
    let rules = rules(&route.child("analysis"));
    confirmable(route, &rules);
    advise(route, &rules);
    (policy(route), rules, rollback(&route.child("rollback")))
}

fn policy(route: &View<'_>) -> RoutePolicy {
    let timeouts = route.child("timeouts");
    let (retry, rescue) = (route.child("retry"), route.child("rescue"));
    let fallback = route.child("fallback");
    let banner = fallback.child("banner");
    RoutePolicy {
        timeouts: Timeouts {
            connect: timeouts.span("connect"),
            first_byte: timeouts.span("firstByte"),
            idle: timeouts.span("idle"),
            total: timeouts.span("total"),
        },
        retry: Retry {
            attempts: retry.count("attempts"),
            budget: retry.percent("budget"),
            on: failures(&retry),
        },
        rescue: Rescue { on: failures(&rescue), max_body: rescue.size("maxBody") },
        dialect: Dialect::of(route.text("dialect")),
        affinity: choice::affinity(route),
        pin: choice::pin(route),
        repeatable: match route.text("repeatable") {
            "true" => Repeatable::Always,
            "false" => Repeatable::Never,
            _ => Repeatable::Auto,
        },
        cache: cache(&fallback.child("cache")),
        banner: Banner {
            header: banner.text("header").to_ascii_lowercase(),
            json_field: banner.maybe_text("jsonField").map(str::to_owned),
            message: banner.text("message").to_owned(),
        },
        emergency: emergency(route, &fallback),
        sample_bodies: route.child("incident").size("bodies"),
    }
}

/// The version that is asked in the read-only mode. A canary is no last resort: it is what
/// is rolled back before.
fn emergency(route: &View<'_>, fallback: &View<'_>) -> Option<Name> {
    let named = fallback.name("emergencyVersion")?;
    let versions = route.children("versions");
    let found = versions.iter().find(|view| view.name("name").as_ref() == Some(&named));
    let shown = fallback.shown("emergencyVersion");
    let Some(found) = found else {
        let message = format!("{shown} is not a version of this route");
        fallback.wrong("emergencyVersion", message);
        return None;
    };
    if found.text("role") == "canary" {
        let message = format!("{shown} is a canary: name a candidate, or stable");
        fallback.wrong("emergencyVersion", message);
        return None;
    }
    Some(named)
}

fn failures(view: &View<'_>) -> FailureSet {
    let mut set = FailureSet::default();
    let items = view.items("on");
    for (place, item) in items.iter().enumerate() {
        if items[..place].iter().any(|other| other.text == item.text) {
            view.wrong_item(item, format!("{} is there twice", item.shown));
        }
        match item.text {
            "connect" => set.connect = true,
            "reset" => set.reset = true,
            "timeout" => set.timeout = true,
            "streamError" => set.stream_error = true,
            "5xx" => set.server_errors = true,
            status => set.statuses.extend(status.parse::<u16>().ok()),
        }
    }
    set
}

fn cache(view: &View<'_>) -> Option<CachePolicy> {
    let (max_size, max_entry) = (view.size("maxSize"), view.size("maxEntry"));
    if view.sound("maxSize") && view.sound("maxEntry") && max_entry > max_size {
        let (key, other) = if view.given("maxEntry") {
            ("maxEntry", "is larger than maxSize")
        } else {
            ("maxSize", "is smaller than maxEntry")
        };
        view.wrong(key, format!("{} {other}", view.shown(key)));
    }
    let mut vary: Vec<String> =
        view.items("vary").iter().map(|item| item.text.to_ascii_lowercase()).collect();
    vary.sort();
    vary.dedup();
    let mut methods: Vec<String> =
        view.items("methods").iter().map(|item| item.text.to_ascii_uppercase()).collect();
    methods.sort();
    methods.dedup();
    if !view.flag("enabled") {
        return None;
    }
    let missing: Vec<&str> = defaults::CACHE_VARY
        .split(", ")
        .filter(|name| !vary.iter().any(|v| v == name))
        .collect();
    if !missing.is_empty() {
        let names = missing.join(", ");
        view.warn(
            "vary",
            format!("callers who differ only in {names} get each other's kept answers"),
        );
    }
    let (ttl, persist) = (view.span("ttl"), view.flag("persist"));
    Some(CachePolicy { max_size, max_entry, ttl, vary, methods, persist })
}

fn rules(view: &View<'_>) -> Rules {
    let (interval, window) = (view.span("interval"), view.span("window"));
    if view.sound("interval") && view.sound("window") && interval > window {
        let (key, other) = if view.given("interval") {
            ("interval", "is longer than the window")
        } else {
            ("window", "is shorter than the interval")
        };
        view.wrong(key, format!("{} {other}", view.shown(key)));
    }
    let metrics =
        if view.given("metrics") { metrics(view) } else { default_metrics(view) };
    let confirm = match view.text("confirm") {
        "off" => Confirm::Off,
        "mirror" => Confirm::Mirror,
        "trickle" => Confirm::Trickle,
        _ => Confirm::Auto,
    };
    Rules { interval, window, false_alarm: false_alarm(view), confirm, metrics }
}

/// A bound of nothing can never be reached, and one above a half bounds nothing.
fn false_alarm(view: &View<'_>) -> f64 {
    let share = view.percent("falseAlarm").fraction();
    if view.sound("falseAlarm") {
        let shown = view.shown("falseAlarm");
        if share <= 0.0 {
            view.wrong(
                "falseAlarm",
                format!("{shown} is not above 0%: no evidence is that strong"),
            );
        } else if share > MOST_FALSE_ALARM {
            view.wrong("falseAlarm", format!("{shown} is above the largest, 50%"));
        }
    }
    share
}

/// Copies are requests that are sent again.
fn confirmable(route: &View<'_>, rules: &Rules) {
    if rules.confirm == Confirm::Mirror && route.text("repeatable") == "false" {
        let analysis = route.child("analysis");
        analysis.wrong(
            "confirm",
            "mirror copies requests, and repeatable: false forbids to send one twice: write trickle or off, or change repeatable",
        );
    }
}

fn metrics(view: &View<'_>) -> Vec<Metric> {
    let views = view.children("metrics");
    let mut names: Vec<&str> = Vec::new();
    let mut metrics = Vec::with_capacity(views.len());
    for view in &views {
        let name = view.text("name");
        let Some(metric) = metric(name, view) else { continue };
        if names.contains(&name) {
            view.wrong("name", format!("{} is there twice", view.shown("name")));
        }
        names.push(name);
        metrics.push(metric);
    }
    metrics
}

/// One rule of each kind with nothing but defaults.
fn default_metrics(view: &View<'_>) -> Vec<Metric> {
    METRICS.iter().filter_map(|(name, keys)| metric(name, &view.blank(keys))).collect()
}

fn metric(name: &str, view: &View<'_>) -> Option<Metric> {
    let rule = match name {
        "errorRate" => error_rate(view),
        "latencyP99" => latency(view),
        "healthCheck" => Rule::HealthCheck,
        _ => return None,
    };
    let on_breach = match view.text("onBreach") {
        "alert" => OnBreach::Alert,
        "pause" => OnBreach::Pause,
        _ => OnBreach::Rollback,
    };
    let test = match view.text("test") {
        "window" => Test::Window,
        "both" => Test::Both,
        _ => Test::Sequential,
    };
    Some(Metric { rule, on_breach, dry_run: view.flag("dryRun"), test })
}

/// A limit of its own replaces the default ones; without any these hold.
fn error_rate(view: &View<'_>) -> Rule {
    let (max_ratio, max) = if view.given("maxRatio") || view.given("max") {
        (view.maybe_number("maxRatio"), view.maybe_percent("max"))
    } else {
        (Some(defaults::ERROR_MAX_RATIO), units::percent(defaults::ERROR_MAX).ok())
    };
    Rule::ErrorRate {
        max_ratio,
        floor: view.percent("floor"),
        max,
        min_samples: view.count("minSamples"),
    }
}

fn latency(view: &View<'_>) -> Rule {
    let (max_ratio, max) = if view.given("maxRatio") || view.given("max") {
        (view.maybe_number("maxRatio"), view.maybe_span("max"))
    } else {
        (Some(defaults::LATENCY_MAX_RATIO), None)
    };
    Rule::LatencyP99 {
        max_ratio,
        floor: view.span("floor"),
        max,
        min_samples: view.count("minSamples"),
    }
}

/// Warns of rules that cannot do what somebody may expect of them.
fn advise(route: &View<'_>, rules: &Rules) {
    let versions = route.children("versions");
    let canaries: Vec<_> =
        versions.iter().filter(|version| version.text("role") == "canary").collect();
    if canaries.is_empty() {
        return;
    }
    let acts =
        |metric: &Metric| !metric.dry_run && metric.on_breach == OnBreach::Rollback;
    let analysis = route.child("analysis");
    if !rules.metrics.iter().any(acts) {
        analysis.warn("metrics", "no rule takes traffic away from a bad canary");
    }
    let asked = analysis.given("metrics")
        && rules.metrics.iter().any(|metric| metric.rule == Rule::HealthCheck);
    if asked && !canaries.iter().any(|version| version.given("healthCheck")) {
        analysis
            .warn("metrics", "the rule healthCheck needs a healthCheck of the canary");
    }
}

fn rollback(view: &View<'_>) -> RollbackSettings {
    let drain = view.child("drain");
    let drain_timeout = drain.span("timeout");
    // A longer timeout alone moves the default cap along.
    let cap = drain.maybe_span("cap").unwrap_or(drain.span("cap").max(drain_timeout));
    if drain.sound("cap") && drain.sound("timeout") && cap < drain_timeout {
        drain.wrong("cap", format!("{} is shorter than the timeout", drain.shown("cap")));
    }
    let on_timeout = match drain.text("onTimeout") {
        "cut" => OnTimeout::Cut,
        _ => OnTimeout::Finish,
    };
    let stabilization = view.span("stabilization");
    let max_error_rate = view.child("verify").percent("maxErrorRate");
    let ramp = ramp(&view.child("headroom"));
    RollbackSettings {
        drain_timeout,
        on_timeout,
        cap,
        stabilization,
        max_error_rate,
        ramp,
    }
}

fn ramp(headroom: &View<'_>) -> Option<RampPlan> {
    let ramps = headroom.text("onShort") == "ramp";
    for key in ["step", "interval", "timeout"] {
        if !ramps && headroom.given(key) && headroom.sound("onShort") {
            headroom.wrong(key, "is for onShort: ramp alone".to_owned());
        }
    }
    let step = headroom.percent("step");
    if headroom.sound("step") && step == Percent::ZERO {
        headroom.wrong("step", "must be above 0%".to_owned());
    }
    let (interval, timeout) = (headroom.span("interval"), headroom.span("timeout"));
    ramps.then_some(RampPlan { step, interval, timeout })
}

/// The largest bound on the chance of a false rollback.
const MOST_FALSE_ALARM: f64 = 0.5;
