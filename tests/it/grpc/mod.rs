//! gRPC through the proxy: the wire by hand (the `h2` crate on both sides), the cases of
//! gRPC's own interop tests between a real client and a real server, health checks, and a
//! canary whose calls fail behind an HTTP status of 200.

mod failures;
mod health;
mod interop;
pub mod server;
mod streams;
