//! The proxy's own record of its rollback, read from the status view, and what of it is
//! news.
//!
//! It is apart because the record comes as open JSON: everything here may be missing, and
//! what is missing is never made up.

use std::time::Duration;

use serde_json::Value;

use crate::vocab::record::Phase;
use crate::vocab::time::Timestamp;

/// What the record says so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rollback {
    /// Its identifier.
    pub(super) id: String,
    /// The finding.
    pub(super) reason: String,
    /// The version that lost its traffic.
    pub(super) from: String,
    /// The version that took it.
    pub(super) to: String,
    /// When it began.
    pub(super) began: Option<Timestamp>,
    /// How long the swap of the table took; present once it is done.
    pub(super) swap: Option<Duration>,
    /// How the drain went; present once it is over.
    pub(super) drain: Option<Drain>,
}

/// A drain that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Drain {
    /// How long it took.
    pub(super) took: Duration,
    /// Requests that ended in it.
    pub(super) drained: u64,
    /// Requests still running when its time was over.
    pub(super) left: u64,
}

/// Something that was not known at the look before.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum News {
    /// A version broke a rule.
    Breach { from: String, reason: String },
    /// New requests are on the other version.
    Swapped { from: String, to: String, took: Duration },
    /// Nothing is in flight at the bad version any more.
    Drained { from: String, drain: Drain },
}

impl Rollback {
    /// Reads a record; `None` when it has no identifier.
    pub(super) fn read(record: &Value) -> Option<Self> {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let phase = |wanted: Phase| {
            let mut phases = record["phases"].as_array()?.iter();
            phases.find(|phase| {
                phase["phase"] == wanted.as_str() && phase["status"] == "completed"
            })
        };
        let drain = phase(Phase::DrainTraffic).map(|phase| Drain {
            took: seconds(phase),
            drained: phase["drained_requests"].as_u64().unwrap_or(0),
            left: phase["left_requests"].as_u64().unwrap_or(0),
        });
        Some(Self {
            id: record["rollback_id"].as_str()?.to_owned(),
            reason: text("reason"),
            from: text("from_version"),
            to: text("to_version"),
            began: record["timestamp"].as_str().and_then(|at| at.parse().ok()),
            swap: phase(Phase::RouteTraffic).map(seconds),
            drain,
        })
    }

    /// When the table was swapped.
    pub(super) fn swapped(&self) -> Option<Timestamp> {
        Some(self.began?.after(self.swap?))
    }

    /// What this record has that an earlier look at it had not.
    pub(super) fn news_since(&self, before: Option<&Self>) -> Vec<News> {
        let mut news = Vec::new();
        let from = || self.from.clone();
        if before.is_none() {
            news.push(News::Breach { from: from(), reason: self.reason.clone() });
        }
        if let (Some(took), None) = (self.swap, before.and_then(|old| old.swap)) {
            news.push(News::Swapped { from: from(), to: self.to.clone(), took });
        }
        if let (Some(drain), None) = (self.drain, before.and_then(|old| old.drain)) {
            news.push(News::Drained { from: from(), drain });
        }
        news
    }
}

fn seconds(phase: &Value) -> Duration {
    let seconds = phase["duration_seconds"].as_f64().unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{Drain, News, Rollback};
    use crate::vocab::record::{Phase, PhaseRecord, RollbackRecord, Status};
    use crate::vocab::time::Timestamp;
    use crate::vocab::trigger::Trigger;

    fn record(phases: Vec<PhaseRecord>) -> serde_json::Value {
        let record = RollbackRecord {
            timestamp: Timestamp(5_000),
            trigger: Trigger::ErrorRate,
            reason: "too many".to_owned(),
            automatic: true,
            initiated_by: None,
            phases,
            ..RollbackRecord::example("rb-1")
        };
        serde_json::to_value(record).unwrap()
    }

    fn phase(phase: Phase, status: Status, duration_seconds: f64) -> PhaseRecord {
        let drained_requests = (phase == Phase::DrainTraffic).then_some(7);
        PhaseRecord {
            drained_requests,
            ..PhaseRecord::example(phase, status, duration_seconds)
        }
    }

    #[test]
    fn each_step_of_the_record_is_news_once() {
        let route = phase(Phase::RouteTraffic, Status::Completed, 0.002);
        let begun = Rollback::read(&record(vec![])).unwrap();
        let draining =
            vec![route.clone(), phase(Phase::DrainTraffic, Status::InProgress, 0.5)];
        let swapped = Rollback::read(&record(draining)).unwrap();
        let over = vec![route, phase(Phase::DrainTraffic, Status::Completed, 1.5)];
        let drained = Rollback::read(&record(over)).unwrap();
        let drain = Drain { took: Duration::from_millis(1_500), drained: 7, left: 0 };
        let from = || "v2".to_owned();
        let breach = News::Breach { from: from(), reason: "too many".to_owned() };
        let swap = News::Swapped {
            from: from(),
            to: "v1".to_owned(),
            took: Duration::from_millis(2),
        };
        let end = News::Drained { from: from(), drain };
        assert_eq!(begun.news_since(None), std::slice::from_ref(&breach));
        assert_eq!(swapped.news_since(Some(&begun)), std::slice::from_ref(&swap));
        assert_eq!(swapped.news_since(Some(&swapped)), []);
        assert_eq!(drained.news_since(Some(&swapped)), std::slice::from_ref(&end));
        assert_eq!(drained.news_since(None), [breach, swap, end]);
        assert_eq!(drained.swapped(), Some(Timestamp(5_002)));
        assert_eq!(begun.swapped(), None);
    }

    #[test]
    fn what_is_missing_is_not_made_up() {
        assert_eq!(Rollback::read(&json!({ "status": "completed" })), None);
        let bare = Rollback::read(&json!({ "rollback_id": "rb-2" })).unwrap();
        assert_eq!((bare.began, bare.swap, bare.drain), (None, None, None));
    }
}
