//! The recorder held against its promises: order, bounds, and what it says when it fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Batch, Entry, Names, Recorder, Shares};
use crate::trace::file::RecordSettings;
use crate::trace::line::{Line, Streamed};
use crate::trace::reader::Reader;
use crate::vocab::ids::{Name, Slot};
use crate::vocab::outcome::Class;
use crate::vocab::time::Timestamp;

struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("switchback-recorder-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn settings(&self) -> RecordSettings {
        RecordSettings { path: self.0.join("trace"), max_size: 1 << 20 }
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.0.join("trace")).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn slot(number: usize) -> Slot {
    Slot::new(number).unwrap()
}

fn names() -> Arc<Names> {
    let mut names = Names::default();
    let servers = ["http://10.0.0.1:9", "unix:/run/\"model\".sock"].map(str::to_owned);
    names.insert(slot(0), (&name("iris"), &name("v1")), &servers);
    names.insert(slot(3), (&name("iris"), &name("v2")), &servers);
    Arc::new(names)
}

fn entry(at: u64, number: usize) -> Entry {
    Entry {
        at: Timestamp(at),
        slot: slot(number),
        endpoint: None,
        class: Class::Success,
        status: Some(200),
        latency_us: 5,
        first_byte_us: None,
        streamed: None,
        shadow: false,
        judged: true,
    }
}

fn batch(entries: Vec<Entry>, until: u64) -> Batch {
    Batch { entries, lost: 0, until: Timestamp(until), names: names() }
}

fn shares(at: u64, canary: f64) -> Shares {
    let versions = vec![(name("v1"), 100.0 - canary), (name("v2"), canary)];
    let routes = BTreeMap::from([(name("iris"), versions)]);
    Shares { at: Timestamp(at), routes }
}

#[tokio::test]
async fn lines_are_in_order_of_time_whoever_noted_them() {
    let dir = Dir::new();
    let recorder = Recorder::start(&dir.settings());
    recorder.shares(shares(5, 10.0)).unwrap();
    recorder.batch(batch(vec![entry(20, 0), entry(10, 3), entry(31, 0)], 30));
    recorder.shares(shares(32, 10.0)).unwrap();
    recorder.shares(shares(40, 0.0)).unwrap();
    recorder.batch(batch(vec![entry(45, 3), entry(30, 3), entry(39, 0)], 60));
    recorder.batch(batch(vec![entry(70, 3)], 65));
    recorder.close().await;

    let mut reader = Reader::open(&dir.settings().path).unwrap();
    let mut seen = Vec::new();
    while let Some(line) = reader.read() {
        seen.push(match line.unwrap().1 {
            Line::Event(event) => (event.at.0, event.version.into_owned()),
            Line::Weights(weights) => (weights.at.0, weights.shares[1].1.to_string()),
        });
    }
    let told: Vec<_> = seen.iter().map(|(at, what)| (*at, what.as_str())).collect();
    assert_eq!(
        told,
        [
            (5, "10"),
            (10, "v2"),
            (20, "v1"),
            (30, "v2"),
            (31, "v1"),
            (39, "v1"),
            (40, "0"),
            (45, "v2"),
            (70, "v2"),
        ]
    );
}

#[tokio::test]
async fn a_line_says_what_happened_and_reads_back() {
    let dir = Dir::new();
    let recorder = Recorder::start(&dir.settings());
    let timeout = Entry {
        endpoint: Some(1),
        class: Class::TimeoutFirstByte,
        status: None,
        latency_us: 120_000_000,
        shadow: true,
        ..entry(1, 0)
    };
    let reset = Entry { class: Class::UpstreamReset, status: None, ..entry(2, 3) };
    let cut = Entry {
        class: Class::Truncated,
        endpoint: Some(7),
        first_byte_us: Some(3),
        streamed: Some(Streamed { first_us: 4, tokens: 2, each_us: Some(1) }),
        judged: false,
        ..entry(3, 3)
    };
    let refused = Entry { class: Class::ConnectError, status: None, ..entry(4, 3) };
    recorder.batch(batch(vec![timeout, reset, cut, refused, entry(5, 9)], 9));
    let state = Arc::clone(&recorder.state);
    recorder.close().await;
    let state = state.lock().unwrap().clone();
    assert_eq!((state.written, state.lost), (4, 1), "nobody knows slot 9");
    assert_eq!(
        dir.lines(),
        [
            r#"{"t_ms":1,"version":"v1","route":"iris","status":598,"latency_us":120000000,"endpoint":"unix:/run/\"model\".sock","shadow":true}"#,
            r#"{"t_ms":2,"version":"v2","route":"iris","latency_us":5,"class":"upstream_reset"}"#,
            r#"{"t_ms":3,"version":"v2","route":"iris","status":200,"latency_us":5,"ttfb_us":3,"ttft_us":4,"tokens":2,"tpot_us":1,"class":"truncated","judged":false}"#,
            r#"{"t_ms":4,"version":"v2","route":"iris","status":0,"latency_us":5}"#,
        ]
    );
    let mut reader = Reader::open(&dir.settings().path).unwrap();
    let Some(Ok((1, Line::Event(event)))) = reader.read() else { panic!() };
    assert_eq!((event.class, event.streamed), (Class::TimeoutFirstByte, None));
    assert_eq!(event.endpoint.as_deref(), Some("unix:/run/\"model\".sock"));
    assert!(event.shadow);
}

