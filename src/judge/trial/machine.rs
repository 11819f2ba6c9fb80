//! `Trial`: the two-phase machine around the evidence: protect, confirm, resume or hold.
//!
//! Beats bring sums, [`Trial::decide`] gives at most one call. Whatever is called for is
//! taken for done; sums that belong to the time before must not be brought any more.

use std::sync::Arc;

use super::baseline::Baseline;
use super::call::{Call, Phase, Share, Transition};
use super::cells::Winsor;
use super::full::{self, Full};
use super::plan::Plan;
use super::promotion::Promotion;
use super::stage::{Gauge, Stage};
use crate::judge::compare::{in_window, verdict_of};
use crate::judge::reading::Observation;
use crate::judge::rules::{Confirm, Rules, Test};
use crate::judge::stats::sample_ratio::SampleRatio;
use crate::judge::sums::{REFUSED, STALLED, Streak, Timing};
use crate::judge::verdict::{Finding, Ground, Verdict};
use crate::vocab::time::Timestamp;
use crate::vocab::trigger::Trigger;

/// One canary on trial.
#[derive(Clone, Debug)]
pub struct Trial {
    pub(super) rules: Arc<Rules>,
    /// The window rules that stand behind the sequential tests, with more samples.
    pub(super) backstop: Arc<Rules>,
    pub(super) plan: Plan,
    pub(super) phase: Phase,
    pub(super) phase_since: Timestamp,
    pub(super) running: Stage,
    pub(super) confirming: Option<Stage>,
    pub(super) full: Option<Full>,
    pub(super) promotion: Promotion,
    pub(super) share: Share,
    pub(super) split: SampleRatio,
    pub(super) split_is_broken: bool,
    /// What times the deadline is about.
    pub(super) slow_is_of: Timing,
    pub(super) cells: Winsor,
    pub(super) endpoints: usize,
    pub(super) first_request: Option<Timestamp>,
    pub(super) outcomes: u64,
    pub(super) refused: Streak,
    pub(super) stalled: Streak,
    pub(super) protects: u32,
    pub(super) cause: Option<(Gauge, Finding)>,
    pub(super) verdict: Verdict,
    pub(super) transitions: Vec<Transition>,
}

impl Trial {
    /// A trial that begins now, with users on the canary and no evidence.
    #[must_use]
    pub fn new(rules: Arc<Rules>, now: Timestamp) -> Self {
        let plan = Plan::of(&rules);
        let backstop = Arc::new(behind(&rules));
        Self {
            running: Stage::running(&plan, now),
            promotion: Promotion::new(&plan, now),
            rules,
            backstop,
            plan,
            phase: Phase::Running,
            phase_since: now,
            confirming: None,
            full: None,
            share: Share::Realised,
            split: SampleRatio::default(),
            split_is_broken: false,
            slow_is_of: Timing::Whole,
            cells: Winsor::default(),
            endpoints: 0,
            first_request: None,
            outcomes: 0,
            refused: Streak::default(),
            stalled: Streak::default(),
            protects: 0,
            cause: None,
            verdict: Verdict::Inconclusive(Vec::new()),
            transitions: Vec::new(),
        }
    }

