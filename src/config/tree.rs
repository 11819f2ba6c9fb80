//! YAML into a tree whose every value knows its line, bounded in depth and size.
//!
//! Apart because it is the only file that knows the YAML crate. Aliases are copies, counted
//! before they are made, so that a few lines cannot become gigabytes.

use std::collections::HashMap;

use serde_saphyr::granit_parser;
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::error::{Mark, Problem};

/// Values within values; the deepest place of a valid file is at about ten.
pub(super) const DEPTH: usize = 32;
/// Values of a file, with every alias counted as what it stands for.
pub(super) const VALUES: usize = 50_000;
/// Bytes of text of a file, with every alias counted as what it stands for.
pub(super) const BYTES: usize = 4 << 20;

/// One value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Mark,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Nothing: `null`, `~` or no text at all.
    Null,
    /// Anything that is one piece of text, numbers and booleans too.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file, duplicates included.
    Map(Vec<Entry>),
}

/// One key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Mark,
    pub(super) value: Node,
}

/// One piece of text.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Not in quotes and not a block: it may be a number or a boolean.
    pub(super) plain: bool,
    pub(super) origin: Origin,
}

/// Where a text is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It stands in the file.
    File,
    /// The environment or another file gave a part of it: it is never printed.
    Inserted,
    /// What should have been inserted is missing; that was reported.
    Broken,
}

/// Reads one document.
///
/// # Errors
/// The first problem of the YAML itself: syntax, a bound, a tag, a dangling alias.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEPTH + 1,
        block_nesting_limit: DEPTH + 1,
    };
    let events = Parser::new_from_str_with_options(text, options);
    let mut builder =
        Builder { events, anchors: HashMap::new(), values: 0, bytes: 0, depth: 0 };
    builder.document()
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Anchored>,
    values: usize,
    bytes: usize,
    depth: usize,
}

struct Anchored {
    node: Node,
    values: usize,
    bytes: usize,
}

type Read<T> = Result<T, Problem>;

impl<'a> Builder<'a> {
    fn document(&mut self) -> Read<Node> {
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::StreamEnd) {
                return Ok(Node { at: mark(span), kind: Kind::Null });
            }
            if !matches!(event, Event::StreamStart | Event::DocumentStart(..)) {
                let root = self.node(event, span)?;
                return self.end(root);
            }
        }
    }

    /// Nothing may follow the first document.
    fn end(&mut self, root: Node) -> Read<Node> {
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::StreamEnd) {
                return Ok(root);
            }
            if !matches!(event, Event::DocumentEnd) {
                return Err(fatal(span, "a second document begins: there may be one"));
            }
        }
    }

    fn next(&mut self) -> Read<(Event<'a>, Span)> {
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let at = Mark {
                    line: error.marker().line().max(1),
                    column: error.marker().col() + 1,
                };
                let (line, column, why) = (at.line, at.column, error.info());
                let message =
                    format!("is not YAML: {why} (line {line}, column {column})");
                Err(Problem::at(at, "", message))
            }
            None => Err(Problem::at(Mark::default(), "", "ends too soon".into())),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the parser may get more events, and none of them is a value"
    )]
    fn node(&mut self, event: Event<'a>, span: Span) -> Read<Node> {
        let at = mark(span);
        self.count(span, 1, 0)?;
        let begun = (self.values - 1, self.bytes);
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(span, 0, text.len())?;
                let quoted = text_tag(span, tag.as_deref())?;
                let plain = style == ScalarStyle::Plain && !quoted;
                (scalar(text.into_owned(), plain), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                no_tag(span, tag.as_deref())?;
                (self.list(span)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                no_tag(span, tag.as_deref())?;
                (self.map(span)?, anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, span),
            _ => return Err(fatal(span, "is not YAML: a value is missing")),
        };
        let node = Node { at, kind };
        if anchor != 0 {
            let (values, bytes) = (self.values - begun.0, self.bytes - begun.1);
            // The copy that waits for its aliases takes room too.
            self.count(span, values, bytes)?;
            let anchored = Anchored { node: node.clone(), values, bytes };
            self.anchors.insert(anchor, anchored);
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Read<Node> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(fatal(span, "an alias stands inside of what it stands for"));
        };
        let (values, bytes) = (anchored.values, anchored.bytes);
        self.count(span, values, bytes)?;
        match self.anchors.get(&anchor) {
            // The line is that of the alias: there the value is used.
            Some(anchored) => Ok(Node { at: mark(span), ..anchored.node.clone() }),
            None => Err(fatal(span, "an alias stands for nothing")),
        }
    }

    fn list(&mut self, span: Span) -> Read<Kind> {
        self.enter(span)?;
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                self.depth -= 1;
                return Ok(Kind::List(items));
            }
            items.push(self.node(event, span)?);
        }
    }

    fn map(&mut self, span: Span) -> Read<Kind> {
        self.enter(span)?;
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                self.depth -= 1;
                return Ok(Kind::Map(entries));
            }
            let Event::Scalar(key, ..) = event else {
                return Err(fatal(span, "a key must be plain text"));
            };
            let (value, value_span) = self.next()?;
            let value = self.node(value, value_span)?;
            entries.push(Entry { key: key.into_owned(), at: mark(span), value });
        }
    }

    fn enter(&mut self, span: Span) -> Read<()> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(fatal(span, &format!("is nested deeper than {DEPTH} levels")));
        }
        Ok(())
    }

    fn count(&mut self, span: Span, values: usize, bytes: usize) -> Read<()> {
        self.values += values;
        self.bytes += bytes;
        if self.values > VALUES {
            return Err(fatal(span, &format!("has more than {VALUES} values")));
        }
        if self.bytes > BYTES {
            return Err(fatal(span, &format!("has more than {BYTES} bytes of text")));
        }
        Ok(())
    }
}

