//! Short traces, line by line: what counts where, and what is said of bad ones.

use std::sync::Arc;
use std::time::Duration;

use super::{Policy, Problems, Replay, ReplayError, Report, Verdict, feed};
use crate::judge::{Confirm, Metric, OnBreach, Rule, Rules, Test};
use crate::route::Role;
use crate::trace::{Fault, Reader};
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;

fn policy(weights: &[(&str, f64)]) -> Policy {
    let metric = |rule| Metric {
        rule,
        on_breach: OnBreach::Rollback,
        dry_run: false,
        test: Test::Sequential,
    };
    let percent = |percent| Percent::of(percent).unwrap();
    let errors = Rule::ErrorRate {
        max_ratio: Some(2.0),
        floor: percent(1.0),
        max: Some(percent(5.0)),
        min_samples: 50,
    };
    let rules = Rules {
        interval: Duration::from_millis(250),
        window: Duration::from_secs(300),
        false_alarm: 0.001,
        confirm: Confirm::Auto,
        metrics: vec![metric(errors)],
    };
    let name = |name| Name::parse(name).unwrap();
    let mut versions = vec![
        (name("v1"), Role::Stable, Percent::ZERO),
        (name("v0"), Role::Candidate, Percent::ZERO),
    ];
    let canaries = weights.iter();
    versions
        .extend(canaries.map(|(it, weight)| (name(it), Role::Canary, percent(*weight))));
    Policy { route: name("iris"), rules: Arc::new(rules), versions }
}

fn replay(policy: &Policy, text: &str) -> Result<Report, ReplayError> {
    let mut reader =
        Reader::new(std::io::Cursor::new(text.to_owned().into_bytes())).unwrap();
    let mut replays = vec![Replay::new(policy).unwrap()];
    let read = feed(&mut reader, &mut replays);
    replays.remove(0).finish(&read, reader.line())
}

fn report(text: &str) -> Report {
    replay(&policy(&[("v2", 10.0)]), text).unwrap()
}

fn request(at: u64, version: &str, status: u16) -> String {
    format!(
        "{{\"t_ms\":{at},\"version\":\"{version}\",\"status\":{status},\"latency_us\":5000}}\n"
    )
}

fn weights(at: u64, stable: f64, canary: f64) -> String {
    format!("{{\"t_ms\":{at},\"weights\":{{\"v1\":{stable},\"v2\":{canary}}}}}\n")
}

/// Nine good stable requests a second and one of the canary, for so many seconds.
fn quiet(from: u64, seconds: u64) -> String {
    let second = |at: u64| {
        let stable = (0..9).map(move |place| request(at + place * 100, "v1", 200));
        stable.chain([request(at + 950, "v2", 200)])
    };
    (0..seconds).flat_map(|n| second(from + n * 1_000)).collect()
}

/// A stream that ended then: when its first token came, its tokens, and the time for each.
fn stream(at: u64, version: &str, (first, tokens, each): (u64, u64, u64)) -> String {
    let latency = first + (tokens - 1) * each;
    format!(
        "{{\"t_ms\":{at},\"version\":\"{version}\",\"status\":200,\"latency_us\":{latency},\
         \"ttfb_us\":900,\"ttft_us\":{first},\"tokens\":{tokens}}}\n"
    )
}

/// Twenty streams a second for three minutes, every fourth of the canary, which is so much
/// slower for each token and writes so many times as much.
fn story(seed: u64, slower: u64, longer: u64) -> String {
    let mut draws = fastrand::Rng::with_seed(seed);
    let mut text = weights(1_000, 75.0, 25.0);
    for place in 0..3_600_u64 {
        let (first, tokens) = (draws.u64(150_000..400_000), draws.u64(20..400));
        let each = draws.u64(15_000..25_000);
        let at = 1_000 + place * 50;
        text += &if draws.u8(..4) == 0 && place > 400 {
            stream(at, "v2", (first, tokens * longer, each * slower))
        } else {
            stream(at, "v1", (first, tokens, each))
        };
    }
    text
}

fn latency_policy(test: Test) -> Policy {
    let Policy { route, rules, versions } = policy(&[("v2", 25.0)]);
    let mut rules = (*rules).clone();
    rules.metrics[0].test = test;
    rules.metrics[0].rule = Rule::LatencyP99 {
        max_ratio: Some(1.5),
        floor: Duration::from_millis(5),
        max: None,
        min_samples: 200,
    };
    Policy { route, rules: Arc::new(rules), versions }
}

