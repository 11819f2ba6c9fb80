//! `latency.svg`: both versions' latency distributions, and their error rates over the
//! window, by hand and small.
//!
//! Apart from the report so that it can be shown alone. Versions differ by colour and by
//! dash, the colours have a light and a dark set, and what is drawn is also said in words.

use super::facts::{Bar, Facts, Slice, Version};
use super::figures::{count, float, micros, percent, share};
use super::text::xml;

pub(super) fn plot(facts: &Facts) -> String {
    let versions = &facts.versions[..facts.versions.len().min(LINES)];
    let mut svg = head(facts, versions);
    for (at, version) in versions.iter().enumerate() {
        let (x, name) = (LEFT + 300.0 * float(at as u64), xml(&label(version)));
        svg += &format!(
            "<line class=\"v{at}\" x1=\"{x}\" y1=\"20\" x2=\"{}\" y2=\"20\"/>\n\
             <text x=\"{}\" y=\"24\">{name}</text>\n",
            x + 30.0,
            x + 38.0
        );
    }
    svg += &distributions(versions);
    svg += &rates(facts, versions);
    svg + "</svg>\n"
}

fn head(facts: &Facts, versions: &[Version]) -> String {
    let record = &facts.record;
    let title = format!(
        "Rollback {} of {} on {}: latency and error rate",
        record.rollback_id, record.from_version, record.route
    );
    let said = versions.iter().map(|it| {
        format!(
            "{}: {} requests, {} failed, p50 {}, p90 {}, p99 {}.",
            label(it),
            count(it.requests),
            percent(it.error_rate()),
            micros(it.latency.p50_us),
            micros(it.latency.p90_us),
            micros(it.latency.p99_us)
        )
    });
    let said: Vec<String> = said.collect();
    let said = if said.is_empty() { EMPTY.to_owned() } else { said.join(" ") };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" aria-labelledby=\"t d\">\n\
         <title id=\"t\">{}</title>\n<desc id=\"d\">{}</desc>\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n",
        xml(&title),
        xml(&said)
    )
}

fn label(version: &Version) -> String {
    if version.role.is_empty() {
        version.name.to_string()
    } else {
        format!("{} ({})", version.name, version.role)
    }
}

/// The upper part: which share of the good answers took how long, on a logarithmic axis.
fn distributions(versions: &[Version]) -> String {
    let area = Area { top: 60.0, title: "Good answers by latency" };
    let bars = || versions.iter().flat_map(|it| &it.latency.bars);
    let first = bars().map(|bar| bar.from_us.max(1)).min();
    let last = bars().map(|bar| bar.to_us).max();
    let (Some(first), Some(last)) = (first, last) else {
        return area.frame("latency", "share of answers")
            + &area.word("no good answer in the window");
    };
    // Whole powers of ten, so that the axis begins and ends with a label.
    let (low, high) = (first.ilog10(), last.ilog10() + 1);
    let scale = |us: u64| {
        let place = float(us.max(1)).log10();
        (place - f64::from(low)) / f64::from(high - low)
    };
    let all: Vec<[f64; BINS]> =
        versions.iter().map(|it| binned(&it.latency.bars, scale)).collect();
    let top = nice(all.iter().flatten().copied().fold(0.0, f64::max));
    let mut svg = area.frame("latency of good answers (logarithmic)", "share of answers");
    svg += &area.heights(top);
    for power in low..=high {
        let at = f64::from(power - low) / f64::from(high - low);
        svg += &area.tick(at, &axis_time(power));
    }
    for (at, bins) in all.iter().enumerate() {
        if bins.iter().any(|share| *share > 0.0) {
            svg += &area.stairs(at, bins, top);
        }
    }
    svg
}

/// A power of ten of microseconds, as an axis writes it.
fn axis_time(power: u32) -> String {
    let us = float(10_u64.saturating_pow(power));
    if us < 1e3 {
        format!("{us} µs")
    } else if us < 1e6 {
        format!("{} ms", us / 1e3)
    } else {
        format!("{} s", us / 1e6)
    }
}

/// The share of all answers in each part of the axis; a bar that lies over several is
/// spread over them.
fn binned(bars: &[Bar], scale: impl Fn(u64) -> f64) -> [f64; BINS] {
    let mut bins = [0.0; BINS];
    let total: f64 = bars.iter().map(|bar| float(bar.count)).sum();
    let parts = float(BINS as u64);
    for bar in bars.iter().filter(|bar| bar.count > 0) {
        // A time is whole microseconds, so that the longest reaches up to the next.
        let from = (scale(bar.from_us) * parts).clamp(0.0, parts);
        let to = (scale(bar.to_us.saturating_add(1)) * parts).clamp(from, parts);
        let (width, part) = ((to - from).max(f64::EPSILON), float(bar.count) / total);
        for (at, bin) in bins.iter_mut().enumerate() {
            let left = float(at as u64);
            let inside = (to.min(left + 1.0) - from.max(left)).max(0.0);
            *bin += part * inside / width;
        }
    }
    bins
}

