//! What is written down and told of what happens: audit entries, notices, history, metrics.
//! One place, so that the record, the alert and the log line of a fact say the same.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::driver::MACHINE;
use super::execute::{Desk, Happened};
use super::handle::{Deed, Order};
use super::journal::Then;
use super::past::RELEASED;
use super::seats::Label;
use crate::clock;
use crate::telemetry::emit;
use crate::vocab::ids::{Digest, Name};
use crate::vocab::notice::{Delivery, Entry, Notice, Severity, State, Topic};
use crate::vocab::record::{AlertSent, ProtectRecord, RollbackRecord, Status};
use crate::vocab::time::Timestamp;

/// A record's members as the body of an entry.
fn body(record: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(record) {
        Ok(Value::Object(members)) => members,
        Ok(_) | Err(_) => Map::new(),
    }
}

impl Desk {
    /// An entry about something that the machine did.
    pub(super) fn entry(
        &self,
        kind: &'static str,
        reason: &str,
        body: Map<String, Value>,
        at: Timestamp,
    ) -> Entry {
        Entry {
            kind,
            at,
            operator: None,
            reason: Some(reason.to_owned()),
            config_hash: self.config_hash.clone(),
            body,
        }
    }

    /// An entry about an order that is to be carried out.
    pub(super) fn order_entry(&self, order: &Order, now: Timestamp) -> Option<Entry> {
        let (kind, by, body) = order.deed()?;
        let Deed { operator, reason } = by.clone();
        Some(Entry {
            kind,
            at: now,
            operator: Some(operator),
            reason: Some(reason),
            config_hash: self.config_hash.clone(),
            body,
        })
    }

    /// An order was written down and then could not be carried out.
    pub(super) fn tell_refused(
        &self,
        what: &'static str,
        by: &Deed,
        why: &str,
        now: Timestamp,
    ) {
        let mut entry = self.entry("order.refused", why, Map::new(), now);
        entry.operator = Some(by.operator.clone());
        entry.body.insert("order".to_owned(), what.into());
        self.clerk.fact(entry, Then::default());
    }

    /// A version may have traffic again.
    pub(super) fn tell_released(&self, label: &Label, by: &Deed, now: Timestamp) {
        let Label { route, version } = label;
        let body = json!({ "route": route, "version": version });
        let Value::Object(body) = body else { return };
        let mut entry = self.entry(RELEASED, &by.reason, body, now);
        entry.operator = Some(by.operator.clone());
        self.clerk.fact(entry, Then::default());
    }

    /// A rollback has begun: new requests are on the other version, or could not be moved.
    pub(super) fn tell_start(
        &mut self,
        record: &RollbackRecord,
        digest: &Digest,
        now: Timestamp,
    ) {
        let mut body = body(record);
        // What a start after a crash needs to put the version back into quarantine.
        body.insert("digest".to_owned(), digest.as_str().into());
        let mut entry = self.entry("rollback.started", &record.reason, body, now);
        if !record.automatic {
            entry.body.insert("initiated_by".to_owned(), json!(record.initiated_by));
        }
        let notices = vec![rollback_notice(record, Topic::RollbackStarted, now)];
        let id = record.rollback_id.clone();
        let answer = self.awaiting.take();
        let happened = Some(Happened::Started { id, answer });
        self.clerk.fact(entry, Then { notices, happened });
    }

    /// A rollback has ended.
    pub(super) fn tell_end(&mut self, mut record: RollbackRecord, now: Timestamp) {
        if let Some(shown) = self.history.rollback(&record.rollback_id) {
            record.alerts_sent.clone_from(&shown.record.alerts_sent);
        }
        record.impact = self.cases.impact(&record.rollback_id);
        let (kind, topic) = match record.status {
            Status::Completed => ("rollback.completed", Topic::RollbackCompleted),
            Status::Pending
            | Status::InProgress
            | Status::Failed
            | Status::RolledBack => ("rollback.failed", Topic::RollbackFailed),
        };
        let entry = self.entry(kind, &record.reason, body(&record), now);
        let notices = vec![rollback_notice(&record, topic, now)];
        let happened = Some(Happened::Ended(Box::new(record)));
        self.clerk.fact(entry, Then { notices, happened });
    }

