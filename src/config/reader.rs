//! `View`: takes typed values out of a tree that was held against its shape.
//!
//! Apart because it never reports a wrong value: `shape` did. What is missing or wrong
//! comes out as its default, so that the checks between values can go on to the end; the
//! result is thrown away when there was any problem.

use std::time::Duration;

use super::error::{Mark, Report};
use super::insert::below;
use super::shape::{Key, Need, Shape, keys_of, shown};
use super::tree::{Kind, Node, Origin, Scalar};
use super::units;
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;

/// One mapping of the file, or the place where it could have been.
#[derive(Clone, Debug)]
pub(super) struct View<'a> {
    report: &'a Report,
    keys: &'static [Key],
    node: Option<&'a Node>,
    pub(super) path: String,
    at: Mark,
}

/// One text of the file.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) text: &'a str,
    pub(super) path: String,
    pub(super) at: Mark,
    /// How a message names it.
    pub(super) shown: String,
}

impl<'a> View<'a> {
    /// The whole file.
    pub(super) fn root(report: &'a Report, keys: &'static [Key], node: &'a Node) -> Self {
        Self { report, keys, node: Some(node), path: String::new(), at: node.at }
    }

    /// A mapping with those keys of which none is given.
    pub(super) fn blank(&self, keys: &'static [Key]) -> Self {
        Self { keys, node: None, ..self.clone() }
    }

    /// The mapping under that key; an absent one has the defaults.
    pub(super) fn child(&self, name: &str) -> Self {
        let node = self.value(name);
        let keys = self.key(name).map_or(&[][..], |key| keys_of(&key.shape, node));
        let at = node.map_or(self.at, |node| node.at);
        Self { report: self.report, keys, node, path: below(&self.path, name), at }
    }

    /// The mapping under that key, if it is there.
    pub(super) fn maybe_child(&self, name: &str) -> Option<Self> {
        self.given(name).then(|| self.child(name))
    }

    /// The mappings of the list under that key.
    pub(super) fn children(&self, name: &str) -> Vec<Self> {
        let Some(Key { shape: Shape::List { of, .. }, .. }) = self.key(name) else {
            return Vec::new();
        };
        let path = below(&self.path, name);
        let items = self.list(name).iter().enumerate();
        items
            .map(|(place, item)| Self {
                report: self.report,
                keys: keys_of(of, Some(item)),
                node: Some(item),
                path: format!("{path}[{place}]"),
                at: item.at,
            })
            .collect()
    }

