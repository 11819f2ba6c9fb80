//! What counts as broken, as tables; and the two promises: good news never breaks a limit,
//! and equals are left alone.

use std::time::Duration;

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use super::compare::judge;
use super::reading::{Health, Observation, Reading};
use super::rules::{Confirm, Metric, OnBreach, Rule, Rules, Test};
use super::sparse::Sparse;
use super::verdict::{Ground, Verdict};
use crate::vocab::amount::Percent;
use crate::vocab::times::Times;
use crate::vocab::trigger::Trigger;

const SPAN: Duration = Duration::from_secs(300);

fn rules(rules: Vec<Rule>) -> Rules {
    let metric = |rule| Metric {
        rule,
        on_breach: OnBreach::Rollback,
        dry_run: false,
        test: Test::Window,
    };
    Rules {
        interval: Duration::from_millis(250),
        window: SPAN,
        false_alarm: 0.001,
        confirm: Confirm::Off,
        metrics: rules.into_iter().map(metric).collect(),
    }
}

fn errors() -> Rules {
    rules(vec![Rule::ErrorRate {
        max_ratio: Some(2.0),
        floor: Percent::of(1.0).unwrap(),
        max: Some(Percent::of(5.0).unwrap()),
        min_samples: 50,
    }])
}

fn latency(max_ms: Option<u64>) -> Rules {
    rules(vec![Rule::LatencyP99 {
        max_ratio: Some(1.5),
        floor: Duration::from_millis(2),
        max: max_ms.map(Duration::from_millis),
        min_samples: 200,
    }])
}

fn counted(samples: u64, failures: u64) -> Reading {
    Reading::new(SPAN, samples, failures, Sparse::default())
}

/// Good answers: so many of each time in microseconds.
fn timed(times: &[(u64, u64)]) -> Reading {
    let mut recorded = Times::fine();
    for (us, count) in times {
        recorded.record_n(*us, u32::try_from(*count).unwrap());
    }
    let times = Sparse::of(&recorded);
    Reading::new(SPAN, times.total(), 0, times)
}

fn verdict(rules: &Rules, canary: &Reading, stable: &Reading) -> Verdict {
    let health = Health::Healthy;
    judge(
        rules,
        &Observation { canary, stable, canary_health: health, stable_health: health },
    )
}

fn grounds(verdict: &Verdict) -> Vec<&'static str> {
    let name = |ground| match ground {
        Ground::AboveStable { .. } => "above stable",
        Ground::AboveMax { .. } => "above max",
        Ground::Unhealthy => "unhealthy",
        Ground::NoTraffic => "no traffic",
        Ground::FewSamples { .. } => "few",
        Ground::FewStableSamples { .. } => "few stable",
        Ground::Unsure { .. } => "unsure",
        Ground::Shared { .. } => "shared",
        Ground::Evidence { .. }
        | Ground::Gathering { .. }
        | Ground::WarmUp
        | Ground::Refused { .. }
        | Ground::Stalled { .. }
        | Ground::Flapping { .. } => "not of a window",
    };
    verdict.findings().iter().map(|finding| name(finding.ground)).collect()
}

#[test]
fn error_rates() {
    for (canary, stable, expected, case) in [
        ((400, 32), (3_600, 72), &["above stable"][..], "8% beside 2%: broken"),
        ((4_000, 320), (36_000, 720), &["above stable", "above max"], "and sure of 5%"),
        ((1_000, 20), (9_000, 180), &[], "equal"),
        ((10_000, 400), (90_000, 1_800), &[], "exactly twice is not above twice"),
        ((10_000, 100), (90_000, 0), &[], "exactly the floor is not above it"),
        (
            (10_000, 101),
            (90_000, 0),
            &["above stable"],
            "above the floor, stable at zero",
        ),
        ((49, 49), (9_000, 0), &["few"], "one sample short"),
        ((50, 50), (9_000, 0), &["above stable", "above max"], "enough"),
        ((50, 1), (49, 0), &["few stable"], "nothing to compare with"),
        ((0, 0), (9_000, 0), &["no traffic"], "no traffic"),
        ((50, 50), (49, 0), &["above max"], "no stable to compare with"),
        ((50, 1), (9_000, 0), &["unsure"], "one error of fifty proves nothing"),
        ((50, 4), (9_000, 90), &["unsure", "unsure"], "nor do four"),
        ((1_000, 300), (9_000, 900), &["above stable"], "bad, in bad times"),
        ((1_000, 100), (9_000, 900), &["shared"], "bad times for both"),
        ((100_000, 5_000), (100_000, 4_000), &[], "exactly max is not above it"),
    ] {
        let stable = counted(stable.0, stable.1);
        let verdict = verdict(&errors(), &counted(canary.0, canary.1), &stable);
        assert_eq!(grounds(&verdict), expected, "{case}: {verdict}");
        let broken = expected.iter().any(|ground| ground.starts_with("above"));
        // Where a limit is broken the open questions are left out.
        assert_eq!(verdict.acts().is_some(), broken, "{case}: {verdict}");
    }
}

