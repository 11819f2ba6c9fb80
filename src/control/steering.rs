//! What operators order of rollouts, and the end of every order: written down, told, shown.
//!
//! Apart from what rollouts do by themselves, because an order is answered, and the answer
//! is a promise: what it says is on disk.

use serde_json::{Map, Value, json};

use super::driver::Driver;
use super::handle::{Answer, Deed, OrderError};
use super::journal::Then;
use super::rollouts::canary;
use super::scribe::{Kept, Note};
use super::seats::Label;
use super::source::Source;
use super::status::RolloutView;
use crate::clock;
use crate::rollout::{Change, ChangeKind, RolloutEvent, Stop, Subject, Verb};
use crate::telemetry::emit;
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;
use crate::vocab::notice::{Notice, Severity, State, Topic};
use crate::vocab::time::Timestamp;

impl<S: Source> Driver<S> {
    /// Carries out what an operator orders of the rollout of a route, and answers once it
    /// is on disk.
    pub(super) fn steer(
        &mut self,
        route: &Name,
        verb: Verb,
        by: &Deed,
        answer: Answer<RolloutView>,
    ) {
        let done = self.steered(route, verb, by);
        let done = self.told("order.rollout", by, done);
        let view = match done {
            Ok(view) => view,
            Err(error) => {
                let _gone = answer.send(Err(error));
                return;
            }
        };
        let Some(row) = self.unwritten(route) else {
            let _gone = answer.send(Ok(view));
            return;
        };
        let told = Some(Kept { answer, view: Box::new(view) });
        self.keep_note(Note::Roll { route: route.clone(), row, told }, route);
    }

    fn steered(
        &mut self,
        route: &Name,
        verb: Verb,
        by: &Deed,
    ) -> Result<RolloutView, OrderError> {
        let refused = |why: String| Err(OrderError::Refused(why));
        let Some(settings) = self.settings.route(route).cloned() else {
            return Err(OrderError::Unknown(format!("there is no route {route}")));
        };
        let Some(plan) = settings.rollout.as_deref() else {
            return refused(format!(
                "route {route} has no rollout in its configuration: there is nothing to \
                 {verb}"
            ));
        };
        let now = clock::wall();
        self.fit_rollout(&settings, plan, now);
        self.feed_rollout(route, now);
        if self.rollout(route).is_none() {
            self.steer_idle(route, verb, by, now)?;
        } else {
            let course = self.desk.rollouts.courses.entry(route.clone()).or_default();
            if let (Verb::Retry, Some(rollout)) = (verb, &mut course.row.rollout) {
                rollout.replan(plan.plan.clone());
            }
            let (by, reason) = (by.operator.id.clone(), by.reason.clone());
            let event = RolloutEvent::Ordered { verb, by, reason };
            if let Some(why) = self.rollout_happened(route, &event, now) {
                return refused(why);
            }
        }
        let view = self.desk.rollouts.view(&settings);
        view.ok_or_else(|| OrderError::Refused(format!("route {route} has no rollout")))
    }

    /// There is no rollout: what may be ordered all the same.
    fn steer_idle(
        &mut self,
        route: &Name,
        verb: Verb,
        by: &Deed,
        now: Timestamp,
    ) -> Result<(), OrderError> {
        let Some(settings) = self.settings.route(route).cloned() else { return Ok(()) };
        let course = self.desk.rollouts.courses.entry(route.clone()).or_default();
        let why = match verb {
            Verb::Freeze => match &course.row.frozen {
                Some(Stop { by, reason, .. }) => {
                    format!("it is frozen already, by {by}: {reason}")
                }
                None => {
                    let (by, reason) = (by.operator.id.clone(), by.reason.clone());
                    course.row.frozen = Some(Stop { by, reason, since: now });
                    return Ok(());
                }
            },
            Verb::Resume if course.row.frozen.take().is_some() => return Ok(()),
            Verb::Resume => "it is neither paused nor frozen".to_owned(),
            Verb::Retry => match (canary(&settings), settings.rollout.as_deref()) {
                (Some(version), Some(plan)) => {
                    let (name, digest) = (&version.name, &version.digest);
                    if !self.desk.quarantine.holds(route, name, digest) {
                        self.begin_rollout(&settings, plan, now);
                        return Ok(());
                    }
                    format!("{name} is in quarantine: release it first")
                }
                (None, _) | (_, None) => {
                    format!("route {route} has no canary to roll out")
                }
            },
            Verb::Promote { .. } | Verb::Pause | Verb::Abort => {
                format!(
                    "route {route} has no rollout under way: there is nothing to {verb}"
                )
            }
        };
        Err(OrderError::Refused(why))
    }

