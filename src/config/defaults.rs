//! Every default with the reason for it, written as the file would write it.
//!
//! Apart so that a reader finds them on one page. They are texts because they pass through
//! the same parsers as the file, and the schema prints them as they are.

/// One thread serves tens of thousands of requests a second; more are a wish.
pub(super) const WORKERS: &str = "1";
/// Both protocols can be told apart by their first bytes.
pub(super) const LISTENER_PROTOCOL: &str = "auto";
/// Some hundred MB of memory when every connection is busy.
pub(super) const MAX_CONNECTIONS: &str = "10000";
/// One caller never takes the places of all others, and a gateway with many callers behind
/// it is named in `trustForwardedFrom` or has half of them.
pub(super) const MAX_CONNECTIONS_PER_ADDRESS: &str = "auto";
/// A head is a packet or two; who takes longer holds a place for nothing.
pub(super) const HEADER_TIMEOUT: &str = "10s";
/// Room for large tokens and cookies, too little to hurt.
pub(super) const HEADER_SIZE: &str = "64KiB";
/// Twice what real callers send.
pub(super) const HEADER_COUNT: &str = "100";
/// Images and batches fit, a flood does not.
pub(super) const BODY_SIZE: &str = "64MiB";
/// A caller that sends nothing for so long has gone.
pub(super) const BODY_IDLE_TIMEOUT: &str = "30s";
/// Slower than the slowest line that carries speech, faster than who drips to hold a place.
pub(super) const MIN_RATE: &str = "240";
/// What nginx has long shown to suit callers.
pub(super) const KEEP_ALIVE_TIMEOUT: &str = "75s";
/// No bound: connections are closed by time and by shutdown.
pub(super) const REQUESTS_PER_CONNECTION: &str = "0";
/// What HTTP/2 recommends at least, rounded up.
pub(super) const CONCURRENT_STREAMS: &str = "128";
/// Nobody's forwarding headers are believed without being told so.
pub(super) const TRUST_FORWARDED_FROM: &str = "";

/// Loopback, so that it is closed until somebody opens it.
pub(super) const ADMIN_ADDRESS: &str = "127.0.0.1:9901";
/// What every client of the last ten years speaks.
pub(super) const TLS_MIN_VERSION: &str = "1.2";
/// Whom the machine asks.
pub(super) const DNS_SERVERS: &str = "";
/// A name server of a cluster answers in a millisecond, one far away in a tenth of a second.
pub(super) const DNS_TIMEOUT: &str = "2s";
/// Answers that say 0 seconds are common, and asking for each request is not meant by them.
pub(super) const DNS_MIN_TTL: &str = "1s";
/// Long times are set by people who do not think of moving.
pub(super) const DNS_MAX_TTL: &str = "5m";
/// Beside where the process is started.
pub(super) const STATE_DIR: &str = "./switchback-state";
/// What Kubernetes waits before it kills.
pub(super) const SHUTDOWN_DRAIN: &str = "30s";

/// Every path.
pub(super) const PATH_PREFIX: &str = "/";
/// Every host.
pub(super) const HOSTS: &str = "";
/// Any HTTP service; the inference protocols are told by their paths.
pub(super) const DIALECT: &str = "auto";
/// What is known to be safe to send twice is, the rest is not.
pub(super) const REPEATABLE: &str = "auto";
/// A new version takes nothing until it is given something.
pub(super) const WEIGHT: &str = "0%";
/// Without TLS the protocol cannot be agreed on, and all model servers speak HTTP/1.1; but a
/// route of gRPC needs HTTP/2.
pub(super) const VERSION_PROTOCOL: &str = "auto";
/// A working day of most people; a rollback does not wait for it.
pub(super) const SESSION_MAX_AGE: &str = "6h";
/// What the interface calls it.
pub(super) const PIN_HEADER: &str = "x-model-pin";
/// An answer is better than none.
pub(super) const PIN_QUARANTINED: &str = "reroute";
/// No bound: the listener's connections are one.
pub(super) const MAX_IN_FLIGHT: &str = "0";

