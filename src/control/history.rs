//! The rollbacks and protects so far: the latest record of each, with the evidence that it
//! rested on, the oldest forgotten first.

use std::collections::VecDeque;

use serde::Serialize;

use super::explain::{HistoryView, TrialView};
use super::feed::Feed;
use crate::vocab::ids::Name;
use crate::vocab::record::{Outcome, ProtectRecord, RollbackRecord, Status};

/// What happened since the start, at most [`MOST`] of each kind.
#[derive(Debug, Default)]
pub(super) struct History {
    rollbacks: Shelf<RollbackRecord>,
    protects: Shelf<ProtectRecord>,
    feed: Option<Feed>,
}

/// Records of one kind, the oldest first.
#[derive(Debug)]
struct Shelf<T> {
    kept: VecDeque<Kept<T>>,
}

/// One record, and how the trial stood when it was decided.
#[derive(Debug)]
pub(super) struct Kept<T> {
    pub(super) record: T,
    pub(super) evidence: Option<TrialView>,
}

/// A few megabytes with the evidence. Older ones are forgotten.
const MOST: usize = 256;

/// What has an id and a route.
trait Record: Serialize + PartialEq {
    fn id(&self) -> &str;
    fn route(&self) -> &Name;
    fn version(&self) -> &Name;
    /// What is told when the record is as it is now.
    fn kind(&self, is_new: bool) -> &'static str;
}

impl History {
    /// Tells of changes from now on.
    pub(super) fn tell(&mut self, feed: Feed) {
        self.feed = Some(feed);
    }

    /// Keeps a record, in place of the one that the rollback had before.
    pub(super) fn put(&mut self, record: RollbackRecord) {
        self.rollbacks.put(record, self.feed.as_ref());
    }

    /// Keeps a record, in place of the one that the protect had before.
    pub(super) fn put_protect(&mut self, record: ProtectRecord) {
        self.protects.put(record, self.feed.as_ref());
    }

    /// Keeps how the trial stood when the protect or the rollback was decided.
    pub(super) fn put_evidence(&mut self, id: &str, evidence: TrialView) {
        if let Some(kept) = self.rollbacks.find(id) {
            kept.evidence = Some(evidence);
        } else if let Some(kept) = self.protects.find(id) {
            kept.evidence = Some(evidence);
        }
    }

    /// The last rollback that began on a route.
    pub(super) fn last(&self, route: &Name) -> Option<&RollbackRecord> {
        self.rollbacks.last(route)
    }

    /// The last protect that began on a route.
    pub(super) fn last_protect(&self, route: &Name) -> Option<&ProtectRecord> {
        self.protects.last(route)
    }

    /// The rollback of that id.
    pub(super) fn rollback(&self, id: &str) -> Option<&Kept<RollbackRecord>> {
        self.rollbacks.get(id)
    }

    /// The protect of that id.
    pub(super) fn protect(&self, id: &str) -> Option<&Kept<ProtectRecord>> {
        self.protects.get(id)
    }

    /// Every id, the latest first; rollbacks before protects.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.rollbacks.ids().chain(self.protects.ids())
    }

    /// Everything, the latest first.
    pub(super) fn view(&self) -> HistoryView {
        HistoryView {
            rollbacks: self.rollbacks.values(),
            protects: self.protects.values(),
        }
    }
}

impl<T: Record> Shelf<T> {
    fn put(&mut self, record: T, feed: Option<&Feed>) {
        let old = self.find(record.id());
        if let Some(feed) = feed
            && old.as_ref().is_none_or(|old| old.record != record)
            && let Ok(data) = serde_json::to_value(&record)
        {
            let (route, version) = (Some(record.route()), Some(record.version()));
            feed.tell(record.kind(old.is_none()), route, version, data);
        }
        if let Some(old) = old {
            old.record = record;
            return;
        }
        if self.kept.len() == MOST {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept { record, evidence: None });
    }

    fn find(&mut self, id: &str) -> Option<&mut Kept<T>> {
        self.kept.iter_mut().rev().find(|kept| kept.record.id() == id)
    }

    fn get(&self, id: &str) -> Option<&Kept<T>> {
        self.kept.iter().rev().find(|kept| kept.record.id() == id)
    }

    fn last(&self, route: &Name) -> Option<&T> {
        let mut records = self.kept.iter().rev().map(|kept| &kept.record);
        records.find(|record| record.route() == route)
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().rev().map(|kept| kept.record.id())
    }

    fn values(&self) -> Vec<serde_json::Value> {
        let records = self.kept.iter().rev();
        records.filter_map(|kept| serde_json::to_value(&kept.record).ok()).collect()
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { kept: VecDeque::new() }
    }
}

impl Record for RollbackRecord {
    fn id(&self) -> &str {
        &self.rollback_id
    }

    fn route(&self) -> &Name {
        &self.route
    }

