//! The shape of a route's analysis, rollback and fallback in the file. Apart from `file` for
//! its length; with `file_route` they are the one table.

use std::time::Duration;

use super::defaults;
use super::file::{DAY, HOUR, NAME, SPAN, WAIT, count, key, list, size, words};
use super::shape::Need::{Default, Optional, Required};
use super::shape::{Key, Shape};
use super::units;

/// What a canary must keep to.
pub(super) const ANALYSIS: &[Key] = &[
    key(
        "interval",
        Shape::Span { least: Duration::from_millis(50), most: HOUR },
        Default(defaults::INTERVAL),
        "how often the numbers are judged",
    ),
    key(
        "window",
        Shape::Span { least: Duration::from_millis(50), most: DAY },
        Default(defaults::WINDOW),
        "the trailing span that is judged",
    ),
    key(
        "falseAlarm",
        Shape::Percent,
        Default(defaults::FALSE_ALARM),
        "bound on the chance that a version that is not worse is rolled back, per rollout, by the sequential tests; above 0%, at most 50%",
    ),
    key(
        "confirm",
        words(&["auto", "mirror", "trickle", "off"]),
        Default(defaults::CONFIRM),
        "how a first verdict, which moves the users to stable, is confirmed: on copies of requests, on a trickle, or not at all",
    ),
    key(
        "noTraffic",
        words(&["hold", "extend", "revert"]),
        Default(defaults::NO_TRAFFIC),
        "what a pause of a rollout without requests leads to: it waits for the first one, waits one more pause, or is aborted",
    ),
    key(
        "metrics",
        list(&Shape::Named(METRICS), 0, 16),
        Optional,
        "the rules; absent = errorRate, latencyP99 and healthCheck",
    ),
];

/// The rules, each with its keys.
pub(super) const METRICS: &[(&str, &[Key])] =
    &[("errorRate", ERROR_RATE), ("latencyP99", LATENCY), ("healthCheck", HEALTH_RULE)];

const ERROR_RATE: &[Key] = &[
    METRIC_NAME,
    key("maxRatio", RATIO, Optional, "at most so many times stable's rate"),
    key(
        "floor",
        Shape::Percent,
        Default(defaults::ERROR_FLOOR),
        "rates up to this never break the ratio",
    ),
    key("max", Shape::Percent, Optional, "at most this, whatever stable does"),
    key(
        "minSamples",
        SAMPLES,
        Default(defaults::ERROR_MIN_SAMPLES),
        "fewer requests decide nothing",
    ),
    DRY_RUN,
    ON_BREACH,
    TEST,
];

const LATENCY: &[Key] = &[
    METRIC_NAME,
    key(
        "maxRatio",
        RATIO,
        Optional,
        "at most so many times stable's time; of streams to the first token, and for each after it",
    ),
    key(
        "floor",
        SPAN,
        Default(defaults::LATENCY_FLOOR),
        "times up to this never break the ratio; a fifth of it for each token of a stream",
    ),
    key(
        "max",
        WAIT,
        Optional,
        "at most this, whatever stable does; of streams to the first token",
    ),
    key(
        "minSamples",
        SAMPLES,
        Default(defaults::LATENCY_MIN_SAMPLES),
        "fewer good answers, or streams, decide nothing",
    ),
    DRY_RUN,
    ON_BREACH,
    TEST,
];

const HEALTH_RULE: &[Key] = &[METRIC_NAME, DRY_RUN, ON_BREACH, TEST];

/// How traffic is taken away.
pub(super) const ROLLBACK: &[Key] = &[
    key("drain", Shape::Map(DRAIN), Optional, "what happens to requests in flight"),
    key(
        "stabilization",
        SPAN,
        Default(defaults::STABILIZATION),
        "how long stable settles before it is looked at again",
    ),
    key("verify", Shape::Map(VERIFY), Optional, "what stable must keep to afterwards"),
    key("headroom", Shape::Map(HEADROOM), Optional, "when stable cannot take it all"),
];

