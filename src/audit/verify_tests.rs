//! Every way of tampering with a log in several files, and what it is called. Apart for
//! length.

use std::io;

use serde_json::json;

use super::{Fault, Report, verify_in};
use crate::audit::chain::{Hash, Head};
use crate::audit::disk::Source;
use crate::audit::lines::file_name;
use crate::audit::log::Log;
use crate::audit::record::{Draft, check};
use crate::audit::simulated::SimulatedDisk;
use crate::vocab::time::Timestamp;

/// The lines of each file, without their ends.
#[derive(Clone)]
struct Files(Vec<Vec<String>>);

impl Source for Files {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let numbers = 1..=self.0.len() as u64;
        Ok(numbers.map(|number| (file_name(number), 1)).collect())
    }

    fn read(&self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let at = usize::try_from(at).unwrap();
        let mut names = 1..=self.0.len() as u64;
        let place = names.position(|number| file_name(number) == name).unwrap();
        let text = self.0[place].concat();
        let rest = &text.as_bytes()[at.min(text.len())..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl Files {
    /// Twelve records and the first ones of three files, some synced together.
    fn new() -> Self {
        let disk = SimulatedDisk::new(0);
        let mut log = Log::at(disk.clone(), 2_000, (0, 0), Head::NONE);
        for number in 0..6 {
            let draft = |number: i32| {
                Draft::ours(
                    "test",
                    Timestamp(0),
                    json!({"number": number, "reason": "why"}),
                )
            };
            let (one, two) = (draft(2 * number), draft(2 * number + 1));
            log.commit(&[&one, &two], Timestamp(0)).unwrap();
        }
        let text = |number| disk.with(|it| it.now.text(&file_name(number)));
        let files: Vec<Vec<String>> = (1..)
            .map_while(text)
            .map(|text| String::from_utf8(text).unwrap())
            .map(|text| text.split_inclusive('\n').map(str::to_owned).collect())
            .collect();
        assert_eq!(files.iter().map(Vec::len).collect::<Vec<usize>>(), [5, 5, 5]);
        Self(files)
    }

    fn check(&self, expected: Option<Hash>) -> Report {
        verify_in(self, expected).unwrap().unwrap()
    }

    /// What is wrong: the fault, file and line from 1, and the record.
    fn faults(&self) -> Vec<(Fault, usize, u64, Option<u64>)> {
        let report = self.check(None);
        assert_eq!(report.holds(), report.problems.is_empty());
        let file = |name: &str| {
            let mut numbers = 1..=self.0.len() as u64;
            numbers.position(|number| file_name(number) == name).unwrap() + 1
        };
        let problems = report.problems.iter();
        problems.map(|it| (it.fault, file(&it.file), it.line, it.seq)).collect()
    }

    fn put(&mut self, file: usize, line: usize, text: String) {
        self.0[file].insert(line, text);
    }

    fn head(&self) -> Hash {
        self.check(None).head.hash
    }

    /// A sound record that says something else in the place of a line.
    fn forged(&self, file: usize, line: usize) -> String {
        let links = check(self.0[file][line].trim_end().as_bytes()).unwrap();
        let mut lines = Vec::new();
        let head = Head { seq: links.seq - 1, hash: links.prev };
        let draft = Draft::ours("test", Timestamp(0), json!({"forged": true}));
        draft.seal(head, links.batch, &mut lines);
        String::from_utf8(lines).unwrap()
    }
}

#[test]
fn an_untouched_log_holds() {
    let files = Files::new();
    let report = files.check(None);
    assert_eq!((files.faults(), report.files, report.records), (vec![], 3, 15));
    assert_eq!((report.head.seq, report.unfinished, report.expected), (15, None, None));
    let middle = check(files.0[1][2].trim_end().as_bytes()).unwrap();
    assert_eq!(files.check(Some(middle.hash)).expected, Some(middle.seq));
    assert_eq!(verify_in(&Files(Vec::new()), None).unwrap(), None);
}

#[test]
fn a_changed_byte_is_named_wherever_it_is() {
    let files = Files::new();
    for line in 0..files.0[1].len() {
        let text = files.0[1][line].trim_end().to_owned();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let mut files = files.clone();
            files.0[1][line] = String::from_utf8(bytes).unwrap() + "\n";
            let seq = 6 + line as u64;
            let place = line as u64 + 1;
            match files.faults()[..] {
                [(Fault::Changed, 2, at, named)] => {
                    assert_eq!(at, place);
                    assert!(
                        named.is_none_or(|named| named == seq),
                        "{named:?} not {seq}"
                    );
                }
                ref other => panic!("{other:?} for byte {at} of line {place}"),
            }
        }
    }
}

/// What a check names: the fault, file and line from 1, and the record.
type Named = &'static [(Fault, usize, u64, Option<u64>)];

type Tamper = fn(&mut Files);

const TAMPERED: &[(&str, Tamper, Named)] = &[
    ("dropped", |it| drop(it.0[1].remove(2)), &[(Fault::Missing, 2, 3, Some(8))]),
    ("two dropped", |it| drop(it.0[1].drain(2..4)), &[(Fault::Missing, 2, 3, Some(8))]),
    (
        "first of a file dropped",
        |it| drop(it.0[1].remove(0)),
        &[(Fault::Missing, 2, 1, Some(6))],
    ),
    (
        "last of a file dropped",
        |it| drop(it.0[1].pop()),
        &[(Fault::Missing, 3, 1, Some(10))],
    ),
    (
        "first of all dropped",
        |it| drop(it.0[0].remove(0)),
        &[(Fault::Missing, 1, 1, Some(1))],
    ),
    ("a file emptied", |it| it.0[1].clear(), &[(Fault::Missing, 3, 1, Some(6))]),
    ("swapped", |it| it.0[1].swap(2, 3), &[(Fault::Moved, 2, 4, Some(8))]),
    (
        "swapped far",
        |it| it.0[1].swap(1, 3),
        &[(Fault::Moved, 2, 3, Some(8)), (Fault::Moved, 2, 4, Some(7))],
    ),
    (
        "moved to another file",
        |it| {
            let line = it.0[1].remove(2);
            it.0[2].push(line);
        },
        &[(Fault::Moved, 3, 6, Some(8))],
    ),
    (
        "doubled at once",
        |it| it.put(1, 3, it.0[1][2].clone()),
        &[(Fault::Doubled, 2, 4, Some(8))],
    ),
    (
        "doubled later",
        |it| it.put(2, 5, it.0[1][2].clone()),
        &[(Fault::Doubled, 3, 6, Some(8))],
    ),
    (
        "forged before",
        |it| it.put(1, 2, it.forged(1, 2)),
        &[(Fault::Inserted, 2, 3, Some(8))],
    ),
    (
        "forged behind",
        |it| it.put(1, 3, it.forged(1, 2)),
        &[(Fault::Inserted, 2, 4, Some(8))],
    ),
    (
        "forged far behind",
        |it| it.put(2, 5, it.forged(1, 2)),
        &[(Fault::Inserted, 3, 6, Some(8))],
    ),
    (
        "forged in place",
        |it| it.0[1][2] = it.forged(1, 2),
        &[(Fault::Changed, 2, 3, Some(8))],
    ),
    (
        "forged at the end",
        |it| it.put(2, 5, it.forged(2, 4)),
        &[(Fault::Inserted, 3, 6, Some(15))],
    ),
    (
        "a stranger",
        |it| it.0[1].insert(2, "hello\n".into()),
        &[(Fault::Changed, 2, 3, None)],
    ),
    ("overwritten", |it| it.0[1][2] = "hello\n".into(), &[(Fault::Changed, 2, 3, None)]),
    (
        "joined",
        |it| {
            let line = it.0[1].remove(3);
            it.0[1][2] = it.0[1][2].trim_end().to_owned() + &line;
        },
        &[(Fault::Changed, 2, 3, None), (Fault::Missing, 2, 4, Some(8))],
    ),
    ("cut in the middle", |it| it.0[1][4].truncate(50), &[(Fault::Changed, 2, 5, None)]),
];

#[test]
fn a_line_that_is_taken_out_put_in_or_moved_is_named() {
    for (name, tamper, faults) in TAMPERED {
        let mut files = Files::new();
        tamper(&mut files);
        assert_eq!(files.faults(), *faults, "{name}: {:#?}", files.check(None));
    }
}

#[test]
fn a_cut_end_is_seen_only_by_who_knows_the_head() {
    let whole = Files::new();
    let head = whole.head();
    let mut cut = whole.clone();
    cut.0[2].truncate(3);
    assert!(cut.check(None).holds());
    let report = cut.check(Some(head));
    let [problem] = &report.problems[..] else { panic!("{report:?}") };
    assert_eq!((problem.fault, problem.line, problem.seq), (Fault::Cut, 3, None));
    assert!(problem.what.contains(&head.to_string()), "{problem:?}");
    assert!(whole.check(Some(cut.head())).holds(), "an older head is in a longer log");
    // Everything from some record on, forged and chained anew.
    cut.0[2][2] = cut.forged(2, 2);
    assert!(cut.check(None).holds() && !cut.check(Some(head)).holds());
}

#[test]
fn a_write_under_way_is_no_fault() {
    for tail in ["{\"seq\":16,\"kind\":", "\0\0\0\0", "{"] {
        let mut files = Files::new();
        let offset = files.0[2].concat().len() as u64;
        files.0[2].push(tail.to_owned());
        let report = files.check(Some(files.head()));
        assert!(report.holds() && report.records == 15, "{report:?}");
        let unfinished = report.unfinished.unwrap();
        assert_eq!((unfinished.offset, unfinished.bytes), (offset, tail.len() as u64));
    }
}

#[test]
fn of_many_problems_the_first_are_named_and_the_rest_counted() {
    let mut files = Files::new();
    files.0[1] = vec!["x\n".to_owned(); 1_500];
    let report = files.check(None);
    assert_eq!((report.problems.len(), report.more), (1_000, 500));
    assert!(!report.holds());
}
