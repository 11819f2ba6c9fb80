//! The shape of one route in the file: its match, versions and policy. Apart from `file`
//! for its length; with `file_rules` they are the one table.

use std::time::Duration;

use super::choice;
use super::defaults;
use super::file::{HOUR, MONTH, NAME, SPAN, WAIT, count, key, later, list, size, words};
use super::file_rollout::ROLLOUT;
use super::file_rules::{ANALYSIS, FALLBACK, ROLLBACK};
use super::shape::Need::{Default, Optional, Required};
use super::shape::{Key, Shape};
use super::units;
use crate::vocab::sample::Sample;

/// One route.
pub(super) const ROUTE: &[Key] = &[
    key("name", NAME, Required, "the name of the route"),
    key("match", Shape::Map(MATCH), Optional, "which requests belong to it"),
    key(
        "dialect",
        words(&[
            "auto",
            "plain",
            "openInference",
            "openai",
            "anthropic",
            "torchserve",
            "grpc",
        ]),
        Default(defaults::DIALECT),
        "the inference protocol; auto = by path and content type",
    ),
    key(
        "repeatable",
        words(&["auto", "true", "false"]),
        Default(defaults::REPEATABLE),
        "whether a request may be sent again after it was sent",
    ),
    key("versions", list(&Shape::Map(VERSION), 1, 64), Required, "one of them stable"),
    key(
        "overrides",
        list(&Shape::Map(OVERRIDE), 0, 64),
        Optional,
        "headers that choose a version whatever the weight",
    ),
    key(
        "balance",
        words(&["leastRequest", "roundRobin"]),
        Default(defaults::BALANCE),
        "which endpoint of a version is next",
    ),
    key(
        "outlierDetection",
        Shape::Map(OUTLIER),
        Optional,
        "when an endpoint is left out",
    ),
    key("timeouts", Shape::Map(TIMEOUTS), Optional, "limits on an attempt; 0s = none"),
    key("retry", Shape::Map(RETRY), Optional, "tries within one version"),
    key("rescue", Shape::Map(RESCUE), Optional, "when stable answers for the canary"),
    key(
        "sessionAffinity",
        Shape::Map(AFFINITY),
        Optional,
        "what keeps a session with its version",
    ),
    key("pin", Shape::Map(PIN), Optional, "trusted callers that demand a version"),
    key("shadow", later("leave it out"), Optional, "copies of requests"),
    key("rollout", Shape::Map(ROLLOUT), Optional, "how a version gains traffic"),
    key("analysis", Shape::Map(ANALYSIS), Optional, "what a canary must keep to"),
    key("rollback", Shape::Map(ROLLBACK), Optional, "how traffic is taken away"),
    key("fallback", Shape::Map(FALLBACK), Optional, "when stable fails too"),
    key("incident", Shape::Map(INCIDENT), Optional, "what a failure analysis may show"),
];

const INCIDENT: &[Key] = &[key(
    "bodies",
    size(0, Sample::BODY_MAX as u64),
    Default(defaults::INCIDENT_BODIES),
    "how much of the bodies of a failed exchange its sample shows, from their beginning, 4KiB at most; 0B = nothing. They are what your users asked and got",
)];

const MATCH: &[Key] = &[
    key(
        "hosts",
        list(&Shape::Text(units::is_host), 0, 256),
        Default(defaults::HOSTS),
        "hosts without port; *.example.com matches any labels; none = all",
    ),
    key(
        "pathPrefix",
        Shape::Text(units::path),
        Default(defaults::PATH_PREFIX),
        "the path, or what it begins with up to a slash",
    ),
    key("headers", Shape::Headers, Optional, "headers and their exact values"),
    key(
        "model",
        Shape::Text(choice::is_model),
        Optional,
        "the model that a request names in its path, its JSON body or its gRPC message",
    ),
];

const VERSION: &[Key] = &[
    key("name", NAME, Required, "the name of the version"),
    key(
        "role",
        Shape::Word { built: &["stable", "canary", "candidate"], later: &["shadow"] },
        Required,
        "stable, canary, or candidate (no traffic but by a pin or an override)",
    ),
    key(
        "weight",
        Shape::Percent,
        Default(defaults::WEIGHT),
        "the share of a canary; stable takes what is left",
    ),
    key(
        "endpoints",
        list(&Shape::Text(units::is_endpoint), 1, 256),
        Required,
        "its servers: http://HOST:PORT, https://HOST:PORT, unix:/PATH, or dns+ before the first two for each address of a name",
    ),
    key(
        "protocol",
        words(&["auto", "http1", "http2"]),
        Default(defaults::VERSION_PROTOCOL),
        "auto = by ALPN over TLS, else http1 (http2 where the dialect is grpc); http2 = by ALPN over TLS, else by prior knowledge",
    ),
    key(
        "digest",
        Shape::Text(units::line),
        Optional,
        "what quarantine remembers; the name of the version when absent",
    ),
    key("tls", Shape::Map(CLIENT_TLS), Optional, "how its https:// servers are believed"),
    key("healthCheck", Shape::Map(HEALTH), Optional, "absent = passive observation only"),
    key("pool", Shape::Map(POOL), Optional, "limits on connections"),
    key(
        "maxInFlight",
        count(0, 1_000_000),
        Default(defaults::MAX_IN_FLIGHT),
        "requests in flight over all endpoints; 0 = no bound",
    ),
];

