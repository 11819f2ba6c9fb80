//! The data plane.

mod caller;
mod error;
mod fallback;
mod forward;
mod handle;
mod hygiene;
mod ids;
mod outgoing;
mod repeat;
mod reply;
mod settings;
mod view;
mod worker;

pub use settings::{Limits, ListenerProtocol, ListenerSettings, Network};
pub use worker::{Shared, Worker};
