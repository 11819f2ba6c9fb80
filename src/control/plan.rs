//! From settings to a table: which version keeps its slot, which needs a new one, and with
//! what weight and standing each begins.
//!
//! Planning changes nothing that anybody can see, so that settings which do not fit leave
//! everything as it was; the slots it claimed go back by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;

use super::copies::{target, with_copies};
use super::guard::PROBED;
use super::seats::{Label, Seats};
use super::settings::{RouteSettings, Settings, VersionSettings};
use crate::judge::Confirm;
use crate::measure::Roster;
use crate::rollout::{Protects, Quarantine};
use crate::route::{Override, Role, Route, RouteTable, Standing, TableError, Version};
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Generation, Name, Slot};
use crate::vocab::record::ActingEntry;

/// Why settings do not make a table.
#[derive(Debug, Error)]
pub enum PlanError {
    /// A route does not fit together.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Two routes, or two versions of a route, have the same name.
    #[error("{0} is there twice")]
    Twice(String),
    /// A header chooses a version that is not there.
    #[error(
        "route {0}: the override for {1} chooses version number {2}, which is not there"
    )]
    Override(Name, String, usize),
    /// Too many versions.
    #[error("there is no room for version {1} of route {0}: at most {limit} versions at a time, those that drain counted in", limit = Slot::LIMIT)]
    Slots(Name, Name),
    /// What is in quarantine cannot be what everybody falls back to.
    #[error("version {1} of route {0} cannot be stable, it is in quarantine: {2}")]
    QuarantinedStable(Name, Name, String),
    /// What users are kept off cannot be what everybody falls back to.
    #[error(
        "version {1} of route {0} cannot be stable, it is under protect: give its users back with set-weight, or roll it back, under the configuration before ({2})"
    )]
    ProtectedStable(Name, Name, String),
}

/// A table that could be published, and what has to be done before.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) table: RouteTable,
    /// In the order of the settings, routes and versions.
    pub(super) moves: Vec<(Slot, Move)>,
    claims: Claims,
}

/// What becomes of a version's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Nothing changes.
    Keep,
    /// The same servers are treated otherwise.
    Refit,
    /// It is new, or another build, or on other servers.
    Fresh,
}

impl Plan {
    /// The slots are taken for good.
    pub(super) fn settle(&mut self) {
        self.claims.slots.clear();
    }

    /// What changes, in words.
    pub(super) fn summary(&self) -> String {
        let count = |what| self.moves.iter().filter(|(_, made)| *made == what).count();
        format!(
            "{} versions as before, {} refitted, {} new",
            count(Move::Keep),
            count(Move::Refit),
            count(Move::Fresh)
        )
    }
}

/// What a plan goes on from.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) seats: &'a Seats,
    pub(super) weights: &'a Weights,
    pub(super) quarantine: &'a Quarantine,
    pub(super) protects: &'a Protects,
    /// Versions of which stable has a part back for now.
    pub(super) probing: &'a BTreeSet<Label>,
    /// Versions that act as stable, by route.
    pub(super) acting: &'a BTreeMap<Name, ActingEntry>,
    /// The table in force; an empty one at the start.
    pub(super) table: &'a RouteTable,
}

/// Routes on which nobody acts as stable any more, because the settings mean another thing
/// now than they did then.
pub(super) fn relieved(settings: &Settings, known: Known<'_>) -> Vec<Name> {
    let holds = |name: &Name| {
        settings.route(name).is_some_and(|route| known.acting(route).is_some())
    };
    known.acting.keys().filter(|name| !holds(name)).cloned().collect()
}

/// Plans the table of these settings, the one after the table in force.
pub(super) fn plan(settings: &Settings, known: Known<'_>) -> Result<Plan, PlanError> {
    let roster = Arc::clone(known.seats.roster());
    let claims = Claims { roster, slots: Vec::new() };
    let mut planner = Planner { known, moves: Vec::new(), claims };
    let generation = Generation(known.table.generation().0 + 1);
    let mut names = BTreeSet::new();
    let mut routes = Vec::with_capacity(settings.routes.len());
    for route in &settings.routes {
        if !names.insert(&route.name) {
            return Err(PlanError::Twice(format!("route {}", route.name)));
        }
        routes.push(Arc::new(planner.route(route)?));
    }
    let table = RouteTable::new(generation, routes);
    Ok(Plan { table, moves: planner.moves, claims: planner.claims })
}

