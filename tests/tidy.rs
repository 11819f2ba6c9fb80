//! The plan of the house as tests: who may import whom, what the pure rooms may not know,
//! which crate lives in which room, and the shape of a file. Apart from the other tests
//! because it reads the sources and runs nothing, so it is over in a moment.
#![expect(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// What each room may import beside itself, foundation first: a row names only rows above
/// it, so that no circle can be written down.
const ROOMS: &[(&str, &str)] = &[
    ("vocab", ""),
    ("route", "vocab"),
    ("judge", "vocab"),
    ("rollout", "vocab route judge"),
    ("clock", "vocab"),
    ("tasks", "vocab"),
    ("telemetry", "vocab"),
    ("store", "vocab"),
    ("tls", "vocab telemetry"),
    ("audit", "vocab clock tasks telemetry"),
    ("effects", "vocab clock tasks telemetry tls"),
    ("incident", "vocab"),
    ("trace", "vocab clock tasks telemetry"),
    ("wire", "vocab clock tls"),
    ("dialect", "vocab"),
    ("dns", "vocab clock tasks telemetry"),
    ("measure", "vocab judge clock telemetry trace wire"),
    ("upstream", "vocab clock tasks telemetry tls wire"),
    ("cache", "vocab clock telemetry wire"),
    (
        "proxy",
        "vocab route clock tasks telemetry tls wire dialect measure upstream cache",
    ),
    (
        "control",
        "vocab route judge rollout clock tasks telemetry store audit effects incident trace \
         dns measure upstream",
    ),
    (
        "admin",
        "vocab route judge rollout clock tasks telemetry tls audit effects incident measure \
         upstream control",
    ),
    ("replay", "vocab route judge measure trace control"),
    (
        "config",
        "vocab route judge rollout telemetry store tls audit effects incident trace wire \
         dialect dns measure upstream cache proxy control admin",
    ),
    (
        "app",
        "vocab route judge rollout clock tasks telemetry store tls audit effects incident \
         trace wire dialect measure upstream cache proxy control admin config",
    ),
    (
        "demo",
        "vocab route judge rollout clock tasks telemetry store wire measure upstream \
         cache proxy control admin config app",
    ),
    ("cli", "vocab clock telemetry tls audit trace control replay admin config app demo"),
];

/// `app` owns the type of the whole configuration, which `config` makes and `app` takes
/// back at a reload: the one import that goes up, and only for that type.
const UPWARD: &[(&str, &str)] = &[("config", "crate::app::Settings")];

/// Rooms that decide and never act.
const PURE: &[&str] = &["vocab", "route", "judge", "rollout"];

/// What a pure room may not say outside its doc comments. The metrics crate is fenced
/// instead: the word is also the configuration's.
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "tower",
    "tracing",
    "rand",
    "async",
    "await",
    "Instant",
    "SystemTime",
    "Mutex",
    "RwLock",
    "dashmap",
];

/// Crates and the rooms that may name them.
const FENCES: &[(&str, &str)] = &[
    ("hdrhistogram", "judge"),
    ("arc_swap", "route"),
    ("dashmap", "upstream cache measure"),
    ("quick_cache", "upstream cache measure"),
    ("metrics", "telemetry"),
    ("metrics_exporter_prometheus", "telemetry"),
    ("clap", "cli"),
    ("serde_saphyr", "config"),
    ("anyhow", "app cli demo"),
    ("httparse", "wire"),
    ("h2", "wire"),
    ("flate2", "trace dialect"),
    ("redb", "store effects"),
    ("rustls", "tls"),
    ("tokio_rustls", "tls"),
    ("webpki_roots", "tls"),
    ("aws_lc_rs", "audit effects tls wire proxy"),
];

const CODE_LINES_MAX: usize = 400;
const FRONT_DOOR_CODE_LINES_MAX: usize = 20;

/// One source file, taken apart.
struct Source {
    /// Path from the repository's root.
    path: String,
    /// The room it is in; `None` for `lib.rs`, `main.rs`, tests and benches.
    room: Option<String>,
    /// The text with comments and the insides of literals blanked, tests included.
    code: String,
    /// `code` up to the tests at the bottom.
    product: String,
    /// Comments that are not documentation.
    remarks: String,
    /// Everything.
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let (code, remarks) = take_apart(text);
        let inside = path.strip_prefix("src/");
        let room = inside.map(|rest| match rest.split_once('/') {
            Some((room, _)) => room,
            None => rest.trim_end_matches(".rs"),
        });
        let only_tests =
            path.split('/').any(|part| part == "tests" || part == "tests.rs");
        let cut = if inside.is_some() && only_tests { 0 } else { tests_begin(&code) };
        Self {
            path: path.to_owned(),
            room: room.filter(|room| !["lib", "main"].contains(room)).map(str::to_owned),
            product: code[..cut].to_owned(),
            code,
            remarks,
            text: text.to_owned(),
        }
    }

    fn is_front_door(&self) -> bool {
        self.path.ends_with("/mod.rs")
    }

    /// How many `super::` in a row stay inside the room, in product code.
    fn depth(&self) -> usize {
        let below_src = self.path.matches('/').count() - 1;
        below_src - usize::from(self.is_front_door())
    }
}

