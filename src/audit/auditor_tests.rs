//! The handle on a real directory and on a simulated disk. Apart for length.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, json};

use super::{Auditor, Opened, Settings, open, start};
use crate::audit::disk::RealDisk;
use crate::audit::error::{AuditError, WriteError};
use crate::audit::inbox::Urgency;
use crate::audit::keeper::Keeper;
use crate::audit::opening::find;
use crate::audit::record::MOST_LINE;
use crate::audit::simulated::{Scratch, SimulatedDisk};
use crate::audit::verify::verify;
use crate::vocab::notice::Entry;
use crate::vocab::time::Timestamp;

fn entry(kind: &'static str, number: u64) -> Entry {
    let mut body = Map::new();
    body.insert("number".into(), number.into());
    let (operator, reason) = (None, Some("because".to_owned()));
    Entry { kind, at: Timestamp(number), operator, reason, config_hash: "c".into(), body }
}

fn settings(scratch: &Scratch) -> Settings {
    Settings { max_file: 3_000, ..Settings::below(scratch.path()) }
}

fn begin(scratch: &Scratch) -> (Auditor, Opened) {
    let (unstarted, opened) = open(&settings(scratch)).unwrap();
    (unstarted.start(|_| ()), opened)
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let scratch = Scratch::new();
    let (auditor, opened) = begin(&scratch);
    assert_eq!((opened.head.seq, opened.recent(9, |_| true).unwrap().len()), (1, 1));
    let mut receipts = Vec::new();
    for number in 0..20 {
        let kind = if number % 2 == 0 { "rollback.started" } else { "order.freeze" };
        let receipt =
            auditor.write(&entry(kind, number), Urgency::Ordinary).await.unwrap();
        assert_eq!(
            (auditor.head().seq, auditor.head().hash),
            (receipt.seq, receipt.hash)
        );
        receipts.push(receipt);
    }
    assert!(receipts.is_sorted_by(|one, next| one.seq < next.seq));
    let figures = auditor.figures();
    assert_eq!((figures.written, figures.unwritten, figures.failures), (20, 0, 0));
    assert_eq!(figures.head_hash, receipts[19].hash.to_string());
    assert_eq!((auditor.trouble(), auditor.close(LONG).await), (None, 0));
    let late = auditor.write(&entry("x", 1), Urgency::Protective).await;
    assert_eq!(late, Err(WriteError::Closed));

    let report = verify(&settings(&scratch).dir, Some(receipts[3].hash)).unwrap();
    assert!(report.holds() && report.expected == Some(receipts[3].seq));
    let (auditor, opened) = begin(&scratch);
    assert_eq!(
        (opened.head.seq, opened.head.hash),
        (receipts[19].seq, receipts[19].hash)
    );
    let rollbacks = opened.recent(3, |kind| kind.starts_with("rollback.")).unwrap();
    let numbers: Vec<_> = rollbacks.iter().map(|record| &record["number"]).collect();
    assert_eq!(numbers, [&json!(14), &json!(16), &json!(18)]);
    assert_eq!(auditor.close(LONG).await, 0);
}

#[tokio::test]
async fn nobody_else_may_write_until_the_last_handle_is_gone() {
    let scratch = Scratch::new();
    let (auditor, _) = begin(&scratch);
    let second = open(&settings(&scratch)).unwrap_err();
    assert!(matches!(second, AuditError::Locked { .. }), "{second}");
    let mut ended = auditor.door.0.ended.clone();
    drop(auditor.clone());
    assert!(auditor.write(&entry("x", 1), Urgency::Ordinary).await.is_ok());
    drop(auditor);
    ended.wait_for(|ended| *ended).await.unwrap();
    open(&settings(&scratch)).unwrap();
}

#[tokio::test]
async fn entries_that_come_together_are_synced_together_and_in_order() {
    let disk = SimulatedDisk::new(1);
    disk.with(|it| it.remembers = false);
    let (log, found) = find(disk.clone(), 1 << 30, Timestamp(0)).unwrap();
    let auditor = start(Keeper::new(log, PathBuf::from("/simulated"), 64, &found));
    let before = disk.with(|it| it.synced);
    let all: Vec<_> = (0..300)
        .map(|number| auditor.write(&entry("x", number), Urgency::Ordinary))
        .collect();
    assert_eq!(auditor.figures().unwritten, 300);
    for (at, written) in all.into_iter().enumerate() {
        assert_eq!(written.await.unwrap().seq, at as u64 + 2);
    }
    let syncs = disk.with(|it| it.synced) - before;
    assert!(syncs < 5, "{syncs} syncs for 300 entries");
    let long = "y".repeat(MOST_LINE);
    let mut entry = entry("x", 1);
    entry.reason = Some(long);
    assert_eq!(
        auditor.write(&entry, Urgency::Protective).await,
        Err(WriteError::TooLong)
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_disk_is_asked_again_and_keeps_nobody_waiting_for_ever() {
    let disk = SimulatedDisk::new(1);
    disk.with(|it| it.remembers = false);
    let (log, found) = find(disk.clone(), 1 << 30, Timestamp(0)).unwrap();
    let auditor = start(Keeper::new(log, PathBuf::from("/simulated"), 64, &found));
    disk.with(|it| it.faults.dead = true);
    let refused = auditor.write(&entry("x", 1), Urgency::Rollback).await.unwrap_err();
    assert!(matches!(refused, WriteError::Disk { .. }), "{refused}");
    let trouble = auditor.trouble().unwrap();
    assert!(trouble.to_string().contains("bad sector"), "{trouble}");
    let kept = auditor.write(&entry("x", 2), Urgency::Protective);
    let later = auditor.write(&entry("x", 3), Urgency::Ordinary).await;
    assert!(later.is_err());
    assert_eq!(auditor.figures().unwritten, 1);
    disk.with(|it| it.faults.dead = false);
    // Nothing is written meanwhile: the disk is asked because time passes.
    let receipt = kept.await.unwrap();
    assert!(receipt.seq > 1 && auditor.trouble().is_none());

    disk.with(|it| it.faults.dead = true);
    let unwritten = auditor.write(&entry("x", 4), Urgency::Protective);
    assert_eq!(auditor.close(LONG).await, 1);
    drop(unwritten);
}

#[test]
fn a_directory_that_cannot_be_used_is_refused_with_its_name() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join("audit"), "a file").unwrap();
    let refused = open(&settings(&scratch)).unwrap_err();
    assert!(matches!(refused, AuditError::Directory { .. }));
    assert!(refused.to_string().contains("/audit"), "{refused}");
    assert!(RealDisk::open(scratch.path()).is_ok());
}