    /// An operator gave a version a weight by hand.
    pub(super) fn overruled(&mut self, label: &Label, weight: Percent, by: &Deed) {
        let Some(rollout) = self.rollout(&label.route) else { return };
        let Subject { version, digest, .. } = rollout.subject();
        if *version != label.version {
            return;
        }
        self.weights.roll(label.clone(), digest.clone(), weight);
        let (by, reason) = (by.operator.id.clone(), by.reason.clone());
        let event = RolloutEvent::Overruled { weight, by, reason };
        let _refused = self.rollout_happened(&label.route, &event, clock::wall());
        self.keep_rollout(&label.route);
    }

    /// What is to be written down, if it is not what was written last.
    fn unwritten(&mut self, route: &Name) -> Option<Value> {
        let course = self.desk.rollouts.courses.get_mut(route)?;
        let row = serde_json::to_value(&course.row).ok();
        if row == course.written {
            return None;
        }
        course.written.clone_from(&row);
        row
    }

    /// Has it written down where the rollouts of a route stand, if that has changed.
    pub(super) fn keep_rollout(&mut self, route: &Name) {
        if let Some(row) = self.unwritten(route) {
            let note = Note::Roll { route: route.clone(), row, told: None };
            self.keep_note(note, route);
        }
    }

    pub(super) fn keep_note(&mut self, note: Note, route: &Name) {
        if self.desk.scribe.try_send(note).is_err() {
            let what = format!("the rollout of {route}");
            let why = "too much waits to be written";
            emit::persist_failed(&what, 1, std::time::Duration::ZERO, why);
            // It is tried again with the next change, or the next look.
            if let Some(course) = self.desk.rollouts.courses.get_mut(route) {
                course.written = None;
            }
        }
    }

    /// Tells everybody what changed: log, audit log, notices, whoever watches, webhooks.
    pub(super) fn tell_change(&mut self, route: &Name, change: &Change, now: Timestamp) {
        let Some(rollout) = self.rollout(route).cloned() else { return };
        let Subject { version, id, .. } = rollout.subject();
        let Change { kind, text } = change;
        emit::rollout_changed((route, version), id, (kind.as_str(), kind.is_bad()), text);
        let mut body = Map::new();
        let (step, steps) = rollout.steps();
        for (name, value) in [
            ("rollout_id", json!(id)),
            ("route", json!(route)),
            ("version", json!(version)),
            ("change", json!(kind.as_str())),
            ("phase", json!(rollout.phase().as_str())),
            ("attempt", json!(rollout.attempt())),
            ("step", json!(step)),
            ("steps", json!(steps)),
            ("weight", json!(rollout.weight().percent())),
        ] {
            body.insert(name.to_owned(), value);
        }
        let said = Value::Object(body.clone());
        self.desk.feed.tell("rollout.changed", Some(route), Some(version), said);
        let notice = notice(rollout.subject(), change, &body, now);
        let entry = self.desk.entry("rollout.changed", text, body, now);
        let then = Then { notices: vec![notice], happened: None };
        self.desk.clerk.fact(entry, then);
        if let Some(settings) = self.rollout_settings(route) {
            let told = (&rollout, &settings.hooks[..]);
            self.desk.rollouts.webhooks.tell(change, told, now);
        }
    }
}

/// A change as a notice.
fn notice(
    subject: &Subject,
    change: &Change,
    body: &Map<String, Value>,
    now: Timestamp,
) -> Notice {
    let Subject { id, route, version, .. } = subject;
    let short = change.kind == ChangeKind::Short;
    Notice {
        key: format!("{id}:{}:{}", now.0, change.kind.as_str()),
        incident: id.clone(),
        topic: if short { Topic::HeadroomShort } else { Topic::RolloutChanged },
        severity: if change.kind.is_bad() { Severity::Low } else { Severity::Info },
        state: State::Event,
        at: now,
        route: Some(route.clone()),
        version: Some(version.clone()),
        to_version: None,
        summary: format!("{route}: {}", change.text),
        details: format!("{}\n{id}", change.text),
        record: Value::Object(body.clone()),
        audit_head: String::new(),
    }
}
