//! What must hold for every rollback: it ends, it is told once, and the same story is told
//! the same way.

use std::time::Duration;

use fastrand::Rng;
use switchback::rollout::{
    Check, Command, Event, Intent, OnTimeout, Procedure, Rollback, Step, step,
};
use switchback::vocab::amount::Percent;
use switchback::vocab::ids::Name;
use switchback::vocab::time::Timestamp;
use switchback::vocab::trigger::Trigger;

use crate::seeds;

fn intent(rng: &mut Rng) -> Intent {
    let span = |rng: &mut Rng| Duration::from_secs(rng.u64(0..60));
    Intent {
        id: "rb-1".to_owned(),
        route: Name::parse("iris").unwrap(),
        from: Name::parse("v2").unwrap(),
        to: Name::parse("v1").unwrap(),
        trigger: Trigger::ErrorRate,
        reason: "errors".to_owned(),
        automatic: rng.bool(),
        by: "switchback".to_owned(),
        protect: None,
        config_hash: "c0ffee".to_owned(),
        ask_first: rng.bool(),
        ramp_until: rng.bool().then(|| Timestamp(1_000_000).after(span(rng))),
        procedure: Procedure {
            drain_timeout: span(rng),
            on_timeout: if rng.bool() { OnTimeout::Cut } else { OnTimeout::Finish },
            cap: Duration::from_secs(600),
            check_timeout: span(rng),
            settle: span(rng),
            max_error_rate: Percent::from_ppm(rng.u32(0..1_000_000)),
        },
    }
}

fn event(rng: &mut Rng) -> Event {
    let why = "why".to_owned();
    match rng.u8(0..13) {
        0..=1 => Event::Swapped { took_us: 84 },
        2 => Event::SwapFailed { why },
        3 => Event::QuarantineFailed { why },
        4..=5 => Event::Drained { drained: rng.u64(0..9), left: rng.u64(0..3) },
        6 => Event::Cut { cut: rng.u64(0..9) },
        7..=8 => Event::Checked {
            check: if rng.bool() { Check::Before } else { Check::After },
            passed: rng.u8(0..4) > 0,
            detail: "1 of 1".to_owned(),
        },
        9 => {
            let requests = rng.u64(0..100);
            let failed = rng.u64(0..=requests);
            Event::Measured { requests, failed, p99_us: Some(5_000) }
        }
        10 => Event::RampOver { how: why },
        _ => Event::Woken,
    }
}

fn story(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let intent = intent(&mut rng);
    let mut now = Timestamp(1_000_000);
    let Step { next: mut it, commands } = Rollback::begin(intent, now);
    let told = |commands: &[Command]| {
        let ends = |command: &&Command| matches!(command, Command::Notify(_));
        commands.iter().filter(ends).count()
    };
    let mut notices = told(&commands);
    let mut tell = |it: &mut Rollback, event: &Event, now: Timestamp| {
        let was_over = it.is_over();
        let once = step(it, event, now);
        assert_eq!(once, step(it, event, now), "the same input gives the same output");
        assert!(!was_over || once.next.state() == it.state(), "an end is an end");
        notices += told(&once.commands);
        *it = once.next;
        let record = it.record(now);
        assert!(record.phases.iter().all(|phase| phase.duration_seconds >= 0.0));
        assert_eq!(record.total_duration_seconds.is_some(), it.is_over());
        assert_eq!(notices, usize::from(it.is_over()), "told once, at the end");
    };
    for _ in 0..rng.usize(0..24) {
        now = now.after(Duration::from_millis(rng.u64(0..30_000)));
        tell(&mut it, &event(&mut rng), now);
    }
    // Alarms alone bring it to its end.
    for _ in 0..16 {
        now = now.after(Duration::from_secs(3_600));
        tell(&mut it, &Event::Woken, now);
    }
    assert!(it.is_over(), "still {}", it.state().as_str());
}

#[test]
fn every_rollback_ends_and_is_told_once() {
    for seed in seeds() {
        if std::panic::catch_unwind(|| story(seed)).is_err() {
            panic!("SEED={seed} tells this story again");
        }
    }
}
