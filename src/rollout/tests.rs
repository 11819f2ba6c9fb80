//! The walks of a rollback as tables, and what holds under any sequence of events.

use std::time::Duration;

use proptest::prelude::{
    Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::command::{Check, Command, Event, OnTimeout, Step};
use super::procedure::step;
use super::rollback::{Intent, Procedure, Rollback, State};
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;
use crate::vocab::record::{Phase, ProtectRef, RollbackRecord, Status};
use crate::vocab::time::Timestamp;
use crate::vocab::trigger::Trigger;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn intent(on_timeout: OnTimeout) -> Intent {
    Intent {
        id: "rb-01".to_owned(),
        route: name("iris"),
        from: name("v2.5"),
        to: name("v2.4"),
        trigger: Trigger::ErrorRate,
        reason: "errorRate: too high".to_owned(),
        automatic: true,
        by: "switchback".to_owned(),
        protect: None,
        config_hash: "c0ffee".to_owned(),
        ask_first: false,
        ramp_until: None,
        procedure: Procedure {
            drain_timeout: Duration::from_secs(30),
            on_timeout,
            cap: Duration::from_secs(600),
            check_timeout: Duration::from_secs(2),
            settle: Duration::from_secs(10),
            max_error_rate: Percent::of(5.0).unwrap(),
        },
    }
}

fn words(commands: &[Command]) -> Vec<String> {
    let word = |command: &Command| match command {
        Command::Check { version, check, .. } => format!("check {version} {check:?}"),
        Command::Replace { version, to, .. } => format!("replace {version} by {to}"),
        Command::Quarantine { version, .. } => format!("quarantine {version}"),
        Command::Drain { version, until, .. } => {
            format!("drain {version} until {}", until.0)
        }
        Command::CutAfter { version, at, .. } => format!("cut {version} at {}", at.0),
        Command::Observe => "observe".to_owned(),
        Command::Measure => "measure".to_owned(),
        Command::Wake { at } => format!("wake at {}", at.0),
        Command::Emergency { version, .. } => format!("emergency, {version} out"),
        Command::Notify(record) => format!("notify {:?}", record.status),
    };
    commands.iter().map(word).collect()
}

fn told(step: &Step) -> RollbackRecord {
    let record = step.commands.iter().find_map(|command| {
        if let Command::Notify(record) = command {
            return Some(record.as_ref().clone());
        }
        None
    });
    record.expect("a notice")
}

#[test]
fn it_settles_under_all_of_the_load_and_so_after_the_ramp() {
    let second = |at: u64| Timestamp(1_000).after(Duration::from_secs(at));
    let ramped = Intent { ramp_until: Some(second(60)), ..intent(OnTimeout::Finish) };
    let begun = Rollback::begin(ramped, second(0)).next;
    let told = |it: &Rollback, event: Event, at: u64| step(it, &event, second(at));
    let it = told(&begun, SWAPPED, 0).next;
    let it = told(&it, checked(Check::Before, true), 1).next;
    let it = told(&it, drained(3, 0), 2).next;
    let it = told(&it, Event::Woken, 30);
    assert!(matches!(it.next.state(), State::Settling { .. }), "{:?}", it.next.state());
    let over = told(&it.next, Event::RampOver { how: "in 4 steps".to_owned() }, 40);
    assert_eq!(words(&over.commands), [format!("wake at {}", second(45).0)]);
    let counts = told(&over.next, Event::Woken, 45);
    assert_eq!(words(&counts.commands)[0], "observe");
    let looks = told(&counts.next, Event::Woken, 50);
    assert_eq!(words(&looks.commands)[0], "check v2.4 After");
    assert_eq!(looks.next.record(second(50)).notes, ["in 4 steps"]);
    // Who forgets to say so is outwaited.
    let late = told(&it.next, Event::Woken, 66);
    let late = told(&late.next, Event::Woken, 71);
    let late = told(&late.next, Event::Woken, 76);
    assert_eq!(words(&late.commands)[0], "check v2.4 After");
    // One that comes early is noted, and nothing waits for it later.
    let early = told(&begun, Event::RampOver { how: "at once".to_owned() }, 0).next;
    assert_eq!(early.record(second(0)).notes, ["at once"]);
}

const SWAPPED: Event = Event::Swapped { took_us: 84 };

fn drained(drained: u64, left: u64) -> Event {
    Event::Drained { drained, left }
}

fn checked(check: Check, passed: bool) -> Event {
    Event::Checked { check, passed, detail: "as seen".to_owned() }
}

fn measured(requests: u64, failed: u64) -> Event {
    Event::Measured { requests, failed, p99_us: Some(145_000) }
}

/// Walks through events at times; gives the last step.
fn walk(begun: Step, events: &[(Event, u64)]) -> Step {
    events.iter().fold(begun, |last, (event, at)| step(&last.next, event, Timestamp(*at)))
}

/// A rollback that has settled: begun at 1 s, drained at 1.5 s.
fn settled(intent: Intent) -> Step {
    let events = [
        (SWAPPED, 1_002),
        (checked(Check::Before, true), 1_010),
        (drained(7, 0), 1_500),
        (Event::Woken, 6_500),
        (Event::Woken, 11_500),
    ];
    walk(Rollback::begin(intent, Timestamp(1_000)), &events)
}

#[test]
fn users_are_moved_first_and_everything_else_follows() {
    let begun = Rollback::begin(intent(OnTimeout::Finish), Timestamp(1_000));
    let first = ["replace v2.5 by v2.4", "quarantine v2.5", "check v2.4 Before"];
    assert_eq!(words(&begun.commands)[..3], first);
    assert_eq!(words(&begun.commands)[3..], ["wake at 8000"]);
    let mut last = begun;
    for (event, at, expect) in [
        (SWAPPED, 1_002, vec!["observe", "drain v2.5 until 31002"]),
        (checked(Check::Before, true), 1_010, vec!["wake at 36002"]),
        (drained(7, 0), 1_500, vec!["wake at 6500"]),
        (Event::Woken, 6_500, vec!["observe", "wake at 11500"]),
        (Event::Woken, 11_499, vec!["wake at 11500"]),
        (Event::Woken, 11_500, vec!["check v2.4 After", "wake at 18500"]),
        (checked(Check::After, true), 11_520, vec!["measure", "wake at 16520"]),
        (measured(200, 4), 11_521, vec!["notify Completed"]),
    ] {
        last = step(&last.next, &event, Timestamp(at));
        assert_eq!(words(&last.commands), expect, "{event:?}");
    }
    let record = told(&last);
    assert_eq!(record.status, Status::Completed);
    assert_eq!(record.total_duration_seconds, Some(10.521));
    let phases: Vec<_> = record
        .phases
        .iter()
        .map(|p| (p.phase, p.status, p.duration_seconds, p.drained_requests))
        .collect();
    assert_eq!(
        phases,
        [
            (Phase::PreRollbackHealthCheck, Status::Completed, 0.01, None),
            (Phase::RouteTraffic, Status::Completed, 0.002, None),
            (Phase::DrainTraffic, Status::Completed, 0.498, Some(7)),
            (Phase::Stabilise, Status::Completed, 10.0, None),
            (Phase::PostRollbackHealthCheck, Status::Completed, 0.02, None),
            (Phase::VerifyMetrics, Status::Completed, 0.001, None),
        ]
    );
    let metrics = record.post_rollback_metrics.unwrap();
    assert_eq!((metrics.accuracy, metrics.error_rate), (None, Some(0.02)));
    assert_eq!((metrics.latency_p99, metrics.requests), (Some(145.0), 200));
    let swap = record.phases[1].detail.as_deref();
    assert_eq!(swap, Some("the table with v2.4 was in force after 84 us"));
    assert!(record.notes.is_empty());
    assert_eq!(record, last.next.record(Timestamp(999_999)));
}

#[test]
fn phases_that_have_not_begun_are_pending() {
    let begun = Rollback::begin(intent(OnTimeout::Finish), Timestamp(0)).next;
    let phases = begun.record(Timestamp(1)).phases;
    let statuses: Vec<_> = phases.iter().map(|phase| phase.status).collect();
    use Status::{InProgress, Pending};
    assert_eq!(statuses, [InProgress, InProgress, Pending, Pending, Pending, Pending]);
}

#[test]
fn a_version_known_to_be_dead_is_asked_before_anybody_is_sent_to_it() {
    let asked = Intent { ask_first: true, ..intent(OnTimeout::Finish) };
    let begun = Rollback::begin(asked, Timestamp(0));
    assert_eq!(words(&begun.commands), ["check v2.4 Before", "wake at 7000"]);
    let alive = step(&begun.next, &checked(Check::Before, true), Timestamp(50));
    let swap = ["replace v2.5 by v2.4", "quarantine v2.5", "wake at 10050"];
    assert_eq!(words(&alive.commands), swap);
    let end = ["emergency, v2.5 out", "quarantine v2.5", "notify Failed"];
    for (event, at) in [(checked(Check::Before, false), 50), (Event::Woken, 7_000)] {
        let dead = step(&begun.next, &event, Timestamp(at));
        assert_eq!(words(&dead.commands), end);
        let record = told(&dead);
        assert_eq!(record.phases[0].status, Status::Failed);
        assert_eq!(record.phases[1].status, Status::Pending);
        assert!(record.notes[0].starts_with("the health check of v2.4 failed"));
    }
}

#[test]
fn a_failed_check_after_the_swap_is_an_emergency() {
    let begun = || Rollback::begin(intent(OnTimeout::Finish), Timestamp(1_000));
    let swapped = || walk(begun(), &[(SWAPPED, 1_002)]);
    let before = step(&swapped().next, &checked(Check::Before, false), Timestamp(1_500));
    let after = settled(intent(OnTimeout::Finish));
    let after = step(&after.next, &checked(Check::After, false), Timestamp(11_600));
    for failed in [before, after] {
        assert_eq!(words(&failed.commands), ["emergency, v2.5 out", "notify Failed"]);
        assert_eq!(told(&failed).status, Status::Failed);
    }
}

#[test]
fn metrics_are_verified_beyond_chance() {
    let asked = settled(intent(OnTimeout::Finish));
    let measuring = step(&asked.next, &checked(Check::After, true), Timestamp(11_510));
    for (requests, failed, well) in [
        (0, 0, true),
        (19, 19, true),
        (20, 20, false),
        (20, 2, true),
        (100, 5, true),
        (100, 8, true),
        (100, 16, false),
        (10_000, 510, true),
        (10_000, 600, false),
    ] {
        let done = step(&measuring.next, &measured(requests, failed), Timestamp(11_511));
        let record = told(&done);
        let status = if well { Status::Completed } else { Status::Failed };
        assert_eq!(record.status, status, "{failed} of {requests}");
        let emergencies = words(&done.commands).contains(&"emergency, v2.5 out".into());
        assert_eq!(emergencies, !well);
        assert_eq!(record.post_rollback_metrics.unwrap().requests, requests);
    }
}

#[test]
fn a_slow_first_check_holds_up_the_end_and_nothing_else() {
    let begun = Rollback::begin(intent(OnTimeout::Finish), Timestamp(0));
    let quick = Intent {
        procedure: Procedure { settle: Duration::ZERO, ..begun.next.intent().procedure },
        ..intent(OnTimeout::Finish)
    };
    let begun = Rollback::begin(quick, Timestamp(0));
    let waits = walk(begun, &[(SWAPPED, 1), (drained(0, 0), 2)]);
    assert_eq!(waits.next.due(), Some(Timestamp(7_000)));
    assert!(matches!(waits.next.state(), State::Settling { .. }));
    let goes_on = step(&waits.next, &checked(Check::Before, true), Timestamp(900));
    assert_eq!(words(&goes_on.commands)[0], "check v2.4 After");
}

#[test]
fn a_rollback_that_outlives_its_process_looks_at_the_other_version() {
    let resumed =
        Rollback::resume(intent(OnTimeout::Finish), Timestamp(1_000), Timestamp(9_000));
    let first = ["observe", "check v2.4 Before", "wake at 14000"];
    assert_eq!(words(&resumed.commands), first);
    let events = [
        (checked(Check::Before, true), 9_100),
        (Event::Woken, 14_000),
        (Event::Woken, 19_000),
        (checked(Check::After, true), 19_100),
        (measured(50, 0), 19_100),
    ];
    let record = told(&walk(resumed, &events));
    assert_eq!((record.status, record.timestamp), (Status::Completed, Timestamp(1_000)));
    assert!(record.notes[0].contains("went on with it"));
}

#[test]
fn the_latency_of_a_rollback_counts_from_the_protect_it_grew_from() {
    let protect = ProtectRef {
        protect_id: "pr-01".to_owned(),
        timestamp: Timestamp(1_000),
        finding: "errorRate: odds 24 to 1".to_owned(),
    };
    for (protect, latency) in [(None, 0.002), (Some(protect), 40.002)] {
        let intent = Intent { protect: protect.clone(), ..intent(OnTimeout::Finish) };
        let begun = Rollback::begin(intent, Timestamp(41_000)).next;
        assert_eq!(begun.record(Timestamp(41_001)).trigger_latency_seconds, None);
        let swapped = step(&begun, &SWAPPED, Timestamp(41_002)).next;
        let record = swapped.record(Timestamp(99_000));
        let took = record.trigger_latency_seconds.unwrap();
        assert!((took - latency).abs() < 1e-9, "{took}");
        assert_eq!(record.protect, protect);
    }
    let begun = Rollback::begin(intent(OnTimeout::Finish), Timestamp(0)).next;
    let failed = step(&begun, &Event::SwapFailed { why: "no".to_owned() }, Timestamp(3));
    assert_eq!(failed.next.record(Timestamp(3)).trigger_latency_seconds, None);
}

#[test]
fn what_outlasts_the_drain_may_finish_up_to_the_cap() {
    let begun = Rollback::begin(intent(OnTimeout::Finish), Timestamp(0)).next;
    let events =
        [(SWAPPED, 0), (checked(Check::Before, true), 10), (drained(40, 2), 30_000)];
    let step_of = |next| Step { next, commands: Vec::new() };
    let left = walk(step_of(begun), &events);
    assert_eq!(words(&left.commands), ["cut v2.5 at 600000"]);
    assert_eq!(left.next.due(), Some(Timestamp(35_000)));
    let ends = [
        (Event::Woken, 35_000),
        (Event::Woken, 40_000),
        (checked(Check::After, true), 40_010),
        (measured(0, 0), 40_010),
    ];
    let done = walk(step_of(left.next), &ends);
    let drain = told(&done).phases[2].clone();
    assert_eq!((drain.drained_requests, drain.left_requests), (Some(40), Some(2)));
    let later = step(&done.next, &Event::Cut { cut: 1 }, Timestamp(600_000));
    assert_eq!(later.commands, []);
    let record = later.next.record(Timestamp(600_000));
    assert_eq!(record.notes, ["1 requests were cut at the cap"]);
    assert_eq!(record.total_duration_seconds, Some(40.01));
}

#[test]
fn or_it_is_cut_before_the_other_version_settles() {
    let begun = Rollback::begin(intent(OnTimeout::Cut), Timestamp(0));
    let swapped = walk(begun, &[(SWAPPED, 0), (checked(Check::Before, true), 1)]);
    let cutting = step(&swapped.next, &drained(40, 2), Timestamp(30_000));
    assert_eq!(words(&cutting.commands), ["cut v2.5 at 30000"]);
    let running = cutting.next.record(Timestamp(30_100));
    assert_eq!(
        (running.status, running.phases[2].left_requests),
        (Status::InProgress, Some(2))
    );
    let done = step(&cutting.next, &Event::Cut { cut: 2 }, Timestamp(30_200));
    assert_eq!(words(&done.commands), ["wake at 35200"]);
    let drain = done.next.record(Timestamp(30_200)).phases[2].clone();
    assert!((drain.duration_seconds - 30.2).abs() < 1e-9);
}

#[test]
fn a_refused_table_is_an_emergency() {
    let begun = Rollback::begin(intent(OnTimeout::Finish), Timestamp(0)).next;
    let why = "there is no route iris".to_owned();
    let failed = step(&begun, &Event::SwapFailed { why: why.clone() }, Timestamp(3));
    let record = told(&failed);
    assert_eq!((record.status, record.notes), (Status::Failed, vec![why]));
    assert_eq!(record.phases[1].status, Status::Failed);
    let end = ["emergency, v2.5 out", "quarantine v2.5", "notify Failed"];
    assert_eq!(words(&failed.commands), end);
}

#[test]
fn whoever_never_answers_is_outwaited() {
    let begun = Rollback::begin(intent(OnTimeout::Cut), Timestamp(0));
    let routing = walk(begun, &[(checked(Check::Before, true), 1)]);
    let draining = walk(routing.clone(), &[(SWAPPED, 0)]);
    let cutting = walk(draining.clone(), &[(drained(0, 1), 30_000)]);
    let last = settled(intent(OnTimeout::Cut));
    let measuring = walk(last.clone(), &[(checked(Check::After, true), 11_500)]);
    for (state, due, after) in [
        (routing, 10_000, "failed"),
        (draining, 35_000, "settling"),
        (cutting, 35_000, "settling"),
        (last, 18_500, "failed"),
        (measuring, 16_500, "completed"),
    ] {
        let early = step(&state.next, &Event::Woken, Timestamp(due - 1));
        assert_eq!(words(&early.commands), [format!("wake at {due}")]);
        assert_eq!(early.next, state.next);
        let late = step(&state.next, &Event::Woken, Timestamp(due)).next;
        assert_eq!(late.state().as_str(), after);
        assert!(late.record(Timestamp(due)).notes[0].contains("nobody"));
    }
}

#[test]
fn what_does_not_fit_is_noted_and_changes_nothing_else() {
    let begun = Rollback::begin(intent(OnTimeout::Finish), Timestamp(0)).next;
    let odd = step(&begun, &drained(1, 0), Timestamp(1));
    assert_eq!((odd.commands.len(), odd.next.state()), (0, begun.state()));
    let notes = odd.next.record(Timestamp(1)).notes;
    assert_eq!(notes, ["out of turn: drained came while routing"]);

    let why = "disk full".to_owned();
    let unkept = step(&begun, &Event::QuarantineFailed { why }, Timestamp(1));
    let text = "the quarantine is not on disk and ends with this process: disk full";
    assert_eq!(unkept.next.record(Timestamp(1)).notes, [text]);
}

fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
    let why = || Just(String::from("why"));
    let check = prop_oneof![Just(Check::Before), Just(Check::After)];
    let event = prop_oneof![
        3 => Just(SWAPPED),
        1 => why().prop_map(|why| Event::SwapFailed { why }),
        1 => why().prop_map(|why| Event::QuarantineFailed { why }),
        3 => (0_u64..5, 0_u64..3).prop_map(|(drained, left)| Event::Drained { drained, left }),
        2 => (0_u64..5).prop_map(|cut| Event::Cut { cut }),
        4 => (check, prop::bool::weighted(0.8)).prop_map(|(check, passed)| checked(check, passed)),
        3 => (0_u64..100, any::<u8>()).prop_map(|(all, bad)| measured(all, u64::from(bad).min(all))),
        5 => Just(Event::Woken),
    ];
    prop::collection::vec((event, 0_u64..100_000), 0..60)
}

