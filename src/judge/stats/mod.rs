//! The formulas of the sequential decision: integer sums in, log evidence out.
//!
//! Apart from the trials that use them, because each stands alone: no state beyond its own
//! numbers, no rules, no time. They follow decision/SPEC.md, are held against its reference
//! numbers (`tests/vectors`), and work in natural logarithms of f64.

pub mod bank;
pub mod bernoulli;
pub mod bounds;
pub mod categorical;
pub mod deciles;
pub mod detector;
pub mod dispersion;
pub mod events;
pub mod gamma;
pub mod ks;
pub mod log;
pub mod mean;
pub mod noninferior;
mod odds;
mod pooled;
pub mod rank;
pub mod sample;
pub mod sample_ratio;
pub mod scores;
pub mod seed;
pub mod shell;
pub mod slow;
pub mod split;
pub mod winsor;

#[cfg(test)]
mod vectors;
