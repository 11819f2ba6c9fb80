//! The Prometheus text format, read strictly: what a scraper would refuse fails the test.

use std::collections::{BTreeMap, BTreeSet};

/// One exposition.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
    /// Names that were declared, and as what.
    pub types: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads an exposition.
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').unwrap();
                let before = metrics.types.insert(name.into(), kind.into());
                assert!(before.is_none(), "{name} is declared twice");
            } else if !line.starts_with('#') {
                metrics.samples.push(sample(line));
            }
        }
        let mut series = BTreeSet::new();
        for Sample { name, labels, .. } in &metrics.samples {
            assert!(series.insert((name, labels)), "{name}{labels:?} is there twice");
        }
        metrics
    }

    /// The sum over all series with these labels; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// How many requests a version ended in that class.
    pub fn requests(&self, version: &str, class: &str) -> u64 {
        let labels = [("version", version), ("class", class)];
        whole(self.sum("switchback_requests_total", &labels))
    }

    /// A count, as a whole number.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        whole(self.sum(name, labels))
    }

    /// Whether there is a series with these labels.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// How many series there are.
    pub fn series(&self) -> usize {
        self.samples.len()
    }

    /// Every class of a version that is not 0.
    pub fn classes(&self, version: &str) -> BTreeMap<String, u64> {
        let labels = [("version", version)];
        let all = self.matching("switchback_requests_total", &labels);
        let seen = all.filter(|sample| sample.value > 0.0);
        seen.map(|sample| (sample.labels["class"].clone(), whole(sample.value))).collect()
    }

    fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            let has =
                |(k, v): &(&str, &str)| sample.labels.get(*k).is_some_and(|l| l == v);
            sample.name == name && labels.iter().all(has)
        })
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number in {line:?}"));
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut labels = BTreeMap::new();
    let mut rest = rest.strip_suffix('}').unwrap_or_else(|| panic!("{line:?}"));
    while let Some((label, after)) = rest.split_once("=\"") {
        let (text, after) = after.split_once('"').unwrap_or_else(|| panic!("{line:?}"));
        labels.insert(label.to_owned(), text.to_owned());
        rest = after.trim_start_matches(',');
    }
    Sample { name: name.to_owned(), labels, value }
}

fn whole(value: f64) -> u64 {
    assert!(value.fract() == 0.0 && value >= 0.0, "{value} is no count");
    value as u64
}
