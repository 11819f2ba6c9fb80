//! What the rollouts want, done: begun, gone on with, ended; and what came of it, told to the
//! machine.
//!
//! Apart from the rollbacks, which never wait for any of it: a version that is to lose its
//! traffic loses it, wherever its rollout stands.

use std::collections::{BTreeSet, VecDeque};

use serde_json::json;

use super::driver::{Driver, MACHINE, procedure, rollback_id};
use super::observe::Suspect;
use super::rollouts::{Course, canary};
use super::scribe::Note;
use super::seats::Label;
use super::settings::{RolloutSettings, RouteSettings};
use super::source::Source;
use crate::judge::OnBreach;
use crate::judge::trial::Trial;
use crate::rollout::{
    Answer, Gate, Intent, Judged, Rollout, RolloutCommand, RolloutEvent, RolloutStep,
    Subject, advance,
};
use crate::route::{Route, Standing};
use crate::telemetry::emit;
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;
use crate::vocab::outcome::Class;
use crate::vocab::time::Timestamp;
use crate::vocab::trigger::Trigger;

impl<S: Source> Driver<S> {
    /// Lets every rollout see what has changed, and begins and ends what the configuration
    /// says. Comes after the verdicts, so that a rollback is seen in the turn it begins.
    pub(super) fn look_after_rollouts(&mut self, now: Timestamp) {
        let routes: Vec<RouteSettings> = self
            .settings
            .routes
            .iter()
            .filter(|route| route.rollout.is_some())
            .cloned()
            .collect();
        let here: BTreeSet<&Name> = routes.iter().map(|route| &route.name).collect();
        let known = self.desk.rollouts.courses.keys();
        let gone: Vec<Name> =
            known.filter(|name| !here.contains(name)).cloned().collect();
        for route in gone {
            self.desk.rollouts.courses.remove(&route);
            self.desk.rollouts.webhooks.forget(&route);
            self.keep_note(Note::Unroll(route.clone()), &route);
        }
        for route in &routes {
            let Some(settings) = route.rollout.as_deref() else { continue };
            self.fit_rollout(route, settings, now);
            self.feed_rollout(&route.name, now);
            self.keep_rollout(&route.name);
        }
    }

    /// Begins the rollout of a build that was not rolled out before, and ends that of one
    /// that is not the canary any more.
    pub(super) fn fit_rollout(
        &mut self,
        route: &RouteSettings,
        settings: &RolloutSettings,
        now: Timestamp,
    ) {
        let version = canary(route);
        let course = self.desk.rollouts.courses.entry(route.name.clone()).or_default();
        if std::mem::take(&mut course.is_loaded)
            && version.is_some_and(|version| course.is_of(version))
            && let Some(rollout) = course.row.rollout.clone()
        {
            let Subject { route, version, id, .. } = rollout.subject();
            let phase = rollout.phase().as_str();
            emit::rollout_loaded(route, version, id, phase);
            let step = rollout.clone().restored(now);
            let _refused = self.carry(&route.clone(), step, now);
            return;
        }
        if version.is_some_and(|version| course.is_of(version)) {
            return;
        }
        if let Some(old) = course.put_aside() {
            self.desk.rollouts.webhooks.forget(&route.name);
            if !old.is_over() {
                let Subject { route, version, id, .. } = old.subject();
                let text = "withdrawn: the configuration has another canary, or none";
                emit::rollout_changed((route, version), id, ("withdrawn", false), text);
            }
        }
        let Some(version) = version else { return };
        let Some(course) = self.desk.rollouts.courses.get(&route.name) else { return };
        let (name, digest) = (&version.name, &version.digest);
        if course.row.knows(version)
            || self.desk.quarantine.holds(&route.name, name, digest)
        {
            return;
        }
        self.begin_rollout(route, settings, now);
    }

