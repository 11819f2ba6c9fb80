//! The walks of a rollout as tables, and each rule with the case it is for.

use std::time::Duration;

use crate::rollout::border::{Gate, Judged, RolloutEvent, Verb};
use crate::rollout::headroom::Headroom;
use crate::rollout::plan::tests::percent;
use crate::rollout::plan::{Finish, NoTraffic, Plan, PlanStep};
use crate::rollout::state::{Phase, Rollout, Stop};
use crate::vocab::amount::Percent;
use crate::vocab::time::Timestamp;

use crate::rollout::walk::{
    GO, Walk, blue_green, gated, halt, quick, rolling, two_steps,
};

#[test]
fn a_good_canary_goes_all_the_way() {
    let mut walk = Walk::of(two_steps());
    assert_eq!(walk.words(), ["tell begun", "room 10%", "weight 10%", "tell stepped"]);
    assert_eq!(walk.stands(), (Phase::Progressing, 10.0, (1, 3)));
    assert_eq!(walk.it.waits_for().unwrap(), "the pause of 10s to end");
    walk.pass(9, Judged::Inconclusive);
    assert_eq!(walk.words(), [""; 0]);
    walk.pass(1, Judged::Inconclusive);
    assert_eq!(walk.words(), ["room 50%", "weight 50%", "tell stepped"]);
    walk.pass(10, Judged::Inconclusive);
    assert_eq!(walk.words(), ["tell waiting"]);
    assert_eq!(walk.stands(), (Phase::WaitingPromotion, 50.0, (2, 3)));
    walk.pass(1_000, Judged::Inconclusive);
    assert_eq!(walk.words(), [""; 0]);
    walk.pass(1, Judged::Good);
    assert_eq!(walk.words(), ["room 100%", "weight 100%", "tell promoted"]);
    assert_eq!(walk.stands(), (Phase::Finalising, 100.0, (3, 3)));
    walk.pass(19, Judged::Inconclusive);
    assert_eq!(walk.words(), [""; 0]);
    walk.pass(1, Judged::Inconclusive);
    assert_eq!(walk.words(), ["tell succeeded", "finish true"]);
    assert_eq!(walk.stands(), (Phase::Succeeded, 100.0, (3, 3)));
    assert_eq!(walk.it.waits_for(), None);
}

#[test]
fn alarms_are_set_for_the_end_of_each_wait_and_not_twice() {
    let mut walk = Walk::of(two_steps());
    walk.pass(9, Judged::Inconclusive);
    let wakes = |walk: &Walk| -> Vec<String> {
        walk.told.iter().filter(|word| word.starts_with("wake")).cloned().collect()
    };
    assert_eq!(wakes(&walk).last().unwrap(), "wake 10");
    let before = wakes(&walk).len();
    walk.judged(Judged::Inconclusive);
    assert_eq!(wakes(&walk).len(), before);
    walk.pass(1, Judged::Inconclusive);
    assert_eq!(wakes(&walk).last().unwrap(), "wake 20");
}

#[test]
fn a_blue_green_waits_for_the_order_and_switches_in_one_step() {
    let mut walk = Walk::of(blue_green());
    walk.pass(100, Judged::NoTraffic);
    assert_eq!(walk.words(), ["tell begun", "tell waiting"]);
    assert_eq!(walk.stands(), (Phase::WaitingPromotion, 0.0, (0, 1)));
    walk.order(Verb::Promote { full: false });
    let switched = ["tell resumed", "room 100%", "weight 100%", "tell promoted"];
    assert_eq!(walk.words(), switched);
    walk.order(Verb::Abort);
    let back = ["tell aborting", "weight 0%", "tell failed", "finish false"];
    assert_eq!(walk.words(), back);
    walk.order(Verb::Retry);
    walk.order(Verb::Promote { full: false });
    assert_eq!(walk.words()[2..], switched);
    assert_eq!(walk.it.attempt(), 2);
    let pause = PlanStep::Pause(Duration::from_secs(5));
    let plan = Plan { finish: Finish::AtOnce, steps: vec![pause], ..blue_green() };
    let mut timed = Walk::of(plan);
    timed.pass(5, Judged::NoTraffic);
    assert_eq!(timed.stands().0, Phase::Finalising);
}

