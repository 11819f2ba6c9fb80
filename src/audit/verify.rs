//! The check of a whole log: every record that was changed, taken out, put in, moved or
//! doubled, by name.
//!
//! Apart from the opening, which makes an end of a torn file: here nothing is written, and
//! the memory needed does not grow with the log.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;

use serde::Serialize;

use super::chain::{Hash, Head};
use super::disk::{Folder, Source};
use super::error::AuditError;
use super::lines::{Lines, file_name, files};
use super::record::{Flaw, Links, check};

/// What came of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many files there are.
    pub files: u64,
    /// How many whole records there are.
    pub records: u64,
    /// The last record.
    pub head: Head,
    /// What is wrong, in the order of the log; the first of them.
    pub problems: Vec<Problem>,
    /// How many problems there are beyond those.
    pub more: u64,
    /// A last line without an end: a write under way, or one that a power loss tore, which
    /// was never acknowledged.
    pub unfinished: Option<Unfinished>,
    /// The number of the record that has the expected hash.
    pub expected: Option<u64>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
    /// The number of the record, where that is known.
    pub seq: Option<u64>,
    /// What kind of thing.
    pub fault: Fault,
    /// What exactly, in one sentence.
    pub what: String,
}

/// What can be wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It is not what was written.
    Changed,
    /// It is not there.
    Missing,
    /// It stands behind a later one.
    Moved,
    /// It is there twice.
    Doubled,
    /// It was put in.
    Inserted,
    /// The log ends before it.
    Cut,
}

/// A last line without an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unfinished {
    /// The file.
    pub file: String,
    /// Where it begins, in bytes from the beginning of the file.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// Checks the log in a directory: all of it, and whether the expected hash is in it. Only
/// reads; a log that is written meanwhile is checked up to some place near its end.
///
/// # Errors
/// [`AuditError::Missing`] when there is no log in the directory, [`AuditError::Read`] when
/// it cannot be read.
pub fn verify(dir: &Path, expected: Option<Hash>) -> Result<Report, AuditError> {
    let report = verify_in(&Folder(dir.to_owned()), expected)
        .map_err(|source| AuditError::Read { path: dir.to_owned(), source })?;
    report.ok_or_else(|| AuditError::Missing { path: dir.to_owned() })
}

/// The same on any source; `None` where there is no log.
pub(super) fn verify_in(
    source: &impl Source,
    expected: Option<Hash>,
) -> io::Result<Option<Report>> {
    let files = files(source)?;
    let mut check = Check::new(expected);
    let count = files.len();
    for (place, (number, _)) in files.into_iter().enumerate() {
        let name = file_name(number);
        check.file(source, &name, place + 1 == count)?;
    }
    Ok((count > 0).then(|| check.finish(count as u64)))
}

impl Report {
    /// Whether all is well.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.problems.is_empty() && self.more == 0
    }
}

impl Fault {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Moved => "moved",
            Self::Doubled => "doubled",
            Self::Inserted => "inserted",
            Self::Cut => "cut",
        }
    }
}

/// Where a record stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    file: String,
    line: u64,
    /// Counted over all files, to put problems in order.
    order: u64,
}

/// A record that the next one may be chained to.
#[derive(Clone, Debug)]
struct Candidate {
    hash: Hash,
    place: Place,
}

/// Numbers that were passed over, and where that was noticed.
#[derive(Clone, Debug)]
struct Gap {
    first: u64,
    last: u64,
    place: Place,
}

#[derive(Debug)]
struct Check {
    expected: Option<Hash>,
    report: Report,
    problems: Vec<(u64, Problem)>,
    place: Place,
    /// The records with the highest number so far; none where that one cannot be known.
    candidates: Vec<Candidate>,
    gaps: Vec<Gap>,
    /// Lines in a row that are no records: each may stand for a number that is passed over.
    blind: u64,
    recent: VecDeque<u64>,
    hashes: HashMap<u64, Hash>,
}

