//! Short files for the tests of this room, and what reading them says. Apart because both
//! the right files and the wrong ones are written with it.

use std::path::Path;

use crate::app::Settings;
use crate::config::load::{Loaded, parse_in};

pub(super) const STABLE: &str = "{ name: a, role: stable, endpoints: ['http://h:1'] }";
pub(super) const CANARY: &str =
    "{ name: b, role: canary, weight: 10%, endpoints: ['http://h:2'] }";
pub(super) const LISTENERS: &str = "listeners: [{ address: '127.0.0.1:8080' }]\n";

pub(super) fn environment(name: &str) -> Option<String> {
    match name {
        "WEIGHT" => Some("25%".to_owned()),
        "SECRET" => Some("hunter2".to_owned()),
        "EMPTY" => Some(String::new()),
        "PORT" => Some("8181".to_owned()),
        "TWO" => Some("2".to_owned()),
        _ => None,
    }
}

pub(super) fn read(text: &str) -> Result<Loaded, Vec<String>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    parse_in(text, "f.yaml", dir, &environment).map_err(|errors| errors.lines().collect())
}

pub(super) fn problems(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(lines) => lines,
    }
}

/// A file whose one route has these further lines.
pub(super) fn with_route(lines: &str) -> String {
    format!(
        "{LISTENERS}routes:\n  - name: r\n    versions: [{STABLE}, {CANARY}]\n    {lines}\n"
    )
}

/// A file whose canary has these further keys.
pub(super) fn with_canary(keys: &str) -> String {
    let canary = CANARY.trim_end_matches(" }");
    format!(
        "{LISTENERS}routes: [{{ name: r, versions: [{STABLE}, {canary}, {keys} }}] }}]\n"
    )
}

/// A file with these further lines at the top.
pub(super) fn with_top(lines: &str) -> String {
    format!("{LISTENERS}routes: [{{ name: r, versions: [{STABLE}] }}]\n{lines}\n")
}

pub(super) fn settings(text: &str) -> Settings {
    read(text).unwrap_or_else(|lines| panic!("{}", lines.join("\n"))).settings
}

/// The one message about a file, without the name of the file.
#[track_caller]
pub(super) fn says(text: &str, message: &str) {
    let said = problems(text);
    let [one] = &said[..] else { panic!("{text}\n{said:#?}") };
    let (_, rest) = one.split_once(": ").unwrap();
    assert_eq!(rest, message, "{text}");
}
