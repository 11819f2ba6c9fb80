//! The pure machines under a hundred thousand random stories each: what must hold after
//! every event, and that every story ends.
//!
//! Apart from the end-to-end tests because nothing is real here, neither clock nor network,
//! so that years of rollouts pass in seconds. A story is made from its seed alone: a failure
//! prints it, and `SEED=… cargo test --test sim` tells that one story again.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test reports by panicking and takes its seed from the environment"
)]

mod rollbacks;
mod rollouts;
mod world;

/// The seeds to tell stories from: one from the environment, or the first hundred thousand.
fn seeds() -> std::ops::Range<u64> {
    match std::env::var("SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..STORIES,
    }
}

const STORIES: u64 = 100_000;
