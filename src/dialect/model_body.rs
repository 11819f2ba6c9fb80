//! `ModelScan`: which model a JSON request names in its top-level member `model`, from pieces
//! that end anywhere.
//!
//! Nothing is built: what stands before the name (`messages`, an image) is walked over, and
//! only a key or a name is held, up to a bound. What it says does not depend on how the body
//! was cut into pieces. A body in which two parsers could find two models is told apart.

/// The bytes at the beginning of a body in which its model must be named.
pub const BODY_NAME_BYTES: usize = 64 * 1024;

/// Which model a body names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyModel {
    /// None that could be found: another text than JSON, another value than a string, or
    /// nothing of it in the first [`BODY_NAME_BYTES`] bytes.
    None,
    /// This one.
    Named(String),
    /// More than one: which of them counts is for every parser to decide.
    Twice,
}

/// A look for the model over the pieces of a body.
#[derive(Debug, Default)]
pub struct ModelScan {
    seen: usize,
    at: At,
    /// Containers around the next value: whether each is an object, the innermost last.
    nest: u128,
    depth: u32,
    string: Text,
    /// The last key at the top.
    key: Key,
    found: Option<Found>,
    end: Option<End>,
}

/// What may come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Start,
    /// So many bytes of a byte order mark.
    Mark(u8),
    /// The object, after such a mark.
    Marked,
    /// A key, or the end of an object that has no member yet.
    FirstKey,
    Key,
    Colon,
    Value,
    /// A value, or the end of an array that has none yet.
    FirstValue,
    /// Within a string that is a key, or a value.
    InKey,
    InText,
    /// Within a number or a word.
    InWord,
    /// A comma or an end.
    After,
}

/// Which key it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Key {
    #[default]
    Other,
    Model,
    /// Some parsers take it for `model`.
    Variant,
}

/// What was found so far.
#[derive(Debug)]
struct Found {
    /// `None`: another value than a name.
    name: Option<String>,
    /// Under the very key.
    exact: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The object is over, or as much of it as is looked at.
    Whole,
    Malformed,
    Twice,
}

/// A string that is being read, decoded as far as it is held.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    /// How much of it is held at most; 0 for what is only walked over.
    bound: usize,
    /// It is longer, or no text.
    spoilt: bool,
    escape: Escape,
    /// The first half of a character beyond the first plane.
    high: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Escape {
    #[default]
    None,
    Begun,
    /// So many of four digits, and their value.
    Digits(u8, u32),
}

/// A key that could be `model` is no longer.
const KEY_BOUND: usize = 5;
/// No name of a model is longer; the configuration keeps to it.
pub const MODEL_NAME_BYTES: usize = 512;
/// Deeper texts are not understood.
const DEPTH_MAX: u32 = 128;

impl ModelScan {
    /// Looks at the next piece; whether nothing that follows can make a difference.
    pub fn feed(&mut self, piece: &[u8]) -> bool {
        for &byte in piece {
            if self.end.is_some() {
                break;
            }
            if self.seen == BODY_NAME_BYTES {
                self.end = Some(End::Whole);
                break;
            }
            self.seen += 1;
            self.step(byte);
        }
        if self.seen == BODY_NAME_BYTES && self.end.is_none() {
            self.end = Some(End::Whole);
        }
        self.end.is_some()
    }

    /// What was found, once [`ModelScan::feed`] has said so or the body is over.
    #[must_use]
    pub fn finish(self) -> BodyModel {
        match (self.end, self.found) {
            (Some(End::Twice), _) => BodyModel::Twice,
            (Some(End::Whole), Some(Found { name: Some(name), exact: true })) => {
                BodyModel::Named(name)
            }
            (Some(End::Whole | End::Malformed) | None, _) => BodyModel::None,
        }
    }

