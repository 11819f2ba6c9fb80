//! A record as a line: how it is written, and what is wrong with one that is read.
//!
//! Apart because the form of a line is a promise to auditors, described in the front door
//! of the room; nothing else knows it.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::chain::{Hash, Head};
use super::error::WriteError;
use crate::vocab::notice::Entry;
use crate::vocab::time::Timestamp;

/// Bytes of a line at most, its end included.
pub(super) const MOST_LINE: usize = 256 << 10;

/// The kind of the record that a file begins with.
pub(super) const FILE_BEGINS: &str = "audit.file";
/// The kind of the record that tells of a torn end.
pub(super) const REPAIRED: &str = "audit.repaired";
/// The kind of the record that tells of a log that is not as it was written.
pub(super) const DAMAGED: &str = "audit.damaged";
/// The kind of the record that tells for how long nothing, or not all, could be written.
pub(super) const RESUMED: &str = "audit.resumed";

/// An entry in its form, but for its place in the chain.
#[derive(Clone, Debug)]
pub(super) struct Draft(String);

/// What a line says of its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) seq: u64,
    /// The number of the first record that was synced together with it.
    pub(super) batch: u64,
    pub(super) prev: Hash,
    /// The hash that it says it has.
    pub(super) hash: Hash,
    /// The hash that it has.
    pub(super) real: Hash,
}

/// What is wrong with a line by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is none.
    NoRecord(String),
    /// Its content has another hash than it says.
    Changed(Links),
}

impl Draft {
    /// Puts an entry into its form.
    pub(super) fn new(entry: &Entry) -> Result<Self, WriteError> {
        let body = &entry.body;
        let known = |name: &str, ours: Option<Value>| {
            ours.or_else(|| body.get(name).cloned()).unwrap_or(Value::Null)
        };
        let operator = entry.operator.as_ref().map(|operator| json!(operator));
        let config = &entry.config_hash;
        let config = (!config.is_empty()).then(|| Value::from(config.as_str()));
        // The moment of a whole record is its own; ours is when it was written down.
        let at = if body.contains_key("timestamp") { "recorded_at" } else { "timestamp" };
        let mut text = String::with_capacity(256);
        member(&mut text, "kind", &entry.kind.into());
        member(&mut text, at, &json!(entry.at));
        member(&mut text, "operator", &known("operator", operator));
        member(
            &mut text,
            "reason",
            &known("reason", entry.reason.clone().map(Value::from)),
        );
        member(&mut text, "config_hash", &known("config_hash", config));
        for (name, value) in
            body.iter().filter(|(name, _)| !OURS.contains(&name.as_str()))
        {
            member(&mut text, name, value);
        }
        let draft = Self(text);
        if draft.size() > MOST_LINE { Err(WriteError::TooLong) } else { Ok(draft) }
    }

    /// The record that a file begins with.
    pub(super) fn begin(at: Timestamp, before: Option<(&str, Head)>) -> Self {
        let continues = before.map_or(
            Value::Null,
            |(file, head)| json!({"file": file, "seq": head.seq, "hash": head.hash}),
        );
        Self::ours(FILE_BEGINS, at, json!({"format": FORMAT, "continues": continues}))
    }

    /// A record of the log about itself.
    pub(super) fn ours(kind: &'static str, at: Timestamp, facts: Value) -> Self {
        let body = if let Value::Object(facts) = facts { facts } else { Map::new() };
        let config_hash = String::new();
        let entry = Entry { kind, at, operator: None, reason: None, config_hash, body };
        // Ours are short; and if one ever were not, a record without facts is.
        Self::new(&entry).unwrap_or_else(|_| {
            let mut text = String::new();
            member(&mut text, "kind", &kind.into());
            member(&mut text, "timestamp", &json!(at));
            Self(text)
        })
    }

    /// Bytes of its line at most.
    pub(super) fn size(&self) -> usize {
        self.0.len() + FRAME
    }

    /// Appends the line that follows `head` in the chain and returns the new head. `batch`
    /// is the number of the first record that is synced together with it.
    pub(super) fn seal(&self, head: Head, batch: u64, lines: &mut Vec<u8>) -> Head {
        let seq = head.seq + 1;
        let mut text = format!("{{\"seq\":{seq}");
        // Writing into a `String` does not fail.
        if batch != seq {
            let _done = write!(text, ",\"batch\":{batch}");
        }
        let _done = write!(text, "{},\"prev_hash\":\"{}\"", self.0, head.hash);
        let hash = Hash::of(&[text.as_bytes(), b"}"]);
        let _done = writeln!(text, "{BEFORE_HASH}{hash}{AFTER_HASH}");
        lines.extend_from_slice(text.as_bytes());
        Head { seq, hash }
    }
}

