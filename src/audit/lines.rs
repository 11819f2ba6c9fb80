//! The files of a log, and their lines one after the other in bounded memory.
//!
//! Apart because the opening, the check and the reading go over the same lines.

use std::io;

use super::disk::Source;
use super::record::MOST_LINE;

/// One line of a file.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Where it begins, in bytes from the beginning of the file.
    pub(super) at: u64,
    /// Its text without its end; empty where it is longer than a record may be.
    pub(super) text: &'a [u8],
    /// Whether it has an end.
    pub(super) ended: bool,
    /// Its bytes, its end included.
    pub(super) bytes: u64,
}

/// The lines of a file up to a place in it.
#[derive(Debug)]
pub(super) struct Lines<'a, S> {
    source: &'a S,
    name: &'a str,
    /// No byte from here on is read.
    until: u64,
    buffer: Vec<u8>,
    /// Where the line to come begins in the buffer, and in the file.
    begin: usize,
    at: u64,
    /// How much of the file was read.
    read: u64,
}

impl<'a, S: Source> Lines<'a, S> {
    pub(super) fn new(source: &'a S, name: &'a str, until: u64) -> Self {
        Self { source, name, until, buffer: Vec::new(), begin: 0, at: 0, read: 0 }
    }

    /// The next line, if there is one.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let (at, mut searched, mut skipped) = (self.at, 0, 0);
        let end = loop {
            let fresh = &self.buffer[self.begin + searched..];
            if let Some(place) = fresh.iter().position(|byte| *byte == b'\n') {
                break Some(searched + place);
            }
            searched += fresh.len();
            if searched >= MOST_LINE {
                skipped += searched as u64;
                self.begin = self.buffer.len();
                searched = 0;
            }
            if !self.fill()? {
                break None;
            }
        };
        let length = end.unwrap_or(searched);
        let long = skipped > 0 || length >= MOST_LINE;
        let text = if long { 0..0 } else { self.begin..self.begin + length };
        let bytes = skipped + (length + usize::from(end.is_some())) as u64;
        if bytes == 0 {
            return Ok(None);
        }
        self.begin += length + usize::from(end.is_some());
        self.at += bytes;
        Ok(Some(Line { at, text: &self.buffer[text], ended: end.is_some(), bytes }))
    }

    /// Reads some more; `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.begin);
        self.begin = 0;
        let held = self.buffer.len();
        let left = self.until.saturating_sub(self.read);
        let room = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        self.buffer.resize(held + room, 0);
        let count = self.source.read(self.name, self.read, &mut self.buffer[held..])?;
        self.buffer.truncate(held + count);
        self.read += count as u64;
        Ok(count > 0)
    }
}

/// The last whole line before a place in a file, without its end.
pub(super) fn last_line(
    source: &impl Source,
    name: &str,
    until: u64,
) -> io::Result<Option<Vec<u8>>> {
    let from = until.saturating_sub(MOST_LINE as u64 + 1);
    let mut bytes = vec![0; usize::try_from(until - from).unwrap_or_default()];
    let mut held = 0;
    while held < bytes.len() {
        let count = source.read(name, from + held as u64, &mut bytes[held..])?;
        if count == 0 {
            return Ok(None);
        }
        held += count;
    }
    let Some(whole) = bytes.strip_suffix(b"\n") else { return Ok(None) };
    let begin = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok(Some(whole[begin..].to_vec()))
}

/// The files of the log in order, with their numbers and lengths.
pub(super) fn files(source: &impl Source) -> io::Result<Vec<(u64, u64)>> {
    let mut files: Vec<(u64, u64)> = source
        .list()?
        .into_iter()
        .filter_map(|(name, length)| Some((number(&name)?, length)))
        .collect();
    files.sort_unstable();
    Ok(files)
}

/// The name of a file of the log.
pub(super) fn file_name(number: u64) -> String {
    format!("{BEFORE}{number:010}{AFTER}")
}

/// The number in the name of a file of the log.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
    let plain = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| plain)?;
    (file_name(number) == name).then_some(number)
}

