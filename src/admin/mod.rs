//! For operators: API, health, metrics, on a listener of its own.
//!
//! A caller's walk: `server.rs` takes the connection, shakes hands where there is a
//! certificate, and gives it one of its `seats.rs`; `router.rs` checks in this order that the
//! request was meant for us, that the path and the method exist (`table.rs`), and that the
//! caller may do it (`auth.rs`) and not too often (`pace.rs`). `rollouts.rs` turns the body
//! (`wire.rs`) into an order to the control loop; `looks.rs`, `incidents.rs` and `events.rs`
//! answer what changes nothing. `reply.rs` is the one place that knows statuses, and
//! `refusals.rs` has what was turned down written into the audit log. `openapi.rs` describes
//! all of it from the same table. `client.rs` is the same border from the other side, for
//! the command line.
//!
//! [`bind`] takes the addresses before anything else starts; [`serve`] answers on them.
//! [`Readiness`] is what `/readyz` says.
//!
//! # Why not a web framework
//!
//! There are some thirty paths, all known at compile time. hyper alone keeps the limits on
//! connections, heads and bodies where they can be read.

mod auth;
mod client;
mod events;
mod health;
mod hear;
mod incidents;
mod io;
mod listen;
mod looks;
mod notice_shapes;
mod openapi;
mod order_shapes;
mod pace;
mod refusals;
mod reply;
mod rollouts;
mod router;
mod schemas;
mod seats;
mod server;
mod settings;
mod shapes;
mod stream_shape;
mod table;
#[cfg(test)]
mod tests;
pub mod wire;

pub use client::{AdminClient, ClientError};
pub use health::Readiness;
pub use hear::{EventStream, Heard};
pub use listen::{BindError, Bound, bind};
pub use server::serve;
pub use settings::{OperatorRole, OperatorSettings, Settings};
