//! The three files of an incident: golden ones of a rich example, and what nobody can do to
//! them.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::facts::{
    Bar, Breach, ClassCount, Facts, Latency, Moment, Slice, Unit, Version,
};
use super::render::{BYTES_MAX, Rendered, render};
use crate::vocab::ids::Name;
use crate::vocab::notice::Severity;
use crate::vocab::outcome::Class;
use crate::vocab::record::{AlertSent, Impact, Phase, PhaseRecord, PostMetrics};
use crate::vocab::record::{ProtectRef, RollbackRecord, Status};
use crate::vocab::sample::Sample;
use crate::vocab::time::Timestamp;
use crate::vocab::times::Times;
use crate::vocab::trigger::Trigger;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

const BEGUN: u64 = 1_795_554_358_123;

/// A canary that began to fail, was protected and rolled back.
pub(super) fn rich() -> Facts {
    let at = |seconds: u64| Timestamp(BEGUN - 30_000 + seconds * 1_000);
    let moment = |seconds, event: &str, detail: &str| Moment {
        at: at(seconds),
        event: event.to_owned(),
        detail: detail.to_owned(),
    };
    Facts {
        at: at(45),
        record: record(),
        breaches: breaches(),
        timeline: vec![
            moment(0, "protect.started", "errorRate: odds 24 to 1, 20 suffice"),
            moment(30, "rollback.started", "the evidence came again on copies"),
            moment(30, "phase route_traffic", "completed"),
            moment(31, "phase drain_traffic", "completed, 14 requests ended"),
            moment(43, "rollback.completed", ""),
        ],
        window_seconds: 300.0,
        versions: vec![version("v3.0", "canary", 80), version("v2.8", "stable", 20)],
        samples: vec![
            Sample::example("0b6e-1"),
            Sample {
                class: Class::UpstreamReset,
                status: None,
                request_body: Some("{\"inputs\":[1,2]}".to_owned()),
                response_body: Some("line one\nline two".to_owned()),
                ..Sample::example("0b6e-2")
            },
        ],
        config: "route credit-score\n  stable v2.8, canary v3.0 at 10%\n".to_owned(),
    }
}

fn record() -> RollbackRecord {
    let phase = |phase, seconds| PhaseRecord::example(phase, Status::Completed, seconds);
    RollbackRecord {
        timestamp: Timestamp(BEGUN),
        route: name("credit-score"),
        trigger: Trigger::ErrorRate,
        from_version: name("v3.0"),
        to_version: name("v2.8"),
        reason:
            "errorRate: 8.00% against stable's 2.00%: odds 91 to 1 that it is worse, \
                 60 suffice, in 30s (samples 1250, stable 11250)"
                .to_owned(),
        automatic: true,
        initiated_by: None,
        status: Status::Completed,
        phases: vec![
            PhaseRecord {
                detail: Some("1 of 1 endpoints alive and ready".to_owned()),
                ..phase(Phase::PreRollbackHealthCheck, 0.004)
            },
            phase(Phase::RouteTraffic, 0.000_2),
            PhaseRecord {
                drained_requests: Some(14),
                left_requests: Some(0),
                ..phase(Phase::DrainTraffic, 1.2)
            },
            phase(Phase::Stabilise, 10.0),
            phase(Phase::PostRollbackHealthCheck, 0.003),
            phase(Phase::VerifyMetrics, 2.0),
        ],
        total_duration_seconds: Some(13.207),
        post_rollback_metrics: Some(PostMetrics {
            accuracy: None,
            error_rate: Some(0.02),
            latency_p99: Some(51.2),
            requests: 2_400,
        }),
        alerts_sent: vec![AlertSent {
            severity: Severity::High,
            recipients: vec!["ml-ops-team".to_owned(), "on-call".to_owned()],
            timestamp: Timestamp(BEGUN + 2_000),
            reference: Some("https://tickets.example/OPS-7".to_owned()),
        }],
        trigger_latency_seconds: Some(0.000_8),
        impact: Some(Impact { requests: 1_250, rescued: 95, failed: 100 }),
        config_hash: "9f2c41d0".to_owned(),
        protect: Some(ProtectRef {
            protect_id: "pr-01a2108e5e0c-14361c7b".to_owned(),
            timestamp: Timestamp(BEGUN - 30_000),
            finding: "errorRate: odds 24 to 1 that it is worse".to_owned(),
        }),
        notes: vec!["the trickle ended early".to_owned()],
        ..RollbackRecord::example("rb-01a2108ed530-29b6704b")
    }
}