#[test]
fn a_canary_that_writes_more_is_not_slower_and_one_that_writes_slowly_is() {
    for (seed, test) in [(1, Test::Sequential), (2, Test::Sequential), (3, Test::Window)]
    {
        let policy = latency_policy(test);
        let long = replay(&policy, &story(seed, 1, 12)).unwrap();
        assert_eq!(long.problem_count, 0, "{:?}", long.problems);
        assert_ne!(long.canary.verdict, Verdict::Rollback, "{:?}", long.canary.finding);
        assert_eq!(long.canary.protect_ms, None, "{:?}", long.canary.finding);
        let slow = replay(&policy, &story(seed, 2, 1)).unwrap();
        let moved = slow.canary.protect_ms.or(slow.canary.rollback_ms);
        assert!(moved.is_some(), "{test:?}: {:?}", slow.canary.finding);
        let said = slow.canary.finding.unwrap_or_default();
        assert!(said.contains("time per output token"), "{test:?}: {said}");
        assert_eq!(slow.canary.rule, Some("latencyP99"));
    }
}

fn faults(report: &Report) -> Vec<(u64, Fault)> {
    report.problems.iter().map(|problem| (problem.line, problem.fault)).collect()
}

#[test]
fn requests_are_counted_and_nothing_is_decided_on_few() {
    let report = report(&quiet(1_000, 3));
    assert_eq!(report.canary.verdict, Verdict::Hold);
    assert_eq!((report.canary.samples.canary, report.canary.samples.stable), (3, 27));
    assert_eq!((report.events, report.ignored, report.problem_count), (30, 0, 0));
    assert!(report.canary.finding.as_ref().is_some_and(|it| it.contains("inconclusive")));
    assert!(report.versions.is_empty());
}

#[test]
fn refused_connections_roll_back_within_the_moment() {
    let text = quiet(1_000, 3)
        + &request(4_001, "v1", 200)
        + &request(4_002, "v2", 0)
        + &request(4_003, "v2", 0)
        + &request(4_004, "v2", 0)
        + &quiet(4_010, 3);
    let report = report(&text);
    assert_eq!(report.canary.verdict, Verdict::Rollback);
    assert_eq!(
        (report.canary.rollback_ms, report.canary.protect_ms),
        (Some(4_004), None)
    );
    assert_eq!(report.canary.rule, Some("errorRate"));
    assert_eq!(report.canary.transitions.len(), 1);
    assert_eq!(report.canary.samples.canary, 9, "the trace is counted to its end");
}

#[test]
fn stable_refusing_as_well_is_no_reason() {
    let both = |at: u64| request(at, "v1", 0) + &request(at + 1, "v2", 0);
    let text: String =
        quiet(1_000, 3) + &(0..400).map(|n| both(10_000 + n * 50)).collect::<String>();
    assert_eq!(report(&text).canary.rollback_ms, None);
}

#[test]
fn bad_lines_are_left_out_and_said() {
    let text = quiet(1_000, 1)
        + "nonsense\n"
        + &request(2_000, "v9", 500)
        + &request(2_000, "v0", 500)
        + "{\"t_ms\":2000,\"version\":\"v2\",\"status\":500,\"latency_us\":-1}\n"
        + &quiet(2_000, 1);
    let report = report(&text);
    assert_eq!(
        faults(&report),
        [(11, Fault::Unreadable), (12, Fault::UnknownVersion), (14, Fault::Absurd)]
    );
    assert_eq!((report.events, report.ignored), (22, 2));
    assert_eq!(report.canary.samples.canary_failures, 0);
}

#[test]
fn a_line_of_another_time_is_said_and_counts_at_the_present() {
    let day = 86_400_000;
    let text = quiet(10_000, 2)
        + &request(3, "v2", 200)
        + &request(9 * day, "v2", 200)
        + &quiet(12_000, 1);
    let report = report(&text);
    assert_eq!(faults(&report), [(21, Fault::TimeBack), (22, Fault::TimeJump)]);
    assert_eq!(report.canary.samples.canary, 5);
    assert!(report.canary.transitions.is_empty());
}

