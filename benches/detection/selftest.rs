//! Whether the samplers draw what they say: a benchmark has no tests of its own.

use crate::dice::{Alias, Dice};
use crate::law::{Law, Part};
use crate::number::{
    float, float_of, ln_factorial, normal_tail, place, upper_bound, whole,
};
use crate::scenario::{Fault, Group, Scenario};
use crate::world::{Stage, World};

/// Everything that is off, one line each.
pub(crate) fn faults() -> Vec<String> {
    let mut faults = Vec::new();
    let mut dice = Dice::new(7, "selftest", 0);
    for mean in [0.001_f64, 0.3, 2.5, 9.9, 10.1, 37.0, 1_234.5, 90_000.0] {
        let chance = |k: f64| (k * mean.ln() - mean - ln_factorial(k)).exp();
        let name = format!("poisson {mean}");
        fit(&mut faults, &name, mean, mean, chance, || dice.poisson(mean));
    }
    let mut dice = Dice::new(8, "selftest", 0);
    for (n, p) in
        [(1, 0.3_f64), (30, 0.01), (24, 0.45), (100, 0.3), (5_000, 0.1), (900, 0.93)]
    {
        let tries = float(n);
        let chance = |k: f64| {
            let ways = ln_factorial(tries) - ln_factorial(k) - ln_factorial(tries - k);
            if k > tries {
                0.0
            } else {
                (ways + k * p.ln() + (tries - k) * (-p).ln_1p()).exp()
            }
        };
        let (mean, variance) = (tries * p, tries * p * (1.0 - p));
        let name = format!("binomial {n} {p}");
        fit(&mut faults, &name, mean, variance, chance, || dice.binomial(n, p));
    }
    functions(&mut faults);
    laws(&mut faults);
    worlds(&mut faults);
    faults
}

/// Draws often and holds the histogram against the chances (chi-square), and the mean.
fn fit(
    faults: &mut Vec<String>,
    name: &str,
    mean: f64,
    variance: f64,
    chance: impl Fn(f64) -> f64,
    mut draw: impl FnMut() -> u64,
) {
    let low = (mean - 8.0 * variance.sqrt()).floor().max(0.0);
    let mut seen = vec![0_u64; place(16.0 * variance.sqrt()) + 20];
    let mut sum = 0.0;
    for _ in 0..DRAWS {
        let k = draw();
        sum += float(k);
        let at = place(float(k) - low).min(seen.len() - 1);
        seen[at] += 1;
    }
    let draws = float(DRAWS);
    let off = (sum / draws - mean) / (variance / draws).sqrt();
    if off.abs() > 4.5 {
        faults.push(format!("{name}: the mean is off by {off:.1} standard errors"));
    }
    let (mut square, mut cells, mut open) = (0.0, 0.0, (0.0, 0.0));
    for (at, count) in seen.iter().enumerate() {
        open.0 += float(*count);
        open.1 += draws * chance(low + float_of(at));
        if open.1 >= 20.0 {
            square += (open.0 - open.1).powi(2) / open.1;
            cells += 1.0;
            open = (0.0, 0.0);
        }
    }
    // Wilson and Hilferty: the cube root of a chi-square is nearly normal.
    let degrees: f64 = f64::max(cells - 1.0, 1.0);
    let part = 2.0 / (9.0 * degrees);
    let z = ((square / degrees).cbrt() - (1.0 - part)) / part.sqrt();
    if cells > 1.0 && z > 4.5 {
        faults.push(format!("{name}: chi-square {square:.0} of {degrees} degrees"));
    }
}

