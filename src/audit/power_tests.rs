//! Power losses at every moment of seeded runs, with and without a failing disk: the log
//! opens, its chain holds, and every acknowledged record is in it. Apart because it tries
//! the opening, the log and the keeper together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::chain::Hash;
use super::disk::Disk;
use super::error::WriteError;
use super::inbox::{Job, Urgency};
use super::keeper::Keeper;
use super::opening::{Found, find};
use super::record::Draft;
use super::simulated::{Dice, Platter, SimulatedDisk};
use super::verify::verify_in;
use crate::audit::chain::Head;
use crate::audit::lines::{Lines, file_name, files};
use crate::vocab::time::Timestamp;

const BALLAST: usize = 2_000;
const MAX_FILE: u64 = 2_500;

fn keeper(disk: &SimulatedDisk) -> (Keeper<SimulatedDisk>, Found) {
    let (log, found) = find(disk.clone(), MAX_FILE, Timestamp(1)).unwrap();
    (Keeper::new(log, PathBuf::from("/simulated"), BALLAST, &found), found)
}

/// What was asked of a keeper, and what came of it.
#[derive(Default)]
struct Ledger {
    asked: u64,
    waiting: BTreeMap<u64, (Urgency, oneshot::Receiver<Result<Head, WriteError>>)>,
    acknowledged: Vec<(u64, Head)>,
    refused: BTreeSet<u64>,
}

impl Ledger {
    fn job(&mut self, urgency: Urgency, bytes: usize) -> Job {
        self.asked += 1;
        let facts = json!({"number": self.asked, "reason": "x".repeat(bytes)});
        let draft = Draft::ours("test", Timestamp(self.asked), facts);
        let (answer, waits) = oneshot::channel();
        self.waiting.insert(self.asked, (urgency, waits));
        Job { draft, urgency, answer: Some(answer) }
    }