fn scalar(text: String, plain: bool) -> Kind {
    if plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
        return Kind::Null;
    }
    Kind::Scalar(Scalar { text, plain, origin: Origin::File })
}

/// Whether the tag makes a text of what it stands before; any other tag is refused.
fn text_tag(span: Span, tag: Option<&Tag>) -> Read<bool> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema_tag("str") => Ok(true),
        Some(_) => no_tag(span, tag).map(|()| false),
    }
}

fn no_tag(span: Span, tag: Option<&Tag>) -> Read<()> {
    match tag {
        None => Ok(()),
        Some(tag) => {
            Err(fatal(span, &format!("the tag {:?} means nothing here", tag.original())))
        }
    }
}

fn fatal(span: Span, message: &str) -> Problem {
    Problem::at(mark(span), "", message.to_owned())
}

fn mark(span: Span) -> Mark {
    Mark { line: span.start.line().max(1), column: span.start.col() + 1 }
}

#[cfg(test)]
mod tests {
    use super::{Kind, read};

    fn problem(text: &str) -> String {
        read(text).unwrap_err().in_file("f")
    }

    #[test]
    fn every_value_knows_its_line() {
        let node = read("# one\na: 1\nb:\n  - x\n  - y: 2\n").unwrap();
        let Kind::Map(entries) = node.kind else { panic!() };
        assert_eq!((entries[1].at.line, entries[1].at.column), (3, 1));
        let Kind::List(items) = &entries[1].value.kind else { panic!() };
        assert_eq!((items[1].at.line, items[1].at.column), (5, 5));
    }

    #[test]
    fn nothing_is_told_from_text() {
        let node = read("[null, ~, , '', 'null', !!str null]").unwrap_err();
        assert!(node.message.starts_with("is not YAML"));
        let node = read("[null, ~, '', 'null', !!str null]").unwrap();
        let Kind::List(items) = node.kind else { panic!() };
        let nothing: Vec<bool> =
            items.iter().map(|item| matches!(item.kind, Kind::Null)).collect();
        assert_eq!(nothing, [true, true, false, false, false]);
    }

    #[test]
    fn what_is_no_single_plain_document_is_refused() {
        for (text, says) in [
            ("a: [1, 2", "f:1: is not YAML: "),
            ("a: 1\n---\nb: 2\n", "f:2: a second document begins: there may be one"),
            ("a: !thing 1", "f:1: the tag \"!thing\" means nothing here"),
            ("? [a]\n: 1", "f:1: a key must be plain text"),
            ("a: *x", "f:1: is not YAML: "),
            ("a: &x [*x]", "f:1: "),
        ] {
            let said = problem(text);
            assert!(said.starts_with(says), "{text:?}: {said}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        for (open, close) in [("[", "]"), ("{a: ", "}")] {
            let deep = |n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
            assert!(read(&deep(32)).is_ok());
            assert!(!problem(&deep(33)).is_empty());
            assert!(!problem(&deep(100_000)).is_empty());
        }
        let mut block = String::new();
        for level in 0..400 {
            block += &format!("{}a:\n", " ".repeat(level));
        }
        assert!(!problem(&block).is_empty());
    }

    #[test]
    fn a_bomb_of_aliases_is_refused_before_it_grows() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let inside = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{inside}]\n");
        }
        assert!(problem(&bomb).ends_with("has more than 50000 values"));
        let long = "x".repeat(100_000);
        let many = vec!["*a"; 50].join(", ");
        let bomb = format!("a: &a {long}\nb: [{many}]\n");
        assert!(problem(&bomb).ends_with("bytes of text"));
    }

    #[test]
    fn an_alias_is_a_copy_of_what_it_stands_for() {
        let node = read("a: &x {b: 1}\nc: *x\n").unwrap();
        let Kind::Map(entries) = node.kind else { panic!() };
        assert_eq!(entries[1].value.at.line, 2);
        let Kind::Map(inner) = &entries[1].value.kind else { panic!() };
        assert_eq!(inner[0].key, "b");
    }
}
