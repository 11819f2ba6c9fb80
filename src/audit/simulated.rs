//! A disk that loses its power, and a directory that goes when a test ends.
//!
//! The disk keeps two states: what a reader sees, and what is durable. Between them stand
//! the operations since the last sync, of which a power loss leaves any part: each write
//! whole, torn, as zeros or not at all, whatever the others are; each change of a name or
//! not, until the directory was synced. After every operation the disk remembers itself, so
//! that every moment can be tried.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::disk::{Disk, Source};

/// A directory that goes when the test ends.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("switchback-audit-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Numbers from a seed, by Steele's splitmix64.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    pub(super) fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }
}

/// What a file is made of.
#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    live: Vec<u8>,
    /// Since the last sync.
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Bind(String, usize),
    Rename(String, String),
    Remove(String),
}

/// Everything about the disk at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Platter {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    /// How many records had been acknowledged, for the test to count.
    pub(super) acknowledged: usize,
}

/// What is to go wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// One in so many operations fails; 0 for none.
    pub(super) one_in: usize,
    /// Bytes that the disk has.
    pub(super) capacity: Option<usize>,
    /// Nothing works any more.
    pub(super) dead: bool,
    /// So many syncs to come fail.
    pub(super) syncs: usize,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) now: Platter,
    /// The disk after each operation.
    pub(super) past: Vec<Platter>,
    pub(super) remembers: bool,
    pub(super) faults: Faults,
    /// How often a file was synced.
    pub(super) synced: usize,
    dice: Dice,
}

/// A disk of which the test holds another handle.
#[derive(Clone, Debug)]
pub(super) struct SimulatedDisk(pub(super) Arc<Mutex<Machine>>);

impl SimulatedDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self::of(Platter::default(), seed)
    }

    pub(super) fn of(now: Platter, seed: u64) -> Self {
        let machine = Machine {
            now,
            past: Vec::new(),
            remembers: true,
            faults: Faults::default(),
            synced: 0,
            dice: Dice(seed),
        };
        Self(Arc::new(Mutex::new(machine)))
    }

    /// Does something to the machine.
    pub(super) fn with<T>(&self, deed: impl FnOnce(&mut Machine) -> T) -> T {
        deed(&mut self.0.lock().unwrap())
    }
}

impl Platter {
    /// What a reader sees of a file.
    pub(super) fn text(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.inodes[*self.names.get(name)?].live.clone())
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    pub(super) fn used(&self) -> usize {
        self.names.values().map(|inode| self.inodes[*inode].live.len()).sum()
    }