    /// The texts of the list under that key, or its default.
    pub(super) fn items(&self, name: &str) -> Vec<Item<'a>> {
        let path = below(&self.path, name);
        if !self.given(name) {
            let default = self.default(name);
            let texts = default.split(',').map(str::trim).filter(|text| !text.is_empty());
            return texts
                .map(|text| Item {
                    text,
                    path: path.clone(),
                    at: self.at,
                    shown: text.to_owned(),
                })
                .collect();
        }
        let items = self.list(name).iter().enumerate();
        items
            .filter_map(|(place, node)| match &node.kind {
                Kind::Scalar(scalar) => Some(Item {
                    text: &scalar.text,
                    path: format!("{path}[{place}]"),
                    at: node.at,
                    shown: shown(scalar),
                }),
                Kind::Null | Kind::List(_) | Kind::Map(_) => None,
            })
            .collect()
    }

    /// The pairs of the header mapping under that key, names in lower case.
    pub(super) fn headers(&self, name: &str) -> Vec<(String, String)> {
        let pairs = self.pairs(name).into_iter();
        pairs.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
    }

    /// The pairs of the mapping under that key, names as they are written.
    pub(super) fn pairs(&self, name: &str) -> Vec<(String, String)> {
        let Some(Node { kind: Kind::Map(entries), .. }) = self.value(name) else {
            return Vec::new();
        };
        let pairs = entries.iter().filter_map(|entry| match &entry.value.kind {
            Kind::Scalar(scalar) => Some((entry.key.clone(), scalar.text.clone())),
            Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        });
        pairs.collect()
    }

    /// The text under that key, or its default.
    pub(super) fn text(&self, name: &str) -> &'a str {
        match self.scalar(name) {
            Some(scalar) => &scalar.text,
            None => self.default(name),
        }
    }

    /// The text under that key, if it is there.
    pub(super) fn maybe_text(&self, name: &str) -> Option<&'a str> {
        self.scalar(name).map(|scalar| scalar.text.as_str())
    }

    /// The text under that key as an item, if it is there.
    pub(super) fn item(&self, name: &str) -> Option<Item<'a>> {
        let scalar = self.scalar(name)?;
        let at = self.value(name).map_or(self.at, |node| node.at);
        let path = below(&self.path, name);
        Some(Item { text: &scalar.text, path, at, shown: shown(scalar) })
    }

    /// The name under that key, if it is there and is one.
    pub(super) fn name(&self, name: &str) -> Option<Name> {
        units::name(self.text(name)).ok()
    }

    /// The flag under that key.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// The whole number under that key.
    pub(super) fn count<T: TryFrom<u64> + Default>(&self, name: &str) -> T {
        let number = units::count(self.text(name)).ok();
        number.and_then(|number| T::try_from(number).ok()).unwrap_or_default()
    }

    /// The number under that key, if it is there.
    pub(super) fn maybe_number(&self, name: &str) -> Option<f64> {
        units::decimal(self.maybe_text(name)?)
    }

    /// The duration under that key.
    pub(super) fn span(&self, name: &str) -> Duration {
        units::span(self.text(name)).unwrap_or_default()
    }

    /// The duration under that key, if it is there.
    pub(super) fn maybe_span(&self, name: &str) -> Option<Duration> {
        units::span(self.maybe_text(name)?).ok()
    }

    /// The size under that key.
    pub(super) fn size<T: TryFrom<u64> + Default>(&self, name: &str) -> T {
        let bytes = units::size(self.text(name)).ok();
        bytes.and_then(|bytes| T::try_from(bytes).ok()).unwrap_or_default()
    }

    /// The percentage under that key.
    pub(super) fn percent(&self, name: &str) -> Percent {
        units::percent(self.text(name)).unwrap_or_default()
    }

    /// The percentage under that key, if it is there.
    pub(super) fn maybe_percent(&self, name: &str) -> Option<Percent> {
        units::percent(self.maybe_text(name)?).ok()
    }

    /// Whether a mapping of this kind has such a key at all.
    pub(super) fn has_key(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.name == name)
    }

    /// Whether something other than null stands under that key.
    pub(super) fn given(&self, name: &str) -> bool {
        self.value(name).is_some_and(|node| !matches!(node.kind, Kind::Null))
    }

    /// Whether nothing was wrong so far under that key.
    pub(super) fn sound(&self, name: &str) -> bool {
        self.report.sound(&below(&self.path, name))
    }

    /// Reports that the value under that key, or its absence, is wrong.
    pub(super) fn wrong(&self, name: &str, message: impl Into<String>) {
        self.report.wrong(self.place(name), &below(&self.path, name), message);
    }

    /// Reports that an item is wrong.
    pub(super) fn wrong_item(&self, item: &Item<'_>, message: impl Into<String>) {
        self.report.wrong(item.at, &item.path, message);
    }

    /// Says that an item is probably not meant.
    pub(super) fn warn_item(&self, item: &Item<'_>, message: impl Into<String>) {
        self.report.warn(item.at, &item.path, message);
    }

    /// Says that the value under that key is probably not meant.
    pub(super) fn warn(&self, name: &str, message: impl Into<String>) {
        self.report.warn(self.place(name), &below(&self.path, name), message);
    }

    /// How a message names the value under that key.
    pub(super) fn shown(&self, name: &str) -> String {
        self.scalar(name).map_or_else(|| self.default(name).to_owned(), shown)
    }

    fn place(&self, name: &str) -> Mark {
        self.value(name).map_or(self.at, |node| node.at)
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        let key = self.keys.iter().find(|key| key.name == name);
        // A mapping whose own name is wrong has no keys; that was reported.
        debug_assert!(key.is_some() || self.keys.is_empty(), "{}: {name}", self.path);
        key
    }

    fn default(&self, name: &str) -> &'static str {
        match self.key(name) {
            Some(Key { need: Need::Default(text), .. }) => text,
            Some(_) | None => "",
        }
    }

    fn value(&self, name: &str) -> Option<&'a Node> {
        self.key(name)?;
        let Kind::Map(entries) = &self.node?.kind else { return None };
        entries.iter().find(|entry| entry.key == name).map(|entry| &entry.value)
    }

    /// The items under that key, no more of them than it may have.
    fn list(&self, name: &str) -> &'a [Node] {
        let Some(Key { shape: Shape::List { most, .. }, .. }) = self.key(name) else {
            return &[];
        };
        match self.value(name) {
            Some(Node { kind: Kind::List(items), .. }) => {
                &items[..items.len().min(*most)]
            }
            Some(_) | None => &[],
        }
    }

    /// The text under that key, unless it is known to be wrong.
    fn scalar(&self, name: &str) -> Option<&'a Scalar> {
        match &self.value(name)?.kind {
            Kind::Scalar(scalar) if scalar.origin != Origin::Broken => Some(scalar),
            Kind::Scalar(_) | Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }
}