fn functions(faults: &mut Vec<String>) {
    for (name, ours, known) in [
        ("tail of 0", normal_tail(0.0), 0.5),
        ("tail of 1.96", normal_tail(1.959_963_984_540_054), 0.025),
        ("tail of -1", normal_tail(-1.0), 0.841_344_746_068_542_9),
        ("tail of 5", normal_tail(5.0), 2.866_515_718_791_94e-7),
        ("ln 5!", ln_factorial(5.0), 120.0_f64.ln()),
        ("ln 20!", ln_factorial(20.0), 42.335_616_460_753_485),
        ("none of 1000", upper_bound(0, 1_000), 1.0 - 0.05_f64.powf(0.001)),
        ("5 of 50", upper_bound(5, 50), 0.198_833_0),
    ] {
        if (ours / known - 1.0).abs() > 1e-5 {
            faults.push(format!("{name}: {ours} and not {known}"));
        }
    }
    let alias = Alias::new(&[0.1, 0.0, 0.65, 0.25]);
    let mut dice = Dice::new(9, "selftest", 0);
    let mut seen = [0_u64; 4];
    (0..DRAWS).for_each(|_| seen[alias.draw(&mut dice)] += 1);
    for (seen, p) in seen.into_iter().zip([0.1, 0.0, 0.65, 0.25]) {
        let off = float(seen) - float(DRAWS) * p;
        if off.abs() > 4.5 * (float(DRAWS) * p * (1.0 - p)).sqrt() {
            faults.push(format!("alias: {seen} of {DRAWS} at chance {p}"));
        }
    }
}

fn laws(faults: &mut Vec<String>) {
    let law = Law::new(&[Part(1.0, 50_000.0, 0.5)]);
    let total: f64 = law.bins().iter().sum();
    let p99 = law.quantile_us(0.99) / (50_000.0 * (0.5_f64 * 2.326_348).exp());
    let over = law.above(law.quantile_us(0.99));
    for (name, ours, known) in
        [("a law's sum", total, 1.0), ("p99", p99, 1.0), ("above p99", over, 0.01)]
    {
        if (ours / known - 1.0).abs() > 0.02 {
            faults.push(format!("{name}: {ours} and not {known}"));
        }
    }
    // Both ways of spreading give every bin its chance.
    let mut dice = Dice::new(10, "selftest", 0);
    for batch in [10, 1_000] {
        let mut seen = [0.0; switchback::judge::BINS];
        for _ in 0..DRAWS / batch {
            law.spread(&mut dice, batch, |_, bin, count| seen[bin] += float(count));
        }
        for (bin, (seen, p)) in seen.iter().zip(law.bins()).enumerate() {
            let expected = float(DRAWS / batch * batch) * p;
            if expected > 20.0 && (seen - expected).abs() > 4.5 * expected.sqrt() {
                faults.push(format!("bin {bin}: {seen} and not {expected:.0}"));
            }
        }
    }
}

/// An hour's totals are what the scenario says.
fn worlds(faults: &mut Vec<String>) {
    let fault = Fault::Errors(5.0);
    let scenario = Scenario { fault, timed: true, ..Scenario::new(Group::Errors, 100.0) };
    let stage = Stage::new(scenario);
    let mut world = World::new(&stage, Dice::new(11, "selftest", 0), false);
    let deadline = whole(1.5 * stage.laws().0.quantile_us(0.99));
    let mut totals = [0_u64; 6];
    for quarter in 0..14_400 {
        world.step(quarter * 250, 250, Some(deadline));
        let (canary, stable) = world.sums();
        for (at, sums) in [canary, stable].into_iter().enumerate() {
            for cell in &sums.cells {
                totals[at] += cell.known;
                totals[2 + at] += cell.bad;
                totals[4 + at] += cell.slow[0];
            }
        }
    }
    let over = stage.laws().0.above(float(deadline));
    let expected = [
        36_000.0,
        324_000.0,
        1_800.0,
        3_240.0,
        36_000.0 * 0.95 * over,
        324_000.0 * 0.99 * over,
    ];
    for (at, (seen, expected)) in totals.into_iter().zip(expected).enumerate() {
        if (float(seen) - expected).abs() > 4.5 * expected.sqrt() {
            faults.push(format!("total {at} of an hour: {seen} and not {expected:.0}"));
        }
    }
}

const DRAWS: u64 = 400_000;