#[tokio::test]
async fn every_file_begins_with_the_shares_in_force() {
    let dir = Dir::new();
    let recorder = Recorder::start(&dir.settings());
    recorder.shares(shares(1, 10.0)).unwrap();
    for round in 0..4_u64 {
        let entries = (0..4_000).map(|n| entry(2 + round * 4_000 + n, 0)).collect();
        recorder.batch(batch(entries, 2 + round * 4_000 + 4_000));
    }
    recorder.close().await;
    let older = fs::read_to_string(dir.0.join("trace.1")).unwrap();
    for file in [&older, &dir.lines().join("\n")] {
        let head = file.lines().next().unwrap();
        assert!(head.ends_with("\"weights\":{\"v1\":90,\"v2\":10}}"), "{head}");
    }
    let lines = dir.lines();
    let time = |line: &str| match Line::parse(line.as_bytes()).unwrap() {
        Line::Event(event) => event.at,
        Line::Weights(weights) => weights.at,
    };
    assert!(time(older.lines().last().unwrap()) <= time(&lines[1]));
}

#[tokio::test]
async fn a_disk_that_fails_loses_lines_and_nothing_else() {
    let dir = Dir::new();
    fs::create_dir(dir.0.join("trace")).unwrap();
    let recorder = Recorder::start(&dir.settings());
    recorder.shares(shares(1, 10.0)).unwrap();
    recorder.batch(batch(vec![entry(2, 0)], 3));
    let begun = crate::clock::now();
    while recorder.state().failing.is_none() {
        assert!(begun.elapsed().as_secs() < 20);
        tokio::task::yield_now().await;
    }
    assert_eq!(recorder.state().lost, 1);
    fs::remove_dir(dir.0.join("trace")).unwrap();
    recorder.batch(batch(vec![entry(4, 0)], 5));
    let state = Arc::clone(&recorder.state);
    recorder.close().await;
    let state = state.lock().unwrap().clone();
    assert_eq!((state.written, state.lost, state.failing), (1, 1, None));
    let lines = dir.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("\"weights\""), "the shares are said again");
}

#[tokio::test]
async fn what_waits_is_bounded_by_requests_too() {
    let dir = Dir::new();
    let recorder = Recorder::start(&dir.settings());
    let many = usize::try_from(super::WAITING * 2 / 3).unwrap();
    for _ in 0..2 {
        recorder.batch(batch(vec![entry(1, 0); many], 2));
    }
    recorder.batch(batch(vec![entry(1, 0)], 2));
    let state = Arc::clone(&recorder.state);
    recorder.close().await;
    let state = state.lock().unwrap().clone();
    assert_eq!((state.written, state.lost), (many as u64 + 1, many as u64));
}

#[tokio::test]
async fn a_queue_that_is_full_counts_what_it_refuses() {
    let dir = Dir::new();
    let recorder = Recorder::start(&dir.settings());
    // Nothing is taken before this task waits for the first time.
    for _ in 0..super::QUEUE + 3 {
        recorder.batch(Batch { lost: 4, ..batch(vec![entry(1, 0)], 2) });
    }
    assert_eq!(recorder.state().lost, 3 * 5);
    assert!(recorder.shares(shares(1, 10.0)).is_err());
    recorder.close().await;
    assert_eq!(dir.lines().len(), super::QUEUE);
}
