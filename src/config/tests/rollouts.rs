//! How a canary gains traffic: what the keys mean and which do not fit together.

use std::sync::Arc;
use std::time::Duration;

use super::support::{LISTENERS, STABLE, problems, read, says, with_route};
use crate::config::describe::describe;
use crate::control::RolloutSettings;
use crate::judge::OnBreach;
use crate::rollout::{Finish, Gate, NoTraffic, PlanStep, Retreat, Strategy};
use crate::vocab::amount::Percent;

fn with_plan(plan: &str, more: &str) -> String {
    let canary = "{ name: b, role: canary, endpoints: ['http://h:2'] }";
    let versions = format!("versions: [{STABLE}, {canary}]");
    format!(
        "{LISTENERS}routes:\n  - name: r\n    {versions}\n    rollout: {plan}\n    {more}\n"
    )
}

fn plan(plan: &str) -> Arc<RolloutSettings> {
    let read = read(&with_plan(plan, "")).unwrap_or_else(|why| panic!("{plan} {why:?}"));
    let route = read.settings.live.routes.into_iter().next().unwrap();
    route.rollout.unwrap()
}

fn percent(number: f64) -> Percent {
    Percent::of(number).unwrap()
}

#[test]
fn each_strategy_has_its_steps() {
    for (text, words) in [
        (
            "{ strategy: canary, steps: [{ setWeight: 1% }, { pause: 5m }, { setWeight: 10% }, { pause: 5m }, { setWeight: 50% }, { pause: 10m }], bake: 30m }",
            "1% for 5m, 10% for 5m, 50% for 10m, then 100% when the analysis is good, watched for 30m",
        ),
        (
            "{ steps: [{ setWeight: 20 }, { pause: untilPromoted }, { setWeight: 100% }], bake: 0s }",
            "20% until promoted, then 100% when the analysis is good",
        ),
        (
            "{ stepWeights: [1, 5, 100], interval: 1m30s }",
            "1% for 90s, 5% for 90s, then 100% when the analysis is good, watched for 30m",
        ),
        (
            "{ stepWeights: [2.5] }",
            "2.5% for 5m, then 100% when the analysis is good, watched for 30m",
        ),
        (
            "{ strategy: blueGreen, bake: 1h }",
            "100% at once when promoted, watched for 1h",
        ),
        (
            "{ strategy: blueGreen, steps: [{ pause: 10s }] }",
            "a wait of 10s, then 100% at once, watched for 30m",
        ),
        (
            "{ strategy: rolling, stepWeight: 40%, interval: 1s }",
            "40% for 1s, 80% for 1s, then 100% when the analysis is good, watched for 30m",
        ),
    ] {
        assert_eq!(plan(text).plan.to_string(), words, "{text}");
    }
    let rolling = &plan("{ strategy: rolling }").plan;
    let every = Duration::from_secs(30);
    assert_eq!(rolling.steps.len(), 18);
    assert_eq!(
        rolling.steps[..2],
        [PlanStep::SetWeight(percent(10.0)), PlanStep::Pause(every)]
    );
    assert_eq!(rolling.retreat, Retreat::InSteps { by: percent(10.0), every });
    let blue = &plan("{ strategy: blueGreen }").plan;
    assert_eq!((blue.strategy, blue.finish), (Strategy::BlueGreen, Finish::ByOrder));
    assert_eq!(blue.no_traffic, NoTraffic::Hold);
}

#[test]
fn webhooks_are_asked_as_often_as_the_quickest_of_a_kind() {
    let hooks = plan(
        "{ stepWeights: [5], webhooks: [\
         { name: a, type: confirm-rollout, url: 'https://gate.example.com/x?key=1', interval: 5s }, \
         { name: b, type: confirm-rollout, url: 'http://127.0.0.1:1/', allowPrivate: true, interval: 2s, timeout: 1s }, \
         { name: c, type: event, url: 'https://e.example.com', metadata: { someTeam: ops } }] }",
    );
    assert_eq!(hooks.plan.gates, [(Gate::ConfirmRollout, Duration::from_secs(2))]);
    let gates: Vec<_> = hooks.hooks.iter().map(|hook| hook.gate).collect();
    assert_eq!(gates, [Some(Gate::ConfirmRollout), Some(Gate::ConfirmRollout), None]);
    assert_eq!(hooks.hooks[1].timeout, Duration::from_secs(1));
    assert_eq!(hooks.hooks[2].metadata["someTeam"], "ops");
    let shown = format!("{hooks:?}");
    assert!(!shown.contains("key=1") && !shown.contains("ops"), "{shown}");
}

