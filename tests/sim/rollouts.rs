//! What must hold for every rollout, after every event, and at the end of every story.

use std::collections::HashSet;
use std::time::Duration;

use switchback::rollout::{Phase, PlanStep, RolloutEvent, Verb};
use switchback::vocab::amount::Percent;

use crate::seeds;
use crate::world::{Standing, World, replayed};

impl World {
    /// Holds after every event.
    pub fn check(&self) {
        let it = &self.it;
        assert!(
            it.is_over() == it.waits_for().is_none(),
            "it ends or waits for something"
        );
        assert!(it.since() <= self.now, "no time to come");
        let (made, all) = it.steps();
        assert!(made <= all, "{made} of {all} steps");
    }

    /// Holds whenever a share is to be raised.
    pub fn check_raise(&mut self, weight: Percent) {
        assert_eq!(
            self.standing,
            Standing::Serving,
            "{weight} for a version that is out"
        );
        assert!(!self.it.is_over(), "{weight} after the end");
        assert!(
            self.it.paused().is_none() && self.it.frozen().is_none(),
            "while stopped"
        );
    }

    /// Holds whenever a share is asked for on the way up.
    pub fn check_step(&mut self, weight: Percent) {
        if self.raised.last() != Some(&weight) {
            self.raised.push(weight);
        }
        if !self.skipped {
            let steps = self.plan.steps.iter().filter_map(|step| match step {
                PlanStep::SetWeight(weight) => Some(*weight),
                PlanStep::Pause(_) | PlanStep::UntilPromoted => None,
            });
            let planned: Vec<Percent> = steps.chain([Percent::FULL]).collect();
            assert!(
                planned.starts_with(&self.raised),
                "a step was lost: {:?}",
                self.raised
            );
        }
    }

    /// Holds at every end.
    pub fn finish(&mut self, succeeded: bool) {
        self.finished.push(succeeded);
        // A rollback may come after a success, and ends the same rollout once more.
        let failed = self.finished.iter().filter(|succeeded| !**succeeded).count();
        let good = self.finished.len() - failed;
        assert!(failed <= self.begun && good <= self.begun, "an end told twice");
        if succeeded {
            assert_eq!(self.it.phase(), Phase::Succeeded);
        } else {
            assert_eq!(self.it.phase(), Phase::Failed);
            assert_eq!(self.weight, Percent::ZERO, "a failed rollout has no traffic");
        }
    }

    /// Everybody says yes from here on: the story ends.
    fn come_to_an_end(&mut self) {
        self.kind = true;
        if self.standing == Standing::RollingBack {
            self.standing = Standing::Quarantined;
        }
        if self.standing == Standing::Protected {
            self.standing = Standing::Serving;
        }
        self.judge();
        for _ in 0..400 {
            if self.it.is_over() {
                break;
            }
            if self.it.paused().is_some() || self.it.frozen().is_some() {
                self.command(Verb::Resume);
            }
            if self.it.waits_for().is_some_and(|it| it == "an operator to promote it") {
                self.command(Verb::Promote { full: false });
            }
            self.now = self.now.after(Duration::from_secs(5));
            self.tell(RolloutEvent::Woken);
            self.judge();
        }
        let phase = self.it.phase();
        assert!(self.it.is_over(), "still {phase:?}: {:?}", self.it.waits_for());
    }
}

fn story(seed: u64) -> HashSet<Phase> {
    let mut world = World::new(seed);
    let mut seen = HashSet::new();
    for _ in 0..world.rng.usize(4..36) {
        world.happen();
        seen.insert(world.it.phase());
    }
    let was_aborting = world.it.phase() == Phase::Aborting;
    world.come_to_an_end();
    if was_aborting {
        assert_eq!(world.weight, Percent::ZERO, "an abort ends at 0 %");
    }
    assert_eq!(replayed(&world, seed).len(), world.commands.len(), "replay");
    assert!(same(&replayed(&world, seed), &world.commands), "replay");
    seen
}

/// The commands are the same; those that were carried out in between come in another order.
fn same<T: PartialEq + Clone>(one: &[T], other: &[T]) -> bool {
    let mut left = other.to_vec();
    one.iter().all(|command| {
        let found = left.iter().position(|it| it == command);
        found.map(|at| left.swap_remove(at)).is_some()
    })
}

#[test]
fn every_rollout_keeps_its_promises_and_ends() {
    let mut seen = HashSet::new();
    for seed in seeds() {
        let told = std::panic::catch_unwind(|| story(seed));
        match told {
            Ok(phases) => seen.extend(phases),
            Err(_) => panic!("SEED={seed} tells this story again"),
        }
    }
    let told = seeds().count();
    assert!(told == 1 || seen.len() >= Phase::ALL.len() - 2, "{told} stories: {seen:?}");
}