    /// The end of a rollback is on disk and may be shown.
    pub(super) fn ended(&mut self, mut record: RollbackRecord) {
        if let Some(shown) = self.history.rollback(&record.rollback_id) {
            record.alerts_sent.clone_from(&shown.record.alerts_sent);
        }
        if record.status == Status::Completed {
            emit::rollback_completed(&self.exporter, &record);
        } else {
            let why = record.notes.last().map_or("", String::as_str);
            emit::rollback_failed(&self.exporter, &record, why);
        }
        self.cases.close(&record, clock::wall());
        self.history.put(record);
    }

    /// The users of a version were moved, or that was settled.
    pub(super) fn tell_protect(
        &self,
        record: &ProtectRecord,
        began: bool,
        now: Timestamp,
    ) {
        let (kind, topic) = if began {
            ("protect.started", Topic::ProtectStarted)
        } else {
            ("protect.ended", Topic::ProtectEnded)
        };
        let why = record.why.as_deref().unwrap_or(&record.finding);
        let entry = self.entry(kind, why, body(record), now);
        let notices = vec![protect_notice(record, topic, now)];
        self.clerk.fact(entry, Then { notices, happened: None });
    }

    /// Tells a rollback of the run before once more to whom it may not have been told.
    pub(super) fn tell_again(&self, record: &RollbackRecord) {
        let journal = self.clerk.journal();
        let mut topics = vec![Topic::RollbackStarted];
        match record.status {
            Status::Completed => topics.push(Topic::RollbackCompleted),
            Status::Failed | Status::RolledBack => topics.push(Topic::RollbackFailed),
            Status::Pending | Status::InProgress => {}
        }
        for topic in topics {
            let mut notice = rollback_notice(record, topic, record.timestamp);
            notice.audit_head = journal.head();
            journal.tell(notice);
        }
    }

    /// A route serves kept answers only, or serves again; why, and who ordered it.
    pub(super) fn tell_mode(
        &self,
        route: &Name,
        (mode, why, by): (&str, &str, Option<&str>),
        now: Timestamp,
    ) {
        let is_dark = mode == READ_ONLY;
        let members = [
            ("route", Value::from(route.as_str())),
            ("mode", Value::from(mode)),
            ("ordered_by", Value::from(by)),
        ];
        let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
        let body: Map<String, Value> = members.collect();
        let record = Value::Object(body.clone());
        let entry = self.entry("mode.changed", why, body, now);
        let summary = if is_dark {
            format!("{route} is read-only: {why}")
        } else {
            format!("{route} serves again: {why}")
        };
        let notice = Notice {
            key: format!("{route}:mode:{}", now.0),
            incident: format!("{route}:mode"),
            topic: Topic::ModeChanged,
            severity: if is_dark { Severity::Critical } else { Severity::Info },
            state: if is_dark { State::Firing } else { State::Resolved },
            at: now,
            route: Some(route.clone()),
            version: None,
            to_version: None,
            summary,
            details:
                "While a route is read-only, kept answers are served where there are \
                      any, and everything else is refused with 503."
                    .to_owned(),
            record: record.clone(),
            audit_head: String::new(),
        };
        self.clerk.fact(entry, Then { notices: vec![notice], happened: None });
        self.feed.tell("mode.changed", Some(route), None, record);
    }

    /// Tells when the audit log cannot be written any more, and when it can again.
    pub(super) fn look_after_journal(&mut self, now: Timestamp) {
        let trouble = self.clerk.journal().trouble();
        if trouble.is_some() == self.trouble.is_some() {
            return;
        }
        let (severity, state, summary) = match &trouble {
            Some(why) => (Severity::Critical, State::Firing, why.clone()),
            None => {
                let text = "the audit log can be written again".to_owned();
                (Severity::Info, State::Resolved, text)
            }
        };
        self.clerk.journal().tell(Notice {
            key: format!("audit:{}:{}", state_word(state), now.0),
            incident: "audit".to_owned(),
            topic: Topic::AuditFailed,
            severity,
            state,
            at: now,
            route: None,
            version: None,
            to_version: None,
            summary,
            details: "While it cannot be written, orders are refused but for rollbacks; \
                      users are protected as ever, and what happens is kept in memory."
                .to_owned(),
            record: Value::Null,
            audit_head: self.clerk.journal().head(),
        });
        self.feed.tell("audit.changed", None, None, json!({ "trouble": trouble }));
        self.trouble = trouble;
    }

