//! Traces for `replay`, from a seed: requests of a stable version and a canary whose failures
//! and times a test chooses moment by moment.

use std::io::Write;
use std::path::PathBuf;

use super::street::Dir;

/// What a version does at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Does {
    /// Share of its requests that fail with 500.
    pub fails: f64,
    /// Its median time in milliseconds.
    pub median_ms: f64,
    /// In place of all that: its connections are refused (0) or it hangs (598).
    pub instead: Option<u16>,
}

/// One in a hundred fails, half take more than 40 ms.
pub const WELL: Does = Does { fails: 0.01, median_ms: 40.0, instead: None };

/// Traffic of both versions.
pub struct Traffic {
    pub seed: u64,
    /// Requests a second of both together.
    pub rate: f64,
    /// The canary's share, 0 to 1.
    pub share: f64,
    pub seconds: f64,
    /// The time of the first request in milliseconds.
    pub begin_ms: u64,
}

/// A minute and a half of equal versions at 200 requests a second, a tenth on the canary.
pub fn traffic(seed: u64, seconds: f64) -> Traffic {
    Traffic { seed, rate: 200.0, share: 0.1, seconds, begin_ms: 1_000_000 }
}

impl Traffic {
    /// Writes the weights and every request, given what `stable` and `canary` do so many
    /// seconds after the begin.
    pub fn write(
        &self,
        to: &mut dyn Write,
        stable: &dyn Fn(f64) -> Does,
        canary: &dyn Fn(f64) -> Does,
    ) {
        let mut draws = fastrand::Rng::with_seed(self.seed);
        let percent = self.share * 100.0;
        let weights = format!("\"v1\":{},\"v2\":{percent}", 100.0 - percent);
        writeln!(to, "{{\"t_ms\":{},\"weights\":{{{weights}}}}}", self.begin_ms).unwrap();
        let mut at = 0.0;
        loop {
            at += -(1.0 - draws.f64()).ln() / self.rate;
            if at > self.seconds {
                return;
            }
            let on_canary = draws.f64() < self.share;
            let does = if on_canary { canary(at) } else { stable(at) };
            let version = if on_canary { "v2" } else { "v1" };
            let endpoint = draws.u8(1..=2);
            let spread = (0..6).map(|_| draws.f64() - 0.5).sum::<f64>();
            let micros = (does.median_ms * 1_000.0 * (spread * 0.6).exp()) as u64;
            let (status, micros) = match does.instead {
                Some(0) => (0, 300),
                Some(status) => (status, 30_000_000),
                None if draws.f64() < does.fails => (500, micros),
                None => (200, micros),
            };
            let ms = self.begin_ms + (at * 1_000.0) as u64;
            writeln!(
                to,
                "{{\"t_ms\":{ms},\"version\":\"{version}\",\"status\":{status},\
                 \"latency_us\":{micros},\"endpoint\":\"e{endpoint}\"}}"
            )
            .unwrap();
        }
    }

    /// The same as a text.
    pub fn text(
        &self,
        stable: &dyn Fn(f64) -> Does,
        canary: &dyn Fn(f64) -> Does,
    ) -> String {
        let mut text = Vec::new();
        self.write(&mut text, stable, canary);
        String::from_utf8(text).unwrap()
    }
}

/// A configuration with a route `iris` of a stable `v1` and a canary `v2` with a tenth, and
/// with that analysis.
pub fn policy(dir: &Dir, name: &str, analysis: &str) -> PathBuf {
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nroutes:\n  - name: iris\n    versions:\n      \
         - {{ name: v1, role: stable, endpoints: [\"http://127.0.0.1:1\"] }}\n      \
         - {{ name: v2, role: canary, weight: 10%, endpoints: [\"http://127.0.0.1:2\"] }}\n    \
         analysis: {analysis}\n"
    );
    dir.write(name, &text)
}
