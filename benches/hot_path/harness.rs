//! Runs a step often enough to see it, or just so often that a tool can count it.
//!
//! Apart from the steps, which are what one reads.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Batches of each step; odd, so that there is a median.
const BATCHES: usize = 101;
/// How long one batch takes.
const BATCH: Duration = Duration::from_millis(1);

/// Collects the figures.
pub(crate) struct Bench {
    word: String,
    times: Option<u32>,
    table: String,
}

impl Bench {
    /// For the steps whose name holds the word.
    pub(crate) fn new(word: String, times: Option<u32>) -> Self {
        Self { word, times, table: String::new() }
    }

    /// The figures, a row for each step.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// Runs a step.
    pub(crate) fn step<T>(&mut self, name: &str, mut work: impl FnMut() -> T) {
        if !name.contains(&self.word) {
            return;
        }
        if let Some(times) = self.times {
            batch(&mut work, times);
            return;
        }
        let mut times = 1;
        while batch(&mut work, times) < BATCH {
            times *= 2;
        }
        let mut spans: Vec<Duration> =
            (0..BATCHES).map(|_| batch(&mut work, times)).collect();
        spans.sort_unstable();
        let each = |span: Duration| span.as_secs_f64() * 1e9 / f64::from(times);
        self.row(name, each(spans[BATCHES / 2]), each(spans[0]));
    }

    /// A step that says itself how long its part took.
    pub(crate) fn timed(&mut self, name: &str, mut work: impl FnMut() -> Duration) {
        if !name.contains(&self.word) {
            return;
        }
        if let Some(times) = self.times {
            for _ in 0..times {
                work();
            }
            return;
        }
        let mut spans: Vec<Duration> = (0..BATCHES).map(|_| work()).collect();
        spans.sort_unstable();
        let nanos = |span: Duration| span.as_secs_f64() * 1e9;
        self.row(name, nanos(spans[BATCHES / 2]), nanos(spans[0]));
    }

    fn row(&mut self, name: &str, median: f64, fastest: f64) {
        self.table.push_str(&format!("| {name} | {median:.1} | {fastest:.1} |\n"));
    }
}

/// How long a step takes so many times.
pub(crate) fn batch<T>(work: &mut impl FnMut() -> T, times: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        black_box(counted(work));
    }
    start.elapsed()
}

/// The step itself, a call that a tool can see: what it costs beside is one jump.
#[inline(never)]
fn counted<T>(work: &mut impl FnMut() -> T) -> T {
    work()
}
