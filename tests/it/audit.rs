//! `switchback audit` over logs that the library wrote: a sound one holds, every kind of
//! tampering is named, and anybody can compute the hashes with the tools of any system.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Map, Value, json};
use switchback::audit::{self, Auditor, Settings, Urgency};
use switchback::vocab::Timestamp;
use switchback::vocab::ids::{Credential, Operator};
use switchback::vocab::notice::Entry;

use crate::support::street::{Dir, run};

/// A log in several files, whose writer is still there.
struct Log {
    dir: Dir,
    auditor: Auditor,
    runtime: tokio::runtime::Runtime,
}

/// What a command said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Log {
    /// Thirty records in half a dozen files: some came alone, some together.
    fn new() -> Self {
        let dir = Dir::new();
        let settings = Settings { max_file: 3_000, ..Settings::below(dir.path()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.unwrap();
        let (unstarted, opened) = audit::open(&settings).unwrap();
        assert_eq!((opened.head.seq, opened.torn.len()), (1, 0));
        let auditor = runtime.block_on(async {
            let auditor = unstarted.start(|_| ());
            for round in 0..10 {
                let together: Vec<_> = (0..3)
                    .map(|at| auditor.write(&entry(3 * round + at), Urgency::Ordinary))
                    .collect();
                for written in together {
                    written.await.unwrap();
                }
            }
            auditor
        });
        Self { dir, auditor, runtime }
    }

    fn place(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    fn file(&self, number: usize) -> PathBuf {
        self.place().join(format!("audit-{number:010}.jsonl"))
    }

    fn lines(&self, number: usize) -> Vec<String> {
        let text = fs::read_to_string(self.file(number)).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    fn files(&self) -> usize {
        (1..).take_while(|number| self.file(*number).exists()).count()
    }

    fn verify(&self, args: &[&str]) -> Said {
        said(
            &[&["audit", "verify", "--dir", self.place().to_str().unwrap()], args]
                .concat(),
        )
    }

    fn show(&self, args: &[&str]) -> Said {
        said(
            &[&["audit", "show", "--dir", self.place().to_str().unwrap()], args].concat(),
        )
    }

    /// The records that are shown as JSON.
    fn shown(&self, args: &[&str]) -> Vec<Value> {
        let said = self.show(&[args, &["--output", "json"]].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn entry(number: u64) -> Entry {
    let kinds = ["rollback.started", "rollback.completed", "order.set_weight"];
    let operator = Operator { id: "alice".to_owned(), method: Credential::Token };
    let body = json!({
        "rollback_id": format!("rb-{number}"),
        "timestamp": Timestamp(number * 1_000),
        "route": "iris",
    });
    Entry {
        kind: kinds[number as usize % 3],
        at: Timestamp(number * 1_000 + 500),
        operator: number.is_multiple_of(2).then_some(operator),
        reason: Some(format!("reason {number}\n{{\"actor\":\"root\"}}\u{1b}[2J")),
        config_hash: "c0ffee".to_owned(),
        body: body.as_object().cloned().unwrap_or_else(Map::new),
    }
}

fn said(args: &[&str]) -> Said {
    let Output { status, stdout, stderr } = run(args);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

#[test]
fn a_sound_log_is_verified_while_it_is_written() {
    let log = Log::new();
    let head = log.auditor.head();
    let all = 30 + log.files();
    let whole = log.verify(&["--head", &head.hash.to_string()]);
    assert_eq!((whole.code, whole.err.as_str()), (0, ""), "{}", whole.out);
    let verdict = format!(
        "the chain holds: {all} records in {} files, the last is {} with hash {}\n",
        log.files(),
        head.seq,
        head.hash
    );
    let expected = format!("the expected hash is that of record {}\n", head.seq);
    assert_eq!(whole.out, verdict.clone() + &expected);
    // The stateDir stands for the log in it, and so does the configuration that names it.
    let config = log.dir.write(
        "switchback.yaml",
        &format!(
            "stateDir: {:?}\nlisteners: [{{ address: \"127.0.0.1:0\" }}]\nroutes:\n  - name: iris\n    \
             versions: [{{ name: v1, role: stable, endpoints: [\"http://127.0.0.1:9\"] }}]\n",
            log.dir.path()
        ),
    );
    let (dir, config) = (log.dir.path().to_str().unwrap(), config.to_str().unwrap());
    for place in [["--dir", dir], ["--config", config]] {
        let said = said(&[&["audit", "verify"], &place[..]].concat());
        assert_eq!((said.code, said.out), (0, verdict.clone()), "{}", said.err);
    }
    let report = log.verify(&["--output", "json"]);
    let report: Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!((&report["holds"], &report["records"]), (&json!(true), &json!(all)));
    assert_eq!(report["head"], json!({"seq": head.seq, "hash": head.hash}));
    // It goes on meanwhile.
    let next = log.auditor.write(&entry(30), Urgency::Rollback);
    let next = log.runtime.block_on(next).unwrap();
    let later = log.verify(&["--head", &head.hash.to_string()]);
    assert!(
        later.code == 0 && later.out.contains(&next.hash.to_string()),
        "{}",
        later.out
    );
    assert_eq!(log.runtime.block_on(log.auditor.close(Duration::from_secs(20))), 0);
}

#[test]
fn anybody_can_compute_the_hash_of_a_record() {
    let log = Log::new();
    let mut before = "0".repeat(64);
    for number in 1..=log.files() {
        for line in 1..=log.lines(number).len() {
            let script = format!(
                "sed -n {line}p {:?} | sed 's/,\"hash\":\"[0-9a-f]*\"}}$/}}/' | tr -d '\\n' | sha256sum",
                log.file(number)
            );
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            let sum = String::from_utf8(output.stdout).unwrap();
            let record: Value =
                serde_json::from_str(&log.lines(number)[line - 1]).unwrap();
            let hash = record["hash"].as_str().unwrap();
            assert_eq!(sum.split(' ').next(), Some(hash), "{script}");
            assert_eq!(record["prev_hash"], before.as_str());
            before = hash.to_owned();
        }
    }
    assert_eq!(before, log.auditor.head().hash.to_string());
}

type Tamper = fn(&mut Vec<String>);

/// What is done to the lines of a file, and which line is named for what.
const TAMPERED: &[(&str, Tamper, u64, &str)] = &[
    (
        "a byte is changed",
        |lines| lines[2] = lines[2].replacen("iris", "irix", 1),
        3,
        "changed",
    ),
    ("a line is dropped", |lines| drop(lines.remove(2)), 3, "missing"),
    ("two lines are swapped", |lines| lines.swap(2, 3), 4, "moved"),
    ("a line is there twice", |lines| lines.insert(3, lines[2].clone()), 4, "doubled"),
    (
        "a line is put in",
        |lines| lines.insert(2, "{\"seq\":9}\n".to_owned()),
        3,
        "changed",
    ),
    (
        "half of a line is gone",
        |lines| {
            let half = lines[2].len() / 2;
            lines[2] = lines[2].split_off(half);
        },
        3,
        "changed",
    ),
];

#[test]
fn every_tampering_in_the_middle_of_the_log_is_named() {
    let log = Log::new();
    let middle = log.files() / 2;
    let sound = log.lines(middle);
    let seq = serde_json::from_str::<Value>(&sound[2]).unwrap()["seq"].clone();
    for (name, tamper, line, fault) in TAMPERED {
        let mut lines = sound.clone();
        tamper(&mut lines);
        assert_ne!(lines, sound, "{name}");
        fs::write(log.file(middle), lines.concat()).unwrap();
        let report = log.verify(&["--output", "json"]);
        assert_eq!((report.code, report.err.as_str()), (2, ""), "{name}");
        let report: Value = serde_json::from_str(&report.out).unwrap();
        let problems = report["problems"].as_array().unwrap();
        let file = log.file(middle).file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(problems.len(), 1, "{name}: {report:#}");
        assert_eq!(problems[0]["file"], file.as_str(), "{name}");
        assert_eq!(problems[0]["line"], *line, "{name}: {report:#}");
        assert_eq!(problems[0]["fault"], *fault, "{name}: {report:#}");
        let known = &problems[0]["seq"];
        assert!(known.is_null() || *known == seq, "{name}: {report:#}");
        let table = log.verify(&[]);
        assert_eq!(table.code, 2);
        assert!(table.out.contains(&file) && table.out.contains(fault), "{}", table.out);
        assert!(
            table.out.contains("the chain does not hold, 1 problem: "),
            "{}",
            table.out
        );
    }
    fs::remove_file(log.file(middle)).unwrap();
    let gone = log.verify(&[]);
    assert!(
        gone.code == 2 && gone.out.contains("are missing before this one"),
        "{}",
        gone.out
    );
}

#[test]
fn a_cut_end_is_named_to_who_knows_the_head() {
    let log = Log::new();
    let (last, head) = (log.files(), log.auditor.head().hash.to_string());
    let mut lines = log.lines(last);
    lines.pop();
    fs::write(log.file(last), lines.concat()).unwrap();
    assert_eq!(log.verify(&[]).code, 0);
    let cut = log.verify(&["--head", &head]);
    assert!(cut.code == 2 && cut.out.contains("the end is cut off"), "{}", cut.out);
    // A write under way is none.
    fs::write(log.file(last), lines.concat() + "{\"seq\":").unwrap();
    let unfinished = log.verify(&[]);
    assert_eq!(unfinished.code, 0);
    assert!(unfinished.out.contains("in the middle of a line"), "{}", unfinished.out);
}

#[test]
fn what_cannot_be_read_is_an_error_and_not_a_verdict() {
    let dir = Dir::new();
    let path = dir.path().to_str().unwrap();
    let nowhere = dir.path().join("nowhere");
    for (args, says) in [
        (vec!["verify", "--dir", path], "there is no audit log in"),
        (vec!["show", "--dir", path], "there is no audit log in"),
        (vec!["verify", "--dir", nowhere.to_str().unwrap()], "cannot read the audit log"),
        (vec!["verify"], "--dir"),
        (vec!["verify", "--dir", path, "--config", path], "cannot be used with"),
        (vec!["verify", "--dir", path, "--head", "c0ffee"], "64 digits"),
        (vec!["show", "--dir", path, "--since", "yesterday"], "no time such as"),
        (vec!["show", "--dir", path, "--last", "0"], "0 is not in"),
        (vec!["verify", "--config", path], path),
    ] {
        let said = said(&[&["audit"], &args[..]].concat());
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{args:?}");
        assert!(said.err.contains(says), "{args:?}: {}", said.err);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn records_are_shown_by_kind_time_and_id() {
    let log = Log::new();
    let ids = |args: &[&str]| -> Vec<String> {
        let shown = log.shown(args);
        let ids = shown.iter().filter_map(|record| record["rollback_id"].as_str());
        ids.map(str::to_owned).collect()
    };
    assert_eq!(ids(&[]).len(), 30);
    assert_eq!(ids(&["--kind", "order.set_weight", "--last", "2"]), ["rb-26", "rb-29"]);
    assert_eq!(ids(&["--kind", "rollback.", "--last", "3"]), ["rb-25", "rb-27", "rb-28"]);
    assert_eq!(ids(&["--id", "rb-7"]), ["rb-7"]);
    assert_eq!(ids(&["--since", "1970-01-01T00:00:28Z"]), ["rb-28", "rb-29"]);
    assert!(ids(&["--since", "1h", "--kind", "rollback."]).is_empty());
    let files = log.shown(&["--kind", "audit.file"]);
    assert_eq!(files.len(), log.files());
    assert_eq!(files[1]["continues"]["file"], "audit-0000000001.jsonl");
    // JSON is the lines as they are, so that a hash can be computed from them.
    let one = log.show(&["--id", "rb-7", "--output", "json"]);
    let all: String = (1..=log.files()).flat_map(|number| log.lines(number)).collect();
    assert!(all.contains(&one.out), "{}", one.out);
    let table = log.show(&["--id", "rb-8"]);
    assert_eq!(table.out.lines().count(), 2, "{}", table.out);
    let row = table.out.lines().nth(1).unwrap();
    for cell in
        ["1970-01-01T00:00:08.500Z", "order.set_weight", "alice", "rb-8", "reason 8\\n"]
    {
        assert!(row.contains(cell), "{cell} not in {row}");
    }
    assert!(!table.out.contains('\u{1b}'));
    assert_eq!(log.show(&["--id", "rb-99"]).out, "no such records\n");
}
