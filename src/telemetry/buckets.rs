//! `Buckets`: how many times were at most so long, as Prometheus wants histograms.
//!
//! Fed from histograms, a recorded step at a time with its count, so that a page costs
//! the same whether a thousand requests were made or a billion.

use std::fmt::Write as _;

use crate::vocab::times::Times;

/// Counts of times by upper bound.
#[derive(Clone, Debug)]
pub struct Buckets {
    /// Upper bounds, rising.
    bounds: &'static [Bound],
    /// One for each bound, not cumulative; the last for what is above all.
    counts: Vec<u64>,
    sum_us: u64,
    count: u64,
    /// They are no times but plain counts.
    plain: bool,
}

/// An upper bound: microseconds, and seconds as the page writes it.
type Bound = (u64, &'static str);

impl Buckets {
    /// For the whole time of requests: 1 ms to 120 s.
    #[must_use]
    pub fn durations() -> Self {
        Self::new(&DURATIONS)
    }

    /// For the time to a first byte: OpenTelemetry's `gen_ai.server.time_to_first_token`.
    #[must_use]
    pub fn first_bytes() -> Self {
        Self::new(&FIRST_BYTES)
    }

    /// For the time to a first token: OpenTelemetry's `gen_ai.server.time_to_first_token`.
    #[must_use]
    pub fn first_tokens() -> Self {
        Self::first_bytes()
    }

    /// For the time for each token after the first: OpenTelemetry's
    /// `gen_ai.server.time_per_output_token`, and finer below.
    #[must_use]
    pub fn each_tokens() -> Self {
        Self::new(&EACH_TOKENS)
    }

    /// For the tokens of an answer: the first of OpenTelemetry's
    /// `gen_ai.client.token.usage`. What is added are counts in the place of microseconds.
    #[must_use]
    pub fn lengths() -> Self {
        Self { plain: true, ..Self::new(&LENGTHS) }
    }

    /// For the time spent in the proxy: 5 µs to 100 ms.
    #[must_use]
    pub fn overheads() -> Self {
        Self::new(&OVERHEADS)
    }

    /// For the phases of rollbacks: 1 ms to 10 min.
    #[must_use]
    pub fn phases() -> Self {
        Self::new(&PHASES)
    }

    fn new(bounds: &'static [Bound]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum_us: 0,
            count: 0,
            plain: false,
        }
    }

    /// Adds `count` times that are at least `low_us` and `mean_us` on average, both in
    /// microseconds: a histogram knows a value only as a narrow range, whose low end
    /// keeps a time that equals a bound inside it.
    pub fn add(&mut self, low_us: u64, mean_us: u64, count: u64) {
        let place = self.bounds.partition_point(|(bound, _)| *bound < low_us);
        self.count_at(place, mean_us, count);
    }

    fn count_at(&mut self, place: usize, mean_us: u64, count: u64) {
        self.counts[place] += count;
        self.sum_us = self.sum_us.saturating_add(mean_us.saturating_mul(count));
        self.count += count;
    }

    /// Adds all times of a histogram. Costs in proportion to its recorded steps.
    pub fn fill(&mut self, times: &Times) {
        let mut place = 0;
        times.steps().for_each(|step| {
            while self.bounds.get(place).is_some_and(|(bound, _)| *bound < step.low_us) {
                place += 1;
            }
            let mean_us = step.low_us + (step.high_us - step.low_us).div_ceil(2);
            self.count_at(place, mean_us, u64::from(step.count));
        });
    }

    /// How many times were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Writes the series of these labels, each `name="value"`, comma between.
    pub(super) fn write(&self, page: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        let bounds = self.bounds.iter().map(|(_, text)| *text).chain(["+Inf"]);
        for (bound, count) in bounds.zip(&self.counts) {
            below += count;
            line(
                page,
                format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}"),
            );
        }
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        let sum = if self.plain { self.sum_us.to_string() } else { seconds(self.sum_us) };
        line(page, format_args!("{name}_sum{open}{labels}{close} {sum}"));
        line(page, format_args!("{name}_count{open}{labels}{close} {}", self.count));
    }
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a `String` does not fail.
    let _done = writeln!(page, "{text}");
}

/// Microseconds as seconds, written without a detour over floating point.
fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

