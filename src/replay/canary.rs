//! `Canary`: one version on trial in a replay, and what its trial called for when.

use std::sync::Arc;

use super::arm::Arm;
use crate::judge::trial::{Baseline, Beat, Call, Phase, Share, Trial};
use crate::judge::{Deadlines, Finding, Health, Observation, Reading, Rules, Sums};
use crate::trace::Event;
use crate::vocab::ids::Name;
use crate::vocab::time::Timestamp;

/// One version on trial.
#[derive(Debug)]
pub(super) struct Canary {
    pub(super) arm: Arm,
    pub(super) trial: Trial,
    /// canary / (canary + stable); `None` before any is known.
    pub(super) share: Option<f64>,
    /// Since when it should have no users.
    pub(super) off: Option<Timestamp>,
    pub(super) protects: Vec<Timestamp>,
    pub(super) rollback: Option<Timestamp>,
    pub(super) promote: Option<Timestamp>,
    /// What the first verdict, or the last one that counts, rests on.
    pub(super) finding: Option<Finding>,
}

impl Canary {
    pub(super) fn new(
        name: Name,
        rules: &Arc<Rules>,
        share: Option<f64>,
        now: Timestamp,
    ) -> Self {
        Self {
            arm: Arm::new(name, rules),
            trial: Trial::new(Arc::clone(rules), now),
            share,
            off: None,
            protects: Vec::new(),
            rollback: None,
            promote: None,
            finding: None,
        }
    }

    /// Whether nothing it does matters any more.
    pub(super) fn is_over(&self) -> bool {
        self.rollback.is_some()
    }

    /// Counts a request: a copy where no user would have been on it. `placed`: it belongs to
    /// the present phase. Whether it should not wait for the next look.
    pub(super) fn count(
        &mut self,
        event: &Event<'_>,
        placed: bool,
        limits: &Deadlines,
    ) -> bool {
        let runs = matches!(self.trial.phase(), Phase::Running | Phase::Probing);
        let is_user = runs && !event.shadow;
        self.arm.count(event, (is_user, placed && event.judged), limits);
        !self.is_over() && self.arm.is_urgent()
    }

    /// Gives the trial what both did since the last beat.
    pub(super) fn beat(&mut self, now: Timestamp, stable: &Sums, baseline: &Baseline) {
        if !self.is_over() {
            let share = self.share.map_or(Share::Realised, Share::Nominal);
            let beat = Beat { canary: &self.arm.sums, stable, share };
            self.trial.observe(now, &beat, baseline);
        }
        self.arm.sums.clear();
    }

    /// Asks the trial what is to be done, and notes it as done.
    pub(super) fn decide(
        &mut self,
        now: Timestamp,
        stable: &Reading,
        baseline: &Baseline,
    ) {
        if self.is_over() {
            return;
        }
        let canary = &self.arm.reading(now);
        let health = Health::Unchecked;
        let seen =
            Observation { canary, stable, canary_health: health, stable_health: health };
        match self.trial.decide(now, &seen, baseline) {
            Some(Call::Protect(finding)) => {
                self.protects.push(now);
                self.finding = Some(finding);
            }
            Some(Call::Rollback(finding)) => {
                self.rollback = Some(now);
                self.finding = Some(finding);
            }
            Some(Call::Resume) => self.finding = None,
            Some(Call::Hold(_) | Call::Trickle | Call::Probe | Call::ProbeOver(_))
            | None => {}
        }
        if self.promote.is_none() && self.trial.is_promotable(now) {
            self.promote = Some(now);
        }
    }

    /// The protect that the verdict grew from: the last before a rollback, else the first.
    pub(super) fn protect(&self) -> Option<Timestamp> {
        match self.rollback {
            Some(_) if self.finding_was_confirmed() => self.protects.last().copied(),
            Some(_) => None,
            None => self.protects.first().copied(),
        }
    }

    /// Whether the rollback came out of a protect and not out of the blue.
    fn finding_was_confirmed(&self) -> bool {
        let before = self.trial.transitions().iter().rev().nth(1);
        before.is_some_and(|step| {
            matches!(step.to, Phase::Protected | Phase::Trickling | Phase::Held)
        })
    }
}
