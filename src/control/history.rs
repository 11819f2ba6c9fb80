//! The rollbacks so far: the latest record of each, the oldest forgotten first.

use std::collections::VecDeque;

use crate::vocab::ids::Name;
use crate::vocab::record::RollbackRecord;

/// The rollbacks since the start, at most [`MOST`].
#[derive(Debug, Default)]
pub(super) struct History {
    records: VecDeque<RollbackRecord>,
}

/// Some hundred kilobytes. Older ones are forgotten.
const MOST: usize = 256;

impl History {
    /// Keeps a record, in place of the one that the rollback had before.
    pub(super) fn put(&mut self, record: RollbackRecord) {
        let old =
            self.records.iter_mut().find(|old| old.rollback_id == record.rollback_id);
        if let Some(old) = old {
            *old = record;
            return;
        }
        if self.records.len() == MOST {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    /// The last rollback that began on a route.
    pub(super) fn last(&self, route: &Name) -> Option<&RollbackRecord> {
        self.records.iter().rev().find(|record| record.route == *route)
    }
}

#[cfg(test)]
mod tests {
    use super::{History, MOST};
    use crate::vocab::ids::Name;
    use crate::vocab::record::{RollbackRecord, Status};
    use crate::vocab::time::Timestamp;
    use crate::vocab::trigger::Trigger;

    fn record(number: usize, route: &str, status: Status) -> RollbackRecord {
        let name = |text| Name::parse(text).unwrap();
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

    #[test]
    fn the_latest_record_of_each_is_kept_and_only_so_many() {
        let mut history = History::default();
        for number in 0..MOST + 10 {
            let route = if number % 2 == 0 { "even" } else { "odd" };
            history.put(record(number, route, Status::InProgress));
            history.put(record(number, route, Status::Completed));
        }
        assert_eq!(history.records.len(), MOST);
        let last = history.last(&Name::parse("odd").unwrap()).unwrap();
        assert_eq!(last.rollback_id, format!("rb-{}", MOST + 9));
        assert_eq!(last.status, Status::Completed);
        assert!(history.last(&Name::parse("other").unwrap()).is_none());
    }
}
