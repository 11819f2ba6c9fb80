//! Switchback as it runs in production: the same baseline, the same trials, the same beat.
//!
//! Nothing of the decision is made here; this only keeps the book of what users met.

use std::sync::Arc;
use std::time::Duration;

use switchback::judge::trial::{Baseline, Beat, Call, Phase, Share, Trial};
use switchback::judge::{
    Confirm, Health, Metric, Observation, OnBreach, Reading, Rule, Rules, Sums, Test,
    Window,
};
use switchback::vocab::amount::Percent;
use switchback::vocab::outcome::Class;
use switchback::vocab::time::Timestamp;
use switchback::vocab::times::Times;

use crate::law::middle_us;
use crate::number::whole;
use crate::peer::Counts;
use crate::tally::Outcome;

/// The columns that are Switchback's.
pub(crate) const TWO_PHASE: &str = "Switchback";
/// With `confirm: off`.
pub(crate) const ONE_STAGE: &str = "Switchback, one stage";

/// How often the control thread looks.
pub(crate) const TICK_MS: u64 = 250;

/// The rules of a minimal configuration; without times only the error rule.
pub(crate) fn rules(timed: bool, confirm: Confirm) -> Rules {
    let metric = |rule| Metric {
        rule,
        on_breach: OnBreach::Rollback,
        dry_run: false,
        test: Test::Sequential,
    };
    let mut metrics = vec![metric(Rule::ErrorRate {
        max_ratio: Some(2.0),
        floor: Percent::from_ppm(10_000),
        max: Some(Percent::from_ppm(50_000)),
        min_samples: 50,
    })];
    if timed {
        metrics.push(metric(Rule::LatencyP99 {
            max_ratio: Some(1.5),
            floor: Duration::ZERO,
            max: None,
            min_samples: 200,
        }));
        metrics.push(metric(Rule::HealthCheck));
    }
    Rules {
        interval: Duration::from_millis(TICK_MS),
        window: WINDOW,
        false_alarm: 0.001,
        confirm,
        metrics,
    }
}

/// Both ways to run it beside each other, on the same requests.
#[derive(Debug)]
pub(crate) struct Ours {
    baseline: Baseline,
    machines: Vec<Machine>,
    windows: [Window; 2],
    readings: [Reading; 2],
    /// What the present second brought, canary's first.
    second: [Counts; 2],
    subject: Subject,
    times: Times,
}

/// One trial and what came of it.
#[derive(Debug)]
struct Machine {
    trial: Trial,
    outcome: Outcome,
    /// Whether users are on the canary.
    exposed: bool,
    is_over: bool,
    /// Whether a promotion ends it.
    ends_promoted: bool,
}

/// What a rollout is about, as far as the book needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    /// Milliseconds after the begin at which the canary goes wrong.
    pub(crate) onset_ms: u64,
    /// Whether a promotion ends a rollout.
    pub(crate) ends_promoted: bool,
    /// Whether latencies are drawn.
    pub(crate) timed: bool,
}

impl Ours {
    /// Two trials that begin now, with what was learned of stable so far.
    pub(crate) fn new(baseline: Baseline, subject: Subject, now: Timestamp) -> Self {
        let machine = |name, confirm| Machine {
            trial: Trial::new(Arc::new(rules(subject.timed, confirm)), now),
            outcome: Outcome::new(name),
            exposed: true,
            is_over: false,
            ends_promoted: subject.ends_promoted,
        };
        Self {
            baseline,
            machines: vec![
                machine(TWO_PHASE, Confirm::Auto),
                machine(ONE_STAGE, Confirm::Off),
            ],
            windows: [Window::new(WINDOW), Window::new(WINDOW)],
            readings: [Reading::default(), Reading::default()],
            second: [Counts::default(), Counts::default()],
            subject,
            times: Times::fine(),
        }
    }

