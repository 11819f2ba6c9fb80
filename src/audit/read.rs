//! Reading: the records that somebody asks for, out of a log that may be written meanwhile.
//!
//! Apart from the check, because a reader wants to see what is there, sound or not.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::disk::{Folder, Source};
use super::error::AuditError;
use super::lines::{Lines, file_name, files};
use crate::clock;
use crate::vocab::time::Timestamp;

/// Which records are wanted; the default is all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of these kinds; `rollback.` stands for all that begin so.
    pub kinds: Vec<String>,
    /// Only those from that moment on.
    pub since: Option<Since>,
    /// Only those with this in a member whose name ends with `_id`, or with this number.
    pub id: Option<String>,
}

/// A moment from which on records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// That moment.
    At(Timestamp),
    /// So long ago.
    Ago(Duration),
}

/// A record as the line that it is, and as what that says; `None` where it is no JSON.
pub type Shown = (String, Option<Value>);

/// The last records that a filter lets through, at most `last`, the newest last. Reads the
/// whole log, and holds nothing but those records.
///
/// # Errors
/// [`AuditError::Missing`] when there is no log in the directory, [`AuditError::Read`] when
/// it cannot be read.
pub fn show(dir: &Path, filter: &Filter, last: usize) -> Result<Vec<Shown>, AuditError> {
    let folder = Folder(dir.to_owned());
    let failed = |source| AuditError::Read { path: dir.to_owned(), source };
    let files = files(&folder).map_err(failed)?;
    if files.is_empty() {
        return Err(AuditError::Missing { path: dir.to_owned() });
    }
    let since = filter.since.map(|since| match since {
        Since::At(at) => at,
        Since::Ago(span) => {
            let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            Timestamp(clock::wall().0.saturating_sub(span))
        }
    });
    let mut shown = VecDeque::new();
    for (number, _) in files {
        let read = each_line(&folder, (number, u64::MAX), |line| {
            let said: Option<Value> = serde_json::from_slice(line).ok();
            if filter.lets(said.as_ref(), since) {
                push(&mut shown, last, (text(line), said));
            }
        });
        read.map_err(failed)?;
    }
    Ok(shown.into())
}

/// The last records of wanted kinds, up to a place in the last file, the newest last.
pub(super) fn recent(
    source: &impl Source,
    (last, end): (u64, u64),
    most: usize,
    wanted: impl Fn(&str) -> bool,
) -> io::Result<Vec<Value>> {
    /// All that is looked at of most records.
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    let mut recent: VecDeque<Value> = VecDeque::new();
    let mut read = 0;
    for (number, length) in files(source)?.into_iter().rev() {
        let left = most - recent.len();
        if number > last {
            continue;
        }
        if left == 0 || read > MOST_READ {
            break;
        }
        let until = if number == last { end.min(length) } else { length };
        read += until;
        let mut lines = VecDeque::new();
        each_line(source, (number, until), |line| {
            let kind = serde_json::from_slice::<Kind>(line);
            if kind.is_ok_and(|record| wanted(&record.kind)) {
                push(&mut lines, left, line.to_vec());
            }
        })?;
        let said =
            lines.iter().rev().filter_map(|line| serde_json::from_slice(line).ok());
        for record in said {
            recent.push_front(record);
        }
    }
    Ok(recent.into())
}

impl Filter {
    fn lets(&self, said: Option<&Value>, since: Option<Timestamp>) -> bool {
        let Some(Value::Object(record)) = said else {
            // What cannot be read may be anything: only who wants all gets to see it.
            return self.kinds.is_empty() && since.is_none() && self.id.is_none();
        };
        let text = |name: &str| record.get(name).and_then(Value::as_str);
        let kind = text("kind").unwrap_or_default();
        let of_kind = |wanted: &String| {
            kind == wanted || (wanted.ends_with('.') && kind.starts_with(wanted.as_str()))
        };
        let at = text("recorded_at").or_else(|| text("timestamp"));
        let at: Option<Timestamp> = at.and_then(|at| at.parse().ok());
        let has = |id: &String| {
            let seq = record.get("seq").and_then(Value::as_u64);
            seq.is_some_and(|seq| *id == seq.to_string())
                || record.iter().any(|(name, value)| {
                    name.ends_with("_id") && value.as_str() == Some(id)
                })
        };
        (self.kinds.is_empty() || self.kinds.iter().any(of_kind))
            && since.is_none_or(|since| at.is_some_and(|at| at >= since))
            && self.id.as_ref().is_none_or(has)
    }
}

/// Every whole line of a file up to a place in it.
fn each_line(
    source: &impl Source,
    (number, until): (u64, u64),
    mut with: impl FnMut(&[u8]),
) -> io::Result<()> {
    let name = file_name(number);
    let mut lines = Lines::new(source, &name, until);
    while let Some(line) = lines.next()? {
        if line.ended {
            with(line.text);
        }
    }
    Ok(())
}

