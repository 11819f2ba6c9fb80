//! From a request's facts to the version that answers it, and the reason.

use thiserror::Error;

use super::signature::{HeaderLookup, Signature};
use super::table::{Role, Route, Standing};

/// The version given to one request, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The version, by its place in the route.
    pub version: usize,
    /// Why this one.
    pub reason: Reason,
    /// No other version may answer in its place.
    pub strict: bool,
}

/// Why a request went where it went; the value of `x-switchback-reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The split's coin.
    Split,
    /// The split, by the coin of the request's session.
    Sticky,
    /// A header named the version.
    Override,
    /// A trusted caller demanded the version.
    Pin,
    /// The path named a version of the model; so it is no request for the split.
    Path,
    /// It was to go to a version that was rolled back; stable took it.
    Rollback,
    /// It was to go to a version that users are protected from; stable took it.
    Protect,
}

impl Reason {
    /// The header's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Sticky => "sticky",
            Self::Override => "override",
            Self::Pin => "pin",
            Self::Path => "path",
            Self::Rollback => "rollback",
            Self::Protect => "protect",
        }
    }
}

/// Why a demand for a version is not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// No version that may be demanded has that name.
    #[error("the version that is demanded is none of those that may be")]
    Unknown,
    /// The version takes no requests, and the route says that no other may answer then.
    #[error("the version that is demanded takes no requests: it is {0}")]
    Out(Standing),
}

/// Chooses the version: a pin first, then an override, a version in the path, and the split
/// by the coin. A quarantined or protected version is never the answer.
///
/// # Errors
/// [`Refused`] when the request demands a version that may not be demanded, or that takes
/// no requests and is not to be stood in for.
pub fn assign<H: HeaderLookup>(
    route: &Route,
    sig: &Signature<'_, H>,
) -> Result<Assignment, Refused> {
    let pin = route.policy.pin.as_ref();
    let refuse = pin.is_some_and(|pin| pin.refuse);
    if let (Some(pin), Some(wanted)) = (pin, sig.pin) {
        let known = pin.allowed.iter().any(|name| name.as_str() == wanted);
        let to = route.versions().iter().position(|one| one.name.as_str() == wanted);
        let to = to.filter(|_| known).ok_or(Refused::Unknown)?;
        return given(route, to, Reason::Pin, refuse);
    }
    for rule in &route.overrides {
        if sig.headers.only(&rule.header) == Some(&rule.value) {
            return given(route, rule.to, Reason::Override, false);
        }
    }
    if let Some(wanted) = sig.version {
        // What only a pin or an override may reach is not to be had by a path.
        let to = route
            .versions()
            .iter()
            .position(|one| one.name.as_str() == wanted && one.role != Role::Candidate);
        return match to {
            Some(to) => given(route, to, Reason::Path, refuse)
                .map(|given| Assignment { strict: true, ..given }),
            None => {
                let version = route.stable_place();
                Ok(Assignment { version, reason: Reason::Path, strict: true })
            }
        };
    }
    let reason = if sig.sticky { Reason::Sticky } else { Reason::Split };
    let version = route.split().choose(sig.coin);
    Ok(Assignment { version, reason, strict: false })
}

/// The version that a request names, or stable where that one takes no requests.
fn given(
    route: &Route,
    to: usize,
    reason: Reason,
    refuse: bool,
) -> Result<Assignment, Refused> {
    let stable = route.stable_place();
    let stands_in = |reason| Assignment { version: stable, reason, strict: false };
    match route.versions()[to].standing {
        Standing::Serving | Standing::Trickling => {
            Ok(Assignment { version: to, reason, strict: refuse })
        }
        out if refuse => Err(Refused::Out(out)),
        Standing::Protected => Ok(stands_in(Reason::Protect)),
        Standing::Quarantined => Ok(stands_in(Reason::Rollback)),
    }
}

