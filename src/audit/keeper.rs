//! `Keeper`: what becomes of entries, whether the disk takes them or not.
//!
//! Apart from the log, which either writes a batch or does not: here a disk that is full
//! still takes the records of rollbacks, in the room that a ballast file kept for them, a
//! disk that failed is asked once more, and what must not be refused waits in memory.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::chain::Head;
use super::disk::Disk;
use super::error::WriteError;
use super::inbox::{Answer, Job, Load, MOST_KEPT, Urgency};
use super::log::{Log, MOST_BATCH, Tee, absent};
use super::opening::{Found, Torn};
use super::record::{DAMAGED, Draft, REPAIRED, RESUMED};
use crate::clock;
use crate::telemetry::emit;
use crate::vocab::time::Timestamp;

/// How the log stands, for everybody to see.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) head: Head,
    /// Records written since the start.
    pub(super) written: u64,
    /// Tries to write that failed.
    pub(super) failures: u64,
    /// Entries that are kept in memory, because they could not be written.
    pub(super) kept: usize,
    /// Since when, and why it cannot be written as it should.
    pub(super) trouble: Option<(Timestamp, String)>,
}

/// The blocking side of the log.
#[derive(Debug)]
pub(super) struct Keeper<D> {
    log: Log<D>,
    /// For messages.
    path: PathBuf,
    /// Bytes of the ballast.
    ballast: usize,
    state: Arc<Mutex<State>>,
    /// What could not be written and must not be refused.
    kept: VecDeque<Job>,
    /// The ballast is given up, and why.
    short: Option<String>,
    /// When a full disk was last asked for room.
    asked: Option<Instant>,
    /// Why the last write failed.
    failing: Option<String>,
    written: u64,
    failures: u64,
    /// Entries that were refused because of the trouble at hand.
    refused: u64,
    /// Those to be told, once the state says the same.
    answers: Vec<(Answer, Result<Head, WriteError>)>,
}

impl<D: Disk> Keeper<D> {
    /// Keeps a log, with so many bytes of ballast. What its opening found is recorded in it.
    pub(super) fn new(log: Log<D>, path: PathBuf, ballast: usize, found: &Found) -> Self {
        let state =
            State { head: log.head(), written: 0, failures: 0, kept: 0, trouble: None };
        let mut keeper = Self {
            log,
            path,
            ballast,
            state: Arc::new(Mutex::new(state)),
            kept: VecDeque::new(),
            short: None,
            asked: None,
            failing: None,
            written: 0,
            failures: 0,
            refused: 0,
            answers: Vec::new(),
        };
        for torn in &found.torn {
            emit::audit_repaired(&keeper.path, &torn.file, torn.offset, torn.bytes);
            keeper.ours(REPAIRED, repaired(torn));
        }
        if !found.damage.is_empty() {
            keeper.damaged(&found.damage);
        }
        keeper.restore();
        keeper.act(Vec::new());
        keeper
    }

    /// Gives every record from now on to somebody else too.
    pub(super) fn tee(&mut self, tee: Tee) {
        self.log.tee(tee);
    }

    /// How it stands.
    pub(super) fn state(&self) -> Arc<Mutex<State>> {
        Arc::clone(&self.state)
    }

    /// Whether something is left to be done that nobody will come with.
    pub(super) fn is_troubled(&self) -> bool {
        !self.kept.is_empty() || self.short.is_some() || self.failing.is_some()
    }

    /// Whether entries are kept in memory.
    pub(super) fn keeps(&self) -> bool {
        !self.kept.is_empty()
    }

    /// The file that is written, and where it ends.
    pub(super) fn place(&self) -> (u64, u64) {
        self.log.place()
    }

    /// Writes what was kept, and then these: at most as much as goes into one write.
    pub(super) fn act(&mut self, jobs: Vec<Job>) {
        // A tick asks for room, and so does who comes some time after the last that did.
        let since = self.asked.map(|at| clock::now().duration_since(at));
        let due = jobs.is_empty() || since.is_none_or(|since| since >= ASK_AGAIN);
        if self.short.is_some() && due {
            self.restore();
        }
        let jobs = self.kept.drain(..).chain(jobs).collect::<VecDeque<Job>>();
        let mut left = self.without_refused(jobs);
        let mended = self.log.mend(clock::wall());
        self.failing = mended.err().map(|error| error.to_string());
        while !left.is_empty() {
            let batch = next_batch(&mut left);
            if let Err(error) = self.write(batch) {
                // The rest would only fail too.
                for job in left.drain(..) {
                    self.settle(job, &error);
                }
            }
        }
        let damage = self.log.damage();
        if !damage.is_empty() {
            self.damaged(&damage);
        }
        self.resume();
        self.tell();
    }