#[test]
fn latencies() {
    let stable = timed(&[(10_000, 8_950), (40_000, 50)]);
    for (canary, max, expected, case) in [
        (timed(&[(10_000, 990), (40_000, 10)]), None, &[][..], "a slow one in a hundred"),
        (timed(&[(10_000, 900), (16_000, 100)]), None, &["above stable"], "1.6 times"),
        (timed(&[(10_000, 900), (14_900, 100)]), None, &[], "below 1.5 times"),
        (timed(&[(16_000, 199)]), None, &["few"], "one answer short"),
        (timed(&[(16_000, 200)]), None, &["above stable"], "enough"),
        (timed(&[(10_000, 197), (40_000, 3)]), None, &["unsure"], "three may be chance"),
        (timed(&[(14_000, 500)]), Some(12), &["above max"], "slower than its own limit"),
        (timed(&[(9_000, 500)]), Some(9), &["shared"], "stable is above it too"),
    ] {
        let verdict = verdict(&latency(max), &canary, &stable);
        assert_eq!(grounds(&verdict), expected, "{case}: {verdict}");
    }
}

/// Good streams: so many of each time to the first token and for each after it, beside other
/// answers of so many microseconds.
fn streamed(first: &[(u64, u64)], each: &[(u64, u64)], whole: &[(u64, u64)]) -> Reading {
    let spread = |times: &[(u64, u64)]| {
        let mut window = super::window::Window::new(SPAN);
        let mut recorded = Times::fine();
        for (us, count) in times {
            recorded.record_n(*us, u32::try_from(*count).unwrap());
        }
        window.add_streams(crate::vocab::time::Timestamp(1), &recorded, &recorded);
        window.reading(crate::vocab::time::Timestamp(1)).first_token
    };
    let mut reading = timed(whole);
    reading.first_token = spread(first);
    reading.each_token = spread(each);
    reading.samples += reading.first_token.count;
    reading
}

#[test]
fn streams_are_judged_by_their_first_token_and_by_each_after_it() {
    const FIRST: &[(u64, u64)] = &[(200_000, 990), (300_000, 10)];
    const EACH: &[(u64, u64)] = &[(20_000, 990), (25_000, 10)];
    let stable = streamed(FIRST, EACH, &[]);
    let late = &[(200_000, 900), (470_000, 100)][..];
    let slow = &[(41_000, 1_000)][..];
    let whole = &[(1_000_000, 1_000)][..];
    for (canary, max, expected, named, case) in [
        (streamed(FIRST, EACH, &[]), None, &[][..], "", "the same"),
        (streamed(late, EACH, &[]), None, &["above stable"], "first token", "late"),
        (streamed(FIRST, slow, &[]), None, &["above stable"], "output token", "slow"),
        (streamed(late, slow, &[]), None, &["above stable"; 2], "first token", "both"),
        (streamed(FIRST, slow, &[]), Some(100), &["shared", "above stable"], "", "max"),
        (
            streamed(&[(200_000, 150)], slow, &[]),
            None,
            &["above stable"],
            "output",
            "few",
        ),
        (streamed(&[(1, 9)], &[(1, 9)], &[]), None, &["few"], "first token", "too few"),
        (
            streamed(FIRST, EACH, whole),
            None,
            &[],
            "",
            "stable has nothing beside streams",
        ),
    ] {
        let verdict = verdict(&latency(max), &canary, &stable);
        let grounds: Vec<_> = grounds(&verdict)
            .into_iter()
            .filter(|ground| verdict.acts().is_none() || *ground != "shared")
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .filter(|ground| verdict.acts().is_none() || **ground != "shared")
            .copied()
            .collect();
        assert_eq!(grounds, expected, "{case}: {verdict}");
        assert!(verdict.to_string().contains(named), "{case}: {verdict}");
    }
    let max = streamed(&[(200_000, 1_000)], EACH, &[]);
    let quick = streamed(&[(50_000, 9_000)], EACH, &[]);
    let verdict = verdict(&latency(Some(180)), &max, &quick);
    assert_eq!(grounds(&verdict), ["above stable", "above max"], "{verdict}");
    assert!(verdict.to_string().contains("time to first token"), "{verdict}");
}

