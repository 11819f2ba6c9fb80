//! For operators: API, health, metrics, on a listener of its own.
//!
//! A caller's walk: `server.rs` takes the connection and gives it one of its `seats.rs`;
//! `router.rs` checks in this order that the request was meant for us, that the path and
//! the method exist, and that the caller may do it (`auth.rs`); `rollouts.rs` turns the
//! body (`wire.rs`) into an order to the control loop; `reply.rs` is the one place that
//! knows statuses. `client.rs` is the same border from the other side, for the command
//! line.
//!
//! [`bind`] takes the addresses before anything else starts; [`serve`] answers on them.
//! [`Readiness`] is what `/readyz` says.
//!
//! # Why not a web framework
//!
//! There are sixteen paths, all known at compile time. hyper alone keeps the limits on
//! connections, heads and bodies where they can be read.

mod auth;
mod client;
mod health;
mod io;
mod listen;
mod reply;
mod rollouts;
mod router;
mod seats;
mod server;
mod settings;
#[cfg(test)]
mod tests;
pub mod wire;

pub use client::{AdminClient, ClientError};
pub use health::Readiness;
pub use listen::{BindError, Bound, bind};
pub use server::serve;
pub use settings::{OperatorRole, OperatorSettings, Settings};