#[test]
fn a_rolling_one_goes_forwards_and_backwards_in_steps() {
    let mut walk = Walk::of(rolling());
    walk.pass(40, Judged::Inconclusive);
    assert_eq!(walk.stands(), (Phase::Progressing, 80.0, (2, 3)));
    walk.words();
    walk.order(Verb::Abort);
    assert_eq!(walk.stands(), (Phase::Aborting, 40.0, (1, 3)));
    walk.pass(29, Judged::Inconclusive);
    assert!((walk.stands().1 - 40.0).abs() < 1e-9);
    walk.pass(1, Judged::Inconclusive);
    assert_eq!(
        walk.words(),
        ["tell aborting", "weight 40%", "weight 0%", "tell failed", "finish false"]
    );
    assert_eq!(walk.it.reason(), Some("aborted by alice: because"));
    for hurry in [true, false] {
        let mut walk = Walk::of(rolling());
        walk.pass(40, Judged::Inconclusive);
        walk.order(Verb::Abort);
        if hurry {
            walk.order(Verb::Abort);
        } else {
            walk.judged(Judged::Suspicious);
        }
        assert_eq!(walk.stands().0, Phase::Failed, "{hurry}");
    }
}

#[test]
fn a_pause_by_an_operator_keeps_the_time_that_was_left() {
    for freeze in [false, true] {
        let mut walk = Walk::of(two_steps());
        walk.pass(4, Judged::Inconclusive);
        walk.order(if freeze { Verb::Freeze } else { Verb::Pause });
        assert_eq!(walk.it.phase(), Phase::Paused);
        assert_eq!(walk.it.reason(), Some("because"));
        walk.pass(500, Judged::Good);
        assert_eq!(walk.it.weight(), percent(10.0));
        walk.order(Verb::Promote { full: true });
        assert!(walk.refusal().starts_with("it is stopped by alice (because)"));
        walk.order(Verb::Resume);
        walk.pass(5, Judged::Good);
        assert_eq!(walk.it.weight(), percent(10.0));
        walk.pass(1, Judged::Good);
        assert_eq!(walk.it.weight(), percent(50.0));
    }
}

#[test]
fn under_protect_it_waits_and_goes_on_where_it_was() {
    let mut walk = Walk::of(two_steps());
    walk.pass(7, Judged::Inconclusive);
    walk.pass(60, Judged::Suspicious);
    assert_eq!(walk.stands(), (Phase::Progressing, 10.0, (1, 3)));
    assert!(walk.it.waits_for().unwrap().contains("cleared"));
    for full in [false, true] {
        walk.order(Verb::Promote { full });
        assert!(walk.refusal().contains("under protect"));
    }
    // Two of its ten seconds were left; the first word that clears it starts them.
    walk.pass(2, Judged::Inconclusive);
    assert_eq!(walk.it.weight(), percent(10.0));
    walk.pass(1, Judged::Inconclusive);
    assert_eq!(walk.it.weight(), percent(50.0));
}

#[test]
fn a_rollback_ends_it_and_a_retry_waits_for_the_release() {
    let mut walk = Walk::of(two_steps());
    walk.words();
    walk.judged(Judged::Breached);
    assert_eq!(walk.words(), ["tell rollingBack", "weight 0%"]);
    assert_eq!(walk.stands().0, Phase::RollingBack);
    walk.order(Verb::Promote { full: true });
    assert_eq!(walk.refusal(), "v2 is being rolled back: there is nothing to promote");
    walk.happens(&RolloutEvent::RolledBack { why: "errors".to_owned() });
    assert_eq!(walk.words(), ["tell failed", "finish false"]);
    assert_eq!(walk.it.reason(), Some("rolled back: errors"));
    walk.order(Verb::Retry);
    assert_eq!(walk.refusal(), "v2 is in quarantine: release it first");
    walk.judged(Judged::NoTraffic);
    walk.order(Verb::Retry);
    assert_eq!(walk.stands(), (Phase::Progressing, 10.0, (1, 3)));
}