    /// Says in the log, as soon as that is possible, that something was kept out of it.
    fn resume(&mut self) {
        let Some((since, why)) = lock(&self.state).trouble.clone() else { return };
        if self.failing.is_some() || self.short.is_some() {
            return;
        }
        let facts = json!({"since": since, "why": why, "refused": self.refused});
        let draft = Draft::ours(RESUMED, clock::wall(), facts);
        match self.log.commit(&[&draft], clock::wall()) {
            Ok(_) => {
                self.written += 1;
                self.refused = 0;
            }
            Err(error) => {
                self.failures += 1;
                self.failing = Some(error.to_string());
            }
        }
    }

    /// Refuses what a full disk has no room for, and gives back the rest.
    fn without_refused(&mut self, jobs: VecDeque<Job>) -> VecDeque<Job> {
        let Some(why) = self.short.clone() else { return jobs };
        let (refused, left): (VecDeque<Job>, VecDeque<Job>) =
            jobs.into_iter().partition(|job| job.urgency == Urgency::Ordinary);
        for job in refused {
            self.refuse(job, WriteError::Full { why: why.clone() });
        }
        left
    }

    /// Writes a batch; what cannot be written is settled.
    fn write(&mut self, batch: VecDeque<Job>) -> Result<(), io::Error> {
        let first = match self.commit(&batch) {
            Ok(heads) => return self.acknowledge(batch, heads),
            Err(error) => error,
        };
        let error = if is_full(&first) {
            first
        } else {
            // The log makes an end of the file that failed and goes on in a new one.
            emit::audit_failed(&self.path, &first);
            match self.commit(&batch) {
                Ok(heads) => return self.acknowledge(batch, heads),
                Err(error) => error,
            }
        };
        if is_full(&error) {
            return self.write_short(batch, &error);
        }
        for job in batch {
            self.settle(job, &error);
        }
        Err(error)
    }

