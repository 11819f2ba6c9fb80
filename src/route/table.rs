//! The route table: immutable routes with their versions, splits and policies.

use std::sync::Arc;

use thiserror::Error;

use super::copying::Copying;
use super::matcher::RouteMatch;
use super::signature::{HeaderLookup, Signature};
use super::split::Split;
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Epoch, Generation, Name, Slot};
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
    copying: Option<Copying>,
    epoch: Epoch,
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
    /// Under suspicion, where requests may not be copied: it takes a quarter of its weight
    /// (decision/SPEC.md 3.6).
    Trickling,
    /// Under suspicion: it takes no request of a user, whatever weight or header asks for
    /// it; copies of requests may be sent to it.
    Protected,
    /// It was rolled back; nothing reaches it, whatever weight or header asks for it.
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
    /// Stable takes what nobody else takes, so that it cannot be spared.
    #[error("{1}, the stable version of route {0}, cannot be taken out of service")]
    StableStanding(Name, Name),
    /// Copies go to protected versions only.
    #[error("version {1} of route {0} is not protected: no request is copied to it")]
    Unprotected(Name, Name),
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
            copying: None,
            epoch: Epoch::default(),
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

    /// The copies that are sent now, if any are.
    #[must_use]
    pub fn copying(&self) -> Option<Copying> {
        self.copying
    }

    /// The number of the shares and the copying of now: one higher after every change of
    /// either.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The share of new requests that this version takes now, its standing counted in.
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
            Role::Canary => match version.standing {
                Standing::Serving => version.weight,
                Standing::Trickling => Percent::from_ppm(version.weight.ppm() / TRICKLE),
                Standing::Protected | Standing::Quarantined => Percent::ZERO,
            },
            Role::Candidate => Percent::ZERO,
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
        Ok(next.counted_after(self))
    }

    /// The same route with another standing of one version. Copying to it ends when it is no
    /// longer protected.
    ///
    /// # Errors
    /// [`TableError`] when there is no such version, it is the stable one and would not
    /// serve, or the weights no longer fit.
    pub fn with_standing(
        &self,
        version: &Name,
        standing: Standing,
    ) -> Result<Self, TableError> {
        let mut next = self.clone();
        let found = next.find(version)?;
        if found.role == Role::Stable && standing != Standing::Serving {
            return Err(TableError::StableStanding(self.name.clone(), version.clone()));
        }
        found.standing = standing;
        next.settle()?;
        Ok(next.counted_after(self))
    }

    /// The same route, in which `part` of the requests that the split gives to stable are
    /// also sent to this version; `None` or 0 % ends it. One version gets copies at a time:
    /// they are taken from any other.
    ///
    /// # Errors
    /// [`TableError`] when there is no such version, or it is to get copies and is not
    /// protected.
    pub fn with_copying(
        &self,
        version: &Name,
        part: Option<Percent>,
    ) -> Result<Self, TableError> {
        let mut next = self.clone();
        let standing = next.find(version)?.standing;
        let place = self.versions.iter().position(|one| one.name == *version);
        let part = part.filter(|part| *part > Percent::ZERO);
        match (place, part) {
            (Some(_), Some(_)) if standing != Standing::Protected => {
                return Err(TableError::Unprotected(self.name.clone(), version.clone()));
            }
            (Some(to), Some(part)) => next.copying = Some(Copying { to, part }),
            (place, _) => {
                next.copying = self.copying.filter(|copying| Some(copying.to) != place);
            }
        }
        Ok(next.counted_after(self))
    }

    /// The same route as the successor of `old`, after a reload: the epoch goes on, and is
    /// the same one if every version has the same slot and share, stable is the same and so
    /// is the copying.
    #[must_use]
    pub fn following(mut self, old: &Self) -> Self {
        self.epoch = old.epoch;
        self.counted_after(old)
    }

    /// Takes the next epoch if anything is not as it was.
    fn counted_after(mut self, old: &Self) -> Self {
        if !self.is_shared_like(old) {
            self.epoch = Epoch(old.epoch.0.wrapping_add(1));
        }
        self
    }

    fn is_shared_like(&self, old: &Self) -> bool {
        let copied = |route: &Self| {
            let Copying { to, part } = route.copying?;
            Some((route.versions[to].slot, part))
        };
        self.stable().slot == old.stable().slot
            && copied(self) == copied(old)
            && self.versions.len() == old.versions.len()
            && self.versions.iter().all(|version| {
                old.versions.iter().any(|before| {
                    before.slot == version.slot
                        && old.share(before) == self.share(version)
                })
            })
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
        let versions = &self.versions;
        self.copying = self
            .copying
            .filter(|copying| versions[copying.to].standing == Standing::Protected);
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

/// A trickling version takes its weight divided by this.
const TRICKLE: u32 = 4;

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
