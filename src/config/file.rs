//! The file's exact shape: one table of every key, what it may hold and its default.
//!
//! Apart because it is the one source of truth: the walk that refuses unknown keys, the
//! readers, the JSON Schema and the defaults all look here. A key of the interface that is
//! not built yet stands here too, so that it is refused by name.

use std::time::Duration;

use super::defaults;
use super::file_notify::SINKS;
use super::file_route::ROUTE;
use super::shape::Need::{Default, Optional, Required};
use super::shape::{Key, Need, Shape};
use super::units;

/// The whole file.
pub(super) const FILE: &[Key] = &[
    key(
        "workers",
        Shape::Count { least: 1, most: 256, word: Some("auto") },
        Default(defaults::WORKERS),
        "data-plane threads; auto = one per core",
    ),
    key(
        "listeners",
        list(&Shape::Map(LISTENER), 1, 64),
        Required,
        "where requests come in",
    ),
    key("admin", Shape::Map(ADMIN), Optional, "API, metrics and health"),
    key(
        "stateDir",
        Shape::Text(units::line),
        Default(defaults::STATE_DIR),
        "where quarantine is kept, from the current directory",
    ),
    key("shutdown", Shape::Map(SHUTDOWN), Optional, "how the process ends"),
    key("dns", Shape::Map(DNS), Optional, "how the names of endpoints are looked up"),
    key("routes", list(&Shape::Map(ROUTE), 1, 256), Required, "what is served"),
    key("record", Shape::Map(RECORD), Optional, "traces for replay"),
    key("notify", list(&Shape::Typed(SINKS), 0, 32), Optional, "who is told"),
];

const LISTENER: &[Key] = &[
    key("name", NAME, Optional, "its name in logs; http, http-2 and so on when absent"),
    key(
        "address",
        Shape::Text(units::is_socket),
        Required,
        "IP address and port to listen on",
    ),
    key(
        "protocol",
        words(&["auto", "http1", "http2"]),
        Default(defaults::LISTENER_PROTOCOL),
        "auto = HTTP/1.1 and HTTP/2, told apart by ALPN over TLS and by prior knowledge",
    ),
    key(
        "tls",
        Shape::Map(SERVER_TLS),
        Optional,
        "its certificate; absent = in the clear",
    ),
    key("limits", Shape::Map(LIMITS), Optional, "bounds on what a caller may do"),
    key(
        "trustForwardedFrom",
        list(&Shape::Text(units::is_network), 0, 256),
        Default(defaults::TRUST_FORWARDED_FROM),
        "networks whose forwarding headers are believed",
    ),
];

const LIMITS: &[Key] = &[
    key(
        "maxConnections",
        count(1, 1_000_000),
        Default(defaults::MAX_CONNECTIONS),
        "connections of the listener; beyond it the longest idle one is closed for a new one",
    ),
    key(
        "maxConnectionsPerAddress",
        Shape::Count { least: 0, most: 1_000_000, word: Some("auto") },
        Default(defaults::MAX_CONNECTIONS_PER_ADDRESS),
        "connections from one address (of IPv6: one /64) that trustForwardedFrom does not name; auto = half of maxConnections but 256 at least, 0 = no bound",
    ),
    key(
        "headerTimeout",
        WAIT,
        Default(defaults::HEADER_TIMEOUT),
        "from a request's first byte to the end of its head",
    ),
    key(
        "headerSize",
        size(1 << 10, 1 << 20),
        Default(defaults::HEADER_SIZE),
        "bytes of a request head",
    ),
    key(
        "headerCount",
        count(1, 1_024),
        Default(defaults::HEADER_COUNT),
        "fields of a request head",
    ),
    key(
        "bodySize",
        size(1, 1 << 40),
        Default(defaults::BODY_SIZE),
        "bytes of a request body",
    ),
    key(
        "bodyIdleTimeout",
        WAIT,
        Default(defaults::BODY_IDLE_TIMEOUT),
        "between two pieces of a body",
    ),
    key(
        "minRate",
        size(0, 1 << 30),
        Default(defaults::MIN_RATE),
        "bytes a second, over 10 s, that a caller sends of its body or takes of its answer while nobody else is waited for; 0 = no bound",
    ),
    key(
        "keepAliveTimeout",
        WAIT,
        Default(defaults::KEEP_ALIVE_TIMEOUT),
        "between two requests of a connection",
    ),
    key(
        "requestsPerConnection",
        count(0, 1_000_000_000),
        Default(defaults::REQUESTS_PER_CONNECTION),
        "requests of one connection; 0 = no bound",
    ),
    key(
        "concurrentStreams",
        count(1, 10_000),
        Default(defaults::CONCURRENT_STREAMS),
        "HTTP/2 streams of one connection",
    ),
];

