//! Trials over simulated traffic: what is bad is found in time, equals are left alone, and
//! the two phases go the way they should.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{Baseline, Beat, Call, Phase, Share, Trial};
use crate::judge::reading::{Health, Observation, Reading};
use crate::judge::rules::{Confirm, Metric, OnBreach, Rule, Rules, Test};
use crate::judge::sums::{Sums, bin_of};
use crate::judge::verdict::{Ground, Verdict};
use crate::vocab::amount::Percent;
use crate::vocab::time::Timestamp;

pub(super) fn rules(confirm: Confirm) -> Arc<Rules> {
    let metric = |rule| Metric {
        rule,
        on_breach: OnBreach::Rollback,
        dry_run: false,
        test: Test::Sequential,
    };
    let errors = Rule::ErrorRate {
        max_ratio: Some(2.0),
        floor: Percent::of(1.0).unwrap(),
        max: Some(Percent::of(5.0).unwrap()),
        min_samples: 50,
    };
    let latency = Rule::LatencyP99 {
        max_ratio: Some(1.5),
        floor: Duration::from_millis(5),
        max: None,
        min_samples: 200,
    };
    Arc::new(Rules {
        interval: Duration::from_millis(250),
        window: Duration::from_secs(300),
        false_alarm: 0.001,
        confirm,
        metrics: vec![metric(errors), metric(latency), metric(Rule::HealthCheck)],
    })
}

/// What one version does: requests a second, failures among them, and its median time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Does {
    pub(super) rate: f64,
    pub(super) fails: f64,
    pub(super) median_ms: f64,
    pub(super) refuses: bool,
}

pub(super) const STABLE: Does =
    Does { rate: 90.0, fails: 0.01, median_ms: 40.0, refuses: false };
pub(super) const CANARY: Does = Does { rate: 10.0, ..STABLE };

/// Traffic of one tick.
pub(super) fn traffic(
    draws: &mut fastrand::Rng,
    does: Does,
    deadline: Option<u64>,
) -> Sums {
    let mut sums = Sums::default();
    let expected = does.rate / 4.0;
    let mut count = expected.floor();
    count += f64::from(draws.f64() < expected - count);
    for _ in 0..whole(count) {
        let endpoint = draws.usize(..2);
        let spread = (0..6).map(|_| draws.f64() - 0.5).sum::<f64>();
        let micros = whole(does.median_ms * 1_000.0 * (spread * 0.6).exp());
        sums.opened += 1;
        let slow = deadline.is_some_and(|deadline| micros > deadline);
        let fails = does.refuses || draws.f64() < does.fails;
        if does.refuses {
            sums.refused.hit();
        } else if !fails {
            sums.refused.miss();
        }
        if slow {
            sums.stalled.hit();
        } else if !fails {
            sums.stalled.miss();
        }
        let cell = sums.cell(endpoint);
        cell.known += 1;
        cell.bad += u64::from(fails);
        cell.slow[0] += u64::from(slow && !does.refuses);
        cell.bins[bin_of(micros)] += u32::from(!fails);
    }
    sums
}

pub(super) fn whole(number: f64) -> u64 {
    format!("{number:.0}").parse().unwrap()
}

/// A trial and all that it needs.
pub(super) struct Court {
    pub(super) trial: Trial,
    pub(super) baseline: Baseline,
    pub(super) now: Timestamp,
    pub(super) draws: fastrand::Rng,
}

impl Court {
    pub(super) fn new(rules: Arc<Rules>, seed: u64) -> Self {
        let now = Timestamp(1_000_000);
        let baseline = Baseline::new(&rules);
        let trial = Trial::new(rules, now);
        Self { trial, baseline, now, draws: fastrand::Rng::with_seed(seed) }
    }

    pub(super) fn beat(
        &mut self,
        canary: &Sums,
        stable: &Sums,
        share: Share,
    ) -> Option<Call> {
        self.now = self.now.after(Duration::from_millis(250));
        self.baseline.observe(self.now, stable);
        let beat = Beat { canary, stable, share };
        self.trial.observe(self.now, &beat, &self.baseline);
        let reading = Reading::default();
        let seen = Observation {
            canary: &reading,
            stable: &reading,
            canary_health: Health::Unchecked,
            stable_health: Health::Unchecked,
        };
        self.trial.decide(self.now, &seen, &self.baseline)
    }

    /// Seconds until the trial calls for something, and what.
    pub(super) fn until_call(
        &mut self,
        canary: Does,
        stable: Does,
        most: f64,
    ) -> Option<(f64, Call)> {
        let share = Share::Nominal(canary.rate / (canary.rate + stable.rate));
        let begun = self.now;
        while self.now.since(begun).as_secs_f64() < most {
            let deadline = self.baseline.deadlines().whole;
            let ours = traffic(&mut self.draws, canary, deadline);
            let theirs = traffic(&mut self.draws, stable, deadline);
            if let Some(call) = self.beat(&ours, &theirs, share) {
                return Some((self.now.since(begun).as_secs_f64(), call));
            }
        }
        None
    }
}

