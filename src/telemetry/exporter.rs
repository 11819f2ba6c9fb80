//! `Exporter`: the page that Prometheus reads, and the counts of rollbacks on it.
//!
//! A recorder lives as long as the page it writes: it is given every number, writes them
//! and is gone. So nothing of a removed version can stay, no number can be staler than the
//! scrape, and several instances in one process do not share anything.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::buckets::Buckets;
use super::kept::KeptCounts;
use super::names::{self, Kind, Metric};
use super::page::{NameFacts, Page, RouteFacts, Totals, VersionFacts};
use crate::vocab::outcome::Class;
use crate::vocab::record::Outcome;
use crate::vocab::record::Phase;

/// Makes metrics pages. One for each instance of the program.
#[derive(Debug)]
pub struct Exporter {
    rollbacks: Mutex<Rollbacks>,
    recorded: Mutex<Recorded>,
    kept: Arc<KeptCounts>,
    sinks: Mutex<Vec<SinkFacts>>,
    audited: Mutex<Audited>,
}

/// How one sink for notices stands. Counts are since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkFacts {
    /// Its name, from the configuration.
    pub name: String,
    /// What it took.
    pub delivered: u64,
    /// Tries that failed.
    pub failed: u64,
    /// What was given up.
    pub given_up: u64,
    /// What was turned away because too much came at once.
    pub lost: u64,
    /// What waits.
    pub waiting: u64,
    /// What was given up and is kept.
    pub dead: u64,
}

/// How the recording of a trace stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Requests written since the start.
    pub written: u64,
    /// Requests lost since the start.
    pub lost: u64,
    /// Whether nothing can be written at the moment.
    pub is_failing: bool,
}

/// How the audit log stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// Records written since the start.
    pub written: u64,
    /// Entries that wait to be written.
    pub unwritten: u64,
    /// Tries to write that failed.
    pub failures: u64,
    /// The number of the last record, 0 before the first.
    pub head_seq: u64,
    /// Its hash in hexadecimal digits.
    pub head_hash: String,
}

/// What is counted of rollbacks, since the start.
#[derive(Debug)]
pub(super) struct Rollbacks {
    pub(super) triggered: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    /// Seconds of the last one that ended.
    pub(super) last: f64,
    /// By phase; the names are ours, so that there are few.
    pub(super) phases: BTreeMap<&'static str, Buckets>,
}

impl Default for Exporter {
    fn default() -> Self {
        Self::new()
    }
}

impl Exporter {
    /// An exporter with nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let phases = Phase::ALL.map(|phase| (phase.as_str(), Buckets::phases())).into();
        let rollbacks =
            Rollbacks { triggered: 0, completed: 0, failed: 0, last: 0.0, phases };
        Self {
            rollbacks: Mutex::new(rollbacks),
            recorded: Mutex::default(),
            sinks: Mutex::default(),
            audited: Mutex::default(),
            kept: Arc::default(),
        }
    }

    /// Where the copy of kept answers on disk is counted.
    #[must_use]
    pub fn kept(&self) -> &Arc<KeptCounts> {
        &self.kept
    }

    /// The page, in the text format of Prometheus 0.0.4.
    #[must_use]
    pub fn render(&self, page: &Page<'_>) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        let sheet = Sheet { recorder: &recorder };
        sheet.describe();
        self.write_rollbacks(&sheet);
        sheet.gauge(&names::MODE, &[], f64::from(page.mode));
        sheet.gauge(
            &names::BUILD_INFO,
            &[(names::VERSION, env!("CARGO_PKG_VERSION"))],
            1.0,
        );
        sheet.unrouted(page.unrouted);
        let recorded = *self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        sheet.recorded(recorded);
        for sink in self.sinks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sheet.sink(sink);
        }
        sheet.audited(&self.audited.lock().unwrap_or_else(PoisonError::into_inner));
        sheet.kept(&self.kept);
        for route in &page.routes {
            sheet.route(route);
        }
        page.names.iter().for_each(|name| sheet.name(name));
        let mut text = recorder.handle().render();
        self.write_histograms(&mut text, page);
        text
    }

    /// Says how the recording of a trace stands, for the pages to come.
    pub fn recorded(&self, recorded: Recorded) {
        *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) = recorded;
    }

    /// Says how the sinks for notices stand, for the pages to come.
    pub fn notices(&self, sinks: Vec<SinkFacts>) {
        *self.sinks.lock().unwrap_or_else(PoisonError::into_inner) = sinks;
    }

    /// Says how the audit log stands, for the pages to come.
    pub fn audited(&self, audited: Audited) {
        *self.audited.lock().unwrap_or_else(PoisonError::into_inner) = audited;
    }

    /// The counts of rollbacks, to be changed by what happens.
    pub(super) fn rollbacks(&self) -> MutexGuard<'_, Rollbacks> {
        self.rollbacks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_rollbacks(&self, sheet: &Sheet<'_>) {
        let rollbacks = self.rollbacks();
        sheet.counter(&names::TRIGGERED, &[], rollbacks.triggered);
        sheet.counter(&names::COMPLETED, &[], rollbacks.completed);
        sheet.counter(&names::FAILED, &[], rollbacks.failed);
        sheet.gauge(&names::DURATION, &[], rollbacks.last);
        sheet.gauge(&names::DRILL, &[], 0.0);
    }

    fn write_histograms(&self, text: &mut String, page: &Page<'_>) {
        head(text, &names::PHASE_DURATION);
        for (phase, buckets) in &self.rollbacks().phases {
            let labels = format!("{}=\"{phase}\"", names::PHASE);
            buckets.write(text, names::PHASE_DURATION.name, &labels);
        }
        family(text, page, &names::REQUEST_DURATION, |totals| Some(&totals.durations));
        family(text, page, &names::FIRST_BYTE, |totals| Some(&totals.first_bytes));
        family(text, page, &names::OVERHEAD, |totals| Some(&totals.overheads));
        family(text, page, &names::FIRST_TOKEN, |totals| {
            totals.streams.as_ref().map(|streams| &streams.first_tokens)
        });
        family(text, page, &names::EACH_TOKEN, |totals| {
            totals.streams.as_ref().map(|streams| &streams.each_tokens)
        });
        family(text, page, &names::OUTPUT_LENGTH, |totals| {
            totals.streams.as_ref().map(|streams| &streams.lengths)
        });
    }
}

