//! Which version under protect gets copies of requests, and how many.
//!
//! Apart from the deeds and from the plan, because both end with the same question: one
//! version of a route gets copies at a time, and who waits for them takes its turn.

use crate::rollout::Protects;
use crate::route::{Route, Standing, TableError, Version};
use crate::vocab::amount::Percent;
use crate::vocab::ids::Slot;
use crate::vocab::record::Outcome;

/// The route with copies for the version under protect whose turn it is: the one that had
/// them before, else the first. One that is held gets none.
pub(super) fn with_copies(
    route: Route,
    before: Option<Slot>,
    protects: &Protects,
) -> Result<Route, TableError> {
    let is_held = |version: &Version| {
        let (name, digest) = (&version.name, &version.digest);
        let entry = protects.holding(&route.name, name, digest);
        entry.is_some_and(|entry| entry.record.outcome == Outcome::Held)
    };
    let waits =
        |version: &&Version| version.standing == Standing::Protected && !is_held(version);
    let mut waiting = route.versions().iter().filter(waits);
    let had = waiting.clone().find(|version| Some(version.slot) == before);
    let Some(next) = had.or_else(|| waiting.next()) else {
        let Some(copying) = route.copying() else { return Ok(route) };
        let name = route.versions()[copying.to].name.clone();
        return route.with_copying(&name, None);
    };
    let (name, part) = (next.name.clone(), part(&route, next));
    route.with_copying(&name, Some(part))
}

/// Which version gets copies now.
pub(super) fn target(route: &Route) -> Option<Slot> {
    route.copying().map(|copying| route.versions()[copying.to].slot)
}

/// So many of stable's requests are copied that the version sees as many beside stable's as
/// it did with its share (decision/SPEC.md 3.6): `w / (1 - w)`, at most all of them.
fn part(route: &Route, version: &Version) -> Percent {
    let own = u64::from(version.weight.ppm());
    let stable = u64::from(route.share(route.stable()).ppm()).saturating_sub(own);
    let all = u64::from(Percent::FULL.ppm());
    let part = (own * all).checked_div(stable).unwrap_or(all).min(all);
    Percent::from_ppm(u32::try_from(part).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::{target, with_copies};
    use crate::control::tests::support::{name, percent, plain_route, protects};
    use crate::route::{Route, Standing};
    use crate::vocab::record::Outcome;

    fn spared(route: &Route, version: &str) -> Route {
        route.with_standing(&name(version), Standing::Protected).unwrap()
    }

    fn slot(route: &Route, version: &str) -> Option<crate::vocab::ids::Slot> {
        route.version(&name(version)).map(|version| version.slot)
    }

    #[test]
    fn a_version_sees_as_much_as_with_its_share() {
        for (weight, part) in [
            (10.0, 111_111),
            (20.0, 250_000),
            (50.0, 1_000_000),
            (90.0, 1_000_000),
            (100.0, 1_000_000),
        ] {
            let route = spared(&plain_route(weight), "v2");
            let open = protects("v2", Outcome::Open);
            let copied = with_copies(route, None, &open).unwrap();
            assert_eq!(copied.copying().unwrap().part.ppm(), part, "{weight}");
        }
        let none = spared(&plain_route(0.0), "v2");
        let open = protects("v2", Outcome::Open);
        assert!(with_copies(none, None, &open).unwrap().copying().is_none());
    }

    #[test]
    fn one_at_a_time_and_nobody_who_is_held() {
        let route = plain_route(10.0).with_weight(&name("v3"), percent(5.0)).unwrap();
        let (open, held) = (protects("v2", Outcome::Open), protects("v2", Outcome::Held));
        let (both, slots) = (
            spared(&spared(&route, "v2"), "v3"),
            (slot(&route, "v2"), slot(&route, "v3")),
        );
        let next = |before, protects| {
            target(&with_copies(both.clone(), before, protects).unwrap())
        };
        assert_eq!(next(None, &open), slots.0);
        assert_eq!(next(slots.1, &open), slots.1, "who has them keeps them");
        assert_eq!(next(slots.0, &held), slots.1, "who is held needs none");
        let alone = spared(&route, "v2");
        let copied = with_copies(alone, None, &open).unwrap();
        let over = with_copies(copied, slots.0, &held).unwrap();
        assert_eq!(target(&over), None);
    }
}