#[test]
fn a_bad_canary_is_protected_in_seconds_and_rolled_back_in_a_minute() {
    let mut waits = Vec::new();
    for seed in 0..20 {
        let mut court = Court::new(rules(Confirm::Auto), seed);
        let bad = Does { fails: 0.08, ..CANARY };
        let (wait, call) = court.until_call(bad, STABLE, 300.0).unwrap();
        assert!(matches!(call, Call::Protect(_)), "{call:?}");
        assert_eq!(court.trial.phase(), Phase::Protected);
        waits.push(wait);
        let (wait, call) = court.until_call(bad, STABLE, 600.0).unwrap();
        assert!(matches!(call, Call::Rollback(_)), "seed {seed}: {call:?}");
        assert!(wait >= 20.0, "confirmed by {wait} s");
        assert_eq!(court.trial.phase(), Phase::RolledBack);
        assert!(court.until_call(bad, STABLE, 5.0).is_none(), "it is over");
    }
    waits.sort_by(f64::total_cmp);
    assert!(waits[10] < 13.0, "median protect after {} s", waits[10]);
}

#[test]
fn a_slow_canary_is_protected() {
    for seed in 0..5 {
        let mut court = Court::new(rules(Confirm::Auto), seed);
        assert!(court.until_call(CANARY, STABLE, 60.0).is_none(), "seed {seed}");
        let slow = Does { median_ms: 80.0, ..CANARY };
        let (wait, call) = court.until_call(slow, STABLE, 60.0).unwrap();
        let Call::Protect(finding) = call else { panic!("{call:?}") };
        assert_eq!(finding.rule, "latencyP99");
        assert!(wait <= 6.0, "seed {seed}: after {wait} s");
    }
}

#[test]
fn refused_connections_roll_back_at_once_while_stable_is_well() {
    let mut court = Court::new(rules(Confirm::Auto), 1);
    assert!(court.until_call(CANARY, STABLE, 5.0).is_none());
    let dead = Does { refuses: true, ..CANARY };
    let (wait, call) = court.until_call(dead, STABLE, 10.0).unwrap();
    let Call::Rollback(finding) = call else { panic!("{call:?}") };
    assert!(matches!(finding.ground, Ground::Refused { count: 3.. }), "{finding}");
    assert!(wait <= 0.75, "after {wait} s");

    let mut court = Court::new(rules(Confirm::Auto), 1);
    let down = Does { refuses: true, ..STABLE };
    assert!(court.until_call(dead, down, 60.0).is_none(), "both are down");
    for seed in 0..20 {
        let mut court = Court::new(rules(Confirm::Auto), seed);
        assert!(court.until_call(CANARY, STABLE, 5.0).is_none());
        let call = court.until_call(dead, down, 60.0);
        assert!(call.is_none(), "seed {seed}: both go down: {call:?}");
    }
}

#[test]
fn a_hang_is_protected_within_two_seconds() {
    let mut court = Court::new(rules(Confirm::Auto), 3);
    assert!(court.until_call(CANARY, STABLE, 30.0).is_none());
    let hangs = Does { median_ms: 30_000.0, ..CANARY };
    let (wait, call) = court.until_call(hangs, STABLE, 10.0).unwrap();
    assert!(matches!(call, Call::Protect(_)), "{call:?}");
    assert!(wait <= 2.0, "after {wait} s");
}

#[test]
fn noise_is_resumed() {
    let mut court = Court::new(rules(Confirm::Auto), 5);
    assert!(court.until_call(CANARY, STABLE, 30.0).is_none());
    let burst = Does { fails: 0.6, ..CANARY };
    let (_, call) = court.until_call(burst, STABLE, 30.0).unwrap();
    assert!(matches!(call, Call::Protect(_)), "{call:?}");
    let (wait, call) = court.until_call(CANARY, STABLE, 590.0).unwrap();
    assert_eq!(call, Call::Resume, "{:?}", court.trial.transitions());
    assert!(wait >= 30.0, "after {wait} s");
    assert_eq!(court.trial.phase(), Phase::Running);
    assert!(court.until_call(CANARY, STABLE, 60.0).is_none());
}