#[test]
fn weights_come_from_the_trace_and_wrong_ones_change_nothing() {
    let wrong = weights(5_000, 0.0, 0.0)
        + "{\"t_ms\":5000,\"weights\":{\"v2\":10}}\n"
        + "{\"t_ms\":5000,\"weights\":{\"v1\":90,\"v2\":10,\"v9\":1}}\n";
    let report =
        report(&(weights(0, 90.0, 10.0) + &quiet(1_000, 4) + &wrong + &quiet(5_000, 1)));
    assert_eq!(
        faults(&report),
        [(42, Fault::NoShare), (43, Fault::NoShare), (44, Fault::UnknownVersion)]
    );
    assert_eq!(report.canary.verdict, Verdict::Hold);
}

#[test]
fn requests_without_a_share_are_said_once() {
    let off = quiet(1_000, 2) + &weights(3_000, 100.0, 0.0);
    // The first had begun before; the next ones are copies, and then there are two strays.
    let straggler = request(3_003, "v2", 200);
    let copy = request(3_100, "v2", 200).replace('}', ",\"shadow\":true}");
    let strays = request(3_200, "v2", 200) + &request(3_300, "v2", 200);
    let report = report(&(off + &straggler + &copy + &strays));
    assert_eq!(faults(&report), [(24, Fault::NoShare)]);
    assert!(report.problems[0].what.contains("a weight of zero"), "{report:?}");

    let none = replay(&policy(&[("v2", 0.0)]), &quiet(1_000, 2)).unwrap();
    assert_eq!(faults(&none), [(10, Fault::NoShare)]);
    assert!(none.problems[0].what.contains("no weight in the configuration"), "{none:?}");
}

#[test]
fn an_hour_of_silence_of_one_version_is_said() {
    let mut text = quiet(1_000, 2);
    for minute in 0..70 {
        text += &request(10_000 + minute * 60_000, "v1", 200);
    }
    let ended = report(&text);
    assert_eq!(faults(&ended), [(90, Fault::Silence)], "at the end of the trace");
    let back = report(&(text + &quiet(4_200_000, 1)));
    let [silence] = &back.problems[..] else { panic!("{back:?}") };
    assert_eq!((silence.fault, silence.line), (Fault::Silence, 100));
    assert!(silence.what.contains("v2 was silent for 69 minutes"), "{silence}");
}

#[test]
fn a_trace_without_anything_of_the_route_is_an_error() {
    let empty = replay(&policy(&[("v2", 10.0)]), "nonsense\n").unwrap_err();
    assert!(matches!(empty, ReplayError::Empty { lines: 1, .. }), "{empty}");
    let foreign = request(1, "v7", 200);
    let strangers = replay(&policy(&[("v2", 10.0)]), &foreign).unwrap_err();
    assert!(strangers.to_string().contains("v1, v2, v0"), "{strangers}");
    let elsewhere = request(1, "v2", 200).replace('}', ",\"route\":\"rose\"}");
    let other = replay(&policy(&[("v2", 10.0)]), &elsewhere).unwrap_err();
    assert!(matches!(other, ReplayError::Empty { .. }), "{other}");
    let alone = Replay::new(&policy(&[])).unwrap_err();
    assert!(matches!(alone, ReplayError::NoCanary(_)), "{alone}");
}

#[test]
fn several_canaries_have_a_trial_each() {
    let both = policy(&[("v2", 10.0), ("v3", 10.0)]);
    let text = quiet(1_000, 3)
        + &request(4_000, "v3", 200)
        + &(0..3).map(|n| request(4_001 + n, "v3", 0)).collect::<String>();
    let report = replay(&both, &text).unwrap();
    assert_eq!(report.canary.version.as_str(), "v3", "the one that was rolled back");
    let verdicts: Vec<_> = report.versions.iter().map(|one| one.verdict).collect();
    assert_eq!(verdicts, [Verdict::Hold, Verdict::Rollback]);
}

#[test]
fn the_same_trace_gives_the_same_report() {
    let text = quiet(1_000, 30) + &weights(31_000, 80.0, 20.0) + &quiet(31_000, 30);
    assert_eq!(report(&text), report(&text));
    assert_eq!(Problems::default().count(), 0);
}
