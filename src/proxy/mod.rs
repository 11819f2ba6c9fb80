//! The data plane.

mod settings;

pub use settings::{Limits, ListenerProtocol, ListenerSettings, Network};