#[cfg(test)]
#[path = "pin_tests.rs"]
mod pin_tests;

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Reason, assign};
    use crate::route::{
        Override, Role, Route, RouteMatch, RouteTable, Signature, Standing, TableError,
        Version,
    };
    use crate::vocab::amount::Percent;
    use crate::vocab::ids::{Digest, Generation, Name, Slot};
    use crate::vocab::policy::{
        Banner, FailureSet, Repeatable, Rescue, Retry, RoutePolicy, Timeouts,
    };

    pub(in crate::route) fn policy() -> Arc<RoutePolicy> {
        let none = Duration::ZERO;
        Arc::new(RoutePolicy {
            timeouts: Timeouts {
                connect: none,
                first_byte: none,
                idle: none,
                total: none,
            },
            retry: Retry {
                attempts: 0,
                budget: Percent::ZERO,
                on: FailureSet::default(),
            },
            rescue: Rescue { on: FailureSet::default(), max_body: 0 },
            repeatable: Repeatable::Auto,
            dialect: None,
            affinity: None,
            pin: None,
            cache: None,
            banner: Banner {
                header: "x".into(),
                json_field: None,
                message: String::new(),
            },
            emergency: None,
            sample_bodies: 0,
        })
    }

    /// The route `r` with a stable version `v1` and canaries `v2`, `v3` … of those shares.
    pub(in crate::route) fn route_of(shares: &[Percent]) -> Route {
        let mut versions = vec![version("v1", Role::Stable, 0.0, 0)];
        for (at, share) in shares.iter().enumerate() {
            let canary = version(&format!("v{}", at + 2), Role::Canary, 0.0, at + 1);
            versions.push(Version { weight: *share, ..canary });
        }
        let name = Name::parse("r").unwrap();
        Route::new(name, RouteMatch::default(), versions, vec![], policy()).unwrap()
    }

    fn version(name: &str, role: Role, weight: f64, slot: usize) -> Version {
        Version {
            name: Name::parse(name).unwrap(),
            slot: Slot::new(slot).unwrap(),
            digest: Digest::new(name),
            role,
            weight: Percent::of(weight).unwrap(),
            standing: Standing::Serving,
        }
    }

    fn route(name: &str, prefix: &str) -> Route {
        Route::new(
            Name::parse(name).unwrap(),
            RouteMatch { path_prefix: prefix.into(), ..Default::default() },
            vec![
                version("v1", Role::Stable, 0.0, 0),
                version("v2", Role::Canary, 10.0, 1),
            ],
            vec![Override { header: "canary".into(), value: "true".into(), to: 1 }],
            policy(),
        )
        .unwrap()
    }

    fn given(route: &Route, headers: &[(&str, &str)], coin: u64) -> (usize, Reason) {
        let headers: HashMap<&str, &str> = headers.iter().copied().collect();
        let got = assign(route, &Signature::new("", "/", &headers, coin)).unwrap();
        (got.version, got.reason)
    }

    #[test]
    fn an_override_wins_over_the_weight_but_not_over_quarantine() {
        let route = route("r", "/");
        assert_eq!(given(&route, &[("canary", "true")], u64::MAX), (1, Reason::Override));
        assert_eq!(given(&route, &[("canary", "false")], u64::MAX), (0, Reason::Split));
        let name = Name::parse("v2").unwrap();
        let bad = route.with_standing(&name, Standing::Quarantined).unwrap();
        assert_eq!(given(&bad, &[("canary", "true")], 0), (0, Reason::Rollback));
        assert_eq!(given(&bad, &[], 0), (0, Reason::Split));
        assert_eq!(bad.share(bad.stable()), Percent::FULL);
        let spared = route.with_standing(&name, Standing::Protected).unwrap();
        assert_eq!(given(&spared, &[("canary", "true")], 0), (0, Reason::Protect));
        assert_eq!(Reason::Protect.as_str(), "protect");
        let trickling = route.with_standing(&name, Standing::Trickling).unwrap();
        assert_eq!(given(&trickling, &[("canary", "true")], 0), (1, Reason::Override));
    }

    #[test]
    fn the_longest_prefix_takes_the_request() {
        let table = RouteTable::new(
            Generation(1),
            vec![Arc::new(route("all", "/")), Arc::new(route("iris", "/v2/iris"))],
        );
        let headers = HashMap::new();
        let find = |path| {
            let sig = Signature::new("", path, &headers, 0);
            table.routes()[table.find(&sig).place().unwrap()].name.to_string()
        };
        assert_eq!(find("/v2/iris/infer"), "iris");
        assert_eq!(find("/v2/irises"), "all");
    }

    #[test]
    fn wrong_tables_cannot_be_made() {
        let one = route("r", "/");
        let v1 = Name::parse("v1").unwrap();
        assert!(matches!(
            one.with_weight(&v1, Percent::FULL),
            Err(TableError::StableWeight(..))
        ));
        let two =
            vec![version("a", Role::Stable, 0.0, 0), version("b", Role::Stable, 0.0, 1)];
        let made = Route::new(
            Name::parse("r").unwrap(),
            RouteMatch::default(),
            two,
            vec![],
            policy(),
        );
        assert!(matches!(made, Err(TableError::Stable(_, 2))));
    }

    proptest! {
        #[test]
        fn no_coin_and_no_header_reaches_a_version_that_is_out(
            coin: u64,
            asks: bool,
            protected: bool,
            weight in 0u32..=1_000_000,
            part in 0u32..=1_000_000,
        ) {
            let name = Name::parse("v2").unwrap();
            let standing =
                if protected { Standing::Protected } else { Standing::Quarantined };
            let mut bad = route("r", "/")
                .with_weight(&name, Percent::from_ppm(weight))
                .unwrap()
                .with_standing(&name, standing)
                .unwrap();
            if protected {
                bad = bad.with_copying(&name, Some(Percent::from_ppm(part))).unwrap();
            }
            let headers: &[(&str, &str)] = if asks { &[("canary", "true")] } else { &[] };
            prop_assert_eq!(given(&bad, headers, coin).0, 0);
            prop_assert_eq!(bad.share(&bad.versions()[1]), Percent::ZERO);
            prop_assert_eq!(bad.share(bad.stable()), Percent::FULL);
        }

        #[test]
        fn a_trickle_is_a_quarter(weight in 0u32..=1_000_000, coin: u64) {
            let name = Name::parse("v2").unwrap();
            let whole = route("r", "/").with_weight(&name, Percent::from_ppm(weight)).unwrap();
            let less = whole.with_standing(&name, Standing::Trickling).unwrap();
            prop_assert_eq!(less.share(&less.versions()[1]).ppm(), weight / 4);
            // Whoever is on the trickle was on the version before.
            prop_assert!(given(&less, &[], coin).0 <= given(&whole, &[], coin).0);
        }
    }
}
