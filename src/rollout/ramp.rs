//! `Ramp`: how the users of a bad version go over where the version that takes them has no
//! room for all: at once as many as there is room for, the rest in steps. What is held back
//! meanwhile is answered by neither version.
//!
//! Apart from the rollback, because a protect moves users too, and the rollback that it
//! grows into goes on with the same ramp.

use std::time::Duration;

use super::headroom::Headroom;
use crate::vocab::amount::Percent;
use crate::vocab::time::Timestamp;

/// How a ramp goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RampPlan {
    /// The most that one step lets through, as a share of all requests.
    pub step: Percent,
    /// Between two steps, so that what one brings is seen before the next.
    pub interval: Duration,
    /// After so long all are let through, whatever there is room for: what is above
    /// `maxInFlight` is then refused request by request.
    pub timeout: Duration,
}

/// A ramp under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ramp {
    plan: RampPlan,
    began: Timestamp,
    next: Timestamp,
    first: Percent,
    held: Percent,
    steps: u32,
}

/// What a ramp comes to when it looks at the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ramped {
    /// All is as it was.
    Waits,
    /// Only so much is held back from now on.
    Holds(Percent),
    /// Nothing is; how it went, in one sentence.
    Over(String),
}

impl Ramp {
    /// Begins one, if there is no `room` for all traffic now. `share` is what the bad
    /// version had: no more than that is ever held back, so that whoever was on the other
    /// version already notices nothing.
    #[must_use]
    pub fn begin(
        plan: RampPlan,
        share: Percent,
        room: &Headroom,
        now: Timestamp,
    ) -> Option<Self> {
        let held = overflow(room).min(share);
        let next = now.after(plan.interval);
        (held > Percent::ZERO).then_some(Self {
            plan,
            began: now,
            next,
            first: held,
            held,
            steps: 0,
        })
    }

    /// What is held back now.
    #[must_use]
    pub fn held(&self) -> Percent {
        self.held
    }

    /// When it wants to look at the room again.
    #[must_use]
    pub fn due(&self) -> Timestamp {
        self.next.min(self.end())
    }

    /// When it ends at the latest.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.began.after(self.plan.timeout)
    }

    /// All requests in flight that there would be if nothing were held back, by those that
    /// there are.
    #[must_use]
    pub fn whole(&self, in_flight: u64) -> u64 {
        let let_through = u128::from(self.held.rest().ppm()).max(1);
        let all = u128::from(in_flight) * u128::from(Percent::FULL.ppm());
        u64::try_from(all.div_ceil(let_through)).unwrap_or(u64::MAX)
    }

    /// Looks at the room for all traffic. Lets through what there is room for, but one step
    /// at most, and never takes anything back: a user who came over stays.
    pub fn look(&mut self, room: &Headroom, now: Timestamp) -> Ramped {
        if now >= self.end() {
            let (held, timeout) = (self.held, self.plan.timeout);
            self.held = Percent::ZERO;
            return Ramped::Over(format!(
                "{}; {held} was still held back when its time of {timeout:?} was over",
                self.story(now)
            ));
        }
        if now < self.next {
            return Ramped::Waits;
        }
        self.next = now.after(self.plan.interval);
        let step = self.held.ppm().saturating_sub(self.plan.step.ppm());
        let held = Percent::from_ppm(step.max(overflow(room).ppm()));
        if held >= self.held {
            return Ramped::Waits;
        }
        self.held = held;
        self.steps += 1;
        if held == Percent::ZERO {
            return Ramped::Over(self.story(now));
        }
        Ramped::Holds(held)
    }

    /// How it went so far.
    #[must_use]
    pub fn story(&self, now: Timestamp) -> String {
        let took = now.since(self.began).as_secs_f64();
        format!(
            "{} of the traffic was held back at first and let through in {} steps over \
             {took:.1} s",
            self.first, self.steps
        )
    }
}

