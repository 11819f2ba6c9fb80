//! `render`: from facts to the three files, each as bytes.
//!
//! Apart from the room's front door, and the only way in: nothing is written that did not go
//! through `bound` first.

use super::bound::bound;
use super::facts::Facts;
use super::json::json;
use super::markdown::markdown;
use super::plot::plot;

/// The three files of one incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// `report.json`: all facts.
    pub json: String,
    /// `report.md`: for people.
    pub markdown: String,
    /// `latency.svg`: the plot that the report shows.
    pub svg: String,
}

/// The most that the three files take together, whatever the facts.
pub const BYTES_MAX: usize = 1024 * 1024;

/// Makes the three files. The same facts give the same bytes.
#[must_use]
pub fn render(facts: &Facts) -> Rendered {
    let (facts, left_out) = bound(facts);
    Rendered {
        json: json(&facts, &left_out),
        markdown: markdown(&facts, &left_out),
        svg: plot(&facts),
    }
}
