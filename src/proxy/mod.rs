//! The data plane.

mod accept;
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
mod serve_h1;
mod serve_h2;
mod settings;
#[cfg(test)]
mod tests;
mod tunnel;
mod view;
mod worker;

pub use accept::{BindError, Bound, Listener};
pub use settings::{Limits, ListenerProtocol, ListenerSettings, Network};
pub use worker::{Shared, Worker};
