//! `Problems`: what is wrong with a trace, bounded however much is.
//!
//! Apart because the reader's problems and those of each policy are kept in the same way: a
//! trace of a million bad lines is said in a few lines and a count.

use std::collections::BTreeMap;

use crate::trace::{Fault, Problem};

/// The first problems of each kind, and how many there were.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    first: Vec<Problem>,
    counts: BTreeMap<Fault, u64>,
}

/// So many of each kind are kept.
const KEPT: u64 = 5;

impl Problems {
    /// One more.
    pub fn add(&mut self, problem: Problem) {
        let count = self.counts.entry(problem.fault).or_default();
        *count += 1;
        if *count <= KEPT {
            self.first.push(problem);
        }
    }

    /// One more, by its parts.
    pub(super) fn say(&mut self, line: u64, fault: Fault, what: impl FnOnce() -> String) {
        let count = self.counts.entry(fault).or_default();
        *count += 1;
        if *count <= KEPT {
            self.first.push(Problem { line, fault, what: what() });
        }
    }

    /// Adds the problems of another list.
    pub(super) fn join(&mut self, more: &Self) {
        for (fault, count) in &more.counts {
            *self.counts.entry(*fault).or_default() += count;
        }
        self.first.extend(more.first.iter().cloned());
        self.first.sort_by_key(|problem| problem.line);
    }

    /// The first of each kind, in the order of the lines.
    #[must_use]
    pub fn first(&self) -> &[Problem] {
        &self.first
    }

    /// How many of each kind there were.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<Fault, u64> {
        &self.counts
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Problems;
    use crate::trace::{Fault, Problem};

    #[test]
    fn many_problems_of_a_kind_do_not_hide_one_of_another() {
        let mut problems = Problems::default();
        for line in 0..1_000_000 {
            problems.say(line, Fault::UnknownVersion, || format!("v{line}"));
        }
        let what = "the trace is cut".to_owned();
        let mut read = Problems::default();
        read.add(Problem { line: 3, fault: Fault::Cut, what });
        problems.join(&read);
        assert_eq!(problems.count(), 1_000_001);
        let lines: Vec<_> = problems.first().iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [0, 1, 2, 3, 3, 4]);
    }
}
