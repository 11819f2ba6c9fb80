//! `Reader`: the lines of a trace, one after the other, in memory that does not grow.
//!
//! Apart from the form of a line, because a file has troubles of its own: it may be
//! compressed, cut in the middle, damaged, or one line of a gigabyte.

use std::fs::File;
use std::io;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;

use super::line::Line;
use super::problem::{Fault, Problem};

/// A trace that is being read.
pub struct Reader {
    input: Box<dyn BufRead>,
    /// The line that was read last; its place is used again.
    text: Vec<u8>,
    number: u64,
    over: bool,
}

/// Why a trace cannot be read at all.
#[derive(Debug, Error)]
#[error("cannot read the trace {path}")]
pub struct OpenError {
    path: String,
    #[source]
    source: io::Error,
}

impl Reader {
    /// Opens a trace, plain or compressed by gzip (told by its first bytes); `-` is standard
    /// input.
    ///
    /// # Errors
    /// [`OpenError`] when the file cannot be opened or its first bytes cannot be read.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let opened = || -> io::Result<Self> {
            let input: Box<dyn Read> = if path.as_os_str() == "-" {
                Box::new(io::stdin())
            } else {
                let file = File::open(path)?;
                if file.metadata()?.is_dir() {
                    return Err(ErrorKind::IsADirectory.into());
                }
                Box::new(file)
            };
            Self::new(input)
        };
        let path = path.display().to_string();
        opened().map_err(|source| OpenError { path, source })
    }

    /// Reads from anywhere.
    ///
    /// # Errors
    /// When the first bytes cannot be read.
    pub fn new(input: impl Read + 'static) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(BUFFER, Start::of(input)?);
        let compressed = input.fill_buf()?.starts_with(&GZIP);
        let input: Box<dyn BufRead> = if compressed {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(input)))
        } else {
            Box::new(input)
        };
        Ok(Self { input, text: Vec::new(), number: 0, over: false })
    }

    /// The number of the line that was read last, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.number
    }

    /// The next line that is not blank with its number, or what is wrong with it; `None` at
    /// the end. After a [`Fault::Cut`] or [`Fault::Damaged`] there are no more.
    pub fn read(&mut self) -> Option<Result<(u64, Line<'_>), Problem>> {
        loop {
            if self.over {
                return None;
            }
            if let Err(problem) = self.fetch() {
                return Some(Err(problem));
            }
            if !self.text.trim_ascii().is_empty() {
                break;
            }
        }
        let whole = self.text.ends_with(b"\n");
        let mut text = &self.text[..];
        if self.number == 1 {
            text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        }
        let line = self.number;
        let parsed = Line::parse(text).map(|parsed| (line, parsed));
        Some(parsed.map_err(|(fault, what)| {
            if fault == Fault::Unreadable && !whole {
                let what = format!("the trace is cut at line {line}");
                return Problem { line, fault: Fault::Cut, what };
            }
            Problem { line, fault, what }
        }))
    }

    /// Reads a line into `text`; an empty text is the end.
    fn fetch(&mut self) -> Result<(), Problem> {
        self.text.clear();
        self.number += 1;
        let line = self.number;
        let limit = LONGEST as u64 + 1;
        match self.input.by_ref().take(limit).read_until(b'\n', &mut self.text) {
            Ok(0) => {
                (self.over, self.number) = (true, line - 1);
                return Ok(());
            }
            Ok(_) => {}
            Err(error) => return self.broken(&error),
        }
        if self.text.len() <= LONGEST || self.text.ends_with(b"\n") {
            return Ok(());
        }
        self.text.clear();
        if let Err(error) = self.input.skip_until(b'\n') {
            return self.broken(&error);
        }
        let what = format!("the line is longer than {} KiB", LONGEST >> 10);
        Err(Problem { line, fault: Fault::Unreadable, what })
    }

    /// Nothing more can be read; what was read of a line is left out.
    fn broken(&mut self, error: &io::Error) -> Result<(), Problem> {
        (self.over, self.text) = (true, Vec::new());
        let line = self.number;
        let (fault, what) = if error.kind() == ErrorKind::UnexpectedEof {
            (Fault::Cut, format!("the compressed trace is cut at line {line}"))
        } else {
            (
                Fault::Damaged,
                format!("the trace cannot be read from line {line} on: {error}"),
            )
        };
        Err(Problem { line, fault, what })
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The first bytes of an input, gathered, so that a pipe that gives one byte at a time is
/// told from a file of another kind; then the rest.
struct Start<R> {
    bytes: Vec<u8>,
    given: usize,
    rest: R,
}

impl<R: Read> Start<R> {
    fn of(mut rest: R) -> io::Result<Self> {
        let mut bytes = Vec::new();
        rest.by_ref().take(GZIP.len() as u64).read_to_end(&mut bytes)?;
        Ok(Self { bytes, given: 0, rest })
    }
}

impl<R: Read> Read for Start<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut left = &self.bytes[self.given..];
        if left.is_empty() {
            return self.rest.read(into);
        }
        let count = left.read(into)?;
        self.given += count;
        Ok(count)
    }
}