#[test]
fn rules_may_pause_and_pauses_may_end_otherwise() {
    let analysis = "analysis: { noTraffic: revert, metrics: [{ name: errorRate, onBreach: pause }] }";
    let read = read(&with_plan("{ stepWeights: [5] }", analysis)).unwrap();
    let route = &read.settings.live.routes[0];
    assert_eq!(route.rules.metrics[0].on_breach, OnBreach::Pause);
    let rollout = route.rollout.as_ref().unwrap();
    assert_eq!(rollout.plan.no_traffic, NoTraffic::Revert);
    let meaning = describe(&read);
    for line in [
        "  rolled out as canary: 5% for 5m, then 100% when the analysis is good, watched for 30m",
        "    a pause without a request aborts it",
        "its rollout is paused",
    ] {
        assert!(meaning.contains(line), "{line} not in\n{meaning}");
    }
    for (line, message) in [
        (
            "analysis: { noTraffic: extend }",
            "analysis.noTraffic: is about the pauses of a rollout: add rollout",
        ),
        (
            "analysis: { metrics: [{ name: healthCheck, onBreach: pause }] }",
            "analysis.metrics: a rule pauses the rollout (onBreach): add rollout",
        ),
    ] {
        says(&with_route(line), &format!("routes[0].{message}"));
    }
}

#[test]
fn what_does_not_fit_together_is_said() {
    for (plan, message) in [
        (
            "{ strategy: canary }",
            "rollout.steps: is missing: a canary needs steps or stepWeights",
        ),
        (
            "{ steps: [{ setWeight: 1% }], stepWeights: [1] }",
            "rollout.stepWeights: says what steps says already: leave one out",
        ),
        (
            "{ steps: [{ setWeight: 5% }, { setWeight: 5% }] }",
            "rollout.steps[1].setWeight: 5% is no more than the 5% before it: weights rise",
        ),
        (
            "{ stepWeights: [0] }",
            "rollout.stepWeights[0]: 0% is no more than nothing: weights rise",
        ),
        (
            "{ steps: [{ setWeight: 5%, pause: 1m }] }",
            "rollout.steps[0].pause: is a step of its own",
        ),
        ("{ steps: [{}] }", "rollout.steps[0].pause: is missing: setWeight or pause"),
        (
            "{ steps: [{ setWeight: 100% }, { pause: 1m }] }",
            "rollout.steps[1].pause: comes after 100%: write bake",
        ),
        (
            "{ steps: [{ pause: forever }] }",
            "rollout.steps[0].pause: forever is not a duration: write one such as 250ms, 30s, 5m or 1h30m, or untilPromoted",
        ),
        (
            "{ strategy: blueGreen, steps: [{ setWeight: 50% }] }",
            "rollout.steps: may have pauses only: strategy blueGreen switches at once",
        ),
        (
            "{ strategy: rolling, stepWeights: [1] }",
            "rollout.stepWeights: is for strategy: canary; write stepWeight and interval",
        ),
        (
            "{ strategy: rolling, stepWeight: 0% }",
            "rollout.stepWeight: 0% is below the smallest, 0.1%",
        ),
        (
            "{ stepWeights: [1], webhooks: [{ name: a, type: event }] }",
            "rollout.webhooks[0].url: is missing: url or urlFile",
        ),
        (
            "{ stepWeights: [1], webhooks: [{ name: a, type: event, url: 'http://u:p@h/' }] }",
            "rollout.webhooks[0].url: has a user name in it: give the secret as a file",
        ),
        (
            "{ stepWeights: [1], webhooks: [{ name: a, type: event, urlFile: /no/such }] }",
            "rollout.webhooks[0].urlFile: /no/such cannot be read: there is no such file",
        ),
    ] {
        says(&with_plan(plan, ""), &format!("routes[0].{message}"));
    }
    let two = with_plan("{ stepWeights: [1] }", "").replace(
        "role: canary, endpoints: ['http://h:2'] }",
        "role: canary, endpoints: ['http://h:2'] }, { name: c, role: canary, endpoints: ['http://h:3'] }",
    );
    says(
        &two,
        "routes[0].versions[2].role: a route with a rollout has one canary at a time",
    );
    says(
        &with_plan("{ strategy: shadow, steps: [{ setWeight: 1% }] }", ""),
        "routes[0].rollout.strategy is not built yet: shadow; write one of canary, blueGreen, rolling",
    );
    assert_eq!(problems(&with_plan("null", "")), [""; 0]);
}

#[test]
fn the_weight_of_a_canary_is_what_its_rollout_gives() {
    let loaded = read(&with_route("rollout: { stepWeights: [1] }")).unwrap();
    let warned = loaded.warnings.iter().any(|line| line.contains("weight: is ignored"));
    assert!(warned, "{:?}", loaded.warnings);
    assert_eq!(loaded.settings.live.routes[0].versions[1].weight, Percent::ZERO);
}

#[test]
fn an_analysis_that_never_compares_is_warned_of() {
    let analysis = "analysis: { metrics: [{ name: errorRate, max: 5% }] }";
    let warnings = read(&with_plan("{ stepWeights: [5] }", analysis)).unwrap().warnings;
    assert!(warnings[0].contains("the last step waits for promote"), "{warnings:?}");
}
