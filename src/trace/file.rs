//! The file that traces are recorded in: it grows to half of its bound, then moves aside.
//!
//! Apart from the recorder, because a disk has troubles of its own: it is full, it is gone,
//! an earlier run was killed in the middle of a line. Every call may block.

use std::ffi::OsString;
use std::fs;
use std::fs::{File, OpenOptions};
use std::io;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where traces are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSettings {
    /// The file; what is older is beside it, with `.1` at the end of the name.
    pub path: PathBuf,
    /// Bytes of both together, at least 1 MiB.
    pub max_size: u64,
}

/// The file and the one before it.
#[derive(Debug)]
pub(super) struct Rotating {
    path: PathBuf,
    older: PathBuf,
    half: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Bytes of whole lines.
    length: u64,
}

impl Rotating {
    pub(super) fn new(settings: &RecordSettings) -> Self {
        let mut older = OsString::from(&settings.path);
        older.push(".1");
        Self {
            path: settings.path.clone(),
            older: older.into(),
            half: settings.max_size / 2,
            open: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole lines. Every file that begins on the way begins with `head`. After an
    /// error the file ends with its last whole line, and the next call opens it again.
    pub(super) fn append(&mut self, head: &[u8], mut lines: &[u8]) -> io::Result<()> {
        while !lines.is_empty() {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => self.open()?,
            };
            let room = usize::try_from(self.half.saturating_sub(open.length));
            let fits = fitting(lines, room.unwrap_or(usize::MAX));
            let alone = open.length <= head.len() as u64;
            if fits == 0 && !alone {
                drop(open);
                fs::rename(&self.path, &self.older)?;
                let mut next = self.open()?;
                next.write(head)?;
                self.open = Some(next);
                continue;
            }
            // One line that is larger than a whole file would never fit.
            let (now, later) = lines.split_at(if fits == 0 { lines.len() } else { fits });
            open.write(now)?;
            (self.open, lines) = (Some(open), later);
        }
        Ok(())
    }

    fn open(&self) -> io::Result<Open> {
        if fs::metadata(&self.older).is_ok_and(|older| older.len() > self.half) {
            fs::remove_file(&self.older)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o640);
        let mut file = options.open(&self.path)?;
        if !file.metadata()?.is_file() {
            let why = "it is no regular file, which could not be bounded";
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        let length = whole_lines(&mut file)?;
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        Ok(Open { file, length })
    }
}

impl Open {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(lines);
        if written.is_err() {
            // Where even this fails, the next opening cuts the half line off.
            self.file.set_len(self.length).unwrap_or_default();
        } else {
            self.length += lines.len() as u64;
        }
        written
    }
}

/// How many bytes of whole lines fit into that room.
fn fitting(lines: &[u8], room: usize) -> usize {
    if lines.len() <= room {
        return lines.len();
    }
    lines[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

/// The length up to the end of the last whole line.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut chunk = [0; 4 << 10];
    while end > 0 {
        let begin = end.saturating_sub(chunk.len() as u64);
        let part = &mut chunk[..usize::try_from(end - begin).unwrap_or_default()];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(part)?;
        if let Some(newline) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + newline as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{RecordSettings, Rotating};

    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("switchback-trace-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, max_size: u64) -> Rotating {
            let path = self.0.join("trace");
            Rotating::new(&RecordSettings { path, max_size })
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap_or_default()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn both_files_together_stay_within_the_bound_and_hold_the_latest() {
        let dir = Dir::new();
        let mut file = dir.file(200);
        let mut written = Vec::new();
        for number in 0..50 {
            let lines: String =
                (0..number % 7 + 1).map(|n| format!("line {number}.{n}\n")).collect();
            file.append(b"head\n", lines.as_bytes()).unwrap();
            written.extend(lines.lines().map(str::to_owned));
            let (old, new) = (dir.text("trace.1"), dir.text("trace"));
            assert!(old.len() <= 100 && new.len() <= 100, "{} {}", old.len(), new.len());
            let both = old + &new;
            let kept: Vec<&str> = both.lines().filter(|line| *line != "head").collect();
            assert!(
                written
                    .ends_with(&kept.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>())
            );
        }
        assert!(dir.text("trace.1").starts_with("head\n"));
        assert!(dir.text("trace").starts_with("head\n"));
    }

    #[test]
    fn an_earlier_run_is_continued_after_its_last_whole_line() {
        let dir = Dir::new();
        fs::write(dir.0.join("trace"), "one\ntwo\nhalf a li").unwrap();
        dir.file(1_000).append(b"", b"three\n").unwrap();
        assert_eq!(dir.text("trace"), "one\ntwo\nthree\n");
        fs::write(dir.0.join("trace"), "x".repeat(9_000)).unwrap();
        dir.file(1_000).append(b"", b"three\n").unwrap();
        assert_eq!(dir.text("trace"), "three\n");
    }

    #[test]
    fn files_of_a_larger_bound_go() {
        let dir = Dir::new();
        fs::write(dir.0.join("trace.1"), "old\n".repeat(100)).unwrap();
        fs::write(dir.0.join("trace"), "new\n".repeat(40)).unwrap();
        dir.file(100).append(b"", b"now\n").unwrap();
        assert_eq!(dir.text("trace"), "now\n");
        assert_eq!(dir.text("trace.1"), "", "what is too large for its place is gone");
    }

    #[test]
    fn what_is_no_file_is_refused_and_tried_again() {
        let dir = Dir::new();
        let mut file = dir.file(1_000);
        fs::create_dir(dir.0.join("trace")).unwrap();
        assert!(file.append(b"", b"one\n").is_err());
        fs::remove_dir(dir.0.join("trace")).unwrap();
        file.append(b"", b"two\n").unwrap();
        assert_eq!(dir.text("trace"), "two\n");
        assert!(
            dir.file(1_000).append(b"", b"").is_ok(),
            "nothing to write opens nothing"
        );
    }
}