impl Check {
    fn new(expected: Option<Hash>) -> Self {
        let none = Candidate { hash: Hash::NONE, place: Place::default() };
        Self {
            expected,
            report: Report::default(),
            problems: Vec::new(),
            place: Place::default(),
            candidates: vec![none],
            gaps: Vec::new(),
            blind: 0,
            recent: VecDeque::new(),
            hashes: HashMap::new(),
        }
    }

    fn file(&mut self, source: &impl Source, name: &str, last: bool) -> io::Result<()> {
        (self.place.file, self.place.line) = (name.to_owned(), 0);
        let mut lines = Lines::new(source, name, u64::MAX);
        while let Some(line) = lines.next()? {
            self.place.line += 1;
            self.place.order += 1;
            if line.ended {
                self.line(check(line.text));
            } else if last {
                let (offset, bytes) = (line.at, line.bytes);
                self.report.unfinished =
                    Some(Unfinished { file: name.to_owned(), offset, bytes });
            } else {
                self.line(Err(Flaw::NoRecord("it has no end".to_owned())));
            }
        }
        Ok(())
    }

    fn line(&mut self, checked: Result<Links, Flaw>) {
        match checked {
            Ok(links) => {
                self.report.records += 1;
                if self.expected == Some(links.hash) {
                    self.report.expected = Some(links.seq);
                }
                self.record(&links);
            }
            Err(Flaw::NoRecord(what)) => {
                self.blind += 1;
                self.problem(Fault::Changed, None, format!("this is no record: {what}"));
            }
            Err(Flaw::Changed(links)) => self.changed(&links),
        }
    }

    /// A record in whose place another content stands: what hangs on it still does.
    fn changed(&mut self, links: &Links) {
        let next = self.report.head.seq + 1;
        let follows = self.candidates.iter().any(|one| one.hash == links.prev);
        let seq = if follows { next } else { links.seq };
        let what = format!("the content of record {seq} is not what its hash says");
        self.problem(Fault::Changed, Some(seq), what);
        if seq < next {
            return;
        }
        self.pass_over(next, seq);
        self.lead(seq, links.hash);
        // It may be the hash that was changed.
        self.candidates.push(Candidate { hash: links.real, place: self.place.clone() });
    }

    fn record(&mut self, links: &Links) {
        let (seq, head) = (links.seq, self.report.head.seq);
        if seq <= head {
            return self.late(links);
        }
        if seq == head + 1 {
            self.blind = 0;
            self.follow(links);
        } else {
            self.pass_over(head + 1, seq);
        }
        self.lead(seq, links.hash);
    }

    /// The record after the last one: which of those that could be that is it chained to?
    fn follow(&mut self, links: &Links) {
        let candidates = std::mem::take(&mut self.candidates);
        let before = links.seq - 1;
        if candidates.iter().all(|one| one.hash != links.prev) {
            let Some(one) = candidates.last() else { return };
            if before == 0 {
                let what = "record 1 is chained to something before it".to_owned();
                return self.problem(Fault::Changed, Some(1), what);
            }
            let (line, file) = (self.place.line, &self.place.file);
            let what = format!(
                "record {} in line {line} of {file} is chained to another record {before}",
                links.seq
            );
            return self.problem_at(&one.place, Fault::Changed, Some(before), what);
        }
        for other in candidates.into_iter().filter(|one| one.hash != links.prev) {
            if !self.problems.iter().any(|(order, _)| *order == other.place.order) {
                let what =
                    format!("a second record {before}, which nothing is chained to");
                self.problem_at(&other.place, Fault::Inserted, Some(before), what);
            }
        }
    }