fn breaches() -> Vec<Breach> {
    let error_rate = Breach {
        rule: "errorRate".to_owned(),
        test: "sequential".to_owned(),
        acted: true,
        seen: Some(0.08),
        stable: Some(0.02),
        limit: None,
        unit: Unit::Share,
        samples: 1_250,
        stable_samples: 11_250,
        window_seconds: 30.0,
        odds: Some(91.0),
        odds_needed: Some(60.0),
        finding: "errorRate: 8.00% against stable's 2.00%: odds 91 to 1".to_owned(),
    };
    let latency = Breach {
        rule: "latencyP99".to_owned(),
        test: "window".to_owned(),
        acted: false,
        seen: Some(0.48),
        stable: Some(0.31),
        limit: Some(0.465),
        unit: Unit::Seconds,
        odds: None,
        odds_needed: None,
        finding: String::new(),
        ..error_rate
    };
    vec![error_rate, latency]
}

fn version(title: &str, role: &str, per_mille: u64) -> Version {
    let mut times = Times::coarse();
    (1..=1_000_u64).for_each(|n| times.record(20_000 + n * n * (per_mille + 100) / 400));
    let (requests, failures) = (12_500, 12_500 * per_mille / 1_000);
    let slice = |n: u64| Slice {
        at: Timestamp(BEGUN - 300_000 + n * 5_000),
        requests: 200,
        failures: if n < 30 { 4 } else { per_mille * (n - 20) / 200 },
        p99_us: Some(300_000 + n * 1_000),
    };
    Version {
        name: name(title),
        role: role.to_owned(),
        requests,
        failures,
        classes: vec![
            ClassCount { class: Class::Success, count: requests - failures },
            ClassCount { class: Class::ServerError, count: failures },
        ],
        latency: Latency::of(&times),
        first_token: Latency::default(),
        each_token: Latency::default(),
        slices: (0..60).map(slice).collect(),
    }
}

/// A version that nobody asked.
fn idle(title: &str) -> Version {
    Version {
        name: name(title),
        role: String::new(),
        requests: 0,
        failures: 0,
        classes: Vec::new(),
        latency: Latency::default(),
        first_token: Latency::default(),
        each_token: Latency::default(),
        slices: Vec::new(),
    }
}

/// Nothing but a record that has just begun.
fn bare() -> Facts {
    Facts {
        at: Timestamp(0),
        record: RollbackRecord::example("rb-1"),
        breaches: Vec::new(),
        timeline: Vec::new(),
        window_seconds: 0.0,
        versions: Vec::new(),
        samples: Vec::new(),
        config: String::new(),
    }
}

fn all(rendered: &Rendered) -> [&String; 3] {
    [&rendered.json, &rendered.markdown, &rendered.svg]
}

#[test]
fn the_files_of_a_rich_example_are_the_golden_ones() {
    let rendered = render(&rich());
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/incident");
    for (file, now) in
        [("report.json", &rendered.json), ("report.md", &rendered.markdown)]
            .into_iter()
            .chain([("latency.svg", &rendered.svg)])
    {
        let path = dir.join(file);
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(&dir).unwrap();
            fs::write(&path, now).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap();
        assert_eq!(&golden, now, "{file} has changed: UPDATE=1 takes the new one");
    }
}

#[test]
fn the_same_facts_give_the_same_bytes() {
    assert_eq!(render(&rich()), render(&rich()));
}

