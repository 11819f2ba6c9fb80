//! `App`: the only place that knows every room.

mod settings;

pub use settings::Settings;
