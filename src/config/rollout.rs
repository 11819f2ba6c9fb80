//! How a canary gains traffic: from the keys of `rollout` to a plan and its webhooks.
//!
//! Apart from the other rules of a route, because most of it holds keys against each other.

use std::path::Path;
use std::time::Duration;

use super::insert::read_small;
use super::reader::{Item, View};
use super::units::{self, Parsed, Why};
use crate::control::{Hook, RolloutSettings};
use crate::effects::post::Target;
use crate::judge::{OnBreach, Rule, Rules};
use crate::rollout::{Finish, Gate, NoTraffic, Plan, PlanStep, Retreat, Strategy};
use crate::vocab::amount::Percent;

/// The rollout of a route, if it has one.
pub(super) fn of_route(
    route: &View<'_>,
    rules: &Rules,
    dir: &Path,
) -> Option<RolloutSettings> {
    let analysis = route.child("analysis");
    let no_traffic = match analysis.text("noTraffic") {
        "extend" => NoTraffic::Extend,
        "revert" => NoTraffic::Revert,
        _ => NoTraffic::Hold,
    };
    let Some(view) = route.maybe_child("rollout") else {
        without(route, &analysis, rules, no_traffic);
        return None;
    };
    versions(route);
    let strategy = match view.text("strategy") {
        "blueGreen" => Strategy::BlueGreen,
        "rolling" => Strategy::Rolling,
        _ => Strategy::Canary,
    };
    let (steps, finish, retreat) = match strategy {
        Strategy::Canary => (canary(&view), Finish::WhenGood, Retreat::AtOnce),
        Strategy::BlueGreen => blue_green(&view),
        Strategy::Rolling => rolling(&view),
    };
    if finish == Finish::WhenGood && !compares(rules) {
        view.warn(
            "strategy",
            "no rule of the analysis compares with stable (maxRatio), so that it is never \
             good: the last step waits for promote",
        );
    }
    let (hooks, gates) = webhooks(&view, dir);
    let bake = view.span("bake");
    let plan = Plan { strategy, steps, finish, bake, no_traffic, retreat, gates };
    Some(RolloutSettings { plan, hooks })
}

/// Reports what only makes sense with a rollout.
fn without(route: &View<'_>, analysis: &View<'_>, rules: &Rules, no_traffic: NoTraffic) {
    if no_traffic != NoTraffic::Hold {
        analysis.wrong("noTraffic", "is about the pauses of a rollout: add rollout");
    }
    let pauses = |metric: &crate::judge::Metric| metric.on_breach == OnBreach::Pause;
    if rules.metrics.iter().any(pauses) && route.sound("analysis") {
        analysis.wrong("metrics", "a rule pauses the rollout (onBreach): add rollout");
    }
}

/// Reports versions that a rollout cannot be of.
fn versions(route: &View<'_>) {
    let versions = route.children("versions");
    let mut canaries = versions.iter().filter(|view| view.text("role") == "canary");
    if let Some(first) = canaries.next() {
        if first.given("weight") && first.sound("weight") {
            first.warn("weight", "is ignored: the rollout gives the weight");
        }
        if let Some(second) = canaries.next() {
            second.wrong("role", "a route with a rollout has one canary at a time");
        }
    }
}

/// Whether the analysis can ever say that a version is good.
fn compares(rules: &Rules) -> bool {
    rules.metrics.iter().any(|metric| match &metric.rule {
        Rule::ErrorRate { max_ratio, .. } | Rule::LatencyP99 { max_ratio, .. } => {
            max_ratio.is_some() && !metric.dry_run
        }
        Rule::HealthCheck => false,
    })
}

