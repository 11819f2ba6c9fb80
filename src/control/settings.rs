//! What the configuration says about routes, their analysis and their rollbacks.

use std::sync::Arc;
use std::time::Duration;

use crate::judge::{Confirm, Rules};
pub use crate::rollout::OnTimeout;
use crate::route::{Role, RouteMatch};
use crate::upstream;
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Name};
use crate::vocab::policy::{Repeatable, RoutePolicy};

/// The live part of the configuration: what a reload may change.
#[derive(Clone, Debug)]
pub struct Settings {
    /// All routes, in the order of the file.
    pub routes: Vec<RouteSettings>,
    /// A digest of the file with its insertions filled, for the record.
    pub config_hash: String,
}

impl Settings {
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
}