/// What a gzip stream begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Read from the file at a time.
const BUFFER: usize = 256 << 10;
/// Bytes of a line; a request has a few hundred, the shares of many versions a few thousand.
const LONGEST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::{Line, Reader};
    use crate::trace::problem::{Fault, Problem};

    const GOOD: &str = "{\"t_ms\":1,\"version\":\"a\",\"status\":200,\"latency_us\":5}\n";

    fn all(bytes: impl Into<Vec<u8>>) -> (usize, Vec<Problem>) {
        read(Reader::new(Cursor::new(bytes.into())).unwrap())
    }

    fn read(mut reader: Reader) -> (usize, Vec<Problem>) {
        let (mut good, mut problems) = (0, Vec::new());
        while let Some(line) = reader.read() {
            match line {
                Ok((_, Line::Event(_) | Line::Weights(_))) => good += 1,
                Err(problem) => problems.push(problem),
            }
        }
        assert!(reader.read().is_none(), "the end stays the end");
        (good, problems)
    }

    fn zip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_compressed_traces_are_read() {
        let text = GOOD.repeat(5_000);
        assert_eq!(all(text.as_str()), (5_000, vec![]));
        assert_eq!(all(zip(&text)), (5_000, vec![]));
        let two = [zip(GOOD), zip(&GOOD.repeat(2))].concat();
        assert_eq!(all(two), (3, vec![]), "compressed parts one after the other");
        assert_eq!(all(""), (0, vec![]));
        assert_eq!(all(zip("")), (0, vec![]));
        let odd = format!("\u{feff}{GOOD}\r\n  \n{}", GOOD.trim_end());
        assert_eq!(all(odd), (2, vec![]), "a mark, blank lines, no end of the last line");
    }

    #[test]
    fn a_pipe_that_drips_is_read_too() {
        struct Drip(Cursor<Vec<u8>>);
        impl Read for Drip {
            fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
                let one = into.len().min(1);
                self.0.read(&mut into[..one])
            }
        }
        let drip = Drip(Cursor::new(zip(&GOOD.repeat(9))));
        assert_eq!(read(Reader::new(drip).unwrap()), (9, vec![]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_the_rest_is_read() {
        let huge = format!("{{\"x\":\"{}\"}}\n", "x".repeat(70_000));
        let text = format!("{GOOD}nonsense\n{GOOD}{huge}{GOOD}{{}}\n{GOOD}");
        let (good, problems) = all(text);
        assert_eq!(good, 4);
        let places: Vec<_> = problems.iter().map(|p| (p.line, p.fault)).collect();
        assert_eq!(
            places,
            [(2, Fault::Unreadable), (4, Fault::Unreadable), (6, Fault::Malformed)]
        );
        assert!(problems[1].what.contains("longer than 64 KiB"), "{}", problems[1]);
    }

    #[test]
    fn a_trace_that_is_cut_gives_what_it_has() {
        let text = GOOD.repeat(3);
        let (good, problems) = all(&text.as_bytes()[..text.len() - 9]);
        assert_eq!(good, 2);
        assert_eq!((problems[0].line, problems[0].fault), (3, Fault::Cut));
        assert_eq!(problems[0].what, "the trace is cut at line 3");

        let many: String =
            (0..20_000).map(|n| GOOD.replace(":1,", &format!(":{n},"))).collect();
        let mut zipped = zip(&many);
        zipped.truncate(zipped.len() / 2);
        let (good, problems) = all(zipped);
        assert!((1_000..20_000).contains(&good), "{good}");
        let [cut] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!((cut.fault, cut.line), (Fault::Cut, good as u64 + 1));
        let (good, problems) = all(&zip(GOOD)[..10]);
        assert_eq!((good, problems[0].fault), (0, Fault::Cut));
    }

    #[test]
    fn a_damaged_trace_says_so_and_ends() {
        let many: String =
            (0..20_000).map(|n| GOOD.replace(":1,", &format!(":{n},"))).collect();
        let mut zipped = zip(&many);
        let middle = zipped.len() / 2;
        zipped[middle..middle + 64].fill(0xff);
        let (good, problems) = all(zipped);
        assert!(good < 20_000, "{good}");
        assert_eq!(problems.last().map(|p| p.fault), Some(Fault::Damaged));
        let mut trailing = zip(GOOD);
        trailing.extend(b"and more of what is no gzip");
        assert_eq!(all(trailing).1.last().map(|p| p.fault), Some(Fault::Damaged));
    }
}