    /// Hears what came of everything so far, and lets the disk know how much is certain.
    fn hear(&mut self, disk: &SimulatedDisk) {
        let (acknowledged, refused) = (&mut self.acknowledged, &mut self.refused);
        self.waiting.retain(|number, (urgency, waits)| match waits.try_recv() {
            Ok(Ok(head)) => {
                acknowledged.push((*number, head));
                false
            }
            Ok(Err(error)) => {
                assert_ne!(*urgency, Urgency::Protective, "{number}: {error}");
                refused.insert(*number);
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(error) => panic!("{number} is forgotten: {error}"),
        });
        let count = self.acknowledged.len();
        disk.with(|it| it.now.acknowledged = count);
    }
}

/// Writes a while, on a disk as the seed wants it.
fn live(seed: u64, disk: &SimulatedDisk) -> Ledger {
    let mut dice = Dice(seed);
    let (mut keeper, _) = keeper(disk);
    let mut ledger = Ledger::default();
    let (failing, tight) = (seed % 3 == 1, seed % 3 == 2);
    for round in 0..9 {
        disk.with(|it| {
            it.faults.one_in = if failing && round < 7 { 6 } else { 0 };
            it.faults.capacity =
                (tight && round < 7).then_some(6_500 + 400 * (round % 5));
        });
        let jobs = (0..dice.below(4))
            .map(|_| {
                let urgency = [Urgency::Ordinary, Urgency::Rollback, Urgency::Protective];
                ledger.job(urgency[dice.below(3)], dice.below(400))
            })
            .collect();
        keeper.act(jobs);
        ledger.hear(disk);
    }
    keeper.act(Vec::new());
    ledger.hear(disk);
    assert!(ledger.waiting.is_empty() && !keeper.is_troubled(), "seed {seed}");
    ledger
}

/// Opens what is left, and holds it against what was promised.
fn survives(disk: &SimulatedDisk, acknowledged: &[(u64, Head)], what: &str) -> Found {
    let (_, found) = keeper(disk);
    assert!(found.damage.is_empty(), "{what}: {:?}", found.damage);
    let hashes = sound(disk, acknowledged.last().map(|(_, head)| head.hash), what);
    for (number, head) in acknowledged {
        assert_eq!(hashes.get(number), Some(&head.hash), "{what}: {number} is lost");
    }
    found
}

/// Checks the chain and returns the hash of every numbered record.
fn sound(
    disk: &SimulatedDisk,
    expected: Option<Hash>,
    what: &str,
) -> BTreeMap<u64, Hash> {
    let report = verify_in(disk, expected).unwrap().unwrap();
    assert!(report.holds(), "{what}: {:#?}", report.problems);
    assert_eq!(report.unfinished, None, "{what}");
    let mut hashes = BTreeMap::new();
    for (number, _) in files(disk).unwrap() {
        let name = file_name(number);
        let mut lines = Lines::new(disk, &name, u64::MAX);
        while let Some(line) = lines.next().unwrap() {
            let Numbered { number, hash } = serde_json::from_slice(line.text).unwrap();
            let Some(number) = number else { continue };
            let twice = hashes.insert(number, hash.parse().unwrap());
            assert_eq!(twice, None, "{what}: {number} is there twice");
        }
    }
    hashes
}

/// What the records of these tests say.
#[derive(Deserialize)]
struct Numbered {
    number: Option<u64>,
    hash: String,
}

/// A disk that had its power back after that moment.
fn again(moment: &Platter, dice: &mut Dice, seed: u64) -> SimulatedDisk {
    SimulatedDisk::of(moment.after_power_loss(dice), seed)
}

#[test]
fn whatever_a_power_loss_leaves_every_acknowledged_record_is_in_a_sound_chain() {
    let (mut cases, mut torn, mut twice) = (0, 0, 0);
    for seed in 0..51 {
        let disk = SimulatedDisk::new(seed);
        let ledger = live(seed, &disk);
        let past = disk.with(|it| std::mem::take(&mut it.past));
        for (at, moment) in past.iter().enumerate() {
            let mut dice = Dice(seed << 32 | at as u64);
            let after = again(moment, &mut dice, seed);
            let promised = &ledger.acknowledged[..moment.acknowledged];
            let what = format!("seed {seed}, moment {at}");
            torn += survives(&after, promised, &what).torn.len();
            cases += 1;
            // The power may go again at any moment of the opening that follows.
            let opening = after.with(|it| std::mem::take(&mut it.past));
            if opening.is_empty() {
                continue;
            }
            let second = dice.below(opening.len());
            let after = again(&opening[second], &mut dice, seed);
            survives(&after, promised, &format!("{what}, and {second} of the opening"));
            twice += 1;
        }
    }
    assert!(cases > 2_000 && twice > 500, "{cases} cases, {twice} twice");
    assert!(torn > cases / 20, "{torn} torn of {cases}");
}

#[test]
fn without_a_power_loss_the_log_holds_what_was_acknowledged_and_nothing_else() {
    let mut refused = 0;
    for seed in 0..99 {
        let disk = SimulatedDisk::new(seed);
        disk.with(|it| it.remembers = false);
        let ledger = live(seed, &disk);
        let hashes = sound(&disk, None, &format!("seed {seed}"));
        let acknowledged: BTreeMap<u64, Hash> = ledger
            .acknowledged
            .iter()
            .map(|(number, head)| (*number, head.hash))
            .collect();
        assert_eq!(hashes, acknowledged, "seed {seed}");
        refused += ledger.refused.len();
    }
    assert!(refused > 50, "{refused} refused");
}

#[test]
fn the_simulated_disk_does_lose_what_is_not_synced() {
    // The oracle: a log that did not sync would be found out.
    let mut lost = 0;
    for seed in 0..200 {
        let mut disk = SimulatedDisk::new(seed);
        disk.append("a", b"synced").unwrap();
        disk.sync("a").unwrap();
        disk.sync_dir().unwrap();
        disk.append("a", &[b'x'; 200]).unwrap();
        disk.append("b", b"named").unwrap();
        disk.sync("b").unwrap();
        let after = disk.with(|it| it.now.after_power_loss(&mut Dice(seed)));
        let text = after.text("a").unwrap();
        assert!(text.starts_with(b"synced"), "{text:?}");
        let whole = text.len() == 206 && text[6..].iter().all(|byte| *byte == b'x');
        let named = after.names().contains(&"b".to_owned());
        lost += usize::from(!whole) + usize::from(!named);
    }
    assert!((100..350).contains(&lost), "{lost}");
}