const CLIENT_TLS: &[Key] = &[
    key(
        "caFile",
        Shape::Text(units::line),
        Optional,
        "authorities in PEM to believe beside the public ones; read again when it changes",
    ),
    key(
        "certFile",
        Shape::Text(units::line),
        Optional,
        "the certificate in PEM that is shown to its servers, for those that ask for one",
    ),
    key("keyFile", Shape::Text(units::line), Optional, "the key of that certificate"),
    key(
        "serverName",
        Shape::Text(units::is_certain_name),
        Optional,
        "the name to ask for and to find in the certificate; absent = the endpoint's host",
    ),
];

const HEALTH: &[Key] = &[
    key("liveness", Shape::Text(units::path), Optional, "path that says it lives"),
    key("readiness", Shape::Text(units::path), Optional, "path that says it can serve"),
    key("integrity", Shape::Map(INTEGRITY), Optional, "a header that names the model"),
    key(
        "interval",
        Shape::Span { least: Duration::from_millis(50), most: HOUR },
        Default(defaults::HEALTH_INTERVAL),
        "between two checks",
    ),
    key(
        "timeout",
        Shape::Span { least: Duration::from_millis(1), most: HOUR },
        Default(defaults::HEALTH_TIMEOUT),
        "for one check",
    ),
    key(
        "unhealthyAfter",
        count(1, 1_000),
        Default(defaults::UNHEALTHY_AFTER),
        "failed checks in a row",
    ),
    key(
        "healthyAfter",
        count(1, 1_000),
        Default(defaults::HEALTHY_AFTER),
        "good checks in a row",
    ),
    key(
        "grpc",
        Shape::Flag,
        Default(defaults::HEALTH_GRPC),
        "asks grpc.health.v1 of the server as a whole, over HTTP/2",
    ),
];

const INTEGRITY: &[Key] = &[
    key("path", Shape::Text(units::path), Required, "the path that is asked"),
    key(
        "header",
        Shape::Text(units::is_header),
        Default(defaults::INTEGRITY_HEADER),
        "the header of the answer",
    ),
    key("expect", Shape::Text(units::header_value), Required, "the value it must have"),
];

const POOL: &[Key] = &[
    key(
        "maxIdlePerEndpoint",
        count(0, 65_536),
        Default(defaults::MAX_IDLE),
        "idle connections kept",
    ),
    key(
        "maxConnectionsPerEndpoint",
        count(1, 65_536),
        Default(defaults::MAX_CONNECTIONS_PER_ENDPOINT),
        "connections at all",
    ),
    key(
        "idleTimeout",
        WAIT,
        Default(defaults::POOL_IDLE_TIMEOUT),
        "how long an idle one is kept",
    ),
];

const OVERRIDE: &[Key] = &[
    key("header", Shape::Text(units::is_header), Required, "the header of the request"),
    key("value", Shape::Text(units::header_value), Required, "its exact value"),
    key("to", NAME, Required, "the version that answers"),
];

const AFFINITY: &[Key] = &[
    key(
        "by",
        words(&["header", "cookie", "none"]),
        Required,
        "what tells a session: a header of the caller, or a cookie that it is given",
    ),
    key(
        "name",
        Shape::Text(units::line),
        Optional,
        "the header, x-session-id when absent; the cookie, switchback-session when absent",
    ),
    key(
        "maxAge",
        Shape::Span { least: Duration::from_secs(1), most: MONTH },
        Default(defaults::SESSION_MAX_AGE),
        "how long a cookie is good for; a header is good for as long as it is sent",
    ),
];

const PIN: &[Key] = &[
    key(
        "header",
        Shape::Text(units::is_header),
        Default(defaults::PIN_HEADER),
        "the header that names the version; believed from trustForwardedFrom alone",
    ),
    key("allowed", list(&NAME, 1, 64), Required, "the versions that may be named"),
    key(
        "quarantined",
        words(&["reroute", "refuse"]),
        Default(defaults::PIN_QUARANTINED),
        "when the version takes no requests: stable answers, or 409",
    ),
];

const OUTLIER: &[Key] = &[
    key(
        "consecutiveFailures",
        count(0, 1_000_000),
        Default(defaults::CONSECUTIVE_FAILURES),
        "failures in a row; 0 = never",
    ),
    key("baseEjection", WAIT, Default(defaults::BASE_EJECTION), "how long at first"),
    key(
        "maxEjected",
        Shape::Percent,
        Default(defaults::MAX_EJECTED),
        "at most so many of a version's endpoints",
    ),
];

const TIMEOUTS: &[Key] = &[
    key("connect", SPAN, Default(defaults::CONNECT_TIMEOUT), "until a connection stands"),
    key(
        "firstByte",
        SPAN,
        Default(defaults::FIRST_BYTE_TIMEOUT),
        "from the request sent to the head of the answer",
    ),
    key(
        "idle",
        SPAN,
        Default(defaults::IDLE_TIMEOUT),
        "between two pieces of a body; in a WebSocket, without a byte either way",
    ),
    key("total", SPAN, Default(defaults::TOTAL_TIMEOUT), "from first to last byte"),
];

const RETRY: &[Key] = &[
    key(
        "attempts",
        count(0, 10),
        Default(defaults::RETRY_ATTEMPTS),
        "tries beyond the first",
    ),
    key(
        "budget",
        Shape::Percent,
        Default(defaults::RETRY_BUDGET),
        "retries as a share of requests",
    ),
    key("on", FAILURES, Default(defaults::RETRY_ON), "which failures are tried again"),
];

const RESCUE: &[Key] = &[
    key("on", FAILURES, Default(defaults::RESCUE_ON), "which failures; none = never"),
    key(
        "maxBody",
        size(0, 64 << 20),
        Default(defaults::RESCUE_MAX_BODY),
        "the largest request body that is kept for it",
    ),
];

const FAILURES: Shape = list(&Shape::Text(units::failure), 0, 32);
