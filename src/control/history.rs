//! The rollbacks and protects so far: the latest record of each, with the evidence that it
//! rested on, the oldest forgotten first.

use std::collections::VecDeque;

use serde::Serialize;

use super::explain::{HistoryView, TrialView};
use crate::vocab::ids::Name;
use crate::vocab::record::{ProtectRecord, RollbackRecord};

/// What happened since the start, at most [`MOST`] of each kind.
#[derive(Debug, Default)]
pub(super) struct History {
    rollbacks: Shelf<RollbackRecord>,
    protects: Shelf<ProtectRecord>,
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
trait Record: Serialize {
    fn id(&self) -> &str;
    fn route(&self) -> &Name;
}

impl History {
    /// Keeps a record, in place of the one that the rollback had before.
    pub(super) fn put(&mut self, record: RollbackRecord) {
        self.rollbacks.put(record);
    }

    /// Keeps a record, in place of the one that the protect had before.
    pub(super) fn put_protect(&mut self, record: ProtectRecord) {
        self.protects.put(record);
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
    fn put(&mut self, record: T) {
        if let Some(old) = self.find(record.id()) {
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
}

impl Record for ProtectRecord {
    fn id(&self) -> &str {
        &self.protect_id
    }

    fn route(&self) -> &Name {
        &self.route
    }
}

#[cfg(test)]
mod tests {
    use super::{History, MOST};
    use crate::control::explain::TrialView;
    use crate::vocab::ids::Name;
    use crate::vocab::record::{Outcome, ProtectRecord, RollbackRecord, Status};
    use crate::vocab::time::Timestamp;
    use crate::vocab::trigger::Trigger;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn record(number: usize, route: &str, status: Status) -> RollbackRecord {
        RollbackRecord {
            rollback_id: format!("rb-{number}"),
            timestamp: Timestamp(0),
            route: name(route),
            trigger: Trigger::Manual,
            from_version: name("v2"),
            to_version: name("v1"),
            reason: String::new(),
            automatic: false,
            initiated_by: String::new(),
            status,
            phases: Vec::new(),
            total_duration_seconds: None,
            trigger_latency_seconds: None,
            protect: None,
            notes: Vec::new(),
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