#[test]
fn a_rollback_that_comes_after_success_is_no_success() {
    let mut walk = Walk::of(two_steps());
    walk.order(Verb::Promote { full: true });
    walk.pass(20, Judged::Inconclusive);
    assert_eq!(walk.it.phase(), Phase::Succeeded);
    walk.judged(Judged::Breached);
    walk.happens(&RolloutEvent::RolledBack { why: "errors".to_owned() });
    assert_eq!(walk.stands(), (Phase::Failed, 0.0, (0, 3)));
}

#[test]
fn a_weight_that_would_not_go_down_is_asked_for_until_it_does() {
    let mut walk = Walk::of(two_steps());
    walk.obeys = false;
    walk.judged(Judged::Breached);
    walk.happens(&RolloutEvent::RolledBack { why: "errors".to_owned() });
    assert_eq!(walk.stands(), (Phase::Aborting, 10.0, (1, 3)));
    walk.words();
    walk.pass(9, Judged::Inconclusive);
    assert_eq!(walk.words(), [""; 0]);
    walk.obeys = true;
    walk.pass(1, Judged::Inconclusive);
    assert_eq!(walk.words(), ["weight 0%", "tell failed", "finish false"]);
}

#[test]
fn without_traffic_it_holds_or_extends_or_goes_back() {
    for (no_traffic, after_11, after_traffic) in [
        (NoTraffic::Hold, (Phase::Progressing, 10.0), 50.0),
        (NoTraffic::Extend, (Phase::Progressing, 10.0), 10.0),
        (NoTraffic::Revert, (Phase::Failed, 0.0), 0.0),
    ] {
        let mut walk = Walk::of(Plan { no_traffic, ..two_steps() });
        walk.pass(11, Judged::NoTraffic);
        let (phase, weight, _) = walk.stands();
        assert_eq!((phase, weight), after_11, "{no_traffic:?}");
        walk.pass(1, Judged::Inconclusive);
        assert_eq!(walk.it.weight(), percent(after_traffic), "{no_traffic:?}");
        if no_traffic == NoTraffic::Extend {
            walk.pass(8, Judged::Inconclusive);
            assert_eq!(walk.it.weight(), percent(50.0));
        }
    }
}

#[test]
fn gates_hold_it_and_are_asked_again() {
    let mut walk = Walk::of(gated(&[
        Gate::ConfirmRollout,
        Gate::ConfirmTrafficIncrease,
        Gate::PostRollout,
    ]));
    assert_eq!(walk.words(), ["tell begun", "ask confirm-rollout"]);
    walk.gate(Gate::ConfirmRollout, halt());
    walk.gate(Gate::ConfirmTrafficIncrease, GO);
    assert_eq!(walk.words(), ["tell waiting"]);
    assert_eq!(walk.stands().0, Phase::Waiting);
    assert_eq!(walk.it.waits_for().unwrap(), "the gate confirm-rollout: 503");
    walk.pass(4, Judged::NoTraffic);
    assert_eq!(walk.words(), ["ask confirm-rollout", "ask confirm-rollout"]);
    walk.gate(Gate::ConfirmRollout, GO);
    walk.gate(Gate::ConfirmRollout, GO);
    assert_eq!(walk.words(), ["ask confirm-traffic-increase"]);
    walk.order(Verb::Promote { full: false });
    assert_eq!(walk.words(), ["tell resumed", "room 10%", "weight 10%", "tell stepped"]);
    walk.order(Verb::Abort);
    assert_eq!(walk.words()[2..], ["tell failed", "ask post-rollout", "finish false"]);
}