const DURATIONS: [Bound; 18] = [
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (75_000, "0.075"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (750_000, "0.75"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (7_500_000, "7.5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (120_000_000, "120"),
];

const FIRST_BYTES: [Bound; 16] = [
    (1_000, "0.001"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (20_000, "0.02"),
    (40_000, "0.04"),
    (60_000, "0.06"),
    (80_000, "0.08"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (750_000, "0.75"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (7_500_000, "7.5"),
    (10_000_000, "10"),
];

const EACH_TOKENS: [Bound; 17] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (75_000, "0.075"),
    (100_000, "0.1"),
    (150_000, "0.15"),
    (200_000, "0.2"),
    (300_000, "0.3"),
    (400_000, "0.4"),
    (500_000, "0.5"),
    (750_000, "0.75"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
];

const LENGTHS: [Bound; 10] = [
    (1, "1"),
    (4, "4"),
    (16, "16"),
    (64, "64"),
    (256, "256"),
    (1_024, "1024"),
    (4_096, "4096"),
    (16_384, "16384"),
    (65_536, "65536"),
    (262_144, "262144"),
];

const OVERHEADS: [Bound; 12] = [
    (5, "0.000005"),
    (10, "0.00001"),
    (25, "0.000025"),
    (50, "0.00005"),
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (100_000, "0.1"),
];

const PHASES: [Bound; 10] = [
    (1_000, "0.001"),
    (10_000, "0.01"),
    (100_000, "0.1"),
    (1_000_000, "1"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (60_000_000, "60"),
    (300_000_000, "300"),
    (600_000_000, "600"),
];

#[cfg(test)]
mod tests {
    use super::{
        Buckets, DURATIONS, EACH_TOKENS, FIRST_BYTES, LENGTHS, OVERHEADS, PHASES,
    };
    use crate::vocab::times::Times;

    #[test]
    fn bounds_rise_and_are_written_as_what_they_are() {
        for bounds in [&DURATIONS[..], &FIRST_BYTES, &EACH_TOKENS, &OVERHEADS, &PHASES] {
            assert!(bounds.is_sorted_by(|low, high| low.0 < high.0));
            for (micros, text) in bounds {
                let seconds: f64 = text.parse().unwrap();
                assert!(
                    (seconds * 1e6 - f64::from(u32::try_from(*micros).unwrap())).abs()
                        < 1e-3
                );
            }
        }
    }

    #[test]
    fn lengths_are_written_as_plain_counts() {
        for (tokens, text) in &LENGTHS {
            assert_eq!(tokens.to_string(), *text);
        }
        let (mut lengths, mut times) = (Buckets::lengths(), Times::fine());
        [64, 65, 1].into_iter().for_each(|tokens| times.record(tokens));
        lengths.fill(&times);
        let mut page = String::new();
        lengths.write(&mut page, "x", "");
        assert!(page.contains("x_bucket{le=\"64\"} 2\n"), "{page}");
        assert!(page.contains("x_sum 130\n"), "{page}");
    }

    #[test]
    fn filling_is_adding_every_step() {
        let (mut times, mut one) = (Times::fine(), Buckets::durations());
        for micros in [1, 999, 1_000, 1_001, 25_000, 25_100, 200_000, 599_000_000] {
            times.record_n(micros, 3);
        }
        for step in times.steps() {
            let mean = u64::midpoint(step.low_us, step.high_us + 1);
            one.add(step.low_us, mean, u64::from(step.count));
        }
        let mut all = Buckets::durations();
        all.fill(&times);
        all.fill(&Times::coarse());
        assert_eq!((&all.counts, all.sum_us), (&one.counts, one.sum_us));
        assert_eq!((all.count(), all.counts[0], all.counts[18]), (24, 9, 3));
    }

    #[test]
    fn a_time_on_a_bound_is_inside_and_what_is_above_all_is_counted() {
        let mut phases = Buckets::phases();
        phases.add(1_000, 1_000, 3);
        phases.add(1_001, 1_001, 1);
        phases.add(900_000_000, 900_000_000, 2);
        let mut page = String::new();
        phases.write(&mut page, "x", "phase=\"drain\"");
        assert!(page.contains("x_bucket{phase=\"drain\",le=\"0.001\"} 3\n"), "{page}");
        assert!(page.contains("x_bucket{phase=\"drain\",le=\"0.01\"} 4\n"));
        assert!(page.contains("x_bucket{phase=\"drain\",le=\"600\"} 4\n"));
        assert!(page.contains("x_bucket{phase=\"drain\",le=\"+Inf\"} 6\n"));
        assert!(page.contains("x_sum{phase=\"drain\"} 1800.004001\n"));
        assert!(page.ends_with("x_count{phase=\"drain\"} 6\n"));
        assert_eq!(phases.count(), 6);
    }
}
