//! `Log`: appends records to the chain, and makes an end after every failure.
//!
//! Apart from the policy of the keeper, because two invariants are kept here: what lies
//! before `end` was synced and is never written again, and what lies behind it is gone
//! before anything else is written.

use std::fmt;
use std::io;

use super::chain::Head;
use super::disk::Disk;
use super::lines::{file_name, last_line};
use super::record::{Draft, MOST_LINE, check};
use crate::vocab::time::Timestamp;

/// Bytes that are written with one sync at most. What a power loss tears is no longer.
pub(super) const MOST_BATCH: usize = 1 << 20;

/// The chain, at its end.
#[derive(Debug)]
pub(super) struct Log<D> {
    pub(super) disk: D,
    /// Bytes of a file; only one that begins with a longer write has more.
    max_file: u64,
    /// The number of the file that is written; 0 before the first.
    file: u64,
    /// Where its synced part ends.
    end: u64,
    head: Head,
    /// What a failure left to be done.
    fault: Option<Fault>,
    /// What was found to be otherwise than it was written, and has not been asked for.
    damage: Vec<String>,
    /// The record that was last found so, which is said once.
    told: u64,
    tee: Option<Tee>,
}

/// Is given each record as its line when it is on the disk. Must not block.
pub(super) struct Tee(pub(super) Box<dyn Fn(&str) + Send + Sync>);

impl fmt::Debug for Tee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tee")
    }
}

/// What a failure left to be done before anything else is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Half a write may lie behind the end.
    Unclean,
    /// A sync failed: nobody knows what the disk has of this file behind the end.
    Distrusted,
    /// The name of the file is not synced.
    Unnamed,
}

impl<D: Disk> Log<D> {
    /// The log whose last file has that number, and ends there with that head.
    pub(super) fn at(
        disk: D,
        max_file: u64,
        (file, end): (u64, u64),
        head: Head,
    ) -> Self {
        let (fault, damage, told, tee) = (None, Vec::new(), 0, None);
        Self { disk, max_file, file, end, head, fault, damage, told, tee }
    }

    /// Gives every record from now on to somebody else too.
    pub(super) fn tee(&mut self, tee: Tee) {
        self.tee = Some(tee);
    }

    /// The last record.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// The file that is written, and where it ends.
    pub(super) fn place(&self) -> (u64, u64) {
        (self.file, self.end)
    }

    /// What was found to be otherwise than it was written, since the last call.
    pub(super) fn damage(&mut self) -> Vec<String> {
        std::mem::take(&mut self.damage)
    }

    /// Writes entries, of at most [`MOST_BATCH`] bytes or a single one, with one sync, and
    /// returns the record that each has become. After an error none of them is in the log,
    /// and the next call begins with making an end of what is left of them.
    pub(super) fn commit(
        &mut self,
        drafts: &[&Draft],
        now: Timestamp,
    ) -> io::Result<Vec<Head>> {
        self.mend(now)?;
        let size: usize = drafts.iter().map(|draft| draft.size()).sum();
        if self.file == 0 || self.end + size as u64 > self.max_file {
            self.next_file(now)?;
        }
        let (mut head, mut lines) = (self.head, Vec::with_capacity(size));
        let first = head.seq + 1;
        let heads: Vec<Head> = drafts
            .iter()
            .map(|draft| {
                head = draft.seal(head, first, &mut lines);
                head
            })
            .collect();
        let name = file_name(self.file);
        if let Err(error) = self.disk.append(&name, &lines) {
            self.fault = Some(Fault::Unclean);
            // At once, for whoever reads the file; what fails here is tried again.
            let _later = self.mend(now);
            return Err(error);
        }
        let synced = self.disk.sync(&name);
        synced.inspect_err(|_| self.fault = Some(Fault::Distrusted))?;
        self.end += lines.len() as u64;
        self.head = head;
        if let (Some(Tee(tee)), Ok(text)) = (&self.tee, std::str::from_utf8(&lines)) {
            text.lines().for_each(tee);
        }
        Ok(heads)
    }

    /// Makes an end of what a failure left.
    pub(super) fn mend(&mut self, now: Timestamp) -> io::Result<()> {
        let name = file_name(self.file);
        match self.fault {
            None => {}
            Some(Fault::Unclean) => {
                self.disk.truncate(&name, self.end)?;
                let synced = self.disk.sync(&name);
                synced.inspect_err(|_| self.fault = Some(Fault::Distrusted))?;
                self.fault = None;
            }
            Some(Fault::Distrusted) => {
                // After a failed sync the system may hold pages for clean that never reached
                // the disk, so that a second sync of the same file proves nothing about
                // them. They are cut off; what was synced before them is looked at again.
                self.disk.close(&name);
                self.look_back(&name);
                self.disk.truncate(&name, self.end)?;
                self.disk.sync(&name)?;
                self.next_file(now)?;
            }
            Some(Fault::Unnamed) => {
                self.disk.sync_dir()?;
                self.fault = None;
            }
        }
        Ok(())
    }

    /// Begins the next file. It gets its name after its first record was synced, so that
    /// there is none without.
    pub(super) fn next_file(&mut self, now: Timestamp) -> io::Result<()> {
        let (before, name) = (file_name(self.file), file_name(self.file + 1));
        let first = Draft::begin(now, (self.file > 0).then_some((&before, self.head)));
        let mut line = Vec::with_capacity(first.size());
        let head = first.seal(self.head, self.head.seq + 1, &mut line);
        let made = self.make(&name, &line);
        if made.is_err() {
            // The next try, or the next opening, removes what cannot be removed now; but
            // nothing may go on in the old file beside a new one.
            let _left = [UNNAMED, &name].map(|name| self.disk.remove(name));
        }
        made?;
        self.disk.close(&before);
        self.file += 1;
        self.end = line.len() as u64;
        self.head = head;
        self.fault = Some(Fault::Unnamed);
        self.mend(now)
    }

    fn make(&mut self, name: &str, line: &[u8]) -> io::Result<()> {
        absent(self.disk.remove(UNNAMED))?;
        self.disk.append(UNNAMED, line)?;
        self.disk.sync(UNNAMED)?;
        self.disk.rename(UNNAMED, name)
    }

    /// Whether the last record is still there.
    fn look_back(&mut self, name: &str) {
        let seen = last_line(&self.disk, name, self.end);
        let what = match seen {
            Ok(Some(line))
                if check(&line).is_ok_and(|links| links.hash == self.head.hash) =>
            {
                return;
            }
            Ok(_) => "it is not what was written".to_owned(),
            Err(error) => error.to_string(),
        };
        let seq = self.head.seq;
        if std::mem::replace(&mut self.told, seq) != seq {
            self.damage.push(format!("{name}: record {seq} cannot be read back: {what}"));
        }
    }
}

/// That something is not there is as good as that it was removed.
pub(super) fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What a file is called until its first record is synced.
pub(super) const UNNAMED: &str = "next.tmp";
const _: () = assert!(MOST_LINE <= MOST_BATCH, "an entry fits into a batch");
