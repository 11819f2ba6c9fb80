//! What an opening makes of logs that were torn, and of those that were tampered with.
//! Apart for length.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Found, MOST_ASIDE, find};
use crate::audit::chain::Head;
use crate::audit::disk::RealDisk;
use crate::audit::keeper::Keeper;
use crate::audit::lines::file_name;
use crate::audit::log::{Log, MOST_BATCH};
use crate::audit::record::Draft;
use crate::audit::simulated::Scratch;
use crate::audit::verify::{Fault, Report, verify};
use crate::vocab::time::Timestamp;

/// A log on a real disk.
struct Place(Scratch);

impl Place {
    /// With some records in three files.
    fn new() -> Self {
        let scratch = Scratch::new();
        let disk = RealDisk::open(scratch.path()).unwrap();
        let mut log = Log::at(disk, 1_600, (0, 0), Head::NONE);
        for number in 0..11 {
            let draft = Draft::ours("test", Timestamp(0), json!({"number": number}));
            log.commit(&[&draft], Timestamp(0)).unwrap();
        }
        assert_eq!(log.place().0, 3);
        Self(scratch)
    }

    fn file(&self, number: u64) -> PathBuf {
        self.0.path().join(file_name(number))
    }

    fn append(&self, number: u64, bytes: &[u8]) {
        let mut file = OpenOptions::new().append(true).open(self.file(number)).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// Opens it as a start does, and writes one record.
    fn open(&self) -> (Found, Head) {
        let disk = RealDisk::open(self.0.path()).unwrap();
        let (log, found) = find(disk, 1 << 20, Timestamp(0)).unwrap();
        let head = log.head();
        let mut keeper = Keeper::new(log, self.0.path().to_owned(), 64, &found);
        keeper.act(Vec::new());
        assert!(!keeper.is_troubled());
        (found, head)
    }

    fn verify(&self) -> Report {
        verify(self.0.path(), None).unwrap()
    }

    fn last(&self) -> Value {
        let shown =
            crate::audit::show(self.0.path(), &crate::audit::Filter::default(), 1);
        shown.unwrap().pop().unwrap().1.unwrap()
    }
}

#[test]
fn a_torn_end_is_cut_off_kept_aside_and_told() {
    for tail in [&b"{\"seq\":13,\"ki"[..], b"\0\0\0", b"\n", b"{}\n\0\0\n{"] {
        let place = Place::new();
        let (before, length) =
            (place.verify(), fs::metadata(place.file(3)).unwrap().len());
        place.append(3, tail);
        let (found, head) = place.open();
        assert_eq!((head, found.damage.len(), found.torn.len()), (before.head, 0, 1));
        let torn = &found.torn[0];
        assert_eq!((torn.file.as_str(), torn.offset), (&*file_name(3), length));
        let kept = torn.kept.as_ref().unwrap();
        assert_eq!(fs::read(place.0.path().join(kept)).unwrap(), tail);
        let said = place.last();
        assert_eq!(
            (&said["kind"], &said["kept_as"]),
            (&json!("audit.repaired"), &json!(kept))
        );
        assert_eq!(
            (&said["offset"], &said["bytes"]),
            (&json!(length), &json!(tail.len()))
        );
        let after = place.verify();
        assert!(after.holds() && after.head.seq == before.head.seq + 1, "{after:?}");
        let (found, head) = place.open();
        assert_eq!((found.torn.len(), head), (0, after.head), "once is enough");
    }
}

#[test]
fn a_file_of_which_nothing_is_left_makes_way_for_the_one_before() {
    for content in [&b""[..], b"\0\0\0\0", b"{\"seq\":9"] {
        let place = Place::new();
        let before = place.verify();
        fs::write(place.file(4), content).unwrap();
        let (found, head) = place.open();
        assert_eq!((head, found.damage.len()), (before.head, 0));
        assert_eq!(found.torn.len(), usize::from(!content.is_empty()));
        assert!(place.verify().holds() && !place.file(4).exists());
    }
}

#[test]
fn torn_ends_are_kept_aside_within_bounds() {
    let place = Place::new();
    for number in 0..MOST_ASIDE + 2 {
        place.append(3, b"half");
        let (found, _) = place.open();
        let kept = &found.torn[0].kept;
        assert_eq!(kept.is_ok(), number < MOST_ASIDE, "{kept:?}");
    }
    let said = place.last();
    assert!(said["not_kept"].as_str().unwrap().contains("move them away"), "{said}");
    assert!(place.verify().holds());
}

#[test]
fn what_no_power_loss_does_is_left_as_it_is_and_told() {
    type Tamper = fn(&Place);
    let change = |place: &Place, number: u64, line: usize| {
        let text = fs::read_to_string(place.file(number)).unwrap();
        let mut lines: Vec<String> =
            text.split_inclusive('\n').map(str::to_owned).collect();
        lines[line] = lines[line].replace("\"number\":", "\"nomber\":");
        fs::write(place.file(number), lines.concat()).unwrap();
    };
    let cases: &[(&str, Tamper, &str)] = &[
        (
            "longer than a write",
            |place| place.append(3, &vec![b'x'; MOST_BATCH + 1]),
            "in the middle of a record",
        ),
        (
            "the file before is cut",
            |place| {
                let length = fs::metadata(place.file(2)).unwrap().len();
                let file = OpenOptions::new().write(true).open(place.file(2)).unwrap();
                file.set_len(length - 10).unwrap();
            },
            "does not end with a record",
        ),
        (
            "the file before is gone",
            |place| fs::remove_file(place.file(2)).unwrap(),
            "does not continue",
        ),
        (
            "both files before are gone",
            |place| {
                fs::remove_file(place.file(1)).unwrap();
                fs::remove_file(place.file(2)).unwrap();
            },
            "does not begin the chain",
        ),
    ];
    for (name, tamper, says) in cases {
        let place = Place::new();
        tamper(&place);
        let found = told(&place, name);
        assert!(found.damage.iter().any(|what| what.contains(says)), "{name}: {found:?}");
    }
    let place = Place::new();
    let lines = fs::read_to_string(place.file(3)).unwrap().lines().count();
    assert!(lines >= 3);
    change(&place, 3, 1);
    let found = told(&place, "changed");
    assert!(found.damage[0].contains("was changed"), "{found:?}");
    let report = place.verify();
    let [problem] = &report.problems[..] else { panic!("{report:?}") };
    assert_eq!((problem.fault, problem.line), (Fault::Changed, 2));
    assert_eq!(report.files, 4, "the chain goes on in a new file");
}

/// Opens a damaged log: nothing of it is touched, the damage is said, and it goes on.
fn told(place: &Place, name: &str) -> Found {
    let read = || (1..=3).map(|number| fs::read(place.file(number)).ok());
    let before: Vec<Option<Vec<u8>>> = read().collect();
    let (found, _) = place.open();
    assert!(!found.damage.is_empty() && found.torn.is_empty(), "{name}: {found:?}");
    let after: Vec<Option<Vec<u8>>> = read().collect();
    for (before, after) in before.iter().zip(&after) {
        let kept = match (before, after) {
            (Some(before), Some(after)) => after.starts_with(before),
            (None, None) => true,
            _ => false,
        };
        assert!(kept, "{name}: a file was changed");
    }
    let said = place.last();
    assert_eq!(said["kind"], "audit.damaged", "{name}");
    assert_eq!(said["what"], json!(found.damage), "{name}");
    assert!(!place.verify().holds(), "{name}");
    found
}