/// The part of all traffic that there is no room for.
fn overflow(room: &Headroom) -> Percent {
    let Headroom::Short { needed, have, .. } = room else { return Percent::ZERO };
    let over = u128::from(needed.saturating_sub(*have));
    let part =
        (over * u128::from(Percent::FULL.ppm())).div_ceil(u128::from(*needed).max(1));
    Percent::from_ppm(u32::try_from(part).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{prop_assert, proptest};

    use super::{Ramp, RampPlan, Ramped};
    use crate::rollout::headroom::Headroom;
    use crate::vocab::amount::Percent;
    use crate::vocab::time::Timestamp;

    fn percent(number: f64) -> Percent {
        Percent::of(number).unwrap()
    }

    fn plan() -> RampPlan {
        RampPlan {
            step: percent(10.0),
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(60),
        }
    }

    fn short(needed: u64, have: u64) -> Headroom {
        Headroom::Short { needed, have, why: String::new() }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000).after(Duration::from_secs(seconds))
    }

    #[test]
    fn what_fits_goes_over_at_once_and_the_rest_of_the_share_is_held() {
        for (share, room, held) in [
            (50.0, short(100, 80), Some(20.0)),
            (50.0, short(100, 20), Some(50.0)),
            (100.0, short(3, 0), Some(100.0)),
            (0.0, short(100, 20), None),
            (50.0, Headroom::Enough, None),
            (50.0, Headroom::Unknown, None),
            (50.0, short(0, 0), None),
        ] {
            let ramp = Ramp::begin(plan(), percent(share), &room, at(0));
            assert_eq!(ramp.map(|it| it.held()), held.map(percent), "{share} {room:?}");
        }
    }

    #[test]
    fn it_goes_in_steps_as_there_is_room_and_waits_while_there_is_none() {
        let mut ramp =
            Ramp::begin(plan(), percent(50.0), &short(100, 70), at(0)).unwrap();
        assert_eq!((ramp.held(), ramp.due()), (percent(30.0), at(2)));
        assert_eq!(ramp.whole(70), 100);
        assert_eq!(ramp.look(&Headroom::Enough, at(1)), Ramped::Waits);
        assert_eq!(ramp.look(&short(100, 70), at(2)), Ramped::Waits);
        assert_eq!(ramp.look(&short(100, 40), at(4)), Ramped::Waits);
        let less = ramp.look(&short(100, 75), at(6));
        assert_eq!(less, Ramped::Holds(percent(25.0)));
        let step = ramp.look(&Headroom::Enough, at(8));
        assert_eq!(step, Ramped::Holds(percent(15.0)));
        assert_eq!(ramp.look(&short(100, 99), at(10)), Ramped::Holds(percent(5.0)));
        let Ramped::Over(story) = ramp.look(&Headroom::Unknown, at(12)) else {
            panic!("it is over");
        };
        assert_eq!(
            story,
            "30% of the traffic was held back at first and let through in 4 steps over \
             12.0 s"
        );
        assert_eq!(ramp.held(), Percent::ZERO);
    }

    #[test]
    fn it_ends_in_time_whatever_there_is_room_for() {
        let mut ramp = Ramp::begin(plan(), percent(90.0), &short(9, 3), at(0)).unwrap();
        assert_eq!(ramp.look(&short(9, 3), at(59)), Ramped::Waits);
        assert_eq!(ramp.due(), at(60));
        let Ramped::Over(story) = ramp.look(&short(9, 3), at(60)) else {
            panic!("it is over");
        };
        assert!(story.contains("was still held back"), "{story}");
    }

    proptest! {
        #[test]
        fn less_and_less_is_held_and_it_ends(
            share in 0_u32..=1_000_000,
            rooms in proptest::collection::vec((0_u64..200, 0_u64..200), 1..60),
        ) {
            let share = Percent::from_ppm(share);
            let Some(mut ramp) = Ramp::begin(plan(), share, &short(100, 10), at(0)) else {
                return Ok(());
            };
            prop_assert!(ramp.held() <= share);
            let (mut before, mut over) = (ramp.held(), false);
            for (turn, (needed, have)) in (1_u64..).zip(rooms) {
                let room = if needed > have { short(needed, have) } else { Headroom::Enough };
                let least = before.ppm().saturating_sub(plan().step.ppm());
                over = matches!(ramp.look(&room, at(turn)), Ramped::Over(_));
                prop_assert!(ramp.held() <= before);
                prop_assert!(ramp.held().ppm() >= least || turn >= 60);
                prop_assert!(ramp.whole(7) >= 7);
                before = ramp.held();
                if over { break; }
            }
            prop_assert!(over || matches!(ramp.look(&short(9, 0), at(60)), Ramped::Over(_)));
        }
    }
}