    /// A record with a number that is not above all before it.
    fn late(&mut self, links: &Links) {
        let (seq, head) = (links.seq, self.report.head.seq);
        let gap = self.gaps.iter().position(|gap| (gap.first..=gap.last).contains(&seq));
        if let Some(at) = gap {
            let Gap { first, last, place } = self.gaps.remove(at);
            let halves = [(first, seq - 1), (seq + 1, last)];
            let rest = halves.into_iter().filter(|(first, last)| first <= last);
            self.gaps.extend(rest.map(|(first, last)| Gap {
                first,
                last,
                place: place.clone(),
            }));
            self.remember(seq, links.hash);
            let what = format!("record {seq} stands behind record {head}");
            return self.problem(Fault::Moved, Some(seq), what);
        }
        match self.hashes.get(&seq) {
            Some(hash) if *hash == links.hash => {
                let what = format!("record {seq} is here again");
                self.problem(Fault::Doubled, Some(seq), what);
            }
            _ if seq == head && self.candidates.len() < MOST_CANDIDATES => {
                // Which of the two belongs here is for the next one to say.
                let (hash, place) = (links.hash, self.place.clone());
                self.candidates.push(Candidate { hash, place });
            }
            _ => {
                let what = format!("a second record {seq}, behind record {head}");
                self.problem(Fault::Inserted, Some(seq), what);
            }
        }
    }

    /// The numbers from one up to another are passed over.
    fn pass_over(&mut self, next: u64, seq: u64) {
        let missing = seq - next;
        if missing > std::mem::take(&mut self.blind) && self.gaps.len() < MOST_PROBLEMS {
            let place = self.place.clone();
            self.gaps.push(Gap { first: next, last: seq - 1, place });
        }
    }

    /// From here on this is the last record.
    fn lead(&mut self, seq: u64, hash: Hash) {
        self.report.head = Head { seq, hash };
        self.candidates = vec![Candidate { hash, place: self.place.clone() }];
        self.remember(seq, hash);
    }

    fn remember(&mut self, seq: u64, hash: Hash) {
        self.hashes.insert(seq, hash);
        self.recent.push_back(seq);
        if self.recent.len() > MOST_REMEMBERED {
            let oldest = self.recent.pop_front();
            oldest.map(|oldest| self.hashes.remove(&oldest));
        }
    }

    fn problem(&mut self, fault: Fault, seq: Option<u64>, what: String) {
        let place = self.place.clone();
        self.problem_at(&place, fault, seq, what);
    }

    fn problem_at(
        &mut self,
        place: &Place,
        fault: Fault,
        seq: Option<u64>,
        what: String,
    ) {
        if self.problems.len() >= MOST_PROBLEMS {
            self.report.more += 1;
            return;
        }
        let Place { file, line, order } = place.clone();
        self.problems.push((order, Problem { file, line, seq, fault, what }));
    }

    fn finish(mut self, files: u64) -> Report {
        for gap in std::mem::take(&mut self.gaps) {
            let Gap { first, last, place } = gap;
            let what = match last - first {
                0 => format!("record {first} is missing before this one"),
                _ => format!("records {first} to {last} are missing before this one"),
            };
            self.problem_at(&place, Fault::Missing, Some(first), what);
        }
        let undecided: Vec<Candidate> = self.candidates.drain(..).skip(1).collect();
        let seq = self.report.head.seq;
        for other in undecided {
            if !self.problems.iter().any(|(order, _)| *order == other.place.order) {
                let what = format!("a second record {seq}");
                self.problem_at(&other.place, Fault::Inserted, Some(seq), what);
            }
        }
        if let (Some(hash), None) = (self.expected, self.report.expected) {
            let what =
                format!("no record has the expected hash {hash}: the end is cut off");
            self.problem(Fault::Cut, None, what);
        }
        self.problems.sort_by_key(|(order, _)| *order);
        let problems = self.problems.into_iter().map(|(_, problem)| problem).collect();
        Report { files, problems, ..self.report }
    }
}

/// Problems that are named; the rest are counted.
const MOST_PROBLEMS: usize = 1_000;
/// How far behind a doubled record is known for one.
const MOST_REMEMBERED: usize = 65_536;
/// Records with the same number that the next one is held against.
const MOST_CANDIDATES: usize = 8;

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
