//! One function for each thing that happens: its log line and its count together.
//!
//! Whoever does a thing calls its function here, so that a line and a number never tell
//! different stories. Values are names, numbers and reasons; payloads, tokens and header
//! values of callers never come here.

use std::path::Path;
use std::time::Duration;

use super::exporter::Exporter;
use super::page::Totals;
use crate::vocab::ids::{Generation, Name};
use crate::vocab::notice::Delivery;
use crate::vocab::record::{Outcome, PhaseRecord, ProtectRecord, RollbackRecord};

/// A rollback begins.
pub fn rollback_begun(exporter: &Exporter, record: &RollbackRecord) {
    exporter.rollbacks().triggered += 1;
    tracing::warn!(
        rollback = record.rollback_id,
        route = %record.route,
        from = %record.from_version,
        to = %record.to_version,
        trigger = %record.trigger,
        by = record.initiated_by,
        reason = record.reason,
        "rollback begun"
    );
}

/// New requests are on the other version from here on.
pub fn rollback_swapped(record: &RollbackRecord, generation: Generation) {
    tracing::warn!(
        rollback = record.rollback_id,
        route = %record.route,
        to = %record.to_version,
        generation = generation.0,
        "new requests are on {}", record.to_version
    );
}

/// A phase of a rollback is over.
pub fn rollback_phase(exporter: &Exporter, record: &RollbackRecord, phase: &PhaseRecord) {
    let took = Duration::try_from_secs_f64(phase.duration_seconds).unwrap_or_default();
    exporter.rollbacks().phase(phase.phase.as_str(), took);
    tracing::info!(
        rollback = record.rollback_id,
        route = %record.route,
        phase = phase.phase.as_str(),
        seconds = phase.duration_seconds,
        drained = phase.drained_requests,
        left = phase.left_requests,
        "rollback phase over"
    );
}

/// A rollback has come to its end.
pub fn rollback_completed(exporter: &Exporter, record: &RollbackRecord) {
    ended(exporter, record, |rollbacks| &mut rollbacks.completed);
    tracing::warn!(
        rollback = record.rollback_id,
        route = %record.route,
        seconds = record.total_duration_seconds,
        "rollback completed"
    );
}

/// A rollback could not be carried out.
pub fn rollback_failed(exporter: &Exporter, record: &RollbackRecord, why: &str) {
    ended(exporter, record, |rollbacks| &mut rollbacks.failed);
    tracing::error!(
        rollback = record.rollback_id,
        route = %record.route,
        seconds = record.total_duration_seconds,
        why,
        "rollback failed"
    );
}

fn ended(
    exporter: &Exporter,
    record: &RollbackRecord,
    count: impl FnOnce(&mut super::exporter::Rollbacks) -> &mut u64,
) {
    let mut rollbacks = exporter.rollbacks();
    rollbacks.last = record.total_duration_seconds.unwrap_or(rollbacks.last);
    *count(&mut rollbacks) += 1;
}

/// A route's traffic does not fit at once, and goes over in steps; `held` in percent.
pub fn ramp_begun(route: &Name, version: &Name, to: &Name, held: f64) {
    tracing::warn!(%route, %version, %to, held, "traffic goes over in steps");
}

/// All of it has come over, or the ramp was withdrawn.
pub fn ramp_over(route: &Name, version: &Name, to: &Name, how: &str) {
    tracing::info!(%route, %version, %to, how, "a ramp is over");
}

/// A step of a ramp could not be made.
pub fn ramp_failed(route: &Name, version: &Name, why: &str) {
    tracing::error!(%route, %version, why, "a step of a ramp could not be made");
}

/// A version has not the room for what it is to take.
pub fn headroom_short(route: &Name, version: &Name, what: &str) {
    tracing::warn!(%route, %version, what, "headroom is short");
}

/// A route serves kept answers only from here on.
pub fn read_only_begun(route: &Name, why: &str, generation: Generation) {
    tracing::error!(%route, why, generation = generation.0, "read-only: kept answers only");
}

/// A route serves again.
pub fn read_only_over(route: &Name, took: Duration) {
    tracing::warn!(%route, seconds = took.as_secs_f64(), "read-only is over");
}

/// A route should have changed its mode, and could not.
pub fn read_only_failed(route: &Name, doing: &str, why: &str) {
    tracing::error!(%route, doing, why, "the mode could not be changed");
}

/// The users of a version are on stable from here on, and it is tested without them.
pub fn protect_begun(record: &ProtectRecord, how: &str, generation: Generation) {
    tracing::warn!(
        protect = record.protect_id,
        route = %record.route,
        version = %record.version,
        to = %record.to_version,
        trigger = %record.trigger,
        finding = record.finding,
        how,
        generation = generation.0,
        "protect: users are on {}", record.to_version
    );
}

