//! For operators: API, health, metrics, on a listener of its own.

mod settings;

pub use settings::{OperatorRole, OperatorSettings, Settings};