fn push<T>(last: &mut VecDeque<T>, most: usize, one: T) {
    last.push_back(one);
    if last.len() > most {
        last.pop_front();
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

/// Bytes of the log that a start looks through; a file may go beyond it.
const MOST_READ: u64 = 128 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::{Filter, Since, recent, show};
    use crate::audit::chain::Head;
    use crate::audit::disk::{Folder, RealDisk};
    use crate::audit::error::AuditError;
    use crate::audit::lines::files;
    use crate::audit::log::Log;
    use crate::audit::record::Draft;
    use crate::audit::simulated::Scratch;
    use crate::vocab::time::Timestamp;

    /// A log of twenty records in several files.
    fn written() -> (Scratch, (u64, u64)) {
        let scratch = Scratch::new();
        let disk = RealDisk::open(scratch.path()).unwrap();
        let mut log = Log::at(disk, 1_500, (0, 0), Head::NONE);
        for number in 0..20_u64 {
            let kind = match number % 3 {
                0 => "rollback.started",
                1 => "rollback.completed",
                _ => "order.freeze",
            };
            let facts = json!({"rollback_id": format!("rb-{number}"), "number": number});
            let draft = Draft::ours(kind, Timestamp(number), facts);
            log.commit(&[&draft], Timestamp(0)).unwrap();
        }
        let place = log.place();
        (scratch, place)
    }

    #[test]
    fn the_filter_lets_through_what_is_wanted_and_the_last_of_it() {
        let (scratch, (files, _)) = written();
        assert!(files > 2);
        let numbers = |filter: Filter, last| -> Vec<u64> {
            let shown = show(scratch.path(), &filter, last).unwrap();
            let number = |said: &serde_json::Value| said["number"].as_u64();
            shown.iter().filter_map(|(_, said)| number(said.as_ref()?)).collect()
        };
        let kinds = |kinds: &[&str]| Filter {
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            ..Filter::default()
        };
        assert_eq!(numbers(Filter::default(), 100), (0..20).collect::<Vec<u64>>());
        assert_eq!(numbers(kinds(&["order.freeze"]), 3), [11, 14, 17]);
        assert_eq!(numbers(kinds(&["rollback.", "x"]), 4), [15, 16, 18, 19]);
        assert!(numbers(kinds(&["rollback"]), 4).is_empty());
        let id = |id: &str| Filter { id: Some(id.to_owned()), ..Filter::default() };
        assert_eq!(numbers(id("rb-7"), 100), [7]);
        assert_eq!(numbers(id("2"), 100), [0]);
        let since = |since| Filter { since: Some(since), ..Filter::default() };
        assert_eq!(numbers(since(Since::At(Timestamp(18))), 100), [18, 19]);
        let age = crate::clock::wall().since(Timestamp(0));
        assert_eq!(numbers(since(Since::Ago(age * 2)), 100).len(), 20);
        assert!(numbers(since(Since::Ago(age / 2)), 100).is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_shown_to_who_wants_all() {
        let (scratch, (last, _)) = written();
        let path = scratch.path().join(super::file_name(last));
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"\xff\x00\nhalf a lin");
        fs::write(&path, text).unwrap();
        let shown = show(scratch.path(), &Filter::default(), 1).unwrap();
        assert_eq!(shown, [("\u{fffd}\u{0}".to_owned(), None)]);
        let filter = Filter { id: Some("rb-1".to_owned()), ..Filter::default() };
        assert_eq!(show(scratch.path(), &filter, 9).unwrap().len(), 1);
        let empty = Scratch::new();
        let refused = show(empty.path(), &Filter::default(), 1).unwrap_err();
        assert!(matches!(refused, AuditError::Missing { .. }), "{refused}");
    }

    #[test]
    fn a_start_sees_the_last_of_a_kind_over_files_up_to_its_place() {
        let (scratch, place) = written();
        let folder = Folder(scratch.path().to_owned());
        assert_eq!(files(&folder).unwrap().last().map(|last| last.0), Some(place.0));
        let numbers = |place, most| -> Vec<u64> {
            let wanted = |kind: &str| kind.starts_with("rollback.");
            let records = recent(&folder, place, most, wanted).unwrap();
            records.iter().map(|record| record["number"].as_u64().unwrap()).collect()
        };
        let all = [0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19];
        assert_eq!(numbers(place, 100), all);
        assert_eq!(numbers(place, 6), [12, 13, 15, 16, 18, 19]);
        assert!(numbers(place, 0).is_empty());
        let earlier = numbers((place.0 - 1, u64::MAX), 100);
        assert!(earlier.len() < 14 && earlier.starts_with(&[0, 1, 3]), "{earlier:?}");
        assert_eq!(numbers((place.0, place.1 - 1), 100).len(), 13);
    }
}
