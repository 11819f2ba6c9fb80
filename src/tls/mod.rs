//! TLS in one place: what certificates are believed, shown and refused.
//!
//! [`TlsClient`] opens connections for everything that leaves the process. [`TlsServer`]
//! answers them, from files that may change while it runs, and [`Fingerprint`] tells the
//! callers' certificates apart. Nothing here goes below TLS 1.2, and rustls with its
//! provider is named in no other room, so that how a connection is protected is decided on
//! these pages alone.

#[cfg(test)]
#[path = "tests/authority.rs"]
mod authority;
mod client;
mod error;
mod fingerprint;
mod server;
#[cfg(test)]
#[path = "tests/server.rs"]
pub(crate) mod testing;

#[cfg(test)]
pub(crate) use authority::Authority;
pub use client::{ClientSettings, ClientStream, TlsClient};
pub use error::TlsError;
pub use fingerprint::{Fingerprint, FingerprintError};
pub use server::{MinVersion, ServerSettings, ServerStream, TlsServer, caller};