const ADMIN: &[Key] = &[
    key(
        "address",
        Shape::Text(units::is_socket),
        Default(defaults::ADMIN_ADDRESS),
        "API, metrics and health",
    ),
    key(
        "metricsAddress",
        Shape::Text(units::is_socket),
        Optional,
        "a second, open address for metrics and health alone, always without TLS",
    ),
    key("tls", Shape::Map(SERVER_TLS), Optional, "the certificate of the address"),
    key(
        "operators",
        list(&Shape::Map(OPERATOR), 0, 1_000),
        Optional,
        "who may do what; obligatory when the address is not loopback",
    ),
];

const SERVER_TLS: &[Key] = &[
    key(
        "certFile",
        Shape::Text(units::line),
        Required,
        "the certificate in PEM, followed by those that vouch for it; read again when it changes",
    ),
    key("keyFile", Shape::Text(units::line), Required, "its key in PEM"),
    key(
        "clientCaFile",
        Shape::Text(units::line),
        Optional,
        "who vouches for callers; given, a caller without a certificate is refused",
    ),
    key(
        "minVersion",
        words(&["1.2", "1.3"]),
        Default(defaults::TLS_MIN_VERSION),
        "the lowest version of TLS that is spoken",
    ),
];

const OPERATOR: &[Key] = &[
    key("name", Shape::Text(units::line), Required, "the name that records give"),
    key(
        "tokenFile",
        Shape::Text(units::line),
        Optional,
        "the file with the secret, at least 16 characters",
    ),
    key(
        "certificate",
        Shape::Map(CERTIFICATE),
        Optional,
        "the client certificate that is as good as the secret",
    ),
    key(
        "role",
        words(&["viewer", "signal", "operator"]),
        Required,
        "what it is good for",
    ),
];

const CERTIFICATE: &[Key] = &[key(
    "sha256",
    Shape::Text(units::is_fingerprint),
    Required,
    "its fingerprint, as openssl x509 -noout -fingerprint -sha256 -in FILE prints it",
)];

const SHUTDOWN: &[Key] = &[key(
    "drainTimeout",
    SPAN,
    Default(defaults::SHUTDOWN_DRAIN),
    "how long requests in flight may take to end",
)];

const DNS: &[Key] = &[
    key(
        "servers",
        list(&Shape::Text(units::is_name_server), 0, 8),
        Default(defaults::DNS_SERVERS),
        "name servers, in order, each an IP address with a port if that is not 53; none = those of /etc/resolv.conf",
    ),
    key(
        "search",
        list(&Shape::Text(units::is_domain), 0, 32),
        Optional,
        "domains put behind names; absent = those of /etc/resolv.conf, or none where servers are given",
    ),
    key(
        "ndots",
        count(0, 15),
        Optional,
        "with so many dots a name is tried as it is first; absent likewise, or 1",
    ),
    key(
        "timeout",
        Shape::Span { least: Duration::from_millis(10), most: MINUTE },
        Default(defaults::DNS_TIMEOUT),
        "for one name server to answer",
    ),
    key(
        "minTtl",
        Shape::Span { least: Duration::from_millis(50), most: HOUR },
        Default(defaults::DNS_MIN_TTL),
        "an answer holds at least so long, whatever it says itself",
    ),
    key(
        "maxTtl",
        Shape::Span { least: Duration::from_millis(50), most: DAY },
        Default(defaults::DNS_MAX_TTL),
        "and at most so long",
    ),
];

const RECORD: &[Key] = &[
    key(
        "path",
        Shape::Text(units::line),
        Optional,
        "the trace file, from the current directory; what is older is beside it with .1 at the end",
    ),
    key(
        "maxSize",
        size(1 << 20, 1 << 40),
        Default(defaults::RECORD_MAX_SIZE),
        "bytes of both files together",
    ),
];

pub(super) const NAME: Shape = Shape::Text(units::is_name);
/// Beyond a month a duration is a slip.
pub(super) const SPAN: Shape = Shape::Span { least: Duration::ZERO, most: MONTH };
/// A wait of nothing would be no wait.
pub(super) const WAIT: Shape =
    Shape::Span { least: Duration::from_millis(1), most: MONTH };
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const MONTH: Duration = Duration::from_secs(31 * 86_400);

pub(super) const fn key(
    name: &'static str,
    shape: Shape,
    need: Need,
    about: &'static str,
) -> Key {
    Key { name, shape, need, about }
}

pub(super) const fn list(of: &'static Shape, least: usize, most: usize) -> Shape {
    Shape::List { of, least, most }
}

pub(super) const fn words(built: &'static [&'static str]) -> Shape {
    Shape::Word { built, later: &[] }
}

pub(super) const fn count(least: u64, most: u64) -> Shape {
    Shape::Count { least, most, word: None }
}

pub(super) const fn size(least: u64, most: u64) -> Shape {
    Shape::Size { least, most }
}

pub(super) const fn later(why: &'static str) -> Shape {
    Shape::NotBuilt { why }
}
