//! What the configuration says about routes, their analysis and their rollbacks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::dns;
use crate::effects::post::Target;
use crate::judge::{Confirm, Rules};
pub use crate::rollout::OnTimeout;
use crate::rollout::{Gate, Plan, RampPlan};
use crate::route::{Role, RouteMatch};
use crate::upstream;
use crate::upstream::Origin;
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Name};
use crate::vocab::policy::{Repeatable, RoutePolicy};

/// The live part of the configuration: what a reload may change.
#[derive(Clone, Debug)]
pub struct Settings {
    /// All routes, in the order of the file.
    pub routes: Vec<RouteSettings>,
    /// How names are looked up.
    pub dns: dns::Settings,
    /// A digest of the file with its insertions filled, for the record.
    pub config_hash: String,
    /// What the file means, in lines for people, without anything that came from outside it.
    pub described: Arc<str>,
}

impl Settings {
    /// The names that have to be looked up.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        let versions = self.routes.iter().flat_map(|route| &route.versions);
        let origins = versions.flat_map(|version| &version.upstream.endpoints);
        origins.filter_map(Origin::name).collect()
    }

    /// The route of that name.
    #[must_use]
    pub fn route(&self, name: &Name) -> Option<&RouteSettings> {
        self.routes.iter().find(|route| route.name == *name)
    }

    /// The version of that name on that route.
    #[must_use]
    pub fn version(&self, route: &Name, name: &Name) -> Option<&VersionSettings> {
        self.route(route)?.versions.iter().find(|version| version.name == *name)
    }
}

/// One route.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// Its name.
    pub name: Name,
    /// Which requests belong to it.
    pub matcher: RouteMatch,
    /// What is done with them.
    pub policy: Arc<RoutePolicy>,
    /// Its versions; exactly one is stable.
    pub versions: Vec<VersionSettings>,
    /// Headers that choose a version: name (lower case), value, place of the version.
    pub overrides: Vec<(String, String, usize)>,
    /// What a canary must keep to.
    pub rules: Arc<Rules>,
    /// How a rollback is done.
    pub rollback: RollbackSettings,
    /// How a canary gains traffic; `None` when weights are set by hand.
    pub rollout: Option<Arc<RolloutSettings>>,
}

impl RouteSettings {
    /// The rules that a trial goes by: where nothing may be sent twice there are no copies
    /// to confirm a verdict on.
    #[must_use]
    pub fn trial_rules(&self) -> Arc<Rules> {
        let copies = self.policy.repeatable != Repeatable::Never;
        if copies || self.rules.confirm != Confirm::Auto {
            return Arc::clone(&self.rules);
        }
        Arc::new(Rules { confirm: Confirm::Trickle, ..(*self.rules).clone() })
    }
}

/// One version of a route.
#[derive(Clone, Debug)]
pub struct VersionSettings {
    /// Its name.
    pub name: Name,
    /// What it is for.
    pub role: Role,
    /// Its share; zero for stable.
    pub weight: Percent,
    /// What quarantine remembers.
    pub digest: Digest,
    /// Its servers.
    pub upstream: upstream::Settings,
}

/// How a rollback is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollbackSettings {
    /// How long requests in flight may take to end before the drain is reported as over.
    pub drain_timeout: Duration,
    /// What happens to those that are left then.
    pub on_timeout: OnTimeout,
    /// After so long even a request that may finish is cut.
    pub cap: Duration,
    /// How long stable settles before it is looked at again.
    pub stabilization: Duration,
    /// A larger share of failed requests is a failed rollback.
    pub max_error_rate: Percent,
    /// How the traffic goes over where there is no room for all of it; `None`: all at once.
    pub ramp: Option<RampPlan>,
}

/// How a canary gains traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutSettings {
    /// The steps.
    pub plan: Plan,
    /// Who is asked and told.
    pub hooks: Vec<Hook>,
}

/// A server that is asked whether a rollout may go on, or told what it does.
#[derive(Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its name in messages.
    pub name: String,
    /// What it is asked; `None`: it is told of every change.
    pub gate: Option<Gate>,
    /// Where it is.
    pub target: Target,
    /// How long an answer may take.
    pub timeout: Duration,
    /// What it is sent beside what is known, by name.
    pub metadata: BTreeMap<String, String>,
}

impl fmt::Debug for Hook {
    /// What it is sent may be a secret between the two, and is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, gate, target, timeout, metadata } = self;
        f.debug_struct("Hook")
            .field("name", name)
            .field("gate", gate)
            .field("target", &target.origin())
            .field("timeout", timeout)
            .field("metadata", &metadata.keys())
            .finish()
    }
}
