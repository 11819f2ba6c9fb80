//! One rollout, and many of them on two threads.
//!
//! All methods see the same requests: what a method does changes who is harmed, never what
//! happens. While a canary is protected its requests are copies, at the share it had.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use switchback::judge::Confirm;
use switchback::judge::trial::{Baseline, Beat};
use switchback::vocab::time::Timestamp;

use crate::dice::Dice;
use crate::ours::{Ours, Subject, TICK_MS, learn, nominal, rules};
use crate::peer::{self, Pair, Peer};
use crate::scenario::{Group, Scenario, Weather};
use crate::tally::{Outcome, Tally};
use crate::world::{Stage, World};

/// A scenario's tallies, one a method.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) stage: Stage,
    pub(crate) tallies: Vec<Tally>,
}

impl Report {
    pub(crate) fn scenario(&self) -> &Scenario {
        &self.stage.scenario
    }

    pub(crate) fn of(&self, method: &str) -> Option<&Tally> {
        self.tallies.iter().find(|tally| tally.method == method)
    }
}

/// A peer at work.
struct Watcher {
    peer: Box<dyn Peer>,
    outcome: Outcome,
    is_over: bool,
}

/// Plays all of them on two threads; the same seed gives the same reports.
pub(crate) fn play_all(
    scenarios: Vec<Scenario>,
    seed: u64,
    progress: &mut dyn FnMut(&str),
) -> Vec<Report> {
    let stages: Vec<Stage> = scenarios.into_iter().map(Stage::new).collect();
    let mut jobs = Vec::new();
    for (at, stage) in stages.iter().enumerate() {
        let blocks = stage.scenario.rollouts.div_ceil(BLOCK);
        jobs.extend((0..blocks).map(|block| (at, block)));
    }
    let next = AtomicUsize::new(0);
    let work = |told: &mut dyn FnMut(usize)| -> Vec<(usize, Vec<Tally>)> {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((stage, block)) = jobs.get(at).copied() else { return done };
            told(at);
            done.push((stage, play_block(&stages[stage], seed, block)));
        }
    };
    let mut told = |at: usize| {
        let (stage, block) = jobs[at];
        if block % 64 == 0 {
            let name = &stages[stage].scenario.name;
            progress(&format!("{at} of {} blocks: {name}", jobs.len()));
        }
    };
    let done = std::thread::scope(|scope| {
        let other = scope.spawn(|| work(&mut |_| {}));
        let mut done = work(&mut told);
        done.extend(other.join().unwrap_or_default());
        done
    });
    let mut all: Vec<Vec<Tally>> = stages.iter().map(|_| Vec::new()).collect();
    for (stage, tallies) in done {
        for tally in tallies {
            let same = all[stage].iter_mut().find(|sum| sum.method == tally.method);
            match same {
                Some(sum) => sum.merge(tally),
                None => all[stage].push(tally),
            }
        }
    }
    let report = |(stage, tallies)| Report { stage, tallies };
    stages.into_iter().zip(all).map(report).collect()
}

/// Rollouts that share what was learned of stable before them.
fn play_block(stage: &Stage, seed: u64, block: u64) -> Vec<Tally> {
    let scenario = &stage.scenario;
    let history = history(stage, Dice::new(seed ^ HISTORY, &scenario.name, block));
    let mut tallies: Vec<Tally> = Vec::new();
    for rollout in block * BLOCK..((block + 1) * BLOCK).min(scenario.rollouts) {
        let dice = Dice::new(seed, &scenario.name, rollout);
        for outcome in play(stage, &history, dice, rollout < scenario.with_peers) {
            let method = outcome.method;
            let at = tallies.iter().position(|tally| tally.method == method);
            let at = at.unwrap_or_else(|| {
                tallies.push(Tally::of(method));
                tallies.len() - 1
            });
            tallies[at].add(&outcome);
        }
    }
    tallies
}