/// Few servers have it: MLServer says UNIMPLEMENTED.
pub(super) const HEALTH_GRPC: &str = "false";
/// Often enough to notice a dead server before most callers do.
pub(super) const HEALTH_INTERVAL: &str = "5s";
/// A health answer that takes longer is none.
pub(super) const HEALTH_TIMEOUT: &str = "2s";
/// One lost probe is no outage.
pub(super) const UNHEALTHY_AFTER: &str = "3";
/// One good answer may be luck.
pub(super) const HEALTHY_AFTER: &str = "2";
/// The name that the field gives the header with a model's digest.
pub(super) const INTEGRITY_HEADER: &str = "x-model-digest";

/// More idle connections than a server has workers are no use.
pub(super) const MAX_IDLE: &str = "64";
/// Below the common limit of a process for open files.
pub(super) const MAX_CONNECTIONS_PER_ENDPOINT: &str = "1024";
/// Below the 5 s at which servers built on uvicorn close an idle connection.
pub(super) const POOL_IDLE_TIMEOUT: &str = "4s";

/// The less busy of two is nearly as good as the least busy of all, and much cheaper.
pub(super) const BALANCE: &str = "leastRequest";
/// Five failures in a row are no accident.
pub(super) const CONSECUTIVE_FAILURES: &str = "5";
/// About the time in which a server restarts.
pub(super) const BASE_EJECTION: &str = "30s";
/// When more than half are bad it is the version, and that is for the analysis.
pub(super) const MAX_EJECTED: &str = "50%";

/// In one data centre a connection stands in a millisecond.
pub(super) const CONNECT_TIMEOUT: &str = "1s";
/// Models may think long; slowness is noticed by the analysis.
pub(super) const FIRST_BYTE_TIMEOUT: &str = "120s";
/// As for the first byte.
pub(super) const IDLE_TIMEOUT: &str = "120s";
/// No limit: a stream may last.
pub(super) const TOTAL_TIMEOUT: &str = "0s";

/// One more try finds another endpoint; more only add load.
pub(super) const RETRY_ATTEMPTS: &str = "1";
/// Retries never add more than a fifth to the load of a version in trouble.
pub(super) const RETRY_BUDGET: &str = "20%";
/// The failures that another endpoint may not have.
pub(super) const RETRY_ON: &str = "connect, reset, 503";
/// Everything that a caller would see as a failure of the canary.
pub(super) const RESCUE_ON: &str = "connect, reset, timeout, 5xx, streamError";
/// Inference requests are small; larger bodies would have to be kept in memory.
pub(super) const RESCUE_MAX_BODY: &str = "1MiB";

/// Four looks a second: users feel a bad version for less than the blink of a dashboard.
pub(super) const INTERVAL: &str = "250ms";
/// Long enough for a thin canary to gather samples.
pub(super) const WINDOW: &str = "5m";
/// One good version in a thousand rolled back by mistake: rarer than a mistake by hand.
pub(super) const FALSE_ALARM: &str = "0.1%";
/// Users are moved to stable early; whether it was right is found out without them.
pub(super) const CONFIRM: &str = "auto";
/// Without requests there is no reason to move anybody.
pub(super) const NO_TRAFFIC: &str = "hold";
/// Twice stable's errors are no noise.
pub(super) const ERROR_MAX_RATIO: f64 = 2.0;
/// Below one failure in a hundred a ratio says little.
pub(super) const ERROR_FLOOR: &str = "1%";
/// The limit of the requirement.
pub(super) const ERROR_MAX: &str = "5%";
/// Fewer requests than this are an anecdote.
pub(super) const ERROR_MIN_SAMPLES: &str = "50";
/// Half as slow again is felt.
pub(super) const LATENCY_MAX_RATIO: f64 = 1.5;
/// Below five milliseconds a ratio measures the scheduler, not the model.
pub(super) const LATENCY_FLOOR: &str = "5ms";
/// A 99th percentile of fewer rests on a single request.
pub(super) const LATENCY_MIN_SAMPLES: &str = "200";
/// Acts as soon as the evidence suffices, and says how sure it is.
pub(super) const TEST: &str = "sequential";
/// A broken rule takes the traffic away unless it is told not to.
pub(super) const ON_BREACH: &str = "rollback";
/// A rule acts unless it is told not to.
pub(super) const DRY_RUN: &str = "false";

