//! `Json`: a walk over a JSON text that looks only at what is asked for and copies nothing.
//!
//! Most frames of a stream are looked at for two or three members. A general parser builds a
//! value or a structure first; this one goes over the bytes once and checks the grammar of
//! RFC 8259 on the way (but not that strings are valid UTF-8).

/// Arrays and objects within each other; deeper texts are not understood.
const DEPTH_MAX: u32 = 100;

/// Why a text is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not JSON.
    Malformed,
    /// It ends before its value does.
    Short,
    /// It is nested too deeply to say.
    Deep,
}

/// A place in a JSON text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Json<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// The first byte of the next value, which is not taken.
    pub(super) fn next(&mut self) -> Result<u8, Fault> {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                _ => return Ok(*byte),
            }
        }
        Err(Fault::Short)
    }

    /// Nothing follows the value.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.next() {
            Err(Fault::Short) => Ok(()),
            Ok(_) | Err(_) => Err(Fault::Malformed),
        }
    }

    /// Goes through the members of an object. `each` gets a name as it is written and takes
    /// the value.
    pub(super) fn members(
        &mut self,
        mut each: impl FnMut(&'a [u8], &mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.enter(b'{')?;
        if self.next()? == b'}' {
            return self.leave();
        }
        loop {
            self.next()?;
            let name = self.text()?;
            self.take(b':')?;
            each(name, self)?;
            match self.next()? {
                b',' => self.at += 1,
                b'}' => return self.leave(),
                _ => return Err(Fault::Malformed),
            }
        }
    }

    /// Goes through the elements of an array. `each` takes one.
    pub(super) fn elements(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.enter(b'[')?;
        if self.next()? == b']' {
            return self.leave();
        }
        loop {
            each(self)?;
            match self.next()? {
                b',' => self.at += 1,
                b']' => return self.leave(),
                _ => return Err(Fault::Malformed),
            }
        }
    }

    /// Takes a value: the inside of a string as it is written, `None` for any other.
    pub(super) fn string(&mut self) -> Result<Option<&'a [u8]>, Fault> {
        if self.next()? == b'"' {
            return self.text().map(Some);
        }
        self.filled().map(|_| None)
    }

    /// Takes a value: the whole number that it is or holds as a string, `None` for any other.
    pub(super) fn count(&mut self) -> Result<Option<u64>, Fault> {
        let first = self.next()?;
        let begin = self.at;
        let text = match first {
            b'"' => self.text()?,
            _ => {
                self.filled()?;
                self.bytes.get(begin..self.at).unwrap_or_default()
            }
        };
        Ok(std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()))
    }

    /// Takes a value: whether it says anything. `null`, `false`, zero and whatever is empty
    /// say nothing.
    pub(super) fn filled(&mut self) -> Result<bool, Fault> {
        match self.next()? {
            b'"' => self.text().map(|text| !text.is_empty()),
            b'{' => {
                let mut any = false;
                self.members(|_, json| {
                    any = true;
                    json.filled().map(drop)
                })?;
                Ok(any)
            }
            b'[' => {
                let mut any = false;
                self.elements(|json| {
                    any = true;
                    json.filled().map(drop)
                })?;
                Ok(any)
            }
            b't' => self.word(b"true").map(|()| true),
            b'f' => self.word(b"false").map(|()| false),
            b'n' => self.word(b"null").map(|()| false),
            _ => self.number(),
        }
    }

    fn enter(&mut self, open: u8) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Fault::Deep);
        }
        self.take(open)
    }

    fn leave(&mut self) -> Result<(), Fault> {
        self.depth -= 1;
        self.at += 1;
        Ok(())
    }

    fn take(&mut self, byte: u8) -> Result<(), Fault> {
        if self.next()? != byte {
            return Err(Fault::Malformed);
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        Err(if word.starts_with(rest) { Fault::Short } else { Fault::Malformed })
    }

    /// The inside of a string whose quote is next.
    fn text(&mut self) -> Result<&'a [u8], Fault> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(Fault::Malformed);
        }
        let begin = self.at + 1;
        let mut at = begin;
        loop {
            let byte = *self.bytes.get(at).ok_or(Fault::Short)?;
            match byte {
                b'"' => break,
                b'\\' => at += escape(self.bytes.get(at + 1..).unwrap_or_default())?,
                0..=0x1f => return Err(Fault::Malformed),
                _ => at += 1,
            }
        }
        self.at = at + 1;
        Ok(self.bytes.get(begin..at).unwrap_or_default())
    }

    /// Takes a number: whether it is other than zero.
    fn number(&mut self) -> Result<bool, Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let body = rest.strip_prefix(b"-").unwrap_or(rest);
        let whole = digits(body);
        let mut left = body.get(whole..).unwrap_or_default();
        match body.first() {
            None => return Err(Fault::Short),
            Some(b'0') if whole > 1 => return Err(Fault::Malformed),
            Some(_) if whole == 0 => return Err(Fault::Malformed),
            Some(_) => {}
        }
        if let Some(fraction) = left.strip_prefix(b".") {
            left = some_digits(fraction)?;
        }
        if let [b'e' | b'E', rest @ ..] = left {
            let signed = match rest {
                [b'+' | b'-', rest @ ..] => rest,
                rest => rest,
            };
            left = some_digits(signed)?;
        }
        let length = rest.len() - left.len();
        self.at += length;
        let text = rest.get(..length).unwrap_or_default();
        let mantissa = text.split(|byte| matches!(byte, b'e' | b'E')).next();
        Ok(mantissa.is_some_and(|text| text.iter().any(|b| matches!(b, b'1'..=b'9'))))
    }
}