const HEADROOM: &[Key] = &[
    key(
        "onShort",
        words(&["shed", "ramp"]),
        Default(defaults::ON_SHORT),
        "shed = all at once, what is above maxInFlight is answered with 503; ramp = what does not fit is held back and let through in steps",
    ),
    key(
        "step",
        Shape::Percent,
        Default(defaults::RAMP_STEP),
        "the most that a step lets through",
    ),
    key(
        "interval",
        Shape::Span { least: Duration::from_millis(100), most: HOUR },
        Default(defaults::RAMP_INTERVAL),
        "between two steps",
    ),
    key(
        "timeout",
        WAIT,
        Default(defaults::RAMP_TIMEOUT),
        "after so long all is let through, as with shed",
    ),
];

const DRAIN: &[Key] = &[
    key(
        "timeout",
        SPAN,
        Default(defaults::DRAIN_TIMEOUT),
        "how long they may take before the drain is reported as over",
    ),
    key(
        "onTimeout",
        words(&["finish", "cut"]),
        Default(defaults::DRAIN_ON_TIMEOUT),
        "what happens to those that are left then",
    ),
    key("cap", SPAN, Default(defaults::DRAIN_CAP), "after so long all are cut"),
];

const VERIFY: &[Key] = &[key(
    "maxErrorRate",
    Shape::Percent,
    Default(defaults::VERIFY_MAX_ERROR_RATE),
    "a larger share of failed requests is a failed rollback",
)];

/// When stable fails too.
pub(super) const FALLBACK: &[Key] = &[
    key("cache", Shape::Map(CACHE), Optional, "answers kept for the day both fail"),
    key("banner", Shape::Map(BANNER), Optional, "how a degraded answer is marked"),
    key(
        "emergencyVersion",
        NAME,
        Optional,
        "a version of the route, no canary, that is asked in the read-only mode when nothing is kept",
    ),
];

const CACHE: &[Key] = &[
    key("enabled", Shape::Flag, Default(defaults::CACHE_ENABLED), "opts in"),
    key(
        "maxSize",
        size(1 << 10, 1 << 40),
        Default(defaults::CACHE_MAX_SIZE),
        "bytes of all entries of the route",
    ),
    key(
        "maxEntry",
        size(1, 1 << 30),
        Default(defaults::CACHE_MAX_ENTRY),
        "bytes of one entry",
    ),
    key("ttl", WAIT, Default(defaults::CACHE_TTL), "how long an entry may be served"),
    key(
        "vary",
        list(&Shape::Text(units::is_header), 0, 64),
        Default(defaults::CACHE_VARY),
        "request headers that are part of the key",
    ),
    key(
        "methods",
        list(&Shape::Text(units::is_method), 1, 3),
        Default(defaults::CACHE_METHODS),
        "methods whose answers are kept",
    ),
    key(
        "persist",
        Shape::Flag,
        Default(defaults::CACHE_PERSIST),
        "a copy on disk as well, in stateDir/cache, for the time after a restart: answers are what your users asked and got, in files that only this user may read",
    ),
];

const BANNER: &[Key] = &[
    key(
        "header",
        Shape::Text(units::is_banner_header),
        Default(defaults::BANNER_HEADER),
        "the header that is added",
    ),
    key("jsonField", Shape::Text(units::line), Optional, "the JSON member that is added"),
    key(
        "message",
        Shape::Text(units::header_value),
        Default(defaults::BANNER_MESSAGE),
        "what it says",
    ),
];

const METRIC_NAME: Key =
    key("name", words(&["errorRate", "latencyP99", "healthCheck"]), Required, "the rule");
const DRY_RUN: Key =
    key("dryRun", Shape::Flag, Default(defaults::DRY_RUN), "judge, but never act");
const ON_BREACH: Key = key(
    "onBreach",
    words(&["rollback", "pause", "alert"]),
    Default(defaults::ON_BREACH),
    "what follows a broken rule",
);
const TEST: Key = key(
    "test",
    words(&["sequential", "window", "both"]),
    Default(defaults::TEST),
    "how the numbers are weighed: as evidence from request to request, by the trailing window, or by whichever is first",
);

const RATIO: Shape = Shape::Number { least: 1.0, most: 1_000.0 };
const SAMPLES: Shape = count(1, 1_000_000_000);