/// What is learned of stable before the canary: half an hour, and an hour where it has
/// bursts to be learned.
fn history(stage: &Stage, dice: Dice) -> Baseline {
    let scenario = &stage.scenario;
    let mut baseline = Baseline::new(&rules(scenario.timed, Confirm::Off));
    let mut world = World::new(stage, dice, true);
    let has_bursts = matches!(scenario.weather, Weather::Bursts { .. });
    let seconds = if has_bursts { 3_600 } else { 1_800 };
    for second in 0..seconds {
        world.step(second * 1_000, 1_000, baseline.deadlines().whole);
        let now = Timestamp(BEGIN_MS - (seconds - second - 1) * 1_000);
        learn(&mut baseline, now, world.sums().1);
    }
    baseline
}

fn play(
    stage: &Stage,
    history: &Baseline,
    dice: Dice,
    with_peers: bool,
) -> impl Iterator<Item = Outcome> {
    let scenario = &stage.scenario;
    let onset_ms = scenario.onset_s * 1_000;
    let mut world = World::new(stage, dice, false);
    let begin = BEGIN_MS + world.dice.below(1_000);
    let subject = Subject {
        onset_ms,
        ends_promoted: scenario.group == Group::Promotion,
        timed: scenario.timed,
    };
    let mut ours = Ours::new(history.clone(), subject, Timestamp(begin));
    let mut watchers = watchers(with_peers);
    let (mut at_ms, mut open) = (0, Pair::default());
    while at_ms < scenario.horizon_s * 1_000 {
        let watched = watchers.iter().any(|watcher| !watcher.is_over);
        if ours.is_over() && !watched {
            break;
        }
        let rests = ours.is_over() && at_ms.is_multiple_of(1_000);
        let step_ms = if rests { 1_000 } else { TICK_MS };
        world.step(at_ms, step_ms, ours.deadline_us());
        at_ms += step_ms;
        let (canary, stable) = world.sums();
        if watched {
            open.canary.add(canary, scenario.timed);
            open.stable.add(stable, scenario.timed);
        }
        if !ours.is_over() {
            let beat = Beat { canary, stable, share: nominal(world.share) };
            let now = Timestamp(begin + at_ms);
            ours.tick(now, &beat, world.harmed, at_ms);
        }
        for watcher in watchers.iter_mut().filter(|watcher| !watcher.is_over) {
            watcher.harm(world.harmed, at_ms, onset_ms);
            if at_ms.is_multiple_of(1_000) {
                watcher.second(at_ms, &open, onset_ms);
            }
        }
        if at_ms.is_multiple_of(1_000) {
            open = Pair::default();
        }
    }
    ours.outcomes().chain(watchers.into_iter().map(|watcher| watcher.outcome))
}

fn watchers(with_peers: bool) -> Vec<Watcher> {
    let peers = if with_peers { peer::all() } else { Vec::new() };
    let watcher = |peer: Box<dyn Peer>| {
        let outcome = Outcome::new(peer.name());
        Watcher { peer, outcome, is_over: false }
    };
    peers.into_iter().map(watcher).collect()
}

impl Watcher {
    fn harm(&mut self, harmed: u64, at_ms: u64, onset_ms: u64) {
        self.outcome.watched_ms = at_ms;
        self.outcome.harmed += if at_ms > onset_ms { harmed } else { 0 };
    }

    fn second(&mut self, at_ms: u64, counts: &Pair, onset_ms: u64) {
        if !self.peer.second(at_ms / 1_000, counts) {
            return;
        }
        self.is_over = true;
        match at_ms.checked_sub(onset_ms).filter(|after| *after > 0) {
            Some(after) => {
                self.outcome.protect_ms = Some(after);
                self.outcome.rollback_ms = Some(after);
            }
            None => self.outcome.is_early = true,
        }
    }
}

/// Writes where the run is to stderr, and nothing when that fails.
pub(crate) fn tell(text: &str) {
    writeln!(std::io::stderr().lock(), "{text}").unwrap_or_default();
}

/// Rollouts that share one history.
const BLOCK: u64 = 16;
/// Sets the chance of histories apart from that of rollouts.
const HISTORY: u64 = 0x5bd1_e995_9d3c_51a7;
/// Some moment, so that there is a time before.
const BEGIN_MS: u64 = 1_800_000_000_000;