    /// What a power loss may leave of it.
    pub(super) fn after_power_loss(&self, dice: &mut Dice) -> Self {
        let ordered = dice.one_in(2);
        let kept = dice.below(self.pending_names.len() + 1);
        let mut names = self.durable_names.clone();
        for (at, change) in self.pending_names.iter().enumerate() {
            if if ordered { at < kept } else { dice.one_in(2) } {
                change.apply(&mut names);
            }
        }
        let survive = |inode: &Inode, dice: &mut Dice| {
            let durable = inode.after_power_loss(dice);
            Inode { live: durable.clone(), durable, pending: Vec::new() }
        };
        let inodes = self.inodes.iter().map(|inode| survive(inode, dice)).collect();
        Self {
            inodes,
            durable_names: names.clone(),
            names,
            pending_names: Vec::new(),
            acknowledged: self.acknowledged,
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Bind(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Inode {
    fn after_power_loss(&self, dice: &mut Dice) -> Vec<u8> {
        let mut left = self.durable.clone();
        // The same fate for all, or each its own.
        let fate = dice.below(5);
        for change in &self.pending {
            let fate = if fate == 4 { dice.below(4) } else { fate };
            match (change, fate) {
                (Change::Cut(length), 1..) => left.truncate(*length),
                (Change::Cut(_), _) | (Change::Write(..), 0) => {}
                (Change::Write(at, bytes), 1) => put(&mut left, *at, bytes),
                (Change::Write(at, bytes), 2) => {
                    put(&mut left, *at, &bytes[..dice.below(bytes.len() + 1)]);
                }
                (Change::Write(at, bytes), _) => {
                    // The length is on the disk, and of the content any part.
                    put(&mut left, *at, &some_of(bytes, dice));
                }
            }
        }
        left
    }
}

/// Some sectors of a write, the others as zeros.
fn some_of(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let all_zero = dice.one_in(3);
    let mut some = bytes.to_vec();
    for sector in some.chunks_mut(SECTOR) {
        if all_zero || dice.one_in(2) {
            sector.fill(0);
        }
    }
    some
}

/// Writes into a file, whose gaps are zeros.
fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Machine {
    /// Remembers how it stood before each change; says whether the change is to fail.
    fn begin(&mut self) -> io::Result<()> {
        if self.remembers {
            self.past.push(self.now.clone());
        }
        let fails = self.faults.one_in > 0 && self.dice.one_in(self.faults.one_in);
        if fails || self.faults.dead {
            Err(io::Error::other("bad sector"))
        } else {
            Ok(())
        }
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.now.names.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Source for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(self.with(|it| {
            let length = |inode: &usize| it.now.inodes[*inode].live.len() as u64;
            it.now
                .names
                .iter()
                .map(|(name, inode)| (name.clone(), length(inode)))
                .collect()
        }))
    }

    fn read(&self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.with(|it| {
            let live = &it.now.inodes[it.inode(name)?].live;
            let rest = &live[usize::try_from(at).unwrap().min(live.len())..];
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }
}

impl Disk for SimulatedDisk {
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with(|it| {
            let failed = it.begin();
            if it.inode(name).is_err() {
                failed.as_ref().map_err(|_| io::Error::other("bad sector"))?;
                it.now.inodes.push(Inode::default());
                let inode = it.now.inodes.len() - 1;
                it.now.names.insert(name.to_owned(), inode);
                it.now.pending_names.push(NameChange::Bind(name.to_owned(), inode));
            }
            let room = it
                .faults
                .capacity
                .map_or(usize::MAX, |capacity| capacity.saturating_sub(it.now.used()));
            let fits = bytes.len() <= room;
            let part = match &failed {
                Ok(()) => bytes.len().min(room),
                Err(_) => it.dice.below(bytes.len() + 1).min(room),
            };
            let number = it.inode(name)?;
            let inode = &mut it.now.inodes[number];
            inode.pending.push(Change::Write(inode.live.len(), bytes[..part].to_vec()));
            inode.live.extend_from_slice(&bytes[..part]);
            failed?;
            if fits { Ok(()) } else { Err(ErrorKind::StorageFull.into()) }
        })
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.with(|it| {
            it.synced += 1;
            let refused = it.faults.syncs > 0;
            it.faults.syncs = it.faults.syncs.saturating_sub(1);
            let failed = match it.begin() {
                Ok(()) if refused => Err(io::Error::other("bad sector")),
                failed => failed,
            };
            let number = it.inode(name)?;
            let mut dice = it.dice.clone();
            let inode = &mut it.now.inodes[number];
            // After a failed sync the system forgets what it did not write: some of it is on
            // the disk, the rest never gets there, and a reader sees all of it.
            inode.durable = match &failed {
                Ok(()) if inode.pending.is_empty() => inode.durable.clone(),
                Ok(()) => inode.synced(),
                Err(_) => inode.after_power_loss(&mut dice),
            };
            inode.pending.clear();
            it.dice = dice;
            failed
        })
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.with(|it| {
            it.begin()?;
            let number = it.inode(name)?;
            let inode = &mut it.now.inodes[number];
            let length = usize::try_from(length).unwrap();
            assert!(length <= inode.live.len(), "{name} is made longer");
            inode.live.truncate(length);
            inode.pending.push(Change::Cut(length));
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.with(|it| {
            it.begin()?;
            it.inode(from)?;
            let change = NameChange::Rename(from.to_owned(), to.to_owned());
            change.apply(&mut it.now.names);
            it.now.pending_names.push(change);
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.with(|it| {
            it.inode(name)?;
            it.begin()?;
            let change = NameChange::Remove(name.to_owned());
            change.apply(&mut it.now.names);
            it.now.pending_names.push(change);
            Ok(())
        })
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.with(|it| {
            it.begin()?;
            it.now.durable_names = it.now.names.clone();
            it.now.pending_names.clear();
            Ok(())
        })
    }

    fn close(&mut self, _: &str) {}
}

impl Inode {
    /// What is durable after a sync: the changes since the last one, over what was durable
    /// then. That is what a reader sees, unless an earlier sync failed.
    fn synced(&self) -> Vec<u8> {
        let mut durable = self.durable.clone();
        for change in &self.pending {
            match change {
                Change::Write(at, bytes) => put(&mut durable, *at, bytes),
                Change::Cut(length) => durable.truncate(*length),
            }
        }
        durable
    }
}

/// Small, so that a record spans several.
const SECTOR: usize = 64;