    fn step(&mut self, byte: u8) {
        match self.at {
            At::InKey | At::InText => return self.within(byte),
            At::InWord if is_word(byte) => return,
            At::InWord => self.at = At::After,
            At::Start
            | At::Mark(_)
            | At::Marked
            | At::FirstKey
            | At::Key
            | At::Colon
            | At::Value
            | At::FirstValue
            | At::After => {}
        }
        let spaced = !matches!(self.at, At::Mark(_));
        if spaced && matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return;
        }
        match (self.at, byte) {
            (At::Start, 0xef) => self.at = At::Mark(1),
            (At::Mark(1), 0xbb) => self.at = At::Mark(2),
            (At::Mark(2), 0xbf) => self.at = At::Marked,
            (At::Start | At::Marked, b'{') => self.open(true),
            (At::FirstKey | At::Key, b'"') => {
                let bound = if self.depth == 1 { KEY_BOUND } else { 0 };
                self.begin(At::InKey, bound);
            }
            (At::Colon, b':') => self.at = At::Value,
            (At::FirstKey, b'}') | (At::FirstValue, b']') => self.close(byte == b'}'),
            (At::Value | At::FirstValue, _) => self.value(byte),
            (At::After, b',') => {
                self.at = if self.is_object() { At::Key } else { At::Value };
            }
            (At::After, b'}' | b']') => self.close(byte == b'}'),
            _ => self.end = Some(End::Malformed),
        }
    }

    fn value(&mut self, byte: u8) {
        match byte {
            b'"' => {
                let named = self.depth == 1 && self.key != Key::Other;
                self.begin(At::InText, if named { MODEL_NAME_BYTES } else { 0 });
            }
            b'{' | b'[' => {
                self.other();
                self.open(byte == b'{');
            }
            _ if is_word(byte) => {
                self.other();
                self.at = At::InWord;
            }
            _ => self.end = Some(End::Malformed),
        }
    }

    fn begin(&mut self, at: At, bound: usize) {
        self.at = at;
        self.string.begin(bound);
    }

    /// Within a string.
    fn within(&mut self, byte: u8) {
        if !self.string.step(byte) {
            return;
        }
        if self.at == At::InKey {
            self.at = At::Colon;
            if self.depth == 1 {
                self.key = self.string.key();
            }
            return;
        }
        self.at = At::After;
        if self.depth == 1 && self.key != Key::Other {
            let name = self.string.take();
            self.note(name);
        }
    }

    /// A value that is no string.
    fn other(&mut self) {
        if self.depth == 1 && self.key != Key::Other {
            self.note(None);
        }
    }

    fn note(&mut self, name: Option<String>) {
        let exact = self.key == Key::Model;
        match &mut self.found {
            None => self.found = Some(Found { name, exact }),
            Some(found) if found.name == name => found.exact |= exact,
            Some(_) => self.end = Some(End::Twice),
        }
    }

    fn open(&mut self, object: bool) {
        if self.depth == DEPTH_MAX {
            self.end = Some(End::Malformed);
            return;
        }
        self.nest = (self.nest << 1) | u128::from(object);
        self.depth += 1;
        self.at = if object { At::FirstKey } else { At::FirstValue };
    }

    fn close(&mut self, object: bool) {
        if self.is_object() != object {
            self.end = Some(End::Malformed);
            return;
        }
        self.nest >>= 1;
        self.depth -= 1;
        self.at = At::After;
        if self.depth == 0 {
            self.end = Some(End::Whole);
        }
    }

    fn is_object(&self) -> bool {
        self.nest & 1 == 1
    }
}

/// What numbers and words are made of, `NaN` and `Infinity` of some parsers among them.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}

impl Text {
    fn begin(&mut self, bound: usize) {
        self.bytes.clear();
        (self.bound, self.spoilt) = (bound, bound == 0);
        (self.escape, self.high) = (Escape::None, None);
    }

    /// The next byte; whether the string is over.
    fn step(&mut self, byte: u8) -> bool {
        match (self.escape, byte) {
            (Escape::None, b'"') => {
                self.spoilt |= self.high.is_some();
                return true;
            }
            (Escape::None, b'\\') => self.escape = Escape::Begun,
            (Escape::None, _) => self.push(&[byte]),
            (Escape::Begun, b'u') => self.escape = Escape::Digits(0, 0),
            (Escape::Begun, _) => {
                self.escape = Escape::None;
                match byte {
                    b'"' | b'\\' | b'/' => self.push(&[byte]),
                    b'b' => self.push(b"\x08"),
                    b'f' => self.push(b"\x0c"),
                    b'n' => self.push(b"\n"),
                    b'r' => self.push(b"\r"),
                    b't' => self.push(b"\t"),
                    _ => self.spoilt = true,
                }
            }
            (Escape::Digits(count, value), _) => {
                let digit = char::from(byte).to_digit(16);
                self.spoilt |= digit.is_none();
                let value = value * 16 + digit.unwrap_or_default();
                self.escape = match count {
                    3 => {
                        self.unit(value);
                        Escape::None
                    }
                    _ => Escape::Digits(count + 1, value),
                };
            }
        }
        false
    }

    /// A UTF-16 unit that was written as an escape.
    fn unit(&mut self, unit: u32) {
        let high = self.high.take();
        let whole = match (high, unit) {
            (None, 0xd800..=0xdbff) => {
                self.high = Some(unit);
                return;
            }
            (Some(high), 0xdc00..=0xdfff) => {
                0x1_0000 + ((high - 0xd800) << 10) + (unit - 0xdc00)
            }
            (Some(_), _) => {
                self.spoilt = true;
                return;
            }
            (None, _) => unit,
        };
        match char::from_u32(whole) {
            Some(letter) => self.push(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            None => self.spoilt = true,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.spoilt |= self.high.is_some();
        if self.spoilt {
            return;
        }
        if self.bytes.len() + bytes.len() > self.bound {
            self.spoilt = true;
            return;
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn key(&self) -> Key {
        match &self.bytes[..] {
            _ if self.spoilt => Key::Other,
            b"model" => Key::Model,
            other if other.eq_ignore_ascii_case(b"model") => Key::Variant,
            _ => Key::Other,
        }
    }

    /// The string as a name.
    fn take(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.bytes);
        if self.spoilt { None } else { String::from_utf8(bytes).ok() }
    }
}

#[cfg(test)]
#[path = "model_body_tests.rs"]
mod tests;
