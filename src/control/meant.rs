//! Which rollback an operator means: from which version to which. Apart from the order's
//! deed because it is nothing but choices, each with its reason when there is none.

use super::handle::OrderError;
use crate::route::{Role, Route, Standing, TableError, Version};
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;

/// What an operator means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meant<'r> {
    /// To begin this one.
    Begin {
        /// The version that loses its traffic.
        from: &'r Version,
        /// The version that takes it.
        to: &'r Version,
    },
    /// The one that this version was rolled back by already.
    Done(&'r Version),
}

/// The versions that are meant by `from` (the one on trial when `None`) and `to` (the one
/// that acts as stable when `None`).
pub(super) fn meant<'r>(
    route: &'r Route,
    from: Option<&Name>,
    to: Option<&Name>,
) -> Result<Meant<'r>, OrderError> {
    let to = match to {
        Some(to) => route.version(to).ok_or_else(|| no_version(route, to))?,
        None => route.stable(),
    };
    let from = match from {
        Some(from) => route.version(from).ok_or_else(|| no_version(route, from))?,
        None => on_trial(route, to)?,
    };
    let name = &route.name;
    if from.name == to.name {
        return Err(OrderError::Refused(format!(
            "{} is the version that takes what nobody else takes on route {name}: name the \
             version to go back to with --to",
            to.name
        )));
    }
    if from.standing == Standing::Quarantined {
        return Ok(Meant::Done(from));
    }
    let why = match to.standing {
        Standing::Serving => return Ok(Meant::Begin { from, to }),
        Standing::Quarantined => "in quarantine: release it first, if it is sound",
        Standing::Protected | Standing::Trickling => {
            "under protect: give its users back with set-weight first, if it is sound"
        }
    };
    Err(OrderError::Refused(format!("{} on route {name} is {why}", to.name)))
}

/// The version that is to go when none is named: the canary; where there is none with users,
/// the one that acts as stable, if another is to take its part.
fn on_trial<'r>(route: &'r Route, to: &Version) -> Result<&'r Version, OrderError> {
    let name = &route.name;
    let canaries = || {
        route
            .versions()
            .iter()
            .filter(|one| one.role == Role::Canary && one.name != to.name)
    };
    let serving = |one: &&Version| one.standing != Standing::Quarantined;
    let with_users: Vec<_> =
        canaries().filter(|one| route.share(one) > Percent::ZERO).collect();
    let here: Vec<_> = canaries().filter(serving).collect();
    let stable = route.stable();
    match (&with_users[..], &here[..]) {
        ([only], _) | ([], [only]) => Ok(only),
        ([], []) if stable.name != to.name => Ok(stable),
        ([], []) => canaries().next_back().ok_or_else(|| {
            OrderError::Refused(format!("route {name} has no canary to roll back"))
        }),
        (_, _) => Err(OrderError::Refused(format!(
            "route {name} has more than one canary: name the one to roll back"
        ))),
    }
}

fn no_version(route: &Route, version: &Name) -> OrderError {
    let error = TableError::NoVersion(route.name.clone(), version.clone());
    OrderError::Refused(error.to_string())
}
