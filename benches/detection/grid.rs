//! Which scenarios are played, and how often.

use crate::options::Effort;
use crate::scenario::{Fault, Group, Scenario, Weather, even_pods};

/// All scenarios whose table or name holds the word.
pub(crate) fn scenarios(effort: Effort, only: Option<&str>) -> Vec<Scenario> {
    let groups = [equal, bursts, errors, bound, latency, late, cold, promotion];
    let mut all: Vec<Scenario> = groups.iter().flat_map(|group| group(effort)).collect();
    if effort == Effort::Full {
        all.extend(whole_grid());
    }
    let wanted = |scenario: &Scenario| {
        only.is_none_or(|word| {
            let text = format!("{} {}", scenario.group.title(), scenario.name);
            text.to_lowercase().contains(word)
        })
    };
    all.retain(wanted);
    all
}

fn of(effort: Effort, counts: [u64; 3]) -> u64 {
    match effort {
        Effort::Quick => counts[0],
        Effort::Usual => counts[1],
        Effort::Full => counts[2],
    }
}

fn named(mut scenario: Scenario, note: &str, rollouts: u64) -> Scenario {
    let Scenario { rate, share, errors, fault, weather, .. } = &scenario;
    let mut name = match (fault, weather) {
        (Fault::None, Weather::Calm) => "equal".to_owned(),
        (Fault::None, weather) => weather.to_string(),
        (fault, Weather::Calm) => fault.to_string(),
        (fault, weather) => format!("{fault} in {weather}"),
    };
    name += &format!("; {rate}/s, {} %", share * 100.0);
    if (errors - 0.01).abs() > 1e-9 {
        name += &format!(", stable {} %", errors * 100.0);
    }
    if scenario.onset_s > 0 {
        name += &format!(", after {} s", scenario.onset_s);
    }
    if scenario.group == Group::Bursts || scenario.pods == FEW_PODS {
        let (canary, stable) = scenario.pods;
        name += &format!(", {canary} of {} endpoints", canary + stable);
    }
    if !note.is_empty() {
        name += &format!(", {note}");
    }
    (scenario.name, scenario.rollouts) = (name, rollouts);
    scenario.with_peers = rollouts.min(PEERS);
    scenario
}

fn equal(effort: Effort) -> Vec<Scenario> {
    let hour = |rate| Scenario { pods: FEW_PODS, ..Scenario::new(Group::Equal, rate) };
    let mut all = Vec::new();
    for (rate, share, errors) in [
        (10.0, 0.1, 0.01),
        (100.0, 0.1, 0.01),
        (1_000.0, 0.1, 0.001),
        (100.0, 0.01, 0.02),
        (100.0, 0.5, 0.01),
        (5_000.0, 0.05, 0.001),
    ] {
        all.push(Scenario { share, errors, ..hour(rate) });
    }
    for (weather, share) in [
        (Weather::Outage, 0.1),
        (Weather::Outage, 0.5),
        (Weather::BrownOut, 0.1),
        (Weather::Diurnal, 0.1),
        (Weather::Walk, 0.1),
        (Weather::Ramp, 0.1),
        (Weather::Obliging, 0.1),
        (Weather::Spiteful, 0.1),
    ] {
        all.push(Scenario { weather, share, ..hour(100.0) });
    }
    let count = of(effort, [16, 320, 7_008]);
    let mut all: Vec<Scenario> =
        all.into_iter().map(|it| named(it, "errors only", count)).collect();
    let timed = of(effort, [4, 64, 800]);
    for weather in [Weather::Calm, Weather::Outage, Weather::Diurnal] {
        let base = Scenario::new(Group::Equal, 100.0);
        let scenario = Scenario { weather, timed: true, ..base };
        all.push(named(scenario, "all rules", timed));
    }
    all
}

fn bursts(effort: Effort) -> Vec<Scenario> {
    let mut all = Vec::new();
    for (seconds, depth, minutes) in [
        (1.0, 0.5, 5.0),
        (2.0, 0.5, 10.0),
        (5.0, 0.5, 30.0),
        (5.0, 1.0, 60.0),
        (10.0, 0.5, 60.0),
        (10.0, 1.0, 60.0),
    ] {
        for pods in [FEW_PODS, (3, 9)] {
            let weather = Weather::Bursts { seconds, depth, every: minutes * 60.0 };
            let base = Scenario::new(Group::Bursts, 300.0);
            let scenario = Scenario { weather, pods, errors: 0.002, ..base };
            all.push(named(scenario, "", of(effort, [16, 160, 1_200])));
        }
    }
    all
}

fn errors(effort: Effort) -> Vec<Scenario> {
    let count = of(effort, [8, 48, 400]);
    let base = |rate| Scenario { timed: true, ..Scenario::new(Group::Errors, rate) };
    let mut all = Vec::new();
    for rate in [1.0, 10.0, 100.0, 1_000.0, 5_000.0] {
        for ratio in [1.5, 2.0, 3.0, 5.0, 10.0, 20.0] {
            let scenario = Scenario { fault: Fault::Errors(ratio), ..base(rate) };
            let main = rate >= 100.0 && ratio >= 5.0;
            let count = if main { count.max(of(effort, [24, 160, 400])) } else { count };
            all.push(named(scenario, "", count));
        }
    }
    for rate in [100.0, 1_000.0, 5_000.0] {
        for ratio in [5.0, 10.0, 20.0] {
            let (fault, pods) = (Fault::Errors(ratio), FEW_PODS);
            all.push(named(Scenario { fault, pods, ..base(rate) }, "", count));
        }
    }
    for (share, errors) in
        [(0.01, 0.01), (0.05, 0.01), (0.5, 0.01), (0.1, 0.001), (0.1, 0.02)]
    {
        let fault = Fault::Errors(5.0);
        let pods = even_pods(share);
        let scenario = Scenario { share, errors, fault, pods, ..base(100.0) };
        all.push(named(scenario, "", count));
    }
    all
}