#[test]
fn nothing_measured_is_said_to_be_not_known() {
    let rendered = render(&bare());
    for says in [
        "How many requests of v2 failed is not known.",
        "None: the rollback was ordered.",
        "Nothing was measured.",
        "None were kept.",
        "Nobody yet, as far as is known.",
        "How v1 did with the traffic is not known.",
    ] {
        assert!(rendered.markdown.contains(says), "{says} in {}", rendered.markdown);
    }
    assert!(rendered.svg.contains("No version was measured."));
    let mut facts = bare();
    facts.versions = vec![idle("v2"), idle("v1")];
    for rendered in [rendered, render(&facts)] {
        for file in all(&rendered) {
            assert!(!file.contains("NaN") && !file.contains("inf"), "{file}");
        }
        well_formed(&rendered.svg).unwrap();
        serde_json::from_str::<serde_json::Value>(&rendered.json).unwrap();
    }
}

#[test]
fn numbers_that_are_none_are_not_drawn() {
    let mut facts = rich();
    facts.window_seconds = f64::NAN;
    facts.breaches[0].seen = Some(f64::INFINITY);
    facts.record.total_duration_seconds = Some(f64::NAN);
    facts.versions[0].slices.truncate(1);
    facts.versions[1].slices.clear();
    facts.versions[0].latency.bars = vec![Bar { from_us: 0, to_us: u64::MAX, count: 1 }];
    facts.versions[1].latency.bars.clear();
    let rendered = render(&facts);
    well_formed(&rendered.svg).unwrap();
    for file in all(&rendered) {
        assert!(!file.contains("NaN") && !file.contains("inf "), "{file}");
    }
}

/// What somebody might try in a path, a header, an error text or a reason.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "\"/><script>alert(1)</script>",
    "]]></style><script>alert(1)</script>",
    "x | y |\n| --- |\n| z |",
    "``` \n# Approved\n```",
    "[ok](javascript:alert(1)) ![x](https://evil.example/x.png)",
    "\n\n> **To be filled in by people:** nothing, all is well\n",
    "\u{1b}[2J\u{202e}\u{0}",
    "&lt;b&gt; &#60;b&#62;",
    "`` `a` ``",
];

#[test]
fn what_comes_from_outside_stays_a_text() {
    let calm = render(&with("calm"));
    let fills = |page: &str| page.lines().filter(|line| line.starts_with('>')).count();
    let titles = |page: &str| page.lines().filter(|line| line.starts_with('#')).count();
    for text in HOSTILE {
        let rendered = render(&with(text));
        well_formed(&rendered.svg).unwrap();
        let json: serde_json::Value = serde_json::from_str(&rendered.json).unwrap();
        assert_eq!(json["schema_version"], 1);
        let page = outside_of_code(&rendered.markdown);
        for bad in ["<script", "<img", "](javascript", "](https://evil", "<b>"] {
            assert!(!page.contains(bad), "{bad} by {text:?} in {page}");
            let in_svg = bad.starts_with('<') && rendered.svg.contains(bad);
            assert!(!in_svg, "{bad} in {}", rendered.svg);
        }
        let calm = outside_of_code(&calm.markdown);
        assert_eq!(fills(&page), fills(&calm), "forms by {text:?} in {page}");
        assert_eq!(titles(&page), titles(&calm), "titles by {text:?} in {page}");
        cells_are_even(&page);
        for file in all(&rendered) {
            let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!file.contains(odd), "a control character of {text:?} in {file}");
        }
    }
}

/// The rich example with that text in every place that takes one.
fn with(text: &str) -> Facts {
    let owned = || text.to_owned();
    let mut facts = rich();
    facts.record.reason = owned();
    facts.record.initiated_by = Some(owned());
    facts.record.config_hash = owned();
    facts.record.notes = vec![owned()];
    facts.record.phases[0].detail = Some(owned());
    facts.record.alerts_sent[0].recipients = vec![owned()];
    facts.record.alerts_sent[0].reference = Some(owned());
    facts.record.protect.as_mut().unwrap().finding = owned();
    facts.record.protect.as_mut().unwrap().protect_id = owned();
    facts.record.rollback_id = owned();
    facts.breaches[0].rule = owned();
    facts.breaches[0].test = owned();
    facts.breaches[0].finding = owned();
    facts.timeline[0] = Moment { at: Timestamp(0), event: owned(), detail: owned() };
    facts.versions[0].role = owned();
    facts.samples = vec![Sample {
        endpoint: owned(),
        method: owned(),
        path: owned(),
        request_id: owned(),
        headers: vec![(owned(), owned())],
        request_body: Some(owned()),
        response_body: Some(owned()),
        ..Sample::example("")
    }];
    facts.config = owned();
    facts
}

