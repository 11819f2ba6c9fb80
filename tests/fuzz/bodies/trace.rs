//! Any bytes as a trace, plain or compressed: lines and problems come back until the end,
//! and the same ones however the bytes came.

use std::io::{self, Cursor, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use switchback::trace::Reader;

use super::choice;

/// Gives so many bytes at a time.
struct Slow(Cursor<Vec<u8>>, usize);

impl Read for Slow {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let room = into.len().min(self.1);
        self.0.read(&mut into[..room])
    }
}

fn read(data: &[u8], step: usize) -> Vec<String> {
    let Ok(mut reader) = Reader::new(Slow(Cursor::new(data.to_vec()), step)) else {
        return Vec::new();
    };
    let (mut told, mut last) = (Vec::new(), 0);
    while let (Some(next), true) = (reader.read(), told.len() < 10_000) {
        match next {
            Ok((line, parsed)) => {
                assert!(line > last, "lines are numbered upwards");
                last = line;
                told.push(format!("{parsed:?}"));
            }
            Err(problem) => {
                assert!(
                    problem.line >= last && problem.what.len() < 1_000,
                    "{problem:?}"
                );
                last = problem.line;
                told.push(format!("{problem:?}"));
            }
        }
    }
    told
}

pub(super) fn body(data: &[u8]) {
    let (form, rest) = choice(data, 2);
    let packed = match form {
        0 => rest.to_vec(),
        _ => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let done = encoder.write_all(rest).and_then(|()| encoder.finish());
            done.unwrap_or_default()
        }
    };
    let whole = read(&packed, usize::MAX);
    for step in [1, 7, 1_000] {
        assert_eq!(read(&packed, step), whole, "{step} bytes at a time");
    }
    if form == 1 {
        assert_eq!(read(rest, usize::MAX).len(), whole.len(), "packed and plain");
    }
}