/// Where the test module at the bottom begins.
fn tests_begin(code: &str) -> usize {
    let marks = code.match_indices("#[cfg(test)]\n");
    let mut inline = marks.filter(|(at, mark)| {
        let next = code[at + mark.len()..].lines().next().unwrap_or_default();
        next.contains("mod ") && next.trim_end().ends_with('{')
    });
    inline.next().map_or(code.len(), |(at, _)| at)
}

/// The code without comments and insides of literals, and the plain comments.
fn take_apart(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let (mut code, mut remarks) = (String::new(), String::new());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let token = if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            if !rest.starts_with("///") && !rest.starts_with("//!") {
                remarks.push_str(&rest[..end]);
                remarks.push('\n');
            }
            end
        } else if rest.starts_with("/*") {
            let end = rest.find("*/").map_or(rest.len(), |end| end + 2);
            remarks.push_str(&rest[..end]);
            end
        } else {
            literal(rest, &code)
        };
        if token > 0 {
            // Lines stay, so that they can be counted.
            code.push('"');
            code.extend(rest[..token].chars().filter(|c| *c == '\n'));
            at += token;
        } else {
            let next = rest.chars().next().unwrap();
            code.push(next);
            at += next.len_utf8();
        }
    }
    (code, remarks)
}

/// The length of the string or character literal that `rest` begins with, else 0.
fn literal(rest: &str, before: &str) -> usize {
    let hashes =
        rest.strip_prefix('r').map_or(0, |r| r.len() - r.trim_start_matches('#').len());
    let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
        && !before.ends_with("b");
    if !in_word && rest.starts_with('r') && rest[1 + hashes..].starts_with('"') {
        let open = hashes + 2;
        let close = format!("\"{}", "#".repeat(hashes));
        return rest[open..]
            .find(&close)
            .map_or(rest.len(), |end| open + end + close.len());
    }
    let quote = if rest.starts_with('"') { '"' } else { '\'' };
    if !rest.starts_with(quote) {
        return 0;
    }
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            // Two characters without a closing quote: a lifetime.
            _ if quote == '\'' && at > 1 && !rest.starts_with("'\\") => return 0,
            _ => {}
        }
    }
    0
}

/// Every place of a whole word.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        !code[..*at].ends_with(part) && !code[at + word.len()..].starts_with(part)
    })
}

