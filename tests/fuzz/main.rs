//! The fuzz targets without a fuzzer: each replays its corpus and then the corpus changed at
//! random, the same changes on every machine. Apart from `it`, because nothing runs here but
//! parsers. `tests/fuzz/run` looks further, with coverage to guide it.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test reports by panicking and is told how long to go on"
)]

pub mod bodies;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bodies::{TARGETS, Target};

/// Changed inputs that the cheapest target gets; `SWITCHBACK_TEST_MUTATIONS` sets another
/// number.
const MUTATIONS: usize = 1_000;

fn mutations() -> usize {
    let set = std::env::var("SWITCHBACK_TEST_MUTATIONS").ok();
    set.map_or(MUTATIONS, |set| set.parse().unwrap())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder().join("corpus").join(name)).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Splitmix64: the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap();
        usize::try_from(self.roll() % bound).unwrap()
    }
}

/// Bytes that mean something to some parser.
const TELLING: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\x01",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b";",
    b"=",
    b"@",
    b" ",
    b"\t",
    b"%2e",
    b"/",
    b"..",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xc0\x0c",
    b"data: ",
    b"event: ",
    b"error",
    b"null",
    b"[DONE]",
    b"\"model\"",
    b"\\ud83d",
    b"0",
    b"-1",
    b"18446744073709551616",
    b"chunked",
    b"0\r\n\r\n",
    b"${A}",
    b"- ",
    b"\x80\x80",
    b"1e999",
];

/// One of the inputs with a few changes.
fn changed(inputs: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = inputs[dice.below(inputs.len())].clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let until = at + dice.below((bytes.len() - at).min(40) + 1);
        match dice.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..until)),
            2 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            3 => {
                let telling = TELLING[dice.below(TELLING.len())];
                bytes.splice(at..at, telling.iter().copied());
            }
            4 => {
                let copy = bytes[at..until].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let other = &inputs[dice.below(inputs.len())];
                let from = dice.below(other.len() + 1);
                bytes.splice(until.., other[from..].iter().copied());
            }
            _ => {
                let any = u8::try_from(dice.below(256)).unwrap();
                bytes.splice(at..until, [any]);
            }
        }
    }
    bytes
}

/// What of a target's work fails, with the input.
fn failure(target: Target) -> Option<String> {
    let inputs = corpus(target.name);
    assert!(inputs.len() >= 3, "{} has too small a corpus", target.name);
    let try_one = |input: &[u8]| {
        let done = catch_unwind(AssertUnwindSafe(|| (target.body)(input)));
        done.err().map(|_| format!("{}: b\"{}\"", target.name, input.escape_ascii()))
    };
    let mut dice = Dice(u64::from(target.name.as_bytes()[0]));
    let mut fresh = (0..mutations() / target.cost).map(|_| changed(&inputs, &mut dice));
    let before = inputs.iter().find_map(|input| try_one(input));
    before.or_else(|| fresh.find_map(|input| try_one(&input)))
}

/// Every parser holds on its corpus and on changes of it.
fn holds(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    assert_eq!(failure(*target), None);
}

macro_rules! targets {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            holds(stringify!($name));
        })*
    };
}

targets! { audit config cookie dialects dns frames grpc http1 kept models sse trace }

/// A target that is written and not run finds nothing.
#[test]
fn every_target_has_a_corpus_and_a_binary() {
    let names = |dir: &str| -> BTreeSet<String> {
        let files = fs::read_dir(folder().join(dir)).unwrap();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        files.map(|file| stem(file.unwrap().path())).collect()
    };
    let all: BTreeSet<String> = TARGETS.iter().map(|it| it.name.to_owned()).collect();
    assert_eq!(names("targets"), all);
    assert_eq!(
        TESTED.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(),
        all
    );
    let corpus = names("corpus");
    assert!(all.is_subset(&corpus), "{corpus:?}");
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    for name in &all {
        assert!(manifest.contains(&format!("targets/{name}.rs")), "{name}");
    }
}