/// Steps that are given; the word itself is the field's.
pub(super) const STRATEGY: &str = "canary";
/// Ten steps, each large enough to be felt and small enough to be borne.
pub(super) const STEP_WEIGHT: &str = "10%";
/// What goes wrong with a new version under all traffic mostly shows within this.
pub(super) const BAKE: &str = "30m";
/// Long enough for a script that looks something up.
pub(super) const WEBHOOK_TIMEOUT: &str = "10s";
/// A person who says yes does not wait long for it to be seen.
pub(super) const WEBHOOK_INTERVAL: &str = "10s";
/// What is named in a file should not reach into the house unless it is said so.
pub(super) const ALLOW_PRIVATE: &str = "false";
/// Stable stays up for those it can serve; moving slowly would keep users on a bad version.
pub(super) const ON_SHORT: &str = "shed";
/// Ten steps at the most.
pub(super) const RAMP_STEP: &str = "10%";
/// What a step brings shows within a few answers.
pub(super) const RAMP_INTERVAL: &str = "2s";
/// Within the five minutes that the requirement gives a rollback.
pub(super) const RAMP_TIMEOUT: &str = "3m";

/// The requirement's own number.
pub(super) const DRAIN_TIMEOUT: &str = "30s";
/// Answers under way are worth more than a quick report.
pub(super) const DRAIN_ON_TIMEOUT: &str = "finish";
/// No answer takes longer than that.
pub(super) const DRAIN_CAP: &str = "10m";
/// Long enough for a server to warm up under its new load.
pub(super) const STABILIZATION: &str = "10s";
/// The requirement's own number.
pub(super) const VERIFY_MAX_ERROR_RATE: &str = "5%";

/// What users ask and get is nobody else's, unless somebody says so.
pub(super) const INCIDENT_BODIES: &str = "0B";

/// Keeping answers is a decision about data, so it is opted into.
pub(super) const CACHE_ENABLED: &str = "false";
/// A few hundred thousand small answers.
pub(super) const CACHE_MAX_SIZE: &str = "256MiB";
/// One answer never pushes out all others.
pub(super) const CACHE_MAX_ENTRY: &str = "1MiB";
/// Older answers mislead more than they help.
pub(super) const CACHE_TTL: &str = "1h";
/// The headers that tell callers and tenants apart.
pub(super) const CACHE_VARY: &str = "authorization, cookie, x-api-key, x-tenant";
/// Inference is asked by POST, metadata by GET.
pub(super) const CACHE_METHODS: &str = "POST, GET";
/// Kept answers are payloads of users: nothing of them is on disk unless it is asked for.
pub(super) const CACHE_PERSIST: &str = "false";
/// A name of its own: the standard's Warning header is withdrawn.
pub(super) const BANNER_HEADER: &str = "x-service-degraded";
/// Says what happened and what the answer is.
pub(super) const BANNER_MESSAGE: &str =
    "the model is not available: this is a kept answer to the same question";
/// A day of traffic at a thousand requests a second is a few of these.
pub(super) const RECORD_MAX_SIZE: &str = "1GiB";

/// A sink hears of everything unless it is told not to.
pub(super) const NOTIFY_ON: &str = "";
/// A channel is there to be read.
pub(super) const NOTIFY_SEVERITY: &str = "info";
/// Nobody is woken, and no ticket is written, for what is only good to know.
pub(super) const NOTIFY_SEVERITY_URGENT: &str = "high";
/// What is inside is not asked unless somebody says so.
pub(super) const NOTIFY_ALLOW_PRIVATE: &str = "false";
/// The address in PagerDuty's documentation.
pub(super) const PAGERDUTY_URL: &str = "https://events.pagerduty.com";
/// The address in GitHub's documentation.
pub(super) const GITHUB_URL: &str = "https://api.github.com";
/// Most sites are hosted.
pub(super) const JIRA_EDITION: &str = "cloud";
/// The type that Jira Service Management brings along.
pub(super) const JIRA_ISSUE_TYPE: &str = "Incident";
/// No further labels.
pub(super) const TICKET_LABELS: &str = "";
/// Whether an incident is over is for people to say.
pub(super) const GITHUB_CLOSE: &str = "false";
/// A name of its own, that no other index pattern matches.
pub(super) const ELASTICSEARCH_INDEX: &str = "switchback-audit";