/// The lower part: the failed share of each version's requests over the window.
fn rates(facts: &Facts, versions: &[Version]) -> String {
    let area = Area { top: 290.0, title: "Error rate over the window" };
    let slices = || versions.iter().flat_map(|it| &it.slices);
    let ends = (slices().map(|it| it.at.0).min(), slices().map(|it| it.at.0).max());
    let (Some(first), Some(last)) = ends else {
        return area.frame("time", "failed share of requests")
            + &area.word("nothing was measured");
    };
    let begun = facts.record.timestamp.0;
    // The rollback ends the last slice, and is in the picture where it follows at once.
    let last = if begun.saturating_sub(last) <= (last - first) / 4 {
        last.max(begun)
    } else {
        last
    };
    let span = (last - first).max(1);
    let place = |at: u64| float(at.saturating_sub(first)) / float(span);
    let top = nice(slices().filter_map(rate).fold(0.0, f64::max));
    let mut svg = area
        .frame("seconds before (−) and after the rollback", "failed share of requests");
    svg += &area.heights(top);
    for (at, label) in ticks(first, last, begun) {
        svg += &area.tick(place(at), &label);
    }
    let protect = facts.record.protect.as_ref().map(|it| (it.timestamp.0, "protect"));
    for (at, label) in [(begun, "rollback")].into_iter().chain(protect) {
        if (first..=last).contains(&at) {
            svg += &area.mark(place(at), label);
        }
    }
    for (at, version) in versions.iter().enumerate() {
        let known = version.slices.iter().filter_map(|it| Some((it, rate(it)?)));
        let points = known.map(|(it, rate)| (place(it.at.0), rate / top));
        svg += &area.line(at, points);
    }
    svg
}

/// Some moments between `first` and `last` at round distances from `zero`, and what the axis
/// says there.
fn ticks(first: u64, last: u64, zero: u64) -> Vec<(u64, String)> {
    let least = (last - first) / 8;
    let steps = (0..18).flat_map(|power| [1, 2, 5].map(|n| n * 10_u64.pow(power)));
    let step = steps.into_iter().find(|step| *step > least).unwrap_or(10_u64.pow(18));
    // The first moment that is a whole number of steps away from zero.
    let from = first.saturating_add((zero % step + step - first % step) % step);
    let label = |at: u64| {
        let sign = if at < zero { "−" } else { "" };
        (at, format!("{sign}{}", float(at.abs_diff(zero)) / 1e3))
    };
    (0..=8)
        .filter_map(|n| from.checked_add(step * n))
        .filter(|at| *at <= last)
        .map(label)
        .collect()
}

fn rate(slice: &Slice) -> Option<f64> {
    share(slice.failures, slice.requests)
}

/// The next larger of 1, 2 and 5 times a power of ten, at most the whole.
fn nice(share: f64) -> f64 {
    let steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
    steps.into_iter().find(|step| share <= *step).unwrap_or(1.0)
}

/// One coordinate system.
struct Area {
    top: f64,
    title: &'static str,
}

impl Area {
    fn frame(&self, below: &str, beside: &str) -> String {
        let (bottom, middle) = (self.top + DEPTH, LEFT + ACROSS / 2.0);
        let side = self.top + DEPTH / 2.0;
        format!(
            "<text class=\"title\" x=\"{LEFT}\" y=\"{}\">{}</text>\n\
             <path class=\"axis\" d=\"M{LEFT} {}V{bottom}H{}\"/>\n\
             <text class=\"middle\" x=\"{middle}\" y=\"{}\">{below}</text>\n\
             <text class=\"middle\" transform=\"translate(16 {side}) rotate(-90)\">{beside}\
             </text>\n",
            self.top - 10.0,
            self.title,
            self.top,
            LEFT + ACROSS,
            bottom + 36.0
        )
    }

