//! The few figures that say the most, method by method: small enough for a front page.
//!
//! Apart from the whole table, whose rows are scenarios.

use crate::number::float;
use crate::rollout::Report;
use crate::scenario::{Fault, Group, Scenario, Weather};
use crate::tally::Tally;

/// One column: which scenario it shows.
struct Column {
    title: &'static str,
    group: Group,
    weather: Weather,
    fault: Fault,
    rate: f64,
    onset_s: u64,
}

/// A row for each method; empty when none of the scenarios was played.
pub(crate) fn markdown(reports: &[Report]) -> String {
    let columns = columns();
    let found: Vec<Option<&Report>> =
        columns.iter().map(|column| column.find(reports)).collect();
    let Some(first) = found.iter().flatten().next() else { return String::new() };
    let mut text = String::from(
        "Equal versions: rolled back within an hour. Faults: median seconds until no user \
         is on the canary / requests of users harmed.\n\n| |",
    );
    columns.iter().for_each(|column| text += &format!(" {} |", column.title));
    text += "\n|---|";
    text += &"---|".repeat(columns.len());
    for tally in &first.tallies {
        text += &format!("\n| {} |", tally.method);
        for (column, report) in columns.iter().zip(&found) {
            let tally = report.and_then(|report| report.of(tally.method));
            text += &format!(" {} |", tally.map_or("–".to_owned(), |it| column.cell(it)));
        }
    }
    text + "\n\n"
}

fn columns() -> [Column; 8] {
    let equal = |title, weather| Column {
        title,
        group: Group::Equal,
        weather,
        fault: Fault::None,
        rate: 100.0,
        onset_s: 0,
    };
    let errors = |title, ratio, rate| Column {
        title,
        group: Group::Errors,
        weather: Weather::Calm,
        fault: Fault::Errors(ratio),
        rate,
        onset_s: 0,
    };
    let other = |title, fault, onset_s| Column {
        group: Group::Latency,
        fault,
        onset_s,
        ..errors(title, 1.0, 100.0)
    };
    [
        equal("equal", Weather::Calm),
        equal("equal, shared outage", Weather::Outage),
        errors("errors 5x, 100/s", 5.0, 100.0),
        errors("errors 20x, 100/s", 20.0, 100.0),
        errors("errors 5x, 1,000/s", 5.0, 1_000.0),
        errors("errors 20x, 1,000/s", 20.0, 1_000.0),
        other("latency 2x, 100/s", Fault::Scale(2.0), 10),
        other("hangs, 100/s", Fault::Hang, 0),
    ]
}

impl Column {
    fn find<'a>(&self, reports: &'a [Report]) -> Option<&'a Report> {
        let same = |a: f64, b: f64| (a - b).abs() < 1e-9;
        reports.iter().find(|report| {
            let Scenario { share, errors, .. } = report.scenario();
            let it = report.scenario();
            it.group == self.group
                && it.weather == self.weather
                && it.fault == self.fault
                && it.onset_s == self.onset_s
                && same(it.rate, self.rate)
                && same(*share, 0.1)
                && same(*errors, 0.01)
        })
    }

    fn cell(&self, tally: &Tally) -> String {
        if self.group.is_equal() {
            let rate = float(tally.rollbacks()) / float(tally.rollouts.max(1));
            return format!("{:.3} %", rate * 100.0);
        }
        let median = tally.protect().median;
        if median.is_infinite() {
            return format!("never / {:.0}", tally.harm());
        }
        format!("{median:.2} / {:.1}", tally.harm())
    }
}