impl<'a> Known<'a> {
    /// Who acts as stable on the route, if the settings still mean what was meant then.
    fn acting(&self, route: &RouteSettings) -> Option<&'a ActingEntry> {
        let entry = self.acting.get(&route.name)?;
        let is = |name: &Name, digest: &Digest| {
            route.versions.iter().find(|one| one.name == *name && one.digest == *digest)
        };
        let in_role = is(&entry.instead_of, &entry.instead_digest)?;
        is(&entry.version, &entry.digest)?;
        let held = self.quarantine.holds(&route.name, &entry.version, &entry.digest);
        (in_role.role == Role::Stable && !held).then_some(entry)
    }
}

struct Planner<'a> {
    known: Known<'a>,
    moves: Vec<(Slot, Move)>,
    claims: Claims,
}

impl Planner<'_> {
    fn route(&mut self, route: &RouteSettings) -> Result<Route, PlanError> {
        let mut names = BTreeSet::new();
        let mut versions = Vec::with_capacity(route.versions.len());
        for version in &route.versions {
            if !names.insert(&version.name) {
                let twice = format!("version {} of route {}", version.name, route.name);
                return Err(PlanError::Twice(twice));
            }
            versions.push(self.version(route, version)?);
        }
        let mut overrides = Vec::with_capacity(route.overrides.len());
        for (header, value, to) in &route.overrides {
            if *to >= versions.len() {
                return Err(PlanError::Override(route.name.clone(), header.clone(), *to));
            }
            overrides.push(Override {
                header: header.clone(),
                value: value.clone(),
                to: *to,
            });
        }
        let (name, matcher) = (route.name.clone(), route.matcher.clone());
        let policy = Arc::clone(&route.policy);
        let next = Route::new(name, matcher, versions, overrides, policy)?;
        let before = self.known.table.route(&route.name);
        let had = before.and_then(|before| target(before));
        let next = with_copies(next, had, self.known.protects)?;
        let next = match before {
            Some(before) => next.following(before),
            None => next,
        };
        Ok(match self.known.acting(route) {
            Some(entry) if next.stable().name != entry.version => {
                next.with_stable(&entry.version)?
            }
            Some(_) | None => next,
        })
    }

    fn version(
        &mut self,
        route: &RouteSettings,
        version: &VersionSettings,
    ) -> Result<Version, PlanError> {
        let label = Label { route: route.name.clone(), version: version.name.clone() };
        let standing = self.standing(route, version)?;
        let slot = self.slot(&label, version)?;
        let weights = self.known.weights;
        let mut weight = match route.rollout {
            Some(_) => weights.of(&label, version),
            None => weights.by_hand(&label, version),
        };
        if self.known.acting(route).is_some() && !self.known.weights.has(&label) {
            // It was stopped by the rollback that another version acts since.
            weight = Percent::ZERO;
        }
        let probed = self.known.probing.contains(&label);
        Ok(Version {
            name: version.name.clone(),
            slot,
            digest: version.digest.clone(),
            role: version.role,
            weight: if probed { weight.min(PROBED) } else { weight },
            standing,
        })
    }

    fn standing(
        &self,
        route: &RouteSettings,
        version: &VersionSettings,
    ) -> Result<Standing, PlanError> {
        let (name, digest) = (&version.name, &version.digest);
        let acting = self.known.acting(route);
        let is_stable = match acting {
            Some(entry) => *name == entry.version,
            None => version.role == Role::Stable,
        };
        let here = || (route.name.clone(), name.clone());
        if let Some(entry) = self.known.quarantine.holding(&route.name, name, digest) {
            if is_stable {
                let ((route, version), why) = (here(), entry.reason.clone());
                return Err(PlanError::QuarantinedStable(route, version, why));
            }
            return Ok(Standing::Quarantined);
        }
        let Some(entry) = self.known.protects.holding(&route.name, name, digest) else {
            return Ok(Standing::Serving);
        };
        if is_stable {
            let ((route, version), why) = (here(), entry.record.finding.clone());
            return Err(PlanError::ProtectedStable(route, version, why));
        }
        let before = self.known.table.route(&route.name).and_then(|it| it.version(name));
        let by_trickle = match before.map(|before| before.standing) {
            Some(Standing::Trickling) => true,
            Some(Standing::Protected) => false,
            Some(Standing::Serving | Standing::Quarantined) | None => {
                route.trial_rules().confirm == Confirm::Trickle
            }
        };
        Ok(if by_trickle { Standing::Trickling } else { Standing::Protected })
    }

    fn slot(
        &mut self,
        label: &Label,
        version: &VersionSettings,
    ) -> Result<Slot, PlanError> {
        let (slot, made) = match self.known.seats.current(label) {
            Some((slot, seat)) if seat.is_same(version) => {
                let same = seat.upstream.settings == version.upstream;
                (slot, if same { Move::Keep } else { Move::Refit })
            }
            Some(_) | None => {
                let claimed = self.claims.roster.claim().ok_or_else(|| {
                    PlanError::Slots(label.route.clone(), label.version.clone())
                })?;
                self.claims.slots.push(claimed);
                (claimed, Move::Fresh)
            }
        };
        self.moves.push((slot, made));
        Ok(slot)
    }
}

