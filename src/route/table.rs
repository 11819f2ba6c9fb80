//! The route table: immutable routes with their versions, splits and policies.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::copying::Copying;
use super::matcher::{Fit, RouteMatch};
use super::mode::Mode;
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

/// What a look for a request's route came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The route at this place is the narrowest that it belongs to.
    Route(usize),
    /// It belongs to none.
    Nothing,
    /// That depends on a model that only its body can name.
    Unread,
}

impl Found {
    /// The place of the route, if one was found.
    #[must_use]
    pub fn place(self) -> Option<usize> {
        match self {
            Self::Route(place) => Some(place),
            Self::Nothing | Self::Unread => None,
        }
    }
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
    pub(super) versions: Vec<Version>,
    split: Split,
    /// The place of the version that has the role.
    pub(super) configured: usize,
    /// The place of the version that acts in the role: mostly the same.
    pub(super) stable: usize,
    pub(super) mode: Mode,
    copying: Option<Copying>,
    /// The part of stable's requests that is held back, by the place of the version that
    /// had them.
    pub(super) held: Option<(usize, Percent)>,
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
    /// What it is for, as the configuration says. It stays when another version acts as
    /// stable ([`Route::with_stable`]), so that the series that carry it as a label go on.
    pub role: Role,
    /// The share it would take while it stands well; stable's is what the others leave.
    pub weight: Percent,
    /// Whether it may take traffic.
    pub standing: Standing,
}

impl Version {
    /// Whether it was rolled back, so that nothing reaches it.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.standing == Standing::Quarantined
    }
}