/// Reads a line, given without its end, and checks it by itself.
pub(super) fn check(line: &[u8]) -> Result<Links, Flaw> {
    /// The members that make the chain; whatever else there is is not looked at.
    #[derive(Deserialize)]
    struct Chained {
        seq: u64,
        batch: Option<u64>,
        prev_hash: String,
        hash: String,
    }
    let no_record = |why: String| Flaw::NoRecord(why);
    let tail = BEFORE_HASH.len() + 64 + AFTER_HASH.len();
    let (content, end) = line.split_at(line.len().saturating_sub(tail));
    let chained: Chained =
        serde_json::from_slice(line).map_err(|error| no_record(error.to_string()))?;
    if end != [BEFORE_HASH, &chained.hash, AFTER_HASH].concat().as_bytes() {
        return Err(no_record("it does not end with its hash".to_owned()));
    }
    let parse = |hash: &str| hash.parse::<Hash>().map_err(no_record);
    let (prev, hash) = (parse(&chained.prev_hash)?, parse(&chained.hash)?);
    let Chained { seq, batch, .. } = chained;
    let real = Hash::of(&[content, b"}"]);
    let links = Links { seq, batch: batch.unwrap_or(seq), prev, hash, real };
    if real == hash { Ok(links) } else { Err(Flaw::Changed(links)) }
}

/// Appends a comma and a member.
fn member(text: &mut String, name: &str, value: &Value) {
    let (name, value) = (Value::from(name).to_string(), value.to_string());
    text.push(',');
    for part in [&*name, ":", &*value] {
        for c in part.chars() {
            if breaks_lines(c) {
                // Only in strings does JSON have such a character, and all of them are in
                // the first plane, so that one escape is enough.
                let _done = write!(text, "\\u{:04x}", u32::from(c));
            } else {
                text.push(c);
            }
        }
    }
}

