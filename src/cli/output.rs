//! Where every verb writes, and the only place of this room that touches standard output.
//!
//! Apart because of two promises: a reader that closes the pipe ends the command without a
//! panic, and no text that came over a wire can move the cursor, since everything that
//! could is written as an escape.

use std::fmt::{Display, Write as _};
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use serde::Serialize;
use thiserror::Error;

use crate::admin::wire::breaks_lines;

/// Standard output and standard error of one command.
pub(super) struct Output<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// Whether a person sees `out` on a screen.
    pub(super) terminal: bool,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// All is well.
    Good,
    /// It could not be done.
    Error,
    /// A version was rolled back.
    RolledBack,
    /// Not enough is known.
    Inconclusive,
    /// It took too long.
    Timeout,
}

/// Nobody reads any more, or nothing can be written.
#[derive(Debug, Error)]
#[error("cannot write the answer")]
pub(super) struct Unwritten(#[source] io::Error);

impl<'a> Output<'a> {
    pub(super) fn new(
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        terminal: bool,
    ) -> Self {
        Self { out, err, terminal }
    }

    /// Writes lines to standard output.
    pub(super) fn lines(&mut self, text: impl Display) -> Result<(), Unwritten> {
        write(self.out, &plain(&text.to_string()))
    }

    /// Writes a value as one line of JSON to standard output.
    pub(super) fn json<T: Serialize>(&mut self, value: &T) -> anyhow::Result<()> {
        let text = serde_json::to_string(value)?;
        // JSON may hold as they are what a terminal acts upon; it has an escape for each.
        let safe = text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
            if breaks_lines(c) {
                push_escape(&mut safe, u32::from(c));
            } else {
                safe.push(c);
            }
            safe
        });
        Ok(write(self.out, &safe)?)
    }

    /// Clears the screen, where there is one.
    pub(super) fn clear(&mut self) -> Result<(), Unwritten> {
        if self.terminal {
            self.out.write_all(b"\x1b[H\x1b[2J").map_err(Unwritten)?;
        }
        Ok(())
    }

    /// Writes lines to standard error. That it cannot be written cannot be said anywhere.
    pub(super) fn errors(&mut self, text: impl Display) {
        let _unsaid = write(self.err, &plain(&text.to_string()));
    }
}

impl Unwritten {
    /// Whether the reader has enough, which is no error.
    pub(super) fn is_closed(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Good => 0,
            Exit::Error => 1,
            Exit::RolledBack => 2,
            Exit::Inconclusive => 3,
            Exit::Timeout => 4,
        })
    }
}

/// A text that is to stay within one line and may come from anywhere.
pub(super) fn one_line(text: impl Display) -> String {
    text.to_string().replace('\n', "\\n")
}

fn write(to: &mut dyn Write, text: &str) -> Result<(), Unwritten> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let written =
        to.write_all(text.as_bytes()).and_then(|()| to.write_all(end.as_bytes()));
    written.and_then(|()| to.flush()).map_err(Unwritten)
}

/// The text with everything but its ends of lines made harmless.
fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if c != '\n' && breaks_lines(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
        safe
    })
}

fn push_escape(text: &mut String, code: u32) {
    // Writing into a `String` does not fail.
    let _done = write!(text, "\\u{code:04x}");
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::Output;

    /// A pipe that nobody reads.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_from_outside_drives_a_terminal() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let evil = "a\u{1b}[2Jb\rc\u{202e}d\u{9b}e";
        let mut output = Output::new(&mut out, &mut err, true);
        output.lines(format!("{evil}\nnext")).unwrap();
        output.json(&[evil]).unwrap();
        output.errors(evil);
        let said = String::from_utf8(out).unwrap() + &String::from_utf8(err).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        let safe = "a\\u{1b}[2Jb\\rc\\u{202e}d\\u{9b}e";
        assert_eq!(lines, [safe, "next", "[\"a\\u001b[2Jb\\rc\\u202ed\\u009be\"]", safe]);
        let back: Vec<String> = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(back, [evil]);
    }

    #[test]
    fn a_closed_pipe_is_told_from_a_full_disk() {
        let mut err = Vec::new();
        let refused = Output::new(&mut Closed, &mut err, false).lines("x").unwrap_err();
        assert!(refused.is_closed());
    }
}