proptest! {
    #[test]
    fn any_story_is_well_formed_and_told_once(
        events in events(), cut in prop_oneof![Just(OnTimeout::Cut), Just(OnTimeout::Finish)],
        ask_first in any::<bool>(),
    ) {
        let begun = Intent { ask_first, ..intent(cut) };
        let mut state = Rollback::begin(begun, Timestamp(50_000)).next;
        let (mut notices, mut emergencies) = (0, 0);
        for (event, at) in &events {
            let was_over = state.is_over();
            let again = step(&state, event, Timestamp(*at));
            let Step { next, commands } = step(&state, event, Timestamp(*at));
            prop_assert_eq!(&next, &again.next, "the same input gives the same output");
            let count = |word: &str| words(&commands).iter().filter(|it| it.starts_with(word)).count();
            notices += count("notify");
            emergencies += count("emergency");
            prop_assert!(!was_over || (commands.is_empty() && next.state() == state.state()));
            let record = next.record(Timestamp(*at));
            prop_assert!(record.phases.iter().all(|phase| phase.duration_seconds >= 0.0));
            prop_assert!(record.phases.len() == 6 && record.notes.len() <= 16);
            prop_assert_eq!(record.total_duration_seconds.is_some(), next.is_over());
            prop_assert!(record.status != Status::Completed || next.has_swapped());
            state = next;
        }
        prop_assert_eq!(notices, usize::from(state.is_over()));
        let failed = matches!(state.state(), State::Failed { .. });
        prop_assert_eq!(emergencies, usize::from(failed));
        // Alarms alone bring any state to its end.
        let mut at = 1_000_000;
        for _ in 0..8 {
            at += 1_000_000;
            state = step(&state, &Event::Woken, Timestamp(at)).next;
        }
        prop_assert!(state.is_over(), "{:?}", state);
    }
}
