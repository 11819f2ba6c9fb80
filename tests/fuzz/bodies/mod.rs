//! What the fuzz targets do with their bytes, as plain functions: the fuzzer calls them, and
//! so does `cargo test`, which replays the corpus and changes it at random. Each states what
//! must hold of a parser beside that it does not fail: the same result however the bytes
//! were split, a bound on what comes out, a round trip.

mod audit;
mod config;
mod cookie;
mod dialects;
mod dns;
mod frames;
mod grpc;
mod http1;
mod kept;
mod models;
mod sse;
mod trace;

/// A parser under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its corpus and of the fuzzer's binary.
    pub name: &'static str,
    /// What is done with some bytes.
    pub body: fn(&[u8]),
    /// How many times the work of the cheapest one run takes.
    pub cost: usize,
}

const fn target(name: &'static str, body: fn(&[u8]), cost: usize) -> Target {
    Target { name, body, cost }
}

/// All parsers that read what others wrote.
pub const TARGETS: &[Target] = &[
    target("audit", audit::body, 50),
    target("config", config::body, 4),
    target("cookie", cookie::body, 1),
    target("dialects", dialects::body, 4),
    target("dns", dns::body, 1),
    target("frames", frames::body, 1),
    target("grpc", grpc::body, 1),
    target("http1", http1::body, 2),
    target("kept", kept::body, 1),
    target("models", models::body, 1),
    target("sse", sse::body, 2),
    target("trace", trace::body, 4),
];

/// Runs the target of that name, if there is one.
pub fn run(name: &str, data: &[u8]) {
    for target in TARGETS.iter().filter(|target| target.name == name) {
        (target.body)(data);
    }
}

/// The ways in which the bytes are cut into pieces: the last lengths are taken for the rest.
const CUTS: &[&[usize]] =
    &[&[1], &[2], &[3, 1], &[7], &[64], &[1, 5, 2, 40], &[1000, 1], &[20_000, 30, 1]];

/// The same bytes in pieces, cut in several ways; long ones not into small pieces only.
fn cuts(data: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let fit = CUTS.iter().filter(|lengths| data.len() < 2_000 || lengths[0] >= 64);
    fit.map(move |lengths| {
        let mut lengths = lengths.iter().cycle();
        let (mut rest, mut pieces) = (data, Vec::new());
        while let (false, Some(length)) = (rest.is_empty(), lengths.next()) {
            let (piece, after) = rest.split_at((*length).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    })
}

/// The first byte as a number below `count`, and the rest. A digit stands for itself, so that
/// a corpus can be written by hand.
fn choice(data: &[u8], count: u8) -> (u8, &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&b'0', &[]));
    (first.wrapping_sub(b'0') % count, rest)
}

/// The bytes with each `0x01` grown to more than any buffer holds, up to eight times: a
/// fuzzer would not find long inputs by itself.
fn grown(data: &[u8]) -> Vec<u8> {
    let mut left = 8;
    let mut out = Vec::with_capacity(data.len());
    for &byte in data {
        if byte == 1 && left > 0 {
            left -= 1;
            out.extend_from_slice(&[b'x'; 9_000]);
        } else {
            out.push(byte);
        }
    }
    out
}