fn canary(view: &View<'_>) -> Vec<PlanStep> {
    unwanted(view, "stepWeight", "is for strategy: rolling");
    match (view.given("steps"), view.given("stepWeights")) {
        (true, true) => {
            view.wrong("stepWeights", "says what steps says already: leave one out");
            Vec::new()
        }
        (false, false) => {
            view.wrong("steps", "is missing: a canary needs steps or stepWeights");
            Vec::new()
        }
        (true, false) => {
            unwanted(view, "interval", "is for stepWeights: write pauses into steps");
            steps(view)
        }
        (false, true) => {
            let pause = view.maybe_span("interval").unwrap_or(STEP_INTERVAL);
            let items = view.items("stepWeights");
            let mut last = Percent::ZERO;
            let mut steps = Vec::new();
            for item in &items {
                let Ok(weight) = units::percent(item.text) else { continue };
                match rises(weight, &mut last) {
                    Ok(true) => {
                        steps.extend([
                            PlanStep::SetWeight(weight),
                            PlanStep::Pause(pause),
                        ]);
                    }
                    Ok(false) => {}
                    Err(why) => view.wrong_item(item, why),
                }
            }
            steps
        }
    }
}

/// The steps as they are written; the one to 100 % is every plan's last.
fn steps(view: &View<'_>) -> Vec<PlanStep> {
    let mut steps = Vec::new();
    let mut last = Percent::ZERO;
    for view in view.children("steps") {
        match (view.given("setWeight"), view.given("pause")) {
            (true, true) => view.wrong("pause", "is a step of its own"),
            (false, false) => view.wrong("pause", "is missing: setWeight or pause"),
            (true, false) => {
                if !view.sound("setWeight") {
                    continue;
                }
                let weight = view.percent("setWeight");
                match rises(weight, &mut last) {
                    Ok(true) => steps.push(PlanStep::SetWeight(weight)),
                    Ok(false) => {}
                    Err(why) => view.wrong("setWeight", why),
                }
            }
            (false, true) if last == Percent::FULL => {
                view.wrong("pause", "comes after 100%: write bake");
            }
            (false, true) => steps.extend(pause(view.text("pause")).ok()),
        }
    }
    steps
}

/// Whether a weight is a step of its own; the last one, to all of it, is not.
fn rises(weight: Percent, last: &mut Percent) -> Result<bool, String> {
    let before = std::mem::replace(last, weight);
    if weight <= before {
        let than = if before == Percent::ZERO {
            "nothing".to_owned()
        } else {
            format!("the {before} before it")
        };
        return Err(format!("{weight} is no more than {than}: weights rise"));
    }
    Ok(weight < Percent::FULL)
}

fn blue_green(view: &View<'_>) -> (Vec<PlanStep>, Finish, Retreat) {
    for name in ["stepWeights", "stepWeight", "interval"] {
        unwanted(view, name, "is not for strategy: blueGreen, which switches at once");
    }
    let steps = if view.given("steps") { steps(view) } else { Vec::new() };
    let weight = |step: &PlanStep| matches!(step, PlanStep::SetWeight(_));
    if steps.iter().any(weight) {
        view.wrong("steps", "may have pauses only: strategy blueGreen switches at once");
    }
    // Pauses say when it switches; without any, or with the last until it is promoted,
    // somebody has to say so.
    let finish = if steps.is_empty() { Finish::ByOrder } else { Finish::AtOnce };
    (steps, finish, Retreat::AtOnce)
}

fn rolling(view: &View<'_>) -> (Vec<PlanStep>, Finish, Retreat) {
    for name in ["steps", "stepWeights"] {
        unwanted(view, name, "is for strategy: canary; write stepWeight and interval");
    }
    let (by, every) = (
        view.percent("stepWeight"),
        view.maybe_span("interval").unwrap_or(ROLLING_INTERVAL),
    );
    if view.sound("stepWeight") && by < LEAST_STEP {
        view.wrong("stepWeight", format!("{by} is below the smallest, {LEAST_STEP}"));
    }
    let retreat = Retreat::InSteps { by, every };
    (Plan::even(by, every), Finish::WhenGood, retreat)
}

fn unwanted(view: &View<'_>, name: &str, why: &str) {
    if view.given(name) {
        view.wrong(name, why);
    }
}