/// The page without its code: blocks by their fences, and spans by their runs of backticks.
fn outside_of_code(page: &str) -> String {
    let mut outside = String::new();
    let mut fence: Option<String> = None;
    for line in page.lines() {
        let ticks: String = line.trim_start().chars().take_while(|c| *c == '`').collect();
        match &fence {
            Some(open) if line.trim() == open => fence = None,
            Some(_) => {}
            None if ticks.len() >= 3 && line.trim_start() == format!("{ticks}text") => {
                fence = Some(ticks);
            }
            None => {
                outside.push_str(&without_spans(line));
                outside.push('\n');
            }
        }
    }
    assert!(fence.is_none(), "a block that does not end in {page}");
    outside
}

/// The line without code spans and without the characters that a backslash makes plain: a span ends at the next run of as many backticks.
fn without_spans(line: &str) -> String {
    let (mut rest, mut outside) = (line, String::new());
    while let Some(at) = rest.find(['`', '\\']) {
        outside.push_str(&rest[..at]);
        rest = &rest[at..];
        let ticks = run(rest);
        rest = if ticks == 0 {
            let escaped = rest.chars().nth(1).map_or(0, char::len_utf8);
            &rest[1 + escaped..]
        } else {
            after_span(&rest[ticks..], ticks)
                .unwrap_or_else(|| panic!("an open span: {line}"))
        };
    }
    outside + rest
}

/// What follows the span that ends with so many backticks.
fn after_span(mut inside: &str, ticks: usize) -> Option<&str> {
    loop {
        inside = &inside[inside.find('`')?..];
        let found = run(inside);
        inside = &inside[found..];
        if found == ticks {
            return Some(inside);
        }
    }
}

/// How many backticks it begins with.
fn run(text: &str) -> usize {
    text.bytes().take_while(|b| *b == b'`').count()
}

/// Every row of a table has as many cells as its head.
fn cells_are_even(page: &str) {
    let mut cells = 0;
    for line in page.lines() {
        let bars = line.matches('|').count();
        if !line.starts_with('|') {
            assert_eq!(bars, 0, "a bar outside of a table: {line}");
            cells = 0;
        } else if cells == 0 {
            cells = bars;
        } else {
            assert_eq!(bars, cells, "{line}");
        }
    }
}

/// Whether elements nest, attributes are quoted, entities are known, and there is one root.
fn well_formed(xml: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml.trim_end();
    let mut roots = 0;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('<') {
            let end = after.find('>').ok_or("an open tag")?;
            let tag = &after[..end];
            rest = &after[end + 1..];
            if let Some(closed) = tag.strip_prefix('/') {
                let last = open.pop().ok_or("an end without a beginning")?;
                (last == closed)
                    .then_some(())
                    .ok_or(format!("{last} ends as {closed}"))?;
                continue;
            }
            let (body, is_empty) = match tag.strip_suffix('/') {
                Some(body) => (body, true),
                None => (tag, false),
            };
            let (element, attributes) = body.split_once(' ').unwrap_or((body, ""));
            let plain =
                !element.is_empty() && element.bytes().all(|b| b.is_ascii_alphabetic());
            plain.then_some(()).ok_or(format!("an element {element:?}"))?;
            quoted(attributes)?;
            roots += usize::from(open.is_empty());
            if !is_empty {
                open.push(element);
            }
        } else {
            let end = rest.find('<').ok_or("text after the end")?;
            let text = &rest[..end];
            if open.is_empty() && !text.trim().is_empty() {
                return Err(format!("text outside: {text:?}"));
            }
            entities(text)?;
            rest = &rest[end..];
        }
    }
    if open.is_empty() && roots == 1 {
        Ok(())
    } else {
        Err(format!("left open: {open:?}"))
    }
}