    /// Begins the rollout of the canary.
    pub(super) fn begin_rollout(
        &mut self,
        route: &RouteSettings,
        settings: &RolloutSettings,
        now: Timestamp,
    ) {
        let Some(version) = canary(route) else { return };
        let subject = Subject {
            id: format!("ro-{:012x}-{:08x}", now.0, fastrand::u32(..)),
            route: route.name.clone(),
            version: version.name.clone(),
            digest: version.digest.clone(),
        };
        let course = self.desk.rollouts.courses.entry(route.name.clone()).or_default();
        course.row.forget(version);
        let frozen = course.row.frozen.take();
        let step = Rollout::begin(subject, settings.plan.clone(), frozen, now);
        self.carry(&route.name, step, now);
    }

    /// Tells a rollout what is new since it was last told.
    pub(super) fn feed_rollout(&mut self, route: &Name, now: Timestamp) {
        let Some(seen) = self.judged(route, now) else { return };
        let (judged, concerns) = seen;
        let drifted = self.drifted(route);
        let Some(course) = self.desk.rollouts.courses.get_mut(route) else { return };
        let mut events = Vec::from_iter(drifted);
        if course.judged.replace(judged) != Some(judged) {
            events.push(RolloutEvent::Judged(judged));
        }
        let rules: BTreeSet<&'static str> =
            concerns.iter().map(|(rule, _)| *rule).collect();
        let fresh =
            concerns.into_iter().filter(|(rule, _)| !course.concerned.contains(rule));
        events.extend(fresh.map(|(_, finding)| RolloutEvent::Concern(finding)));
        course.concerned = rules;
        if course.wake.is_some_and(|at| at <= now) {
            course.wake = None;
            events.push(RolloutEvent::Woken);
        }
        for event in events {
            if let RolloutEvent::Overruled { weight, .. } = event {
                self.hold_weight(route, weight);
            }
            let _refused = self.rollout_happened(route, &event, now);
        }
        if let Some(why) = self.rolled_back(route) {
            let event = RolloutEvent::RolledBack { why };
            let _refused = self.rollout_happened(route, &event, now);
        }
    }

    /// The version keeps this weight over a reload and a restart.
    fn hold_weight(&mut self, route: &Name, weight: Percent) {
        let Some(rollout) = self.rollout(route) else { return };
        let Subject { version, digest, .. } = rollout.subject().clone();
        let label = Label { route: route.clone(), version };
        self.weights.roll(label, digest, weight);
    }

    /// Another deed, such as a rollback to an older version, gave the version a weight.
    fn drifted(&self, route: &Name) -> Option<RolloutEvent> {
        let rollout = self.rollout(route)?;
        let version = rollout.subject().version.clone();
        let table = self.desk.live.load();
        let weight = table.route(route)?.version(&version)?.weight;
        let label = Label { route: route.clone(), version };
        if weight == rollout.weight() || self.desk.probing.contains(&label) {
            return None;
        }
        let (by, reason) = (MACHINE.to_owned(), "by another deed".to_owned());
        Some(RolloutEvent::Overruled { weight, by, reason })
    }

    /// Why the version was rolled back, once the rollback of it has ended.
    fn rolled_back(&self, route: &Name) -> Option<String> {
        let rollout = self.rollout(route)?;
        if !rollout.is_rolling_back() {
            return None;
        }
        let Subject { version, digest, .. } = rollout.subject();
        let table = self.desk.live.load();
        let seated = table.route(route).and_then(|it| it.version(version));
        if seated.is_some_and(|version| self.desk.is_rolling(version.slot)) {
            return None;
        }
        let entry = self.desk.quarantine.holding(route, version, digest);
        let why = entry.map(|entry| entry.reason.clone());
        Some(why.unwrap_or_else(|| "its rollback has ended".to_owned()))
    }