#[test]
fn other_answers_of_a_route_with_streams_go_on_by_their_total_time() {
    let (first, each) = (&[(200_000, 1_000)][..], &[(20_000, 1_000)][..]);
    let stable = streamed(first, each, &[(10_000, 9_000)]);
    let canary = streamed(first, each, &[(16_000, 1_000)]);
    let verdict = verdict(&latency(None), &canary, &stable);
    assert_eq!(grounds(&verdict), ["above stable"], "{verdict}");
    assert!(verdict.to_string().starts_with("breach: latencyP99: 16."), "{verdict}");
}

#[test]
fn a_token_has_a_floor_of_its_own() {
    let first = &[(200_000, 1_000)][..];
    let of = |each: u64| streamed(first, &[(each, 1_000)], &[]);
    assert_eq!(
        verdict(&latency(None), &of(390), &of(100)),
        Verdict::Pass,
        "below 400 us"
    );
    assert_eq!(grounds(&verdict(&latency(None), &of(900), &of(500))), ["above stable"]);
}

#[test]
fn below_the_floor_no_ratio_matters() {
    let canary = timed(&[(1_900, 1_000)]);
    assert_eq!(verdict(&latency(None), &canary, &timed(&[(300, 9_000)])), Verdict::Pass);
}

#[test]
fn failures_alone_are_no_latency() {
    let mut canary = counted(500, 500);
    canary.good = 0;
    let verdict = verdict(&latency(None), &canary, &timed(&[(300, 9_000)]));
    assert_eq!(grounds(&verdict), ["few"]);
}

#[test]
fn health_breaks_at_once_unless_stable_is_ill_too() {
    let nothing = Reading::default();
    let ill = Health::Unhealthy { failed_checks: 3 };
    for (canary_health, stable_health, expected) in [
        (ill, Health::Healthy, &["unhealthy"][..]),
        (ill, Health::Unchecked, &["unhealthy"]),
        (ill, ill, &["shared"]),
        (Health::Healthy, ill, &[]),
        (Health::Unchecked, Health::Unchecked, &[]),
    ] {
        let seen = Observation {
            canary: &nothing,
            stable: &nothing,
            canary_health,
            stable_health,
        };
        let verdict = judge(&rules(vec![Rule::HealthCheck]), &seen);
        assert_eq!(grounds(&verdict), expected);
        let trigger = verdict.acts().map(|finding| finding.trigger);
        assert_eq!(trigger.is_some(), expected == ["unhealthy"]);
        assert!(trigger.is_none_or(|trigger| trigger == Trigger::HealthCheck));
    }
}

#[test]
fn a_rule_without_a_limit_asks_nothing() {
    let rule = Rule::ErrorRate {
        max_ratio: None,
        floor: Percent::ZERO,
        max: None,
        min_samples: 50,
    };
    let (canary, stable) = (counted(0, 0), counted(0, 0));
    assert_eq!(verdict(&rules(vec![rule]), &canary, &stable), Verdict::Pass);
    assert_eq!(verdict(&rules(vec![]), &canary, &stable), Verdict::Pass);
}

#[test]
fn a_finding_carries_its_numbers() {
    let verdict = verdict(&errors(), &counted(400, 32), &counted(3_600, 72));
    let text = verdict.to_string();
    let start = "breach: errorRate: 8.00% is above the limit of 4.00% (stable has 2.00%, the rule \
                 allows 2 times that) in 5m (samples 400, stable 3600, chance ";
    assert!(text.starts_with(start), "{text}");
}

