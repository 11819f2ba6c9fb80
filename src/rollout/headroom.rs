//! Headroom: whether a version's servers can take the traffic that is about to be theirs.
//!
//! Apart from the machines, because both ask it: a rollout before each step, and whoever
//! moves the users of a bad version, at once or by a ramp.

use crate::vocab::amount::Percent;

/// What the versions of a route do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests in flight, of all versions that share the route's traffic.
    pub in_flight: u64,
}

/// The servers that are to take traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The share of the route's requests that they are to take.
    pub share: Percent,
    /// How many requests they may have in flight over all of them, where that is bounded.
    pub most: Option<u64>,
    /// How many connections, and so requests, one of them may have, where a connection
    /// carries one request at a time.
    pub each: Option<u64>,
    /// How many of them may be asked now.
    pub healthy: u64,
    /// How many there are.
    pub endpoints: u64,
}

/// Whether there is room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Headroom {
    /// There is.
    Enough,
    /// There is not.
    Short {
        /// Requests in flight that the target would have.
        needed: u64,
        /// Requests in flight that it can take.
        have: u64,
        /// What bounds it, in a few words.
        why: String,
    },
    /// Nothing is known that bounds it.
    Unknown,
}

/// Whether the target can take its share of the load of now.
///
/// What it can take is the least of what bounds it: `maxInFlight`, which is meant for all
/// endpoints and so counts for the part of them that is healthy, and the connections of the
/// healthy ones. What is needed is the share of all that is in flight now (by Little's law
/// that is rate times time, so that it holds for any mixture of quick and slow requests),
/// rounded up, and at least one.
#[must_use]
pub fn headroom(load: &Load, target: &Target) -> Headroom {
    let Target { share, most, each, healthy, endpoints } = *target;
    let needed = needed(load.in_flight, share);
    if share == Percent::ZERO {
        return Headroom::Enough;
    }
    if endpoints > 0 && healthy == 0 {
        let why = "none of its endpoints may be asked".to_owned();
        return Headroom::Short { needed, have: 0, why };
    }
    let healthy_part = |all: u64| match endpoints {
        0 => all,
        // One slow endpoint never makes a bound of nothing.
        endpoints => (all.saturating_mul(healthy) / endpoints).max(1),
    };
    let by_most = most.map(|all| (healthy_part(all), "maxInFlight"));
    let by_each = each.map(|each| (each.saturating_mul(healthy), "its connections"));
    let Some((have, what)) = by_most.into_iter().chain(by_each).min() else {
        return Headroom::Unknown;
    };
    if needed <= have {
        return Headroom::Enough;
    }
    let why = match endpoints {
        0 => format!("{what} allows no more"),
        endpoints => {
            let wanted = needed.saturating_mul(healthy).div_ceil(have);
            format!(
                "{what} allows no more with {healthy} of {endpoints} endpoints, this load \
                 needs {wanted}"
            )
        }
    };
    Headroom::Short { needed, have, why }
}

fn needed(in_flight: u64, share: Percent) -> u64 {
    let full = u128::from(Percent::FULL.ppm());
    let part = (u128::from(in_flight) * u128::from(share.ppm())).div_ceil(full);
    u64::try_from(part).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::{Headroom, Load, Target, headroom};
    use crate::vocab::amount::Percent;

    const TARGET: Target =
        Target { share: Percent::FULL, most: None, each: None, healthy: 2, endpoints: 2 };

    #[test]
    fn what_bounds_the_target_decides() {
        let (most, each) = (Some(64), Some(100));
        let half = Percent::from_ppm(500_000);
        for (target, in_flight, short) in [
            (TARGET, 1_000_000, None),
            (Target { healthy: 0, ..TARGET }, 0, Some((1, 0))),
            (Target { healthy: 0, share: Percent::ZERO, ..TARGET }, 9, None),
            (Target { most, ..TARGET }, 64, None),
            (Target { most, ..TARGET }, 65, Some((65, 64))),
            (Target { most, share: half, ..TARGET }, 128, None),
            (Target { most, share: half, ..TARGET }, 129, Some((65, 64))),
            (Target { most, healthy: 1, ..TARGET }, 64, Some((64, 32))),
            (Target { most: Some(1), healthy: 1, ..TARGET }, 1, None),
            (Target { each, ..TARGET }, 200, None),
            (Target { each, healthy: 1, ..TARGET }, 200, Some((200, 100))),
            (Target { each, most, ..TARGET }, 100, Some((100, 64))),
            (Target { most, endpoints: 0, healthy: 0, ..TARGET }, 65, Some((65, 64))),
        ] {
            match (headroom(&Load { in_flight }, &target), short) {
                (Headroom::Short { needed, have, why }, Some(told)) => {
                    assert_eq!((needed, have), told, "{target:?} {why}");
                }
                (Headroom::Enough | Headroom::Unknown, None) => {}
                (got, _) => panic!("{target:?} with {in_flight}: {got:?}"),
            }
        }
        assert_eq!(headroom(&Load { in_flight: 1 }, &TARGET), Headroom::Unknown);
    }

    #[test]
    fn it_says_how_many_endpoints_the_load_needs() {
        let target = Target { most: Some(40), healthy: 1, endpoints: 4, ..TARGET };
        let Headroom::Short { why, .. } = headroom(&Load { in_flight: 25 }, &target)
        else {
            panic!("there is no room");
        };
        assert_eq!(
            why,
            "maxInFlight allows no more with 1 of 4 endpoints, this load needs 3"
        );
    }

    proptest! {
        #[test]
        fn more_room_never_says_short(
            in_flight in 0_u64..10_000,
            most in 1_u64..10_000,
            more in 0_u64..10_000,
        ) {
            let target = |most| Target { most: Some(most), ..TARGET };
            let load = Load { in_flight };
            let (less_room, more_room) =
                (headroom(&load, &target(most)), headroom(&load, &target(most + more)));
            prop_assert!(less_room != Headroom::Enough || more_room == Headroom::Enough);
        }
    }
}
