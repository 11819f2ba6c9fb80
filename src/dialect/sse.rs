//! `Events`: server-sent events taken from bytes as they pass, by the rules of the WHATWG
//! HTML standard, section 9.2 ("Server-sent events"). Apart from what the events mean, which
//! each dialect says in its own file.
//!
//! An event that lies in one piece is looked at where it is; only what is split is copied,
//! and no more than [`EVENT_MAX`] bytes of it.

use memchr::memchr2;

/// Bytes of one event's data that are kept. What is longer is still seen to be an event.
pub const EVENT_MAX: usize = 32 * 1024;

/// Bytes of an event's name that are kept: no dialect has a longer one.
const NAME_MAX: usize = 64;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its name; empty where none was given.
    pub name: &'a [u8],
    /// Its data, lines joined by line feeds.
    pub data: &'a [u8],
    /// The data was longer than [`EVENT_MAX`]: this is its beginning.
    pub is_cut: bool,
    /// The data stood in a field named `error`, as older llama-servers write it.
    pub is_error_field: bool,
}

/// What has come of a stream, as far as the next byte needs it.
#[derive(Debug, Default)]
pub struct Events {
    /// The line that is not over, without its end.
    line: Vec<u8>,
    /// The data of the event that is not over.
    data: Vec<u8>,
    name: Vec<u8>,
    flags: Flags,
    /// Bytes of a byte order mark at the very beginning, up to all three of them.
    mark: usize,
}

#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own")]
struct Flags {
    /// The beginning is over, in which there may be a byte order mark.
    begun: bool,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    /// The line is longer than what is kept of it.
    line_cut: bool,
    /// The event has data, if only an empty line of it.
    has_data: bool,
    data_cut: bool,
    error_field: bool,
    /// A line of an event has come and its blank line has not.
    within: bool,
}

/// Where a line came from.
enum Line<'a> {
    Here(&'a [u8]),
    Kept(Vec<u8>),
}

impl Events {
    /// Takes the next bytes and hands over each event that they complete.
    pub fn push(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Event<'_>)) {
        if !self.flags.begun {
            bytes = self.past_mark(bytes);
        }
        // Data of the current event that need not be copied.
        let mut here: Option<&[u8]> = None;
        while !bytes.is_empty() {
            if std::mem::take(&mut self.flags.after_return)
                && let [b'\n', rest @ ..] = bytes
            {
                bytes = rest;
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                self.keep_line(bytes);
                break;
            };
            let (found, rest) = bytes.split_at(end);
            self.flags.after_return = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            if self.line.is_empty() && !self.flags.line_cut {
                self.line_over(&Line::Here(found), &mut here, each);
            } else {
                self.keep_line(found);
                let line = std::mem::take(&mut self.line);
                let line = Line::Kept(line);
                self.line_over(&line, &mut here, each);
                if let Line::Kept(mut line) = line {
                    line.clear();
                    self.line = line;
                }
                self.flags.line_cut = false;
            }
        }
        if let Some(data) = here {
            self.keep_data(data);
        }
    }

    /// What must be sent for a new event to begin, whatever was sent last.
    #[must_use]
    pub fn boundary(&self) -> &'static [u8] {
        let Flags { begun, after_return, within, line_cut, .. } = self.flags;
        // Half of a mark is the beginning of a line, if nothing more of the mark comes.
        let half = !begun && self.mark > 0;
        match self.line.is_empty() && !line_cut && !half {
            // Within a line: its end, and the end of its event.
            false => b"\n\n",
            // A line feed would be read as the second half of the line's end.
            true if within && after_return => b"\n\n",
            true if within => b"\n",
            true => b"",
        }
    }

    fn line_over<'a>(
        &mut self,
        line: &Line<'a>,
        here: &mut Option<&'a [u8]>,
        each: &mut impl FnMut(Event<'_>),
    ) {
        let text: &[u8] = match line {
            Line::Here(text) => text,
            Line::Kept(text) => text,
        };
        if text.is_empty() {
            self.event_over(here.take(), each);
            return;
        }
        self.flags.within = true;
        let (field, value) = match memchr::memchr(b':', text) {
            Some(0) => return,
            Some(at) => {
                let value = text.get(at + 1..).unwrap_or_default();
                (text.get(..at).unwrap_or_default(), value)
            }
            None => (text, &[][..]),
        };
        let space = usize::from(value.first() == Some(&b' '));
        match field {
            b"event" => {
                let value = value.get(space..).unwrap_or_default();
                self.name.clear();
                self.name.extend_from_slice(value.get(..NAME_MAX).unwrap_or(value));
            }
            b"data" | b"error" => {
                self.flags.error_field |= field == b"error";
                self.flags.data_cut |= self.flags.line_cut;
                if self.flags.has_data {
                    if let Some(first) = here.take() {
                        self.keep_data(first);
                    }
                    self.keep_data(b"\n");
                }
                let first = !std::mem::replace(&mut self.flags.has_data, true);
                let begin = text.len() - value.len() + space;
                match line {
                    Line::Here(text) if first => {
                        *here = Some(text.get(begin..).unwrap_or_default());
                    }
                    Line::Here(_) | Line::Kept(_) => {
                        self.keep_data(text.get(begin..).unwrap_or_default());
                    }
                }
            }
            _ => {}
        }
    }

    fn event_over(&mut self, here: Option<&[u8]>, each: &mut impl FnMut(Event<'_>)) {
        let flags = self.flags;
        if flags.has_data {
            let data = here.unwrap_or(&self.data);
            let cut = data.len() > EVENT_MAX;
            each(Event {
                name: &self.name,
                data: data.get(..EVENT_MAX).unwrap_or(data),
                is_cut: cut || flags.data_cut,
                is_error_field: flags.error_field,
            });
        }
        self.data.clear();
        self.name.clear();
        self.flags =
            Flags { begun: true, after_return: flags.after_return, ..Flags::default() };
    }

    fn keep_line(&mut self, bytes: &[u8]) {
        // A name and a colon beside the data.
        let room = (EVENT_MAX + NAME_MAX).saturating_sub(self.line.len());
        self.flags.line_cut |= bytes.len() > room;
        self.line.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn keep_data(&mut self, bytes: &[u8]) {
        let room = EVENT_MAX.saturating_sub(self.data.len());
        self.flags.data_cut |= bytes.len() > room;
        self.data.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// The bytes after a byte order mark, which may be split too.
    fn past_mark<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let (Some(want), [first, rest @ ..]) = (MARK.get(self.mark), bytes) {
            if first != want {
                // It was none: what was taken for one belongs to the first line.
                self.flags.begun = true;
                self.keep_line(MARK.get(..self.mark).unwrap_or_default());
                return bytes;
            }
            self.mark += 1;
            bytes = rest;
        }
        self.flags.begun = self.mark == MARK.len();
        bytes
    }
}

const MARK: &[u8] = b"\xEF\xBB\xBF";

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
