//! The walks of a rollback as tables, and what holds under any sequence of events.

use std::time::Duration;

use proptest::prelude::{
    Just, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::command::{Command, Event, OnTimeout, Step};
use super::rollback::{DrainPolicy, Intent, Rollback, State, step};
use crate::vocab::ids::Name;
use crate::vocab::record::{ProtectRef, RollbackRecord, Status};
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
        drain: DrainPolicy {
            timeout: Duration::from_secs(30),
            on_timeout,
            cap: Duration::from_secs(600),
        },
    }
}

fn words(commands: &[Command]) -> Vec<String> {
    let word = |command: &Command| match command {
        Command::Replace { version, .. } => format!("replace {version}"),
        Command::Quarantine { version, .. } => format!("quarantine {version}"),
        Command::Drain { version, until, .. } => {
            format!("drain {version} until {}", until.0)
        }
        Command::CutAfter { version, at, .. } => format!("cut {version} at {}", at.0),
        Command::Wake { at } => format!("wake at {}", at.0),
        Command::Notify(record) => format!("notify {:?}", record.status),
    };
    commands.iter().map(word).collect()
}

fn told(step: &Step) -> RollbackRecord {
    let record = step.commands.iter().find_map(|command| match command {
        Command::Notify(record) => Some(record.as_ref().clone()),
        Command::Replace { .. }
        | Command::Quarantine { .. }
        | Command::Drain { .. }
        | Command::CutAfter { .. }
        | Command::Wake { .. } => None,
    });
    record.expect("a notice")
}

fn drained(drained: u64, left: u64) -> Event {
    Event::Drained { drained, left }
}

#[test]
fn the_table_is_swapped_first_and_the_drain_follows() {
    let begun = Rollback::begin(intent(OnTimeout::Finish), Timestamp(1_000));
    assert_eq!(
        words(&begun.commands),
        ["replace v2.5", "quarantine v2.5", "wake at 11000"]
    );
    let swapped = step(&begun.next, &Event::Swapped, Timestamp(1_002));
    assert_eq!(words(&swapped.commands), ["drain v2.5 until 31002", "wake at 36002"]);
    let done = step(&swapped.next, &drained(7, 0), Timestamp(1_502));
    assert_eq!(words(&done.commands), ["notify Completed"]);

    let record = told(&done);
    assert_eq!(record.status, Status::Completed);
    assert_eq!(record.total_duration_seconds, Some(0.502));
    let phases: Vec<_> = record
        .phases
        .iter()
        .map(|p| (p.phase, p.status, p.duration_seconds, p.drained_requests))
        .collect();
    assert_eq!(
        phases,
        [
            ("route", Status::Completed, 0.002, None),
            ("drain", Status::Completed, 0.5, Some(7)),
        ]
    );
    assert!(record.notes.is_empty());
    assert_eq!(record, done.next.record(Timestamp(999_999)));
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
        let swapped = step(&begun, &Event::Swapped, Timestamp(41_002)).next;
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
    let swapped = step(&begun, &Event::Swapped, Timestamp(0)).next;
    let done = step(&swapped, &drained(40, 2), Timestamp(30_000));
    assert_eq!(words(&done.commands), ["cut v2.5 at 600000", "notify Completed"]);
    let drain = told(&done).phases[1].clone();
    assert_eq!((drain.drained_requests, drain.left_requests), (Some(40), Some(2)));
    let later = step(&done.next, &Event::Cut { cut: 1 }, Timestamp(600_000));
    assert_eq!(later.commands, []);
    let record = later.next.record(Timestamp(600_000));
    assert_eq!(record.notes, ["1 requests were cut at the cap"]);
    assert_eq!(record.total_duration_seconds, Some(30.0));
}

#[test]
fn or_it_is_cut_before_the_end_is_told() {
    let begun = Rollback::begin(intent(OnTimeout::Cut), Timestamp(0)).next;
    let swapped = step(&begun, &Event::Swapped, Timestamp(0)).next;
    let cutting = step(&swapped, &drained(40, 2), Timestamp(30_000));
    assert_eq!(words(&cutting.commands), ["cut v2.5 at 30000", "wake at 35000"]);
    let running = cutting.next.record(Timestamp(30_100));
    assert_eq!(
        (running.status, running.phases[1].left_requests),
        (Status::InProgress, Some(2))
    );
    let done = step(&cutting.next, &Event::Cut { cut: 2 }, Timestamp(30_200));
    assert_eq!(words(&done.commands), ["notify Completed"]);
    assert!((told(&done).phases[1].duration_seconds - 30.2).abs() < 1e-9);
}