const BEFORE: &str = "audit-";
const AFTER: &str = ".jsonl";
const CHUNK: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Lines, file_name, files, last_line};
    use crate::audit::disk::Source;
    use crate::audit::record::MOST_LINE;

    /// One file, read so many bytes at a time.
    struct One(Vec<u8>, usize);

    impl Source for One {
        fn list(&self) -> io::Result<Vec<(String, u64)>> {
            let names = [
                "audit-0000000010.jsonl",
                "audit-0000000009.jsonl",
                "audit-10000000000.jsonl",
                "audit-00000000011.jsonl",
                "audit-000000001.jsonl",
                "audit-+000000001.jsonl",
                "audit-0000000001.jsonl.tmp",
                "torn-0000000001-5",
            ];
            Ok(names.map(|name| (name.to_owned(), self.0.len() as u64)).to_vec())
        }

        fn read(&self, _: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
            let rest = &self.0[usize::try_from(at).unwrap().min(self.0.len())..];
            let count = rest.len().min(into.len()).min(self.1);
            into[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    type Seen = Vec<(u64, String, bool, u64)>;

    fn seen(text: &[u8], at_a_time: usize, until: u64) -> Seen {
        let one = One(text.to_vec(), at_a_time);
        let mut lines = Lines::new(&one, "x", until);
        let mut seen = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let text = String::from_utf8_lossy(line.text).into_owned();
            seen.push((line.at, text, line.ended, line.bytes));
        }
        seen
    }

    #[test]
    fn lines_come_with_their_places_however_they_are_read() {
        let text = b"one\n\nthree\nhalf";
        let line = |at, text: &str, ended, bytes| (at, text.to_owned(), ended, bytes);
        for at_a_time in [1, 2, 3, 100] {
            let all = seen(text, at_a_time, 100);
            let half = line(11, "half", false, 4);
            assert_eq!(
                all,
                [
                    line(0, "one", true, 4),
                    line(4, "", true, 1),
                    line(5, "three", true, 6),
                    half
                ]
            );
            assert_eq!(seen(text, at_a_time, 7)[2], line(5, "th", false, 2));
            assert_eq!(seen(text, at_a_time, 5).len(), 2);
            assert_eq!(seen(b"", at_a_time, 5), []);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_counted_and_not_kept() {
        for length in [MOST_LINE, MOST_LINE + 70_000, 3 * MOST_LINE] {
            let text = [b"a\n".to_vec(), vec![b'x'; length], b"\nb\n".to_vec()].concat();
            for at_a_time in [5_000, 1 << 20] {
                let seen = seen(&text, at_a_time, u64::MAX);
                let long = length as u64;
                assert_eq!(seen.len(), 3, "{length}");
                assert_eq!(seen[1], (2, String::new(), true, long + 1));
                assert_eq!(seen[2], (long + 3, "b".to_owned(), true, 2));
            }
        }
        let endless = seen(&vec![0; 2 * MOST_LINE], 1 << 20, u64::MAX);
        assert_eq!(endless, [(0, String::new(), false, 2 * MOST_LINE as u64)]);
    }

    #[test]
    fn the_last_line_is_read_from_the_end() {
        let long = vec![b'x'; MOST_LINE];
        for (text, until, last) in [
            (b"one\ntwo\n".to_vec(), 8, Some(b"two".to_vec())),
            (b"one\ntwo\n".to_vec(), 4, Some(b"one".to_vec())),
            (b"one\ntwo\n".to_vec(), 6, None),
            (b"one\ntwo\n".to_vec(), 9, None),
            (Vec::new(), 0, None),
            ([&long, &b"\ny\n"[..]].concat(), MOST_LINE as u64 + 3, Some(b"y".to_vec())),
        ] {
            assert_eq!(last_line(&One(text, 7), "x", until).unwrap(), last);
        }
    }

    #[test]
    fn files_are_ordered_by_number_and_strangers_left_alone() {
        let numbers: Vec<u64> = files(&One(Vec::new(), 1))
            .unwrap()
            .into_iter()
            .map(|(number, _)| number)
            .collect();
        assert_eq!(numbers, [9, 10, 10_000_000_000]);
        assert_eq!(file_name(7), "audit-0000000007.jsonl");
    }
}