    /// A notice has reached somebody.
    pub(super) fn delivered(&mut self, delivery: &Delivery) {
        let mut entry =
            self.entry("notice.delivered", &delivery.sink, body(delivery), delivery.at);
        entry.reason = None;
        if self.history.rollback(&delivery.incident).is_some() {
            let id = delivery.incident.clone();
            entry.body.insert("rollback_id".to_owned(), id.into());
        }
        self.clerk.fact(entry, Then::default());
        let Some(kept) = self.history.rollback(&delivery.incident) else { return };
        let mut record = kept.record.clone();
        note_delivery(&mut record, delivery);
        self.history.put(record);
    }
}

/// Lists in the record of a rollback that a notice of it reached somebody.
pub(super) fn note_delivery(record: &mut RollbackRecord, delivery: &Delivery) {
    if record.alerts_sent.len() < MOST_ALERTS {
        record.alerts_sent.push(AlertSent {
            severity: delivery.severity,
            recipients: delivery.recipients.clone(),
            timestamp: delivery.at,
            reference: delivery.reference.clone(),
        });
    }
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Firing => "firing",
        State::Resolved => "resolved",
        State::Event => "event",
    }
}

/// A rollback as a notice.
pub(super) fn rollback_notice(
    record: &RollbackRecord,
    topic: Topic,
    now: Timestamp,
) -> Notice {
    let RollbackRecord { rollback_id: id, route, from_version, to_version, .. } = record;
    let (severity, state, what) = match topic {
        Topic::RollbackStarted => {
            (Severity::High, State::Firing, "is being rolled back to")
        }
        Topic::RollbackCompleted => {
            (Severity::High, State::Resolved, "was rolled back to")
        }
        Topic::RollbackFailed
        | Topic::ProtectStarted
        | Topic::ProtectEnded
        | Topic::RolloutChanged
        | Topic::ModeChanged
        | Topic::HeadroomShort
        | Topic::AuditFailed => {
            (Severity::Critical, State::Firing, "could not be rolled back to")
        }
    };
    let by = record.initiated_by.as_deref().unwrap_or(MACHINE);
    let last = record.notes.last().map(|note| format!("\n{note}")).unwrap_or_default();
    Notice {
        key: format!("{id}:{}", topic.as_str()),
        incident: id.clone(),
        topic,
        severity,
        state,
        at: now,
        route: Some(route.clone()),
        version: Some(from_version.clone()),
        to_version: Some(to_version.clone()),
        summary: format!("{route}: {from_version} {what} {to_version}"),
        details: format!("{}\nordered by {by}, {id}{last}", record.reason),
        record: Value::Object(body(record)),
        audit_head: String::new(),
    }
}

fn protect_notice(record: &ProtectRecord, topic: Topic, now: Timestamp) -> Notice {
    let ProtectRecord { protect_id: id, route, version, to_version, .. } = record;
    let (state, summary) = if topic == Topic::ProtectStarted {
        let text = format!(
            "{route}: the users of {version} are on {to_version} while it is tested"
        );
        (State::Firing, text)
    } else {
        let outcome = record.outcome.as_str();
        (State::Resolved, format!("{route}: the protect of {version} was {outcome}"))
    };
    let why = record.why.as_ref().map(|why| format!("\n{why}")).unwrap_or_default();
    Notice {
        key: format!("{id}:{}:{}", topic.as_str(), record.outcome.as_str()),
        incident: id.clone(),
        topic,
        severity: Severity::Low,
        state,
        at: now,
        route: Some(route.clone()),
        version: Some(version.clone()),
        to_version: Some(to_version.clone()),
        summary,
        details: format!("{}\n{id}{why}", record.finding),
        record: Value::Object(body(record)),
        audit_head: String::new(),
    }
}

/// So many deliveries are listed in one record.
const MOST_ALERTS: usize = 64;
/// The words of the two modes in records.
pub(super) const READ_ONLY: &str = "read-only";
pub(super) const NORMAL: &str = "normal";
