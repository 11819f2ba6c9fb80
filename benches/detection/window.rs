//! The requirement's own rules over a five-minute tumbling window, to the letter.
//!
//! Apart from the other peers because they are ours (REQUIREMENTS.md; decision/SPEC.md 9),
//! and because the product's own reading of them is what is run.

use std::time::Duration;

use switchback::judge::stats::seed::{Seed, SeedMetric, Seen, SeenVersion, Tally};

use crate::number::whole;
use crate::peer::{Counts, Pair, Peer};

/// At the end of every five minutes: over twice stable's errors, over 5 %, or over one and
/// a half times stable's 99th percentile. Nothing asks whether the cause is shared.
#[derive(Debug)]
pub(crate) struct FiveMinutes {
    open: Pair,
    rules: [Seed; 3],
}

impl Default for FiveMinutes {
    fn default() -> Self {
        let rule = |metric, threshold| Seed::new(metric, threshold, WINDOW);
        Self {
            open: Pair::default(),
            rules: [
                rule(SeedMetric::ErrorRatio, 2.0),
                rule(SeedMetric::ErrorRate, 0.05),
                rule(SeedMetric::P99Ratio, 1.5),
            ],
        }
    }
}

impl Peer for FiveMinutes {
    fn name(&self) -> &'static str {
        "5-minute window"
    }

    fn second(&mut self, t: u64, counts: &Pair) -> bool {
        self.open.merge(counts);
        if !t.is_multiple_of(WINDOW.as_secs()) {
            return false;
        }
        let Pair { canary, stable } = std::mem::take(&mut self.open);
        let seen = Seen { canary: version(&canary), stable: version(&stable) };
        self.rules.iter().any(|rule| rule.breaks(&seen) == Ok(Some(true)))
    }
}

fn version(counts: &Counts) -> SeenVersion {
    SeenVersion {
        errors: Tally { hits: counts.bad, of: counts.known },
        p99_us: counts.p99_us().map(whole),
        good: counts.bins.iter().sum(),
        ..SeenVersion::default()
    }
}

const WINDOW: Duration = Duration::from_secs(300);
