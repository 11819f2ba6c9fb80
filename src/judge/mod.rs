//! Pure: is this version bad? No clock, no IO, no randomness; `now` is an argument.

mod rules;

pub use rules::{Metric, OnBreach, Rule, Rules};