#[test]
fn a_refused_table_is_a_failure_that_is_told() {
    let begun = Rollback::begin(intent(OnTimeout::Finish), Timestamp(0)).next;
    let why = "there is no route iris".to_owned();
    let failed = step(&begun, &Event::SwapFailed { why: why.clone() }, Timestamp(3));
    let record = told(&failed);
    assert_eq!((record.status, record.notes), (Status::Failed, vec![why]));
    assert_eq!(record.phases.len(), 1);
    assert_eq!(record.phases[0].status, Status::Failed);
}

#[test]
fn whoever_never_answers_is_outwaited() {
    let routing = Rollback::begin(intent(OnTimeout::Cut), Timestamp(0)).next;
    let draining = step(&routing, &Event::Swapped, Timestamp(0)).next;
    let cutting = step(&draining, &drained(0, 1), Timestamp(30_000)).next;
    for (state, due) in [(routing, 10_000), (draining, 35_000), (cutting, 35_000)] {
        let early = step(&state, &Event::Woken, Timestamp(due - 1));
        assert_eq!(words(&early.commands), [format!("wake at {due}")]);
        assert_eq!(early.next, state);
        let late = step(&state, &Event::Woken, Timestamp(due));
        assert_eq!(words(&late.commands), ["notify Failed"]);
        assert!(late.next.record(Timestamp(due)).notes[0].starts_with("nobody said"));
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
    let swapped = step(&unkept.next, &Event::Swapped, Timestamp(2));
    let done = step(&swapped.next, &drained(0, 0), Timestamp(3));
    let text = "the quarantine is not on disk and ends with this process: disk full";
    assert_eq!(told(&done).notes, [text]);
}

fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
    let why = || Just(String::from("why"));
    let event = prop_oneof![
        3 => Just(Event::Swapped),
        1 => why().prop_map(|why| Event::SwapFailed { why }),
        1 => why().prop_map(|why| Event::QuarantineFailed { why }),
        3 => (0_u64..5, 0_u64..3).prop_map(|(drained, left)| Event::Drained { drained, left }),
        2 => (0_u64..5).prop_map(|cut| Event::Cut { cut }),
        3 => Just(Event::Woken),
    ];
    prop::collection::vec((event, 0_u64..100_000), 0..60)
}

proptest! {
    #[test]
    fn any_story_is_well_formed_and_told_once(
        events in events(), cut in prop_oneof![Just(OnTimeout::Cut), Just(OnTimeout::Finish)],
    ) {
        let mut state = Rollback::begin(intent(cut), Timestamp(50_000)).next;
        let mut notices = 0;
        let mut swapped = false;
        for (event, at) in &events {
            let was_over = state.is_over();
            let again = step(&state, event, Timestamp(*at));
            let Step { next, commands } = step(&state, event, Timestamp(*at));
            prop_assert_eq!(&next, &again.next, "the same input gives the same output");
            swapped |= matches!(next.state(), State::Draining { .. });
            notices += commands.iter().filter(|c| matches!(c, Command::Notify(_))).count();
            prop_assert!(!was_over || (commands.is_empty() && next.state() == state.state()));
            let record = next.record(Timestamp(*at));
            prop_assert!(record.phases.iter().all(|phase| phase.duration_seconds >= 0.0));
            prop_assert!(record.phases.len() <= 2 && record.notes.len() <= 16);
            prop_assert_eq!(record.total_duration_seconds.is_some(), next.is_over());
            prop_assert!(record.status != Status::Completed || swapped);
            state = next;
        }
        prop_assert_eq!(notices, usize::from(state.is_over()));
        // Alarms alone bring any state to its end.
        let end = step(&state, &Event::Woken, Timestamp(u64::MAX)).next;
        prop_assert!(end.is_over());
    }
}
