//! One canary's trial: evidence gathered from request to request until it suffices.
//!
//! [`Baseline`] is what is learned of stable alone: the shape of its latencies, how its
//! failures cluster, its deadlines. [`Trial`] weighs a canary against it and asks, by a
//! [`Call`], for what its evidence warrants. Both take plain sums and the time, so that the
//! same sums give the same calls in the proxy, in a replay and in the benchmark.
//!
//! # Two phases
//! Evidence of 20 to 1 takes the users off a canary; that is cheap to be wrong about. Fresh
//! evidence of 60 to 1, gathered on copies of requests or on a trickle, makes it a rollback;
//! without it the users come back. With `confirm: off` there is one phase, whose bound is
//! the inverse of the false-alarm rate. The bounds are those of `decision/SPEC.md` 3.6.
//!
//! # Why the sequential tests have no floor for errors
//! A fixed limit needs one because a single failure is already twice nothing. The split test
//! weighs how many failures there were, and one alone never suffices.

mod banks;
mod baseline;
mod call;
mod cells;
mod evidence;
mod findings;
mod full;
mod gauges;
mod law;
mod machine;
mod noise;
mod observe;
mod plan;
mod promotion;
mod stage;

#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;

pub use baseline::Baseline;
pub use call::{Beat, Call, Phase, Share, Transition};
pub use evidence::Evidence;
pub use machine::Trial;