/// How long an escape is with its backslash; `rest` is what follows that.
fn escape(rest: &[u8]) -> Result<usize, Fault> {
    match rest.first() {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => {
            let hex = rest.get(1..).unwrap_or_default();
            let hex = hex.get(..4).unwrap_or(hex);
            match hex.iter().all(u8::is_ascii_hexdigit) {
                true if hex.len() == 4 => Ok(6),
                true => Err(Fault::Short),
                false => Err(Fault::Malformed),
            }
        }
        Some(_) => Err(Fault::Malformed),
        None => Err(Fault::Short),
    }
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// What follows one digit or more.
fn some_digits(bytes: &[u8]) -> Result<&[u8], Fault> {
    match (digits(bytes), bytes.first()) {
        (0, None) => Err(Fault::Short),
        (0, Some(_)) => Err(Fault::Malformed),
        (some, _) => Ok(bytes.get(some..).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Fault, Json};

    fn walk(text: &[u8]) -> Result<bool, Fault> {
        let mut json = Json::new(text);
        let filled = json.filled()?;
        json.end().map(|()| filled)
    }

    #[test]
    fn what_is_json_is_as_serde_has_it() {
        for text in [
            "{}",
            "[]",
            "null",
            "true",
            "0",
            "-0",
            "-0.0e1",
            "1e5",
            "1E+5",
            "1.50",
            "\"\"",
            " { \"a\" : [ 1 , { } ] } ",
            "\"\\u00e9\\n\\\"\"",
            "{\"a\":1,\"a\":2}",
            "[[[]]]",
            // Not JSON.
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":}",
            "{\"a\" 1}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "--1",
            "1e",
            "tru",
            "nulll",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12\"",
            "\"a",
            "\"\n\"",
            "{}{}",
            "[1 2]",
            "'a'",
            "NaN",
            "{\"a\":1,}",
            "{,}",
            "[,]",
            "\u{feff}{}",
        ] {
            let want = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(walk(text.as_bytes()).is_ok(), want, "{text:?}");
        }
        for (text, filled) in [
            ("null", false),
            ("false", false),
            ("true", true),
            ("0", false),
            ("0.0", false),
            ("0e9", false),
            ("0.1", true),
            ("\"\"", false),
            ("\" \"", true),
            ("[]", false),
            ("[0]", true),
            ("{}", false),
            ("{\"a\":null}", true),
        ] {
            assert_eq!(walk(text.as_bytes()), Ok(filled), "{text}");
        }
        let deep = "[".repeat(200);
        assert_eq!(walk(deep.as_bytes()), Err(Fault::Deep));
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(|n| serde_json::json!(n)),
            ".{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::hash_map(".{0,6}", inner, 0..4).prop_map(|map| map
                    .into_iter()
                    .collect::<serde_json::Map<_, _>>()
                    .into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_walked_and_its_beginnings_are_short(json in value(), cut: prop::sample::Index) {
            let text = json.to_string();
            prop_assert!(walk(text.as_bytes()).is_ok(), "{}", text);
            if json.is_object() || json.is_array() || json.is_string() {
                let begin = &text.as_bytes()[..cut.index(text.len())];
                prop_assert_eq!(walk(begin), Err(Fault::Short), "{}", text);
            }
        }

        #[test]
        fn any_bytes_are_judged_as_serde_judges_them(text in "[\\[\\]{}:,\"\\\\u0-9a-f.eE+\\- tnlrs]{0,24}") {
            let want = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(walk(text.as_bytes()).is_ok(), want, "{:?}", text);
        }
    }
}
