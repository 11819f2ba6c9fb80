//! `App`: the only place that knows every room but the ways in. It makes the parts, gives
//! each its thread, and takes them down in order.

mod runtimes;
mod settings;
mod shutdown;
mod start;

pub use settings::Settings;
pub use start::{Running, run, start};