/// A version begins under protect, because an earlier run left it so.
pub fn protect_loaded(record: &ProtectRecord) {
    tracing::warn!(
        protect = record.protect_id,
        route = %record.route,
        version = %record.version,
        finding = record.finding,
        outcome = record.outcome.as_str(),
        "version is under protect since an earlier run"
    );
}

/// Something came of a protect; each is counted once, as what came of it first.
pub fn protect_resolved(totals: Option<&mut Totals>, record: &ProtectRecord, by: &str) {
    if let Some(totals) = totals {
        match record.outcome {
            Outcome::Confirmed => totals.protects_confirmed += 1,
            Outcome::Resumed => totals.protects_resumed += 1,
            Outcome::Held => totals.protects_held += 1,
            Outcome::Open | Outcome::Withdrawn => {}
        }
    }
    protect_settled(record, by);
}

/// Something came of a protect that was counted before.
pub fn protect_settled(record: &ProtectRecord, by: &str) {
    let why = record.why.as_deref();
    let (protect, rollback) = (&record.protect_id, record.rollback_id.as_deref());
    let (route, version) = (&record.route, &record.version);
    match record.outcome {
        Outcome::Held => tracing::error!(
            protect, %route, %version, why,
            "protect held: users stay on stable until an operator decides (set-weight or rollback)"
        ),
        Outcome::Confirmed => tracing::warn!(
            protect, %route, %version, why, by, rollback, "protect confirmed"
        ),
        Outcome::Resumed => tracing::warn!(
            protect, %route, %version, why, by, "protect over: users are back"
        ),
        Outcome::Open | Outcome::Withdrawn => tracing::info!(
            protect, %route, %version, why, by, "protect withdrawn"
        ),
    }
}

/// Users could not be moved, or not back.
pub fn protect_failed(route: &Name, version: &Name, what: &str, why: &str) {
    tracing::error!(%route, %version, what, why, "the table does not take it: users stay where they are");
}

/// A version under protect is tested on a trickle of users, because no copies come.
pub fn protect_trickles(protect: &str, route: &Name, version: &Name) {
    tracing::warn!(
        protect, %route, %version,
        "no copies of requests come: the test goes on with a trickle of users"
    );
}

/// A version that takes everything seems to fail: stable gets a part back to compare with.
pub fn probe_begun(route: &Name, version: &Name, back: f64) {
    tracing::warn!(
        %route, %version, back,
        "the version takes everything and seems to fail: stable gets a part back to compare with"
    );
}

/// The comparison with stable is over.
pub fn probe_over(route: &Name, version: &Name, why: &str) {
    tracing::warn!(%route, %version, why, "the comparison with stable is over");
}

/// Requests that outlived their drain are cut.
pub fn drain_cut(rollback: &str, version: &Name, left: u64) {
    tracing::warn!(rollback, %version, left, "requests that were still running are cut");
}

/// A rule was broken that only asks to be told.
pub fn breach_alert(route: &Name, version: &Name, finding: &str) {
    tracing::warn!(%route, %version, finding, "a rule is broken");
}

/// A configuration was taken.
pub fn reload_taken(config_hash: &str, generation: Generation, changes: &str) {
    tracing::info!(
        config = config_hash,
        generation = generation.0,
        changes,
        "reload taken"
    );
}

/// A configuration was refused; the one before it stays.
pub fn reload_refused(why: &str) {
    tracing::error!(why, "reload refused: the configuration in force stays");
}

/// An operator gave a version another weight.
pub fn weight_set(route: &Name, version: &Name, weight: f64, by: &str, reason: &str) {
    tracing::info!(%route, %version, weight, by, reason, "weight set");
}

/// A rollout did something, or something was done to it.
pub fn rollout_changed(
    (route, version): (&Name, &Name),
    id: &str,
    (kind, bad): (&str, bool),
    text: &str,
) {
    if bad {
        tracing::warn!(rollout = id, %route, %version, kind, "{text}");
    } else {
        tracing::info!(rollout = id, %route, %version, kind, "{text}");
    }
}

/// A rollout of an earlier run goes on.
pub fn rollout_loaded(route: &Name, version: &Name, id: &str, phase: &str) {
    tracing::info!(rollout = id, %route, %version, phase, "rollout of an earlier run");
}

/// A webhook could not be told, or says no.
pub fn webhook_failed(name: &str, what: &str, why: &str) {
    tracing::warn!(webhook = name, what, why, "webhook failed");
}

/// A version may have weight again.
pub fn released(route: &Name, version: &Name, by: &str, reason: &str) {
    tracing::warn!(%route, %version, by, reason, "version released from quarantine");
}

/// A quarantine from an earlier run holds.
pub fn quarantine_loaded(route: &Name, version: &Name, why: &str) {
    tracing::warn!(%route, %version, why, "version is in quarantine since an earlier run");
}