/// Slots that go back unless the plan is carried out.
#[derive(Debug)]
struct Claims {
    roster: Arc<Roster>,
    slots: Vec<Slot>,
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.slots.iter().for_each(|slot| self.roster.release(*slot));
    }
}

/// Weights that operators gave. Each holds until the configuration says another weight for
/// the version than it did when the operator gave it.
#[derive(Debug, Default)]
pub(super) struct Weights {
    given: BTreeMap<Label, Given>,
    /// Weights of versions that are rolled out, each for one build.
    rolled: BTreeMap<Label, (Digest, Percent)>,
}

#[derive(Debug)]
struct Given {
    configured: Percent,
    weight: Percent,
}

impl Weights {
    /// The weight that a version begins with.
    pub(super) fn of(&self, label: &Label, version: &VersionSettings) -> Percent {
        if let Some((digest, weight)) = self.rolled.get(label) {
            let is_it = *digest == version.digest && version.role == Role::Canary;
            return if is_it { *weight } else { version.weight };
        }
        self.by_hand(label, version)
    }

    /// The weight that it begins with where nothing is rolled out.
    fn by_hand(&self, label: &Label, version: &VersionSettings) -> Percent {
        match self.given.get(label) {
            Some(given) if given.configured == version.weight => given.weight,
            Some(_) | None => version.weight,
        }
    }

    /// Whether an operator gave this version a weight.
    pub(super) fn has(&self, label: &Label) -> bool {
        self.given.contains_key(label)
    }

    /// An operator gives a weight.
    pub(super) fn give(&mut self, label: Label, configured: Percent, weight: Percent) {
        self.given.insert(label, Given { configured, weight });
    }

    /// A rollout gives a weight, which holds for this build whatever the configuration says
    /// until the route has no rollout of it any more.
    pub(super) fn roll(&mut self, label: Label, digest: Digest, weight: Percent) {
        self.rolled.insert(label, (digest, weight));
    }

    /// Forgets what these settings overrule.
    pub(super) fn fit(&mut self, settings: &Settings) {
        self.rolled.retain(|label, (digest, _)| {
            let plan = settings.route(&label.route).and_then(|it| it.rollout.as_ref());
            let version = settings.version(&label.route, &label.version);
            plan.is_some()
                && version.is_some_and(|version| {
                    version.digest == *digest && version.role == Role::Canary
                })
        });
        self.given.retain(|label, given| {
            settings
                .version(&label.route, &label.version)
                .is_some_and(|version| version.weight == given.configured)
        });
    }
}