    /// Three labels and lines up the side, to `top` at the upper edge.
    fn heights(&self, top: f64) -> String {
        let label = |part: f64| {
            let y = self.y(part);
            format!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}h{ACROSS}\"/>\n\
                 <text class=\"end\" x=\"{}\" y=\"{:.1}\">{}%</text>\n",
                LEFT - 6.0,
                y + 4.0,
                rounded(top * part * 100.0)
            )
        };
        [0.0, 0.5, 1.0].map(label).concat()
    }

    fn tick(&self, part: f64, label: &str) -> String {
        let (x, y) = (x(part), self.top + DEPTH);
        format!(
            "<path class=\"axis\" d=\"M{x:.1} {y}v5\"/>\n\
             <text class=\"middle\" x=\"{x:.1}\" y=\"{}\">{label}</text>\n",
            y + 18.0
        )
    }

    fn mark(&self, part: f64, label: &str) -> String {
        let x = x(part);
        format!(
            "<path class=\"mark\" d=\"M{x:.1} {}v{DEPTH}\"/>\n\
             <text class=\"end\" x=\"{:.1}\" y=\"{}\">{label}</text>\n",
            self.top,
            x - 4.0,
            self.top + 10.0
        )
    }

    fn word(&self, word: &str) -> String {
        let (x, y) = (LEFT + ACROSS / 2.0, self.top + DEPTH / 2.0);
        format!("<text class=\"middle\" x=\"{x}\" y=\"{y}\">{word}</text>\n")
    }

    fn stairs(&self, at: usize, bins: &[f64], top: f64) -> String {
        let mut path = format!("M{LEFT} {:.1}", self.y(0.0));
        for (bin, share) in bins.iter().enumerate() {
            let right = x(float(bin as u64 + 1) / float(bins.len() as u64));
            path += &format!("V{:.1}H{right:.1}", self.y(share / top));
        }
        path += &format!("V{:.1}", self.y(0.0));
        format!("<path class=\"v{at}\" d=\"{path}\"/>\n")
    }

    fn line(&self, at: usize, points: impl Iterator<Item = (f64, f64)>) -> String {
        let points = points.map(|(over, up)| format!("{:.1},{:.1}", x(over), self.y(up)));
        let points: Vec<String> = points.collect();
        match points.as_slice() {
            [] => String::new(),
            // A line of one point has no length; its cap makes it a dot.
            [one] => format!("<polyline class=\"v{at} dot\" points=\"{one} {one}\"/>\n"),
            all => format!("<polyline class=\"v{at}\" points=\"{}\"/>\n", all.join(" ")),
        }
    }

    fn y(&self, part: f64) -> f64 {
        self.top + DEPTH * (1.0 - part.clamp(0.0, 1.0))
    }
}

fn x(part: f64) -> f64 {
    LEFT + ACROSS * part.clamp(0.0, 1.0)
}

/// A number of percent with the digits that it needs and no more.
fn rounded(percent: f64) -> f64 {
    (percent * 1e4).round() / 1e4
}

/// More lines than two cannot be told apart; the report has the numbers of all.
const LINES: usize = 2;
const BINS: usize = 64;
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 80.0;
const ACROSS: f64 = 650.0;
const DEPTH: f64 = 140.0;
const EMPTY: &str = "No version was measured.";
/// Each colour keeps 4.5 to 1 against its page.
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#24292f}\
 .title{font-weight:600}.middle{text-anchor:middle}.end{text-anchor:end}\
 .page{fill:#ffffff}.axis{stroke:#57606a;fill:none}.grid{stroke:#57606a;opacity:.2}\
 .mark{stroke:#57606a;stroke-dasharray:2 3}.v0,.v1{fill:none;stroke-width:2}\
 .dot{stroke-width:6;stroke-linecap:round}\
 .v0{stroke:#b35900}.v1{stroke:#0550ae;stroke-dasharray:6 3}\
 @media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}\
 .axis,.grid,.mark{stroke:#8b949e}.v0{stroke:#ffa657}.v1{stroke:#79c0ff}}";

#[cfg(test)]
mod tests {
    use super::{BINS, axis_time, binned, nice, ticks};
    use crate::incident::facts::Bar;
    use crate::incident::figures::float;

    #[test]
    fn every_answer_is_in_the_distribution_once() {
        let scale = |us: u64| float(us).log10() / 3.0;
        for bars in [
            vec![Bar { from_us: 1, to_us: 999, count: 7 }],
            vec![Bar { from_us: 5, to_us: 5, count: 3 }],
            (1..=300).map(|us| Bar { from_us: us, to_us: us, count: us }).collect(),
        ] {
            let bins = binned(&bars, scale);
            let sum: f64 = bins.iter().sum();
            assert!((sum - 1.0).abs() < 1e-9, "{sum} of {bars:?}");
        }
        let bins = binned(&[Bar { from_us: 1, to_us: 9, count: 1 }], scale);
        assert!(bins[..BINS / 3].iter().all(|share| *share > 0.0));
        assert!(bins[BINS / 3 + 1..].iter().all(|share| share.abs() < 1e-9));
        assert!(binned(&[], scale).iter().all(|share| share.abs() < 1e-9));
    }

    #[test]
    fn time_has_round_labels() {
        let labels = |first, last, zero| {
            let all = ticks(first, last, zero).into_iter().map(|(_, label)| label);
            all.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(700, 1_900, 1_900), "−1.2 −1 −0.8 −0.6 −0.4 −0.2 0");
        assert_eq!(labels(58_000, 358_123, 358_123), "−300 −250 −200 −150 −100 −50 0");
        assert_eq!(labels(100_500, 130_500, 0), "105 110 115 120 125 130");
        assert_eq!(labels(5, 5, 5), "0");
        assert!(ticks(0, u64::MAX / 2, 7).len() <= 9);
        assert!(ticks(u64::MAX - 9, u64::MAX, 7).len() <= 9);
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (share, top) in
            [(0.0, 0.001), (0.08, 0.1), (0.1, 0.1), (0.3, 0.5), (0.9, 1.0)]
        {
            assert!((nice(share) - top).abs() < 1e-12, "{share}");
        }
        for (power, says) in [(0, "1 µs"), (3, "1 ms"), (5, "100 ms"), (7, "10 s")] {
            assert_eq!(axis_time(power), says);
        }
    }
}