/// Something could not be kept on disk; it is tried again after the pause.
pub fn persist_failed(what: &str, tries: u32, pause: Duration, why: &str) {
    tracing::error!(
        what,
        tries,
        again_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        why,
        "state is not on disk: a restart now would forget it"
    );
}

/// Something that could not be kept on disk at first is there now.
pub fn persist_recovered(what: &str, tries: u32) {
    tracing::info!(what, tries, "state is on disk");
}

/// A sink has taken a notice.
pub fn notice_delivered(delivery: &Delivery) {
    tracing::info!(
        sink = delivery.sink,
        key = delivery.key,
        incident = delivery.incident,
        severity = delivery.severity.as_str(),
        reference = delivery.reference,
        "notice delivered"
    );
}

/// A sink does not take what it is given; said once until it does again.
pub fn sink_failing(sink: &str, why: &str) {
    tracing::error!(sink, why, "notices are not taken: they wait and are tried again");
}

/// A sink takes notices again.
pub fn sink_recovered(sink: &str) {
    tracing::info!(sink, "notices are taken again");
}

/// A ticket is there and is told, but not all that was wanted of it could be done.
pub fn ticket_unlike(why: &str) {
    tracing::warn!(why, "a ticket is not as the configuration wants it: see to it");
}

/// Nobody reads what was delivered, so the records will not have this delivery.
pub fn delivery_untold(sink: &str) {
    tracing::error!(sink, "a delivery is not in the records: nobody takes it in");
}

/// The queues were full: the oldest of the least urgent was given up.
pub fn outbox_full(count: u64) {
    tracing::error!(count, "notices or log lines were given up: a queue is full");
}

/// More comes than can be taken in.
pub fn outbox_door_full(lost: u64) {
    tracing::error!(lost, "notices or log lines are lost: too many come at once");
}

/// What waits cannot be written down.
pub fn outbox_failing(why: &str) {
    tracing::error!(
        why,
        "notices that wait are not on disk: a restart would forget them"
    );
}

/// What waits is on disk again.
pub fn outbox_recovered() {
    tracing::info!("notices that wait are on disk again");
}

/// The store of an earlier run was damaged.
pub fn outbox_moved_aside(dir: &Path, why: &str) {
    let dir = dir.display();
    tracing::error!(
        %dir, why,
        "the outbox was damaged and is now outbox.redb.damaged: what waited in it is not delivered"
    );
}

/// Rows of an earlier run are of no use.
pub fn outbox_rows_removed(sink: &str, count: usize) {
    tracing::warn!(
        sink,
        count,
        "what waited in the outbox is dropped: the sink is gone, or it cannot be read"
    );
}

/// The trace cannot be recorded; said once until it can be again.
pub fn record_failed(path: &Path, why: &dyn std::fmt::Display) {
    let path = path.display();
    tracing::error!(%path, %why, "the trace cannot be written: requests are not recorded");
}

/// Kept answers cannot be copied to disk; said once until they can be again.
pub fn kept_failed(directory: &Path, why: &dyn std::fmt::Display) {
    let directory = directory.display();
    tracing::error!(
        %directory, %why,
        "kept answers cannot be written: after a restart now there would be none"
    );
}

/// Kept answers can be copied to disk again.
pub fn kept_recovered(directory: &Path) {
    tracing::info!(directory = %directory.display(), "kept answers are written again");
}

/// The trace can be recorded again.
pub fn record_recovered(path: &Path, lost: u64) {
    tracing::info!(path = %path.display(), lost, "the trace is written again");
}

/// The end of the audit log was torn by a power loss, and is cut off.
pub fn audit_repaired(dir: &Path, file: &str, offset: u64, bytes: u64) {
    tracing::warn!(
        dir = %dir.display(), file, offset, bytes,
        "the audit log ended in the middle of a write: it is cut off there"
    );
}

/// A record of the audit log is not what was written.
pub fn audit_damaged(dir: &Path, what: &str) {
    let dir = dir.display();
    tracing::error!(%dir, what, "the audit log is damaged: run switchback audit verify");
}

/// The disk failed under the audit log, which is tried once more.
pub fn audit_failed(dir: &Path, why: &dyn std::fmt::Display) {
    tracing::error!(dir = %dir.display(), %why, "a write to the audit log failed");
}

/// The audit log cannot be written; said once until it can be again.
pub fn audit_unwritable(dir: &Path, why: &str) {
    tracing::error!(
        dir = %dir.display(), why,
        "the audit log cannot be written: what must be recorded first is refused"
    );
}

/// The audit log can be written again.
pub fn audit_recovered(dir: &Path) {
    tracing::warn!(dir = %dir.display(), "the audit log is written again");
}