#[test]
fn an_answer_that_comes_while_it_is_paused_is_not_lost() {
    let mut walk = Walk::of(gated(&[Gate::ConfirmRollout]));
    walk.order(Verb::Pause);
    walk.gate(Gate::ConfirmRollout, GO);
    walk.words();
    walk.order(Verb::Resume);
    assert_eq!(walk.words()[1..], ["room 10%", "weight 10%", "tell stepped"]);
}

#[test]
fn the_gate_that_rolls_back_is_asked_all_along() {
    let mut walk = Walk::of(gated(&[Gate::Rollback]));
    walk.order(Verb::Pause);
    walk.words();
    walk.pass(4, Judged::Inconclusive);
    assert_eq!(walk.words(), ["ask rollback", "ask rollback"]);
    walk.gate(Gate::Rollback, halt());
    assert_eq!(walk.words(), [""; 0]);
    walk.gate(Gate::Rollback, GO);
    assert_eq!(walk.words(), ["roll back", "tell rollingBack", "weight 0%"]);
    walk.judged(Judged::Breached);
    walk.gate(Gate::Rollback, GO);
    assert!(!walk.words().contains(&"roll back".to_owned()));
}

#[test]
fn without_room_it_waits_and_looks_again() {
    let mut walk = Walk::of(two_steps());
    let why = "its connections".to_owned();
    walk.room = Headroom::Short { needed: 9, have: 3, why };
    walk.words();
    walk.pass(15, Judged::Inconclusive);
    assert_eq!(walk.words(), ["room 50%", "tell short", "room 50%"]);
    assert_eq!(
        walk.it.waits_for().unwrap(),
        "room for 50% of the traffic: 9 requests in flight, 3 fit: its connections"
    );
    walk.room = Headroom::Enough;
    walk.pass(5, Judged::Inconclusive);
    assert_eq!(walk.words(), ["room 50%", "weight 50%", "tell stepped"]);
}

#[test]
fn promote_ends_the_wait_of_now_and_full_all_of_them() {
    let steps = [PlanStep::SetWeight(percent(5.0)), PlanStep::UntilPromoted];
    let mut walk = Walk::of(quick(&steps));
    walk.pass(100, Judged::Good);
    assert_eq!(walk.it.waits_for().unwrap(), "an operator to promote it");
    walk.order(Verb::Promote { full: false });
    assert_eq!(walk.stands().0, Phase::Finalising, "the analysis is good already");
    walk.order(Verb::Promote { full: true });
    assert_eq!(walk.refusal(), "v2 has all traffic already");
    walk.order(Verb::Promote { full: false });
    assert_eq!(walk.stands().0, Phase::Succeeded);
    let mut gated = Walk::of(gated(&[Gate::ConfirmRollout, Gate::ConfirmPromotion]));
    gated.order(Verb::Promote { full: true });
    assert_eq!(gated.stands(), (Phase::Finalising, 100.0, (3, 3)));
}

#[test]
fn a_rule_may_pause_it() {
    let mut walk = Walk::of(two_steps());
    walk.happens(&RolloutEvent::Concern("latencyP99: 9 ms".to_owned()));
    let Stop { by, reason, .. } = walk.it.paused().unwrap();
    assert_eq!((by.as_str(), reason.as_str()), ("analysis", "latencyP99: 9 ms"));
    walk.order(Verb::Pause);
    assert_eq!(walk.refusal(), "it is paused already, by analysis: latencyP99: 9 ms");
    walk.order(Verb::Resume);
    walk.pass(10, Judged::Inconclusive);
    assert_eq!(walk.it.weight(), percent(50.0));
}

#[test]
fn a_weight_by_hand_pauses_it() {
    let (by, reason) = ("bob".to_owned(), "a look".to_owned());
    let mut walk = Walk::of(two_steps());
    walk.happens(&RolloutEvent::Overruled { weight: percent(30.0), by, reason });
    assert_eq!(walk.stands(), (Phase::Paused, 30.0, (1, 3)));
    assert_eq!(walk.it.reason(), Some("its weight was set to 30%: a look"));
}