#[test]
fn silence_confirms_nothing_and_clears_nothing() {
    let mut court = Court::new(rules(Confirm::Mirror), 6);
    let bad = Does { fails: 0.5, ..CANARY };
    let protect = court.until_call(bad, STABLE, 60.0).unwrap().1;
    assert!(matches!(protect, Call::Protect(_)));
    let silent = Does { rate: 0.0, ..CANARY };
    let quiet = Does { rate: 0.0, ..STABLE };
    let begun = court.now;
    let (wait, call) = court.until_call(silent, quiet, 900.0).unwrap();
    assert!(matches!(call, Call::Hold(_)), "{call:?}");
    assert!((599.0..605.0).contains(&wait), "after {wait} s from {begun:?}");
    assert_eq!(court.trial.phase(), Phase::Held);

    let mut court = Court::new(rules(Confirm::Auto), 6);
    let _protect = court.until_call(bad, STABLE, 60.0).unwrap();
    let (_, call) = court.until_call(silent, STABLE, 60.0).unwrap();
    assert_eq!((call, court.trial.phase()), (Call::Trickle, Phase::Trickling));
}

#[test]
fn one_stage_rolls_back_at_the_first_verdict() {
    let mut court = Court::new(rules(Confirm::Off), 7);
    let bad = Does { fails: 0.1, ..CANARY };
    let (_, call) = court.until_call(bad, STABLE, 120.0).unwrap();
    assert!(matches!(call, Call::Rollback(_)), "{call:?}");
}

#[test]
fn equals_are_left_alone_for_hours_and_promoted_in_minutes() {
    for seed in 0..4 {
        let mut court = Court::new(rules(Confirm::Auto), 100 + seed);
        let mut promotable = None;
        for second in 0..7_200_u32 {
            let call = court.until_call(CANARY, STABLE, 1.0);
            if let Some((_, call)) = call {
                assert!(!matches!(call, Call::Rollback(_)), "{call:?}");
            }
            if court.trial.is_promotable(court.now) {
                promotable.get_or_insert(second);
            }
        }
        assert!(promotable.is_some_and(|at| at < 900), "{promotable:?}");
    }
}

#[test]
fn a_version_with_everything_is_held_against_the_past_and_then_against_stable() {
    let mut court = Court::new(rules(Confirm::Auto), 8);
    assert!(court.until_call(CANARY, STABLE, 120.0).is_none());
    let (all, none) = (Does { rate: 100.0, ..CANARY }, Does { rate: 0.0, ..STABLE });
    assert!(court.until_call(all, none, 120.0).is_none(), "it does as well");
    let bad = Does { fails: 0.2, ..all };
    let (wait, call) = court.until_call(bad, none, 30.0).unwrap();
    assert_eq!((call, court.trial.phase()), (Call::Probe, Phase::Probing));
    assert!(wait < 5.0, "after {wait} s");
    let (bad, back) = (Does { rate: 85.0, ..bad }, Does { rate: 15.0, ..STABLE });
    let (_, call) = court.until_call(bad, back, 40.0).unwrap();
    assert!(matches!(call, Call::Rollback(_) | Call::Protect(_)), "{call:?}");

    let mut court = Court::new(rules(Confirm::Auto), 9);
    assert!(court.until_call(CANARY, STABLE, 120.0).is_none());
    let outage = Does { fails: 0.2, ..all };
    let probe = court.until_call(outage, none, 30.0).unwrap().1;
    assert_eq!(probe, Call::Probe);
    let shared = Does { rate: 15.0, fails: 0.2, ..STABLE };
    let outage = Does { rate: 85.0, ..outage };
    let (_, call) = court.until_call(outage, shared, 60.0).unwrap();
    assert!(matches!(call, Call::ProbeOver(_)), "{call:?}");
}

#[test]
fn no_part_goes_back_for_what_no_rule_acts_on() {
    let mut dry = (*rules(Confirm::Auto)).clone();
    dry.metrics.iter_mut().for_each(|metric| metric.dry_run = true);
    let mut errors_only = (*rules(Confirm::Auto)).clone();
    errors_only.metrics.retain(|metric| !matches!(metric.rule, Rule::LatencyP99 { .. }));
    let all = Does { rate: 100.0, ..CANARY };
    let none = Does { rate: 0.0, ..STABLE };
    let (fails, slow) = (Does { fails: 0.2, ..all }, Does { median_ms: 400.0, ..all });
    for (rules, does, probes) in [
        (&dry, fails, false),
        (&dry, slow, false),
        (&errors_only, slow, false),
        (&errors_only, fails, true),
    ] {
        let mut court = Court::new(Arc::new(rules.clone()), 12);
        assert!(court.until_call(CANARY, STABLE, 120.0).is_none());
        let call = court.until_call(does, none, 30.0).map(|(_, call)| call);
        assert_eq!(call, probes.then_some(Call::Probe), "{does:?}");
    }
}

