//! The route table: immutable routes with their versions, splits and policies.

use std::sync::Arc;

use thiserror::Error;

use super::matcher::RouteMatch;
use super::signature::{HeaderLookup, Signature};
use super::split::Split;
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Generation, Name, Slot};
use crate::vocab::policy::RoutePolicy;

/// All routes at one moment. Complete in itself, numbered, never changed.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    generation: Generation,
    routes: Vec<Arc<Route>>,
    /// Places in `routes`, narrowest match first.
    order: Vec<usize>,
}

/// One route: which requests, which versions, what shares, which policy.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name, unique in the table.
    pub name: Name,
    /// Which requests belong to it.
    pub matcher: RouteMatch,
    /// Headers that send a request to one version whatever the weight.
    pub overrides: Vec<Override>,
    /// What else is done with its requests.
    pub policy: Arc<RoutePolicy>,
    versions: Vec<Version>,
    split: Split,
    stable: usize,
}

/// One version of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its name, unique in the route.
    pub name: Name,
    /// Where its books are.
    pub slot: Slot,
    /// What quarantine remembers of it.
    pub digest: Digest,
    /// What it is for.
    pub role: Role,
    /// The share it would take while it stands well; stable's is what the others leave.
    pub weight: Percent,
    /// Whether it may take traffic.
    pub standing: Standing,
}

/// What a version is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes what nobody else takes; the target of a rollback.
    Stable,
    /// On trial.
    Canary,
    /// No traffic but by an override.
    Candidate,
}

impl Role {
    /// The word used in the configuration and in the `role` label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
            Self::Candidate => "candidate",
        }
    }
}

/// Whether a version may take traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It may.
    Serving,
    /// It was rolled back; no request reaches it, whatever weight or header asks for it.
    Quarantined,
}

/// A header that sends a request to one version whatever the weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Header name, lower case.
    pub header: String,
    /// The exact value.
    pub value: String,
    /// The version, by its place in the route.
    pub to: usize,
}

/// Why something is not a valid route or table.
#[derive(Debug, Error, PartialEq)]
pub enum TableError {
    /// No version has the role stable, or more than one has.
    #[error("route {0} has {1} stable versions and needs exactly one")]
    Stable(Name, usize),
    /// The shares of the versions beside stable are above 100 %.
    #[error(
        "route {0}: the weights of the versions beside stable add up to more than 100%"
    )]
    Weights(Name),
    /// There is no such route.
    #[error("there is no route {0}")]
    NoRoute(Name),
    /// There is no such version.
    #[error("route {0} has no version {1}")]
    NoVersion(Name, Name),
    /// Stable's share is what the others leave.
    #[error(
        "the weight of {1}, the stable version of route {0}, is what the others leave: set theirs"
    )]
    StableWeight(Name, Name),
}

impl Route {
    /// A route of these versions.
    ///
    /// # Errors
    /// [`TableError`] unless exactly one version is stable and the others' weights are at
    /// most 100 % together.
    pub fn new(
        name: Name,
        matcher: RouteMatch,
        versions: Vec<Version>,
        overrides: Vec<Override>,
        policy: Arc<RoutePolicy>,
    ) -> Result<Self, TableError> {
        let stable: Vec<usize> =
            (0..versions.len()).filter(|&at| versions[at].role == Role::Stable).collect();
        let [stable] = stable[..] else {
            return Err(TableError::Stable(name, stable.len()));
        };
        let mut route = Self {
            name,
            matcher,
            overrides,
            policy,
            versions,
            split: Split::default(),
            stable,
        };
        route.settle()?;
        Ok(route)
    }

    /// All versions, in the order of the configuration.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The place of the stable version.
    #[must_use]
    pub fn stable_place(&self) -> usize {
        self.stable
    }

    /// The stable version.
    #[must_use]
    pub fn stable(&self) -> &Version {
        &self.versions[self.stable]
    }

