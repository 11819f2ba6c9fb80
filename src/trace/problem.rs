//! `Problem`: what is wrong with a trace, where, and what to do about it.
//!
//! Apart because the reader finds what is wrong with a line, and whoever replays the trace
//! what is wrong with the story that the lines tell; both say it in the same form.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong with a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The number of the line, from 1.
    pub line: u64,
    /// What kind of fault it is.
    pub fault: Fault,
    /// What is wrong, and with which value.
    pub what: String,
}

/// The kinds of fault, each with one consequence and one piece of advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The line is not one JSON object, or is too long.
    Unreadable,
    /// A member is missing or of the wrong kind.
    Malformed,
    /// A number that cannot be true.
    Absurd,
    /// The file ends in the middle of a line or of its compression.
    Cut,
    /// The file cannot be read on.
    Damaged,
    /// A time before that of an earlier line.
    TimeBack,
    /// A time more than a day after that of the line before.
    TimeJump,
    /// A version that the configuration does not have.
    UnknownVersion,
    /// Shares that leave one side of the comparison without traffic.
    NoShare,
    /// A version that had traffic was silent for long.
    Silence,
}

impl Fault {
    /// The word of the fault, as the JSON answer has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Malformed => "malformed",
            Self::Absurd => "absurd",
            Self::Cut => "cut",
            Self::Damaged => "damaged",
            Self::TimeBack => "time_back",
            Self::TimeJump => "time_jump",
            Self::UnknownVersion => "unknown_version",
            Self::NoShare => "no_share",
            Self::Silence => "silence",
        }
    }

    /// What became of it, and what to do.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Unreadable => "the line is left out; write one JSON object a line",
            Self::Malformed => {
                "the line is left out; a request needs t_ms, version, status or class, and latency_us"
            }
            Self::Absurd => "the line is left out; correct the number",
            Self::Cut => {
                "the verdict rests on what was read; record or copy the trace again"
            }
            Self::Damaged => "the verdict rests on what was read; copy the trace again",
            Self::TimeBack => {
                "the line counts at the latest time; sort the trace by t_ms"
            }
            Self::TimeJump => {
                "the line counts at the time before; see that all times have one clock and unit"
            }
            Self::UnknownVersion => {
                "the line is left out; use the configuration that the trace was recorded with"
            }
            Self::NoShare => {
                "the last shares stay; give both versions a share above zero"
            }
            Self::Silence => "nothing was learned in that time; see that it was so",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.what, self.fault.advice())
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Problem};

    #[test]
    fn a_problem_says_where_what_and_what_to_do() {
        let what = "latency_us is -5".to_owned();
        let problem = Problem { line: 7, fault: Fault::Absurd, what };
        let said = "line 7: latency_us is -5: the line is left out; correct the number";
        assert_eq!(problem.to_string(), said);
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["fault"], problem.fault.as_str());
    }
}
