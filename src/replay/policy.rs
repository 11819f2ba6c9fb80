//! `Policy`: what of a route's settings decides over a trace, and why there may be none.

use std::sync::Arc;

use thiserror::Error;

use crate::control::RouteSettings;
use crate::judge::Rules;
use crate::route::Role;
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;

/// One route's rules and versions.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The route's name.
    pub route: Name,
    /// What a canary must keep to.
    pub rules: Arc<Rules>,
    /// Each version with its role and its weight.
    pub versions: Vec<(Name, Role, Percent)>,
}

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

impl Policy {
    /// That of the route of that name; without a name, of the only one that has a canary.
    ///
    /// # Errors
    /// [`ReplayError`] when there is none, or several to choose from.
    pub fn choose(
        routes: &[RouteSettings],
        name: Option<&str>,
    ) -> Result<Self, ReplayError> {
        let all: Vec<&RouteSettings> = routes.iter().collect();
        if let Some(name) = name {
            let found = all.iter().find(|route| route.name.as_str() == name);
            let (route, names) = (name.to_owned(), names(&all));
            return Ok(Self::of(found.ok_or(ReplayError::NoRoute { route, names })?));
        }
        let mut on_trial = all;
        on_trial.retain(|route| {
            route.versions.iter().any(|version| version.role == Role::Canary)
        });
        match &on_trial[..] {
            [] => Err(ReplayError::NothingOnTrial),
            [only] => Ok(Self::of(only)),
            several => Err(ReplayError::Several(names(several))),
        }
    }

    fn of(route: &RouteSettings) -> Self {
        let versions = route.versions.iter();
        Self {
            route: route.name.clone(),
            rules: route.trial_rules(),
            versions: versions
                .map(|one| (one.name.clone(), one.role, one.weight))
                .collect(),
        }
    }
}

fn names(routes: &[&RouteSettings]) -> String {
    let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
    names.join(", ")
}