    /// What the analysis says about the version that is rolled out, and the rules that ask
    /// for a pause.
    fn judged(
        &self,
        route: &Name,
        now: Timestamp,
    ) -> Option<(Judged, Vec<(&'static str, String)>)> {
        let subject = self.rollout(route)?.subject();
        let course = self.desk.rollouts.courses.get(route)?;
        let table = self.desk.live.load();
        let current = table.route(route)?;
        let version = current.version(&subject.version)?;
        let seat = self.seats.get(version.slot)?;
        let judged = match version.standing {
            Standing::Quarantined => Judged::Breached,
            _ if self.desk.is_rolling(version.slot) => Judged::Breached,
            Standing::Protected | Standing::Trickling => Judged::Suspicious,
            Standing::Serving => {
                let label =
                    Label { route: route.clone(), version: subject.version.clone() };
                let trial =
                    self.trials.court(route).and_then(|court| court.trial(version.slot));
                if self.requests(&label) <= course.counted {
                    Judged::NoTraffic
                } else if trial.is_some_and(|trial: &Trial| trial.is_promotable(now)) {
                    Judged::Good
                } else {
                    Judged::Inconclusive
                }
            }
        };
        let findings = seat.verdict.iter().flat_map(|verdict| verdict.findings());
        let pausing = findings.filter(|finding| {
            finding.on_breach == OnBreach::Pause
                && finding.ground.is_breach()
                && !finding.dry_run
        });
        let concerns = pausing.map(|finding| (finding.rule, finding.to_string()));
        Some((judged, concerns.collect()))
    }

    /// Requests of a version that say anything about it, since the start.
    fn requests(&self, label: &Label) -> u64 {
        let Some(totals) = self.seats.totals(label) else { return 0 };
        let evidence = Class::all().filter(|class| class.is_evidence());
        evidence.map(|class| totals.outcomes[class.index()]).sum()
    }

    pub(super) fn rollout(&self, route: &Name) -> Option<&Rollout> {
        self.desk.rollouts.courses.get(route)?.row.rollout.as_ref()
    }

    /// Something happened to a rollout; says why, if it was an order that is refused.
    pub(super) fn rollout_happened(
        &mut self,
        route: &Name,
        event: &RolloutEvent,
        now: Timestamp,
    ) -> Option<String> {
        let step = advance(self.rollout(route)?, event, now);
        self.carry(route, step, now)
    }

    /// Carries commands out in order, and those that follow from them after.
    pub(super) fn carry(
        &mut self,
        route: &Name,
        step: RolloutStep,
        now: Timestamp,
    ) -> Option<String> {
        let RolloutStep { next, commands } = step;
        let course = self.desk.rollouts.courses.entry(route.clone()).or_default();
        course.row.rollout = Some(next);
        let (mut queue, mut refused) = (VecDeque::from(commands), None);
        while let Some(command) = queue.pop_front() {
            let event = match command {
                RolloutCommand::SetWeight { version, weight } => {
                    let label = Label { route: route.clone(), version };
                    Some(self.shift(&label, weight))
                }
                RolloutCommand::CheckHeadroom { weight } => {
                    Some(RolloutEvent::Headroom(self.room(route, weight, now)))
                }
                RolloutCommand::RollBack { why } => {
                    self.roll_back_for(route, &why, now);
                    None
                }
                RolloutCommand::Refuse(why) => {
                    refused = Some(why);
                    None
                }
                RolloutCommand::AskGate { gate } => {
                    self.ask_gate(route, gate);
                    None
                }
                RolloutCommand::Wake { at } => {
                    self.course(route).wake = Some(at);
                    None
                }
                RolloutCommand::Tell(change) => {
                    self.tell_change(route, &change, now);
                    None
                }
                // The change that is told says it.
                RolloutCommand::Finish { .. } => None,
            };
            let (Some(event), Some(rollout)) = (event, self.rollout(route)) else {
                continue;
            };
            let RolloutStep { next, commands } = advance(rollout, &event, now);
            self.course(route).row.rollout = Some(next);
            queue.extend(commands);
        }
        refused
    }

    fn course(&mut self, route: &Name) -> &mut Course {
        self.desk.rollouts.courses.entry(route.clone()).or_default()
    }

    /// Gives the version its share.
    fn shift(&mut self, label: &Label, weight: Percent) -> RolloutEvent {
        match self.try_shift(label, weight) {
            Ok(()) => {
                let requests = self.requests(label);
                self.course(&label.route).counted = requests;
                RolloutEvent::Shifted { weight }
            }
            Err(why) => RolloutEvent::NotShifted { why },
        }
    }

    fn try_shift(&mut self, label: &Label, weight: Percent) -> Result<(), String> {
        let Label { route, version } = label;
        let table = self.desk.live.load();
        let found = table.route(route).and_then(|it| it.version(version));
        let found = found.ok_or_else(|| format!("{version} is in no table"))?;
        if weight > found.weight && found.standing != Standing::Serving {
            return Err(format!("{version} may take no users now"));
        }
        let digest = found.digest.clone();
        self.change(label, |old: &Route| old.with_weight(version, weight))
            .map_err(|error| error.to_string())?;
        self.desk.probing.remove(label);
        self.weights.roll(label.clone(), digest, weight);
        let said = json!({ "weight": weight.percent(), "operator": null });
        self.desk.feed.tell("weight.set", Some(route), Some(version), said);
        Ok(())
    }

    fn ask_gate(&mut self, route: &Name, gate: Gate) {
        let Some(settings) = self.rollout_settings(route) else { return };
        let events = self.desk.events.clone();
        let rollouts = &mut self.desk.rollouts;
        let course = rollouts.courses.get(route);
        let Some(rollout) = course.and_then(|it| it.row.rollout.as_ref()) else { return };
        rollouts.webhooks.ask(gate, (rollout, &settings.hooks), &events);
    }

    /// A gate has answered.
    pub(super) fn gate_answered(
        &mut self,
        route: &Name,
        (gate, number): (Gate, u64),
        answer: Answer,
        now: Timestamp,
    ) {
        if !self.desk.rollouts.webhooks.is_awaited(route, gate, number) {
            return;
        }
        if let Answer::Halt { why } = &answer
            && gate != Gate::Rollback
        {
            emit::webhook_failed(route.as_str(), gate.as_str(), why);
        }
        // What the analysis says now counts, not what it said when the gate was asked.
        self.feed_rollout(route, now);
        let _refused =
            self.rollout_happened(route, &RolloutEvent::Gate { gate, answer }, now);
        self.keep_rollout(route);
    }

    /// A gate asks for a rollback of the version.
    fn roll_back_for(&mut self, route: &Name, why: &str, now: Timestamp) {
        let Some(rollout) = self.rollout(route) else { return };
        let version = &rollout.subject().version;
        let table = self.desk.live.load();
        let (Some(current), Some(settings)) =
            (table.route(route), self.settings.route(route))
        else {
            return;
        };
        let Some(found) = current.version(version) else { return };
        let stable = current.stable();
        if found.name == stable.name || found.standing == Standing::Quarantined {
            return;
        }
        let suspect = Suspect::of(current, found);
        let intent = Intent {
            id: rollback_id(now),
            route: route.clone(),
            from: found.name.clone(),
            to: stable.name.clone(),
            trigger: Trigger::Manual,
            reason: why.to_owned(),
            automatic: false,
            by: WEBHOOK.to_owned(),
            protect: None,
            config_hash: self.settings.config_hash.clone(),
            ask_first: self.is_dead(stable.slot),
            ramp_until: None,
            procedure: procedure(settings, &stable.name),
        };
        let to = stable.slot;
        let _record = self.begin(intent, (suspect.slot, suspect.digest), to, now);
    }

    pub(super) fn rollout_settings(
        &self,
        route: &Name,
    ) -> Option<std::sync::Arc<RolloutSettings>> {
        self.settings.route(route)?.rollout.clone()
    }
}

/// Who rolls back when a webhook asks for it.
const WEBHOOK: &str = "webhook";
