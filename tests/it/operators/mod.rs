//! The operators' side of the real binary: every operation of the API held against its own
//! description, events as they come, orders by the command line, certificates, and callers
//! who mean no good.

mod api;
mod desk;
mod events;
mod every_state;
mod hostile;
mod schema;
mod tls;
mod verbs;
