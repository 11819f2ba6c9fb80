//! `${NAME}` and `${file:PATH}` filled into the texts of a file.
//!
//! Apart because what comes from outside the file is treated as a secret from here on: its
//! place is marked, and nobody prints the value. `$${` stands for `${`.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::{Mark, Report};
use super::shape::printable;
use super::tree::{Kind, Node, Origin, Scalar};

/// Bytes of one file that is inserted or that holds a token.
pub(super) const FILE_BYTES: u64 = 64 << 10;
/// Bytes of everything that is inserted.
const ALL_BYTES: usize = 1 << 20;

/// How the value of an environment variable is found.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Fills the texts of one tree.
pub(super) struct Filler<'a> {
    report: &'a Report,
    environment: Environment<'a>,
    dir: &'a Path,
    /// What was inserted, in the order of the file.
    pub(super) values: Vec<String>,
    /// The files that were read or should have been.
    pub(super) files: Vec<PathBuf>,
    bytes: usize,
}

/// The environment of the process; a value that is not UTF-8 counts as missing.
#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub(super) fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads a small text file without its last line ends.
///
/// # Errors
/// Why it cannot be read; the text of the file is never part of it.
pub(super) fn read_small(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| plain(&error))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| plain(&error))?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(format!("it is larger than {} KiB", FILE_BYTES >> 10));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok(text)
}

/// An error of the operating system in the style of all other messages.
pub(super) fn plain(error: &std::io::Error) -> String {
    let known = [
        (std::io::ErrorKind::NotFound, "there is no such file"),
        (std::io::ErrorKind::PermissionDenied, "permission is denied"),
        (std::io::ErrorKind::IsADirectory, "it is a directory"),
    ];
    let said = known.iter().find(|(kind, _)| *kind == error.kind());
    said.map_or_else(|| error.to_string(), |(_, said)| (*said).to_owned())
}

impl<'a> Filler<'a> {
    pub(super) fn new(
        report: &'a Report,
        environment: Environment<'a>,
        dir: &'a Path,
    ) -> Self {
        let (values, files) = (Vec::new(), Vec::new());
        Self { report, environment, dir, values, files, bytes: 0 }
    }

    /// Fills everything below that path.
    pub(super) fn fill(&mut self, node: &mut Node, path: &str) {
        match &mut node.kind {
            Kind::Null => {}
            Kind::Scalar(scalar) => self.scalar(scalar, node.at, path),
            Kind::List(items) => {
                for (place, item) in items.iter_mut().enumerate() {
                    self.fill(item, &format!("{path}[{place}]"));
                }
            }
            Kind::Map(entries) => {
                for entry in entries {
                    self.fill(&mut entry.value, &below(path, &entry.key));
                }
            }
        }
    }

    fn scalar(&mut self, scalar: &mut Scalar, at: Mark, path: &str) {
        if !scalar.text.contains("${") {
            return;
        }
        match self.expand(&scalar.text) {
            Ok((text, inserted)) => {
                scalar.text = text;
                if inserted {
                    scalar.origin = Origin::Inserted;
                    self.report.inserted(path);
                }
            }
            Err(message) => {
                scalar.origin = Origin::Broken;
                self.report.wrong(at, path, message);
            }
        }
    }

    /// The text with everything filled in, and whether anything was.
    fn expand(&mut self, text: &str) -> Result<(String, bool), String> {
        let (mut out, mut rest, mut inserted) = (String::new(), text, false);
        while let Some(begin) = rest.find("${") {
            if rest[..begin].ends_with('$') {
                out.push_str(&rest[..begin - 1]);
                out.push_str("${");
                rest = &rest[begin + 2..];
                continue;
            }
            out.push_str(&rest[..begin]);
            let inner = &rest[begin + 2..];
            let Some(end) = inner.find('}') else {
                return Err("a ${ has no }: write $${ for the two characters".to_owned());
            };
            let value = self.value(&inner[..end])?;
            self.bytes += value.len();
            if self.bytes > ALL_BYTES {
                return Err("more than 1 MiB is inserted into the file".to_owned());
            }
            out.push_str(&value);
            self.values.push(value);
            inserted = true;
            rest = &inner[end + 1..];
        }
        out.push_str(rest);
        Ok((out, inserted))
    }

    fn value(&mut self, name: &str) -> Result<String, String> {
        if let Some(path) = name.strip_prefix("file:") {
            let full = self.dir.join(path);
            self.files.push(full.clone());
            return read_small(&full).map_err(|why| {
                format!("the file {} cannot be inserted: {why}", full.display())
            });
        }
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name {
            let shown: String = name.chars().take(60).collect();
            return Err(format!(
                "{shown:?} is no name of an environment variable: write ${{NAME}}, ${{file:PATH}}, or $${{ for the two characters"
            ));
        }
        (self.environment)(name)
            .ok_or_else(|| format!("the environment variable {name} is not set"))
    }
}

/// The path of a key below another path; what would break a line is escaped.
pub(super) fn below(path: &str, key: &str) -> String {
    let key = printable(&key.chars().take(64).collect::<String>());
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Filler;
    use crate::config::error::Report;

    fn expand(text: &str) -> Result<(String, bool), String> {
        let report = Report::default();
        let environment = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".to_owned()),
            _ => None,
        };
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        Filler::new(&report, &environment, dir).expand(text)
    }

    #[test]
    fn names_are_filled_in_once() {
        for (text, filled) in [
            ("${A}", "one"),
            ("x-${A}-${A}", "x-one-one"),
            ("${EMPTY}", ""),
            ("${NESTED}", "${A}"),
        ] {
            assert_eq!(expand(text).unwrap(), (filled.to_owned(), true), "{text}");
        }
        assert_eq!(expand("$${A} $").unwrap(), ("${A} $".to_owned(), false));
        assert_eq!(expand("$${A} ${A}").unwrap(), ("${A} one".to_owned(), true));
    }

    #[test]
    fn what_cannot_be_filled_in_is_named() {
        for (text, says) in [
            ("${B}", "the environment variable B is not set"),
            ("${", "a ${ has no }: write $${ for the two characters"),
            ("${}", "\"\" is no name of an environment variable"),
            ("${1x}", "\"1x\" is no name of an environment variable"),
            ("${file:no/such}", "no/such cannot be inserted: there is no such file"),
            ("${file:src}", "src cannot be inserted: it is a directory"),
        ] {
            let said = expand(text).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
    }

    #[test]
    fn a_file_loses_its_last_line_end() {
        let dir = std::env::temp_dir();
        let path = dir.join(format!("switchback-insert-{}", std::process::id()));
        std::fs::write(&path, "secret\n").unwrap();
        let (text, _) = expand(&format!("<${{file:{}}}>", path.display())).unwrap();
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        let binary = expand(&format!("${{file:{}}}", path.display())).unwrap_err();
        std::fs::write(&path, "x".repeat(70_000)).unwrap();
        let large = expand(&format!("${{file:{}}}", path.display())).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text, "<secret>");
        assert!(binary.ends_with("it is not UTF-8"), "{binary}");
        assert!(large.ends_with("it is larger than 64 KiB"), "{large}");
    }
}