    fn version(&self) -> &Name {
        &self.from_version
    }

    fn kind(&self, is_new: bool) -> &'static str {
        match self.status {
            Status::Completed => "rollback.completed",
            Status::Failed => "rollback.failed",
            _ if is_new => "rollback.started",
            Status::Pending | Status::InProgress | Status::RolledBack => {
                "rollback.changed"
            }
        }
    }
}

impl Record for ProtectRecord {
    fn id(&self) -> &str {
        &self.protect_id
    }

    fn route(&self) -> &Name {
        &self.route
    }

    fn version(&self) -> &Name {
        &self.version
    }

    fn kind(&self, is_new: bool) -> &'static str {
        match self.outcome {
            Outcome::Open if is_new => "protect.started",
            Outcome::Open => "protect.changed",
            Outcome::Confirmed
            | Outcome::Resumed
            | Outcome::Held
            | Outcome::Withdrawn => "protect.ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{History, MOST};
    use crate::control::explain::TrialView;
    use crate::control::feed::{Feed, Next};
    use crate::vocab::ids::Name;
    use crate::vocab::record::{Outcome, ProtectRecord, RollbackRecord, Status};
    use crate::vocab::time::Timestamp;
    use crate::vocab::trigger::Trigger;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn record(number: usize, route: &str, status: Status) -> RollbackRecord {
        RollbackRecord {
            route: name(route),
            status,
            ..RollbackRecord::example(&format!("rb-{number}"))
        }
    }

    fn protect(number: usize, outcome: Outcome) -> ProtectRecord {
        ProtectRecord {
            protect_id: format!("pr-{number}"),
            timestamp: Timestamp(0),
            route: name("iris"),
            version: name("v2"),
            to_version: name("v1"),
            trigger: Trigger::ErrorRate,
            finding: String::new(),
            outcome,
            resolved: None,
            why: None,
            rollback_id: None,
        }
    }

    #[test]
    fn the_latest_record_of_each_is_kept_and_only_so_many() {
        let mut history = History::default();
        for number in 0..MOST + 10 {
            let route = if number % 2 == 0 { "even" } else { "odd" };
            history.put(record(number, route, Status::InProgress));
            history.put(record(number, route, Status::Completed));
        }
        assert_eq!(history.view().rollbacks.len(), MOST);
        let last = history.last(&name("odd")).unwrap();
        assert_eq!(last.rollback_id, format!("rb-{}", MOST + 9));
        assert_eq!(last.status, Status::Completed);
        assert!(history.last(&name("other")).is_none());
        assert!(
            history.rollback("rb-9").is_none() && history.rollback("rb-10").is_some()
        );
    }

    #[tokio::test]
    async fn every_change_is_told_once() {
        let feed = Feed::new();
        let mut history = History::default();
        history.put_protect(protect(0, Outcome::Open));
        history.tell(feed.clone());
        let mut cursor = feed.follow(None);
        for status in [Status::InProgress, Status::InProgress, Status::Completed] {
            history.put(record(1, "iris", status));
        }
        history.put(record(2, "iris", Status::Failed));
        for outcome in [Outcome::Open, Outcome::Resumed] {
            history.put_protect(protect(3, outcome));
        }
        for (kind, id) in [
            ("rollback.started", "rb-1"),
            ("rollback.completed", "rb-1"),
            ("rollback.failed", "rb-2"),
            ("protect.started", "pr-3"),
            ("protect.ended", "pr-3"),
        ] {
            let Next::Event(event) = cursor.next().await else { panic!("{kind}") };
            let member =
                event.data.get("rollback_id").or_else(|| event.data.get("protect_id"));
            assert_eq!((&*event.kind, member.unwrap()), (kind, &id.into()));
            assert_eq!(event.version, Some(name("v2")));
        }
    }

    #[test]
    fn evidence_stays_with_its_record() {
        let mut history = History::default();
        history.put(record(1, "iris", Status::InProgress));
        history.put_protect(protect(2, Outcome::Open));
        for id in ["rb-1", "pr-2", "pr-3"] {
            let evidence = TrialView { version: id.to_owned(), ..TrialView::default() };
            history.put_evidence(id, evidence);
        }
        history.put(record(1, "iris", Status::Completed));
        history.put_protect(protect(2, Outcome::Resumed));
        let (one, two) = (history.rollback("rb-1").unwrap(), history.protect("pr-2"));
        assert_eq!(one.evidence.as_ref().unwrap().version, "rb-1");
        assert_eq!(two.unwrap().evidence.as_ref().unwrap().version, "pr-2");
        assert_eq!(two.unwrap().record.outcome, Outcome::Resumed);
        assert_eq!(history.ids().collect::<Vec<_>>(), ["rb-1", "pr-2"]);
        assert_eq!(history.view().protects[0]["outcome"], "resumed");
    }
}