    /// Whether each has come to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.machines.iter().all(|machine| machine.is_over)
    }

    /// When a request is slow, by what is known of stable.
    pub(crate) fn deadline_us(&self) -> Option<u64> {
        self.baseline.deadlines().whole
    }

    /// One tick: what became known, how many requests would have harmed a user, and the time
    /// since the begin.
    pub(crate) fn tick(
        &mut self,
        now: Timestamp,
        beat: &Beat<'_>,
        harmed: u64,
        at_ms: u64,
    ) {
        let Subject { onset_ms, timed, .. } = self.subject;
        self.baseline.observe(now, beat.stable);
        self.second[0].add(beat.canary, timed);
        self.second[1].add(beat.stable, timed);
        if at_ms.is_multiple_of(1_000) {
            self.see(now);
        }
        let [canary, stable] = &self.readings;
        let seen = Observation {
            canary,
            stable,
            canary_health: Health::Unchecked,
            stable_health: Health::Unchecked,
        };
        for machine in self.machines.iter_mut().filter(|machine| !machine.is_over) {
            if machine.exposed && at_ms > onset_ms {
                machine.outcome.harmed += harmed;
            }
            machine.trial.observe(now, beat, &self.baseline);
            let call = machine.trial.decide(now, &seen, &self.baseline);
            machine.outcome.watched_ms = at_ms;
            if at_ms > onset_ms && machine.trial.phase() == Phase::Protected {
                machine.outcome.protect_ms.get_or_insert(at_ms - onset_ms);
            }
            if let Some(call) = call {
                machine.obey(&call, at_ms, onset_ms);
            }
            if machine.exposed && machine.trial.is_promotable(now) {
                machine.outcome.promoted_ms.get_or_insert(at_ms);
                machine.is_over |= machine.ends_promoted;
            }
        }
    }

    /// The windows are fed and read once a second: their slices are five.
    fn see(&mut self, now: Timestamp) {
        for (place, second) in self.second.iter_mut().enumerate() {
            let mut outcomes = [0; Class::COUNT];
            outcomes[Class::ServerError.index()] = second.bad;
            outcomes[Class::Success.index()] = second.known - second.bad;
            self.times.clear();
            for (bin, count) in second.bins.iter().enumerate().filter(|(_, n)| **n > 0) {
                let count = u32::try_from(*count).unwrap_or(u32::MAX);
                self.times.record_n(whole(middle_us(bin)), count);
            }
            self.windows[place].add(now, &outcomes, &self.times);
            self.readings[place] = self.windows[place].reading(now);
            *second = Counts::default();
        }
    }

    /// What came of it.
    pub(crate) fn outcomes(self) -> impl Iterator<Item = Outcome> {
        self.machines.into_iter().map(|machine| machine.outcome)
    }
}

impl Machine {
    fn obey(&mut self, call: &Call, at_ms: u64, onset_ms: u64) {
        let after = at_ms.checked_sub(onset_ms).filter(|after| *after > 0);
        match call {
            Call::Protect(_) | Call::Trickle => {
                self.exposed = false;
                self.outcome.protects += u64::from(matches!(call, Call::Protect(_)));
            }
            Call::Rollback(_) => {
                (self.exposed, self.is_over) = (false, true);
                match after {
                    Some(after) => {
                        self.outcome.protect_ms.get_or_insert(after);
                        self.outcome.rollback_ms = Some(after);
                    }
                    None => self.outcome.is_early = true,
                }
            }
            Call::Resume => {
                self.exposed = true;
                self.outcome.resumes += 1;
            }
            Call::Hold(_) => {
                (self.exposed, self.is_over) = (false, true);
                self.outcome.is_held = true;
            }
            Call::Probe | Call::ProbeOver(_) => {}
        }
    }
}

/// Stable alone for so long, as before a canary.
pub(crate) fn learn(baseline: &mut Baseline, now: Timestamp, stable: &Sums) {
    baseline.observe(now, stable);
}

/// A share of the split as the router knows it.
pub(crate) fn nominal(share: f64) -> Share {
    Share::Nominal(share)
}

const WINDOW: Duration = Duration::from_secs(300);
