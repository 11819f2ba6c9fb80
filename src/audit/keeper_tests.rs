//! What becomes of entries on a disk that is full, failing or dead. Apart for length.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{BALLAST, Keeper, lock};
use crate::audit::chain::Head;
use crate::audit::error::WriteError;
use crate::audit::inbox::{Job, Urgency};
use crate::audit::lines::{Lines, file_name, files};
use crate::audit::opening::find;
use crate::audit::record::Draft;
use crate::audit::simulated::SimulatedDisk;
use crate::audit::verify::verify_in;
use crate::vocab::time::Timestamp;

struct Bench {
    disk: SimulatedDisk,
    keeper: Keeper<SimulatedDisk>,
}

type Answer = Result<Head, WriteError>;

impl Bench {
    fn new() -> Self {
        let disk = SimulatedDisk::new(7);
        disk.with(|it| it.remembers = false);
        let (log, found) = find(disk.clone(), 1 << 20, Timestamp(0)).unwrap();
        let keeper = Keeper::new(log, PathBuf::from("/simulated"), 4_000, &found);
        Self { disk, keeper }
    }

    /// Gives entries of that many bytes, and says what is known of each afterwards.
    fn act(&mut self, entries: &[(Urgency, usize)]) -> Vec<oneshot::Receiver<Answer>> {
        let (jobs, waits) = entries
            .iter()
            .map(|(urgency, bytes)| {
                let facts =
                    json!({"reason": "x".repeat(*bytes), "of": format!("{urgency:?}")});
                let draft = Draft::ours("test", Timestamp(0), facts);
                let (answer, waits) = oneshot::channel();
                (Job { draft, urgency: *urgency, answer: Some(answer) }, waits)
            })
            .unzip();
        self.keeper.act(jobs);
        waits
    }

    fn one(&mut self, urgency: Urgency) -> Option<Answer> {
        let [mut wait] = <[_; 1]>::try_from(self.act(&[(urgency, 100)])).unwrap();
        wait.try_recv().ok()
    }

    fn trouble(&self) -> Option<String> {
        lock(&self.keeper.state()).trouble.clone().map(|(_, why)| why)
    }

    fn has_ballast(&self) -> bool {
        self.disk.with(|it| it.now.names().contains(&BALLAST.to_owned()))
    }

    /// All records, after the chain was checked.
    fn records(&self) -> Vec<Value> {
        let head = lock(&self.keeper.state()).head;
        let report = verify_in(&self.disk, Some(head.hash)).unwrap().unwrap();
        assert!(report.holds() && report.head == head, "{report:?}");
        let mut records = Vec::new();
        for (number, _) in files(&self.disk).unwrap() {
            let name = file_name(number);
            let mut lines = Lines::new(&self.disk, &name, u64::MAX);
            while let Some(line) = lines.next().unwrap() {
                assert!(line.ended, "half a write is left");
                records.push(serde_json::from_slice(line.text).unwrap());
            }
        }
        records
    }

    fn last(&self) -> Value {
        self.records().pop().unwrap()
    }
}

const ALL: [Urgency; 3] = [Urgency::Ordinary, Urgency::Rollback, Urgency::Protective];

#[test]
fn all_that_waits_is_written_with_one_sync() {
    let mut bench = Bench::new();
    let before = bench.disk.with(|it| it.synced);
    let waits = bench.act(&[(Urgency::Ordinary, 10); 40]);
    assert_eq!(bench.disk.with(|it| it.synced), before + 1);
    for (at, mut wait) in waits.into_iter().enumerate() {
        assert_eq!(wait.try_recv().unwrap().unwrap().seq, 2 + at as u64);
    }
    assert!(bench.records().iter().skip(2).all(|record| record["batch"] == 2));
    assert_eq!((bench.trouble(), bench.has_ballast()), (None, true));
}

#[test]
fn a_full_disk_has_room_for_rollbacks_alone_until_there_is_room_again() {
    let mut bench = Bench::new();
    let used = bench.disk.with(|it| it.now.used());
    bench.disk.with(|it| it.faults.capacity = Some(used + 50));
    assert!(matches!(bench.one(Urgency::Ordinary), Some(Err(WriteError::Full { .. }))));
    assert!(!bench.has_ballast());
    let why = bench.trouble().unwrap();
    assert!(why.starts_with("the disk is full"), "{why}");
    for urgency in [Urgency::Rollback, Urgency::Protective] {
        assert!(matches!(bench.one(urgency), Some(Ok(_))), "{urgency:?}");
        assert_eq!(bench.last()["of"], format!("{urgency:?}"));
    }
    assert!(matches!(bench.one(Urgency::Ordinary), Some(Err(WriteError::Full { .. }))));
    bench.disk.with(|it| it.faults.capacity = None);
    bench.keeper.act(Vec::new());
    assert_eq!((bench.trouble(), bench.has_ballast()), (None, true));
    let last = bench.last();
    assert_eq!((&last["kind"], &last["refused"]), (&json!("audit.resumed"), &json!(2)));
    assert!(matches!(bench.one(Urgency::Ordinary), Some(Ok(_))));
}