fn has_word(code: &str, word: &str) -> bool {
    words(code, word).next().is_some()
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

type Faults = Vec<String>;

fn imports(source: &Source) -> Faults {
    let mut faults = Vec::new();
    if !source.path.starts_with("src/") {
        return faults;
    }
    for at in words(&source.code, "crate") {
        let Some(rest) = source.code[at + 5..].strip_prefix("::") else { continue };
        let line = line_of(&source.code, at);
        if rest.starts_with('{') {
            faults.push(format!("line {line}: one `use crate::room::…` per line"));
        }
        let Some(room) = &source.room else { continue };
        let to: String =
            rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let row = ROOMS.iter().find(|(name, _)| name == room);
        // A room's own tests may spawn, and spawning is done in one place.
        let in_tests = at >= source.product.len();
        let allowed = row.is_some_and(|(_, row)| has_word(row, &to))
            || (in_tests && to == "tasks")
            || UPWARD
                .iter()
                .any(|(from, what)| from == room && source.code[at..].starts_with(what));
        if to != *room && !to.is_empty() && !allowed {
            faults.push(format!("line {line}: room {room} may not import {to}"));
        }
    }
    faults
}

fn known_room(source: &Source) -> Faults {
    let room = source.room.as_deref().unwrap_or("vocab");
    let known = ROOMS.iter().any(|(name, _)| *name == room);
    if known { vec![] } else { vec![format!("room {room} is not in the plan")] }
}

fn upwards(source: &Source) -> Faults {
    if !source.path.starts_with("src/") {
        return vec![];
    }
    let chain = |levels: usize| "super::".repeat(levels);
    let product = source.product.contains(&chain(source.depth() + 1));
    let tests = source.code.contains(&chain(source.depth() + 2));
    let mut faults = Vec::new();
    if source.is_front_door() && source.product.contains("super::") {
        faults.push("`super::` in a front door".to_owned());
    } else if source.room.is_some() && (product || tests) {
        faults.push("`super::` leaves the room".to_owned());
    }
    faults
}

fn purity(source: &Source) -> Faults {
    let pure = source.room.as_deref().is_some_and(|room| PURE.contains(&room));
    let said =
        |word: &&&str| has_word(&source.product, word) || has_word(&source.remarks, word);
    let words = IMPURE.iter().filter(|_| pure).filter(said);
    words.map(|word| format!("a pure room says `{word}`")).collect()
}

fn fences(source: &Source) -> Faults {
    let Some(room) = &source.room else { return vec![] };
    let named = |name: &str| {
        words(&source.code, name).any(|at| {
            let after = &source.code[at + name.len()..];
            let path = after.starts_with("::") || after.starts_with("!(");
            let before = source.code[..at].trim_end();
            let inner = before.ends_with("::") || before.ends_with('.');
            !inner && (path || before.ends_with("use"))
        })
    };
    let outside = FENCES.iter().filter(|(_, rooms)| !has_word(rooms, room));
    outside
        .filter(|(name, _)| named(name))
        .map(|(name, rooms)| format!("crate {name} belongs to: {rooms}"))
        .collect()
}

fn one_writer(source: &Source) -> Faults {
    if source.path == "src/control/execute.rs" || !source.product.contains(".publish(") {
        return vec![];
    }
    vec!["only control/execute.rs publishes a table".to_owned()]
}

fn shape(source: &Source) -> Faults {
    let mut faults = Vec::new();
    if !source.text.starts_with("//!") {
        faults.push("does not begin with `//!`".to_owned());
    }
    let is_code = |line: &&str| !line.trim_matches(['"', ' ', '\t']).is_empty();
    let lines = source.product.lines().filter(is_code).count();
    if lines > CODE_LINES_MAX && !source.path.starts_with("tests/") {
        faults.push(format!("{lines} lines of code, more than {CODE_LINES_MAX}"));
    }
    if source.is_front_door() && source.path.starts_with("src/") {
        let docs = source.text.lines().filter(|line| line.starts_with("//!")).count();
        if docs < 3 {
            faults.push("a front door says in at least 3 lines what is behind it".into());
        }
        let code = statements(&source.product);
        if code > FRONT_DOOR_CODE_LINES_MAX {
            faults
                .push(format!("a front door with {code} lines of code behind its docs"));
        }
    }
    faults
}

/// Lines of code that are not `mod`, `use` or an attribute.
fn statements(code: &str) -> usize {
    let mut count = 0;
    let mut inside_use = false;
    for line in code.lines().map(str::trim) {
        let opens = ["mod ", "pub mod ", "use ", "pub use ", "pub(crate) use ", "#"];
        let plain = opens.iter().any(|open| line.starts_with(open));
        if !plain && !inside_use && !line.trim_matches('"').is_empty() {
            count += 1;
        }
        inside_use = (plain || inside_use) && !line.ends_with([';', ']']);
    }
    count
}

fn leftovers(source: &Source) -> Faults {
    let mut faults = Vec::new();
    for mark in ["TODO", "FIXME", "XXX"] {
        if has_word(&source.text.replace('"', " "), mark)
            && source.path != "tests/tidy.rs"
        {
            faults.push(format!("a {mark} is an issue, not a comment"));
        }
    }
    for mark in ["dbg!", "todo!", "#[ignore", "#[should_panic"] {
        if source.code.contains(mark) {
            faults.push(format!("`{mark}` is left over"));
        }
    }
    faults
}

fn patience(source: &Source) -> Faults {
    let tests = match source.path.starts_with("src/") {
        true => &source.code[source.product.len()..],
        false => &source.code,
    };
    if source.path.starts_with("benches/") {
        return vec![];
    }
    let naps = ["sleep", "sleep_until", "sleep_ms"];
    if source.path.ends_with("support/wait.rs")
        || !naps.iter().any(|w| has_word(tests, w))
    {
        return vec![];
    }
    vec!["a test waits for a condition (`support/wait.rs`), not for a time".to_owned()]
}

type Rule = fn(&Source) -> Faults;

const RULES: &[(&str, Rule)] = &[
    ("known_room", known_room),
    ("imports", imports),
    ("upwards", upwards),
    ("purity", purity),
    ("fences", fences),
    ("one_writer", one_writer),
    ("shape", shape),
    ("leftovers", leftovers),
    ("patience", patience),
];

fn faults_of(source: &Source) -> Faults {
    let all = RULES.iter().flat_map(|(_, rule)| rule(source));
    all.map(|fault| format!("{}: {fault}", source.path)).collect()
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for dir in ["src", "tests", "benches"] {
        collect(&root.join(dir), &mut files);
    }
    files.sort();
    let read = |file: &PathBuf| {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap();
        Source::new(path, &fs::read_to_string(file).unwrap())
    };
    files.iter().map(read).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn the_house_keeps_to_its_plan() {
    let sources = sources();
    assert!(sources.len() > 30, "only {} sources found", sources.len());
    let faults: Faults = sources.iter().flat_map(faults_of).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_plan_has_no_circle() {
    for (at, (room, row)) in ROOMS.iter().enumerate() {
        for import in row.split_whitespace() {
            let above = ROOMS[..at].iter().any(|(name, _)| *name == import);
            assert!(above, "{room} imports {import}, which is not above it");
        }
    }
}

/// A file that breaks a rule: where it is, what it says, and which rule must see it.
const PLANTED: &[(&str, &str, &str)] = &[
    ("src/judge/a.rs", "use crate::control::Settings;", "imports"),
    ("src/proxy/a.rs", "fn f() { crate::judge::judge() }", "imports"),
    ("src/proxy/a.rs", "use crate::{\n    vocab,\n    control,\n};", "imports"),
    ("src/cellar/a.rs", "", "known_room"),
    ("src/route/a.rs", "use super::super::vocab;", "upwards"),
    ("src/route/mod.rs", "use super::vocab;", "upwards"),
    ("src/clock.rs", "use super::vocab;", "upwards"),
    ("src/judge/a.rs", "fn f(at: std::time::Instant) {}", "purity"),
    ("src/judge/a.rs", "// Here tokio would do.", "purity"),
    ("src/proxy/a.rs", "use dashmap::DashMap;", "fences"),
    ("src/proxy/a.rs", "fn f() { metrics::counter!(\"a\") }", "fences"),
    ("src/control/driver.rs", "fn f() { live.publish(next) }", "one_writer"),
    ("src/cache/mod.rs", "fn f() {}", "shape"),
    ("src/cache/a.rs", "// TODO later", "leftovers"),
    ("src/cache/a.rs", "fn f() { dbg!(1); }", "leftovers"),
    ("tests/it/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}", "leftovers"),
    ("tests/it/a.rs", "fn f() { std::thread::sleep(LONG) }", "patience"),
    (
        "src/cache/a.rs",
        "#[cfg(test)]\nmod tests {\n    async fn f() { tokio::time::sleep(T).await }\n}",
        "patience",
    ),
];

#[test]
fn every_planted_fault_is_found() {
    for (path, text, name) in PLANTED {
        let source = Source::new(path, &format!("//! Planted.\n{text}\n"));
        let (_, rule) = RULES.iter().find(|(rule, _)| rule == name).unwrap();
        assert!(!rule(&source).is_empty(), "{name} does not see {path}: {text}");
    }
    let long =
        format!("//! Planted.\n{}", "const A: u8 = 1;\n".repeat(CODE_LINES_MAX + 1));
    assert!(!shape(&Source::new("src/cache/a.rs", &long)).is_empty());
    assert!(!shape(&Source::new("src/cache/a.rs", "fn f() {}")).is_empty());
}

/// What looks like a fault and is none.
const INNOCENT: &[(&str, &str)] = &[
    ("src/judge/a.rs", "/// Why no `Instant` and no tokio here.\npub fn f() {}"),
    ("src/judge/a.rs", "pub const A: &str = \"tokio // await\"; // A plain remark."),
    ("src/judge/a.rs", "use hdrhistogram::Histogram;\nuse crate::vocab::Percent;"),
    (
        "src/judge/a.rs",
        "fn f<'a>(c: char, s: &'a str) -> bool { c == '\"' || s == \"'\" }",
    ),
    ("src/proxy/a.rs", "use super::b;\n#[cfg(test)]\nmod tests {\n    use super::*;\n}"),
    (
        "src/proxy/a.rs",
        "fn f() { self.metrics.len() }\nconst R: &str = r#\"crate::judge\"#;",
    ),
    ("src/config/a.rs", "use crate::app::Settings;"),
    ("src/route/a.rs", "#[cfg(test)]\nmod tests {\n    fn f() { live.publish(t) }\n}"),
];

#[test]
fn the_innocent_are_let_through() {
    for (path, text) in INNOCENT {
        let faults = faults_of(&Source::new(path, &format!("//! Innocent.\n{text}\n")));
        assert!(faults.is_empty(), "{faults:?} in {text}");
    }
}