    /// Writes what may have the last room of a full disk.
    fn write_short(
        &mut self,
        batch: VecDeque<Job>,
        full: &io::Error,
    ) -> Result<(), io::Error> {
        self.short.get_or_insert_with(|| full.to_string());
        let given_up =
            self.log.disk.remove(BALLAST).and_then(|()| self.log.disk.sync_dir());
        absent(given_up)?;
        let mut left = self.without_refused(batch);
        if let Ok(heads) = self.commit(&left) {
            return self.acknowledge(left, heads);
        }
        while let Some(job) = left.pop_front() {
            let one = VecDeque::from([job]);
            match self.commit(&one) {
                Ok(heads) => self.acknowledge(one, heads)?,
                Err(error) => {
                    for job in one.into_iter().chain(left) {
                        self.settle(job, &error);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &VecDeque<Job>) -> io::Result<Vec<Head>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let drafts: Vec<&Draft> = batch.iter().map(|job| &job.draft).collect();
        let done = self.log.commit(&drafts, clock::wall());
        self.failures += u64::from(done.is_err());
        done
    }

    fn acknowledge(
        &mut self,
        batch: VecDeque<Job>,
        heads: Vec<Head>,
    ) -> Result<(), io::Error> {
        self.written += batch.len() as u64;
        self.failing = None;
        let answers = batch.into_iter().zip(heads);
        self.answers
            .extend(answers.filter_map(|(job, head)| Some((job.answer?, Ok(head)))));
        Ok(())
    }

    /// Refuses a job that could not be written, or keeps it if it must not be.
    fn settle(&mut self, job: Job, error: &io::Error) {
        let why = error.to_string();
        let refusal = if is_full(error) {
            WriteError::Full { why: why.clone() }
        } else {
            WriteError::Disk { why: why.clone() }
        };
        self.failing = Some(why);
        if job.urgency != Urgency::Protective {
            return self.refuse(job, refusal);
        }
        if let Some(job) = self.keep(job) {
            emit::audit_lost(&self.path, &refusal);
            self.refuse(job, refusal);
        }
    }

    /// Keeps a job in memory, or gives it back when there is no room.
    fn keep(&mut self, job: Job) -> Option<Job> {
        let mut load = Load::default();
        let mut fits = |job: &Job| load.add(job.draft.size(), MOST_KEPT);
        if self.kept.iter().all(&mut fits) && fits(&job) {
            self.kept.push_back(job);
            return None;
        }
        Some(job)
    }

    fn refuse(&mut self, job: Job, refusal: WriteError) {
        self.refused += 1;
        self.answers.extend(job.answer.map(|answer| (answer, Err(refusal))));
    }

    /// Says how it stands, and then to everybody what became of his entry.
    fn tell(&mut self) {
        let full = || self.short.as_ref().map(|why| format!("the disk is full ({why})"));
        let why = self.failing.clone().or_else(full);
        let mut state = lock(&self.state);
        let before = state.trouble.take();
        let since = before.as_ref().map_or_else(clock::wall, |(since, _)| *since);
        match (&before, &why) {
            (None, Some(why)) => emit::audit_unwritable(&self.path, why),
            (Some(_), None) => emit::audit_recovered(&self.path),
            (Some(_), Some(_)) | (None, None) => {}
        }
        *state = State {
            head: self.log.head(),
            written: self.written,
            failures: self.failures,
            kept: self.kept.len(),
            trouble: why.map(|why| (since, why)),
        };
        drop(state);
        for (answer, result) in self.answers.drain(..) {
            // Whoever does not wait for the answer does not need it.
            let _unheard = answer.send(result);
        }
    }

    /// Makes the ballast where it is missing. Without it the disk counts as full.
    fn restore(&mut self) {
        self.asked = Some(clock::now());
        let files = self.log.disk.list();
        let bytes = self.ballast as u64;
        let whole = |name: &str, length| name == BALLAST && length == bytes;
        let made = match files {
            Ok(files) if files.iter().any(|(name, length)| whole(name, *length)) => {
                Ok(())
            }
            Ok(_) => self.make_ballast(),
            Err(error) => Err(error),
        };
        self.failures += u64::from(made.is_err());
        self.short = made.err().map(|error| error.to_string());
    }

    fn make_ballast(&mut self) -> io::Result<()> {
        let disk = &mut self.log.disk;
        absent(disk.remove(BALLAST))?;
        let made = disk
            .append(BALLAST, &noise(self.ballast))
            .and_then(|()| disk.sync(BALLAST))
            .and_then(|()| disk.sync_dir());
        disk.close(BALLAST);
        if made.is_err() {
            // Half a ballast would only take the room.
            let _left = disk.remove(BALLAST);
        }
        made
    }

    fn damaged(&mut self, damage: &[String]) {
        for what in damage {
            emit::audit_damaged(&self.path, what);
        }
        self.ours(DAMAGED, json!({"what": damage}));
    }

    fn ours(&mut self, kind: &'static str, facts: serde_json::Value) {
        let draft = Draft::ours(kind, clock::wall(), facts);
        let job = Job { draft, urgency: Urgency::Protective, answer: None };
        if self.keep(job).is_some() {
            emit::audit_lost(&self.path, &WriteError::Busy);
        }
    }
}

pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn repaired(torn: &Torn) -> serde_json::Value {
    json!({
        "file": torn.file,
        "offset": torn.offset,
        "bytes": torn.bytes,
        "kept_as": torn.kept.as_ref().ok(),
        "not_kept": torn.kept.as_ref().err(),
    })
}

/// As many from the front as go into one write, and at least one.
fn next_batch(left: &mut VecDeque<Job>) -> VecDeque<Job> {
    let mut size = 0;
    let fits = |job: &&Job| {
        size += job.draft.size();
        size <= MOST_BATCH
    };
    let count = left.iter().take_while(fits).count().max(1);
    left.drain(..count.min(left.len())).collect()
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Bytes that no file system stores in less room, by Marsaglia's xorshift.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}

/// How long until a full disk is asked for room again: a flood of orders is not to become
/// a flood of writes.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const BALLAST: &str = "ballast";
/// Room for the longest record, and for some hundred of the usual length.
pub(super) const BALLAST_BYTES: usize = 256 << 10;

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