    /// A trial that begins under protect, as after a restart: the confirmation starts anew.
    /// `finding` is what the users were taken off for.
    #[must_use]
    pub fn protected(rules: Arc<Rules>, finding: Finding, now: Timestamp) -> Self {
        let mut trial = Self::new(rules, now);
        trial.protects = 1;
        let gauge = match finding.trigger {
            Trigger::LatencyP99 => Gauge::Slow,
            Trigger::ErrorRate | Trigger::HealthCheck | Trigger::Manual => Gauge::Errors,
        };
        trial.begin_confirming(gauge, finding, now);
        trial
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Since when it stands there.
    #[must_use]
    pub fn phase_since(&self) -> Timestamp {
        self.phase_since
    }

    /// The last verdict.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// What the users were taken off for, or the version rolled back for.
    #[must_use]
    pub fn cause(&self) -> Option<&Finding> {
        self.cause.as_ref().map(|(_, finding)| finding)
    }

    /// Its steps so far; the first sixty-four.
    #[must_use]
    pub fn transitions(&self) -> &[Transition] {
        &self.transitions
    }

    /// Whether the share of requests is not what the weights say, so that the counts' own is
    /// taken.
    #[must_use]
    pub fn is_split_broken(&self) -> bool {
        self.split_is_broken
    }

    /// Whether the canary has shown that it is no worse than stable by more than the margin,
    /// at a share that has stood for half a minute, without notable evidence against it.
    #[must_use]
    pub fn is_promotable(&self, now: Timestamp) -> bool {
        self.phase == Phase::Running
            && self.running.log_odds() < self.plan.first_bound / 2.0
            && self.promotion.is_due(now)
    }

    pub(super) fn advance(&mut self, now: Timestamp, baseline: &Baseline) {
        match (&mut self.confirming, self.phase) {
            (Some(stage), Phase::Protected | Phase::Trickling) => {
                stage.advance(now, baseline);
            }
            (_, Phase::Running | Phase::Probing) => self.running.advance(now, baseline),
            (_, _) => {}
        }
    }

    /// Brings the evidence up to `now` without deciding anything, for whoever wants to see
    /// what a decision rested on.
    pub fn look(&mut self, now: Timestamp, baseline: &Baseline) {
        self.slow_is_of = baseline.timing_of_slow();
        self.advance(now, baseline);
        self.running.look();
        if let Some(stage) = &mut self.confirming {
            stage.look();
        }
    }

    /// The stage that gathers evidence now.
    pub(super) fn stage(&self) -> &Stage {
        match (&self.confirming, self.phase) {
            (Some(stage), Phase::Protected | Phase::Trickling) => stage,
            (_, _) => &self.running,
        }
    }

    /// What is to be done at `now`, if anything. Comes after the beats of the same time.
    pub fn decide(
        &mut self,
        now: Timestamp,
        seen: &Observation<'_>,
        baseline: &Baseline,
    ) -> Option<Call> {
        if self.phase == Phase::RolledBack {
            return None;
        }
        self.look(now, baseline);
        let (refused, stalled) = (self.refused.longest, self.stalled.longest);
        self.refused = self.refused.going_on();
        self.stalled = self.stalled.going_on();
        let findings = self.findings(now, seen, baseline);
        let final_one = findings.iter().find(|finding| finding.acts()).cloned();
        self.verdict = verdict_of(findings);
        if let Some(finding) = final_one {
            return Some(self.roll_back(finding, now));
        }
        if let Some(call) = self.at_once((refused, stalled), now, seen, baseline) {
            return Some(call);
        }
        let call = match self.phase {
            Phase::Running | Phase::Probing => self.while_running(now, seen, baseline),
            Phase::Protected | Phase::Trickling => self.while_confirming(now, seen),
            Phase::Held | Phase::RolledBack => None,
        };
        if let Some((_, finding)) = &self.cause
            && !matches!(self.phase, Phase::Running | Phase::Probing)
        {
            self.verdict = Verdict::Breach(vec![finding.clone()]);
        }
        call
    }

    /// What the windows and the evidence say about each rule. A broken one that acts here is
    /// final.
    fn findings(
        &self,
        now: Timestamp,
        seen: &Observation<'_>,
        baseline: &Baseline,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        let open = self.stage().log_odds() >= GATE.ln();
        for (metric, behind) in self.rules.metrics.iter().zip(&self.backstop.metrics) {
            let sequential = match metric.test {
                Test::Sequential | Test::Both => {
                    self.weighed(metric, now, seen, baseline)
                }
                Test::Window => None,
            };
            let is_health = metric.rule == crate::judge::rules::Rule::HealthCheck;
            let in_window = match metric.test {
                Test::Window | Test::Both => in_window(&self.rules, metric, seen),
                Test::Sequential if is_health => in_window(&self.rules, metric, seen),
                Test::Sequential if open && self.plan.is_one_stage() => {
                    let mut all = in_window(&self.backstop, behind, seen);
                    all.retain(|finding| finding.ground.is_breach());
                    all
                }
                Test::Sequential => Vec::new(),
            };
            findings.extend(in_window);
            findings.extend(sequential);
        }
        findings
    }

    /// The instant class (SPEC 3.7): what needs no statistics.
    fn at_once(
        &mut self,
        (refused, stalled): (u32, u32),
        now: Timestamp,
        seen: &Observation<'_>,
        baseline: &Baseline,
    ) -> Option<Call> {
        if !baseline.is_alive(now) || self.phase == Phase::Held {
            return None;
        }
        let errors = self.plan.errors.filter(|aim| aim.acts);
        if let Some(aim) = errors.filter(|_| refused >= REFUSED) {
            let ground = Ground::Refused { count: refused };
            let finding = self.instant(&self.rules.metrics[aim.metric], ground, seen);
            return Some(self.roll_back(finding, now));
        }
        let latency = self.plan.latency.filter(|aim| aim.acts && aim.ratio.is_some());
        let aim = latency.filter(|_| stalled >= STALLED)?;
        if !matches!(self.phase, Phase::Running | Phase::Probing) {
            return None;
        }
        let ground = Ground::Stalled { count: stalled };
        let mut finding = self.instant(&self.rules.metrics[aim.metric], ground, seen);
        finding.timing = self.slow_is_of;
        finding.limit =
            baseline.deadlines().of_any()[0].map(crate::judge::verdict::Amount::Micros);
        Some(self.protect(Gauge::Slow, finding, now))
    }

    fn while_running(
        &mut self,
        now: Timestamp,
        seen: &Observation<'_>,
        baseline: &Baseline,
    ) -> Option<Call> {
        if let Some(call) = self.while_full(now, seen) {
            return Some(call);
        }
        let odds = self.running.log_odds();
        if odds >= self.plan.first_bound {
            let gauge = self.running.leading()?;
            let finding = self.charge(gauge, (odds, self.plan.first_bound), now, seen)?;
            return Some(self.protect(gauge, finding, now));
        }
        let (gauge, finding) = self.over_limit(now, seen, baseline)?;
        if baseline.has_traffic(now) {
            return Some(self.protect(gauge, finding, now));
        }
        Some(self.roll_back(finding, now))
    }

    fn while_full(&mut self, now: Timestamp, seen: &Observation<'_>) -> Option<Call> {
        match self.full.as_mut()?.decide(now) {
            full::Step::Go => None,
            full::Step::Probe => {
                self.enter(Phase::Probing, now, "it takes everything and seems to fail");
                Some(Call::Probe)
            }
            full::Step::Shared => {
                let why = "stable did no better with a part of the traffic: the cause is \
                           shared";
                self.enter(Phase::Running, now, why);
                Some(Call::ProbeOver(why.to_owned()))
            }
            full::Step::Bad { gauge, log_odds, log_bound } => {
                let finding = self.charge(gauge, (log_odds, log_bound), now, seen);
                let finding = finding.filter(Finding::acts)?;
                Some(self.roll_back(finding, now))
            }
        }
    }

    fn while_confirming(
        &mut self,
        now: Timestamp,
        seen: &Observation<'_>,
    ) -> Option<Call> {
        let stage = self.confirming.as_ref()?;
        let odds = stage.log_odds();
        if odds >= self.plan.confirm_bound {
            let gauge = stage.leading()?;
            let finding =
                self.charge(gauge, (odds, self.plan.confirm_bound), now, seen)?;
            return Some(self.roll_back(finding, now));
        }
        let waited = now.0.saturating_sub(stage.since.0);
        let cause = self.cause.as_ref().map(|(gauge, _)| *gauge);
        let best =
            stage.parts().filter(|part| Some(part.gauge) == cause).map(|it| it.best);
        let calm = best.fold(f64::NEG_INFINITY, f64::max) <= RESUME_LEVEL.ln();
        let enough = stage.seen.known.0 >= RESUME_OUTCOMES;
        // Where hardly anything fails, silence of the split test is all there is; but so many
        // good copies are evidence of their own.
        let shown = cause.is_some_and(|gauge| self.promotion.shows(gauge));
        let soon = waited >= RESUME_MS && (calm || shown) && cause.is_some();
        let late = waited >= RESUME_LATE_MS && odds <= 0.0;
        if enough && (soon || late) {
            self.resume(now);
            return Some(Call::Resume);
        }
        if waited >= HOLD_MS {
            let why = if enough {
                "ten minutes of copies neither confirmed nor cleared it"
            } else {
                "ten minutes brought too few requests to confirm or clear it"
            };
            self.enter(Phase::Held, now, why);
            return Some(Call::Hold(why.to_owned()));
        }
        let copies = self.phase == Phase::Protected && stage.seen.opened.0 == 0;
        if copies && self.plan.confirm == Confirm::Auto && waited >= NO_COPIES_MS {
            self.enter(Phase::Trickling, now, "no request could be copied");
            self.confirming = Some(Stage::confirming(&self.plan, now));
            return Some(Call::Trickle);
        }
        None
    }

    fn protect(&mut self, gauge: Gauge, finding: Finding, now: Timestamp) -> Call {
        if self.plan.is_one_stage() {
            return self.roll_back(finding, now);
        }
        self.protects += 1;
        if self.protects >= MOST_PROTECTS {
            let ground = Ground::Flapping { protects: self.protects };
            return self.roll_back(Finding { ground, ..finding }, now);
        }
        self.begin_confirming(gauge, finding.clone(), now);
        Call::Protect(finding)
    }

    fn begin_confirming(&mut self, gauge: Gauge, finding: Finding, now: Timestamp) {
        let by_trickle = self.plan.confirm == Confirm::Trickle;
        let phase = if by_trickle { Phase::Trickling } else { Phase::Protected };
        self.enter(phase, now, &finding.to_string());
        self.cause = Some((gauge, finding));
        self.confirming = Some(Stage::confirming(&self.plan, now));
        self.promotion = Promotion::new(&self.plan, now);
        (self.refused, self.stalled) = (Streak::default(), Streak::default());
        self.full = None;
    }

    /// Somebody, or the machine itself, gives the users back: fresh tests.
    pub fn resume(&mut self, now: Timestamp) {
        self.enter(Phase::Running, now, "its users are back on it");
        self.confirming = None;
        self.cause = None;
        self.running = Stage::running(&self.plan, now);
        self.promotion = Promotion::new(&self.plan, now);
        (self.refused, self.stalled) = (Streak::default(), Streak::default());
    }

    fn roll_back(&mut self, finding: Finding, now: Timestamp) -> Call {
        self.enter(Phase::RolledBack, now, &finding.to_string());
        self.verdict = Verdict::Breach(vec![finding.clone()]);
        self.cause = Some((Gauge::Errors, finding.clone()));
        Call::Rollback(finding)
    }

    fn enter(&mut self, to: Phase, now: Timestamp, why: &str) {
        (self.phase, self.phase_since) = (to, now);
        if self.transitions.len() < MOST_TRANSITIONS {
            self.transitions.push(Transition { at: now, to, why: why.to_owned() });
        }
    }
}

/// The window rules behind the sequential tests: they need samples of their own.
fn behind(rules: &Rules) -> Rules {
    use crate::judge::rules::Rule;
    let mut behind = rules.clone();
    for metric in &mut behind.metrics {
        match &mut metric.rule {
            Rule::ErrorRate { min_samples, .. }
            | Rule::LatencyP99 { min_samples, .. } => {
                *min_samples = (*min_samples).max(BACKSTOP_SAMPLES);
            }
            Rule::HealthCheck => {}
        }
    }
    behind
}

/// Odds below which a window rule behind a sequential test, or an absolute limit, does not
/// act while stable has traffic (SPEC 5).
pub(super) const GATE: f64 = 100.0;
const RESUME_MS: u64 = 30_000;
const RESUME_LATE_MS: u64 = 300_000;
const RESUME_LEVEL: f64 = 0.1;
/// Silence clears nobody: fewer outcomes than this give no user back.
const RESUME_OUTCOMES: u64 = 20;
const HOLD_MS: u64 = 600_000;
const NO_COPIES_MS: u64 = 30_000;
const MOST_PROTECTS: u32 = 4;
const BACKSTOP_SAMPLES: u64 = 200;
const MOST_TRANSITIONS: usize = 64;