/// What a version is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes what nobody else takes and is the target of a rollback, unless another version
    /// acts as stable.
    Stable,
    /// On trial.
    Canary,
    /// No traffic but by a pin or an override.
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

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "serving",
            Self::Trickling => "trickling",
            Self::Protected => "protected",
            Self::Quarantined => "quarantined",
        })
    }
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
    /// The version with the role stable takes nothing while another acts as stable.
    #[error(
        "version {1} of route {0} takes no share while another version acts as stable"
    )]
    Relieved(Name, Name),
    /// A version that may not take every request cannot take what nobody else takes.
    #[error("version {1} of route {0} cannot act as stable: it is {2}")]
    NotServing(Name, Name, Standing),
    /// What was rolled back is not asked in the read-only mode either.
    #[error("version {1} of route {0} cannot be asked in the read-only mode: it is {2}")]
    OutOfService(Name, Name, Standing),
    /// The version asked in the read-only mode is not there.
    #[error("route {0} has no version number {1} to be asked while it is read-only")]
    NoEmergency(Name, usize),
    /// What a version takes is not held back.
    #[error("version {1} of route {0} serves: nothing of it is held back")]
    Serves(Name, Name),
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
            configured: stable,
            stable,
            mode: Mode::Normal,
            copying: None,
            held: None,
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

    /// The place of the version that acts as stable: it takes what nobody else takes and
    /// answers for a version that failed.
    #[must_use]
    pub fn stable_place(&self) -> usize {
        self.stable
    }

    /// The version that acts as stable, whatever its role.
    #[must_use]
    pub fn stable(&self) -> &Version {
        &self.versions[self.stable]
    }

    /// Whether this is the version that acts as stable.
    #[must_use]
    pub fn is_stable(&self, version: &Version) -> bool {
        version.slot == self.stable().slot
    }

    /// Whether versions take requests, or none does.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
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

    /// The share of new requests that this version takes now, its standing counted in. The
    /// version with the role stable takes none while another acts as stable. In the
    /// read-only mode it is the share that the version will have when the mode ends.
    #[must_use]
    pub fn share(&self, version: &Version) -> Percent {
        if self.is_stable(version) {
            let held = self.held.map_or(Percent::ZERO, |(_, part)| part);
            return self.versions.iter().filter(|other| !self.is_stable(other)).fold(
                held.rest(),
                |left, other| {
                    Percent::from_ppm(left.ppm().saturating_sub(self.share(other).ppm()))
                },
            );
        }
        match version.role {
            Role::Canary => match version.standing {
                Standing::Serving => version.weight,
                Standing::Trickling => Percent::from_ppm(version.weight.ppm() / TRICKLE),
                Standing::Protected | Standing::Quarantined => Percent::ZERO,
            },
            Role::Stable | Role::Candidate => Percent::ZERO,
        }
    }

    /// The same route with another weight of one version.
    ///
    /// # Errors
    /// [`TableError`] when there is no such version, it acts as stable or has the role, or
    /// the weights would be above 100 % together.
    pub fn with_weight(
        &self,
        version: &Name,
        weight: Percent,
    ) -> Result<Self, TableError> {
        let mut next = self.clone();
        let at = self.find(version)?;
        if at == self.stable {
            return Err(TableError::StableWeight(self.name.clone(), version.clone()));
        }
        if at == self.configured {
            return Err(TableError::Relieved(self.name.clone(), version.clone()));
        }
        next.versions[at].weight = weight;
        next.settle()?;
        Ok(next.counted_after(self))
    }

    /// The same route with another standing of one version. Copying to it ends when it is no
    /// longer protected.
    ///
    /// # Errors
    /// [`TableError`] when there is no such version, it acts as stable and would not serve,
    /// or the weights no longer fit.
    pub fn with_standing(
        &self,
        version: &Name,
        standing: Standing,
    ) -> Result<Self, TableError> {
        let mut next = self.clone();
        let at = self.find(version)?;
        if at == self.stable && standing != Standing::Serving {
            return Err(TableError::StableStanding(self.name.clone(), version.clone()));
        }
        next.versions[at].standing = standing;
        if standing == Standing::Serving {
            next.held = next.held.filter(|(of, _)| *of != at);
        }
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
        let to = self.find(version)?;
        next.copying = match part.filter(|part| *part > Percent::ZERO) {
            Some(_) if self.versions[to].standing != Standing::Protected => {
                return Err(TableError::Unprotected(self.name.clone(), version.clone()));
            }
            Some(part) => Some(Copying { to, part }),
            None => self.copying.filter(|copying| copying.to != to),
        };
        Ok(next.counted_after(self))
    }

    /// The same route as the successor of `old`, after a reload: mode and acting stable go
    /// on as far as the versions allow ([`Mode::ReadOnly`], [`Route::with_stable`]). So does
    /// the epoch, which is the same one if every version has the same slot and share, stable
    /// is the same and so are the mode and the copying.
    #[must_use]
    pub fn following(self, old: &Self) -> Self {
        let mut next = self.acting_like(old).in_mode_of(old).holding_like(old);
        next.epoch = old.epoch;
        next.counted_after(old)
    }

    /// Takes the next epoch if anything is not as it was.
    pub(super) fn counted_after(mut self, old: &Self) -> Self {
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
            && self.is_in_mode_of(old)
            && copied(self) == copied(old)
            && self.versions.len() == old.versions.len()
            && self.versions.iter().all(|version| {
                old.versions.iter().any(|before| {
                    before.slot == version.slot
                        && old.share(before) == self.share(version)
                })
            })
    }

    /// The place of the version of that name.
    pub(super) fn find(&self, name: &Name) -> Result<usize, TableError> {
        let found = self.versions.iter().position(|version| version.name == *name);
        found.ok_or_else(|| TableError::NoVersion(self.name.clone(), name.clone()))
    }

    /// Makes everything that follows from weights, standings and the acting stable.
    pub(super) fn settle(&mut self) -> Result<(), TableError> {
        let others = self.versions.iter().filter(|v| !self.is_stable(v));
        let asked = others.filter(|v| v.role == Role::Canary);
        if asked.map(|v| u64::from(v.weight.ppm())).sum::<u64>()
            > u64::from(Percent::FULL.ppm())
        {
            return Err(TableError::Weights(self.name.clone()));
        }
        // Those without a share, too: nobody moves into their places in the split.
        let shares: Vec<(usize, Percent)> = (0..self.versions.len())
            .filter(|&at| self.versions[at].role == Role::Canary)
            .map(|at| match &self.versions[at] {
                _ if at == self.stable => (at, Percent::ZERO),
                version => (at, self.share(version)),
            })
            .collect();
        let free = shares.iter().fold(Percent::FULL.ppm(), |left, (_, share)| {
            left.saturating_sub(share.ppm())
        });
        self.held = self
            .held
            .map(|(at, part)| (at, Percent::from_ppm(part.ppm().min(free))))
            .filter(|(at, part)| {
                let is_canary = self.versions[*at].role == Role::Canary;
                is_canary && *part > Percent::ZERO && *at != self.stable
            });
        self.split = Split::holding(self.stable, &shares, self.held)
            .ok_or_else(|| TableError::Weights(self.name.clone()))?;
        let versions = &self.versions;
        self.copying = self
            .copying
            .filter(|copying| versions[copying.to].standing == Standing::Protected);
        self.mode = self.mode.without(|place| {
            versions.get(place).is_none_or(|one| one.standing == Standing::Quarantined)
        });
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

    /// The narrowest route that the request belongs to.
    #[must_use]
    pub fn find<H: HeaderLookup>(&self, sig: &Signature<'_, H>) -> Found {
        for &at in &self.order {
            match self.routes[at].matcher.fit(sig) {
                Fit::Yes => return Found::Route(at),
                Fit::Unread => return Found::Unread,
                Fit::No => {}
            }
        }
        Found::Nothing
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