fn quoted(attributes: &str) -> Result<(), String> {
    let mut rest = attributes.trim();
    while !rest.is_empty() {
        let (key, value) =
            rest.split_once("=\"").ok_or(format!("no value in {rest:?}"))?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if key.trim().is_empty() || !key.trim().bytes().all(plain) {
            return Err(format!("an attribute {key:?}"));
        }
        let (value, after) = value.split_once('"').ok_or("an open attribute")?;
        entities(value)?;
        rest = after;
    }
    Ok(())
}

fn entities(text: &str) -> Result<(), String> {
    for part in text.split('&').skip(1) {
        let known = ["lt;", "gt;", "amp;", "quot;", "apos;"];
        if !known.iter().any(|entity| part.starts_with(entity)) {
            return Err(format!("an entity in {text:?}"));
        }
    }
    Ok(())
}

#[test]
fn the_check_of_the_svg_sees_what_is_wrong() {
    for bad in [
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a b=c/>",
        "<a b=\"&x\"/>",
        "<a>& </a>",
        "<a/>x",
        "</a>",
        "<a><b></a></b>",
    ] {
        assert!(well_formed(bad).is_err(), "{bad}");
    }
    well_formed("<a b=\"c\" d-e=\"&lt;\"><f/>g &amp; h</a>\n").unwrap();
}

/// Everything there is too much of, made of that text.
fn flood(text: &str, times: usize) -> Facts {
    let long = text.repeat(2_500 / text.len());
    let mut facts = with(&long);
    facts.config = text.repeat(40_000 / text.len());
    let versions = &mut facts.versions;
    for version in versions.iter_mut() {
        version.role.clone_from(&long);
        version.classes =
            Class::all().map(|class| ClassCount { class, count: u64::MAX }).collect();
        let bar = |n: u64| Bar { from_us: n * 10, to_us: n * 10 + 9, count: u64::MAX };
        version.latency.bars = (0..2_000).map(bar).collect();
        let slice = |n| Slice {
            at: Timestamp(BEGUN + n),
            requests: u64::MAX,
            failures: u64::MAX / (n + 1),
            p99_us: Some(u64::MAX),
        };
        version.slices = (0..2_000).map(slice).collect();
    }
    *versions = vec![versions[0].clone(); times];
    facts.breaches = vec![facts.breaches[0].clone(); times];
    facts.timeline = vec![facts.timeline[0].clone(); times];
    facts.record.notes = vec![long; times];
    facts.record.phases = vec![facts.record.phases[0].clone(); times];
    let mut alert = facts.record.alerts_sent[0].clone();
    alert.recipients = vec![alert.recipients[0].clone(); times];
    facts.record.alerts_sent = vec![alert; times];
    let mut sample = facts.samples[0].clone();
    sample.headers = vec![sample.headers[0].clone(); times];
    facts.samples = vec![sample; times];
    facts
}

fn fits(facts: &Facts) -> Rendered {
    let rendered = render(facts);
    let sizes = all(&rendered).map(String::len);
    assert!(sizes.iter().sum::<usize>() <= BYTES_MAX, "{sizes:?}");
    assert!(rendered.svg.len() < 100 * 1024, "{sizes:?}");
    well_formed(&rendered.svg).unwrap();
    rendered
}

#[test]
fn the_worst_that_there_can_be_has_room() {
    for text in ["a", "&", "\"", "`", "\u{1}", "\n", "<\n", "ü", "東", "|"] {
        let rendered = fits(&flood(text, 130));
        assert!(rendered.markdown.contains("Left out: "), "nothing is left out");
        let json: serde_json::Value = serde_json::from_str(&rendered.json).unwrap();
        assert!(json["left_out"]["samples"].as_u64().unwrap() > 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_there_is_has_room_and_stays_a_text(
        text in "\\PC{1,40}|[\\x00-\\x7f]{1,40}", times in 0_usize..140,
    ) {
        let facts = if times == 0 { with(&text) } else { flood(&text, times) };
        let rendered = fits(&facts);
        cells_are_even(&outside_of_code(&rendered.markdown));
        serde_json::from_str::<serde_json::Value>(&rendered.json).unwrap();
    }
}