#[test]
fn a_flood_of_orders_asks_a_full_disk_for_room_once_in_a_while() {
    let mut bench = Bench::new();
    let used = bench.disk.with(|it| it.now.used());
    bench.disk.with(|it| it.faults.capacity = Some(used));
    for _ in 0..200 {
        assert!(matches!(
            bench.one(Urgency::Ordinary),
            Some(Err(WriteError::Full { .. }))
        ));
    }
    let failures = lock(&bench.keeper.state()).failures;
    assert!(failures < 50, "{failures} writes for 200 orders");
}

#[test]
fn when_the_last_room_is_used_up_only_what_must_not_be_refused_waits() {
    let mut bench = Bench::new();
    let used = bench.disk.with(|it| it.now.used());
    bench.disk.with(|it| it.faults.capacity = Some(used));
    let mixed: Vec<(Urgency, usize)> =
        (0..12).map(|at| (ALL[at % 3], if at < 6 { 100 } else { 1_500 })).collect();
    let waits = bench.act(&mixed);
    let mut kept = Vec::new();
    for (mut wait, (urgency, _)) in waits.into_iter().zip(&mixed) {
        match (wait.try_recv(), urgency) {
            (Ok(Err(WriteError::Full { .. })), Urgency::Ordinary | Urgency::Rollback)
            | (Ok(Ok(_)), Urgency::Rollback | Urgency::Protective) => {}
            (Err(_), Urgency::Protective) => kept.push(wait),
            (other, _) => panic!("{other:?} for {urgency:?}"),
        }
    }
    let written = bench.records().iter().filter(|it| it["kind"] == "test").count();
    assert!((3..8).contains(&written) && kept.len() < 4, "{written} written");
    assert_eq!(lock(&bench.keeper.state()).kept, kept.len());
    assert!(bench.keeper.keeps() && bench.trouble().is_some());
    bench.disk.with(|it| it.faults.capacity = None);
    bench.keeper.act(Vec::new());
    for wait in &mut kept {
        assert!(wait.try_recv().unwrap().is_ok());
    }
    assert_eq!((bench.trouble(), bench.keeper.is_troubled()), (None, false));
    assert_eq!(bench.last()["kind"], "audit.resumed");
}

#[test]
fn after_a_failed_sync_the_log_goes_on_in_a_new_file() {
    let mut bench = Bench::new();
    assert!(bench.one(Urgency::Ordinary).unwrap().is_ok());
    bench.disk.with(|it| it.faults.syncs = 1);
    let head = bench.one(Urgency::Ordinary).unwrap().unwrap();
    assert_eq!((head.seq, bench.keeper.place().0), (4, 2));
    let records = bench.records();
    let kinds: Vec<&str> = records.iter().filter_map(|it| it["kind"].as_str()).collect();
    assert_eq!(kinds, ["audit.file", "test", "audit.file", "test"]);
    let continues = &records[2]["continues"];
    assert_eq!(
        (&continues["file"], &continues["seq"]),
        (&json!(file_name(1)), &json!(2))
    );
    assert_eq!(continues["hash"], records[1]["hash"]);
    let failures = lock(&bench.keeper.state()).failures;
    assert_eq!((failures, bench.trouble()), (1, None));
}

#[test]
fn on_a_dead_disk_everything_is_refused_but_what_is_done_already() {
    let mut bench = Bench::new();
    bench.disk.with(|it| it.faults.dead = true);
    let [ordinary, rollback, protective] = ALL.map(|urgency| bench.one(urgency));
    for refused in [ordinary, rollback] {
        assert!(matches!(refused, Some(Err(WriteError::Disk { .. }))), "{refused:?}");
    }
    assert_eq!(protective, None);
    let since = lock(&bench.keeper.state()).trouble.clone().unwrap().0;
    bench.keeper.act(Vec::new());
    assert_eq!(lock(&bench.keeper.state()).trouble.clone().unwrap().0, since);
    bench.disk.with(|it| it.faults.dead = false);
    bench.keeper.act(Vec::new());
    assert_eq!(bench.trouble(), None);
    let records = bench.records();
    let [.., kept, resumed] = &records[..] else { panic!("{records:?}") };
    assert_eq!((&kept["of"], &resumed["refused"]), (&json!("Protective"), &json!(2)));
    assert_eq!(resumed["since"], json!(since));
}

#[test]
fn a_dead_disk_with_nothing_to_write_stays_known_as_dead() {
    let mut bench = Bench::new();
    bench.disk.with(|it| it.faults.syncs = usize::MAX);
    assert!(matches!(bench.one(Urgency::Ordinary), Some(Err(WriteError::Disk { .. }))));
    for _ in 0..3 {
        bench.keeper.act(Vec::new());
        assert!(bench.trouble().is_some() && bench.keeper.is_troubled());
    }
    bench.disk.with(|it| it.faults.syncs = 0);
    bench.keeper.act(Vec::new());
    assert_eq!(bench.trouble(), None);
}

#[test]
fn what_waits_in_memory_is_bounded() {
    let mut bench = Bench::new();
    bench.disk.with(|it| it.faults.dead = true);
    let mut waits = Vec::new();
    for _ in 0..30 {
        waits.extend(bench.act(&[(Urgency::Protective, 200_000); 4]));
    }
    let lost = waits.iter_mut().filter_map(|wait| wait.try_recv().ok());
    let lost = lost.inspect(|lost| assert!(lost.is_err())).count();
    let kept = lock(&bench.keeper.state()).kept;
    assert!(kept + lost == 120 && (70..90).contains(&kept), "{kept} kept, {lost} lost");
}
