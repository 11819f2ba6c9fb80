//! Which route of a configuration is replayed, and why there may be none.

use thiserror::Error;

use crate::control::RouteSettings;
use crate::route::Role;
use crate::vocab::ids::Name;

/// Why a trace gives no verdict.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReplayError {
    /// There is no such route.
    #[error("there is no route {route:?}, only {names}")]
    NoRoute {
        /// What was asked for.
        route: String,
        /// The routes that there are.
        names: String,
    },
    /// Several routes have a canary and none was asked for.
    #[error("several routes have a canary, name one with --route: {0}")]
    Several(String),
    /// No route has anything on trial.
    #[error("no route has a canary, so that there is nothing to decide")]
    NothingOnTrial,
    /// The route has nothing on trial.
    #[error("route {0} has no canary, so that there is nothing to decide")]
    NoCanary(Name),
    /// The trace has no request of the route.
    #[error("the trace has no request of route {route}, {lines} lines were read")]
    Empty {
        /// The route.
        route: Name,
        /// How many lines there were.
        lines: u64,
    },
    /// The trace has requests, but none of the versions of the route.
    #[error(
        "none of {events} requests is of a version of route {route}, which has {names}"
    )]
    Strangers {
        /// The route.
        route: Name,
        /// How many requests there were.
        events: u64,
        /// The versions that it has.
        names: String,
    },
}

/// The route of that name; without a name, the only one that has a canary.
///
/// # Errors
/// [`ReplayError`] when there is none, or several to choose from.
pub fn choose<'a>(
    routes: &'a [RouteSettings],
    name: Option<&str>,
) -> Result<&'a RouteSettings, ReplayError> {
    let all: Vec<&RouteSettings> = routes.iter().collect();
    if let Some(name) = name {
        let found = all.iter().copied().find(|route| route.name.as_str() == name);
        let (route, names) = (name.to_owned(), names(&all));
        return found.ok_or(ReplayError::NoRoute { route, names });
    }
    let mut on_trial = all;
    on_trial.retain(|route| {
        route.versions.iter().any(|version| version.role == Role::Canary)
    });
    match &on_trial[..] {
        [] => Err(ReplayError::NothingOnTrial),
        [only] => Ok(only),
        several => Err(ReplayError::Several(names(several))),
    }
}

fn names(routes: &[&RouteSettings]) -> String {
    let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
    names.join(", ")
}
