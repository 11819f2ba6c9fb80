//! From the files that a run left to the end of the chain.
//!
//! Apart from the log, because here it is decided what a power loss can have done and what
//! only somebody else can: the first is cut off and kept aside, the second is left as it is
//! and told, and the chain goes on in a new file.
//!
//! A power loss can only harm what was written with the last sync, because the one before
//! it had ended. So a torn end is no longer than one write, and every whole record after the
//! first harm was to be synced together with the record that is missing there.

use std::io;

use super::chain::Head;
use super::disk::{Disk, Source};
use super::lines::{Lines, file_name, files, last_line};
use super::log::{Log, MOST_BATCH, UNNAMED, absent};
use super::record::{Flaw, Links, check};
use crate::vocab::time::Timestamp;

/// The end of a file that was cut off, because it was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub file: String,
    /// Where it was cut, in bytes from its beginning.
    pub offset: u64,
    /// How many bytes were cut off.
    pub bytes: u64,
    /// The file beside it that holds them now, or why they could not be kept.
    pub kept: Result<String, String>,
}

/// What an opening found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What was cut off.
    pub(super) torn: Vec<Torn>,
    /// What is not as it was written, one sentence each.
    pub(super) damage: Vec<String>,
}

/// Finds the end of the chain, or begins one.
pub(super) fn find<D: Disk>(
    mut disk: D,
    max_file: u64,
    now: Timestamp,
) -> io::Result<(Log<D>, Found)> {
    let mut found = Found::default();
    for left in [UNNAMED, UNKEPT] {
        absent(disk.remove(left))?;
    }
    loop {
        let files = files(&disk)?;
        let Some((&(number, length), before)) = files.split_last() else {
            let mut log = Log::at(disk, max_file, (0, 0), Head::NONE);
            log.next_file(now)?;
            return Ok((log, found));
        };
        let name = file_name(number);
        if length == 0 {
            disk.remove(&name)?;
            disk.sync_dir()?;
            continue;
        }
        let link = link(&disk, before)?;
        let scan = Scan::of(&disk, &name, length)?;
        if scan.is_torn() {
            found.torn.push(cut(&mut disk, &name, &scan)?);
            if scan.good == 0 {
                // Not even its first record is there: the file before it is the last.
                disk.remove(&name)?;
                disk.sync_dir()?;
                continue;
            }
        }
        found.damage.extend(scan.damage(&name, link.as_ref()));
        if scan.bad.is_none() || scan.is_torn() {
            let place = (number, scan.good);
            return Ok((Log::at(disk, max_file, place, scan.head), found));
        }
        let head = scan.last_head(link);
        let mut log = Log::at(disk, max_file, (number, length), head);
        log.next_file(now)?;
        return Ok((log, found));
    }
}

/// The last record of the file before the last; an error is what is wrong with it.
fn link<D: Disk>(
    disk: &D,
    before: &[(u64, u64)],
) -> io::Result<Option<Result<Head, String>>> {
    let Some(&(number, length)) = before.last() else { return Ok(None) };
    let name = file_name(number);
    let line = last_line(disk, &name, length)?.unwrap_or_default();
    Ok(Some(match check(&line) {
        Ok(links) => Ok(Head { seq: links.seq, hash: links.hash }),
        Err(_) => Err(format!("{name} does not end with a record")),
    }))
}

/// What was seen in one file.
#[derive(Debug, Default)]
struct Scan {
    length: u64,
    /// Where the records end that are in order from the beginning.
    good: u64,
    /// The last of them.
    head: Head,
    first: Option<Links>,
    /// What ended them.
    bad: Option<String>,
    /// The last whole record behind that.
    later: Option<Links>,
}

impl Scan {
    fn of<S: Source>(source: &S, name: &str, length: u64) -> io::Result<Self> {
        let mut scan = Self { length, ..Self::default() };
        let mut lines = Lines::new(source, name, length);
        while let Some(line) = lines.next()? {
            let checked = if line.ended { check(line.text) } else { Err(half()) };
            match checked {
                Ok(links) if scan.bad.is_none() => scan.take(links, line.at + line.bytes),
                Ok(links) => scan.later = Some(links),
                Err(flaw) => {
                    let what = match flaw {
                        Flaw::NoRecord(what) => what,
                        Flaw::Changed(links) => {
                            format!("record {} was changed", links.seq)
                        }
                    };
                    scan.bad.get_or_insert(what);
                }
            }
        }
        Ok(scan)
    }

