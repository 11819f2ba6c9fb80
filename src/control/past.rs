//! What earlier runs left in the audit log: the history, and rollbacks that were under way
//! when the process ended.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::driver::{Driver, MACHINE, procedure};
use super::source::Source;
use super::tell::{NORMAL, READ_ONLY, note_delivery};
use crate::clock;
use crate::rollout::{Intent, Procedure};
use crate::vocab::ids::{Digest, Name};
use crate::vocab::notice::Delivery;
use crate::vocab::record::{ProtectRecord, QuarantineEntry, RollbackRecord, Status};
use crate::vocab::time::Timestamp;

/// What the audit log says happened before this run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Past {
    /// Rollbacks as they stood last, the oldest first.
    pub(super) rollbacks: Vec<RollbackRecord>,
    /// Protects as they stood last, the oldest first.
    pub(super) protects: Vec<ProtectRecord>,
    /// Rollbacks that had begun and not ended, with the build that was rolled back.
    pub(super) unfinished: Vec<(RollbackRecord, Digest)>,
    /// Versions that were rolled back and not released since.
    pub(super) out: Vec<QuarantineEntry>,
    /// Routes that were read-only at the end.
    pub(super) dark: Vec<Dark>,
}

/// A route that was read-only when the process ended.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Dark {
    route: Name,
    mode: String,
    reason: Option<String>,
    #[serde(default)]
    ordered_by: Option<String>,
    timestamp: Timestamp,
}

/// Only what this file asks of a record.
#[derive(Deserialize)]
struct Line {
    kind: String,
    #[serde(default)]
    digest: Option<String>,
}

/// A version that was let go.
#[derive(Deserialize)]
struct Released {
    route: Name,
    version: Name,
}

impl Past {
    /// Whether records of that kind are to be read.
    pub(super) fn wants(kind: &str) -> bool {
        kind.starts_with("rollback.")
            || kind.starts_with("protect.")
            || ["notice.delivered", "mode.changed", RELEASED].contains(&kind)
    }

    /// Reads the last records of the log, the oldest first.
    pub(super) fn read(records: &[Value]) -> Self {
        let mut rollbacks: BTreeMap<String, (RollbackRecord, Option<Digest>)> =
            BTreeMap::new();
        let mut protects: BTreeMap<String, ProtectRecord> = BTreeMap::new();
        let mut modes: BTreeMap<Name, Dark> = BTreeMap::new();
        let mut out: BTreeMap<(Name, Name), QuarantineEntry> = BTreeMap::new();
        for record in records {
            let Ok(line) = Line::deserialize(record) else { continue };
            match line.kind.as_str() {
                "rollback.started" | "rollback.completed" | "rollback.failed" => {
                    let Ok(read) = RollbackRecord::deserialize(record) else { continue };
                    let digest = line.digest.map(|text| Digest::new(&text));
                    if let Some(digest) = &digest {
                        let entry = quarantine_of(&read, digest);
                        out.insert((entry.route.clone(), entry.version.clone()), entry);
                    }
                    let id = read.rollback_id.clone();
                    let before = rollbacks.remove(&id).and_then(|(_, digest)| digest);
                    rollbacks.insert(id, (read, digest.or(before)));
                }
                "protect.started" | "protect.ended" => {
                    let Ok(read) = ProtectRecord::deserialize(record) else { continue };
                    protects.insert(read.protect_id.clone(), read);
                }
                "notice.delivered" => {
                    let Ok(told) = Delivery::deserialize(record) else { continue };
                    if let Some((record, _)) = rollbacks.get_mut(&told.incident) {
                        note_delivery(record, &told);
                    }
                }
                RELEASED => {
                    let Ok(read) = Released::deserialize(record) else { continue };
                    out.remove(&(read.route, read.version));
                }
                "mode.changed" => {
                    let Ok(read) = Dark::deserialize(record) else { continue };
                    modes.insert(read.route.clone(), read);
                }
                _ => {}
            }
        }
        let open = |status| matches!(status, Status::Pending | Status::InProgress);
        let unfinished = rollbacks.values().filter_map(|(record, digest)| {
            Some((record.clone(), digest.clone()?)).filter(|(it, _)| open(it.status))
        });
        let unfinished = unfinished.collect();
        // Ids sort by time.
        let rollbacks = rollbacks.into_values().map(|(record, _)| record).collect();
        let protects = protects.into_values().collect();
        let dark = modes.into_values().filter(|it| it.mode == READ_ONLY).collect();
        let out = out.into_values().collect();
        Self { rollbacks, protects, unfinished, out, dark }
    }
}

fn quarantine_of(record: &RollbackRecord, digest: &Digest) -> QuarantineEntry {
    QuarantineEntry {
        route: record.route.clone(),
        version: record.from_version.clone(),
        digest: digest.clone(),
        since: record.timestamp,
        reason: record.reason.clone(),
        rollback_id: record.rollback_id.clone(),
    }
}

/// The kind of the records of versions that were let go.
pub(super) const RELEASED: &str = "quarantine.released";

