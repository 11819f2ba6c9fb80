//! Counts as real numbers and back, and the few functions that `std` lacks.
//!
//! Apart because everything here computes with both, and each cast wants its reason once.

/// A count as a real number.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts stay below 2^53; above it the loss is a part in 2^53"
)]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// How many there are, as a real number.
pub(crate) fn float_of(count: usize) -> f64 {
    float(u64::try_from(count).unwrap_or(u64::MAX))
}

/// A real number without its fraction; what is below one is none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, which is what is wanted"
)]
pub(crate) fn whole(number: f64) -> u64 {
    number as u64
}

/// A real number as a place in a list.
pub(crate) fn place(number: f64) -> usize {
    usize::try_from(whole(number)).unwrap_or(usize::MAX)
}

/// What Stirling's formula leaves out of ln(k!).
pub(crate) fn stirling_rest(k: f64) -> f64 {
    const EXACT: [f64; 10] = [
        0.081_061_466_795_327_26,
        0.041_340_695_955_409_29,
        0.027_677_925_684_998_34,
        0.020_790_672_103_765_09,
        0.016_644_691_189_821_19,
        0.013_876_128_823_070_75,
        0.011_896_709_945_891_77,
        0.010_411_265_261_972_1,
        0.009_255_462_182_712_733,
        0.008_330_563_433_362_87,
    ];
    if k < 9.5 {
        return EXACT[place(k)];
    }
    let next = k + 1.0;
    let square = next * next;
    (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / square) / square) / next
}

/// ln(k!) of a whole number.
pub(crate) fn ln_factorial(k: f64) -> f64 {
    let half_ln_tau = 0.5 * std::f64::consts::TAU.ln();
    (k + 0.5) * (k + 1.0).ln() - (k + 1.0) + half_ln_tau + stirling_rest(k)
}

/// The chance that a standard normal number is above `z`.
pub(crate) fn normal_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - normal_tail(-z);
    }
    let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
    if z < 3.0 {
        let (mut term, mut sum, mut odd) = (z, z, 1.0);
        while term > 1e-17 {
            odd += 2.0;
            term *= z * z / odd;
            sum += term;
        }
        return (0.5 - density * sum).max(0.0);
    }
    // The continued fraction of Mills' ratio, from the inside out.
    let mut fraction = z;
    for step in (1..60_u32).rev() {
        fraction = z + f64::from(step) / fraction;
    }
    density / fraction
}

/// The highest chance that still explains `hits` among `tries` once in twenty, one-sided
/// (Clopper and Pearson): 3 in n for none.
pub(crate) fn upper_bound(hits: u64, tries: u64) -> f64 {
    if hits >= tries {
        return 1.0;
    }
    let (n, k) = (float(tries), float(hits));
    if hits > 2_000 {
        let p = k / n;
        return (p + 1.645 * (p * (1.0 - p) / n).sqrt()).min(1.0);
    }
    let at_most = |p: f64| {
        let term = |i: u64| {
            let i = float(i);
            let ways = ln_factorial(n) - ln_factorial(i) - ln_factorial(n - i);
            (ways + i * p.ln() + (n - i) * (-p).ln_1p()).exp()
        };
        (0..=hits).map(term).sum::<f64>()
    };
    let (mut low, mut high) = (k / n, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_most(middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}