fn any_counts(most: u64) -> impl Strategy<Value = (u64, u64)> {
    (0..most).prop_flat_map(|samples| (prop::strategy::Just(samples), 0..=samples))
}

fn times() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(1_u64..200_000, 0..600)
}

fn each(times: &[u64]) -> Vec<(u64, u64)> {
    times.iter().map(|us| (*us, 1)).collect()
}

proptest! {
    #[test]
    fn a_failure_turned_good_never_breaks_a_limit(
        canary in any_counts(3_000), stable in any_counts(9_000),
    ) {
        let stable = counted(stable.0, stable.1);
        let before = verdict(&errors(), &counted(canary.0, canary.1), &stable);
        let better = canary.1.saturating_sub(1);
        let after = verdict(&errors(), &counted(canary.0, better), &stable);
        prop_assert!(before.acts().is_some() || after.acts().is_none(), "{before} / {after}");
    }

    #[test]
    fn a_faster_answer_never_breaks_a_limit(
        canary in times(), stable in times(), which in any::<prop::sample::Index>(), by in 1_u64..200,
    ) {
        let stable = timed(&each(&stable));
        let before = verdict(&latency(Some(150)), &timed(&each(&canary)), &stable);
        let mut better = canary;
        if !better.is_empty() {
            let at = which.index(better.len());
            better[at] = (better[at] / by).max(1);
        }
        let after = verdict(&latency(Some(150)), &timed(&each(&better)), &stable);
        prop_assert!(before.acts().is_some() || after.acts().is_none(), "{before} / {after}");
    }

    #[test]
    fn too_few_samples_are_never_evidence(
        canary in any_counts(50), stable in any_counts(9_000), times in times(),
    ) {
        let seen = verdict(&errors(), &counted(canary.0, canary.1), &counted(stable.0, stable.1));
        let missing = seen.findings().iter().find_map(|finding| match finding.ground {
            Ground::FewSamples { missing } => Some(missing),
            Ground::NoTraffic => Some(50),
            Ground::AboveStable { .. }
            | Ground::AboveMax { .. }
            | Ground::Unhealthy
            | Ground::FewStableSamples { .. }
            | Ground::Unsure { .. }
            | Ground::Shared { .. }
            | Ground::Evidence { .. }
            | Ground::Gathering { .. }
            | Ground::WarmUp
            | Ground::Refused { .. }
            | Ground::Stalled { .. }
            | Ground::Flapping { .. } => None,
        });
        prop_assert_eq!(missing, Some(50 - canary.0));
        let few = timed(&each(&times[..times.len().min(199)]));
        let seen = verdict(&latency(Some(1)), &few, &timed(&[(10, 1_000)]));
        prop_assert!(seen.acts().is_none());
    }
}

/// Equal versions, a window of twenty slices, read a thousand times.
#[test]
fn equals_are_left_alone() {
    let rules = errors();
    let mut rolled_back = 0;
    let runs = 1_200;
    for run in 0..runs {
        let rate = [0.0, 0.002, 0.01, 0.02, 0.03, 0.05][run % 6];
        let share = [0.05, 0.1, 0.5][run / 6 % 3];
        let mut rng = fastrand::Rng::with_seed(run as u64);
        rolled_back += usize::from(false_alarm(&rules, rate, share, &mut rng));
    }
    assert!(rolled_back <= 1, "{rolled_back} of {runs} equal canaries were rolled back");
}

fn false_alarm(rules: &Rules, rate: f64, share: f64, rng: &mut fastrand::Rng) -> bool {
    let mut slices = std::collections::VecDeque::new();
    let mut sum = [0_u64; 4];
    for _ in 0..1_000 {
        let mut slice = [0_u64; 4];
        for _ in 0..40 {
            let arm = if rng.f64() < share { 0 } else { 2 };
            slice[arm] += 1;
            slice[arm + 1] += u64::from(rng.f64() < rate);
        }
        slices.push_back(slice);
        let old = if slices.len() > 20 { slices.pop_front().unwrap() } else { [0; 4] };
        for at in 0..4 {
            sum[at] = sum[at] + slice[at] - old[at];
        }
        let (canary, stable) = (counted(sum[0], sum[1]), counted(sum[2], sum[3]));
        if verdict(rules, &canary, &stable).acts().is_some() {
            return true;
        }
    }
    false
}