    fn take(&mut self, links: Links, end: u64) {
        let fits = links.seq == self.head.seq + 1 && links.prev == self.head.hash;
        if fits || self.first.is_none() {
            self.head = Head { seq: links.seq, hash: links.hash };
            self.good = end;
            self.first.get_or_insert(links);
        } else {
            self.bad = Some(format!(
                "record {} is not chained to record {}",
                links.seq, self.head.seq
            ));
            self.later = Some(links);
        }
    }

    /// Whether a power loss can have done all that is wrong.
    fn is_torn(&self) -> bool {
        let short = self.length - self.good <= MOST_BATCH as u64;
        let last = self.later.as_ref();
        let together = last.is_none_or(|last| last.batch <= self.head.seq + 1);
        self.bad.is_some() && short && together
    }

    /// What only somebody else can have done.
    fn damage(&self, name: &str, link: Option<&Result<Head, String>>) -> Vec<String> {
        let mut damage = Vec::new();
        if let (Some(bad), false) = (&self.bad, self.is_torn()) {
            damage.push(format!("{name}, after byte {}: {bad}", self.good));
        }
        let begins = self.first.as_ref().map(|first| (first.seq, first.prev));
        match link {
            Some(Err(what)) => damage.push(what.clone()),
            Some(Ok(head))
                if begins.is_some_and(|it| it != (head.seq + 1, head.hash)) =>
            {
                damage.push(format!(
                    "{name} does not continue record {} of the file before it",
                    head.seq
                ));
            }
            None if begins.is_some_and(|it| it != (1, Head::NONE.hash)) => {
                damage.push(format!(
                    "{name} does not begin the chain and none is before it"
                ));
            }
            Some(Ok(_)) | None => {}
        }
        damage
    }

    /// What the chain goes on from where it is damaged: its highest whole record.
    fn last_head(&self, link: Option<Result<Head, String>>) -> Head {
        let head = |links: &Links| Head { seq: links.seq, hash: links.hash };
        let later = self.later.as_ref().map(head);
        let heads = [Some(self.head), later, link.and_then(Result::ok)];
        heads.into_iter().flatten().max_by_key(|head| head.seq).unwrap_or(Head::NONE)
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::NONE
    }
}

fn half() -> Flaw {
    Flaw::NoRecord("it ends in the middle of a record".to_owned())
}

/// Keeps the torn end of a file aside, and cuts it off.
fn cut<D: Disk>(disk: &mut D, name: &str, scan: &Scan) -> io::Result<Torn> {
    let kept =
        keep_aside(disk, name, scan).and_then(|kept| kept.map_err(io::Error::other));
    disk.truncate(name, scan.good)?;
    disk.sync(name)?;
    Ok(Torn {
        file: name.to_owned(),
        offset: scan.good,
        bytes: scan.length - scan.good,
        kept: kept.map_err(|error| error.to_string()),
    })
}

fn keep_aside<D: Disk>(
    disk: &mut D,
    name: &str,
    scan: &Scan,
) -> io::Result<Result<String, String>> {
    let aside: Vec<String> = disk
        .list()?
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with(ASIDE))
        .collect();
    if aside.len() >= MOST_ASIDE {
        let why = format!("{MOST_ASIDE} files {ASIDE}* are here: move them away");
        return Ok(Err(why));
    }
    let of = name.trim_start_matches("audit-").trim_end_matches(".jsonl");
    let free = (0..=MOST_ASIDE)
        .map(|number| format!("{ASIDE}{of}-{}-{number}", scan.good))
        .find(|name| !aside.contains(name));
    let Some(free) = free else { return Ok(Err("no name is free".to_owned())) };
    let mut bytes =
        vec![0; usize::try_from(scan.length - scan.good).unwrap_or(MOST_BATCH)];
    let mut held = 0;
    while held < bytes.len() {
        let count = disk.read(name, scan.good + held as u64, &mut bytes[held..])?;
        if count == 0 {
            break;
        }
        held += count;
    }
    let made = write_aside(disk, &bytes[..held], &free);
    if made.is_err() {
        // The next opening removes it too.
        let _left = disk.remove(UNKEPT);
    }
    made.map(|()| Ok(free))
}

fn write_aside<D: Disk>(disk: &mut D, bytes: &[u8], name: &str) -> io::Result<()> {
    disk.append(UNKEPT, bytes)?;
    disk.sync(UNKEPT)?;
    disk.rename(UNKEPT, name)?;
    disk.sync_dir()
}

const ASIDE: &str = "torn-";
/// What a file kept aside is called until it is synced.
const UNKEPT: &str = "torn.tmp";
/// Each has at most [`MOST_BATCH`] bytes.
const MOST_ASIDE: usize = 16;

#[cfg(test)]
#[path = "opening_tests.rs"]
mod tests;