fn webhooks(view: &View<'_>, dir: &Path) -> (Vec<Hook>, Vec<(Gate, Duration)>) {
    let (mut hooks, mut gates) = (Vec::new(), Vec::<(Gate, Duration)>::new());
    let mut names: Vec<String> = Vec::new();
    for view in view.children("webhooks") {
        let name = view.text("name").to_owned();
        if view.sound("name") && names.contains(&name) {
            view.wrong("name", format!("{} is there twice", view.shown("name")));
        }
        names.push(name.clone());
        let gate = gate(view.text("type"));
        if gate.is_none() && view.given("interval") {
            view.warn("interval", "an event is told once: this is not used");
        }
        let interval = view.span("interval");
        if let Some(gate) = gate {
            match gates.iter_mut().find(|(own, _)| *own == gate) {
                Some((_, every)) => *every = interval.min(*every),
                None => gates.push((gate, interval)),
            }
        }
        let Some(target) = target(&view, dir) else { continue };
        let metadata = view.pairs("metadata").into_iter().collect();
        hooks.push(Hook { name, gate, target, timeout: view.span("timeout"), metadata });
    }
    (hooks, gates)
}

/// Where a webhook is; a URL from a file is never shown.
fn target(view: &View<'_>, dir: &Path) -> Option<Target> {
    let allow_private = view.flag("allowPrivate");
    let (item, url) = match (view.item("url"), view.item("urlFile")) {
        (Some(_), Some(_)) => {
            view.wrong("urlFile", "says what url says already: leave one out");
            return None;
        }
        (None, None) => {
            view.wrong("url", "is missing: url or urlFile");
            return None;
        }
        (Some(item), None) => {
            let url = item.text.to_owned();
            (item, url)
        }
        (None, Some(item)) => {
            let url = from_file(view, &item, dir)?;
            (item, url)
        }
    };
    match Target::parse(&url, allow_private) {
        Ok(target) => Some(target),
        // What is wrong is said without the URL, which may hold a key.
        Err(error) => {
            view.wrong_item(&item, error.to_string());
            None
        }
    }
}

fn from_file(view: &View<'_>, item: &Item<'_>, dir: &Path) -> Option<String> {
    match read_small(&dir.join(item.text)) {
        Ok(text) => Some(text.trim().to_owned()),
        Err(why) => {
            view.wrong_item(item, format!("{} cannot be read: {why}", item.shown));
            None
        }
    }
}

fn gate(word: &str) -> Option<Gate> {
    let all = [
        Gate::ConfirmRollout,
        Gate::PreRollout,
        Gate::Rollout,
        Gate::ConfirmTrafficIncrease,
        Gate::ConfirmPromotion,
        Gate::PostRollout,
        Gate::Rollback,
    ];
    all.into_iter().find(|gate| gate.as_str() == word)
}

/// A pause as a step: a duration, or until an operator promotes it.
fn pause(text: &str) -> Parsed<PlanStep> {
    match text {
        UNTIL_PROMOTED => Ok(PlanStep::UntilPromoted),
        _ => units::span(text).map(PlanStep::Pause),
    }
}

/// Whether a text is a pause.
pub(super) fn is_pause(text: &str) -> Parsed<()> {
    match pause(text) {
        Ok(PlanStep::Pause(span)) if span > LONGEST => {
            Err(Why::Wrong("is above the largest, 31d".to_owned()))
        }
        Ok(_) => Ok(()),
        Err(Why::Wrong(why)) => Err(Why::Wrong(format!("{why}, or {UNTIL_PROMOTED}"))),
        Err(why) => Err(why),
    }
}

const UNTIL_PROMOTED: &str = "untilPromoted";
/// Long enough for a thin canary to be judged.
const STEP_INTERVAL: Duration = Duration::from_secs(300);
/// The usual pace of a rolling change.
const ROLLING_INTERVAL: Duration = Duration::from_secs(30);
/// Smaller steps would make a plan of more than a thousand.
const LEAST_STEP: Percent = Percent::from_ppm(1_000);
const LONGEST: Duration = super::file::MONTH;