#[test]
fn a_wrong_split_is_noticed_and_the_counts_are_taken() {
    let mut court = Court::new(rules(Confirm::Auto), 10);
    let half = Does { rate: 50.0, ..CANARY };
    for _ in 0..400 {
        let ours = traffic(&mut court.draws, half, None);
        let theirs = traffic(&mut court.draws, Does { rate: 50.0, ..STABLE }, None);
        let call = court.beat(&ours, &theirs, Share::Nominal(0.1));
        assert!(call.is_none(), "{call:?}");
    }
    assert!(court.trial.is_split_broken());
}

#[test]
fn the_evidence_says_what_is_missing_and_why_nothing_was_done() {
    let mut court = Court::new(rules(Confirm::Auto), 11);
    let worse = Does { fails: 0.015, ..CANARY };
    let _call = court.until_call(worse, STABLE, 15.0);
    let reading = Reading::default();
    let seen = Observation {
        canary: &reading,
        stable: &reading,
        canary_health: Health::Unchecked,
        stable_health: Health::Unchecked,
    };
    let evidence = court.trial.evidence(court.now, &seen, &court.baseline);
    let tests: Vec<_> = evidence.iter().map(|one| one.test).collect();
    assert_eq!(
        tests,
        ["split", "bank", "deadline", "max", "promotion", "promotion", "all"]
    );
    let split = &evidence[0];
    assert!(split.canary_samples > 100 && split.seen.is_some(), "{split:?}");
    assert!((0.0..=1.0).contains(&split.reached));
    assert!(evidence.iter().all(|one| !one.why.is_empty()));

    let court = Court::new(rules(Confirm::Auto), 12);
    let evidence = court.trial.evidence(court.now, &seen, &court.baseline);
    assert!(evidence[0].why.starts_with("no traffic"), "{evidence:?}");
}

#[test]
fn no_traffic_is_said_as_such() {
    let mut court = Court::new(rules(Confirm::Auto), 13);
    let none = Does { rate: 0.0, ..CANARY };
    assert!(court.until_call(none, STABLE, 3_700.0).is_none());
    let Verdict::Inconclusive(findings) = court.trial.verdict() else {
        panic!("{}", court.trial.verdict())
    };
    assert!(findings.iter().all(|one| one.ground == Ground::NoTraffic), "{findings:?}");
}

proptest! {
    /// A canary's failure that turns into a good answer never raises the evidence of the
    /// failures.
    #[test]
    fn good_news_never_raises_the_evidence(
        seed: u64, at in 0_usize..40, ticks in 40_usize..80,
    ) {
        let evidence = |mend: bool| {
            let mut court = Court::new(rules(Confirm::Off), seed);
            let bad = Does { fails: 0.02, ..CANARY };
            for tick in 0..ticks {
                let mut ours = traffic(&mut court.draws, bad, None);
                let theirs = traffic(&mut court.draws, STABLE, None);
                if mend && tick >= at {
                    for cell in &mut ours.cells {
                        cell.bad = cell.bad.saturating_sub(1);
                    }
                }
                let _call = court.beat(&ours, &theirs, Share::Nominal(0.1));
            }
            let parts = court.trial.stage().parts();
            parts.map(|part| part.log_odds).next().unwrap()
        };
        prop_assert!(evidence(true) <= evidence(false) + 1e-12);
    }

    /// The same sums in another order, or in smaller beats of the same time, give the same
    /// evidence.
    #[test]
    fn batches_merge_in_any_order(seed: u64, ticks in 20_usize..60) {
        let evidence = |apart: bool| {
            let mut court = Court::new(rules(Confirm::Off), seed);
            for _ in 0..ticks {
                let parts: Vec<(Sums, Sums)> = (0..3)
                    .map(|_| {
                        let ours = Does { rate: 12.0, fails: 0.01, ..CANARY };
                        let ours = traffic(&mut court.draws, ours, None);
                        (ours, traffic(&mut court.draws, STABLE, None))
                    })
                    .collect();
                let (mut ours, mut theirs) = (Sums::default(), Sums::default());
                for (canary, stable) in parts.iter().rev() {
                    ours.add(canary);
                    theirs.add(stable);
                }
                if !apart {
                    let _call = court.beat(&ours, &theirs, Share::Nominal(0.1));
                    continue;
                }
                court.now = court.now.after(Duration::from_millis(250));
                court.baseline.observe(court.now, &theirs);
                for (canary, stable) in &parts {
                    let beat = Beat { canary, stable, share: Share::Nominal(0.1) };
                    court.trial.observe(court.now, &beat, &court.baseline);
                }
            }
            let parts = court.trial.stage().parts();
            parts.map(|part| part.log_odds).collect::<Vec<_>>()
        };
        let (together, apart) = (evidence(false), evidence(true));
        for (one, two) in together.iter().zip(&apart).take(1) {
            prop_assert!((one - two).abs() < 1e-9, "{one} {two}");
        }
    }
}