    /// The version of that name.
    #[must_use]
    pub fn version(&self, name: &Name) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == *name)
    }

    /// The split that the weights and standings make.
    #[must_use]
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// The share of new requests that this version takes now, quarantine counted in.
    #[must_use]
    pub fn share(&self, version: &Version) -> Percent {
        match version.role {
            Role::Stable => self
                .versions
                .iter()
                .filter(|other| other.role != Role::Stable)
                .fold(Percent::FULL, |left, other| {
                    Percent::from_ppm(left.ppm().saturating_sub(self.share(other).ppm()))
                }),
            Role::Canary if version.standing == Standing::Serving => version.weight,
            Role::Canary | Role::Candidate => Percent::ZERO,
        }
    }

    /// The same route with another weight of one version.
    ///
    /// # Errors
    /// [`TableError`] when there is no such version, it is the stable one, or the weights
    /// would be above 100 % together.
    pub fn with_weight(
        &self,
        version: &Name,
        weight: Percent,
    ) -> Result<Self, TableError> {
        let mut next = self.clone();
        let found = next.find(version)?;
        if found.role == Role::Stable {
            return Err(TableError::StableWeight(self.name.clone(), version.clone()));
        }
        found.weight = weight;
        next.settle()?;
        Ok(next)
    }

    /// The same route with another standing of one version.
    ///
    /// # Errors
    /// [`TableError`] when there is no such version or the weights no longer fit.
    pub fn with_standing(
        &self,
        version: &Name,
        standing: Standing,
    ) -> Result<Self, TableError> {
        let mut next = self.clone();
        next.find(version)?.standing = standing;
        next.settle()?;
        Ok(next)
    }

    fn find(&mut self, name: &Name) -> Result<&mut Version, TableError> {
        let found = self.versions.iter_mut().find(|version| version.name == *name);
        found.ok_or_else(|| TableError::NoVersion(self.name.clone(), name.clone()))
    }

    fn settle(&mut self) -> Result<(), TableError> {
        let asked = self.versions.iter().filter(|v| v.role == Role::Canary);
        if asked.map(|v| u64::from(v.weight.ppm())).sum::<u64>()
            > u64::from(Percent::FULL.ppm())
        {
            return Err(TableError::Weights(self.name.clone()));
        }
        let shares: Vec<(usize, Percent)> = (0..self.versions.len())
            .filter(|&at| at != self.stable)
            .map(|at| (at, self.share(&self.versions[at])))
            .collect();
        self.split = Split::new(self.stable, &shares)
            .ok_or_else(|| TableError::Weights(self.name.clone()))?;
        Ok(())
    }
}

impl RouteTable {
    /// A table of these routes.
    #[must_use]
    pub fn new(generation: Generation, routes: Vec<Arc<Route>>) -> Self {
        let mut order: Vec<usize> = (0..routes.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(routes[at].matcher.rank()));
        Self { generation, routes, order }
    }

    /// Its number.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// All routes, in the order of the configuration.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The place of the narrowest route that the request belongs to.
    #[must_use]
    pub fn find<H: HeaderLookup>(&self, sig: &Signature<'_, H>) -> Option<usize> {
        self.order.iter().copied().find(|&at| self.routes[at].matcher.matches(sig))
    }

    /// The route of that name.
    #[must_use]
    pub fn route(&self, name: &Name) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.name == *name)
    }

    /// The next table, in which this route has taken the place of the one of its name.
    ///
    /// # Errors
    /// [`TableError::NoRoute`] when there is none of its name.
    pub fn with_route(&self, route: Route) -> Result<Self, TableError> {
        let mut next = self.clone();
        let Some(place) = next.routes.iter_mut().find(|old| old.name == route.name)
        else {
            return Err(TableError::NoRoute(route.name));
        };
        *place = Arc::new(route);
        next.generation = Generation(self.generation.0 + 1);
        Ok(next)
    }
}
