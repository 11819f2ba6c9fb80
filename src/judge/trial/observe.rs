//! How a trial takes in what happened: shares, cells, warm-up, and which stage it is for.
//! Apart from what it decides, because nothing here asks for anything.

use super::baseline::Baseline;
use super::call::{Beat, Phase, Share};
use super::cells::Stretch;
use super::full::{Full, Watched};
use super::machine::Trial;
use super::plan::Aim;
use super::promotion::Promotion;
use super::stage::{Brought, Stage};
use crate::judge::reading::float;
use crate::vocab::time::Timestamp;

impl Trial {
    /// Takes in what both did since the last beat. Several beats may belong to one `now`, one
    /// for each epoch; time that goes back counts as the present.
    pub fn observe(&mut self, now: Timestamp, beat: &Beat<'_>, baseline: &Baseline) {
        self.advance(now, baseline);
        let known: u64 = beat.canary.cells.iter().map(|cell| cell.known).sum();
        if self.first_request.is_none() && (known > 0 || beat.canary.opened > 0) {
            self.first_request = Some(now);
        }
        self.outcomes += known;
        self.endpoints = self.endpoints.max(beat.canary.cells.len());
        self.refused = self.refused.then(beat.canary.refused);
        self.stalled = self.stalled.then(beat.canary.stalled);
        let share = self.share_of(now, beat);
        let nominal = self.share_in_numbers();
        let endpoints = (self.endpoints, baseline.endpoints());
        let stretch = Stretch::of(nominal, endpoints);
        let caps = (baseline.errors().cap(), baseline.slow().cap());
        let brought = self.cells.count(now, (beat, share), stretch, caps);
        let warm = self.is_warm(now);
        let opened = (beat.canary.opened, beat.stable.opened);
        let confirms = matches!(self.phase, Phase::Protected | Phase::Trickling);
        let stage = match &mut self.confirming {
            Some(stage) if confirms => stage,
            Some(_) | None => &mut self.running,
        };
        stage.seen.opened.0 += opened.0;
        stage.seen.opened.1 += opened.1;
        stage.add(&brought, warm);
        if warm {
            for (is_canary, sums) in [(true, beat.canary), (false, beat.stable)] {
                stage.add_times(is_canary, sums, baseline);
            }
        }
        match self.phase {
            Phase::Running | Phase::Probing => {
                self.promotion.add(now, &brought, warm);
                self.promotion.add_pace(beat.canary, baseline, warm);
                self.observe_full(now, beat, &brought, baseline);
            }
            Phase::Protected | Phase::Trickling => {
                self.promotion.add(now, &brought, warm);
                self.promotion.add_pace(beat.canary, baseline, warm);
            }
            Phase::Held | Phase::RolledBack => {}
        }
    }

    fn share_of(&mut self, now: Timestamp, beat: &Beat<'_>) -> Share {
        if let Share::Nominal(share) = beat.share
            && !self.split_is_broken
        {
            let routed = (beat.canary.opened, beat.stable.opened);
            let unsound = self.split.add(routed.0, routed.1, share).is_err();
            self.split_is_broken = unsound || self.split.is_broken();
            if self.split_is_broken {
                self.begin_anew(now);
            }
        }
        let all = matches!(beat.share, Share::Nominal(share) if share >= WHOLE);
        self.share =
            if self.split_is_broken && !all { Share::Realised } else { beat.share };
        self.share
    }

    /// What was weighed with a wrong share is worth nothing: the stage's tests begin anew.
    fn begin_anew(&mut self, now: Timestamp) {
        self.promotion = Promotion::new(&self.plan, now);
        match (&mut self.confirming, self.phase) {
            (Some(stage), Phase::Protected | Phase::Trickling) => {
                *stage = Stage::confirming(&self.plan, now);
            }
            (_, _) => self.running = Stage::running(&self.plan, now),
        }
    }

    /// The canary's share, from the counts where nothing else is known.
    pub(super) fn share_in_numbers(&self) -> f64 {
        match self.share {
            Share::Nominal(share) => share,
            Share::Realised => {
                let seen = self.stage().seen.known;
                float(seen.0) / float((seen.0 + seen.1).max(1))
            }
        }
    }

    fn observe_full(
        &mut self,
        now: Timestamp,
        beat: &Beat<'_>,
        brought: &Brought,
        baseline: &Baseline,
    ) {
        let alone = matches!(beat.share, Share::Nominal(share) if share >= WHOLE);
        if alone && self.full.is_none() {
            let acts = |aim: Option<Aim>| aim.is_some_and(|aim| aim.acts);
            let watched = Watched {
                errors: acts(self.plan.errors),
                latency: acts(self.plan.latency),
            };
            self.full = Some(Full::new(now, watched));
        }
        let probing = self.full.as_ref().is_some_and(Full::is_probing);
        if !alone && !probing && brought.known != (0, 0) {
            self.full = None;
        }
        if let Some(full) = &mut self.full {
            full.observe(now, brought, (beat.canary, beat.stable), baseline);
        }
    }

    /// Whether latency counts already (SPEC 3.8).
    pub(super) fn is_warm(&self, now: Timestamp) -> bool {
        self.first_request.is_some_and(|first| {
            let elapsed = now.0.saturating_sub(first.0);
            elapsed >= WARM_MOST_MS
                || (elapsed >= WARM_MS && self.outcomes >= WARM_OUTCOMES)
        })
    }
}

/// A share that leaves nothing to compare with.
const WHOLE: f64 = 0.9995;
const WARM_MS: u64 = 10_000;
const WARM_MOST_MS: u64 = 60_000;
const WARM_OUTCOMES: u64 = 50;