/// An entry that had to be kept for the audit log found no room.
pub fn audit_lost(dir: &Path, why: &dyn std::fmt::Display) {
    tracing::error!(dir = %dir.display(), %why, "an entry of the audit log is lost");
}

/// A server of a version has come.
pub fn endpoint_come(route: &Name, version: &Name, endpoint: &dyn std::fmt::Display) {
    tracing::info!(%route, %version, %endpoint, "endpoint added: its name leads to it");
}

/// A server of a version has gone.
pub fn endpoint_gone(route: &Name, version: &Name, endpoint: &dyn std::fmt::Display) {
    tracing::info!(
        %route, %version, %endpoint,
        "endpoint gone: its name leads elsewhere; requests on it may end"
    );
}

/// A server has other addresses.
pub fn endpoint_moved(route: &Name, version: &Name, endpoint: &dyn std::fmt::Display) {
    tracing::info!(
        %route, %version, %endpoint,
        "endpoint moved: new connections go to the new addresses of its name"
    );
}

/// A name leads to where no request may go.
pub fn address_refused(
    route: &Name,
    version: &Name,
    address: std::net::SocketAddr,
    why: &str,
) {
    tracing::warn!(%route, %version, %address, why, "an address of a name is not used");
}

/// A version has more servers than are used.
pub fn endpoints_left_out(route: &Name, version: &Name, count: usize) {
    tracing::warn!(%route, %version, count, "too many endpoints: some are not used");
}

/// An endpoint is left out for a while.
pub fn endpoint_ejected(
    route: &Name,
    version: &Name,
    endpoint: &dyn std::fmt::Display,
    failures: u32,
    span: Duration,
) {
    tracing::warn!(
        %route, %version, %endpoint, failures,
        seconds = span.as_secs_f64(),
        "endpoint ejected"
    );
}

/// Active checks found an endpoint well.
pub fn endpoint_healthy(route: &Name, version: &Name, endpoint: &dyn std::fmt::Display) {
    tracing::info!(%route, %version, %endpoint, "endpoint healthy");
}

/// Active checks found an endpoint ill.
pub fn endpoint_unhealthy(
    route: &Name,
    version: &Name,
    endpoint: &dyn std::fmt::Display,
    why: &str,
) {
    tracing::warn!(%route, %version, %endpoint, why, "endpoint unhealthy");
}

/// A version has an endpoint to ask again, or has none left.
pub fn version_usable(route: &Name, version: &Name, usable: bool) {
    if usable {
        tracing::info!(%route, %version, "version healthy");
    } else {
        tracing::error!(%route, %version, "version unhealthy: every endpoint fails its checks");
    }
}

#[cfg(test)]
mod tests {

    use super::{rollback_begun, rollback_completed, rollback_failed, rollback_phase};
    use crate::telemetry::exporter::Exporter;
    use crate::telemetry::page::Page;
    use crate::vocab::outcome::Class;
    use crate::vocab::record::{Phase, PhaseRecord, RollbackRecord, Status};
    use crate::vocab::trigger::Trigger;

    #[test]
    fn a_rollback_is_counted_as_it_goes() {
        let mut record = RollbackRecord {
            trigger: Trigger::ErrorRate,
            reason: "too many errors".into(),
            automatic: true,
            initiated_by: None,
            ..RollbackRecord::example("rb-1")
        };
        let exporter = Exporter::new();
        let text = |exporter: &Exporter| {
            let unrouted = [0; Class::COUNT];
            exporter.render(&Page {
                mode: 0,
                unrouted: &unrouted,
                routes: Vec::new(),
                names: Vec::new(),
            })
        };
        rollback_begun(&exporter, &record);
        let phase = PhaseRecord {
            drained_requests: Some(3),
            left_requests: Some(0),
            ..PhaseRecord::example(Phase::DrainTraffic, Status::Completed, 0.5)
        };
        rollback_phase(&exporter, &record, &phase);
        assert!(text(&exporter).contains("rollback_completed_total 0\n"));
        record.total_duration_seconds = Some(0.5);
        rollback_completed(&exporter, &record);
        record.total_duration_seconds = Some(0.75);
        rollback_failed(&exporter, &record, "the table refused it");
        let text = text(&exporter);
        for line in [
            "rollback_triggered_total 1\n",
            "rollback_completed_total 1\n",
            "rollback_failed_total 1\n",
            "rollback_duration_seconds 0.75\n",
            "rollback_phase_duration_seconds_count{phase=\"drain_traffic\"} 1\n",
            "rollback_phase_duration_seconds_bucket{phase=\"drain_traffic\",le=\"0.1\"} 0\n",
            "rollback_phase_duration_seconds_bucket{phase=\"drain_traffic\",le=\"1\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} not in {text}");
        }
    }
}