#[test]
fn a_weight_that_nobody_confirms_is_set_again() {
    let mut walk = Walk::of(two_steps());
    walk.obeys = false;
    walk.pass(10, Judged::Inconclusive);
    walk.words();
    walk.happens(&RolloutEvent::NotShifted { why: "no such version".to_owned() });
    assert_eq!(walk.words(), ["tell waiting"]);
    assert_eq!(walk.it.waits_for().unwrap(), "50% of the traffic: no such version");
    walk.pass(10, Judged::Inconclusive);
    assert_eq!(walk.words(), ["weight 50%"]);
}

#[test]
fn it_goes_on_after_a_restart_and_the_time_between_counts() {
    let mut walk = Walk::of(two_steps());
    walk.pass(4, Judged::Inconclusive);
    let text = serde_json::to_string(&walk.it).unwrap();
    let back: Rollout = serde_json::from_str(&text).unwrap();
    walk.now += 7_000;
    let step = back.restored(Timestamp(walk.now));
    walk.take(step);
    assert_eq!(walk.it.weight(), percent(10.0), "the analysis has said nothing yet");
    walk.judged(Judged::Inconclusive);
    assert_eq!(walk.it.weight(), percent(50.0));

    let mut gated = Walk::of(gated(&[Gate::ConfirmRollout]));
    gated.words();
    let text = serde_json::to_string(&gated.it).unwrap();
    let back: Rollout = serde_json::from_str(&text).unwrap();
    gated.take(back.restored(Timestamp(10)));
    assert_eq!(gated.words(), ["ask confirm-rollout"], "the question is asked anew");
}

#[test]
fn a_place_beyond_the_plan_is_its_end() {
    let walk = Walk::of(two_steps());
    let text = serde_json::to_string(&walk.it).unwrap();
    let text = text.replace("\"at\":2", "\"at\":99");
    let odd: Rollout = serde_json::from_str(&text).unwrap();
    assert_eq!(odd.phase(), Phase::Finalising);
    assert_eq!((odd.waits_for(), odd.steps()), (None, (3, 3)));
    assert_eq!(odd.restored(Timestamp(0)).next.phase(), Phase::Succeeded);
}

#[test]
fn a_frozen_route_begins_nothing_until_it_is_resumed() {
    let stop = Stop { by: "bob".into(), reason: "holiday".into(), since: Timestamp(0) };
    let mut walk = Walk::frozen(two_steps(), Some(stop));
    walk.pass(100, Judged::Good);
    assert_eq!(walk.words(), ["tell begun"]);
    assert_eq!(walk.stands(), (Phase::Paused, 0.0, (0, 3)));
    walk.order(Verb::Resume);
    assert!((walk.stands().1 - 10.0).abs() < 1e-9);
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let mut walk = Walk::of(two_steps());
    for (verb, why) in [
        (Verb::Resume, "it is neither paused nor frozen"),
        (Verb::Retry, "the rollout of v2 has not ended: abort it first"),
    ] {
        walk.order(verb);
        assert_eq!(walk.refusal(), why);
    }
    walk.order(Verb::Abort);
    let failed =
        "the rollout of v2 has failed (aborted by alice: because): retry it first";
    for verb in [Verb::Promote { full: true }, Verb::Pause, Verb::Abort] {
        walk.order(verb);
        assert_eq!(walk.refusal(), failed);
    }
    walk.order(Verb::Retry);
    walk.order(Verb::Promote { full: true });
    walk.pass(20, Judged::Good);
    for (verb, why) in [
        (Verb::Retry, "v2 is rolled out: there is nothing to retry"),
        (Verb::Abort, "v2 is rolled out: there is nothing to abort"),
    ] {
        walk.order(verb);
        assert_eq!(walk.refusal(), why);
    }
    assert_eq!(walk.it.weight(), Percent::FULL);
}