fn bound(effort: Effort) -> Vec<Scenario> {
    let mut all = Vec::new();
    let count = of(effort, [24, 160, 1_000]);
    for (ratio, rate) in
        [(2.0, 100.0), (3.0, 50.0), (5.0, 20.0), (10.0, 10.0), (20.0, 5.0)]
    {
        let fault = Fault::Errors(ratio);
        let base = Scenario::new(Group::Bound, rate);
        let scenario = Scenario { fault, horizon_s: 10_000, ..base };
        all.push(named(scenario.clone(), "errors only", count));
        all.push(named(Scenario { timed: true, ..scenario }, "all rules", count));
    }
    for scenario in &mut all {
        scenario.with_peers = 0;
    }
    all
}

fn latency(effort: Effort) -> Vec<Scenario> {
    let base = |rate| Scenario {
        timed: true,
        horizon_s: 1_800,
        ..Scenario::new(Group::Latency, rate)
    };
    let mut all = Vec::new();
    for (fault, rate, onset_s) in [
        (Fault::Scale(1.5), 100.0, 60),
        (Fault::Scale(2.0), 10.0, 60),
        (Fault::Scale(2.0), 100.0, WARM_S),
        (Fault::Scale(2.0), 100.0, 60),
        (Fault::Scale(2.0), 100.0, 0),
        (Fault::Scale(2.0), 1_000.0, WARM_S),
        (Fault::Scale(2.0), 1_000.0, 60),
        (Fault::Scale(4.0), 100.0, 60),
        (Fault::Tail(2.0), 100.0, 60),
        (Fault::Middle(0.3), 100.0, 60),
        (Fault::Hang, 100.0, 0),
        (Fault::Hang, 1_000.0, 0),
        (Fault::Refuse, 100.0, 0),
        (Fault::Refuse, 1_000.0, 0),
    ] {
        let scenario = Scenario { fault, onset_s, ..base(rate) };
        all.push(named(scenario, "", of(effort, [16, 100, 400])));
    }
    let fault = Fault::Scale(2.0);
    let wide = Scenario { fault, sigma: 1.0, onset_s: 60, ..base(100.0) };
    all.push(named(wide, "wide", of(effort, [16, 100, 400])));
    all
}

fn late(effort: Effort) -> Vec<Scenario> {
    let base =
        |fault| Scenario { timed: true, fault, ..Scenario::new(Group::Late, 100.0) };
    let count = of(effort, [12, 100, 400]);
    let mut all = Vec::new();
    for ratio in [5.0, 10.0] {
        let onset_s = 1_200;
        let scenario =
            Scenario { onset_s, horizon_s: 4_800, ..base(Fault::Errors(ratio)) };
        all.push(named(scenario, "", count));
    }
    let bursts = Weather::Bursts { seconds: 5.0, depth: 0.5, every: 1_800.0 };
    for (ratio, weather) in
        [(5.0, Weather::Diurnal), (3.0, Weather::Outage), (10.0, bursts)]
    {
        let scenario = Scenario { weather, ..base(Fault::Errors(ratio)) };
        all.push(named(scenario, "", count));
    }
    all
}

fn cold(effort: Effort) -> Vec<Scenario> {
    let one = |answers| {
        let scenario = Scenario {
            timed: true,
            fault: Fault::Cold(answers),
            horizon_s: 900,
            ..Scenario::new(Group::Cold, 100.0)
        };
        named(scenario, "", of(effort, [8, 64, 200]))
    };
    [20, 50, 100, 200].into_iter().map(one).collect()
}

fn promotion(effort: Effort) -> Vec<Scenario> {
    let mut all = Vec::new();
    for (rate, errors, fault) in [
        (10.0, 0.01, Fault::None),
        (100.0, 0.01, Fault::None),
        (100.0, 0.001, Fault::None),
        (1_000.0, 0.01, Fault::None),
        (100.0, 0.01, Fault::Errors(2.0)),
        (100.0, 0.001, Fault::Errors(5.0)),
        (1_000.0, 0.01, Fault::Errors(2.0)),
    ] {
        let base = Scenario::new(Group::Promotion, rate);
        let scenario = Scenario { timed: true, errors, fault, ..base };
        let note = if fault == Fault::None { "good" } else { "at the margin" };
        let mut scenario = named(scenario, note, of(effort, [32, 200, 1_000]));
        scenario.with_peers = 0;
        all.push(scenario);
    }
    all
}

fn whole_grid() -> Vec<Scenario> {
    let mut all = Vec::new();
    for rate in [1.0, 10.0, 100.0, 1_000.0, 5_000.0] {
        for share in [0.01, 0.05, 0.1, 0.5] {
            for errors in [0.001, 0.01, 0.02] {
                for ratio in [1.5, 2.0, 3.0, 5.0, 10.0, 20.0] {
                    let fault = Fault::Errors(ratio);
                    let base = Scenario::new(Group::Grid, rate);
                    let pods = even_pods(share);
                    let scenario = Scenario { share, errors, fault, pods, ..base };
                    let mut scenario = named(scenario, "grid", 48);
                    scenario.with_peers = 16;
                    all.push(scenario);
                }
            }
        }
    }
    all
}

/// From when on the latency of a canary with traffic counts (decision/SPEC.md 3.8).
const WARM_S: u64 = 10;
/// Where each endpoint of stable has three times the requests of the canary's only one.
const FEW_PODS: (usize, usize) = (1, 3);
/// Peers take part in so many rollouts of a scenario at most: their figures are coarse.
const PEERS: u64 = 200;