impl Rollbacks {
    /// Counts the time of one phase.
    pub(super) fn phase(&mut self, phase: &'static str, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.phases.entry(phase).or_insert_with(Buckets::phases).add(micros, micros, 1);
    }
}

/// A recorder with the few calls that a page needs.
struct Sheet<'a> {
    recorder: &'a PrometheusRecorder,
}

impl Sheet<'_> {
    fn describe(&self) {
        for metric in names::ALL {
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.kind {
                Kind::Counter => self.recorder.describe_counter(name, metric.unit, help),
                Kind::Gauge => self.recorder.describe_gauge(name, metric.unit, help),
                Kind::Histogram => {}
            }
        }
    }

    fn recorded(&self, recorded: Recorded) {
        let Recorded { written, lost, is_failing } = recorded;
        for (outcome, count) in [("written", written), ("lost", lost)] {
            self.counter(&names::RECORDED, &[(names::OUTCOME, outcome)], count);
        }
        self.gauge(&names::RECORD_FAILING, &[], f64::from(u8::from(is_failing)));
    }

    fn sink(&self, sink: &SinkFacts) {
        let name = (names::SINK, &sink.name[..]);
        for (outcome, count) in [
            ("delivered", sink.delivered),
            ("failed", sink.failed),
            ("given_up", sink.given_up),
            ("lost", sink.lost),
        ] {
            self.counter(&names::NOTICES, &[name, (names::OUTCOME, outcome)], count);
        }
        self.gauge(&names::NOTICES_WAITING, &[name], whole(sink.waiting));
        self.gauge(&names::NOTICES_DEAD, &[name], whole(sink.dead));
    }

    fn audited(&self, audited: &Audited) {
        self.counter(&names::AUDIT_RECORDS, &[], audited.written);
        self.counter(&names::AUDIT_FAILURES, &[], audited.failures);
        self.gauge(&names::AUDIT_UNWRITTEN, &[], whole(audited.unwritten));
        let hash = [(names::HASH, &*audited.head_hash)];
        self.gauge(&names::AUDIT_HEAD, &hash, whole(audited.head_seq));
    }

    fn kept(&self, kept: &KeptCounts) {
        for (outcome, count) in kept.outcomes() {
            self.counter(&names::CACHE_DISK, &[(names::OUTCOME, outcome)], count);
        }
        self.gauge(&names::CACHE_DISK_BYTES, &[], whole(kept.bytes()));
        let is_failing = u8::from(kept.is_failing());
        self.gauge(&names::CACHE_DISK_FAILING, &[], f64::from(is_failing));
    }

    fn name(&self, facts: &NameFacts<'_>) {
        let name = (names::NAME, facts.name);
        let (good, bad) = facts.looks;
        for (outcome, count) in [("answered", good), ("failed", bad)] {
            self.counter(&names::LOOK_UPS, &[name, (names::OUTCOME, outcome)], count);
        }
        let addresses = u32::try_from(facts.addresses).unwrap_or(u32::MAX);
        self.gauge(&names::NAME_ADDRESSES, &[name], f64::from(addresses));
        let is_failing = u8::from(facts.is_failing);
        self.gauge(&names::NAME_FAILING, &[name], f64::from(is_failing));
    }

    fn route(&self, route: &RouteFacts<'_>) {
        let name = route.name.as_str();
        for (rule, verdict) in &route.verdicts {
            let labels = [(names::ROUTE, name), (names::METRIC, *rule)];
            self.gauge(&names::VERDICT, &labels, f64::from(*verdict));
        }
        for version in &route.versions {
            self.version(name, version);
        }
    }

    fn version(&self, route: &str, version: &VersionFacts<'_>) {
        let name = version.name.as_str();
        let labels = [(names::ROUTE, route), (names::VERSION, name)];
        let totals = version.totals;
        for class in Class::all() {
            let count = totals.outcomes[class.index()];
            // All but the gRPC codes are there before the first request, so that a rate over
            // them never misses its first step.
            if count > 0 || !matches!(class, Class::Grpc(_)) {
                let labels = [
                    (names::ROUTE, route),
                    (names::VERSION, name),
                    (names::ROLE, version.role),
                    (names::CLASS, class.as_str()),
                ];
                self.counter(&names::REQUESTS, &labels, count);
            }
        }
        self.counter(&names::RESCUED, &labels, totals.rescued);
        self.counter(&names::CACHE_SERVED, &labels, totals.cache_served);
        self.counter(&names::RETRIES, &labels, totals.retries);
        self.gauge(&names::WEIGHT, &labels, version.share);
        self.gauge(&names::IN_FLIGHT, &labels, whole(version.in_flight));
        // Before the first sample too, so that nobody has to guess whether the name is right.
        self.gauge(&names::P99, &labels, version.p99.unwrap_or(0.0));
        self.gauge(&names::ERROR_RATIO, &labels, version.error_ratio.unwrap_or(0.0));
        if let Some(streams) = &totals.streams {
            self.counter(&names::OUTPUT_TOKENS, &labels, streams.tokens);
            let both = [&names::FIRST_TOKEN_P99, &names::EACH_TOKEN_P99];
            for (metric, p99) in both.into_iter().zip(version.stream_p99) {
                self.gauge(metric, &labels, p99.unwrap_or(0.0));
            }
        }
        self.trial(route, version);
    }

    fn trial(&self, route: &str, version: &VersionFacts<'_>) {
        let (name, totals) = (version.name.as_str(), version.totals);
        let labels = [(names::ROUTE, route), (names::VERSION, name)];
        // Nobody copies requests to the version that everybody is on.
        if version.role == STABLE && totals.shadow == [0; Class::COUNT] {
            return;
        }
        for (outcome, count) in [
            (Outcome::Confirmed, totals.protects_confirmed),
            (Outcome::Resumed, totals.protects_resumed),
            (Outcome::Held, totals.protects_held),
        ] {
            let outcome = (names::OUTCOME, outcome.as_str());
            let labels = [(names::ROUTE, route), (names::VERSION, name), outcome];
            self.counter(&names::PROTECTS, &labels, count);
        }
        for class in Class::all() {
            let count = totals.shadow[class.index()];
            if count > 0 || !matches!(class, Class::Grpc(_)) {
                let class = (names::CLASS, class.as_str());
                let labels = [(names::ROUTE, route), (names::VERSION, name), class];
                self.counter(&names::SHADOW_REQUESTS, &labels, count);
            }
        }
        self.counter(&names::SHADOW_DROPPED, &labels, totals.shadow_dropped);
        for rule in &version.trial {
            let rule_name = (names::METRIC, rule.rule);
            let labels = [(names::ROUTE, route), (names::VERSION, name), rule_name];
            if let Some(value) = rule.value {
                self.gauge(&names::ANALYSIS_VALUE, &labels, value);
            }
            if let Some((odds, reached)) = rule.evidence {
                self.gauge(&names::EVIDENCE_ODDS, &labels, odds);
                self.gauge(&names::EVIDENCE_REACHED, &labels, reached);
            }
        }
    }

    fn unrouted(&self, counts: &[u64; Class::COUNT]) {
        for class in Class::all() {
            let count = counts[class.index()];
            if count > 0 || class == Class::Rejected {
                let labels = [
                    (names::ROUTE, "none"),
                    (names::VERSION, "none"),
                    (names::ROLE, "none"),
                    (names::CLASS, class.as_str()),
                ];
                self.counter(&names::REQUESTS, &labels, count);
            }
        }
    }

    fn counter(&self, metric: &Metric, labels: &[(&'static str, &str)], value: u64) {
        self.recorder.register_counter(&key(metric, labels), &METADATA).absolute(value);
    }

    fn gauge(&self, metric: &Metric, labels: &[(&'static str, &str)], value: f64) {
        self.recorder.register_gauge(&key(metric, labels), &METADATA).set(value);
    }
}

fn key(metric: &Metric, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels
        .iter()
        .map(|(name, value)| Label::new(*name, String::from(*value)))
        .collect();
    Key::from_parts(metric.name, labels)
}

fn family(
    text: &mut String,
    page: &Page<'_>,
    metric: &Metric,
    buckets: impl Fn(&Totals) -> Option<&Buckets>,
) {
    head(text, metric);
    for route in &page.routes {
        for version in &route.versions {
            let Some(buckets) = buckets(version.totals) else { continue };
            // Names need no escaping: see `vocab::ids::Name`.
            let (route, name) = (&route.name, &version.name);
            let labels =
                format!("{}=\"{route}\",{}=\"{name}\"", names::ROUTE, names::VERSION);
            buckets.write(text, metric.name, &labels);
        }
    }
}

fn head(text: &mut String, metric: &Metric) {
    // Writing into a `String` does not fail.
    let _done = writeln!(
        text,
        "# HELP {name} {help}\n# TYPE {name} histogram",
        name = metric.name,
        help = metric.help
    );
}

#[expect(
    clippy::cast_precision_loss,
    reason = "what waits, and the records of a log, are far below 2^52"
)]
fn whole(count: u64) -> f64 {
    count as f64
}

/// The role of the version that the others are held against.
const STABLE: &str = "stable";
const METADATA: Metadata<'static> = Metadata::new("switchback", Level::INFO, None);

#[cfg(test)]
mod tests {
    use super::{Audited, Exporter, SinkFacts};
    use crate::telemetry::names;
    use crate::telemetry::page::{
        NameFacts, Page, RouteFacts, RuleFacts, StreamTotals, Totals, VersionFacts,
    };
    use crate::vocab::ids::Name;
    use crate::vocab::outcome::Class;

    fn facts_of_name() -> NameFacts<'static> {
        NameFacts { name: "models.svc", addresses: 2, is_failing: true, looks: (3, 1) }
    }

    fn page_with(totals: &Totals, check: impl FnOnce(Page<'_>)) {
        let (route, version) =
            (Name::parse("iris").unwrap(), Name::parse("v2.5").unwrap());
        let facts = VersionFacts {
            name: &version,
            role: "canary",
            share: 10.0,
            in_flight: 3,
            p99: Some(0.25),
            stream_p99: [Some(0.5), None],
            error_ratio: None,
            trial: vec![
                RuleFacts {
                    rule: "errorRate",
                    value: Some(0.25),
                    evidence: Some((12.5, 0.75)),
                },
                RuleFacts { rule: "healthCheck", value: Some(2.0), evidence: None },
            ],
            totals,
        };
        let routes = vec![RouteFacts {
            name: &route,
            verdicts: vec![("errorRate", 2)],
            versions: vec![facts],
        }];
        let mut unrouted = [0; Class::COUNT];
        unrouted[Class::Rejected.index()] = 4;
        check(Page {
            mode: 1,
            unrouted: &unrouted,
            routes,
            names: vec![facts_of_name()],
        });
    }

    #[test]
    fn a_page_says_exactly_what_it_was_given() {
        let mut totals = Totals::default();
        totals.outcomes[Class::Success.index()] = (1 << 53) + 1;
        totals.outcomes[Class::Truncated.index()] = 2;
        totals.rescued = 2;
        totals.protects_resumed = 3;
        totals.shadow[Class::ServerError.index()] = 4;
        totals.shadow_dropped = 5;
        totals.durations.add(250_000, 250_000, 5);
        page_with(&totals, |page| {
            let text = Exporter::new().render(&page);
            let version = r#"route="iris",version="v2.5""#;
            for line in [
                format!(
                    "switchback_requests_total{{{version},role=\"canary\",class=\"2xx\"}} 9007199254740993"
                ),
                format!(
                    "switchback_requests_total{{{version},role=\"canary\",class=\"truncated\"}} 2"
                ),
                format!(
                    "switchback_requests_total{{{version},role=\"canary\",class=\"5xx\"}} 0"
                ),
                r#"switchback_requests_total{route="none",version="none",role="none",class="rejected_by_proxy"} 4"#.into(),
                format!("switchback_rescued_total{{{version}}} 2"),
                format!("switchback_retries_total{{{version}}} 0"),
                format!("switchback_version_weight{{{version}}} 10"),
                format!("switchback_inflight_requests{{{version}}} 3"),
                format!("switchback_latency_p99_seconds{{{version}}} 0.25"),
                r#"switchback_analysis_verdict{route="iris",metric="errorRate"} 2"#.into(),
                "switchback_service_mode 1".into(),
                format!("switchback_protects_total{{{version},outcome=\"confirmed\"}} 0"),
                format!("switchback_protects_total{{{version},outcome=\"resumed\"}} 3"),
                format!("switchback_protects_total{{{version},outcome=\"held\"}} 0"),
                format!("switchback_shadow_requests_total{{{version},class=\"5xx\"}} 4"),
                format!("switchback_shadow_requests_total{{{version},class=\"2xx\"}} 0"),
                format!("switchback_shadow_dropped_total{{{version}}} 5"),
                format!("switchback_analysis_value{{{version},metric=\"errorRate\"}} 0.25"),
                format!("switchback_analysis_value{{{version},metric=\"healthCheck\"}} 2"),
                format!("switchback_evidence_odds{{{version},metric=\"errorRate\"}} 12.5"),
                format!("switchback_evidence_reached_ratio{{{version},metric=\"errorRate\"}} 0.75"),
                format!(
                    "switchback_request_duration_seconds_bucket{{{version},le=\"0.25\"}} 5"
                ),
                format!("switchback_request_duration_seconds_count{{{version}}} 5"),
                format!("switchback_request_duration_seconds_sum{{{version}}} 1.250000"),
            ] {
                assert!(text.lines().any(|seen| seen == line), "{line}\nnot in\n{text}");
            }
            assert!(
                text.contains(&format!("switchback_error_ratio{{{version}}} 0\n")),
                "{text}"
            );
        });
    }

    #[test]
    fn streams_have_series_from_the_first_of_them_on() {
        page_with(&Totals::default(), |page| {
            let text = Exporter::new().render(&page);
            let of_streams =
                |line: &&str| line.contains("_token") && !line.starts_with('#');
            assert_eq!(text.lines().find(of_streams), None);
        });
        let mut streams = StreamTotals { tokens: 90, ..StreamTotals::default() };
        streams.first_tokens.add(80_000, 80_000, 2);
        streams.each_tokens.add(700, 700, 1);
        streams.lengths.add(45, 45, 2);
        let totals = Totals { streams: Some(Box::new(streams)), ..Totals::default() };
        page_with(&totals, |page| {
            let text = Exporter::new().render(&page);
            let version = r#"route="iris",version="v2.5""#;
            for line in [
                format!(
                    "switchback_time_to_first_token_seconds_bucket{{{version},le=\"0.08\"}} 2"
                ),
                format!(
                    "switchback_time_to_first_token_seconds_bucket{{{version},le=\"0.06\"}} 0"
                ),
                format!(
                    "switchback_time_per_output_token_seconds_bucket{{{version},le=\"0.001\"}} 1"
                ),
                format!(
                    "switchback_time_per_output_token_seconds_sum{{{version}}} 0.000700"
                ),
                format!(
                    "switchback_output_length_tokens_bucket{{{version},le=\"64\"}} 2"
                ),
                format!("switchback_output_length_tokens_sum{{{version}}} 90"),
                format!("switchback_output_tokens_total{{{version}}} 90"),
                format!("switchback_time_to_first_token_p99_seconds{{{version}}} 0.5"),
                format!("switchback_time_per_output_token_p99_seconds{{{version}}} 0"),
            ] {
                assert!(text.lines().any(|seen| seen == line), "{line}\nnot in\n{text}");
            }
        });
    }

    #[test]
    fn every_sink_has_its_series() {
        let unrouted = [0; Class::COUNT];
        let page =
            Page { mode: 0, unrouted: &unrouted, routes: Vec::new(), names: Vec::new() };
        let exporter = Exporter::new();
        let (name, dead) = ("ops".to_owned(), 6);
        let (delivered, failed, given_up) = (1, 2, 3);
        let (lost, waiting) = (4, 5);
        exporter.notices(vec![SinkFacts {
            name,
            delivered,
            failed,
            given_up,
            lost,
            waiting,
            dead,
        }]);
        let text = exporter.render(&page);
        for line in [
            r#"switchback_notices_total{sink="ops",outcome="delivered"} 1"#,
            r#"switchback_notices_total{sink="ops",outcome="failed"} 2"#,
            r#"switchback_notices_total{sink="ops",outcome="given_up"} 3"#,
            r#"switchback_notices_total{sink="ops",outcome="lost"} 4"#,
            r#"switchback_notices_waiting{sink="ops"} 5"#,
            r#"switchback_notices_dead{sink="ops"} 6"#,
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line}\nnot in\n{text}");
        }
    }

    #[test]
    fn rollback_metrics_are_there_before_the_first_rollback() {
        let unrouted = [0; Class::COUNT];
        let page =
            Page { mode: 0, unrouted: &unrouted, routes: Vec::new(), names: Vec::new() };
        let text = Exporter::new().render(&page);
        for line in [
            "rollback_triggered_total 0",
            "rollback_completed_total 0",
            "rollback_failed_total 0",
            "rollback_duration_seconds 0",
            "rollback_drill_timestamp 0",
            "rollback_phase_duration_seconds_count{phase=\"drain_traffic\"} 0",
            "rollback_phase_duration_seconds_count{phase=\"route_traffic\"} 0",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line}\nnot in\n{text}");
        }
    }

    #[test]
    fn the_end_of_the_audit_log_is_one_series_that_follows_it() {
        let exporter = Exporter::new();
        let unrouted = [0; Class::COUNT];
        let page =
            Page { mode: 0, unrouted: &unrouted, routes: Vec::new(), names: Vec::new() };
        let series = |exporter: &Exporter| -> Vec<String> {
            let text = exporter.render(&page);
            let lines = text.lines().filter(|line| line.starts_with("switchback_audit_"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(series(&exporter).len(), 4);
        for (head_seq, head_hash) in [(7, "c0ffee"), (8, "decade")] {
            let (head_hash, written) = (head_hash.to_owned(), 2);
            let audited =
                Audited { written, unwritten: 3, failures: 4, head_seq, head_hash };
            exporter.audited(audited);
        }
        let lines = series(&exporter);
        for line in [
            "switchback_audit_records_total 2",
            "switchback_audit_head_info{hash=\"decade\"} 8",
            "switchback_audit_unwritten 3",
            "switchback_audit_failures_total 4",
        ] {
            assert!(lines.iter().any(|seen| seen == line), "{line} not in {lines:?}");
        }
        assert_eq!(lines.len(), 4, "{lines:?}");
    }

    #[test]
    fn a_version_that_is_gone_leaves_nothing_behind() {
        let exporter = Exporter::new();
        page_with(&Totals::default(), |page| {
            assert!(exporter.render(&page).contains("v2.5"));
            let empty = Page {
                mode: 0,
                unrouted: page.unrouted,
                routes: Vec::new(),
                names: Vec::new(),
            };
            assert!(!exporter.render(&empty).contains("v2.5"));
        });
    }

    #[test]
    fn every_family_has_one_help_and_one_type() {
        let streams = Some(Box::default());
        page_with(&Totals { streams, ..Totals::default() }, |mut page| {
            page.routes[0].versions[0].error_ratio = Some(0.5);
            let looks = (1, 0);
            page.names =
                vec![NameFacts { name: "m", addresses: 1, is_failing: false, looks }];
            let exporter = Exporter::new();
            exporter
                .notices(vec![SinkFacts { name: "a".into(), ..SinkFacts::default() }]);
            let text = exporter.render(&page);
            for metric in names::ALL {
                for word in ["HELP", "TYPE"] {
                    let head = format!("# {word} {} ", metric.name);
                    let count =
                        text.lines().filter(|line| line.starts_with(&head)).count();
                    assert_eq!(count, 1, "{head}\n{text}");
                }
            }
        });
    }
}