impl<S: Source> Driver<S> {
    /// Goes on where the run before ended: its history is shown, and rollbacks that it did
    /// not end are ended.
    pub(super) fn go_on(&mut self, past: Past) {
        let now = clock::wall();
        for record in past.rollbacks {
            if now.since(record.timestamp) < TOLD_AGAIN {
                self.desk.tell_again(&record);
            }
            self.desk.history.put(record);
        }
        for dark in past.dark {
            self.stays_dark(dark, now);
        }
        for record in past.protects {
            self.desk.history.put_protect(record);
        }
        for entry in self.desk.protects.entries() {
            self.desk.history.put_protect(entry.record.clone());
        }
        for (record, digest) in past.unfinished {
            let table = self.desk.live.load();
            let route = table.route(&record.route);
            let found = route.and_then(|route| {
                let from = route.version(&record.from_version)?;
                Some((from.slot, route.version(&record.to_version)?))
            });
            let settings = self.settings.route(&record.route);
            match (found, settings) {
                (Some((slot, to)), Some(settings)) if !to.is_out() => {
                    let procedure = procedure(settings, &to.name);
                    let intent = intent_of(&record, procedure);
                    let begun = record.timestamp;
                    self.desk.resume(intent, begun, (slot, digest), to.slot, now);
                }
                (_, _) => self.desk.tell_end(gone(record, now), now),
            }
        }
    }
}

impl<S: Source> Driver<S> {
    /// A route that was made read-only by order stays so; one that was so because nothing
    /// could be trusted is looked at anew.
    fn stays_dark(&mut self, dark: Dark, now: Timestamp) {
        let Dark { route, reason, ordered_by, .. } = dark;
        let why = reason.unwrap_or_default();
        let known = self.settings.route(&route).is_some();
        match ordered_by.filter(|_| known) {
            Some(by) => self.desk.emergency(&route, None, (why, Some(by)), now),
            None => {
                let why = "the process started again; its versions are looked at anew";
                self.desk.tell_mode(&route, (NORMAL, why, None), now);
            }
        }
    }
}

/// Notices of rollbacks that began within this span before a start are offered once more:
/// the process may have ended between the audit log and the outbox, which knows those that
/// it has had.
const TOLD_AGAIN: Duration = Duration::from_secs(24 * 3_600);

/// What a rollback of the run before was to do.
fn intent_of(record: &RollbackRecord, procedure: Procedure) -> Intent {
    Intent {
        id: record.rollback_id.clone(),
        route: record.route.clone(),
        from: record.from_version.clone(),
        to: record.to_version.clone(),
        trigger: record.trigger,
        reason: record.reason.clone(),
        automatic: record.automatic,
        by: record.initiated_by.clone().unwrap_or_else(|| MACHINE.to_owned()),
        protect: record.protect.clone(),
        config_hash: record.config_hash.clone(),
        ask_first: false,
        ramp_until: None,
        procedure,
    }
}

/// A rollback of the run before whose versions are not in the configuration any more.
fn gone(mut record: RollbackRecord, now: Timestamp) -> RollbackRecord {
    record.notes.push(
        "the process ended meanwhile, and the configuration has other versions now"
            .to_owned(),
    );
    record.status = Status::Completed;
    record.total_duration_seconds = Some(now.since(record.timestamp).as_secs_f64());
    record
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Past, RELEASED};
    use crate::vocab::record::{RollbackRecord, Status};

    fn line(kind: &str, record: &RollbackRecord, digest: Option<&str>) -> Value {
        let mut line = serde_json::to_value(record).unwrap();
        line["kind"] = kind.into();
        line["seq"] = 7.into();
        if let Some(digest) = digest {
            line["digest"] = digest.into();
        }
        line
    }

    fn record(id: &str, status: Status) -> RollbackRecord {
        RollbackRecord { status, ..RollbackRecord::example(id) }
    }

    #[test]
    fn what_had_begun_and_not_ended_is_found() {
        let log = [
            json!({ "kind": "order.set_weight", "route": "iris" }),
            line("rollback.started", &record("rb-1", Status::InProgress), Some("d1")),
            line("rollback.started", &record("rb-2", Status::InProgress), Some("d2")),
            line("rollback.completed", &record("rb-1", Status::Completed), None),
            json!({ "kind": "rollback.started", "rollback_id": 7 }),
            json!(["odd"]),
        ];
        let past = Past::read(&log);
        let ids: Vec<_> = past
            .rollbacks
            .iter()
            .map(|it| (it.rollback_id.as_str(), it.status))
            .collect();
        assert_eq!(ids, [("rb-1", Status::Completed), ("rb-2", Status::InProgress)]);
        assert_eq!(past.unfinished.len(), 1);
        // One version, last rolled back by the second.
        let [only] = &past.out[..] else { panic!("{:?}", past.out) };
        assert_eq!((only.digest.as_str(), only.rollback_id.as_str()), ("d2", "rb-2"));
        let let_go = json!({ "kind": RELEASED, "route": "iris", "version": "v2" });
        let after: Vec<Value> = log.iter().cloned().chain([let_go]).collect();
        assert_eq!(Past::read(&after).out, []);
    }
}