/// Whether a character ends a line, moves the cursor or turns the direction of a text.
fn breaks_lines(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The form of the records, as the first one of each file says it.
const FORMAT: u32 = 1;
const BEFORE_HASH: &str = ",\"hash\":\"";
const AFTER_HASH: &str = "\"}";
/// Bytes of a line beside its draft: two numbers, two hashes, their names and marks.
const FRAME: usize = 240;
/// Members that the facts cannot bring along, because they are ours or were taken before.
const OURS: [&str; 9] = [
    "seq",
    "batch",
    "kind",
    "recorded_at",
    "operator",
    "reason",
    "config_hash",
    "prev_hash",
    "hash",
];

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{Draft, Flaw, MOST_LINE, check};
    use crate::audit::chain::{Hash, Head};
    use crate::audit::error::WriteError;
    use crate::vocab::ids::{Credential, Operator};
    use crate::vocab::notice::Entry;
    use crate::vocab::record::RollbackRecord;
    use crate::vocab::time::Timestamp;

    fn entry(body: Value) -> Entry {
        let Value::Object(body) = body else { panic!("{body} is no object") };
        Entry {
            kind: "order.set_weight",
            at: Timestamp(1_795_554_358_123),
            operator: Some(Operator { id: "alice".into(), method: Credential::Token }),
            reason: Some("slow".into()),
            config_hash: "c0ffee".into(),
            body,
        }
    }

    fn line(entry: &Entry, head: Head, batch: u64) -> String {
        let mut lines = Vec::new();
        Draft::new(entry).unwrap().seal(head, batch, &mut lines);
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn a_record_is_written_as_promised() {
        let entry = entry(json!({"route": "iris", "weight": 10.5}));
        let golden = concat!(
            r#"{"seq":1,"kind":"order.set_weight","timestamp":"2026-11-24T21:05:58.123Z","#,
            r#""operator":{"id":"alice","method":"token"},"reason":"slow","#,
            r#""config_hash":"c0ffee","route":"iris","weight":10.5,"#,
            r#""prev_hash":"0000000000000000000000000000000000000000000000000000000000000000""#,
        );
        let hash = Hash::of(&[golden.as_bytes(), b"}"]);
        let line = line(&entry, Head::NONE, 1);
        assert_eq!(line, format!("{golden},\"hash\":\"{hash}\"}}\n"));
        let links = check(line.trim_end().as_bytes()).unwrap();
        assert_eq!((links.seq, links.batch, links.prev), (1, 1, Hash::NONE));
        assert_eq!((links.hash, links.real), (hash, hash));
    }

    #[test]
    fn the_facts_bring_their_own_moment_and_nothing_else_of_ours() {
        let record = json!(RollbackRecord::example("rb-1"));
        let mut entry = entry(record);
        for (name, value) in [("seq", json!(7)), ("hash", json!("x")), ("kind", json!(1))]
        {
            entry.body.insert(name.into(), value);
        }
        entry.body.insert("reason".into(), "theirs".into());
        let head = Head { seq: 4, hash: Hash::of(&[b"x"]) };
        let read = |entry: &Entry| -> Map<String, Value> {
            let line = line(entry, head, 3);
            assert_eq!(line.matches("\"reason\":").count(), 1, "{line}");
            assert!(check(line.trim_end().as_bytes()).is_ok(), "{line}");
            serde_json::from_str(&line).unwrap()
        };
        let said = read(&entry);
        assert_eq!((&said["seq"], &said["batch"]), (&json!(5), &json!(3)));
        assert_eq!(said["kind"], "order.set_weight");
        assert_eq!(said["timestamp"], "1970-01-01T00:00:00.000Z");
        assert_eq!(said["recorded_at"], "2026-11-24T21:05:58.123Z");
        assert_eq!(said["reason"], "slow");
        assert_eq!(said["rollback_id"], "rb-1");
        // The whole record of the requirement can be read back from beside ours.
        let record: RollbackRecord = serde_json::from_value(said.into()).unwrap();
        assert_eq!(
            (record.rollback_id.as_str(), record.reason.as_str()),
            ("rb-1", "slow")
        );
        (entry.reason, entry.operator, entry.config_hash) = (None, None, String::new());
        let said = read(&entry);
        assert_eq!(
            (&said["reason"], &said["operator"]),
            (&json!("theirs"), &Value::Null)
        );
    }

    #[test]
    fn whatever_is_in_it_a_record_is_one_line() {
        let evil = "x\n{\"actor\":\"root\"}\r\u{1b}[2J\u{0}\u{7f}\u{9b}\u{2028}\u{202e}ü\u{1F600}";
        let mut entry = entry(json!({evil: {"deep": [evil]}}));
        entry.reason = Some(evil.into());
        let line = line(&entry, Head::NONE, 1);
        let mut ends = line.char_indices().filter(|(_, c)| super::breaks_lines(*c));
        assert_eq!(ends.next(), Some((line.len() - 1, '\n')));
        let said: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&said["reason"], &said[evil]["deep"][0]),
            (&json!(evil), &json!(evil))
        );
        assert!(check(line.trim_end().as_bytes()).is_ok());
    }

    #[test]
    fn what_is_too_long_is_refused_and_what_is_not_fits() {
        let with = |bytes: usize| Draft::new(&entry(json!({"x": "y".repeat(bytes)})));
        assert_eq!(with(MOST_LINE).unwrap_err(), WriteError::TooLong);
        let longest = (0..2_000).find_map(|less| with(MOST_LINE - less).ok()).unwrap();
        let mut lines = Vec::new();
        let head = Head { seq: u64::MAX - 2, hash: Hash::NONE };
        longest.seal(head, u64::MAX - 2, &mut lines);
        assert!(
            lines.len() <= MOST_LINE && lines.len() > MOST_LINE - 50,
            "{}",
            lines.len()
        );
    }

    #[test]
    fn a_flaw_is_found() {
        let line = line(&entry(json!({"route": "iris"})), Head::NONE, 1);
        let line = line.trim_end();
        assert!(check(line.as_bytes()).is_ok());
        for at in 0..line.len() {
            let mut bytes = line.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(check(&bytes).is_err(), "{at}: {}", String::from_utf8_lossy(&bytes));
        }
        let swapped = line.replace("slow", "fast");
        assert!(
            matches!(check(swapped.as_bytes()), Err(Flaw::Changed(links)) if links.seq == 1)
        );
        let twice = line.replace("{\"seq\":1", "{\"seq\":2,\"seq\":1");
        let spaced = line.replace(",\"hash\":", ", \"hash\":");
        for none in ["", "{}", "[]", "\0\0\0", &line[1..], &twice, &spaced] {
            let flaw = check(none.as_bytes());
            assert!(matches!(flaw, Err(Flaw::NoRecord(_))), "{none} {flaw:?}");
        }
    }
}
