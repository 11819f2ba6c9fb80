//! `Rollouts`: where the rollouts of every route stand, what of them is written down, and what
//! an operator sees.
//!
//! Apart from the deeds, because it acts on nothing: it is the memory that they go on from.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::Weights;
use super::seats::Label;
use super::settings::{RolloutSettings, RouteSettings, Settings, VersionSettings};
use super::status::RolloutView;
use super::webhooks::Webhooks;
use crate::rollout::{Judged, Rollout, Stop};
use crate::route::Role;
use crate::vocab::ids::{Digest, Name};
use crate::vocab::time::Timestamp;

/// The rollouts of all routes.
#[derive(Default)]
pub(super) struct Rollouts {
    pub(super) courses: BTreeMap<Name, Course>,
    pub(super) webhooks: Webhooks,
}

/// The rollouts of one route.
#[derive(Default)]
pub(super) struct Course {
    pub(super) row: Row,
    /// It is from an earlier run and has not gone on yet.
    pub(super) is_loaded: bool,
    /// When the machine wants to be woken.
    pub(super) wake: Option<Timestamp>,
    /// What the analysis said last.
    pub(super) judged: Option<Judged>,
    /// Rules that pause rollouts and are broken.
    pub(super) concerned: BTreeSet<&'static str>,
    /// How many requests the version had had when its share was last changed.
    pub(super) counted: u64,
    /// What is on disk, or on its way there.
    pub(super) written: Option<Value>,
}

/// What of it is written down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The rollout under way, or the last one.
    pub(super) rollout: Option<Rollout>,
    /// Who froze the route, while there is no rollout to say it of.
    pub(super) frozen: Option<Stop>,
    /// Builds that were rolled out before, whatever came of it.
    pub(super) rolled: Vec<Rolled>,
}

/// A build that was rolled out before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rolled {
    version: Name,
    digest: Digest,
}

impl Rollouts {
    /// Those of earlier runs.
    pub(super) fn of(rows: Vec<(Name, Row)>) -> Self {
        let course = |row: Row| Course {
            written: serde_json::to_value(&row).ok(),
            row,
            is_loaded: true,
            ..Course::default()
        };
        let courses = rows.into_iter().map(|(route, row)| (route, course(row))).collect();
        Self { courses, ..Self::default() }
    }

    /// The weights that they gave, for the table of the start.
    pub(super) fn weights(&self, settings: &Settings, weights: &mut Weights) {
        let rollouts = self.courses.values().filter_map(|it| it.row.rollout.as_ref());
        for rollout in rollouts {
            let subject = rollout.subject();
            let (route, version) = (subject.route.clone(), subject.version.clone());
            weights.roll(
                Label { route, version },
                subject.digest.clone(),
                rollout.weight(),
            );
        }
        weights.fit(settings);
    }

    /// What an operator sees of those of a route; `None` where it has none.
    pub(super) fn view(&self, route: &RouteSettings) -> Option<RolloutView> {
        let settings = route.rollout.as_deref()?;
        let course = self.courses.get(&route.name);
        let rollout = course.and_then(|it| it.row.rollout.as_ref());
        let Some(rollout) = rollout else {
            return Some(idle(route, settings, course));
        };
        let subject = rollout.subject();
        let (step, steps) = rollout.steps();
        Some(RolloutView {
            id: subject.id.clone(),
            strategy: rollout.plan().strategy.as_str().to_owned(),
            version: subject.version.to_string(),
            phase: rollout.phase().as_str().to_owned(),
            step,
            steps,
            weight: rollout.weight().percent(),
            since: rollout.since().to_string(),
            waits_for: rollout.waits_for(),
            until: rollout.until().map(|at| at.to_string()),
            paused_by: rollout.paused().map(|stop| stop.by.clone()),
            frozen_by: rollout.frozen().map(|stop| stop.by.clone()),
            reason: rollout.reason().map(str::to_owned),
            plan: rollout.plan().to_string(),
        })
    }
}

/// A route with a plan and nothing to roll out, or nothing that may be without an order.
fn idle(
    route: &RouteSettings,
    settings: &RolloutSettings,
    course: Option<&Course>,
) -> RolloutView {
    let frozen = course.and_then(|it| it.row.frozen.as_ref());
    let version = canary(route);
    let rolled = version.filter(|version| course.is_some_and(|it| it.row.knows(version)));
    let waits_for = match (version, rolled) {
        (None, _) => "a canary in the configuration".to_owned(),
        (Some(_), Some(_)) => {
            "an operator to retry it: this build was rolled out before".to_owned()
        }
        (Some(_), None) => "the version to be out of quarantine".to_owned(),
    };
    RolloutView {
        strategy: settings.plan.strategy.as_str().to_owned(),
        version: version.map(|version| version.name.to_string()).unwrap_or_default(),
        phase: "idle".to_owned(),
        steps: settings.plan.weights(),
        waits_for: Some(waits_for),
        frozen_by: frozen.map(|stop| stop.by.clone()),
        reason: frozen.map(|stop| stop.reason.clone()),
        plan: settings.plan.to_string(),
        ..RolloutView::default()
    }
}

/// The version that a rollout of this route is of; the configuration has at most one.
pub(super) fn canary(route: &RouteSettings) -> Option<&VersionSettings> {
    route.versions.iter().find(|version| version.role == Role::Canary)
}

impl Course {
    /// Whether the rollout is of this very build.
    pub(super) fn is_of(&self, version: &VersionSettings) -> bool {
        self.row.rollout.as_ref().is_some_and(|rollout| {
            let subject = rollout.subject();
            subject.version == version.name && subject.digest == version.digest
        })
    }

    /// Another build takes the place of the one that is rolled out, or none does.
    pub(super) fn put_aside(&mut self) -> Option<Rollout> {
        let rollout = self.row.rollout.take()?;
        let subject = rollout.subject();
        let (version, digest) = (subject.version.clone(), subject.digest.clone());
        let rolled = Rolled { version, digest };
        self.row.rolled.retain(|old| *old != rolled);
        if self.row.rolled.len() == MOST_ROLLED {
            self.row.rolled.remove(0);
        }
        self.row.rolled.push(rolled);
        self.row.frozen = rollout.frozen().cloned();
        (self.wake, self.judged, self.counted) = (None, None, 0);
        self.concerned.clear();
        Some(rollout)
    }
}

impl Row {
    /// Whether this very build was rolled out before.
    pub(super) fn knows(&self, version: &VersionSettings) -> bool {
        let same =
            |old: &Rolled| old.version == version.name && old.digest == version.digest;
        self.rolled.iter().any(same)
    }

    /// This build may be rolled out once more.
    pub(super) fn forget(&mut self, version: &VersionSettings) {
        self.rolled
            .retain(|old| old.version != version.name || old.digest != version.digest);
    }
}

/// Builds of a route that are remembered; an older one would be rolled out again.
const MOST_ROLLED: usize = 64;
