//! All problems of a file at once, each with its line and its path.
//!
//! Apart because everybody in this room adds to the same [`Report`], and nobody may stop at
//! the first problem.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;

/// Everything that is wrong with a file, in the order of its lines; at most
/// [`ConfigErrors::SHOWN`] problems are kept, and how many more there are is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    file: String,
    problems: Vec<Problem>,
    left_out: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; 0 when it concerns the file as a whole.
    pub line: usize,
    /// Column, from 1; 0 when it concerns the file as a whole.
    pub column: usize,
    /// Where in the file, such as `routes[0].versions[1].weight`; empty for the file.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
    /// Whether it is named in the interface but not built yet.
    pub not_built: bool,
}

/// A place in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    /// From 1.
    pub(super) line: usize,
    /// From 1.
    pub(super) column: usize,
}

/// Where the steps of a reading put what they find.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
    dropped: Cell<usize>,
    warnings: RefCell<Vec<Problem>>,
    inserted: RefCell<BTreeSet<String>>,
}

impl ConfigErrors {
    /// At most so many problems are kept.
    pub const SHOWN: usize = 200;

    /// The errors of that file, and how many were not even kept.
    pub(super) fn new(file: &str, mut problems: Vec<Problem>, dropped: usize) -> Self {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        let left_out = problems.len().saturating_sub(Self::SHOWN) + dropped;
        problems.truncate(Self::SHOWN);
        Self { file: file.to_owned(), problems, left_out }
    }

    /// One error that concerns the file as a whole.
    pub(super) fn whole(file: &str, message: String) -> Self {
        Self::new(file, vec![Problem::at(Mark::default(), "", message)], 0)
    }

    /// The problems, in the order of their lines.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// One line of text for each problem: `file:line: path: message`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let more = (self.left_out > 0)
            .then(|| format!("{}: and {} more problems", self.file, self.left_out));
        self.problems.iter().map(|problem| problem.in_file(&self.file)).chain(more)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.lines().collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

impl Problem {
    pub(super) fn at(mark: Mark, path: &str, message: String) -> Self {
        let Mark { line, column } = mark;
        Self { line, column, path: path.to_owned(), message, not_built: false }
    }

    /// The problem as one line of text.
    pub(super) fn in_file(&self, file: &str) -> String {
        let place = if self.line == 0 {
            file.to_owned()
        } else {
            format!("{file}:{}", self.line)
        };
        let Self { path, message, .. } = self;
        match (path.is_empty(), self.not_built) {
            (true, _) => format!("{place}: {message}"),
            (false, true) => format!("{place}: {path} is not built yet: {message}"),
            (false, false) => format!("{place}: {path}: {message}"),
        }
    }
}

impl Report {
    /// Something is wrong.
    pub(super) fn wrong(&self, at: Mark, path: &str, message: impl Into<String>) {
        self.keep(Problem::at(at, path, message.into()));
    }

    /// Something asks for what is not built yet.
    pub(super) fn not_built(&self, at: Mark, path: &str, message: impl Into<String>) {
        let problem = Problem::at(at, path, message.into());
        self.keep(Problem { not_built: true, ..problem });
    }

    /// Something is allowed but probably not meant.
    pub(super) fn warn(&self, at: Mark, path: &str, message: impl Into<String>) {
        self.warnings.borrow_mut().push(Problem::at(at, path, message.into()));
    }

    /// The value at that path came from outside the file and is never printed.
    pub(super) fn inserted(&self, path: &str) {
        self.inserted.borrow_mut().insert(path.to_owned());
    }

    /// Whether nothing at that path or below it was found wrong so far.
    pub(super) fn sound(&self, path: &str) -> bool {
        let below = |other: &str| {
            other.strip_prefix(path).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('.') || rest.starts_with('[')
            })
        };
        !self.problems.borrow().iter().any(|problem| below(&problem.path))
    }

    /// The warnings as text and the paths of inserted values.
    ///
    /// # Errors
    /// The problems, if there was any.
    pub(super) fn close(
        self,
        file: &str,
    ) -> Result<(Vec<String>, BTreeSet<String>), ConfigErrors> {
        let problems = self.problems.into_inner();
        if !problems.is_empty() {
            return Err(ConfigErrors::new(file, problems, self.dropped.get()));
        }
        let mut warnings = self.warnings.into_inner();
        warnings.sort_by_key(|warning| (warning.line, warning.column));
        let warnings = warnings.iter().map(|warning| warning.in_file(file)).collect();
        Ok((warnings, self.inserted.into_inner()))
    }

    fn keep(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < KEPT {
            problems.push(problem);
        } else {
            self.dropped.set(self.dropped.get() + 1);
        }
    }
}

/// So many problems are kept until they are sorted; of the rest only the number is.
const KEPT: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::{ConfigErrors, Mark, Problem, Report};

    #[test]
    fn problems_come_in_the_order_of_lines_and_are_bounded() {
        let report = Report::default();
        for line in (1..=5_000).rev() {
            report.wrong(Mark { line: line % 1_000 + 1, column: 1 }, "a", "bad");
        }
        let errors = report.close("f.yaml").unwrap_err();
        let lines: Vec<String> = errors.lines().collect();
        assert_eq!(lines.len(), ConfigErrors::SHOWN + 1);
        assert_eq!(lines[0], "f.yaml:1: a: bad");
        assert_eq!(lines[ConfigErrors::SHOWN], "f.yaml: and 4800 more problems");
    }

    #[test]
    fn a_path_is_sound_until_something_below_it_is_not() {
        let report = Report::default();
        report.wrong(Mark::default(), "routes[1].name", "bad");
        assert!(!report.sound("routes[1].name"));
        assert!(!report.sound("routes[1]"));
        assert!(!report.sound("routes"));
        assert!(report.sound("routes[1].names"));
        assert!(report.sound("routes[0]"));
    }

    #[test]
    fn what_concerns_the_file_has_no_line() {
        let problem = Problem::at(Mark::default(), "", "is empty".into());
        assert_eq!(problem.in_file("f.yaml"), "f.yaml: is empty");
    }
}
