//! What a key may hold, and the walk that holds a tree against it.
//!
//! Apart from the table itself (`file`) because the same shapes serve three readers: this
//! walk, which reports everything that is wrong with a single value; `reader`, which takes
//! the values out; and `schema`, which prints them. A value that passed here parses there.

use std::collections::HashMap;
use std::time::Duration;

use super::error::Report;
use super::insert::below;
use super::tree::{Entry, Kind, Node, Origin, Scalar};
use super::units;
use super::units::{Parsed, Why};

/// One key of a mapping.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) need: Need,
    /// What it means, in one phrase.
    pub(super) about: &'static str,
}

/// What happens when a key is absent or null.
#[derive(Debug)]
pub(super) enum Need {
    /// That is an error.
    Required,
    /// That means something of its own, or the defaults of the keys below.
    Optional,
    /// This is taken; the entries of a list are parted by commas.
    Default(&'static str),
}

/// What a value may be.
#[derive(Debug)]
pub(super) enum Shape {
    /// A mapping with these keys.
    Map(&'static [Key]),
    /// A mapping whose key `name` says which keys it has.
    Named(&'static [(&'static str, &'static [Key])]),
    /// The same with the key `type`.
    Typed(&'static [(&'static str, &'static [Key])]),
    /// A mapping from header names to values.
    Headers,
    /// A list of at most so many, and at least so many when it is given.
    List { of: &'static Self, least: usize, most: usize },
    /// A text that this check accepts.
    Text(fn(&str) -> Parsed<()>),
    /// One of these words; the others are not built yet.
    Word { built: &'static [&'static str], later: &'static [&'static str] },
    /// `true` or `false`.
    Flag,
    /// A whole number, or this word.
    Count { least: u64, most: u64, word: Option<&'static str> },
    /// A decimal number.
    Number { least: f64, most: f64 },
    /// A duration.
    Span { least: Duration, most: Duration },
    /// A number of bytes.
    Size { least: u64, most: u64 },
    /// A percentage.
    Percent,
    /// Not built yet, with the reason or what to do instead.
    NotBuilt { why: &'static str },
}

/// Holds a value against a shape and reports everything that does not fit.
pub(super) fn check(shape: &Shape, node: &Node, path: &str, report: &Report) {
    match (shape, &node.kind) {
        (Shape::NotBuilt { why }, kind) => {
            if !means_none(kind) {
                report.not_built(node.at, path, *why);
            }
        }
        (_, Kind::Scalar(Scalar { origin: Origin::Broken, .. })) => {}
        (Shape::Map(keys), Kind::Map(entries)) => {
            map(keys, entries, node, path, report);
        }
        (Shape::Named(variants), Kind::Map(entries)) => {
            named(("name", variants), entries, node, path, report);
        }
        (Shape::Typed(variants), Kind::Map(entries)) => {
            named(("type", variants), entries, node, path, report);
        }
        (Shape::Headers, Kind::Map(entries)) => headers(entries, node, path, report),
        (Shape::List { of, least, most }, Kind::List(items)) => {
            if items.len() < *least {
                report.wrong(node.at, path, format!("needs at least {least} of them"));
            }
            if items.len() > *most {
                let has = items.len();
                report.wrong(node.at, path, format!("has {has} of at most {most}"));
            }
            for (place, item) in items.iter().enumerate().take(*most) {
                check(of, item, &format!("{path}[{place}]"), report);
            }
        }
        (
            Shape::Map(_)
            | Shape::Named(_)
            | Shape::Typed(_)
            | Shape::Headers
            | Shape::List { .. },
            kind,
        )
        | (_, kind @ (Kind::Null | Kind::List(_) | Kind::Map(_))) => {
            let (wants, got) = (wants(shape), describe(kind));
            report.wrong(node.at, path, format!("must be {wants}, not {got}"));
        }
        (_, Kind::Scalar(scalar)) => match value(shape, scalar) {
            Ok(()) => {}
            Err(Why::NotBuilt(what)) => report.not_built(node.at, path, what),
            Err(Why::Wrong(why)) => {
                report.wrong(node.at, path, format!("{} {why}", subject(shape, scalar)));
            }
        },
    }
}

/// The keys that a mapping of that shape has.
pub(super) fn keys_of(shape: &Shape, node: Option<&Node>) -> &'static [Key] {
    match (shape, node.map(|node| &node.kind)) {
        (Shape::Map(keys), _) => keys,
        (Shape::Named(variants), Some(Kind::Map(entries))) => {
            variant(("name", variants), entries).unwrap_or_default()
        }
        (Shape::Typed(variants), Some(Kind::Map(entries))) => {
            variant(("type", variants), entries).unwrap_or_default()
        }
        _ => &[],
    }
}

/// How a message names a value that stands in the file; an inserted one is not shown.
pub(super) fn shown(scalar: &Scalar) -> String {
    let short: String = scalar.text.chars().take(80).collect();
    match scalar.origin {
        Origin::Inserted | Origin::Broken => "the inserted value".to_owned(),
        Origin::File if scalar.plain => printable(&short),
        Origin::File => format!("{short:?}"),
    }
}

/// The text with everything escaped that would break or hide a part of a line.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '"' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

fn map(keys: &[Key], entries: &[Entry], node: &Node, path: &str, report: &Report) {
    let mut lines = HashMap::new();
    for entry in entries {
        let path = below(path, &entry.key);
        if let Some(line) = lines.insert(entry.key.as_str(), entry.at.line) {
            let message = format!("is there twice, first in line {line}");
            report.wrong(entry.at, &path, message);
            continue;
        }
        match keys.iter().find(|key| key.name == entry.key) {
            Some(_) if matches!(entry.value.kind, Kind::Null) => {}
            Some(key) => check(&key.shape, &entry.value, &path, report),
            None => report.wrong(entry.at, &path, unknown(&entry.key, keys)),
        }
    }
    for key in keys.iter().filter(|key| matches!(key.need, Need::Required)) {
        let given = entries.iter().find(|entry| entry.key == key.name);
        if given.is_none_or(|entry| matches!(entry.value.kind, Kind::Null)) {
            let message = format!("is missing: {}", key.about);
            report.wrong(node.at, &below(path, key.name), message);
        }
    }
}

/// The key that says which keys there are, and those for each of its words.
type Variants = (&'static str, &'static [(&'static str, &'static [Key])]);

fn named(
    (tag, variants): Variants,
    entries: &[Entry],
    node: &Node,
    path: &str,
    report: &Report,
) {
    if let Some(keys) = variant((tag, variants), entries) {
        return map(keys, entries, node, path, report);
    }
    let names: Vec<&str> = variants.iter().map(|(name, _)| *name).collect();
    let at = below(path, tag);
    match entries.iter().find(|entry| entry.key == tag).map(|entry| &entry.value) {
        Some(Node { kind: Kind::Scalar(scalar), at: mark }) => {
            if scalar.origin != Origin::Broken {
                let message =
                    format!("{} is not one of {}", shown(scalar), names.join(", "));
                report.wrong(*mark, &at, message);
            }
        }
        _ => {
            let message = format!("is missing: one of {}", names.join(", "));
            report.wrong(node.at, &at, message);
        }
    }
}

fn variant((tag, variants): Variants, entries: &[Entry]) -> Option<&'static [Key]> {
    let name = entries.iter().find(|entry| entry.key == tag)?;
    let Kind::Scalar(scalar) = &name.value.kind else { return None };
    variants.iter().find(|(name, _)| *name == scalar.text).map(|(_, keys)| *keys)
}

fn headers(entries: &[Entry], node: &Node, path: &str, report: &Report) {
    if entries.len() > HEADERS {
        let has = entries.len();
        return report.wrong(node.at, path, format!("has {has} of at most {HEADERS}"));
    }
    let mut lines = HashMap::new();
    for entry in entries {
        let path = below(path, &entry.key);
        let name = entry.key.to_ascii_lowercase();
        if let Some(line) = lines.insert(name, entry.at.line) {
            let message = format!("is there twice, first in line {line}");
            report.wrong(entry.at, &path, message);
        }
        if let Err(Why::Wrong(why)) = units::header(&entry.key) {
            report.wrong(entry.at, &path, format!("{:?} {why}", entry.key));
        }
        check(&Shape::Text(units::header_value), &entry.value, &path, report);
    }
}

/// Whether a value of something that is not built asks for nothing.
fn means_none(kind: &Kind) -> bool {
    match kind {
        Kind::Null => true,
        Kind::Scalar(scalar) => {
            scalar.origin != Origin::Inserted
                && matches!(scalar.text.as_str(), "false" | "off" | "none")
        }
        Kind::List(items) => items.is_empty(),
        Kind::Map(_) => false,
    }
}

fn value(shape: &Shape, scalar: &Scalar) -> Parsed<()> {
    let text = scalar.text.as_str();
    match shape {
        Shape::Text(accepts) => accepts(text),
        Shape::Word { built, later } => word(text, built, later),
        Shape::Flag => match text {
            "true" | "false" if is_bare(scalar) => Ok(()),
            _ => Err(Why::Wrong("is neither true nor false".to_owned())),
        },
        Shape::Count { word: Some(word), .. } if text == *word => Ok(()),
        Shape::Count { least, most, word } => {
            if !is_bare(scalar) {
                let why = "is text, not a whole number: leave out the quotes";
                return Err(Why::Wrong(why.to_owned()));
            }
            let number = units::count(text).map_err(|why| match (why, word) {
                (Why::Wrong(why), Some(word)) => Why::Wrong(format!("{why} or {word}")),
                (why, _) => why,
            })?;
            within(number, *least, *most, |number| number.to_string())
        }
        Shape::Number { least, most } => match units::decimal(text) {
            Some(number) if is_bare(scalar) => {
                within(number, *least, *most, |number| number.to_string())
            }
            Some(_) | None => Err(Why::Wrong("is not a number".to_owned())),
        },
        Shape::Span { least, most } => {
            within(units::span(text)?, *least, *most, units::show_span)
        }
        Shape::Size { least, most } => {
            within(units::size(text)?, *least, *most, units::show_size)
        }
        Shape::Percent => units::percent(text).map(|_| ()),
        Shape::Map(_)
        | Shape::Named(_)
        | Shape::Typed(_)
        | Shape::Headers
        | Shape::List { .. }
        | Shape::NotBuilt { .. } => Ok(()),
    }
}

fn word(text: &str, built: &[&str], later: &[&str]) -> Parsed<()> {
    let choice = built.join(", ");
    if built.contains(&text) {
        Ok(())
    } else if later.contains(&text) {
        let instead = if built.len() > 1 { "one of " } else { "" };
        Err(Why::NotBuilt(format!("{text}; write {instead}{choice}")))
    } else if built.len() > 1 {
        Err(Why::Wrong(format!("is not one of {choice}{}", nearest_of(text, built))))
    } else {
        Err(Why::Wrong(format!("is not {choice}")))
    }
}

/// Numbers and booleans stand without quotes, unless they were inserted.
fn is_bare(scalar: &Scalar) -> bool {
    scalar.plain || scalar.origin == Origin::Inserted
}

fn within<T: PartialOrd + Copy>(
    value: T,
    least: T,
    most: T,
    show: impl Fn(T) -> String,
) -> Parsed<()> {
    if value < least {
        return Err(Why::Wrong(format!("is below the smallest, {}", show(least))));
    }
    if value > most {
        return Err(Why::Wrong(format!("is above the largest, {}", show(most))));
    }
    Ok(())
}

/// The value as the subject of a sentence; a bare number of percent gets its sign.
fn subject(shape: &Shape, scalar: &Scalar) -> String {
    let percent = matches!(shape, Shape::Percent) && scalar.origin == Origin::File;
    match units::decimal(scalar.text.trim_end_matches('%')) {
        Some(number) if percent => format!("{number}%"),
        Some(_) | None => shown(scalar),
    }
}

fn wants(shape: &Shape) -> String {
    match shape {
        Shape::Map(keys) => {
            let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
            format!(
                "a mapping with keys such as {}",
                names[..names.len().min(3)].join(", ")
            )
        }
        Shape::Named(_) => "a mapping with the key name".to_owned(),
        Shape::Typed(_) => "a mapping with the key type".to_owned(),
        Shape::Headers => "a mapping from header names to values".to_owned(),
        Shape::List { .. } => "a list".to_owned(),
        Shape::Text(_) => "a text".to_owned(),
        Shape::Word { built, .. } => format!("one of {}", built.join(", ")),
        Shape::Flag => "true or false".to_owned(),
        Shape::Count { word: Some(word), .. } => format!("a whole number or {word}"),
        Shape::Count { .. } => "a whole number".to_owned(),
        Shape::Number { .. } => "a number".to_owned(),
        Shape::Span { .. } => "a duration such as 30s".to_owned(),
        Shape::Size { .. } => "a size such as 64KiB".to_owned(),
        Shape::Percent => "a percentage such as 10%".to_owned(),
        Shape::NotBuilt { .. } => "absent".to_owned(),
    }
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Null => "nothing".to_owned(),
        Kind::Scalar(scalar) => shown(scalar),
        Kind::List(_) => "a list".to_owned(),
        Kind::Map(_) => "a mapping".to_owned(),
    }
}

fn unknown(key: &str, keys: &[Key]) -> String {
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    match nearest(key, &names) {
        Some(near) => format!("there is no such key, did you mean {near}?"),
        None => format!("there is no such key, known here are {}", names.join(", ")),
    }
}

fn nearest_of(text: &str, words: &[&str]) -> String {
    nearest(text, words)
        .map_or_else(String::new, |near| format!(": did you mean {near}?"))
}

/// The nearest of some words, if it is near enough to have been meant.
pub(super) fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let plain = |word: &str| -> Vec<char> {
        let letters = word.chars().filter(|c| !matches!(c, '_' | '-')).take(64);
        letters.map(|c| c.to_ascii_lowercase()).collect()
    };
    let text = plain(text);
    let near = words.iter().map(|word| (distance(&text, &plain(word)), *word)).min()?;
    (near.0 <= text.len().div_ceil(3).min(3)).then_some(near.1)
}

/// How many letters must be put in, left out, changed or swapped with the next.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// Entries of a mapping of headers.
const HEADERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_told_from_something_else() {
        let words = ["weight", "name", "endpoints", "maxInFlight", "pool"];
        for (text, near) in [
            ("wieght", Some("weight")),
            ("Weight", Some("weight")),
            ("endpoint", Some("endpoints")),
            ("max_in_flight", Some("maxInFlight")),
            ("nmae", Some("name")),
            ("color", None),
            ("x", None),
        ] {
            assert_eq!(nearest(text, &words), near, "{text}");
        }
    }
}
